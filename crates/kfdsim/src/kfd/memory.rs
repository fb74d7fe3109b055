//! Buffer objects: ALLOC, FREE, MAP, UNMAP.
//!
//! Checks in the order of amdkfd/kfd_chardev.c and amdgpu_amdkfd_gpuvm.c, Linux 6.12.

use kfd_abi::flags::{self, alloc};
use kfd_abi::ioctl::{
    AllocMemoryOfGpu, AvailableMemory, FreeMemoryOfGpu, MapMemoryToGpu, UnmapMemoryFromGpu, mmap,
};
use kfd_abi::log::{Domain, Memory};

use super::{Call, gpu_name};
use crate::memory::{DOORBELL_SLICE, GTT_SIZE};
use crate::mtype::Place;
use crate::sim::Sim;
use crate::state::State;
use crate::sys::{self, Errno, Result};
use crate::vmas;

const INVALID: Errno = Errno(libc::EINVAL);
const PAGE: u64 = 4096;

/// From this size on KFDSIM_DENY_NONCOHERENT refuses host memory: the runtimes' own kernarg and
/// staging buffers are smaller and must work, or there would be nothing to test.
const DENIED: u64 = 2 << 20;

/// A list of GPUs for MAP is never longer than this here; the kernel takes any length that it
/// has memory for.
const MAX_DEVICES: u32 = 1 << 16;

pub(super) fn alloc(call: &mut Call, args: &mut AllocMemoryOfGpu) -> Result<()> {
    let names = flags::names(args.flags, alloc::NAMES);
    call.args.insert("flags".to_owned(), names.into());
    let asked = args.mmap_offset;
    let result = allocate(call, args);
    if result.is_ok() {
        call.memory.push(describe(call.sim, args));
        if args.flags & alloc::USERPTR != 0 {
            // The field is in and out; what went in is the address.
            call.args.insert("userptr".to_owned(), format!("{asked:#x}").into());
        }
    }
    result
}

fn allocate(call: &mut Call, args: &mut AllocMemoryOfGpu) -> Result<()> {
    let (flags, size) = (args.flags, args.size);
    if size == 0 {
        return Err(INVALID);
    }
    // The address is not checked before it is mapped.
    let end = args.va_addr.saturating_add(size);
    let mut state = call.sim.lock();
    let user = args.mmap_offset;
    let without_address = args.va_addr == 0 && flags & alloc::VRAM != 0;
    if !without_address && state.svm.overlaps(args.va_addr, end)
        || flags & alloc::USERPTR != 0 && state.svm.overlaps(user, user.saturating_add(size))
    {
        return Err(Errno(libc::EADDRINUSE));
    }
    let gpu = call.gpu(args.gpu_id)?;
    let public_vram = flags & alloc::PUBLIC != 0 && flags & alloc::VRAM != 0;
    if public_vram && !call.sim.config.is_large_bar(gpu) {
        return Err(INVALID);
    }
    bound(&state, gpu)?;
    let (doorbell, registers) = (flags & alloc::DOORBELL != 0, flags & alloc::MMIO_REMAP != 0);
    if doorbell && size != DOORBELL_SLICE || !doorbell && registers && size != PAGE {
        return Err(INVALID);
    }
    // amdgpu_amdkfd_gpuvm_alloc_memory_of_gpu: the first of these that is set counts.
    let kind = [alloc::VRAM, alloc::GTT, alloc::USERPTR, alloc::DOORBELL, alloc::MMIO_REMAP]
        .into_iter()
        .find(|kind| flags & kind != 0)
        .ok_or(INVALID)?;
    if kind == alloc::USERPTR && user == 0 {
        return Err(INVALID);
    }
    // A ring that is mapped twice has half the memory.
    let size = if flags & alloc::AQL_QUEUE_MEM != 0 { size / 2 } else { size };
    if size == 0 {
        return Err(INVALID);
    }
    let size = size.checked_next_multiple_of(PAGE).filter(|size| *size < 1 << 47);
    let size = size.ok_or(Errno(libc::ENOMEM))?;
    // amdgpu_amdkfd_reserve_mem_limit
    if kind == alloc::USERPTR && size > GTT_SIZE {
        return Err(Errno(libc::ENOMEM));
    }
    if kind == alloc::USERPTR {
        let device = state.memory.file();
        let end = user.checked_add(size).ok_or(Errno(libc::EFAULT))?;
        vmas::pin(user, end, device)?;
    }
    let host = kind == alloc::GTT || kind == alloc::USERPTR;
    if call.sim.config.deny_noncoherent && host && size >= DENIED && flags & alloc::COHERENT == 0 {
        return Err(Errno(libc::ENOMEM));
    }
    let config = &call.sim.config;
    args.handle =
        state.memory.allocate(config, gpu, args.va_addr, size, flags, user & !(PAGE - 1))?;
    state.memory.name(args.handle, call.caller.clone());
    if registers {
        args.mmap_offset = mmap::offset(mmap::TYPE_MMIO, args.gpu_id);
    } else if let Some(crate::memory::Place::File(offset)) =
        state.memory.buffer(args.handle).map(|buffer| buffer.place)
    {
        args.mmap_offset = offset;
    }
    Ok(())
}

