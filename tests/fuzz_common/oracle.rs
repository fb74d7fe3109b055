//! What each call should have come to with the library, from nothing but the list of calls and
//! the policy: an account of which range has which grain, kept apart from the library's own.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use policy::{
    Caller, GfxTarget, HipVersion, Level, Owner, Request, decide, ext_malloc, pool_flags,
};

use super::calls::{Call, Printed};
use super::grain::{Coherence, Grain};
use super::memory::PAGE;

/// Values of hipMemoryAdvise (hip_runtime_api.h).
mod advice {
    pub const SET_ACCESSED_BY: u64 = 5;
    pub const UNSET_ACCESSED_BY: u64 = 6;
    pub const SET_COARSE_GRAIN: u64 = 100;
    pub const UNSET_COARSE_GRAIN: u64 = 101;
}

/// Values of hsa_amd_svm_attribute_t (hsa_ext_amd.h).
mod attribute {
    pub const GLOBAL_FLAG: u32 = 0;
    pub const AGENT_ACCESSIBLE: u32 = 0x200;
    pub const AGENT_ACCESSIBLE_IN_PLACE: u32 = 0x201;
}

/// CL_MEM_SVM_ATOMICS (CL/cl.h)
const SVM_ATOMICS: u32 = 1 << 11;

/// hipHostRegisterIoMemory (hip_runtime_api.h)
const HOST_REGISTER_IO_MEMORY: u32 = 4;

/// hipExtHostRegisterUncached (hip_runtime_api.h of 7.2); refused by 5.7 to 6.4
const HOST_REGISTER_UNCACHED: u32 = 0x8000_0000;

/// HSA_AMD_SVM_GLOBAL_FLAG_FINE_GRAINED
const FINE_GRAINED: u64 = 0;

/// A machine and the library's settings.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The GPUs, as the simulator is told.
    pub gpus: &'static str,
    pub level: Level,
    /// `RDNAFIX_MIN_BYTES`
    pub min_bytes: Option<usize>,
    /// `HSA_FORCE_FINE_GRAIN_PCIE`: GPUs have a fine-grained pool.
    pub fine_pool: bool,
    /// The kernel has the SVM API.
    pub svm: bool,
    /// `KFDSIM_DENY_NONCOHERENT`: the kernel refuses what the library makes of some calls.
    pub refusing: bool,
}

/// What should have come of a call.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The policy rewrites it.
    pub rewritten: bool,
    /// The pages of the range that it sets attributes of, afterwards.
    pub range: Option<Vec<Grain>>,
}

/// The account of one run.
pub struct Oracle<'a> {
    machine: &'a Printed,
    setting: Setting,
    targets: Vec<GfxTarget>,
    device: usize,
    /// By sequence and number of the call that gave the memory, then by page of it.
    ranges: HashMap<(u64, u64), BTreeMap<u64, Grain>>,
}

/// What a call that sets SVM attributes says.
#[derive(Default)]
struct Attributes {
    /// Whether the grain that it names is fine.
    fine: Option<bool>,
    /// Whether it gives access to any agent, and the GPUs among them.
    gives_access: bool,
    gpus: Vec<GfxTarget>,
}

impl<'a> Oracle<'a> {
    pub fn new(machine: &'a Printed, setting: Setting) -> Self {
        let targets = setting.gpus.split(',').filter_map(GfxTarget::from_name).collect();
        Self { machine, setting, targets, device: 0, ranges: HashMap::new() }
    }

