//! The flag bits and enumerations of the KFD ioctls, with their names.
//!
//! Values: `include/uapi/linux/kfd_ioctl.h` of Linux 6.12 (KFD 1.17). Names are the kernel's
//! without the common prefix. Says what a bit is called, never what it should be.

/// A set of named bits.
pub type Names = [(u32, &'static str)];

/// `KFD_IOC_ALLOC_MEM_FLAGS_*`: `flags` of ALLOC_MEMORY_OF_GPU.
pub mod alloc {
    /// Memory of the GPU.
    pub const VRAM: u32 = 1 << 0;
    /// System memory that the kernel allocates.
    pub const GTT: u32 = 1 << 1;
    /// System memory of the process; `mmap_offset` is its address.
    pub const USERPTR: u32 = 1 << 2;
    /// The doorbell page.
    pub const DOORBELL: u32 = 1 << 3;
    /// The page of remapped registers.
    pub const MMIO_REMAP: u32 = 1 << 4;
    /// Physically contiguous VRAM (KFD 1.16).
    pub const CONTIGUOUS: u32 = 1 << 23;
    /// Coherent at extended scope (Linux 6.7).
    pub const EXT_COHERENT: u32 = 1 << 24;
    /// Not cached by the GPU.
    pub const UNCACHED: u32 = 1 << 25;
    /// Coherent with the host and other GPUs.
    pub const COHERENT: u32 = 1 << 26;
    /// The ring of an AQL queue, mapped twice on old GPUs.
    pub const AQL_QUEUE_MEM: u32 = 1 << 27;
    /// Only this kind of memory will do.
    pub const NO_SUBSTITUTE: u32 = 1 << 28;
    /// VRAM that the host can reach.
    pub const PUBLIC: u32 = 1 << 29;
    /// The GPU may execute it.
    pub const EXECUTABLE: u32 = 1 << 30;
    /// The GPU may write it.
    pub const WRITABLE: u32 = 1 << 31;

    /// The bits that decide about caching.
    pub const COHERENCE: u32 = COHERENT | EXT_COHERENT | UNCACHED;

    /// Bit by bit, lowest first.
    pub const NAMES: &super::Names = &[
        (VRAM, "VRAM"),
        (GTT, "GTT"),
        (USERPTR, "USERPTR"),
        (DOORBELL, "DOORBELL"),
        (MMIO_REMAP, "MMIO_REMAP"),
        (CONTIGUOUS, "CONTIGUOUS"),
        (EXT_COHERENT, "EXT_COHERENT"),
        (UNCACHED, "UNCACHED"),
        (COHERENT, "COHERENT"),
        (AQL_QUEUE_MEM, "AQL_QUEUE_MEM"),
        (NO_SUBSTITUTE, "NO_SUBSTITUTE"),
        (PUBLIC, "PUBLIC"),
        (EXECUTABLE, "EXECUTABLE"),
        (WRITABLE, "WRITABLE"),
    ];
}

/// `KFD_IOCTL_SVM_*`: operations, attributes and flags of the SVM ioctl.
pub mod svm {
    /// `op`: change attributes.
    pub const OP_SET_ATTR: u32 = 0;
    /// `op`: read attributes.
    pub const OP_GET_ATTR: u32 = 1;

    /// A location: system memory.
    pub const LOCATION_SYSMEM: u32 = 0;
    /// A location: none given.
    pub const LOCATION_UNDEFINED: u32 = 0xffff_ffff;

    /// Attribute: GPU that should hold the range.
    pub const ATTR_PREFERRED_LOC: u32 = 0;
    /// Attribute: move the range there now.
    pub const ATTR_PREFETCH_LOC: u32 = 1;
    /// Attribute: the GPU may access the range, which may move.
    pub const ATTR_ACCESS: u32 = 2;
    /// Attribute: the GPU may access the range where it is.
    pub const ATTR_ACCESS_IN_PLACE: u32 = 3;
    /// Attribute: the GPU may not access the range.
    pub const ATTR_NO_ACCESS: u32 = 4;
    /// Attribute: flags to set.
    pub const ATTR_SET_FLAGS: u32 = 5;
    /// Attribute: flags to clear.
    pub const ATTR_CLR_FLAGS: u32 = 6;
    /// Attribute: log2 of the pages that move together.
    pub const ATTR_GRANULARITY: u32 = 7;

    /// Names of the attributes, by number.
    pub const ATTRIBUTES: [&str; 8] = [
        "PREFERRED_LOC",
        "PREFETCH_LOC",
        "ACCESS",
        "ACCESS_IN_PLACE",
        "NO_ACCESS",
        "SET_FLAGS",
        "CLR_FLAGS",
        "GRANULARITY",
    ];

    /// The host keeps access.
    pub const HOST_ACCESS: u32 = 1 << 0;
    /// Coherent between all devices that have access.
    pub const COHERENT: u32 = 1 << 1;
    /// Any GPU of the hive will do as location.
    pub const HIVE_LOCAL: u32 = 1 << 2;
    /// GPUs only read.
    pub const GPU_RO: u32 = 1 << 3;
    /// GPUs may execute.
    pub const GPU_EXEC: u32 = 1 << 4;
    /// GPUs mostly read.
    pub const GPU_READ_MOSTLY: u32 = 1 << 5;
    /// Keep the GPU mapping valid always.
    pub const GPU_ALWAYS_MAPPED: u32 = 1 << 6;
    /// Coherent at extended scope (Linux 6.7).
    pub const EXT_COHERENT: u32 = 1 << 7;

    /// What a range starts with (kfd_svm.c, svm_range_set_default_attributes, 6.1 to 7.2).
    pub const DEFAULT_FLAGS: u32 = HOST_ACCESS | COHERENT;

    /// Bit by bit, lowest first.
    pub const NAMES: &super::Names = &[
        (HOST_ACCESS, "HOST_ACCESS"),
        (COHERENT, "COHERENT"),
        (HIVE_LOCAL, "HIVE_LOCAL"),
        (GPU_RO, "GPU_RO"),
        (GPU_EXEC, "GPU_EXEC"),
        (GPU_READ_MOSTLY, "GPU_READ_MOSTLY"),
        (GPU_ALWAYS_MAPPED, "GPU_ALWAYS_MAPPED"),
        (EXT_COHERENT, "EXT_COHERENT"),
    ];
}

/// The names of the bits that are set; bits without a name together as one hexadecimal
/// number at the end.
pub fn names(value: u32, table: &Names) -> Vec<String> {
    let mut rest = value;
    let mut found = Vec::new();
    for (bit, name) in table {
        if value & bit != 0 {
            found.push((*name).to_owned());
            rest &= !bit;
        }
    }
    if rest != 0 {
        found.push(format!("{rest:#x}"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_a_default_pinned_allocation_are_named() {
        // What ROCr 5.2.3 asks for on hipHostMalloc.
        assert_eq!(
            names(0xd400_0004, alloc::NAMES),
            ["USERPTR", "COHERENT", "NO_SUBSTITUTE", "EXECUTABLE", "WRITABLE"]
        );
    }

    #[test]
    fn bits_without_a_name_are_not_lost() {
        assert_eq!(names(1 << 10 | 1 << 11 | alloc::VRAM, alloc::NAMES), ["VRAM", "0xc00"]);
    }

    #[test]
    fn every_name_stands_for_one_bit_of_its_own() {
        for table in [alloc::NAMES, svm::NAMES] {
            let mut seen = 0;
            for (bit, name) in table {
                assert_eq!(bit.count_ones(), 1, "{name}");
                assert_eq!(seen & bit, 0, "{name}");
                seen |= bit;
            }
        }
    }
}
