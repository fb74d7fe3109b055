//! The third way in, only with RDNAFIX_DLSYM=1: dlsym, dlvsym, hipGetProcAddress and
//! hipGetDriverEntryPoint give out our function for the names that are taken over.
//!
//! dlsym looks at its caller's return address for RTLD_NEXT and RTLD_DEFAULT, so the exported
//! function never calls the real one on behalf of the program: it jumps there. For every other
//! name nothing else happens, and without the variable only this: a program that asks for one
//! of our names without a handle, where no ROCm library has it, is told that it is not there.
//! Nothing here may allocate before a name is recognised: allocators call dlsym at their start.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use crate::config::secure_getenv;
use crate::hip::{SUCCESS, SYMBOL_NOT_FOUND};
use crate::hook::{Hook, Library};
use crate::{elf, objects, report, resolve};

/// Where glibc has the functions: libc since 2.34, libdl before. Another library that has them
/// and comes after this one is asked first, as the loader would have it.
const FILES: [&[u8]; 2] = [b"libc.so.6", b"libdl.so.2"];

static REAL_DLSYM: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
static REAL_DLVSYM: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
type Dlvsym = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> *mut c_void;

macro_rules! lookup {
    ($name:ident, $real:ident, $choose:ident) => {
        // SAFETY: the name is the C library's own, which is the point of it.
        #[cfg_attr(not(test), unsafe(no_mangle))]
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                // The arguments outlive the question; three pushes align the stack for the call.
                "push rdi",
                "push rsi",
                "push rdx",
                "call {choose}",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "test rax, rax",
                "jz 3f",
                // ABSENT is the answer null.
                "cmp rax, 1",
                "jne 2f",
                "xor eax, eax",
                "2:",
                "ret",
                "3:",
                "mov r11, qword ptr [rip + {real}]",
                "jmp r11",
                real = sym $real,
                choose = sym $choose,
            )
        }
    };
}

lookup!(dlsym, REAL_DLSYM, choose_dlsym);
lookup!(dlvsym, REAL_DLVSYM, choose_dlvsym);

/// Whether functions are to be given out; not known before the first lookup.
static WANTED: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;

/// Whether functions are to be given out. The first call also finds the real ones.
fn wanted() -> bool {
    match WANTED.load(Ordering::Acquire) {
        UNKNOWN => look(),
        known => known == YES,
    }
}

#[cold]
fn look() -> bool {
    let (real, versioned) = (elf::next(&FILES, c"dlsym"), elf::next(&FILES, c"dlvsym"));
    if real.is_null() || versioned.is_null() {
        // A C library that cannot be; there is no way to answer the program.
        // SAFETY: ends the process.
        unsafe { libc::abort() };
    }
    REAL_DLSYM.store(real.cast_mut(), Ordering::Release);
    REAL_DLVSYM.store(versioned.cast_mut(), Ordering::Release);
    // SAFETY: a valid name; the value is looked at and not kept.
    let value = unsafe { secure_getenv(c"RDNAFIX_DLSYM".as_ptr()) };
    // SAFETY: it gives null or a NUL-terminated string.
    let wanted = !value.is_null() && unsafe { CStr::from_ptr(value) } == c"1";
    WANTED.store(if wanted { YES } else { NO }, Ordering::Release);
    wanted
}

/// The real dlsym, for this library's own lookups.
pub(crate) fn lookup(handle: *mut c_void, name: &CStr) -> *const () {
    let found = real_dlsym(handle, name);
    if found.is_null() {
        // The error is not one of the program's.
        // SAFETY: takes nothing and resets thread-local state.
        unsafe { libc::dlerror() };
    }
    found
}

fn real_dlsym(handle: *mut c_void, name: &CStr) -> *const () {
    wanted();
    // SAFETY: an address of that function, stored by `look`.
    let real: Dlsym = unsafe { std::mem::transmute(REAL_DLSYM.load(Ordering::Acquire)) };
    // SAFETY: a handle of dlopen or a special one, and a valid name. Called from here, RTLD_NEXT
    // counts from this library.
    unsafe { real(handle, name.as_ptr()) }.cast_const().cast()
}

/// The hook of that name. RTLD_NEXT asks for what comes after the caller, which we are not.
fn hook(handle: *mut c_void, name: *const c_char) -> Option<Hook> {
    if handle == libc::RTLD_NEXT || name.is_null() {
        return None;
    }
    // SAFETY: dlsym takes a NUL-terminated string.
    let name = unsafe { CStr::from_ptr(name) };
    if name.to_bytes().first() != Some(&b'h') {
        return None;
    }
    Hook::ALL.iter().copied().find(|hook| hook.symbol() == name)
}

/// What a lookup is answered with that only this library's own export would satisfy: a program
/// that asks whether HIP is there must not take that for it.
const ABSENT: *const () = std::ptr::without_provenance(1);

