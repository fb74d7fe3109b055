//! HSA_OVERRIDE_GFX_VERSION: what it makes of each GPU.

use policy::GfxTarget;

use super::{Found, assignment, label, target, visible};
use crate::doctor::facts::{Gpu, Machine, Read};

/// For all GPUs.
const GLOBAL: &str = "HSA_OVERRIDE_GFX_VERSION";
/// For one, with the number of its KFD node (libhsakmt/src/topology.c, since ROCm 6.3).
const OF_NODE: &str = "HSA_OVERRIDE_GFX_VERSION_";

/// An override that applies to a GPU.
pub(super) struct Override<'a> {
    pub(super) variable: String,
    read: &'a Read,
    /// The target that ROCm takes the GPU for.
    pub(super) target: GfxTarget,
}

impl Override<'_> {
    fn is_global(&self) -> bool {
        self.variable == GLOBAL
    }

    fn suffix(&self) -> &str {
        suffix(&self.variable)
    }

    pub(super) fn evidence(&self) -> Read {
        assignment(&self.variable, self.read)
    }
}

/// What the name of a variable has after that of the global one.
fn suffix(variable: &str) -> &str {
    variable.strip_prefix(GLOBAL).unwrap_or_default()
}

/// `10.3.0`
fn parse(value: &str) -> Option<GfxTarget> {
    let mut parts = value.split('.').map(|part| part.parse::<u8>().ok());
    let target =
        GfxTarget { major: parts.next()??, minor: parts.next()??, stepping: parts.next()?? };
    (parts.next().is_none() && target.major > 0).then_some(target)
}

/// The override of a GPU, its own or the global one.
pub(super) fn of<'a>(machine: &'a Machine, gpu: &Gpu) -> Option<Override<'a>> {
    let own = format!("{OF_NODE}{}", gpu.node);
    [own, GLOBAL.to_owned()].into_iter().find_map(|variable| {
        let read = machine.environment.get(&variable)?;
        Some(Override { variable, read, target: parse(&read.value)? })
    })
}

fn same_family(one: GfxTarget, other: GfxTarget) -> bool {
    (one.major, one.minor) == (other.major, other.minor)
}

/// Values that are no versions.
pub(super) fn unreadable(machine: &Machine) -> Vec<Found> {
    machine
        .environment
        .iter()
        .filter(|(name, _)| *name == GLOBAL || name.starts_with(OF_NODE))
        .filter(|(_, read)| parse(&read.value).is_none())
        .map(|(name, read)| {
            Found::new(format!("{name} is '{}'", read.value), vec![assignment(name, read)])
                .with("suffix", suffix(name))
        })
        .collect()
}

/// The GPUs that an override makes run code of another family, with it.
fn misfits(machine: &Machine) -> Vec<(&Gpu, Override<'_>)> {
    visible(machine)
        .into_iter()
        .filter_map(|gpu| {
            let over = of(machine, gpu)?;
            (!same_family(over.target, gpu.gfx()?)).then_some((gpu, over))
        })
        .collect()
}

/// Whether a global override fits some GPU here, so that it is there for that one.
fn fits_another(machine: &Machine, over: &Override<'_>) -> bool {
    over.is_global()
        && machine
            .gpus
            .iter()
            .any(|gpu| gpu.gfx().is_some_and(|target| same_family(target, over.target)))
}

/// An override to another family.
pub(super) fn wrong_family(machine: &Machine) -> Vec<Found> {
    let misfits = misfits(machine).into_iter().filter(|(_, over)| !fits_another(machine, over));
    misfits
        .map(|(gpu, over)| {
            let what = format!("{} runs code for {}", label(gpu), over.target);
            Found::new(what, vec![over.evidence(), target(gpu)]).with("suffix", over.suffix())
        })
        .collect()
}

