//! The kernel's sources that the series in `patches/linux/` are for, from the Debian archive, and
//! what is done with them. Says nothing about what a GPU does. The including test has
//! `mod cli_common` and `mod source_common`.

#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod decide;
pub mod extract;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli_common::cache::{cache, turn};
use crate::cli_common::{output, rdnafix, text};
use crate::source_common::{patch, patches, patches_of};

/// The versions that there is a series for.
pub const VERSIONS: [&str; 3] = ["6.1", "6.12", "7.2"];

/// The amdgpu driver in a kernel's tree.
pub const DRIVER: &str = "drivers/gpu/drm/amd";

/// The unpacked source of a version.
pub struct Source {
    pub version: &'static str,
    /// Has `Makefile`, [`DRIVER`], `include/uapi` and `scripts/checkpatch.pl`. Nobody writes to it.
    pub tree: PathBuf,
}

/// What is unpacked of a kernel.
const PARTS: [&str; 7] = [
    "Makefile",
    DRIVER,
    "include/uapi/drm/amdgpu_drm.h",
    "include/uapi/linux/kfd_ioctl.h",
    "scripts/checkpatch.pl",
    "scripts/const_structs.checkpatch",
    "scripts/spelling.txt",
];

impl Source {
    /// Unpacks it once for each content of the archive. `None`, after a line that says why, where
    /// it cannot be had.
    pub fn get(version: &'static str) -> Option<Self> {
        let recipe = recipe(version);
        let got = output(&mut rdnafix(["sim", "root", &recipe, "--json"]));
        let said = text(&got.stderr);
        if !got.status.success() {
            // EX_UNAVAILABLE
            assert_eq!(got.status.code(), Some(69), "rdnafix sim root {recipe}: {said}");
            println!("SKIPPED: Linux {version}: {}", said.lines().last().unwrap_or_default());
            return None;
        }
        let value: serde_json::Value = serde_json::from_slice(&got.stdout).expect("JSON");
        let root = Path::new(value["path"].as_str().expect("a path"));
        let tarball = root.join(format!("usr/src/linux-source-{version}.tar.xz"));
        let mut hash = DefaultHasher::new();
        (PARTS, fs::read(root.join("packages")).expect("a root lists its packages"))
            .hash(&mut hash);
        let tree = cache().join(format!("linux-source-{version}-{:016x}", hash.finish()));
        let _turn = turn(&format!("linux-source-{version}"));
        if !tree.exists() {
            let part = tempfile::tempdir_in(cache()).expect("the cache is writable");
            let mut tar = Command::new("tar");
            tar.args(["--extract", "--strip-components=1", "--file"]).arg(&tarball);
            tar.args(PARTS.map(|part| format!("linux-source-{version}/{part}")));
            let done = output(tar.current_dir(part.path()));
            assert!(done.status.success(), "{}: {}", tarball.display(), text(&done.stderr));
            fs::rename(part.keep(), &tree).expect("rename within a directory");
        }
        Some(Self { version, tree })
    }

    /// `linux/6.1`
    pub fn series(&self) -> String {
        format!("linux/{}", self.version)
    }

    /// The files that the series changes, from the root of the tree.
    pub fn touched(&self) -> Vec<String> {
        touched(self.version)
    }

    /// A fresh copy of those files, in their places.
    pub fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().expect("a temporary directory");
        for file in self.touched() {
            let to = copy.path().join(&file);
            fs::create_dir_all(to.parent().expect("a directory")).expect("writable");
            fs::copy(self.tree.join(&file), to).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
        copy
    }

    /// The same and amdgpu_gmc.c, which no patch for 7.2 changes: what `patch create` needs.
    pub fn to_port(&self) -> tempfile::TempDir {
        let copy = self.copy();
        let file = format!("{DRIVER}/amdgpu/amdgpu_gmc.c");
        fs::copy(self.tree.join(&file), copy.path().join(&file)).expect("writable");
        copy
    }

    /// The same as [`Source::copy`], patched.
    pub fn patched(&self) -> tempfile::TempDir {
        let copy = self.copy();
        for (path, _) in patches_of(&self.series()) {
            patch(copy.path(), &path, &[]);
        }
        copy
    }

    /// The whole tree, to be built in: unchanged files are the same as the source's.
    pub fn build_tree(&self) -> tempfile::TempDir {
        let directory = tempfile::Builder::new()
            .prefix("linux-build-")
            .tempdir_in(cache())
            .expect("the cache is writable");
        let mut copy = Command::new("cp");
        copy.args(["--archive", "--link"]);
        copy.arg(self.tree.join("drivers")).arg(self.tree.join("Makefile")).arg(directory.path());
        let done = output(&mut copy);
        assert!(done.status.success(), "{}", text(&done.stderr));
        directory
    }
}

/// The root that has the source and the headers of a version.
pub fn recipe(version: &str) -> String {
    format!("linux-{version}")
}

/// Every file that the series of a version changes, once.
pub fn touched(version: &str) -> Vec<String> {
    let mut files = Vec::new();
    for (_, text) in patches_of(&format!("linux/{version}")) {
        files.extend(text.lines().filter_map(|line| line.strip_prefix("+++ b/")).map(String::from));
    }
    files.sort();
    files.dedup();
    files
}

/// The versions that have a directory.
pub fn directories() -> Vec<String> {
    let entries = fs::read_dir(patches().join("linux")).expect("patches for Linux");
    let directories = entries.map(|entry| entry.expect("an entry").path()).filter(|it| it.is_dir());
    let name = |path: PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
    let mut names: Vec<String> = directories.map(name).collect();
    names.sort();
    names
}
