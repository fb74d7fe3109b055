//! The command lines of `rdnafix doctor` and `rdnafix explain`.

use std::path::PathBuf;

/// Examine this machine: what is wrong with its GPUs, ROCm and settings, and what helps.
///
/// Each finding has what was read where, why it matters, the fix as a command, and how to see
/// whether it helped. Nothing is changed: the commands are yours to run. No GPU program is
/// started and no ROCm library is loaded.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = DOCTOR_HELP)]
pub(crate) struct DoctorArgs {
    /// Print the facts and the findings as one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
    /// Examine a copy of a machine: a dump (FILE.tar.gz, or unpacked), or a tree with its /sys,
    /// /proc, /etc and so on.
    #[arg(long, value_name = "DIR|FILE")]
    pub(crate) root: Option<PathBuf>,
    /// Write the files that were read to FILE, a .tar.gz to attach to an issue. It has neither
    /// serial numbers nor the names of users and hosts.
    #[arg(long, value_name = "FILE", conflicts_with = "board")]
    pub(crate) dump: Option<PathBuf>,
    /// Print the GPU that is this KFD node as a board of the simulated GPU; the first GPU usually
    /// is node 1.
    #[arg(long, value_name = "NODE", conflicts_with = "json")]
    pub(crate) board: Option<u32>,
    /// Examine no machine, but compare what `doctor --json` printed on many nodes: which differs, in
    /// what. A file is called as its node, for example node07.json.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["root", "dump", "board", "site_packages"])]
    pub(crate) merge: Option<Vec<PathBuf>>,
    /// Also look for PyTorch in this directory of Python packages.
    #[arg(long, value_name = "DIR")]
    pub(crate) site_packages: Vec<PathBuf>,
}

const DOCTOR_HELP: &str = "\
Exit code: 0 where nothing is wrong (there may be notes), 1 with errors or warnings, of which \
a machine without an AMD GPU is one, 2 where rdnafix itself fails.

JSON: {rdnafix, machine, findings, summary}. A finding is {id, severity, title, what, \
evidence: [{value, from}], why, advice, fix: [COMMAND], verify: [COMMAND], rdnafix, help, \
sources: [URL]}; severity is error, warning or note, rdnafix is yes, partly or no. With --dump: {file, \
files, bytes}. With --merge: {nodes, differences: {FACT: [{value, nodes}]}}; the exit code is 1 where nodes differ, too.";

/// Name what a program's messages, or dmesg, are about: the symptom, its cause, the fix.
///
/// Reads FILE, or stdin: `PROGRAM 2>&1 | rdnafix explain`, `sudo dmesg | rdnafix explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXPLAIN_HELP)]
pub(crate) struct ExplainArgs {
    /// The text; `-` is stdin [default: stdin].
    pub(crate) file: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

const EXPLAIN_HELP: &str = "\
Exit code: 0 where something was recognised, 1 where nothing was, 2 where rdnafix itself fails.

JSON: {rdnafix, lines, symptoms}. A symptom is {id, severity, title, count, line, text, why, \
advice, fix, verify, rdnafix, help, sources}; line and text are those of its first message.";
