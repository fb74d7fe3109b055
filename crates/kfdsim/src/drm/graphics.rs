//! What the graphics stack asks of a render node: buffers, contexts and submissions.
//!
//! As amdgpu_gem.c, amdgpu_ctx.c, amdgpu_bo_list.c and amdgpu_cs.c of Linux 6.12 answer. Of
//! what is submitted only SDMA's NOP is known; anything else is refused and noted in the log.

use std::collections::{BTreeMap, BTreeSet};

use kfd_abi::drm::{
    self, BoList, BoListEntry, Cs, CsChunk, CsChunkIb, Ctx, GemCreate, GemMetadata, GemWaitIdle,
    WaitCs,
};
use kfd_abi::flags::alloc;

use super::{Args, INVALID, Node};
use crate::memory::Metadata;
use crate::sys::{self, Errno, Result};

const NOT_THERE: Errno = Errno(libc::ENOENT);
/// A buffer list or a submission is not longer than this here, so that a wrong number does not
/// become an allocation.
const MANY: u32 = 1 << 16;

/// The contexts and buffer lists of this process.
#[derive(Debug, Default)]
pub(crate) struct Graphics {
    /// Submissions so far of a context, for each engine and ring. All of them are done.
    contexts: BTreeMap<u32, BTreeMap<[u32; 3], u64>>,
    lists: BTreeSet<u32>,
    last: u32,
}

impl Graphics {
    fn next(&mut self) -> u32 {
        self.last += 1;
        self.last
    }
}

impl Node {
    /// `amdgpu_gem_create_ioctl`.
    pub(super) fn gem_create(&self, args: &mut GemCreate, log: &mut Args) -> Result<()> {
        log.insert("bo_size".to_owned(), args.bo_size.into());
        log.insert("domains".to_owned(), format!("{:#x}", args.domains).into());
        log.insert("domain_flags".to_owned(), format!("{:#x}", args.domain_flags).into());
        if args.domain_flags & !drm::GEM_CREATE_ALLOWED != 0
            || args.domains & !drm::GEM_DOMAIN_MEMORY != 0
            || args.bo_size == 0
        {
            return Err(INVALID);
        }
        let size = args.bo_size.checked_next_multiple_of(4096).ok_or(Errno(libc::ENOMEM))?;
        let vram = args.domains & drm::GEM_DOMAIN_VRAM != 0;
        let flags = if vram { alloc::VRAM | alloc::WRITABLE } else { alloc::GTT | alloc::WRITABLE };
        let mut state = self.sim.lock();
        let handle = state.memory.gem_create(&self.sim.config, self.gpu, size, flags)?;
        args.bo_size = u64::from(handle);
        Ok(())
    }

