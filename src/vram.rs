//! The cap on device memory, `RDNAFIX_VRAM_FRACTION`: how much of each device the program
//! holds, by the sizes that it asked for. Off by default, and then nothing is counted.
//!
//! What was not seen to be allocated (imported, opened through IPC, allocated by HSA) is not
//! counted, and freeing it changes nothing. Memory that is freed asynchronously counts until
//! the call that frees it. In doubt too little is counted: the cap refuses nothing on a guess.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::hip::DEVICES;
use crate::remember::Memory;
use crate::{config, mode};

/// One allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    /// HIP's number of the device, below [`DEVICES`].
    device: usize,
    bytes: u64,
}

/// By address, or by the handle of hipMemCreate, which is one too.
static HELD: Memory<Held> = Memory::new();

/// Bytes by device: those in [`HELD`], and those of calls that are under way.
static LIVE: [AtomicU64; DEVICES] = [const { AtomicU64::new(0) }; DEVICES];

/// Whether device memory is counted in this process.
#[inline]
pub(crate) fn wanted() -> bool {
    config::get().cap().is_some() && mode::active()
}

/// Room for an allocation that is under way; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room(Held);

impl Room {
    /// Takes room for `bytes` on a device, below [`DEVICES`], if then no more than `limit`
    /// bytes are held there. Otherwise gives how many are. Thread-safe.
    pub(crate) fn take(device: usize, bytes: u64, limit: u64) -> Result<Self, u64> {
        let sum = |live: u64| live.checked_add(bytes).filter(|sum| *sum <= limit);
        LIVE[device].fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum)?;
        Ok(Self(Held { device, bytes }))
    }

    /// The allocation was made: it counts, with the size that it has, until it is freed. An
    /// older one of the same address must have been freed unseen.
    pub(crate) fn fill(self, key: usize, bytes: u64) {
        let held = Held { device: self.0.device, bytes };
        // The room becomes it: counted twice for a moment, it would refuse what there is room for.
        if let Some(more) = bytes.checked_sub(self.0.bytes) {
            LIVE[held.device].fetch_add(more, Ordering::Relaxed);
        } else {
            give_back(Held { bytes: self.0.bytes - bytes, ..held });
        }
        std::mem::forget(self);
        let older = HELD.with(|all| {
            let older = all.take(key);
            all.set(key, 1, held);
            older
        });
        if let Some((_, older)) = older {
            give_back(older);
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        give_back(self.0);
    }
}

fn give_back(held: Held) {
    let less = |live: u64| Some(live.saturating_sub(held.bytes));
    let _ = LIVE[held.device].fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
}

/// What is being freed, if it is counted; no longer so when this is dropped.
#[derive(Debug)]
pub(crate) struct Freed(usize, Option<Held>);

/// To be called before memory is freed: once it is, another thread may get the same address.
pub(crate) fn free(key: usize) -> Freed {
    if HELD.is_empty() {
        return Freed(key, None);
    }
    Freed(key, HELD.with(|all| all.take(key)).map(|(_, held)| held))
}

/// Whether nothing is counted; cheap.
pub(crate) fn is_empty() -> bool {
    HELD.is_empty()
}

impl Freed {
    /// Whether it was found.
    pub(crate) fn is_counted(&self) -> bool {
        self.1.is_some()
    }

    /// Whether the call that frees it succeeded; otherwise it counts on.
    pub(crate) fn done(mut self, success: bool) {
        if !success && let Some(held) = self.1.take() {
            HELD.with(|all| all.set(self.0, 1, held));
        }
    }
}

impl Drop for Freed {
    fn drop(&mut self) {
        if let Some(held) = self.1 {
            give_back(held);
        }
    }
}

/// A device has lost all its memory.
pub(crate) fn forget_device(device: usize) {
    if HELD.is_empty() {
        return;
    }
    let bytes = Cell::new(0);
    HELD.with(|all| {
        all.drop_where(|held| {
            let lost = held.device == device;
            bytes.set(bytes.get() + if lost { held.bytes } else { 0 });
            lost
        });
    });
    give_back(Held { device, bytes: bytes.get() });
}

/// In a forked child: GPU memory is not inherited.
pub(crate) fn forget_all() {
    HELD.forget_all();
    for live in &LIVE {
        live.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each test has a device of its own.
    fn live(device: usize) -> u64 {
        LIVE[device].load(Ordering::Relaxed)
    }

    #[test]
    fn what_is_held_may_be_as_much_as_the_limit() {
        let first = Room::take(1, 60, 100).unwrap();
        assert_eq!(Room::take(1, 41, 100).unwrap_err(), 60);
        assert_eq!(Room::take(1, u64::MAX, 100).unwrap_err(), 60);
        first.fill(0x1000, 60);
        Room::take(1, 40, 100).unwrap().fill(0x2000, 40);
        assert_eq!((live(1), Room::take(1, 1, 100).unwrap_err()), (100, 100));
        free(0x1000).done(true);
        assert_eq!(live(1), 40);
        drop(Room::take(1, 60, 100).unwrap());
        assert_eq!(live(1), 40, "the call failed");
    }

    #[test]
    fn the_size_that_counts_is_the_one_that_was_made() {
        Room::take(2, 60, 100).unwrap().fill(0x3000, 90);
        assert_eq!(live(2), 90);
        free(0x3000).done(true);
        assert_eq!(live(2), 0);
    }

    #[test]
    fn a_free_that_fails_changes_nothing() {
        Room::take(3, 60, 100).unwrap().fill(0x4000, 60);
        free(0x4000).done(false);
        assert_eq!(live(3), 60);
        free(0x4000).done(true);
        free(0x4000).done(true);
        free(0x4000).done(false);
        free(0xdead_0000).done(true);
        assert_eq!(live(3), 0);
    }

    #[test]
    fn an_address_that_comes_again_was_freed_unseen() {
        Room::take(4, 60, 100).unwrap().fill(0x5000, 60);
        Room::take(4, 30, 100).unwrap().fill(0x5000, 30);
        assert_eq!(live(4), 30);
    }

    #[test]
    fn a_device_that_is_reset_holds_nothing_and_the_others_what_they_did() {
        Room::take(5, 60, 100).unwrap().fill(0x6000, 60);
        Room::take(6, 60, 100).unwrap().fill(0x7000, 60);
        forget_device(5);
        free(0x6000).done(true);
        assert_eq!((live(5), live(6)), (0, 60));
    }

    #[test]
    fn many_threads_never_hold_more_than_the_limit() {
        const LIMIT: u64 = 1000;
        std::thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for round in 0..500 {
                        let key = 0x10_0000 + thread * 0x1000 + round;
                        if let Ok(room) = Room::take(7, 300, LIMIT) {
                            assert!(live(7) <= LIMIT);
                            room.fill(key, 300);
                            free(key).done(round % 2 == 0);
                            free(key).done(true);
                        }
                    }
                });
            }
        });
        assert_eq!(live(7), 0);
    }

    #[test]
    fn threads_that_stay_within_the_limit_are_never_refused() {
        let refused = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for key in [0x20_0000, 0x20_1000] {
                let refused = &refused;
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        let Ok(room) = Room::take(8, 400, 900) else {
                            refused.fetch_add(1, Ordering::Relaxed);
                            continue;
                        };
                        room.fill(key, 400);
                        free(key).done(true);
                    }
                });
            }
        });
        assert_eq!((refused.load(Ordering::Relaxed), live(8)), (0, 0));
    }
}
