//! A forked child starts over: GPU memory and counts of the parent are not its own,
//! and a lock may have been held by a thread that does not exist in it.
//!
//! Locks of this library are left behind. Those of the loader cannot be, so a fork waits while
//! another thread is in the loader, or settles the mode, on behalf of this library.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use crate::{cancel, remember, report, vram};

/// Threads that a fork has to wait for.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// Threads that fork, for which others wait outside.
static FORKING: AtomicUsize = AtomicUsize::new(0);
static REGISTERED: AtomicU8 = AtomicU8::new(NOT_YET);
const NOT_YET: u8 = 0;
const BEING_DONE: u8 = 1;
const DONE: u8 = 2;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// The process that the library was loaded into.
static FIRST: AtomicU32 = AtomicU32::new(0);

/// Notes which process this is; called by the constructor.
pub(crate) fn note_process() {
    FIRST.store(std::process::id(), Ordering::Relaxed);
}

/// Whether this is that process and not a forked child of it.
pub(crate) fn is_first_process() -> bool {
    FIRST.load(Ordering::Relaxed) == std::process::id()
}

/// Runs `work`, during which no other thread forks.
pub(crate) fn held_off<R>(work: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - 1);
            if DEPTH.get() == 0 {
                INSIDE.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
    if DEPTH.get() == 0 {
        watch();
        enter();
    }
    DEPTH.set(DEPTH.get() + 1);
    let _leave = Leave;
    work()
}

/// Counts this thread as inside, at a moment when no thread forks.
fn enter() {
    const TRIES: u32 = 3;
    for _ in 0..TRIES {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        if FORKING.load(Ordering::SeqCst) == 0 {
            return;
        }
        INSIDE.fetch_sub(1, Ordering::SeqCst);
        wait_while(|| FORKING.load(Ordering::SeqCst) != 0);
    }
    INSIDE.fetch_add(1, Ordering::SeqCst);
}

/// Waits, but not for ever: a constructor that forks holds the loader's lock, for which the
/// other thread may itself be waiting.
fn wait_while(condition: impl Fn() -> bool) {
    const TURNS: u32 = 2000;
    cancel::held_off(|| {
        for _ in 0..TURNS {
            if !condition() {
                return;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    });
}

/// Registers the handlers, once.
fn watch() {
    match REGISTERED.compare_exchange(NOT_YET, BEING_DONE, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => {
            // SAFETY: plain functions of this library, which is never unmapped (linked with
            // -z nodelete); they use atomics only.
            let status = unsafe {
                libc::pthread_atfork(Some(in_parent_before), Some(in_parent_after), Some(in_child))
            };
            REGISTERED.store(DONE, Ordering::SeqCst);
            if status != 0 {
                tracing::warn!("pthread_atfork failed; a forked child keeps its parent's state");
            }
        }
        Err(BEING_DONE) => wait_while(|| REGISTERED.load(Ordering::SeqCst) == BEING_DONE),
        Err(_) => {}
    }
}

extern "C" fn in_parent_before() {
    FORKING.fetch_add(1, Ordering::SeqCst);
    if DEPTH.get() == 0 {
        wait_while(|| INSIDE.load(Ordering::SeqCst) != 0);
    }
}

extern "C" fn in_parent_after() {
    FORKING.fetch_sub(1, Ordering::SeqCst);
}

extern "C" fn in_child() {
    FORKING.store(0, Ordering::SeqCst);
    INSIDE.store(usize::from(DEPTH.get() != 0), Ordering::SeqCst);
    remember::CHOSEN.forget_all();
    remember::PINNED.forget_all();
    vram::forget_all();
    report::forget_counts();
}
