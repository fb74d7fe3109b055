//! The output of the runs: what is worth showing of it.

use std::fmt::Write as _;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::execute::Run;
use crate::stdout::printable;

const TAIL: usize = 10;

/// The first line in which the outputs of the stock run and another differ, as text for people.
/// Addresses are left out of it: they are different in every run.
pub(crate) fn difference(stock: &Run, other: &Run, name_of_other: &str) -> Option<String> {
    let (stock, other) = (stock.output.as_ref()?, other.output.as_ref()?);
    let width = "stock:".len().max(name_of_other.len() + 1);
    for (name, left, right) in
        [("stdout", &stock.stdout, &other.stdout), ("stderr", &stock.stderr, &other.stderr)]
    {
        if let Some((number, left, right)) = first_difference(&read(left), &read(right)) {
            return Some(format!(
                "the stock and the {name_of_other} run print different things, first in line \
                 {number} of {name}:\n  {:width$}  {}\n  {:width$}  {}",
                "stock:",
                shown(&left),
                format!("{name_of_other}:"),
                shown(&right),
            ));
        }
    }
    None
}

/// The last lines of what a run printed.
pub(crate) fn tail(run: &Run) -> String {
    let mut text = String::new();
    let Some(output) = &run.output else {
        return text;
    };
    for (name, file) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let content = last_part(file);
        let lines: Vec<&str> = content.lines().collect();
        let skipped = lines.len().saturating_sub(TAIL);
        if lines.is_empty() {
            continue;
        }
        let _ = writeln!(text, "  its {name}:");
        if skipped > 0 {
            let _ = writeln!(text, "  | ({skipped} lines before)");
        }
        for line in &lines[skipped..] {
            let _ = writeln!(text, "  | {}", shown(line));
        }
    }
    text
}

/// What is compared of an output, and looked at for its last lines: programs may print without end.
const COMPARED: u64 = 16 << 20;
const LAST_PART: u64 = 64 << 10;

fn read(file: &Path) -> String {
    read_from(file, 0, COMPARED).unwrap_or_default()
}

fn last_part(file: &Path) -> String {
    let length = std::fs::metadata(file).map_or(0, |about| about.len());
    read_from(file, length.saturating_sub(LAST_PART), LAST_PART).unwrap_or_default()
}

fn read_from(file: &Path, start: u64, most: u64) -> std::io::Result<String> {
    let mut file = std::fs::File::open(file)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line of a program as it may be shown on a terminal: without control characters, and cut.
fn shown(line: &str) -> String {
    const LONGEST: usize = 200;
    let cut: String = line.chars().take(LONGEST).collect();
    let mut text = printable(&cut).into_owned();
    if line.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}

fn first_difference(stock: &str, interposed: &str) -> Option<(usize, String, String)> {
    const NO_LINE: &str = "(no line)";
    let (mut left, mut right) = (stock.lines(), interposed.lines());
    for number in 1.. {
        let pair = (left.next(), right.next());
        if pair == (None, None) {
            break;
        }
        if pair.0.map(without_addresses) != pair.1.map(without_addresses) {
            let text = |line: Option<&str>| line.unwrap_or(NO_LINE).to_owned();
            return Some((number, text(pair.0), text(pair.1)));
        }
    }
    None
}

/// The line with each hexadecimal number of seven or more digits taken out.
fn without_addresses(line: &str) -> String {
    const DIGITS: usize = 7;
    let mut parts = line.split("0x");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|character: char| !character.is_ascii_hexdigit()).unwrap_or(part.len());
        text.push_str("0x");
        text.push_str(if end >= DIGITS { &part[end..] } else { part });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::execute::{Ending, Output};
    use proptest::prelude::*;

    fn run(directory: &Path, name: &str, stdout: &str, stderr: &str) -> Run {
        let output = Output {
            stdout: directory.join(format!("{name}.out")),
            stderr: directory.join(format!("{name}.err")),
        };
        std::fs::write(&output.stdout, stdout).unwrap();
        std::fs::write(&output.stderr, stderr).unwrap();
        Run { ending: Ending::Exited(0), output: Some(output) }
    }

    #[test]
    fn addresses_are_no_difference_but_flags_are() {
        let compare = |left: &str, right: &str| first_difference(left, right);
        assert_eq!(compare("p = 0x7f12345678, ok\n", "p = 0x7fabcdef0000, ok\n"), None);
        assert_eq!(
            compare("a\nflags 0x0\n", "a\nflags 0x80\n"),
            Some((2, "flags 0x0".to_owned(), "flags 0x80".to_owned()))
        );
        assert_eq!(compare("a\n", "a\nb\n"), Some((2, "(no line)".to_owned(), "b".to_owned())));
    }

    #[test]
    fn stderr_is_compared_too() {
        let dir = tempfile::tempdir().unwrap();
        let stock = run(dir.path(), "a", "same", "x");
        let text = difference(&stock, &run(dir.path(), "b", "same", "y"), "patched").unwrap();
        assert!(text.ends_with("line 1 of stderr:\n  stock:    x\n  patched:  y"), "{text}");
        assert_eq!(difference(&stock, &run(dir.path(), "c", "same", "x"), "patched"), None);
    }

    #[test]
    fn the_tail_is_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let lines: Vec<String> = (1..=12).map(|number| format!("line {number}")).collect();
        let text = tail(&run(dir.path(), "a", &lines.join("\n"), ""));
        assert!(text.contains("(2 lines before)") && text.contains("| line 12"), "{text}");
        assert!(!text.contains("| line 2\n") && !text.contains("stderr"), "{text}");
    }

    proptest! {
        #[test]
        fn a_text_does_not_differ_from_itself(text in "\\PC{0,40}(0x[0-9a-f]{0,12}\n?é?){0,4}") {
            prop_assert_eq!(first_difference(&text, &text), None);
        }
    }
}
