//! Installing into a prefix in one step, and removing exactly what was installed: a manifest
//! with hashes says what is ours. Nothing outside the prefix is written, but for the link that
//! `--set-default` asks for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::steps::hex;

const MANIFEST: &str = "share/rdnafix/manifest.json";
/// What `--set-default` switches.
const DEFAULT_LINK: &str = "/opt/rocm";
const ALTERNATIVE: &str = "rocm";

/// What was installed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) release: String,
    /// Whether `/opt/rocm` was pointed here.
    pub(super) default: bool,
    /// Files by their paths in the prefix, with their SHA-256.
    pub(super) files: BTreeMap<String, String>,
}

/// The manifest of a prefix; `None` where there is nothing.
///
/// # Errors
/// Where the prefix is there and has no manifest: it is not ours.
pub(super) fn manifest(prefix: &Path) -> Result<Option<Manifest>> {
    let empty = || fs::read_dir(prefix).is_ok_and(|mut entries| entries.next().is_none());
    if !prefix.exists() || empty() {
        return Ok(None);
    }
    let path = prefix.join(MANIFEST);
    let text = fs::read(&path).with_context(|| {
        format!(
            "{} is there and rdnafix did not make it (no {MANIFEST}): name another prefix",
            prefix.display()
        )
    })?;
    let manifest = serde_json::from_slice(&text)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Some(manifest))
}

impl Manifest {
    /// Of a directory that is about to be installed.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub(super) fn of(stage: &Path, release: &str, default: bool) -> Result<Self> {
        let mut files = BTreeMap::new();
        for entry in WalkDir::new(stage).sort_by_file_name() {
            let entry = entry?;
            if entry.file_type().is_file() {
                let name = entry.path().strip_prefix(stage)?.display().to_string();
                files.insert(name, hash(entry.path())?);
            }
        }
        Ok(Self { release: release.to_owned(), default, files })
    }

    /// Files of the prefix that were changed or removed since.
    fn changed(&self, prefix: &Path) -> Vec<PathBuf> {
        let differs = |(name, wanted): (&String, &String)| {
            let path = prefix.join(name);
            hash(&path).map_or(true, |found| found != *wanted).then_some(path)
        };
        self.files.iter().filter_map(differs).collect()
    }

    /// Files of the prefix that are not in the manifest.
    fn foreign(&self, prefix: &Path) -> Vec<PathBuf> {
        let is_foreign = |path: &Path| {
            let name = path.strip_prefix(prefix).unwrap_or(path).display().to_string();
            name != MANIFEST && !self.files.contains_key(&name)
        };
        WalkDir::new(prefix)
            .into_iter()
            .filter_map(Result::ok)
            .filter(|entry| !entry.file_type().is_dir())
            .map(walkdir::DirEntry::into_path)
            .filter(|path| is_foreign(path))
            .collect()
    }

    /// That nobody has changed or added anything.
    fn expect_untouched(&self, prefix: &Path) -> Result<()> {
        let mut touched = self.changed(prefix);
        touched.extend(self.foreign(prefix));
        if touched.is_empty() {
            return Ok(());
        }
        let list: Vec<String> =
            touched.iter().map(|path| format!("\n  {}", path.display())).collect();
        bail!(
            "files in {} were changed, added or removed since it was installed; move them away first:{}",
            prefix.display(),
            list.concat()
        )
    }
}

