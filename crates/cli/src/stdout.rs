//! Writing results to stdout, and texts of others so that a terminal only shows them.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal, Write};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

/// Whether this stream is a terminal on which a line can be written again: one that TERM does not
/// say to be without such things.
pub(crate) fn moves(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether to use colour on this stream: on such a terminal, unless `NO_COLOR` is set.
pub(crate) fn colour(stream: &impl IsTerminal) -> bool {
    moves(stream) && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes to stdout; a reader that has gone away, as head(1) does, is no error.
///
/// # Errors
/// Any other failure to write, such as a full disk.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        _ => Ok(()),
    }
}

/// Writes a document of `--json`, for people to read, too.
///
/// # Errors
/// As [`print()`]; what cannot be JSON.
pub(crate) fn print_json(document: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(document)?;
    // serde_json leaves DEL and what follows it as they are: they are in strings only.
    let mut safe = String::with_capacity(text.len() + 1);
    for letter in text.chars() {
        if letter != '\n' && acts(letter) {
            let _ = write!(safe, "\\u{:04x}", u32::from(letter));
        } else {
            safe.push(letter);
        }
    }
    safe.push('\n');
    print(&safe)
}

/// A text of a file or a program as a terminal may get it: what would act on the terminal, or
/// turn the order of letters round, is replaced. Lines and tabs stay.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let bad = |letter: char| acts(letter) && letter != '\n' && letter != '\t';
    if text.contains(bad) { Cow::Owned(text.replace(bad, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// The same for what must stay on one line.
pub(crate) fn printable_line(text: &str) -> Cow<'_, str> {
    if text.contains(acts) {
        Cow::Owned(text.replace(acts, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A document of a file: what is [`printable_line`] of all its texts and names.
pub(crate) fn printable_json(document: Value) -> Value {
    match document {
        Value::String(text) => Value::String(printable_line(&text).into_owned()),
        Value::Array(values) => values.into_iter().map(printable_json).collect(),
        Value::Object(parts) => parts
            .into_iter()
            .map(|(name, value)| (printable_line(&name).into_owned(), printable_json(value)))
            .collect(),
        other => other,
    }
}

/// Control characters, and those of Unicode that set the direction (UAX 9).
fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_replaced_and_the_rest_stays() {
        let bad = "a\u{1b}[31mb\u{9b}2Jc\u{7}\r\u{7f}\u{202e}";
        assert_eq!(printable(bad), "a\u{fffd}[31mb\u{fffd}2Jc\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(printable("é 日本\tx\n"), "é 日本\tx\n");
        assert_eq!(printable_line("x\ty\n"), "x\u{fffd}y\u{fffd}");
        let document = serde_json::json!({"a\u{1b}": ["b\u{7}", {"c": "d\n"}, 1]});
        let clean = serde_json::json!({"a\u{fffd}": ["b\u{fffd}", {"c": "d\u{fffd}"}, 1]});
        assert_eq!(printable_json(document), clean);
    }
}
