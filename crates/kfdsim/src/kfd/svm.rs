//! The SVM request.

use kfd_abi::flags::{self, svm};
use kfd_abi::ioctl::{Svm, SvmAttribute};
use kfd_abi::log::{Domain, Memory};
use serde_json::{Value, json};

use super::{Call, gpu_index, gpu_name};
use crate::mtype::Place;
use crate::svm::Range;
use crate::sys::{Errno, Result};
use crate::{unmapped, vmas};

const INVALID: Errno = Errno(libc::EINVAL);
const PAGE: u64 = 4096;

/// The attributes lie behind the structure, so this is no plain typed handler.
pub(super) fn svm(call: &mut Call) -> Result<()> {
    let mut tail = call.data[size_of::<Svm>()..].to_vec();
    let result = call.with(|call, args: &mut Svm| {
        // kfd_ioctl_svm_validate
        let bytes = (args.nattr as usize).checked_mul(size_of::<SvmAttribute>());
        let tail = bytes.and_then(|bytes| tail.get_mut(..bytes)).ok_or(INVALID)?;
        let mut attributes: Vec<SvmAttribute> = tail
            .chunks_exact(size_of::<SvmAttribute>())
            .map(bytemuck::pod_read_unaligned)
            .collect();
        describe_call(call, args, &attributes);
        let result = apply(call, args, &mut attributes);
        if result.is_ok() && args.op == svm::OP_GET_ATTR {
            describe_call(call, args, &attributes);
        }
        tail.copy_from_slice(bytemuck::cast_slice(&attributes));
        result
    });
    call.data[size_of::<Svm>()..].copy_from_slice(&tail);
    result
}

fn apply(call: &mut Call, args: &Svm, attributes: &mut [SvmAttribute]) -> Result<()> {
    let sim = call.sim;
    if !sim.config.svm {
        return Err(Errno(libc::EPERM)); // a kernel without CONFIG_HSA_AMD_SVM
    }
    let (start, size) = (args.start_addr, args.size);
    if start % PAGE != 0 || size % PAGE != 0 || start == 0 || size == 0 {
        return Err(INVALID);
    }
    let end = start.checked_add(size).ok_or(Errno(libc::EOVERFLOW))?;
    let gpus = |id| gpu_index(sim, id);
    let mut state = sim.lock();
    match args.op {
        svm::OP_SET_ATTR => {
            crate::svm::check(attributes, gpus)?;
            if state.acquired == 0 {
                return Err(INVALID); // no kgd_process_info
            }
        }
        svm::OP_GET_ATTR => {}
        _ => return Err(INVALID),
    }
    let refused = attributes.iter().any(|attribute| {
        attribute.r#type == svm::ATTR_CLR_FLAGS && attribute.value & svm::COHERENT != 0
    });
    if sim.config.deny_noncoherent && args.op == svm::OP_SET_ATTR && refused {
        return Err(INVALID);
    }
    // svm_range_is_valid
    vmas::manage(start, end, state.memory.file())?;
    if state.memory.is_mapped(start, end) {
        return Err(Errno(libc::EADDRINUSE));
    }
    if args.op == svm::OP_GET_ATTR {
        return state.svm.get(start, end, attributes, gpus);
    }
    let ranges = state.svm.set(start, end, attributes, gpus);
    unmapped::watch(state.svm.bounds());
    drop(state);
    if sim.log.is_some() {
        call.memory = ranges.iter().map(|range| describe_range(call, range)).collect();
    }
    Ok(())
}

fn describe_call(call: &mut Call, args: &Svm, attributes: &[SvmAttribute]) {
    if call.sim.log.is_none() {
        return;
    }
    let op = match args.op {
        svm::OP_SET_ATTR => "SET_ATTR".to_owned(),
        svm::OP_GET_ATTR => "GET_ATTR".to_owned(),
        other => other.to_string(),
    };
    call.args.insert("op".to_owned(), op.into());
    let attributes: Vec<Value> = attributes
        .iter()
        .map(|SvmAttribute { r#type, value }| {
            let name = svm::ATTRIBUTES.get(*r#type as usize);
            let name = name.map_or_else(|| r#type.to_string(), |name| (*name).to_owned());
            let value: Value = match *r#type {
                svm::ATTR_SET_FLAGS | svm::ATTR_CLR_FLAGS => {
                    flags::names(*value, svm::NAMES).into()
                }
                svm::ATTR_GRANULARITY => (*value).into(),
                _ => format!("{value:#x}").into(),
            };
            json!({ "type": name, "value": value })
        })
        .collect();
    call.args.insert("attrs".to_owned(), attributes.into());
}

fn describe_range(call: &Call, range: &Range) -> Memory {
    let flags = range.attributes.flags;
    let gpus = 0..call.sim.config.boards.len();
    Memory {
        domain: Domain::Svm,
        va: range.start,
        size: range.end - range.start,
        flags: flags::names(flags, svm::NAMES),
        coherent: flags & (svm::COHERENT | svm::EXT_COHERENT) != 0,
        mtype: gpus
            .filter(|gpu| range.attributes.gpus() & 1 << gpu != 0)
            .map(|gpu| {
                let config = &call.sim.config;
                let target = config.boards[gpu].gfx_target_version;
                let place = place(call, range, gpu);
                (gpu_name(call.sim, gpu), config.rules().of_range(target, flags, place))
            })
            .collect(),
    }
}

/// Where the call leaves a range: svm_range_best_prefetch_location. Without XNACK it goes to a GPU's
/// VRAM only where no other GPU has access, and an APU has none to go to.
fn place(call: &Call, range: &Range, gpu: usize) -> Place {
    let to = gpu_index(call.sim, range.attributes.prefetch_loc);
    let alone = range.attributes.gpus() == 1 << gpu;
    let local = to == Some(gpu) && alone && !call.sim.config.boards[gpu].apu;
    if local { Place::Local } else { Place::Elsewhere }
}
