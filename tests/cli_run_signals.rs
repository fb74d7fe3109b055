//! Signals of `rdnafix run --summary`, which stays as the program's parent: they reach the
//! program, and it stops, goes on and ends for both.

mod cli_common;

use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use cli_common::{compile, output, rdnafix, release};

#[test]
fn with_a_summary_the_program_is_its_own_master_too() {
    let run =
        |script: &str| output(&mut rdnafix(["run", "--summary", "--", "sh", "-c", script])).status;
    assert_eq!(run("exit 7").code(), Some(7));
    assert_eq!(run("kill -INT $$").signal(), Some(2), "a shell tells Ctrl-C from an exit code");
    assert_eq!(run("kill -SEGV $$").signal(), Some(11));
    // What is sent to rdnafix is for the program.
    let passed_on = "trap 'exit 9' TERM; (kill -TERM $PPID); sleep 5 >&- 2>&- & wait";
    for _ in 0..20 {
        assert_eq!(run(passed_on).code(), Some(9));
    }
}

#[test]
fn a_program_does_not_outlive_a_killed_rdnafix() {
    let mut child = rdnafix(["run", "--summary", "--", "sleep", "60"]).spawn().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let program = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::fs::read_to_string(&children).ok()?.trim().parse::<u32>().ok()
    });
    let program = format!("/proc/{}/stat", program.expect("the program starts"));
    child.kill().unwrap();
    child.wait().unwrap();
    // Gone, or not collected by whoever takes orphans.
    let ended = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::fs::read_to_string(&program).map_or(true, |stat| stat.contains(") Z "))
    });
    assert!(ended);
}

/// A program in `rdnafix run --summary`, and its lines.
struct Run {
    rdnafix: Child,
    lines: BufReader<ChildStdout>,
}