    /// `amdgpu_gem_metadata_ioctl`.
    pub(super) fn gem_metadata(&self, args: &mut GemMetadata, log: &mut Args) -> Result<()> {
        log.insert("handle".to_owned(), args.handle.into());
        log.insert("op".to_owned(), args.op.into());
        let mut state = self.sim.lock();
        let buffer = state.memory.gem(args.handle).ok_or(NOT_THERE)?.clone();
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut args.data);
        let (head, data) = bytes.split_at_mut(20);
        let number =
            |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().unwrap_or_default());
        match args.op {
            drm::GEM_METADATA_SET => {
                let size = u32::from_ne_bytes(head[16..20].try_into().unwrap_or_default());
                if size > drm::GEM_METADATA_MAX {
                    return Err(INVALID);
                }
                let data = data[..size as usize].to_vec();
                let metadata = Metadata { flags: number(0), tiling: number(8), data };
                state.memory.set_metadata(&buffer, metadata);
            }
            drm::GEM_METADATA_GET => {
                let metadata = state.memory.metadata(&buffer);
                head[..8].copy_from_slice(&metadata.flags.to_ne_bytes());
                head[8..16].copy_from_slice(&metadata.tiling.to_ne_bytes());
                let size = metadata.data.len();
                head[16..20].copy_from_slice(&(size as u32).to_ne_bytes());
                data[..size].copy_from_slice(&metadata.data);
            }
            _ => return Err(Errno(libc::EPERM)), // r = -1 as it was
        }
        Ok(())
    }

    /// `amdgpu_gem_wait_idle_ioctl`: everything submitted is done.
    pub(super) fn gem_wait_idle(&self, args: &mut GemWaitIdle, log: &mut Args) -> Result<()> {
        log.insert("handle".to_owned(), args.handle.into());
        self.sim.lock().memory.gem(args.handle).ok_or(NOT_THERE)?;
        // out.status, out.domain
        (args.handle, args.flags) = (0, 0);
        Ok(())
    }

    /// `amdgpu_ctx_ioctl`.
    pub(super) fn context(&self, args: &mut Ctx, log: &mut Args) -> Result<()> {
        log.insert("op".to_owned(), args.op.into());
        let mut state = self.sim.lock();
        let graphics = &mut state.graphics;
        match args.op {
            drm::CTX_OP_ALLOC => {
                let context = graphics.next();
                graphics.contexts.insert(context, BTreeMap::new());
                (args.op, args.flags) = (context, 0);
                Ok(())
            }
            drm::CTX_OP_FREE => graphics.contexts.remove(&args.ctx_id).map(|_| ()).ok_or(INVALID),
            _ => Err(INVALID),
        }
    }

    /// `amdgpu_bo_list_ioctl`.
    pub(super) fn buffer_list(&self, args: &mut BoList, log: &mut Args) -> Result<()> {
        log.insert("operation".to_owned(), args.operation.into());
        let mut state = self.sim.lock();
        match args.operation {
            drm::BO_LIST_OP_CREATE => {
                let entry = size_of::<BoListEntry>() as u32;
                if args.bo_number > MANY || args.bo_info_size != entry {
                    return Err(INVALID);
                }
                let entries: Vec<BoListEntry> =
                    sys::read_many(args.bo_info_ptr, args.bo_number as usize)?;
                if entries.iter().any(|entry| state.memory.gem(entry.bo_handle).is_none()) {
                    return Err(NOT_THERE);
                }
                let list = state.graphics.next();
                state.graphics.lists.insert(list);
                (args.operation, args.list_handle) = (list, 0);
            }
            drm::BO_LIST_OP_DESTROY => {
                state.graphics.lists.remove(&args.list_handle);
                args.operation = 0;
            }
            _ => return Err(INVALID),
        }
        Ok(())
    }

    /// `amdgpu_cs_ioctl`.
    pub(super) fn submit(&self, args: &mut Cs, log: &mut Args) -> Result<()> {
        log.insert("ctx_id".to_owned(), args.ctx_id.into());
        log.insert("num_chunks".to_owned(), args.num_chunks.into());
        let mut state = self.sim.lock();
        if args.num_chunks == 0
            || args.num_chunks > MANY
            || !state.graphics.contexts.contains_key(&args.ctx_id)
        {
            return Err(INVALID);
        }
        if args.bo_list_handle != 0 && !state.graphics.lists.contains(&args.bo_list_handle) {
            return Err(NOT_THERE);
        }
        let mut ring = None;
        for pointer in sys::read_many::<u64>(args.chunks, args.num_chunks as usize)? {
            let chunk: CsChunk = sys::read(pointer)?;
            if chunk.chunk_id != drm::CHUNK_ID_IB {
                continue; // fences and dependencies: all that came before is done
            }
            if u64::from(chunk.length_dw) * 4 < size_of::<CsChunkIb>() as u64 {
                return Err(INVALID);
            }
            let commands: CsChunkIb = sys::read(chunk.chunk_data)?;
            let words = (commands.ib_bytes / 4) as usize;
            let from =
                state.memory.resolve(self.gpu, commands.va_start, commands.ib_bytes.into())?;
            self.execute(commands.ip_type, &sys::read_many(from, words.min(1 << 20))?)?;
            ring = Some([commands.ip_type, commands.ip_instance, commands.ring]);
        }
        let ring = ring.ok_or(INVALID)?;
        let contexts = &mut state.graphics.contexts;
        let done = contexts.entry(args.ctx_id).or_default().entry(ring).or_default();
        *done += 1;
        // out.handle
        (args.ctx_id, args.bo_list_handle) = (*done as u32, (*done >> 32) as u32);
        Ok(())
    }

    /// Runs what was submitted to an engine.
    fn execute(&self, engine: u32, words: &[u32]) -> Result<()> {
        // SDMA_PKT_NOP (sdma_v5_0): opcode 0, and how many words of data follow it.
        let mut words = words.iter();
        while let Some(head) = words.next() {
            if engine != drm::HW_IP_DMA || head & 0xffff != 0 {
                let text = format!("refused a submission to engine {engine}: packet {head:#x}");
                self.sim.note(text);
                return Err(Errno(libc::EOPNOTSUPP));
            }
            let data = (head >> 16 & 0x3fff) as usize;
            words.by_ref().take(data).for_each(drop);
        }
        Ok(())
    }

    /// `amdgpu_cs_wait_ioctl`. What was never submitted cannot be waited for.
    pub(super) fn wait_submitted(&self, args: &mut WaitCs, log: &mut Args) -> Result<()> {
        log.insert("handle".to_owned(), args.handle.into());
        let state = self.sim.lock();
        let context = state.graphics.contexts.get(&args.ctx_id).ok_or(INVALID)?;
        let ring = [args.ip_type, args.ip_instance, args.ring];
        let done = context.get(&ring).copied().unwrap_or(0);
        // u64::MAX asks for the last one.
        if args.handle > done && args.handle != u64::MAX {
            return Err(INVALID);
        }
        args.handle = 0; // out.status
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    fn node() -> Node {
        Node { sim: crate::sim::for_tests(), gpu: 0, arg: 0 }
    }

    fn buffer(node: &Node, size: u64) -> u32 {
        let mut args = GemCreate {
            bo_size: size,
            alignment: 0,
            domains: drm::GEM_DOMAIN_VRAM,
            domain_flags: 0,
        };
        node.gem_create(&mut args, &mut Args::new()).unwrap();
        args.bo_size as u32
    }

    fn metadata(handle: u32, op: u32) -> GemMetadata {
        GemMetadata { handle, op, data: [0; 35] }
    }

    #[test]
    fn what_is_written_about_a_buffer_is_read_again_and_no_more_than_fits() {
        let node = node();
        let handle = buffer(&node, 1);
        let mut set = metadata(handle, drm::GEM_METADATA_SET);
        (set.data[0], set.data[1], set.data[2]) = (7, 8, 4 | 0x6463_6261 << 32);
        node.gem_metadata(&mut set, &mut Args::new()).unwrap();
        let mut get = metadata(handle, drm::GEM_METADATA_GET);
        node.gem_metadata(&mut get, &mut Args::new()).unwrap();
        assert_eq!(get.data, set.data);
        set.data[2] = 257;
        assert_eq!(node.gem_metadata(&mut set, &mut Args::new()), Err(INVALID));
        let mut other = metadata(handle + 1, drm::GEM_METADATA_GET);
        assert_eq!(node.gem_metadata(&mut other, &mut Args::new()), Err(NOT_THERE));
    }

    #[test]
    fn a_buffer_of_an_unknown_kind_or_of_no_size_is_refused() {
        let node = node();
        for (bo_size, domains, domain_flags) in [(0, 4, 0), (1, 0x40, 0), (1, 4, 1 << 10)] {
            let mut args = GemCreate { bo_size, alignment: 0, domains, domain_flags };
            assert_eq!(node.gem_create(&mut args, &mut Args::new()), Err(INVALID));
        }
    }

    #[test]
    fn only_what_was_submitted_to_a_context_that_is_there_can_be_waited_for() {
        let node = node();
        let mut context = Ctx { op: drm::CTX_OP_ALLOC, ..Ctx::zeroed() };
        node.context(&mut context, &mut Args::new()).unwrap();
        let ctx_id = context.op;
        let wait = |handle, ctx_id| {
            let mut args = WaitCs { handle, ctx_id, ..WaitCs::zeroed() };
            node.wait_submitted(&mut args, &mut Args::new())
        };
        assert_eq!(wait(0, ctx_id), Ok(()));
        assert_eq!(wait(1, ctx_id), Err(INVALID));
        assert_eq!(wait(0, ctx_id + 1), Err(INVALID));
        let mut empty = Cs { ctx_id, ..Cs::zeroed() };
        assert_eq!(node.submit(&mut empty, &mut Args::new()), Err(INVALID));
    }

    #[test]
    fn nothing_but_nops_is_executed() {
        let node = node();
        // A NOP of four words, and another.
        assert_eq!(node.execute(drm::HW_IP_DMA, &[3 << 16, 1, 2, 3, 0]), Ok(()));
        assert_eq!(node.execute(drm::HW_IP_DMA, &[0, 1]), Err(Errno(libc::EOPNOTSUPP)));
        assert_eq!(node.execute(0, &[0]), Err(Errno(libc::EOPNOTSUPP)));
    }
}
