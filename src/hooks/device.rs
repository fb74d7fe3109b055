//! hipExtMallocWithFlags: device memory for which something was asked explicitly. It is
//! forwarded; what matters is that the HSA hook below knows that the request was explicit.

use std::ffi::{c_int, c_uint, c_void};

use policy::{Request, ext_malloc};

use super::{ask, vram};
use crate::hip::{self, AllocFlags, SYMBOL_NOT_FOUND};
use crate::hook::Hook;
use crate::resolve::function;
use crate::{mode, seen};

/// `hipError_t hipExtMallocWithFlags(void** ptr, size_t size, unsigned int flags)`
pub(crate) unsafe extern "C-unwind" fn ext_malloc(
    ptr: *mut *mut c_void,
    size: usize,
    flags: c_uint,
    caller: usize,
) -> c_int {
    // SAFETY: the type is that of hipExtMallocWithFlags.
    let real = unsafe { function::<AllocFlags>(Hook::HipExtMallocWithFlags, caller) };
    let Some(real) = real else { return SYMBOL_NOT_FOUND };
    // Before the call: asking HIP for the device afterwards would change the last error.
    let asked = if mode::active() && !ptr.is_null() && size != 0 {
        let gpu = || hip::near(caller)?.current_target();
        let request = Request::ExtMalloc { flags };
        ask(Hook::HipExtMallocWithFlags, request, caller, (flags, size), gpu)
    } else {
        None
    };
    // SAFETY: the program's own arguments to the function that it called.
    let call = |more| seen::explicit(|| unsafe { real(ptr, size | more, flags) });
    let status = if flags == ext_malloc::SIGNAL {
        call(0) // host memory
    } else {
        // SAFETY: `ptr` takes the result of the call.
        unsafe { vram::counted(Hook::HipExtMallocWithFlags, ptr, size, caller, call) }
    };
    if let Some(asked) = asked {
        asked.done(false);
    }
    status
}
