//! Which descriptors are simulated devices.
//!
//! A table of atomics, so that close and the like stay cheap and may be called anywhere. An
//! entry may be stale, because libc closes descriptors without a hook seeing it; `get`
//! therefore compares the file before it believes an entry.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys;

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// /dev/kfd, and the process that opened it.
    Kfd { owner: u32 },
    /// A DRM node, and the count of the open that it comes from.
    Drm { gpu: usize, minor: u32, open: u32 },
    /// What AMDKFD_IOC_SMI_EVENTS gave.
    Smi,
    /// An exported buffer object.
    Dmabuf { id: u32 },
    /// A directory of the simulated tree.
    Directory,
}

/// Descriptors above this are refused when the simulator makes them.
const LIMIT: usize = 1 << 16;

/// kind (4 bits), payload (28), inode number (32); 0 is no entry.
static TABLE: [AtomicU64; LIMIT] = [const { AtomicU64::new(0) }; LIMIT];

fn encode(kind: Kind, inode: u64) -> u64 {
    let (tag, payload) = match kind {
        Kind::Kfd { owner } => (1, owner),
        Kind::Drm { gpu, minor, open } => (2, open << 12 | (gpu as u32) << 8 | minor),
        Kind::Smi => (3, 0),
        Kind::Dmabuf { id } => (4, id),
        Kind::Directory => (5, 0),
    };
    tag << 60 | u64::from(payload & 0x0fff_ffff) << 32 | inode & 0xffff_ffff
}

fn decode(entry: u64) -> Option<Kind> {
    let payload = (entry >> 32) as u32 & 0x0fff_ffff;
    match entry >> 60 {
        1 => Some(Kind::Kfd { owner: payload }),
        2 => Some(Kind::Drm {
            gpu: (payload >> 8 & 15) as usize,
            minor: payload & 0xff,
            open: payload >> 12,
        }),
        3 => Some(Kind::Smi),
        4 => Some(Kind::Dmabuf { id: payload }),
        5 => Some(Kind::Directory),
        _ => None,
    }
}

fn slot(fd: c_int) -> Option<&'static AtomicU64> {
    TABLE.get(usize::try_from(fd).ok()?)
}

/// Enters a descriptor; says whether the table has a place for its number.
pub(crate) fn mark(fd: c_int, kind: Kind) -> bool {
    let (Some(slot), Some((_, inode))) = (slot(fd), sys::identity(fd)) else { return false };
    slot.store(encode(kind, inode), Ordering::Release);
    true
}

/// Enters a new descriptor of the simulator's; closes it and fails if there is no place.
pub(crate) fn enter(fd: c_int, kind: Kind) -> sys::Result<c_int> {
    if mark(fd, kind) {
        return Ok(fd);
    }
    sys::close(fd);
    Err(sys::Errno(libc::EMFILE))
}

/// Whether either of two descriptors has an entry, true or stale.
pub(crate) fn is_entered(one: c_int, other: c_int) -> bool {
    [one, other].into_iter().filter_map(slot).any(|slot| slot.load(Ordering::Relaxed) != 0)
}

/// What a descriptor is, if it is simulated.
pub(crate) fn get(fd: c_int) -> Option<Kind> {
    let slot = slot(fd)?;
    let entry = slot.load(Ordering::Acquire);
    let kind = decode(entry)?;
    if sys::identity(fd).is_some_and(|(_, inode)| inode & 0xffff_ffff == entry & 0xffff_ffff) {
        return Some(kind);
    }
    let _ = slot.compare_exchange(entry, 0, Ordering::AcqRel, Ordering::Relaxed);
    None
}

/// Forgets a descriptor that is about to be closed or replaced.
pub(crate) fn forget(fd: c_int) {
    if let Some(slot) = slot(fd)
        && slot.load(Ordering::Relaxed) != 0
    {
        slot.store(0, Ordering::Release);
    }
}

/// Takes note of a duplicate.
pub(crate) fn duplicate(old: c_int, new: c_int) {
    if let (Some(old), Some(new)) = (slot(old), slot(new)) {
        let (entry, stale) = (old.load(Ordering::Acquire), new.load(Ordering::Relaxed));
        if entry != 0 || stale != 0 {
            new.store(entry, Ordering::Release);
        }
    }
}

/// Whether any descriptor but `fd` is this kind.
pub(crate) fn is_elsewhere(fd: c_int, kind: Kind) -> bool {
    TABLE.iter().enumerate().any(|(index, slot)| {
        index as c_int != fd && decode(slot.load(Ordering::Relaxed)) == Some(kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_encoding() {
        for kind in [
            Kind::Kfd { owner: 4_194_304 },
            Kind::Drm { gpu: 15, minor: 143, open: 0xffff },
            Kind::Smi,
            Kind::Dmabuf { id: 77 },
            Kind::Directory,
        ] {
            assert_eq!(decode(encode(kind, 0xdead_beef_0000_0001)), Some(kind));
        }
        assert_eq!(decode(0), None);
    }

    #[test]
    fn a_descriptor_number_that_was_reused_is_no_longer_simulated() {
        let fd = sys::move_high(sys::memfd(c"test", 4096).unwrap());
        enter(fd, Kind::Smi).unwrap();
        assert_eq!(get(fd), Some(Kind::Smi));
        sys::close(fd); // behind the table's back
        let other = sys::memfd(c"other", 4096).unwrap();
        // SAFETY: plain integers.
        assert_eq!(unsafe { libc::syscall(libc::SYS_dup2, other, fd) }, i64::from(fd));
        assert_eq!(get(fd), None);
        sys::close(fd);
        sys::close(other);
    }

    #[test]
    fn numbers_outside_the_table_are_nothing() {
        assert_eq!(get(-1), None);
        assert_eq!(get(c_int::MAX), None);
        forget(-1);
        duplicate(-1, c_int::MAX);
    }
}
