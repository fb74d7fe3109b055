//! Render nodes: the DRM and amdgpu requests that ROCm makes. Those of the graphics stack, which
//! shares memory with ROCm, are in `graphics`.
//!
//! Layouts and answers of Linux 6.12 (drm_ioctl.c, amdgpu_kms.c, amdgpu_gem.c); what is not
//! known here is EINVAL, as from drm_ioctl.

mod graphics;

use std::ffi::c_int;

use bytemuck::{Pod, Zeroable};
use kfd_abi::drm::{self, GemClose, GemMmap, GemOp, GemVa, GetCap, Info, PrimeHandle, Version};
use kfd_abi::flags;
use kfd_abi::log::{Argument, Device, Event, Ioctl};
use serde_json::{Map, Value};

use crate::memory::GTT_SIZE;
use crate::sim::Sim;
use crate::sys::{self, Errno, Result};
use crate::{api, kfd, unmapped};

pub(crate) use graphics::Graphics;

const INVALID: Errno = Errno(libc::EINVAL);

type Args = Map<String, Value>;

/// An ioctl on a node of GPU `gpu`.
pub(crate) fn ioctl(sim: &'static Sim, gpu: usize, code: u32, arg: u64) -> Result<c_int> {
    unmapped::forget_in(&mut sim.lock());
    let node = Node { sim, gpu, arg };
    let nr = code as u8;
    let mut args = Map::new();
    let (name, result) = match nr {
        drm::VERSION => ("VERSION", node.with(&mut args, Node::version)),
        drm::GET_CAP => ("GET_CAP", node.with(&mut args, Node::get_cap)),
        drm::GEM_CLOSE => ("GEM_CLOSE", node.with(&mut args, Node::gem_close)),
        drm::PRIME_HANDLE_TO_FD => ("PRIME_HANDLE_TO_FD", node.with(&mut args, Node::export)),
        drm::PRIME_FD_TO_HANDLE => ("PRIME_FD_TO_HANDLE", node.with(&mut args, Node::import)),
        drm::AMDGPU_GEM_CREATE => ("AMDGPU_GEM_CREATE", node.with(&mut args, Node::gem_create)),
        drm::AMDGPU_CTX => ("AMDGPU_CTX", node.with(&mut args, Node::context)),
        drm::AMDGPU_BO_LIST => ("AMDGPU_BO_LIST", node.with(&mut args, Node::buffer_list)),
        drm::AMDGPU_CS => ("AMDGPU_CS", node.with(&mut args, Node::submit)),
        drm::AMDGPU_WAIT_CS => ("AMDGPU_WAIT_CS", node.with(&mut args, Node::wait_submitted)),
        drm::AMDGPU_GEM_METADATA => {
            ("AMDGPU_GEM_METADATA", node.with(&mut args, Node::gem_metadata))
        }
        drm::AMDGPU_GEM_WAIT_IDLE => {
            ("AMDGPU_GEM_WAIT_IDLE", node.with(&mut args, Node::gem_wait_idle))
        }
        drm::AMDGPU_GEM_MMAP => ("AMDGPU_GEM_MMAP", node.with(&mut args, Node::gem_mmap)),
        drm::AMDGPU_GEM_OP => ("AMDGPU_GEM_OP", node.with(&mut args, Node::gem_op)),
        drm::AMDGPU_GEM_VA => ("AMDGPU_GEM_VA", node.with(&mut args, Node::gem_va)),
        drm::AMDGPU_INFO => ("AMDGPU_INFO", node.with(&mut args, Node::info)),
        _ => ("", Err(INVALID)),
    };
    if let Some(log) = &sim.log {
        let name = if name.is_empty() { format!("{nr:#x}") } else { name.to_owned() };
        let api = (nr == drm::AMDGPU_GEM_VA).then(api::caller).flatten();
        let errno = result.err().map_or(0, |errno| errno.0);
        args.insert("gpu".to_owned(), kfd::gpu_name(sim, gpu).into());
        let event = Ioctl { dev: Device::Drm, name, errno, api, args, memory: Vec::new() };
        log.write(Event::Ioctl(event));
    }
    result.map(|()| 0)
}

struct Node {
    sim: &'static Sim,
    gpu: usize,
    arg: u64,
}

fn hex(value: u64) -> Value {
    value.value("")
}

#[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "one signature for all")]
impl Node {
    /// Copies the arguments in and, whatever the handler says, out again.
    fn with<A: Pod>(
        &self,
        log: &mut Args,
        handler: fn(&Node, &mut A, &mut Args) -> Result<()>,
    ) -> Result<()> {
        let mut args: A = sys::read(self.arg)?;
        let result = handler(self, &mut args, log);
        sys::copy_to_user(self.arg, bytemuck::bytes_of(&args))?;
        result
    }

