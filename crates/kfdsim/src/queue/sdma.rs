//! SDMA packets in the layout of SDMA 5.x (GFX10), which ROCr and kfdtest write.
//!
//! Opcodes and fields: the kernel's navi10_sdma_pkt_open.h (Linux 6.12), ROCr's
//! sdma_registers.h for the copy of a rectangle. Registers and caches are not modelled. An
//! unknown opcode is an error: its length is not known.

use super::access::{Access, Result, Stop, load, store};
use super::atomic::Atomic;
use super::stream::{Decoder, Next};
use super::{compare, gpu_clock};

const NOP: u32 = 0;
const COPY: u32 = 1;
const WRITE: u32 = 2;
const INDIRECT: u32 = 4;
const FENCE: u32 = 5;
const TRAP: u32 = 6;
const SEMAPHORE: u32 = 7;
const POLL_REGMEM: u32 = 8;
const COND_EXE: u32 = 9;
const ATOMIC: u32 = 10;
const CONST_FILL: u32 = 11;
const TIMESTAMP: u32 = 13;
const SRBM_WRITE: u32 = 14;
const PRE_EXE: u32 = 15;
const GPUVM_INV: u32 = 16;
const GCR: u32 = 17;
const DUMMY_TRAP: u32 = 32;

const LINEAR: u32 = 0;
const SUB_WINDOW: u32 = 4;
const BROADCAST: u32 = 1 << 27;

/// The state of an engine: one for each queue.
#[derive(Debug, Default)]
pub(super) struct Sdma {
    interrupt: Option<u32>,
}

fn long(packet: &[u32], index: usize) -> u64 {
    u64::from(packet[index]) | u64::from(packet[index + 1]) << 32
}

/// A byte count, which is one less in the packet.
fn count(word: u32) -> u64 {
    u64::from(word & 0x3fff_ffff) + 1
}

impl Decoder for Sdma {
    fn length(&self, words: &[u32]) -> Result<Option<u64>> {
        let Some(header) = words.first() else { return Ok(None) };
        let (operation, sub) = (header & 0xff, header >> 8 & 0xff);
        Ok(Some(match (operation, sub) {
            (NOP, _) => 1 + u64::from(header >> 16 & 0x3fff),
            (COPY, LINEAR) if header & BROADCAST != 0 => 9,
            (COPY, LINEAR) => 7,
            (COPY, SUB_WINDOW) => 13,
            (WRITE, LINEAR) => {
                let Some(count) = words.get(3) else { return Ok(None) };
                4 + u64::from(count & 0xf_ffff) + 1
            }
            (TRAP | DUMMY_TRAP | PRE_EXE, _) => 2,
            (SEMAPHORE | TIMESTAMP | SRBM_WRITE, _) => 3,
            (FENCE | GPUVM_INV, _) | (POLL_REGMEM, 1) => 4,
            (COND_EXE | GCR, _) | (CONST_FILL, 0) => 5,
            (INDIRECT, _) | (POLL_REGMEM, 0) => 6,
            (ATOMIC, _) => 8,
            _ => {
                let reason = format!("SDMA opcode {operation}.{sub} is not known here");
                return Err(Stop::Bad(reason));
            }
        }))
    }

    fn execute(&mut self, access: &Access, packet: &[u32]) -> Result<Next> {
        let skip = Next::Skip(packet.len() as u64);
        let header = packet[0];
        match header & 0xff {
            COPY if header >> 8 & 0xff == SUB_WINDOW => copy_window(access, packet)?,
            COPY => {
                let (from, size) = (long(packet, 3), count(packet[1]));
                access.copy(long(packet, 5), from, size)?;
                if header & BROADCAST != 0 {
                    access.copy(long(packet, 7), from, size)?;
                }
            }
            WRITE => {
                let bytes: Vec<u8> =
                    packet[4..].iter().flat_map(|word| word.to_le_bytes()).collect();
                access.write(long(packet, 1), &bytes, "WRITE")?;
            }
            INDIRECT => {
                return Ok(Next::Call {
                    va: long(packet, 1) & !3,
                    words: u64::from(packet[3] & 0xf_ffff),
                });
            }
            FENCE => store(access.target(long(packet, 1), 4, "FENCE")?, packet[3]),
            TRAP => self.interrupt = Some(packet[1] & 0x0fff_ffff),
            SEMAPHORE if !semaphore(access, packet)? => return Ok(Next::Wait),
            POLL_REGMEM if !polled(access, packet)? => return Ok(Next::Wait),
            COND_EXE => {
                let value = load::<u32>(access.word(long(packet, 1), 4, "COND_EXE")?);
                let count = if value == packet[3] { 0 } else { packet[4] & 0x3fff };
                return Ok(Next::Skip(5 + u64::from(count)));
            }
            ATOMIC => return atomic(access, packet, skip),
            CONST_FILL => {
                let pattern = packet[3].to_le_bytes();
                // fillsize: 0 bytes, 1 half words, 2 words.
                let pattern = &pattern[..1 << (header >> 30).min(2)];
                access.fill(long(packet, 1), count(packet[4]), pattern)?;
            }
            TIMESTAMP if header >> 8 & 0xff != 0 => {
                store(access.target(long(packet, 1) & !7, 8, "TIMESTAMP")?, gpu_clock());
            }
            _ => {} // no effect on memory
        }
        Ok(skip)
    }

