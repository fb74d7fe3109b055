//! The small requests: versions, clocks, apertures, settings.
#![expect(clippy::unnecessary_wraps, reason = "one signature for all requests")]

use kfd_abi::ioctl::{
    AcquireVm, DbgTrap, GetClockCounters, GetProcessApertures, GetProcessAperturesNew,
    GetTileConfig, GetVersion, ProcessDeviceApertures, RuntimeEnable, SetMemoryPolicy,
    SetScratchBackingVa, SetTrapHandler, SetXnackMode, SmiEvents,
};

use super::Call;
use super::memory::bound;
use crate::fds::{self, Kind};
use crate::queue::gpu_clock;
use crate::sys::{self, Errno, Result};
use crate::tree::gpu_id;

const INVALID: Errno = Errno(libc::EINVAL);

pub(super) fn get_version(call: &mut Call, args: &mut GetVersion) -> Result<()> {
    (args.major_version, args.minor_version) = (1, call.sim.config.kfd_minor);
    Ok(())
}

pub(super) fn set_memory_policy(call: &mut Call, args: &mut SetMemoryPolicy) -> Result<()> {
    // KFD_IOC_CACHE_POLICY_COHERENT is 0, NONCOHERENT is 1.
    if args.default_policy > 1 || args.alternate_policy > 1 {
        return Err(INVALID);
    }
    let gpu = call.gpu(args.gpu_id)?;
    bound(&call.sim.lock(), gpu).map_err(|_| Errno(libc::ESRCH))
}

pub(super) fn get_clock_counters(call: &mut Call, args: &mut GetClockCounters) -> Result<()> {
    args.gpu_clock_counter = if call.gpu(args.gpu_id).is_ok() { gpu_clock() } else { 0 };
    args.cpu_clock_counter = sys::clock(libc::CLOCK_MONOTONIC_RAW);
    args.system_clock_counter = sys::clock(libc::CLOCK_BOOTTIME);
    args.system_clock_freq = 1_000_000_000;
    Ok(())
}

/// The apertures of GFX9 and later (kfd_flat_memory.c, kfd_init_apertures_v9), with a GPUVM
/// aperture that is all of user space, as on a dGPU.
fn apertures(gpu: usize) -> ProcessDeviceApertures {
    const LDS: u64 = 1 << 48;
    const SCRATCH: u64 = 2 << 48;
    ProcessDeviceApertures {
        lds_base: LDS,
        lds_limit: LDS | 0xffff_ffff,
        scratch_base: SCRATCH,
        scratch_limit: SCRATCH | 0xffff_ffff,
        gpuvm_base: 0x4000,
        gpuvm_limit: 0x7fff_ffff_ffff,
        gpu_id: gpu_id(gpu),
        pad: 0,
    }
}

pub(super) fn get_process_apertures(call: &mut Call, args: &mut GetProcessApertures) -> Result<()> {
    let count = call.sim.config.boards.len().min(args.process_apertures.len());
    for (gpu, entry) in args.process_apertures[..count].iter_mut().enumerate() {
        *entry = apertures(gpu);
    }
    args.num_of_nodes = count as u32;
    Ok(())
}

pub(super) fn get_process_apertures_new(
    call: &mut Call,
    args: &mut GetProcessAperturesNew,
) -> Result<()> {
    let gpus = call.sim.config.boards.len();
    if args.num_of_nodes == 0 {
        args.num_of_nodes = gpus as u32;
        return Ok(());
    }
    // kfd_topology_get_num_devices counts the CPU node, too.
    if args.num_of_nodes as usize > gpus + 1 {
        return Err(INVALID);
    }
    let filled: Vec<_> = (0..gpus.min(args.num_of_nodes as usize)).map(apertures).collect();
    args.num_of_nodes = filled.len() as u32;
    sys::copy_to_user(args.kfd_process_device_apertures_ptr, bytemuck::cast_slice(&filled))
}

pub(super) fn set_scratch_backing_va(
    call: &mut Call,
    args: &mut SetScratchBackingVa,
) -> Result<()> {
    let gpu = call.gpu(args.gpu_id)?;
    bound(&call.sim.lock(), gpu)
}

