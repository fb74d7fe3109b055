//! Variables that do harm, or nothing.

use std::ffi::OsStr;

use policy::Level;

use super::{Found, assignment};
use crate::doctor::facts::{Gpu, Machine, Preload, Read};
use crate::settings::{SETTINGS, misunderstood};

/// A finding where a variable has a value that `bad` says is one.
fn variable(machine: &Machine, name: &str, bad: impl Fn(&str) -> bool) -> Vec<Found> {
    let Some(read) = machine.environment.get(name).filter(|read| bad(read.value.trim())) else {
        return Vec::new();
    };
    vec![Found::new(format!("{name}={}", read.value), vec![assignment(name, read)])]
}

fn has_rdna12(machine: &Machine) -> bool {
    machine.gpus.iter().any(Gpu::is_rdna12)
}

/// ROCR compares with "1" (flag.h).
pub(super) fn fine_grain_pcie(machine: &Machine) -> Vec<Found> {
    variable(machine, "HSA_FORCE_FINE_GRAIN_PCIE", |value| value == "1")
}

/// Anything but 0 counts (libhsakmt fmm.c).
pub(super) fn disable_cache(machine: &Machine) -> Vec<Found> {
    variable(machine, "HSA_DISABLE_CACHE", |value| value != "0")
}

pub(super) fn host_coherent(machine: &Machine) -> Vec<Found> {
    variable(machine, "HIP_HOST_COHERENT", |value| value != "0")
}

pub(super) fn xnack(machine: &Machine) -> Vec<Found> {
    let only = !machine.gpus.is_empty() && machine.gpus.iter().all(Gpu::is_rdna12);
    variable(machine, "HSA_XNACK", |value| only && value != "0")
}

pub(super) fn use_svm(machine: &Machine) -> Vec<Found> {
    variable(machine, "HSA_USE_SVM", |value| has_rdna12(machine) && value == "0")
}

pub(super) fn hw_queues(machine: &Machine) -> Vec<Found> {
    /// The default of HIP (rocclr flags.hpp).
    const DEFAULT: u32 = 4;
    variable(machine, "GPU_MAX_HW_QUEUES", |value| {
        has_rdna12(machine) && value.parse::<u32>().is_ok_and(|queues| queues > DEFAULT)
    })
}

/// 3 and 4 are SEARCH and `SEARCH_DB_UPDATE`.
pub(super) fn miopen_search(machine: &Machine) -> Vec<Found> {
    variable(machine, "MIOPEN_FIND_ENFORCE", |value| {
        let value = value.to_ascii_lowercase();
        has_rdna12(machine) && (value.starts_with("search") || value == "3" || value == "4")
    })
}

fn preloaded(machine: &Machine, chosen: impl Fn(&Preload) -> bool) -> Vec<Found> {
    let from = machine.environment.get("LD_PRELOAD").map_or("LD_PRELOAD", |read| &read.from);
    machine
        .preload
        .iter()
        .filter(|preload| chosen(preload))
        .map(|preload| {
            let evidence = Read::new(format!("LD_PRELOAD has {}", preload.library), from);
            Found::new(preload.library.as_str(), vec![evidence])
        })
        .collect()
}

pub(super) fn preload_leftover(machine: &Machine) -> Vec<Found> {
    preloaded(machine, |preload| preload.found == Some(false))
}

pub(super) fn wrong_interposer(machine: &Machine) -> Vec<Found> {
    const OTHERS: [&str; 3] = ["libhip_memory_intercept", "forcegttalloc", "librocm_patch"];
    preloaded(machine, |preload| OTHERS.iter().any(|name| preload.file_name().contains(name)))
}

pub(super) fn rdnafix_off(machine: &Machine) -> Vec<Found> {
    let off = |value: &str| Level::from_name(value) == Some(Level::Off);
    variable(machine, "RDNAFIX_POLICY", |value| has_rdna12(machine) && off(value))
}

pub(super) fn rdnafix_setting(machine: &Machine) -> Vec<Found> {
    let wrong = SETTINGS.iter().filter_map(|setting| {
        let read = machine.environment.get(setting.variable)?;
        let wrong = misunderstood(setting, OsStr::new(&read.value))?;
        let evidence = Read::new(format!("{}={}", setting.variable, read.value), &read.from);
        let what = format!("{} may be {}", setting.variable, wrong.allowed);
        Some(Found::new(what, vec![evidence]).with("variable", setting.variable))
    });
    wrong.collect()
}

#[cfg(test)]
mod tests {
    use super::super::test_machine::{board, count, machine};
    use super::*;

    /// Findings of a rule on a gfx1030 and on a gfx906 with a variable.
    fn counts(id: &str, name: &str, value: &str) -> (usize, usize) {
        let on = |gpu: &str| count(id, &machine(&[board(gpu, 1)], &[(name, value)]));
        (on("gfx1030"), on("gfx906"))
    }

    #[test]
    fn each_harmful_value_is_named_and_each_harmless_one_is_not() {
        for (id, name, bad, fine, other_gpus) in [
            ("fine-grain-pcie", "HSA_FORCE_FINE_GRAIN_PCIE", "1", "0", 1),
            ("disable-cache", "HSA_DISABLE_CACHE", "1", "0", 1),
            ("host-coherent", "HIP_HOST_COHERENT", "1", "0", 1),
            ("xnack", "HSA_XNACK", "1", "0", 0),
            ("use-svm", "HSA_USE_SVM", "0", "1", 0),
            ("hw-queues", "GPU_MAX_HW_QUEUES", "8", "4", 0),
            ("miopen-search", "MIOPEN_FIND_ENFORCE", "SEARCH", "1", 0),
            ("miopen-search", "MIOPEN_FIND_ENFORCE", "4", "DB_UPDATE", 0),
            ("rdnafix-off", "RDNAFIX_POLICY", "off", "full", 0),
            ("rdnafix-setting", "RDNAFIX_POLICY", "max", "mapped", 1),
            ("rdnafix-setting", "RDNAFIX_MIN_BYTES", "64k", "65536", 1),
            ("rdnafix-setting", "RDNAFIX_DRY_RUN", "maybe", "1", 1),
        ] {
            assert_eq!(counts(id, name, bad), (1, other_gpus), "{name}={bad}");
            assert_eq!(counts(id, name, fine), (0, 0), "{name}={fine}");
        }
    }

    #[test]
    fn xnack_is_left_alone_where_another_gpu_may_need_it() {
        let boards = [board("gfx1030", 1), board("gfx90a", 2)];
        assert_eq!(count("xnack", &machine(&boards, &[("HSA_XNACK", "1")])), 0);
    }

    #[test]
    fn a_preloaded_library_that_is_missing_or_another_interposer_is_named() {
        let with = |library: &str, found| {
            let mut machine = machine(&[board("gfx1030", 1)], &[]);
            machine.preload = vec![Preload { library: library.to_owned(), found }];
            (count("preload-leftover", &machine), count("wrong-interposer", &machine))
        };
        assert_eq!(with("/gone/librdnafix.so", Some(false)), (1, 0));
        assert_eq!(with("/lib/librdnafix.so", Some(true)), (0, 0));
        assert_eq!(with("libjemalloc.so.2", None), (0, 0));
        assert_eq!(with("/opt/libhip_memory_intercept.so", Some(true)), (0, 1));
        assert_eq!(with("./libforcegttalloc.so", None), (0, 1));
    }
}