/// A global override that fits one GPU and hits another.
pub(super) fn mixed(machine: &Machine) -> Vec<Found> {
    let misfits = misfits(machine).into_iter().filter(|(_, over)| fits_another(machine, over));
    misfits
        .filter_map(|(gpu, over)| {
            // A card rather than the integrated GPU beside it.
            let meant = machine
                .gpus
                .iter()
                .filter(|gpu| gpu.gfx().is_some_and(|target| same_family(target, over.target)))
                .min_by_key(|gpu| gpu.is_apu())?;
            let what = format!(
                "{} is made to run code for {}, which is for {}",
                label(gpu),
                over.target,
                label(meant)
            );
            let needed = meant.gfx() != Some(over.target);
            let mut found = Found::new(what, vec![over.evidence(), target(gpu), target(meant)])
                .with("node", meant.node.to_string())
                .with("version", over.read.value.as_str());
            // Where the fitting GPU has that target anyway, there is nothing to set for it.
            found.commands = (!needed).then_some(1);
            Some(found)
        })
        .collect()
}

/// An override although kernels for the GPU's own target are installed.
pub(super) fn needless(machine: &Machine) -> Vec<Found> {
    visible(machine)
        .into_iter()
        .filter_map(|gpu| {
            let over = of(machine, gpu)?;
            let own = gpu.gfx()?;
            if over.target == own || !same_family(over.target, own) {
                return None;
            }
            let name = own.to_string();
            let has = |targets: &[String]| targets.contains(&name);
            let torch = machine.torch.iter().find_map(|torch| {
                let targets = torch.targets.as_ref().filter(|targets| has(&targets.value))?;
                Some(Read::new(format!("PyTorch has kernels for {name}"), targets.from.as_str()))
            });
            let blas = machine.blas.iter().find(|blas| has(&blas.targets)).map(|blas| {
                let text = format!("rocBLAS has kernels for {name}");
                Read::new(text, blas.directory.as_str())
            });
            let native = torch.or(blas)?;
            let what = format!("{} runs code for {}", label(gpu), over.target);
            Some(Found::new(what, vec![over.evidence(), native]).with("suffix", over.suffix()))
        })
        .collect()
}

