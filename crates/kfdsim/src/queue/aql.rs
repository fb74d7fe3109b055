//! AQL packets (HSA Platform System Architecture 1.2, section 2.9), and AMD's own formats of
//! them (hsa_ext_amd.h and AqlQueue::ExecutePM4 of ROCr 6.4.3).
//!
//! Dispatches complete at once; barriers wait for their signals. A packet that is not known
//! completes, with a remark in the log.

use super::access::{self, Access, Result, Word};
use super::pm4::Pm4;
use super::stream::{Decoder, Next, Ring, Stream};
use super::{Rings, exceptions, gpu_clock, kernels, raise};

const PACKET: u64 = 64;
const VENDOR_SPECIFIC: u8 = 0;
const INVALID: u8 = 1;
const KERNEL_DISPATCH: u8 = 2;
const BARRIER_AND: u8 = 3;
const AGENT_DISPATCH: u8 = 4;
const BARRIER_OR: u8 = 5;

/// `AMD_AQL_FORMAT_PM4_IB` (ROCr's amd_aql_queue.cpp).
const FORMAT_PM4_IB: u8 = 1;
/// `HSA_AMD_PACKET_TYPE_BARRIER_VALUE` (hsa_ext_amd.h).
const FORMAT_BARRIER_VALUE: u8 = 2;

/// Offsets in `amd_signal_t` (amd_hsa_signal.h).
mod signal {
    pub(super) const VALUE: u64 = 8;
    pub(super) const EVENT_MAILBOX: u64 = 16;
    pub(super) const EVENT_ID: u64 = 24;
    pub(super) const START: u64 = 32;
    pub(super) const END: u64 = 40;
}

/// How far an AQL queue has come.
#[derive(Debug, Default)]
pub(super) struct Aql {
    /// Packets done.
    read: u64,
    pm4: Pm4,
    /// The indirect buffer of the packet in work, if it has one.
    stream: Stream,
}

fn u64_at(packet: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(packet[offset..offset + 8].try_into().unwrap_or_default())
}

impl Aql {
    /// Works on the packet that is next; says whether something was done.
    pub(super) fn step(&mut self, access: &Access, rings: Rings) -> Result<bool> {
        if self.read >= access::load::<u64>(rings.write) {
            return Ok(false);
        }
        let at = rings.base + self.read % (rings.size / PACKET) * PACKET;
        let header: u16 = access::load(at);
        let kind = header as u8;
        if kind == INVALID {
            return Ok(false); // claimed, but not written yet
        }
        let mut packet = [0u8; PACKET as usize];
        crate::sys::copy_from_user(&mut packet, at).map_err(|_| "the ring is gone")?;
        let start = gpu_clock();
        match (kind, packet[2]) {
            (BARRIER_AND | BARRIER_OR, _) if !satisfied(access, &packet, kind)? => {
                return Ok(false);
            }
            (VENDOR_SPECIFIC, FORMAT_BARRIER_VALUE) if !value_holds(access, &packet)? => {
                return Ok(false);
            }
            (VENDOR_SPECIFIC, FORMAT_PM4_IB) => {
                if !self.run_pm4(access, &packet)? {
                    return Ok(false);
                }
                if self.stream.is_inside() {
                    return Ok(true);
                }
            }
            (KERNEL_DISPATCH, _) => {
                exceptions::check_dispatch(&packet)?;
                kernels::dispatch(access, u64_at(&packet, 32), u64_at(&packet, 40))?;
            }
            (BARRIER_AND | BARRIER_OR, _) | (VENDOR_SPECIFIC, FORMAT_BARRIER_VALUE) => {}
            (VENDOR_SPECIFIC | AGENT_DISPATCH, format) => {
                access.sim.note(format!("AQL packet {kind}.{format} did nothing"));
            }
            _ => return Err(exceptions::unsupported(kind)),
        }
        // As hardware does, the packet is given back before its completion is signaled.
        access::store(at, header & 0xff00 | u16::from(INVALID));
        self.read += 1;
        access::store(rings.read, self.read);
        complete(access, u64_at(&packet, 56), start)?;
        Ok(true)
    }

    /// Executes one packet of a PM4 indirect buffer; says whether it is done.
    fn run_pm4(&mut self, access: &Access, packet: &[u8]) -> Result<bool> {
        let none = Ring { base: 0, words: 1, written: 0 };
        if self.stream.is_inside() {
            let done = self.stream.step(access, none, &mut self.pm4)?;
            raise(access, self.pm4.take_interrupt());
            return Ok(done);
        }
        let mut jump = [0u32; 4];
        bytemuck::cast_slice_mut(&mut jump).copy_from_slice(&packet[4..20]);
        match self.pm4.execute(access, &jump)? {
            Next::Call { va, words } | Next::Chain { va, words } => self.stream.enter(va, words),
            _ => return Err("a PM4 packet in AQL that calls no indirect buffer".into()),
        }
        Ok(true)
    }
}

/// Whether the signals that a barrier depends on allow it to pass.
fn satisfied(access: &Access, packet: &[u8], kind: u8) -> Result<bool> {
    let mut dependencies =
        (0..5).map(|index| u64_at(packet, 8 + index * 8)).filter(|handle| *handle != 0).peekable();
    if dependencies.peek().is_none() {
        return Ok(true);
    }
    for handle in dependencies {
        // AND fails with the first that is not zero, OR passes with the first that is.
        if (value(access, handle)? == 0) != (kind == BARRIER_AND) {
            return Ok(kind == BARRIER_OR);
        }
    }
    Ok(kind == BARRIER_AND)
}

/// The value of a signal that a packet depends on.
fn value(access: &Access, handle: u64) -> Result<i64> {
    let at = handle.wrapping_add(signal::VALUE);
    Ok(access::load::<u64>(access.word(at, 8, "dependency signal")?).cast_signed())
}

/// Whether `hsa_amd_barrier_value_packet_t` may pass.
fn value_holds(access: &Access, packet: &[u8]) -> Result<bool> {
    let handle = u64_at(packet, 8);
    if handle == 0 {
        return Ok(true);
    }
    let (reference, mask) = (u64_at(packet, 16).cast_signed(), u64_at(packet, 24).cast_signed());
    let value = value(access, handle)? & mask;
    // hsa_signal_condition_t
    Ok(match u64_at(packet, 32) as u32 {
        0 => value == reference,
        1 => value != reference,
        2 => value < reference,
        3 => value >= reference,
        condition => return Err(format!("a barrier with condition {condition}").into()),
    })
}

/// Signals completion.
fn complete(access: &Access, handle: u64, start: u64) -> Result<()> {
    if handle == 0 {
        return Ok(());
    }
    let word = |offset: u64| access.word(handle.wrapping_add(offset), 8, "completion signal");
    let event = access::load::<u32>(word(signal::EVENT_ID)?);
    let mailbox = access::load::<u64>(word(signal::EVENT_MAILBOX)?);
    let target = |offset: u64| access.target(handle.wrapping_add(offset), 8, "completion signal");
    access::store(target(signal::START)?, start);
    access::store(target(signal::END)?, gpu_clock().max(start + 1));
    // From here on the signal may be gone: what it said of the event is read already.
    u64::update(target(signal::VALUE)?, |value| value.wrapping_sub(1));
    if mailbox != 0 {
        access::store(access.target(mailbox, 8, "event mailbox")?, u64::from(event));
        access.interrupt(event);
    }
    Ok(())
}
