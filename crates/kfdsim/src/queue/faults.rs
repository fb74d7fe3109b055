//! What happens when a queue cannot go on: the GPU stops working for the process, and the
//! process is told by the exception events of KFD, as after a VM fault or a GPU reset.
//!
//! kfd_set_dbg_ev_from_interrupt, kfd_signal_vm_fault_event and kfd_signal_reset_event of
//! Linux 6.12. A process without such events would wait for ever: it gets a line on stderr.

use kfd_abi::ioctl::{EVENT_HW_EXCEPTION, EVENT_MEMORY};

use super::access::{Access, Stop};
use crate::sys;
use crate::tree::gpu_id;

const PAGE: u64 = 4096;

/// The head of `kfd_event_data` for a memory exception: four words of failure, the address,
/// the GPU and the kind of error.
fn memory_exception(va: u64, mapped: bool, write: bool, gpu_id: u32) -> [u64; 4] {
    let (not_present, read_only) = (u64::from(!mapped), u64::from(mapped && write));
    [not_present | read_only << 32, 0, va & !(PAGE - 1), u64::from(gpu_id)]
}

/// The same for a hardware exception: the kind of reset (0, the whole GPU), its cause
/// (KFD_HW_EXCEPTION_GPU_HANG is 0), whether memory was lost, and the GPU.
fn hw_exception(gpu_id: u32) -> [u64; 4] {
    [0, 1 | u64::from(gpu_id) << 32, 0, 0]
}

/// Stops the GPU for this process, and says why.
pub(super) fn report(access: &Access, queue: u32, stop: &Stop) {
    let id = gpu_id(access.gpu);
    let mut state = access.sim.lock();
    state.queues.stopped |= 1 << access.gpu;
    let (reason, told) = match stop {
        Stop::Fault { va, what, write } => {
            let mapped = state.memory.extent(access.gpu, *va).is_some()
                || state.svm.extent(access.gpu, *va).is_some();
            let data = memory_exception(*va, mapped, *write, id);
            let action = if *write { "write" } else { "read" };
            let why = if mapped { "the memory behind it does not allow it" } else { "not mapped" };
            let reason = format!("VM fault: {action} of {what} at {va:#x}: {why}");
            (reason, state.events.exception(EVENT_MEMORY, data))
        }
        Stop::Bad(reason) | Stop::Refused { why: reason, .. } => {
            (reason.clone(), state.events.exception(EVENT_HW_EXCEPTION, hw_exception(id)))
        }
    };
    let queues = state.queues.list();
    drop(state);
    // Without the state lock: a queue is stopped by its own.
    for queue in queues.iter().filter(|queue| queue.gpu == access.gpu) {
        queue.stop();
    }
    access.sim.changed.notify_all();
    let gpu = crate::kfd::gpu_name(access.sim, access.gpu);
    let text = format!("queue {queue} on {gpu} is stuck: {reason}");
    if !told {
        sys::warn(&text);
    }
    crate::strict::violation(access.sim, &text);
    access.sim.note(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_page_cause_and_gpu() {
        assert_eq!(memory_exception(0x1234_5678, false, true, 9), [1, 0, 0x1234_5000, 9]);
        assert_eq!(memory_exception(0x2000, true, true, 9), [1 << 32, 0, 0x2000, 9]);
        assert_eq!(hw_exception(9), [0, 1 | 9 << 32, 0, 0]);
    }
}
