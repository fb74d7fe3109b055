//! A test program of AMD's, built by its script and run test by test, each in a process of its
//! own. Knows no single test.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::expected::Expected;
use super::run::{Ended, run_all, run_one};
use super::{Outcome, Row, Seen, Table, document, gtest};
use crate::common::release::{Release, release};
use crate::common::{kfdsim, rdnafix};

/// What tests run on.
#[derive(Debug)]
pub struct Column {
    pub name: &'static str,
    pub release: &'static str,
    /// What is set for it, as `NAME=VALUE`.
    pub set: &'static [&'static str],
    /// Whether it is run with the library, too.
    pub interposed: bool,
}

/// A test program.
#[derive(Debug)]
pub struct Suite {
    /// Also the name of its script, its file of expectations and its part of the document.
    pub name: &'static str,
    /// The program in what the script makes.
    pub file: &'static str,
    /// Where in there it is started.
    pub directory: &'static str,
    pub columns: &'static [Column],
    /// What is set for every run, as `NAME=VALUE`.
    pub set: &'static [&'static str],
    /// Arguments of every run.
    pub arguments: &'static [&'static str],
    /// Tests that take so much of the host's memory that only one of them runs at a time.
    pub large: &'static [&'static str],
    /// A test that runs longer than this hangs.
    pub limit: Duration,
    /// The fewest tests that it has: fewer, and the list was not understood.
    pub at_least: usize,
    /// Why a test skipped itself without telling GoogleTest, if a line of its output says so.
    pub skips: fn(&str) -> Option<&str>,
}

/// One that has been built.
#[derive(Debug)]
pub struct Built {
    suite: Suite,
    made: PathBuf,
    /// The columns whose release can be had.
    columns: Vec<(&'static Column, Release)>,
    tests: Vec<(String, String)>,
}

impl Suite {
    /// Builds it if need be. `None`, after a line that says why, where it cannot be had.
    pub fn built(self) -> Option<Built> {
        let columns: Vec<_> = self
            .columns
            .iter()
            .filter_map(|column| Some((column, release(column.release)?)))
            .collect();
        if columns.is_empty() {
            println!("SKIPPED: {}: there is no release to run it on", self.name);
            return None;
        }
        let script = format!("{}/scripts/{}.sh", env!("CARGO_MANIFEST_DIR"), self.name);
        let output = Command::new(&script).output().expect("the script starts");
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => {}
            // EX_UNAVAILABLE
            Some(69) => {
                println!("SKIPPED: {}: {}", self.name, said.lines().last().unwrap_or_default());
                return None;
            }
            _ => panic!("{script}: {}\n{said}", output.status),
        }
        let made = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let mut built = Built { made, columns, tests: Vec::new(), suite: self };
        let mut list = built.command(0, false);
        list.arg("--gtest_list_tests");
        let ended = run_one(list, built.suite.limit);
        built.tests = gtest::list(&ended.output);
        let enough = built.tests.len() >= built.suite.at_least;
        assert!(enough, "{}\n{}", ended.how(), ended.output);
        Some(built)
    }
}

impl Built {
    /// Runs all tests, stock and interposed: none may crash or hang, all have to come out the
    /// same both ways, as expected, and as docs/fidelity.md says.
    pub fn check(&self) {
        let name = self.suite.name;
        let mut expected = Expected::read(name, &self.names());
        let stock = self.table(&expected, false);
        expected.update(&stock);
        if document::writing() {
            document::settle(name, &document::part(&stock, &expected));
        }
        let interposed = self.table(&expected, true);
        let mut endless = stock.without_an_end();
        endless.extend(interposed.without_an_end());
        assert!(endless.is_empty(), "tests that crash or hang:\n{}", endless.join("\n"));
        let different = stock.differences(&interposed);
        assert!(different.is_empty(), "otherwise with the library:\n{}", different.join("\n"));
        for (column, name) in stock.columns.iter().enumerate() {
            let count = |outcome| {
                stock.rows.iter().filter(|row| row.seen[column].outcome == outcome).count()
            };
            println!(
                "MATRIX: {} on {name}: {} pass, {} skip, {} fail as expected, {} not run",
                self.suite.name,
                count(Outcome::Pass),
                count(Outcome::Skip),
                count(Outcome::Fail),
                count(Outcome::Left),
            );
        }
        let expected = expected.settle(&stock);
        if self.columns.len() == self.suite.columns.len() {
            document::settle(name, &document::part(&stock, &expected));
        } else {
            println!("SKIPPED: docs/fidelity.md on {name}: not all of its columns were run");
        }
    }

    fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(column, _)| column.name.to_owned()).collect()
    }

    /// What runs the program in the root of its release, on a column's GPUs.
    fn command(&self, column: usize, interposed: bool) -> Command {
        let (column, release) = &self.columns[column];
        let mut command = release.enter();
        command.current_dir(self.made.join(self.suite.directory)).env_clear();
        for name in ["HOME", "XDG_CACHE_HOME"] {
            // The cache with the roots is there.
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let mut preload = std::ffi::OsString::from("LD_PRELOAD=");
        if interposed {
            preload.push(rdnafix());
            preload.push(":");
        }
        preload.push(kfdsim());
        // Where PATH is empty no test can do anything to the machine by a command.
        command.args(["/usr/bin/env", "PATH=/nonexistent"]).arg(preload);
        command.args(column.set).args(self.suite.set).arg(self.program());
        // ROCr writes a core file of the GPU after an exception, the kernel one of a crash.
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: setrlimit is safe between fork and exec.
        unsafe {
            command.pre_exec(move || {
                libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
                Ok(())
            });
        }
        command
    }

    fn program(&self) -> PathBuf {
        self.made.join(Path::new(self.suite.file))
    }

    /// Runs these tests of the list, each in a column.
    fn run(&self, jobs: &[(usize, usize)], interposed: bool) -> Vec<Seen> {
        let started = Instant::now();
        let large = |job: usize| self.suite.large.contains(&&self.test(jobs[job].0)[..]);
        let ended = run_all(jobs.len(), self.suite.limit, large, |job| {
            let (test, column) = jobs[job];
            let mut command = self.command(column, interposed);
            command.arg(format!("--gtest_filter={}", self.test(test)));
            command.args(self.suite.arguments);
            command
        });
        self.report(jobs, &ended, interposed, started.elapsed());
        ended.iter().map(|ended| gtest::judge(ended, self.suite.skips)).collect()
    }

    fn report(&self, jobs: &[(usize, usize)], ended: &[Ended], interposed: bool, took: Duration) {
        let how = if interposed { "interposed" } else { "stock" };
        println!("{}: {} runs, {how}: {} s", self.suite.name, jobs.len(), took.as_secs());
        let mut slow: Vec<_> = jobs.iter().zip(ended).collect();
        slow.sort_by_key(|(_, ended)| std::cmp::Reverse(ended.took));
        for ((test, column), ended) in slow.into_iter().take(5) {
            let column = self.columns[*column].0.name;
            println!("  {} on {column}: {:.1} s", self.test(*test), ended.took.as_secs_f64());
        }
    }

    /// All tests in all columns, except what the expectations leave out.
    fn table(&self, expected: &Expected, interposed: bool) -> Table {
        let columns = self.columns.len();
        let all =
            (0..self.tests.len()).flat_map(|test| (0..columns).map(move |column| (test, column)));
        let jobs: Vec<(usize, usize)> = all
            .clone()
            .filter(|(test, column)| {
                let column = self.columns[*column].0;
                let wanted = column.interposed || !interposed;
                wanted && !expected.is_left_out(&self.test(*test), column.name)
            })
            .collect();
        let mut seen = self.run(&jobs, interposed);
        self.run_again(&jobs, &mut seen, expected, interposed);
        let mut seen: BTreeMap<(usize, usize), Seen> = jobs.into_iter().zip(seen).collect();
        let rows = self.tests.iter().map(|(suite, test)| Row {
            suite: suite.clone(),
            test: test.clone(),
            seen: Vec::with_capacity(columns),
        });
        let mut rows: Vec<Row> = rows.collect();
        let left = Seen { outcome: Outcome::Left, said: String::new() };
        for job in all {
            rows[job.0].seen.push(seen.remove(&job).unwrap_or_else(|| left.clone()));
        }
        Table { program: self.suite.name, columns: self.names(), rows }
    }

    /// `SUITE.TEST`
    fn test(&self, number: usize) -> String {
        let (suite, test) = &self.tests[number];
        format!("{suite}.{test}")
    }

    /// A machine under load can fail a test that measures time: what came out otherwise than
    /// expected runs once more, and that is told.
    fn run_again(
        &self,
        jobs: &[(usize, usize)],
        seen: &mut [Seen],
        expected: &Expected,
        interposed: bool,
    ) {
        let otherwise: Vec<usize> = (0..jobs.len())
            .filter(|job| {
                let (test, column) = jobs[*job];
                let column = self.columns[column].0.name;
                !expected.meets(&self.test(test), column, seen[*job].outcome)
            })
            .collect();
        // Where everything is different, something else is wrong.
        if otherwise.is_empty() || otherwise.len() > 20 {
            return;
        }
        let again: Vec<_> = otherwise.iter().map(|job| jobs[*job]).collect();
        for (job, second) in otherwise.into_iter().zip(self.run(&again, interposed)) {
            if second.outcome != seen[job].outcome {
                let (test, Seen { outcome, said }) = (self.test(jobs[job].0), &seen[job]);
                let name = self.suite.name;
                println!("FLAKY {name} {test}: {outcome}, then {}: {said}", second.outcome);
            }
            seen[job] = second;
        }
    }
}
