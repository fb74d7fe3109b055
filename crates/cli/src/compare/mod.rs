//! `rdnafix compare`: runs a program stock, interposed and, on request, with patched libraries
//! and on a patched kernel, and shows what each asked for and got.

mod args;
mod attribute;
#[cfg(test)]
mod attribute_tests;
mod execute;
mod json;
mod model;
mod output;
mod overlay;
mod reported;
mod table;
#[cfg(test)]
mod table_tests;
mod target;

use std::collections::BTreeSet;
use std::env;
use std::fs::File;
use std::io::{BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use kfd_abi::log::{self, Event, Record};
use policy::Level;
use tempfile::TempDir;

use crate::locate::{Library, locate};
use crate::preload::{self, HSA_TOOLS_LIB, LD_PRELOAD};
use crate::report::{self, Report};
use crate::stderr::say;
use crate::stdout::{colour, print, printable};
use crate::waiting::waiting;
use crate::{root, run, signals, sim};
pub(crate) use args::CompareArgs;
use attribute::Unmarked;
use execute::{Run, execute};
use json::{Document, Runs, Summary};
use model::Row;
use table::Style;
use target::Target;

/// The variables that name libraries to load.
const LISTS: [&str; 2] = [LD_PRELOAD, HSA_TOOLS_LIB];

const STOCK: &str = "stock";
const INTERPOSED: &str = "interposed";
const PATCHED: &str = "patched";
/// Stock libraries on a patched kernel.
const KERNEL: &str = "kernel-patched";

/// Exit code where the runs end differently.
const ENDED_DIFFERENTLY: u8 = 1;

/// Ctrl-C, which is for the comparison and not for one of its runs.
#[derive(Debug)]
struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Stopped {}

/// Does it. Where a signal has stopped it, nothing is left behind, and that signal ends this
/// process.
///
/// # Errors
/// As [`all_runs`].
pub(crate) fn compare(args: &CompareArgs) -> Result<ExitCode> {
    let result = all_runs(args);
    if let Err(error) = &result
        && error.is::<Stopped>()
        && let Some(signal) = signals::ending()
    {
        signals::end_by(signal);
    }
    result
}

/// # Errors
/// A library that is not found, a program that does not start, a log or report that cannot
/// be read.
fn all_runs(args: &CompareArgs) -> Result<ExitCode> {
    let setup = Setup::new(args)?;
    if !args.json {
        print(&format!("{}\n", setup.target))?;
    }
    run::warn_if_unreachable(&args.program, Library::Rdnafix);
    let stock = setup.run(STOCK)?;
    if let (Some(prefix), Some(named)) = (&setup.patched, &args.patched) {
        overlay::expect_release(prefix, &read_log(&setup.log(STOCK))?)
            .with_context(|| format!("--patched '{}'", named.display()))?;
    }
    let interposed = setup.run(INTERPOSED)?;
    let patched = setup.patched.as_ref().map(|_| setup.run(PATCHED)).transpose()?;
    let kernel = args.kernel_patched.then(|| setup.run(KERNEL)).transpose()?;
    let reports = report::read(&setup.report(INTERPOSED))?;
    let rows = setup.rows(&reports)?;
    let runs: Vec<_> = [(STOCK, Some(&stock)), (INTERPOSED, Some(&interposed))]
        .into_iter()
        .chain([(PATCHED, patched.as_ref()), (KERNEL, kernel.as_ref())])
        .filter_map(|(name, run)| Some((name, run?)))
        .collect();
    let difference = runs[1..].iter().find_map(|(name, run)| output::difference(&stock, run, name));
    if args.json {
        let document = Document {
            gpu: &setup.target,
            policy: &args.policy,
            program: json::words(&args.program.words),
            runs: Runs {
                stock: &stock,
                interposed: &interposed,
                patched: patched.as_ref(),
                kernel_patched: kernel.as_ref(),
            },
            output_differs: stock.output.as_ref().map(|_| difference.is_some()),
            rows: &rows,
            summary: Summary::of(&rows),
            reports: &reports,
        };
        let text = serde_json::to_string_pretty(&document).context("cannot write JSON")?;
        print(&format!("{text}\n"))?;
    } else if rows.is_empty() {
        print("the program asked for no GPU memory in any run\n")?;
    } else {
        let style = Style {
            width: table::WIDTH,
            terminal: std::io::stdout().is_terminal(),
            colour: colour(&std::io::stdout()),
        };
        let options = textwrap::Options::new(table::WIDTH.into()).subsequent_indent("  ");
        let mut text = table::table(&rows, style) + "\n";
        for line in printable(&table::summary(&rows, &reports)).lines() {
            text.extend([&textwrap::fill(line, &options), "\n"]);
        }
        print(&text)?;
    }
    warn_if_absent(&rows, &reports);
    let alike = runs.iter().all(|(_, run)| run.ending == stock.ending);
    let code = if alike { stock.ending.code() } else { ENDED_DIFFERENTLY };
    setup.tell_of_runs(&runs, difference.as_deref());
    Ok(ExitCode::from(code))
}

/// All that the runs need.
struct Setup<'a> {
    args: &'a CompareArgs,
    target: Target,
    rdnafix: PathBuf,
    /// The simulator, if the GPU is simulated.
    kfdsim: Option<PathBuf>,
    /// The prefix with patched libraries.
    patched: Option<PathBuf>,
    directory: TempDir,
}

