//! Finding the real function behind a hook.
//!
//! The order is the loader's own: first what comes after this library in the global scope
//! (RTLD_NEXT), which is also what chains to another interposer; then the scope of the calling
//! object, because RTLD_NEXT finds nothing for a library that came by dlopen(RTLD_LOCAL), as
//! in every Python extension; then the one copy of the ROCm library that is loaded.

use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};

use libloading::os::unix::Library as Handle;

use crate::hook::{Hook, Library};
use crate::objects::{self, Scope};
use crate::{dl, fork, mode};

/// A value for each calling object, found once and kept for ever. Reading takes no lock.
pub(crate) struct PerCaller<T: 'static> {
    newest: AtomicPtr<Node<T>>,
}

struct Node<T> {
    callers: Scope,
    value: T,
    older: *const Node<T>,
}

impl<T> PerCaller<T> {
    pub(crate) const fn new() -> Self {
        Self { newest: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// The value for the object that `caller` lies in; `find` makes it where there is none
    /// yet. Thread-safe; two threads that find at once keep two equal values.
    #[inline]
    pub(crate) fn get(
        &self,
        caller: usize,
        find: impl FnOnce() -> Option<(Scope, T)>,
    ) -> Option<(Scope, &'static T)>
    where
        T: 'static,
    {
        let mut node: *const Node<T> = self.newest.load(Ordering::Acquire);
        let mut for_all = None;
        // SAFETY: nodes are leaked boxes; null ends the list.
        while let Some(current) = unsafe { node.as_ref::<'static>() } {
            if current.callers == Scope::EVERYWHERE {
                for_all = Some((current.callers, &current.value));
            } else if current.callers.contains(caller) {
                // An object that was bound to a library of its own stays so when another copy
                // comes into the global scope.
                return Some((current.callers, &current.value));
            }
            node = current.older;
        }
        if for_all.is_some() {
            return for_all;
        }
        self.add(find())
    }

    #[cold]
    fn add(&self, found: Option<(Scope, T)>) -> Option<(Scope, &'static T)>
    where
        T: 'static,
    {
        let (callers, value) = found?;
        let mut older = self.newest.load(Ordering::Acquire);
        let new = Box::leak(Box::new(Node { callers, value, older }));
        while let Err(newest) =
            self.newest.compare_exchange_weak(older, new, Ordering::AcqRel, Ordering::Acquire)
        {
            older = newest;
            new.older = newest;
        }
        Some((callers, &new.value))
    }

    /// Whether there is no value that is for some callers only.
    fn is_for_all(&self) -> bool {
        let mut all = true;
        self.each(|callers, _| all &= callers == Scope::EVERYWHERE);
        all
    }

    /// Calls `visit` with every value there is and the callers it is for.
    pub(crate) fn each(&self, mut visit: impl FnMut(Scope, &T)) {
        let mut node: *const Node<T> = self.newest.load(Ordering::Acquire);
        // SAFETY: as in `get`.
        while let Some(current) = unsafe { node.as_ref() } {
            visit(current.callers, &current.value);
            node = current.older;
        }
    }
}

/// A function address; never null.
#[derive(Clone, Copy)]
struct Function(*const ());

// SAFETY: an address of code may be called from any thread.
unsafe impl Sync for Function {}

/// Functions that were handed out by dlsym in exchange for a hook, and that it forwards to
/// where the caller says nothing: ctypes calls from libffi.
static HANDED_OUT: [AtomicPtr<()>; Hook::ALL.len()] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; Hook::ALL.len()];

/// Remembers the function that a caller of dlsym would have got. `false` if it is another one
/// than before: there are two copies of the library, and a hook cannot stand for both.
pub(crate) fn remember_real(hook: Hook, real: *const ()) -> bool {
    let cell = &HANDED_OUT[hook as usize];
    let before = cell.compare_exchange(
        std::ptr::null_mut(),
        real.cast_mut(),
        Ordering::AcqRel,
        Ordering::Acquire,
    );
    before.is_ok() || before == Err(real.cast_mut())
}

static REAL: [PerCaller<Function>; Hook::ALL.len()] = [const { PerCaller::new() }; Hook::ALL.len()];

/// The real function of `hook` for a call from `caller`, and the addresses of callers that it
/// is right for. `None` if there is none, which is then reported once per call in the log.
#[inline]
fn real(hook: Hook, caller: usize) -> Option<(Scope, *const ())> {
    let (scope, function) = REAL[hook as usize].get(caller, || find_real(hook, caller))?;
    Some((scope, function.0))
}

#[cold]
fn find_real(hook: Hook, caller: usize) -> Option<(Scope, Function)> {
    let handed_out = || {
        let address = HANDED_OUT[hook as usize].load(Ordering::Acquire).cast_const();
        (!address.is_null()).then_some((objects::containing(caller)?.scope, address))
    };
    let found = find(hook.library(), hook.symbol(), caller, hook.exported()).or_else(handed_out);
    if found.is_none() {
        let library = hook.library().file_prefix();
        tracing::error!("{}: no real function; is {library} loaded?", hook.name());
    }
    found.map(|(scope, address)| (scope, Function(address)))
}

/// Whether a hook forwards to code in these addresses.
pub(crate) fn forwards_to(scope: Scope) -> bool {
    let mut any = false;
    for real in &REAL {
        real.each(|_, function| any |= scope.contains(function.0 as usize));
    }
    any
}

/// Another function of the library that the caller uses, which is not hooked.
pub(crate) fn neighbour(
    library: Library,
    name: &CStr,
    caller: usize,
) -> Option<(Scope, *const ())> {
    find(library, name, caller, std::ptr::null())
}

/// The real function of a hook as `F`, its C type, for a call from `caller`. Where there is
/// nothing to decide in this process, the hook jumps to it from now on.
///
/// # Safety
/// `F` must be the function pointer type of the hooked function.
#[inline]
pub(crate) unsafe fn function<F: Copy>(hook: Hook, caller: usize) -> Option<F> {
    // SAFETY: the caller vouches for the type.
    unsafe { function_if(hook, caller, mode::active) }
}

/// The same for a hook that has something to do only where `needed` says so.
///
/// # Safety
/// As for [`function`].
#[inline]
pub(crate) unsafe fn function_if<F: Copy>(
    hook: Hook,
    caller: usize,
    needed: impl FnOnce() -> bool,
) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*const ()>()) };
    let (scope, address) = real(hook, caller)?;
    if !needed() && scope == Scope::EVERYWHERE && REAL[hook as usize].is_for_all() {
        hook.go_direct(address);
    }
    // SAFETY: F is a function pointer type, of the size of an address, and the caller vouches
    // for its signature.
    Some(unsafe { std::mem::transmute_copy::<*const (), F>(&address) })
}

