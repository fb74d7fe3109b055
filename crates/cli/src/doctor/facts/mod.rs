//! What the machine shows, each value with where it was read. No judgement here: that is for
//! the rules.

pub(crate) mod elf;
mod installation;
mod kernel;
mod libraries;
mod place;
mod python;
pub(crate) mod source;
mod topology;

use std::collections::BTreeMap;

use serde::Serialize;

pub(crate) use installation::{Installation, Repository};
#[cfg(test)]
pub(crate) use kernel::Dkms;
pub(crate) use kernel::{Device, Kernel};
pub(crate) use libraries::{Blas, Library};
pub(crate) use place::regular_file;
pub(crate) use python::Torch;
use source::Source;
#[cfg(test)]
pub(crate) use topology::Link;
pub(crate) use topology::{Display, Gpu};

/// A value and where it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Read<T = String> {
    pub(crate) value: T,
    pub(crate) from: String,
}

impl Read {
    pub(crate) fn new(value: impl Into<String>, from: impl Into<String>) -> Self {
        Self::of(value.into(), from)
    }
}

impl<T> Read<T> {
    /// Of any type.
    pub(crate) fn of(value: T, from: impl Into<String>) -> Self {
        Self { value, from: from.into() }
    }
}

/// Where variables come from, as [`Read::from`].
pub(crate) const ENVIRONMENT: &str = "environment";

/// All facts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    /// Whether libkfdsim.so stands in for the kernel.
    pub(crate) simulated: bool,
    /// The GPUs that KFD drives.
    pub(crate) gpus: Vec<Gpu>,
    /// AMD's display devices on PCI, driven or not.
    pub(crate) displays: Vec<Display>,
    pub(crate) kernel: Kernel,
    /// /dev/kfd and the render nodes.
    pub(crate) devices: Vec<Device>,
    /// What says that this is a container.
    pub(crate) container: Option<Read>,
    /// ROCm and HIP libraries.
    pub(crate) libraries: Vec<Library>,
    pub(crate) installation: Installation,
    /// Directories of rocBLAS kernels.
    pub(crate) blas: Vec<Blas>,
    pub(crate) torch: Vec<Torch>,
    /// The libraries that LD_PRELOAD names.
    pub(crate) preload: Vec<Preload>,
    /// Variables that change what ROCm does.
    pub(crate) environment: BTreeMap<String, Read>,
}

/// A library of LD_PRELOAD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Preload {
    pub(crate) library: String,
    /// Whether the file is there; a name without a slash is the loader's to find.
    pub(crate) found: Option<bool>,
}

impl Preload {
    /// The name of its file.
    pub(crate) fn file_name(&self) -> &str {
        self.library.rsplit('/').next().unwrap_or_default()
    }
}

/// Variables that a rule or a reader of a dump wants, by the start of their names.
const PREFIXES: [&str; 8] =
    ["HSA_", "HSAKMT_", "HIP_", "ROCR_", "ROC_", "MIOPEN_", "RDNAFIX_", "KFDSIM_"];
/// Others, by their names.
const NAMES: [&str; 13] = [
    "AMD_LOG_LEVEL",
    "AMD_OPT_FLUSH",
    "AMD_SERIALIZE_COPY",
    "AMD_SERIALIZE_KERNEL",
    "CUDA_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "GPU_MAX_HW_QUEUES",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "NCCL_P2P_DISABLE",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_HIP_ALLOC_CONF",
];

/// Whether a variable is one of those.
pub(crate) fn matters(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Reads everything. `site_packages` are further directories of Python packages.
pub(crate) fn collect(source: &Source, site_packages: &[String]) -> Machine {
    let mut environment: BTreeMap<String, Read> = source
        .variables(matters)
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name, Read::new(value, ENVIRONMENT)))
        .collect();
    let gpus = topology::gpus(source);
    let displays = topology::displays(source, &gpus);
    for (name, variable) in &mut environment {
        if let Some(place) = set_by(source, name) {
            variable.from = format!("{ENVIRONMENT}; set in {place}");
        }
    }
    let preload = preload(source, environment.get("LD_PRELOAD"));
    let torch = python::torch(source, site_packages);
    Machine {
        simulated: preload.iter().any(|preload| preload.file_name() == "libkfdsim.so"),
        preload,
        kernel: kernel::kernel(source),
        devices: kernel::devices(source, &gpus),
        container: kernel::container(source),
        libraries: libraries::libraries(source, &torch),
        installation: installation::installation(source),
        blas: libraries::blas(source, &torch),
        gpus,
        displays,
        torch,
        environment,
    }
}

/// The libraries of LD_PRELOAD, which separates by colons or spaces (ld.so(8)).
fn preload(source: &Source, variable: Option<&Read>) -> Vec<Preload> {
    let value = variable.map_or("", |variable| variable.value.as_str());
    value
        .split([':', ' '])
        .filter(|library| !library.is_empty())
        .map(|library| Preload {
            // $LIB and $ORIGIN are the loader's to fill in.
            found: (library.starts_with('/') && !library.contains('$'))
                .then(|| source.exists(library)),
            library: library.to_owned(),
        })
        .collect()
}

fn has_extension(name: &str, extension: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, end)| end == extension)
}

