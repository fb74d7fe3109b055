//! The decision itself. One function per family of calls; [`decide()`] holds the rules that
//! apply to all of them. Any doubt ends in [`Action::Forward`].

// Inlined into the hooks, where the kind of request is known, little of this is left.
#![expect(clippy::inline_always, reason = "a forwarded call has to cost next to nothing")]

use crate::request::{Gpu, ext_malloc, host_malloc, pool_alloc, pool_flags};
use crate::{Action, Below, Caller, Decision, HipVersion, Level, Owner, Reason, Request};

const fn forward(reason: Reason) -> Decision {
    Decision { action: Action::Forward, reason }
}

const fn rewrite(action: Action, reason: Reason) -> Decision {
    Decision { action, reason }
}

/// Decides about one request for memory that `gpu` will use.
#[inline(always)]
pub fn decide(request: Request, gpu: Gpu, caller: Caller, level: Level) -> Decision {
    if level == Level::Off {
        return forward(Reason::LevelOff);
    }
    if gpu.is_some_and(|target| !target.is_rdna12()) {
        return forward(Reason::NotRdna12);
    }
    if caller == Caller::Denied && level < Level::Full {
        return forward(Reason::DeniedCaller);
    }
    let decision = judge(request, caller, level);
    if gpu.is_none() && decision.action.rewrites() {
        return forward(Reason::UnknownGpu);
    }
    decision
}

/// What the request deserves on an RDNA1/2 GPU.
#[inline(always)]
fn judge(request: Request, caller: Caller, level: Level) -> Decision {
    match request {
        Request::HostMalloc { flags } => {
            host_malloc_flags(flags, level).map_action(Action::WithFlags)
        }
        Request::HostAlloc { flags, hip } => host_alloc(flags, hip, level),
        Request::MemAllocHost => {
            host_malloc_flags(host_malloc::DEFAULT, level).map_action(Action::CallHostMalloc)
        }
        Request::MallocManaged { below } => malloc_managed(below),
        Request::ExtMalloc { flags } => ext_malloc_flags(flags, level),
        Request::PoolAllocate { owner, pool, flags, coarse_sibling } => {
            pool_allocate(owner, pool, flags, coarse_sibling, caller, level)
        }
        Request::LockToPool { pool, coarse_sibling } => lock_to_pool(pool, coarse_sibling, level),
        Request::SvmAttributes { gives_access, names_grain, chosen_before } => {
            svm_attributes(gives_access, names_grain, chosen_before)
        }
    }
}

/// New `hipHostMalloc` flags, or why they stay.
struct HostFlags(Result<(u32, Reason), Reason>);

impl HostFlags {
    fn map_action(self, action: impl FnOnce(u32) -> Action) -> Decision {
        match self.0 {
            Ok((flags, reason)) => rewrite(action(flags), reason),
            Err(reason) => forward(reason),
        }
    }
}

/// hipHostMalloc takes the fine-grained pool for flags 0 and for any of Coherent, Mapped,
/// NumaUser, Uncached; NonCoherent wins over Mapped and NumaUser and is refused beside
/// Coherent and Uncached (clr 6.4.3 hip_memory.cpp:377-424).
#[inline(always)]
fn host_malloc_flags(flags: u32, level: Level) -> HostFlags {
    use host_malloc as f;
    const EXPLICIT: u32 = f::COHERENT | f::UNCACHED | f::NUMA_USER;
    HostFlags(if flags & !f::KNOWN != 0 {
        Err(Reason::UnknownFlags)
    } else if flags & f::NON_COHERENT != 0 {
        if flags & (f::COHERENT | f::UNCACHED) != 0 {
            Err(Reason::UnknownFlags)
        } else {
            Err(Reason::AlreadyNonCoherent)
        }
    } else if flags == f::DEFAULT {
        Ok((f::NON_COHERENT, Reason::NobodyAsked))
    } else if flags & (f::COHERENT | f::UNCACHED) == f::COHERENT | f::UNCACHED {
        // 7.2.4 refuses the pair; what is refused stays refused.
        Err(Reason::UnknownFlags)
    } else if flags & EXPLICIT != 0 {
        if level >= Level::Full {
            let kept = flags & !(f::COHERENT | f::UNCACHED);
            Ok((kept | f::NON_COHERENT, Reason::ExplicitOverridden))
        } else {
            Err(Reason::ExplicitCoherent)
        }
    } else if flags & f::MAPPED != 0 {
        if level >= Level::Mapped {
            Ok((flags | f::NON_COHERENT, Reason::MappedDefault))
        } else {
            Err(Reason::Mapped)
        }
    } else {
        Err(Reason::AlreadyNonCoherent)
    })
}

