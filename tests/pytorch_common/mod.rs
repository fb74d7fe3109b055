//! PyTorch's own allocators, stock and patched, built from source by scripts/pytorch.sh and run on
//! the real libamdhip64 and the simulated GPU. Knows no expectation: that is for the tests.

pub mod case;
pub mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::Run;
use crate::common::release::{Release, release};

/// A version of PyTorch, and the release of ROCm that its allocators are run on.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    pub name: &'static str,
    pub release: &'static str,
    /// A setting that changes none of those that the patches are about.
    pub other_setting: &'static str,
}

pub const V1_13: Version =
    Version { name: "1.13.1", release: "5.7.1", other_setting: "roundup_bypass_threshold_mb:1280" };

pub const V2_6: Version =
    Version { name: "2.6.0", release: "6.4.3", other_setting: "expandable_segments:False" };

/// One that has been built.
#[derive(Debug)]
pub struct Built {
    pub version: Version,
    directory: PathBuf,
    release: Release,
}

impl Version {
    /// Builds it if need be. `None`, after a line that says why, where it cannot be had.
    pub fn built(self) -> Option<Built> {
        self.built_for(self.release)
    }

    /// The same, to run on another release that has the same libamdhip64.
    pub fn built_for(self, on: &str) -> Option<Built> {
        let release = release(on)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/pytorch.sh");
        let output = Command::new(script).arg(self.name).output().expect("the script starts");
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => {}
            // EX_UNAVAILABLE
            Some(69) => {
                let why = said.lines().last().unwrap_or_default();
                println!("SKIPPED: PyTorch {}: {why}", self.name);
                return None;
            }
            _ => panic!("scripts/pytorch.sh {}: {}\n{said}", self.name, output.status),
        }
        let directory = String::from_utf8_lossy(&output.stdout).trim().into();
        Some(Built { version: self, directory, release })
    }
}

/// Which of the two builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Stock,
    Patched,
}

impl Variant {
    fn directory(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Patched => "patched",
        }
    }
}

impl Built {
    /// A run of `tests/programs/pytorch_alloc.cpp`, on these GPUs; its steps are to be added.
    pub fn run(&self, variant: Variant, gpus: &str) -> Run {
        let directory = self.directory.join(variant.directory());
        // What this machine's user has set for PyTorch is none of the test's.
        let unset = ["PYTORCH_HIP_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"];
        assert!(unset.iter().all(|name| std::env::var_os(name).is_none()), "unset {unset:?}");
        Run::new(directory.join("pytorch_alloc"))
            .inside(&self.release)
            .with_libraries(&directory)
            .on(gpus)
    }

    /// `PyTorch 2.6.0, ROCm 6.4.3`
    pub fn name(&self) -> String {
        format!("PyTorch {}, ROCm {}", self.version.name, self.release.name)
    }
}

/// What a run printed, a line for each step.
pub fn lines(run: Run) -> Vec<String> {
    run.go().well().stdout().lines().map(str::to_owned).collect()
}
