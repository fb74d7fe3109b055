//! Clean roots of Debian, made by mmdebstrap, kept as tarballs, and thrown away after each test.

#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::cli_common::cache::{cache, turn};
use crate::cli_common::{clean, output, succeed, text};

/// glibc 2.31, as Ubuntu 20.04 has it, and 2.36. Debian 10, with 2.28, has left the archive.
const SUITES: [&str; 2] = ["bullseye", "bookworm"];
/// What a clean root has beside the essential packages.
const INCLUDE: &str = "python3-venv";

/// A root of a test's own.
pub struct Root {
    pub suite: &'static str,
    directory: TempDir,
}

/// The package whose name ends so.
pub fn package(end: &str) -> PathBuf {
    let directory = env::var_os("RDNAFIX_TEST_PACKAGES");
    let directory = PathBuf::from(directory.expect("the step packages names the directory"));
    let mut found = fs::read_dir(&directory).expect("the directory of the packages");
    let found = found.find_map(|entry| {
        let path = entry.expect("an entry").path();
        path.to_string_lossy().ends_with(end).then_some(path)
    });
    found.unwrap_or_else(|| panic!("no package {end} in {}", directory.display()))
}

/// A root of each suite that can be had; a line says which cannot, and why.
pub fn roots() -> Vec<Root> {
    println!("SKIPPED: packages in a clean root with glibc 2.28: Debian 10 has left the archive");
    SUITES
        .into_iter()
        .filter_map(|suite| match tarball(suite) {
            Ok(tarball) => Some(Root::new(suite, &tarball)),
            Err(why) => {
                println!("SKIPPED: packages in a clean root of {suite}: {why}");
                None
            }
        })
        .collect()
}

/// The tarball of a clean root, made if need be.
fn tarball(suite: &str) -> Result<PathBuf, String> {
    // The tests of one run need it at the same time.
    let _turn = turn(&format!("clean-{suite}"));
    let file = cache().join(format!("clean-{suite}-{INCLUDE}.tar"));
    if !file.exists() {
        let new = file.with_extension("new.tar");
        let made = clean("mmdebstrap")
            .args(["--quiet", "--variant=minbase", &format!("--include={INCLUDE}"), suite])
            .arg(&new)
            .output()
            .map_err(|error| format!("mmdebstrap: {error}"))?;
        if !made.status.success() {
            let said = text(&made.stderr);
            return Err(format!("mmdebstrap: {}", said.lines().last().unwrap_or("failed")));
        }
        fs::rename(&new, &file).map_err(|error| error.to_string())?;
    }
    Ok(file)
}

impl Root {
    fn new(suite: &'static str, tarball: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        // Device nodes cannot be made everywhere; the machine's are used.
        let mut tar = clean("tar");
        tar.args(["--exclude=./dev/*", "-xf"]).arg(tarball).arg("-C").arg(directory.path());
        succeed(&mut tar);
        Self { suite, directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Puts a file into the root's directory /.
    pub fn take(&self, file: &Path) {
        let name = file.file_name().expect("a file has a name");
        fs::copy(file, self.path().join(name)).expect("the file is copied");
    }

    /// What a shell command in the root prints; it must succeed.
    pub fn says(&self, command: &str) -> String {
        let mut unshare = clean("unshare");
        if fs::metadata("/proc/self").expect("/proc is mounted").uid() != 0 {
            unshare.arg("--map-root-user");
        }
        let enter = "mount --rbind /proc \"$0/proc\" && mount --rbind /dev \"$0/dev\" && \
                     exec chroot \"$0\" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
                     LC_ALL=C.UTF-8 HOME=/root sh -c \"$1\"";
        unshare.args(["--mount", "sh", "-c", enter]).arg(self.path()).arg(command);
        let output = output(&mut unshare);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{}: {command}\n{out}\n{err}", self.suite);
        out
    }

    /// What is there now and was not, or was there and is not.
    pub fn changed(&self, before: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
        self.files().symmetric_difference(before).cloned().collect()
    }

    /// All files, but for what the system itself keeps of every installation.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        const KEPT: [&str; 5] =
            ["var/lib/dpkg", "var/log", "var/cache/ldconfig", "etc/ld.so.cache", "tmp"];
        let mut found = BTreeSet::new();
        let mut open = vec![self.path().to_owned()];
        while let Some(directory) = open.pop() {
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            for entry in entries.flatten() {
                let path = entry.path();
                let inside = path.strip_prefix(self.path()).expect("inside").to_owned();
                let data = path.symlink_metadata().expect("it is there");
                let compiled = inside.to_string_lossy().contains("__pycache__");
                if compiled || KEPT.iter().any(|kept| inside.starts_with(kept)) {
                    continue;
                }
                // Not into what is mounted there.
                if data.is_dir() && data.dev() == self.path().metadata().expect("it").dev() {
                    open.push(path);
                }
                found.insert(inside);
            }
        }
        found
    }
}
