//! The small requests: versions, clocks, apertures, settings.
#![expect(clippy::unnecessary_wraps, reason = "one signature for all requests")]

use kfd_abi::ioctl::{
    AcquireVm, GetClockCounters, GetProcessApertures, GetProcessAperturesNew, GetTileConfig,
    GetVersion, ProcessDeviceApertures, RuntimeEnable, SetMemoryPolicy, SetScratchBackingVa,
    SetTrapHandler, SetXnackMode, SmiEvents,
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

pub(super) fn get_tile_config(call: &mut Call, args: &mut GetTileConfig) -> Result<()> {
    call.gpu(args.gpu_id)?;
    // From GFX9 on the tables are empty and only GB_ADDR_CONFIG says something.
    args.gb_addr_config = 0x444;
    (args.num_banks, args.num_ranks) = (0, 0);
    (args.num_tile_configs, args.num_macro_tile_configs) = (0, 0);
    Ok(())
}

pub(super) fn set_trap_handler(call: &mut Call, args: &mut SetTrapHandler) -> Result<()> {
    let gpu = call.gpu(args.gpu_id)?;
    bound(&call.sim.lock(), gpu).map_err(|_| Errno(libc::ESRCH))
}

pub(super) fn acquire_vm(call: &mut Call, args: &mut AcquireVm) -> Result<()> {
    let gpu = call.gpu(args.gpu_id)?;
    match fds::get(args.drm_fd as i32) {
        Some(Kind::Drm { gpu: opened, .. }) if opened == gpu => {
            call.sim.lock().acquired |= 1 << gpu;
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

pub(super) fn runtime_enable(_: &mut Call, args: &mut RuntimeEnable) -> Result<()> {
    args.capabilities_mask = 0; // no debugger
    Ok(())
}
