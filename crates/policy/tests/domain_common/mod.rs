//! Every request of the domain: every call with every combination of the flags that the headers
//! of ROCm 5.2 to 7.2 define, and one that none does. Shared by the tests; it decides nothing.

use policy::{Below, Caller, HipVersion, Owner, Request, host_malloc, pool_alloc, pool_flags};

/// Targets of LLVM's AMDGPU backend from gfx900 to gfx1201, as KFD numbers.
pub const TARGETS: [u32; 38] = [
    90_000, 90_002, 90_004, 90_006, 90_008, 90_009, 90_010, 90_012, 90_400, 90_401, 90_402, 90_500,
    100_100, 100_101, 100_102, 100_103, 100_300, 100_301, 100_302, 100_303, 100_304, 100_305,
    100_306, 110_000, 110_001, 110_002, 110_003, 110_500, 110_501, 110_502, 110_503, 115_000,
    115_001, 115_002, 115_003, 120_000, 120_001, 100_200,
];

/// Everybody who may ask.
pub const CALLERS: [Caller; 3] = [Caller::Program, Caller::HipRuntime, Caller::Denied];

/// Every combination of `bits`.
pub fn combinations(bits: &[u32]) -> impl Iterator<Item = u32> {
    (0..1u32 << bits.len()).map(|chosen| {
        bits.iter().enumerate().filter(|(i, _)| chosen & (1 << i) != 0).map(|(_, bit)| bit).sum()
    })
}

/// Every request.
pub fn requests() -> Vec<Request> {
    use {host_malloc as h, pool_alloc as a, pool_flags as p};
    let mut all = vec![Request::MemAllocHost];
    let host = [
        h::PORTABLE,
        h::MAPPED,
        h::WRITE_COMBINED,
        h::UNCACHED,
        h::NUMA_USER,
        h::COHERENT,
        h::NON_COHERENT,
        0x0800_0000,
    ];
    let versions = [(5, 2), (5, 7), (6, 0), (6, 2), (6, 3), (6, 4), (7, 2)]
        .map(|(major, minor)| HipVersion { major, minor });
    for flags in combinations(&host) {
        all.push(Request::HostMalloc { flags });
        all.push(Request::HostAlloc { flags, hip: None });
        all.extend(versions.map(|hip| Request::HostAlloc { flags, hip: Some(hip) }));
    }
    for below in [Below::SvmDecided, Below::PoolAllocated, Below::NothingSeen] {
        all.push(Request::MallocManaged { below });
    }
    all.extend((0..=9).map(|flags| Request::ExtMalloc { flags }));
    for pool in combinations(&[p::KERNARG, p::FINE, p::COARSE, p::EXTENDED, 0x10]) {
        for coarse_sibling in [false, true] {
            all.push(Request::LockToPool { pool, coarse_sibling });
            for flags in combinations(&[a::PCIE, a::CONTIGUOUS, a::EXECUTABLE, a::UNCACHED, 0x10]) {
                for owner in [Owner::Cpu, Owner::Gpu] {
                    all.push(Request::PoolAllocate { owner, pool, flags, coarse_sibling });
                }
            }
        }
    }
    for bits in 0..8u32 {
        all.push(Request::SvmAttributes {
            gives_access: bits & 1 != 0,
            names_grain: bits & 2 != 0,
            chosen_before: bits & 4 != 0,
        });
    }
    all
}
