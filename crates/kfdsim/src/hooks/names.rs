//! Asking about names: access, readlink, realpath.

use std::ffi::{c_char, c_int};

use libc::{size_t, ssize_t};

use super::{find, find_at};
use crate::sim;

redhook::hook! {
    unsafe fn access(path: *const c_char, mode: c_int) -> c_int => access_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            match find(path) {
                Some(found) => redhook::real!(access)(found.real.as_ptr(), mode),
                None => redhook::real!(access)(path, mode),
            }
        }
    }
}

redhook::hook! {
    unsafe fn euidaccess(path: *const c_char, mode: c_int) -> c_int => euidaccess_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            match find(path) {
                Some(found) => redhook::real!(euidaccess)(found.real.as_ptr(), mode),
                None => redhook::real!(euidaccess)(path, mode),
            }
        }
    }
}

redhook::hook! {
    unsafe fn eaccess(path: *const c_char, mode: c_int) -> c_int => eaccess_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            match find(path) {
                Some(found) => redhook::real!(eaccess)(found.real.as_ptr(), mode),
                None => redhook::real!(eaccess)(path, mode),
            }
        }
    }
}

redhook::hook! {
    unsafe fn faccessat(directory: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int => faccessat_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            match find_at(directory, path) {
                Some(found) => redhook::real!(faccessat)(libc::AT_FDCWD, found.real.as_ptr(), mode, flags),
                None => redhook::real!(faccessat)(directory, path, mode, flags),
            }
        }
    }
}

redhook::hook! {
    unsafe fn readlink(path: *const c_char, buffer: *mut c_char, size: size_t) -> ssize_t => readlink_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            match find(path) {
                Some(found) => redhook::real!(readlink)(found.real.as_ptr(), buffer, size),
                None => redhook::real!(readlink)(path, buffer, size),
            }
        }
    }
}

redhook::hook! {
    unsafe fn readlinkat(directory: c_int, path: *const c_char, buffer: *mut c_char, size: size_t) -> ssize_t => readlinkat_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            match find_at(directory, path) {
                Some(found) => redhook::real!(readlinkat)(libc::AT_FDCWD, found.real.as_ptr(), buffer, size),
                None => redhook::real!(readlinkat)(directory, path, buffer, size),
            }
        }
    }
}

redhook::hook! {
    unsafe fn __readlink_chk(path: *const c_char, buffer: *mut c_char, size: size_t, room: size_t) -> ssize_t => __readlink_chk_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            match find(path) {
                Some(found) => redhook::real!(__readlink_chk)(found.real.as_ptr(), buffer, size, room),
                None => redhook::real!(__readlink_chk)(path, buffer, size, room),
            }
        }
    }
}

redhook::hook! {
    unsafe fn __readlinkat_chk(directory: c_int, path: *const c_char, buffer: *mut c_char, size: size_t, room: size_t) -> ssize_t => __readlinkat_chk_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            match find_at(directory, path) {
                Some(found) => redhook::real!(__readlinkat_chk)(libc::AT_FDCWD, found.real.as_ptr(), buffer, size, room),
                None => redhook::real!(__readlinkat_chk)(directory, path, buffer, size, room),
            }
        }
    }
}

/// Takes the directory of the tree off the front of a resolved path.
///
/// # Safety
/// `path` is null or a terminated string that may be written.
unsafe fn strip(path: *mut c_char) -> *mut c_char {
    // SAFETY: by the contract of this function.
    let (Some(text), Some(sim)) = (unsafe { super::string(path) }, sim::get()) else {
        return path;
    };
    if let Some(rest) = text.to_bytes_with_nul().strip_prefix(sim.root.as_bytes())
        && rest.starts_with(b"/")
    {
        // SAFETY: moves the end of the string, with its terminator, to its start.
        unsafe { std::ptr::copy(rest.as_ptr().cast(), path, rest.len()) };
    }
    path
}

/// realpath of the C library. Before glibc 2.36 RTLD_NEXT finds the version of 2.2.5, which wants a
/// buffer (glibc bug 14932); what is asked for without one has a name of its own.
///
/// # Safety
/// The arguments are those of realpath.
unsafe fn real_path(path: *const c_char, resolved: *mut c_char) -> *mut c_char {
    // SAFETY: by the contract of this function.
    unsafe {
        if resolved.is_null() {
            redhook::real!(canonicalize_file_name)(path)
        } else {
            redhook::real!(realpath)(path, resolved)
        }
    }
}

redhook::hook! {
    unsafe fn realpath(path: *const c_char, resolved: *mut c_char) -> *mut c_char => realpath_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            match find(path) {
                Some(found) => strip(real_path(found.real.as_ptr(), resolved)),
                None => real_path(path, resolved),
            }
        }
    }
}

redhook::hook! {
    unsafe fn __realpath_chk(path: *const c_char, resolved: *mut c_char, room: size_t) -> *mut c_char => __realpath_chk_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            match find(path) {
                Some(found) => strip(redhook::real!(__realpath_chk)(found.real.as_ptr(), resolved, room)),
                None => redhook::real!(__realpath_chk)(path, resolved, room),
            }
        }
    }
}

redhook::hook! {
    unsafe fn canonicalize_file_name(path: *const c_char) -> *mut c_char => canonicalize_file_name_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            match find(path) {
                Some(found) => strip(redhook::real!(canonicalize_file_name)(found.real.as_ptr())),
                None => redhook::real!(canonicalize_file_name)(path),
            }
        }
    }
}
