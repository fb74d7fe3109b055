//! Trees of files: compared with the record of a release, copied, patched. Touches no file that
//! is as it has to be already, so that what did not change is not compiled again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::child;
use super::steps::{Log, hex};
use crate::patch::{self, series::Series};

/// The SHA-256 of a file.
///
/// # Errors
/// Where it cannot be read.
pub(super) fn hash(path: &Path) -> Result<String> {
    let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hex(&Sha256::digest(&data)))
}

/// Every file of a tree but those of git, with its hash; of a link, its target.
///
/// # Errors
/// Where one cannot be read.
pub(super) fn contents(root: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    let walk = WalkDir::new(root).into_iter().filter_entry(|entry| entry.file_name() != ".git");
    for entry in walk {
        let entry = entry.with_context(|| format!("cannot read {}", root.display()))?;
        let name = entry.path().strip_prefix(root)?.to_owned();
        if entry.file_type().is_file() {
            files.insert(name, hash(entry.path())?);
        } else if entry.file_type().is_symlink() {
            let target = fs::read_link(entry.path())?;
            files.insert(name, format!("-> {}", target.display()));
        }
    }
    Ok(files)
}

/// One hash for a tree.
pub(super) fn hash_of(files: &BTreeMap<PathBuf, String>) -> String {
    let mut all = Sha256::new();
    for (path, hash) in files {
        all.update(format!("{hash}  {}\n", path.display()));
    }
    hex(&all.finalize())
}

/// Puts the files of a record into `to`, and none else. What the record does not name is not
/// built from.
///
/// # Errors
/// Where one is missing or another one than was recorded: which.
pub(super) fn recorded(from: &Path, record: &BTreeMap<&str, &str>, to: &Path) -> Result<()> {
    let mut wrong = Vec::new();
    for (path, wanted) in record {
        let file = from.join(path);
        if !file.is_file() {
            wrong.push(format!("{path} is missing"));
        } else if hash(&file)? != **wanted {
            wrong.push(format!("{path} is another one"));
        }
    }
    if !wrong.is_empty() {
        let more = wrong.len().saturating_sub(10);
        wrong.truncate(10);
        if more > 0 {
            wrong.push(format!("and {more} more"));
        }
        bail!("the source is not the one that was recorded:\n  {}", wrong.join("\n  "));
    }
    let parent = to.parent().context("a tree has a parent")?;
    let new = tempfile::Builder::new().prefix(".new-").tempdir_in(parent)?;
    for path in record.keys() {
        child::go_on()?;
        let target = new.path().join(path);
        fs::create_dir_all(target.parent().context("a file is in a directory")?)?;
        fs::copy(from.join(path), &target)
            .with_context(|| format!("cannot write {}", target.display()))?;
    }
    synchronise(new.path(), to)
}

/// Copies and patches, and then changes only those files of `tree` that differ.
///
/// # Errors
/// Where a patch does not fit, or a file cannot be written.
pub(super) fn prepare(
    pristine: &Path,
    series: Option<&Series>,
    tree: &Path,
    log: &Log,
) -> Result<()> {
    let parent = tree.parent().context("a tree has a parent")?;
    let new = tempfile::Builder::new().prefix(".new-").tempdir_in(parent)?;
    synchronise(pristine, new.path())?;
    if let Some(series) = series {
        for patch in &series.patches {
            log.line(&format!("{}: {}", patch.name, patch.subject))?;
        }
        patch::apply_series(series, new.path())?;
    }
    synchronise(new.path(), tree)
}

/// Makes `to` the same as `from`, but for git's own files; files that are the same already are
/// left alone.
///
/// # Errors
/// Where a file cannot be read or written.
pub(super) fn synchronise(from: &Path, to: &Path) -> Result<()> {
    let cannot = |what: &Path| format!("cannot write {}", what.display());
    fs::create_dir_all(to).with_context(|| cannot(to))?;
    // First what is in the way: a file may have become a directory.
    for entry in WalkDir::new(to).min_depth(1).contents_first(true) {
        let entry = entry?;
        let source = from.join(entry.path().strip_prefix(to)?).symlink_metadata();
        if source.is_ok_and(|source| source.file_type() == entry.file_type()) {
            continue;
        }
        if entry.file_type().is_dir() {
            fs::remove_dir_all(entry.path()).with_context(|| cannot(entry.path()))?;
        } else {
            fs::remove_file(entry.path()).with_context(|| cannot(entry.path()))?;
        }
    }
    let walk = WalkDir::new(from).min_depth(1).into_iter();
    for entry in walk.filter_entry(|entry| entry.file_name() != ".git") {
        child::go_on()?;
        let entry = entry?;
        let target = to.join(entry.path().strip_prefix(from)?);
        let kind = entry.file_type();
        if kind.is_dir() {
            fs::create_dir_all(&target).with_context(|| cannot(&target))?;
        } else if kind.is_symlink() {
            let link = fs::read_link(entry.path())?;
            if fs::read_link(&target).ok().as_ref() != Some(&link) {
                let _ = fs::remove_file(&target);
                std::os::unix::fs::symlink(link, &target).with_context(|| cannot(&target))?;
            }
        } else if fs::read(&target).ok() != Some(fs::read(entry.path())?) {
            fs::copy(entry.path(), &target).with_context(|| cannot(&target))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn only_what_differs_is_written() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(from.path(), "a/same", "1");
        write(from.path(), "a/other", "2");
        write(from.path(), "kind/file", "a directory here, a file there");
        write(from.path(), ".git/HEAD", "no part of the source");
        write(to.path(), "a/same", "1");
        write(to.path(), "a/other", "1");
        write(to.path(), "gone/file", "1");
        write(to.path(), "kind", "1");
        let time = |name: &str| to.path().join(name).metadata().unwrap().modified().unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH;
        for name in ["a/same", "a/other"] {
            let file = fs::File::options().write(true).open(to.path().join(name)).unwrap();
            file.set_modified(old).unwrap();
        }
        synchronise(from.path(), to.path()).unwrap();
        assert_eq!(time("a/same"), old);
        assert_ne!(time("a/other"), old);
        assert_eq!(fs::read_to_string(to.path().join("a/other")).unwrap(), "2");
        assert!(to.path().join("kind/file").is_file());
        assert!(!to.path().join("gone").exists() && !to.path().join(".git").exists());
    }

    #[test]
    fn a_source_that_is_not_the_recorded_one_is_refused_by_the_names_of_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        for (name, text) in [("a", "1"), ("b/c", "2"), ("extra", "3")] {
            write(&from, name, text);
        }
        let one = hex(&Sha256::digest("1"));
        let two = hex(&Sha256::digest("2"));
        let record = BTreeMap::from([("a", &one[..]), ("b/c", &two)]);
        recorded(&from, &record, &to).unwrap();
        assert!(to.join("b/c").exists() && !to.join("extra").exists());

        write(&from, "a", "changed");
        fs::remove_file(from.join("b/c")).unwrap();
        let error = recorded(&from, &record, &to).unwrap_err().to_string();
        assert!(error.contains("a is another one") && error.contains("b/c is missing"), "{error}");
        assert_eq!(fs::read_to_string(to.join("a")).unwrap(), "1", "nothing was written");
    }
}
