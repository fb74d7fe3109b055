//! Which allocations are at risk: from the flags of the link and the kind of memory alone. It
//! says nothing about what hardware did.

use policy::{Caller, GfxTarget, Level, Request, host_malloc};

use super::model::{Gpu, Memory, Risk};

/// The kinds of memory, in the order of the matrix.
pub(crate) fn risks(gpu: &Gpu, level: Level) -> Vec<Risk> {
    Memory::ALL.map(|memory| risk(gpu, memory, level)).into()
}

fn risk(gpu: &Gpu, memory: Memory, level: Level) -> Risk {
    let (uncached, what) = match memory {
        Memory::Vram => (false, "in VRAM: no PCIe between"),
        Memory::NonCoherent => (false, "system memory, cached"),
        Memory::Managed if !gpu.svm => {
            (false, "no SVM API in this kernel: non-coherent host memory")
        }
        _ => (true, "system memory, uncached"),
    };
    let link = match gpu.pcie_atomics {
        _ if !uncached => "",
        _ if gpu.apu => "; an APU shares it with the CPU, no PCIe between",
        Some(true) => ", behind a link with PCIe atomics",
        Some(false) => ", behind a link without PCIe atomics",
        None => "; the flags of the link are not known",
    };
    let stock = uncached && !gpu.apu && gpu.pcie_atomics == Some(false);
    let interposed = stock && !rewritten(gpu, memory, level);
    let after = if stock && !interposed { "; rewritten to non-coherent" } else { "" };
    Risk { memory, stock, interposed, why: format!("{what}{link}{after}") }
}

/// What librdnafix.so decides for it.
fn rewritten(gpu: &Gpu, memory: Memory, level: Level) -> bool {
    let request = match memory {
        Memory::Vram => return false,
        Memory::Default => Request::HostMalloc { flags: host_malloc::DEFAULT },
        Memory::Mapped => Request::HostMalloc { flags: host_malloc::MAPPED },
        Memory::Coherent => Request::HostMalloc { flags: host_malloc::COHERENT },
        Memory::NonCoherent => Request::HostMalloc { flags: host_malloc::NON_COHERENT },
        Memory::Managed => Request::MallocManaged { below: policy::Below::NothingSeen },
    };
    let target = gpu.target.as_deref().and_then(GfxTarget::from_name);
    policy::decide(request, target, Caller::Program, level).action.rewrites()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(atomics: Option<bool>) -> Gpu {
        Gpu { target: Some("gfx1031".into()), pcie_atomics: atomics, svm: true, ..Gpu::default() }
    }

    fn at_risk(gpu: &Gpu, level: Level) -> (Vec<Memory>, Vec<Memory>) {
        let risks = risks(gpu, level);
        let of = |which: fn(&Risk) -> bool| {
            risks.iter().filter(|risk| which(risk)).map(|risk| risk.memory).collect()
        };
        (of(|risk| risk.stock), of(|risk| risk.interposed))
    }

    #[test]
    fn uncached_memory_behind_a_link_without_atomics_is_at_risk_until_it_is_rewritten() {
        use Memory::{Coherent, Default, Managed, Mapped};
        let all = vec![Default, Mapped, Coherent, Managed];
        let (stock, standard) = at_risk(&gpu(Some(false)), Level::Standard);
        assert_eq!((stock, standard), (all.clone(), vec![Mapped, Coherent]));
        assert_eq!(at_risk(&gpu(Some(false)), Level::Mapped).1, [Coherent]);
        assert_eq!(at_risk(&gpu(Some(false)), Level::Off).1, all);
    }

    #[test]
    fn a_link_with_atomics_an_unknown_one_and_an_apu_are_not_called_at_risk() {
        let apu = Gpu { apu: true, ..gpu(Some(false)) };
        for gpu in [gpu(Some(true)), gpu(None), apu] {
            assert_eq!(at_risk(&gpu, Level::Standard), (vec![], vec![]));
        }
        assert!(risks(&gpu(None), Level::Standard)[1].why.contains("not known"));
    }

    #[test]
    fn managed_memory_without_the_svm_api_is_cached_already() {
        let without = Gpu { svm: false, ..gpu(Some(false)) };
        assert!(!at_risk(&without, Level::Off).0.contains(&Memory::Managed));
    }

    #[test]
    fn a_gpu_that_the_library_leaves_alone_stays_at_risk() {
        let other = Gpu { target: Some("gfx1100".into()), ..gpu(Some(false)) };
        let (stock, interposed) = at_risk(&other, Level::Full);
        assert_eq!(stock, interposed);
    }
}
