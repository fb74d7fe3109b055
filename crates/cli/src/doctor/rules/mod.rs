//! The diagnoses: pure functions from facts to findings. Their texts are in the table.

mod installation;
mod kernel;
mod libraries;
mod memory;
mod overrides;
mod settings;
mod setup;
#[cfg(test)]
pub(crate) mod test_machine;

use std::borrow::Cow;

use serde::Serialize;

use super::facts::{Gpu, Machine, Read};
use super::table::{Helps, Severity, address, filled, symptom};
use crate::stdout::printable_line;

/// What a rule has found; the table has the rest.
#[derive(Debug, Default)]
struct Found {
    /// Which GPU, library or variable, and how.
    what: String,
    evidence: Vec<Read>,
    /// What the table's commands leave open.
    values: Vec<(&'static str, String)>,
    /// How many of the table's commands fit this case, where it is not all of them.
    commands: Option<usize>,
}

impl Found {
    fn new(what: impl Into<String>, evidence: Vec<Read>) -> Self {
        Self { what: what.into(), evidence, ..Self::default() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.values.push((name, value.into()));
        self
    }
}

type Rule = fn(&Machine) -> Vec<Found>;

/// Every rule by the id of its symptom.
const RULES: &[(&str, Rule)] = &[
    ("no-gpu", setup::no_gpu),
    ("driver-not-loaded", setup::driver_not_loaded),
    ("kfd-skips-gpu", setup::kfd_skips_gpu),
    ("gpu-hidden", setup::gpu_hidden),
    ("no-access", setup::no_access),
    ("container-devices", setup::container_devices),
    ("no-rocm", setup::no_rocm),
    ("repository-stale", installation::repository_stale),
    ("not-in-path", installation::not_in_path),
    ("igpu-visible", setup::igpu_visible),
    ("override-unreadable", overrides::unreadable),
    ("override-wrong-family", overrides::wrong_family),
    ("override-mixed", overrides::mixed),
    ("override-needless", overrides::needless),
    ("override-equals-target", overrides::equals_target),
    ("no-kernels", libraries::no_kernels),
    ("torch-without-rocm", libraries::torch_without_rocm),
    ("cwsr-size", libraries::cwsr_size),
    ("chip-family-assert", libraries::chip_family_assert),
    ("torch-alloc-conf", libraries::torch_alloc_conf),
    ("coherent-memory", memory::coherent_memory),
    ("pcie-atomics", memory::pcie_atomics),
    ("no-svm", memory::no_svm),
    ("iommu-translates", memory::iommu_translates),
    ("kernel-6.6-navi10", kernel::kernel_6_6_navi10),
    ("dkms-stale", kernel::dkms_stale),
    ("noretry", kernel::noretry),
    ("mtype-local", kernel::mtype_local),
    ("many-processes", kernel::many_processes),
    ("fine-grain-pcie", settings::fine_grain_pcie),
    ("disable-cache", settings::disable_cache),
    ("host-coherent", settings::host_coherent),
    ("xnack", settings::xnack),
    ("use-svm", settings::use_svm),
    ("hw-queues", settings::hw_queues),
    ("miopen-search", settings::miopen_search),
    ("preload-leftover", settings::preload_leftover),
    ("wrong-interposer", settings::wrong_interposer),
    ("rdnafix-off", settings::rdnafix_off),
    ("rdnafix-setting", settings::rdnafix_setting),
];

/// The ids of the symptoms that have a rule.
#[cfg(test)]
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(id, _)| *id)
}

/// One finding, complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    pub(crate) title: &'static str,
    pub(crate) what: String,
    pub(crate) evidence: Vec<Read>,
    pub(crate) why: &'static str,
    pub(crate) advice: &'static str,
    pub(crate) fix: Vec<String>,
    pub(crate) verify: Vec<String>,
    pub(crate) rdnafix: Helps,
    pub(crate) help: &'static str,
    pub(crate) sources: Vec<String>,
}

