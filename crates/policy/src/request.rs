//! What is asked, by whom: the input of the decision. Values are those of the ROCm headers.

use crate::GfxTarget;

/// `hipHostMalloc` flags (hip_runtime_api.h, 5.2 to 7.2).
pub mod host_malloc {
    /// hipHostMallocDefault
    pub const DEFAULT: u32 = 0;
    /// hipHostMallocPortable
    pub const PORTABLE: u32 = 0x1;
    /// hipHostMallocMapped
    pub const MAPPED: u32 = 0x2;
    /// hipHostMallocWriteCombined
    pub const WRITE_COMBINED: u32 = 0x4;
    /// hipHostMallocUncached; named in 7.x, ignored before
    pub const UNCACHED: u32 = 0x1000_0000;
    /// hipHostMallocNumaUser
    pub const NUMA_USER: u32 = 0x2000_0000;
    /// hipHostMallocCoherent
    pub const COHERENT: u32 = 0x4000_0000;
    /// hipHostMallocNonCoherent
    pub const NON_COHERENT: u32 = 0x8000_0000;
    /// Every bit that a header names.
    pub const KNOWN: u32 =
        PORTABLE | MAPPED | WRITE_COMBINED | UNCACHED | NUMA_USER | COHERENT | NON_COHERENT;
}

/// `hipExtMallocWithFlags` flags (hip_runtime_api.h).
pub mod ext_malloc {
    /// hipDeviceMallocDefault
    pub const DEFAULT: u32 = 0;
    /// hipDeviceMallocFinegrained
    pub const FINEGRAINED: u32 = 1;
    /// hipMallocSignalMemory
    pub const SIGNAL: u32 = 2;
    /// hipDeviceMallocUncached, 5.5 and later
    pub const UNCACHED: u32 = 3;
    /// hipDeviceMallocContiguous, 6.2 and later
    pub const CONTIGUOUS: u32 = 4;
}

/// `HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS` (hsa_ext_amd.h).
pub mod pool_flags {
    /// HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_KERNARG_INIT
    pub const KERNARG: u32 = 1;
    /// HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_FINE_GRAINED
    pub const FINE: u32 = 2;
    /// HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_COARSE_GRAINED
    pub const COARSE: u32 = 4;
    /// HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_EXTENDED_SCOPE_FINE_GRAINED, 5.7 and later
    pub const EXTENDED: u32 = 8;
}

/// `hsa_amd_memory_pool_flag_t`, the flags of an allocation (hsa_ext_amd.h; which are legal
/// depends on the release).
pub mod pool_alloc {
    /// HSA_AMD_MEMORY_POOL_PCIE_FLAG, 5.3 and later: pseudo fine grain
    pub const PCIE: u32 = 1;
    /// HSA_AMD_MEMORY_POOL_CONTIGUOUS_FLAG, 6.2 and later
    pub const CONTIGUOUS: u32 = 2;
    /// HSA_AMD_MEMORY_POOL_EXECUTABLE_FLAG, 6.4 and later
    pub const EXECUTABLE: u32 = 4;
    /// HSA_AMD_MEMORY_POOL_UNCACHED_FLAG, 7.x
    pub const UNCACHED: u32 = 8;
    /// Every bit that a header names.
    pub const KNOWN: u32 = PCIE | CONTIGUOUS | EXECUTABLE | UNCACHED;
}

/// Version of a HIP runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HipVersion {
    /// 6 in 6.4.3.
    pub major: u16,
    /// 4 in 6.4.3.
    pub minor: u16,
}

impl HipVersion {
    /// From `hipRuntimeGetVersion`: major * 10^7 + minor * 10^5 + patch (hip_version.h).
    pub fn from_runtime(version: i32) -> Option<Self> {
        let version = u32::try_from(version).ok()?;
        Some(Self {
            major: u16::try_from(version / 10_000_000).ok()?,
            minor: u16::try_from(version / 100_000 % 100).ok()?,
        })
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The program or a library of its own.
    Program,
    /// libamdhip64 itself, through the public HSA symbols.
    HipRuntime,
    /// A library on the deny list (RCCL, rocSHMEM): polls memory from running kernels.
    Denied,
}

/// Whose memory a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A CPU agent: system memory.
    Cpu,
    /// A GPU agent: its own memory.
    Gpu,
}

/// What the layer below was seen to do while the real `hipMallocManaged` ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Below {
    /// `hsa_amd_svm_attributes_set` passed through the hook, which decided there.
    SvmDecided,
    /// A pool allocation passed through the hook: no SVM, the coarse host pool.
    PoolAllocated,
    /// Nothing: the HSA hooks are not on this runtime's path.
    NothingSeen,
}

/// One request for memory. The GPU it is for is a separate argument of [`decide()`](crate::decide()):
/// the current device for pinned host memory, the owner for a GPU pool, an RDNA1/2 agent
/// among those listed (else any) for SVM, and for a CPU pool an RDNA1/2 GPU only where every
/// GPU of the machine is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// `hipHostMalloc`
    HostMalloc {
        /// [`host_malloc`] flags.
        flags: u32,
    },
    /// `hipHostAlloc`
    HostAlloc {
        /// `hipHostAlloc` flags: the first three of [`host_malloc`].
        flags: u32,
        /// Before 6.3 the flags are passed down raw and give VRAM.
        hip: Option<HipVersion>,
    },
    /// `hipMemAllocHost`
    MemAllocHost,
    /// `hipMallocManaged`, after it succeeded
    MallocManaged {
        /// What the HSA layer was seen to do.
        below: Below,
    },
    /// `hipExtMallocWithFlags`
    ExtMalloc {
        /// [`ext_malloc`] flags.
        flags: u32,
    },
    /// `hsa_amd_memory_pool_allocate` and, with the same arguments, `hsa_amd_vmem_handle_create`
    PoolAllocate {
        /// Whose pool.
        owner: Owner,
        /// [`pool_flags`] of the pool.
        pool: u32,
        /// [`pool_alloc`] flags of the call.
        flags: u32,
        /// Whether the same agent has a coarse-grained pool.
        coarse_sibling: bool,
    },
    /// `hsa_amd_memory_lock_to_pool`, which is also what `hipHostRegister` calls
    LockToPool {
        /// [`pool_flags`] of the pool.
        pool: u32,
        /// Whether the same agent has a coarse-grained pool.
        coarse_sibling: bool,
    },
    /// `hsa_amd_svm_attributes_set`
    SvmAttributes {
        /// The list gives a GPU access to the range.
        gives_access: bool,
        /// The list names the grain (GLOBAL_FLAG).
        names_grain: bool,
        /// The program chose the grain of an overlapping range earlier.
        chosen_before: bool,
    },
}

/// The GPU of a request: `None` if it is not known.
pub type Gpu = Option<GfxTarget>;
