//! `rdnafix doctor` and `rdnafix explain`: what is wrong, from the machine or from a message.
//!
//! Facts, diagnoses and texts are apart: `facts` reads, `rules` judges, `symptoms/` has what
//! both commands say. Nothing here changes the machine, opens a device or loads ROCm.

mod anonymous;
mod args;
mod board;
#[cfg(test)]
mod document;
mod dump;
mod explain;
pub(crate) mod facts;
mod merge;
mod output;
pub(crate) mod rules;
pub(crate) mod table;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde::Serialize;

pub(crate) use args::{DoctorArgs, ExplainArgs};
use facts::Machine;
pub(crate) use facts::regular_file;
use facts::source::Source;
use rules::Finding;
use table::Severity;

use crate::stdout::{print, print_json};
use crate::waiting::waiting;

/// There are findings, or nothing was recognised.
const FOUND: u8 = 1;
/// Something that these commands were asked for failed.
pub(crate) const ERROR: u8 = 2;

/// The document of `--json`.
#[derive(Serialize)]
struct Document<'a> {
    rdnafix: &'a str,
    machine: &'a Machine,
    findings: &'a [Finding],
    summary: Summary,
}

/// How many findings there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) errors: usize,
    pub(crate) warnings: usize,
    pub(crate) notes: usize,
}

impl Summary {
    fn of(findings: &[Finding]) -> Self {
        let count = |severity| findings.iter().filter(|one| one.severity == severity).count();
        Self {
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            notes: count(Severity::Note),
        }
    }

    /// Whether nothing is wrong.
    fn is_clean(self) -> bool {
        self.errors == 0 && self.warnings == 0
    }
}

/// `rdnafix doctor`.
///
/// # Errors
/// A copy that cannot be read, a dump that cannot be written, a board that is not there.
pub(crate) fn doctor(args: &DoctorArgs) -> Result<ExitCode> {
    if let Some(files) = &args.merge {
        let merged = merge::merge(files)?;
        let width = output::Style::stdout().width;
        if args.json {
            print_json(&merged)?;
        } else {
            print(&merge::text(&merged, width))?;
        }
        return Ok(if merged.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) });
    }
    // Kept until all is read: it is where an archive was unpacked to.
    let (source, _unpacked) = match &args.root {
        None => (Source::machine(), None),
        Some(root) => dump::open(root)?,
    };
    let site_packages = args
        .site_packages
        .iter()
        .map(|directory| site_packages(directory, &source))
        .collect::<Result<Vec<_>>>()?;
    let machine = {
        let _waiting = waiting("reading the machine");
        facts::collect(&source, &site_packages)
    };
    if let Some(file) = &args.dump {
        let written = dump::write(file, source.into_record())?;
        if args.json {
            print_json(&written)?;
        } else {
            print(&written.text())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(node) = args.board {
        print(&board::board(&machine, node)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let findings = rules::findings(&machine);
    let summary = Summary::of(&findings);
    if args.json {
        let document = Document {
            rdnafix: env!("CARGO_PKG_VERSION"),
            machine: &machine,
            findings: &findings,
            summary,
        };
        print_json(&document)?;
    } else {
        print(&output::report(&machine, &findings, summary, output::Style::stdout()))?;
    }
    Ok(if summary.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

/// A directory of packages as a path of the machine that is examined.
fn site_packages(directory: &Path, source: &Source) -> Result<String> {
    let absolute =
        if source.is_live() { std::path::absolute(directory)? } else { directory.into() };
    match absolute.to_str() {
        Some(path) if path.starts_with('/') => Ok(path.to_owned()),
        Some(path) => bail!("--site-packages '{path}': with --root it has to be an absolute path"),
        None => bail!("--site-packages '{}': must be UTF-8", directory.display()),
    }
}

/// `rdnafix explain`.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn explain(args: &ExplainArgs) -> Result<ExitCode> {
    // `-` is stdin, as of many commands; a file of that name is `./-`.
    let explained = match args.file.as_ref().filter(|file| file.as_os_str() != "-") {
        Some(file) => explain::read(explain::open(file)?, &file.display().to_string())?,
        None => explain::read(std::io::stdin().lock(), "stdin")?,
    };
    if args.json {
        print_json(&explained)?;
    } else {
        print(&output::explanation(&explained, output::Style::stdout()))?;
    }
    let nothing = explained.symptoms.is_empty();
    Ok(if nothing { ExitCode::from(FOUND) } else { ExitCode::SUCCESS })
}
