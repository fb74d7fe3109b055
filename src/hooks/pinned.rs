//! Pinned host memory: hipHostMalloc and its relatives.

use std::ffi::{c_int, c_uint, c_void};

use policy::{Action, HipVersion, Request, host_malloc as flag};

use super::{Asked, ask, attempt_hip, of_interest, vram};
use crate::hip::{
    self, Alloc, AllocFlags, Free, GetAttributes, GetFlags, PointerAttributes, SUCCESS,
    SYMBOL_NOT_FOUND,
};
use crate::hook::Hook;
use crate::mode;
use crate::remember::{CHOSEN, PAGE, PINNED, Rewritten};
use crate::resolve::function;

/// `hipError_t hipHostMalloc(void** ptr, size_t size, unsigned int flags)`
pub(crate) unsafe extern "C-unwind" fn host_malloc(
    ptr: *mut *mut c_void,
    size: usize,
    flags: c_uint,
    caller: usize,
) -> c_int {
    // SAFETY: the type is that of hipHostMalloc.
    let Some(real) = (unsafe { function::<AllocFlags>(Hook::HipHostMalloc, caller) }) else {
        return SYMBOL_NOT_FOUND;
    };
    if mode::active() && (of_interest(Request::HostMalloc { flags }) || !PINNED.is_empty()) {
        return host_malloc_of_interest(real, ptr, size, flags, caller);
    }
    // SAFETY: the program's own arguments to the function that it called.
    unsafe { real(ptr, size, flags) }
}

#[inline(never)]
fn host_malloc_of_interest(
    real: AllocFlags,
    ptr: *mut *mut c_void,
    size: usize,
    flags: c_uint,
    caller: usize,
) -> c_int {
    // SAFETY: the program's own arguments to the function that it called.
    let original = || unsafe { real(ptr, size, flags) };
    if !worth_asking(ptr, size) {
        return original();
    }
    let request = Request::HostMalloc { flags };
    let asked = ask(Hook::HipHostMalloc, request, caller, (flags, size), || current(caller));
    match asked.as_ref().map(|asked| (asked, asked.action())) {
        Some((asked, Action::WithFlags(given))) => {
            let flags = Rewritten { passed: flags, given };
            allocate(asked, ptr, size, flags, real, original, caller)
        }
        _ => as_it_came(asked.as_ref(), ptr, original),
    }
}

/// `hipError_t hipHostAlloc(void** ptr, size_t size, unsigned int flags)`
pub(crate) unsafe extern "C-unwind" fn host_alloc(
    ptr: *mut *mut c_void,
    size: usize,
    flags: c_uint,
    caller: usize,
) -> c_int {
    // SAFETY: the type is that of hipHostAlloc.
    let Some(real) = (unsafe { function::<AllocFlags>(Hook::HipHostAlloc, caller) }) else {
        return SYMBOL_NOT_FOUND;
    };
    // SAFETY: the program's own arguments to the function that it called.
    let original = || unsafe { real(ptr, size, flags) };
    let request = |hip: Option<HipVersion>| Request::HostAlloc { flags, hip };
    through_host_malloc(Hook::HipHostAlloc, request, (ptr, size, flags), original, caller)
}

/// `hipError_t hipMemAllocHost(void** ptr, size_t size)`
pub(crate) unsafe extern "C-unwind" fn mem_alloc_host(
    ptr: *mut *mut c_void,
    size: usize,
    caller: usize,
) -> c_int {
    // SAFETY: the type is that of hipMemAllocHost.
    let Some(real) = (unsafe { function::<Alloc>(Hook::HipMemAllocHost, caller) }) else {
        return SYMBOL_NOT_FOUND;
    };
    // SAFETY: the program's own arguments to the function that it called.
    let original = || unsafe { real(ptr, size) };
    through_host_malloc(
        Hook::HipMemAllocHost,
        |_| Request::MemAllocHost,
        (ptr, size, flag::DEFAULT),
        original,
        caller,
    )
}

/// A call that is made as hipHostMalloc if it is rewritten.
fn through_host_malloc(
    hook: Hook,
    request: impl FnOnce(Option<HipVersion>) -> Request,
    (ptr, size, passed): (*mut *mut c_void, usize, c_uint),
    original: impl Fn() -> c_int,
    caller: usize,
) -> c_int {
    if !worth_asking(ptr, size) {
        return original();
    }
    let version = hip::near(caller).and_then(hip::Hip::version);
    let asked = ask(hook, request(version), caller, (passed, size), || current(caller));
    // SAFETY: the type is that of hipHostMalloc.
    let host_malloc = unsafe { function::<AllocFlags>(Hook::HipHostMalloc, caller) };
    if let (Some(asked), Some(host_malloc)) = (&asked, host_malloc)
        && let Action::CallHostMalloc(given) = asked.action()
    {
        let flags = Rewritten { passed, given };
        return allocate(asked, ptr, size, flags, host_malloc, original, caller);
    }
    as_it_came(asked.as_ref(), ptr, original)
}

/// The call unchanged. A pointer that it gives is no longer the one that is remembered.
fn as_it_came(asked: Option<&Asked>, ptr: *mut *mut c_void, original: impl Fn() -> c_int) -> c_int {
    let status = original();
    forget(ptr, status);
    if let Some(asked) = asked {
        asked.done(false);
    }
    status
}

/// A call that a NULL pointer or size 0 decides already is the real function's to answer.
fn worth_asking(ptr: *mut *mut c_void, size: usize) -> bool {
    mode::active() && !ptr.is_null() && size != 0
}

