//! `KFDSIM_STRICT=1`: what a process leaves behind, told at its exit.
//!
//! Registered with on_exit before the program's own start, so that it runs after every
//! destructor of every library. Without the setting nothing is registered. A process that is
//! killed or calls _exit is not reported, and an exit code other than 0 stays what it is.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::fmt::Write as _;
use std::sync::Mutex;

use kfd_abi::flags::{self, alloc};

use crate::memory::Buffer;
use crate::sim::{self, Sim};
use crate::state::State;
use crate::sys;

/// The exit code of a process that would have succeeded: no code of sysexits.h, and free of
/// what shells use.
const EXIT_CODE: c_int = 86;

/// More of a kind is only counted.
const LISTED: usize = 32;

/// What the process did that no program may do.
static VIOLATIONS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes something that a program must not do, such as a packet that touches freed memory.
pub(crate) fn violation(sim: &Sim, text: &str) {
    if sim.config.strict
        && let Ok(mut violations) = VIOLATIONS.lock()
    {
        violations.push(text.to_owned());
    }
}

/// Up to this size memory may be the runtime's own: ROCr keeps blocks of 2 MiB of VRAM for
/// smaller allocations, and HIP's first call, whichever it is, makes kernarg and staging buffers.
const BLOCK: u64 = 2 << 20;

/// Functions that give a program device memory, and host memory: what is left of it is a leak.
const DEVICE: [&str; 6] = [
    "hipMalloc",
    "hipExtMallocWithFlags",
    "hipMallocPitch",
    "hipMallocArray",
    "hipMalloc3D",
    "hipMallocAsync",
];
const HOST: [&str; 7] = [
    "hipHostMalloc",
    "hipHostAlloc",
    "hipMallocHost",
    "hipMemAllocHost",
    "hipMallocManaged",
    "hipHostRegister",
    "hipExtHostAlloc",
];
/// The same of HSA, whose hsa_init makes the runtime's own memory.
const EITHER: [&str; 5] = [
    "hsa_amd_memory_pool_allocate",
    "hsa_memory_allocate",
    "hsa_amd_memory_lock",
    "hsa_amd_memory_lock_to_pool",
    "hsa_amd_vmem_handle_create",
];

/// Whether a buffer is the program's own, not the runtime's.
fn is_programs(buffer: &Buffer, by: &str) -> bool {
    let vram = buffer.flags & alloc::VRAM != 0;
    if DEVICE.contains(&by) {
        vram && buffer.size > BLOCK
    } else if HOST.contains(&by) {
        !vram && buffer.size >= BLOCK
    } else {
        EITHER.contains(&by) && (!vram || buffer.size > BLOCK)
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

fn describe(sim: &Sim, buffer: &Buffer) -> String {
    let flags = flags::names(buffer.flags, alloc::NAMES).join(" ");
    let mapped: Vec<String> = (0..sim.config.boards.len())
        .filter(|gpu| buffer.mapped & 1 << gpu != 0)
        .map(|gpu| crate::kfd::gpu_name(sim, gpu))
        .collect();
    let mapped =
        if mapped.is_empty() { String::new() } else { format!(", mapped on {}", mapped.join(" ")) };
    format!("{} at {:#x}: {flags}{mapped}", size(buffer.size), buffer.va)
}

/// What the process leaves.
#[derive(Debug, Default)]
struct Report {
    /// The program's own memory, one line each.
    leaks: Vec<String>,
    violations: Vec<String>,
    /// The runtime's memory: how many and how much, by function.
    runtime: BTreeMap<String, (usize, u64)>,
    /// Queues, events and handles.
    counts: Vec<(usize, &'static str)>,
}

impl Report {
    fn of(sim: &Sim, state: &State) -> Report {
        let mut report = Report {
            violations: VIOLATIONS.lock().map(|list| list.clone()).unwrap_or_default(),
            ..Report::default()
        };
        // No names: a program that makes its ioctls itself, or ROCm from 6 on, whose exported
        // functions are off the stack by then and which gives back all of its own memory.
        let plain = state.memory.buffers().all(|(_, buffer)| buffer.by.is_none());
        for (handle, buffer) in state.memory.buffers() {
            if state.events.page == Some(handle) {
                continue; // it cannot be freed
            }
            let by = buffer.by.as_deref().unwrap_or("a function that left no trace");
            if buffer.by.is_none() && plain || is_programs(buffer, by) {
                report.leaks.push(format!("{}, by {by}", describe(sim, buffer)));
            } else {
                let (count, size) = report.runtime.entry(by.to_owned()).or_default();
                (*count, *size) = (*count + 1, *size + buffer.size);
            }
        }
        let (gems, exports) = state.memory.handles();
        report.counts = vec![
            (state.queues.count(), "queues"),
            (state.events.count(), "events"),
            (gems, "GEM handles"),
            (exports, "dma-bufs"),
        ];
        report.counts.retain(|(count, _)| *count > 0);
        report
    }

    fn fails(&self) -> bool {
        !self.leaks.is_empty() || !self.violations.is_empty()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut list = |title: &str, lines: &[String]| {
            if lines.is_empty() {
                return;
            }
            let _ = writeln!(text, "kfdsim: {}: {title}", lines.len());
            for line in lines.iter().take(LISTED) {
                let _ = writeln!(text, "kfdsim:   {line}");
            }
            if lines.len() > LISTED {
                let _ = writeln!(text, "kfdsim:   and {} more", lines.len() - LISTED);
            }
        };
        list("not allowed", &self.violations);
        list("never freed", &self.leaks);
        let runtime: Vec<String> = self
            .runtime
            .iter()
            .map(|(by, (count, bytes))| format!("{count} of {} by {by}", size(*bytes)))
            .chain(self.counts.iter().map(|(count, what)| format!("{count} {what}")))
            .collect();
        list("left by the runtime, which is no error", &runtime);
        text
    }
}

/// Runs last in exit(3).
extern "C" fn at_exit(status: c_int, _: *mut c_void) {
    let Some(sim) = sim::made().filter(|sim| sim.config.strict) else { return };
    let report = Report::of(sim, &sim.lock());
    let _ = sys::write(2, report.text().as_bytes());
    if status == 0 && report.fails() {
        // SAFETY: the program has ended; what it wrote is still in the C library's buffers.
        unsafe {
            libc::fflush(std::ptr::null_mut());
            libc::_exit(EXIT_CODE);
        }
    }
}

#[cfg(not(test))]
mod start {
    use super::{at_exit, c_int, c_void};

    unsafe extern "C" {
        // stdlib.h
        fn on_exit(function: extern "C" fn(c_int, *mut c_void), arg: *mut c_void) -> c_int;
    }

    extern "C" fn register() {
        if std::env::var_os("KFDSIM_STRICT").is_some_and(|value| value == "1") {
            // SAFETY: the library is never unloaded, so the function stays.
            unsafe { on_exit(at_exit, std::ptr::null_mut()) };
        }
    }

    /// Before main: the dynamic linker's own exit handler, which runs the destructors of all
    /// libraries, is registered later and so runs earlier.
    #[used]
    // SAFETY: an array of functions that the dynamic linker calls once each.
    #[unsafe(link_section = ".init_array")]
    static START: extern "C" fn() = register;
}