/// Puts a stage in the place of the prefix in one step.
///
/// # Errors
/// Where the prefix is not ours or was touched, or cannot be written.
pub(super) fn install(
    stage: &Path,
    prefix: &Path,
    release: &str,
    default: bool,
) -> Result<Manifest> {
    let before = manifest(prefix)?;
    if let Some(before) = &before {
        before.expect_untouched(prefix)?;
    }
    let made = Manifest::of(stage, release, default)?;
    let parent = prefix
        .parent()
        .with_context(|| format!("--prefix '{}': has no parent", prefix.display()))?;
    let writable = || {
        fs::create_dir_all(parent)?;
        tempfile::Builder::new().prefix(".rdnafix-").tempdir_in(parent)
    };
    let part = writable().with_context(|| {
        format!(
            "--prefix '{}': cannot write to {}; run this as a user who can",
            prefix.display(),
            parent.display()
        )
    })?;
    let new = part.path().join("new");
    copy(stage, &new)?;
    let path = new.join(MANIFEST);
    fs::create_dir_all(path.parent().context("has one")?)?;
    fs::write(&path, serde_json::to_string_pretty(&made)? + "\n")?;
    if prefix.exists() {
        // The old one is then in `part`, which is removed.
        renameat2(AT_FDCWD, &new, AT_FDCWD, prefix, RenameFlags::RENAME_EXCHANGE)
            .with_context(|| format!("cannot switch {}", prefix.display()))?;
    } else {
        fs::rename(&new, prefix)
            .with_context(|| format!("cannot rename to {}", prefix.display()))?;
    }
    if default {
        alternatives(&[
            "--install",
            DEFAULT_LINK,
            ALTERNATIVE,
            &prefix.display().to_string(),
            "10",
        ])?;
        alternatives(&["--set", ALTERNATIVE, &prefix.display().to_string()])?;
    }
    Ok(made)
}

/// Removes what was installed. Gives how many files.
///
/// # Errors
/// Where the prefix is not ours or was touched: nothing is removed then.
pub(super) fn uninstall(prefix: &Path) -> Result<usize> {
    let Some(manifest) = manifest(prefix)? else {
        bail!("--prefix '{}': there is nothing", prefix.display());
    };
    manifest.expect_untouched(prefix)?;
    if manifest.default {
        alternatives(&["--remove", ALTERNATIVE, &prefix.display().to_string()])?;
    }
    fs::remove_dir_all(prefix).with_context(|| format!("cannot remove {}", prefix.display()))?;
    Ok(manifest.files.len())
}

fn alternatives(arguments: &[&str]) -> Result<()> {
    let status = Command::new("update-alternatives").args(arguments).status();
    let status = status.context("cannot start update-alternatives")?;
    if !status.success() {
        bail!("update-alternatives {} failed: {status}", arguments.join(" "));
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in WalkDir::new(from) {
        let entry = entry?;
        let target = to.join(entry.path().strip_prefix(from)?);
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}

fn hash(path: &Path) -> Result<String> {
    let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hex(&Sha256::digest(&data)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(directory: &Path, text: &str) -> PathBuf {
        let stage = directory.join("stage");
        fs::create_dir_all(stage.join("lib")).unwrap();
        fs::write(stage.join("lib/a.so"), text).unwrap();
        stage
    }

    #[test]
    fn what_is_installed_is_replaced_and_removed_without_a_trace() {
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path().join("opt/rocm-patched");
        install(&stage(directory.path(), "1"), &prefix, "6.4.3", false).unwrap();
        install(&stage(directory.path(), "2"), &prefix, "6.4.3", false).unwrap();
        assert_eq!(fs::read_to_string(prefix.join("lib/a.so")).unwrap(), "2");
        assert_eq!(uninstall(&prefix).unwrap(), 1);
        assert!(fs::read_dir(directory.path().join("opt")).unwrap().next().is_none());
    }

    #[test]
    fn files_that_changed_since_are_kept_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path().join("rocm-patched");
        let stage = stage(directory.path(), "1");
        install(&stage, &prefix, "6.4.3", false).unwrap();
        for (file, text) in [("lib/a.so", "mine"), ("lib/b.so", "mine too")] {
            fs::write(prefix.join(file), text).unwrap();
            for error in [
                uninstall(&prefix).unwrap_err(),
                install(&stage, &prefix, "6.4.3", false).unwrap_err(),
            ] {
                assert!(error.to_string().contains(file), "{error}");
            }
            assert!(prefix.join(file).exists());
            fs::write(prefix.join("lib/a.so"), "1").unwrap();
        }
    }

    #[test]
    fn a_prefix_that_is_not_ours_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let stage = stage(tempfile::tempdir().unwrap().path(), "1");
        let error = install(&stage, directory.path(), "6.4.3", false).unwrap_err().to_string();
        assert!(error.contains("rdnafix did not make it"), "{error}");
        assert!(uninstall(directory.path()).is_err());
        assert!(directory.path().join("file").exists());
    }
}