impl Run {
    fn of(command: &mut Command) -> Self {
        let mut rdnafix = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(rdnafix.stdout.take().unwrap());
        Self { rdnafix, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn id(&self) -> i32 {
        i32::try_from(self.rdnafix.id()).unwrap()
    }

    /// The program's process.
    fn program(&self) -> i32 {
        let children = format!("/proc/{0}/task/{0}/children", self.id());
        std::fs::read_to_string(children).unwrap().trim().parse().unwrap()
    }

    fn end(mut self) -> ExitStatus {
        for _ in 0..400 {
            if let Some(status) = self.rdnafix.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("rdnafix does not end");
    }
}

impl Drop for Run {
    /// The program ends with it.
    fn drop(&mut self) {
        let _ = self.rdnafix.kill();
        let _ = self.rdnafix.wait();
    }
}

/// Says each signal that it gets, with what came with it; ends with 9 after SIGTERM.
const LISTENER: &str = r#"
#include <csignal>
#include <cstdio>
#include <unistd.h>
int main() {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, nullptr);
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    std::printf("ready\n");
    for (;;) {
        siginfo_t info;
        if (sigwaitinfo(&all, &info) < 0) continue;
        std::printf("%d %d\n", info.si_signo, info.si_code == SI_QUEUE ? info.si_int : -1);
        if (info.si_signo == SIGTERM) return 9;
    }
}
"#;

fn listener() -> Run {
    let mut command = rdnafix(["run", "--summary", "--"]);
    command.arg(compile("listener", LISTENER, &[], &[]));
    let mut run = Run::of(&mut command);
    assert_eq!(run.line(), "ready");
    run
}

fn kill(process: i32, signal: i32) {
    // SAFETY: kill takes numbers.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
}

#[test]
fn what_is_sent_to_rdnafix_alone_reaches_the_program() {
    let mut run = listener();
    let mut signals = vec![
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGHUP,
        libc::SIGABRT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGWINCH,
        libc::SIGTSTP,
        libc::SIGCONT,
        libc::SIGXCPU,
        libc::SIGRTMIN(),
        libc::SIGRTMAX(),
        libc::SIGTERM,
    ];
    for signal in signals.drain(..) {
        kill(run.id(), signal);
        assert_eq!(run.line(), format!("{signal} -1"));
    }
    assert_eq!(run.end().code(), Some(9));
}

#[test]
fn the_value_that_comes_with_a_signal_is_passed_on() {
    let mut run = listener();
    let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(4711) };
    // SAFETY: sigqueue takes numbers; the value is not used as a pointer.
    unsafe { libc::sigqueue(run.id(), libc::SIGRTMIN() + 3, value) };
    assert_eq!(run.line(), format!("{} 4711", libc::SIGRTMIN() + 3));
    kill(run.id(), libc::SIGTERM);
    assert_eq!(run.end().code(), Some(9));
}

/// Signals its process group, and ends with the number of times that it got the signal itself.
const TELLS_ITS_GROUP: &str = r"
#include <csignal>
#include <unistd.h>
static volatile sig_atomic_t times;
int main() {
    std::signal(SIGTERM, [](int) { times = times + 1; });
    kill(0, SIGTERM);
    for (int i = 0; i < 5; i++) usleep(100000);
    return times;
}
";

#[test]
fn a_signal_to_the_program_s_own_group_does_not_come_back() {
    let mut command = rdnafix(["run", "--summary", "--"]);
    command.arg(compile("tells_its_group", TELLS_ITS_GROUP, &[], &[])).process_group(0);
    assert_eq!(Run::of(&mut command).end().code(), Some(1));
}

#[test]
fn a_program_that_ends_by_a_real_time_signal_ends_rdnafix_so() {
    let run = listener();
    kill(run.program(), libc::SIGKILL);
    assert_eq!(run.end().signal(), Some(libc::SIGKILL));
    let mut command = rdnafix(["run", "--summary", "--", "sh", "-c", "kill -35 $$"]);
    assert_eq!(output(&mut command).status.signal(), Some(35));
}

/// What has python do something and become `rdnafix run --summary` of a shell script.
fn after(python: &str, script: &str) -> Option<i32> {
    let python = format!("{python}; import os, sys; os.execv(sys.argv[1], sys.argv[1:])");
    let mut command = cli_common::clean("/usr/bin/python3");
    command.args(["-c", &python]).arg(release("rdnafix"));
    command.args(["run", "--summary", "--", "sh", "-c", script]);
    output(&mut command).status.code()
}

#[test]
fn an_alarm_that_was_set_before_reaches_the_program() {
    // `perl -e 'alarm N; exec ...'` is an old way to say timeout.
    let script = "trap 'exit 8' ALRM; sleep 30 >&- 2>&- & wait";
    assert_eq!(after("import signal; signal.alarm(1)", script), Some(8));
}

#[test]
fn what_was_ignored_stays_ignored_in_the_program_and_its_end_is_still_seen() {
    let ignored = "from signal import *; [signal(n, SIG_IGN) for n in [SIGHUP, SIGINT, SIGCHLD]]";
    assert_eq!(after(ignored, "kill -HUP $$; kill -INT $$; exit 7"), Some(7));
}

/// The letter of /proc that says what a process does.
fn state(process: i32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    assert!(
        (0..400).any(|_| {
            std::thread::sleep(Duration::from_millis(25));
            is_so()
        }),
        "{what}"
    );
}

/// Reads a line and ends with 5.
const READS: [&str; 6] = ["run", "--summary", "--", "sh", "-c", "echo ready; read line; exit 5"];

#[test]
fn a_stop_and_what_ends_it_are_for_both() {
    // In a group of its own: the kernel stops nothing in a group that no shell can continue.
    let mut run = Run::of(rdnafix(READS).stdin(Stdio::piped()).process_group(0));
    assert_eq!(run.line(), "ready");
    let both = [run.id(), run.program()];
    let are = |stopped: bool| both.map(state).iter().all(|state| (*state == 'T') == stopped);
    for _ in 0..3 {
        kill(run.id(), libc::SIGTSTP);
        wait_until("both stop", || are(true));
        kill(run.id(), libc::SIGCONT);
        wait_until("both go on", || are(false));
    }
    drop(run.rdnafix.stdin.take());
    assert_eq!(run.end().code(), Some(5));
}

#[test]
fn without_a_terminal_who_stops_the_program_alone_continues_it() {
    let mut command = cli_common::clean("setsid");
    command.arg(release("rdnafix")).args(READS);
    let mut run = Run::of(command.stdin(Stdio::piped()));
    assert_eq!(run.line(), "ready");
    let program = run.program();
    kill(program, libc::SIGSTOP);
    wait_until("the program stops", || state(program) == 'T');
    // Long enough for rdnafix to follow, if it did.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(state(run.id()), 'S');
    kill(program, libc::SIGCONT);
    drop(run.rdnafix.stdin.take());
    assert_eq!(run.end().code(), Some(5));
}
