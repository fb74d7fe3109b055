//! `rdnafix probe` and `rdnafix bench`: what atomics come to, and how fast memory is, on the
//! user's own GPU, without and with librdnafix.so.
//!
//! Nothing here invents a result: what was not measured says so, and why. Kernels run in child
//! processes; this one never loads HIP.

mod args;
mod atomics;
mod bench;
mod check;
mod child;
mod hip;
mod machine;
mod meaning;
mod model;
mod plot;
mod presence;
mod render;
mod risk;
mod worker;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use policy::Level;

use args::Common;
pub(crate) use args::{BenchArgs, ProbeArgs};
use child::{Children, End};
use machine::Survey;
use model::{Kind, Memory, Outcome, Report, Row, SCHEMA, Side};
use worker::{Line, Request};

use crate::exit;
use crate::locate::{Library, locate};
use crate::run::output_file;
use crate::stdout::{colour, moves, print, print_json};

/// An element is wrong.
const WRONG: u8 = 1;
/// There is no result, or not of everything, and none is wrong.
const INCOMPLETE: u8 = 3;

/// `rdnafix probe`.
///
/// # Errors
/// A report that cannot be read or written, a library or child that is not there.
pub(crate) fn probe(args: &ProbeArgs, verbose: bool) -> Result<ExitCode> {
    if let Some(request) = &args.common.worker {
        return worker::work(request);
    }
    if !args.compile.is_empty() {
        return compile(args, verbose);
    }
    let (report, code) = report(Kind::Probe, &args.common, verbose)?;
    finish(&args.common, &report)?;
    Ok(code)
}

/// `rdnafix bench`.
///
/// # Errors
/// As for [`probe`].
pub(crate) fn bench(args: &BenchArgs, verbose: bool) -> Result<ExitCode> {
    if let Some(request) = &args.common.worker {
        return worker::work(request);
    }
    let svg = args.svg.as_deref().map(|file| output_file("--svg", file)).transpose()?;
    let (report, code) = report(Kind::Bench, &args.common, verbose)?;
    finish(&args.common, &report)?;
    if let Some(file) = &svg {
        write(file, &plot::svg(&report))?;
    }
    Ok(code)
}

fn report(kind: Kind, args: &Common, verbose: bool) -> Result<(Report, ExitCode)> {
    if let Some(file) = &args.replay {
        return Ok((model::read(file, kind)?, ExitCode::SUCCESS));
    }
    // Before anything takes its time.
    args.report.as_deref().map(|file| output_file("--report", file)).transpose()?;
    measure(kind, args, verbose)
}

fn finish(args: &Common, report: &Report) -> Result<()> {
    if let Some(file) = &args.report {
        write(file, &format!("{}\n", serde_json::to_string_pretty(report)?))?;
    }
    if args.json {
        return print_json(report);
    }
    print(&render::text(report, colour(&std::io::stdout())))
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write '{}'", file.display()))
}

fn children(args: &Common, verbose: bool) -> Result<Children> {
    Ok(Children {
        library: locate(Library::Rdnafix)?,
        policy: args.policy.clone(),
        timeout: args.timeout.max(Duration::from_secs(1)),
        verbose,
    })
}

fn request(kind: Kind, args: &Common) -> Request {
    Request {
        kind,
        library: PathBuf::new(),
        interposed: false,
        memory: None,
        cells: Vec::new(),
        compile: false,
        target: None,
        code: None,
        device: args.device,
        launch_only: args.launch_only,
        rocm: args.rocm.clone(),
    }
}

