//! What dkms had before a run: taken before the run changes it, and put back where the run fails.
//! By files: after a build that failed, dkms itself does not know any more what it had installed.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use super::host;
use super::package;
use crate::build::steps::Work;
use crate::build::{Interrupted, tree};

/// What dkms keeps of the package.
const OF_DKMS: &str = "/var/lib/dkms/amdgpu-rdna";

/// A copy of it.
pub(super) struct Before {
    copy: PathBuf,
    /// What there was.
    places: Vec<PathBuf>,
}

/// Everything that the package has in the system, but for the initramfs and modprobe's options.
fn places() -> Result<Vec<PathBuf>> {
    let mut places = vec![PathBuf::from(OF_DKMS)];
    places.extend(package::sources()?.into_values());
    places.retain(|place| place.exists());
    places.extend(host::kernels().iter().filter_map(host::Kernel::dkms_module));
    Ok(places)
}

impl Before {
    /// # Errors
    /// Where it cannot be read or copied.
    pub(super) fn take(work: &Work) -> Result<Self> {
        let before = Self { copy: work.path("before"), places: places()? };
        before.forget()?;
        fs::create_dir_all(&before.copy)
            .with_context(|| format!("cannot write {}", before.copy.display()))?;
        for place in &before.places {
            copy(place, &before.of(place))
                .context("what is installed cannot be kept; nothing was changed")?;
        }
        Ok(before)
    }

    /// The copy of a place.
    fn of(&self, place: &Path) -> PathBuf {
        self.copy.join(place.strip_prefix("/").unwrap_or(place))
    }

    /// Removes the copy.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub(super) fn forget(&self) -> Result<()> {
        match fs::remove_dir_all(&self.copy) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.copy.display()))
            }
            _ => Ok(()),
        }
    }

    /// After a failure: what the run has changed is as before. Gives the failure with what was done
    /// about it; the log of dkms's own make is kept beside the others.
    pub(super) fn put_back(&self, failure: anyhow::Error, work: &Work) -> anyhow::Error {
        let log = keep_log(work);
        let said = match self.restore() {
            Ok(()) => {
                let _ = self.forget();
                if self.places.is_empty() {
                    "what this run had given to dkms is removed again, and the stock amdgpu stays"
                        .to_owned()
                } else {
                    "what this run had given to dkms is removed again; what was installed before \
                     it is as it was"
                        .to_owned()
                }
            }
            Err(error) => format!(
                "what this run had given to dkms could not be taken back: {error:#}; what there \
                 was before is kept in {}; sudo rdnafix build kernel --remove takes all of it away",
                self.copy.display()
            ),
        };
        let said = match log {
            Some(log) => format!("{said}\nthe log of dkms's make is kept: {}", log.display()),
            None => said,
        };
        if failure.is::<Interrupted>() {
            let _ = writeln!(std::io::stderr(), "rdnafix: {said}");
            return failure;
        }
        anyhow!("{}\n{said}", format!("{failure:#}").trim_end())
    }

    fn restore(&self) -> Result<()> {
        let mut kernels = Vec::new();
        let is_same = |place: &Path| -> Result<bool> {
            let copy = self.of(place);
            Ok(place.exists() && copy.exists() && tree::contents(place)? == tree::contents(&copy)?)
        };
        for place in places()?.iter().chain(&self.places) {
            if is_same(place)? {
                continue;
            }
            let is_directory = place.symlink_metadata().map(|data| data.is_dir());
            match is_directory {
                Ok(true) => fs::remove_dir_all(place),
                Ok(false) => fs::remove_file(place),
                Err(_) => Ok(()),
            }
            .with_context(|| format!("cannot remove {}", place.display()))?;
            if self.places.contains(place) {
                copy(&self.of(place), place)?;
            }
            if let Ok(rest) = place.strip_prefix(host::MODULES) {
                kernels.extend(rest.iter().next().map(ToOwned::to_owned));
                // Directories that dkms has made for it; others are not empty.
                for directory in place.ancestors().skip(1).take(2) {
                    let _ = fs::remove_dir(directory);
                }
            }
        }
        for kernel in kernels {
            quietly(Command::new("depmod").arg(kernel))?;
        }
        Ok(())
    }
}

/// A file or a directory, with modes, times and links.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    quietly(Command::new("cp").args(["--archive", "--no-target-directory"]).arg(from).arg(to))
}

/// Also after a signal, which the programs of a step are not started after.
fn quietly(command: &mut Command) -> Result<()> {
    let output = command.process_group(0).output();
    let output =
        output.with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("{} failed: {}: {said}", command.get_program().display(), output.status);
    }
    Ok(())
}

/// A build of dkms that failed leaves the output of the compiler where it is removed now.
fn keep_log(work: &Work) -> Option<PathBuf> {
    let from = Path::new(OF_DKMS).join(package::VERSION).join("build/make.log");
    let to = work.path("log").join("make.log");
    fs::copy(from, &to).is_ok().then_some(to)
}
