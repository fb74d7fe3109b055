//! The few DRM and amdgpu requests that ROCm user space makes on a render node.
//!
//! From `include/uapi/drm/drm.h` and `amdgpu_drm.h` of Linux 6.12. Layouts are the kernel's,
//! without implicit padding; names are the kernel's, which is their documentation.
#![allow(missing_docs, reason = "names are those of drm.h and amdgpu_drm.h")]

use crate::layout::structs;

/// `DRM_IOCTL_BASE`.
pub const BASE: u8 = b'd';

pub const VERSION: u8 = 0x00;
pub const GEM_CLOSE: u8 = 0x09;
pub const GET_CAP: u8 = 0x0c;
pub const PRIME_HANDLE_TO_FD: u8 = 0x2d;
pub const PRIME_FD_TO_HANDLE: u8 = 0x2e;
// `DRM_COMMAND_BASE` 0x40 + `DRM_AMDGPU_*`.
pub const AMDGPU_GEM_CREATE: u8 = 0x40;
pub const AMDGPU_GEM_MMAP: u8 = 0x41;
pub const AMDGPU_CTX: u8 = 0x42;
pub const AMDGPU_BO_LIST: u8 = 0x43;
pub const AMDGPU_CS: u8 = 0x44;
pub const AMDGPU_INFO: u8 = 0x45;
pub const AMDGPU_GEM_METADATA: u8 = 0x46;
pub const AMDGPU_GEM_WAIT_IDLE: u8 = 0x47;
pub const AMDGPU_GEM_VA: u8 = 0x48;
pub const AMDGPU_WAIT_CS: u8 = 0x49;
pub const AMDGPU_GEM_OP: u8 = 0x50;

pub const CAP_SYNCOBJ: u64 = 0x13;
pub const CAP_SYNCOBJ_TIMELINE: u64 = 0x14;

pub const VA_OP_MAP: u32 = 1;
pub const VA_OP_UNMAP: u32 = 2;
pub const VA_OP_CLEAR: u32 = 3;
pub const VA_OP_REPLACE: u32 = 4;

pub const GEM_DOMAIN_GTT: u64 = 2;
pub const GEM_DOMAIN_VRAM: u64 = 4;
/// `CPU`, `GTT` and `VRAM`; GDS, GWS and OA are the rest of `AMDGPU_GEM_DOMAIN_MASK`.
pub const GEM_DOMAIN_MEMORY: u64 = 7;
/// `AMDGPU_GEM_CREATE_*` that user space may ask for (amdgpu_gem_create_ioctl), without
/// `ENCRYPTED`, which needs TMZ.
pub const GEM_CREATE_ALLOWED: u64 = 0x1_10cf;
/// `AMDGPU_GEM_OP_GET_GEM_CREATE_INFO`.
pub const GEM_OP_GET_CREATE_INFO: u32 = 0;
pub const GEM_METADATA_SET: u32 = 1;
pub const GEM_METADATA_GET: u32 = 2;
/// Bytes of `drm_amdgpu_gem_metadata.data.data`.
pub const GEM_METADATA_MAX: u32 = 256;

pub const CTX_OP_ALLOC: u32 = 1;
pub const CTX_OP_FREE: u32 = 2;
pub const BO_LIST_OP_CREATE: u32 = 0;
pub const BO_LIST_OP_DESTROY: u32 = 1;
pub const CHUNK_ID_IB: u32 = 1;
pub const HW_IP_DMA: u32 = 2;

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

pub const INFO_ACCEL_WORKING: u32 = 0x00;
pub const INFO_VRAM_USAGE: u32 = 0x10;
pub const INFO_VRAM_GTT: u32 = 0x14;
pub const INFO_DEV_INFO: u32 = 0x16;
pub const INFO_MEMORY: u32 = 0x19;

