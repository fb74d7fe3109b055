//! `rdnafix sim`: becomes the program, on the simulated GPU of `libkfdsim.so`.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Subcommand;
use policy::GfxTarget;

use crate::args::{EXIT_CODES, Program};
use crate::locate::{Library, locate};
use crate::root::RootArgs;
use crate::{root, run};

/// Run a program on a simulated GPU, without rdnafix.
///
/// The installed ROCm libraries run unmodified; libkfdsim.so answers in place of the kernel.
/// It shows what is asked of the kernel, not what hardware does: kernels of the program
/// itself are not executed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct SimArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SimCommand>,
    #[command(flatten)]
    pub(crate) board: Board,
    /// Append one JSON line per ioctl to FILE.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// The KFD version that the simulated kernel reports, for example 1.17.
    #[arg(long, value_name = "MAJOR.MINOR", value_parser = parse_kfd_version)]
    pub(crate) kfd_version: Option<String>,
    #[command(flatten)]
    pub(crate) program: Option<Program>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    Root(RootArgs),
}

/// The simulated GPU.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Board {
    /// Simulated GPUs, for example gfx1030,gfx1100 [default: KFDSIM_GPUS, else gfx1030].
    #[arg(long, value_name = "GFX,...", value_delimiter = ',', value_parser = parse_gpu)]
    pub(crate) gpu: Vec<String>,
    /// Use the ROCm of a root in place of the machine's own (`rdnafix sim root` lists them).
    #[arg(long, value_name = "NAME", value_parser = root::names(), hide_possible_values = true)]
    pub(crate) root: Option<String>,
    /// All of the simulated VRAM is visible to the CPU (resizable BAR).
    #[arg(long)]
    pub(crate) large_bar: bool,
    /// The simulated kernel has no SVM API, as kernels without CONFIG_DEVICE_PRIVATE.
    #[arg(long)]
    pub(crate) no_svm: bool,
}

impl Board {
    /// Whether any option was given.
    pub(crate) fn given(&self) -> bool {
        !self.gpu.is_empty() || self.root.is_some() || self.large_bar || self.no_svm
    }
}

/// Does it. Returns only where the program cannot be started.
///
/// # Errors
/// A library that is not found, a file that cannot be written, a program that does not start.
pub(crate) fn sim(args: &SimArgs) -> Result<ExitCode> {
    if let Some(SimCommand::Root(args)) = &args.command {
        return root::root(args);
    }
    let program = args.program.as_ref().context("no program is named")?;
    let mut command = run::command(program);
    let mut libraries = [locate(Library::Kfdsim)?];
    set_board(&mut command, &args.board);
    if let Some(version) = &args.kfd_version {
        command.env("KFDSIM_KFD_VERSION", version);
    }
    if let Some(log) = &args.log {
        command.env("KFDSIM_LOG", run::output_file("--log", log)?);
    }
    root::enter(args.board.root.as_deref(), &mut libraries)?;
    run::preload_into(&mut command, &libraries)?;
    run::warn_if_unreachable(program, Library::Kfdsim);
    run::exec(command, program)
}

/// The environment of the simulator; what is not given keeps what the environment has.
pub(crate) fn set_board(command: &mut Command, board: &Board) {
    if !board.gpu.is_empty() {
        command.env("KFDSIM_GPUS", board.gpu.join(","));
    } else if std::env::var_os("KFDSIM_GPUS").is_none_or(|gpus| gpus.is_empty()) {
        command.env("KFDSIM_GPUS", DEFAULT_GPU);
    }
    if board.large_bar {
        command.env("KFDSIM_LARGE_BAR", "1");
    }
    if board.no_svm {
        command.env("KFDSIM_SVM", "0");
    }
}

/// The GPU that is simulated where none is named.
pub(crate) const DEFAULT_GPU: &str = "gfx1030";

fn parse_gpu(text: &str) -> Result<String, String> {
    // Boards of the user's own may have any name; libkfdsim.so knows which there are.
    let own_boards = std::env::var_os("KFDSIM_BOARDS").is_some() && !text.is_empty();
    if own_boards || GfxTarget::from_name(text).is_some() {
        Ok(text.to_owned())
    } else {
        Err("not a gfx target; expected a name such as gfx1030".to_owned())
    }
}

fn parse_kfd_version(text: &str) -> Result<String, String> {
    let (major, minor) = text.split_once('.').unwrap_or((text, ""));
    if major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err("not a version; expected MAJOR.MINOR, for example 1.17".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::Parser;

    #[test]
    fn a_list_of_gpus_is_taken_apart_and_checked() {
        let parse = |list: &str| Args::try_parse_from(["rdnafix", "sim", "--gpu", list, "--", "p"]);
        let Command::Sim(sim) = parse("gfx1030,gfx90a").unwrap().command else {
            panic!("not sim");
        };
        assert_eq!(sim.board.gpu, ["gfx1030", "gfx90a"]);
        assert!(sim.board.given());
        for bad in ["navi21", "gfx1030,", ""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_kfd_version_has_two_numbers() {
        assert_eq!(parse_kfd_version("1.17"), Ok("1.17".to_owned()));
        for bad in ["1", "1.", "1.x", "1.2.3"] {
            assert!(parse_kfd_version(bad).is_err(), "{bad}");
        }
    }
}
