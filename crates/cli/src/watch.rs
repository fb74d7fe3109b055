//! `rdnafix run --summary` and `--verbose`: runs the program as a child, says on stderr what was
//! rewritten, and ends as the program ended. Verbose also says which calls the layers of
//! librdnafix.so saw, and which copy of libamdhip64 made calls that none saw.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context, Result};
use indicatif::HumanBytes;
use nix::sys::signal::{SigSet, SigmaskHow};

use crate::exit::{self, CannotStart};
use crate::report::{self, Action, Report};

/// What is said at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// One line.
    Summary,
    /// A paragraph for each process.
    Layers,
}

/// Runs the command to its end. `report` is the file that the user asked for, if any.
///
/// # Errors
/// A program that does not start, a report that cannot be read or passed on.
pub(crate) fn run(
    mut command: Command,
    report: Option<PathBuf>,
    ending: Ending,
) -> Result<ExitCode> {
    let directory = match tempfile::tempdir() {
        Ok(directory) => directory,
        // What is said at the end is no reason not to run the program.
        Err(error) => {
            eprintln!("rdnafix: nothing will be said at the end: no temporary directory: {error}");
            let error = command.exec();
            let program = command.get_program().to_string_lossy();
            return Err(CannotStart::new(&program, &error).into());
        }
    };
    // The user's file may be a pipe, or hold other things: what is added to it is read here first.
    let file = directory.path().join("report.json");
    command.env("RDNAFIX_REPORT", &file);
    pass_signals_on(&mut command);
    // What comes before the child is known waits until it is.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).context("sigprocmask")?;
    // SAFETY: pthread_sigmask is async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(move || Ok(before.thread_set_mask()?)) };
    let child = command.spawn();
    if let Ok(child) = &child {
        CHILD.store(i32::try_from(child.id()).unwrap_or(0), Ordering::Relaxed);
    }
    before.thread_set_mask().context("sigprocmask")?;
    let mut child = child
        .map_err(|error| CannotStart::new(&command.get_program().to_string_lossy(), &error))?;
    let status = child.wait().context("cannot wait for the program")?;
    CHILD.store(0, Ordering::Relaxed);
    // The program has ended, and that is the answer, whatever becomes of the rest.
    if let Some(report) = report
        && let Err(error) = append(&file, &report)
    {
        eprintln!("rdnafix: cannot write the report '{}': {error}", report.display());
    }
    let text = match (report::read(&file), ending) {
        (Ok(reports), Ending::Summary) => summary(&reports),
        (Ok(reports), Ending::Layers) => describe(&reports),
        (Err(error), _) => format!("rdnafix: {error:#}\n"),
    };
    // Nothing is left to do where stderr is gone.
    let _ = std::io::stderr().write_all(text.as_bytes());
    if let Some(signal) = status.signal() {
        end_by(signal);
    }
    Ok(exit::code_of_status(status).into())
}

/// Ends this process by the signal that ended the program: a shell tells Ctrl-C from an exit code.
/// Returns where a signal does not end it.
fn end_by(signal: i32) {
    // SAFETY: plain calls with numbers and a structure that outlives them. The core file, if one is
    // wanted, is the program's.
    unsafe {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
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
    // SAFETY: signal and prctl are async-signal-safe, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            for (signal, disposition) in &inherited {
                libc::signal(*signal, *disposition);
            }
            // SIGKILL cannot be passed on otherwise.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

const NONE: &str = "rdnafix: no process used a GPU through ROCm, or none that ended by exit()\n";

/// The line at the end: what was rewritten, most often first.
fn summary(reports: &[Report]) -> String {
    if reports.is_empty() {
        return NONE.into();
    }
    let mut changed: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut bytes, mut left, mut dry) = (0, 0, false);
    for call in reports.iter().flat_map(|report| &report.calls) {
        if call.action == Action::Forwarded {
            left += call.calls;
        } else {
            dry |= call.action == Action::WouldRewrite;
            *changed.entry(&call.api).or_default() += call.calls;
            bytes += call.bytes;
        }
    }
    let mut text = String::from(if dry { "rdnafix: dry run: " } else { "rdnafix: " });
    let done = if dry { "would be rewritten" } else { "rewritten" };
    if changed.is_empty() {
        text.push_str("nothing ");
        text.push_str(done);
    } else {
        let total: u64 = changed.values().sum();
        let mut kinds: Vec<_> = changed.into_iter().collect();
        kinds.sort_by_key(|(api, calls)| (std::cmp::Reverse(*calls), *api));
        let kinds: Vec<_> = kinds.iter().map(|(api, calls)| format!("{api} {calls}")).collect();
        let (kinds, size) = (kinds.join(", "), HumanBytes(bytes));
        let _ = write!(text, "{} {done} ({kinds}; {size})", calls(total));
    }
    let _ = write!(text, ", {left} left alone");
    if reports.len() > 1 {
        let _ = write!(text, ", in {} processes", reports.len());
    }
    text.push('\n');
    text
}

fn calls(number: u64) -> String {
    if number == 1 { "1 call".into() } else { format!("{number} calls") }
}

fn describe(reports: &[Report]) -> String {
    if reports.is_empty() {
        return NONE.into();
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
    use crate::report::{Call, Layers};

    fn report(calls: &[(&str, Action, u64)]) -> Report {
        let call = |(api, action, calls): &(&str, Action, u64)| Call {
            api: (*api).into(),
            gpu: None,
            request: String::new(),
            action: *action,
            reason: String::new(),
            why: String::new(),
            calls: *calls,
            bytes: calls << 20,
            fell_back: 0,
        };
        Report {
            rdnafix: "0.1.0".into(),
            pid: 7,
            program: "/bin/p".into(),
            level: "standard".into(),
            gpus: Vec::new(),
            calls: calls.iter().map(call).collect(),
            layers: Layers { symbols: 3, table: 2, handed_out: 1 },
            unseen: Vec::new(),
        }
    }

    #[test]
    fn the_summary_is_one_line_over_all_processes() {
        use Action::{Forwarded, Rewritten, WouldRewrite};
        let first = report(&[("hipHostMalloc", Rewritten, 1), ("hipMallocManaged", Rewritten, 2)]);
        let second = report(&[("hipMallocManaged", Rewritten, 1), ("hipHostMalloc", Forwarded, 5)]);
        assert_eq!(
            summary(&[first, second]),
            "rdnafix: 4 calls rewritten (hipMallocManaged 3, hipHostMalloc 1; 4.00 MiB), \
             5 left alone, in 2 processes\n"
        );
        assert_eq!(
            summary(&[report(&[("hipHostMalloc", Forwarded, 5)])]),
            "rdnafix: nothing rewritten, 5 left alone\n"
        );
        assert_eq!(
            summary(&[report(&[("hipHostMalloc", WouldRewrite, 1)])]),
            "rdnafix: dry run: 1 call would be rewritten (hipHostMalloc 1; 1.00 MiB), 0 left alone\n"
        );
        assert!(summary(&[]).contains("no process used a GPU"));
    }

    #[test]
    fn a_run_without_a_gpu_says_so() {
        assert!(describe(&[]).contains("no process used a GPU"));
    }

    #[test]
    fn layers_and_unseen_copies_are_named() {
        let mut report = report(&[]);
        report.unseen.push("/opt/libamdhip64.so.6".into());
        let text = describe(&[report]);
        assert!(text.contains("exported functions: 3, through the HSA table: 2"), "{text}");
        assert!(text.contains("/opt/libamdhip64.so.6 is loaded"), "{text}");
        assert_eq!(text.lines().count(), 2);
    }
}
