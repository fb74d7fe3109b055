//! `/opt/rocm`, which programs and scripts look at: a link that update-alternatives(1) manages,
//! as AMD's own packages have it manage it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::manifest;
use super::preflight::in_path;

/// What is switched.
pub(super) const DEFAULT_LINK: &str = "/opt/rocm";
/// What AMD's packages call it.
const NAME: &str = "rocm";
/// Below that of any release of AMD's, so that `update-alternatives --auto` gives theirs back.
const PRIORITY: &str = "1";

/// That the link can be switched.
///
/// # Errors
/// Why not.
pub(super) fn ready() -> Result<()> {
    let link = Path::new(DEFAULT_LINK);
    if in_path("update-alternatives").is_none() {
        bail!("{DEFAULT_LINK} is set by update-alternatives, which is not here");
    }
    match link.symlink_metadata() {
        Ok(there) if !there.is_symlink() => {
            bail!(
                "{DEFAULT_LINK} is not a link, and nothing of it is touched: use PREFIX/bin/env.sh"
            )
        }
        Ok(_) if !fs::read_link(link)?.starts_with("/etc/alternatives") => {
            bail!(
                "{DEFAULT_LINK} is a link to {} that update-alternatives does not manage: use \
                 PREFIX/bin/env.sh, or remove the link",
                fs::read_link(link)?.display()
            )
        }
        _ => {}
    }
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "{DEFAULT_LINK} can be set by root only: run rdnafix build set-default --prefix PREFIX as root"
        );
    }
    if let Err(error) = nix::unistd::access("/etc/alternatives", nix::unistd::AccessFlags::W_OK) {
        bail!(
            "{DEFAULT_LINK} cannot be set here, /etc/alternatives: {error}; in a root of rdnafix, \
             run rdnafix build set-default --prefix PREFIX outside of it afterwards"
        );
    }
    Ok(())
}

/// Points the link to an overlay. Gives what is no longer found there, if anything is.
///
/// # Errors
/// As [`ready`]; a prefix that is not ours; update-alternatives itself.
pub(super) fn set(prefix: &Path) -> Result<Option<String>> {
    ready()?;
    if manifest::read(prefix)?.is_none() {
        bail!("--prefix '{}': there is nothing", prefix.display());
    }
    let before = fs::canonicalize(DEFAULT_LINK).ok().filter(|before| before != prefix);
    let text = prefix.display().to_string();
    run(&["--install", DEFAULT_LINK, NAME, &text, PRIORITY])?;
    run(&["--set", NAME, &text])?;
    Ok(before.filter(|before| before.join("bin").is_dir()).map(|before| {
        format!(
            "{DEFAULT_LINK} was {}: its compilers and other libraries are no longer found through \
             the link; back: update-alternatives --auto {NAME}",
            before.display()
        )
    }))
}

/// Takes an overlay out of the alternatives, if it is one. Gives whether it was.
///
/// # Errors
/// Where only root could.
pub(super) fn remove(prefix: &Path) -> Result<bool> {
    let query = Command::new("update-alternatives").args(["--query", NAME]).output();
    let wanted = format!("Alternative: {}", prefix.display());
    let is_one = query.is_ok_and(|query| {
        String::from_utf8_lossy(&query.stdout).lines().any(|line| line == wanted)
    });
    if !is_one {
        return Ok(false);
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("{DEFAULT_LINK} may lead to {}: only root can take it back", prefix.display());
    }
    run(&["--remove", NAME, &prefix.display().to_string()])?;
    Ok(true)
}

fn run(arguments: &[&str]) -> Result<()> {
    let output = Command::new("update-alternatives").args(arguments).output();
    let output = output.context("cannot start update-alternatives")?;
    if !output.status.success() {
        bail!(
            "update-alternatives {} failed: {}: {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
