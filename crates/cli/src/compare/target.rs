//! Which GPU the program runs on: a real RDNA1/2 one, or a simulated one.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use kfd_abi::topology::{self, Gpu, TOPOLOGY};
use policy::GfxTarget;
use serde::Serialize;

use super::args::CompareArgs;
use crate::locate::Library;
use crate::preload::{self, LD_PRELOAD};
use crate::sim::DEFAULT_GPU;

/// The GPU of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Target {
    /// Whether the kernel is the simulator.
    pub(crate) simulated: bool,
    /// gfx targets; with PCI address where they are real.
    pub(crate) gpus: Vec<String>,
    /// Where the rows come from.
    pub(crate) source: &'static str,
}

impl Target {
    /// From the command line, the environment and the machine.
    pub(crate) fn choose(args: &CompareArgs) -> Self {
        let inside =
            env::var_os(LD_PRELOAD).is_some_and(|list| preload::contains(Library::Kfdsim, &list));
        if !(args.simulate
            || args.kernel_patched
            || args.patched.is_some()
            || args.board.given()
            || inside)
        {
            let real = rdna12(Path::new(TOPOLOGY));
            if !real.is_empty() {
                return Self { simulated: false, gpus: real, source: "report" };
            }
        }
        Self {
            simulated: true,
            gpus: simulated(&args.board.gpu, env::var_os("KFDSIM_GPUS")),
            source: "ioctls",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gpus = self.gpus.join(", ");
        if self.simulated {
            write!(
                f,
                "simulated {gpus}: this shows what is asked of the kernel, not what hardware does"
            )
        } else {
            write!(f, "{gpus}; from the interposer's report, not from kernel ioctls")
        }
    }
}

fn simulated(named: &[String], environment: Option<OsString>) -> Vec<String> {
    if !named.is_empty() {
        return named.to_vec();
    }
    let list = environment
        .and_then(|list| list.into_string().ok())
        .filter(|list| !list.is_empty())
        .unwrap_or_else(|| DEFAULT_GPU.to_owned());
    list.split(',').map(str::to_owned).collect()
}

/// The RDNA1/2 GPUs of a topology. One that cannot be read has none that could be used.
fn rdna12(topology: &Path) -> Vec<String> {
    let gpus = topology::gpus(topology).unwrap_or_else(|error| {
        tracing::debug!("no KFD topology at '{}': {error}", topology.display());
        Vec::new()
    });
    gpus.iter().filter_map(describe_rdna12).collect()
}

fn describe_rdna12(gpu: &Gpu) -> Option<String> {
    let target = GfxTarget::from_kfd(gpu.gfx_target_version?)?;
    let (domain, bdf) = (gpu.pci.domain, gpu.pci.bdf);
    target.is_rdna12().then(|| {
        format!("{target} at {domain:04x}:{:02x}:{:02x}.{}", bdf >> 8, bdf >> 3 & 0x1f, bdf & 7)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(versions: &[u32]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (node, version) in versions.iter().enumerate() {
            let path = dir.path().join("nodes").join(node.to_string());
            std::fs::create_dir_all(&path).unwrap();
            let text = format!(
                "simd_count 80\ngfx_target_version {version}\nlocation_id {}\ndomain 0\n",
                (3 + node) << 8
            );
            std::fs::write(path.join("properties"), text).unwrap();
        }
        dir
    }

    #[test]
    fn the_rdna12_gpus_of_the_machine_are_used() {
        let dir = topology(&[90_006, 100_301, 110_000, 100_102]);
        assert_eq!(rdna12(dir.path()), ["gfx1031 at 0000:04:00.0", "gfx1012 at 0000:06:00.0"]);
        assert_eq!(rdna12(topology(&[110_000]).path()), Vec::<String>::new());
        assert_eq!(rdna12(Path::new("/nonexistent")), Vec::<String>::new());
    }

    #[test]
    fn the_simulated_gpus_are_those_named_first() {
        let named = ["gfx1010".to_owned()];
        let environment = || Some(OsString::from("gfx1030,gfx906"));
        assert_eq!(simulated(&named, environment()), ["gfx1010"]);
        assert_eq!(simulated(&[], environment()), ["gfx1030", "gfx906"]);
        assert_eq!(simulated(&[], Some(OsString::new())), ["gfx1030"]);
        assert_eq!(simulated(&[], None), ["gfx1030"]);
    }

    #[test]
    fn the_first_line_says_which_gpu_and_from_where() {
        let simulated =
            Target { simulated: true, gpus: vec!["gfx1030".to_owned()], source: "ioctls" };
        assert_eq!(
            simulated.to_string(),
            "simulated gfx1030: this shows what is asked of the kernel, not what hardware does"
        );
        let real = Target {
            simulated: false,
            gpus: vec!["gfx1031 at 0000:04:00.0".to_owned()],
            source: "report",
        };
        assert!(real.to_string().ends_with("from the interposer's report, not from kernel ioctls"));
    }
}
