//! The one simulated machine of this process: settings, tree, log and locked state.
//!
//! Made when the first simulated path or descriptor is used, so that programs which never
//! look at a GPU pay nothing. A forked child keeps the settings and starts with empty state,
//! as a process that has not opened /dev/kfd.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};

use kfd_abi::log::Event;

use crate::config::Config;
use crate::log::Log;
use crate::state::State;
use crate::{sys, tree, unmapped};

/// The simulated machine.
#[derive(Debug)]
pub(crate) struct Sim {
    pub(crate) config: Config,
    /// Directory of the tree, without a trailing slash.
    pub(crate) root: String,
    pub(crate) log: Option<Log>,
    state: Mutex<State>,
    /// Something that WAIT_EVENTS may wait for has happened.
    pub(crate) changed: Condvar,
}

static SIM: OnceLock<Sim> = OnceLock::new();

/// The process that made the machine, or the forked child that took it over.
static PROCESS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// Set while this thread makes the machine: its own file accesses are not simulated.
    static STARTING: Cell<bool> = const { Cell::new(false) };
    /// The state lock, held over a fork by the thread that forks. ManuallyDrop: a destructor
    /// would make the thread-local register one, and a lock is not to be released by it.
    static HELD: Cell<Option<ManuallyDrop<MutexGuard<'static, State>>>> = const { Cell::new(None) };
}

/// The machine, made now if need be; `None` for the thread that is making it.
pub(crate) fn get() -> Option<&'static Sim> {
    if STARTING.get() {
        return None;
    }
    Some(SIM.get_or_init(|| {
        STARTING.set(true);
        let errno = sys::errno();
        let sim = start().unwrap_or_else(|message| sys::fatal(&message));
        sys::set_errno(errno);
        STARTING.set(false);
        sim
    }))
}

/// Whether this is the process that the tables in memory belong to: not so in a vfork child.
pub(crate) fn is_own_process() -> bool {
    PROCESS.load(Ordering::Relaxed) == sys::pid()
}

/// The machine, if it has been made.
pub(crate) fn made() -> Option<&'static Sim> {
    SIM.get()
}

/// Number of GPUs, if the machine has been made.
pub(crate) fn gpus_if_ready() -> Option<usize> {
    Some(SIM.get()?.config.boards.len())
}

fn start() -> Result<Sim, String> {
    let config = Config::read(|name| std::env::var_os(name))?;
    // SAFETY: plain integers.
    let (cpus, pages) =
        unsafe { (libc::sysconf(libc::_SC_NPROCESSORS_ONLN), libc::sysconf(libc::_SC_PHYS_PAGES)) };
    let memory = config.host_memory.unwrap_or(pages.max(1) as u64 * 4096);
    let root = tree::create(&config, cpus.max(1) as usize, memory)?;
    let root = String::from_utf8(root.as_os_str().as_bytes().to_vec())
        .map_err(|_| "TMPDIR must be UTF-8".to_owned())?;
    let log = config.log.as_deref().map(Log::open).transpose()?;
    // SAFETY: the handlers only use the lock and thread-locals of this module.
    unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(in_child)) };
    PROCESS.store(sys::pid(), Ordering::Relaxed);
    let state = Mutex::new(State::new(&config));
    Ok(Sim { config, root, log, state, changed: Condvar::new() })
}

/// A machine of its own with the default settings, without files or log.
#[cfg(test)]
pub(crate) fn for_tests() -> &'static Sim {
    let config = Config::read(|_| None).expect("the defaults are valid");
    let state = Mutex::new(State::new(&config));
    let root = String::new();
    Box::leak(Box::new(Sim { config, root, log: None, state, changed: Condvar::new() }))
}

impl Sim {
    /// Locks the state.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|_| broken())
    }

    /// Waits for `changed`.
    pub(crate) fn wait<'a>(
        &self,
        guard: MutexGuard<'a, State>,
        timeout: Option<std::time::Duration>,
    ) -> MutexGuard<'a, State> {
        match timeout {
            None => self.changed.wait(guard).unwrap_or_else(|_| broken()),
            Some(timeout) => {
                self.changed.wait_timeout(guard, timeout).unwrap_or_else(|_| broken()).0
            }
        }
    }

    /// Writes a remark of the simulator's own.
    pub(crate) fn note(&self, text: impl Into<String>) {
        if let Some(log) = &self.log {
            log.write(Event::Note { text: text.into() });
        }
    }
}

/// A panic left the state half changed; its message is on stderr already.
fn broken() -> ! {
    std::process::abort()
}

extern "C" fn before_fork() {
    if let Some(sim) = SIM.get() {
        HELD.set(Some(ManuallyDrop::new(sim.lock())));
    }
}

extern "C" fn after_fork() {
    drop(HELD.take().map(ManuallyDrop::into_inner));
}

extern "C" fn in_child() {
    if let (Some(sim), Some(guard)) = (SIM.get(), HELD.take()) {
        let mut guard = ManuallyDrop::into_inner(guard);
        let errno = sys::errno();
        // The queue thread and the mapping of GPU memory are not here, and the memory itself
        // is the parent's.
        guard.abandon();
        PROCESS.store(sys::pid(), Ordering::Relaxed);
        unmapped::watch(None);
        *guard = State::new(&sim.config);
        if let Some(log) = &sim.log {
            log.restart();
        }
        sys::set_errno(errno);
    }
}
