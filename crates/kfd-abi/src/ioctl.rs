//! The KFD requests: numbers, directions and argument structures.
//!
//! From `include/uapi/linux/kfd_ioctl.h` of Linux 6.12 (KFD 1.17). Every structure has the
//! kernel's layout and no implicit padding, so it can be read from and written to bytes
//! without `unsafe`. Fields carry the kernel's names, which is their documentation.
//! `tests/header.rs` compares all of it with the kernel's own header.
#![allow(missing_docs, reason = "names are those of kfd_ioctl.h, which explains them")]

use bytemuck::{Pod, Zeroable};

pub use crate::constants::*;
use crate::layout::{Layout, layout, structs};

/// `AMDKFD_IOCTL_BASE`.
pub const BASE: u8 = b'K';

/// Which way the arguments go, seen from user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `_IOR`: the kernel answers.
    Read,
    /// `_IOW`: the kernel is told.
    Write,
    /// `_IOWR`: both.
    Both,
}

/// One request that the kernel knows.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Its number.
    pub nr: u8,
    /// Its name, without `AMDKFD_IOC_`.
    pub name: &'static str,
    /// Which way its arguments go.
    pub direction: Direction,
    /// Bytes of its arguments.
    pub size: usize,
}

impl Request {
    /// The whole request number, as `_IOC` builds it (asm-generic/ioctl.h).
    pub const fn code(&self) -> u32 {
        let direction = match self.direction {
            Direction::Write => 1,
            Direction::Read => 2,
            Direction::Both => 3,
        };
        direction << 30 | (self.size as u32) << 16 | (BASE as u32) << 8 | self.nr as u32
    }

    /// The minor version of KFD that brought it: the list at the head of kfd_ioctl.h.
    pub const fn since(&self) -> u32 {
        match self.nr {
            0x1f => 3,
            0x20 | 0x21 => 5,
            0x22 => 7,
            0x23 => 9,
            0x24 => 12,
            0x25 | 0x26 => 13,
            _ => 1,
        }
    }
}

/// The arguments of a request.
pub trait Args: Pod {
    /// The request that they belong to.
    const REQUEST: Request;

    /// Where its fields are; under the name of the request.
    const LAYOUT: Layout;

    /// The fields by name, as the log writes them.
    #[cfg(feature = "log")]
    fn fields(&self) -> serde_json::Map<String, serde_json::Value>;
}

macro_rules! requests {
    ($($nr:literal $direction:ident $name:literal $args:ident { $($field:ident: $type:ty,)* })*) => {
        $(
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Pod, Zeroable)]
            pub struct $args { $(pub $field: $type,)* }

            impl Args for $args {
                const REQUEST: Request = Request {
                    nr: $nr,
                    name: $name,
                    direction: Direction::$direction,
                    size: size_of::<$args>(),
                };

                const LAYOUT: Layout = layout!($name, $args { $($field),* });

                #[cfg(feature = "log")]
                fn fields(&self) -> serde_json::Map<String, serde_json::Value> {
                    let mut map = serde_json::Map::new();
                    $(if stringify!($field) != "pad" {
                        map.insert(
                            stringify!($field).to_owned(),
                            crate::log::argument(stringify!($field), &self.$field),
                        );
                    })*
                    map
                }
            }
        )*

        /// Every request, by number.
        pub const REQUESTS: &[Request] = &[$($args::REQUEST,)*];

        /// Their arguments, in the same order.
        pub const ARGUMENTS: &[Layout] = &[$($args::LAYOUT,)*];
    };
}

