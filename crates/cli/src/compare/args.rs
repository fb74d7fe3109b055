//! The command line of `rdnafix compare`.

use std::path::PathBuf;
use std::time::Duration;

use policy::Level;

use crate::args::{Program, level_names, parse_seconds};
use crate::sim::Board;

/// Run a program stock and with librdnafix.so, and show what each asked of the kernel.
///
/// On a machine with an RDNA1/2 GPU the program runs on it, and the table comes from the
/// reports of librdnafix.so (the stock run has the level off). Otherwise, or with --simulate
/// or any option of the simulated GPU, it runs on a simulated one, and the table comes from
/// the kernel ioctls. The first line says which.
///
/// The ioctls between the marks "> NAME" and "< NAME = CODE" that a program passes to
/// kfdsim_mark() are those of the call NAME. Without marks they are listed by the HIP or HSA
/// function that the program had called, if the libraries let that be seen (5.2 and 5.7 do), and
/// without --patched; else by kind of memory, as "(any call)". What the ROCm runtime allocates for itself comes
/// last, by kind of memory, as "(runtime)".
///
/// PROGRAM runs twice, or up to four times, and reads nothing from stdin. Its output is not shown,
/// unless a run fails or the runs print different things, addresses aside.
#[expect(clippy::struct_excessive_bools, reason = "each is an option that is given or not")]
#[derive(Debug, clap::Args)]
#[command(after_help = COMPARE_HELP)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    pub(crate) board: Board,
    /// Use a simulated GPU even where there is a real one.
    #[arg(long)]
    pub(crate) simulate: bool,
    /// Run it a third time with the patched libraries in PREFIX/lib, which `rdnafix build rocm`
    /// made, and without librdnafix.so. On a simulated GPU only: nothing else shows what they
    /// ask for.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) patched: Option<PathBuf>,
    /// Run it once more with the stock libraries, on a kernel that has the patches of this project
    /// and rdna_noncoherent=1. On a simulated GPU only.
    #[arg(long)]
    pub(crate) kernel_patched: bool,
    /// What the interposed and the patched run rewrite.
    #[arg(long, value_name = "LEVEL", value_parser = level_names(), default_value = Level::Standard.name())]
    pub(crate) policy: String,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Pass the program's output through, to stderr.
    #[arg(long)]
    pub(crate) show_output: bool,
    /// End a run that takes longer.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) program: Program,
}

const COMPARE_HELP: &str = "\
Exit code: that of the program if all runs end the same way (124 where they are ended by \
--timeout), 1 if they end differently; 125 where rdnafix itself fails, 126 where PROGRAM does \
not start, 127 where it is not found.

JSON: {gpu, policy, program, runs, output_differs, rows, summary, reports}. A row is {call, \
kind, changed, stock, interposed}; kind is \"call\" or \"runtime\". On a simulated GPU stock \
and interposed are {codes: {CODE: COUNT}, asked: [{domain, coherent, mtype: {GPU: MTYPE}, \
flags, count, bytes}]}; on a real one, {calls: [...]} as in the report of librdnafix.so. With \
--patched a row has \"patched\", too, and \"patched_differs\": from interposed; with \
--kernel-patched \"kernel_patched\" and \"kernel_changed\": from stock. \
\"reports\" has that report for the interposed run, one element per process.";
