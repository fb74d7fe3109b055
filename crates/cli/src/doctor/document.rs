//! docs/doctor.md: its table is that of symptoms/*.toml.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{rules, table};

const BEGIN: &str = "<!-- table -->\n";
const END: &str = "<!-- end of table -->";

fn expected() -> String {
    let rules: BTreeSet<&str> = rules::ids().collect();
    let mut text = "| | | | seen in | rdnafix |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for symptom in table::all() {
        let seen = match (rules.contains(symptom.id.as_str()), symptom.matches.is_empty()) {
            (true, true) => "machine",
            (true, false) => "machine, message",
            (false, _) => "message",
        };
        let (severity, helps) = (symptom.severity.name(), symptom.rdnafix.name());
        let _ = writeln!(
            text,
            "| {severity} | `{}` | {} | {seen} | {helps} |",
            symptom.id, symptom.title
        );
    }
    text
}

/// `RDNAFIX_WRITE_DOCS=1` writes the table anew.
#[test]
fn the_table_of_the_documentation_is_that_of_the_rules() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/doctor.md");
    let text = std::fs::read_to_string(file).expect("docs/doctor.md");
    let (before, rest) = text.split_once(BEGIN).expect("the mark before the table");
    let (there, after) = rest.split_once(END).expect("the mark after the table");
    if std::env::var_os("RDNAFIX_WRITE_DOCS").is_some_and(|value| value == "1") {
        let new = format!("{before}{BEGIN}{}{END}{after}", expected());
        std::fs::write(file, new).expect("docs/doctor.md is writable");
        return;
    }
    assert_eq!(there, expected(), "write it anew with RDNAFIX_WRITE_DOCS=1");
}
