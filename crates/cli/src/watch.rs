//! `rdnafix run --verbose`: runs the program as a child, and then says on stderr which calls
//! the layers of librdnafix.so saw, and which copy of libamdhip64 made calls that none saw.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context, Result};

use crate::exit::{self, CannotStart};
use crate::report::{self, Action, Report};

/// Runs the command to its end. `report` is the file that the user asked for, if any.
///
/// # Errors
/// A program that does not start, a report that cannot be read or passed on.
pub(crate) fn run(mut command: Command, report: Option<PathBuf>) -> Result<ExitCode> {
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    // The user's file may be a pipe, or hold other things: what is added to it is read here first.
    let file = directory.path().join("report.json");
    command.env("RDNAFIX_REPORT", &file);
    pass_signals_on(&mut command);
    let mut child = command
        .spawn()
        .map_err(|error| CannotStart::new(&command.get_program().to_string_lossy(), &error))?;
    CHILD.store(i32::try_from(child.id()).unwrap_or(0), Ordering::Relaxed);
    let status = child.wait().context("cannot wait for the program")?;
    CHILD.store(0, Ordering::Relaxed);
    eprint!("{}", describe(&report::read(&file)?));
    if let Some(report) = report {
        append(&file, &report)
            .with_context(|| format!("cannot write the report '{}'", report.display()))?;
    }
    Ok(exit::code_of_status(status).into())
}

fn append(from: &Path, to: &Path) -> std::io::Result<()> {
    let text = match std::fs::read(from) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        text => text?,
    };
    std::fs::OpenOptions::new().append(true).create(true).open(to)?.write_all(&text)
}

/// The program, for the handler of signals; 0 if there is none.
static CHILD: AtomicI32 = AtomicI32::new(0);

extern "C" fn send_on(signal: i32) {
    let child = CHILD.load(Ordering::Relaxed);
    if child != 0 {
        // SAFETY: kill is async-signal-safe and takes numbers.
        unsafe { libc::kill(child, signal) };
    }
}

/// What the terminal sends goes to the program too, and this process has to outlive it; what
/// is sent to this process alone is meant for the program. The program starts with the
/// dispositions that were inherited.
fn pass_signals_on(command: &mut Command) {
    const FROM_TERMINAL: [i32; 2] = [libc::SIGINT, libc::SIGQUIT];
    const SENT: [i32; 4] = [libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];
    let handler = send_on as *const () as libc::sighandler_t;
    let set = |signal: i32, disposition| {
        // SAFETY: a disposition, or a handler that is async-signal-safe.
        (signal, unsafe { libc::signal(signal, disposition) })
    };
    let inherited: Vec<(i32, libc::sighandler_t)> = FROM_TERMINAL
        .iter()
        .map(|signal| set(*signal, libc::SIG_IGN))
        .chain(SENT.iter().map(|signal| set(*signal, handler)))
        .collect();
    // SAFETY: signal is async-signal-safe, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            for (signal, disposition) in &inherited {
                libc::signal(*signal, *disposition);
            }
            Ok(())
        });
    }
}

fn describe(reports: &[Report]) -> String {
    if reports.is_empty() {
        return "rdnafix: no process used a GPU through ROCm, or none that ended by exit()\n"
            .into();
    }
    reports.iter().map(describe_process).collect::<Vec<_>>().concat()
}

fn describe_process(report: &Report) -> String {
    let sum = |wanted: Action| -> u64 {
        report.calls.iter().filter(|call| call.action == wanted).map(|call| call.calls).sum()
    };
    let mut text = format!(
        "rdnafix: {} ({}), level {}: {} calls rewritten, {} left alone; seen through exported \
         functions: {}, through the HSA table: {}, functions handed out by dlsym: {}\n",
        report.program,
        report.pid,
        report.level,
        sum(Action::Rewritten),
        sum(Action::Forwarded) + sum(Action::WouldRewrite),
        report.layers.symbols,
        report.layers.table,
        report.layers.handed_out,
    );
    for copy in &report.unseen {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "rdnafix: {copy} is loaded, but no call to it or from it was seen: it was not used, or \
             its callers look functions up by name (try --dlsym) or bind past LD_PRELOAD \
             (RTLD_DEEPBIND, a namespace of its own)"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Layers;

    #[test]
    fn a_run_without_a_gpu_says_so() {
        assert!(describe(&[]).contains("no process used a GPU"));
    }

    #[test]
    fn layers_and_unseen_copies_are_named() {
        let report = Report {
            rdnafix: "0.1.0".into(),
            pid: 7,
            program: "/bin/p".into(),
            level: "standard".into(),
            gpus: Vec::new(),
            calls: Vec::new(),
            layers: Layers { symbols: 3, table: 2, handed_out: 1 },
            unseen: vec!["/opt/libamdhip64.so.6".into()],
        };
        let text = describe(&[report]);
        assert!(text.contains("exported functions: 3, through the HSA table: 2"), "{text}");
        assert!(text.contains("/opt/libamdhip64.so.6 is loaded"), "{text}");
        assert_eq!(text.lines().count(), 2);
    }
}
