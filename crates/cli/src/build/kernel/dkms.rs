//! What dkms and the initramfs have of the package, and its removal.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::host::{self, Kernel, said};
use super::package;
use crate::build::child::run;
use crate::build::compile::without_other_builds;
use crate::build::steps::{Log, Work};

/// The file that switches the parameter on.
pub(super) const OPTIONS: &str = "/etc/modprobe.d/amdgpu-rdna.conf";
pub(super) const OPTIONS_TEXT: &str = "\
# Written by rdnafix build kernel --enable, and removed by --remove.
options amdgpu rdna_noncoherent=1
";

/// A version of the package that dkms knows, for a kernel or only added.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) version: String,
    pub(super) kernel: Option<String>,
    pub(super) installed: bool,
}

/// The kernels that a version of the package is installed for.
pub(super) fn installed_for(version: &str) -> Vec<Kernel> {
    let of_version = known().into_iter().filter(|known| known.version == version);
    let installed = of_version.filter(|known| known.installed);
    installed.filter_map(|known| Some(Kernel { release: known.kernel? })).collect()
}

/// All that dkms knows of the package.
pub(super) fn known() -> Vec<Known> {
    let text = said(Command::new("dkms").args(["status", "-m", package::NAME]));
    text.unwrap_or_default().lines().filter_map(line).collect()
}

/// That dkms can be asked: without it, what it has installed would stay.
///
/// # Errors
/// Where it is not there, or fails.
pub(super) fn expect_works() -> Result<()> {
    if said(Command::new("dkms").arg("status")).is_none() {
        bail!(
            "dkms is not there or fails, and only dkms can remove what it has installed: see what \
             `dkms status` says, or sudo apt-get install dkms; nothing was changed"
        );
    }
    Ok(())
}

/// `amdgpu-rdna/0.1.0, 6.1.0-56-amd64, x86_64: installed`, or `amdgpu-rdna/0.1.0: added`.
fn line(line: &str) -> Option<Known> {
    let (what, state) = line.split_once(": ")?;
    let mut parts = what.split(", ");
    let version = parts.next()?.strip_prefix(package::NAME)?.strip_prefix('/')?.to_owned();
    let kernel = parts.next().map(str::to_owned);
    Some(Known { version, kernel, installed: state.starts_with("installed") })
}

/// The versions of the package that dkms knows or that are where it looks for them.
///
/// # Errors
/// Where /usr/src cannot be read.
pub(super) fn versions() -> Result<Vec<String>> {
    let mut versions: Vec<String> = known().into_iter().map(|known| known.version).collect();
    versions.extend(package::sources()?.into_keys());
    versions.sort();
    versions.dedup();
    Ok(versions)
}

/// A dkms command for a version of the package.
pub(super) fn command(action: &str, version: &str) -> Command {
    let mut command = Command::new("dkms");
    without_other_builds(&mut command);
    command.args([action, "-m", package::NAME, "-v", version]);
    command
}

/// Removes a version: the stock module is back where it was installed. Gives these kernels.
///
/// # Errors
/// Where dkms fails, or files of the package stay.
pub(super) fn remove(version: &str, log: &Log) -> Result<Vec<Kernel>> {
    let kernels = installed_for(version);
    if known().iter().any(|known| known.version == version) {
        run(command("remove", version).arg("--all"), log)?;
    }
    let place = package::place(version);
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    Ok(kernels)
}

/// Makes the initramfs of kernels anew, where they have one: amdgpu may be in it.
///
/// # Errors
/// Where that fails for one of them.
pub(super) fn update_initramfs(kernels: &[Kernel], work: &Work, log: &Log) -> Result<()> {
    if kernels.is_empty() {
        return Ok(());
    }
    let mut update = Command::new(package::script("initramfs.sh", &work.path("scripts"))?);
    without_other_builds(&mut update);
    run(update.args(kernels.iter().map(|kernel| &kernel.release)), log).with_context(|| {
        let repeat: Vec<String> = kernels
            .iter()
            .map(|kernel| format!("sudo {}", host::initramfs_command(&kernel.release)))
            .collect();
        format!(
            "an initramfs in /boot still has the module and the options of before; repeat it: {}",
            repeat.join(" && ")
        )
    })
}

/// Whether the initramfs of a kernel, if it has one, was made after files that go into it.
pub(super) fn initramfs_is_newer(kernel: &Kernel, than: &[&Path]) -> bool {
    let time = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    let Some(made) = time(&kernel.initramfs()) else { return true };
    than.iter().filter_map(|path| time(path)).all(|changed| changed <= made)
}

/// What is in the way of a removal, or of writing the package.
///
/// # Errors
/// Where a file of it belongs to a Debian package.
pub(super) fn expect_unowned(version: &str) -> Result<()> {
    let conf = package::place(version).join("dkms.conf");
    match host::owner(&conf) {
        Some(owner) => bail!(
            "{} belongs to the package {owner}, which installed the module: sudo apt-get remove \
             {owner} takes it back",
            conf.display()
        ),
        None => Ok(()),
    }
}

/// Whether the file of [`OPTIONS`] switches the parameter on; one of the same name may say other
/// things.
pub(super) fn options_are_on() -> bool {
    fs::read_to_string(OPTIONS).is_ok_and(|text| switches_on(&text))
}

fn switches_on(text: &str) -> bool {
    let of_amdgpu = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("options") && words.next() == Some("amdgpu"))
            .then(|| words.map(str::to_owned).collect::<Vec<_>>())
    };
    // Of two settings the kernel takes the last.
    let mut set = text.lines().filter_map(of_amdgpu).flatten();
    let last = set.rfind(|word| word.starts_with("rdna_noncoherent="));
    last.is_some_and(|word| word == "rdna_noncoherent=1")
}

/// Removes the file of [`OPTIONS`] unless somebody has changed it.
///
/// # Errors
/// Where it cannot be removed.
pub(super) fn remove_options() -> Result<()> {
    if fs::read_to_string(OPTIONS).is_ok_and(|text| text == OPTIONS_TEXT) {
        fs::remove_file(OPTIONS).with_context(|| format!("cannot remove {OPTIONS}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_setting_of_the_parameter_counts() {
        assert!(switches_on(OPTIONS_TEXT));
        assert!(switches_on("options amdgpu noretry=1 rdna_noncoherent=1\n"));
        for text in [
            "",
            "# options amdgpu rdna_noncoherent=1\n",
            "options radeon rdna_noncoherent=1\n",
            "options amdgpu rdna_noncoherent=0\n",
            "options amdgpu rdna_noncoherent=1\noptions amdgpu rdna_noncoherent=-1\n",
        ] {
            assert!(!switches_on(text), "{text}");
        }
    }

    #[test]
    fn lines_of_dkms_are_understood() {
        let known = line("amdgpu-rdna/0.1.0, 6.1.0-56-amd64, x86_64: installed").unwrap();
        assert_eq!(known.kernel.as_deref(), Some("6.1.0-56-amd64"));
        assert!(known.installed && known.version == "0.1.0");
        let known = line("amdgpu-rdna/0.1.0: added").unwrap();
        assert!(known.kernel.is_none() && !known.installed);
        let more = "amdgpu-rdna/0.1.0, 6.1.0-1-amd64, x86_64: installed (original_module exists)";
        assert!(line(more).unwrap().installed);
        assert_eq!(line("amdgpu/6.3.6: added"), None);
        assert_eq!(line("Deprecated feature: REMAKE_INITRD"), None);
    }
}
