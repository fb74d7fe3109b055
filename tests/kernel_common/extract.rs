//! Parts of a kernel source file, as they stand there: functions, constants, single lines.

use std::fs;
use std::path::Path;

/// The text of a file.
pub fn read(tree: &Path, file: &str) -> String {
    let bytes = fs::read(tree.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The definition of a function, which kernel style begins in the first column and ends with a
/// brace there. `None` where the file has none of that name.
pub fn function(text: &str, name: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let call = format!("{name}(");
    let first = lines.iter().enumerate().position(|(index, line)| {
        let begins = line.starts_with(|c: char| c.is_ascii_alphabetic());
        let named = line.starts_with(&call) || line.contains(&format!(" {call}"));
        let ends = |line: &&str| line.ends_with(';') || **line == *"{";
        let body = lines[index..].iter().find(|line| ends(line));
        begins && named && body.is_some_and(|line| *line == "{")
    })?;
    let last = first + lines[first..].iter().position(|line| *line == "}").expect("an end");
    // The type may stand on the line above.
    let first = first - usize::from(lines[first].starts_with(&call));
    Some(lines[first..=last].join("\n") + "\n")
}

/// All `#define`s of names that begin so, with the lines that continue them.
pub fn defines(text: &str, prefixes: &[&str]) -> String {
    let mut found = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let name = line.strip_prefix("#define").map(str::trim_start).unwrap_or_default();
        if !prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let mut line = line;
        found += line;
        found.push('\n');
        while line.ends_with('\\') {
            line = lines.next().expect("a continued line");
            found += line;
            found.push('\n');
        }
    }
    assert!(!found.is_empty(), "no #define of {prefixes:?}");
    found
}

/// Values of an enumeration as `#define`s.
pub fn enumerators(text: &str, names: &[&str]) -> String {
    let value = |name: &&str| {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
        let value = line.and_then(|line| line.split('=').nth(1)).expect("a value");
        format!("#define {name} {}\n", value.trim().trim_end_matches(','))
    };
    names.iter().map(value).collect()
}

/// The lines that have this text.
pub fn lines_with<'a>(text: &'a str, part: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.contains(part)).collect()
}
