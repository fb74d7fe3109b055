//! `rdnafix build`: the two libraries of ROCm that the patches change, built as an overlay, and
//! the patched amdgpu of Debian's kernels.

mod alternatives;
mod args;
mod child;
mod compile;
mod kept;
mod kernel;
mod library;
mod manifest;
mod prefix;
mod preflight;
mod progress;
mod release;
mod rocm;
mod source;
mod steps;
mod tree;

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;

pub(crate) use self::args::BuildArgs;
use self::args::{BuildCommand, CheckArgs};
pub(crate) use self::child::Interrupted;
pub(crate) use self::manifest::MANIFEST;
use crate::stderr::say;
use crate::stdout::{print, print_json};

/// Does it.
///
/// # Errors
/// What the machine lacks, a step that failed, a prefix that is not ours.
pub(crate) fn build(args: &BuildArgs) -> Result<ExitCode> {
    match &args.command {
        BuildCommand::Check(args) => check(args)?,
        BuildCommand::Rocm(args) => rocm::build(args)?,
        BuildCommand::Kernel(args) => kernel::build(args)?,
        BuildCommand::Verify(args) => {
            let prefix = prefix::allowed(&args.prefix)?;
            let manifest = manifest::read(&prefix)?;
            let manifest = manifest
                .with_context(|| format!("--prefix '{}': there is nothing", prefix.display()))?;
            manifest.expect_untouched(&prefix)?;
            if args.json {
                print_json(&json!({
                    "prefix": prefix,
                    "release": manifest.release,
                    "patched": manifest.patched,
                    "files": manifest.files.len(),
                    "needs": manifest.needs(),
                }))?;
            } else {
                print(&format!(
                    "{}: {} files as they were installed; it needs {}\n",
                    manifest.title(),
                    manifest.files.len(),
                    manifest.needs()
                ))?;
            }
        }
        BuildCommand::SetDefault(args) => {
            let prefix = prefix::allowed(&args.prefix)?;
            let lost = alternatives::set(&prefix)?;
            if args.json {
                print_json(&json!({ "link": alternatives::DEFAULT_LINK, "prefix": prefix }))?;
            } else {
                print(&format!("{} leads to {}\n", alternatives::DEFAULT_LINK, prefix.display()))?;
            }
            if let Some(lost) = lost {
                say(&lost);
            }
        }
        BuildCommand::Uninstall(args) => {
            let removed = prefix::uninstall(&args.prefix)?;
            if args.json {
                print_json(&json!({ "prefix": args.prefix, "files": removed }))?;
            } else {
                print(&format!("{}: removed, {removed} files\n", args.prefix.display()))?;
            }
        }
        BuildCommand::List(args) => kept::list(args.json)?,
        BuildCommand::Clean(args) => kept::clean(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn check(args: &CheckArgs) -> Result<()> {
    let release = release::named(&args.release)?;
    if args.packages {
        let mut packages = preflight::missing(&release);
        packages.push("");
        return print(&packages.join("\n"));
    }
    let work = kept::directory()?;
    let from = source::From::named(None)?;
    let found = preflight::examine(&release, &from, &work, &work, None);
    if args.json {
        print_json(&found.document(&release.name))?;
        return found.expect_ready(&release.name).map(drop);
    }
    let machine = found.expect_ready(&release.name)?;
    print(&format!(
        "ROCm {} can be built here, {} compilers at once:\n  {}\n",
        release.name,
        machine.jobs,
        machine.versions.join("\n  ")
    ))
}
