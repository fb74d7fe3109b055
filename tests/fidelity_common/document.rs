//! docs/fidelity.md: one part for each test program, between two comments, made by the run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::expected::Expected;
use super::{Outcome, Table};

/// Whether stored results are to be replaced by those of this run.
pub fn writing() -> bool {
    std::env::var_os("RDNAFIX_WRITE_DOCS").is_some_and(|value| value == "1")
}

/// Asserts that docs/fidelity.md has this part, or puts it there.
pub fn settle(program: &str, part: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fidelity.md");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let new = replaced(&text, program, part)
        .unwrap_or_else(|| panic!("{} has no part for {program}", path.display()));
    if writing() {
        std::fs::write(&path, &new).expect("the document can be written");
    }
    assert!(
        writing() || new == text,
        "the part of {} about {program} is not what this run gives; write it with \
         RDNAFIX_WRITE_DOCS=1. It would be:\n{part}",
        path.display()
    );
}

fn replaced(text: &str, program: &str, part: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {program} -->\n"), format!("<!-- end of {program} -->"));
    let start = text.find(&begin)? + begin.len();
    let stop = start + text[start..].find(&end)?;
    Some(format!("{}\n{}\n\n{}", &text[..start], part.trim(), &text[stop..]))
}

/// The counts of a run for each suite, and what does not pass with the reasons.
pub fn part(table: &Table, expected: &Expected) -> String {
    let listed = [
        (Outcome::Fail, "Cannot pass here"),
        (Outcome::Left, "Not run"),
        (Outcome::Skip, "Skip themselves"),
    ];
    let mut text = counts(table);
    for (outcome, title) in listed {
        text += &reasons(table, expected, outcome, title);
    }
    text
}

fn counts(table: &Table) -> String {
    let mut text = String::from("| suite | tests |");
    let mut rule = String::from("| --- | ---: |");
    for column in &table.columns {
        let _ = write!(text, " {column}: pass | skip | fail | not run |");
        rule.push_str(" ---: | ---: | ---: | ---: |");
    }
    let _ = write!(text, "\n{rule}\n");
    for suite in table.suites().into_iter().map(Some).chain([None]) {
        let tests = table.rows.iter().filter(|row| suite.is_none_or(|suite| row.suite == suite));
        let _ = write!(text, "| {} | {} |", suite.unwrap_or("all"), tests.count());
        for column in 0..table.columns.len() {
            for outcome in [Outcome::Pass, Outcome::Skip, Outcome::Fail, Outcome::Left] {
                let _ = write!(text, " {} |", table.count(suite, column, outcome));
            }
        }
        text.push('\n');
    }
    text
}

/// The tests with an outcome, by reason, in the order of the program.
fn reasons(table: &Table, expected: &Expected, outcome: Outcome, title: &str) -> String {
    let mut order: Vec<&str> = Vec::new();
    let mut tests: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for row in &table.rows {
        let columns: Vec<&str> = table
            .columns
            .iter()
            .zip(&row.seen)
            .filter(|(_, seen)| seen.outcome == outcome)
            .map(|(column, _)| column.as_str())
            .collect();
        if columns.is_empty() {
            continue;
        }
        let everywhere = columns.len() == table.columns.len();
        let on = if everywhere { String::new() } else { format!(" ({})", columns.join(", ")) };
        let name = row.name();
        let reason = expected.reason(&name);
        if !order.contains(&reason) {
            order.push(reason);
        }
        tests.entry(reason).or_default().push(format!("{name}{on}"));
    }
    if order.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{title}:\n\n| tests | reason |\n| --- | --- |\n");
    for reason in order {
        let _ = writeln!(text, "| {} | {reason} |", tests[reason].join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_of_the_document_is_replaced_and_the_rest_stays() {
        let text = "Head\n<!-- a -->\nold\n<!-- end of a -->\n<!-- b -->\n<!-- end of b -->\nEnd\n";
        let new = replaced(text, "a", "new\n").unwrap();
        assert_eq!(
            new,
            "Head\n<!-- a -->\n\nnew\n\n<!-- end of a -->\n<!-- b -->\n<!-- end of b -->\nEnd\n"
        );
        assert_eq!(replaced(&new, "a", "new").unwrap(), new);
        assert!(replaced(text, "c", "").is_none());
    }
}