/// All findings, worst first, then in the order of the rules.
pub(crate) fn findings(machine: &Machine) -> Vec<Finding> {
    let mut findings: Vec<Finding> = RULES
        .iter()
        .flat_map(|(id, rule)| rule(machine).into_iter().map(|found| finding(id, found)))
        .collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn finding(id: &'static str, found: Found) -> Finding {
    let symptom = symptom(id);
    // Names of files may come from a stranger's dump, and the commands are made to be pasted.
    let quoted = |value: &String| {
        let plain = printable_line(value) == *value;
        if value.is_empty() {
            return Some(String::new()); // the end of a name
        }
        shlex::try_quote(value).ok().filter(|_| plain).map(Cow::into_owned)
    };
    let values: Option<Vec<(&str, String)>> =
        found.values.iter().map(|(name, value)| Some((*name, quoted(value)?))).collect();
    let fill = |texts: &[String]| -> Vec<String> {
        let values = values.iter().flat_map(|values| texts.iter().map(|text| filled(text, values)));
        values.collect()
    };
    let mut fix: Vec<String> = fill(&symptom.fix);
    fix.truncate(found.commands.unwrap_or(fix.len()));
    Finding {
        id,
        severity: symptom.severity,
        title: &symptom.title,
        evidence: found.evidence,
        why: &symptom.why,
        advice: &symptom.advice,
        fix,
        verify: fill(&symptom.verify),
        rdnafix: symptom.rdnafix,
        help: &symptom.help,
        sources: symptom.sources.iter().map(|source| address(source)).collect(),
        what: found.what,
    }
}

/// A GPU for people.
fn label(gpu: &Gpu) -> String {
    format!("{} at {} (KFD node {})", gpu.called(), gpu.pci, gpu.node)
}

/// The true target of a GPU as evidence.
fn target(gpu: &Gpu) -> Read {
    let version =
        gpu.gfx_target_version.map_or("not there".to_owned(), |number| number.to_string());
    Read::new(format!("gfx_target_version {version} ({})", gpu.called()), gpu.from.as_str())
}

/// A variable as evidence.
fn assignment(name: &str, variable: &Read) -> Read {
    Read::new(format!("{name}={}", variable.value), variable.from.as_str())
}

/// The GPUs that programs are shown, by the variables that select them.
fn visible(machine: &Machine) -> Vec<&Gpu> {
    let mut gpus: Vec<&Gpu> = machine.gpus.iter().collect();
    let variable = |name: &str| machine.environment.get(name);
    // HIP looks at CUDA's variable where its own is not set.
    let of_hip = variable("HIP_VISIBLE_DEVICES").or(variable("CUDA_VISIBLE_DEVICES"));
    for variable in [variable("ROCR_VISIBLE_DEVICES"), of_hip].into_iter().flatten() {
        // A name (GPU-...) instead of a number is not known here: nothing is left out then.
        let numbers: Option<Vec<i64>> =
            variable.value.split(',').map(|word| word.trim().parse().ok()).collect();
        if let Some(numbers) = numbers {
            let known = |number: &i64| gpus.get(usize::try_from(*number).ok()?).copied();
            gpus = numbers.iter().filter_map(known).collect();
        }
    }
    gpus
}

#[cfg(test)]
mod tests {
    use super::test_machine::{board, machine};
    use super::*;
    use crate::doctor::table;
    use std::collections::BTreeSet;

    #[test]
    fn every_symptom_has_a_rule_or_a_message_and_every_rule_a_symptom() {
        let rules: BTreeSet<&str> = ids().collect();
        assert_eq!(rules.len(), RULES.len(), "a rule is there twice");
        for symptom in table::all() {
            let seen = rules.contains(symptom.id.as_str()) || !symptom.matches.is_empty();
            assert!(seen, "nothing sees {}", symptom.id);
        }
        for id in rules {
            table::symptom(id);
        }
    }

    #[test]
    fn the_worst_comes_first() {
        let machine = machine(
            &[board("gfx1010", 1)],
            &[("HSA_OVERRIDE_GFX_VERSION", "10.3.0"), ("HSA_DISABLE_CACHE", "1")],
        );
        let found = findings(&machine);
        let severities: Vec<Severity> = found.iter().map(|finding| finding.severity).collect();
        assert!(severities.is_sorted());
        assert_eq!(found[0].id, "override-wrong-family");
        assert_eq!(found[0].fix, ["unset HSA_OVERRIDE_GFX_VERSION"]);
        assert!(found[0].sources[0].starts_with("https://github.com/"));
    }

    #[test]
    fn the_visible_gpus_are_those_of_both_variables() {
        let boards = [board("gfx1030", 1), board("gfx1036", 2), board("gfx1100", 3)];
        let nodes = |environment: &[(&str, &str)]| -> Vec<u32> {
            let machine = machine(&boards, environment);
            visible(&machine).iter().map(|gpu| gpu.node).collect()
        };
        assert_eq!(nodes(&[]), [1, 2, 3]);
        assert_eq!(nodes(&[("ROCR_VISIBLE_DEVICES", "2, 0")]), [3, 1]);
        let both = [("ROCR_VISIBLE_DEVICES", "0,2"), ("HIP_VISIBLE_DEVICES", "1")];
        assert_eq!(nodes(&both), [3]);
        assert_eq!(nodes(&[("HIP_VISIBLE_DEVICES", "GPU-1234")]), [1, 2, 3]);
        let cuda = ("CUDA_VISIBLE_DEVICES", "2");
        assert_eq!(nodes(&[cuda]), [3]);
        assert_eq!(nodes(&[cuda, ("HIP_VISIBLE_DEVICES", "0")]), [1]);
    }

    #[test]
    fn values_of_a_stranger_are_quoted_in_commands_or_there_are_none() {
        let with = |directory: &str| {
            let value = Read::new(directory, "PATH");
            let mut machine = machine(&[board("gfx1030", 1)], &[]);
            machine.installation.not_in_path = Some(value);
            let all = findings(&machine);
            all.into_iter().find(|finding| finding.id == "not-in-path").unwrap().fix
        };
        assert_eq!(with("/opt/rocm/bin"), ["export PATH=$PATH:/opt/rocm/bin"]);
        assert_eq!(with("/opt/a;b $(id)"), ["export PATH=$PATH:'/opt/a;b $(id)'"]);
        assert_eq!(with("/opt/a\u{1b}"), [""; 0]);
    }
}