    /// Takes note of the next call.
    pub fn next(&mut self, call: &Call) -> Expected {
        let flags = call.flags();
        match call.name.as_str() {
            "hipSetDevice" if call.result == 0 => {
                self.device = call.number("device").map_or(0, |device| device as usize);
                Expected::default()
            }
            "hipFree" if call.result == 0 => {
                self.ranges.remove(&(call.sequence, call.number("of").unwrap_or_default()));
                Expected::default()
            }
            "hipHostMalloc" => self.allocation(call, Request::HostMalloc { flags }, self.current()),
            "hipHostAlloc" if flags & SVM_ATOMICS != 0 && self.takes_flags_raw() => {
                self.fine_pool(call)
            }
            "hipHostAlloc" => {
                let request = Request::HostAlloc { flags, hip: self.machine.hip };
                self.allocation(call, request, self.current())
            }
            "hipMemAllocHost" => self.allocation(call, Request::MemAllocHost, self.current()),
            "hipExtMallocWithFlags" if flags == ext_malloc::FINEGRAINED => self.fine_pool(call),
            "hipExtMallocWithFlags"
                if [ext_malloc::UNCACHED, ext_malloc::CONTIGUOUS].contains(&flags) =>
            {
                self.gpu_pool(call, pool_flags::EXTENDED)
            }
            "hsa_amd_memory_pool_allocate" => {
                let (owner, gpu) = self.owner(call);
                let (pool, coarse_sibling) = self.pool(call);
                let request = Request::PoolAllocate { owner, pool, flags, coarse_sibling };
                self.allocation(call, request, gpu)
            }
            // Memory of a device, which 7.x locks with flags of its own.
            "hipHostRegister" if flags & HOST_REGISTER_IO_MEMORY != 0 && self.is_hip_7() => {
                let untouched = Expected::default();
                self.locked(call, pool_flags::FINE, &untouched);
                untouched
            }
            // HIP takes the fine-grained pool of the host.
            "hipHostRegister" => {
                let request = Request::LockToPool { pool: pool_flags::FINE, coarse_sibling: true };
                let expected = self.allocation(call, request, self.every());
                let uncached = flags == HOST_REGISTER_UNCACHED;
                let pool = if uncached { pool_flags::EXTENDED } else { pool_flags::FINE };
                self.locked(call, pool, &expected);
                expected
            }
            "hsa_amd_memory_lock_to_pool" if flags == 0 => {
                let (pool, coarse_sibling) = self.pool(call);
                let request = Request::LockToPool { pool, coarse_sibling };
                let expected = self.allocation(call, request, self.owner(call).1);
                self.locked(call, pool, &expected);
                expected
            }
            // Flags that are not known here, which 7.x takes.
            "hsa_amd_memory_lock_to_pool" => {
                let untouched = Expected::default();
                self.locked(call, self.pool(call).0, &untouched);
                untouched
            }
            "hipMallocManaged" | "hipMemAdvise" | "hsa_amd_svm_attributes_set"
                if self.setting.svm =>
            {
                self.range(call)
            }
            _ => Expected::default(),
        }
    }

    /// hipHostAlloc hands its flags down as those of the layer below, without a look at them.
    fn takes_flags_raw(&self) -> bool {
        self.machine.hip.is_some_and(|hip| hip < HipVersion { major: 6, minor: 3 })
    }

    fn is_hip_7(&self) -> bool {
        self.machine.hip >= Some(HipVersion { major: 7, minor: 0 })
    }

    /// HIP takes the fine-grained pool of the current device, where it has one.
    fn fine_pool(&self, call: &Call) -> Expected {
        self.gpu_pool(call, pool_flags::FINE)
    }

    /// HIP takes this pool of the current device; one that is not there makes the call fail, or
    /// HIP takes the coarse-grained one.
    fn gpu_pool(&self, call: &Call, pool: u32) -> Expected {
        let owner = format!("gpu{}", self.device);
        let request =
            Request::PoolAllocate { owner: Owner::Gpu, pool, flags: 0, coarse_sibling: true };
        if call.result != 0 || !self.machine.pools.contains(&(owner, pool)) {
            return Expected::default();
        }
        self.decided(call, request, self.current(), Caller::HipRuntime)
    }

    fn current(&self) -> Option<GfxTarget> {
        self.targets.get(self.device).copied()
    }

    /// For memory that every GPU can reach: RDNA1/2 only if all of them are.
    fn every(&self) -> Option<GfxTarget> {
        let other = self.targets.iter().find(|gpu| !gpu.is_rdna12());
        other.or(self.targets.first()).copied()
    }

    fn agent(&self, name: &str) -> Option<GfxTarget> {
        self.targets.get(name.strip_prefix("gpu")?.parse::<usize>().ok()?).copied()
    }

    fn owner(&self, call: &Call) -> (Owner, Option<GfxTarget>) {
        let name = call.text("owner").unwrap_or_default();
        if name.starts_with("gpu") {
            (Owner::Gpu, self.agent(name))
        } else {
            (Owner::Cpu, self.every())
        }
    }

    /// Global flags of the pool that a call names, and whether its agent has a coarse-grained one.
    fn pool(&self, call: &Call) -> (u32, bool) {
        let owner = call.text("owner").unwrap_or_default();
        let sibling = self
            .machine
            .pools
            .iter()
            .any(|(other, flags)| other == owner && *flags == pool_flags::COARSE);
        (call.number("pool").unwrap_or_default() as u32, sibling)
    }

    fn allocation(&self, call: &Call, request: Request, gpu: Option<GfxTarget>) -> Expected {
        self.decided(call, request, gpu, Caller::Program)
    }

    fn decided(
        &self,
        call: &Call,
        request: Request,
        gpu: Option<GfxTarget>,
        caller: Caller,
    ) -> Expected {
        // The real function answers these.
        let judged = call.size() != 0 && call.text("ptr").is_none();
        let rewritten = judged && self.rewrites(request, gpu, caller, call.size());
        Expected { rewritten, range: None }
    }

