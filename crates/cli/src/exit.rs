//! Exit codes: those of env(1) and timeout(1) for what the command itself has to say, the
//! program's own otherwise.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::build::Interrupted;
use crate::root::Unavailable;

/// What is needed cannot be had here (`EX_UNAVAILABLE` of sysexits.h).
pub(crate) const UNAVAILABLE: u8 = 69;
/// Something that rdnafix was asked for failed before the program ran.
pub(crate) const OWN_ERROR: u8 = 125;
/// The program is there but does not start.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// There is no such program.
pub(crate) const NOT_FOUND: u8 = 127;
/// The program was ended by `--timeout`.
pub(crate) const TIMED_OUT: u8 = 124;

/// A program that does not start, with the exit code that a shell gives.
#[derive(Debug)]
pub(crate) struct CannotStart {
    pub(crate) program: String,
    pub(crate) why: String,
    pub(crate) code: u8,
}

impl CannotStart {
    /// From what exec or spawn gave.
    pub(crate) fn new(program: &str, error: &std::io::Error) -> Self {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let hint = if missing && program.contains('/') {
            " (the file, or the interpreter that it names)"
        } else if missing {
            "; it is in no directory of PATH"
        } else {
            ""
        };
        Self {
            program: program.to_owned(),
            why: format!("{error}{hint}"),
            code: if missing { NOT_FOUND } else { NOT_EXECUTABLE },
        }
    }
}

impl fmt::Display for CannotStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot start '{}': {}", self.program, self.why)
    }
}

impl std::error::Error for CannotStart {}

/// The exit code for an error of this command.
pub(crate) fn code_of(error: &anyhow::Error) -> u8 {
    if error.is::<Unavailable>() {
        return UNAVAILABLE;
    }
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        return interrupted.code();
    }
    error.downcast_ref::<CannotStart>().map_or(OWN_ERROR, |cannot| cannot.code)
}

/// The exit code that a shell gives for a status.
pub(crate) fn code_of_status(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(OWN_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    #[test]
    fn a_program_that_does_not_start_has_the_code_of_a_shell() {
        let code = |kind: ErrorKind| {
            let cannot = CannotStart::new("prog", &Error::from(kind));
            code_of(&anyhow::Error::from(cannot).context("more words"))
        };
        assert_eq!(code(ErrorKind::NotFound), 127);
        assert_eq!(code(ErrorKind::PermissionDenied), 126);
        assert_eq!(code_of(&anyhow::anyhow!("something else")), 125);
    }

    #[test]
    fn a_signal_counts_from_128() {
        assert_eq!(code_of_status(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(code_of_status(ExitStatus::from_raw(9)), 137);
    }
}
