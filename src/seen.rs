//! What the HSA hooks saw on this thread, so that the HIP hook above them knows whether they
//! were on the runtime's path. Thread-local numbers without a destructor.

use std::cell::Cell;
use std::thread::LocalKey;

use policy::Below;

thread_local! {
    static SVM: Cell<u32> = const { Cell::new(0) };
    static POOL: Cell<u32> = const { Cell::new(0) };
    static ADVISING: Cell<bool> = const { Cell::new(false) };
    static DENIED: Cell<bool> = const { Cell::new(false) };
    static TABLE: Cell<bool> = const { Cell::new(false) };
    static EXPLICIT: Cell<bool> = const { Cell::new(false) };
    static ALLOCATING: Cell<bool> = const { Cell::new(false) };
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static FORWARDING: Cell<bool> = const { Cell::new(false) };
}

/// `hsa_amd_svm_attributes_set` passed.
pub(crate) fn svm() {
    SVM.set(SVM.get().wrapping_add(1));
}

/// `hsa_amd_memory_pool_allocate` passed.
pub(crate) fn pool() {
    POOL.set(POOL.get().wrapping_add(1));
}

/// Runs `call`, a managed allocation, and says what passed through the HSA hooks of this
/// thread meanwhile.
pub(crate) fn below<R>(call: impl FnOnce() -> R) -> (R, Below) {
    let (svm, pool) = (SVM.get(), POOL.get());
    let result = during(&ALLOCATING, call);
    let below = if SVM.get() != svm {
        Below::SvmDecided
    } else if POOL.get() != pool {
        Below::PoolAllocated
    } else {
        Below::NothingSeen
    };
    (result, below)
}

/// Whether this thread is inside [`below`].
pub(crate) fn is_allocating() -> bool {
    ALLOCATING.get()
}

/// Runs `call` with a flag of this thread set.
fn during<R>(flag: &'static LocalKey<Cell<bool>>, call: impl FnOnce() -> R) -> R {
    struct Restore(&'static LocalKey<Cell<bool>>, bool);
    // Also where an exception passes.
    impl Drop for Restore {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }
    let _restore = Restore(flag, flag.replace(true));
    call()
}

/// Runs `call`, during which a grain that is set is this library's, not the program's choice.
pub(crate) fn advising<R>(call: impl FnOnce() -> R) -> R {
    during(&ADVISING, call)
}

/// Whether this thread is inside [`advising`].
pub(crate) fn is_advising() -> bool {
    ADVISING.get()
}

/// Runs `call`, an explicit request to HIP: the HSA call that it makes is not the program's own.
pub(crate) fn explicit<R>(call: impl FnOnce() -> R) -> R {
    during(&EXPLICIT, call)
}

/// Whether this thread is inside [`explicit`].
pub(crate) fn is_explicit() -> bool {
    EXPLICIT.get()
}

/// Runs `call`, the real function of a hook that has decided: what reaches the layer below on
/// this thread meanwhile is that same call.
pub(crate) fn forwarding<R>(call: impl FnOnce() -> R) -> R {
    during(&FORWARDING, call)
}

/// Whether this thread is inside [`forwarding`].
pub(crate) fn is_forwarding() -> bool {
    FORWARDING.get()
}

/// Runs `call`, made by a caller on the deny list.
pub(crate) fn denied<R>(call: impl FnOnce() -> R) -> R {
    during(&DENIED, call)
}

/// Whether this thread is inside [`denied`].
pub(crate) fn is_denied() -> bool {
    DENIED.get()
}

/// Runs `call`, which came through ROCr's table.
pub(crate) fn through_table<R>(call: impl FnOnce() -> R) -> R {
    during(&TABLE, call)
}

/// Whether this thread is inside [`through_table`].
pub(crate) fn is_through_table() -> bool {
    TABLE.get()
}

/// Runs `call`, whose device memory is counted: what it calls below is not counted again.
pub(crate) fn counting<R>(call: impl FnOnce() -> R) -> R {
    during(&COUNTING, call)
}

/// Whether this thread is inside [`counting`].
pub(crate) fn is_counting() -> bool {
    COUNTING.get()
}
