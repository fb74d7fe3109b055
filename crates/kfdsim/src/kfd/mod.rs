//! /dev/kfd: copies arguments in and out, answers, and logs.
//!
//! Follows kfd_ioctl() of amdkfd/kfd_chardev.c, Linux 6.12: the structure may be shorter or
//! longer than the kernel's, and is copied back even when the call fails. Wrong arguments get
//! the kernel's errno and never do harm.

mod dmabuf;
mod event;
mod memory;
mod misc;
mod queue;
mod svm;

use std::ffi::c_int;

use kfd_abi::ioctl::{self, Args, Direction};
use kfd_abi::log::{Device, Event, Ioctl, Memory};
use serde_json::{Map, Value};

use crate::sim::Sim;
use crate::sys::{self, Errno, Result};
use crate::tree::gpu_id;
use crate::{api, unmapped};

pub(crate) use dmabuf::{descriptor, exported};

/// One call in progress.
pub(crate) struct Call<'a> {
    pub(crate) sim: &'static Sim,
    /// Arguments, as large as the larger of the kernel's and the caller's structure.
    data: &'a mut [u8],
    /// Bytes that the caller's request number says.
    user_size: usize,
    /// The library function behind the call, if the log or the report at exit says it.
    pub(crate) caller: Option<String>,
    /// What the log will say of the arguments.
    pub(crate) args: Map<String, Value>,
    /// What the log will say of memory.
    pub(crate) memory: Vec<Memory>,
}

impl Call<'_> {
    /// Runs a handler on typed arguments.
    fn with<A: Args>(
        &mut self,
        handler: impl FnOnce(&mut Self, &mut A) -> Result<()>,
    ) -> Result<()> {
        let size = size_of::<A>();
        let mut args: A = bytemuck::pod_read_unaligned(&self.data[..size]);
        let result = handler(self, &mut args);
        self.data[..size].copy_from_slice(bytemuck::bytes_of(&args));
        if self.sim.log.is_some() {
            let mut fields = args.fields();
            fields.append(&mut self.args); // what the handler said takes precedence
            self.args = fields;
        }
        result
    }

    /// Index of the GPU with an id.
    fn gpu(&self, id: u32) -> Result<usize> {
        gpu_index(self.sim, id).ok_or(Errno(libc::EINVAL))
    }
}

/// Index of the GPU with an id.
pub(crate) fn gpu_index(sim: &Sim, id: u32) -> Option<usize> {
    (0..sim.config.boards.len()).find(|gpu| gpu_id(*gpu) == id)
}

/// The name of a GPU in the log.
pub(crate) fn gpu_name(sim: &Sim, gpu: usize) -> String {
    format!("{}#{gpu}", sim.config.boards[gpu].name)
}

/// Requests whose log line names the library function behind them.
const WITH_CALLER: [&str; 7] = [
    "ALLOC_MEMORY_OF_GPU",
    "FREE_MEMORY_OF_GPU",
    "MAP_MEMORY_TO_GPU",
    "UNMAP_MEMORY_FROM_GPU",
    "SVM",
    "IMPORT_DMABUF",
    "EXPORT_DMABUF",
];

/// An ioctl on /dev/kfd that process `owner` opened.
pub(crate) fn ioctl(sim: &'static Sim, owner: u32, code: u32, arg: u64) -> Result<c_int> {
    let nr = code as u8;
    let user_size = (code >> 16 & 0x3fff) as usize;
    let known = ioctl::request(nr).filter(|request| request.since() <= sim.config.kfd_minor);
    let Some(request) = known else {
        log(sim, format!("{nr:#x}"), None, libc::ENOTTY, Map::new(), Vec::new());
        return Err(Errno(libc::ENOTTY));
    };
    // Before the lock: the walk takes locks of the dynamic loader, which a thread in dlopen
    // may hold while it waits for ours.
    let told = sim.log.is_some() || sim.config.strict;
    let caller = (told && WITH_CALLER.contains(&request.name)).then(api::caller).flatten();
    let mut data = vec![0u8; user_size.max(request.size)];
    let (args, memory) = (Map::new(), Vec::new());
    let mut call = Call { sim, data: &mut data, user_size, caller, args, memory };
    let result = run(&mut call, owner, request, arg);
    let errno = result.err().map_or(0, |errno| errno.0);
    let Call { args, memory, caller, .. } = call;
    log(sim, request.name.to_owned(), caller, errno, args, memory);
    result.map(|()| 0)
}

