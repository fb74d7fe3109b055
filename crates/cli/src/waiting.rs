//! What is being waited for, as a line on a terminal from the second second on. Says nothing
//! elsewhere: a pipe gets results only.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use nix::sys::signal::{SigSet, SigmaskHow};

use crate::stdout::moves;

/// Short work would only flicker.
const SILENT: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(200);

/// The line is there until this is dropped; its thread has ended then, too.
pub(crate) struct Waiting(Option<(Sender<()>, JoinHandle<()>)>);

/// Says on a terminal what is waited for.
pub(crate) fn waiting(what: impl Into<String>) -> Waiting {
    if !moves(&std::io::stderr()) {
        return Waiting(None);
    }
    let (ended, end) = mpsc::channel();
    let (what, begun) = (what.into(), Instant::now());
    // Signals are for the thread that waits for a program: `signals` holds them back there until
    // the program is known.
    let Ok(mask) = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK) else {
        return Waiting(None);
    };
    let thread = std::thread::Builder::new().spawn(move || {
        let over = |time| end.recv_timeout(time) != Err(RecvTimeoutError::Timeout);
        if over(SILENT) {
            return;
        }
        let bar = ProgressBar::new_spinner().with_message(what).with_elapsed(begun.elapsed());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
            bar.set_style(style);
        }
        while !over(TICK) {
            bar.tick();
        }
        bar.finish_and_clear();
    });
    // It was the mask a moment ago, so it can be set.
    let _ = mask.thread_set_mask();
    // Without a thread there is no line.
    Waiting(thread.ok().map(|thread| (ended, thread)))
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((ended, thread)) = self.0.take() {
            drop(ended);
            // It writes to a terminal only, and what it panics of is said there.
            let _ = thread.join();
        }
    }
}
