//! User queues: CREATE, DESTROY, UPDATE and the few requests about them.

use kfd_abi::ioctl::{
    AllocQueueGws, CreateQueue, DestroyQueue, GetQueueWaveState, MAX_QUEUE_PERCENTAGE,
    MAX_QUEUE_PRIORITY, MIN_QUEUE_RING_SIZE, QUEUE_TYPE_COMPUTE, QUEUE_TYPE_COMPUTE_AQL,
    QUEUE_TYPE_SDMA, QUEUE_TYPE_SDMA_BY_ENG_ID, QUEUE_TYPE_SDMA_XGMI, SetCuMask, UpdateQueue, mmap,
};

use super::Call;
use super::memory::bound;
use crate::memory::Memory;
use crate::memory::Place;
use crate::queue::{self, Engine, Queue, Rings};
use crate::state::State;
use crate::sys::{self, Errno, Result};

const INVALID: Errno = Errno(libc::EINVAL);
/// `ENOTSUPP`, which the kernel lets out for an unknown queue type.
const NOT_SUPPORTED: Errno = Errno(524);
/// End of user space: what access_ok refuses.
const TASK_SIZE: u64 = 0x7fff_ffff_f000;

/// What set_queue_properties_from_user and UPDATE_QUEUE check alike.
fn check(percentage: u32, priority: u32, ring: u64, size: u32) -> Result<()> {
    // The byte above the percentage is a PM4 target XCC since KFD 1.13.
    if percentage & 0xff > MAX_QUEUE_PERCENTAGE || priority > MAX_QUEUE_PRIORITY {
        return Err(INVALID);
    }
    if ring >= TASK_SIZE {
        return Err(Errno(libc::EFAULT));
    }
    if size != 0 && !size.is_power_of_two() {
        return Err(INVALID);
    }
    Ok(())
}

/// Address in this process of a part of a queue. kfd_queue_acquire_buffers (6.12) wants buffers
/// for all of them; here it is enough that they are memory, which is what older kernels come
/// down to.
fn memory(state: &State, gpu: usize, va: u64, size: u64) -> Result<u64> {
    let address = state.memory.resolve(gpu, va, size).map_err(|_| INVALID)?;
    let aligned = address != 0 && address % 8 == 0;
    let readable = aligned && sys::is_mapped(address & !4095, (address & 4095) + size);
    if readable { Ok(address) } else { Err(INVALID) }
}

pub(super) fn create(call: &mut Call, args: &mut CreateQueue) -> Result<()> {
    check(args.queue_percentage, args.queue_priority, args.ring_base_address, args.ring_size)?;
    let pointers = [
        args.read_pointer_address,
        args.write_pointer_address,
        args.eop_buffer_address,
        args.ctx_save_restore_address,
    ];
    if pointers.iter().any(|address| *address >= TASK_SIZE) {
        return Err(Errno(libc::EFAULT));
    }
    let engine = match args.queue_type {
        QUEUE_TYPE_COMPUTE => Engine::Pm4,
        QUEUE_TYPE_COMPUTE_AQL => Engine::Aql,
        QUEUE_TYPE_SDMA | QUEUE_TYPE_SDMA_XGMI | QUEUE_TYPE_SDMA_BY_ENG_ID => Engine::Sdma,
        _ => return Err(NOT_SUPPORTED),
    };
    let name = ["COMPUTE", "SDMA", "COMPUTE_AQL", "SDMA_XGMI", "SDMA_BY_ENG_ID"];
    call.args.insert("queue_type".to_owned(), name[args.queue_type as usize].into());
    let gpu = call.gpu(args.gpu_id)?;
    let mut state = call.sim.lock();
    bound(&state, gpu).map_err(|_| Errno(libc::ESRCH))?;
    let backing = state.memory.backing(&call.sim.config);
    args.ring_size = args.ring_size.max(MIN_QUEUE_RING_SIZE);
    let size = u64::from(args.ring_size);
    let rings = Rings {
        base: memory(&state, gpu, args.ring_base_address, size)?,
        size,
        read: memory(&state, gpu, args.read_pointer_address, 8)?,
        write: memory(&state, gpu, args.write_pointer_address, 8)?,
    };
    let id = state.queues.free_id().ok_or(Errno(libc::ENOMEM))?;
    let doorbell = Memory::doorbells(gpu) + queue::doorbell_offset(id);
    let doorbell = backing.address(Place::File(doorbell));
    let queue = Queue::new(id, engine, gpu, rings, doorbell);
    state.queues.insert(call.sim, queue.saved_at(args.ctx_save_restore_address));
    drop(state);
    call.sim.changed.notify_all(); // the queue thread may wait for a first queue
    args.queue_id = id;
    // From GFX9 on the place within the doorbell pages is part of the offset.
    args.doorbell_offset =
        mmap::offset(mmap::TYPE_DOORBELL, args.gpu_id) | queue::doorbell_offset(id);
    Ok(())
}

pub(super) fn destroy(call: &mut Call, args: &mut DestroyQueue) -> Result<()> {
    let queue = call.sim.lock().queues.remove(args.queue_id).ok_or(INVALID)?;
    // Without the state lock, which the queue's thread needs to finish its packet.
    queue.stop();
    Ok(())
}

pub(super) fn update(call: &mut Call, args: &mut UpdateQueue) -> Result<()> {
    check(args.queue_percentage, args.queue_priority, args.ring_base_address, args.ring_size)?;
    let state = call.sim.lock();
    let queue = state.queues.get(args.queue_id).ok_or(Errno(libc::EFAULT))?;
    // pqm_update_queue_properties: a queue without a ring or a share of the GPU is disabled.
    if args.ring_base_address == 0 {
        drop(state);
        queue.disable();
        return Ok(());
    }
    let size = u64::from(args.ring_size.max(MIN_QUEUE_RING_SIZE));
    let base = memory(&state, queue.gpu(), args.ring_base_address, size)
        .map_err(|_| Errno(libc::EFAULT))?;
    drop(state); // the queue's thread needs it to finish its packet
    if args.queue_percentage as u8 == 0 {
        queue.disable();
    } else {
        queue.enable(base, size);
    }
    Ok(())
}

pub(super) fn set_cu_mask(call: &mut Call, args: &mut SetCuMask) -> Result<()> {
    if args.num_cu_mask == 0 || !args.num_cu_mask.is_multiple_of(32) {
        return Err(INVALID);
    }
    let words = args.num_cu_mask.min(1024) / 32;
    sys::read_many::<u32>(args.cu_mask_ptr, words as usize)?;
    call.sim.lock().queues.get(args.queue_id).map(drop).ok_or(Errno(libc::EFAULT))
}

pub(super) fn get_wave_state(call: &mut Call, args: &mut GetQueueWaveState) -> Result<()> {
    let queue = call.sim.lock().queues.get(args.queue_id).ok_or(Errno(libc::EFAULT))?;
    // get_wave_state of kfd_device_queue_manager.c: only for a compute queue that is not active.
    if !queue.is_saved() {
        return Err(INVALID);
    }
    // No waves were running: nothing of the save area is used. What is told is at its start
    // (kfd_context_save_area_header.wave_state: two offsets, two sizes).
    (args.ctl_stack_used_size, args.save_area_used_size) = (0, 0);
    sys::copy_to_user(args.ctl_stack_address, &[0; 16])
}

pub(super) fn alloc_gws(call: &mut Call, args: &mut AllocQueueGws) -> Result<()> {
    call.sim.lock().queues.get(args.queue_id).ok_or(INVALID)?;
    Err(Errno(libc::ENODEV)) // the boards have no GWS: num_gws is 0
}
