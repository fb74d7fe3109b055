//! AQL packets (HSA Platform System Architecture 1.2, section 2.9).
//!
//! Dispatches complete at once; barriers wait for their signals; vendor packets (PM4 in AQL,
//! which ROCr uses for cache flushes and the like) do nothing.

use super::access::{self, Access, Result};
use super::{Rings, gpu_clock, kernels};

const PACKET: u64 = 64;
const INVALID: u8 = 1;
const KERNEL_DISPATCH: u8 = 2;
const BARRIER_AND: u8 = 3;
const BARRIER_OR: u8 = 5;

/// Offsets in `amd_signal_t` (amd_hsa_signal.h).
mod signal {
    pub(super) const VALUE: u64 = 8;
    pub(super) const EVENT_MAILBOX: u64 = 16;
    pub(super) const EVENT_ID: u64 = 24;
    pub(super) const START: u64 = 32;
    pub(super) const END: u64 = 40;
    pub(super) const SIZE: u64 = 64;
}

fn u64_at(packet: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(packet[offset..offset + 8].try_into().unwrap_or_default())
}

/// Works on the packet at `read`; gives the number of packets done, 0 or 1.
pub(super) fn step(access: &Access, rings: Rings, read: u64) -> Result<u64> {
    if read >= access::load::<u64>(rings.write) {
        return Ok(0);
    }
    let at = rings.base + read % (rings.size / PACKET) * PACKET;
    let header: u16 = access::load(at);
    let kind = header as u8;
    if kind == INVALID {
        return Ok(0); // claimed, but not written yet
    }
    let mut packet = [0u8; PACKET as usize];
    crate::sys::copy_from_user(&mut packet, at).map_err(|_| "the ring is gone".to_owned())?;
    match kind {
        BARRIER_AND | BARRIER_OR if !satisfied(access, &packet, kind)? => return Ok(0),
        KERNEL_DISPATCH => {
            let start = gpu_clock();
            kernels::dispatch(access, u64_at(&packet, 32), u64_at(&packet, 40));
            complete(access, u64_at(&packet, 56), start, at, header, rings, read)?;
            return Ok(1);
        }
        _ => {}
    }
    complete(access, u64_at(&packet, 56), gpu_clock(), at, header, rings, read)?;
    Ok(1)
}

/// Whether the signals that a barrier depends on allow it to pass.
fn satisfied(access: &Access, packet: &[u8], kind: u8) -> Result<bool> {
    let mut dependencies =
        (0..5).map(|index| u64_at(packet, 8 + index * 8)).filter(|handle| *handle != 0).peekable();
    if dependencies.peek().is_none() {
        return Ok(true);
    }
    let zero = |handle: u64| -> Result<bool> {
        let value = access.word(handle + signal::VALUE, 8, "dependency signal")?;
        Ok(access::load::<u64>(value) == 0)
    };
    for handle in dependencies {
        // AND fails with the first that is not zero, OR passes with the first that is.
        if zero(handle)? != (kind == BARRIER_AND) {
            return Ok(kind == BARRIER_OR);
        }
    }
    Ok(kind == BARRIER_AND)
}

/// Frees the packet, moves the read index on and signals completion.
fn complete(
    access: &Access,
    handle: u64,
    start: u64,
    at: u64,
    header: u16,
    rings: Rings,
    read: u64,
) -> Result<()> {
    access::store(at, header & 0xff00 | u16::from(INVALID));
    access::store(rings.read, read + 1);
    if handle == 0 {
        return Ok(());
    }
    access.address(handle, signal::SIZE, "completion signal")?;
    let word = |offset| access.word(handle + offset, 8, "completion signal");
    access::store(word(signal::START)?, start);
    access::store(word(signal::END)?, gpu_clock().max(start + 1));
    let event = access::load::<u32>(word(signal::EVENT_ID)?);
    let mailbox = access::load::<u64>(word(signal::EVENT_MAILBOX)?);
    access::add(word(signal::VALUE)?, u64::MAX); // minus one
    if mailbox != 0 {
        access::store(access.word(mailbox, 8, "event mailbox")?, u64::from(event));
        access.interrupt(event);
    }
    Ok(())
}
