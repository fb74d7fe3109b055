//! `rdnafix build kernel --remove`: the stock module back, for every kernel.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::host::{self, Kernel};
use super::{dkms, expect_stock, package};
use crate::build::progress::Progress;
use crate::build::steps::{Inputs, Work};
use crate::build::{child, kept};
use crate::stderr::say;
use crate::stdout::print;

/// What helps where the machine does not start with the module.
pub(super) const EMERGENCY: &str = "\
if the machine does not start with it: in the boot menu, press e, add modprobe.blacklist=amdgpu
(or nomodeset) to the line that begins with linux, start with Ctrl-X, and remove it then
";

/// Does it. What was removed before is no error.
///
/// # Errors
/// Where something cannot be removed, or another module than the stock one is still there.
pub(super) fn remove(as_json: bool) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("removing a module is for root only: run it with sudo; nothing was changed");
    }
    let versions = dkms::versions()?;
    for version in &versions {
        dkms::expect_unowned(version)?;
    }
    if !versions.is_empty() {
        dkms::expect_works()?;
    }
    let of_ours: Vec<String> = dkms::known().into_iter().filter_map(|known| known.kernel).collect();
    child::listen();
    let work = Work::open(&kept::directory()?.join("linux-remove"), Progress::new(as_json, 1))?;
    let is_gone = || {
        dkms::versions().is_ok_and(|versions| versions.is_empty())
            && fs::read_to_string(dkms::OPTIONS).map_or(true, |text| text != dkms::OPTIONS_TEXT)
    };
    // Kernels whose initramfs is still to be made anew, also if this is interrupted.
    let list = work.path("kernels");
    work.step("remove", &Inputs::new("remove"), is_gone, |log| {
        let mut kernels: Vec<String> = fs::read_to_string(&list)
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .chain(dkms::known().into_iter().filter_map(|known| known.kernel))
            .collect();
        kernels.sort();
        kernels.dedup();
        fs::write(&list, kernels.join("\n"))
            .with_context(|| format!("cannot write {}", list.display()))?;
        for version in &versions {
            dkms::remove(version, log)?;
        }
        dkms::remove_options()?;
        let kernels: Vec<Kernel> = kernels.into_iter().map(|release| Kernel { release }).collect();
        dkms::update_initramfs(&kernels, &work, log)?;
        Ok(fs::remove_file(&list)?)
    })?;
    for kernel in host::kernels() {
        match expect_stock(&kernel) {
            // Somebody else's module for a kernel that this one was not for stays what it is.
            Err(other) if !of_ours.contains(&kernel.release) => say(&format!("{other}")),
            result => result?,
        }
    }
    let kept_options = Path::new(dkms::OPTIONS).exists().then(|| {
        format!(
            "{} was changed and is kept; the stock module ignores rdna_noncoherent",
            dkms::OPTIONS
        )
    });
    if as_json {
        let event = json!({ "event": "removed", "versions": versions, "kept": kept_options });
        return print(&format!("{event}\n"));
    }
    let what = if versions.is_empty() {
        format!("{} was not installed: the stock amdgpu is in its place\n", package::NAME)
    } else {
        format!(
            "{} {} is removed: the stock amdgpu is back, and used from the next start on\n",
            package::NAME,
            versions.join(", ")
        )
    };
    let emergency = if versions.is_empty() {
        String::new()
    } else {
        // With the name that the kernel has then.
        format!("{AFTERWARDS}sudo {}\n", host::initramfs_command("$(uname -r)"))
    };
    print(&(what + &emergency))?;
    if let Some(kept) = kept_options {
        say(&kept);
    }
    Ok(())
}

const AFTERWARDS: &str = "\
if the machine does not start: in the boot menu, press e, add modprobe.blacklist=amdgpu (or
nomodeset) to the line that begins with linux, start with Ctrl-X, and make the initramfs anew:
";
