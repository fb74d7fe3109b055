//! The tables of docs/compatibility.md that the tests make: a row is compared with what ran, or
//! written with `RDNAFIX_WRITE_DOCS=1` (with one test at a time).

use std::path::PathBuf;

/// How the file is made anew.
const COMMAND: &str = "RDNAFIX_WRITE_DOCS=1 cargo test --test clients -- --test-threads=1";

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md")
}

/// The file, and where in it the rows of a table are: between its two markers, after the head.
fn read(table: &str) -> (String, std::ops::Range<usize>) {
    let text = std::fs::read_to_string(file()).expect("docs/compatibility.md");
    let marker = |marker: String| {
        text.find(&marker).unwrap_or_else(|| panic!("docs/compatibility.md has no {marker}"))
    };
    let begin = marker(format!("<!-- {table}: made by tests/clients.rs -->"));
    let end = marker(format!("<!-- end of {table} -->"));
    let head = text[begin..end].find("| ---").expect("a table");
    let rows = begin + head + text[begin + head..end].find('\n').expect("a line") + 1;
    (text, rows..end)
}

/// The rows of a table, cell by cell.
pub fn rows(table: &str) -> Vec<Vec<String>> {
    let (text, rows) = read(table);
    text[rows]
        .lines()
        .map(|line| {
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// Compares a row with the one whose first `key` cells are the same. The cell `versions` may
/// differ: the archive moves on, and a newer package that behaves the same is no failure.
pub fn check(table: &str, key: usize, versions: usize, row: &[String]) {
    let stored = rows(table).into_iter().find(|stored| stored[..key] == row[..key]);
    let without = |cells: &[String]| [&cells[..versions], &cells[versions + 1..]].concat();
    if std::env::var_os("RDNAFIX_WRITE_DOCS").is_some_and(|value| value == "1") {
        write(table, key, row);
    } else {
        let stored = stored.unwrap_or_default();
        let same = stored.len() == row.len() && without(&stored) == without(row);
        assert!(
            same,
            "docs/compatibility.md differs from what ran; {COMMAND}\n stored: {}\n    ran: {}",
            stored.join(" | "),
            row.join(" | ")
        );
        if stored[versions] != row[versions] {
            println!("the same with {} as with {}", row[versions], stored[versions]);
        }
    }
}

fn write(table: &str, key: usize, row: &[String]) {
    let mut all = rows(table);
    all.retain(|stored| stored[..key] != row[..key]);
    all.push(row.to_vec());
    all.sort();
    let (text, place) = read(table);
    let lines: Vec<String> =
        all.iter().map(|cells| format!("| {} |\n", cells.join(" | "))).collect();
    let text = format!("{}{}{}", &text[..place.start], lines.concat(), &text[place.end..]);
    std::fs::write(file(), text).expect("docs/compatibility.md is writable");
}
