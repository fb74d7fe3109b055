//! Whether the installed libraries and PyTorch are for these GPUs.

use policy::GfxTarget;

use super::{Found, assignment, label, overrides, target, visible};
use crate::doctor::facts::{Gpu, Machine, Read};

/// A library's kernels, of PyTorch or rocBLAS.
struct Kernels<'a> {
    of: String,
    from: &'a str,
    targets: &'a [String],
    compatible: bool,
}

fn kernels(machine: &Machine) -> Vec<Kernels<'_>> {
    let torch = machine.torch.iter().filter_map(|torch| {
        let targets = torch.targets.as_ref()?;
        let version = torch.version.as_ref().map_or("", |read| &read.value);
        Some(Kernels {
            of: format!("PyTorch {version}"),
            from: &targets.from,
            targets: &targets.value,
            compatible: torch.directory.starts_with("/usr/lib/python3/"),
        })
    });
    let blas = machine.blas.iter().map(|blas| Kernels {
        of: "rocBLAS".to_owned(),
        from: &blas.directory,
        targets: &blas.targets,
        compatible: blas.compatible,
    });
    torch.chain(blas).collect()
}

/// The target whose code runs on all of a family, on which an override can fall back.
fn base(target: GfxTarget) -> Option<GfxTarget> {
    match (target.major, target.minor, target.stepping) {
        (10, 1, 1 | 2) | (10, 3, 1 | 2 | 4..=6) => Some(GfxTarget { stepping: 0, ..target }),
        _ => None,
    }
}

impl Kernels<'_> {
    fn run_on(&self, target: GfxTarget) -> bool {
        let has = |target: GfxTarget| self.targets.contains(&target.to_string());
        has(target) || self.compatible && base(target).is_some_and(has)
    }
}

/// A library without code for what the GPU is, or is taken for.
pub(super) fn no_kernels(machine: &Machine) -> Vec<Found> {
    let shown = visible(machine);
    let has_card = shown.iter().any(|gpu| !gpu.is_apu());
    shown
        .into_iter()
        // That programs see an integrated GPU beside a card is a finding of its own.
        .filter(|gpu| !(gpu.is_apu() && has_card))
        .filter_map(|gpu| without_kernels(machine, gpu))
        .collect()
}

fn without_kernels(machine: &Machine, gpu: &Gpu) -> Option<Found> {
    let own = gpu.gfx()?;
    let over = overrides::of(machine, gpu);
    let run_as = over.as_ref().map_or(own, |over| over.target);
    let all = kernels(machine);
    let lacking: Vec<&Kernels<'_>> = all.iter().filter(|kernels| !kernels.run_on(run_as)).collect();
    if lacking.is_empty() {
        return None;
    }
    let mut names: Vec<&str> = lacking.iter().map(|kernels| kernels.of.as_str()).collect();
    names.dedup();
    let mut evidence = vec![target(gpu)];
    evidence.extend(over.as_ref().map(overrides::Override::evidence));
    evidence.extend(lacking.iter().map(|kernels| {
        Read::new(format!("{}: {}", kernels.of, kernels.targets.join(" ")), kernels.from)
    }));
    let what = format!("{} has no code for {run_as}: {}", names.join(" and "), label(gpu));
    let fallback = base(own).filter(|base| {
        over.is_none() && lacking.iter().all(|kernels| kernels.targets.contains(&base.to_string()))
    });
    let mut found = Found::new(what, evidence);
    match fallback {
        Some(base) => {
            let version = format!("{}.{}.{}", base.major, base.minor, base.stepping);
            if machine.gpus.len() > 1 {
                found = found.with("suffix", format!("_{}", gpu.node));
            }
            found = found.with("version", version);
        }
        None => found.commands = Some(0),
    }
    Some(found)
}

/// A PyTorch for other GPUs.
pub(super) fn torch_without_rocm(machine: &Machine) -> Vec<Found> {
    if machine.gpus.is_empty() {
        return Vec::new();
    }
    machine
        .torch
        .iter()
        .filter(|torch| torch.hip.is_none())
        .filter_map(|torch| {
            let version = torch.version.clone()?;
            Some(Found::new(format!("PyTorch {}", version.value), vec![version]))
        })
        .collect()
}

