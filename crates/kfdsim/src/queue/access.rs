//! How the queue thread reaches memory: GPU addresses to addresses of this process.
//!
//! An address that the GPU has no mapping for is a fault, as with XNACK off. Bulk data moves
//! by `sys::copy`, which survives bad addresses. Single words that the program reads at the
//! same time are atomic; their pages are checked first.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::sim::Sim;
use crate::{sys, vmas};

/// Memory as one GPU sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) sim: &'static Sim,
    pub(super) gpu: usize,
}

/// Why a queue cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// An access that the GPU's page tables do not allow.
    Fault {
        va: u64,
        /// What the packet wanted there.
        what: &'static str,
        write: bool,
    },
    /// A packet that hardware would hang on, or that is not known here.
    Bad(String),
    /// An AQL packet that the command processor refuses, by an exception of the queue.
    Refused { exception: u32, why: String },
}

impl From<String> for Stop {
    fn from(reason: String) -> Stop {
        Stop::Bad(reason)
    }
}

impl From<&str> for Stop {
    fn from(reason: &str) -> Stop {
        Stop::Bad(reason.to_owned())
    }
}

pub(super) type Result<T> = std::result::Result<T, Stop>;

/// What a range is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    pub(super) what: &'static str,
    pub(super) write: bool,
}

/// Reads of `what`.
pub(super) fn reads(what: &'static str) -> Use {
    Use { what, write: false }
}

/// Writes of `what`.
pub(super) fn writes(what: &'static str) -> Use {
    Use { what, write: true }
}

impl Use {
    fn fault(self, va: u64) -> Stop {
        Stop::Fault { va, what: self.what, write: self.write }
    }
}

impl Access {
    /// Addresses in this process, and lengths, of a range of GPU memory. Mappings may follow
    /// one another.
    fn parts(&self, va: u64, size: u64, of: Use) -> Result<Vec<(u64, u64)>> {
        let end = va.checked_add(size).ok_or_else(|| of.fault(va))?;
        let state = self.sim.lock();
        let mut parts = Vec::with_capacity(1);
        let mut at = va;
        while at < end {
            let extent = state
                .memory
                .extent(self.gpu, at)
                .or_else(|| state.svm.extent(self.gpu, at))
                .filter(|extent| extent.writable || !of.write)
                .ok_or_else(|| of.fault(at))?;
            let length = extent.left.min(end - at);
            parts.push((extent.address, length));
            at += length;
        }
        Ok(parts)
    }

    /// Copies from one GPU address to another.
    pub(super) fn copy(&self, to: u64, from: u64, size: u64) -> Result<()> {
        let (to_use, from_use) = (writes("copy destination"), reads("copy source"));
        let targets = self.parts(to, size, to_use)?;
        let mut sources = self.parts(from, size, from_use)?.into_iter();
        let (mut source, mut left) = (0, 0);
        let mut done = 0;
        for (mut target, mut length) in targets {
            while length > 0 {
                if left == 0 {
                    let Some(next) = sources.next() else { return Ok(()) };
                    (source, left) = next;
                }
                let size = left.min(length);
                sys::copy(target, source, size).map_err(|_| {
                    // Which of the two is not there is seen by reading the source alone.
                    match sys::copy_from_user(&mut [0], source) {
                        Ok(()) => to_use.fault(to + done),
                        Err(_) => from_use.fault(from + done),
                    }
                })?;
                (target, length) = (target + size, length - size);
                (source, left) = (source + size, left - size);
                done += size;
            }
        }
        Ok(())
    }

    /// Fills GPU memory with a repeated pattern.
    pub(super) fn fill(&self, to: u64, size: u64, pattern: &[u8]) -> Result<()> {
        const CHUNK: usize = 1 << 20;
        if pattern.is_empty() {
            return Err("a fill without a pattern".into());
        }
        let of = writes("fill destination");
        self.parts(to, size, of)?; // all or nothing
        let whole = CHUNK / pattern.len() * pattern.len();
        let chunk: Vec<u8> = pattern.iter().copied().cycle().take(whole).collect();
        let mut done = 0;
        while done < size {
            let length = (size - done).min(chunk.len() as u64);
            self.write(to + done, &chunk[..length as usize], of.what)?;
            done += length;
        }
        Ok(())
    }

