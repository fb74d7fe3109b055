//! The tables of docs/pytorch-patches.md: compared with what ran, or written.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::Version;
use super::case::Seen;

/// How the page is made anew.
const COMMAND: &str =
    "RDNAFIX_GOLDEN=write cargo test --test pytorch_patch the_table -- --test-threads=1";

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/pytorch-patches.md")
}

/// Compares the table of a version with the page, or writes it there with
/// `RDNAFIX_GOLDEN=write`.
pub fn check(version: Version, rows: &[(String, Seen)]) {
    let mut table = String::from(
        "\n| PyTorch, GPUs, set by the user | split | threshold | fraction | 850/1024 of VRAM | 640 cached, 100 more | 256 MiB cached, 100 more |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (name, seen) in rows {
        let _ = writeln!(
            table,
            "| {name} | {} | {} | {} | {} | {} | {} |",
            seen.split, seen.threshold, seen.fraction, seen.limit, seen.collect, seen.reserved
        );
        println!(
            "MATRIX: PyTorch {} {name}: split {}, threshold {}, fraction {}, {}, {}, {}",
            version.name,
            seen.split,
            seen.threshold,
            seen.fraction,
            seen.limit,
            seen.collect,
            seen.reserved
        );
    }
    table.push('\n');
    let text = fs::read_to_string(file()).expect("docs/pytorch-patches.md");
    let marker = |marker: String| {
        let found = text.find(&marker).map(|at| (at, at + marker.len()));
        found.unwrap_or_else(|| panic!("docs/pytorch-patches.md has no {marker}"))
    };
    let begin = marker(format!("<!-- {}: made by tests/pytorch_patch.rs -->\n", version.name)).1;
    let end = marker(format!("<!-- end of {} -->", version.name)).0;
    if std::env::var_os("RDNAFIX_GOLDEN").is_some_and(|value| value == "write") {
        let page = format!("{}{table}{}", &text[..begin], &text[end..]);
        fs::write(file(), page).expect("docs/pytorch-patches.md is writable");
    } else {
        assert!(
            text[begin..end] == table,
            "docs/pytorch-patches.md differs from what ran; {COMMAND}\n{table}"
        );
    }
}
