//! dma-bufs: EXPORT, IMPORT, GET_DMABUF_INFO. A descriptor that came from another
//! process is taken for what it was there.

use kfd_abi::flags::{self, alloc};
use kfd_abi::ioctl::{ExportDmabuf, GetDmabufInfo, ImportDmabuf};

use super::Call;
use super::memory::bound;
use crate::fds::{self, Kind};
use crate::memory::{Exported, Memory, Place};
use crate::sim::Sim;
use crate::sys::{self, Errno, Result};
use crate::tree::gpu_id;

const INVALID: Errno = Errno(libc::EINVAL);

/// A descriptor for an exported buffer.
pub(crate) fn descriptor(memory: &Memory, id: u32) -> Result<i32> {
    fds::enter(memory.descriptor(id)?, Kind::Dmabuf { id })
}

/// The number of the export that a descriptor stands for. As dma_buf_get: EBADF for no
/// descriptor, EINVAL for one of something else.
pub(crate) fn exported(sim: &Sim, fd: i32) -> Result<u32> {
    match fds::get(fd) {
        Some(Kind::Dmabuf { id }) => return Ok(id),
        Some(_) => return Err(INVALID),
        None => {}
    }
    sys::identity(fd).ok_or(Errno(libc::EBADF))?;
    let from = Exported::of(fd).ok_or(INVALID)?;
    let id =
        if from.is_own() { from.id } else { sim.lock().memory.adopt(&sim.config, fd, &from)? };
    fds::mark(fd, Kind::Dmabuf { id });
    Ok(id)
}

pub(super) fn export(call: &mut Call, args: &mut ExportDmabuf) -> Result<()> {
    call.gpu((args.handle >> 32) as u32)?;
    let mut state = call.sim.lock();
    let buffer = state.memory.buffer(args.handle).ok_or(INVALID)?.clone();
    if matches!(buffer.place, Place::User(_)) {
        return Err(Errno(libc::EPERM)); // amdgpu_gem_prime_export
    }
    let id = state.memory.export(&buffer);
    args.dmabuf_fd =
        descriptor(&state.memory, id).inspect_err(|_| state.memory.unexport(id))? as u32;
    Ok(())
}

pub(super) fn import(call: &mut Call, args: &mut ImportDmabuf) -> Result<()> {
    let gpu = call.gpu(args.gpu_id)?;
    bound(&call.sim.lock(), gpu)?;
    let id = exported(call.sim, args.dmabuf_fd as i32)?;
    let mut state = call.sim.lock();
    // import_obj_create: of VRAM and GTT only.
    let buffer = state.memory.exported(id).ok_or(INVALID)?;
    if buffer.flags & (alloc::VRAM | alloc::GTT) == 0 {
        return Err(INVALID);
    }
    args.handle = state.memory.import(id, gpu, args.va_addr).ok_or(INVALID)?;
    state.memory.name(args.handle, call.caller.clone());
    Ok(())
}

pub(super) fn info(call: &mut Call, args: &mut GetDmabufInfo) -> Result<()> {
    let id = exported(call.sim, args.dmabuf_fd as i32)?;
    let state = call.sim.lock();
    let buffer = state.memory.exported(id).ok_or(INVALID)?;
    // amdgpu_amdkfd_get_dmabuf_info tells the domain and whether the host can reach it.
    args.size = buffer.size;
    let metadata = state.memory.metadata(buffer).data;
    if !metadata.is_empty() && args.metadata_size > 0 {
        // amdgpu_bo_get_metadata takes no less than all of it.
        if (args.metadata_size as usize) < metadata.len() {
            return Err(INVALID);
        }
        if args.metadata_ptr != 0 {
            sys::copy_to_user(args.metadata_ptr, &metadata)?;
        }
    }
    args.metadata_size = metadata.len() as u32;
    args.flags = buffer.flags & (alloc::VRAM | alloc::GTT | alloc::PUBLIC);
    args.gpu_id = gpu_id(buffer.gpu);
    let names = flags::names(args.flags, alloc::NAMES);
    call.args.insert("flags".to_owned(), names.into());
    Ok(())
}
