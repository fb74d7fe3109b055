//! `rdnafix run` on a terminal, in a shell with job control.

mod cli_common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cli_common::{clean, rdnafix, release};
use rexpect::session::{Options, PtySession, spawn_with_options};

/// A command on a terminal of its own. What it prints comes without the terminal's echo of a
/// command line, which would have the same words.
fn on_a_terminal(command: Command) -> PtySession {
    let options = Options::new().timeout_ms(Some(30_000));
    spawn_with_options(command, options).expect("a pseudo terminal")
}

#[test]
fn on_a_terminal_there_is_one_line_at_the_end() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/managed.py");
    for (name, value) in [("TERM", "xterm-256color"), ("TERM", "dumb"), ("NO_COLOR", "1")] {
        let mut command = rdnafix(["run", "--", "/usr/bin/python3", script]);
        command.env("LD_PRELOAD", release("libkfdsim.so")).env(name, value);
        let said = on_a_terminal(command).exp_eof().unwrap();
        let ours: Vec<&str> = said.lines().filter(|line| line.starts_with("rdnafix: ")).collect();
        assert_eq!(ours.len(), 1, "{said}");
        assert_eq!(said.lines().last(), Some(ours[0]));
        assert!(ours[0].starts_with("rdnafix: 1 call rewritten (hsa_amd_svm"), "{said}");
        assert!(!said.contains('\u{1b}'), "no colour is used: {said:?}");
    }
}

#[test]
fn on_a_terminal_a_run_within_a_run_says_nothing_of_its_own() {
    let mut command = rdnafix(["run", "--"]);
    command.arg(release("rdnafix")).args(["run", "--", "true"]);
    let said = on_a_terminal(command).exp_eof().unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// An interactive shell ignores what would end it otherwise.
fn leave(mut shell: PtySession) {
    shell.send_line("exit").unwrap();
    shell.exp_eof().unwrap();
}

/// A shell with job control and no line editor, in which `$run` runs a shell script.
fn shell() -> PtySession {
    let mut command = clean("bash");
    command.args(["--norc", "--noprofile", "--noediting", "-i"]);
    command.env("PS1", "").env("run", format!("{} run -- sh -c", release("rdnafix").display()));
    let mut shell = on_a_terminal(command);
    shell.send_line("stty -echo; echo READ''Y").unwrap();
    shell.exp_string("READY").unwrap();
    shell
}

#[test]
fn control_c_reaches_the_program_once_and_ends_both() {
    let mut shell = shell();
    shell
        .send_line("$run 'trap \"n=x\\$n\" INT; echo up; while [ -z \"$n\" ]; do sleep 0.2; done; sleep 1; echo got:$n:; exit 3'; echo code:$?:")
        .unwrap();
    shell.exp_string("up").unwrap();
    shell.send_control('c').unwrap();
    shell.exp_string("got:x:").unwrap();
    shell.exp_string("rdnafix: ").unwrap();
    shell.exp_string("code:3:").unwrap();

    shell.send_line("$run 'echo up; sleep 60'; echo code:$?:").unwrap();
    shell.exp_string("up").unwrap();
    shell.send_control('c').unwrap();
    // Where it ends by the signal, the shell drops the rest of the line.
    shell.send_line("echo after:$?:").unwrap();
    let said = shell.exp_string("after:130:").unwrap();
    assert!(!said.contains("code:"), "{said}");
    leave(shell);
}

#[test]
fn control_z_stops_both_and_fg_and_bg_continue_both() {
    let mut shell = shell();
    shell.send_line("$run 'echo up; while read line; do echo got:$line:; done; exit 3'").unwrap();
    shell.exp_string("up").unwrap();
    for round in ["one", "two", "three"] {
        shell.send_control('z').unwrap();
        shell.exp_string("Stopped").unwrap();
        shell
            .send_line("for p in $(jobs -p) $(cat /proc/$(jobs -p)/task/*/children); do cut -d' ' -f3 /proc/$p/stat; done; echo listed")
            .unwrap();
        let states = shell.exp_string("listed").unwrap();
        let stopped = states.split_whitespace().filter(|state| *state == "T").count();
        assert_eq!(stopped, 2, "{states}");
        shell.send_line("fg").unwrap();
        shell.send_line(round).unwrap();
        shell.exp_string(&format!("got:{round}:")).unwrap();
    }
    // In the background it reads from the terminal, and is stopped for it.
    shell.send_control('z').unwrap();
    shell.exp_string("Stopped").unwrap();
    shell.send_line("bg; sleep 1; jobs; echo listed").unwrap();
    let jobs = shell.exp_string("listed").unwrap();
    assert!(jobs.contains("Stopped"), "{jobs}");
    shell.send_line("fg; echo code:$?:").unwrap();
    shell.send_line("four").unwrap();
    shell.exp_string("got:four:").unwrap();
    shell.send_control('d').unwrap();
    shell.exp_string("rdnafix: ").unwrap();
    shell.exp_string("code:3:").unwrap();
    leave(shell);
}

#[test]
fn a_program_that_stops_itself_gives_the_terminal_back() {
    let mut shell = shell();
    for signal in ["STOP", "TSTP"] {
        shell.send_line(&format!("$run 'kill -{signal} $$; echo on; exit 4'")).unwrap();
        shell.exp_string("Stopped").unwrap();
        shell.send_line("fg; echo code:$?:").unwrap();
        shell.exp_string("on").unwrap();
        shell.exp_string("code:4:").unwrap();
    }
    leave(shell);
}

#[test]
fn a_program_that_leaves_the_group_still_gets_control_c() {
    let mut shell = shell();
    shell
        .send_line("$run 'exec setsid sh -c \"trap \\\"echo got; exit 6\\\" INT; echo up; while :; do sleep 0.2; done\"'; echo code:$?:")
        .unwrap();
    shell.exp_string("up").unwrap();
    shell.send_control('c').unwrap();
    shell.exp_string("got").unwrap();
    shell.send_line("echo code:$?:").unwrap();
    shell.exp_string("code:6:").unwrap();
    leave(shell);
}

#[test]
fn a_terminal_that_goes_away_is_told_to_the_program() {
    // Of a session the kernel tells the leader alone, which is rdnafix here.
    if clean("script").arg("--version").output().is_err() {
        println!("SKIPPED: a terminal that goes away: script of util-linux is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [up, told] = ["up", "told"].map(|name| dir.path().join(name));
    let program = format!(
        "trap 'echo >{}; exit' HUP; echo >{}; for i in \\$(seq 200); do sleep 0.1; done",
        told.display(),
        up.display()
    );
    let words = format!("exec {} run -- sh -c \"{program}\"", release("rdnafix").display());
    let mut terminal = clean("script");
    let mut terminal = terminal
        .args(["-qc", &words, "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&up);
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    wait_for(&told);
}

fn wait_for(file: &Path) {
    let there = (0..400).any(|_| {
        std::thread::sleep(Duration::from_millis(25));
        file.exists()
    });
    assert!(there, "{}", file.display());
}
