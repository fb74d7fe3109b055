//! stat and its many names: device nodes of the tree look like device nodes.
//!
//! struct stat and struct stat64 are the kernel's own on x86-64, and so is what the __xstat
//! family of old glibc fills in for versions 0 and 1.

use std::ffi::{c_char, c_int, c_uint};

use libc::{stat as Stat, statx as Statx};

use super::{find_at, give, string};
use crate::fds::{self, Kind};
use crate::paths::{Found, Node};
use crate::sys::{self, Errno, Result};
use crate::tree::DRM_MAJOR;

/// Major number of /dev/kfd here; the kernel takes any free one.
const KFD_MAJOR: u32 = 235;

/// The device number of a node.
fn device_of(node: Node) -> Option<(u32, u32)> {
    match node {
        Node::Kfd => Some((KFD_MAJOR, 0)),
        Node::Drm { minor, .. } => Some((DRM_MAJOR, minor)),
        Node::File => None,
    }
}

/// The device number of a descriptor.
fn device_of_fd(fd: c_int) -> Option<(u32, u32)> {
    match fds::get(fd)? {
        Kind::Kfd { .. } => device_of(Node::Kfd),
        Kind::Drm { gpu, minor, .. } => device_of(Node::Drm { gpu, minor }),
        Kind::Smi | Kind::Dmabuf { .. } | Kind::Directory => None,
    }
}

const DEVICE_MODE: u32 = libc::S_IFCHR | 0o666;

/// Makes what the kernel said of the stand-in say it of a device.
///
/// # Safety
/// `buffer` has been filled in by the kernel.
unsafe fn disguise(buffer: *mut Stat, device: Option<(u32, u32)>) {
    if let Some((major, minor)) = device {
        // SAFETY: by the contract of this function.
        let data = unsafe { &mut *buffer };
        data.st_mode = DEVICE_MODE;
        data.st_rdev = libc::makedev(major, minor);
        (data.st_size, data.st_blocks) = (0, 0);
    }
}

/// stat of a simulated path.
///
/// # Safety
/// `buffer` is the caller's buffer.
unsafe fn stat_found(found: &Found, buffer: *mut Stat, flags: c_int) -> c_int {
    // SAFETY: as above; a bad buffer is EFAULT.
    let result = unsafe { sys::fstatat(libc::AT_FDCWD, found.real.as_ptr(), buffer, flags) };
    if result.is_ok() {
        // SAFETY: the call succeeded.
        unsafe { disguise(buffer, device_of(found.node)) };
    }
    give(result)
}

/// stat of a descriptor.
///
/// # Safety
/// `buffer` is the caller's buffer.
unsafe fn stat_fd(fd: c_int, buffer: *mut Stat) -> c_int {
    if fd < 0 {
        return give(Err(Errno(libc::EBADF))); // AT_FDCWD would be the working directory
    }
    // SAFETY: by the contract of this function.
    unsafe { stat_at(fd, c"".as_ptr(), buffer, libc::AT_EMPTY_PATH) }
}

/// Any path-like stat, with the kernel's own call for what is not simulated.
///
/// # Safety
/// The arguments are those of fstatat.
unsafe fn stat_at(directory: c_int, path: *const c_char, buffer: *mut Stat, flags: c_int) -> c_int {
    // SAFETY: by the contract of this function.
    unsafe {
        if let Some(found) = find_at(directory, path) {
            return stat_found(&found, buffer, flags);
        }
        let result = sys::fstatat(directory, path, buffer, flags);
        let itself =
            flags & libc::AT_EMPTY_PATH != 0 && string(path).is_some_and(std::ffi::CStr::is_empty);
        if itself && result.is_ok() {
            disguise(buffer, device_of_fd(directory));
        }
        give(result)
    }
}

/// The versions of the __xstat family that mean the kernel's structure.
fn check(version: c_int) -> Result<()> {
    if matches!(version, 0 | 1) { Ok(()) } else { Err(Errno(libc::EINVAL)) }
}

redhook::hook! {
    unsafe fn stat(path: *const c_char, buffer: *mut Stat) -> c_int => stat_hook {
        // SAFETY: the caller's own arguments.
        unsafe { stat_at(libc::AT_FDCWD, path, buffer, 0) }
    }
}

redhook::hook! {
    unsafe fn lstat(path: *const c_char, buffer: *mut Stat) -> c_int => lstat_hook {
        // SAFETY: the caller's own arguments.
        unsafe { stat_at(libc::AT_FDCWD, path, buffer, libc::AT_SYMLINK_NOFOLLOW) }
    }
}

redhook::hook! {
    unsafe fn fstatat(directory: c_int, path: *const c_char, buffer: *mut Stat, flags: c_int) -> c_int => fstatat_hook {
        // SAFETY: the caller's own arguments.
        unsafe { stat_at(directory, path, buffer, flags) }
    }
}

redhook::hook! {
    unsafe fn fstat(fd: c_int, buffer: *mut Stat) -> c_int => fstat_hook {
        // SAFETY: the caller's own arguments.
        unsafe { stat_fd(fd, buffer) }
    }
}

