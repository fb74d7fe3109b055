//! What was installed in a prefix, and whether it still is: `share/rdnafix/manifest.json`.
//! Touches nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::tree;

/// Where it is in a prefix.
pub(crate) const MANIFEST: &str = "share/rdnafix/manifest.json";

/// What was installed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The version of rdnafix.
    pub(super) rdnafix: String,
    /// That of ROCm.
    pub(super) release: String,
    /// Whether the patches are in it.
    pub(super) patched: bool,
    pub(super) components: Vec<Built>,
    /// What it was compiled with, each in its own words.
    pub(super) tools: Vec<String>,
    /// Files by their paths in the prefix, with their SHA-256; of links, `-> TARGET`.
    pub(super) files: BTreeMap<PathBuf, String>,
}

/// A library and what it was made from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Built {
    pub(super) name: String,
    pub(super) library: String,
    /// `git`, `debian`, or a directory of the user's.
    pub(super) from: String,
    /// Upstream's tag and how its commit begins; none for a directory of the user's.
    pub(super) upstream: Option<String>,
    /// The SHA-256 of a list of all files of the source and theirs, as sha256sum(1) writes it.
    pub(super) source: String,
    /// The patches by their names in the series, with their SHA-256.
    pub(super) patches: Vec<(String, String)>,
    /// The hash of everything that it was made from.
    pub(super) inputs: String,
    /// What must be where it is used: `GLIBC` 2.38, ...
    pub(super) needs: BTreeMap<String, String>,
}

/// The manifest of a prefix; `None` where there is nothing.
///
/// # Errors
/// Where the prefix is there and has no manifest: it is not ours.
pub(super) fn read(prefix: &Path) -> Result<Option<Manifest>> {
    let empty = || fs::read_dir(prefix).is_ok_and(|mut entries| entries.next().is_none());
    if !prefix.exists() || empty() {
        return Ok(None);
    }
    let path = prefix.join(MANIFEST);
    // Reading a pipe would not end.
    let text = path.symlink_metadata().ok().filter(fs::Metadata::is_file).map(|_| fs::read(&path));
    let text = text.and_then(Result::ok).with_context(|| {
        format!(
            "--prefix '{}': is there and rdnafix did not make it (no {MANIFEST}): name another one",
            prefix.display()
        )
    })?;
    let manifest = serde_json::from_slice(&text).with_context(|| {
        format!(
            "{}: is not what this rdnafix writes; remove {} by hand",
            path.display(),
            prefix.display()
        )
    })?;
    Ok(Some(manifest))
}

impl Manifest {
    /// `ROCm 6.4.3 patched`
    pub(super) fn title(&self) -> String {
        format!("ROCm {} {}", self.release, if self.patched { "patched" } else { "stock" })
    }

    /// What must be where it is used, of both libraries: `GLIBC 2.38, GLIBCXX 3.4.32`.
    pub(super) fn needs(&self) -> String {
        let mut all: Vec<String> = self
            .components
            .iter()
            .flat_map(|built| &built.needs)
            .map(|(family, version)| format!("{family} {version}"))
            .collect();
        all.sort();
        all.dedup();
        all.join(", ")
    }

    /// Removes the files of the manifest from a directory, and the directories that they were
    /// in. The manifest itself comes last, so that what was interrupted can be gone on with.
    ///
    /// # Errors
    /// Where something else is left: nothing of that is touched.
    pub(super) fn remove_from(&self, directory: &Path) -> Result<()> {
        let gone = |result: std::io::Result<()>, path: &Path| match result {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error)
                .with_context(|| format!("cannot remove {}: all else was removed", path.display())),
            _ => Ok(()),
        };
        for file in self.files.keys().map(PathBuf::as_path).chain([Path::new(MANIFEST)]) {
            let path = directory.join(file);
            gone(fs::remove_file(&path), &path)?;
        }
        // The longest path first: what is in a directory goes before it.
        for inner in self.directories().iter().rev() {
            let path = directory.join(inner);
            gone(fs::remove_dir(&path), &path)?;
        }
        gone(fs::remove_dir(directory), directory)
    }

    /// The directories that the files are in, the outer ones first.
    fn directories(&self) -> BTreeSet<PathBuf> {
        let files = self.files.keys().map(PathBuf::as_path).chain([Path::new(MANIFEST)]);
        let parents = files.flat_map(|file| file.ancestors().skip(1));
        parents.filter(|path| *path != Path::new("")).map(Path::to_owned).collect()
    }

    /// That nobody has changed or added anything.
    ///
    /// # Errors
    /// The files that were.
    pub(super) fn expect_untouched(&self, prefix: &Path) -> Result<()> {
        let mut there = everything(prefix)?;
        // A link in their place leads to what is somebody's.
        there.retain(|path, what| {
            let ours = path == Path::new(MANIFEST) && !what.starts_with("-> ")
                || what == DIRECTORY && self.directories().contains(path);
            !ours
        });
        let mut touched = Vec::new();
        for (path, wanted) in &self.files {
            match there.remove(path) {
                Some(found) if found == *wanted => {}
                Some(_) => touched.push(format!("changed: {}", prefix.join(path).display())),
                None => touched.push(format!("removed: {}", prefix.join(path).display())),
            }
        }
        touched.extend(there.keys().map(|path| format!("added: {}", prefix.join(path).display())));
        if touched.is_empty() {
            return Ok(());
        }
        bail!(
            "files in {} are not as they were installed; nothing was done; keep what you need of \
             them elsewhere, and remove {} by hand:\n  {}",
            prefix.display(),
            prefix.display(),
            touched.join("\n  ")
        )
    }
}

const DIRECTORY: &str = "a directory";

/// All that is in a directory: files by their hashes, and whatever else there is.
fn everything(root: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    for entry in WalkDir::new(root).min_depth(1).same_file_system(true) {
        let entry = entry.with_context(|| format!("cannot read {}", root.display()))?;
        let kind = entry.file_type();
        let what = if kind.is_file() {
            tree::hash(entry.path())?
        } else if kind.is_symlink() {
            format!("-> {}", fs::read_link(entry.path())?.display())
        } else if kind.is_dir() {
            DIRECTORY.to_owned()
        } else {
            "no file".to_owned()
        };
        found.insert(entry.path().strip_prefix(root)?.to_owned(), what);
    }
    Ok(found)
}
