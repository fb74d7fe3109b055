//! What the hooks need of the HSA runtime besides the functions they take over: its agents,
//! matched to KFD's GPUs by PCI address, and their memory pools. Decides nothing.

use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

use kfd_abi::topology::PciAddress;
use policy::{GfxTarget, Owner, pool_flags};

use crate::hook::Library;
use crate::resolve::{PerCaller, neighbour};
use crate::{gpus, seen};

/// hsa_status_t
pub(crate) type Status = u32;
/// HSA_STATUS_SUCCESS
pub(crate) const SUCCESS: Status = 0;
/// HSA_STATUS_ERROR: there is no real function.
pub(crate) const ERROR: Status = 0x1000;

/// hsa_agent_info_t and hsa_amd_agent_info_t (hsa.h, hsa_ext_amd.h)
mod agent_info {
    use std::ffi::c_int;

    pub(super) const NAME: c_int = 0;
    pub(super) const DEVICE: c_int = 17;
    pub(super) const BDFID: c_int = 0xA006;
    pub(super) const DOMAIN: c_int = 0xA00F;
}
/// HSA_DEVICE_TYPE_CPU and HSA_DEVICE_TYPE_GPU (hsa.h)
const DEVICE_CPU: u32 = 0;
const DEVICE_GPU: u32 = 1;
/// hsa_amd_memory_pool_info_t (hsa_ext_amd.h)
const POOL_SEGMENT: c_int = 0;
const POOL_GLOBAL_FLAGS: c_int = 1;
/// HSA_AMD_SYSTEM_INFO_SVM_SUPPORTED (hsa.h)
const SYSTEM_SVM_SUPPORTED: c_int = 0x201;
/// HSA_AMD_SYSTEM_INFO_VIRTUAL_MEM_API_SUPPORTED (hsa.h of 6.0 and later)
const SYSTEM_VIRTUAL_MEM_API_SUPPORTED: c_int = 0x205;
/// HSA_AMD_SEGMENT_GLOBAL
const SEGMENT_GLOBAL: u32 = 0;

/// `hsa_amd_memory_pool_allocate`
pub(crate) type PoolAllocate =
    unsafe extern "C-unwind" fn(u64, usize, u32, *mut *mut c_void) -> Status;
/// `hsa_amd_vmem_handle_create`
pub(crate) type VmemCreate =
    unsafe extern "C-unwind" fn(u64, usize, c_int, u64, *mut u64) -> Status;
/// `hsa_amd_memory_lock_to_pool`
pub(crate) type LockToPool = unsafe extern "C-unwind" fn(
    *mut c_void,
    usize,
    *mut u64,
    c_int,
    u64,
    u32,
    *mut *mut c_void,
) -> Status;
/// `hsa_amd_svm_attributes_set`
pub(crate) type SvmAttributesSet =
    unsafe extern "C-unwind" fn(*mut c_void, usize, *mut SvmAttribute, usize) -> Status;

/// hsa_amd_svm_attribute_pair_t
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct SvmAttribute {
    pub(crate) attribute: u64,
    pub(crate) value: u64,
}

type PoolFree = unsafe extern "C-unwind" fn(*mut c_void) -> Status;
type SystemInfo = unsafe extern "C-unwind" fn(c_int, *mut c_void) -> Status;
type GetInfo = unsafe extern "C-unwind" fn(u64, c_int, *mut c_void) -> Status;
type Visit = unsafe extern "C" fn(u64, *mut c_void) -> Status;
type IterateAgents = unsafe extern "C" fn(Visit, *mut c_void) -> Status;
type IteratePools = unsafe extern "C" fn(u64, Visit, *mut c_void) -> Status;

/// Functions of one copy of libhsa-runtime64.
pub(crate) struct Hsa {
    iterate_agents: IterateAgents,
    agent_info: GetInfo,
    iterate_pools: IteratePools,
    pool_info: GetInfo,
    pool_free: PoolFree,
    system_info: SystemInfo,
    /// Coarse-grained pools that were seen; 0 while free.
    coarse: [AtomicU64; 16],
}

