//! SIGPIPE: Rust's standard library ignores it in this process and resets it to its default in
//! every program that is started. A program that rdnafix starts gets what rdnafix was given,
//! which for a service of systemd is "ignored".

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

static WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Before the standard library starts.
#[ctor::ctor(unsafe)]
fn look() {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: only asks, and writes the answer to a valid place.
    let ignored = unsafe {
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    };
    WAS_IGNORED.store(ignored, Ordering::Relaxed);
}

/// Has the program start with the inherited disposition.
pub(crate) fn restore_in(command: &mut Command) {
    if WAS_IGNORED.load(Ordering::Relaxed) {
        // SAFETY: signal is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGPIPE, libc::SIG_IGN);
                Ok(())
            });
        }
    }
}
