//! Threads for tests that also run under ThreadSanitizer: plain ones of the C library, because
//! those of the standard library, which is not instrumented, look like races.

use std::ffi::c_void;

/// Runs `work` in `count` threads at once, to the end of all.
pub(crate) fn run<F: Fn() + Sync>(count: usize, work: F) {
    extern "C" fn start<F: Fn() + Sync>(work: *mut c_void) -> *mut c_void {
        // SAFETY: `run` passes a pointer to its closure, which outlives the thread.
        let work = unsafe { &*work.cast_const().cast::<F>() };
        work();
        std::ptr::null_mut()
    }
    let threads: Vec<libc::pthread_t> = (0..count)
        .map(|_| {
            let mut thread = 0;
            let work = (&raw const work).cast_mut().cast();
            // SAFETY: a valid place for the result, a function of the right type, and a pointer
            // to a closure that may be called from several threads.
            let status = unsafe {
                libc::pthread_create(&raw mut thread, std::ptr::null(), start::<F>, work)
            };
            assert_eq!(status, 0, "pthread_create");
            thread
        })
        .collect();
    for thread in threads {
        // SAFETY: started above and not joined yet.
        assert_eq!(unsafe { libc::pthread_join(thread, std::ptr::null_mut()) }, 0);
    }
}
