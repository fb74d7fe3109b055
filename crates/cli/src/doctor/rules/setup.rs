//! Whether programs reach a GPU at all.

use super::{Found, label, target, visible};
use crate::doctor::facts::source::Access;
use crate::doctor::facts::{Display, Machine, Read};

const PCI: &str = "/sys/bus/pci/devices";

fn display(display: &Display) -> Read {
    let target = display.target.unwrap_or("another generation");
    let text = format!("PCI id 1002:{:04x} ({target})", display.device_id);
    Read::new(text, format!("{PCI}/{}", display.pci))
}

/// A built-in module has parameters, but no state.
fn driver_is_there(machine: &Machine) -> bool {
    let kernel = &machine.kernel;
    kernel.module.is_some() || !kernel.parameters.is_empty() || !machine.gpus.is_empty()
}

/// Nothing of AMD's to compute on.
pub(super) fn no_gpu(machine: &Machine) -> Vec<Found> {
    if !machine.gpus.is_empty() || !machine.displays.is_empty() {
        return Vec::new();
    }
    vec![Found::new(
        "there is nothing to examine",
        vec![
            Read::new("no GPU node", "/sys/class/kfd/kfd/topology/nodes"),
            Read::new("no display device of AMD", PCI),
        ],
    )]
}

/// A card, and no driver.
pub(super) fn driver_not_loaded(machine: &Machine) -> Vec<Found> {
    if driver_is_there(machine) || machine.displays.is_empty() {
        return Vec::new();
    }
    let mut evidence: Vec<Read> = machine.displays.iter().map(display).collect();
    evidence.push(Read::new("not there", "/sys/module/amdgpu"));
    let blacklist = machine
        .kernel
        .modprobe
        .iter()
        .chain(&machine.kernel.boot)
        .filter(|read| ["blacklist", "nomodeset"].iter().any(|word| read.value.contains(word)));
    evidence.extend(blacklist.cloned());
    vec![Found::new("an AMD GPU is on PCI, but amdgpu is not loaded", evidence)]
}

/// The driver, and KFD without the card. In a container that may be meant so.
pub(super) fn kfd_skips_gpu(machine: &Machine) -> Vec<Found> {
    if !driver_is_there(machine) || machine.container.is_some() {
        return Vec::new();
    }
    machine
        .displays
        .iter()
        .filter(|display| !display.in_kfd && display.target.is_some())
        .map(|skipped| {
            let what = format!(
                "{} at {} is no node of KFD's topology",
                skipped.target.unwrap_or_default(),
                skipped.pci
            );
            Found::new(
                what,
                vec![
                    display(skipped),
                    Read::new("no such node", "/sys/class/kfd/kfd/topology/nodes"),
                ],
            )
        })
        .collect()
}

/// GPUs, and variables that show programs none of them.
pub(super) fn gpu_hidden(machine: &Machine) -> Vec<Found> {
    if machine.gpus.is_empty() || !visible(machine).is_empty() {
        return Vec::new();
    }
    let names = ["ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"];
    let set = names.iter().filter_map(|name| Some((*name, machine.environment.get(*name)?)));
    let read =
        |(name, read): (&str, &Read)| Read::new(format!("{name}={}", read.value), &read.from);
    let mut evidence: Vec<Read> = set.map(read).collect();
    evidence.extend(machine.gpus.iter().map(target));
    vec![Found::new("programs are shown no GPU", evidence)]
}

