//! What the command shows on a terminal, and what it does not elsewhere: progress, colour, and
//! lines that fit.

mod cli_common;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use cli_common::{clean, output, rdnafix, stdout, succeed, text};

const ESCAPE: char = '\u{1b}';

/// What a command writes to a terminal of this kind; its exit code is not looked at.
fn on_terminal(term: &str, variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let program = rdnafix([] as [&str; 0]).get_program().display().to_string();
    let mut script = clean("script");
    let command = [&[&program[..]], arguments].concat().join(" ");
    script.args(["--quiet", "--command", &command, "/dev/null"]);
    let shown = output(script.env("TERM", term).envs(variables.iter().copied()));
    assert_eq!(text(&shown.stderr), "", "{command}");
    text(&shown.stdout)
}

#[test]
fn on_a_terminal_compare_says_what_runs_while_it_takes_more_than_a_second() {
    let compare = ["compare", "--simulate", "--", "sleep"];
    let of =
        |term: &str, seconds: &str| on_terminal(term, &[], &[&compare[..], &[seconds]].concat());
    let long = of("xterm", "1.5");
    assert!(long.contains("the stock run") && long.contains("the interposed run"), "{long}");
    for (term, seconds) in [("xterm", "0"), ("dumb", "1.5")] {
        let shown = of(term, seconds);
        assert!(shown.contains("no GPU memory"), "{shown}");
        assert!(!shown.contains("the stock run") && !shown.contains(ESCAPE), "{shown}");
    }
    let piped = output(rdnafix(compare).arg("1.5"));
    assert_eq!(text(&piped.stderr), "");
    assert!(!text(&piped.stdout).contains(ESCAPE));
}

#[test]
fn a_comparison_that_is_interrupted_ends_by_that_signal_and_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let started = scratch.path().join("started");
    let script = format!("echo >{}; exec sleep 60", started.display());
    let mut compare = rdnafix(["compare", "--simulate", "--", "sh", "-c", &script]);
    let mut child = compare.env("TMPDIR", scratch.path()).stdout(Stdio::null()).spawn().unwrap();
    while !started.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    succeed(clean("kill").arg("-INT").arg(child.id().to_string()));
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    let left = std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["started"]);
}

#[test]
fn colour_is_for_terminals_that_have_it_and_users_who_want_it() {
    let doctor = |term, variables: &[(&str, &str)]| {
        let shown = on_terminal(term, variables, &["doctor"]);
        assert!(shown.contains("Nothing was changed"), "{shown}");
        shown.contains(ESCAPE)
    };
    assert!(doctor("xterm", &[]) && doctor("xterm", &[("NO_COLOR", "")]));
    assert!(!doctor("dumb", &[]) && !doctor("xterm", &[("NO_COLOR", "1")]));
}

/// Every command with its subcommands, as `man` makes a page of each.
fn commands() -> Vec<Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    succeed(rdnafix(["man", "--out"]).arg(directory.path()));
    let pages = std::fs::read_dir(directory.path()).unwrap();
    let words = pages.map(|page| {
        let name = page.unwrap().file_name().into_string().unwrap();
        name.trim_end_matches(".1").split('-').skip(1).map(str::to_owned).collect()
    });
    let mut words: Vec<Vec<String>> = words.collect();
    // `set-default` is one word.
    words.retain(|words| !words.iter().any(|word| word == "set"));
    words
}

#[test]
fn the_help_of_every_command_fits_80_columns() {
    let commands = commands();
    assert!(commands.len() > 20, "{commands:?}");
    for words in commands {
        for option in ["-h", "--help"] {
            let mut command: Command = rdnafix(&words);
            for line in stdout(command.arg(option)).lines() {
                // What has to be given is named on one line.
                let fits = line.chars().count() <= 80 || line.starts_with("Usage: ");
                assert!(fits, "{words:?}: {line}");
            }
        }
    }
}