    fn rewrites(
        &self,
        request: Request,
        gpu: Option<GfxTarget>,
        caller: Caller,
        bytes: usize,
    ) -> bool {
        decide(request, gpu, caller, self.setting.level)
            .unless_below(bytes, self.setting.min_bytes.unwrap_or_default())
            .action
            .rewrites()
    }

    /// From 5.6 on, ROCr pins memory of the program by giving its range the grain of the pool.
    fn locked(&mut self, call: &Call, pool: u32, expected: &Expected) {
        let by_range = self.machine.hip >= Some(HipVersion { major: 5, minor: 6 });
        let Some(of) = call.number("of").filter(|_| call.result == 0) else { return };
        if !by_range || !self.setting.svm {
            return;
        }
        let range = self.ranges.entry((call.sequence, of)).or_default();
        for page in pages(call) {
            let grain = range.entry(page).or_insert(Grain::DEFAULT);
            grain.stock = Coherence::of_pool(pool);
            // Rewritten, it goes into the coarse-grained pool and never was extended.
            grain.interposed = if expected.rewritten { Coherence::Coarse } else { grain.stock };
        }
    }

    fn range(&mut self, call: &Call) -> Expected {
        let set = self.attributes(call);
        let managed = call.name == "hipMallocManaged";
        let bytes = call.size();
        let of = if managed { Some(u64::from(call.number)) } else { call.number("of") };
        let pages = pages(call);
        let known = of.and_then(|of| self.ranges.get(&(call.sequence, of)));
        let chosen_before =
            known.is_some_and(|range| range.range(pages.clone()).any(|(_, grain)| grain.chosen));
        let request = Request::SvmAttributes {
            gives_access: set.gives_access,
            names_grain: set.fine.is_some(),
            chosen_before,
        };
        let gpu = set.gpus.iter().find(|gpu| gpu.is_rdna12()).or(set.gpus.first()).copied();
        let rewritten = self.rewrites(request, gpu, Caller::Program, bytes);
        let Some(of) = of.filter(|_| call.result == 0 && bytes != 0) else {
            return Expected { rewritten, range: None };
        };
        let range = self.ranges.entry((call.sequence, of)).or_default();
        let range = pages
            .map(|page| {
                let grain = range.entry(page).or_insert(Grain::DEFAULT);
                if let Some(fine) = set.fine {
                    *grain = Grain {
                        chosen: true,
                        stock: grain.stock.named(fine),
                        interposed: grain.interposed.named(fine),
                    };
                } else if rewritten && !self.setting.refusing {
                    grain.interposed = grain.interposed.named(false);
                }
                *grain
            })
            .collect();
        Expected { rewritten, range: Some(range) }
    }

    fn attributes(&self, call: &Call) -> Attributes {
        match call.name.as_str() {
            "hipMallocManaged" => {
                Attributes { gives_access: true, gpus: self.targets.clone(), fine: None }
            }
            "hipMemAdvise" => {
                let device = call.number("device").map(|device| device as usize);
                let gpu = device.and_then(|device| self.targets.get(device));
                let advice = call.number("advice").unwrap_or_default();
                let gpu = match advice {
                    advice::SET_ACCESSED_BY => gpu,
                    // Access that may migrate, which the CPU has anyway: then the first GPU's.
                    advice::UNSET_ACCESSED_BY => gpu.or(self.targets.first()),
                    _ => None,
                };
                Attributes {
                    fine: match advice {
                        advice::SET_COARSE_GRAIN => Some(false),
                        advice::UNSET_COARSE_GRAIN => Some(true),
                        _ => None,
                    },
                    gives_access: gpu.is_some(),
                    gpus: gpu.copied().into_iter().collect(),
                }
            }
            _ => self.list(call.text("list").unwrap_or_default()),
        }
    }

    /// `KIND:VALUE,...`
    fn list(&self, text: &str) -> Attributes {
        let mut set = Attributes::default();
        for (kind, value) in text.split(',').filter_map(|pair| pair.split_once(':')) {
            match kind.parse().expect("the number of an attribute") {
                attribute::GLOBAL_FLAG => {
                    set.fine = Some(value.parse() == Ok(FINE_GRAINED));
                }
                attribute::AGENT_ACCESSIBLE | attribute::AGENT_ACCESSIBLE_IN_PLACE => {
                    set.gives_access = true;
                    set.gpus.extend(self.agent(value));
                }
                _ => {}
            }
        }
        set
    }
}

/// The pages of its memory that a call is about.
fn pages(call: &Call) -> Range<u64> {
    let start = call.number("offset").unwrap_or_default();
    start / PAGE..start.saturating_add(call.size() as u64).div_ceil(PAGE)
}
