//! The kernel, its module and the parameters of it.

use policy::GfxTarget;

use super::{Found, target, visible};
use crate::doctor::facts::{Gpu, Machine, Read};

fn is_rdna1(gpu: &Gpu) -> bool {
    gpu.gfx().is_some_and(|target| (target.major, target.minor) == (10, 1))
}

/// Linux 6.6 and 6.7 with ROCm 6 on gfx1010.
pub(super) fn kernel_6_6_navi10(machine: &Machine) -> Vec<Found> {
    let navi10 = GfxTarget { major: 10, minor: 1, stepping: 0 };
    let Some(gpu) = visible(machine).into_iter().find(|gpu| gpu.gfx() == Some(navi10)) else {
        return Vec::new();
    };
    let rocm = machine.libraries.iter().find(|library| library.major() == Some(6));
    let (Some(release), Some(rocm)) = (&machine.kernel.release, rocm) else { return Vec::new() };
    if !matches!(machine.kernel.version(), Some((6, 6 | 7))) {
        return Vec::new();
    }
    let mut evidence = vec![release.clone(), target(gpu)];
    evidence.extend(rocm.release.clone());
    vec![Found::new(format!("Linux {} and ROCm 6 on {}", release.value, gpu.called()), evidence)]
}

/// amdgpu-dkms, but not for this kernel.
pub(super) fn dkms_stale(machine: &Machine) -> Vec<Found> {
    let modules: Vec<_> =
        machine.kernel.dkms.iter().filter(|module| module.version.starts_with("amdgpu/")).collect();
    let Some(release) = &machine.kernel.release else { return Vec::new() };
    if modules.is_empty() || modules.iter().any(|module| module.kernels.contains(&release.value)) {
        return Vec::new();
    }
    let mut evidence = vec![release.clone()];
    evidence.extend(modules.iter().map(|module| {
        let kernels = if module.kernels.is_empty() {
            "no kernel".to_owned()
        } else {
            module.kernels.join(", ")
        };
        Read::new(format!("built for {kernels}"), module.from.as_str())
    }));
    vec![Found::new(format!("{} is for other kernels", modules[0].version), evidence)]
}

/// Retry of page faults on RDNA1.
pub(super) fn noretry(machine: &Machine) -> Vec<Found> {
    /// The first release whose default is 1 (commit e47b0056a08d).
    const FIXED: (u32, u32) = (7, 2);
    let Some(gpu) = visible(machine).into_iter().find(|gpu| is_rdna1(gpu)) else {
        return Vec::new();
    };
    let Some(value) = machine.kernel.parameters.get("noretry") else { return Vec::new() };
    let retried = match value.value.as_str() {
        "0" => true,
        "-1" => machine.kernel.version().is_some_and(|version| version < FIXED),
        _ => false,
    };
    if !retried {
        return Vec::new();
    }
    let mut evidence = vec![Read::new(format!("noretry {}", value.value), value.from.as_str())];
    evidence.extend(machine.kernel.release.clone());
    evidence.push(target(gpu));
    vec![Found::new(format!("{} with noretry={}", gpu.called(), value.value), evidence)]
}

/// A parameter for other GPUs.
pub(super) fn mtype_local(machine: &Machine) -> Vec<Found> {
    let kernel = &machine.kernel;
    if machine.gpus.is_empty() || !machine.gpus.iter().all(Gpu::is_rdna12) {
        return Vec::new();
    }
    // The default is 0, or -1 in newer kernels.
    let set = kernel
        .parameters
        .get("mtype_local")
        .filter(|read| matches!(read.value.as_str(), "1" | "2"));
    let set = set.map(|read| Read::new(format!("mtype_local {}", read.value), read.from.as_str()));
    let asked = kernel.boot.iter().chain(&kernel.modprobe);
    let mut evidence: Vec<Read> =
        asked.filter(|read| read.value.contains("mtype_local")).cloned().collect();
    evidence.extend(set);
    if evidence.is_empty() {
        return Vec::new();
    }
    vec![Found::new("amdgpu.mtype_local is set", evidence)]
}

/// More processes than an RDNA1/2 GPU has queues for.
pub(super) fn many_processes(machine: &Machine) -> Vec<Found> {
    /// From this many on the hangs were seen.
    const MANY: usize = 3;
    let Some(processes) = machine.kernel.processes.as_ref().filter(|read| read.value >= MANY)
    else {
        return Vec::new();
    };
    let queues = machine.environment.contains_key("GPU_MAX_HW_QUEUES");
    if queues || !machine.gpus.iter().any(Gpu::is_rdna12) {
        return Vec::new();
    }
    let evidence = Read::new(format!("{} processes", processes.value), processes.from.as_str());
    vec![Found::new(format!("{} processes use KFD now", processes.value), vec![evidence])]
}

