//! Messages on stderr. Where nobody can read them, the program still runs and ends as it would:
//! `eprintln!` would panic.

use std::io::Write;

use crate::stdout::printable;

/// Says a line, or several. What the file refuses is lost.
pub(crate) fn say(text: &str) {
    let _ = std::io::stderr().write_all(format!("rdnafix: {}\n", printable(text)).as_bytes());
}
