//! The command lines of `rdnafix probe` and `rdnafix bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use policy::Level;

use crate::args::parse_seconds;

/// Test atomics on your own GPU and slot, without and with librdnafix.so.
///
/// Eleven atomics on six kinds of memory, each compared with what the CPU computes: the cells are
/// the numbers of wrong elements. The kernels are compiled by your ROCm (hiprtc). On the simulated
/// GPU kernels are not executed: only which allocations are at risk is printed.
#[derive(Debug, clap::Args)]
#[command(after_help = PROBE_HELP)]
pub(crate) struct ProbeArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Only compile the kernels for these targets, and say so; needs no GPU.
    #[arg(long, value_name = "GFX,...", value_delimiter = ',', value_parser = target, conflicts_with_all = ["replay", "report", "launch_only", "json"])]
    pub(crate) compile: Vec<String>,
}

/// Measure the bandwidth of each kind of memory on your own GPU, without and with librdnafix.so.
///
/// Kernels read 256 MiB once (streaming), 1 MiB again and again (reread), and words anywhere
/// (random); their sums are compared with the CPU's. The kernels are compiled by your ROCm
/// (hiprtc). The simulated GPU is refused, as it executes none.
#[derive(Debug, clap::Args)]
#[command(after_help = BENCH_HELP)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Draw the figures to FILE, an SVG.
    #[arg(long, value_name = "FILE", conflicts_with = "launch_only")]
    pub(crate) svg: Option<PathBuf>,
}

/// What both have.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// Print the report, a JSON document.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the report to FILE, to be attached to an issue. It has no names of users and hosts.
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub(crate) report: Option<PathBuf>,
    /// Show the report in FILE; nothing is measured.
    #[arg(long, value_name = "FILE")]
    pub(crate) replay: Option<PathBuf>,
    /// What the interposed run rewrites.
    #[arg(long, value_name = "LEVEL", default_value = Level::Standard.name(),
        value_parser = PossibleValuesParser::new(Level::ALL.map(Level::name)))]
    pub(crate) policy: String,
    /// The GPU, by HIP's number.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=i64::from(i32::MAX)))]
    pub(crate) device: u32,
    /// Use libamdhip64 and libhiprtc in DIR [default: where the loader finds them, /opt/rocm/lib].
    #[arg(long, value_name = "DIR")]
    pub(crate) rocm: Option<PathBuf>,
    /// Give up on a cell that takes longer.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    pub(crate) timeout: Duration,
    /// Launch every kernel, but read no result: shows that they load and are accepted, also on
    /// the simulated GPU.
    #[arg(long, conflicts_with = "replay")]
    pub(crate) launch_only: bool,
    /// For rdnafix itself: be a child.
    #[arg(long, hide = true, value_name = "JSON")]
    pub(crate) worker: Option<String>,
}

/// A target, as ROCm names it: also with features, such as `gfx90a:xnack-`.
fn target(text: &str) -> Result<String, String> {
    let known = text.strip_prefix("gfx").is_some_and(|rest| {
        rest.starts_with(|letter: char| letter.is_ascii_alphanumeric())
            && rest.chars().all(|letter| letter.is_ascii_alphanumeric() || "-+:".contains(letter))
    });
    if known { Ok(text.to_owned()) } else { Err("a target is such as gfx1030".to_owned()) }
}

const PROBE_HELP: &str = "\
Exit code: 0 where all was compared and right; 1 where an element is wrong, whatever became of \
other cells; 3 where there is no result (the simulated GPU), or cells are without one (a failure, crash or timeout); 69 without a \
GPU, HIP or hiprtc; 125 where rdnafix itself fails.

JSON: docs/probe.md.";

const BENCH_HELP: &str = "\
Exit code: 0 where all was measured; 3 where there is no result (the simulated GPU), or cells \
are without one (a failure, crash or timeout); 69 without a GPU, HIP or hiprtc; 125 where rdnafix \
itself fails.

JSON: docs/probe.md.";
