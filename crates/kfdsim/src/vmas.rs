//! The address space of this process, as the kernel's vma_lookup and hmm_range_fault see it.
//!
//! For memory that an ioctl is to pin or to manage. Read from /proc/self/maps each time. Where
//! that is long or cannot be read, holes are still found, but of what the program may do only
//! the first and the last page are looked at.

use std::ffi::c_long;

use crate::sys::{self, Errno, Result};

/// One mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Vma {
    start: u64,
    end: u64,
    read: bool,
    write: bool,
    /// Device and inode number of its file.
    file: (u64, u64),
}

fn parse(line: &str) -> Option<Vma> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let access = words.next()?.as_bytes();
    let (_, device, inode) = (words.next()?, words.next()?, words.next()?);
    let (major, minor) = device.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    Some(Vma {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        read: access.first() == Some(&b'r'),
        write: access.get(1) == Some(&b'w'),
        file: (libc::makedev(number(major)?, number(minor)?), inode.parse().ok()?),
    })
}

const FAULT: Errno = Errno(libc::EFAULT);

/// A longer list is not read: a program with thousands of mappings makes thousands of calls.
const LONGEST_LIST: usize = 32 << 10;

/// Walks over the mappings of a range; EFAULT for a hole. Says whether it could.
fn walk(start: u64, end: u64, mut each: impl FnMut(&Vma) -> Result<()>) -> Result<bool> {
    if start >= end {
        return Err(FAULT);
    }
    // Not mincore where it can be helped: it looks at every page of a hole's page tables.
    let Some(text) = sys::read_file(c"/proc/self/maps", LONGEST_LIST) else {
        let page = start & !4095;
        return if sys::is_mapped(page, end - page) { Ok(false) } else { Err(FAULT) };
    };
    let mut at = start;
    for vma in text.lines().filter_map(parse) {
        if vma.end <= at {
            continue;
        }
        if vma.start > at {
            return Err(FAULT);
        }
        each(&vma)?;
        at = vma.end;
        if at >= end {
            return Ok(true);
        }
    }
    Err(FAULT)
}

/// Whether pages can be pinned for a GPU to write: hmm_vma_walk_test wants readable memory that
/// is no device's, hmm_vma_fault gives EPERM where it cannot be written (mm/hmm.c 6.12).
pub(crate) fn pin(start: u64, end: u64, device: Option<(u64, u64)>) -> Result<()> {
    let walked = walk(start, end, |vma| match vma {
        Vma { read: false, .. } => Err(FAULT),
        Vma { file, .. } if Some(*file) == device => Err(FAULT),
        Vma { write: false, .. } => Err(Errno(libc::EPERM)),
        _ => Ok(()),
    })?;
    if walked { Ok(()) } else { ends(start, end) }
}

/// The first and the last page of memory to pin.
fn ends(start: u64, end: u64) -> Result<()> {
    for at in [start & !4095, (end - 1) & !4095] {
        sys::read::<u8>(at)?;
        if !is_writable(at) {
            return Err(Errno(libc::EPERM));
        }
    }
    Ok(())
}

/// Whether a range can be managed: memory without holes that is no device's (svm_range_is_valid).
pub(crate) fn manage(start: u64, end: u64, device: Option<(u64, u64)>) -> Result<()> {
    let each = |vma: &Vma| if Some(vma.file) == device { Err(FAULT) } else { Ok(()) };
    walk(start, end, each).map(drop)
}

