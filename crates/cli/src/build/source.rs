//! The source of a component: fetched, checked against what was recorded of it, unpacked. A name
//! that others can move, such as a tag, is trusted nowhere.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::child::run;
use super::release::{self, Component, Release};
use super::steps::Log;
use super::tree;

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

impl From {
    /// What `--from` says.
    ///
    /// # Errors
    /// A directory that is not there.
    pub(super) fn named(name: Option<&str>) -> Result<Self> {
        Ok(match name {
            None if Path::new(OF_A_ROOT).is_dir() => Self::Debian,
            None | Some("git") => Self::Git,
            Some("debian") => Self::Debian,
            Some(directory) => {
                let path = fs::canonicalize(directory);
                Self::Directory(path.with_context(|| {
                    format!("--from '{directory}': neither git, nor debian, nor a directory")
                })?)
            }
        })
    }
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Git => f.write_str("git"),
            Self::Debian => f.write_str("debian"),
            Self::Directory(directory) => write!(f, "{}", directory.display()),
        }
    }
}

/// Where a component is in a directory of the user's: a tarball of the release, or a tree.
///
/// # Errors
/// Where neither is there.
pub(super) fn of_the_user(component: &Component, directory: &Path) -> Result<PathBuf> {
    let tarball = directory.join(&component.tarball);
    if tarball.is_file() {
        return Ok(tarball);
    }
    let trees = [&component.name[..], component.repository()].map(|name| directory.join(name));
    trees.into_iter().find(|tree| tree.join("CMakeLists.txt").is_file()).with_context(|| {
        format!(
            "--from '{}': has neither {} nor a source tree in a directory {} or {}",
            directory.display(),
            component.tarball,
            component.name,
            component.repository()
        )
    })
}

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
        From::Debian => debian(component, download, log),
        From::Directory(directory) => {
            let found = of_the_user(component, directory)?;
            if found.is_file() {
                verify(&found, &component.sha256)?;
            }
            Ok(found)
        }
    }
}

fn debian(component: &Component, download: &Path, log: &Log) -> Result<PathBuf> {
    let there = Path::new(OF_A_ROOT).join(&component.tarball);
    let target = download.join(&component.tarball);
    if there.is_file() {
        fs::copy(&there, &target).with_context(|| format!("cannot copy {}", there.display()))?;
    } else {
        let _ = fs::remove_file(&target);
        let mut apt = Command::new("apt-get");
        apt.args(["source", "--download-only", "--only-source", &component.package]);
        // The packaging may be gone from the archive while the tarball is there.
        let failed = run(apt.current_dir(download), log).err();
        if !target.is_file() {
            let error =
                failed.unwrap_or_else(|| anyhow::anyhow!("apt-get fetched another version"));
            return Err(error.context(format!(
                "{} cannot be had: it needs a deb-src line of Debian sid in apt's sources; or \
                 build in a root, which has it: rdnafix sim root build-6.4.3 -- rdnafix build rocm",
                component.tarball
            )));
        }
    }
    verify(&target, &component.sha256)?;
    Ok(target)
}

fn clone(component: &Component, download: &Path, log: &Log) -> Result<PathBuf> {
    let target = download.join(&component.name);
    if target.exists() {
        fs::remove_dir_all(&target)
            .with_context(|| format!("cannot remove {}", target.display()))?;
    }
    let mut git = Command::new("git");
    // The files as they are in the repository, whatever the user has configured.
    git.args(["-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", "advice.detachedHead=false"])
        // Nothing that goes on in the background.
        .args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"])
        .args(["clone", "--quiet", "--depth", "1", "--branch", &component.tag, &component.git])
        .arg(&target)
        .env("GIT_TERMINAL_PROMPT", "0");
    run(&mut git, log).with_context(|| {
        format!(
            "{} {} cannot be cloned; --from debian or --from DIR takes the source from elsewhere",
            component.git, component.tag
        )
    })?;
    let head = Command::new("git").arg("-C").arg(&target).args(["rev-parse", "HEAD"]).output()?;
    let head = String::from_utf8_lossy(&head.stdout).trim().to_owned();
    log.line(&format!("{} {} is {head}", component.git, component.tag))?;
    fs::write(download.join(format!("{}.commit", component.name)), &head)?;
    Ok(target)
}

/// Unpacks what was fetched if need be, and puts what is built from into `pristine`: the files of
/// the release as recorded, or the user's own tree.
///
/// # Errors
/// Where it is not what was recorded and not a tree of the user's, or cannot be unpacked.
pub(super) fn unpack(
    release: &Release,
    component: &Component,
    from: &From,
    fetched: &Path,
    pristine: &Path,
    log: &Log,
) -> Result<()> {
    let record = release::record(&release.name, &component.name)?;
    if fetched.is_file() {
        let parent = pristine.parent().context("a tree has a parent")?;
        let new = tempfile::Builder::new().prefix(".new-").tempdir_in(parent)?;
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(new.path()).args(["--no-same-owner", "--strip-components=1", "-xf"]);
        run(tar.arg(fetched), log)?;
        return tree::recorded(new.path(), &record, pristine);
    }
    if matches!(from, From::Git) {
        // What counts is what is in the files: the commit is named to tell what has happened.
        let head = fs::read_to_string(fetched.with_extension("commit")).unwrap_or_default();
        let moved = if head.starts_with(&component.commit) {
            String::new()
        } else {
            format!(", which is the commit {head} now and was {}", component.commit)
        };
        log.line(&format!("{} {}{moved}", component.git, component.tag))?;
        return tree::recorded(fetched, &record, pristine).with_context(|| {
            format!(
                "{} {}{moved} (--from debian or --from DIR takes the source from elsewhere)",
                component.git, component.tag
            )
        });
    }
    tree::synchronise(fetched, pristine)?;
    let files = tree::contents(pristine)?;
    let same =
        |(path, hash): (&&str, &&str)| files.get(Path::new(*path)).is_some_and(|of| of == *hash);
    let changed = record.iter().filter(|(path, hash)| !same((path, hash))).count();
    log.line(&format!(
        "{}: of the {} files of {} {}, {changed} differ or are missing here",
        fetched.display(),
        record.len(),
        component.name,
        release.name
    ))
}

/// That a file has the recorded hash.
fn verify(file: &Path, wanted: &str) -> Result<()> {
    let found = tree::hash(file)?;
    if found != wanted {
        bail!(
            "{}: its SHA-256 is {found} and not {wanted}, as recorded: remove it and fetch it again",
            file.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
