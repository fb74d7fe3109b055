//! HSA memory pools: plain allocations, locked host memory and handles for virtual memory.
//!
//! Each handler comes in two forms with the same body: for callers that bound to the exported
//! symbol, and for those that come through ROCr's table (see `crate::tool`).

use std::ffi::{c_int, c_void};

use policy::{Action, Decision, Owner, Reason, Request, pool_flags};

use super::{Asked, ask, attempt, of_interest};
use crate::hook::Hook;
use crate::hsa::{self, ERROR, Hsa, LockToPool, Pool, PoolAllocate, SUCCESS, Status, VmemCreate};
use crate::resolve::function;
use crate::{mode, seen};

/// `hsa_status_t hsa_amd_memory_pool_allocate(hsa_amd_memory_pool_t pool, size_t size,
/// uint32_t flags, void** ptr)`
pub(crate) unsafe extern "C-unwind" fn allocate(
    pool: u64,
    size: usize,
    flags: u32,
    ptr: *mut *mut c_void,
    caller: usize,
) -> Status {
    // SAFETY: the type is that of hsa_amd_memory_pool_allocate.
    let real = unsafe { function::<PoolAllocate>(Hook::HsaMemoryPoolAllocate, caller) };
    // SAFETY: the program's own arguments to the function that it called.
    real.map_or(ERROR, |real| unsafe { allocate_with(real, pool, size, flags, ptr, caller) })
}

/// The same, once the real function is known.
///
/// # Safety
/// As for the function itself.
pub(crate) unsafe fn allocate_with(
    real: PoolAllocate,
    pool: u64,
    size: usize,
    flags: u32,
    ptr: *mut *mut c_void,
    caller: usize,
) -> Status {
    // SAFETY: the program's own arguments to the function that it called.
    let original = || seen::forwarding(|| unsafe { real(pool, size, flags, ptr) });
    if !mode::active() || ptr.is_null() || size == 0 {
        return original();
    }
    seen::pool();
    let Some(asked) = Judged::of(Hook::HsaMemoryPoolAllocate, pool, size, flags, caller) else {
        return original();
    };
    asked.carry_out(
        original,
        // SAFETY: a pool of the same agent, the program's own size and pointer.
        |coarse, flags| seen::forwarding(|| unsafe { real(coarse, size, flags, ptr) }),
        |hsa| hsa.accepts(real, pool, flags),
    )
}

/// `hsa_status_t hsa_amd_vmem_handle_create(hsa_amd_memory_pool_t pool, size_t size,
/// hsa_amd_memory_type_t type, uint64_t flags, hsa_amd_vmem_alloc_handle_t* handle)`
pub(crate) unsafe extern "C-unwind" fn vmem_create(
    pool: u64,
    size: usize,
    kind: c_int,
    flags: u64,
    handle: *mut u64,
    caller: usize,
) -> Status {
    // SAFETY: the type is that of hsa_amd_vmem_handle_create.
    let real = unsafe { function::<VmemCreate>(Hook::HsaVmemHandleCreate, caller) };
    // SAFETY: the program's own arguments to the function that it called.
    real.map_or(ERROR, |real| unsafe {
        vmem_create_with(real, pool, size, kind, flags, handle, caller)
    })
}

/// The same, once the real function is known.
///
/// # Safety
/// As for the function itself.
pub(crate) unsafe fn vmem_create_with(
    real: VmemCreate,
    pool: u64,
    size: usize,
    kind: c_int,
    flags: u64,
    handle: *mut u64,
    caller: usize,
) -> Status {
    // SAFETY: the program's own arguments to the function that it called.
    let original = || seen::forwarding(|| unsafe { real(pool, size, kind, flags, handle) });
    // The flags are reserved (hsa_ext_amd.h): other values than 0 are not known here.
    if !mode::active() || handle.is_null() || size == 0 || flags != 0 {
        return original();
    }
    let Some(asked) = Judged::of(Hook::HsaVmemHandleCreate, pool, size, 0, caller) else {
        return original();
    };
    asked.carry_out(
        original,
        // SAFETY: a pool of the same agent, the program's own other arguments.
        |coarse, _| seen::forwarding(|| unsafe { real(coarse, size, kind, flags, handle) }),
        |_| true,
    )
}

