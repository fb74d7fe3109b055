//! The GPUs of this machine as KFD knows them. The topology is read once, when the process
//! first uses a GPU; what cannot be read means that no GPU is known.

use std::path::Path;
use std::sync::OnceLock;

use kfd_abi::topology::{Gpu, PciAddress, TOPOLOGY, gpus};
use policy::GfxTarget;

static GPUS: OnceLock<Vec<Gpu>> = OnceLock::new();

/// The GPUs, in node order; none if the topology cannot be read. Thread-safe.
pub(crate) fn all() -> &'static [Gpu] {
    GPUS.get_or_init(|| {
        gpus(Path::new(TOPOLOGY)).unwrap_or_else(|error| {
            tracing::debug!("cannot read {TOPOLOGY}: {error}; taken as a machine without RDNA1/2");
            Vec::new()
        })
    })
}

/// The gfx target of a GPU node, if the kernel says it.
pub(crate) fn target(gpu: &Gpu) -> Option<GfxTarget> {
    gpu.gfx_target_version.and_then(GfxTarget::from_kfd)
}

/// Whether a GPU of this machine is, or on an old kernel may be, RDNA1/2.
pub(crate) fn any_rdna12() -> bool {
    all().iter().any(|gpu| target(gpu).is_none_or(GfxTarget::is_rdna12))
}

/// The target of the GPU at a PCI address: KFD's word, which HSA_OVERRIDE_GFX_VERSION cannot
/// change, or on kernels that do not say (before 5.14) what the runtime calls it. `None` for
/// an address that KFD does not know.
pub(crate) fn target_at(
    pci: PciAddress,
    runtime_says: impl FnOnce() -> Option<GfxTarget>,
) -> Option<GfxTarget> {
    let gpu = all().iter().find(|gpu| gpu.pci == pci)?;
    target(gpu).or_else(runtime_says)
}
