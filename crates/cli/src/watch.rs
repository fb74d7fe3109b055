//! `rdnafix run --summary` and `--verbose`: runs the program as a child, says on stderr what was
//! rewritten, and ends as the program ended. Verbose also says which calls the layers of
//! librdnafix.so saw, and which copy of libamdhip64 made calls that none saw.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use indicatif::HumanBytes;
use tempfile::NamedTempFile;

use crate::exit::{self, CannotStart};
use crate::report::{self, Action, Report};
use crate::signals;
use crate::stderr::say;
use crate::stdout::printable;

/// What is said at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// One line.
    Summary,
    /// A paragraph for each process.
    Layers,
}

/// Where the library also writes its reports, for each `rdnafix run` that waits for them.
const SUMMARY_FILE: &str = "RDNAFIX_SUMMARY_FILE";

/// Whether a `rdnafix run` around this one will say what was done.
pub(crate) fn is_watched() -> bool {
    files(env::var_os(SUMMARY_FILE).as_deref()).any(Path::is_file)
}

fn files(list: Option<&OsStr>) -> impl Iterator<Item = &Path> {
    let list = list.map(OsStr::as_bytes).unwrap_or_default();
    list.split(|byte| *byte == b':').map(|file| Path::new(OsStr::from_bytes(file)))
}

/// Runs the command to its end. `report` is the file that the user asked for, if any.
///
/// # Errors
/// A program that does not start or cannot be waited for.
pub(crate) fn run(
    mut command: Command,
    report: Option<PathBuf>,
    ending: Ending,
) -> Result<ExitCode> {
    // A file of this run's own: others may append to the user's at the same time.
    let file = match own_file() {
        Ok(file) => file,
        // What is said at the end is no reason not to run the program.
        Err(error) => {
            say(&format!("nothing will be said at the end: no temporary file: {error}"));
            let error = command.exec();
            let program = command.get_program().to_string_lossy();
            return Err(CannotStart::new(&program, &error).into());
        }
    };
    let mut list = file.path().as_os_str().to_owned();
    for outer in files(env::var_os(SUMMARY_FILE).as_deref()).filter(|file| file.is_file()) {
        list.push(":");
        list.push(outer);
    }
    command.env(SUMMARY_FILE, list);
    // To a regular file the library writes itself: also what ends after the program, or is there
    // when this process is killed. A pipe has an end, which its reader takes for that of all.
    let pipe = report.filter(|report| report.exists() && !report.is_file());
    if pipe.is_some() {
        command.env_remove("RDNAFIX_REPORT");
    }
    let status = signals::run(&mut command)
        .context("cannot wait for the program")?
        .map_err(|error| CannotStart::new(&command.get_program().to_string_lossy(), &error))?;
    // The program has ended, and that is the answer, whatever becomes of the rest.
    if let Some(pipe) = pipe
        && let Err(error) = append(file.path(), &pipe)
    {
        say(&format!("cannot write the report '{}': {error}", pipe.display()));
    }
    let text = match (report::read(file.path()), ending) {
        (Ok(reports), Ending::Summary) => summary(&reports),
        (Ok(reports), Ending::Layers) => describe(&reports),
        (Err(error), _) => format!("rdnafix: {error:#}\n"),
    };
    // Nothing is left to do where stderr is gone.
    let _ = std::io::stderr().write_all(printable(&text).as_bytes());
    // A signal ends this process without its destructors.
    drop(file);
    if let Some(signal) = status.signal() {
        signals::end_by(signal);
    }
    Ok(exit::code_of_status(status).into())
}

fn own_file() -> std::io::Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix("rdnafix-").suffix(".jsonl").tempfile()?;
    if file.path().as_os_str().as_bytes().contains(&b':') {
        let why = format!("'{}' has a colon in it", file.path().display());
        return Err(std::io::Error::new(ErrorKind::InvalidFilename, why));
    }
    Ok(file)
}

fn append(from: &Path, to: &Path) -> std::io::Result<()> {
    let text = std::fs::read(from)?;
    // Nobody may be reading from a pipe, and its opening would wait for them.
    if text.is_empty() {
        return Ok(());
    }
    std::fs::OpenOptions::new().append(true).open(to)?.write_all(&text)
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
