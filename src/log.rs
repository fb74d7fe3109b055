//! Logging: a tracing subscriber that writes each event as one line with one write(2).
//!
//! tracing-subscriber is not used here: its formatter keeps a thread-local buffer with a
//! destructor, and nothing in a preloaded library may run when a thread ends. No descriptor is
//! kept either: a program that closes all of them would have ours next in a file of its own.

use std::fmt::Write as _;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::cancel;
use crate::config::Log;

/// Starts logging as `log` says; a file that cannot be opened is reported on standard error.
pub(crate) fn start(log: &'static Log) {
    if let Some(path) = &log.file
        && let Err(error) = open(path)
    {
        complain(&format!("RDNAFIX_LOG: cannot open {}: {error}; not logging", path.display()));
        return;
    }
    // An error means that a subscriber is there already, which is the one set here.
    let _ = tracing::subscriber::set_global_default(Lines { log });
}

fn open(path: &PathBuf) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().append(true).create(true).open(path)
}

/// Device and inode of standard error at the start; 0 if it was closed.
static STDERR: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// Looks which file standard error is; called by the constructor.
pub(crate) fn note_stderr() {
    if let Some(identity) = identity(libc::STDERR_FILENO) {
        for (cell, number) in STDERR.iter().zip(identity) {
            cell.store(number, Ordering::Relaxed);
        }
    }
}

/// Whether descriptor 2 still is what it was: another file is the program's own.
fn stderr_is_ours() -> bool {
    let noted = [&STDERR[0], &STDERR[1]].map(|cell| cell.load(Ordering::Relaxed));
    identity(libc::STDERR_FILENO) == Some(noted)
}

fn identity(fd: RawFd) -> Option<[u64; 2]> {
    let mut about = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: a valid place for the result, which is filled in on success.
    let about = unsafe {
        if libc::fstat(fd, about.as_mut_ptr()) != 0 {
            return None;
        }
        about.assume_init()
    };
    Some([about.st_dev, about.st_ino])
}

/// Says something on standard error that the user has to know although nobody asked for a log.
pub(crate) fn complain(text: &str) {
    if stderr_is_ours() {
        write_line(libc::STDERR_FILENO, format!("rdnafix: {text}\n").as_bytes());
    }
}

/// One write(2): lines of several processes do not mix. What the file refuses is lost.
fn write_line(fd: RawFd, line: &[u8]) {
    // SAFETY: the pointer and length are those of a slice.
    unsafe { libc::write(fd, line.as_ptr().cast(), line.len()) };
}

struct Lines {
    log: &'static Log,
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.log.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.log.level)
    }

    fn event(&self, event: &Event<'_>) {
        let level = event.metadata().level().as_str();
        let mut line = Line(format!("rdnafix[{}] {level:5} ", std::process::id()));
        event.record(&mut line);
        line.0.push('\n');
        cancel::held_off(|| match &self.log.file {
            Some(path) => {
                if let Ok(file) = open(path) {
                    write_line(file.as_raw_fd(), line.0.as_bytes());
                }
            }
            None if stderr_is_ours() => write_line(libc::STDERR_FILENO, line.0.as_bytes()),
            None => {}
        });
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
