//! Opening: open and its many names, fopen, opendir, scandir.

use std::ffi::{c_char, c_int, c_void};

use libc::{DIR, FILE, mode_t};

use super::{device, find, find_at, give, string};
use crate::fds::{self, Kind};
use crate::sys;

redhook::hook! {
    unsafe fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int => open_hook {
        // SAFETY: the caller's own arguments.
        unsafe {
            match find(path) {
                Some(found) => give(device::open(&found, flags, mode)),
                None => redhook::real!(open)(path, flags, mode),
            }
        }
    }
}

redhook::hook! {
    unsafe fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int => open64_hook {
        // SAFETY: the caller's own arguments.
        unsafe {
            match find(path) {
                Some(found) => give(device::open(&found, flags, mode)),
                None => redhook::real!(open64)(path, flags, mode),
            }
        }
    }
}

redhook::hook! {
    unsafe fn openat(directory: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int => openat_hook {
        // SAFETY: the caller's own arguments.
        unsafe {
            match find_at(directory, path) {
                Some(found) => give(device::open(&found, flags, mode)),
                None => redhook::real!(openat)(directory, path, flags, mode),
            }
        }
    }
}

redhook::hook! {
    unsafe fn openat64(directory: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int => openat64_hook {
        // SAFETY: the caller's own arguments.
        unsafe {
            match find_at(directory, path) {
                Some(found) => give(device::open(&found, flags, mode)),
                None => redhook::real!(openat64)(directory, path, flags, mode),
            }
        }
    }
}

redhook::hook! {
    unsafe fn __open_2(path: *const c_char, flags: c_int) -> c_int => __open_2_hook {
        // SAFETY: the caller's own arguments.
        unsafe {
            match find(path) {
                Some(found) => give(device::open(&found, flags, 0)),
                None => redhook::real!(__open_2)(path, flags),
            }
        }
    }
}

redhook::hook! {
    unsafe fn __open64_2(path: *const c_char, flags: c_int) -> c_int => __open64_2_hook {
        // SAFETY: the caller's own arguments.
        unsafe {
            match find(path) {
                Some(found) => give(device::open(&found, flags, 0)),
                None => redhook::real!(__open64_2)(path, flags),
            }
        }
    }
}

redhook::hook! {
    unsafe fn __openat_2(directory: c_int, path: *const c_char, flags: c_int) -> c_int => __openat_2_hook {
        // SAFETY: the caller's own arguments.
        unsafe {
            match find_at(directory, path) {
                Some(found) => give(device::open(&found, flags, 0)),
                None => redhook::real!(__openat_2)(directory, path, flags),
            }
        }
    }
}

redhook::hook! {
    unsafe fn __openat64_2(directory: c_int, path: *const c_char, flags: c_int) -> c_int => __openat64_2_hook {
        // SAFETY: the caller's own arguments.
        unsafe {
            match find_at(directory, path) {
                Some(found) => give(device::open(&found, flags, 0)),
                None => redhook::real!(__openat64_2)(directory, path, flags),
            }
        }
    }
}

/// Whether an fopen mode only reads; simulated files cannot be written.
///
/// # Safety
/// As for `string`.
unsafe fn reads(mode: *const c_char) -> bool {
    // SAFETY: by the contract of this function.
    let mode = unsafe { string(mode) };
    mode.is_some_and(|mode| mode.to_bytes().starts_with(b"r") && !mode.to_bytes().contains(&b'+'))
}

fn refused<T>() -> *mut T {
    sys::set_errno(libc::EACCES);
    std::ptr::null_mut()
}

redhook::hook! {
    unsafe fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE => fopen_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            match find(path) {
                Some(_) if !reads(mode) => refused(),
                Some(found) => redhook::real!(fopen)(found.real.as_ptr(), mode),
                None => redhook::real!(fopen)(path, mode),
            }
        }
    }
}

redhook::hook! {
    unsafe fn fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE => fopen64_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            match find(path) {
                Some(_) if !reads(mode) => refused(),
                Some(found) => redhook::real!(fopen64)(found.real.as_ptr(), mode),
                None => redhook::real!(fopen64)(path, mode),
            }
        }
    }
}

redhook::hook! {
    unsafe fn freopen(path: *const c_char, mode: *const c_char, file: *mut FILE) -> *mut FILE => freopen_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            match find(path) {
                Some(_) if !reads(mode) => refused(),
                Some(found) => redhook::real!(freopen)(found.real.as_ptr(), mode, file),
                None => redhook::real!(freopen)(path, mode, file),
            }
        }
    }
}

redhook::hook! {
    unsafe fn freopen64(path: *const c_char, mode: *const c_char, file: *mut FILE) -> *mut FILE => freopen64_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            match find(path) {
                Some(_) if !reads(mode) => refused(),
                Some(found) => redhook::real!(freopen64)(found.real.as_ptr(), mode, file),
                None => redhook::real!(freopen64)(path, mode, file),
            }
        }
    }
}

redhook::hook! {
    unsafe fn opendir(path: *const c_char) -> *mut DIR => opendir_hook {
        // SAFETY: the caller's own arguments, or the path of a directory of the tree.
        unsafe {
            let Some(found) = find(path) else { return redhook::real!(opendir)(path) };
            let directory = redhook::real!(opendir)(found.real.as_ptr());
            if !directory.is_null() {
                fds::mark(libc::dirfd(directory), Kind::Directory);
            }
            directory
        }
    }
}

redhook::hook! {
    unsafe fn scandir(path: *const c_char, list: *mut c_void, select: *const c_void, order: *const c_void) -> c_int => scandir_hook {
        // SAFETY: the caller's own arguments, or the path of a directory of the tree.
        unsafe {
            match find(path) {
                Some(found) => redhook::real!(scandir)(found.real.as_ptr(), list, select, order),
                None => redhook::real!(scandir)(path, list, select, order),
            }
        }
    }
}

redhook::hook! {
    unsafe fn scandir64(path: *const c_char, list: *mut c_void, select: *const c_void, order: *const c_void) -> c_int => scandir64_hook {
        // SAFETY: the caller's own arguments, or the path of a directory of the tree.
        unsafe {
            match find(path) {
                Some(found) => redhook::real!(scandir64)(found.real.as_ptr(), list, select, order),
                None => redhook::real!(scandir64)(path, list, select, order),
            }
        }
    }
}
