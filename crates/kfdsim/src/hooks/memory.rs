//! mmap and munmap.
//!
//! Allocators call these with their own locks held and before libc is ready: for ordinary
//! memory there is no lock, no allocation and no dlsym here, only the system call.

use std::ffi::{c_int, c_void};

use kfd_abi::ioctl::{SIGNAL_EVENT_LIMIT, mmap as kind};
use libc::{off_t, size_t};

use crate::fds::{self, Kind};
use crate::memory::{DOORBELL_SLICE, EVENT_PAGE, Memory};
use crate::sim::{self, Sim};
use crate::sys::{self, Errno, Result};
use crate::{kfd, unmapped};

/// Which file, and where in it, an mmap of a simulated device goes to.
fn target(fd: c_int, length: u64, offset: u64) -> Result<(c_int, u64)> {
    match fds::get(fd) {
        Some(Kind::Kfd { owner }) => {
            let sim = sim::get().ok_or(Errno(libc::EINVAL))?;
            // kfd_get_process finds nothing for a process that did not open it.
            if owner == sys::pid() {
                Ok((fd, kfd_offset(sim, length, offset)?))
            } else {
                Err(Errno(libc::EINVAL))
            }
        }
        Some(Kind::Drm { .. }) => {
            let sim = sim::get().ok_or(Errno(libc::EINVAL))?;
            let memory = &sim.lock().memory;
            if !memory.is_buffer(offset, length) {
                return Err(Errno(libc::EINVAL));
            }
            Ok(memory.source(offset).unwrap_or((fd, offset)))
        }
        _ => Ok((fd, offset)),
    }
}

/// kfd_mmap of amdkfd/kfd_chardev.c, Linux 6.12.
fn kfd_offset(sim: &Sim, length: u64, offset: u64) -> Result<u64> {
    let fits = |size: u64| if length == size { Ok(()) } else { Err(Errno(libc::EINVAL)) };
    let (kind, gpu_id) = kind::split(offset);
    let gpu = || kfd::gpu_index(sim, gpu_id).ok_or(Errno(libc::ENODEV));
    match kind {
        kind::TYPE_DOORBELL => {
            let gpu = gpu()?;
            fits(DOORBELL_SLICE)?;
            Ok(Memory::doorbells(gpu))
        }
        kind::TYPE_EVENTS => {
            let mut state = sim.lock();
            // kfd_event_mmap: a page that user space brought is mapped by its own handle.
            if length > u64::from(SIGNAL_EVENT_LIMIT) * 8 || !state.events.has_page() {
                return Err(Errno(libc::EINVAL));
            }
            state.events.slots = Some((length / 8) as u32);
            Ok(EVENT_PAGE)
        }
        kind::TYPE_RESERVED_MEM => gpu().and(Err(Errno(libc::EINVAL))), // APUs' own
        kind::TYPE_MMIO => {
            gpu()?;
            fits(4096)?;
            Ok(Memory::registers())
        }
        _ => Err(Errno(libc::EINVAL)),
    }
}

/// Both names of mmap.
fn map(
    address: *mut c_void,
    length: size_t,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    at: off_t,
) -> *mut c_void {
    let (fd, at) = if fd >= 0 && flags & libc::MAP_ANONYMOUS == 0 {
        match target(fd, length as u64, at as u64) {
            Ok(target) => target,
            Err(errno) => {
                sys::set_errno(errno.0);
                return libc::MAP_FAILED;
            }
        }
    } else {
        (fd, at as u64)
    };
    if flags & libc::MAP_FIXED != 0 {
        unmapped::note(address as u64, length as u64);
    }
    // SAFETY: the caller's own call, perhaps with another offset.
    unsafe { sys::mmap(address, length, protection, flags, fd, at) }
}

redhook::hook! {
    unsafe fn mmap(address: *mut c_void, length: size_t, protection: c_int, flags: c_int, fd: c_int, at: off_t) -> *mut c_void => mmap_hook {
        map(address, length, protection, flags, fd, at)
    }
}

redhook::hook! {
    unsafe fn mmap64(address: *mut c_void, length: size_t, protection: c_int, flags: c_int, fd: c_int, at: off_t) -> *mut c_void => mmap64_hook {
        map(address, length, protection, flags, fd, at)
    }
}

redhook::hook! {
    unsafe fn munmap(address: *mut c_void, length: size_t) -> c_int => munmap_hook {
        // Before the call: afterwards another thread may already have the address again.
        unmapped::note(address as u64, length as u64);
        // SAFETY: the caller's own call.
        unsafe { sys::munmap(address, length) }
    }
}
