//! Running a program on a simulated machine in four ways: stock, interposed, patched, and patched
//! with the interposer as well.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use kfd_abi::log::Event;

use super::asked::{Asked, asked};
use crate::common::Run;
use crate::common::patched::patched;
use crate::common::release::{Release, release};

/// The levels that change something, and the one that does not.
pub const LEVELS: [&str; 4] = ["off", "standard", "mapped", "full"];

/// How the libraries come into the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The distribution's libraries.
    Stock,
    /// These, with librdnafix.so.
    Interposed,
    /// The patched libraries.
    Patched,
    /// These, with librdnafix.so.
    Both,
}

/// A simulated machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    pub gpus: &'static str,
    /// `HSA_OVERRIDE_GFX_VERSION`
    pub named: Option<&'static str>,
    /// Whether an RDNA1/2 GPU is in it.
    pub rdna12: bool,
}

/// What is needed to run anything: the root with the stock libraries, and the patched ones.
pub struct Setup {
    pub release: Release,
    /// The directory with the patched libraries.
    pub overlay: PathBuf,
}

/// What came of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub asked: Asked,
    pub stdout: String,
}

impl Setup {
    /// `None`, after a line that says why, where one of them cannot be had.
    pub fn new() -> Option<Self> {
        let release = release("6.4.3")?;
        Some(Self { release, overlay: patched()?.join("lib") })
    }

    /// The same with only some of the patched libraries.
    pub fn with_only(&self, library: &str, directory: &Path) -> Self {
        let file = self.overlay.join(library);
        symlink(file, directory.join(library)).expect("a new directory");
        Self { release: self.release.clone(), overlay: directory.to_owned() }
    }

    /// Compiles a program for the release.
    pub fn compile(&self, source: &str, name: &str) -> PathBuf {
        let libraries = ["-std=c++17", "-lamdhip64", "-lhsa-runtime64", "-ldl"];
        self.release.compile(source, name, &libraries)
    }

    /// A program in the root, on a machine, at a level.
    pub fn run(&self, program: &Path, machine: Machine, way: Way, level: &str) -> Seen {
        self.run_with(Run::new(program), machine, way, level)
    }

    /// The same with arguments or settings of its own.
    pub fn run_with(&self, mut run: Run, machine: Machine, way: Way, level: &str) -> Seen {
        let patched = matches!(way, Way::Patched | Way::Both);
        if matches!(way, Way::Interposed | Way::Both) {
            run = run.interposed();
        }
        if way != Way::Stock {
            run = run.env("RDNAFIX_POLICY", level);
        }
        if patched {
            run = run.with_libraries(&self.overlay);
        }
        if let Some(name) = machine.named {
            run = run.env("HSA_OVERRIDE_GFX_VERSION", name);
        }
        let ran = run.on(machine.gpus).inside(&self.release).go().well();
        let overlay: Vec<_> =
            self.overlay.read_dir().expect("the overlay").map(|file| file.expect("one")).collect();
        let mut loaded = 0;
        for record in &ran.records {
            let Event::Opened { libraries } = &record.event else { continue };
            for library in libraries {
                let library = Path::new(library);
                let has =
                    overlay.iter().any(|file| Some(&*file.file_name()) == library.file_name());
                let from = library.starts_with(&self.overlay);
                assert_eq!(from, patched && has, "{way:?}: {} was loaded", library.display());
                loaded += 1;
            }
        }
        assert!(loaded > 0, "{way:?}: no library of ROCm was loaded");
        Seen { asked: asked(&ran.records), stdout: ran.stdout().to_owned() }
    }
}

impl Machine {
    pub const fn of(gpus: &'static str, rdna12: bool) -> Self {
        Self { gpus, named: None, rdna12 }
    }

    /// `gfx1010 as 10.3.0`
    pub fn name(&self) -> String {
        match self.named {
            Some(version) => format!("{} as {version}", self.gpus),
            None => self.gpus.replace(',', " + "),
        }
    }
}