/// `hsa_status_t hsa_amd_memory_lock_to_pool(void* host_ptr, size_t size, hsa_agent_t* agents,
/// int num_agent, hsa_amd_memory_pool_t pool, uint32_t flags, void** agent_ptr)`
pub(crate) unsafe extern "C-unwind" fn lock(
    host: *mut c_void,
    size: usize,
    agents: *mut u64,
    count: c_int,
    pool: u64,
    flags: u32,
    out: *mut *mut c_void,
    caller: usize,
) -> Status {
    // SAFETY: the type is that of hsa_amd_memory_lock_to_pool.
    let real = unsafe { function::<LockToPool>(Hook::HsaMemoryLockToPool, caller) };
    real.map_or(ERROR, |real| {
        // SAFETY: the program's own arguments to the function that it called.
        unsafe { lock_with(real, host, size, agents, count, pool, flags, out, caller) }
    })
}

/// The same, once the real function is known.
///
/// # Safety
/// As for the function itself.
#[expect(clippy::too_many_arguments, reason = "those of the C function, and the caller")]
pub(crate) unsafe fn lock_with(
    real: LockToPool,
    host: *mut c_void,
    size: usize,
    agents: *mut u64,
    count: c_int,
    pool: u64,
    flags: u32,
    out: *mut *mut c_void,
    caller: usize,
) -> Status {
    // SAFETY: the program's own arguments, into this pool or the coarse one beside it.
    let lock_to =
        |pool| seen::forwarding(|| unsafe { real(host, size, agents, count, pool, flags, out) });
    let original = || lock_to(pool);
    if !mode::active() || host.is_null() || out.is_null() || size == 0 || flags != 0 {
        return original();
    }
    let Some(asked) = Judged::of(Hook::HsaMemoryLockToPool, pool, size, 0, caller) else {
        return original();
    };
    asked.carry_out(original, |coarse, _| lock_to(coarse), |_| true)
}

/// A request that names a pool, judged.
struct Judged {
    hsa: &'static Hsa,
    coarse: Option<u64>,
    asked: Asked,
}

impl Judged {
    /// `None` if the pool is not known or there is nothing to change: then the call is
    /// forwarded as it came.
    fn of(hook: Hook, handle: u64, size: usize, flags: u32, caller: usize) -> Option<Self> {
        let hsa = hsa::near(caller)?;
        // Nearly all of a program's allocations: device memory.
        let coarse_request = request(hook, Owner::Gpu, pool_flags::COARSE, flags, true);
        if hsa.was_coarse(handle) && !of_interest(coarse_request) {
            return None;
        }
        // The handle is only compared with those of the runtime: it may be none of a pool.
        let agents = hsa.agents();
        let pool = agents.pool(handle)?;
        let coarse = agents.coarse_sibling(&pool);
        if coarse == Some(handle) {
            hsa.note_coarse(handle);
        }
        let request = request(hook, pool.owner, pool.flags, flags, coarse.is_some());
        let detail = detail(&pool, flags);
        let asked = ask(hook, request, caller, (detail, size), || agents.gpu_of(&pool))?;
        Some(Self { hsa, coarse, asked })
    }

    /// Makes the call as decided: `rewritten` with the coarse pool and new flags, if what was
    /// asked is `legal` in this release, so that what is refused stays refused.
    fn carry_out(
        mut self,
        original: impl Fn() -> Status,
        rewritten: impl Fn(u64, u32) -> Status,
        legal: impl Fn(&Hsa) -> bool,
    ) -> Status {
        let (status, fell_back) = match (self.asked.action(), self.coarse) {
            (Action::CoarsePool { .. }, _) if !legal(self.hsa) => {
                self.asked.decision =
                    Decision { action: Action::Forward, reason: Reason::UnknownFlags };
                (original(), false)
            }
            (Action::CoarsePool { flags }, Some(coarse)) => {
                attempt(SUCCESS, || rewritten(coarse, flags), original)
            }
            _ => (original(), false),
        };
        self.asked.done(fell_back);
        status
    }
}

fn request(hook: Hook, owner: Owner, pool: u32, flags: u32, coarse_sibling: bool) -> Request {
    if hook == Hook::HsaMemoryLockToPool {
        Request::LockToPool { pool, coarse_sibling }
    } else {
        Request::PoolAllocate { owner, pool, flags, coarse_sibling }
    }
}

/// For the report: whose pool, which, and the flags of the call.
fn detail(pool: &Pool, flags: u32) -> u32 {
    u32::from(pool.owner == Owner::Gpu) << 16 | (pool.flags & 0xff) << 8 | flags & 0xff
}
