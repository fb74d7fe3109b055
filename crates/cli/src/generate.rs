//! Manual pages and completions, made from the definition of the command line. Decides nothing.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::stdout;

/// `rdnafix completions`.
///
/// # Errors
/// Where stdout cannot be written.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "rdnafix", &mut text);
    stdout::print(&String::from_utf8(text).context("the completions are not text")?)?;
    Ok(ExitCode::SUCCESS)
}

/// `rdnafix man`.
///
/// # Errors
/// Where stdout or the directory cannot be written.
pub(crate) fn man(args: &ManArgs) -> Result<ExitCode> {
    if let Some(directory) = &args.out {
        let failed = || format!("cannot write manual pages to '{}'", directory.display());
        std::fs::create_dir_all(directory).with_context(failed)?;
        clap_mangen::generate_to(Args::command(), directory).with_context(failed)?;
    } else {
        let mut text = Vec::new();
        clap_mangen::Man::new(Args::command()).render(&mut text).context("the manual page")?;
        stdout::print(&String::from_utf8(text).context("the manual page is not text")?)?;
    }
    Ok(ExitCode::SUCCESS)
}
