//! Signals that would end the command wait while files of a tree are replaced: in between, the
//! tree is neither as released nor patched.

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// They wait as long as this lives. For the calling thread, which is the only one.
pub(crate) struct Held(SigSet);

impl Held {
    /// From now on.
    ///
    /// # Errors
    /// Of sigprocmask, which there are none of.
    pub(crate) fn new() -> Result<Self> {
        let ending: SigSet =
            [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
        ending.thread_swap_mask(SigmaskHow::SIG_BLOCK).map(Self).context("cannot hold signals")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A signal that came meanwhile ends the command here.
        let _ = self.0.thread_set_mask();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_wait_and_the_mask_is_as_before_afterwards() {
        let blocked = || SigSet::thread_get_mask().unwrap().contains(Signal::SIGTERM);
        assert!(!blocked());
        let held = Held::new().unwrap();
        assert!(blocked());
        drop(held);
        assert!(!blocked());
    }
}