fn measure(kind: Kind, args: &Common, verbose: bool) -> Result<(Report, ExitCode)> {
    let children = children(args, verbose)?;
    let survey = Survey::take(&children, &request(kind, args))?;
    let level = Level::from_name(&args.policy).unwrap_or_default();
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        kind,
        synthetic: false,
        rdnafix: env!("CARGO_PKG_VERSION").to_owned(),
        policy: args.policy.clone(),
        risks: survey.machine.gpu.as_ref().map_or_else(Vec::new, |gpu| risk::risks(gpu, level)),
        machine: survey.machine,
        not_measured: survey.failure,
        launch_only: args.launch_only,
        rows: Vec::new(),
        meaning: Vec::new(),
    };
    let code = if report.not_measured.is_some() {
        exit::UNAVAILABLE
    } else if report.machine.simulated && !args.launch_only {
        report.not_measured = Some(meaning::SIMULATED.to_owned());
        INCOMPLETE
    } else {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let code = Some(directory.path().join("kernels"));
        let request = Request { target: survey.compile_for, code, ..request(kind, args) };
        let (_, made) = compiled(&children, &request)?;
        if let Err(why) = made {
            report.not_measured = Some(format!("the kernels cannot be compiled: {why}"));
            exit::UNAVAILABLE
        } else {
            report.rows = rows(&children, &request)?;
            code_of(&report.rows)
        }
    };
    report.meaning = meaning::of(&report);
    Ok((report, code.into()))
}

fn rows(children: &Children, request: &Request) -> Result<Vec<Row>> {
    let cells: Vec<String> = model::cells(request.kind).into_iter().map(str::to_owned).collect();
    let bar = ProgressBar::with_draw_target(
        Some((Memory::ALL.len() * cells.len() * 2) as u64),
        if moves(&std::io::stderr()) {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        },
    );
    if let Ok(style) = ProgressStyle::with_template("{msg:44} [{bar:24}] {pos}/{len}") {
        bar.set_style(style);
    }
    let mut rows = Vec::new();
    for memory in Memory::ALL {
        let request = Request { memory: Some(memory), cells: cells.clone(), ..request.clone() };
        let side = |interposed: bool| -> Result<Side> {
            let run = if interposed { "with librdnafix.so" } else { "stock" };
            let tell = |cell: &str| bar.set_message(format!("{}, {run}: {cell}", memory.name()));
            let side = children.side(&request, interposed, tell)?;
            bar.inc(cells.len() as u64);
            Ok(side)
        };
        rows.push(Row { memory, stock: side(false)?, interposed: side(true)? });
    }
    bar.finish_and_clear();
    Ok(rows)
}

fn code_of(rows: &[Row]) -> u8 {
    let (mut wrong, mut incomplete) = (false, false);
    for cell in rows.iter().flat_map(|row| row.stock.cells.iter().chain(&row.interposed.cells)) {
        match cell.outcome {
            Outcome::Compared { wrong: 0, wrong_returning: 0, .. }
            | Outcome::Bandwidth { .. }
            | Outcome::Accepted => {}
            Outcome::Compared { .. } => wrong = true,
            _ => incomplete = true,
        }
    }
    // What is wrong is wrong, whatever the other cells would have come to.
    match (wrong, incomplete) {
        (true, _) => WRONG,
        (false, true) => INCOMPLETE,
        (false, false) => 0,
    }
}

/// `--compile`: each target in a child of its own, as an old compiler crashes on a new target.
fn compile(args: &ProbeArgs, verbose: bool) -> Result<ExitCode> {
    let children = children(&args.common, verbose)?;
    let mut code = 0;
    for target in &args.compile {
        let request =
            Request { target: Some(target.clone()), ..request(Kind::Probe, &args.common) };
        let (hip, made) = compiled(&children, &request)?;
        let text = match made {
            Ok(bytes) => format!("{bytes} bytes"),
            Err(why) => {
                code = code.max(if hip.is_none() { exit::UNAVAILABLE } else { INCOMPLETE });
                format!("not compiled: {why}")
            }
        };
        let hip = hip.map_or_else(String::new, |hip| format!(" (HIP {hip})"));
        print(&format!("{target}{hip}: {text}\n"))?;
    }
    Ok(code.into())
}

/// Compiles in a child: the version of HIP, and the bytes of the code object or why there is none.
fn compiled(
    children: &Children,
    request: &Request,
) -> Result<(Option<String>, Result<usize, String>)> {
    let (mut hip, mut made) = (None, None);
    let request = Request { compile: true, ..request.clone() };
    let end = children.run(&request, None, |line| match line {
        Line::Hip(version) => hip = Some(version),
        Line::Compiled { bytes } => made = Some(bytes),
        _ => {}
    })?;
    let made = match (end, made) {
        (End::Exited, Some(bytes)) => Ok(bytes),
        (end, _) => Err(end.why(children.timeout)),
    };
    Ok((hip, made))
}
