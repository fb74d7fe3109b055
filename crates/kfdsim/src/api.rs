//! Which function of a ROCm library the program called, from the call stack.
//!
//! For the log only. Frames without unwind information end the walk; nothing is guessed: a
//! frame counts only if an exported symbol covers it.

use std::ffi::{CStr, c_int, c_void};

#[repr(C)]
struct Context {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    // libgcc_s, which std brings along (unwind.h).
    fn _Unwind_Backtrace(
        each: extern "C" fn(*mut Context, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut Context) -> usize;
    // dlfcn.h
    fn dladdr1(
        address: *const c_void,
        info: *mut libc::Dl_info,
        extra: *mut *mut c_void,
        flags: c_int,
    ) -> c_int;
}

/// `RTLD_DL_SYMENT` of dlfcn.h.
const RTLD_DL_SYMENT: c_int = 1;
/// Continue and stop (unwind.h: _URC_NO_REASON, _URC_NORMAL_STOP).
const CONTINUE: c_int = 0;
const STOP: c_int = 4;

/// Outermost function found so far in each library.
#[derive(Default)]
struct Outermost {
    hip: Option<String>,
    hsa: Option<String>,
    depth: usize,
}

/// The outermost exported function of libamdhip64 on the call stack, or else of
/// libhsa-runtime64.
pub(crate) fn caller() -> Option<String> {
    let mut found = Outermost::default();
    // SAFETY: `each` gets back the pointer to `found`, which outlives the walk.
    unsafe { _Unwind_Backtrace(each, (&raw mut found).cast()) };
    found.hip.or(found.hsa)
}

extern "C" fn each(context: *mut Context, data: *mut c_void) -> c_int {
    // SAFETY: `caller` passed a pointer to its own local, and nobody else holds it.
    let found = unsafe { &mut *data.cast::<Outermost>() };
    found.depth += 1;
    if found.depth > 256 {
        return STOP;
    }
    // SAFETY: the unwinder's own context. The return address may be the byte after a call
    // that ends its function, hence the address before it.
    let address = unsafe { _Unwind_GetIP(context) }.wrapping_sub(1);
    if let Some((library, symbol)) = exported(address) {
        if library.starts_with("libamdhip64.so") {
            found.hip = Some(symbol);
        } else if library.starts_with("libhsa-runtime64.so") {
            found.hsa = Some(symbol);
        }
    }
    CONTINUE
}

/// The library and the exported symbol that cover an address.
fn exported(address: usize) -> Option<(String, String)> {
    // SAFETY: all-zero is a valid Dl_info.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    let mut symbol: *mut c_void = std::ptr::null_mut();
    // SAFETY: both results are ours; the address is only looked up.
    let known = unsafe {
        dladdr1(address as *const c_void, &raw mut info, &raw mut symbol, RTLD_DL_SYMENT)
    };
    if known == 0 || symbol.is_null() || info.dli_sname.is_null() || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr1 gave a symbol of an object that is on the call stack, thus loaded.
    let size = unsafe { (*symbol.cast::<libc::Elf64_Sym>()).st_size } as usize;
    if address.wrapping_sub(info.dli_saddr as usize) >= size {
        return None;
    }
    // SAFETY: terminated strings of the same object.
    let (file, name) = unsafe { (CStr::from_ptr(info.dli_fname), CStr::from_ptr(info.dli_sname)) };
    let file = file.to_str().ok()?.rsplit('/').next()?.to_owned();
    Some((file, name.to_str().ok()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exported_function_is_found_by_any_address_in_it() {
        let start = libc::getpid as *const () as usize;
        assert!(matches!(exported(start + 1), Some((file, _)) if file.starts_with("libc.so")));
        assert_eq!(exported(8), None);
    }

    #[test]
    fn a_stack_without_rocm_has_no_caller() {
        assert_eq!(caller(), None);
    }
}