requests! {
    0x01 Read "GET_VERSION" GetVersion { major_version: u32, minor_version: u32, }
    0x02 Both "CREATE_QUEUE" CreateQueue {
        ring_base_address: u64,
        write_pointer_address: u64,
        read_pointer_address: u64,
        doorbell_offset: u64,
        ring_size: u32,
        gpu_id: u32,
        queue_type: u32,
        queue_percentage: u32,
        queue_priority: u32,
        queue_id: u32,
        eop_buffer_address: u64,
        eop_buffer_size: u64,
        ctx_save_restore_address: u64,
        ctx_save_restore_size: u32,
        ctl_stack_size: u32,
        sdma_engine_id: u32, // since KFD 1.17
        pad: u32,
    }
    0x03 Both "DESTROY_QUEUE" DestroyQueue { queue_id: u32, pad: u32, }
    0x04 Write "SET_MEMORY_POLICY" SetMemoryPolicy {
        alternate_aperture_base: u64,
        alternate_aperture_size: u64,
        gpu_id: u32,
        default_policy: u32,
        alternate_policy: u32,
        pad: u32,
    }
    0x05 Both "GET_CLOCK_COUNTERS" GetClockCounters {
        gpu_clock_counter: u64,
        cpu_clock_counter: u64,
        system_clock_counter: u64,
        system_clock_freq: u64,
        gpu_id: u32,
        pad: u32,
    }
    0x06 Read "GET_PROCESS_APERTURES" GetProcessApertures {
        process_apertures: [ProcessDeviceApertures; 7],
        num_of_nodes: u32,
        pad: u32,
    }
    0x07 Write "UPDATE_QUEUE" UpdateQueue {
        ring_base_address: u64,
        queue_id: u32,
        ring_size: u32,
        queue_percentage: u32,
        queue_priority: u32,
    }
    0x08 Both "CREATE_EVENT" CreateEvent {
        event_page_offset: u64,
        event_trigger_data: u32,
        event_type: u32,
        auto_reset: u32,
        node_id: u32,
        event_id: u32,
        event_slot_index: u32,
    }
    0x09 Write "DESTROY_EVENT" DestroyEvent { event_id: u32, pad: u32, }
    0x0a Write "SET_EVENT" SetEvent { event_id: u32, pad: u32, }
    0x0b Write "RESET_EVENT" ResetEvent { event_id: u32, pad: u32, }
    0x0c Both "WAIT_EVENTS" WaitEvents {
        events_ptr: u64,
        num_events: u32,
        wait_for_all: u32,
        timeout: u32,
        wait_result: u32,
    }
    0x0d Write "DBG_REGISTER_DEPRECATED" DbgRegister { gpu_id: u32, pad: u32, }
    0x0e Write "DBG_UNREGISTER_DEPRECATED" DbgUnregister { gpu_id: u32, pad: u32, }
    0x0f Write "DBG_ADDRESS_WATCH_DEPRECATED" DbgAddressWatch {
        content_ptr: u64,
        gpu_id: u32,
        buf_size_in_bytes: u32,
    }
    0x10 Write "DBG_WAVE_CONTROL_DEPRECATED" DbgWaveControl {
        content_ptr: u64,
        gpu_id: u32,
        buf_size_in_bytes: u32,
    }
    0x11 Both "SET_SCRATCH_BACKING_VA" SetScratchBackingVa { va_addr: u64, gpu_id: u32, pad: u32, }
    0x12 Both "GET_TILE_CONFIG" GetTileConfig {
        tile_config_ptr: u64,
        macro_tile_config_ptr: u64,
        num_tile_configs: u32,
        num_macro_tile_configs: u32,
        gpu_id: u32,
        gb_addr_config: u32,
        num_banks: u32,
        num_ranks: u32,
    }
    0x13 Write "SET_TRAP_HANDLER" SetTrapHandler {
        tba_addr: u64,
        tma_addr: u64,
        gpu_id: u32,
        pad: u32,
    }
    0x14 Both "GET_PROCESS_APERTURES_NEW" GetProcessAperturesNew {
        kfd_process_device_apertures_ptr: u64,
        num_of_nodes: u32,
        pad: u32,
    }
    0x15 Write "ACQUIRE_VM" AcquireVm { drm_fd: u32, gpu_id: u32, }
    0x16 Both "ALLOC_MEMORY_OF_GPU" AllocMemoryOfGpu {
        va_addr: u64,
        size: u64,
        handle: u64,
        mmap_offset: u64,
        gpu_id: u32,
        flags: u32,
    }
    0x17 Write "FREE_MEMORY_OF_GPU" FreeMemoryOfGpu { handle: u64, }
    0x18 Both "MAP_MEMORY_TO_GPU" MapMemoryToGpu {
        handle: u64,
        device_ids_array_ptr: u64,
        n_devices: u32,
        n_success: u32,
    }
    0x19 Both "UNMAP_MEMORY_FROM_GPU" UnmapMemoryFromGpu {
        handle: u64,
        device_ids_array_ptr: u64,
        n_devices: u32,
        n_success: u32,
    }
    0x1a Write "SET_CU_MASK" SetCuMask { queue_id: u32, num_cu_mask: u32, cu_mask_ptr: u64, }
    0x1b Both "GET_QUEUE_WAVE_STATE" GetQueueWaveState {
        ctl_stack_address: u64,
        ctl_stack_used_size: u32,
        save_area_used_size: u32,
        queue_id: u32,
        pad: u32,
    }
    0x1c Both "GET_DMABUF_INFO" GetDmabufInfo {
        size: u64,
        metadata_ptr: u64,
        metadata_size: u32,
        gpu_id: u32,
        flags: u32,
        dmabuf_fd: u32,
    }
    0x1d Both "IMPORT_DMABUF" ImportDmabuf {
        va_addr: u64,
        handle: u64,
        gpu_id: u32,
        dmabuf_fd: u32,
    }
    0x1e Both "ALLOC_QUEUE_GWS" AllocQueueGws {
        queue_id: u32,
        num_gws: u32,
        first_gws: u32,
        pad: u32,
    }
    0x1f Both "SMI_EVENTS" SmiEvents { gpuid: u32, anon_fd: u32, }
    0x20 Both "SVM" Svm { start_addr: u64, size: u64, op: u32, nattr: u32, }
    0x21 Both "SET_XNACK_MODE" SetXnackMode { xnack_enabled: i32, }
    0x22 Both "CRIU_OP" CriuOp {
        devices: u64,
        bos: u64,
        priv_data: u64,
        priv_data_size: u64,
        num_devices: u32,
        num_bos: u32,
        num_objects: u32,
        pid: u32,
        op: u32,
        pad: u32,
    }
    0x23 Both "AVAILABLE_MEMORY" AvailableMemory { available: u64, gpu_id: u32, pad: u32, }
    0x24 Both "EXPORT_DMABUF" ExportDmabuf { handle: u64, flags: u32, dmabuf_fd: u32, }
    0x25 Both "RUNTIME_ENABLE" RuntimeEnable { r_debug: u64, mode_mask: u32, capabilities_mask: u32, }
    0x26 Both "DBG_TRAP" DbgTrap { pid: u32, op: u32, operation: [u64; 3], }
}

