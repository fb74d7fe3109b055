//! The programs that a build runs. None of them outlives the build: a signal to it ends them,
//! and so does its own death.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::steps::Log;
use crate::signals::end_with_parent;

/// The process group that works now; 0 if there is none.
static GROUP: AtomicI32 = AtomicI32::new(0);
/// The signal that the build got; 0 if it got none.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// What ends a build and leaves it to be gone on with.
const ENDING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// A build that was ended by a signal.
#[derive(Debug)]
pub(crate) struct Interrupted(i32);

impl Interrupted {
    /// The exit code that a shell gives.
    pub(crate) fn code(&self) -> u8 {
        128_u8.saturating_add(u8::try_from(self.0).unwrap_or(0))
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            libc::SIGINT => "SIGINT",
            libc::SIGTERM => "SIGTERM",
            _ => "SIGHUP",
        };
        write!(
            f,
            "interrupted by {name}: what was done is kept, and the same command goes on from here"
        )
    }
}

impl std::error::Error for Interrupted {}

extern "C" fn end(signal: i32) {
    SIGNAL.store(signal, Ordering::Relaxed);
    let group = GROUP.load(Ordering::Relaxed);
    if group != 0 {
        // SAFETY: kill is async-signal-safe and takes numbers.
        unsafe { libc::kill(-group, libc::SIGTERM) };
    }
}

/// From now on a signal ends the step that is at work, with [`Interrupted`].
pub(super) fn listen() {
    for signal in ENDING {
        // SAFETY: the handler is async-signal-safe: atomics and kill.
        unsafe { libc::signal(signal, end as *const () as libc::sighandler_t) };
    }
}

/// That no signal has come.
///
/// # Errors
/// [`Interrupted`].
pub(super) fn go_on() -> Result<()> {
    match SIGNAL.load(Ordering::Relaxed) {
        0 => Ok(()),
        signal => Err(Interrupted(signal).into()),
    }
}

/// A program that is at work.
pub(super) struct Running(Child);

/// Starts a program, in a process group of its own.
///
/// # Errors
/// Where it does not start.
pub(super) fn start(command: &mut Command) -> Result<Running> {
    go_on()?;
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).process_group(0);
    end_with_parent(command, Signal::SIGTERM);
    // SAFETY: signal is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            for signal in ENDING {
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        });
    }
    let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    GROUP.store(i32::try_from(child.id()).unwrap_or(0), Ordering::Relaxed);
    // A signal between the two has found no group.
    if go_on().is_err() {
        end(SIGNAL.load(Ordering::Relaxed));
    }
    Ok(Running(child))
}

impl Running {
    /// Its standard output, if that is a pipe.
    fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.0.stdout.take()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Interrupted`] where a signal came.
    pub(super) fn wait(mut self) -> Result<ExitStatus> {
        let status = self.0.wait().context("cannot wait for a program");
        GROUP.store(0, Ordering::Relaxed);
        go_on()?;
        status
    }
}

/// Runs a program with its output in the log.
///
/// # Errors
/// Where it does not start, or fails.
pub(super) fn run(command: &mut Command, log: &Log) -> Result<()> {
    log.line(&format!("+ {command:?}"))?;
    command.stdout(log.file()?).stderr(log.file()?);
    let status = start(command)?.wait()?;
    if !status.success() {
        bail!("{} failed: {status}", command.get_program().display());
    }
    Ok(())
}

/// Runs a program with its output in the log, and shows each line of its standard output.
///
/// # Errors
/// As [`run`].
pub(super) fn run_showing(
    command: &mut Command,
    log: &Log,
    mut show: impl FnMut(&str),
) -> Result<()> {
    log.line(&format!("+ {command:?}"))?;
    let mut running = start(command.stdout(Stdio::piped()).stderr(log.file()?))?;
    let mut kept = log.file()?;
    let name = command.get_program().to_string_lossy().into_owned();
    for line in BufReader::new(running.stdout().context("no stdout")?).split(b'\n') {
        let line = line.with_context(|| format!("the output of {name}"))?;
        kept.write_all(&line)
            .and_then(|()| kept.write_all(b"\n"))
            .context("cannot write the log")?;
        show(&String::from_utf8_lossy(&line));
    }
    let status = running.wait()?;
    if !status.success() {
        bail!("{name} failed: {status}");
    }
    Ok(())
}
