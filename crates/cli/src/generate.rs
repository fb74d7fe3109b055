//! Manual pages and completions, made from the definition of the command line. Decides nothing.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::nearest::nearest;
use crate::stdout;

/// `rdnafix completions`.
///
/// # Errors
/// Where stdout cannot be written.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<ExitCode> {
    let mut text = Vec::new();
    let mut command = Args::command().mut_subcommand("sim", |sim| without_words(&sim));
    clap_complete::generate(args.shell, &mut command, "rdnafix", &mut text);
    stdout::print(&String::from_utf8(text).context("the completions are not text")?)?;
    Ok(ExitCode::SUCCESS)
}

/// Without what is given in place of a subcommand: a program that stands before `root` would take
/// its names from it.
fn without_words(command: &Command) -> Command {
    let options = command.get_arguments().filter(|argument| !argument.is_positional());
    let mut plain = Command::new("sim")
        .args(options.cloned().collect::<Vec<_>>())
        .subcommands(command.get_subcommands().cloned().collect::<Vec<_>>());
    if let Some(about) = command.get_about() {
        plain = plain.about(about.clone());
    }
    plain
}

/// `rdnafix man`.
///
/// # Errors
/// An unknown command; where stdout or the directory cannot be written.
pub(crate) fn man(args: &ManArgs) -> Result<ExitCode> {
    let mut all = with_version(Args::command());
    all.build();
    if let Some(directory) = &args.out {
        let failed = || format!("cannot write manual pages to '{}'", directory.display());
        std::fs::create_dir_all(directory).with_context(failed)?;
        write_pages(&all, directory).with_context(failed)?;
    } else {
        let text = page(named(&all, &args.command)?).context("the manual page")?;
        stdout::print(&String::from_utf8(text).context("the manual page is not text")?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The manual page of a command.
fn page(command: &Command) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let page = clap_mangen::Man::new(command.clone());
    page.source(concat!("rdnafix ", env!("CARGO_PKG_VERSION"))).render(&mut text)?;
    Ok(text)
}

fn write_pages(command: &Command, directory: &Path) -> std::io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    std::fs::write(directory.join(format!("{name}.1")), page(command)?)?;
    command.get_subcommands().try_for_each(|command| write_pages(command, directory))
}

/// With the version in the page of every command, and no pages of `help`. Not for parsing:
/// --version is an option of some commands' own.
fn with_version(command: Command) -> Command {
    command
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .mut_subcommands(with_version)
}

/// The command of these words.
fn named<'a>(all: &'a Command, words: &[String]) -> Result<&'a Command> {
    let mut command = all;
    for (index, word) in words.iter().enumerate() {
        command = command.find_subcommand(word).with_context(|| {
            let before = words[..index].join(" ") + if index > 0 { " " } else { "" };
            let names = || command.get_subcommands().map(Command::get_name);
            let hint = match nearest(word, names()) {
                Some(name) => format!("did you mean '{before}{name}'?"),
                None if names().next().is_none() => format!("'{}' has none", before.trim_end()),
                None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
            };
            format!("there is no command '{before}{word}'; {hint}")
        })?;
    }
    Ok(command)
}
