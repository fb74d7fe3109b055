//! Opens simulated files and answers ioctls.

use std::ffi::{c_int, c_ulong, c_void};
use std::sync::atomic::{AtomicU32, Ordering};

use kfd_abi::drm::BASE as DRM_BASE;
use kfd_abi::ioctl::BASE as KFD_BASE;
use kfd_abi::log::Event;

use crate::fds::{self, Kind};
use crate::paths::{Found, Node};
use crate::sys::{self, Errno, Result};
use crate::{kfd, libraries, sim};

/// Opens of DRM nodes so far.
static OPENS: AtomicU32 = AtomicU32::new(0);

/// Opens a simulated file.
pub(super) fn open(found: &Found, flags: c_int, mode: libc::mode_t) -> Result<c_int> {
    let kind = match found.node {
        Node::Kfd => Kind::Kfd { owner: sys::pid() },
        Node::Drm { gpu, minor } => {
            let open = OPENS.fetch_add(1, Ordering::Relaxed) & 0xffff;
            Kind::Drm { gpu, minor, open }
        }
        Node::File => return open_file(found, flags, mode),
    };
    if flags & libc::O_DIRECTORY != 0 {
        return Err(Errno(libc::ENOTDIR));
    }
    if flags & libc::O_CREAT != 0 && flags & libc::O_EXCL != 0 {
        return Err(Errno(libc::EEXIST));
    }
    let sim = sim::get().ok_or(Errno(libc::ENXIO))?;
    if let (Kind::Kfd { .. }, Some(log)) = (kind, &sim.log) {
        log.write(Event::Opened { libraries: libraries::rocm() });
    }
    let backing = sim.lock().memory.backing(&sim.config);
    let path = std::ffi::CString::new(format!("/proc/self/fd/{}", backing.fd));
    let path = path.map_err(|_| Errno(libc::ENXIO))?;
    let fd = sys::open(&path, libc::O_RDWR | flags & (libc::O_CLOEXEC | libc::O_NONBLOCK), 0)?;
    fds::enter(fd, kind)
}

/// sysfs files cannot be written here.
fn open_file(found: &Found, flags: c_int, mode: libc::mode_t) -> Result<c_int> {
    let writes = flags & libc::O_ACCMODE != libc::O_RDONLY
        || flags & (libc::O_CREAT | libc::O_TRUNC | libc::O_TMPFILE & !libc::O_DIRECTORY) != 0;
    if writes {
        // What is not there is not there, whatever it is wanted for.
        let readable = sys::open(&found.real, libc::O_PATH | libc::O_CLOEXEC, 0);
        readable
            .map(sys::close)
            .or_else(|errno| if flags & libc::O_CREAT != 0 { Ok(()) } else { Err(errno) })?;
        return Err(Errno(libc::EACCES));
    }
    let fd = sys::open(&found.real, flags, mode)?;
    if flags & libc::O_DIRECTORY != 0 {
        fds::mark(fd, Kind::Directory);
    }
    Ok(fd)
}

/// Ends the process on a panic: redhook would pass the call on to the stand-in's file, and the
/// program would see a strange error instead of the message.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// Answers an ioctl on a simulated device; `None` if it is none of ours.
fn answer(fd: c_int, request: c_ulong, arg: u64) -> Option<Result<c_int>> {
    let kind = fds::get(fd)?;
    let _guard = AbortOnPanic;
    // The kernel drops the upper half of the request number.
    let code = request as u32;
    let base = (code >> 8) as u8;
    let sim = sim::get()?;
    match kind {
        Kind::Kfd { owner } if base == KFD_BASE => Some(kfd::ioctl(sim, owner, code, arg)),
        Kind::Drm { gpu, .. } if base == DRM_BASE => Some(crate::drm::ioctl(sim, gpu, code, arg)),
        _ => None, // FIOCLEX and the like, or ENOTTY
    }
}

redhook::hook! {
    unsafe fn ioctl(fd: c_int, request: c_ulong, arg: *mut c_void) -> c_int => ioctl_hook {
        let errno = sys::errno();
        match answer(fd, request, arg as u64) {
            Some(result) => {
                sys::set_errno(errno);
                super::give(result)
            }
            // SAFETY: the caller's own call.
            None => unsafe { redhook::real!(ioctl)(fd, request, arg) },
        }
    }
}
