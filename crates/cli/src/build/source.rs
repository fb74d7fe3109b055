//! The source of a component: fetched, checked against its recorded hash, unpacked, patched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::release::Component;
use super::steps::{Log, hex};
use crate::patch::{self, series::Series};

/// Where the source comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// The tag of upstream's repository.
    Git,
    /// The upstream tarball of Debian's source package.
    Debian,
    /// A directory of the user's that has the tree, or a tarball of it.
    Directory(PathBuf),
}

/// Where `rdnafix sim root` puts the tarballs of source packages.
const OF_A_ROOT: &str = "/usr/src/deb";

/// Puts the source as it came below `download` and gives where it is: a tarball or a tree.
///
/// # Errors
/// Where it cannot be had, or is not what is recorded.
pub(super) fn fetch(
    component: &Component,
    from: &From,
    download: &Path,
    log: &Log,
) -> Result<PathBuf> {
    match from {
        From::Git => clone(component, download, log),
        From::Debian => {
            let there = Path::new(OF_A_ROOT).join(&component.tarball);
            let target = download.join(&component.tarball);
            if there.is_file() {
                fs::copy(&there, &target)
                    .with_context(|| format!("cannot copy {}", there.display()))?;
            } else {
                let mut apt = Command::new("apt-get");
                apt.args(["source", "--download-only", "--only-source", &component.package]);
                // The packaging may be gone from the archive while the tarball is there.
                let failed = run(apt.current_dir(download), log).err();
                if !target.is_file() {
                    let error = failed
                        .unwrap_or_else(|| anyhow::anyhow!("apt-get fetched another version"));
                    return Err(error.context(format!(
                        "{} cannot be had: it needs a deb-src line of Debian sid in apt's sources",
                        component.tarball
                    )));
                }
            }
            verify(&target, &component.sha256)?;
            Ok(target)
        }
        From::Directory(directory) => {
            let tarball = directory.join(&component.tarball);
            if tarball.is_file() {
                verify(&tarball, &component.sha256)?;
                return Ok(tarball);
            }
            let roots = [&component.name[..], ""].map(|name| directory.join(name));
            let tree = roots.into_iter().find(|root| root.join("CMakeLists.txt").is_file());
            tree.with_context(|| {
                format!(
                    "--from '{}': has neither {} nor a directory {} with a source tree",
                    directory.display(),
                    component.tarball,
                    component.name
                )
            })
        }
    }
}

/// The newest time in a directory, in nanoseconds, and how many files it has.
///
/// # Errors
/// Where it cannot be read.
pub(super) fn newest(directory: &Path) -> Result<String> {
    let (mut newest, mut files) = (0, 0_u64);
    for entry in WalkDir::new(directory) {
        let entry = entry.context("cannot read the source")?;
        let time =
            entry.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        newest = newest.max(time.as_nanos());
        files += 1;
    }
    Ok(format!("{newest} {files}"))
}

fn clone(component: &Component, download: &Path, log: &Log) -> Result<PathBuf> {
    let target = download.join(&component.name);
    if target.exists() {
        fs::remove_dir_all(&target)
            .with_context(|| format!("cannot remove {}", target.display()))?;
    }
    let mut git = Command::new("git");
    git.args(["clone", "--quiet", "--depth", "1", "--branch", &component.tag, &component.git])
        .arg(&target);
    run(&mut git, log).with_context(|| {
        format!(
            "{} cannot be cloned; --from debian or --from DIR takes the source from elsewhere",
            component.git
        )
    })?;
    let head = Command::new("git").arg("-C").arg(&target).args(["rev-parse", "HEAD"]).output()?;
    let head = String::from_utf8_lossy(&head.stdout).trim().to_owned();
    log.line(&format!("{} {} is {head}", component.git, component.tag))?;
    if let Some(wanted) = component.commit.as_ref().filter(|wanted| **wanted != head) {
        bail!(
            "{}: the tag {} is {head} and not {wanted}, as recorded",
            component.git,
            component.tag
        );
    }
    fs::remove_dir_all(target.join(".git")).context("cannot remove .git")?;
    Ok(target)
}

/// That a file has the recorded hash.
fn verify(file: &Path, wanted: &str) -> Result<()> {
    let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let found = hex(&Sha256::digest(&content));
    if found != wanted {
        bail!(
            "{}: its SHA-256 is {found} and not {wanted}, as recorded: remove it and fetch it again",
            file.display()
        );
    }
    Ok(())
}

/// Unpacks and patches, and then changes only those files of `tree` that differ, so that what
/// did not change is not compiled again.
///
/// # Errors
/// Where a patch does not fit, or a file cannot be written.
pub(super) fn prepare(
    fetched: &Path,
    series: Option<&Series>,
    tree: &Path,
    log: &Log,
) -> Result<()> {
    let parent = tree.parent().context("a tree has a parent")?;
    let new = tempfile::Builder::new().prefix(".new-").tempdir_in(parent)?;
    if fetched.is_file() {
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(new.path()).args(["--strip-components=1", "-xf"]).arg(fetched);
        run(&mut tar, log)?;
    } else {
        synchronise(fetched, new.path())?;
    }
    if let Some(series) = series {
        patch::apply_series(series, new.path())?;
    }
    synchronise(new.path(), tree)
}

/// Makes `to` the same as `from`; files that are the same already are left alone.
fn synchronise(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in WalkDir::new(from).min_depth(1) {
        let entry = entry?;
        let target = to.join(entry.path().strip_prefix(from)?);
        let kind = entry.file_type();
        if kind.is_dir() {
            fs::create_dir_all(&target)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(entry.path())?;
            if fs::read_link(&target).ok().as_ref() != Some(&link) {
                let _ = fs::remove_file(&target);
                std::os::unix::fs::symlink(link, &target)?;
            }
        } else if fs::read(&target).ok() != Some(fs::read(entry.path())?) {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    for entry in WalkDir::new(to).min_depth(1).contents_first(true) {
        let entry = entry?;
        if from.join(entry.path().strip_prefix(to)?).symlink_metadata().is_err() {
            if entry.file_type().is_dir() {
                fs::remove_dir(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// Runs a program with its output in the log.
///
/// # Errors
/// Where it does not start, or fails.
pub(super) fn run(command: &mut Command, log: &Log) -> Result<()> {
    log.line(&format!("+ {command:?}"))?;
    command.stdin(Stdio::null()).stdout(log.file()?).stderr(log.file()?);
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot start {name}"))?;
    if !status.success() {
        bail!("{name} failed: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |root: &Path, name: &str, text: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(from.path(), "a/same", "1");
        write(from.path(), "a/other", "2");
        write(to.path(), "a/same", "1");
        write(to.path(), "a/other", "1");
        write(to.path(), "gone/file", "1");
        let time = |name: &str| to.path().join(name).metadata().unwrap().modified().unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH;
        for name in ["a/same", "a/other"] {
            fs::File::options()
                .write(true)
                .open(to.path().join(name))
                .unwrap()
                .set_modified(old)
                .unwrap();
        }
        synchronise(from.path(), to.path()).unwrap();
        assert_eq!(time("a/same"), old);
        assert_ne!(time("a/other"), old);
        assert_eq!(fs::read_to_string(to.path().join("a/other")).unwrap(), "2");
        assert!(!to.path().join("gone").exists());
    }

    #[test]
    fn a_file_with_another_hash_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        verify(file.path(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
            .unwrap();
        fs::write(file.path(), "x").unwrap();
        let error = verify(file.path(), "e3b0").unwrap_err().to_string();
        assert!(error.contains("and not e3b0"), "{error}");
    }
}