structs! {
    "drm_version"
    Version {
        version_major: i32,
        version_minor: i32,
        version_patchlevel: i32,
        pad: u32,
        name_len: u64,
        name: u64,
        date_len: u64,
        date: u64,
        desc_len: u64,
        desc: u64,
    }
    "drm_get_cap"
    GetCap {
        capability: u64,
        value: u64,
    }
    "drm_gem_close"
    GemClose {
        handle: u32,
        pad: u32,
    }
    "drm_prime_handle"
    PrimeHandle {
        handle: u32,
        flags: u32,
        fd: i32,
    }
    // Handle in, offset out, in the same place.
    "drm_amdgpu_gem_mmap"
    GemMmap {
        handle_or_addr: u64,
    }
    // What follows is the `in` of a union; `out` begins in its first field.
    "drm_amdgpu_gem_create_in"
    GemCreate {
        bo_size: u64,
        alignment: u64,
        domains: u64,
        domain_flags: u64,
    }
    // `value` is the address of a `drm_amdgpu_gem_create_in` for GET_GEM_CREATE_INFO.
    "drm_amdgpu_gem_op"
    GemOp {
        handle: u32,
        op: u32,
        value: u64,
    }
    "drm_amdgpu_gem_wait_idle_in"
    GemWaitIdle {
        handle: u32,
        flags: u32,
        timeout: u64,
    }
    "drm_amdgpu_ctx_in"
    Ctx {
        op: u32,
        flags: u32,
        ctx_id: u32,
        priority: i32,
    }
    "drm_amdgpu_bo_list_in"
    BoList {
        operation: u32,
        list_handle: u32,
        bo_number: u32,
        bo_info_size: u32,
        bo_info_ptr: u64,
    }
    "drm_amdgpu_bo_list_entry"
    BoListEntry {
        bo_handle: u32,
        bo_priority: u32,
    }
    "drm_amdgpu_cs_in"
    Cs {
        ctx_id: u32,
        bo_list_handle: u32,
        num_chunks: u32,
        flags: u32,
        chunks: u64,
    }
    "drm_amdgpu_cs_chunk"
    CsChunk {
        chunk_id: u32,
        length_dw: u32,
        chunk_data: u64,
    }
    "drm_amdgpu_cs_chunk_ib"
    CsChunkIb {
        pad: u32,
        flags: u32,
        va_start: u64,
        ib_bytes: u32,
        ip_type: u32,
        ip_instance: u32,
        ring: u32,
    }
    "drm_amdgpu_wait_cs_in"
    WaitCs {
        handle: u64,
        timeout: u64,
        ip_type: u32,
        ip_instance: u32,
        ring: u32,
        ctx_id: u32,
    }
    // `data` as words: flags, tiling_info, data_size_bytes, then the metadata itself.
    "drm_amdgpu_gem_metadata"
    GemMetadata {
        handle: u32,
        op: u32,
        data: [u64; 35],
    }
    "drm_amdgpu_gem_va"
    GemVa {
        handle: u32,
        pad: u32,
        operation: u32,
        flags: u32,
        va_address: u64,
        offset_in_bo: u64,
        map_size: u64,
    }
    // The union at its end as words.
    "drm_amdgpu_info"
    Info {
        return_pointer: u64,
        return_size: u32,
        query: u32,
        request: [u32; 4],
    }
    "drm_amdgpu_info_vram_gtt"
    InfoVramGtt {
        vram_size: u64,
        vram_cpu_accessible_size: u64,
        gtt_size: u64,
    }
    "drm_amdgpu_heap_info"
    HeapInfo {
        total_heap_size: u64,
        usable_heap_size: u64,
        heap_usage: u64,
        max_allocation: u64,
    }
    "drm_amdgpu_memory_info"
    MemoryInfo {
        vram: HeapInfo,
        cpu_accessible_vram: HeapInfo,
        gtt: HeapInfo,
    }
    // The fields that user space reads; the kernel has more, which are zero here.
    "drm_amdgpu_info_device"
    InfoDevice {
        device_id: u32,
        chip_rev: u32,
        external_rev: u32,
        pci_rev: u32,
        family: u32,
        num_shader_engines: u32,
        num_shader_arrays_per_engine: u32,
        gpu_counter_freq: u32,
        max_engine_clock: u64,
        max_memory_clock: u64,
        cu_active_number: u32,
        cu_ao_mask: u32,
        cu_bitmap: [[u32; 4]; 4],
        enabled_rb_pipes_mask: u32,
        num_rb_pipes: u32,
        num_hw_gfx_contexts: u32,
        pcie_gen: u32,
        ids_flags: u64,
        virtual_address_offset: u64,
        virtual_address_max: u64,
        virtual_address_alignment: u32,
        pte_fragment_size: u32,
        gart_page_size: u32,
        ce_ram_size: u32,
        vram_type: u32,
        vram_bit_width: u32,
        vce_harvest_config: u32,
        gc_double_offchip_lds_buf: u32,
        ngg_addresses: [u64; 4],
        ngg_sizes: [u32; 4],
        wave_front_size: u32,
        num_shader_visible_vgprs: u32,
        num_cu_per_sh: u32,
        num_tcc_blocks: u32,
        gs_vgt_table_depth: u32,
        gs_prim_buffer_depth: u32,
        max_gs_waves_per_vgt: u32,
        pcie_num_lanes: u32,
        cu_ao_bitmap: [[u32; 4]; 4],
        high_va_offset: u64,
        high_va_max: u64,
    }
}
