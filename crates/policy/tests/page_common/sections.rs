//! What each call is asked with, in words, and what an action is called in the tables.

use policy::{
    Action, Below, Caller, HipVersion, Owner, Request, ext_malloc, host_malloc, pool_alloc,
    pool_flags,
};

use super::rows::Variable;
use crate::domain_common::VERSIONS;

/// The table of one call.
pub struct Section {
    /// The call.
    pub title: &'static str,
    /// A sentence about what is asked.
    pub about: &'static str,
    /// What requests differ in.
    pub variables: fn() -> Vec<Variable>,
    /// The values of a request of this call, `None` for another call.
    pub values: fn(Request, Caller) -> Option<Vec<usize>>,
}

const HOST: [(u32, &str); 8] = [
    (host_malloc::NON_COHERENT, "NonCoherent"),
    (host_malloc::COHERENT, "Coherent"),
    (host_malloc::UNCACHED, "Uncached"),
    (host_malloc::NUMA_USER, "NumaUser"),
    (host_malloc::MAPPED, "Mapped"),
    (host_malloc::PORTABLE, "Portable"),
    (host_malloc::WRITE_COMBINED, "WriteCombined"),
    (0x0800_0000, "an unknown flag"),
];
const POOL: [(u32, &str); 5] = [
    (pool_flags::KERNARG, "kernarg pool"),
    (pool_flags::FINE, "fine-grained pool"),
    (pool_flags::COARSE, "coarse-grained pool"),
    (pool_flags::EXTENDED, "extended-scope pool"),
    (0x10, "pool with an unknown flag"),
];
const ALLOC: [(u32, &str); 5] = [
    (pool_alloc::PCIE, "flag PCIe"),
    (pool_alloc::CONTIGUOUS, "flag Contiguous"),
    (pool_alloc::EXECUTABLE, "flag Executable"),
    (pool_alloc::UNCACHED, "flag Uncached"),
    (0x10, "unknown flag"),
];

fn yes_no(name: &str) -> Variable {
    Variable { values: vec![format!("without {name}"), name.into()] }
}

fn flags(names: &[(u32, &str)]) -> Vec<Variable> {
    names.iter().map(|(_, name)| yes_no(name)).collect()
}

fn bits(names: &[(u32, &str)], flags: u32) -> Vec<usize> {
    names.iter().map(|(bit, _)| usize::from(flags & bit != 0)).collect()
}

fn one_of(values: &[&str]) -> Variable {
    Variable { values: values.iter().map(|value| (*value).into()).collect() }
}

/// The name of what is done, `None` for a call that is forwarded as it came. What the page says
/// once about flags is checked here for every request.
pub fn action_text(request: Request, action: Action) -> Option<&'static str> {
    let host = |flags| {
        flags & !(host_malloc::COHERENT | host_malloc::UNCACHED) | host_malloc::NON_COHERENT
    };
    Some(match (request, action) {
        (_, Action::Forward) => return None,
        (Request::HostMalloc { flags: old }, Action::WithFlags(new)) => {
            assert_eq!(new, host(old));
            "NonCoherent"
        }
        (Request::HostAlloc { flags: old, .. }, Action::CallHostMalloc(new)) => {
            assert_eq!(new, host(old));
            "hipHostMalloc, NonCoherent"
        }
        (Request::MemAllocHost, Action::CallHostMalloc(new)) => {
            assert_eq!(new, host_malloc::NON_COHERENT);
            "hipHostMalloc, NonCoherent"
        }
        (Request::PoolAllocate { flags: old, .. }, Action::CoarsePool { flags: new }) => {
            assert_eq!(new, old & !(pool_alloc::PCIE | pool_alloc::UNCACHED));
            "coarse-grained pool"
        }
        (Request::LockToPool { .. }, Action::CoarsePool { flags: 0 }) => "coarse-grained pool",
        (Request::SvmAttributes { .. }, Action::AppendCoarse) => "COARSE_GRAINED appended",
        (Request::MallocManaged { .. }, Action::AdviseCoarse) => "then SetCoarseGrain",
        other => panic!("the page has no words for {other:?}"),
    })
}

