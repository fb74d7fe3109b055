//! The decision over its whole domain: every gfx target from gfx900 to gfx1201, every call,
//! every flag combination that the headers of ROCm 5.2 to 7.2 define, every caller, every
//! level; and the rules that hold over all of it.

mod domain_common;

use domain_common::{CALLERS, TARGETS, requests};
use policy::{
    Action, Caller, GfxTarget, HipVersion, Level, Owner, Reason, Request, decide, ext_malloc,
    host_malloc, pool_alloc, pool_flags,
};

/// Calls `check` with every point of the domain.
fn everywhere(mut check: impl FnMut(Request, Option<GfxTarget>, Caller, Level)) {
    let gpus: Vec<_> =
        TARGETS.iter().map(|version| GfxTarget::from_kfd(*version)).chain([None]).collect();
    for request in requests() {
        for gpu in &gpus {
            for caller in CALLERS {
                for level in Level::ALL {
                    check(request, *gpu, caller, level);
                }
            }
        }
    }
}

#[test]
fn nothing_outside_rdna12_is_ever_changed() {
    let mut rewritten = 0;
    everywhere(|request, gpu, caller, level| {
        if decide(request, gpu, caller, level).action.rewrites() {
            rewritten += 1;
            let name = gpu.expect("an unknown GPU is never rewritten").to_string();
            assert!(name.starts_with("gfx101") || name.starts_with("gfx103"), "{name} {request:?}");
        }
    });
    assert!(rewritten > 0, "the domain has requests that are rewritten");
}

#[test]
fn level_off_changes_nothing() {
    everywhere(|request, gpu, caller, level| {
        let decision = decide(request, gpu, caller, level);
        assert!(level != Level::Off || decision.action == Action::Forward);
    });
}

#[test]
fn the_never_list_is_never_changed() {
    everywhere(|request, gpu, caller, level| {
        let never = match request {
            Request::ExtMalloc { flags } => flags == ext_malloc::SIGNAL,
            Request::PoolAllocate { pool, flags, owner, .. } => {
                pool & pool_flags::KERNARG != 0
                    || flags & pool_alloc::EXECUTABLE != 0
                    || owner == Owner::Cpu && caller == Caller::HipRuntime
            }
            Request::LockToPool { pool, .. } => pool & pool_flags::KERNARG != 0,
            _ => false,
        };
        assert!(
            !never || decide(request, gpu, caller, level).action == Action::Forward,
            "{request:?}"
        );
    });
}

#[test]
fn each_level_contains_the_one_below_it() {
    everywhere(|request, gpu, caller, level| {
        let above = Level::ALL.into_iter().find(|other| *other > level);
        let here = decide(request, gpu, caller, level).action;
        if let (true, Some(above)) = (here.rewrites(), above) {
            assert_eq!(here, decide(request, gpu, caller, above).action, "{request:?} {level:?}");
        }
    });
}

#[test]
fn denied_callers_are_left_alone_below_full() {
    everywhere(|request, gpu, caller, level| {
        let left = caller == Caller::Denied && level < Level::Full;
        assert!(!left || decide(request, gpu, caller, level).action == Action::Forward);
    });
}

#[test]
fn flags_that_no_header_defines_are_forwarded() {
    everywhere(|request, gpu, caller, level| {
        let unknown = match request {
            Request::HostMalloc { flags } => flags & !host_malloc::KNOWN != 0,
            Request::ExtMalloc { flags } => flags > ext_malloc::CONTIGUOUS,
            Request::PoolAllocate { pool, flags, .. } => {
                pool > 15 || flags & !pool_alloc::KNOWN != 0
            }
            _ => false,
        };
        assert!(!unknown || decide(request, gpu, caller, level).action == Action::Forward);
    });
}

#[test]
fn a_rewritten_request_asks_for_nothing_coherent() {
    const COHERENT: u32 = host_malloc::COHERENT | host_malloc::UNCACHED;
    everywhere(|request, gpu, caller, level| match decide(request, gpu, caller, level).action {
        Action::WithFlags(flags) if matches!(request, Request::HostMalloc { .. }) => {
            assert_eq!(flags & (COHERENT | host_malloc::NON_COHERENT), host_malloc::NON_COHERENT);
        }
        Action::CallHostMalloc(flags) => {
            assert_eq!(flags & (COHERENT | host_malloc::NON_COHERENT), host_malloc::NON_COHERENT);
        }
        Action::CoarsePool { flags } => {
            assert_eq!(flags & (pool_alloc::PCIE | pool_alloc::UNCACHED), 0);
        }
        _ => {}
    });
}

