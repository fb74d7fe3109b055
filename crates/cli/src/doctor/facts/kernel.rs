//! The kernel: its release, the amdgpu module and its parameters, the device nodes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::source::{Access, Source};
use super::{Gpu, Read, has_extension};

/// Parameters of amdgpu that a rule looks at or that a report needs.
const PARAMETERS: [&str; 9] = [
    "cwsr_enable",
    "gttsize",
    "hws_max_conc_proc",
    "mtype_local",
    "no_queue_eviction_on_vm_fault",
    "noretry",
    "num_kcq",
    "rdna_noncoherent",
    "vm_update_mode",
];
/// Options of the boot command line that concern the GPU; others may name the machine.
const BOOT: [&str; 8] = [
    "amdgpu.",
    "amd_iommu=",
    "intel_iommu=",
    "iommu=",
    "iommu.",
    "modprobe.blacklist=",
    "nomodeset",
    "pci=",
];

/// The kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Kernel {
    pub(crate) release: Option<Read>,
    /// State of the module amdgpu, `live` once it is loaded.
    pub(crate) module: Option<Read>,
    /// Version of the module; only AMD's own amdgpu-dkms has one.
    pub(crate) module_version: Option<Read>,
    pub(crate) parameters: BTreeMap<String, Read>,
    /// Options of the boot command line.
    pub(crate) boot: Vec<Read>,
    /// Lines of /etc/modprobe.d about amdgpu.
    pub(crate) modprobe: Vec<Read>,
    pub(crate) dkms: Vec<Dkms>,
    /// Processes that use KFD now.
    pub(crate) processes: Option<Read<usize>>,
}

/// A version of a DKMS module, and the kernels that it is built for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Dkms {
    pub(crate) from: String,
    pub(crate) version: String,
    pub(crate) kernels: Vec<String>,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Device {
    pub(crate) path: String,
    pub(crate) access: Access,
    /// Name of its group, or the number of one without a name.
    pub(crate) group: Option<String>,
    /// Whether this process is in that group.
    pub(crate) member: bool,
}

impl Kernel {
    /// Major and minor number of the release.
    pub(crate) fn version(&self) -> Option<(u32, u32)> {
        let mut parts = self.release.as_ref()?.value.split(['.', '-', '+']);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

/// Reads it.
pub(super) fn kernel(source: &Source) -> Kernel {
    let read = |path: &str| {
        source.word(path).filter(|text| !text.is_empty()).map(|text| Read::new(text, path))
    };
    let parameters = PARAMETERS.iter().filter_map(|name| {
        let value = read(&format!("/sys/module/amdgpu/parameters/{name}"))?;
        Some(((*name).to_owned(), value))
    });
    Kernel {
        release: read("/proc/sys/kernel/osrelease"),
        module: read("/sys/module/amdgpu/initstate"),
        module_version: read("/sys/module/amdgpu/version"),
        parameters: parameters.collect(),
        boot: boot(source),
        modprobe: modprobe(source),
        dkms: dkms(source),
        processes: processes(source),
    }
}

fn boot(source: &Source) -> Vec<Read> {
    let from = "/proc/cmdline";
    let ours = |text: &str| -> String {
        let words = text.split_whitespace();
        let kept = words.filter(|word| BOOT.iter().any(|option| word.starts_with(option)));
        kept.collect::<Vec<_>>().join(" ")
    };
    let text = source.part(from, ours).unwrap_or_default();
    text.split_whitespace().map(|word| Read::new(word, from)).collect()
}

fn modprobe(source: &Source) -> Vec<Read> {
    let directory = "/etc/modprobe.d";
    let about = |line: &str| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("options" | "blacklist" | "install"))
            && words.next() == Some("amdgpu")
    };
    let mut found = Vec::new();
    let names = source.list(directory, |name| has_extension(name, "conf")).unwrap_or_default();
    for name in names {
        let file = format!("{directory}/{name}");
        let text = source.lines(&file, about).unwrap_or_default();
        found.extend(text.lines().map(|line| Read::new(line.trim(), file.as_str())));
    }
    found
}

fn dkms(source: &Source) -> Vec<Dkms> {
    let mut found = Vec::new();
    for module in ["amdgpu", "amdgpu-rdna"] {
        let directory = format!("/var/lib/dkms/{module}");
        let version = |name: &str| name.starts_with(|first: char| first.is_ascii_digit());
        for name in source.list(&directory, version).unwrap_or_default() {
            let from = format!("{directory}/{name}");
            let kernels = source.list(&from, version).unwrap_or_default();
            found.push(Dkms { version: format!("{module}/{name}"), kernels, from });
        }
    }
    found
}

