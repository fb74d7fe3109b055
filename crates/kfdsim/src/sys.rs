//! System calls and access to user memory, the only door from the simulator to the kernel.
//!
//! Goes around the libc functions that this library replaces, so nothing here can come back
//! through a hook. Keeps no state and knows nothing of GPUs.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

/// An error number, as the kernel returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

pub(crate) type Result<T> = std::result::Result<T, Errno>;

/// The calling thread's errno.
pub(crate) fn errno() -> i32 {
    // SAFETY: the location is valid for the life of the thread.
    unsafe { *libc::__errno_location() }
}

/// Sets the calling thread's errno.
pub(crate) fn set_errno(value: i32) {
    // SAFETY: the location is valid for the life of the thread.
    unsafe { *libc::__errno_location() = value }
}

fn check(value: c_long) -> Result<c_long> {
    if value < 0 { Err(Errno(errno())) } else { Ok(value) }
}

/// Says why on stderr and ends the process: for a setting or a machine that the simulator
/// cannot work with.
pub(crate) fn fatal(message: &str) -> ! {
    let text = format!("kfdsim: {message}\n");
    let _ = write(2, text.as_bytes());
    // SAFETY: ends the process at once; no destructors run, which is wanted here.
    unsafe { libc::_exit(78) } // EX_CONFIG of sysexits.h
}

/// Says on stderr what the program would otherwise wait for in vain.
pub(crate) fn warn(message: &str) {
    let _ = write(2, format!("kfdsim: {message}\n").as_bytes());
}

/// One write(2).
pub(crate) fn write(fd: c_int, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the buffer is valid for its length.
    let written = unsafe { libc::syscall(libc::SYS_write, fd, bytes.as_ptr(), bytes.len()) };
    check(written).map(|written| written as usize)
}

/// A whole file of text, such as those of /proc, if it is shorter than `limit`.
pub(crate) fn read_file(path: &CStr, limit: usize) -> Option<String> {
    let fd = open(path, libc::O_RDONLY | libc::O_CLOEXEC, 0).ok()?;
    let mut text = Vec::new();
    let complete = loop {
        let used = text.len();
        if used >= limit {
            break false;
        }
        text.resize(used + (16 << 10), 0u8);
        let (buffer, room) = (text[used..].as_mut_ptr(), text.len() - used);
        // SAFETY: the buffer is ours and has room.
        let read = unsafe { libc::syscall(libc::SYS_read, fd, buffer, room) };
        text.truncate(used + usize::try_from(read).unwrap_or(0));
        if read <= 0 {
            break read == 0;
        }
    };
    close(fd);
    String::from_utf8(text).ok().filter(|_| complete)
}

/// The process, as the kernel sees it now (also in a vfork child).
pub(crate) fn pid() -> u32 {
    // SAFETY: no arguments.
    unsafe { libc::syscall(libc::SYS_getpid) as u32 }
}

/// The calling thread.
pub(crate) fn tid() -> u32 {
    // SAFETY: no arguments.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

/// A clock in nanoseconds.
pub(crate) fn clock(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is ours.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

pub(crate) fn open(path: &CStr, flags: c_int, mode: libc::mode_t) -> Result<c_int> {
    let path = path.as_ptr();
    // SAFETY: the path is terminated.
    let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode) };
    check(fd).map(|fd| fd as c_int)
}

/// fstatat, with EFAULT for a bad pointer.
///
/// # Safety
/// `stat` is a buffer that may be written, or no memory at all.
pub(crate) unsafe fn fstatat(
    directory: c_int,
    path: *const c_char,
    stat: *mut libc::stat,
    flags: c_int,
) -> Result<c_int> {
    // SAFETY: the kernel checks both pointers.
    let result = unsafe { libc::syscall(libc::SYS_newfstatat, directory, path, stat, flags) };
    check(result).map(|result| result as c_int)
}

/// mmap, with errno set on failure.
///
/// # Safety
/// As for mmap: a fixed mapping replaces what is there.
pub(crate) unsafe fn mmap(
    address: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: u64,
) -> *mut c_void {
    // Whole registers: the kernel takes these as long, and an int leaves the upper half open.
    let (protection, flags, fd) = (c_long::from(protection), c_long::from(flags), c_long::from(fd));
    // SAFETY: by the contract of this function.
    let result =
        unsafe { libc::syscall(libc::SYS_mmap, address, length, protection, flags, fd, offset) };
    result as *mut c_void
}

/// munmap, with errno set on failure.
///
/// # Safety
/// As for munmap: nothing may use the range afterwards.
pub(crate) unsafe fn munmap(address: *mut c_void, length: usize) -> c_int {
    // SAFETY: by the contract of this function.
    unsafe { libc::syscall(libc::SYS_munmap, address, length) as c_int }
}