/// The agents of a runtime between hsa_init and hsa_shut_down.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    gpus: Vec<GpuAgent>,
    pools: Vec<Pool>,
}

/// A GPU agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GpuAgent {
    /// hsa_agent_t
    handle: u64,
    /// What it is, if that is known.
    pub(crate) target: Option<GfxTarget>,
}

/// A memory pool of the global segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    /// hsa_amd_memory_pool_t
    pub(crate) handle: u64,
    agent: u64,
    /// Whose memory it is.
    pub(crate) owner: Owner,
    /// HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS
    pub(crate) flags: u32,
}

static COPIES: PerCaller<Hsa> = PerCaller::new();

/// The copy of ROCr that the code at `caller` uses. Thread-safe.
pub(crate) fn near(caller: usize) -> Option<&'static Hsa> {
    COPIES
        .get(caller, || {
            let function = |name: &CStr| Some(neighbour(Library::Hsa, name, caller)?.1);
            let (scope, iterate) = neighbour(Library::Hsa, c"hsa_iterate_agents", caller)?;
            // SAFETY: each address is the function of that name in libhsa-runtime64, and these
            // are the types that hsa.h and hsa_ext_amd.h declare, unchanged from 5.2 to 7.2.
            let hsa = unsafe {
                Hsa {
                    iterate_agents: std::mem::transmute::<*const (), IterateAgents>(iterate),
                    agent_info: std::mem::transmute::<*const (), GetInfo>(function(
                        c"hsa_agent_get_info",
                    )?),
                    iterate_pools: std::mem::transmute::<*const (), IteratePools>(function(
                        c"hsa_amd_agent_iterate_memory_pools",
                    )?),
                    pool_info: std::mem::transmute::<*const (), GetInfo>(function(
                        c"hsa_amd_memory_pool_get_info",
                    )?),
                    pool_free: std::mem::transmute::<*const (), PoolFree>(function(
                        c"hsa_amd_memory_pool_free",
                    )?),
                    system_info: std::mem::transmute::<*const (), SystemInfo>(function(
                        c"hsa_system_get_info",
                    )?),
                    coarse: [const { AtomicU64::new(0) }; 16],
                }
            };
            Some((scope, hsa))
        })
        .map(|(_, hsa)| hsa)
}

impl Hsa {
    /// The agents as the runtime has them now. Nothing is kept of them: a runtime that is shut
    /// down and started again uses the same handles for others, and only a request that may be
    /// changed asks.
    pub(crate) fn agents(&self) -> Agents {
        let mut gathering =
            Gathering { hsa: self, agents: Agents::default(), agent: 0, owner: Owner::Cpu };
        // SAFETY: the callback has the declared type and gets the pointer that it expects.
        let status = unsafe { (self.iterate_agents)(visit_agent, (&raw mut gathering).cast()) };
        if status == SUCCESS { gathering.agents } else { Agents::default() }
    }

    /// Whether a pool was seen to be coarse-grained. The handle may have come to mean another
    /// pool since: that is only good for leaving a call alone.
    pub(crate) fn was_coarse(&self, pool: u64) -> bool {
        pool != 0 && self.coarse.iter().any(|seen| seen.load(Ordering::Relaxed) == pool)
    }

