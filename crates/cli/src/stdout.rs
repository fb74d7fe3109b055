//! Writing results to stdout.

use std::io::{ErrorKind, Write};

use anyhow::{Context, Result};

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
