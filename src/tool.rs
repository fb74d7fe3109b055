//! The second way in: ROCr's own tool interface. ROCr calls `OnLoad` with its function table
//! where this library is preloaded (5.3 and later, because it exports HSA_AMD_TOOL_PRIORITY)
//! or named in HSA_TOOLS_LIB. Entries of the table are replaced by the same handlers, which
//! catches callers that took an address by dlsym. A table of unknown layout is left alone.
//!
//! A call that came through an exported hook passes here a second time, already decided, and
//! is passed on.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::hook::{Library, pass_caller};
use crate::hsa::{LockToPool, PoolAllocate, Status, SvmAttribute, SvmAttributesSet, VmemCreate};
use crate::{dl, hooks, mode, objects, seen};

/// Where among the tools: ROCr loads them in ascending order, and the last sees calls first.
// SAFETY: ROCr looks this name up; nothing else defines it.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[used]
pub static HSA_AMD_TOOL_PRIORITY: u32 = 100;

/// ApiTableVersion (hsa_api_trace.h); pointers follow it in every table, hence the alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
struct Version {
    major: u32,
    /// The size of the table in bytes.
    minor: u32,
    step: u32,
    reserved: u32,
}

/// HsaApiTable (hsa_api_trace.h), as far as it is used here.
#[repr(C)]
pub(crate) struct ApiTable {
    version: Version,
    core: *mut c_void,
    amd_ext: *mut Version,
}

/// Byte offsets of entries in AmdExtTable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    pool_allocate: usize,
    lock_to_pool: usize,
    svm_attributes_set: usize,
    vmem_handle_create: Option<usize>,
}

/// The layout of a table, by its version. AMD put two members in the middle at 5.6 without a
/// new major version, so the size tells (hsa_api_trace.h of 5.2 to 7.2: sizes 400, 424 before;
/// 456, 552, 560, 576, 592, 624 since). Since then members are only added at the end, so a
/// larger table of the same major version is taken too. `None` for anything else.
fn layout(root: Version, ext: Version) -> Option<Layout> {
    if !(1..=3).contains(&root.major) || !(1..=2).contains(&ext.major) || root.minor < 32 {
        return None;
    }
    let inserted = match ext.minor {
        400 | 424 => 0,
        size if size >= 456 && size % 8 == 0 => 0x10,
        _ => return None,
    };
    let vmem = 0x1d8;
    Some(Layout {
        pool_allocate: 0x78,
        lock_to_pool: 0x150 + inserted,
        svm_attributes_set: 0x170 + inserted,
        vmem_handle_create: (ext.minor as usize >= vmem + 8).then_some(vmem),
    })
}

/// One entry that was replaced: what was there before.
struct Entry {
    before: AtomicPtr<c_void>,
}

