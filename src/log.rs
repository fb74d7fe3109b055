//! Logging: a tracing subscriber that writes each event as one line with one write(2).
//!
//! tracing-subscriber is not used here: its formatter keeps a thread-local buffer with a
//! destructor, and nothing in a preloaded library may run when a thread ends.

use std::fmt::Write as _;
use std::os::fd::{IntoRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::config::Log;

/// Starts logging as `log` says; a file that cannot be opened is reported on standard error.
pub(crate) fn start(log: &Log) {
    let fd = match &log.file {
        None if NO_STDERR.load(Ordering::Relaxed) => return,
        None => libc::STDERR_FILENO,
        Some(path) => match std::fs::OpenOptions::new().append(true).create(true).open(path) {
            Ok(file) => file.into_raw_fd(),
            Err(error) => {
                complain(&format!(
                    "RDNAFIX_LOG: cannot open {}: {error}; not logging",
                    path.display()
                ));
                return;
            }
        },
    };
    // An error means that a subscriber is there already, which is the one set here.
    let _ = tracing::subscriber::set_global_default(Lines { fd, level: log.level });
}

/// Set if descriptor 2 was closed at the start: one that is opened later is the program's file.
static NO_STDERR: AtomicBool = AtomicBool::new(false);

/// Looks whether there is a standard error; called by the constructor.
pub(crate) fn note_stderr() {
    // SAFETY: only asks about a descriptor.
    let closed = unsafe { libc::fcntl(libc::STDERR_FILENO, libc::F_GETFD) } < 0;
    NO_STDERR.store(closed, Ordering::Relaxed);
}

/// Says something on standard error that the user has to know although nobody asked for a log.
pub(crate) fn complain(text: &str) {
    if !NO_STDERR.load(Ordering::Relaxed) {
        write_line(libc::STDERR_FILENO, format!("rdnafix: {text}\n").as_bytes());
    }
}

/// One write(2): lines of several processes do not mix. What the file refuses is lost.
pub(crate) fn write_line(fd: RawFd, line: &[u8]) {
    // SAFETY: the pointer and length are those of a slice.
    unsafe { libc::write(fd, line.as_ptr().cast(), line.len()) };
}

struct Lines {
    fd: RawFd,
    level: LevelFilter,
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!(
            "rdnafix[{}] {:5} ",
            std::process::id(),
            event.metadata().level().as_str()
        ));
        event.record(&mut line);
        line.0.push('\n');
        write_line(self.fd, line.0.as_bytes());
    }

    // Spans are not used.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.0, "{value:?} ")
        } else {
            write!(self.0, "{}={value:?} ", field.name())
        };
    }
}
