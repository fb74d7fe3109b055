//! Closing and duplicating descriptors: the table follows.
//!
//! A vfork child shares the table with its parent but not the descriptors, so it must not
//! change it.

use std::ffi::{c_int, c_long};

use crate::fds::{self, Kind};
use crate::{sim, sys};

/// Takes note that a descriptor is about to be closed.
fn closing(fd: c_int) {
    let errno = sys::errno();
    if let Some(kind) = fds::get(fd)
        && sim::is_own_process()
    {
        fds::forget(fd);
        if let Kind::Dmabuf { id } = kind
            && !fds::is_elsewhere(fd, kind)
            && let Some(sim) = sim::get()
        {
            sim.lock().memory.unexport(id);
        }
    }
    sys::set_errno(errno);
}

/// Takes note of a duplicate that was made.
fn duplicated(old: c_int, new: c_int) -> c_int {
    if new >= 0 && fds::is_entered(old, new) && sim::is_own_process() {
        fds::duplicate(old, new);
    }
    new
}

redhook::hook! {
    unsafe fn close(fd: c_int) -> c_int => close_hook {
        closing(fd);
        // SAFETY: the caller's own call.
        unsafe { redhook::real!(close)(fd) }
    }
}

redhook::hook! {
    unsafe fn dup(fd: c_int) -> c_int => dup_hook {
        // SAFETY: the caller's own call.
        duplicated(fd, unsafe { redhook::real!(dup)(fd) })
    }
}

redhook::hook! {
    unsafe fn dup2(old: c_int, new: c_int) -> c_int => dup2_hook {
        // SAFETY: the caller's own call.
        duplicated(old, unsafe { redhook::real!(dup2)(old, new) })
    }
}

redhook::hook! {
    unsafe fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int => dup3_hook {
        // SAFETY: the caller's own call.
        duplicated(old, unsafe { redhook::real!(dup3)(old, new, flags) })
    }
}

fn is_dup(command: c_int) -> bool {
    matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC)
}

redhook::hook! {
    unsafe fn fcntl(fd: c_int, command: c_int, arg: c_long) -> c_int => fcntl_hook {
        // SAFETY: the caller's own call.
        let result = unsafe { redhook::real!(fcntl)(fd, command, arg) };
        if is_dup(command) { duplicated(fd, result) } else { result }
    }
}

redhook::hook! {
    unsafe fn fcntl64(fd: c_int, command: c_int, arg: c_long) -> c_int => fcntl64_hook {
        // SAFETY: the caller's own call.
        let result = unsafe { redhook::real!(fcntl64)(fd, command, arg) };
        if is_dup(command) { duplicated(fd, result) } else { result }
    }
}