/// kfd_bind_process_to_device: nothing works before ACQUIRE_VM.
pub(super) fn bound(state: &State, gpu: usize) -> Result<()> {
    if state.acquired & 1 << gpu == 0 { Err(Errno(libc::ENODEV)) } else { Ok(()) }
}

/// What the log says of a new buffer object. System memory is listed with every GPU, because
/// any of them may map it later and each follows its own rule.
fn describe(sim: &Sim, args: &AllocMemoryOfGpu) -> Memory {
    let domain = [
        (alloc::VRAM, Domain::Vram),
        (alloc::GTT, Domain::Gtt),
        (alloc::USERPTR, Domain::Userptr),
        (alloc::DOORBELL, Domain::Doorbell),
    ]
    .into_iter()
    .find(|(bit, _)| args.flags & bit != 0)
    .map_or(Domain::Mmio, |(_, domain)| domain);
    let shared = matches!(domain, Domain::Gtt | Domain::Userptr);
    let gpus = 0..sim.config.boards.len();
    Memory {
        domain,
        va: args.va_addr,
        size: args.size,
        flags: flags::names(args.flags, alloc::NAMES),
        coherent: args.flags & alloc::COHERENCE != 0,
        mtype: gpus
            .filter(|gpu| shared || super::gpu_index(sim, args.gpu_id) == Some(*gpu))
            .map(|gpu| {
                let board = &sim.config.boards[gpu];
                // KFD's VRAM of an APU is system memory.
                let local = domain == Domain::Vram && !board.apu;
                let place = if local { Place::Local } else { Place::Elsewhere };
                let rules = sim.config.rules();
                (gpu_name(sim, gpu), rules.of_buffer(board.gfx_target_version, args.flags, place))
            })
            .collect(),
    }
}

pub(super) fn free(call: &mut Call, args: &mut FreeMemoryOfGpu) -> Result<()> {
    let mut state = call.sim.lock();
    if state.events.page == Some(args.handle) {
        return Err(Errno(libc::EPERM)); // the event page lives as long as the process
    }
    let buffer = state.memory.buffer(args.handle).ok_or(INVALID)?;
    if buffer.mapped != 0 {
        return Err(Errno(libc::EBUSY));
    }
    state.memory.free(args.handle);
    Ok(())
}

/// Checks that MAP and UNMAP have in common; gives the GPUs that are to be done.
fn devices(array: u64, count: u32, done: u32) -> Result<Vec<u32>> {
    if count == 0 || done > count {
        return Err(INVALID);
    }
    if count > MAX_DEVICES {
        return Err(Errno(libc::ENOMEM));
    }
    let mut devices: Vec<u32> = sys::read_many(array, count as usize)?;
    Ok(devices.split_off(done as usize))
}

pub(super) fn map(call: &mut Call, args: &mut MapMemoryToGpu) -> Result<()> {
    let devices = devices(args.device_ids_array_ptr, args.n_devices, args.n_success)?;
    note_devices(call, &devices);
    let owner = call.gpu((args.handle >> 32) as u32)?;
    let mut state = call.sim.lock();
    bound(&state, owner)?;
    let buffer = state.memory.buffer(args.handle).ok_or(Errno(libc::ENOMEM))?;
    // kfd_mem_attach: an address, and a peer reaches memory and registers through a large BAR.
    let on_board = alloc::VRAM | alloc::DOORBELL | alloc::MMIO_REMAP;
    let config = &call.sim.config;
    let local = buffer.flags & on_board != 0 && !config.boards[buffer.gpu].apu;
    let (without_address, maker) = (buffer.va == 0, buffer.gpu);
    for id in devices {
        let gpu = call.gpu(id)?;
        bound(&state, gpu)?;
        let remote = local && gpu != maker && !config.boards[gpu].apu;
        if without_address || remote && !config.is_large_bar(maker) {
            return Err(INVALID);
        }
        state.memory.map(args.handle, gpu)?;
        args.n_success += 1;
    }
    Ok(())
}

pub(super) fn unmap(call: &mut Call, args: &mut UnmapMemoryFromGpu) -> Result<()> {
    let devices = devices(args.device_ids_array_ptr, args.n_devices, args.n_success)?;
    note_devices(call, &devices);
    call.gpu((args.handle >> 32) as u32)?;
    let mut state = call.sim.lock();
    state.memory.buffer(args.handle).ok_or(Errno(libc::ENOMEM))?;
    for id in devices {
        let gpu = call.gpu(id)?;
        state.memory.unmap(args.handle, gpu)?;
        args.n_success += 1;
    }
    Ok(())
}

fn note_devices(call: &mut Call, devices: &[u32]) {
    let names: Vec<String> = devices.iter().map(|id| format!("{id:#x}")).collect();
    call.args.insert("gpu_ids".to_owned(), names.into());
}

pub(super) fn available(call: &mut Call, args: &mut AvailableMemory) -> Result<()> {
    let gpu = call.gpu(args.gpu_id)?;
    let used = call.sim.lock().memory.vram_used_aligned(gpu);
    args.available = call.sim.config.boards[gpu].vram().saturating_sub(used);
    Ok(())
}
