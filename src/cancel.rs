//! pthread_cancel: a thread that is cancelled inside open, read or write unwinds from there,
//! and nothing may unwind through the frames of this library.

use std::ffi::c_int;

/// PTHREAD_CANCEL_DISABLE of <pthread.h>
const DISABLE: c_int = 1;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

/// Runs `work`, which may contain cancellation points, with cancellation put off.
pub(crate) fn held_off<R>(work: impl FnOnce() -> R) -> R {
    let mut before = 0;
    // SAFETY: a valid state and a valid place for the one before.
    unsafe { pthread_setcancelstate(DISABLE, &raw mut before) };
    let result = work();
    let mut ours = 0;
    // SAFETY: the state that was there.
    unsafe { pthread_setcancelstate(before, &raw mut ours) };
    result
}