fn current(caller: usize) -> Option<policy::GfxTarget> {
    hip::near(caller)?.current_target()
}

/// hipHostMalloc with other flags than the program passed, and the call as it came if that fails.
fn allocate(
    asked: &Asked,
    ptr: *mut *mut c_void,
    size: usize,
    flags: Rewritten,
    host_malloc: AllocFlags,
    original: impl Fn() -> c_int,
    caller: usize,
) -> c_int {
    let hip = hip::near(caller);
    // SAFETY: the program's own pointer and size.
    let rewritten = || unsafe { host_malloc(ptr, size, flags.given) };
    let (status, fell_back) = attempt_hip(hip, rewritten, original);
    if fell_back {
        forget(ptr, status);
    } else {
        // SAFETY: the call succeeded, so it wrote the result through `ptr`.
        let start = unsafe { *ptr } as usize;
        PINNED.with(|pinned| pinned.set(start, size, flags));
    }
    asked.done(fell_back);
    status
}

fn forget(ptr: *mut *mut c_void, status: c_int) {
    if status == SUCCESS && !PINNED.is_empty() {
        // SAFETY: the call succeeded, so `ptr` is valid and holds the result.
        let start = unsafe { *ptr } as usize;
        PINNED.with(|pinned| pinned.clear(start, 1));
    }
}

/// `hipError_t hipHostGetFlags(unsigned int* flags, void* ptr)`
pub(crate) unsafe extern "C-unwind" fn host_get_flags(
    flags: *mut c_uint,
    ptr: *mut c_void,
    caller: usize,
) -> c_int {
    // SAFETY: the type is that of hipHostGetFlags.
    let Some(real) = (unsafe { function::<GetFlags>(Hook::HipHostGetFlags, caller) }) else {
        return SYMBOL_NOT_FOUND;
    };
    // SAFETY: the program's own arguments to the function that it called.
    let status = unsafe { real(flags, ptr) };
    if status == SUCCESS {
        // SAFETY: the call succeeded, so it wrote the flags through the pointer.
        show_passed(unsafe { &mut *flags }, ptr);
    }
    status
}

/// `hipError_t hipPointerGetAttributes(hipPointerAttribute_t* attributes, const void* ptr)`
pub(crate) unsafe extern "C-unwind" fn pointer_get_attributes(
    attributes: *mut PointerAttributes,
    ptr: *const c_void,
    caller: usize,
) -> c_int {
    // SAFETY: the type is that of hipPointerGetAttributes.
    let Some(real) = (unsafe { function::<GetAttributes>(Hook::HipPointerGetAttributes, caller) })
    else {
        return SYMBOL_NOT_FOUND;
    };
    // SAFETY: the program's own arguments to the function that it called.
    let status = unsafe { real(attributes, ptr) };
    if status == SUCCESS {
        // SAFETY: the call succeeded, so it filled in the attributes.
        show_passed(unsafe { &mut (*attributes).allocation_flags }, ptr);
    }
    status
}

/// Replaces flags that this library gave by those that the program passed.
fn show_passed(flags: &mut c_uint, ptr: *const c_void) {
    if !PINNED.is_empty()
        && let Some(rewritten) = PINNED.with(|pinned| pinned.at(ptr as usize))
        && *flags == rewritten.given
    {
        *flags = rewritten.passed;
    }
}

/// `hipError_t hipHostFree(void* ptr)`
pub(crate) unsafe extern "C-unwind" fn host_free(ptr: *mut c_void, caller: usize) -> c_int {
    // SAFETY: the program's own argument to the function that it called.
    unsafe { free_with(Hook::HipHostFree, ptr, caller) }
}

/// `hipError_t hipFreeHost(void* ptr)`
pub(crate) unsafe extern "C-unwind" fn free_host(ptr: *mut c_void, caller: usize) -> c_int {
    // SAFETY: the program's own argument to the function that it called.
    unsafe { free_with(Hook::HipFreeHost, ptr, caller) }
}

/// `hipError_t hipFree(void* ptr)`
pub(crate) unsafe extern "C-unwind" fn free(ptr: *mut c_void, caller: usize) -> c_int {
    // SAFETY: the program's own argument to the function that it called.
    unsafe { free_with(Hook::HipFree, ptr, caller) }
}

/// What is remembered goes before the call: once the memory is free, another thread may get
/// the same address. It comes back if the call fails.
unsafe fn free_with(hook: Hook, ptr: *mut c_void, caller: usize) -> c_int {
    // SAFETY: hipHostFree, hipFreeHost and hipFree have this type.
    let Some(real) = (unsafe { function::<Free>(hook, caller) }) else {
        return SYMBOL_NOT_FOUND;
    };
    let start = ptr as usize;
    let counted = vram::free(ptr, caller);
    let pinned = if PINNED.is_empty() { None } else { PINNED.with(|pinned| pinned.take(start)) };
    // A choice may be about a part of the memory, so its size is asked for.
    let chosen = if CHOSEN.is_empty() || ptr.is_null() {
        Vec::new()
    } else {
        let size = hip::near(caller).map_or(0, |hip| hip.allocated(ptr));
        CHOSEN.with(|chosen| chosen.cut(start, size.next_multiple_of(PAGE)))
    };
    // SAFETY: the program's own argument to the function that it called.
    let status = unsafe { real(ptr) };
    counted.done(status == SUCCESS);
    if status != SUCCESS {
        if let Some((size, flags)) = pinned {
            PINNED.with(|pinned| pinned.set(start, size, flags));
        }
        for (start, size, ()) in chosen {
            CHOSEN.with(|chosen| chosen.set(start, size, ()));
        }
    }
    status
}
