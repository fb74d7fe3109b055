//! The command line.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Parser, Subcommand};
use policy::{GfxTarget, Level};

use crate::build::BuildArgs;
use crate::doctor::{self, DoctorArgs, ExplainArgs};
use crate::kernel::KernelArgs;
use crate::patch::PatchArgs;
use crate::probe::{BenchArgs, ProbeArgs};
use crate::settings::{self, ConfigArgs};

const EXIT_CODES: &str = "\
Exit code: the program's own, 128 + N where signal N ended it; 125 where rdnafix itself \
fails, 126 where PROGRAM does not start, 127 where it is not found.";

const RUN_HELP: &str = "\
Exit code: the program's own, and it ends by the signal that ended the program; 125 where \
rdnafix itself fails, 126 where PROGRAM does not start, 127 where it is not found.";

const ENVIRONMENT: &str = "\
Environment: RDNAFIX_LIB and KFDSIM_LIB name librdnafix.so and libkfdsim.so where they are \
not installed with this command; NO_COLOR switches colour off.";

/// Makes ROCm memory non-coherent on RDNA1 and RDNA2 GPUs where nobody asked for coherence.
///
/// On gfx101x and gfx103x, coherent memory is mapped uncached (MTYPE_UC). `rdnafix run` runs
/// a program so that memory which it did not ask to be coherent is not.
#[derive(Debug, Parser)]
#[command(name = "rdnafix", version, after_help = ENVIRONMENT)]
pub(crate) struct Args {
    /// Say on stderr what is done; twice for more.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArgs),
    Sim(SimArgs),
    Compare(CompareArgs),
    Patch(PatchArgs),
    Build(BuildArgs),
    Kernel(KernelArgs),
    Doctor(DoctorArgs),
    Explain(ExplainArgs),
    Probe(ProbeArgs),
    Bench(BenchArgs),
    Config(ConfigArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

impl Command {
    /// The exit code for this command's own errors, where it is not that of the others.
    pub(crate) const fn own_error(&self) -> Option<u8> {
        match self {
            Self::Doctor(_) | Self::Explain(_) => Some(doctor::ERROR),
            _ => None,
        }
    }
}

/// Run a program with librdnafix.so.
///
/// rdnafix becomes the program: it stays in the foreground, gets the signals, and its exit
/// code is its own. With --summary or --verbose it waits for the program instead, passes signals on,
/// ends as the program ended, and says on stderr what was rewritten; with --verbose also which calls
/// were seen, and which copy of libamdhip64 made calls that were not.
///
/// What is not given here comes from the environment, then from ~/.config/rdnafix/config.toml and
/// /etc/rdnafix.toml: `rdnafix config show`.
#[derive(Debug, clap::Args)]
#[command(after_help = RUN_HELP)]
pub(crate) struct RunArgs {
    /// What is rewritten [default: RDNAFIX_POLICY, else standard].
    #[arg(long, visible_alias = "policy", value_name = "LEVEL", value_parser = level_names())]
    pub(crate) level: Option<String>,
    /// Decide and report, change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// End with a line on stderr about what was rewritten [default: auto, which is on a terminal].
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "always", value_parser = summary_words())]
    pub(crate) summary: Option<String>,
    /// Append a JSON line about what was rewritten and why, for each process that used a GPU.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Log each decision to stderr or FILE: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL[:FILE]", value_parser = parse_log)]
    pub(crate) log: Option<LogTarget>,
    /// Also reach callers that look functions up by name (ctypes, hip-python): dlsym and
    /// hipGetProcAddress hand out the functions of librdnafix.so.
    #[arg(long)]
    pub(crate) dlsym: bool,
    #[command(flatten)]
    pub(crate) program: Program,
}

/// Print the completions of a shell: of this command's own options, always up to date.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

/// Print the manual page, or write those of all commands.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The directory to write rdnafix.1, rdnafix-run.1 and the others to.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Run a program on a simulated GPU, without rdnafix.
///
/// The installed ROCm libraries run unmodified; libkfdsim.so answers in place of the kernel.
/// It shows what is asked of the kernel, not what hardware does: kernels of the program
/// itself are not executed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct SimArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SimCommand>,
    #[command(flatten)]
    pub(crate) board: Board,
    /// Append one JSON line per ioctl to FILE.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// The KFD version that the simulated kernel reports, for example 1.17.
    #[arg(long, value_name = "MAJOR.MINOR", value_parser = parse_kfd_version)]
    pub(crate) kfd_version: Option<String>,
    #[command(flatten)]
    pub(crate) program: Option<Program>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    Root(RootArgs),
}

/// Make a root: a tree with another ROCm release, and run a program in it.
///
/// A root is made once from packages of the Debian archive, by mmdebstrap, and kept in the
/// cache: 0.4 GB for a release, up to 2.6 GB for those that tests need. Without NAME, all roots are listed; without PROGRAM, the path of the root
/// is printed.
///
/// The root's /usr, /etc and the like take the place of the machine's for the program; /home,
/// /tmp, /proc, /sys, /dev and all other directories stay. No privileges are needed where user
/// namespaces are allowed.
#[derive(Debug, clap::Args)]
#[command(after_help = ROOT_HELP)]
pub(crate) struct RootArgs {
    /// The root, for example 6.4.3 for that ROCm release.
    pub(crate) name: Option<String>,
    /// Remove the root from the cache.
    #[arg(long, requires = "name", conflicts_with = "program")]
    pub(crate) remove: bool,
    /// Print the root's path and the versions of its packages as JSON.
    #[arg(long, conflicts_with_all = ["remove", "program"])]
    pub(crate) json: bool,
    /// The program and its arguments.
    #[arg(value_name = "PROGRAM", last = true, requires = "name")]
    pub(crate) program: Vec<OsString>,
}

