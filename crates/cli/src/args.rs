//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Parser, Subcommand, ValueHint};
use policy::Level;

use crate::build::BuildArgs;
use crate::compare::CompareArgs;
use crate::doctor::{self, DoctorArgs, ExplainArgs};
use crate::kernel::KernelArgs;
use crate::patch::PatchArgs;
use crate::probe::{BenchArgs, ProbeArgs};
use crate::settings::{self, ConfigArgs};
use crate::sim::SimArgs;

pub(crate) const EXIT_CODES: &str = "\
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
#[command(name = "rdnafix", version, max_term_width = 80, after_help = ENVIRONMENT)]
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

/// Print the manual page of a command, or write those of all.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The command, for example `build rocm` [default: rdnafix itself].
    pub(crate) command: Vec<String>,
    /// The directory to write rdnafix.1, rdnafix-run.1 and the others to.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub(crate) out: Option<PathBuf>,
}

/// What is to be run.
#[derive(Debug, clap::Args)]
pub(crate) struct Program {
    /// The program and its arguments.
    #[arg(value_name = "PROGRAM", required = true, trailing_var_arg = true, num_args = 1.., value_hint = ValueHint::CommandWithArguments)]
    pub(crate) words: Vec<OsString>,
}

/// `RDNAFIX_LOG`: a level, and a file in place of stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogTarget {
    pub(crate) level: String,
    pub(crate) file: Option<PathBuf>,
}

pub(crate) fn level_names() -> PossibleValuesParser {
    PossibleValuesParser::new(Level::ALL.map(Level::name))
}

fn summary_words() -> PossibleValuesParser {
    PossibleValuesParser::new(settings::SUMMARY_WORDS)
}

pub(crate) fn parse_log(text: &str) -> Result<LogTarget, String> {
    let (level, file) = match text.split_once(':') {
        Some((_, "")) => return Err("no file name after the colon".to_owned()),
        Some((level, file)) => (level, Some(PathBuf::from(file))),
        None => (text, None),
    };
    if settings::LEVELS_OF_LOG.contains(&level) {
        Ok(LogTarget { level: level.to_owned(), file })
    } else {
        Err(format!("'{level}' is none of {}", settings::LEVELS_OF_LOG.join(", ")))
    }
}

pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 => Duration::try_from_secs_f64(seconds)
            .map_err(|error| format!("not a usable number of seconds: {error}")),
        _ => Err("not a number of seconds above 0".to_owned()),
    }
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
}
