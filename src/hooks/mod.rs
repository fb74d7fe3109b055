//! The handlers: hook -> request -> policy -> real call -> report. They hold no decisions.
//!
//! Every handler is called by its naked export with the caller's return address as an extra
//! last argument. No panic leaves one: a request that cannot be judged is forwarded.

pub(crate) mod device;
pub(crate) mod managed;
pub(crate) mod pinned;
pub(crate) mod pool;
pub(crate) mod svm;
pub(crate) mod vram;

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use policy::{Action, Caller, Decision, GfxTarget, Reason, Request, decide};

use crate::hip::{self, Hip};
use crate::hook::Hook;
use crate::{caller, config, mode, report};

/// One call that was looked at.
struct Asked {
    hook: Hook,
    gpu: Option<GfxTarget>,
    decision: Decision,
    /// What was asked, as the report shows it.
    detail: u32,
    bytes: usize,
}

/// Whether a request may have to be changed, or somebody wants to know of it. Who asks and for
/// which GPU can only make the answer stricter, and takes time to find out.
#[expect(clippy::inline_always, reason = "little is left of it where the request is known")]
#[inline(always)]
fn of_interest(request: Request) -> bool {
    mode::observed()
        || decide(request, Some(RDNA2), Caller::Program, config::get().level).action.rewrites()
}

/// Asks the policy about a request from `return_address`. `None` if it is of no interest: the
/// call is forwarded as it came, and `gpu` is not asked for.
fn ask(
    hook: Hook,
    request: Request,
    return_address: usize,
    (detail, bytes): (u32, usize),
    gpu: impl FnOnce() -> Option<GfxTarget>,
) -> Option<Asked> {
    if !of_interest(request) {
        return None;
    }
    let judge = || {
        let config = config::get();
        let gpu = gpu();
        let decision = decide(request, gpu, caller::at(return_address), config.level);
        (gpu, decision.unless_below(bytes, config.min_bytes))
    };
    let doubt = Decision { action: Action::Forward, reason: Reason::UnknownGpu };
    let (gpu, decision) = catch_unwind(AssertUnwindSafe(judge)).unwrap_or((None, doubt));
    Some(Asked { hook, gpu, decision, detail, bytes })
}

/// Any RDNA1/2 target: whether a request could be rewritten does not depend on which.
const RDNA2: GfxTarget = GfxTarget { major: 10, minor: 3, stepping: 0 };

impl Asked {
    /// What to do: the decision, unless this is a dry run.
    fn action(&self) -> Action {
        if config::get().dry_run { Action::Forward } else { self.decision.action }
    }

    /// Reports and logs the call, once it has been made.
    fn done(&self, fell_back: bool) {
        let Decision { action, reason } = self.decision;
        report::count(&report::Call {
            hook: self.hook,
            gpu: self.gpu,
            rewritten: action.rewrites(),
            reason,
            detail: self.detail,
            bytes: self.bytes,
            fell_back,
        });
        tracing::debug!(
            "{}: {} bytes, {}: {action}: {}{}",
            self.hook.name(),
            self.bytes,
            report::request_text(self.hook, self.detail),
            reason.text(),
            if fell_back { "; it failed, so the call was made as it came" } else { "" },
        );
    }
}

/// Makes the rewritten call and, if it fails, the original one. Returns the status that the
/// program gets and whether it is that of the original call.
fn attempt<S: PartialEq + Copy>(
    success: S,
    rewritten: impl FnOnce() -> S,
    original: impl FnOnce() -> S,
) -> (S, bool) {
    let status = rewritten();
    if status == success { (status, false) } else { (original(), true) }
}

/// The same for HIP, which keeps the last error of a thread: that of a rewritten call that the
/// program never made is taken back.
fn attempt_hip(
    hip: Option<&Hip>,
    rewritten: impl FnOnce() -> c_int,
    original: impl FnOnce() -> c_int,
) -> (c_int, bool) {
    let pending = hip.is_some_and(Hip::error_pending);
    let (status, fell_back) = attempt(hip::SUCCESS, rewritten, original);
    if fell_back && status == hip::SUCCESS && !pending {
        hip.inspect(|hip| hip.clear_error());
    }
    (status, fell_back)
}