#[cfg(test)]
mod tests {
    use super::super::test_machine::{board, count, library, machine};
    use super::*;
    use crate::doctor::facts::Dkms;

    fn on(gpu: &str, release: &str) -> Machine {
        let mut machine = machine(&[board(gpu, 1)], &[]);
        machine.kernel.release = Some(Read::new(release, "/proc/sys/kernel/osrelease"));
        machine
    }

    #[test]
    fn linux_6_6_is_named_only_with_rocm_6_on_gfx1010() {
        for (gpu, release, rocm, expected) in [
            ("gfx1010", "6.6.8-2-MANJARO", "6.0.0", 1),
            ("gfx1010", "6.7.1", "6.0.2", 1),
            ("gfx1010", "6.8.0", "6.0.2", 0),
            ("gfx1010", "6.6.8", "5.7.1", 0),
            ("gfx1030", "6.6.8", "6.0.0", 0),
        ] {
            let mut machine = on(gpu, release);
            machine.libraries = vec![library(rocm)];
            assert_eq!(count("kernel-6.6-navi10", &machine), expected, "{gpu} {release} {rocm}");
        }
    }

    #[test]
    fn dkms_for_another_kernel_is_stale() {
        let mut machine = on("gfx1030", "6.8.0-50-generic");
        assert_eq!(count("dkms-stale", &machine), 0);
        let module = |kernels: &[&str]| Dkms {
            from: "/var/lib/dkms/amdgpu/6.10.5".to_owned(),
            version: "amdgpu/6.10.5".to_owned(),
            kernels: kernels.iter().map(|kernel| (*kernel).to_owned()).collect(),
        };
        machine.kernel.dkms = vec![module(&["6.8.0-45-generic"])];
        assert_eq!(count("dkms-stale", &machine), 1);
        machine.kernel.dkms = vec![module(&[])];
        assert_eq!(count("dkms-stale", &machine), 1);
        machine.kernel.dkms = vec![module(&["6.8.0-45-generic", "6.8.0-50-generic"])];
        assert_eq!(count("dkms-stale", &machine), 0);
    }

    #[test]
    fn retried_faults_are_a_note_on_rdna1_until_linux_7_2() {
        for (gpu, release, value, expected) in [
            ("gfx1010", "6.12.95", "-1", 1),
            ("gfx1012", "7.2.12", "0", 1),
            ("gfx1010", "7.2.12", "-1", 0),
            ("gfx1010", "6.12.95", "1", 0),
            ("gfx1030", "6.12.95", "-1", 0),
        ] {
            let mut machine = on(gpu, release);
            let from = "/sys/module/amdgpu/parameters/noretry";
            machine.kernel.parameters.insert("noretry".to_owned(), Read::new(value, from));
            assert_eq!(count("noretry", &machine), expected, "{gpu} {release} {value}");
        }
    }

    #[test]
    fn mtype_local_is_named_wherever_it_is_set_but_not_for_cdna() {
        let line = Read::new("options amdgpu mtype_local=1", "/etc/modprobe.d/x.conf");
        let mut machine = on("gfx1030", "6.12.0");
        assert_eq!(count("mtype-local", &machine), 0);
        let parameter = |value: &str| ("mtype_local".to_owned(), Read::new(value, "parameters"));
        machine.kernel.parameters.extend([parameter("0")]);
        assert_eq!(count("mtype-local", &machine), 0);
        machine.kernel.parameters.extend([parameter("1")]);
        assert_eq!(count("mtype-local", &machine), 1);
        machine.kernel.parameters.clear();
        machine.kernel.modprobe = vec![line.clone()];
        assert_eq!(count("mtype-local", &machine), 1);
        let mut cdna = on("gfx942", "6.12.0");
        cdna.kernel.modprobe = vec![line];
        assert_eq!(count("mtype-local", &cdna), 0);
    }

    #[test]
    fn three_processes_are_many_on_rdna_unless_their_queues_are_few() {
        let with = |gpu: &str, processes: usize, environment: &[(&str, &str)]| {
            let mut machine = machine(&[board(gpu, 1)], environment);
            machine.kernel.processes = Some(Read::of(processes, "/sys/class/kfd/kfd/proc"));
            count("many-processes", &machine)
        };
        assert_eq!(with("gfx1030", 3, &[]), 1);
        assert_eq!(with("gfx1030", 2, &[]), 0);
        assert_eq!(with("gfx1030", 3, &[("GPU_MAX_HW_QUEUES", "1")]), 0);
        assert_eq!(with("gfx906", 3, &[]), 0);
    }
}
