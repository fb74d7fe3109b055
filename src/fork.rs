//! A forked child starts over: GPU memory, agents and counts of the parent are not its own,
//! and a lock may have been held by a thread that does not exist in it.

use crate::{hsa, remember, report};

/// Registers the child handler; called once, by a process that uses a GPU.
pub(crate) fn watch() {
    // SAFETY: the handler is a plain function of this library, which is never unmapped
    // (linked with -z nodelete); it only stores to atomics.
    if unsafe { libc::pthread_atfork(None, None, Some(in_child)) } != 0 {
        tracing::warn!("pthread_atfork failed; a forked child counts its parent's calls again");
    }
}

extern "C" fn in_child() {
    remember::CHOSEN.forget_all();
    remember::PINNED.forget_all();
    hsa::forget_agents();
    report::forget_counts();
}