/// All calls, each once.
pub const SECTIONS: [Section; 8] = [
    Section {
        title: "hipHostMalloc",
        about: "Flags `hipHostMalloc...`; the default is none of them.",
        variables: || flags(&HOST),
        values: |request, caller| match request {
            Request::HostMalloc { flags } if caller == Caller::Program => Some(bits(&HOST, flags)),
            _ => None,
        },
    },
    Section {
        title: "hipHostAlloc",
        about: "It depends on the version of HIP.",
        variables: || {
            let mut versions = vec!["HIP of unknown version".into()];
            versions.extend(VERSIONS.map(|(major, minor)| format!("HIP {major}.{minor}")));
            let mut all = vec![Variable { values: versions }];
            all.extend(flags(&HOST));
            all
        },
        values: |request, caller| match request {
            Request::HostAlloc { flags, hip } if caller == Caller::Program => {
                let version = hip.map_or(0, |HipVersion { major, minor }| {
                    1 + VERSIONS.iter().position(|it| *it == (major, minor)).expect("a version")
                });
                let mut values = vec![version];
                values.extend(bits(&HOST, flags));
                Some(values)
            }
            _ => None,
        },
    },
    Section {
        title: "hipMemAllocHost",
        about: "It has no flags.",
        variables: Vec::new,
        values: |request, caller| {
            (request == Request::MemAllocHost && caller == Caller::Program).then(Vec::new)
        },
    },
    Section {
        title: "hipMallocManaged",
        about: "Decided after it has succeeded, by what the HSA hooks below saw of it. Its flags mean nothing.",
        variables: || {
            vec![one_of(&[
                "an SVM range was decided below",
                "pinned memory, no SVM",
                "nothing seen below",
            ])]
        },
        values: |request, caller| match request {
            Request::MallocManaged { below } if caller == Caller::Program => {
                Some(vec![match below {
                    Below::SvmDecided => 0,
                    Below::PoolAllocated => 1,
                    Below::NothingSeen => 2,
                }])
            }
            _ => None,
        },
    },
    Section {
        title: "hipExtMallocWithFlags",
        about: "The flag is one number.",
        variables: || {
            let mut names = vec![String::new(); 10];
            for (flag, name) in names.iter_mut().enumerate() {
                *name = match u32::try_from(flag).expect("a small number") {
                    ext_malloc::DEFAULT => "Default".into(),
                    ext_malloc::FINEGRAINED => "Finegrained".into(),
                    ext_malloc::SIGNAL => "hipMallocSignalMemory".into(),
                    ext_malloc::UNCACHED => "Uncached".into(),
                    ext_malloc::CONTIGUOUS => "Contiguous".into(),
                    other => other.to_string(),
                };
            }
            vec![Variable { values: names }]
        },
        values: |request, caller| match request {
            Request::ExtMalloc { flags } if caller == Caller::Program => {
                Some(vec![usize::try_from(flags).expect("a small number")])
            }
            _ => None,
        },
    },
    Section {
        title: "hsa_amd_memory_pool_allocate, hsa_amd_vmem_handle_create",
        about: "The pool, the flags of the call, who calls, and whether the agent has a coarse-grained pool.",
        variables: || {
            let mut all = vec![
                one_of(&["CPU", "GPU"]),
                one_of(&["called by the program", "called by libamdhip64"]),
                one_of(&[
                    "the agent has no coarse-grained pool",
                    "the agent has a coarse-grained pool",
                ]),
            ];
            all.extend(flags(&POOL));
            all.extend(flags(&ALLOC));
            all
        },
        values: |request, caller| match request {
            Request::PoolAllocate { owner, pool, flags, coarse_sibling } => {
                let mut values = vec![
                    usize::from(owner == Owner::Gpu),
                    usize::from(caller == Caller::HipRuntime),
                    usize::from(coarse_sibling),
                ];
                values.extend(bits(&POOL, pool));
                values.extend(bits(&ALLOC, flags));
                Some(values)
            }
            _ => None,
        },
    },
    Section {
        title: "hsa_amd_memory_lock_to_pool",
        about: "What `hipHostRegister` comes to, too.",
        variables: || {
            let mut all = vec![one_of(&[
                "the agent has no coarse-grained pool",
                "the agent has a coarse-grained pool",
            ])];
            all.extend(flags(&POOL));
            all
        },
        values: |request, caller| match request {
            Request::LockToPool { pool, coarse_sibling } if caller == Caller::Program => {
                let mut values = vec![usize::from(coarse_sibling)];
                values.extend(bits(&POOL, pool));
                Some(values)
            }
            _ => None,
        },
    },
    Section {
        title: "hsa_amd_svm_attributes_set",
        about: "Managed memory and `__managed__` variables come here, and `hipMemAdvise`.",
        variables: || {
            vec![
                one_of(&["gives no GPU access", "gives a GPU access"]),
                one_of(&["names no grain", "names a grain"]),
                one_of(&["none chosen before", "a grain chosen before"]),
            ]
        },
        values: |request, caller| match request {
            Request::SvmAttributes { gives_access, names_grain, chosen_before }
                if caller == Caller::Program =>
            {
                Some([gives_access, names_grain, chosen_before].map(usize::from).into())
            }
            _ => None,
        },
    },
];
