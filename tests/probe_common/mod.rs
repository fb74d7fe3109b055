//! Running `rdnafix probe` and `rdnafix bench` with a libamdhip64 that computes on the CPU, and
//! the fixtures of their reports.

#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::cli_common::{clean, output, release, root, text};

/// Exit codes of both commands.
pub const WRONG: Option<i32> = Some(1);
pub const INCOMPLETE: Option<i32> = Some(3);
pub const UNAVAILABLE: Option<i32> = Some(69);

/// A directory with the stand-in as libamdhip64; with or without a compiler in it.
pub fn stand_in(hiprtc: bool) -> tempfile::TempDir {
    stand_in_of(&kernels(), if hiprtc { &[] } else { &["-DNO_HIPRTC"] })
}

/// The kernels, as the command has them.
pub fn kernels() -> PathBuf {
    root().join("crates/cli/src/probe/kernels.hip")
}

/// A stand-in that calls the kernels of a file.
pub fn stand_in_of(kernels: &Path, options: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut compiler = Command::new("g++");
    compiler.args(["-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]);
    // Every kernel has the same parameters, and few have a use for all.
    compiler.args(["-Wno-unused-parameter", "-o"]);
    compiler.arg(directory.path().join("libamdhip64.so.7"));
    compiler.arg(format!("-DKERNELS={:?}", kernels.display().to_string()));
    compiler.arg(root().join("tests/programs/probe_hip.cpp")).args(options);
    let made = output(&mut compiler);
    assert!(made.status.success(), "{}", text(&made.stderr));
    directory
}

/// One of the commands on the stand-in.
pub fn on(stand_in: &Path, command: &str, arguments: &[&str]) -> Command {
    let mut all = clean(release("rdnafix"));
    all.arg(command).arg("--rocm").arg(stand_in).args(arguments);
    all
}

/// The report that a command prints, and how it ended.
pub fn report(command: &mut Command) -> (Value, Option<i32>) {
    let output = output(command.arg("--json"));
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{command:?}: {error}\n{}{}", text(&output.stdout), text(&output.stderr))
    });
    (report, output.status.code())
}

/// A cell: `stock` or `interposed`, of a row.
pub fn cell<'a>(report: &'a Value, memory: &str, run: &str, name: &str) -> &'a Value {
    let rows = report["rows"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["memory"] == memory).expect("the row");
    let cells = row[run]["cells"].as_array().expect("cells");
    cells.iter().find(|cell| cell["name"] == name).expect("the cell")
}

/// All cells.
pub fn cells(report: &Value) -> impl Iterator<Item = &Value> {
    let rows = report["rows"].as_array().expect("rows").iter();
    rows.flat_map(|row| [&row["stock"], &row["interposed"]])
        .flat_map(|side| side["cells"].as_array().expect("cells"))
}

/// A file of tests/fixtures.
pub fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures").join(name)
}

/// What `--replay` shows of a file.
pub fn replay(command: &str, file: &Path) -> Output {
    output(clean(release("rdnafix")).arg(command).arg("--replay").arg(file))
}

/// Every fixture of a command, with the text that is shown for it.
pub fn every_fixture_is_shown_as_its_text(command: &str) {
    let mut shown = 0;
    for entry in std::fs::read_dir(root().join("tests/fixtures")).expect("fixtures") {
        let file = entry.expect("an entry").path();
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let is_json = file.extension().is_some_and(|extension| extension == "json");
        let is_of_command = name.starts_with(command) && is_json;
        if !is_of_command {
            continue;
        }
        let output = replay(command, &file);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success() && err.is_empty(), "{name}: {err}");
        let expected = std::fs::read_to_string(file.with_extension("txt")).expect("the text");
        assert_eq!(out, expected, "{name}");
        for line in out.lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
            assert!(!line.contains('\x1b'), "{name}: {line}");
        }
        let mark = "SYNTHETIC: made for a test, not measured";
        assert!(out.starts_with(mark) && out.trim_end().ends_with(mark), "{name}:\n{out}");
        shown += 1;
    }
    assert!(shown >= 2, "{shown} fixtures of {command}");
}