/// ROCm 10 on gfx101x.
pub(super) fn cwsr_size(machine: &Machine) -> Vec<Found> {
    let rdna1 = |gpu: &&Gpu| gpu.gfx().is_some_and(|gfx| (gfx.major, gfx.minor) == (10, 1));
    let Some(gpu) = visible(machine).into_iter().find(rdna1) else { return Vec::new() };
    let Some(library) = machine.libraries.iter().find(|library| library.major() >= Some(10)) else {
        return Vec::new();
    };
    let mut evidence = vec![target(gpu)];
    evidence.extend(library.release.clone());
    vec![Found::new(format!("{} on {}", library.path, label(gpu)), evidence)]
}

/// APUs whose chip revision the runtime does not pass on.
pub(super) fn chip_family_assert(machine: &Machine) -> Vec<Found> {
    let of = |gpu: &&Gpu| matches!(gpu.gfx_target_version, Some(100_303 | 100_305));
    let gpus = visible(machine).into_iter().filter(of).take(1);
    gpus.map(|gpu| Found::new(label(gpu), vec![target(gpu)])).collect()
}

/// Allocator settings that an installed PyTorch refuses.
pub(super) fn torch_alloc_conf(machine: &Machine) -> Vec<Found> {
    let versions: Vec<(u32, u32)> = machine
        .torch
        .iter()
        .filter(|torch| torch.hip.is_some())
        .filter_map(super::super::facts::Torch::number)
        .collect();
    ["PYTORCH_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"]
        .into_iter()
        .filter_map(|name| {
            let read = machine.environment.get(name)?;
            let refused: Vec<String> = refused(&read.value, &versions);
            let what = refused.first()?.clone();
            Some(Found::new(what, vec![assignment(name, read)]))
        })
        .collect()
}

