//! dma-bufs: EXPORT, IMPORT, GET_DMABUF_INFO. Within one process only.

use kfd_abi::flags::{self, alloc};
use kfd_abi::ioctl::{ExportDmabuf, GetDmabufInfo, ImportDmabuf};

use super::Call;
use crate::fds::{self, Kind};
use crate::sys::{self, Errno, Result};
use crate::tree::gpu_id;

const INVALID: Errno = Errno(libc::EINVAL);

/// A descriptor for an exported buffer, whose file has the buffer's size, as lseek on a
/// dma-buf tells it.
pub(crate) fn descriptor(id: u32, size: u64) -> Result<i32> {
    fds::enter(sys::memfd(c"kfdsim-dmabuf", size)?, Kind::Dmabuf { id })
}

fn exported(fd: u32) -> Result<u32> {
    match fds::get(fd as i32) {
        Some(Kind::Dmabuf { id }) => Ok(id),
        _ => Err(INVALID),
    }
}

pub(super) fn export(call: &mut Call, args: &mut ExportDmabuf) -> Result<()> {
    call.gpu((args.handle >> 32) as u32)?;
    let mut state = call.sim.lock();
    let buffer = state.memory.buffer(args.handle).ok_or(INVALID)?.clone();
    let id = state.memory.export(&buffer);
    args.dmabuf_fd = descriptor(id, buffer.size).inspect_err(|_| state.memory.unexport(id))? as u32;
    Ok(())
}

pub(super) fn import(call: &mut Call, args: &mut ImportDmabuf) -> Result<()> {
    let gpu = call.gpu(args.gpu_id)?;
    let id = exported(args.dmabuf_fd)?;
    let mut state = call.sim.lock();
    args.handle = state.memory.import(id, gpu, args.va_addr).ok_or(INVALID)?;
    Ok(())
}

pub(super) fn info(call: &mut Call, args: &mut GetDmabufInfo) -> Result<()> {
    let id = exported(args.dmabuf_fd)?;
    let state = call.sim.lock();
    let buffer = state.memory.exported(id).ok_or(INVALID)?;
    // amdgpu_amdkfd_get_dmabuf_info tells the domain and whether the host can reach it.
    (args.size, args.metadata_size) = (buffer.size, 0);
    args.flags = buffer.flags & (alloc::VRAM | alloc::GTT | alloc::PUBLIC);
    args.gpu_id = gpu_id(buffer.gpu);
    let names = flags::names(args.flags, alloc::NAMES);
    call.args.insert("flags".to_owned(), names.into());
    Ok(())
}
