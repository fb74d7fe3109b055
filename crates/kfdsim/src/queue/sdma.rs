//! SDMA packets in the layout of SDMA 5.x (GFX10), which ROCr's blit code writes.
//!
//! Opcodes and fields: amd_sdma definitions in ROCr (sdma_registers.h) and the kernel's
//! navi10_sdma_pkt_open.h. An unknown opcode stops the queue: its length is not known.

use std::sync::atomic::{Ordering, fence};

use super::access::{self, Access, Result};
use super::{Rings, gpu_clock};

const NOP: u32 = 0;
const COPY: u32 = 1;
const FENCE: u32 = 5;
const TRAP: u32 = 6;
const POLL_REGMEM: u32 = 8;
const ATOMIC: u32 = 10;
const CONST_FILL: u32 = 11;
const TIMESTAMP: u32 = 13;
const GCR: u32 = 17;

const ATOMIC_ADD64: u32 = 47;

/// The longest packet that is read whole; NOP is skipped by its count.
const LONGEST: usize = 16;

/// Works on the packet at byte `read`; gives the number of bytes done, 0 if there is none or
/// it has to wait.
pub(super) fn step(access: &Access, rings: Rings, doorbell: u64, read: u64) -> Result<u64> {
    if read >= access::load::<u64>(doorbell) {
        return Ok(0);
    }
    fence(Ordering::Acquire);
    let mut packet = [0u32; LONGEST];
    for (index, word) in packet.iter_mut().enumerate() {
        *word = access::load(rings.base + (read + index as u64 * 4) % rings.size);
    }
    let words = execute(access, &packet)?;
    if words > 0 {
        access::store(rings.read, read + words * 4);
    }
    Ok(words * 4)
}

/// Executes a packet; gives its length in words, or 0 if its condition does not hold yet.
fn execute(access: &Access, packet: &[u32; LONGEST]) -> Result<u64> {
    let long = |index: usize| u64::from(packet[index]) | u64::from(packet[index + 1]) << 32;
    let count = |word: u32| u64::from(word & 0x3fff_ffff) + 1;
    let (operation, sub) = (packet[0] & 0xff, packet[0] >> 8 & 0xff);
    Ok(match (operation, sub) {
        (NOP, _) => 1 + u64::from(packet[0] >> 16 & 0x3fff),
        (COPY, 0) => {
            access.copy(long(5), long(3), count(packet[1]))?;
            7
        }
        (FENCE, _) => {
            access::store(access.word(long(1), 4, "fence")?, packet[3]);
            4
        }
        (TRAP, _) => {
            access.interrupt(packet[1] & 0x0fff_ffff);
            2
        }
        (POLL_REGMEM, _) if packet[0] >> 31 == 0 => 6, // a register: HDP flush
        (POLL_REGMEM, _) => {
            let value = access::load::<u32>(access.word(long(1), 4, "poll")?) & packet[4];
            if compare(packet[0] >> 28 & 7, value, packet[3]) { 6 } else { 0 }
        }
        (ATOMIC, _) if packet[0] >> 25 == ATOMIC_ADD64 => {
            access::add(access.word(long(1), 8, "atomic")?, long(3));
            8
        }
        (CONST_FILL, _) => {
            access.fill(long(1), count(packet[4]), &packet[3].to_le_bytes())?;
            5
        }
        (TIMESTAMP, _) => {
            access::store(access.word(long(1), 8, "timestamp")?, gpu_clock());
            3
        }
        (GCR, _) => 5,
        _ => return Err(format!("SDMA opcode {operation}.{sub} is not known here")),
    })
}

/// The functions of POLL_REGMEM.
fn compare(function: u32, value: u32, reference: u32) -> bool {
    match function {
        1 => value < reference,
        2 => value <= reference,
        3 => value == reference,
        4 => value != reference,
        5 => value >= reference,
        6 => value > reference,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_waits_for_its_condition() {
        for (function, less, equal, more) in [
            (0, true, true, true),
            (1, true, false, false),
            (2, true, true, false),
            (3, false, true, false),
            (4, true, false, true),
            (5, false, true, true),
            (6, false, false, true),
        ] {
            let results = [4, 5, 6].map(|value| compare(function, value, 5));
            assert_eq!(results, [less, equal, more], "{function}");
        }
    }
}