/// The request with this number.
pub fn request(nr: u8) -> Option<&'static Request> {
    REQUESTS.iter().find(|request| request.nr == nr)
}

structs! {
    "kfd_process_device_apertures"
    ProcessDeviceApertures {
        lds_base: u64,
        lds_limit: u64,
        scratch_base: u64,
        scratch_limit: u64,
        gpuvm_base: u64,
        gpuvm_limit: u64,
        gpu_id: u32,
        pad: u32,
    }
    // The union at its start is shown as the signal event's age and the rest.
    "kfd_event_data"
    EventData {
        last_event_age: u64,
        exception_data: [u64; 3],
        kfd_event_data_ext: u64,
        event_id: u32,
        pad: u32,
    }
    // `nattr` of them follow [`Svm`].
    "kfd_ioctl_svm_attribute"
    SvmAttribute {
        r#type: u32,
        value: u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_in_order_and_without_gaps() {
        for (index, request) in REQUESTS.iter().enumerate() {
            assert_eq!(usize::from(request.nr), index + 1, "{}", request.name);
        }
    }

    #[test]
    fn a_request_code_is_what_the_c_macro_gives() {
        // AMDKFD_IOC_ALLOC_MEMORY_OF_GPU, printed by a C program that includes kfd_ioctl.h.
        assert_eq!(AllocMemoryOfGpu::REQUEST.code(), 0xc028_4b16);
        assert_eq!(GetVersion::REQUEST.code(), 0x8008_4b01);
        assert_eq!(AcquireVm::REQUEST.code(), 0x4008_4b15);
    }
}