fn find(
    library: Library,
    name: &CStr,
    caller: usize,
    ours: *const (),
) -> Option<(Scope, *const ())> {
    fork::held_off(|| find_inside(library, name, caller, ours))
}

fn find_inside(
    library: Library,
    name: &CStr,
    caller: usize,
    ours: *const (),
) -> Option<(Scope, *const ())> {
    let usable = |address: *const ()| !address.is_null() && address != ours;
    let next = dl::lookup(libc::RTLD_NEXT, name);
    if usable(next) {
        // A library that came by dlopen(RTLD_GLOBAL) may go again: keep it.
        objects::keep(next as usize);
        return Some((Scope::EVERYWHERE, next));
    }
    let calling = objects::containing(caller)?;
    let in_object = |path: &CStr| {
        let handle = objects::open(path)?.into_raw();
        let address = dl::lookup(handle, name);
        // SAFETY: the handle was just taken out of one that owned it; the object stays loaded,
        // as it was before.
        drop(unsafe { Handle::from_raw(handle) });
        if !usable(address) {
            return None;
        }
        // Not the object that was asked: its unloading is the program's business.
        objects::keep(address as usize);
        Some(address)
    };
    let found = in_object(&calling.path).or_else(|| {
        let copies = objects::named(library.file_prefix());
        match &copies[..] {
            [only] => in_object(&only.path),
            _ => None,
        }
    })?;
    Some((calling.scope, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also run under ThreadSanitizer, by scripts/test.sh.
    #[test]
    fn without_locks_many_threads_find_and_keep_a_value_for_each_caller() {
        static SHARED: PerCaller<usize> = PerCaller::new();
        crate::test_threads::run(8, || {
            for round in 0..500 {
                let caller = round % 20 * 100 + 5;
                let scope = Scope::of(caller - 5, 100);
                let found = SHARED.get(caller, || Some((scope, caller / 100)));
                assert_eq!(found, Some((scope, &(caller / 100))));
            }
        });
        let mut values = 0;
        SHARED.each(|_, _| values += 1);
        assert!((20..=160).contains(&values), "{values}");
        assert_eq!(SHARED.get(5000, || None), None);
    }
}
