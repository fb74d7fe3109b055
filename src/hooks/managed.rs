//! hipMallocManaged. Its flags say nothing about the grain; the range is made coarse-grained
//! by the HSA hook below, and here only where that hook is not on the runtime's path.

use std::ffi::{c_int, c_uint, c_void};

use policy::{Action, Below, Request};

use super::ask;
use crate::hip::{self, AllocFlags, Hip, OUT_OF_MEMORY, SUCCESS, SYMBOL_NOT_FOUND};
use crate::hook::Hook;
use crate::hsa;
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
    let hip = hip::near(caller);
    // Before the call, as asking for the version afterwards would clear the error of the call.
    let reserves = tracing::enabled!(tracing::Level::WARN)
        && hip.and_then(Hip::version).is_some_and(|version| version.major >= 7);
    // The HSA hook below sees HIP as the caller.
    let denied = caller::at(caller) == policy::Caller::Denied;
    let (status, below) = seen::below(|| if denied { seen::denied(call) } else { call() });
    if status == OUT_OF_MEMORY && below == Below::NothingSeen && reserves {
        explain_old_kernel(caller);
    }
    if status != SUCCESS || ptr.is_null() || size == 0 {
        return status;
    }
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

/// HIP 7 reserves the addresses of managed memory through ROCr, which needs KFD 1.15; what the
/// program is told is that there is no memory. Whoever reads the log gets to know why.
fn explain_old_kernel(caller: usize) {
    if hsa::near(caller).is_some_and(|hsa| hsa.has_svm() && hsa.misses_virtual_memory()) {
        tracing::warn!(
            "hipMallocManaged: out of memory, because this HIP needs KFD 1.15 for managed memory \
             and the kernel has an older one; set HSA_USE_SVM=0, or use a newer kernel"
        );
    }
}