    /// Writes GPU memory. One aligned word is written atomically.
    pub(super) fn write(&self, va: u64, bytes: &[u8], what: &'static str) -> Result<()> {
        if let (Ok(word), true) = (bytes.try_into(), va.is_multiple_of(4)) {
            store(self.target(va, 4, what)?, u32::from_le_bytes(word));
            return Ok(());
        }
        let of = writes(what);
        let mut done = 0;
        for (address, length) in self.parts(va, bytes.len() as u64, of)? {
            let end = done + length as usize;
            sys::copy_to_user(address, &bytes[done..end])
                .map_err(|_| of.fault(va + done as u64))?;
            done = end;
        }
        Ok(())
    }

    /// Reads GPU memory into `bytes`.
    pub(super) fn read(&self, va: u64, bytes: &mut [u8], what: &'static str) -> Result<()> {
        let of = reads(what);
        let mut done = 0;
        for (address, length) in self.parts(va, bytes.len() as u64, of)? {
            let end = done + length as usize;
            sys::copy_from_user(&mut bytes[done..end], address)
                .map_err(|_| of.fault(va + done as u64))?;
            done = end;
        }
        Ok(())
    }

    /// Reads words of GPU memory.
    pub(super) fn read_words(&self, va: u64, words: &mut [u32], what: &'static str) -> Result<()> {
        self.read(va, bytemuck::cast_slice_mut(words), what)
    }

    /// Address of a word to read that the program may use at the same time.
    pub(super) fn word(&self, va: u64, size: u64, what: &'static str) -> Result<u64> {
        let address = self.aligned(va, size, reads(what))?;
        let mut probe = [0; 8];
        sys::copy_from_user(&mut probe[..size as usize], address)
            .map_err(|_| reads(what).fault(va))?;
        Ok(address)
    }

    /// Address of a word to write that the program may use at the same time.
    pub(super) fn target(&self, va: u64, size: u64, what: &'static str) -> Result<u64> {
        let address = self.aligned(va, size, writes(what))?;
        if vmas::is_writable(address) { Ok(address) } else { Err(writes(what).fault(va)) }
    }

    fn aligned(&self, va: u64, size: u64, of: Use) -> Result<u64> {
        if !va.is_multiple_of(size) {
            return Err(Stop::Bad(format!("{} at {va:#x} is not aligned", of.what)));
        }
        let parts = self.parts(va, size, of)?;
        parts.first().map(|(address, _)| *address).ok_or_else(|| of.fault(va))
    }

    /// An interrupt for an event.
    pub(super) fn interrupt(&self, event: u32) {
        let mut state = self.sim.lock();
        let slots = state.event_slots();
        state.events.interrupt(event, slots);
        drop(state);
        self.sim.changed.notify_all();
    }
}

/// A type with an atomic form.
pub(super) trait Word: Copy {
    fn load(address: u64) -> Self;
    fn store(address: u64, value: Self);
    /// Replaces the value by what `new` makes of it; gives the old one.
    fn update(address: u64, new: impl FnMut(Self) -> Self) -> Self;
}

macro_rules! word {
    ($type:ty, $atomic:ty) => {
        impl Word for $type {
            fn load(address: u64) -> $type {
                // SAFETY: callers pass aligned addresses that they found to be memory: rings
                // at CREATE_QUEUE, others by Access::word or Access::target just before.
                unsafe { <$atomic>::from_ptr(address as *mut $type) }.load(Ordering::SeqCst)
            }

            fn store(address: u64, value: $type) {
                // SAFETY: as for `load`.
                unsafe { <$atomic>::from_ptr(address as *mut $type) }
                    .store(value, Ordering::SeqCst);
            }

            fn update(address: u64, mut new: impl FnMut($type) -> $type) -> $type {
                // SAFETY: as for `load`.
                let word = unsafe { <$atomic>::from_ptr(address as *mut $type) };
                let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
                let done = word.fetch_update(set, fetch, |old| Some(new(old)));
                done.unwrap_or_else(|old| old)
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
