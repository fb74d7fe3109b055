//! Every request of the domain: every call with every combination of the flags that the headers
//! of ROCm 5.2 to 7.2 define, alone and with one that none does. Shared by the tests; it decides nothing.

use policy::{Below, Caller, HipVersion, Owner, Request, host_malloc, pool_alloc, pool_flags};

/// Targets of LLVM's AMDGPU backend from gfx900 to gfx1201, as KFD numbers.
pub const TARGETS: [u32; 38] = [
    90_000, 90_002, 90_004, 90_006, 90_008, 90_009, 90_010, 90_012, 90_400, 90_401, 90_402, 90_500,
    100_100, 100_101, 100_102, 100_103, 100_300, 100_301, 100_302, 100_303, 100_304, 100_305,
    100_306, 110_000, 110_001, 110_002, 110_003, 110_500, 110_501, 110_502, 110_503, 115_000,
    115_001, 115_002, 115_003, 120_000, 120_001, 100_200,
];

/// Versions of HIP, where its host allocation changed and between.
pub const VERSIONS: [(u16, u16); 7] = [(5, 2), (5, 7), (6, 0), (6, 2), (6, 3), (6, 4), (7, 2)];

/// Everybody who may ask.
pub const CALLERS: [Caller; 3] = [Caller::Program, Caller::HipRuntime, Caller::Denied];

/// Every combination of `bits`, alone and with each of `unknown`.
fn combinations(bits: &[u32], unknown: &[u32]) -> Vec<u32> {
    let known = (0..1u32 << bits.len()).map(|chosen| {
        bits.iter().enumerate().filter(|(i, _)| chosen & (1 << i) != 0).map(|(_, bit)| bit).sum()
    });
    known.flat_map(|flags: u32| unknown.iter().chain([&0]).map(move |bit| flags | bit)).collect()
}

/// Every request, with one flag that no header defines.
pub fn requests() -> Vec<Request> {
    requests_with(&VERSIONS, &[0x0800_0000], &[0x10])
}

/// Every request, of each of these versions of HIP, and with each of these flags that no header
/// defines: of `hipHostMalloc`, and of pools.
pub fn requests_with(versions: &[(u16, u16)], of_host: &[u32], of_pools: &[u32]) -> Vec<Request> {
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
    ];
    let versions = versions.iter().map(|&(major, minor)| HipVersion { major, minor });
    for flags in combinations(&host, of_host) {
        all.push(Request::HostMalloc { flags });
        all.push(Request::HostAlloc { flags, hip: None });
        all.extend(versions.clone().map(|hip| Request::HostAlloc { flags, hip: Some(hip) }));
    }
    for below in [Below::SvmDecided, Below::PoolAllocated, Below::NothingSeen] {
        all.push(Request::MallocManaged { below });
    }
    all.extend((0..=9).map(|flags| Request::ExtMalloc { flags }));
    for pool in combinations(&[p::KERNARG, p::FINE, p::COARSE, p::EXTENDED], of_pools) {
        for coarse_sibling in [false, true] {
            all.push(Request::LockToPool { pool, coarse_sibling });
            let flags = [a::PCIE, a::CONTIGUOUS, a::EXECUTABLE, a::UNCACHED];
            for flags in combinations(&flags, of_pools) {
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