redhook::hook! {
    unsafe fn __xstat(version: c_int, path: *const c_char, buffer: *mut Stat) -> c_int => __xstat_hook {
        // SAFETY: the caller's own arguments.
        unsafe { check(version).map_or_else(|errno| give(Err(errno)), |()| stat_at(libc::AT_FDCWD, path, buffer, 0)) }
    }
}

redhook::hook! {
    unsafe fn __lxstat(version: c_int, path: *const c_char, buffer: *mut Stat) -> c_int => __lxstat_hook {
        // SAFETY: the caller's own arguments.
        unsafe { check(version).map_or_else(|errno| give(Err(errno)), |()| stat_at(libc::AT_FDCWD, path, buffer, libc::AT_SYMLINK_NOFOLLOW)) }
    }
}

redhook::hook! {
    unsafe fn __fxstat(version: c_int, fd: c_int, buffer: *mut Stat) -> c_int => __fxstat_hook {
        // SAFETY: the caller's own arguments.
        unsafe { check(version).map_or_else(|errno| give(Err(errno)), |()| stat_fd(fd, buffer)) }
    }
}

redhook::hook! {
    unsafe fn __fxstatat(version: c_int, directory: c_int, path: *const c_char, buffer: *mut Stat, flags: c_int) -> c_int => __fxstatat_hook {
        // SAFETY: the caller's own arguments.
        unsafe { check(version).map_or_else(|errno| give(Err(errno)), |()| stat_at(directory, path, buffer, flags)) }
    }
}

redhook::hook! {
    unsafe fn stat64(path: *const c_char, buffer: *mut Stat) -> c_int => stat64_hook {
        // SAFETY: the caller's own arguments.
        unsafe { stat_at(libc::AT_FDCWD, path, buffer, 0) }
    }
}

redhook::hook! {
    unsafe fn lstat64(path: *const c_char, buffer: *mut Stat) -> c_int => lstat64_hook {
        // SAFETY: the caller's own arguments.
        unsafe { stat_at(libc::AT_FDCWD, path, buffer, libc::AT_SYMLINK_NOFOLLOW) }
    }
}

redhook::hook! {
    unsafe fn fstatat64(directory: c_int, path: *const c_char, buffer: *mut Stat, flags: c_int) -> c_int => fstatat64_hook {
        // SAFETY: the caller's own arguments.
        unsafe { stat_at(directory, path, buffer, flags) }
    }
}

redhook::hook! {
    unsafe fn fstat64(fd: c_int, buffer: *mut Stat) -> c_int => fstat64_hook {
        // SAFETY: the caller's own arguments.
        unsafe { stat_fd(fd, buffer) }
    }
}

redhook::hook! {
    unsafe fn __xstat64(version: c_int, path: *const c_char, buffer: *mut Stat) -> c_int => __xstat64_hook {
        // SAFETY: the caller's own arguments.
        unsafe { check(version).map_or_else(|errno| give(Err(errno)), |()| stat_at(libc::AT_FDCWD, path, buffer, 0)) }
    }
}

redhook::hook! {
    unsafe fn __lxstat64(version: c_int, path: *const c_char, buffer: *mut Stat) -> c_int => __lxstat64_hook {
        // SAFETY: the caller's own arguments.
        unsafe { check(version).map_or_else(|errno| give(Err(errno)), |()| stat_at(libc::AT_FDCWD, path, buffer, libc::AT_SYMLINK_NOFOLLOW)) }
    }
}

redhook::hook! {
    unsafe fn __fxstat64(version: c_int, fd: c_int, buffer: *mut Stat) -> c_int => __fxstat64_hook {
        // SAFETY: the caller's own arguments.
        unsafe { check(version).map_or_else(|errno| give(Err(errno)), |()| stat_fd(fd, buffer)) }
    }
}

redhook::hook! {
    unsafe fn __fxstatat64(version: c_int, directory: c_int, path: *const c_char, buffer: *mut Stat, flags: c_int) -> c_int => __fxstatat64_hook {
        // SAFETY: the caller's own arguments.
        unsafe { check(version).map_or_else(|errno| give(Err(errno)), |()| stat_at(directory, path, buffer, flags)) }
    }
}

redhook::hook! {
    unsafe fn statx(directory: c_int, path: *const c_char, flags: c_int, mask: c_uint, buffer: *mut Statx) -> c_int => statx_hook {
        // SAFETY: the caller's own arguments, or the path of a file of the tree.
        unsafe {
            let (result, device) = if let Some(found) = find_at(directory, path) {
                let path = found.real.as_ptr();
                let result = redhook::real!(statx)(libc::AT_FDCWD, path, flags, mask, buffer);
                (result, device_of(found.node))
            } else {
                let itself = flags & libc::AT_EMPTY_PATH != 0 && string(path).is_none_or(std::ffi::CStr::is_empty);
                let result = redhook::real!(statx)(directory, path, flags, mask, buffer);
                (result, if itself { device_of_fd(directory) } else { None })
            };
            if let (0, Some((major, minor))) = (result, device) {
                let data = &mut *buffer;
                data.stx_mode = DEVICE_MODE as u16;
                (data.stx_rdev_major, data.stx_rdev_minor) = (major, minor);
                (data.stx_size, data.stx_blocks) = (0, 0);
            }
            result
        }
    }
}
