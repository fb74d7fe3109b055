//! What was installed in a prefix, and whether it still is: `share/rdnafix/manifest.json`.
//! Reads only.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::tree;

/// Where it is in a prefix.
pub(super) const MANIFEST: &str = "share/rdnafix/manifest.json";

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
    let text = fs::read(&path).with_context(|| {
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

    /// That nobody has changed or added anything.
    ///
    /// # Errors
    /// The files that were.
    pub(super) fn expect_untouched(&self, prefix: &Path) -> Result<()> {
        let mut there = tree::contents(prefix)?;
        there.remove(Path::new(MANIFEST));
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
