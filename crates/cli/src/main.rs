//! The `rdnafix` command: runs programs with `librdnafix.so`, on the simulated GPU of
//! `libkfdsim.so`, or with and without the first to compare what they ask of the kernel.

// They panic where nobody can read them: `stdout` and `stderr` are there for that.
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

mod args;
mod build;
mod compare;
mod doctor;
mod exit;
mod generate;
mod kernel;
mod locate;
mod nearest;
mod patch;
mod preload;
mod probe;
mod program;
mod report;
mod root;
mod run;
mod settings;
mod signals;
mod sigpipe;
mod sim;
mod stderr;
mod stdout;
mod waiting;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use tracing::level_filters::LevelFilter;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(answer) => {
            // Nothing is left to do where even this message cannot be written.
            let _ = answer.print();
            return if answer.use_stderr() {
                ExitCode::from(usage_error())
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    log_to_stderr(args.verbose);
    let own_error = args.command.own_error();
    let result = match args.command {
        Command::Run(run) => run::run(&run, args.verbose > 0),
        Command::Sim(args) => sim::sim(&args),
        Command::Compare(args) => compare::compare(&args),
        Command::Patch(args) => patch::patch(&args),
        Command::Build(args) => build::build(&args),
        Command::Kernel(args) => kernel::kernel(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Explain(args) => doctor::explain(&args),
        Command::Probe(probe) => probe::probe(&probe, args.verbose > 0),
        Command::Bench(bench) => probe::bench(&bench, args.verbose > 0),
        Command::Config(args) => settings::config(&args),
        Command::Completions(args) => generate::completions(&args),
        Command::Man(args) => generate::man(&args),
    };
    result.unwrap_or_else(|error| {
        // What was wrong with a file may be quoted in it.
        stderr::say(&format!("{error:#}"));
        ExitCode::from(own_error.unwrap_or_else(|| exit::code_of(&error)))
    })
}

/// The exit code for a command line that is not understood: that of its command's own errors.
fn usage_error() -> u8 {
    let words = std::env::args_os().skip(1);
    let command = words.map(|word| word.to_string_lossy().into_owned());
    match command.into_iter().find(|word| !word.starts_with('-')).as_deref() {
        Some("doctor" | "explain") => doctor::ERROR,
        _ => exit::OWN_ERROR,
    }
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        // It would complain on stderr of a stderr that cannot be written, and panic.
        .log_internal_errors(false)
        .with_ansi(stdout::colour(&std::io::stderr()))
        .with_target(false)
        .without_time()
        .with_max_level(level)
        .init();
}
