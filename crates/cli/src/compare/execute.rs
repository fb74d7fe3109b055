//! Running the program once, with its output kept in files.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde::Serialize;

use crate::exit::{self, CannotStart};
use crate::signals::{self, end_with_parent};

/// How a run ended, and where its output is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) ending: Ending,
    /// `None` where the output was passed through.
    #[serde(skip)]
    pub(crate) output: Option<Output>,
}

/// The output of a run.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) stdout: PathBuf,
    pub(crate) stderr: PathBuf,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    /// With this exit code.
    Exited(u8),
    /// By this signal.
    Signal(i32),
    /// By `--timeout`.
    TimedOut,
}

impl Ending {
    fn of(status: ExitStatus) -> Self {
        status.signal().map_or_else(|| Self::Exited(exit::code_of_status(status)), Self::Signal)
    }

    pub(crate) fn succeeded(self) -> bool {
        self == Self::Exited(0)
    }

    /// The exit code that says so.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(exit::OWN_ERROR),
            Self::TimedOut => exit::TIMED_OUT,
        }
    }

    /// Completes "the run ...".
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Exited(code) => format!("ended with exit code {code}"),
            Self::Signal(signal) => {
                let name = Signal::try_from(signal).map(|name| format!(" ({name})"));
                format!("was ended by signal {signal}{}", name.unwrap_or_default())
            }
            Self::TimedOut => "was ended by --timeout".to_owned(),
        }
    }
}

/// Runs a command to its end. Its output goes to files in `directory`, or to stderr where
/// there is none.
///
/// # Errors
/// A program that does not start, files that cannot be written.
pub(crate) fn execute(
    mut command: Command,
    name: &str,
    directory: Option<&Path>,
    timeout: Option<Duration>,
) -> Result<Run> {
    let output = directory.map(|directory| Output {
        stdout: directory.join(format!("{name}.stdout")),
        stderr: directory.join(format!("{name}.stderr")),
    });
    command.stdin(Stdio::null());
    if let Some(output) = &output {
        command.stdout(create(&output.stdout)?);
        command.stderr(create(&output.stderr)?);
    } else {
        command.stdout(std::io::stderr());
    }
    if timeout.is_some() {
        // So that what the program started is ended with it. In a group of its own it does not
        // get the Ctrl-C of the terminal: let it end when this process does.
        command.process_group(0);
        end_with_parent(&mut command, Signal::SIGTERM);
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let cannot_start = |error| CannotStart::new(&program, &error);
    let ending = match timeout {
        None => {
            let status = signals::run(&mut command).context("cannot wait for the program")?;
            Ending::of(status.map_err(cannot_start)?)
        }
        Some(timeout) => wait_at_most(&mut command.spawn().map_err(cannot_start)?, timeout)?,
    };
    tracing::info!(run = name, "{}", ending.describe());
    Ok(Run { ending, output })
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot create '{}'", path.display()))
}

fn wait_at_most(child: &mut Child, timeout: Duration) -> Result<Ending> {
    const POLL: Duration = Duration::from_millis(10);
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the program")? {
            return Ok(Ending::of(status));
        }
        if start.elapsed() >= timeout {
            let group = i32::try_from(child.id()).context("a process id beyond i32")?;
            // SAFETY: kill takes numbers; the child is not waited for yet, so its id, which
            // is that of its group, is not reused.
            unsafe { libc::kill(-group, libc::SIGKILL) };
            child.wait().context("cannot wait for the program")?;
            return Ok(Ending::TimedOut);
        }
        std::thread::sleep(POLL.min(timeout.saturating_sub(start.elapsed())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Option<u64>) -> (Ending, String) {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let timeout = timeout.map(Duration::from_millis);
        let run = execute(command, "stock", Some(dir.path()), timeout).unwrap();
        let stdout = std::fs::read_to_string(run.output.unwrap().stdout).unwrap();
        (run.ending, stdout)
    }

    #[test]
    fn the_ending_and_the_output_are_kept() {
        assert_eq!(shell("echo out; exit 3", None), (Ending::Exited(3), "out\n".to_owned()));
        assert_eq!(shell("kill -9 $$", Some(60_000)).0, Ending::Signal(9));
    }

    #[test]
    fn a_run_that_takes_too_long_is_ended_with_its_children() {
        let (ending, stdout) = shell("echo $$; sleep 600 & wait", Some(300));
        assert_eq!(ending, Ending::TimedOut);
        let group: i32 = stdout.trim().parse().unwrap();
        // The killed grandchild goes when init reaps it.
        let deadline = Instant::now() + Duration::from_secs(20);
        // SAFETY: signal 0 only asks whether the group exists.
        while unsafe { libc::kill(-group, 0) } == 0 && !only_zombies(group) {
            assert!(Instant::now() < deadline, "group {group} is still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where nothing reaps orphans, as in some containers, they stay as zombies.
    fn only_zombies(group: i32) -> bool {
        std::fs::read_dir("/proc").unwrap().flatten().all(|entry| {
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
                return true;
            };
            let Some((_, rest)) = stat.rsplit_once(") ") else {
                return true;
            };
            let fields: Vec<&str> = rest.split(' ').collect();
            fields[2] != group.to_string() || fields[0] == "Z"
        })
    }

    #[test]
    fn a_missing_program_is_told_from_a_failing_one() {
        let error = execute(Command::new("/nonexistent/prog"), "stock", None, None).unwrap_err();
        assert_eq!(exit::code_of(&error), exit::NOT_FOUND);
    }
}