    /// Remembers a coarse-grained pool, as long as there is room.
    pub(crate) fn note_coarse(&self, pool: u64) {
        let free = |seen: &&AtomicU64| {
            seen.compare_exchange(0, pool, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        self.coarse.iter().find(free);
    }

    fn info(question: GetInfo, handle: u64, which: c_int) -> Option<u32> {
        let mut value = 0u32;
        // SAFETY: every attribute that is asked for this way is a 32-bit number.
        (unsafe { question(handle, which, (&raw mut value).cast()) } == SUCCESS).then_some(value)
    }

    fn target(&self, agent: u64) -> Option<GfxTarget> {
        let pci = PciAddress {
            domain: Self::info(self.agent_info, agent, agent_info::DOMAIN)?,
            bdf: u16::try_from(Self::info(self.agent_info, agent, agent_info::BDFID)?).ok()?,
        };
        gpus::target_at(pci, || {
            let mut name = [0u8; 64];
            // SAFETY: HSA_AGENT_INFO_NAME is an array of 64 characters.
            let status =
                unsafe { (self.agent_info)(agent, agent_info::NAME, name.as_mut_ptr().cast()) };
            let name = CStr::from_bytes_until_nul(&name).ok()?.to_str().ok()?;
            (status == SUCCESS).then(|| GfxTarget::from_name(name))?
        })
    }

    /// Whether this runtime has SVM on this machine; where it has not, every call fails, and
    /// prints that it did.
    pub(crate) fn has_svm(&self) -> bool {
        self.supports(SYSTEM_SVM_SUPPORTED) == Some(true)
    }

    /// Whether this runtime knows of virtual memory (6.0 and later) but has none here, because
    /// KFD is older than 1.15.
    pub(crate) fn misses_virtual_memory(&self) -> bool {
        self.supports(SYSTEM_VIRTUAL_MEM_API_SUPPORTED) == Some(false)
    }

    fn supports(&self, what: c_int) -> Option<bool> {
        let mut supported = false;
        // SAFETY: each of these pieces of information is one bool.
        let status = unsafe { (self.system_info)(what, (&raw mut supported).cast()) };
        (status == SUCCESS).then_some(supported)
    }

    /// Whether this release takes allocation flags other than 0 for a pool, which decides
    /// what a program gets for them: releases before 5.3 refuse all, and a refusal has to stay
    /// one. Found out with a page that is freed at once.
    pub(crate) fn accepts(&self, allocate: PoolAllocate, pool: u64, flags: u32) -> bool {
        const PAGE: usize = 4096;
        if flags == 0 {
            return true;
        }
        let mut page = std::ptr::null_mut();
        // SAFETY: the real function, with a valid place for its result.
        let status = seen::forwarding(|| unsafe { allocate(pool, PAGE, flags, &raw mut page) });
        if status == SUCCESS {
            // SAFETY: `page` was allocated just now and nobody else has it.
            unsafe { (self.pool_free)(page) };
        }
        status == SUCCESS
    }
}

impl Agents {
    /// The pool of that handle.
    pub(crate) fn pool(&self, handle: u64) -> Option<Pool> {
        self.pools.iter().find(|pool| pool.handle == handle).copied()
    }

    /// The coarse-grained pool of the same agent; the pool itself if it is one.
    pub(crate) fn coarse_sibling(&self, pool: &Pool) -> Option<u64> {
        let coarse = |other: &&Pool| other.agent == pool.agent && other.flags == pool_flags::COARSE;
        if coarse(&pool) { Some(pool.handle) } else { Some(self.pools.iter().find(coarse)?.handle) }
    }

    /// The GPU agent of that handle.
    pub(crate) fn gpu(&self, handle: u64) -> Option<&GpuAgent> {
        self.gpus.iter().find(|gpu| gpu.handle == handle)
    }

    /// The GPU that decides about memory of a pool: its owner, or for system memory an
    /// RDNA1/2 GPU only if every GPU is one, because any of them may be given access later.
    pub(crate) fn gpu_of(&self, pool: &Pool) -> Option<GfxTarget> {
        match pool.owner {
            Owner::Gpu => self.gpu(pool.agent)?.target,
            Owner::Cpu => {
                self.gpus.iter().find(|gpu| !gpu.is_rdna12()).or(self.gpus.first())?.target
            }
        }
    }
}

impl GpuAgent {
    /// Whether it is known to be RDNA1/2.
    pub(crate) fn is_rdna12(&self) -> bool {
        self.target.is_some_and(GfxTarget::is_rdna12)
    }
}

struct Gathering<'a> {
    hsa: &'a Hsa,
    agents: Agents,
    agent: u64,
    owner: Owner,
}

unsafe extern "C" fn visit_agent(agent: u64, data: *mut c_void) -> Status {
    // SAFETY: `data` is what read_agents passed, borrowed by nobody else meanwhile.
    let gathering = unsafe { &mut *data.cast::<Gathering<'_>>() };
    let hsa = gathering.hsa;
    gathering.agent = agent;
    gathering.owner = match Hsa::info(hsa.agent_info, agent, agent_info::DEVICE) {
        Some(DEVICE_CPU) => Owner::Cpu,
        Some(DEVICE_GPU) => {
            gathering.agents.gpus.push(GpuAgent { handle: agent, target: hsa.target(agent) });
            Owner::Gpu
        }
        _ => return SUCCESS,
    };
    // SAFETY: as for iterate_agents. An agent whose pools cannot be read is one without.
    unsafe { (hsa.iterate_pools)(agent, visit_pool, data) };
    SUCCESS
}

unsafe extern "C" fn visit_pool(handle: u64, data: *mut c_void) -> Status {
    // SAFETY: `data` is what visit_agent passed on; its own borrow has ended.
    let gathering = unsafe { &mut *data.cast::<Gathering<'_>>() };
    let info = gathering.hsa.pool_info;
    if Hsa::info(info, handle, POOL_SEGMENT) == Some(SEGMENT_GLOBAL)
        && let Some(flags) = Hsa::info(info, handle, POOL_GLOBAL_FLAGS)
    {
        let (agent, owner) = (gathering.agent, gathering.owner);
        gathering.agents.pools.push(Pool { handle, agent, owner, flags });
    }
    SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(handle: u64, agent: u64, owner: Owner, flags: u32) -> Pool {
        Pool { handle, agent, owner, flags }
    }

    fn box_of(targets: &[Option<&str>]) -> Agents {
        let gpus = targets
            .iter()
            .zip(1u64..)
            .map(|(name, handle)| GpuAgent { handle, target: name.and_then(GfxTarget::from_name) })
            .collect();
        let mut pools = vec![
            pool(100, 0, Owner::Cpu, pool_flags::FINE),
            pool(101, 0, Owner::Cpu, pool_flags::COARSE),
        ];
        for agent in 1..=targets.len() as u64 {
            pools.push(pool(agent * 1000, agent, Owner::Gpu, pool_flags::COARSE));
            pools.push(pool(agent * 1000 + 1, agent, Owner::Gpu, pool_flags::FINE));
        }
        Agents { gpus, pools }
    }

    #[test]
    fn the_coarse_sibling_belongs_to_the_same_agent() {
        let agents = box_of(&[Some("gfx1030"), Some("gfx906")]);
        for (handle, sibling) in [(1001, 1000), (2001, 2000), (1000, 1000), (100, 101)] {
            assert_eq!(agents.coarse_sibling(&agents.pool(handle).unwrap()), Some(sibling));
        }
    }

    #[test]
    fn memory_of_a_gpu_is_decided_by_that_gpu() {
        let agents = box_of(&[Some("gfx1030"), Some("gfx906"), None]);
        let of = |handle| agents.gpu_of(&agents.pool(handle).unwrap());
        assert_eq!(of(1001), GfxTarget::from_name("gfx1030"));
        assert_eq!(of(2001), GfxTarget::from_name("gfx906"));
        assert_eq!(of(3001), None);
    }

    #[test]
    fn system_memory_is_rdna12_only_where_every_gpu_is() {
        let of = |targets: &[Option<&str>]| {
            let agents = box_of(targets);
            agents.gpu_of(&agents.pool(100).unwrap()).is_some_and(GfxTarget::is_rdna12)
        };
        assert!(of(&[Some("gfx1030"), Some("gfx1010")]));
        assert!(!of(&[Some("gfx1030"), Some("gfx1100")]));
        assert!(!of(&[Some("gfx1030"), None]));
        assert!(!of(&[]));
    }
}
