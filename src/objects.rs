//! Loaded objects: which one an address lies in, and opening one that is loaded already.

use std::ffi::{CStr, CString, OsStr, c_int, c_void};
use std::os::unix::ffi::OsStrExt;

use crate::fork;
use libloading::os::unix::{Library as Handle, RTLD_LAZY};

/// RTLD_NOLOAD of <dlfcn.h>: only what is loaded already.
const NOLOAD: c_int = libc::RTLD_NOLOAD;

/// A range of code addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    start: usize,
    size: usize,
}

impl Scope {
    /// Every address.
    pub(crate) const EVERYWHERE: Self = Self { start: 0, size: usize::MAX };

    #[cfg(test)]
    pub(crate) const fn of(start: usize, size: usize) -> Self {
        Self { start, size }
    }

    /// Whether an address lies in it.
    pub(crate) fn contains(self, address: usize) -> bool {
        address.wrapping_sub(self.start) < self.size
    }
}

/// A loaded object.
pub(crate) struct Object {
    /// The addresses it is mapped at.
    pub(crate) scope: Scope,
    /// The path it was loaded from; empty for the main program.
    pub(crate) path: CString,
}

impl Object {
    /// The last part of its path.
    pub(crate) fn file_name(&self) -> &[u8] {
        file_name(&self.path)
    }
}

/// Shows `visit` each loaded object of this link-map namespace and its path, in the loader's
/// order, until it returns `true`. Allocates nothing.
pub(crate) fn each(mut visit: impl FnMut(&libc::dl_phdr_info, &CStr) -> bool) {
    type Visit<'a> = &'a mut dyn FnMut(&libc::dl_phdr_info, &CStr) -> bool;
    unsafe extern "C" fn show(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
        // SAFETY: dl_iterate_phdr passes a valid info and the `data` that it was given below.
        let (info, visit) = unsafe { (&*info, &mut *data.cast::<Visit<'_>>()) };
        let path = if info.dlpi_name.is_null() {
            c""
        } else {
            // SAFETY: the loader's name of an object is NUL-terminated.
            unsafe { CStr::from_ptr(info.dlpi_name) }
        };
        c_int::from(visit(info, path))
    }
    let mut visit: Visit<'_> = &mut visit;
    // SAFETY: `show` has the required signature and `visit` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(show), (&raw mut visit).cast()) };
}

/// The program headers of an object that the loader shows.
pub(crate) fn headers(info: &libc::dl_phdr_info) -> &[libc::Elf64_Phdr] {
    // SAFETY: the loader describes dlpi_phnum headers at dlpi_phdr, mapped while it shows them.
    unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) }
}

/// The addresses that an object is mapped at.
pub(crate) fn scope(info: &libc::dl_phdr_info) -> Scope {
    let base = info.dlpi_addr as usize;
    let mut bounds: Option<(usize, usize)> = None;
    for header in headers(info).iter().filter(|header| header.p_type == libc::PT_LOAD) {
        let start = base.wrapping_add(header.p_vaddr as usize);
        let end = start.wrapping_add(header.p_memsz as usize);
        bounds = Some(bounds.map_or((start, end), |(low, high)| (low.min(start), high.max(end))));
    }
    let (start, end) = bounds.unwrap_or((0, 0));
    Scope { start, size: end - start }
}

/// The last part of a path.
pub(crate) fn file_name(path: &CStr) -> &[u8] {
    let path = path.to_bytes();
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// The loaded objects whose file names start with `prefix`.
pub(crate) fn named(prefix: &str) -> Vec<Object> {
    let mut found = Vec::new();
    fork::held_off(|| {
        each(|info, path| {
            if file_name(path).starts_with(prefix.as_bytes()) {
                found.push(Object { scope: scope(info), path: path.to_owned() });
            }
            false
        });
    });
    found
}

/// The object that an address lies in.
pub(crate) fn containing(address: usize) -> Option<Object> {
    let mut found = None;
    fork::held_off(|| {
        each(|info, path| {
            let scope = scope(info);
            if scope.contains(address) {
                found = Some(Object { scope, path: path.to_owned() });
            }
            found.is_some()
        });
    });
    found
}

/// Keeps the object that an address lies in loaded: a function in it may be called at any time
/// from now on.
pub(crate) fn keep(address: usize) {
    if let Some(object) = containing(address) {
        std::mem::forget(open(&object.path));
    }
}

/// A handle of an object that is loaded already.
pub(crate) fn open(path: &CStr) -> Option<Handle> {
    if path.is_empty() {
        return None;
    }
    let path = Some(OsStr::from_bytes(path.to_bytes()));
    // SAFETY: with RTLD_NOLOAD nothing is loaded and no constructor runs.
    fork::held_off(|| unsafe { Handle::open(path, RTLD_LAZY | NOLOAD) }).ok()
}
