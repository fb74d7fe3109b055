//! The few DRM and amdgpu requests that ROCm user space makes on a render node.
//!
//! From `include/uapi/drm/drm.h` and `amdgpu_drm.h` of Linux 6.12. Layouts are the kernel's,
//! without implicit padding; names are the kernel's, which is their documentation.
#![allow(missing_docs, reason = "names are those of drm.h and amdgpu_drm.h")]

use bytemuck::{Pod, Zeroable};

/// `DRM_IOCTL_BASE`.
pub const BASE: u8 = b'd';

pub const VERSION: u8 = 0x00;
pub const GEM_CLOSE: u8 = 0x09;
pub const GET_CAP: u8 = 0x0c;
pub const PRIME_HANDLE_TO_FD: u8 = 0x2d;
pub const PRIME_FD_TO_HANDLE: u8 = 0x2e;
/// `DRM_COMMAND_BASE` 0x40 + `DRM_AMDGPU_GEM_MMAP`.
pub const AMDGPU_GEM_MMAP: u8 = 0x41;
/// `DRM_COMMAND_BASE` + `DRM_AMDGPU_INFO`.
pub const AMDGPU_INFO: u8 = 0x45;
/// `DRM_COMMAND_BASE` + `DRM_AMDGPU_GEM_VA`.
pub const AMDGPU_GEM_VA: u8 = 0x48;

pub const CAP_SYNCOBJ: u64 = 0x13;
pub const CAP_SYNCOBJ_TIMELINE: u64 = 0x14;

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Version {
    pub version_major: i32,
    pub version_minor: i32,
    pub version_patchlevel: i32,
    pub pad: u32,
    pub name_len: u64,
    pub name: u64,
    pub date_len: u64,
    pub date: u64,
    pub desc_len: u64,
    pub desc: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct GetCap {
    pub capability: u64,
    pub value: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct GemClose {
    pub handle: u32,
    pub pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct PrimeHandle {
    pub handle: u32,
    pub flags: u32,
    pub fd: i32,
}

/// `drm_amdgpu_gem_mmap`: handle in, offset out, in the same place.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct GemMmap {
    pub handle_or_addr: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct GemVa {
    pub handle: u32,
    pub pad: u32,
    pub operation: u32,
    pub flags: u32,
    pub va_address: u64,
    pub offset_in_bo: u64,
    pub map_size: u64,
}

pub const VA_OP_MAP: u32 = 1;
pub const VA_OP_UNMAP: u32 = 2;
pub const VA_OP_CLEAR: u32 = 3;
pub const VA_OP_REPLACE: u32 = 4;

/// `AMDGPU_VM_PAGE_*` of [`GemVa::flags`].
pub const VM_PAGE_NAMES: &crate::flags::Names = &[
    (1 << 0, "DELAY_UPDATE"),
    (1 << 1, "READABLE"),
    (1 << 2, "WRITEABLE"),
    (1 << 3, "EXECUTABLE"),
    (1 << 4, "PRT"),
];

/// `AMDGPU_VM_MTYPE_*`, by the value at bits 5 to 8 of [`GemVa::flags`].
pub const VM_MTYPE_NAMES: [&str; 6] = ["DEFAULT", "NC", "WC", "CC", "UC", "RW"];

/// `drm_amdgpu_info`; the union at its end as bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Info {
    pub return_pointer: u64,
    pub return_size: u32,
    pub query: u32,
    pub request: [u32; 4],
}

pub const INFO_ACCEL_WORKING: u32 = 0x00;
pub const INFO_VRAM_USAGE: u32 = 0x10;
pub const INFO_VRAM_GTT: u32 = 0x14;
pub const INFO_DEV_INFO: u32 = 0x16;
pub const INFO_MEMORY: u32 = 0x19;

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct InfoVramGtt {
    pub vram_size: u64,
    pub vram_cpu_accessible_size: u64,
    pub gtt_size: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct HeapInfo {
    pub total_heap_size: u64,
    pub usable_heap_size: u64,
    pub heap_usage: u64,
    pub max_allocation: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct MemoryInfo {
    pub vram: HeapInfo,
    pub cpu_accessible_vram: HeapInfo,
    pub gtt: HeapInfo,
}

/// The fields of `drm_amdgpu_info_device` up to `num_hw_gfx_contexts` and the few after it
/// that user space reads; later ones are zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct InfoDevice {
    pub device_id: u32,
    pub chip_rev: u32,
    pub external_rev: u32,
    pub pci_rev: u32,
    pub family: u32,
    pub num_shader_engines: u32,
    pub num_shader_arrays_per_engine: u32,
    pub gpu_counter_freq: u32,
    pub max_engine_clock: u64,
    pub max_memory_clock: u64,
    pub cu_active_number: u32,
    pub cu_ao_mask: u32,
    pub cu_bitmap: [[u32; 4]; 4],
    pub enabled_rb_pipes_mask: u32,
    pub num_rb_pipes: u32,
    pub num_hw_gfx_contexts: u32,
    pub pcie_gen: u32,
    pub ids_flags: u64,
    pub virtual_address_offset: u64,
    pub virtual_address_max: u64,
    pub virtual_address_alignment: u32,
    pub pte_fragment_size: u32,
    pub gart_page_size: u32,
    pub ce_ram_size: u32,
    pub vram_type: u32,
    pub vram_bit_width: u32,
    pub vce_harvest_config: u32,
    pub gc_double_offchip_lds_buf: u32,
    pub ngg_addresses: [u64; 4],
    pub ngg_sizes: [u32; 4],
    pub wave_front_size: u32,
    pub num_shader_visible_vgprs: u32,
    pub num_cu_per_sh: u32,
    pub num_tcc_blocks: u32,
    pub gs_vgt_table_depth: u32,
    pub gs_prim_buffer_depth: u32,
    pub max_gs_waves_per_vgt: u32,
    pub pcie_num_lanes: u32,
    pub cu_ao_bitmap: [[u32; 4]; 4],
    pub high_va_offset: u64,
    pub high_va_max: u64,
}
