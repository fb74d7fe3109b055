//! What a kernel on this machine is, and what is asked of Debian's tools about it. Reads only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::utsname::uname;

use crate::build::preflight::in_path;

/// Where kernels have their modules.
pub(super) const MODULES: &str = "/lib/modules";

/// A kernel by its release, as in `uname -r`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kernel {
    pub(super) release: String,
}

impl Kernel {
    /// The named kernel, else the running one.
    ///
    /// # Errors
    /// A name that cannot be one.
    pub(super) fn named(name: Option<&str>) -> Result<Self> {
        let release = match name {
            Some(name) => name.to_owned(),
            None => uname().context("uname")?.release().to_string_lossy().into_owned(),
        };
        // It becomes a part of paths.
        if release.is_empty() || release.starts_with('.') || release.contains('/') {
            bail!("--kernel '{release}': is no release of a kernel, as uname -r prints it");
        }
        Ok(Self { release })
    }

    /// The two numbers that its series of patches and its source package are named by, such as
    /// `6.1`; empty where the name does not begin with them.
    pub(super) fn numbers(&self) -> String {
        let digits =
            |text: &str| -> String { text.chars().take_while(char::is_ascii_digit).collect() };
        let mut parts = self.release.split('.');
        match (parts.next().map(digits), parts.next().map(digits)) {
            (Some(major), Some(minor)) if !major.is_empty() && !minor.is_empty() => {
                format!("{major}.{minor}")
            }
            _ => String::new(),
        }
    }

    pub(super) fn headers(&self) -> PathBuf {
        self.modules().join("build")
    }

    pub(super) fn modules(&self) -> PathBuf {
        Path::new(MODULES).join(&self.release)
    }

    pub(super) fn is_running(&self) -> bool {
        uname().is_ok_and(|name| name.release().to_string_lossy() == self.release)
    }

    /// What modinfo says of the amdgpu that this kernel would load; empty where there is none.
    pub(super) fn modinfo(&self, field: &str) -> String {
        let mut modinfo = Command::new("modinfo");
        said(modinfo.args(["-k", &self.release, "-F", field, "amdgpu"])).unwrap_or_default()
    }

    /// The stock module, wherever another one is installed too.
    pub(super) fn stock_module(&self) -> Option<PathBuf> {
        let below = self.modules().join("kernel/drivers/gpu/drm/amd/amdgpu");
        ["", ".xz", ".zst", ".gz"]
            .iter()
            .map(|kind| below.join(format!("amdgpu.ko{kind}")))
            .find(|file| file.is_file())
    }

    /// The Debian package that the stock module is of, which is the kernel's own: linux-image, or
    /// linux-modules from Linux 7 on.
    pub(super) fn image(&self) -> Option<String> {
        // It may be registered below /lib or /usr/lib.
        let below = "kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko*";
        owner(Path::new(&format!("*{MODULES}/{}/{below}", self.release)))
    }

    /// The module that dkms installs.
    pub(super) fn dkms_module(&self) -> Option<PathBuf> {
        let below = self.modules().join("updates/dkms");
        ["", ".xz", ".zst", ".gz"]
            .iter()
            .map(|kind| below.join(format!("amdgpu.ko{kind}")))
            .find(|file| file.is_file())
    }

    pub(super) fn initramfs(&self) -> PathBuf {
        PathBuf::from(format!("/boot/initrd.img-{}", self.release))
    }
}

/// The kernels that have modules here.
pub(super) fn kernels() -> Vec<Kernel> {
    let entries = fs::read_dir(MODULES).into_iter().flatten().filter_map(Result::ok);
    let mut all: Vec<Kernel> = entries
        .map(|entry| Kernel { release: entry.file_name().to_string_lossy().into_owned() })
        .collect();
    all.sort_by(|a, b| a.release.cmp(&b.release));
    all
}

/// The standard output of a command that succeeds, without white space at its ends.
pub(super) fn said(command: &mut Command) -> Option<String> {
    let output = command.env("LC_ALL", "C.UTF-8").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// The version of a Debian package that is installed.
pub(super) fn installed(package: &str) -> Option<String> {
    let mut query = Command::new("dpkg-query");
    let line =
        said(query.args(["--show", "--showformat=${db:Status-Status} ${Version}", package]))?;
    line.strip_prefix("installed ").map(str::to_owned)
}

/// The Debian package that a file belongs to; the path may be a pattern of dpkg-query.
pub(super) fn owner(path: &Path) -> Option<String> {
    let line = said(Command::new("dpkg-query").arg("--search").arg(path))?;
    Some(line.lines().next()?.split_once(": ")?.0.to_owned())
}

/// The version that the running kernel says it has, such as `6.1.192-2`, if it is Debian's.
pub(super) fn running_version() -> Option<String> {
    let name = uname().ok()?;
    version_in(&name.version().to_string_lossy()).map(str::to_owned)
}

/// The version in what `uname -v` prints: `#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)`.
fn version_in(said: &str) -> Option<&str> {
    said.split_once(" Debian ")?.1.split_whitespace().next()
}

/// The command that makes the initramfs of a kernel anew here.
pub(super) fn initramfs_command(release: &str) -> String {
    if in_path("update-initramfs").is_none() && in_path("dracut").is_some() {
        return format!("dracut --force /boot/initrd.img-{release} {release}");
    }
    format!("update-initramfs -u -k {release}")
}

/// Why a module whose key is not enrolled is refused by the running kernel, if it is.
pub(super) fn enforcement() -> Option<&'static str> {
    let read = |path: &str| fs::read(path).unwrap_or_default();
    let secure_boot =
        read("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    // Four bytes of attributes come before the value.
    if secure_boot.get(4) == Some(&1) {
        return Some("Secure Boot is on");
    }
    if read("/sys/module/module/parameters/sig_enforce").first() == Some(&b'Y') {
        return Some("module.sig_enforce is set");
    }
    let lockdown = String::from_utf8_lossy(&read("/sys/kernel/security/lockdown")).into_owned();
    let locked = lockdown.contains("[integrity]") || lockdown.contains("[confidentiality]");
    locked.then_some("the kernel is locked down")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_kernel_are_read_from_its_release() {
        for (release, numbers) in [
            ("6.1.0-56-amd64", "6.1"),
            ("6.12.117+deb13-amd64", "6.12"),
            ("7.2-rc1-amd64", "7.2"),
            ("custom", ""),
            ("6", ""),
        ] {
            let kernel = Kernel::named(Some(release)).unwrap();
            assert_eq!(kernel.numbers(), numbers, "{release}");
        }
    }

    #[test]
    fn the_version_of_the_running_kernel_is_read_where_it_is_debians() {
        for (said, version) in [
            ("#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)", Some("6.1.192-2")),
            ("#1 SMP Debian 6.12.9-1~bpo12+1 (2025-01-19)", Some("6.12.9-1~bpo12+1")),
            ("#58-Ubuntu SMP PREEMPT_DYNAMIC Fri Feb 14 2025", None),
            ("#1 SMP PREEMPT_DYNAMIC Mon Nov 23 2026", None),
        ] {
            assert_eq!(version_in(said), version, "{said}");
        }
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_no_kernel() {
        for name in ["", "..", "../6.1.0-1-amd64", "a/b"] {
            assert!(Kernel::named(Some(name)).is_err(), "{name}");
        }
    }
}