/// An override to what the GPU is.
pub(super) fn equals_target(machine: &Machine) -> Vec<Found> {
    let equal = visible(machine).into_iter().filter_map(|gpu| {
        let over = of(machine, gpu)?;
        (gpu.gfx() == Some(over.target)).then_some((gpu, over))
    });
    let mut found: Vec<Found> = Vec::new();
    // One finding for each variable, however many GPUs it equals; a misfit is told elsewhere.
    let misfit = !misfits(machine).is_empty();
    let mut seen: Vec<String> = Vec::new();
    for (gpu, over) in equal.filter(|_| !misfit) {
        let others = over.is_global() && machine.gpus.iter().any(|other| other.gfx() != gpu.gfx());
        if others || seen.contains(&over.variable) {
            continue;
        }
        found.push(
            Found::new(
                format!("{} is {}", label(gpu), over.target),
                vec![over.evidence(), target(gpu)],
            )
            .with("suffix", over.suffix()),
        );
        seen.push(over.variable);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::test_machine::{blas, board, count, machine, torch};
    use super::*;
    use proptest::prelude::*;

    fn with(boards: &[&str], environment: &[(&str, &str)]) -> Machine {
        let gpus: Vec<Gpu> =
            boards.iter().zip(1..).map(|(target, node)| board(target, node)).collect();
        machine(&gpus, environment)
    }

    #[test]
    fn ten_three_on_rdna1_is_the_wrong_family_and_on_rdna2_is_not() {
        for (gpu, value, expected) in [
            ("gfx1010", "10.3.0", 1),
            ("gfx1012", "10.3.0", 1),
            ("gfx906", "10.3.0", 1),
            ("gfx1031", "10.3.0", 0),
            ("gfx1012", "10.1.0", 0),
            ("gfx1030", "10.1.0", 1),
        ] {
            let machine = with(&[gpu], &[(GLOBAL, value)]);
            assert_eq!(count("override-wrong-family", &machine), expected, "{gpu} {value}");
        }
    }

    #[test]
    fn the_variable_of_a_node_concerns_that_node_and_wins_over_the_global_one() {
        let own = "HSA_OVERRIDE_GFX_VERSION_2";
        let machine = with(&["gfx1031", "gfx1010"], &[(own, "10.3.0")]);
        assert_eq!(count("override-wrong-family", &machine), 1);
        let machine = with(&["gfx1010", "gfx1031"], &[(own, "10.3.0")]);
        assert_eq!(count("override-wrong-family", &machine), 0);
        let machine =
            with(&["gfx1012"], &[(GLOBAL, "10.3.0"), ("HSA_OVERRIDE_GFX_VERSION_1", "10.1.0")]);
        assert_eq!(count("override-wrong-family", &machine), 0);
    }

    #[test]
    fn a_global_override_that_fits_one_gpu_and_hits_another_is_mixed() {
        let machine = with(&["gfx1032", "gfx906"], &[(GLOBAL, "10.3.0")]);
        assert_eq!(count("override-mixed", &machine), 1);
        assert_eq!(count("override-wrong-family", &machine), 0);
        let found = &mixed(&machine)[0];
        assert!(found.what.starts_with("gfx906 at"), "{}", found.what);
        assert!(found.values.contains(&("node", "1".to_owned())));
        // For a card that has that target anyway nothing is to be set.
        let machine = with(&["gfx1036", "gfx1030", "gfx906"], &[(GLOBAL, "10.3.0")]);
        let found = &mixed(&machine)[0];
        assert!(found.what.contains("which is for gfx1030"), "{}", found.what);
        assert_eq!(found.commands, Some(1));
        for (boards, environment) in [
            (vec!["gfx1032", "gfx1031"], vec![(GLOBAL, "10.3.0")]),
            (vec!["gfx1032", "gfx906"], vec![("HSA_OVERRIDE_GFX_VERSION_1", "10.3.0")]),
            (vec!["gfx1032", "gfx906"], vec![(GLOBAL, "10.3.0"), ("ROCR_VISIBLE_DEVICES", "0")]),
        ] {
            assert_eq!(count("override-mixed", &with(&boards, &environment)), 0, "{boards:?}");
        }
    }

    #[test]
    fn an_override_is_needless_where_there_are_kernels_for_the_gpu() {
        let mut machine = with(&["gfx1031"], &[(GLOBAL, "10.3.0")]);
        assert_eq!(count("override-needless", &machine), 0);
        machine.torch = vec![torch("2.9.1", &["gfx1030"])];
        assert_eq!(count("override-needless", &machine), 0);
        machine.blas = vec![blas(&["gfx1030", "gfx1031"], false)];
        assert_eq!(count("override-needless", &machine), 1);
        machine.torch = vec![torch("2.9.1", &["gfx1031"])];
        assert_eq!(count("override-needless", &machine), 1);
    }

    #[test]
    fn an_override_to_the_gpus_own_target_is_a_note() {
        assert_eq!(count("override-equals-target", &with(&["gfx1030"], &[(GLOBAL, "10.3.0")])), 1);
        assert_eq!(count("override-equals-target", &with(&["gfx1031"], &[(GLOBAL, "10.3.0")])), 0);
        let two = with(&["gfx1030", "gfx1031"], &[(GLOBAL, "10.3.0")]);
        assert_eq!(count("override-equals-target", &two), 0);
    }

    #[test]
    fn a_value_that_is_no_version_is_an_error() {
        for (value, expected) in
            [("gfx1030", 1), ("10.3", 1), ("10.3.0.0", 1), ("0.0.0", 1), ("10.3.0", 0)]
        {
            let machine = with(&["gfx1031"], &[(GLOBAL, value)]);
            assert_eq!(count("override-unreadable", &machine), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_judged(value in "\\PC{0,12}", numbers in "[0-9]{0,4}(\\.[0-9]{0,4}){0,4}") {
            for value in [value, numbers] {
                let machine = with(&["gfx1031", "gfx1010", "gfx906"], &[(GLOBAL, &value)]);
                let _ = super::super::findings(&machine);
            }
        }
    }
}