#[test]
fn a_rewritten_request_passes_a_second_layer_unchanged() {
    everywhere(|request, gpu, caller, level| {
        let second = match (request, decide(request, gpu, caller, level).action) {
            (Request::HostMalloc { .. }, Action::WithFlags(flags))
            | (_, Action::CallHostMalloc(flags)) => Request::HostMalloc { flags },
            (_, Action::CoarsePool { flags }) => Request::PoolAllocate {
                owner: Owner::Gpu,
                pool: pool_flags::COARSE,
                flags,
                coarse_sibling: true,
            },
            (_, Action::AppendCoarse) => Request::SvmAttributes {
                gives_access: true,
                names_grain: true,
                chosen_before: false,
            },
            _ => return,
        };
        assert_eq!(decide(second, gpu, caller, level).action, Action::Forward, "{request:?}");
    });
}

#[test]
fn an_explicit_svm_grain_stands_at_every_level() {
    everywhere(|request, gpu, caller, level| {
        if let Request::SvmAttributes { names_grain, chosen_before, .. } = request
            && (names_grain || chosen_before)
        {
            assert_eq!(decide(request, gpu, caller, level).action, Action::Forward);
        }
    });
}

#[test]
fn small_requests_are_left_alone_if_the_user_says_so() {
    everywhere(|request, gpu, caller, level| {
        let decision = decide(request, gpu, caller, level);
        assert_eq!(decision.unless_below(4096, 4096), decision);
        assert_eq!(decision.unless_below(4095, 4096).action, Action::Forward);
    });
}

#[test]
fn every_reason_occurs_and_has_its_own_code() {
    let mut seen = std::collections::BTreeSet::new();
    everywhere(|request, gpu, caller, level| {
        let decision = decide(request, gpu, caller, level);
        seen.extend([decision, decision.unless_below(1, 2)].map(|decision| decision.reason.code()));
    });
    let all: std::collections::BTreeSet<_> =
        Reason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(seen, all);
    assert_eq!(all.len(), Reason::ALL.len());
}

/// The table of the design, row by row, on gfx1030.
#[test]
fn the_levels_add_what_the_design_says() {
    use {host_malloc as h, pool_alloc as a, pool_flags as p};
    let gpu_pool = |pool, flags| Request::PoolAllocate {
        owner: Owner::Gpu,
        pool,
        flags,
        coarse_sibling: true,
    };
    let cpu_pool =
        |pool| Request::PoolAllocate { owner: Owner::Cpu, pool, flags: 0, coarse_sibling: true };
    let rocm64 = Some(HipVersion { major: 6, minor: 4 });
    let svm =
        Request::SvmAttributes { gives_access: true, names_grain: false, chosen_before: false };
    let coarse = Action::CoarsePool { flags: 0 };
    let rows = [
        (svm, Level::Standard, Action::AppendCoarse),
        (Request::HostMalloc { flags: 0 }, Level::Standard, Action::WithFlags(h::NON_COHERENT)),
        (
            Request::HostAlloc { flags: 0, hip: rocm64 },
            Level::Standard,
            Action::CallHostMalloc(h::NON_COHERENT),
        ),
        (Request::MemAllocHost, Level::Standard, Action::CallHostMalloc(h::NON_COHERENT)),
        (gpu_pool(p::FINE, 0), Level::Standard, coarse),
        (gpu_pool(p::COARSE, a::PCIE), Level::Standard, coarse),
        (
            Request::HostMalloc { flags: h::MAPPED },
            Level::Mapped,
            Action::WithFlags(h::MAPPED | h::NON_COHERENT),
        ),
        (
            Request::HostMalloc { flags: h::COHERENT },
            Level::Full,
            Action::WithFlags(h::NON_COHERENT),
        ),
        (
            Request::HostMalloc { flags: h::UNCACHED },
            Level::Full,
            Action::WithFlags(h::NON_COHERENT),
        ),
        // 7.2 takes hipHostAllocUncached, so level full has to cover it there too.
        (
            Request::HostAlloc { flags: h::UNCACHED, hip: Some(HipVersion { major: 7, minor: 2 }) },
            Level::Full,
            Action::CallHostMalloc(h::NON_COHERENT),
        ),
        (
            gpu_pool(p::EXTENDED, a::CONTIGUOUS),
            Level::Full,
            Action::CoarsePool { flags: a::CONTIGUOUS },
        ),
        (cpu_pool(p::FINE), Level::Full, coarse),
        (Request::LockToPool { pool: p::FINE, coarse_sibling: true }, Level::Full, coarse),
    ];
    for (request, from, action) in rows {
        for level in Level::ALL {
            let expected = if level >= from { action } else { Action::Forward };
            let got = decide(request, GfxTarget::from_name("gfx1030"), Caller::Program, level);
            assert_eq!(got.action, expected, "{request:?} at {}", level.name());
        }
    }
}

/// 7.2.4 refuses it; a rewritten call would succeed.
#[test]
fn a_pair_of_flags_that_a_release_refuses_is_left_to_it() {
    let flags = host_malloc::COHERENT | host_malloc::UNCACHED | host_malloc::PORTABLE;
    let gpu = GfxTarget::from_name("gfx1030");
    let got = decide(Request::HostMalloc { flags }, gpu, Caller::Program, Level::Full);
    assert_eq!(got.action, Action::Forward);
}
