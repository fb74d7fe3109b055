//! What the HSA hooks saw on this thread, so that the HIP hook above them knows whether they
//! were on the runtime's path. Thread-local numbers without a destructor.

use std::cell::Cell;

use policy::Below;

thread_local! {
    static SVM: Cell<u32> = const { Cell::new(0) };
    static POOL: Cell<u32> = const { Cell::new(0) };
    static ADVISING: Cell<bool> = const { Cell::new(false) };
}

/// `hsa_amd_svm_attributes_set` passed.
pub(crate) fn svm() {
    SVM.set(SVM.get().wrapping_add(1));
}

/// `hsa_amd_memory_pool_allocate` passed.
pub(crate) fn pool() {
    POOL.set(POOL.get().wrapping_add(1));
}

/// Runs `call` and says what passed through the HSA hooks of this thread meanwhile.
pub(crate) fn below<R>(call: impl FnOnce() -> R) -> (R, Below) {
    let (svm, pool) = (SVM.get(), POOL.get());
    let result = call();
    let below = if SVM.get() != svm {
        Below::SvmDecided
    } else if POOL.get() != pool {
        Below::PoolAllocated
    } else {
        Below::NothingSeen
    };
    (result, below)
}

/// Runs `call`, during which a grain that is set is this library's, not the program's choice.
pub(crate) fn advising<R>(call: impl FnOnce() -> R) -> R {
    ADVISING.set(true);
    let result = call();
    ADVISING.set(false);
    result
}

/// Whether this thread is inside [`advising`].
pub(crate) fn is_advising() -> bool {
    ADVISING.get()
}