    fn take_interrupt(&mut self) -> Option<u32> {
        self.interrupt.take()
    }
}

/// Whether POLL_REGMEM may pass. A register (the HDP flush) always does.
fn polled(access: &Access, packet: &[u32]) -> Result<bool> {
    if packet[0] >> 31 == 0 || packet.len() < 6 {
        return Ok(true);
    }
    let value = load::<u32>(access.word(long(packet, 1), 4, "POLL_REGMEM")?) & packet[4];
    Ok(compare(packet[0] >> 28 & 7, u64::from(value), u64::from(packet[3])))
}

/// Signals (bit 30) by adding one or writing one (bit 29), or waits for more than zero and
/// takes one.
fn semaphore(access: &Access, packet: &[u32]) -> Result<bool> {
    use super::access::Word;
    let at = access.target(long(packet, 1), 8, "SEMAPHORE")?;
    if packet[0] >> 30 & 1 != 0 {
        let one = packet[0] >> 29 & 1 != 0;
        u64::update(at, |old| if one { 1 } else { old.wrapping_add(1) });
        return Ok(true);
    }
    Ok(u64::update(at, |old| old.saturating_sub(1)) > 0)
}

fn atomic(access: &Access, packet: &[u32], skip: Next) -> Result<Next> {
    let atomic = Atomic {
        operation: packet[0] >> 25,
        va: long(packet, 1),
        operand: long(packet, 3),
        compare: long(packet, 5),
    };
    let Some(old) = atomic.run(access)? else {
        let reason = format!("SDMA atomic operation {} is not known here", atomic.operation);
        return Err(Stop::Bad(reason));
    };
    // Bit 16: until the comparison is true.
    let again = packet[0] >> 16 & 1 != 0 && atomic.compares() && old != atomic.compare;
    Ok(if again { Next::Wait } else { skip })
}

/// One side of the copy of a rectangle: the words of its address, offsets and pitches.
struct Window {
    va: u64,
    pitch: u64,
    slice: u64,
}

impl Window {
    fn new(words: &[u32], element: u32) -> Window {
        let (x, y) = (u64::from(words[2] & 0x3fff), u64::from(words[2] >> 16 & 0x3fff));
        let z = u64::from(words[3] & 0x7ff);
        let pitch = (u64::from(words[3] >> 13) + 1) << element;
        let slice = (u64::from(words[4] & 0xfff_ffff) + 1) << element;
        let offset = (x << element) + y * pitch + z * slice;
        Window { va: long(words, 0).wrapping_add(offset), pitch, slice }
    }

    fn row(&self, y: u64, z: u64) -> u64 {
        self.va.wrapping_add(y * self.pitch + z * self.slice)
    }
}

/// COPY_LINEAR_SUBWIN: rows of elements of 1 to 16 bytes; sizes and pitches are one less in
/// the packet.
fn copy_window(access: &Access, packet: &[u32]) -> Result<()> {
    let element = packet[0] >> 29;
    if element > 4 {
        return Err(Stop::Bad(format!("a copy of elements of 2^{element} bytes")));
    }
    let (source, target) =
        (Window::new(&packet[1..6], element), Window::new(&packet[6..11], element));
    let width = (u64::from(packet[11] & 0x3fff) + 1) << element;
    let (rows, slices) =
        (u64::from(packet[11] >> 16 & 0x3fff) + 1, u64::from(packet[12] & 0x7ff) + 1);
    for z in 0..slices {
        for y in 0..rows {
            access.copy(target.row(y, z), source.row(y, z), width)?;
        }
    }
    Ok(())
}