/// The path that a descriptor was opened by.
pub(crate) fn path_of(fd: c_int) -> Option<Vec<u8>> {
    let link = CString::new(format!("/proc/self/fd/{fd}")).ok()?;
    let mut path = vec![0u8; libc::PATH_MAX as usize];
    let (link, buffer) = (link.as_ptr(), path.as_mut_ptr());
    // SAFETY: the link is terminated and the buffer ours.
    let length =
        unsafe { libc::syscall(libc::SYS_readlinkat, libc::AT_FDCWD, link, buffer, path.len()) };
    path.truncate(usize::try_from(length).ok()?);
    Some(path)
}

pub(crate) fn close(fd: c_int) {
    // SAFETY: closes a descriptor that the simulator opened.
    unsafe { libc::syscall(libc::SYS_close, fd) };
}

/// The file that a descriptor stands for, by device and inode number.
pub(crate) fn identity(fd: c_int) -> Option<(u64, u64)> {
    // SAFETY: an all-zero stat is valid, and the structure is ours.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let result = unsafe { libc::syscall(libc::SYS_fstat, fd, &raw mut stat) };
    (result == 0).then_some((stat.st_dev, stat.st_ino))
}

/// Moves a descriptor to a high number, where programs that close or count low ones do not
/// meet it.
pub(crate) fn move_high(fd: c_int) -> c_int {
    // SAFETY: plain integers.
    let high = unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, 960 as c_long) };
    if high < 0 {
        return fd; // a low RLIMIT_NOFILE: stay where we are
    }
    close(fd);
    high as c_int
}

/// An anonymous file of `size` bytes, all holes.
pub(crate) fn memfd(name: &CStr, size: u64) -> Result<c_int> {
    // SAFETY: the name is terminated.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), libc::MFD_CLOEXEC) };
    let fd = check(fd)? as c_int;
    // SAFETY: plain integers.
    let result = unsafe { libc::syscall(libc::SYS_ftruncate, fd, size) };
    check(result).inspect_err(|_| close(fd))?;
    Ok(fd)
}

pub(crate) fn eventfd() -> Result<c_int> {
    // SAFETY: plain integers.
    let fd = unsafe { libc::syscall(libc::SYS_eventfd2, 0, libc::EFD_CLOEXEC) };
    check(fd).map(|fd| fd as c_int)
}

/// Writes to the start of a file.
pub(crate) fn write_at_start(fd: c_int, bytes: &[u8]) -> Result<()> {
    // SAFETY: the buffer is valid for its length.
    let done = unsafe { libc::syscall(libc::SYS_pwrite64, fd, bytes.as_ptr(), bytes.len(), 0u64) };
    check(done).map(|_| ())
}

/// Reads the start of a file; what it does not have is zero.
pub(crate) fn read_at_start<const N: usize>(fd: c_int) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the buffer is ours.
    let done = unsafe { libc::syscall(libc::SYS_pread64, fd, bytes.as_mut_ptr(), N, 0u64) };
    check(done).map(|_| bytes)
}

fn range_lock(kind: c_int, offset: u64, size: u64) -> libc::flock {
    // SAFETY: an all-zero flock is valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_whence) = (kind as i16, libc::SEEK_SET as i16);
    (lock.l_start, lock.l_len) = (offset.cast_signed(), size.cast_signed());
    lock
}

/// Locks a range of a file for this open of it, together with others; until it is closed.
pub(crate) fn lock_range(fd: c_int, offset: u64, size: u64) -> Result<()> {
    let lock = range_lock(libc::F_RDLCK, offset, size);
    // SAFETY: the structure is ours.
    let result = unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_OFD_SETLK, &raw const lock) };
    check(result).map(|_| ())
}

/// Whether another open of a file has locked a part of a range.
pub(crate) fn is_locked(fd: c_int, offset: u64, size: u64) -> bool {
    let mut lock = range_lock(libc::F_WRLCK, offset, size);
    // SAFETY: the structure is ours.
    let result = unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_OFD_GETLK, &raw mut lock) };
    result == 0 && lock.l_type != libc::F_UNLCK as i16
}

/// Gives the pages of a part of a file back; they read as zero afterwards.
pub(crate) fn punch_hole(fd: c_int, offset: u64, size: u64) {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: plain integers.
    unsafe { libc::syscall(libc::SYS_fallocate, fd, mode, offset, size) };
}

/// Maps a whole file, shared, for the simulator's own use; a forked child does not get it.
pub(crate) fn map_shared(fd: c_int, size: u64) -> Result<usize> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let base = unsafe { mmap(std::ptr::null_mut(), size as usize, protection, flags, fd, 0) };
    if base == libc::MAP_FAILED {
        return Err(Errno(errno()));
    }
    // SAFETY: the mapping just made.
    unsafe { libc::syscall(libc::SYS_madvise, base, size, libc::MADV_DONTFORK) };
    Ok(base as usize)
}

