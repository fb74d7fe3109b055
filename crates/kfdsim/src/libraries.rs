//! Which ROCm libraries the process has loaded, for the log: a patched overlay that the loader
//! passed over looks like a stock one otherwise.

use std::ffi::{CStr, c_int, c_void};

/// What a file name of a library of ROCm begins with.
const ROCM: [&str; 2] = ["libamdhip64.so", "libhsa-runtime64.so"];

/// Their paths as the loader has them, in the order in which they were loaded.
pub(crate) fn rocm() -> Vec<String> {
    let mut found = Vec::new();
    // SAFETY: `each` gets back the pointer to `found`, which outlives the walk.
    unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut found).cast()) };
    found
}

unsafe extern "C" fn each(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    data: *mut c_void,
) -> c_int {
    // SAFETY: the loader's own object, valid while it calls; its name is a terminated string.
    let path = unsafe { CStr::from_ptr((*object).dlpi_name) }.to_string_lossy();
    let file = path.rsplit('/').next().unwrap_or_default();
    if ROCM.iter().any(|name| file.starts_with(name)) {
        // SAFETY: `rocm` passed a pointer to its own local, and nobody else holds it.
        unsafe { &mut *data.cast::<Vec<String>>() }.push(path.into_owned());
    }
    0
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_without_rocm_has_none() {
        assert_eq!(super::rocm(), Vec::<String>::new());
    }
}