fn run(call: &mut Call, owner: u32, request: &ioctl::Request, arg: u64) -> Result<()> {
    if owner != sys::pid() {
        return Err(Errno(libc::EBADF)); // only the process that opened it may use it
    }
    let size = call.user_size;
    if request.direction != Direction::Read {
        sys::copy_from_user(&mut call.data[..size], arg)?;
    }
    unmapped::forget_in(&mut call.sim.lock());
    let result = dispatch(call, request);
    if request.direction != Direction::Write {
        sys::copy_to_user(arg, &call.data[..size])?;
    }
    result
}

fn dispatch(call: &mut Call, request: &ioctl::Request) -> Result<()> {
    match request.name {
        "GET_VERSION" => call.with(misc::get_version),
        "CREATE_QUEUE" => call.with(queue::create),
        "DESTROY_QUEUE" => call.with(queue::destroy),
        "UPDATE_QUEUE" => call.with(queue::update),
        "SET_CU_MASK" => call.with(queue::set_cu_mask),
        "GET_QUEUE_WAVE_STATE" => call.with(queue::get_wave_state),
        "ALLOC_QUEUE_GWS" => call.with(queue::alloc_gws),
        "SET_MEMORY_POLICY" => call.with(misc::set_memory_policy),
        "GET_CLOCK_COUNTERS" => call.with(misc::get_clock_counters),
        "GET_PROCESS_APERTURES" => call.with(misc::get_process_apertures),
        "GET_PROCESS_APERTURES_NEW" => call.with(misc::get_process_apertures_new),
        "CREATE_EVENT" => call.with(event::create),
        "DESTROY_EVENT" => call.with(event::destroy),
        "SET_EVENT" => call.with(event::set),
        "RESET_EVENT" => call.with(event::reset),
        "WAIT_EVENTS" => call.with(event::wait),
        "SET_SCRATCH_BACKING_VA" => call.with(misc::set_scratch_backing_va),
        "GET_TILE_CONFIG" => call.with(misc::get_tile_config),
        "SET_TRAP_HANDLER" => call.with(misc::set_trap_handler),
        "ACQUIRE_VM" => call.with(misc::acquire_vm),
        "ALLOC_MEMORY_OF_GPU" => call.with(memory::alloc),
        "FREE_MEMORY_OF_GPU" => call.with(memory::free),
        "MAP_MEMORY_TO_GPU" => call.with(memory::map),
        "UNMAP_MEMORY_FROM_GPU" => call.with(memory::unmap),
        "AVAILABLE_MEMORY" => call.with(memory::available),
        "GET_DMABUF_INFO" => call.with(dmabuf::info),
        "IMPORT_DMABUF" => call.with(dmabuf::import),
        "EXPORT_DMABUF" => call.with(dmabuf::export),
        "SMI_EVENTS" => call.with(misc::smi_events),
        "SVM" => svm::svm(call),
        "SET_XNACK_MODE" => call.with(misc::set_xnack_mode),
        "RUNTIME_ENABLE" => call.with(misc::runtime_enable),
        "CRIU_OP" => Err(Errno(libc::EACCES)), // without CAP_CHECKPOINT_RESTORE
        "DBG_TRAP" => call.with(misc::debug_trap),
        // The deprecated debugger calls are gone from the kernel.
        _ => Err(Errno(libc::EPERM)),
    }
}

fn log(
    sim: &Sim,
    name: String,
    api: Option<String>,
    errno: i32,
    args: Map<String, Value>,
    memory: Vec<Memory>,
) {
    if let Some(log) = &sim.log {
        log.write(Event::Ioctl(Ioctl { dev: Device::Kfd, name, errno, api, args, memory }));
    }
}
