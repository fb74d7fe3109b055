//! Standing between a shell and a program: what is sent to this process goes on to the program,
//! and this process stops, goes on and ends as the program does. The program stays in this
//! process's group and session, so a terminal's signals reach it by themselves.
//!
//! Numbers of signals are used, not `nix::sys::signal::Signal`, which has no real-time ones: a
//! program that ends by one would end in an error here.

use std::ffi::{c_int, c_void};
use std::io::{Error, ErrorKind, Result};
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// The program, for the handler; 0 if there is none.
static CHILD: AtomicI32 = AtomicI32::new(0);

/// The signal of a terminal, or of whoever wants an end, that came last; 0 if none did.
static ENDING: AtomicI32 = AtomicI32::new(0);

/// The signal that is to end this process, if one came while a program ran.
pub(crate) fn ending() -> Option<c_int> {
    Some(ENDING.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
}

/// What this process itself causes, or cannot catch.
const OWN: [c_int; 10] = [
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGCHLD,
    libc::SIGPIPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
];

/// What a terminal's driver sends to the whole foreground group.
const FROM_TERMINAL: [c_int; 7] = [
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGWINCH,
    libc::SIGHUP,
];

/// Runs a command to its end.
///
/// # Errors
/// A program that does not start, which is the inner result; a system call that fails.
pub(crate) fn run(command: &mut Command) -> Result<Result<ExitStatus>> {
    // What comes before the child is known waits until it is.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let inherited = catch_all();
    let restore = move || inherited.iter().for_each(|(signal, action)| _ = set(*signal, action));
    let restore_here = restore.clone();
    // SAFETY: sigaction and pthread_sigmask are async-signal-safe, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            restore();
            Ok(before.thread_set_mask()?)
        });
    }
    // SIGKILL cannot be passed on otherwise.
    end_with_parent(command, Signal::SIGKILL);
    let child = command.spawn();
    if let Ok(child) = &child {
        CHILD.store(number(child), Ordering::Relaxed);
    }
    before.thread_set_mask()?;
    let status = match child {
        Ok(mut child) => Ok(wait(&mut child)?),
        Err(error) => Err(error),
    };
    // There is nobody left to pass anything on to.
    restore_here();
    Ok(status)
}

/// Has a program end by a signal when this process, or the thread that starts it, ends.
pub(crate) fn end_with_parent(command: &mut Command, signal: Signal) {
    // SAFETY: prctl is async-signal-safe, and takes numbers here.
    unsafe { command.pre_exec(move || Ok(set_pdeathsig(signal)?)) };
}

/// Ends this process by the signal that ended the program: a shell tells Ctrl-C from an exit code.
/// Returns where a signal does not end it.
pub(crate) fn end_by(signal: c_int) {
    // The core file, if one is wanted, is the program's.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    set(signal, &action(libc::SIG_DFL));
    raise(signal);
}

/// The dispositions that were inherited, for the program to start with.
fn catch_all() -> Vec<(c_int, libc::sigaction)> {
    let mut pass_on = action(pass_on as *const () as libc::sighandler_t);
    pass_on.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    let caught = (1..=libc::SIGRTMAX()).filter(|signal| !OWN.contains(signal));
    // Where it is ignored, nobody is told how the program ended.
    let all =
        caught.map(|signal| (signal, pass_on)).chain([(libc::SIGCHLD, action(libc::SIG_DFL))]);
    // The C library keeps two real-time signals for itself.
    all.filter_map(|(signal, action)| Some((signal, set(signal, &action)?))).collect()
}

/// What catches a signal, with nothing else blocked meanwhile.
fn action(disposition: libc::sighandler_t) -> libc::sigaction {
    // SAFETY: zeros are a valid sigaction: no flags, no signal in the mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = disposition;
    action
}