/// The system's file that sets a variable for every shell, with the line.
fn set_by(source: &Source, variable: &str) -> Option<String> {
    let mut files = vec!["/etc/environment".to_owned()];
    let scripts =
        source.list("/etc/profile.d", |name| has_extension(name, "sh")).unwrap_or_default();
    files.extend(scripts.iter().map(|name| format!("/etc/profile.d/{name}")));
    files.into_iter().find(|file| {
        // Nothing but the lines that are looked for: these files may hold secrets.
        source
            .lines(file, assigns_known)
            .is_some_and(|text| text.lines().any(|line| assigned(line) == Some(variable)))
    })
}

fn assigns_known(line: &str) -> bool {
    assigned(line).is_some_and(matters)
}

/// The variable that a line of a shell script or of /etc/environment sets.
fn assigned(line: &str) -> Option<&str> {
    let line = line.trim();
    let (name, _) = line.strip_prefix("export ").unwrap_or(line).trim_start().split_once('=')?;
    name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_').then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_assignments_of_variables_that_matter_are_read() {
        assert_eq!(assigned("export HSA_XNACK=1"), Some("HSA_XNACK"));
        assert_eq!(assigned("HSA_XNACK=1"), Some("HSA_XNACK"));
        assert_eq!(assigned("# HSA_XNACK=1"), None);
        assert!(assigns_known("  export  HSA_OVERRIDE_GFX_VERSION_1=10.3.0"));
        for line in ["export TOKEN=x", "echo HSA_XNACK=1", "AWS_SECRET=1", "", "="] {
            assert!(!assigns_known(line), "{line}");
        }
    }

    #[test]
    fn an_empty_tree_is_an_empty_machine() {
        let dir = tempfile::tempdir().unwrap();
        let machine = collect(&Source::copy(dir.path().to_owned(), None), &[]);
        assert!(machine.gpus.is_empty() && machine.libraries.is_empty() && !machine.simulated);
        assert!(machine.environment.is_empty());
    }

    /// Every file and directory that is read by name.
    const PLACES: [&str; 25] = [
        "sys/class/kfd/kfd/topology/nodes/1/properties",
        "sys/class/kfd/kfd/topology/nodes/1/name",
        "sys/class/kfd/kfd/topology/nodes/1/io_links/0/properties",
        "sys/class/kfd/kfd/topology/nodes/1/mem_banks/0/properties",
        "sys/class/kfd/kfd/topology/nodes/1/caches/0/properties",
        "sys/class/kfd/kfd/proc/1/pasid",
        "sys/bus/pci/devices/0000:03:00.0/vendor",
        "sys/bus/pci/devices/0000:03:00.0/class",
        "sys/bus/pci/devices/0000:03:00.0/device",
        "sys/bus/pci/devices/0000:03:00.0/resource",
        "sys/module/amdgpu/initstate",
        "sys/module/amdgpu/parameters/noretry",
        "proc/sys/kernel/osrelease",
        "proc/cmdline",
        "etc/group",
        "etc/os-release",
        "etc/apt/sources.list.d/rocm.list",
        "etc/apt/sources.list.d/rocm.sources",
        "etc/environment",
        "etc/modprobe.d/a.conf",
        "opt/rocm/.info/version",
        "opt/rocm/lib/libamdhip64.so",
        "opt/rocm/lib/rocblas/library/TensileLibrary_gfx1030.dat",
        "usr/lib/python3/dist-packages/torch/version.py",
        "usr/lib/python3/dist-packages/torch/lib/libtorch_hip.so",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_machine_of_any_content_is_read_and_judged(
            contents in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..60),
                    "([a-z_]{0,12}[ =:.]{0,2}[0-9x-]{0,24}\n?){0,6}".prop_map(String::into_bytes),
                    Just(b"simd_count 1\nlocation_id 768\ngfx_target_version 100301\n".to_vec()),
                ],
                PLACES.len(),
            ),
            variables in proptest::collection::vec("\\PC{0,16}", NAMES.len()),
        ) {
            let dir = tempfile::tempdir().unwrap();
            for (place, content) in PLACES.iter().zip(contents) {
                let file = dir.path().join(place);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, content).unwrap();
            }
            let environment = NAMES.iter().map(|name| (*name).to_owned()).zip(variables).collect();
            let notes = source::Notes { environment, ..source::Notes::default() };
            let source = Source::copy(dir.path().to_owned(), Some(notes));
            let machine = collect(&source, &["/x".to_owned()]);
            let _ = crate::doctor::rules::findings(&machine);
        }
    }

    #[test]
    fn a_variable_says_which_file_of_the_system_sets_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/profile.d")).unwrap();
        let script = dir.path().join("etc/profile.d/rocm.sh");
        std::fs::write(script, "export TOKEN=secret\nexport HSA_XNACK=1\n").unwrap();
        let notes = source::Notes {
            environment: BTreeMap::from([("HSA_XNACK".to_owned(), "1".to_owned())]),
            ..source::Notes::default()
        };
        let source = Source::copy(dir.path().to_owned(), Some(notes));
        let machine = collect(&source, &[]);
        assert!(machine.environment["HSA_XNACK"].from.ends_with("set in /etc/profile.d/rocm.sh"));
        let recorded = &source.into_record().files["/etc/profile.d/rocm.sh"];
        assert_eq!(recorded, b"export HSA_XNACK=1\n");
    }
}