impl Entry {
    const fn new() -> Self {
        Self { before: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Puts `ours` at `place`, once.
    ///
    /// # Safety
    /// `place` must be an entry of ROCr's table that holds a function of the type of `ours`.
    unsafe fn take(&self, place: *mut *mut c_void, ours: *const ()) {
        // SAFETY: the caller vouches for the place, which ROCr does not change meanwhile.
        let before = unsafe { *place };
        if before.is_null() || before.cast_const().cast() == ours {
            return;
        }
        self.before.store(before, Ordering::Release);
        // SAFETY: as above.
        unsafe { *place = ours.cast_mut().cast() };
    }

    /// The function that was there before, as `F`.
    ///
    /// # Safety
    /// `F` must be its type, and the entry must have been taken.
    unsafe fn before<F: Copy>(&self) -> F {
        const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
        let address = self.before.load(Ordering::Acquire);
        // SAFETY: F is a function pointer type, as the caller vouches.
        unsafe { std::mem::transmute_copy(&address) }
    }
}

static POOL_ALLOCATE: Entry = Entry::new();
static LOCK_TO_POOL: Entry = Entry::new();
static SVM_ATTRIBUTES_SET: Entry = Entry::new();
static VMEM_HANDLE_CREATE: Entry = Entry::new();

/// The table that was changed, so that a second copy of ROCr is left alone.
static TABLE: AtomicPtr<Version> = AtomicPtr::new(std::ptr::null_mut());

macro_rules! interface {
    ($(#[$doc:meta])* $name:ident, $ours:ident, $whose:ident) => {
        $(#[$doc])*
        ///
        /// Other libraries have functions of this name, and this one comes before them: a call
        /// that is not ROCr's goes on to theirs.
        // SAFETY: ROCr looks this name up in every tool library; it is the interface.
        #[cfg_attr(not(test), unsafe(no_mangle))]
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                "push rdi",
                "push rsi",
                "push rdx",
                "push rcx",
                // The return address is above the four; the stack is aligned after this.
                "mov rdi, qword ptr [rsp + 32]",
                "sub rsp, 8",
                "call {whose}",
                "add rsp, 8",
                "pop rcx",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "test rax, rax",
                "jz 2f",
                "jmp rax",
                "2:",
                "jmp {ours}",
                whose = sym $whose,
                ours = sym $ours,
            )
        }
    };
}

interface!(
    /// `bool OnLoad(HsaApiTable* table, uint64_t runtime_version, uint64_t failed_tool_count,
    /// const char* const* failed_tool_names)`: called by ROCr inside hsa_init.
    OnLoad, on_load, whose_on_load
);
interface!(
    /// `void OnUnload()`: called by ROCr inside hsa_shut_down.
    OnUnload, on_unload, whose_on_unload
);

extern "C" fn whose_on_load(caller: usize) -> *const () {
    whose(c"OnLoad", caller)
}

extern "C" fn whose_on_unload(caller: usize) -> *const () {
    whose(c"OnUnload", caller)
}

/// Null if a call from `caller` is for this library, else the function that it is for.
fn whose(name: &CStr, caller: usize) -> *const () {
    let prefix = Library::Hsa.file_prefix().as_bytes();
    let from_rocr =
        objects::containing(caller).is_some_and(|object| object.file_name().starts_with(prefix));
    if from_rocr {
        return std::ptr::null();
    }
    dl::lookup(libc::RTLD_NEXT, name)
}

unsafe extern "C" fn on_load(
    table: *mut ApiTable,
    _runtime_version: u64,
    _failed: u64,
    _names: *const *const c_char,
) -> bool {
    if !mode::active() || table.is_null() {
        return true;
    }
    // SAFETY: ROCr passes its own table, alive until OnUnload; its first members have been
    // these since 5.0, and amd_ext is read only if the version says that it is there.
    let (root, ext) = unsafe { ((*table).version, (*table).amd_ext) };
    if ext.is_null() {
        return true;
    }
    // SAFETY: every table of ROCr starts with its version.
    let version = unsafe { *ext };
    let Some(layout) = layout(root, version) else {
        tracing::warn!("HSA table of unknown layout ({root:?}, {version:?}): left alone");
        return true;
    };
    if TABLE
        .compare_exchange(std::ptr::null_mut(), ext, Ordering::AcqRel, Ordering::Acquire)
        .is_err()
    {
        tracing::info!("a second HSA runtime: its table is left alone");
        return true;
    }
    let place = |offset: usize| ext.wrapping_byte_add(offset).cast::<*mut c_void>();
    // SAFETY: the layout is that of this table, so each place holds that function.
    unsafe {
        POOL_ALLOCATE.take(place(layout.pool_allocate), pool_allocate as *const ());
        LOCK_TO_POOL.take(place(layout.lock_to_pool), lock_to_pool as *const ());
        SVM_ATTRIBUTES_SET.take(place(layout.svm_attributes_set), svm_attributes_set as *const ());
        if let Some(offset) = layout.vmem_handle_create {
            VMEM_HANDLE_CREATE.take(place(offset), vmem_handle_create as *const ());
        }
    }
    tracing::debug!("HSA table taken over: {} bytes", version.minor);
    true
}

/// ROCr is shutting down; its table goes with it.
extern "C" fn on_unload() {
    TABLE.store(std::ptr::null_mut(), Ordering::Release);
}

/// A table entry that passes the return address on as one more argument.
macro_rules! entry {
    ($name:ident, $handler:path, $($line:expr),*) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                ".cfi_startproc",
                $($line,)*
                ".cfi_endproc",
                handler = sym $handler,
            )
        }
    };
}

entry!(pool_allocate, handle_pool_allocate, pass_caller!(r8));
entry!(svm_attributes_set, handle_svm_attributes_set, pass_caller!(r8));
entry!(vmem_handle_create, handle_vmem_handle_create, pass_caller!(r9));
entry!(lock_to_pool, handle_lock_to_pool, pass_caller!(stack));

unsafe extern "C-unwind" fn handle_pool_allocate(
    pool: u64,
    size: usize,
    flags: u32,
    ptr: *mut *mut c_void,
    caller: usize,
) -> Status {
    // SAFETY: the entry was taken from this function, whose type this is.
    let before: PoolAllocate = unsafe { POOL_ALLOCATE.before() };
    if seen::is_forwarding() {
        // SAFETY: the program's own arguments to the function that it called.
        return unsafe { before(pool, size, flags, ptr) };
    }
    // SAFETY: the same.
    seen::through_table(|| unsafe {
        hooks::pool::allocate_with(before, pool, size, flags, ptr, caller)
    })
}

