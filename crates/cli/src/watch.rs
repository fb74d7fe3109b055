//! `rdnafix run --verbose`: runs the program as a child, and then says on stderr which calls
//! the layers of librdnafix.so saw, and which copy of libamdhip64 made calls that none saw.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::exit::{self, CannotStart};
use crate::report::{self, Action, Report};

/// Runs the command to its end. `report` is the file that the user asked for, if any.
///
/// # Errors
/// A program that does not start, a report that cannot be read.
pub(crate) fn run(mut command: Command, report: Option<PathBuf>) -> Result<ExitCode> {
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    // A file of the user's may hold reports of earlier runs: only what is added counts.
    let file = report.unwrap_or_else(|| directory.path().join("report.json"));
    let before = report::read(&file)?.len();
    command.env("RDNAFIX_REPORT", &file);
    leave_signals_to_the_program(&mut command);
    let status = command
        .spawn()
        .map_err(|error| CannotStart::new(&command.get_program().to_string_lossy(), &error))?
        .wait()
        .context("cannot wait for the program")?;
    let reports = report::read(&file)?;
    eprint!("{}", describe(&reports[before.min(reports.len())..]));
    Ok(exit::code_of_status(status).into())
}

/// What the terminal sends goes to the program too; this process has to outlive it.
fn leave_signals_to_the_program(command: &mut Command) {
    const SIGNALS: [i32; 2] = [libc::SIGINT, libc::SIGQUIT];
    for signal in SIGNALS {
        // SAFETY: sets a disposition; there is no handler to race with.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // SAFETY: signal is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            for signal in SIGNALS {
                libc::signal(signal, libc::SIG_DFL);
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