    fn version(&self, args: &mut Version, _: &mut Args) -> Result<()> {
        // drm_copy_field: at most as much as fits, and always the whole length.
        let copy = |to: u64, length: &mut u64, text: &str| {
            let fits = (*length as usize).min(text.len());
            *length = text.len() as u64;
            if to == 0 { Ok(()) } else { sys::copy_to_user(to, &text.as_bytes()[..fits]) }
        };
        (args.version_major, args.version_minor, args.version_patchlevel) = (3, 57, 0);
        copy(args.name, &mut args.name_len, "amdgpu")?;
        copy(args.date, &mut args.date_len, "20150101")?;
        copy(args.desc, &mut args.desc_len, "AMD GPU")
    }

    fn get_cap(&self, args: &mut GetCap, log: &mut Args) -> Result<()> {
        log.insert("capability".to_owned(), args.capability.into());
        let known = matches!(args.capability, drm::CAP_SYNCOBJ | drm::CAP_SYNCOBJ_TIMELINE);
        args.value = u64::from(known);
        Ok(())
    }

    fn gem_close(&self, args: &mut GemClose, log: &mut Args) -> Result<()> {
        log.insert("handle".to_owned(), args.handle.into());
        if self.sim.lock().memory.gem_close(args.handle) { Ok(()) } else { Err(INVALID) }
    }

    fn export(&self, args: &mut PrimeHandle, log: &mut Args) -> Result<()> {
        log.insert("handle".to_owned(), args.handle.into());
        let mut state = self.sim.lock();
        let buffer = state.memory.gem(args.handle).ok_or(Errno(libc::ENOENT))?.clone();
        let id = state.memory.export(&buffer);
        args.fd = kfd::descriptor(&state.memory, id).inspect_err(|_| state.memory.unexport(id))?;
        Ok(())
    }

    fn import(&self, args: &mut PrimeHandle, log: &mut Args) -> Result<()> {
        let id = kfd::exported(self.sim, args.fd)?;
        args.handle = self.sim.lock().memory.gem_import(id).ok_or(INVALID)?;
        log.insert("handle".to_owned(), args.handle.into());
        Ok(())
    }

    fn gem_mmap(&self, args: &mut GemMmap, log: &mut Args) -> Result<()> {
        let handle = args.handle_or_addr as u32;
        log.insert("handle".to_owned(), handle.into());
        let state = self.sim.lock();
        match state.memory.gem(handle).ok_or(Errno(libc::ENOENT))?.place {
            crate::memory::Place::File(offset) => args.handle_or_addr = offset,
            crate::memory::Place::User(_) => return Err(Errno(libc::EPERM)),
        }
        Ok(())
    }

    /// Tells how a buffer was made (amdgpu_gem_op_ioctl, 6.12).
    fn gem_op(&self, args: &mut GemOp, log: &mut Args) -> Result<()> {
        log.insert("handle".to_owned(), args.handle.into());
        log.insert("op".to_owned(), args.op.into());
        let state = self.sim.lock();
        let buffer = state.memory.gem(args.handle).ok_or(Errno(libc::ENOENT))?;
        if args.op != drm::GEM_OP_GET_CREATE_INFO {
            return Err(INVALID); // SET_PLACEMENT: nothing is moved here
        }
        let vram = buffer.flags & flags::alloc::VRAM != 0;
        let domain = if vram { drm::GEM_DOMAIN_VRAM } else { drm::GEM_DOMAIN_GTT };
        let information: [u64; 4] = [buffer.size, 4096, domain, 0];
        sys::copy_to_user(args.value, bytemuck::cast_slice(&information))
    }

    fn gem_va(&self, args: &mut GemVa, log: &mut Args) -> Result<()> {
        let mtype = (args.flags >> 5 & 15) as usize;
        let mut names = flags::names(args.flags & 0x1f, drm::VM_PAGE_NAMES);
        names.extend(drm::VM_MTYPE_NAMES.get(mtype).map(|name| format!("MTYPE_{name}")));
        log.insert("handle".to_owned(), args.handle.into());
        log.insert("operation".to_owned(), args.operation.into());
        log.insert("flags".to_owned(), names.into());
        log.insert("va_address".to_owned(), hex(args.va_address));
        log.insert("map_size".to_owned(), args.map_size.into());
        let mut state = self.sim.lock();
        let end = args.va_address.checked_add(args.map_size).ok_or(INVALID)?;
        match args.operation {
            drm::VA_OP_MAP => {
                let buffer = state.memory.gem(args.handle).ok_or(Errno(libc::ENOENT))?;
                let (offset, size) = (args.offset_in_bo, args.map_size);
                let aligned = offset % 4096 == 0 && size % 4096 == 0 && size != 0;
                let inside = offset.checked_add(size).is_some_and(|end| end <= buffer.size);
                if !aligned || !inside {
                    return Err(INVALID);
                }
                let place = buffer.place.plus(offset);
                state.memory.map_range(self.gpu, args.va_address, end, place)
            }
            drm::VA_OP_UNMAP => {
                state.memory.unmap_range(self.gpu, args.va_address);
                Ok(())
            }
            _ => Err(INVALID),
        }
    }

