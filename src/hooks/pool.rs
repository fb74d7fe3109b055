//! HSA memory pools.

use std::ffi::c_void;

use policy::{Action, Owner, Request};

use super::{ask, attempt};
use crate::hook::Hook;
use crate::hsa::{self, ERROR, PoolAllocate, SUCCESS, ShutDown, Status};
use crate::resolve::function;
use crate::{mode, seen};

/// `hsa_status_t hsa_amd_memory_pool_allocate(hsa_amd_memory_pool_t pool, size_t size,
/// uint32_t flags, void** ptr)`
pub(crate) unsafe extern "C" fn allocate(
    pool: u64,
    size: usize,
    flags: u32,
    ptr: *mut *mut c_void,
    caller: usize,
) -> Status {
    // SAFETY: the type is that of hsa_amd_memory_pool_allocate.
    let Some(real) = (unsafe { function::<PoolAllocate>(Hook::HsaMemoryPoolAllocate, caller) })
    else {
        return ERROR;
    };
    // SAFETY: the program's own arguments to the function that it called.
    let original = || unsafe { real(pool, size, flags, ptr) };
    if !mode::active() || ptr.is_null() || size == 0 {
        return original();
    }
    seen::pool();
    let Some(hsa) = hsa::near(caller) else {
        return original();
    };
    let mut agents = hsa.agents();
    if agents.pool(pool).is_none() {
        // The runtime was started anew, or this is no pool.
        agents = hsa.read_agents();
    }
    let Some(found) = agents.pool(pool) else {
        return original();
    };
    let sibling = agents.coarse_sibling(&found);
    let request = Request::PoolAllocate {
        owner: found.owner,
        pool: found.flags,
        flags,
        coarse_sibling: sibling.is_some(),
    };
    let owner = u32::from(found.owner == Owner::Gpu);
    let detail = owner << 16 | (found.flags & 0xff) << 8 | flags & 0xff;
    let asked =
        ask(Hook::HsaMemoryPoolAllocate, request, caller, (detail, size), || agents.gpu_of(&found));
    match (asked.decision.action, sibling) {
        (Action::CoarsePool { flags: new }, Some(coarse)) if hsa.accepts(real, pool, flags) => {
            // SAFETY: a pool of the same agent, the program's own size and pointer.
            let rewritten = || unsafe { real(coarse, size, new, ptr) };
            let (status, fell_back) = attempt(SUCCESS, rewritten, original);
            asked.done(fell_back);
            status
        }
        (action, _) => {
            let status = original();
            asked.done(action.rewrites());
            status
        }
    }
}

/// `hsa_status_t hsa_shut_down()`
pub(crate) unsafe extern "C" fn shut_down(caller: usize) -> Status {
    // SAFETY: the type is that of hsa_shut_down.
    let Some(real) = (unsafe { function::<ShutDown>(Hook::HsaShutDown, caller) }) else {
        return ERROR;
    };
    hsa::forget_agents();
    // SAFETY: the program's own call.
    unsafe { real() }
}