unsafe extern "C-unwind" fn handle_svm_attributes_set(
    ptr: *mut c_void,
    size: usize,
    list: *mut SvmAttribute,
    count: usize,
    caller: usize,
) -> Status {
    // SAFETY: the entry was taken from this function, whose type this is.
    let before: SvmAttributesSet = unsafe { SVM_ATTRIBUTES_SET.before() };
    if seen::is_forwarding() {
        // SAFETY: the program's own arguments to the function that it called.
        return unsafe { before(ptr, size, list, count) };
    }
    // SAFETY: the same.
    seen::through_table(|| unsafe {
        hooks::svm::attributes_set_with(before, ptr, size, list, count, caller)
    })
}

unsafe extern "C-unwind" fn handle_vmem_handle_create(
    pool: u64,
    size: usize,
    kind: c_int,
    flags: u64,
    handle: *mut u64,
    caller: usize,
) -> Status {
    // SAFETY: the entry was taken from this function, whose type this is.
    let before: VmemCreate = unsafe { VMEM_HANDLE_CREATE.before() };
    if seen::is_forwarding() {
        // SAFETY: the program's own arguments to the function that it called.
        return unsafe { before(pool, size, kind, flags, handle) };
    }
    // SAFETY: the same.
    seen::through_table(|| unsafe {
        hooks::pool::vmem_create_with(before, pool, size, kind, flags, handle, caller)
    })
}

unsafe extern "C-unwind" fn handle_lock_to_pool(
    host: *mut c_void,
    size: usize,
    agents: *mut u64,
    count: c_int,
    pool: u64,
    flags: u32,
    out: *mut *mut c_void,
    caller: usize,
) -> Status {
    // SAFETY: the entry was taken from this function, whose type this is.
    let before: LockToPool = unsafe { LOCK_TO_POOL.before() };
    if seen::is_forwarding() {
        // SAFETY: the program's own arguments to the function that it called.
        return unsafe { before(host, size, agents, count, pool, flags, out) };
    }
    // SAFETY: the same.
    seen::through_table(|| unsafe {
        hooks::pool::lock_with(before, host, size, agents, count, pool, flags, out, caller)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(major: u32, minor: u32, step: u32) -> Version {
        Version { major, minor, step, reserved: 0 }
    }

    /// Releases as measured: root major, ext major, ext size; offsets of lock_to_pool and
    /// svm_attributes_set, and whether there is vmem_handle_create.
    #[test]
    fn every_release_has_its_layout() {
        for (root, ext, size, lock, svm, vmem) in [
            (1, 1, 400, 0x150, 0x170, false),
            (1, 1, 424, 0x150, 0x170, false),
            (1, 1, 456, 0x160, 0x180, false),
            (2, 2, 552, 0x160, 0x180, true),
            (3, 2, 560, 0x160, 0x180, true),
            (3, 2, 592, 0x160, 0x180, true),
            (3, 2, 624, 0x160, 0x180, true),
        ] {
            let layout = layout(version(root, 48, 0), version(ext, size, 0)).expect("known");
            assert_eq!((layout.pool_allocate, layout.lock_to_pool), (0x78, lock), "{size}");
            assert_eq!(
                (layout.svm_attributes_set, layout.vmem_handle_create.is_some()),
                (svm, vmem)
            );
        }
    }

    #[test]
    fn a_table_that_was_never_seen_is_left_alone() {
        for (root, ext) in [
            (version(0, 48, 0), version(1, 400, 0)),
            (version(4, 64, 0), version(2, 624, 0)),
            (version(3, 64, 0), version(3, 624, 0)),
            (version(1, 16, 0), version(1, 400, 0)),
            (version(1, 48, 0), version(1, 0, 0)),
            (version(1, 48, 0), version(1, 440, 0)),
            (version(3, 64, 0), version(2, 625, 0)),
        ] {
            assert_eq!(layout(root, ext), None, "{root:?} {ext:?}");
        }
    }

    proptest! {
        #[test]
        fn no_offset_is_past_the_end_of_the_table(major in 0u32..5, size: u32, ext in 0u32..4, root_size: u32) {
            if let Some(layout) = layout(version(major, root_size, 0), version(ext, size, 0)) {
                let last = [layout.pool_allocate, layout.lock_to_pool, layout.svm_attributes_set]
                    .into_iter()
                    .chain(layout.vmem_handle_create)
                    .max();
                prop_assert!(last.unwrap() + 8 <= size as usize);
            }
        }
    }
}
