//! Whether there is anything to decide in this process. Settled at the first call of a hook:
//! until then the library has done nothing but read its environment.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use policy::Level;

use crate::{cancel, config, fork, gpus, log, report, torch};

const UNSETTLED: u8 = 0;
const FORWARD_ONLY: u8 = 1;
const ACTIVE: u8 = 2;

static MODE: AtomicU8 = AtomicU8::new(UNSETTLED);
static SETTLE: Once = Once::new();
static OBSERVED: AtomicBool = AtomicBool::new(false);

/// Whether calls are to be looked at; if not, every one is forwarded. Thread-safe.
#[inline]
pub(crate) fn active() -> bool {
    match MODE.load(Ordering::Acquire) {
        UNSETTLED => first_call(),
        mode => mode == ACTIVE,
    }
}

#[cold]
fn first_call() -> bool {
    cancel::held_off(|| fork::held_off(|| SETTLE.call_once(settle)));
    MODE.load(Ordering::Acquire) == ACTIVE
}

/// Whether somebody reads what is decided: a report is wanted, or a log of every call.
#[inline]
pub(crate) fn observed() -> bool {
    OBSERVED.load(Ordering::Relaxed)
}

fn settle() {
    let config = config::get();
    for complaint in &config.complaints {
        log::complain(complaint);
    }
    if let Some(settings) = &config.log {
        log::start(settings);
    }
    if let Some(settings) = torch::noted() {
        tracing::info!("for PyTorch: {settings}");
    }
    let mode = if config.counts() || (config.level != Level::Off && gpus::any_rdna12()) {
        // A panic in here would be a bug; it must not reach the program's standard error.
        std::panic::set_hook(Box::new(|panic| tracing::error!("internal error: {panic}")));
        announce(config.level);
        OBSERVED
            .store(report::wanted() || tracing::enabled!(tracing::Level::DEBUG), Ordering::Relaxed);
        ACTIVE
    } else {
        tracing::debug!("level {}: every call is forwarded", config.level.name());
        FORWARD_ONLY
    };
    MODE.store(mode, Ordering::Release);
}

fn announce(level: Level) {
    for gpu in gpus::all() {
        if let Some(target) = gpus::target(gpu)
            && target.is_rdna12()
            && level != Level::Off
        {
            tracing::info!(
                "{target} (KFD node {}): memory that nobody asked to be coherent is made non-coherent, level {}",
                gpu.node,
                level.name()
            );
        }
    }
}
