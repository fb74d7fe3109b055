//! Machines for the tests of the rules.

use std::collections::BTreeMap;

use policy::GfxTarget;

use crate::doctor::facts::{Blas, ENVIRONMENT, Gpu, Library, Machine, Read, Torch};

/// A GPU without any fault.
pub(crate) fn board(target: &str, node: u32) -> Gpu {
    let gfx = GfxTarget::from_name(target).expect("a gfx target");
    let version =
        u32::from(gfx.major) * 10_000 + u32::from(gfx.minor) * 100 + u32::from(gfx.stepping);
    Gpu {
        node,
        from: format!("/sys/class/kfd/kfd/topology/nodes/{node}/properties"),
        target: Some(target.to_owned()),
        gfx_target_version: Some(version),
        pci: format!("0000:{:02x}:00.0", node + 2),
        render_minor: 127 + node,
        svm: true,
        ..Gpu::default()
    }
}

/// A machine with these GPUs and variables, and nothing else.
pub(crate) fn machine(gpus: &[Gpu], environment: &[(&str, &str)]) -> Machine {
    let environment: BTreeMap<String, Read> = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Read::new(*value, ENVIRONMENT)))
        .collect();
    Machine { gpus: gpus.to_vec(), environment, ..Machine::default() }
}

/// A PyTorch for ROCm with kernels for these targets.
pub(crate) fn torch(version: &str, targets: &[&str]) -> Torch {
    let targets = targets.iter().map(|target| (*target).to_owned()).collect();
    Torch {
        directory: "/venv/lib/python3.12/site-packages/torch".to_owned(),
        version: Some(Read::new(version, "/venv/version.py")),
        hip: Some(Read::new("6.4", "/venv/version.py")),
        targets: Some(Read::of(targets, "/venv/libtorch_hip.so")),
    }
}

/// A rocBLAS with kernels for these targets.
pub(crate) fn blas(targets: &[&str], compatible: bool) -> Blas {
    Blas {
        directory: "/opt/rocm/lib/rocblas/library".to_owned(),
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        compatible,
    }
}

/// libamdhip64 of a release.
pub(crate) fn library(release: &str) -> Library {
    Library {
        path: "/opt/rocm/lib/libamdhip64.so".to_owned(),
        soname: None,
        release: Some(Read::new(release, "/opt/rocm/.info/version")),
    }
}

/// Whether a rule finds anything, by the number of findings.
pub(crate) fn count(id: &str, machine: &Machine) -> usize {
    crate::doctor::rules::findings(machine).iter().filter(|finding| finding.id == id).count()
}
