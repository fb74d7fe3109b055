//! Processes that fork, spawn, run threads and signal handlers, and end in every way there is:
//! with the library they do the same, and ask the kernel for what the policy says.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use common::Run;
use common::pair::{Pair, hip_program, same, with_stand_in};
use serde_json::Value;

/// A program of tests/programs on a gfx1030, both ways.
fn on_a_gpu(name: &str, arguments: &[&str]) -> Pair {
    same(hip_program(name), |run| arguments.iter().fold(run, Run::arg).on("gfx1030"))
}

#[test]
fn a_child_that_is_forked_before_the_first_use_has_its_own() {
    on_a_gpu("robust_fork", &[]).ending_with(0).as_the_policy_says(3);
}

#[test]
fn a_child_that_is_forked_after_the_first_use_gets_the_answers_of_stock() {
    // The children of a process that used the GPU have none.
    on_a_gpu("robust_fork", &["after"]).ending_with(0).as_the_policy_says(2);
}

/// Silent: a child's copy of a stream that another thread was writing to need not work.
fn fork_of_threads(when: &str) {
    let program = with_stand_in("robust_fork_of_threads");
    let pair = same(program, |run| run.arg(when).env("STUB_SILENT", "1").on("gfx1030"));
    pair.printing("25 children ended well\n").ending_with(0);
}

#[test]
fn a_child_that_is_forked_while_other_threads_call_can_call_too() {
    fork_of_threads("used");
}

#[test]
fn a_child_that_is_forked_while_other_threads_call_for_the_first_time_can_call_too() {
    for _ in 0..10 {
        fork_of_threads("first");
    }
}

#[test]
fn a_child_by_vfork_and_exec_and_its_parent_go_on() {
    on_a_gpu("robust_vfork", &[]).ending_with(0).as_the_policy_says(3);
}

#[test]
fn a_child_by_posix_spawn_and_its_parent_go_on() {
    on_a_gpu("robust_spawn", &[]).ending_with(0).as_the_policy_says(3);
}

#[test]
fn threads_that_allocate_and_free_at_once_all_get_what_the_policy_says() {
    on_a_gpu("robust_threads", &[]).ending_with(0).as_the_policy_says(64 * 3);
}

#[test]
fn a_signal_handler_may_allocate() {
    on_a_gpu("robust_signal", &["first"]).ending_with(0).as_the_policy_says(2);
    on_a_gpu("robust_signal", &["later"]).ending_with(0).as_the_policy_says(3);
}

/// The reports in a file: one line of JSON each.
fn reports(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// How many calls of hipHostMalloc a report counts.
fn pinned(report: &Value) -> u64 {
    let calls = report["calls"].as_array().expect("calls").iter();
    calls
        .filter(|call| call["api"] == "hipHostMalloc")
        .filter_map(|call| call["calls"].as_u64())
        .sum()
}

/// Both runs with a report asked for; the reports of the interposed one.
fn reported(name: &str, arguments: &[&str]) -> (Pair, Vec<Value>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let report = dir.path().join("report");
    let pair = same(hip_program(name), |run| {
        let run = run.env("RDNAFIX_REPORT", &report).on("gfx1030");
        arguments.iter().fold(run, Run::arg)
    });
    let reports = reports(&report);
    (pair, reports)
}

#[test]
fn threads_may_end_while_the_process_exits() {
    let (pair, reports) = reported("robust_thread_ends", &[]);
    pair.ending_with(5).as_the_policy_says(16);
    assert_eq!(reports.iter().map(pinned).collect::<Vec<_>>(), [2 * 16]);
}

/// A pipe makes the library wait in the middle of its report until somebody reads.
#[test]
fn threads_may_end_while_the_report_is_written() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo of coreutils").success());
    let (send, received) = mpsc::channel();
    let reader = pipe.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        send.send(std::fs::read_to_string(reader))
    });
    let run = Run::new(hip_program("robust_thread_ends")).interposed();
    let ran = run.env("RDNAFIX_REPORT", &pipe).on("gfx1030").go();
    assert_eq!((ran.output.status.code(), ran.stdout(), ran.stderr()), (Some(5), "exiting\n", ""));
    let text = received.recv_timeout(Duration::from_secs(20)).expect("a report").expect("text");
    assert_eq!(pinned(&serde_json::from_str(&text).expect("one line of JSON")), 2 * 16);
}

#[test]
fn a_thread_may_end_the_process_by_exit() {
    let (pair, reports) = reported("robust_ends_in_thread", &["exit"]);
    // HIP 6.4.3 crashes in its own destructors when exit is called by a second thread.
    if let Some(signal) = pair.stock.output.status.signal() {
        assert_eq!(pair.interposed.output.status.signal(), Some(signal));
        println!("SKIPPED: exit by a second thread: stock HIP itself ends by signal {signal}");
        return;
    }
    pair.ending_with(3).as_the_policy_says(2);
    assert_eq!(reports.iter().map(pinned).collect::<Vec<_>>(), [2 * 2]);
}

#[test]
fn a_thread_may_end_the_process_at_once() {
    let (pair, reports) = reported("robust_ends_in_thread", &["_exit"]);
    pair.ending_with(4).as_the_policy_says(2);
    assert!(reports.is_empty(), "_exit runs no exit handlers: {reports:?}");
}

#[test]
fn a_thread_may_abort_the_process() {
    let (pair, reports) = reported("robust_ends_in_thread", &["abort"]);
    assert_eq!(pair.stock.output.status.signal(), Some(6));
    pair.as_the_policy_says(2);
    assert!(reports.is_empty(), "{reports:?}");
}

#[test]
fn a_thread_may_replace_the_program() {
    let (pair, reports) = reported("robust_ends_in_thread", &["exec"]);
    pair.ending_with(6).as_the_policy_says(3);
    // Of the program after exec; the one before it has not ended by exit.
    assert_eq!(reports.iter().map(pinned).collect::<Vec<_>>(), [2]);
}
