//! The patched libraries of ROCm 6.4.3, built for real by `rdnafix build` from the archive's
//! source, in the root that has the compilers. Slow once: what did not change is not built again.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use super::artifact::artifact;
use super::cache::{cache, turn};

const RELEASE: &str = "6.4.3";

/// The root that has the compilers and the sources.
pub const BUILD_ROOT: &str = "build-6.4.3";

/// The prefix that they are installed in. `None`, after a line that says why, where they cannot
/// be had here.
pub fn patched() -> Option<PathBuf> {
    static PREFIX: OnceLock<Option<PathBuf>> = OnceLock::new();
    PREFIX.get_or_init(build).clone()
}

fn build() -> Option<PathBuf> {
    if let Ok(only) = std::env::var("RDNAFIX_TEST_RELEASE")
        && only != RELEASE
    {
        println!("SKIPPED: the patched libraries of ROCm {RELEASE}: only {only} is asked for");
        return None;
    }
    let turn = Turn::take();
    let output = turn.build(&["--from", "debian"], &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Some(turn.prefix),
        // EX_UNAVAILABLE
        Some(69) => {
            let why = said.lines().last().unwrap_or_default();
            println!("SKIPPED: the patched libraries of ROCm {RELEASE}: {why}");
            None
        }
        _ => panic!("rdnafix build rocm: {}\n{said}", output.status),
    }
}

/// The right to build them: other tests wait, also those of other checkouts, which share the
/// work that is kept.
pub struct Turn {
    prefix: PathBuf,
    _lock: File,
}

impl Turn {
    /// Waits for it.
    pub fn take() -> Self {
        let lock = turn("patched");
        let prefix = cache().join(format!("patched-{RELEASE}-{:016x}", recipe()));
        Self { prefix, _lock: lock }
    }

    /// Builds them with more arguments, and with this set, as `NAME=VALUE`.
    pub fn build(&self, arguments: &[&str], set: &[String]) -> Output {
        let mut command = Command::new(artifact("rdnafix"));
        command.args(["sim", "root", BUILD_ROOT, "--", "env"]).args(set).arg(artifact("rdnafix"));
        command.args(["build", "rocm", "--release", RELEASE]).args(arguments);
        command.arg("--prefix").arg(&self.prefix).output().expect("the command starts")
    }
}

/// Of the patches and of how the libraries are built: two checkouts of the repository that
/// differ in them have two prefixes, and neither changes under the other's tests.
fn recipe() -> u64 {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = Vec::new();
    let patches = ["patches/clr", "patches/rocr-runtime", "patches/policy"];
    for directory in patches.into_iter().chain(["crates/cli/releases"]) {
        collect(&repository.join(directory), &mut files);
    }
    files.sort();
    let mut hash = DefaultHasher::new();
    for file in files {
        let name = file.strip_prefix(repository).expect("it is in the repository");
        (name, fs::read(&file).expect("it is readable")).hash(&mut hash);
    }
    hash.finish()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}