/// Device nodes that this user may not open.
pub(super) fn no_access(machine: &Machine) -> Vec<Found> {
    let denied: Vec<_> =
        machine.devices.iter().filter(|device| device.access == Access::Denied).collect();
    let Some(first) = denied.first() else { return Vec::new() };
    let evidence = denied.iter().map(|device| {
        let group = device.group.as_deref().unwrap_or("unknown");
        let member = if device.member { "in it" } else { "not in it" };
        let text = format!("no right to read and write; group {group}, this process is {member}");
        Read::new(text, device.path.as_str())
    });
    let paths: Vec<&str> = denied.iter().map(|device| device.path.as_str()).collect();
    let mut found = Found::new(format!("no access to {}", paths.join(", ")), evidence.collect());
    // Nobody is to join the group root for this.
    match first.group.as_deref().filter(|group| ["render", "video"].contains(group)) {
        Some(group) => found = found.with("group", group),
        None => found.commands = Some(0),
    }
    vec![found]
}

/// A GPU in sysfs without its device nodes.
pub(super) fn container_devices(machine: &Machine) -> Vec<Found> {
    let missing: Vec<_> =
        machine.devices.iter().filter(|device| device.access == Access::Missing).collect();
    if machine.gpus.is_empty() || missing.is_empty() {
        return Vec::new();
    }
    let mut evidence: Vec<Read> =
        missing.iter().map(|device| Read::new("not there", device.path.as_str())).collect();
    evidence.extend(machine.container.clone());
    vec![Found::new("the GPU is in sysfs, but programs cannot open it", evidence)]
}

/// A GPU, and nothing that uses it.
pub(super) fn no_rocm(machine: &Machine) -> Vec<Found> {
    if machine.gpus.is_empty() || !machine.libraries.is_empty() {
        return Vec::new();
    }
    vec![Found::new(
        "neither libamdhip64 nor libhsa-runtime64 was found",
        vec![Read::new("neither", "/usr/lib*, /opt/rocm*, LD_LIBRARY_PATH, PyTorch")],
    )]
}

/// An integrated GPU beside a card, and nothing that hides it.
pub(super) fn igpu_visible(machine: &Machine) -> Vec<Found> {
    let shown = visible(machine);
    let Some(apu) = shown.iter().find(|gpu| gpu.is_apu()) else { return Vec::new() };
    let Some(card) = shown.iter().find(|gpu| !gpu.is_apu()) else { return Vec::new() };
    let index = machine.gpus.iter().position(|gpu| gpu.node == card.node).unwrap_or(0);
    let what = format!("{} is shown beside {}", label(apu), label(card));
    vec![Found::new(what, vec![target(apu), target(card)]).with("index", index.to_string())]
}

#[cfg(test)]
mod tests {
    use super::super::test_machine::{board, count, library, machine};
    use super::*;
    use crate::doctor::facts::Device;

    fn card(in_kfd: bool) -> Display {
        let pci = "0000:03:00.0".to_owned();
        Display { pci, device_id: 0x73df, target: Some("gfx1031"), in_kfd }
    }

    fn device(path: &str, access: Access) -> Device {
        Device { path: path.to_owned(), access, group: Some("render".to_owned()), member: false }
    }

    #[test]
    fn a_machine_without_amds_gpu_says_so() {
        assert_eq!(count("no-gpu", &machine(&[], &[])), 1);
        assert_eq!(count("no-gpu", &machine(&[board("gfx1030", 1)], &[])), 0);
    }

    #[test]
    fn a_card_without_amdgpu_is_an_error_that_names_the_blacklist() {
        let mut machine = machine(&[], &[]);
        machine.displays = vec![card(false)];
        machine.kernel.modprobe = vec![Read::new("blacklist amdgpu", "/etc/modprobe.d/x.conf")];
        assert_eq!(count("driver-not-loaded", &machine), 1);
        assert_eq!(count("no-gpu", &machine) + count("kfd-skips-gpu", &machine), 0);
        assert!(
            driver_not_loaded(&machine)[0]
                .evidence
                .iter()
                .any(|read| read.value.contains("blacklist"))
        );
        machine.kernel.module = Some(Read::new("live", "/sys/module/amdgpu/initstate"));
        assert_eq!(count("driver-not-loaded", &machine), 0);
    }

