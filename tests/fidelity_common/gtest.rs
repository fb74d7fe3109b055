//! Reads what a program made with GoogleTest says.

use super::run::Ended;
use super::{Outcome, Seen};

/// The tests in the output of `--gtest_list_tests`, as (suite, test). What else the program
/// prints there is passed over.
pub fn list(output: &str) -> Vec<(String, String)> {
    let mut suite = None;
    let mut tests = Vec::new();
    for line in output.lines() {
        let name = line.split('#').next().unwrap_or_default().trim_end();
        if let Some(test) = name.strip_prefix("  ") {
            if let Some(suite) = &suite {
                tests.push((String::clone(suite), test.trim().to_owned()));
            }
        } else if let Some(name) = name.strip_suffix('.')
            && !name.contains(' ')
        {
            suite = Some(name.to_owned());
        }
    }
    tests
}

/// What came of a run of one test. `skips` finds in a line of output why a test skipped itself
/// without telling GoogleTest.
pub fn judge(ended: &Ended, skips: impl Fn(&str) -> Option<&str>) -> Seen {
    let has = |start: &str| ended.output.lines().any(|line| line.starts_with(start));
    let seen = |outcome, said: String| Seen { outcome, said };
    if ended.status.is_none() {
        return seen(Outcome::Hang, format!("{}; {}", ended.how(), last_words(&ended.output)));
    }
    // The first of these lines comes while the test runs, the last one at the very end: a
    // program that crashes after a failed assertion has only the first.
    let summary = has("[==========] 1 test from 1 test suite ran.")
        || has("[==========] 1 test from 1 test case ran.");
    if !summary {
        return seen(Outcome::Crash, format!("{}; {}", ended.how(), last_words(&ended.output)));
    }
    if has("[  FAILED  ]") {
        return seen(Outcome::Fail, complaint(&ended.output));
    }
    if ended.status.is_some_and(|status| !status.success()) {
        return seen(
            Outcome::Crash,
            format!("{} after its end; {}", ended.how(), last_words(&ended.output)),
        );
    }
    if let Some(why) = ended.output.lines().find_map(skips) {
        return seen(Outcome::Skip, why.to_owned());
    }
    if has("[  SKIPPED ]") {
        return seen(Outcome::Skip, String::new());
    }
    seen(Outcome::Pass, String::new())
}

/// The last line of the program's own.
fn last_words(output: &str) -> &str {
    let own = |line: &&str| !line.trim().is_empty() && !line.starts_with("[ RUN");
    output.lines().rev().find(own).unwrap_or("it said nothing")
}

/// The first failure, in one line: where, and what.
fn complaint(output: &str) -> String {
    let mut lines = output.lines().skip_while(|line| !line.contains(": Failure"));
    let Some(first) = lines.next() else {
        return "it gave no reason".to_owned();
    };
    let place = first.split(": Failure").next().unwrap_or_default();
    let place = place.rsplit('/').next().unwrap_or_default();
    let what: Vec<&str> = lines
        .take_while(|line| !line.starts_with('[') && !line.is_empty())
        .map(str::trim)
        .collect();
    format!("{place}: {}", what.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn ended(code: i32, output: &str) -> Ended {
        let status = Some(ExitStatus::from_raw(code << 8));
        Ended { status, output: output.to_owned(), took: std::time::Duration::ZERO }
    }

    fn skips(line: &str) -> Option<&str> {
        line.split_once("Skipping test: ").map(|(_, why)| why)
    }

    #[test]
    fn a_list_of_tests_is_read_with_its_comments() {
        let tests = list("kfdtest says hello\nA.\n  One\n  Two/0  # GetParam() = 0\nB.\n  One\n");
        let names: Vec<String> = tests.iter().map(|(s, t)| format!("{s}.{t}")).collect();
        assert_eq!(names, ["A.One", "A.Two/0", "B.One"]);
    }

    #[test]
    fn a_program_that_ends_without_a_summary_has_crashed() {
        let end = "[==========] 1 test from 1 test suite ran. (0 ms total)\n";
        assert_eq!(judge(&ended(0, "[ RUN      ] A.B\n"), skips).outcome, Outcome::Crash);
        assert_eq!(judge(&ended(0, end), skips).outcome, Outcome::Pass);
        assert_eq!(judge(&ended(3, end), skips).outcome, Outcome::Crash);
        let failed = format!("src/a.cpp:3: Failure\n  Value\n\n[  FAILED  ] A.B\n{end}");
        let seen = judge(&ended(1, &failed), skips);
        assert_eq!((seen.outcome, seen.said.as_str()), (Outcome::Fail, "a.cpp:3: Value"));
        let seen = judge(&ended(0, &format!("[ ] Skipping test: one GPU.\n{end}")), skips);
        assert_eq!((seen.outcome, seen.said.as_str()), (Outcome::Skip, "one GPU."));
    }
}