/// Whether all pages of a range are mapped (mincore fails with ENOMEM otherwise). `start` must
/// be the start of a page.
pub(crate) fn is_mapped(start: u64, size: u64) -> bool {
    const CHUNK: u64 = 64 << 20;
    let mut pages = vec![0u8; size.min(CHUNK).div_ceil(4096) as usize];
    let Some(end) = start.checked_add(size) else { return false };
    let mut at = start;
    while at < end {
        let length = (end - at).min(CHUNK);
        // SAFETY: the vector has one byte for each page of the chunk.
        let result = unsafe { libc::syscall(libc::SYS_mincore, at, length, pages.as_mut_ptr()) };
        if result != 0 {
            return false;
        }
        at += length;
    }
    true
}

/// Set when a sandbox forbids process_vm_readv: plain copies are used then, and a bad
/// pointer is a crash as it would be anywhere in user space.
static PLAIN_COPIES: AtomicBool = AtomicBool::new(false);

/// Copies between two addresses of this process that need not be valid.
///
/// # Errors
/// EFAULT where the kernel finds one that is not, with part of the copy done.
pub(crate) fn copy(to: u64, from: u64, size: u64) -> Result<()> {
    // Whole registers: an int literal would leave the upper half undefined.
    const ONE: c_long = 1;
    const NONE: c_long = 0;
    let mut done = 0;
    while done < size && !PLAIN_COPIES.load(Ordering::Relaxed) {
        let iov = |at: u64| libc::iovec {
            iov_base: (at + done) as *mut _,
            iov_len: (size - done).min(1 << 30) as usize,
        };
        let (local, remote) = (iov(to), iov(from));
        let (local, remote) = (&raw const local, &raw const remote);
        // SAFETY: the kernel checks both addresses and fails with EFAULT.
        let copied = unsafe {
            libc::syscall(libc::SYS_process_vm_readv, pid(), local, ONE, remote, ONE, NONE)
        };
        match copied {
            0.. if copied == 0 => return Err(Errno(libc::EFAULT)),
            0.. => done += copied as u64,
            _ if matches!(errno(), libc::EPERM | libc::ENOSYS) => {
                PLAIN_COPIES.store(true, Ordering::Relaxed);
            }
            _ => return Err(Errno(libc::EFAULT)),
        }
    }
    if done < size {
        // SAFETY: the program passed these addresses to the GPU; see PLAIN_COPIES.
        unsafe {
            let (to, from) = ((to + done) as *mut u8, (from + done) as *const u8);
            std::ptr::copy(from, to, (size - done) as usize);
        }
    }
    Ok(())
}

/// Copies user memory into a buffer.
pub(crate) fn copy_from_user(to: &mut [u8], from: u64) -> Result<()> {
    copy(to.as_mut_ptr() as u64, from, to.len() as u64)
}

/// Copies a buffer into user memory.
pub(crate) fn copy_to_user(to: u64, from: &[u8]) -> Result<()> {
    copy(to, from.as_ptr() as u64, from.len() as u64)
}

/// Reads one value from user memory.
pub(crate) fn read<T: bytemuck::Pod>(from: u64) -> Result<T> {
    let mut value = T::zeroed();
    copy_from_user(bytemuck::bytes_of_mut(&mut value), from)?;
    Ok(value)
}

/// Reads `count` values from user memory.
pub(crate) fn read_many<T: bytemuck::Pod>(from: u64, count: usize) -> Result<Vec<T>> {
    let mut values = vec![T::zeroed(); count];
    copy_from_user(bytemuck::cast_slice_mut(&mut values), from)?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_pointer_is_efault_in_either_direction() {
        assert_eq!(read::<u64>(0), Err(Errno(libc::EFAULT)));
        assert_eq!(copy_to_user(8, &[1, 2, 3]), Err(Errno(libc::EFAULT)));
        assert_eq!(copy(0x1000, (&raw const PLAIN_COPIES) as u64, 1), Err(Errno(libc::EFAULT)));
    }

    #[test]
    fn user_memory_is_copied() {
        let (from, mut to) = ([1u8, 2, 3, 4], [0u8; 4]);
        copy_from_user(&mut to, from.as_ptr() as u64).unwrap();
        assert_eq!(to, from);
        assert_eq!(read::<u32>(from.as_ptr() as u64), Ok(0x0403_0201));
    }

    #[test]
    fn an_unmapped_page_is_seen() {
        let size = 3 * 4096;
        let fd = memfd(c"test", size).unwrap();
        let base = map_shared(fd, size).unwrap() as u64;
        close(fd);
        assert!(is_mapped(base, size));
        // SAFETY: unmaps a page of the mapping above, which nothing uses.
        unsafe { libc::munmap((base + 4096) as *mut _, 4096) };
        assert!(!is_mapped(base, size));
        assert!(is_mapped(base, 4096));
        assert!(is_mapped(base, 8));
    }
}
