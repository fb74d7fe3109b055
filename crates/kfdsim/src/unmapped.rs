//! Address ranges that the program unmapped, until the state can be told.
//!
//! The munmap hook may run inside a memory allocator that holds its own locks, so it must
//! neither allocate nor wait for the state, whose holder may be allocating. It leaves a note
//! here instead, and every ioctl reads the notes before it does anything else. Only ranges
//! near SVM ranges are noted at all.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::state::State;

/// Lowest and highest address of any SVM range.
static LOWEST: AtomicU64 = AtomicU64::new(u64::MAX);
static HIGHEST: AtomicU64 = AtomicU64::new(0);

const SLOTS: usize = 4096;
const EMPTY: u32 = 0;
const BUSY: u32 = 1;
const FULL: u32 = 2;

struct Slot {
    state: AtomicU32,
    start: AtomicU64,
    end: AtomicU64,
}

static NOTES: [Slot; SLOTS] = [const {
    Slot { state: AtomicU32::new(EMPTY), start: AtomicU64::new(0), end: AtomicU64::new(0) }
}; SLOTS];

/// Notes since the last reading, at least.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Says where SVM ranges are.
pub(crate) fn watch(bounds: Option<(u64, u64)>) {
    let (lowest, highest) = bounds.unwrap_or((u64::MAX, 0));
    LOWEST.store(lowest, Ordering::Release);
    HIGHEST.store(highest, Ordering::Release);
}

/// Addresses of user space end here (TASK_SIZE_MAX with four levels of page tables).
const USER_END: u64 = 1 << 47;

/// Notes that a range is about to be unmapped or replaced. Takes no lock, allocates nothing.
/// What the kernel is going to refuse (HIP unmaps what it could not map) takes nothing away.
pub(crate) fn note(start: u64, size: u64) {
    let end = start.saturating_add(size).saturating_add(4095) & !4095;
    if size == 0 || !start.is_multiple_of(4096) || end > USER_END {
        return;
    }
    if end <= LOWEST.load(Ordering::Acquire) || start >= HIGHEST.load(Ordering::Acquire) {
        return;
    }
    for slot in &NOTES {
        let free = slot.state.compare_exchange(EMPTY, BUSY, Ordering::Acquire, Ordering::Relaxed);
        if free.is_ok() {
            slot.start.store(start, Ordering::Relaxed);
            slot.end.store(end, Ordering::Relaxed);
            slot.state.store(FULL, Ordering::Release);
            COUNT.fetch_add(1, Ordering::Release);
            return;
        }
    }
    // Thousands of unmaps near SVM ranges without a single ioctl: attributes stay for too
    // long then, which only the log shows.
}

/// Makes the state forget what was noted.
pub(crate) fn forget_in(state: &mut State) {
    if COUNT.swap(0, Ordering::AcqRel) == 0 {
        return;
    }
    for slot in &NOTES {
        if slot.state.load(Ordering::Acquire) == FULL {
            let range = (slot.start.load(Ordering::Relaxed), slot.end.load(Ordering::Relaxed));
            slot.state.store(EMPTY, Ordering::Release);
            state.svm.forget(range.0, range.1);
        }
    }
    watch(state.svm.bounds());
}

#[cfg(test)]
mod tests {
    use super::*;
    use kfd_abi::flags::svm;
    use kfd_abi::ioctl::SvmAttribute;

    #[test]
    fn an_unmapped_range_is_forgotten_at_the_next_look() {
        let config = crate::config::Config::read(|_| None).unwrap();
        let mut state = State::new(&config);
        let set = [SvmAttribute { r#type: svm::ATTR_CLR_FLAGS, value: svm::COHERENT }];
        state.svm.set(0x10_0000, 0x20_0000, &set, |_| None);
        watch(state.svm.bounds());
        note(0x30_0000, 4096); // elsewhere
        note(0, 1 << 60); // refused
        note(u64::MAX, 4096); // MAP_FAILED, refused
        note(0x18_0000, 0x8_0000);
        forget_in(&mut state);
        assert!(state.svm.overlaps(0x10_0000, 0x18_0000));
        assert!(!state.svm.overlaps(0x18_0000, 0x20_0000));
        assert_eq!(HIGHEST.load(Ordering::Relaxed), 0x18_0000);
    }
}
