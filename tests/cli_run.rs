//! `rdnafix run`: becomes the program, with the library in front.

mod cli_common;

use std::os::unix::process::ExitStatusExt;

use cli_common::{alloc_probe, output, rdnafix, release, stdout, succeed, text};

#[test]
fn the_program_is_its_own_master() {
    let run = |script: &str| output(&mut rdnafix(["run", "--", "sh", "-c", script])).status;
    assert_eq!(run("exit 0").code(), Some(0));
    assert_eq!(run("exit 7").code(), Some(7));
    // No process is left between: the signal arrives as it was sent.
    assert_eq!(run("kill -TERM $$").signal(), Some(15));
}

#[test]
fn the_library_comes_before_what_was_preloaded_already() {
    let library = release("librdnafix.so").canonicalize().unwrap();
    let print = ["run", "--", "sh", "-c", "echo \"$LD_PRELOAD\""];
    assert_eq!(stdout(&mut rdnafix(print)), format!("{}\n", library.display()));
    assert_eq!(
        stdout(rdnafix(print).env("LD_PRELOAD", release("libkfdsim.so"))),
        format!("{}:{}\n", library.display(), release("libkfdsim.so").display())
    );
}

#[test]
fn a_run_within_a_run_has_the_library_once() {
    let library = release("librdnafix.so").canonicalize().unwrap();
    let mut command = rdnafix(["run", "--"]);
    command.arg(release("rdnafix")).args(["run", "--", "sh", "-c", "echo \"$LD_PRELOAD\""]);
    assert_eq!(stdout(&mut command), format!("{}\n", library.display()));
    assert_eq!(
        stdout(command.env("LD_PRELOAD", release("libkfdsim.so"))),
        format!("{}:{}\n", library.display(), release("libkfdsim.so").display())
    );
}

#[test]
fn what_stands_after_the_program_is_the_programs() {
    let said = |arguments: &[&str]| stdout(&mut rdnafix(arguments));
    assert_eq!(said(&["run", "echo", "--summary", "-x"]), "--summary -x\n");
    assert_eq!(said(&["run", "--", "echo", "--", "--help"]), "-- --help\n");
    assert_eq!(said(&["sim", "--gpu", "gfx1030", "echo", "--gpu", "-V"]), "--gpu -V\n");
}

#[test]
fn the_options_become_variables_with_absolute_paths() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let print = "echo \"$RDNAFIX_POLICY|$RDNAFIX_REPORT|$RDNAFIX_LOG\"";
    let run = |options: &[&str]| {
        let mut command = rdnafix(["run"]);
        stdout(command.args(options).args(["--", "sh", "-c", print]).current_dir(&dir))
    };
    assert_eq!(run(&[]), "||\n");
    assert_eq!(
        run(&["--policy", "mapped", "--report", "r.json", "--log", "debug:log"]),
        format!("mapped|{0}/r.json|debug:{0}/log\n", dir.display())
    );
    assert_eq!(run(&["--log", "info"]), "||info\n");
}

#[test]
fn what_fails_says_why_and_has_the_code_of_env() {
    let failing = |arguments: &[&str], code: i32, parts: &[&str]| {
        let mut command = rdnafix(arguments);
        let output = output(command.env_remove("RUST_BACKTRACE"));
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {err}");
        assert!(output.stdout.is_empty());
        for part in parts {
            assert!(err.contains(part), "{arguments:?}: no {part:?} in: {err}");
        }
    };
    failing(&["run", "--sumary", "true"], 125, &["--sumary", "--summary"]);
    failing(&["sim", "--gp", "gfx1030", "true"], 125, &["--gp", "--gpu"]);
    failing(&["compare", "--jso", "true"], 125, &["--jso", "--json"]);
    failing(&["run", "--", "no-such-program"], 127, &["no-such-program", "PATH"]);
    failing(&["run", "--", "./no-such-program"], 127, &["no-such-program"]);
    failing(&["run", "--", "/etc/passwd"], 126, &["/etc/passwd", "ermission denied"]);
    failing(&["run"], 125, &["PROGRAM"]);
    failing(&["run", "--policy", "maximal", "--", "true"], 125, &["maximal", "standard"]);
    failing(
        &["run", "--report", "/nonexistent/r", "--", "true"],
        125,
        &["--report", "/nonexistent"],
    );
    failing(&["run", "--log", "loud", "--", "true"], 125, &["loud", "debug"]);
    failing(&["walk"], 125, &["walk"]);
}

#[test]
fn a_library_that_is_missing_is_named_with_the_way_out() {
    let failing = |variable: &str, arguments: &[&str]| {
        let output = output(rdnafix(arguments).env(variable, "/nonexistent/lib.so"));
        assert_eq!(output.status.code(), Some(125));
        let err = text(&output.stderr);
        assert!(err.contains(variable) && err.contains("/nonexistent/lib.so"), "{err}");
    };
    failing("RDNAFIX_LIB", &["run", "--", "true"]);
    failing("KFDSIM_LIB", &["sim", "--", "true"]);
    failing("RDNAFIX_LIB", &["compare", "--simulate", "--", "true"]);

    // A copy of the command alone, away from the libraries.
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("rdnafix");
    std::fs::copy(release("rdnafix"), &alone).unwrap();
    let output = output(cli_common::clean(&alone).args(["run", "--", "true"]));
    assert_eq!(output.status.code(), Some(125));
    let err = text(&output.stderr);
    for part in
        ["librdnafix.so not found", "lib/rdnafix/librdnafix.so", "cargo build", "RDNAFIX_LIB"]
    {
        assert!(err.contains(part), "{err}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in
        [&["--help"][..], &["run", "--help"], &["sim", "--help"], &["compare", "--help"]]
    {
        assert!(stdout(&mut rdnafix(arguments)).contains("Usage: rdnafix"));
    }
    assert_eq!(
        stdout(&mut rdnafix(["--version"])),
        format!("rdnafix {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_report_tells_what_was_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.jsonl");
    let mut command = rdnafix(["sim", "--gpu", "gfx1030", "--"]);
    command
        .arg(release("rdnafix"))
        .args(["run", "--report"])
        .arg(&report)
        .arg("--")
        .arg(alloc_probe());
    assert!(stdout(&mut command).ends_with("DONE\n"));
    let text = std::fs::read_to_string(&report).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1, "one line per process that used a GPU");
    assert_eq!(lines[0]["level"], "standard");
    assert_eq!(lines[0]["gpus"][0]["gfx"], "gfx1030");
    let rewritten: Vec<&serde_json::Value> = lines[0]["calls"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|call| call["action"] == "rewritten")
        .collect();
    assert!(
        rewritten
            .iter()
            .any(|call| call["api"] == "hipHostMalloc" && call["reason"] == "nobody-asked")
    );
}

/// What `--verbose` prints about a run on the simulated GPU.
fn verbose(options: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/managed.py");
    let words = [&["--verbose", "run"], options, &["--", "/usr/bin/python3", script]].concat();
    let output = succeed(rdnafix(words).env("LD_PRELOAD", release("libkfdsim.so")));
    text(&output.stderr)
}

#[test]
fn verbose_says_what_the_layers_saw_and_dlsym_adds_one() {
    let plain = verbose(&[]);
    assert!(plain.contains(" 1 calls rewritten"), "{plain}");
    assert!(plain.contains("handed out by dlsym: 0"), "{plain}");
    let dlsym = verbose(&["--dlsym"]);
    assert!(dlsym.contains(" 2 calls rewritten"), "pinned memory too: {dlsym}");
    assert!(!dlsym.contains("handed out by dlsym: 0"), "{dlsym}");
}
