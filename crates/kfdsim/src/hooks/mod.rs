//! The libc functions that this library replaces.
//!
//! Each looks whether a simulated path or descriptor is meant and otherwise calls the real
//! function with the same arguments; errno is the real one's. redhook finds the real function
//! (RTLD_NEXT, always there for libc) and keeps a panic from crossing into C. The variadic
//! ones have a fixed last argument, which the x86-64 calling convention passes the same way.

mod descriptors;
mod device;
mod files;
mod memory;
mod names;
mod stats;

use std::ffi::{CStr, c_char, c_int};

use crate::fds::{self, Kind};
use crate::paths::{self, Found};
use crate::sys::{self, Result};

/// The string behind a C pointer.
///
/// # Safety
/// A pointer that is not null must point to a terminated string, as the replaced functions
/// demand of their callers; it must stay valid for the call.
unsafe fn string<'a>(path: *const c_char) -> Option<&'a CStr> {
    if path.is_null() {
        return None;
    }
    // SAFETY: by the contract of this function.
    Some(unsafe { CStr::from_ptr(path) })
}

/// Looks up a path that is relative to the working directory.
///
/// # Safety
/// As for `string`.
unsafe fn find(path: *const c_char) -> Option<Found> {
    // SAFETY: by the contract of this function.
    paths::find(unsafe { string(path) }?)
}

/// Looks up a path that is relative to a directory.
///
/// # Safety
/// As for `string`.
unsafe fn find_at(directory: c_int, path: *const c_char) -> Option<Found> {
    // SAFETY: by the contract of this function.
    let path = unsafe { string(path) }?;
    if path.to_bytes().first() == Some(&b'/') {
        return paths::find(path);
    }
    if path.is_empty() || fds::get(directory) != Some(Kind::Directory) {
        return None;
    }
    paths::below(&sys::path_of(directory)?, path)
}

/// What a C function returns for a result, with errno set for an error.
fn give(result: Result<c_int>) -> c_int {
    result.unwrap_or_else(|errno| {
        sys::set_errno(errno.0);
        -1
    })
}