/// From 6.3 on hipHostAlloc is hipHostMalloc that refuses the NonCoherent bit, so the call is
/// made as hipHostMalloc; both are freed by hipHostFree.
fn host_alloc(flags: u32, hip: Option<HipVersion>, level: Level) -> Decision {
    use host_malloc as f;
    let Some(version) = hip else { return forward(Reason::UnknownFlags) };
    if version < (HipVersion { major: 6, minor: 3 }) {
        return forward(Reason::OldHostAlloc);
    }
    // 6.4.3 refuses hipHostAllocUncached, 7.2.4 takes it; what is refused stays refused.
    let newer = if version < (HipVersion { major: 7, minor: 2 }) { 0 } else { f::UNCACHED };
    if flags & !(f::PORTABLE | f::MAPPED | f::WRITE_COMBINED | newer) != 0 {
        return forward(Reason::UnknownFlags);
    }
    host_malloc_flags(flags, level).map_action(Action::CallHostMalloc)
}

fn malloc_managed(below: Below) -> Decision {
    match below {
        Below::SvmDecided => forward(Reason::DecidedBelow),
        Below::PoolAllocated => forward(Reason::AlreadyNonCoherent),
        Below::NothingSeen => rewrite(Action::AdviseCoarse, Reason::NobodyAsked),
    }
}

/// An explicit request is overridden, at level `full`, where HIP takes a pool for it: there
/// what this release refuses (5.2.3 has no such pool) stays refused.
fn ext_malloc_flags(flags: u32, level: Level) -> Decision {
    use ext_malloc as f;
    forward(match flags {
        f::DEFAULT => Reason::AlreadyNonCoherent,
        f::SIGNAL => Reason::NeverTouched,
        f::FINEGRAINED | f::UNCACHED | f::CONTIGUOUS if level < Level::Full => {
            Reason::ExplicitCoherent
        }
        f::FINEGRAINED | f::UNCACHED | f::CONTIGUOUS => Reason::DecidedBelow,
        _ => Reason::UnknownFlags,
    })
}

fn pool_allocate(
    owner: Owner,
    pool: u32,
    flags: u32,
    coarse_sibling: bool,
    caller: Caller,
    level: Level,
) -> Decision {
    use {pool_alloc as a, pool_flags as p};
    const KNOWN_POOL: u32 = p::KERNARG | p::FINE | p::COARSE | p::EXTENDED;
    if pool & p::KERNARG != 0 || flags & a::EXECUTABLE != 0 {
        return forward(Reason::NeverTouched);
    }
    if pool & !KNOWN_POOL != 0 || flags & !a::KNOWN != 0 {
        return forward(Reason::UnknownFlags);
    }
    let fine_pool = pool & (p::FINE | p::EXTENDED) != 0;
    if !fine_pool && flags & (a::PCIE | a::UNCACHED) == 0 {
        return forward(Reason::AlreadyNonCoherent);
    }
    // hostcall, printf and multi-grid sync buffers come from here, and what the program
    // asked of HIP was decided at the HIP call.
    if owner == Owner::Cpu && caller == Caller::HipRuntime {
        return forward(Reason::RuntimeInternal);
    }
    let explicit = owner == Owner::Cpu
        || caller == Caller::HipRuntime
        || pool & p::EXTENDED != 0
        || flags & a::UNCACHED != 0;
    if explicit && level < Level::Full {
        return forward(Reason::ExplicitCoherent);
    }
    if !coarse_sibling {
        return forward(Reason::NoCoarsePool);
    }
    let reason = if explicit { Reason::ExplicitOverridden } else { Reason::NobodyAsked };
    rewrite(Action::CoarsePool { flags: flags & !(a::PCIE | a::UNCACHED) }, reason)
}

fn lock_to_pool(pool: u32, coarse_sibling: bool, level: Level) -> Decision {
    use pool_flags as p;
    if pool & p::KERNARG != 0 {
        forward(Reason::NeverTouched)
    } else if pool & (p::FINE | p::EXTENDED) == 0 {
        forward(Reason::AlreadyNonCoherent)
    } else if level < Level::Full {
        forward(Reason::ExplicitCoherent)
    } else if coarse_sibling {
        rewrite(Action::CoarsePool { flags: 0 }, Reason::ExplicitOverridden)
    } else {
        forward(Reason::NoCoarsePool)
    }
}

/// What the program chose stands at every level: an SVM grain is set on a range that exists,
/// so it is never a default.
fn svm_attributes(gives_access: bool, names_grain: bool, chosen_before: bool) -> Decision {
    if names_grain || chosen_before {
        forward(Reason::GrainChosen)
    } else if gives_access {
        rewrite(Action::AppendCoarse, Reason::NobodyAsked)
    } else {
        forward(Reason::NoAccess)
    }
}
