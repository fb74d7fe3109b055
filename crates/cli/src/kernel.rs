//! `rdnafix kernel`: parameters of the stock amdgpu that may help on RDNA1 and RDNA2. Prints
//! only.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use serde::Serialize;

use crate::stdout::print;

/// Parameters of the stock amdgpu module, for those who want no patch.
#[derive(Debug, clap::Args)]
pub(crate) struct KernelArgs {
    #[command(subcommand)]
    command: KernelCommand,
}

#[derive(Debug, Subcommand)]
enum KernelCommand {
    Params(ParamsArgs),
}

/// Print the modprobe line with them, each with the reason. Changes nothing.
///
/// What is printed is a file for modprobe.d:
///   rdnafix kernel params | sudo tee /etc/modprobe.d/amdgpu-params.conf && sudo update-initramfs -u
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct ParamsArgs {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Parameter {
    name: &'static str,
    value: &'static str,
    why: &'static str,
    /// The value now, where amdgpu is loaded.
    now: Option<String>,
}

/// Name, value and reason: docs/kernel-module.md.
const PARAMETERS: [(&str, &str, &str); 2] = [
    (
        "noretry",
        "1",
        "a page fault of a compute program on GC 10.1 (RDNA1) is not retried, which cannot mend it \
         there, before it is reported; a graphics program gets no dummy page in its place. GC 10.3 \
         and Linux 7.2 have it so by default. It is no fix of coherency",
    ),
    (
        "vm_update_mode",
        "0",
        "page tables are written by the GPU's SDMA engine; with a large BAR the CPU writes those \
         of compute by default. An experiment, for such machines only",
    ),
];

/// Does it.
///
/// # Errors
/// Where stdout cannot be written to.
pub(crate) fn kernel(args: &KernelArgs) -> Result<ExitCode> {
    let KernelCommand::Params(args) = &args.command;
    let parameters = PARAMETERS.map(|(name, value, why)| {
        let now = std::fs::read_to_string(format!("/sys/module/amdgpu/parameters/{name}"));
        Parameter { name, value, why, now: now.ok().map(|now| now.trim().to_owned()) }
    });
    let set: Vec<String> =
        parameters.iter().map(|of| format!("{}={}", of.name, of.value)).collect();
    let line = format!("options amdgpu {}", set.join(" "));
    if args.json {
        let value = serde_json::json!({ "parameters": parameters, "line": line });
        print(&format!("{value}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for Parameter { name, value, why, now } in &parameters {
        let now = now.as_ref().map(|now| format!(" (now {now})")).unwrap_or_default();
        for line in textwrap::wrap(&format!("{name}={value}{now}: {why}."), 76) {
            let _ = writeln!(text, "# {line}");
        }
    }
    print(&format!("{text}{line}\n"))?;
    Ok(ExitCode::SUCCESS)
}
