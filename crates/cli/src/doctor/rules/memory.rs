//! What the hardware and the kernel mean for memory.

use super::{Found, label, target, visible};
use crate::doctor::facts::{Machine, Read};

/// RDNA1/2, and nothing that makes its memory non-coherent yet.
pub(super) fn coherent_memory(machine: &Machine) -> Vec<Found> {
    if machine.preload.iter().any(|preload| preload.file_name() == "librdnafix.so") {
        return Vec::new();
    }
    let gpus: Vec<_> = visible(machine).into_iter().filter(|gpu| gpu.is_rdna12()).collect();
    if gpus.is_empty() {
        return Vec::new();
    }
    let labels: Vec<String> = gpus.iter().map(|gpu| label(gpu)).collect();
    let mut what = labels.join(", ");
    if gpus.iter().all(|gpu| gpu.is_apu()) {
        what.push_str(": it shares memory with the CPU, so only the speed is concerned");
    }
    vec![Found::new(what, gpus.iter().map(|gpu| target(gpu)).collect())]
}

/// The kernel says that PCIe atomics do not work.
pub(super) fn pcie_atomics(machine: &Machine) -> Vec<Found> {
    visible(machine)
        .into_iter()
        .filter(|gpu| !gpu.is_apu())
        .filter_map(|gpu| {
            let link = gpu.link.as_ref().filter(|link| !link.atomics)?;
            let text = format!("flags {} (NO_ATOMICS_32_BIT or NO_ATOMICS_64_BIT)", link.flags);
            let evidence = vec![Read::new(text, link.from.as_str())];
            Some(Found::new(label(gpu), evidence))
        })
        .collect()
}

/// No SVM API in the kernel.
pub(super) fn no_svm(machine: &Machine) -> Vec<Found> {
    visible(machine)
        .into_iter()
        .filter(|gpu| gpu.is_rdna12() && !gpu.svm)
        .take(1)
        .map(|gpu| {
            let evidence = Read::new("capability without SVMAPI_SUPPORTED", gpu.from.as_str());
            Found::new(label(gpu), vec![evidence])
        })
        .collect()
}

/// Several GPUs behind a translating IOMMU.
pub(super) fn iommu_translates(machine: &Machine) -> Vec<Found> {
    let translated: Vec<_> = visible(machine)
        .into_iter()
        .filter(|gpu| !gpu.is_apu())
        .filter(|gpu| gpu.iommu.as_ref().is_some_and(|kind| kind.starts_with("DMA")))
        .collect();
    if translated.len() < 2 {
        return Vec::new();
    }
    let mut evidence: Vec<Read> = translated
        .iter()
        .map(|gpu| {
            let from = format!("/sys/bus/pci/devices/{}/iommu_group/type", gpu.pci);
            Read::new(gpu.iommu.clone().unwrap_or_default(), from)
        })
        .collect();
    evidence
        .extend(machine.kernel.boot.iter().filter(|read| read.value.contains("iommu")).cloned());
    vec![Found::new(format!("{} GPUs", translated.len()), evidence)]
}

#[cfg(test)]
mod tests {
    use super::super::test_machine::{board, count, machine};
    use crate::doctor::facts::{Gpu, Preload};

    #[test]
    fn coherent_memory_is_a_note_on_every_rdna1_and_rdna2_board_and_on_no_other() {
        for gpu in ["gfx1010", "gfx1011", "gfx1012", "gfx1013", "gfx1030", "gfx1031", "gfx1036"] {
            assert_eq!(count("coherent-memory", &machine(&[board(gpu, 1)], &[])), 1, "{gpu}");
        }
        for gpu in ["gfx906", "gfx1100", "gfx1201"] {
            assert_eq!(count("coherent-memory", &machine(&[board(gpu, 1)], &[])), 0, "{gpu}");
        }
    }

    #[test]
    fn coherent_memory_is_no_matter_where_the_library_is_loaded() {
        let mut machine = machine(&[board("gfx1030", 1)], &[]);
        let library = "/usr/lib/librdnafix.so".to_owned();
        machine.preload = vec![Preload { library, found: Some(true) }];
        assert_eq!(count("coherent-memory", &machine), 0);
    }

    fn linked(target: &str, flags: u32) -> Gpu {
        let from = "/sys/class/kfd/kfd/topology/nodes/1/io_links/0/properties".to_owned();
        let link = crate::doctor::facts::Link { from, flags, atomics: flags & 0xc == 0 };
        Gpu { link: Some(link), ..board(target, 1) }
    }

    #[test]
    fn a_link_without_atomics_is_a_warning_for_a_card() {
        assert_eq!(count("pcie-atomics", &machine(&[linked("gfx1031", 13)], &[])), 1);
        assert_eq!(count("pcie-atomics", &machine(&[linked("gfx1031", 3)], &[])), 0);
        assert_eq!(count("pcie-atomics", &machine(&[linked("gfx1036", 13)], &[])), 0);
        assert_eq!(count("pcie-atomics", &machine(&[board("gfx1031", 1)], &[])), 0);
    }

    #[test]
    fn a_kernel_without_the_svm_api_is_a_note() {
        let without = Gpu { svm: false, ..board("gfx1030", 1) };
        assert_eq!(count("no-svm", &machine(&[without], &[])), 1);
        assert_eq!(count("no-svm", &machine(&[board("gfx1030", 1)], &[])), 0);
    }

    #[test]
    fn a_translating_iommu_is_a_warning_with_two_cards() {
        let behind =
            |node, kind: &str| Gpu { iommu: Some(kind.to_owned()), ..board("gfx1010", node) };
        let two = machine(&[behind(1, "DMA-FQ"), behind(2, "DMA")], &[]);
        assert_eq!(count("iommu-translates", &two), 1);
        for gpus in [
            vec![behind(1, "DMA-FQ")],
            vec![behind(1, "identity"), behind(2, "identity")],
            vec![board("gfx1010", 1), board("gfx1010", 2)],
        ] {
            assert_eq!(count("iommu-translates", &machine(&gpus, &[])), 0);
        }
    }
}
