//! libkfdsim.so: a simulated RDNA GPU, for machines without one.
//!
//! Loaded by LD_PRELOAD it plays /dev/kfd, the amdgpu render nodes and their sysfs, so that
//! unmodified libhsakmt, libhsa-runtime64 and libamdhip64 run. It logs what they ask of the
//! kernel and which MTYPE Linux would choose; it does not execute kernels and says nothing
//! about what hardware does. Everything that is not a simulated path or device passes
//! through untouched.
//!
//! Needs x86-64 and glibc 2.33 or newer. Settings are environment variables: `config`.

#![cfg_attr(test, allow(dead_code, reason = "the hooks, which use it, are not built for tests"))]

mod api;
mod board;
mod config;
mod drm;
mod events;
mod fds;
#[cfg(not(test))]
mod hooks;
mod kfd;
mod libraries;
mod log;
mod memory;
mod mtype;
mod paths;
mod queue;
mod sim;
mod state;
mod strict;
mod svm;
mod sys;
mod tree;
mod unmapped;
mod vmas;

/// Writes a marker line into the log, so that a test can tell which calls came after it.
///
/// # Safety
/// `text` must be null or point to a terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfdsim_mark(text: *const std::ffi::c_char) {
    if text.is_null() {
        return;
    }
    let errno = sys::errno();
    // SAFETY: by the contract of this function.
    let text = unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().into_owned();
    if let Some(log) = sim::get().and_then(|sim| sim.log.as_ref()) {
        log.write(kfd_abi::log::Event::Mark { text });
    }
    sys::set_errno(errno);
}