const ROOT_HELP: &str = "\
Exit code: the program's own; 69 where the root cannot be had (the archive has those versions \
no more, or is out of reach, mmdebstrap is not installed, or namespaces are not allowed); 125 where rdnafix itself fails, \
126 where PROGRAM does not start, 127 where it is not found.

Environment: RDNAFIX_MIRROR is the mirror of the Debian archive to use; XDG_CACHE_HOME is where \
roots are kept, in rdnafix/roots [default: ~/.cache].";

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

/// The simulated GPU.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Board {
    /// Simulated GPUs, for example gfx1030,gfx1100 [default: KFDSIM_GPUS, else gfx1030].
    #[arg(long, value_name = "GFX,...", value_delimiter = ',', value_parser = parse_gpu)]
    pub(crate) gpu: Vec<String>,
    /// Use the ROCm of a root in place of the machine's own (`rdnafix sim root` lists them).
    #[arg(long, value_name = "NAME")]
    pub(crate) root: Option<String>,
    /// All of the simulated VRAM is visible to the CPU (resizable BAR).
    #[arg(long)]
    pub(crate) large_bar: bool,
    /// The simulated kernel has no SVM API, as kernels without CONFIG_DEVICE_PRIVATE.
    #[arg(long)]
    pub(crate) no_svm: bool,
}

impl Board {
    /// Whether any option was given.
    pub(crate) fn given(&self) -> bool {
        !self.gpu.is_empty() || self.root.is_some() || self.large_bar || self.no_svm
    }
}

/// What is to be run.
#[derive(Debug, clap::Args)]
pub(crate) struct Program {
    /// The program and its arguments.
    #[arg(value_name = "PROGRAM", required = true, trailing_var_arg = true, num_args = 1..)]
    pub(crate) words: Vec<OsString>,
}

/// `RDNAFIX_LOG`: a level, and a file in place of stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogTarget {
    pub(crate) level: String,
    pub(crate) file: Option<PathBuf>,
}

fn level_names() -> PossibleValuesParser {
    PossibleValuesParser::new(Level::ALL.map(Level::name))
}

fn summary_words() -> PossibleValuesParser {
    PossibleValuesParser::new(settings::SUMMARY_WORDS)
}

fn parse_gpu(text: &str) -> Result<String, String> {
    // Boards of the user's own may have any name; libkfdsim.so knows which there are.
    let own_boards = std::env::var_os("KFDSIM_BOARDS").is_some() && !text.is_empty();
    if own_boards || GfxTarget::from_name(text).is_some() {
        Ok(text.to_owned())
    } else {
        Err("not a gfx target; expected a name such as gfx1030".to_owned())
    }
}

fn parse_kfd_version(text: &str) -> Result<String, String> {
    let (major, minor) = text.split_once('.').unwrap_or((text, ""));
    if major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err("not a version; expected MAJOR.MINOR, for example 1.17".to_owned())
    }
}

pub(crate) fn parse_log(text: &str) -> Result<LogTarget, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let (level, file) = match text.split_once(':') {
        Some((_, "")) => return Err("no file name after the colon".to_owned()),
        Some((level, file)) => (level, Some(PathBuf::from(file))),
        None => (text, None),
    };
    if LEVELS.contains(&level) {
        Ok(LogTarget { level: level.to_owned(), file })
    } else {
        Err(format!("'{level}' is none of {}", LEVELS.join(", ")))
    }
}

pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 => Duration::try_from_secs_f64(seconds)
            .map_err(|error| format!("not a usable number of seconds: {error}")),
        _ => Err("not a number of seconds above 0".to_owned()),
    }
}

/// Whether to use colour on this stream: on a terminal, unless `NO_COLOR` is set.
pub(crate) fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_follows_the_program_is_its_own() {
        let args = Args::try_parse_from(["rdnafix", "run", "prog", "--policy", "x", "-v"]).unwrap();
        let Command::Run(run) = args.command else {
            panic!("not run");
        };
        assert_eq!(run.level, None);
        assert_eq!(run.program.words, ["prog", "--policy", "x", "-v"]);
        assert_eq!(args.verbose, 0);
    }

    #[test]
    fn a_list_of_gpus_is_taken_apart_and_checked() {
        let parse = |list: &str| Args::try_parse_from(["rdnafix", "sim", "--gpu", list, "--", "p"]);
        let Command::Sim(sim) = parse("gfx1030,gfx90a").unwrap().command else {
            panic!("not sim");
        };
        assert_eq!(sim.board.gpu, ["gfx1030", "gfx90a"]);
        assert!(sim.board.given());
        for bad in ["navi21", "gfx1030,", ""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_log_has_a_known_level_and_perhaps_a_file() {
        let target = |level: &str, file: Option<&str>| LogTarget {
            level: level.to_owned(),
            file: file.map(PathBuf::from),
        };
        assert_eq!(parse_log("debug"), Ok(target("debug", None)));
        assert_eq!(parse_log("warn:/a:b"), Ok(target("warn", Some("/a:b"))));
        assert!(parse_log("loud").unwrap_err().contains("trace"));
        assert!(parse_log("info:").is_err());
    }

    #[test]
    fn a_timeout_is_above_zero() {
        assert_eq!(parse_seconds("1.5"), Ok(Duration::from_millis(1500)));
        for bad in ["0", "-1", "nan", "inf", "1e300", "soon"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_kfd_version_has_two_numbers() {
        assert_eq!(parse_kfd_version("1.17"), Ok("1.17".to_owned()));
        for bad in ["1", "1.", "1.x", "1.2.3"] {
            assert!(parse_kfd_version(bad).is_err(), "{bad}");
        }
    }
}
