//! AQL packets that the command processor refuses, and how the runtime is told: its queue has an
//! exception, whose code goes to where the head of the queue's save area says.
//!
//! kfd_send_exception_to_runtime (kfd_process.c 6.12). Only what a packet says of itself is
//! checked, not what a kernel would do.

use super::access::{Access, Result, Stop};
use crate::sys;

/// Codes of `kfd_dbg_trap_exception_code` (kfd_ioctl.h 6.12, `EC_QUEUE_PACKET_*`).
mod code {
    pub(super) const DISPATCH_DIM_INVALID: u32 = 16;
    pub(super) const DISPATCH_GROUP_SEGMENT_SIZE_INVALID: u32 = 17;
    pub(super) const DISPATCH_CODE_INVALID: u32 = 18;
    pub(super) const UNSUPPORTED: u32 = 20;
    pub(super) const DISPATCH_WORK_GROUP_SIZE_INVALID: u32 = 21;
}

/// `lds_size_in_kb` of the topology.
const GROUP_SEGMENT: u32 = 64 << 10;
/// Work-items of a work-group at most (`HSA_AGENT_INFO_WORKGROUP_MAX_SIZE` of ROCr).
const WORK_ITEMS: u64 = 1024;

/// Offsets in `kfd_context_save_area_header` (kfd_ioctl.h).
mod save_area {
    pub(super) const PAYLOAD: u64 = 24;
    pub(super) const EVENT: u64 = 32;
}

fn refused(exception: u32, why: String) -> Stop {
    Stop::Refused { exception, why }
}

/// Checks a kernel dispatch (`hsa_kernel_dispatch_packet_t`).
pub(super) fn check_dispatch(packet: &[u8; 64]) -> Result<()> {
    let short = |at: usize| u16::from_le_bytes([packet[at], packet[at + 1]]);
    let word = |at: usize| u32::from(short(at)) | u32::from(short(at + 2)) << 16;
    let dimensions = usize::from(short(2) & 3);
    if dimensions == 0 {
        let why = "a dispatch of no dimensions".to_owned();
        return Err(refused(code::DISPATCH_DIM_INVALID, why));
    }
    let items: u64 = (0..3).map(|index| u64::from(short(4 + index * 2))).product();
    if items == 0 || items > WORK_ITEMS {
        let why = format!("a dispatch with {items} work-items in a work-group");
        return Err(refused(code::DISPATCH_WORK_GROUP_SIZE_INVALID, why));
    }
    let group = word(28);
    if group > GROUP_SEGMENT {
        let why = format!("a dispatch that wants {group} bytes of group memory");
        return Err(refused(code::DISPATCH_GROUP_SEGMENT_SIZE_INVALID, why));
    }
    if word(32) == 0 && word(36) == 0 {
        let why = "a dispatch without a kernel".to_owned();
        return Err(refused(code::DISPATCH_CODE_INVALID, why));
    }
    Ok(())
}

/// A packet of a type that is not known.
pub(super) fn unsupported(kind: u8) -> Stop {
    refused(code::UNSUPPORTED, format!("an AQL packet of type {kind}"))
}

/// Tells the runtime. False if it did not ask for it by `RUNTIME_ENABLE`, or not for this queue.
pub(super) fn send(access: &Access, area: u64, exception: u32) -> bool {
    let mut state = access.sim.lock();
    if !state.runtime_enabled || area == 0 {
        return false;
    }
    let sent = sys::read::<u64>(area + save_area::PAYLOAD).and_then(|payload| {
        let before = sys::read::<u64>(payload)?;
        sys::copy_to_user(payload, &(before | 1 << (exception - 1)).to_ne_bytes())?;
        state.events.set(sys::read(area + save_area::EVENT)?)
    });
    drop(state);
    access.sim.changed.notify_all();
    sent.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(change: impl Fn(&mut [u8; 64])) -> Option<u32> {
        let mut packet = [0u8; 64];
        packet[2] = 1;
        packet[4..10].copy_from_slice(&[0, 1, 1, 0, 1, 0]); // 256, 1, 1
        packet[32] = 0x40;
        change(&mut packet);
        match check_dispatch(&packet) {
            Err(Stop::Refused { exception, .. }) => Some(exception),
            _ => None,
        }
    }

    #[test]
    fn a_dispatch_is_refused_for_what_it_says() {
        assert_eq!(packet(|_| ()), None);
        assert_eq!(packet(|packet| packet[2] = 4), Some(16));
        assert_eq!(packet(|packet| packet[30] = 2), Some(17));
        assert_eq!(packet(|packet| packet[32] = 0), Some(18));
        assert_eq!(packet(|packet| packet[4..6].fill(0)), Some(21));
        assert_eq!(packet(|packet| packet[6] = 5), Some(21));
    }
}
