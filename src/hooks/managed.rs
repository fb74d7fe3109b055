//! hipMallocManaged. Its flags say nothing about the grain; the range is made coarse-grained
//! by the HSA hook below, and here only where that hook is not on the runtime's path.

use std::ffi::{c_int, c_uint, c_void};

use policy::{Action, Request};

use super::ask;
use crate::hip::{self, AllocFlags, SUCCESS, SYMBOL_NOT_FOUND};
use crate::hook::Hook;
use crate::resolve::function;
use crate::{caller, mode, seen};

/// `hipError_t hipMallocManaged(void** ptr, size_t size, unsigned int flags)`
pub(crate) unsafe extern "C-unwind" fn malloc_managed(
    ptr: *mut *mut c_void,
    size: usize,
    flags: c_uint,
    caller: usize,
) -> c_int {
    // SAFETY: the type is that of hipMallocManaged.
    let Some(real) = (unsafe { function::<AllocFlags>(Hook::HipMallocManaged, caller) }) else {
        return SYMBOL_NOT_FOUND;
    };
    // SAFETY: the program's own arguments to the function that it called.
    let call = || unsafe { real(ptr, size, flags) };
    if !mode::active() {
        return call();
    }
    // The HSA hook below sees HIP as the caller.
    let denied = caller::at(caller) == policy::Caller::Denied;
    let (status, below) = seen::below(|| if denied { seen::denied(call) } else { call() });
    if status != SUCCESS || ptr.is_null() || size == 0 {
        return status;
    }
    let hip = hip::near(caller);
    let request = Request::MallocManaged { below };
    let asked =
        ask(Hook::HipMallocManaged, request, caller, (flags, size), || hip?.current_target());
    let Some(asked) = asked else { return status };
    let mut refused = false;
    // With an error pending, a failure of the advice could not be taken back unseen.
    if asked.action() == Action::AdviseCoarse
        && let Some(hip) = hip.filter(|hip| !hip.error_pending())
    {
        // SAFETY: the allocation succeeded, and the program does not have it yet.
        refused = !seen::advising(|| unsafe { hip.advise_coarse(*ptr, size) });
        if refused {
            hip.clear_error();
        }
    }
    asked.done(refused);
    status
}
