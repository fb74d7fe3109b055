//! Writes the log: one JSON line per event, one write(2) per line.
//!
//! The file is opened for appending, so that the processes of a run can share it. Never
//! called with the state locked by a path that could wait for the file.

use std::ffi::{CString, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use kfd_abi::log::{Event, Record};

use crate::sys;

/// An open log.
#[derive(Debug)]
pub(crate) struct Log {
    fd: c_int,
    /// The file that `fd` was opened on: a program that closes all descriptors may have put
    /// another one there.
    file: Option<(u64, u64)>,
    seq: AtomicU64,
}

impl Log {
    /// Opens the file.
    ///
    /// # Errors
    /// What to tell the user.
    pub(crate) fn open(path: &Path) -> Result<Log, String> {
        let error = |why: &str| format!("KFDSIM_LOG={}: cannot open: {why}", path.display());
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| error("NUL in it"))?;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
        let fd = sys::open(&name, flags, 0o644)
            .map_err(|errno| error(&std::io::Error::from_raw_os_error(errno.0).to_string()))?;
        let fd = sys::move_high(fd);
        Ok(Log { fd, file: sys::identity(fd), seq: AtomicU64::new(0) })
    }

    /// Writes one line. A full disk is no reason to disturb the program.
    pub(crate) fn write(&self, event: Event) {
        let record = Record {
            seq: self.seq.fetch_add(1, Ordering::Relaxed),
            pid: sys::pid(),
            tid: sys::tid(),
            ns: sys::clock(libc::CLOCK_MONOTONIC),
            event,
        };
        if sys::identity(self.fd) != self.file {
            return;
        }
        if let Ok(mut line) = serde_json::to_vec(&record) {
            line.push(b'\n');
            let _ = sys::write(self.fd, &line);
        }
    }

    /// Starts counting again, in a forked child.
    pub(crate) fn restart(&self) {
        self.seq.store(0, Ordering::Relaxed);
    }
}
