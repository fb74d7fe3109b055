//! The DKMS package `amdgpu-rdna`: its files, which come with this command, and the deb of them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use include_dir::{Dir, include_dir};

use crate::build::steps::Inputs;
use crate::patch::series::{self, Series};

pub(super) const NAME: &str = "amdgpu-rdna";
/// The Debian package of it.
pub(super) const DEB: &str = "amdgpu-rdna-dkms";
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The component of its series of patches.
const COMPONENT: &str = "linux";

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/dkms");

/// Where it is for dkms.
pub(super) fn place(version: &str) -> PathBuf {
    PathBuf::from(format!("/usr/src/{NAME}-{version}"))
}

/// What is where dkms looks for sources, by version.
///
/// # Errors
/// Where that cannot be read.
pub(super) fn sources() -> Result<BTreeMap<String, PathBuf>> {
    let begins = format!("{NAME}-");
    let mut sources = BTreeMap::new();
    for entry in fs::read_dir("/usr/src").into_iter().flatten() {
        let entry = entry.context("cannot read /usr/src")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(version) = name.strip_prefix(&begins) {
            sources.insert(version.to_owned(), entry.path());
        }
    }
    Ok(sources)
}

/// The series for kernels.
///
/// # Errors
/// Where one is no patch series, which a test rules out.
pub(super) fn all_series() -> Result<Vec<Series>> {
    let all = series::all()?.into_iter();
    Ok(all.filter(|series| series.component == COMPONENT).collect())
}

/// Every file by its path in the package, and whether it is a program.
///
/// # Errors
/// As [`all_series`].
pub(super) fn files() -> Result<BTreeMap<PathBuf, (Vec<u8>, bool)>> {
    let mut files = BTreeMap::new();
    for file in FILES.files() {
        let program = file.path().extension().is_some_and(|kind| kind == "sh");
        files.insert(file.path().to_owned(), (filled_in(file.contents()), program));
    }
    for series in all_series()? {
        let below = Path::new("patches").join(&series.version);
        let mut names = String::new();
        for patch in &series.patches {
            names = names + &patch.name + "\n";
            files.insert(below.join(&patch.name), (patch.text.to_vec(), false));
        }
        files.insert(below.join("series"), (names.into_bytes(), false));
    }
    Ok(files)
}

fn filled_in(text: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(text).replace("@VERSION@", VERSION).into_bytes()
}

/// What all of it depends on.
///
/// # Errors
/// As [`files`].
pub(super) fn inputs(inputs: Inputs) -> Result<Inputs> {
    Ok(files()?.iter().fold(inputs, |inputs, (path, (content, _))| {
        inputs.and(path.as_os_str().as_encoded_bytes()).and(content)
    }))
}

/// Whether a directory has exactly these files.
///
/// # Errors
/// As [`files`].
pub(super) fn is_in(directory: &Path) -> Result<bool> {
    let files = files()?;
    let same = files.iter().all(|(path, (content, program))| {
        let path = directory.join(path);
        let mode = path.metadata().map(|data| data.permissions().mode());
        fs::read(&path).is_ok_and(|there| there == *content)
            && mode.is_ok_and(|mode| (mode & 0o111 != 0) == *program)
    });
    let there = walkdir::WalkDir::new(directory).into_iter().filter_map(Result::ok);
    Ok(same && there.filter(|entry| !entry.file_type().is_dir()).count() == files.len())
}

/// Writes the package, in place of one that was there.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn write(directory: &Path) -> Result<()> {
    if is_in(directory)? {
        return Ok(());
    }
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    for (path, (content, program)) in files()? {
        put(&directory.join(path), &content, program)?;
    }
    Ok(())
}

fn put(path: &Path, content: &[u8], program: bool) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    fs::create_dir_all(path.parent().context("a file is in a directory")?).with_context(cannot)?;
    fs::write(path, content).with_context(cannot)?;
    let mode = if program { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(cannot)
}

/// Puts one of the package's programs into a directory, and gives its file.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn script(name: &str, directory: &Path) -> Result<PathBuf> {
    let file = FILES.get_file(name).with_context(|| format!("{name} comes with this command"))?;
    let path = directory.join(name);
    put(&path, &filled_in(file.contents()), true)?;
    Ok(path)
}

/// The licences of what is in the Debian package.
const COPYRIGHT: &str = concat!(
    "The scripts of this package:\n\n",
    include_str!("../../../../../LICENSE"),
    "\nThe patches keep the licence of the files of Linux that they change: MIT for\n\
     drivers/gpu/drm/amd/amdgpu, GPL-2.0 or MIT for drivers/gpu/drm/amd/amdkfd. On\n\
     Debian the texts are in /usr/share/common-licenses (GPL-2, Apache-2.0), and:\n\n",
    include_str!("../../../../../LICENSE-MIT"),
);

/// Makes the Debian package in a directory, and gives its file.
///
/// # Errors
/// Where there is no dpkg-deb, or it cannot be written.
pub(super) fn deb(directory: &Path) -> Result<PathBuf> {
    if !directory.is_dir() {
        bail!("--deb '{}': is no directory", directory.display());
    }
    let stage = tempfile::tempdir().context("cannot make a temporary directory")?;
    // dpkg-deb takes the mode of the root over into the package.
    fs::set_permissions(stage.path(), fs::Permissions::from_mode(0o755))?;
    let source = place(VERSION);
    write(&stage.path().join(source.strip_prefix("/")?))?;
    let scripts = FILES.get_dir("deb").context("the scripts of the deb come with this command")?;
    for file in scripts.files() {
        let name = file.path().file_name().context("a file has a name")?;
        put(
            &stage.path().join("DEBIAN").join(name),
            &filled_in(file.contents()),
            name != "control",
        )?;
    }
    let copyright = stage.path().join("usr/share/doc").join(DEB).join("copyright");
    put(&copyright, COPYRIGHT.as_bytes(), false)?;
    let made = directory.join(format!("{DEB}_{VERSION}_all.deb"));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", "--build"]).arg(stage.path()).arg(&made);
    let output = dpkg.output().context("dpkg-deb, which makes Debian packages, does not start")?;
    if !output.status.success() {
        bail!("dpkg-deb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_package_has_every_series_and_is_recognised_until_it_is_changed() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("package");
        write(&directory).unwrap();
        for series in all_series().unwrap() {
            let list = directory.join("patches").join(&series.version).join("series");
            let list = fs::read_to_string(list).unwrap();
            assert_eq!(list.lines().count(), series.patches.len(), "{}", series.name());
        }
        let conf = fs::read_to_string(directory.join("dkms.conf")).unwrap();
        assert!(conf.contains(VERSION) && !conf.contains('@'), "{conf}");
        assert!(is_in(&directory).unwrap());
        fs::write(directory.join("more"), "").unwrap();
        assert!(!is_in(&directory).unwrap());
        write(&directory).unwrap();
        assert!(!directory.join("more").exists());
    }
}