    #[test]
    fn a_card_that_kfd_leaves_out_is_an_error_but_not_in_a_container() {
        let mut machine = machine(&[], &[]);
        machine.displays = vec![card(false)];
        machine.kernel.module = Some(Read::new("live", "/sys/module/amdgpu/initstate"));
        assert_eq!(count("kfd-skips-gpu", &machine), 1);
        machine.container = Some(Read::new("docker", "/.dockerenv"));
        assert_eq!(count("kfd-skips-gpu", &machine), 0);
        machine.container = None;
        machine.displays = vec![card(true)];
        assert_eq!(count("kfd-skips-gpu", &machine), 0);
    }

    #[test]
    fn a_variable_that_hides_every_gpu_is_named() {
        let one = [board("gfx1030", 1)];
        for (name, value, expected) in [
            ("ROCR_VISIBLE_DEVICES", "1", 1),
            ("HIP_VISIBLE_DEVICES", "-1", 1),
            ("CUDA_VISIBLE_DEVICES", "-1", 1),
            ("HIP_VISIBLE_DEVICES", "0", 0),
            ("HIP_VISIBLE_DEVICES", "0,-1", 0),
            ("ROCR_VISIBLE_DEVICES", "GPU-0123456789abcdef", 0),
        ] {
            assert_eq!(
                count("gpu-hidden", &machine(&one, &[(name, value)])),
                expected,
                "{name}={value}"
            );
        }
        assert_eq!(count("gpu-hidden", &machine(&[], &[("HIP_VISIBLE_DEVICES", "-1")])), 0);
    }

    #[test]
    fn a_node_that_may_not_be_opened_names_its_group() {
        let mut machine = machine(&[board("gfx1030", 1)], &[]);
        machine.devices = vec![device("/dev/kfd", Access::Denied)];
        assert_eq!(count("no-access", &machine), 1);
        assert_eq!(no_access(&machine)[0].values, [("group", "render".to_owned())]);
        machine.devices[0].group = Some("root".to_owned());
        assert_eq!(no_access(&machine)[0].commands, Some(0), "nobody is to join the group root");
        machine.devices = vec![device("/dev/kfd", Access::Granted)];
        assert_eq!(count("no-access", &machine), 0);
        machine.devices = vec![device("/dev/kfd", Access::Unknown)];
        assert_eq!(count("no-access", &machine), 0);
    }

    #[test]
    fn a_gpu_without_device_nodes_is_a_container_without_them() {
        let mut machine = machine(&[board("gfx1030", 1)], &[]);
        machine.devices = vec![device("/dev/kfd", Access::Missing)];
        assert_eq!(count("container-devices", &machine), 1);
        machine.devices = vec![device("/dev/kfd", Access::Granted)];
        assert_eq!(count("container-devices", &machine), 0);
    }

    #[test]
    fn a_gpu_without_rocm_is_a_note() {
        let mut machine = machine(&[board("gfx1030", 1)], &[]);
        assert_eq!(count("no-rocm", &machine), 1);
        machine.libraries = vec![library("6.4.1")];
        assert_eq!(count("no-rocm", &machine), 0);
    }

    #[test]
    fn an_integrated_gpu_beside_a_card_is_named_with_the_way_to_hide_it() {
        let boards = [board("gfx1036", 1), board("gfx1030", 2)];
        let both = machine(&boards, &[]);
        assert_eq!(count("igpu-visible", &both), 1);
        assert_eq!(igpu_visible(&both)[0].values, [("index", "1".to_owned())]);
        assert_eq!(count("igpu-visible", &machine(&boards, &[("ROCR_VISIBLE_DEVICES", "1")])), 0);
        assert_eq!(count("igpu-visible", &machine(&boards[..1], &[])), 0);
        let cards = [board("gfx1030", 1), board("gfx1031", 2)];
        assert_eq!(count("igpu-visible", &machine(&cards, &[])), 0);
    }
}
