//! How the queue thread reaches memory: GPU addresses to addresses of this process.
//!
//! Bulk data moves by `sys::copy`, which survives bad addresses. Single words that the
//! program reads at the same time are atomic; their pages are checked first.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::sim::Sim;
use crate::sys;

/// Memory as one GPU sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) sim: &'static Sim,
    pub(super) gpu: usize,
}

pub(super) type Result<T> = std::result::Result<T, String>;

impl Access {
    /// Address in this process of `size` bytes of GPU memory.
    pub(super) fn address(&self, va: u64, size: u64, what: &str) -> Result<u64> {
        self.sim
            .lock()
            .memory
            .resolve(self.gpu, va, size)
            .map_err(|_| format!("{what} at {va:#x}, {size} bytes, is not mapped on this GPU"))
    }

    /// Copies from one GPU address to another.
    pub(super) fn copy(&self, to: u64, from: u64, size: u64) -> Result<()> {
        let to = self.address(to, size, "copy destination")?;
        let from = self.address(from, size, "copy source")?;
        sys::copy(to, from, size)
            .map_err(|_| format!("copy of {size} bytes to {to:#x} from {from:#x} faults"))
    }

    /// Fills GPU memory with a repeated pattern.
    pub(super) fn fill(&self, to: u64, size: u64, pattern: &[u8]) -> Result<()> {
        const CHUNK: usize = 1 << 20;
        if pattern.is_empty() {
            return Err("fill without a pattern".to_owned());
        }
        let to = self.address(to, size, "fill destination")?;
        let chunk: Vec<u8> =
            pattern.iter().copied().cycle().take(CHUNK / pattern.len() * pattern.len()).collect();
        let mut done = 0;
        while done < size {
            let length = (size - done).min(chunk.len() as u64);
            sys::copy_to_user(to + done, &chunk[..length as usize])
                .map_err(|_| format!("fill of {size} bytes at {to:#x} faults"))?;
            done += length;
        }
        Ok(())
    }

    /// Reads GPU memory.
    pub(super) fn read(&self, va: u64, size: usize, what: &str) -> Result<Vec<u8>> {
        let from = self.address(va, size as u64, what)?;
        let mut bytes = vec![0; size];
        sys::copy_from_user(&mut bytes, from).map_err(|_| format!("{what} at {va:#x} faults"))?;
        Ok(bytes)
    }

    /// Address of a word that the program may use at the same time.
    pub(super) fn word(&self, va: u64, size: u64, what: &str) -> Result<u64> {
        let address = self.address(va, size, what)?;
        if address % size != 0 {
            return Err(format!("{what} at {va:#x} is not aligned"));
        }
        let mut probe = [0; 8];
        sys::copy_from_user(&mut probe[..size as usize], address)
            .map_err(|_| format!("{what} at {va:#x} is not memory"))?;
        Ok(address)
    }

    /// An interrupt for an event.
    pub(super) fn interrupt(&self, event: u32) {
        self.sim.lock().events.interrupt(event);
        self.sim.changed.notify_all();
    }
}

/// A type with an atomic form.
pub(super) trait Word: Copy {
    fn load(address: u64) -> Self;
    fn store(address: u64, value: Self);
}

macro_rules! word {
    ($type:ty, $atomic:ty) => {
        impl Word for $type {
            fn load(address: u64) -> $type {
                // SAFETY: callers pass aligned addresses that they found to be memory: rings
                // at CREATE_QUEUE, others by Access::word just before.
                unsafe { <$atomic>::from_ptr(address as *mut $type) }.load(Ordering::SeqCst)
            }

            fn store(address: u64, value: $type) {
                // SAFETY: as for `load`.
                unsafe { <$atomic>::from_ptr(address as *mut $type) }
                    .store(value, Ordering::SeqCst);
            }
        }
    };
}
word!(u16, AtomicU16);
word!(u32, AtomicU32);
word!(u64, AtomicU64);

/// Reads a word atomically.
pub(super) fn load<T: Word>(address: u64) -> T {
    T::load(address)
}

/// Writes a word atomically.
pub(super) fn store<T: Word>(address: u64, value: T) {
    T::store(address, value);
}

/// Adds to a word atomically, wrapping.
pub(super) fn add(address: u64, value: u64) {
    // SAFETY: as for `Word::load`.
    unsafe { AtomicU64::from_ptr(address as *mut u64) }.fetch_add(value, Ordering::SeqCst);
}

/// Blocks all signals in this thread; gives the mask that was in force.
pub(super) fn block_signals() -> libc::sigset_t {
    // SAFETY: all-zero is a valid set; both sets are ours.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut old: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut old);
        old
    }
}

/// Puts a signal mask back in force.
pub(super) fn restore_signals(mask: &libc::sigset_t) {
    // SAFETY: the set is a valid one.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) };
}