fn is_absent(handle: *mut c_void, hook: Hook) -> bool {
    let file = hook.library().file_prefix().as_bytes();
    handle == libc::RTLD_DEFAULT
        && elf::in_files(&[file], hook.symbol()).is_null()
        // Last, because the program is to find its error in dlerror.
        && real_dlsym(libc::RTLD_NEXT, hook.symbol()).is_null()
}

unsafe extern "C" fn choose_dlsym(handle: *mut c_void, name: *const c_char) -> *const () {
    let wanted = wanted();
    let Some(hook) = hook(handle, name) else { return std::ptr::null() };
    if is_absent(handle, hook) {
        return ABSENT;
    }
    if !wanted {
        return std::ptr::null();
    }
    // Where nothing is found the program is told so by the real call that follows.
    give_out(hook, lookup(handle, hook.symbol()))
}

unsafe extern "C" fn choose_dlvsym(
    handle: *mut c_void,
    name: *const c_char,
    version: *const c_char,
) -> *const () {
    let wanted = wanted();
    let Some(hook) = hook(handle, name) else { return std::ptr::null() };
    if is_absent(handle, hook) {
        return ABSENT;
    }
    if !wanted {
        return std::ptr::null();
    }
    // SAFETY: an address of that function, stored by `look`.
    let real: Dlvsym = unsafe { std::mem::transmute(REAL_DLVSYM.load(Ordering::Acquire)) };
    // SAFETY: as above.
    let found = unsafe { real(handle, name, version) };
    give_out(hook, found.cast_const().cast())
}

/// Our function instead of `found`, which it forwards to when nothing tells better; null, for
/// the real answer, if that is not sure to be right.
fn give_out(hook: Hook, found: *const ()) -> *const () {
    let genuine = || {
        let object = objects::containing(found as usize)?;
        let prefix = hook.library().file_prefix().as_bytes();
        object.file_name().starts_with(prefix).then_some(())
    };
    // Where one copy of the library is in the global scope, the hook forwards to that one.
    let global = lookup(libc::RTLD_NEXT, hook.symbol());
    let another = !global.is_null() && global != found;
    if found.is_null() || another || found == hook.exported() || genuine().is_none() {
        return std::ptr::null();
    }
    if !resolve::remember_real(hook, found) {
        return std::ptr::null();
    }
    report::handed_out();
    hook.exported()
}

/// `hipError_t hipGetProcAddress(const char* symbol, void** pfn, int hipVersion, uint64_t
/// flags, hipDriverProcAddressQueryResult* symbolStatus)`
pub(crate) unsafe extern "C-unwind" fn get_proc_address(
    symbol: *const c_char,
    out: *mut *mut c_void,
    version: c_int,
    flags: u64,
    status: *mut c_uint,
    caller: usize,
) -> c_int {
    type GetProcAddress = unsafe extern "C-unwind" fn(
        *const c_char,
        *mut *mut c_void,
        c_int,
        u64,
        *mut c_uint,
    ) -> c_int;
    // SAFETY: the type is that of hipGetProcAddress.
    let real = unsafe { resolve::function::<GetProcAddress>(Hook::HipGetProcAddress, caller) };
    let Some(real) = real else { return SYMBOL_NOT_FOUND };
    // SAFETY: the program's own arguments to the function that it called.
    let result = unsafe { real(symbol, out, version, flags, status) };
    // SAFETY: as above; the real call has succeeded where `out` is read.
    unsafe { replace(result, symbol, out) }
}

/// `hipError_t hipGetDriverEntryPoint(const char* symbol, void** funcPtr, unsigned long long
/// flags, hipDriverEntryPointQueryResult* status)`
pub(crate) unsafe extern "C-unwind" fn get_driver_entry_point(
    symbol: *const c_char,
    out: *mut *mut c_void,
    flags: u64,
    status: *mut c_uint,
    caller: usize,
) -> c_int {
    type GetEntryPoint =
        unsafe extern "C-unwind" fn(*const c_char, *mut *mut c_void, u64, *mut c_uint) -> c_int;
    // SAFETY: the type is that of hipGetDriverEntryPoint.
    let real = unsafe { resolve::function::<GetEntryPoint>(Hook::HipGetDriverEntryPoint, caller) };
    let Some(real) = real else { return SYMBOL_NOT_FOUND };
    // SAFETY: the program's own arguments to the function that it called.
    let result = unsafe { real(symbol, out, flags, status) };
    // SAFETY: as above; the real call has succeeded where `out` is read.
    unsafe { replace(result, symbol, out) }
}

/// # Safety
/// If `result` is success, `out` must hold the address of the function called `symbol`.
unsafe fn replace(result: c_int, symbol: *const c_char, out: *mut *mut c_void) -> c_int {
    if result == SUCCESS
        && !out.is_null()
        && wanted()
        && let Some(hook) = hook(std::ptr::null_mut(), symbol)
        && hook.library() == Library::Hip
    {
        // SAFETY: the caller vouches for it.
        let ours = give_out(hook, unsafe { *out }.cast_const().cast());
        if !ours.is_null() {
            // SAFETY: the same place.
            unsafe { *out = ours.cast_mut().cast() };
        }
    }
    result
}
