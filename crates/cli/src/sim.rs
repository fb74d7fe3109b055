//! `rdnafix sim`: becomes the program, on the simulated GPU of `libkfdsim.so`.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::args::{Board, SimArgs, SimCommand};
use crate::locate::{Library, locate};
use crate::{root, run};

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
