//! Numbers of the KFD ioctls that are no flags: kinds, limits and results.
//!
//! From `include/uapi/linux/kfd_ioctl.h` of Linux 6.12, and the mmap offsets of
//! amdkfd/kfd_priv.h. Part of [`crate::ioctl`].

/// `KFD_IOC_QUEUE_TYPE_COMPUTE`: PM4 packets.
pub const QUEUE_TYPE_COMPUTE: u32 = 0;
/// `KFD_IOC_QUEUE_TYPE_SDMA`.
pub const QUEUE_TYPE_SDMA: u32 = 1;
/// `KFD_IOC_QUEUE_TYPE_COMPUTE_AQL`.
pub const QUEUE_TYPE_COMPUTE_AQL: u32 = 2;
/// `KFD_IOC_QUEUE_TYPE_SDMA_XGMI`.
pub const QUEUE_TYPE_SDMA_XGMI: u32 = 3;
/// `KFD_IOC_QUEUE_TYPE_SDMA_BY_ENG_ID` (KFD 1.17).
pub const QUEUE_TYPE_SDMA_BY_ENG_ID: u32 = 4;
/// `KFD_MIN_QUEUE_RING_SIZE`.
pub const MIN_QUEUE_RING_SIZE: u32 = 1024;
/// `KFD_MAX_QUEUE_PERCENTAGE`.
pub const MAX_QUEUE_PERCENTAGE: u32 = 100;
/// `KFD_MAX_QUEUE_PRIORITY`.
pub const MAX_QUEUE_PRIORITY: u32 = 15;

/// `KFD_IOC_EVENT_SIGNAL`.
pub const EVENT_SIGNAL: u32 = 0;
/// `KFD_IOC_EVENT_HW_EXCEPTION`.
pub const EVENT_HW_EXCEPTION: u32 = 3;
/// `KFD_IOC_EVENT_DEBUG_EVENT`.
pub const EVENT_DEBUG: u32 = 5;
/// `KFD_IOC_EVENT_MEMORY`.
pub const EVENT_MEMORY: u32 = 8;
/// `KFD_SIGNAL_EVENT_LIMIT`.
pub const SIGNAL_EVENT_LIMIT: u32 = 4096;

/// `KFD_IOC_WAIT_RESULT_COMPLETE`.
pub const WAIT_RESULT_COMPLETE: u32 = 0;
/// `KFD_IOC_WAIT_RESULT_TIMEOUT`.
pub const WAIT_RESULT_TIMEOUT: u32 = 1;
/// `KFD_IOC_WAIT_RESULT_FAIL`.
pub const WAIT_RESULT_FAIL: u32 = 2;

/// Offsets for mmap of /dev/kfd (amdkfd/kfd_priv.h 6.12): what, for which GPU.
pub mod mmap {
    /// Where the kind starts.
    pub const TYPE_SHIFT: u32 = 62;
    /// `KFD_MMAP_TYPE_DOORBELL`.
    pub const TYPE_DOORBELL: u64 = 3;
    /// `KFD_MMAP_TYPE_EVENTS`.
    pub const TYPE_EVENTS: u64 = 2;
    /// `KFD_MMAP_TYPE_RESERVED_MEM`.
    pub const TYPE_RESERVED_MEM: u64 = 1;
    /// `KFD_MMAP_TYPE_MMIO`.
    pub const TYPE_MMIO: u64 = 0;
    /// Where the GPU id starts.
    pub const GPU_ID_SHIFT: u32 = 46;

    /// The offset for a kind of memory of a GPU.
    pub const fn offset(kind: u64, gpu_id: u32) -> u64 {
        kind << TYPE_SHIFT | (gpu_id as u64 & 0xffff) << GPU_ID_SHIFT
    }

    /// The kind and the GPU id of an offset.
    pub const fn split(offset: u64) -> (u64, u32) {
        (offset >> TYPE_SHIFT, (offset >> GPU_ID_SHIFT & 0xffff) as u32)
    }
}

/// The numbers above by the kernel's names, for the comparison with its header.
pub const NUMBERS: &[(&str, u32)] = &[
    ("KFD_IOC_QUEUE_TYPE_COMPUTE", QUEUE_TYPE_COMPUTE),
    ("KFD_IOC_QUEUE_TYPE_SDMA", QUEUE_TYPE_SDMA),
    ("KFD_IOC_QUEUE_TYPE_COMPUTE_AQL", QUEUE_TYPE_COMPUTE_AQL),
    ("KFD_IOC_QUEUE_TYPE_SDMA_XGMI", QUEUE_TYPE_SDMA_XGMI),
    ("KFD_IOC_QUEUE_TYPE_SDMA_BY_ENG_ID", QUEUE_TYPE_SDMA_BY_ENG_ID),
    ("KFD_MIN_QUEUE_RING_SIZE", MIN_QUEUE_RING_SIZE),
    ("KFD_MAX_QUEUE_PERCENTAGE", MAX_QUEUE_PERCENTAGE),
    ("KFD_MAX_QUEUE_PRIORITY", MAX_QUEUE_PRIORITY),
    ("KFD_IOC_EVENT_SIGNAL", EVENT_SIGNAL),
    ("KFD_IOC_EVENT_HW_EXCEPTION", EVENT_HW_EXCEPTION),
    ("KFD_IOC_EVENT_DEBUG_EVENT", EVENT_DEBUG),
    ("KFD_IOC_EVENT_MEMORY", EVENT_MEMORY),
    ("KFD_SIGNAL_EVENT_LIMIT", SIGNAL_EVENT_LIMIT),
    ("KFD_IOC_WAIT_RESULT_COMPLETE", WAIT_RESULT_COMPLETE),
    ("KFD_IOC_WAIT_RESULT_TIMEOUT", WAIT_RESULT_TIMEOUT),
    ("KFD_IOC_WAIT_RESULT_FAIL", WAIT_RESULT_FAIL),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mmap_offsets_come_apart_again() {
        assert_eq!(mmap::offset(mmap::TYPE_DOORBELL, 0x4d01), 0xd340_4000_0000_0000);
        assert_eq!(mmap::split(0xd340_4000_0000_1000), (mmap::TYPE_DOORBELL, 0x4d01));
    }
}
