//! Child processes: one for each kind of memory, stock and with librdnafix.so. One that crashes or
//! hangs costs the cell that it was at; another one goes on after that.

use std::collections::VecDeque;
use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;

use super::model::{Cell, Memory, Outcome, Side};
use super::presence;
use super::worker::{Line, Request};
use crate::locate::Library;
use crate::preload::{self, HSA_TOOLS_LIB, LD_PRELOAD};
use crate::report::{self, Action};
use crate::signals::end_with_parent;

/// How children are run.
pub(crate) struct Children {
    /// librdnafix.so
    pub(crate) library: PathBuf,
    pub(crate) policy: String,
    /// For a cell.
    pub(crate) timeout: Duration,
    /// Their stderr goes to this one's.
    pub(crate) verbose: bool,
}

/// A cell that does not end: after so many of them the rest of a side is left.
const MOST_TIMEOUTS: usize = 2;
/// For a killed process to go: one that waits for a GPU may not.
const GOING: Duration = Duration::from_secs(5);

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exited,
    Fatal(String),
    Crashed(String),
    TimedOut { gone: bool },
}

impl Children {
    /// Measures a row's side. `tell` is called with the name of each cell that is begun.
    ///
    /// # Errors
    /// Where no child can be started.
    pub(crate) fn side(
        &self,
        request: &Request,
        interposed: bool,
        mut tell: impl FnMut(&str),
    ) -> Result<Side> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let report = directory.path().join("report");
        let mut side = Side::default();
        let mut left: VecDeque<String> = request.cells.iter().cloned().collect();
        let mut timeouts = 0;
        while !left.is_empty() {
            let part = Request { cells: left.iter().cloned().collect(), ..request.clone() };
            // Where it ended, if it ended before its last cell.
            let mut at = None;
            let end = self.run(&part, interposed.then_some(&report), |line| match line {
                Line::Begin(name) => {
                    tell(&name);
                    at = Some(name);
                }
                Line::Cell(cell) => {
                    left.retain(|name| *name != cell.name);
                    side.cells.push(cell);
                    at = None;
                }
                _ => {}
            })?;
            let outcome = match end {
                End::Exited if left.is_empty() => break,
                End::Exited => Outcome::Failed { why: "the process ended early".into() },
                End::Fatal(why) => {
                    side.cells.extend(not_run(&mut left, &why, true));
                    break;
                }
                End::Crashed(how) => Outcome::Crashed { how },
                End::TimedOut { gone } => {
                    timeouts += if gone { 1 } else { MOST_TIMEOUTS };
                    Outcome::TimedOut { seconds: self.timeout.as_secs() }
                }
            };
            // What ends before a cell ends before every one.
            let Some(cell) = at.filter(|at| left.contains(at)) else {
                side.cells
                    .extend(left.drain(..).map(|name| Cell { name, outcome: outcome.clone() }));
                break;
            };
            left.retain(|name| *name != cell);
            side.cells.push(Cell { name: cell, outcome });
            if timeouts >= MOST_TIMEOUTS {
                let why = "cells before it did not end: the GPU may hang";
                side.cells.extend(not_run(&mut left, why, false));
            }
        }
        side.allocation = allocation(&report, request.memory);
        side.cells.sort_by_key(|cell| request.cells.iter().position(|name| *name == cell.name));
        Ok(side)
    }

    /// Runs a child; `take` gets its lines.
    ///
    /// # Errors
    /// Where it cannot be started, or has not the libraries that it is to have.
    pub(crate) fn run(
        &self,
        request: &Request,
        report: Option<&PathBuf>,
        mut take: impl FnMut(Line),
    ) -> Result<End> {
        let mut child = self.command(request, report)?.spawn().context("cannot start a child")?;
        let stdout = child.stdout.take().context("a child without stdout")?;
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // What a library prints is no line of the child's.
                if let Ok(line) = serde_json::from_str(&line)
                    && send.send(line).is_err()
                {
                    break;
                }
            }
        });
        let (mut fatal, mut present) = (None, Ok(()));
        loop {
            match lines.recv_timeout(self.timeout) {
                Ok(Line::Fatal(why)) => fatal = Some(why),
                Ok(Line::Library(found)) => {
                    present = presence::check(&self.library, report.is_some(), found.as_deref());
                }
                Ok(line) => take(line),
                Err(RecvTimeoutError::Timeout) => {
                    return Ok(End::TimedOut { gone: end(&mut child) });
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Its stdout is closed; what it does at its end may hang, too.
        let Some(status) = wait(&mut child, self.timeout)? else {
            return Ok(End::TimedOut { gone: end(&mut child) });
        };
        present?;
        Ok(match fatal {
            Some(why) => End::Fatal(why),
            None if status.success() => End::Exited,
            None => End::Crashed(describe(status)),
        })
    }

    fn command(&self, request: &Request, report: Option<&PathBuf>) -> Result<Command> {
        let own = env::current_exe().context("cannot tell where rdnafix itself is")?;
        let mut command = Command::new(own);
        let (library, interposed) = (self.library.clone(), report.is_some());
        let request = Request { library, interposed, ..request.clone() };
        command.arg(request.kind.name()).arg("--worker").arg(serde_json::to_string(&request)?);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("RDNAFIX_") {
                command.env_remove(name);
            }
        }
        let mut list =
            env::var_os(LD_PRELOAD).and_then(|list| preload::without(Library::Rdnafix, &list));
        if let Some(report) = report {
            list = Some(preload::prepend(std::slice::from_ref(&self.library), list.as_deref())?);
            command.env("RDNAFIX_POLICY", &self.policy).env("RDNAFIX_REPORT", report);
            // The child looks the functions of HIP up by name.
            command.env("RDNAFIX_DLSYM", "1");
        }
        // ROCr would open it in the stock run, too.
        let tools =
            env::var_os(HSA_TOOLS_LIB).and_then(|list| preload::without(Library::Rdnafix, &list));
        for (name, list) in [(LD_PRELOAD, list), (HSA_TOOLS_LIB, tools)] {
            match list {
                Some(list) => command.env(name, list),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        command.stderr(if self.verbose { Stdio::inherit() } else { Stdio::null() });
        // In a group of its own it does not get the terminal's Ctrl-C, and no core is kept of it.
        end_with_parent(&mut command, Signal::SIGKILL);
        // SAFETY: setrlimit is async-signal-safe, and nothing is allocated.
        unsafe { command.pre_exec(|| Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)) };
        Ok(command)
    }
}

fn not_run(left: &mut VecDeque<String>, why: &str, failed: bool) -> Vec<Cell> {
    let outcome = || {
        let why = why.to_owned();
        if failed { Outcome::Failed { why } } else { Outcome::NotRun { why } }
    };
    left.drain(..).map(|name| Cell { name, outcome: outcome() }).collect()
}

/// Kills a child with all that it started; whether it went.
fn end(child: &mut Child) -> bool {
    if let Ok(group) = i32::try_from(child.id()) {
        // SAFETY: kill takes numbers; the child is not waited for, so its id is not reused.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
    wait(child, GOING).is_ok_and(|status| status.is_some())
}

fn wait(child: &mut Child, timeout: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        let status = child.try_wait().context("cannot wait for a child")?;
        if status.is_some() || start.elapsed() >= timeout {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn describe(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => {
            let name = Signal::try_from(signal);
            format!("ended by {}", name.map_or("a signal", Signal::as_str))
        }
        None => format!("ended with exit code {}", status.code().unwrap_or_default()),
    }
}

/// What librdnafix.so did with the memory under test, as its report has it.
fn allocation(report: &Path, memory: Option<Memory>) -> Option<String> {
    let apis: &[&str] = match memory? {
        Memory::Vram => &["hipMalloc"],
        // Managed memory is decided about in one of the two.
        Memory::Managed => &["hsa_amd_svm_attributes_set", "hipMallocManaged"],
        _ => &["hipHostMalloc"],
    };
    let reports = report::read(report).ok()?;
    let calls = || {
        let calls = reports.iter().flat_map(|report| &report.calls);
        calls.filter(|call| apis.contains(&call.api.as_str()))
    };
    let call = calls().find(|call| call.action == Action::Rewritten).or_else(|| calls().next())?;
    let action = match call.action {
        Action::Rewritten => "rewritten",
        Action::Forwarded | Action::WouldRewrite => "left alone",
    };
    Some(format!("{action}: {}", call.why))
}

impl End {
    /// Why there is no more.
    pub(crate) fn why(&self, timeout: Duration) -> String {
        match self {
            Self::Exited => "the process ended early".to_owned(),
            Self::Fatal(why) => why.clone(),
            Self::Crashed(how) => format!("the process was {how}"),
            Self::TimedOut { .. } => format!("no answer in {} s", timeout.as_secs()),
        }
    }
}
