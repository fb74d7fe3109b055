//! The allocator defaults for PyTorch: set in the environment by the constructor, where every
//! GPU that the program may use is RDNA1/2. What is set is decided by [`settings`].
//!
//! Every process under the user's command comes through here, so the kernel is only asked for
//! its GPUs where something is missing: a child finds what its parent set.

mod settings;
mod visible;

use std::ffi::CStr;
use std::path::Path;
use std::sync::OnceLock;

use kfd_abi::topology::{TOPOLOGY, gpus};
use policy::GfxTarget;

use self::settings::{DEFAULTS, HIP, Values, merged};
use self::visible::{Hiding, visible};
use crate::config::variable;
use crate::{gpus as machine, objects};

/// In the order of [`Values`].
const NAMES: [&CStr; 3] =
    [c"PYTORCH_CUDA_ALLOC_CONF", c"PYTORCH_HIP_ALLOC_CONF", c"PYTORCH_ALLOC_CONF"];

/// Says in the environment that a variable is this library's own, made from nothing: a child
/// may take it back, where the program has set another meanwhile that it would hide.
const ADDED: &CStr = c"RDNAFIX_TORCH_ADDED";

/// The device of NVIDIA's driver: a PyTorch for CUDA reads the same variables.
const NVIDIA: &CStr = c"/dev/nvidiactl";

/// Where [`TOPOLOGY`] is, if there is one.
const KFD: &CStr = c"/sys/class/kfd/kfd";

/// The switch of the source patches (docs/pytorch-patches.md): who turns those off wants none of it.
const PATCHES_OFF: &CStr = c"PYTORCH_RDNA_ALLOC_DEFAULTS";

/// What PyTorch will find, for the log.
static SET: OnceLock<String> = OnceLock::new();

/// Sets what is missing; with `wanted` false, takes back what a parent process added. To be
/// called by the constructor only, as [`note`].
pub(crate) fn at_start(wanted: bool) {
    // In a set-user-ID program nothing of the environment is read, so nothing may be replaced.
    // SAFETY: takes and gives a number.
    if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
        return;
    }
    let wanted =
        wanted && variable(PATCHES_OFF).is_none_or(|value| value.is_empty() || value == b"1");
    let found: Values = NAMES.map(variable);
    let marked = variable(ADDED).is_some_and(|name| name == NAMES[HIP].to_bytes());
    // Most processes of most machines: nothing is allocated for them.
    let nothing = found.iter().all(Option::is_none) && !marked;
    if nothing && !(wanted && there_is(KFD)) {
        return;
    }
    let ours = marked && found[HIP].as_deref() == Some(DEFAULTS);
    let mut users = found.clone();
    if ours {
        users[HIP] = None;
    }
    let mut target = if wanted { merged(&users) } else { users.clone() };
    if (target == found && marked == ours) || !alone() || !preloaded() {
        return;
    }
    if target != users && (there_is(NVIDIA) || !only_rdna12()) {
        target.clone_from(&users);
    }
    for (index, name) in NAMES.iter().enumerate() {
        if target[index] != found[index] {
            set(name, target[index].as_deref());
        }
    }
    let added = users[HIP].is_none() && target[HIP].is_some();
    if added != marked {
        set(ADDED, added.then(|| NAMES[HIP].to_bytes()));
    }
}

/// Remembers what PyTorch will find, whether this process set it, a parent or the user.
pub(crate) fn note() {
    let text = |name: &&CStr| {
        let value = variable(name)?;
        Some(format!("{}={}", name.to_string_lossy(), String::from_utf8_lossy(&value)))
    };
    let texts: Vec<String> = NAMES.iter().filter_map(text).collect();
    if !texts.is_empty() {
        let _ = SET.set(texts.join(" "));
    }
}

/// What was noted.
pub(crate) fn noted() -> Option<&'static str> {
    SET.get().map(String::as_str)
}

/// Whether there is such a file, with one system call.
fn there_is(path: &CStr) -> bool {
    // SAFETY: a NUL-terminated path.
    unsafe { libc::access(path.as_ptr(), libc::F_OK) == 0 }
}

/// Whether every GPU that the program may use is RDNA1/2, and there is one. The kernel's word
/// is not kept: the driver may be loaded later.
fn only_rdna12() -> bool {
    let gpus = gpus(Path::new(TOPOLOGY)).unwrap_or_default();
    let hip = variable(c"HIP_VISIBLE_DEVICES").filter(|list| !list.is_empty());
    let hiding = Hiding {
        rocr: variable(c"ROCR_VISIBLE_DEVICES"),
        hip: hip.or_else(|| variable(c"CUDA_VISIBLE_DEVICES")),
    };
    let seen = visible(gpus.len(), &hiding);
    let rdna12 = |index: &usize| machine::target(&gpus[*index]).is_some_and(GfxTarget::is_rdna12);
    !seen.is_empty() && seen.iter().all(rdna12)
}

/// Whether this thread is the only one, so that nobody else reads the environment. By the links
/// of a directory, of which each thread is one (`proc_task_getattr` of fs/proc/base.c, Linux 6.12):
/// `__libc_single_threaded` is not in every glibc that the packages are for.
fn alone() -> bool {
    // SAFETY: the structure is plain integers, and written only by the call.
    unsafe {
        let mut found: libc::stat = std::mem::zeroed();
        libc::stat(c"/proc/self/task".as_ptr(), &raw mut found) == 0 && found.st_nlink == 3
    }
}

/// Whether the program has not started: the library was preloaded, which is before the C
/// library in the loader's order, and not opened later, as by `HSA_TOOLS_LIB`.
fn preloaded() -> bool {
    let here = preloaded as *const () as usize;
    let mut found = false;
    objects::each(|info, path| {
        found = objects::scope(info).contains(here);
        found || objects::file_name(path) == b"libc.so.6"
    });
    found
}

fn set(name: &CStr, value: Option<&[u8]>) {
    let value = value.map(|text| {
        let mut text = text.to_vec();
        text.push(0);
        text
    });
    // No memory for it is no reason to fail.
    // SAFETY: both are NUL-terminated and copied. `alone` and `preloaded` have seen that there
    // is no other thread, which could be reading the environment, and no program that keeps it.
    unsafe {
        match value {
            Some(text) => libc::setenv(name.as_ptr(), text.as_ptr().cast(), 1),
            None => libc::unsetenv(name.as_ptr()),
        }
    };
}