/// Lengths of tile_mode_array and macrotile_mode_array (amdgpu_gfx.h 6.12).
const TILE_MODES: u32 = 32;
const MACRO_TILE_MODES: u32 = 16;

pub(super) fn get_tile_config(call: &mut Call, args: &mut GetTileConfig) -> Result<()> {
    call.gpu(args.gpu_id)?;
    // From GFX9 on the tables are all zero and only GB_ADDR_CONFIG says something.
    args.gb_addr_config = 0x444;
    (args.num_banks, args.num_ranks) = (0, 0);
    let zeros = [0u8; TILE_MODES as usize * 4];
    let copy = |count: &mut u32, limit: u32, to: u64| {
        *count = (*count).min(limit);
        sys::copy_to_user(to, &zeros[..*count as usize * 4]).inspect_err(|_| *count = 0)
    };
    copy(&mut args.num_tile_configs, TILE_MODES, args.tile_config_ptr)?;
    copy(&mut args.num_macro_tile_configs, MACRO_TILE_MODES, args.macro_tile_config_ptr)
}

pub(super) fn set_trap_handler(call: &mut Call, args: &mut SetTrapHandler) -> Result<()> {
    let gpu = call.gpu(args.gpu_id)?;
    bound(&call.sim.lock(), gpu).map_err(|_| Errno(libc::ESRCH))
}

pub(super) fn acquire_vm(call: &mut Call, args: &mut AcquireVm) -> Result<()> {
    let gpu = call.gpu(args.gpu_id)?;
    match fds::get(args.drm_fd as i32) {
        Some(Kind::Drm { gpu: opened, open, .. }) if opened == gpu => {
            let mut state = call.sim.lock();
            // Once for a process; the same file again is fine.
            if state.acquired & 1 << gpu != 0 && state.vm_files[gpu] != open {
                return Err(Errno(libc::EBUSY));
            }
            state.acquired |= 1 << gpu;
            state.vm_files[gpu] = open;
            Ok(())
        }
        _ => Err(INVALID),
    }
}

pub(super) fn smi_events(call: &mut Call, args: &mut SmiEvents) -> Result<()> {
    call.gpu(args.gpuid)?;
    args.anon_fd = fds::enter(sys::eventfd()?, Kind::Smi)? as u32;
    Ok(())
}

pub(super) fn set_xnack_mode(call: &mut Call, args: &mut SetXnackMode) -> Result<()> {
    if !call.sim.config.svm {
        return Err(Errno(libc::EPERM)); // a kernel without CONFIG_HSA_AMD_SVM
    }
    match args.xnack_enabled {
        ..0 => args.xnack_enabled = 0,
        0.. if call.sim.lock().queues.any() => return Err(Errno(libc::EBUSY)),
        0 => {}
        // kfd_process_xnack_mode: none of the boards can retry faults per process.
        1.. => return Err(Errno(libc::EPERM)),
    }
    Ok(())
}

/// kfd_ioctl_set_debug_trap, of which nothing is there but the checks.
pub(super) fn debug_trap(_: &mut Call, args: &mut DbgTrap) -> Result<()> {
    match (args.pid == sys::pid(), args.op) {
        (false, _) => Err(Errno(libc::ESRCH)), // no other process is known to use KFD
        (true, 0) => Err(Errno(libc::EPERM)),  // ENABLE: there is no debugger here
        (true, _) => Err(INVALID),             // not enabled
    }
}

/// ROCr says that it is there, and later that it goes (kfd_chardev.c 6.12, runtime_enable).
pub(super) fn runtime_enable(call: &mut Call, args: &mut RuntimeEnable) -> Result<()> {
    const ENABLE: u32 = 1; // KFD_RUNTIME_ENABLE_MODE_ENABLE_MASK
    let mut state = call.sim.lock();
    if args.mode_mask & ENABLE == 0 {
        state.runtime_enabled = false;
    } else if state.runtime_enabled {
        return Err(Errno(libc::EBUSY));
    } else if state.queues.any() {
        return Err(Errno(libc::EEXIST));
    } else {
        state.runtime_enabled = true;
    }
    Ok(())
}
