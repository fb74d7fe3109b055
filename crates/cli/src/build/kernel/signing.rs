//! Whose key the module is signed with, whether the kernel asks for that, and what to do then.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::host::{self, Kernel, said};
use super::package;

/// Why the running kernel would refuse the module that is installed, and the way out.
pub(super) struct Refused {
    pub(super) why: &'static str,
    /// From when on it is used, after "it is used".
    pub(super) when: &'static str,
    pub(super) way_out: String,
}

/// Asks the machine. A script of the package is put into `scripts` for that.
///
/// # Errors
/// Where dkms's configuration cannot be read.
pub(super) fn refused(kernel: &Kernel, scripts: &Path) -> Result<Option<Refused>> {
    let Some(why) = host::enforcement() else { return Ok(None) };
    if kernel.modinfo("signer").is_empty() {
        return Ok(Some(Refused { why, when: "never as it is", way_out: UNSIGNED.to_owned() }));
    }
    let certificate = certificate(kernel, scripts)?;
    Ok((!is_enrolled(&certificate)).then(|| Refused {
        why,
        when: "once its key is enrolled, and not before",
        way_out: way_out(&certificate),
    }))
}

/// The certificate of the key that dkms signs with.
fn certificate(kernel: &Kernel, scripts: &Path) -> Result<String> {
    let script = package::script("certificate.sh", scripts)?;
    said(Command::new(script).arg(&kernel.release)).context(
        "dkms's configuration, /etc/dkms/framework.conf and framework.conf.d, cannot be read: \
         which key it signs with is not known",
    )
}

fn is_enrolled(certificate: &str) -> bool {
    // It says so on stdout, and its exit code is 1 then.
    let output = Command::new("mokutil").args(["--test-key", certificate]).output();
    output
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("is already enrolled"))
}

fn way_out(certificate: &str) -> String {
    format!(
        "\
the kernel will NOT load this module, and there will be no amdgpu, until the key that dkms
signs with is enrolled. Do this before you restart:
  sudo mokutil --import {certificate}
      (choose a password for one use)
  restart, choose Enroll MOK in the blue screen that comes, and give the password
  mokutil --test-key {certificate}
      (says whether it is enrolled)
Or take the stock module back: sudo rdnafix build kernel --remove"
    )
}

const UNSIGNED: &str = "\
dkms has not signed this module: the kernel will NOT load it, and there will be no amdgpu. What dkms
says of signing is in log/dkms.log of the work. Take the stock module back:
sudo rdnafix build kernel --remove";
