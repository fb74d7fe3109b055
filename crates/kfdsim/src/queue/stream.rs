//! A stream of packets: the words of a ring up to its write pointer, and indirect buffers.
//!
//! Reads whole packets only and executes one at a time, so that a packet that waits costs the
//! other queues nothing. Knows nothing of what packets mean.

use super::access::{Access, Result, Stop};
use crate::sys;

/// Indirect buffers within indirect buffers; hardware has two levels.
const DEEPEST: usize = 4;

/// Words that are read at once; longer packets are read again, whole.
const WINDOW: usize = 16;

/// The words of a ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring {
    /// Address in this process.
    pub(super) base: u64,
    /// A power of two.
    pub(super) words: u64,
    /// All words ever submitted.
    pub(super) written: u64,
}

/// How a stream goes on after a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The packet has to be tried again: its condition does not hold yet.
    Wait,
    /// As `Wait`, but something was done: there is more to do at once.
    Again,
    /// Done: go on this many words after the start of the packet.
    Skip(u64),
    /// Words at a GPU address come first.
    Call { va: u64, words: u64 },
    /// As `Call`, in place of what is left of this buffer.
    Chain { va: u64, words: u64 },
}

/// An indirect buffer in work.
#[derive(Debug)]
struct Frame {
    va: u64,
    words: u64,
    at: u64,
}

/// What reads and executes packets.
pub(super) trait Decoder {
    /// Words of the packet at the start of `words`; `None` if more have to be seen first.
    fn length(&self, words: &[u32]) -> Result<Option<u64>>;
    /// Executes a packet, which is whole.
    fn execute(&mut self, access: &Access, packet: &[u32]) -> Result<Next>;
    /// The interrupt that the packet asked for: to be raised once the read pointer has moved,
    /// as the program may count on the room in the ring then.
    fn take_interrupt(&mut self) -> Option<u32>;
}

/// How far a queue has come.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Words of the ring that are done.
    pub(super) read: u64,
    frames: Vec<Frame>,
    /// Words of the ring's packet that called the first frame.
    caller: u64,
}

impl Stream {
    /// Whether an indirect buffer is in work.
    pub(super) fn is_inside(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Works on an indirect buffer that no ring packet called.
    pub(super) fn enter(&mut self, va: u64, words: u64) {
        self.frames.push(Frame { va, words, at: 0 });
    }

    /// Executes at most one packet; says whether it is done.
    pub(super) fn step(
        &mut self,
        access: &Access,
        ring: Ring,
        decoder: &mut impl Decoder,
    ) -> Result<bool> {
        if self.frames.last().is_some_and(|frame| frame.at >= frame.words) {
            self.frames.pop();
            if self.frames.is_empty() {
                self.read += std::mem::take(&mut self.caller);
            }
            return Ok(true);
        }
        let available = match self.frames.last() {
            Some(frame) => frame.words - frame.at,
            None => ring.written.saturating_sub(self.read).min(ring.words),
        };
        if available == 0 {
            return Ok(false);
        }
        let mut window = [0; WINDOW];
        let seen = &mut window[..available.min(WINDOW as u64) as usize];
        self.fetch(access, ring, seen)?;
        let length = match decoder.length(seen)? {
            Some(length) if length <= available => length,
            // The program may submit the rest later.
            length if self.frames.is_empty() && length.is_none_or(|words| words <= ring.words) => {
                return Ok(false);
            }
            _ => {
                let header = seen.first().copied().unwrap_or_default();
                return Err(Stop::Bad(format!("packet {header:#010x} is cut off")));
            }
        };
        let next = if length <= seen.len() as u64 {
            decoder.execute(access, &seen[..length as usize])?
        } else {
            let mut long = vec![0; length as usize];
            self.fetch(access, ring, &mut long)?;
            decoder.execute(access, &long)?
        };
        self.go_on(next, length)
    }

    fn go_on(&mut self, next: Next, length: u64) -> Result<bool> {
        match next {
            Next::Wait => return Ok(false),
            Next::Again => {}
            Next::Skip(words) => match self.frames.last_mut() {
                Some(frame) => frame.at += words,
                None => self.read += words,
            },
            Next::Call { va, words } => {
                match self.frames.last_mut() {
                    Some(frame) => frame.at += length,
                    None => self.caller = length,
                }
                if self.frames.len() == DEEPEST {
                    return Err("indirect buffers are nested too deeply".into());
                }
                self.enter(va, words);
            }
            Next::Chain { va, words } => {
                if self.frames.pop().is_none() {
                    self.caller = length;
                }
                self.enter(va, words);
            }
        }
        Ok(true)
    }

    /// Reads words from where the stream is.
    fn fetch(&self, access: &Access, ring: Ring, words: &mut [u32]) -> Result<()> {
        if let Some(frame) = self.frames.last() {
            let va = frame.va.wrapping_add(frame.at * 4);
            return access.read_words(va, words, "indirect buffer");
        }
        let at = self.read & (ring.words - 1);
        let before_end = (ring.words - at).min(words.len() as u64) as usize;
        let (first, rest) = words.split_at_mut(before_end);
        let gone = |_| Stop::Bad("the memory of the ring is gone".to_owned());
        sys::copy_from_user(bytemuck::cast_slice_mut(first), ring.base + at * 4).map_err(gone)?;
        sys::copy_from_user(bytemuck::cast_slice_mut(rest), ring.base).map_err(gone)
    }
}
