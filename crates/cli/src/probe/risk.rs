//! Which allocations are at risk: from the flags of the link and the kind of memory alone. It
//! says nothing about what hardware did.

use policy::{Caller, GfxTarget, Level, Request, host_malloc};

use super::model::{Gpu, Memory, Risk};

/// The kinds of memory, in the order of the matrix.
pub(crate) fn risks(gpu: &Gpu, level: Level) -> Vec<Risk> {
    Memory::ALL.map(|memory| risk(gpu, memory, level)).into()
}

fn risk(gpu: &Gpu, memory: Memory, level: Level) -> Risk {
    let (uncached, what) = match (memory, gpu.svm) {
        (Memory::Vram, _) => (Some(false), "in VRAM: no PCIe between"),
        (Memory::NonCoherent, _) => (Some(false), "system memory, cached"),
        (Memory::Managed, Some(false)) => {
            (Some(false), "no SVM API in this kernel: non-coherent host memory")
        }
        (Memory::Managed, None) => {
            (None, "system memory, uncached where the kernel has the SVM API, which is not known")
        }
        _ => (Some(true), "system memory, uncached"),
    };
    let (lost, link) = match gpu.pcie_atomics {
        _ if gpu.apu => (Some(false), "; an APU shares it with the CPU, no PCIe between"),
        Some(true) => {
            (None, ", behind a link with PCIe atomics, which has add, exchange and cas only")
        }
        Some(false) => (Some(true), ", behind a link without PCIe atomics"),
        None => (None, "; the flags of the link are not known"),
    };
    let link = if uncached == Some(false) { "" } else { link };
    let stock = both(uncached, lost);
    let rewritten = rewritten(gpu, memory, level);
    let interposed = both(stock, rewritten.map(|rewritten| !rewritten));
    let after = match rewritten {
        _ if stock == Some(false) => "",
        Some(true) => "; rewritten to non-coherent",
        Some(false) => "",
        None => "; rewritten on RDNA1 and RDNA2, and the GPU's target is not known",
    };
    Risk { memory, stock, interposed, why: format!("{what}{link}{after}") }
}

/// Whether both are so, where one of them may not be known.
fn both(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// What librdnafix.so decides for it; `None` where that depends on the GPU, which is not known.
fn rewritten(gpu: &Gpu, memory: Memory, level: Level) -> Option<bool> {
    let request = match memory {
        Memory::Vram => return Some(false),
        Memory::Default => Request::HostMalloc { flags: host_malloc::DEFAULT },
        Memory::Mapped => Request::HostMalloc { flags: host_malloc::MAPPED },
        Memory::Coherent => Request::HostMalloc { flags: host_malloc::COHERENT },
        Memory::NonCoherent => Request::HostMalloc { flags: host_malloc::NON_COHERENT },
        Memory::Managed => Request::MallocManaged { below: policy::Below::NothingSeen },
    };
    let on = |target: &str| {
        let target = GfxTarget::from_name(target);
        policy::decide(request, target, Caller::Program, level).action.rewrites()
    };
    match &gpu.target {
        Some(target) => Some(on(target)),
        None if on("gfx1030") => None,
        None => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(atomics: Option<bool>) -> Gpu {
        Gpu {
            target: Some("gfx1031".into()),
            pcie_atomics: atomics,
            svm: Some(true),
            ..Gpu::default()
        }
    }

    /// The kinds of memory that are, stock and interposed, what is asked for.
    fn that_are(what: Option<bool>, gpu: &Gpu, level: Level) -> (Vec<Memory>, Vec<Memory>) {
        let risks = risks(gpu, level);
        let of = |which: fn(&Risk) -> Option<bool>| {
            risks.iter().filter(|risk| which(risk) == what).map(|risk| risk.memory).collect()
        };
        (of(|risk| risk.stock), of(|risk| risk.interposed))
    }

    fn at_risk(gpu: &Gpu, level: Level) -> (Vec<Memory>, Vec<Memory>) {
        that_are(Some(true), gpu, level)
    }

    use Memory::{Coherent, Default, Managed, Mapped};

    #[test]
    fn uncached_memory_behind_a_link_without_atomics_is_at_risk_until_it_is_rewritten() {
        let all = vec![Default, Mapped, Coherent, Managed];
        let (stock, standard) = at_risk(&gpu(Some(false)), Level::Standard);
        assert_eq!((stock, standard), (all.clone(), vec![Mapped, Coherent]));
        assert_eq!(at_risk(&gpu(Some(false)), Level::Mapped).1, [Coherent]);
        assert_eq!(at_risk(&gpu(Some(false)), Level::Off).1, all);
    }

    #[test]
    fn what_a_link_with_atomics_or_an_unknown_one_comes_to_is_unknown_and_not_no() {
        for gpu in [gpu(Some(true)), gpu(None)] {
            assert_eq!(at_risk(&gpu, Level::Standard), (vec![], vec![]));
            let unknown = that_are(None, &gpu, Level::Standard);
            let uncached = vec![Default, Mapped, Coherent, Managed];
            assert_eq!(unknown, (uncached, vec![Mapped, Coherent]));
        }
        assert!(risks(&gpu(None), Level::Standard)[1].why.contains("not known"));
        assert!(risks(&gpu(Some(true)), Level::Standard)[1].why.contains("add, exchange and cas"));
    }

    #[test]
    fn an_apu_is_not_at_risk() {
        let apu = Gpu { apu: true, ..gpu(Some(false)) };
        let (stock, interposed) = that_are(Some(false), &apu, Level::Standard);
        assert_eq!((stock.len(), interposed.len()), (6, 6));
    }

    #[test]
    fn managed_memory_without_the_svm_api_is_cached_and_with_an_unknown_kernel_unknown() {
        let with = |svm| Gpu { svm, ..gpu(Some(false)) };
        let no = |svm| that_are(Some(false), &with(svm), Level::Off).0.contains(&Managed);
        assert_eq!([no(Some(false)), no(None), no(Some(true))], [true, false, false]);
        assert_eq!(that_are(None, &with(None), Level::Off).0, [Managed]);
    }

    #[test]
    fn what_is_rewritten_on_a_gpu_without_a_known_target_is_unknown() {
        let without = Gpu { target: None, ..gpu(Some(false)) };
        assert_eq!(that_are(None, &without, Level::Standard).1, [Default, Managed]);
        assert_eq!(at_risk(&without, Level::Standard).1, [Mapped, Coherent]);
    }

    #[test]
    fn a_gpu_that_the_library_leaves_alone_stays_at_risk() {
        let other = Gpu { target: Some("gfx1100".into()), ..gpu(Some(false)) };
        let (stock, interposed) = at_risk(&other, Level::Full);
        assert_eq!(stock, interposed);
    }
}
