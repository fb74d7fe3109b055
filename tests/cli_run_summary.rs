//! `rdnafix run --summary` and `--report`: what is said at the end, and what the report has.

mod cli_common;

use std::path::Path;
use std::process::Output;

use cli_common::{output, rdnafix, release, text};

/// A run of a Python program on the simulated GPU, with a summary.
fn summarised(options: &[&str], script: &str) -> Output {
    let script = [env!("CARGO_MANIFEST_DIR"), "/", script].concat();
    let words = [&["run", "--summary"], options, &["--", "/usr/bin/python3", &script]].concat();
    output(rdnafix(words).env("LD_PRELOAD", release("libkfdsim.so")))
}

#[test]
fn the_summary_is_one_line_at_the_end() {
    let said = |options: &[&str]| text(&summarised(options, "examples/managed.py").stderr);
    let rewritten = "rdnafix: 1 call rewritten (hsa_amd_svm_attributes_set 1; 4.00 MiB), ";
    assert!(said(&[]).starts_with(rewritten), "{}", said(&[]));
    assert_eq!(said(&[]).lines().count(), 1);
    assert!(said(&["--dry-run"]).starts_with("rdnafix: dry run: 1 call would be rewritten"));
    assert!(said(&["--level", "off"]).starts_with("rdnafix: nothing rewritten, "));
}

#[test]
fn without_a_terminal_there_is_no_summary_and_a_wrong_word_is_refused() {
    let run = |options: &[&str]| rdnafix([&["run"], options, &["--", "true"]].concat());
    assert_eq!(text(&output(&mut run(&[])).stderr), "");
    assert!(text(&output(&mut run(&["--summary"])).stderr).contains("no process used a GPU"));
    assert_eq!(
        text(&output(run(&["--summary=never"]).env("RDNAFIX_SUMMARY", "always")).stderr),
        ""
    );
    let refused = output(run(&[]).env("RDNAFIX_SUMMARY", "sometimes"));
    assert_eq!(refused.status.code(), Some(125));
    assert!(text(&refused.stderr).contains("auto, always, never"));
}

#[test]
fn what_cannot_be_summed_up_is_no_reason_to_end_otherwise() {
    let run = |script: &str| rdnafix(["run", "--summary", "--", "sh", "-c", script]);
    let no_room = output(run("exit 7").env("TMPDIR", "/nonexistent"));
    assert_eq!(no_room.status.code(), Some(7));
    assert!(text(&no_room.stderr).contains("nothing will be said at the end"));
    let junk = output(&mut run("echo junk >>\"$RDNAFIX_SUMMARY_FILE\"; exit 7"));
    assert_eq!(junk.status.code(), Some(7));
    assert!(text(&junk.stderr).contains("junk"), "{}", text(&junk.stderr));
}

/// `examples/managed.py`, as a word of a shell.
const MANAGED: &str =
    concat!("/usr/bin/python3 ", env!("CARGO_MANIFEST_DIR"), "/examples/managed.py >/dev/null");

/// A shell script on the simulated GPU, with these options of `rdnafix run`. Waits also for what
/// the script leaves in the background: it has the same stderr.
fn script(options: &[&str], script: &str) -> Output {
    let script = script.replace("MANAGED", MANAGED);
    let words = [&["run"], options, &["--", "sh", "-c", &script]].concat();
    output(rdnafix(words).env("LD_PRELOAD", release("libkfdsim.so")))
}

fn lines(report: &Path) -> usize {
    let text = std::fs::read_to_string(report).unwrap();
    text.lines().filter(|line| line.starts_with("{\"rdnafix\":")).count()
}

#[test]
fn a_process_that_outlives_the_program_is_in_the_report_and_complains_of_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report");
    let named = ["--summary", "--log", "error", "--report", report.to_str().unwrap()];
    let background = "(sleep 1; MANAGED) & exit 3";
    let run = script(&named, background);
    let said = text(&run.stderr);
    assert_eq!((run.status.code(), said.lines().count()), (Some(3), 1), "{said}");
    assert!(said.contains("no process used a GPU"), "{said}");
    assert_eq!(lines(&report), 1);

    // Without a report there is nobody to tell.
    let run = script(&named[..3], background);
    assert_eq!((run.status.code(), text(&run.stderr)), (Some(3), said));
}

#[test]
fn what_has_ended_is_in_the_report_although_rdnafix_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report");
    let named = ["--summary", "--report", report.to_str().unwrap()];
    let run = script(&named, "MANAGED; kill -KILL $PPID; exec sleep 60");
    assert_eq!((run.status.code(), lines(&report)), (None, 1));
}