    fn info(&self, args: &mut Info, log: &mut Args) -> Result<()> {
        log.insert("query".to_owned(), format!("{:#x}", args.query).into());
        if args.return_pointer == 0 || args.return_size == 0 {
            return Err(INVALID);
        }
        let answer = |bytes: &[u8]| {
            // copy_to_user(out, ..., min(size, sizeof(...)))
            let length = (args.return_size as usize).min(bytes.len());
            sys::copy_to_user(args.return_pointer, &bytes[..length])
        };
        let config = &self.sim.config;
        let vram = config.boards[self.gpu].vram();
        let used = self.sim.lock().memory.vram_used(self.gpu);
        let visible = if config.is_large_bar(self.gpu) { vram } else { vram.min(256 << 20) };
        let heap = |size: u64, used: u64| drm::HeapInfo {
            total_heap_size: size,
            usable_heap_size: size,
            heap_usage: used,
            max_allocation: size * 3 / 4,
        };
        match args.query {
            drm::INFO_ACCEL_WORKING => answer(&1u32.to_ne_bytes()),
            drm::INFO_VRAM_USAGE => answer(&used.to_ne_bytes()),
            drm::INFO_DEV_INFO => answer(bytemuck::bytes_of(&self.device())),
            drm::INFO_MEMORY => answer(bytemuck::bytes_of(&drm::MemoryInfo {
                vram: heap(vram, used),
                cpu_accessible_vram: heap(visible, 0),
                gtt: heap(GTT_SIZE, 0),
            })),
            drm::INFO_VRAM_GTT => answer(bytemuck::bytes_of(&drm::InfoVramGtt {
                vram_size: vram,
                vram_cpu_accessible_size: visible,
                gtt_size: GTT_SIZE,
            })),
            // Firmware versions, engine counts, registers: zeros will do.
            _ => answer(&vec![0; (args.return_size as usize).min(1 << 16)]),
        }
    }

    fn device(&self) -> drm::InfoDevice {
        let board = &self.sim.config.boards[self.gpu];
        let mut info = drm::InfoDevice::zeroed();
        info.device_id = board.device_id;
        info.chip_rev = 1;
        info.external_rev = board.external_revision;
        info.pci_rev = board.pci_revision;
        info.family = board.family;
        info.num_shader_engines = board.shader_engines;
        info.num_shader_arrays_per_engine = board.shader_arrays_per_engine;
        info.gpu_counter_freq = 100_000; // kHz
        info.max_engine_clock = u64::from(board.engine_clock_mhz) * 1000;
        info.max_memory_clock = u64::from(board.memory_clock_mhz) * 1000;
        info.cu_active_number = board.compute_units;
        for engine in info.cu_bitmap.iter_mut().take(board.shader_engines as usize) {
            for array in engine.iter_mut().take(board.shader_arrays_per_engine as usize) {
                *array = (1 << board.compute_units_per_array) - 1;
            }
        }
        (info.enabled_rb_pipes_mask, info.num_rb_pipes) = (0xff, 8);
        info.num_hw_gfx_contexts = 8;
        info.virtual_address_offset = 0x20_0000;
        info.virtual_address_max = 0x8000_0000_0000;
        info.virtual_address_alignment = 4096;
        info.pte_fragment_size = 0x20_0000;
        info.gart_page_size = 4096;
        info.vram_type = 9; // AMDGPU_VRAM_TYPE_GDDR6
        info.vram_bit_width = board.vram_bit_width;
        info.wave_front_size = board.wave_front_size;
        info.num_shader_visible_vgprs = 1024;
        info.num_cu_per_sh = board.compute_units_per_array;
        info.num_tcc_blocks = 16;
        info.high_va_offset = 0xffff_8000_0000_0000;
        info.high_va_max = 0xffff_ffff_ffe0_0000;
        info
    }
}
