//! SVM ranges: hipMallocManaged and `__managed__` variables arrive here, as do hipMemAdvise
//! and programs that use the HSA function themselves.

use std::ffi::c_void;

use policy::{Action, Caller, Reason, Request};

use super::{ask, attempt};
use crate::hook::Hook;
use crate::hsa::{self, Agents, ERROR, GpuAgent, SUCCESS, Status, SvmAttribute, SvmAttributesSet};
use crate::remember::{CHOSEN, PAGE};
use crate::resolve::function;
use crate::{caller, mode, seen};

/// hsa_amd_svm_attribute_t (hsa_ext_amd.h)
const GLOBAL_FLAG: u64 = 0;
const AGENT_ACCESSIBLE: u64 = 0x200;
const AGENT_ACCESSIBLE_IN_PLACE: u64 = 0x201;
/// HSA_AMD_SVM_GLOBAL_FLAG_COARSE_GRAINED
const COARSE_GRAINED: u64 = 1;
/// No runtime passes longer lists; a longer one is left alone.
const LONGEST: usize = 1024;

/// `hsa_status_t hsa_amd_svm_attributes_set(void* ptr, size_t size,
/// hsa_amd_svm_attribute_pair_t* list, size_t count)`
pub(crate) unsafe extern "C-unwind" fn attributes_set(
    ptr: *mut c_void,
    size: usize,
    list: *mut SvmAttribute,
    count: usize,
    caller: usize,
) -> Status {
    // SAFETY: the type is that of hsa_amd_svm_attributes_set.
    let real = unsafe { function::<SvmAttributesSet>(Hook::HsaSvmAttributesSet, caller) };
    // SAFETY: the program's own arguments to the function that it called.
    real.map_or(ERROR, |real| unsafe { attributes_set_with(real, ptr, size, list, count, caller) })
}

/// The same, once the real function is known.
///
/// # Safety
/// As for the function itself.
pub(crate) unsafe fn attributes_set_with(
    real: SvmAttributesSet,
    ptr: *mut c_void,
    size: usize,
    list: *mut SvmAttribute,
    count: usize,
    caller: usize,
) -> Status {
    // SAFETY: the program's own arguments to the function that it called.
    let original = || seen::forwarding(|| unsafe { real(ptr, size, list, count) });
    if !mode::active() || list.is_null() || size == 0 || !(1..=LONGEST).contains(&count) {
        return original();
    }
    seen::svm();
    // SAFETY: the program says that `list` has `count` elements; the real function reads them too.
    let attributes = unsafe { std::slice::from_raw_parts(list, count) };
    let what = Named::in_list(attributes);
    // ROCr applies attributes to whole pages, so that is what is remembered of a choice.
    let start = ptr as usize & !(PAGE - 1);
    let span = (ptr as usize).saturating_add(size).saturating_add(PAGE - 1) & !(PAGE - 1);
    let pages = span.saturating_sub(start);
    if !what.grain
        && (what.new_access == 1 && seen::is_allocating() || what.new_access > 1)
        && !CHOSEN.is_empty()
        && caller::at(caller) == Caller::HipRuntime
    {
        // A new managed allocation, for which libamdhip64 lists every GPU (SvmAllocInit, the same
        // from 5.2.3 to 7.2.4): what the program chose for memory that was here before is gone
        // with it. hipMemAdvise(UnsetAccessedBy) lists one in the same way, so where there is one
        // only the hook above knows; without it a choice outlives its range.
        CHOSEN.with(|chosen| chosen.clear(start, pages));
    }
    let gives_access = what.new_access > 0 || what.access_in_place;
    let request = Request::SvmAttributes {
        gives_access,
        names_grain: what.grain,
        chosen_before: !CHOSEN.is_empty() && CHOSEN.with(|chosen| chosen.overlaps(start, pages)),
    };
    let detail = u32::from(what.grain) << 1 | u32::from(gives_access);
    let asked = ask(Hook::HsaSvmAttributesSet, request, caller, (detail, size), || {
        let hsa = hsa::near(caller).filter(|hsa| hsa.has_svm())?;
        deciding(&hsa.agents(), attributes)?.target
    });
    if let Some(asked) = asked.as_ref().filter(|asked| asked.action() == Action::AppendCoarse) {
        let mut longer = attributes.to_vec();
        longer.push(SvmAttribute { attribute: GLOBAL_FLAG, value: COARSE_GRAINED });
        // SAFETY: the program's own range, and a list of our own of the length that is given.
        let rewritten =
            || seen::forwarding(|| unsafe { real(ptr, size, longer.as_mut_ptr(), longer.len()) });
        let (status, fell_back) = attempt(SUCCESS, rewritten, original);
        asked.done(fell_back);
        return status;
    }
    let status = original();
    // A range that was left alone for its caller's sake is left alone for good: hipMemAdvise on
    // it will come from libamdhip64.
    let denied = gives_access
        && asked.as_ref().is_some_and(|asked| asked.decision.reason == Reason::DeniedCaller);
    if status == SUCCESS && (what.grain || denied) && !seen::is_advising() {
        CHOSEN.with(|chosen| chosen.set(start, pages, ()));
    }
    if let Some(asked) = asked {
        asked.done(false);
    }
    status
}

/// What an attribute list names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Named {
    grain: bool,
    /// How many agents.
    new_access: usize,
    access_in_place: bool,
}

impl Named {
    fn in_list(attributes: &[SvmAttribute]) -> Self {
        let any = |wanted| attributes.iter().any(|pair| pair.attribute == wanted);
        Self {
            grain: any(GLOBAL_FLAG),
            new_access: attributes.iter().filter(|pair| pair.attribute == AGENT_ACCESSIBLE).count(),
            access_in_place: any(AGENT_ACCESSIBLE_IN_PLACE),
        }
    }
}

/// The agents that a list gives access.
fn access(attributes: &[SvmAttribute]) -> impl Iterator<Item = u64> {
    let access = |pair: &&SvmAttribute| {
        matches!(pair.attribute, AGENT_ACCESSIBLE | AGENT_ACCESSIBLE_IN_PLACE)
    };
    attributes.iter().filter(access).map(|pair| pair.value)
}

/// The GPU that decides about a range: an RDNA1/2 one among the agents that the list gives
/// access, else any of them. `None` means that no agent of the list is a GPU that is known.
fn deciding<'a>(agents: &'a Agents, attributes: &[SvmAttribute]) -> Option<&'a GpuAgent> {
    let listed = || access(attributes).filter_map(|agent| agents.gpu(agent));
    listed().find(|gpu| gpu.is_rdna12()).or_else(|| listed().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_whether_it_names_a_grain_and_gives_access() {
        let pair = |attribute| SvmAttribute { attribute, value: 0 };
        assert_eq!(Named::in_list(&[pair(4), pair(5)]), Named::default());
        let managed = Named { new_access: 1, ..Named::default() };
        assert_eq!(Named::in_list(&[pair(AGENT_ACCESSIBLE)]), managed);
        let both = Named { grain: true, access_in_place: true, ..Named::default() };
        assert_eq!(Named::in_list(&[pair(GLOBAL_FLAG), pair(AGENT_ACCESSIBLE_IN_PLACE)]), both);
    }
}