impl<'a> Setup<'a> {
    fn new(args: &'a CompareArgs) -> Result<Self> {
        let target = Target::choose(args);
        let mut rdnafix = locate(Library::Rdnafix)?;
        let mut kfdsim = target.simulated.then(|| locate(Library::Kfdsim)).transpose()?;
        let mut patched = args.patched.as_deref().map(overlay::prefix).transpose()?;
        let files = [Some(&mut rdnafix), kfdsim.as_mut(), patched.as_mut()];
        root::enter(args.board.root.as_deref(), files.into_iter().flatten())?;
        Ok(Self {
            args,
            target,
            rdnafix,
            kfdsim,
            patched,
            directory: tempfile::Builder::new()
                .prefix("rdnafix-compare-")
                .tempdir()
                .context("cannot make a directory for the results")?,
        })
    }

    fn report(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.report.jsonl"))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.ioctls.jsonl"))
    }

    fn run(&self, name: &str) -> Result<Run> {
        let directory = (!self.args.show_output).then(|| self.directory.path());
        // The program's output would be on the same terminal.
        let _waiting = directory.map(|_| waiting(format!("the {name} run")));
        let run = execute(self.command(name)?, name, directory, self.args.timeout);
        if signals::ending().is_some() {
            bail!(Stopped);
        }
        run
    }

    /// The program in the environment of one run. On a simulated GPU the stock run has
    /// nothing of rdnafix in it; on a real one it needs the interposer for its report, with
    /// the level off.
    fn command(&self, name: &str) -> Result<Command> {
        let mut command = run::command(&self.args.program);
        // Asked for without a word, it would make every row "same".
        command.env_remove("RDNAFIX_DRY_RUN");
        let mut preload = Vec::new();
        if self.args.kernel_patched {
            command.env("KFDSIM_RDNA_NONCOHERENT", if name == KERNEL { "1" } else { "0" });
        }
        if name == STOCK || name == KERNEL {
            // What LD_LIBRARY_PATH finds may be patched.
            command.env("RDNAFIX_POLICY", Level::Off.name());
        }
        if let (PATCHED, Some(prefix)) = (name, &self.patched) {
            command.env(overlay::LD_LIBRARY_PATH, overlay::search_path(prefix)?);
            command.env("RDNAFIX_POLICY", &self.args.policy);
        } else if name == INTERPOSED || self.kfdsim.is_none() {
            preload.push(self.rdnafix.clone());
            let level = if name == INTERPOSED { &self.args.policy } else { Level::Off.name() };
            command.env("RDNAFIX_POLICY", level);
            command.env("RDNAFIX_REPORT", self.report(name));
        }
        if let Some(kfdsim) = &self.kfdsim {
            preload.push(kfdsim.clone());
            sim::set_board(&mut command, &self.args.board);
            command.env("KFDSIM_LOG", self.log(name));
        }
        for list in LISTS {
            let mut value = env::var_os(list);
            for library in [Library::Rdnafix, Library::Kfdsim] {
                value = value.and_then(|value| preload::without(library, &value));
            }
            if list == LD_PRELOAD {
                value = Some(preload::prepend(&preload, value.as_deref())?);
            }
            match value {
                Some(value) => command.env(list, value),
                None => command.env_remove(list),
            };
        }
        Ok(command)
    }

    fn rows(&self, reports: &[Report]) -> Result<Vec<Row>> {
        if self.kfdsim.is_none() {
            return Ok(reported::rows(&report::read(&self.report(STOCK))?, reports));
        }
        let stock = read_log(&self.log(STOCK))?;
        let interposed = read_log(&self.log(INTERPOSED))?;
        let patched = self.patched.as_ref().map(|_| read_log(&self.log(PATCHED))).transpose()?;
        let kernel = self.args.kernel_patched.then(|| read_log(&self.log(KERNEL))).transpose()?;
        let notes: BTreeSet<&str> = stock
            .iter()
            .chain(&interposed)
            .chain(patched.iter().flatten())
            .chain(kernel.iter().flatten())
            .filter_map(|record| match &record.event {
                Event::Note { text } => Some(text.as_str()),
                _ => None,
            })
            .collect();
        for note in notes {
            tracing::info!("simulated GPU: {note}");
        }
        let mut warnings = overlay::in_the_way(&stock);
        if let (Some(prefix), Some(records)) = (&self.patched, &patched) {
            warnings.extend(overlay::passed_over(prefix, records));
        }
        for text in warnings {
            say(&format!("warning: {text}"));
        }
        let unmarked = Unmarked::of(&[&stock, &interposed], patched.is_some());
        let attributed = |records: &[Record]| attribute::attribute(records, unmarked);
        let patched = patched.as_deref().map(attributed);
        let kernel = kernel.as_deref().map(attributed);
        Ok(attribute::rows(attributed(&stock), attributed(&interposed), patched, kernel))
    }

    /// Says on stderr how the runs ended, if that needs saying, and keeps their output then.
    fn tell_of_runs(self, runs: &[(&str, &Run)], difference: Option<&str>) {
        let failed = runs.iter().any(|(_, run)| !run.ending.succeeded());
        for (name, run) in runs {
            if failed {
                say(format!("the {name} run {}\n{}", run.ending.describe(), tail_of(run))
                    .trim_end());
            }
        }
        if let Some(difference) = difference {
            say(difference);
        }
        if runs.iter().any(|(_, run)| run.output.is_some()) && (failed || difference.is_some()) {
            say(&format!("all of the output is in {}", self.directory.keep().display()));
        }
    }
}

fn tail_of(run: &Run) -> String {
    if run.ending.succeeded() { String::new() } else { output::tail(run) }
}

/// The records of a log; none where there is no file, as no process used the GPU.
fn read_log(file: &Path) -> Result<Vec<Record>> {
    match File::open(file) {
        Ok(log) => log::read(BufReader::new(log)).context("cannot read what the simulated GPU saw"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot open '{}'", file.display())),
    }
}

/// Says so where the interposer was not there.
fn warn_if_absent(rows: &[Row], reports: &[Report]) {
    if reports.is_empty() && !rows.is_empty() {
        say("warning: librdnafix.so wrote no report: it was not in the process that \
             used the GPU, or that process did not end by itself");
    }
}
