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
        let path = self.path.to_bytes();
        path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
    }
}

/// All loaded objects of this link-map namespace that `wanted` accepts.
pub(crate) fn loaded(mut wanted: impl FnMut(&Object) -> bool) -> Vec<Object> {
    struct Search<'a> {
        found: Vec<Object>,
        wanted: &'a mut dyn FnMut(&Object) -> bool,
    }
    unsafe extern "C" fn visit(
        info: *mut libc::dl_phdr_info,
        _: usize,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: dl_iterate_phdr passes a valid info and the `data` that it was given below.
        let (info, search) = unsafe { (&*info, &mut *data.cast::<Search<'_>>()) };
        let object = describe(info);
        if (search.wanted)(&object) {
            search.found.push(object);
        }
        0
    }
    let mut search = Search { found: Vec::new(), wanted: &mut wanted };
    let data = (&raw mut search).cast();
    // SAFETY: `visit` has the required signature and `search` outlives the call.
    fork::held_off(|| unsafe { libc::dl_iterate_phdr(Some(visit), data) });
    search.found
}

fn describe(info: &libc::dl_phdr_info) -> Object {
    let base = info.dlpi_addr as usize;
    // SAFETY: the loader describes dlpi_phnum headers at dlpi_phdr, mapped while it calls back.
    let headers =
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let mut bounds: Option<(usize, usize)> = None;
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
        let start = base.wrapping_add(header.p_vaddr as usize);
        let end = start.wrapping_add(header.p_memsz as usize);
        bounds = Some(bounds.map_or((start, end), |(low, high)| (low.min(start), high.max(end))));
    }
    let (start, end) = bounds.unwrap_or((0, 0));
    let path = if info.dlpi_name.is_null() {
        CString::default()
    } else {
        // SAFETY: the loader's name of the object is NUL-terminated; it is copied.
        unsafe { CStr::from_ptr(info.dlpi_name) }.to_owned()
    };
    Object { scope: Scope { start, size: end - start }, path }
}

/// The object that an address lies in.
pub(crate) fn containing(address: usize) -> Option<Object> {
    loaded(|object| object.scope.contains(address)).pop()
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