/// Sets what a signal does and gives what it did; `None` where that cannot be set.
fn set(signal: c_int, action: &libc::sigaction) -> Option<libc::sigaction> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: valid places, and dispositions that are inherited ones, SIG_DFL, or a handler that
    // is async-signal-safe.
    unsafe {
        (libc::sigaction(signal, action, before.as_mut_ptr()) == 0).then(|| before.assume_init())
    }
}

fn raise(signal: c_int) {
    // SAFETY: takes a number.
    unsafe { libc::raise(signal) };
}

fn number(child: &Child) -> c_int {
    i32::try_from(child.id()).unwrap_or(0)
}

/// Async-signal-safe: an atomic and system calls.
extern "C" fn pass_on(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    if matches!(signal, libc::SIGINT | libc::SIGQUIT | libc::SIGTERM | libc::SIGHUP) {
        ENDING.store(signal, Ordering::Relaxed);
    }
    let child = CHILD.load(Ordering::Relaxed);
    if child == 0 {
        return;
    }
    // SAFETY: the kernel gives a valid siginfo_t; its pid and value are there for the codes that
    // are asked for first. The child is not waited for yet, so its number is nobody else's.
    unsafe {
        let errno = *libc::__errno_location();
        let info = &*info;
        let sent = matches!(info.si_code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL);
        // What the program sends to its group it has, and what it sends to its parent is not for it.
        let back = sent && (info.si_pid() == child || info.si_pid() == libc::getpid());
        let there = info.si_code == libc::SI_KERNEL && reached(child, signal);
        if !back && !there {
            if info.si_code == libc::SI_QUEUE {
                libc::sigqueue(child, signal, info.si_value());
            } else {
                libc::kill(child, signal);
            }
        }
        *libc::__errno_location() = errno;
    }
}

/// Whether a signal of the kernel was sent to the program, too.
fn reached(child: c_int, signal: c_int) -> bool {
    // SAFETY: async-signal-safe, and they take numbers.
    let (together, leads) =
        unsafe { (libc::getpgid(child) == libc::getpgrp(), libc::getsid(0) == libc::getpid()) };
    // Of a session whose terminal is gone the leader alone is told.
    together && FROM_TERMINAL.contains(&signal) && !(signal == libc::SIGHUP && leads)
}

fn wait(child: &mut Child) -> Result<ExitStatus> {
    let id = number(child);
    loop {
        // Looked at and left there: its number may be another process's after that.
        match change(id, libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT)? {
            Some((libc::CLD_STOPPED, _)) => {
                if let Some((_, signal)) = change(id, libc::WSTOPPED | libc::WNOHANG)? {
                    stop_by(signal);
                }
            }
            Some(_) => {
                CHILD.store(0, Ordering::Relaxed);
                return child.wait();
            }
            None => {}
        }
    }
}

/// How a child changed, and by what; `None` where it did not.
fn change(child: c_int, flags: c_int) -> Result<Option<(c_int, c_int)>> {
    // SAFETY: zeros are a valid siginfo_t, which waitid fills in; its pid and status are there
    // for a child.
    unsafe {
        let mut info: libc::siginfo_t = MaybeUninit::zeroed().assume_init();
        let id = libc::id_t::try_from(child).unwrap_or(0);
        if libc::waitid(libc::P_PID, id, &raw mut info, flags) != 0 {
            let error = Error::last_os_error();
            return if error.kind() == ErrorKind::Interrupted { Ok(None) } else { Err(error) };
        }
        Ok((info.si_pid() != 0).then(|| (info.si_code, info.si_status())))
    }
}

/// Stops as the program has stopped, for the shell to see. What continues this process is passed
/// on by its handler.
fn stop_by(signal: c_int) {
    // Who stops and continues the program itself, as cpulimit does, leaves this process alone.
    // Only a shell has to be told, and it has a terminal.
    if signal == libc::SIGSTOP && std::fs::File::open("/dev/tty").is_err() {
        return;
    }
    let caught = set(signal, &action(libc::SIG_DFL));
    raise(signal);
    if let Some(caught) = caught {
        set(signal, &caught);
    }
}