/// Whether a word may be written. `address` must be a multiple of 4.
///
/// FUTEX_WAKE_OP has the kernel combine the word with zero by an atomic OR, which changes
/// nothing, also for a program that uses it at the same time, and is EFAULT where a store would
/// be a signal. Nobody waits on the futex.
pub(crate) fn is_writable(address: u64) -> bool {
    const OR_ZERO: u32 = 2 << 28; // FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 0) of linux/futex.h
    const NONE: c_long = 0;
    let operation = c_long::from(libc::FUTEX_WAKE_OP | libc::FUTEX_PRIVATE_FLAG);
    let unused = 0u32;
    let unused = &raw const unused;
    // SAFETY: the kernel checks the address.
    let result =
        unsafe { libc::syscall(libc::SYS_futex, unused, operation, NONE, NONE, address, OR_ZERO) };
    result >= 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 4096;

    /// Three pages of a new file, of which the program may do what `protections` say.
    fn pages(protections: [libc::c_int; 3]) -> (u64, (u64, u64)) {
        let fd = sys::memfd(c"test", 3 * PAGE).unwrap();
        let file = sys::identity(fd).unwrap();
        let base = sys::map_shared(fd, 3 * PAGE).unwrap() as u64;
        sys::close(fd);
        for (page, protection) in (0..).zip(protections) {
            let at = base + page * PAGE;
            // SAFETY: a page of the mapping just made, which nothing else uses.
            let result = unsafe { libc::mprotect(at as *mut _, PAGE as usize, protection) };
            assert_eq!(result, 0);
        }
        (base, file)
    }

    #[test]
    fn only_readable_and_writable_memory_can_be_pinned() {
        let (read, write) = (libc::PROT_READ, libc::PROT_READ | libc::PROT_WRITE);
        let (base, _) = pages([write, read, libc::PROT_NONE]);
        assert_eq!(pin(base, base + PAGE, None), Ok(()));
        assert_eq!(pin(base + 8, base + 16, None), Ok(()));
        assert_eq!(pin(base, base + 2 * PAGE, None), Err(Errno(libc::EPERM)));
        assert_eq!(pin(base + 2 * PAGE, base + 3 * PAGE, None), Err(Errno(libc::EFAULT)));
        // The same where the list is too long.
        assert_eq!(ends(base, base + PAGE), Ok(()));
        assert_eq!(ends(base + 8, base + 16), Ok(()));
        assert_eq!(ends(base, base + 2 * PAGE), Err(Errno(libc::EPERM)));
        assert_eq!(ends(base + 2 * PAGE, base + 3 * PAGE), Err(Errno(libc::EFAULT)));
        assert_eq!(manage(base, base + 3 * PAGE, None), Ok(()));
    }

    #[test]
    fn a_hole_and_a_device_are_no_memory() {
        let write = libc::PROT_READ | libc::PROT_WRITE;
        let (base, file) = pages([write; 3]);
        assert_eq!(manage(base, base + PAGE, Some(file)), Err(Errno(libc::EFAULT)));
        assert_eq!(pin(base, base + PAGE, Some(file)), Err(Errno(libc::EFAULT)));
        // SAFETY: the middle page of the mapping, which nothing uses.
        unsafe { libc::munmap((base + PAGE) as *mut _, PAGE as usize) };
        assert_eq!(manage(base, base + 3 * PAGE, None), Err(Errno(libc::EFAULT)));
        assert_eq!(manage(base + 2 * PAGE, base + 3 * PAGE, None), Ok(()));
        assert_eq!(manage(0, PAGE, None), Err(Errno(libc::EFAULT)));
        assert_eq!(manage(base, base, None), Err(Errno(libc::EFAULT)));
    }

    #[test]
    fn a_word_that_cannot_be_written_is_seen_and_one_that_can_is_left_as_it_is() {
        let mut word = 7u32;
        assert!(is_writable(&raw mut word as u64));
        assert_eq!(word, 7);
        let fd = sys::memfd(c"test", 4096).unwrap();
        let base = sys::map_shared(fd, 4096).unwrap() as u64;
        sys::close(fd);
        assert!(is_writable(base + 8));
        // SAFETY: takes the right to write away from the mapping above.
        unsafe { libc::mprotect(base as *mut _, 4096, libc::PROT_READ) };
        assert!(!is_writable(base + 8));
        assert!(!is_writable(8));
    }
}
