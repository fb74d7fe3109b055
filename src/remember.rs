//! What has to be remembered between calls: the grain that the program chose for a range, and
//! the flags it passed for pinned memory that was rewritten. Nothing is remembered about any
//! other allocation.

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::intervals::Intervals;

/// Ranges with a value each, and a count that can be read without the lock, so that a call
/// costs nothing while there is nothing to remember.
pub(crate) struct Memory<T: 'static> {
    count: AtomicUsize,
    /// On the heap because a forked child leaves it behind: another thread of the parent may
    /// have held the lock.
    ranges: AtomicPtr<Mutex<Intervals<T>>>,
}

/// Flags that the program passed to `hipHostMalloc` and those that it was called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rewritten {
    /// What the program passed, and reads back.
    pub(crate) passed: u32,
    /// What the runtime was given.
    pub(crate) given: u32,
}

/// The unit in which KFD keeps the attributes of SVM ranges.
pub(crate) const PAGE: usize = 4096;

/// Ranges whose grain the program set itself, in whole pages.
pub(crate) static CHOSEN: Memory<()> = Memory::new();

/// Pinned allocations whose flags were rewritten.
pub(crate) static PINNED: Memory<Rewritten> = Memory::new();

impl<T: Copy> Memory<T> {
    pub(crate) const fn new() -> Self {
        Self { count: AtomicUsize::new(0), ranges: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Whether nothing is remembered; cheap.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Works on the ranges under the lock. Thread-safe; `work` must not call a hook.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Intervals<T>) -> R) -> R {
        let mut current = self.ranges.load(Ordering::Acquire);
        if current.is_null() {
            let fresh = Box::into_raw(Box::new(Mutex::new(Intervals::new())));
            current = match self.ranges.compare_exchange(
                current,
                fresh,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => fresh,
                Err(winner) => {
                    // SAFETY: `fresh` came from Box::into_raw above and was not published.
                    drop(unsafe { Box::from_raw(fresh) });
                    winner
                }
            };
        }
        // SAFETY: a published pointer is never freed, only left behind.
        let mut ranges = unsafe { &*current }.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut ranges);
        self.count.store(ranges.len(), Ordering::Release);
        result
    }

    /// In a forked child: starts empty. GPU memory is not inherited (KFD refuses the child).
    pub(crate) fn forget_all(&self) {
        self.ranges.store(std::ptr::null_mut(), Ordering::Release);
        self.count.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_threads_remember_and_forget_at_once() {
        static SHARED: Memory<usize> = Memory::new();
        const EACH: usize = 200;
        std::thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for index in 0..EACH {
                        let start = (thread * EACH + index) * 0x1000;
                        SHARED.with(|ranges| ranges.set(start, 0x1000, thread));
                        assert_eq!(SHARED.with(|ranges| ranges.at(start + 1)), Some(thread));
                        assert!(!SHARED.is_empty());
                        assert_eq!(
                            SHARED.with(|ranges| ranges.take(start)),
                            Some((0x1000, thread))
                        );
                    }
                });
            }
        });
        assert!(SHARED.is_empty());
    }
}