fn processes(source: &Source) -> Option<Read<usize>> {
    let from = "/sys/class/kfd/kfd/proc";
    let processes = source.list(from, |name| name.parse::<u32>().is_ok())?;
    Some(Read::of(processes.len(), from))
}

/// /dev/kfd and the render nodes of these GPUs.
pub(super) fn devices(source: &Source, gpus: &[Gpu]) -> Vec<Device> {
    let groups = groups(source);
    let mut paths = vec!["/dev/kfd".to_owned()];
    paths.extend(
        gpus.iter()
            .filter(|gpu| gpu.render_minor > 0)
            .map(|gpu| format!("/dev/dri/renderD{}", gpu.render_minor)),
    );
    paths
        .into_iter()
        .map(|path| {
            let node = source.node(&path);
            let group =
                node.gid.map(|gid| groups.get(&gid).cloned().unwrap_or_else(|| gid.to_string()));
            Device { path, access: node.access, group, member: node.member }
        })
        .collect()
}

/// The groups that device nodes of GPUs have, without their members.
fn groups(source: &Source) -> BTreeMap<u32, String> {
    let text = source.part("/etc/group", |text| {
        text.lines()
            .filter_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next().filter(|name| ["render", "video"].contains(name))?;
                let gid: u32 = fields.nth(1)?.parse().ok()?;
                Some(format!("{name}:x:{gid}:\n"))
            })
            .collect()
    });
    text.unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            Some((fields.clone().nth(2)?.parse().ok()?, fields.next()?.to_owned()))
        })
        .collect()
}

/// What says that this is a container.
pub(super) fn container(source: &Source) -> Option<Read> {
    for (file, kind) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
        if source.exists(file) {
            return Some(Read::new(kind, file));
        }
    }
    let from = "/run/systemd/container";
    source.word(from).map(|kind| Read::new(kind, from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn copy(files: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let place = dir.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
        }
        let source = Source::copy(dir.path().to_owned(), None);
        (dir, source)
    }

    #[test]
    fn of_the_boot_command_line_only_the_options_of_the_gpu_are_read() {
        let line = "BOOT_IMAGE=/vmlinuz root=UUID=1-2 ip=10.0.0.1::host iommu=pt amdgpu.noretry=0";
        let (_dir, source) = copy(&[("proc/cmdline", line)]);
        let words: Vec<String> = boot(&source).into_iter().map(|word| word.value).collect();
        assert_eq!(words, ["iommu=pt", "amdgpu.noretry=0"]);
        assert_eq!(source.into_record().files["/proc/cmdline"], b"iommu=pt amdgpu.noretry=0");
    }

    #[test]
    fn of_the_groups_no_member_is_read() {
        let text = "root:x:0:\nrender:x:104:alice,bob\nvideo:x:44:alice\nalice:x:1000:\n";
        let (_dir, source) = copy(&[("etc/group", text)]);
        let expected = BTreeMap::from([(104, "render".to_owned()), (44, "video".to_owned())]);
        assert_eq!(groups(&source), expected);
        let record = source.into_record();
        assert_eq!(record.files["/etc/group"], b"render:x:104:\nvideo:x:44:\n");
    }

    #[test]
    fn a_release_has_a_version() {
        let of = |release: &str| {
            Kernel { release: Some(Read::new(release, "x")), ..Kernel::default() }.version()
        };
        assert_eq!(of("6.12.117+deb12-amd64"), Some((6, 12)));
        assert_eq!(of("6.6-rc1"), Some((6, 6)));
        assert_eq!(of("7"), None);
        assert_eq!(of("x.y"), None);
    }

    #[test]
    fn lines_of_modprobe_and_modules_of_dkms_are_found() {
        let (_dir, source) = copy(&[
            ("etc/modprobe.d/gpu.conf", "# x\noptions amdgpu mtype_local=1\noptions kvm x=1\n"),
            ("etc/modprobe.d/notes.txt", "options amdgpu noretry=0\n"),
            ("var/lib/dkms/amdgpu/6.8.5/6.5.0-1-amd64/x86_64/log/make.log", ""),
            ("var/lib/dkms/amdgpu/kernel-6.5.0/x", ""),
        ]);
        let kernel = kernel(&source);
        let lines = [Read::new("options amdgpu mtype_local=1", "/etc/modprobe.d/gpu.conf")];
        assert_eq!(kernel.modprobe, lines);
        assert_eq!(kernel.dkms[0].version, "amdgpu/6.8.5");
        assert_eq!(kernel.dkms[0].kernels, ["6.5.0-1-amd64"]);
        assert_eq!(kernel.dkms.len(), 1);
    }
}
