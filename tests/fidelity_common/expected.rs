//! tests/fidelity/PROGRAM.txt: the expected outcome of every test of a program and, where it does
//! not pass, the reason.
//!
//! One line for each test: `SUITE.TEST  OUTCOME  REASON`. Where the columns differ, OUTCOME is
//! `COLUMN:OUTCOME,COLUMN:OUTCOME`. A reason that is written once may be used by name: the line
//! `= NAME REASON`, before its first use, and `=NAME` in the place of the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::document::writing;
use super::{Outcome, Row, Seen, Table};

/// What is expected of one test.
#[derive(Clone, Debug, Default)]
struct Line {
    /// By column.
    outcomes: BTreeMap<String, Outcome>,
    /// As written: words, or `=NAME`.
    reason: String,
}

/// The file.
#[derive(Debug)]
pub struct Expected {
    path: PathBuf,
    /// What comes before the first test, kept as it is.
    head: String,
    reasons: BTreeMap<String, String>,
    lines: BTreeMap<String, Line>,
}

impl Expected {
    /// Reads the expectations for a test program, of which the table will have these columns.
    pub fn read(program: &str, columns: &[String]) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fidelity")
            .join(format!("{program}.txt"));
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(path, &text, columns).unwrap_or_else(|error| panic!("{error}"))
    }

    fn parse(path: PathBuf, text: &str, columns: &[String]) -> Result<Self, String> {
        let (mut head, mut reasons, mut lines) =
            (String::new(), BTreeMap::new(), BTreeMap::<String, Line>::new());
        for (number, line) in text.lines().enumerate() {
            let error = |what: &str| Err(format!("{}:{}: {what}", path.display(), number + 1));
            if line.is_empty() || line.starts_with(['#', '=']) {
                if !lines.is_empty() {
                    return error("comments and named reasons go before the first test");
                }
                let _ = writeln!(head, "{line}");
                if let Some((name, reason)) =
                    line.strip_prefix("= ").and_then(|line| line.split_once(' '))
                {
                    reasons.insert(name.to_owned(), reason.trim().to_owned());
                }
                continue;
            }
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (words, reason) =
                rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
            let mut outcomes = BTreeMap::new();
            for word in words.split(',') {
                let (column, word) = word
                    .split_once(':')
                    .map_or((None, word), |(column, word)| (Some(column), word));
                let Some(outcome) = Outcome::parse(word) else {
                    return error(&format!("'{word}' is no outcome"));
                };
                match column {
                    Some(column) => {
                        outcomes.insert(column.to_owned(), outcome);
                    }
                    None => {
                        outcomes.extend(columns.iter().map(|column| (column.clone(), outcome)));
                    }
                }
            }
            let reason = reason.trim().to_owned();
            if reason.strip_prefix('=').is_some_and(|name| !reasons.contains_key(name)) {
                return error(&format!("there is no line for the reason {reason}"));
            }
            if lines.insert(name.to_owned(), Line { outcomes, reason }).is_some() {
                return error(&format!("{name} is there twice"));
            }
        }
        Ok(Self { path, head, reasons, lines })
    }

    /// The reason why a test does not pass; empty if none is given.
    pub fn reason(&self, test: &str) -> &str {
        let written = self.lines.get(test).map_or("", |line| &line.reason);
        written.strip_prefix('=').map_or(written, |name| &self.reasons[name])
    }

    /// Whether a test is not to be run in a column.
    pub fn is_left_out(&self, test: &str, column: &str) -> bool {
        self.meets(test, column, Outcome::Left)
    }

    /// Whether a test came out as expected in a column.
    pub fn meets(&self, test: &str, column: &str, seen: Outcome) -> bool {
        self.lines.get(test).and_then(|line| line.outcomes.get(column)) == Some(&seen)
    }

    /// Writes the outcomes of a run into the file where that is asked for.
    pub fn update(&mut self, table: &Table) {
        if writing() {
            self.take(table);
            std::fs::write(&self.path, self.text(table)).expect("the file can be written");
        }
    }

    /// Asserts that the run came out as expected and that the file gives a reason for
    /// everything that does not pass.
    pub fn settle(self, table: &Table) -> Self {
        let mut wrong = Vec::new();
        for row in &table.rows {
            for (column, seen) in table.columns.iter().zip(&row.seen) {
                self.check(&row.name(), column, seen, &mut wrong);
            }
        }
        let ran: BTreeSet<String> = table.rows.iter().map(Row::name).collect();
        let gone = self.lines.keys().filter(|name| !ran.contains(*name));
        wrong.extend(gone.map(|name| format!("{name}: expected, and there is no such test")));
        assert!(
            wrong.is_empty(),
            "{} of the tests of {} came out otherwise than {} says (where that is right, write \
             the outcomes with RDNAFIX_WRITE_DOCS=1 and the reasons by hand):\n{}",
            wrong.len(),
            table.program,
            self.path.display(),
            wrong.join("\n")
        );
        self
    }

    fn check(&self, name: &str, column: &str, seen: &Seen, wrong: &mut Vec<String>) {
        let expected = self.lines.get(name).and_then(|line| line.outcomes.get(column));
        if expected != Some(&seen.outcome) {
            let expected = expected.map_or("nothing", |outcome| outcome.word());
            let said = &seen.said;
            wrong
                .push(format!("{name} on {column}: {}, expected {expected}: {said}", seen.outcome));
        } else if seen.outcome != Outcome::Pass && self.reason(name).is_empty() {
            wrong
                .push(format!("{name} on {column}: {} for no reason: {}", seen.outcome, seen.said));
        } else if self.reason(name).is_empty() != self.all_pass(name) {
            wrong.push(format!("{name} passes and has a reason why not"));
        }
    }

    fn all_pass(&self, name: &str) -> bool {
        self.lines[name].outcomes.values().all(|outcome| *outcome == Outcome::Pass)
    }

    /// Takes the outcomes of a run; reasons stay, and what a test said when it skipped itself
    /// is its reason.
    fn take(&mut self, table: &Table) {
        let mut lines = BTreeMap::new();
        for row in &table.rows {
            let mut line = self.lines.remove(&row.name()).unwrap_or_default();
            line.outcomes = table
                .columns
                .iter()
                .zip(&row.seen)
                .map(|(column, seen)| (column.clone(), seen.outcome))
                .collect();
            let skipped = row.seen.iter().find(|seen| seen.outcome == Outcome::Skip);
            if row.seen.iter().all(|seen| seen.outcome == Outcome::Pass) {
                line.reason.clear();
            } else if let (true, Some(skipped)) = (line.reason.is_empty(), skipped) {
                line.reason.clone_from(&skipped.said);
            }
            lines.insert(row.name(), line);
        }
        self.lines = lines;
    }

    fn text(&self, table: &Table) -> String {
        let mut text = self.head.clone();
        let width = self.lines.keys().map(String::len).max().unwrap_or(0);
        for row in &table.rows {
            let line = &self.lines[&row.name()];
            let outcomes = words(&table.columns, line);
            let line = format!("{:width$}  {outcomes:4}  {}", row.name(), line.reason);
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

/// `pass`, or `gfx1010:skip,gfx1030:pass`.
fn words(columns: &[String], line: &Line) -> String {
    let distinct: BTreeSet<Outcome> = line.outcomes.values().copied().collect();
    if let (1, Some(outcome)) = (distinct.len(), distinct.first()) {
        return outcome.to_string();
    }
    let each = columns.iter().map(|column| format!("{column}:{}", line.outcomes[column]));
    each.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Words.\n= one It needs one.\n\nA.B  pass\nA.C  x:pass,y:skip  =one\n";

    fn parse(text: &str) -> Result<Expected, String> {
        Expected::parse(PathBuf::from("f"), text, &["x".to_owned(), "y".to_owned()])
    }

    fn table(outcomes: [[Outcome; 2]; 2]) -> Table {
        let row = |test: &str, outcomes: [Outcome; 2]| Row {
            suite: "A".to_owned(),
            test: test.to_owned(),
            seen: outcomes.map(|outcome| Seen { outcome, said: "Said.".to_owned() }).into(),
        };
        Table {
            program: "f",
            columns: vec!["x".to_owned(), "y".to_owned()],
            rows: vec![row("B", outcomes[0]), row("C", outcomes[1])],
        }
    }

    #[test]
    fn expectations_are_read_and_written_without_change() {
        let expected = parse(TEXT).unwrap();
        assert_eq!(expected.reason("A.B"), "");
        assert_eq!(expected.reason("A.C"), "It needs one.");
        assert!(expected.meets("A.C", "y", Outcome::Skip));
        let same = table([[Outcome::Pass; 2], [Outcome::Pass, Outcome::Skip]]);
        assert_eq!(expected.text(&same), TEXT);
    }

    #[test]
    fn a_run_that_came_out_otherwise_is_told_with_what_it_said() {
        let mut expected = parse(TEXT).unwrap();
        let other = table([[Outcome::Skip; 2], [Outcome::Pass, Outcome::Skip]]);
        let mut wrong = Vec::new();
        expected.check("A.B", "x", &other.rows[0].seen[0], &mut wrong);
        assert_eq!(wrong, ["A.B on x: skip, expected pass: Said."]);
        expected.take(&other);
        assert_eq!(expected.reason("A.B"), "Said.");
        let all = table([[Outcome::Pass; 2], [Outcome::Pass; 2]]);
        expected.take(&all);
        assert_eq!(expected.reason("A.C"), "");
    }

    #[test]
    fn a_file_that_says_nonsense_is_refused() {
        for (text, what) in [
            ("A.B maybe\n", "f:1: 'maybe' is no outcome"),
            ("A.B skip =two\n", "f:1: there is no line for the reason =two"),
            ("A.B pass\nA.B pass\n", "f:2: A.B is there twice"),
            ("A.B pass\n# Words.\n", "f:2: comments and named reasons go before the first test"),
        ] {
            assert_eq!(parse(text).unwrap_err(), what);
        }
    }
}