/// What is refused of a setting, by any version or by one of these.
fn refused(setting: &str, versions: &[(u32, u32)]) -> Vec<String> {
    let before = |version: (u32, u32)| versions.iter().any(|own| *own < version);
    let mut refused = Vec::new();
    for (key, value) in setting.split(',').filter_map(|part| part.trim().split_once(':')) {
        let (key, value) = (key.trim(), value.trim());
        let number = value.parse::<f64>().ok();
        let why = match key {
            "expandable_segments" if before((2, 0)) => Some("this PyTorch does not know it"),
            "expandable_segments" if !["True", "False"].contains(&value) => {
                Some("it has to be True or False, with that capital")
            }
            "per_process_memory_fraction" if before((2, 10)) => {
                Some("PyTorch before 2.10 does not know it")
            }
            "max_split_size_mb" if number.is_none_or(|number| number < 20.0) => {
                Some("it has to be above 20")
            }
            "max_split_size_mb" if number == Some(20.0) && before((2, 10)) => {
                Some("it has to be above 20")
            }
            "garbage_collection_threshold"
                if number.is_none_or(|number| number <= 0.0 || number >= 1.0) =>
            {
                Some("it has to be above 0 and below 1")
            }
            _ => None,
        };
        refused.extend(why.map(|why| format!("{key}:{value}: {why}")));
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::super::test_machine::{blas, board, count, library, machine, torch};
    use super::*;
    use crate::doctor::facts::Torch;
    use proptest::prelude::*;

    fn wheel(gpu: &str, targets: &[&str], environment: &[(&str, &str)]) -> Machine {
        Machine {
            torch: vec![torch("2.9.1+rocm6.4", targets)],
            ..machine(&[board(gpu, 1)], environment)
        }
    }

    #[test]
    fn a_wheel_without_the_gpus_target_is_an_error_unless_an_override_leads_to_one() {
        let official = ["gfx900", "gfx906", "gfx90a", "gfx1030", "gfx1100"];
        let over = [("HSA_OVERRIDE_GFX_VERSION", "10.3.0")];
        assert_eq!(count("no-kernels", &wheel("gfx1030", &official, &[])), 0);
        assert_eq!(count("no-kernels", &wheel("gfx1010", &official, &[])), 1);
        assert_eq!(count("no-kernels", &wheel("gfx1031", &official, &[])), 1);
        assert_eq!(count("no-kernels", &wheel("gfx1031", &official, &over)), 0);
    }

    #[test]
    fn the_way_out_is_an_override_only_where_there_is_a_family_to_fall_back_on() {
        let command = |gpu: &str, targets: &[&str]| {
            let machine = wheel(gpu, targets, &[]);
            let found = super::super::findings(&machine);
            found.iter().find(|finding| finding.id == "no-kernels").unwrap().fix.clone()
        };
        let rdna2 = "export HSA_OVERRIDE_GFX_VERSION=10.3.0";
        assert_eq!(command("gfx1031", &["gfx1030"]), [rdna2]);
        let rdna1 = "export HSA_OVERRIDE_GFX_VERSION=10.1.0";
        assert_eq!(command("gfx1012", &["gfx1010"]), [rdna1]);
        assert!(command("gfx1010", &["gfx1030"]).is_empty());
        assert!(command("gfx1012", &["gfx1030"]).is_empty());
        assert!(command("gfx1033", &["gfx1030"]).is_empty());
    }

    #[test]
    fn debians_rocblas_runs_the_whole_family() {
        let mut machine = machine(&[board("gfx1031", 1)], &[]);
        machine.blas = vec![blas(&["gfx1030"], true)];
        assert_eq!(count("no-kernels", &machine), 0);
        machine.blas = vec![blas(&["gfx1030"], false)];
        assert_eq!(count("no-kernels", &machine), 1);
    }

    #[test]
    fn an_integrated_gpu_beside_a_card_needs_no_kernels() {
        let mut machine = machine(&[board("gfx1030", 1), board("gfx1036", 2)], &[]);
        machine.torch = vec![torch("2.9.1", &["gfx1030"])];
        assert_eq!(count("no-kernels", &machine), 0);
        machine.gpus.remove(0);
        assert_eq!(count("no-kernels", &machine), 1);
    }

    #[test]
    fn a_pytorch_without_hip_is_a_note_where_there_is_a_gpu() {
        let mut machine = machine(&[board("gfx1030", 1)], &[]);
        machine.torch = vec![Torch { hip: None, ..torch("2.9.1+cpu", &[]) }];
        machine.torch[0].targets = None;
        assert_eq!(count("torch-without-rocm", &machine), 1);
        machine.torch = vec![torch("2.9.1+rocm6.4", &["gfx1030"])];
        assert_eq!(count("torch-without-rocm", &machine), 0);
    }

    #[test]
    fn rocm_10_is_named_on_rdna1_only() {
        for (gpu, release, expected) in
            [("gfx1012", "10.0.0", 1), ("gfx1012", "7.2.4", 0), ("gfx1030", "10.0.0", 0)]
        {
            let mut machine = machine(&[board(gpu, 1)], &[]);
            machine.libraries = vec![library(release)];
            assert_eq!(count("cwsr-size", &machine), expected, "{gpu} {release}");
        }
    }

    #[test]
    fn the_assertion_concerns_two_apus() {
        for (gpu, expected) in [("gfx1033", 1), ("gfx1035", 1), ("gfx1036", 0), ("gfx1030", 0)] {
            assert_eq!(count("chip-family-assert", &machine(&[board(gpu, 1)], &[])), expected);
        }
    }

    #[test]
    fn settings_that_pytorch_refuses_are_named() {
        for (setting, version, expected) in [
            ("expandable_segments:true", (2, 6), 1),
            ("expandable_segments:True", (2, 6), 0),
            ("expandable_segments:True", (1, 13), 1),
            ("max_split_size_mb:128,garbage_collection_threshold:0.6", (2, 6), 0),
            ("max_split_size_mb:20", (2, 6), 1),
            ("max_split_size_mb:20", (2, 14), 0),
            ("max_split_size_mb:8", (2, 14), 1),
            ("garbage_collection_threshold:1.0", (2, 14), 1),
            ("per_process_memory_fraction:0.8", (2, 6), 1),
            ("per_process_memory_fraction:0.8", (2, 10), 0),
        ] {
            assert_eq!(refused(setting, &[version]).len(), expected, "{setting} {version:?}");
        }
        let machine =
            wheel("gfx1030", &["gfx1030"], &[("PYTORCH_ALLOC_CONF", "max_split_size_mb:x")]);
        assert_eq!(count("torch-alloc-conf", &machine), 1);
        assert_eq!(count("torch-alloc-conf", &wheel("gfx1030", &["gfx1030"], &[])), 0);
    }

    proptest! {
        #[test]
        fn any_setting_is_judged(setting in "([a-z_]{0,9}:?\\PC{0,6},?){0,5}") {
            let _ = refused(&setting, &[(2, 6)]);
        }
    }
}