#[test]
fn the_summary_is_of_this_run_and_the_report_keeps_what_others_add() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report");
    std::fs::write(&report, "before\n").unwrap();
    let named = ["--summary", "--report", report.to_str().unwrap()];
    // Another run adds a line meanwhile.
    let other =
        "MANAGED; cat \"$RDNAFIX_REPORT\" >other; cat other >>\"$RDNAFIX_REPORT\"; rm other";
    let run = script(&named, &other.replace("other", &dir.path().join("other").to_string_lossy()));
    let said = text(&run.stderr);
    assert!(said.starts_with("rdnafix: 1 call rewritten ("), "{said}");
    assert_eq!(lines(&report), 2);
    assert!(std::fs::read_to_string(&report).unwrap().starts_with("before\n"));
}

#[test]
fn a_report_to_a_pipe_is_written_at_once_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    cli_common::succeed(std::process::Command::new("mkfifo").arg(&pipe));
    let reader = pipe.clone();
    let received = std::thread::spawn(move || std::fs::read_to_string(reader));
    let run = script(&["--summary", "--report", pipe.to_str().unwrap()], "MANAGED; MANAGED");
    assert!(text(&run.stderr).contains("in 2 processes"), "{}", text(&run.stderr));
    assert_eq!(received.join().unwrap().unwrap().lines().count(), 2);
}

#[test]
fn a_run_within_a_run_is_in_the_outer_summary_and_report() {
    let dir = tempfile::tempdir().unwrap();
    let [outer, inner] = ["outer", "inner"].map(|name| dir.path().join(name));
    let named = ["--summary", "--report", outer.to_str().unwrap()];
    let run = |options: &str| {
        let own = release("rdnafix");
        let words = format!("{} run {options} -- sh -c 'MANAGED'; MANAGED", own.display());
        text(&script(&named, &words).stderr)
    };
    let said = run("");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("2 calls rewritten") && said.contains("in 2 processes"), "{said}");
    assert_eq!(lines(&outer), 2);
    // One that is asked for speaks, and its report is its own.
    let said = run(&format!("--summary --report {}", inner.display()));
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("1 call rewritten") && !said[0].contains("processes"), "{said:?}");
    assert!(said[1].contains("in 2 processes"), "{said:?}");
    assert_eq!((lines(&inner), lines(&outer)), (1, 3));
}

/// A run whose stderr is of no use.
fn without_stderr(stderr: &str, options: &str, program: &str) -> Output {
    let words = format!(
        "exec {} {options} run --summary -- {program} {stderr}",
        release("rdnafix").display()
    );
    output(cli_common::clean("sh").args(["-c", &words]))
}

#[test]
fn without_anybody_to_read_stderr_the_program_runs_and_ends_as_it_would() {
    // A warning before, a line after, and a line of the log.
    let dir = tempfile::tempdir().unwrap();
    let program = cli_common::compile(
        "static-7",
        "#include <cstdio>\nint main() { std::puts(\"ran\"); return 7; }\n",
        &["-static"],
        &[],
    );
    let pipe = dir.path().join("pipe");
    cli_common::succeed(std::process::Command::new("mkfifo").arg(&pipe));
    // Opened for both, then for writing only: nobody reads from it.
    let broken = format!("3<>{0} 2>{0} 3<&-", pipe.display());
    for stderr in ["2>&-", "2>/dev/full", &broken] {
        for options in ["", "-v"] {
            let run = without_stderr(stderr, options, &program.display().to_string());
            let ran = (run.status.code(), text(&run.stdout));
            assert_eq!(ran, (Some(7), "ran\n".into()), "{stderr} {options}");
            let run = without_stderr(stderr, options, "/nonexistent");
            assert_eq!(run.status.code(), Some(127), "{stderr} {options}");
        }
    }
}

#[test]
fn what_took_the_place_of_the_file_for_the_summary_is_left_alone() {
    // A process that has outlived its `rdnafix run`, where others can write.
    let dir = tempfile::tempdir().unwrap();
    let [victim, link, pipe] = ["victim", "link", "pipe"].map(|name| dir.path().join(name));
    std::fs::write(&victim, "mine\n").unwrap();
    std::os::unix::fs::symlink(&victim, &link).unwrap();
    cli_common::succeed(std::process::Command::new("mkfifo").arg(&pipe));
    let missing = dir.path().join("missing");
    let files = [link.as_path(), &pipe, &missing, dir.path()].map(|file| file.to_str().unwrap());
    let preload = ["librdnafix.so", "libkfdsim.so"].map(|name| release(name).display().to_string());
    let mut command = cli_common::clean("sh");
    command.args(["-c", MANAGED]).env("LD_PRELOAD", preload.join(":"));
    command.env("RDNAFIX_SUMMARY_FILE", files.join(":")).env("RDNAFIX_LOG", "error");
    assert_eq!(cli_common::stdout(&mut command), "");
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine\n");
    assert!(!missing.exists());
    // What is as it was is written to.
    command.env("RDNAFIX_SUMMARY_FILE", format!("{}:{}", pipe.display(), victim.display()));
    assert_eq!(cli_common::stdout(&mut command), "");
    assert_eq!(lines(&victim), 1);
}
