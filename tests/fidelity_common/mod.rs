//! AMD's own test programs on the simulated GPU: what came of each test, what is expected of
//! it, and docs/fidelity.md.
//!
//! A reason why a test cannot pass is written by a person, in tests/fidelity/*.txt. Outcomes are
//! never written by hand: `RDNAFIX_WRITE_DOCS=1` takes them from a run.

#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod document;
pub mod expected;
pub mod gtest;
pub mod run;
pub mod suite;

use std::fmt;

/// What came of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Pass,
    /// It said itself that it has nothing to do here.
    Skip,
    Fail,
    /// It ended without a verdict.
    Crash,
    /// It did not end.
    Hang,
    /// The expectations say that it is not to be run.
    Left,
}

impl Outcome {
    pub const ALL: [Self; 6] =
        [Self::Pass, Self::Skip, Self::Fail, Self::Crash, Self::Hang, Self::Left];

    /// As in the files of expectations.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skip => "skip",
            Self::Fail => "fail",
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::Left => "left-out",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.word() == word)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// An outcome, and what the test said about it: its first complaint, or why it skipped itself.
#[derive(Clone, Debug)]
pub struct Seen {
    pub outcome: Outcome,
    pub said: String,
}

/// The outcomes of one test, one for each column of its table.
#[derive(Clone, Debug)]
pub struct Row {
    pub suite: String,
    pub test: String,
    pub seen: Vec<Seen>,
}

impl Row {
    /// `SUITE.TEST`
    pub fn name(&self) -> String {
        format!("{}.{}", self.suite, self.test)
    }
}

/// What a run of a whole test program gave.
#[derive(Clone, Debug)]
pub struct Table {
    /// The test program; also the name of its expectations and of its part of the document.
    pub program: &'static str,
    /// What the tests ran on, such as `gfx1030`. No spaces, commas or colons.
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
}

impl Table {
    /// How many tests of a suite (of all suites for `None`) came out so in a column.
    pub fn count(&self, suite: Option<&str>, column: usize, outcome: Outcome) -> usize {
        let of_suite = |row: &&Row| suite.is_none_or(|suite| row.suite == suite);
        self.rows.iter().filter(of_suite).filter(|row| row.seen[column].outcome == outcome).count()
    }

    /// The suites, in the order of the program.
    pub fn suites(&self) -> Vec<&str> {
        let mut suites: Vec<&str> = self.rows.iter().map(|row| row.suite.as_str()).collect();
        suites.dedup();
        suites
    }

    /// The tests that crashed or hung: with what they said.
    pub fn without_an_end(&self) -> Vec<String> {
        self.listed(|seen| matches!(seen.outcome, Outcome::Crash | Outcome::Hang))
    }

    fn listed(&self, wanted: impl Fn(&Seen) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        for row in &self.rows {
            for (column, seen) in self.columns.iter().zip(&row.seen) {
                if wanted(seen) {
                    found.push(format!(
                        "{} on {column}: {}: {}",
                        row.name(),
                        seen.outcome,
                        seen.said
                    ));
                }
            }
        }
        found
    }

    /// Where another run of the same tests, with something else preloaded, came out otherwise.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        assert_eq!(self.columns, other.columns);
        let mut found = Vec::new();
        for (row, others) in self.rows.iter().zip(&other.rows) {
            assert_eq!(row.name(), others.name());
            for ((column, seen), other) in self.columns.iter().zip(&row.seen).zip(&others.seen) {
                // Not every column is run both ways.
                if other.outcome != Outcome::Left && seen.outcome != other.outcome {
                    found.push(format!(
                        "{} on {column}: {} and {}: {}",
                        row.name(),
                        seen.outcome,
                        other.outcome,
                        if seen.said.is_empty() { &other.said } else { &seen.said }
                    ));
                }
            }
        }
        found
    }
}
