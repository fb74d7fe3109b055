//! Buffers with several holders: dma-buf exports, imports and GEM handles.
//!
//! They share the place in the file; the last one to go gives it back.

use super::{Buffer, Memory};
use crate::config::Config;
use crate::sys::Result;

/// What the graphics stack keeps with a buffer for whoever imports it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata {
    pub(crate) flags: u64,
    pub(crate) tiling: u64,
    pub(crate) data: Vec<u8>,
}

impl Memory {
    /// Another holder of the bytes of a buffer.
    fn share(&mut self, buffer: &Buffer) -> Buffer {
        if let Some(block) = buffer.block.and_then(|offset| self.blocks.get_mut(&offset)) {
            block.users += 1;
        }
        Buffer { mapped: 0, ..buffer.clone() }
    }

    /// Exports a buffer object; the number goes with the descriptor.
    pub(crate) fn export(&mut self, buffer: &Buffer) -> u32 {
        let shared = self.share(buffer);
        self.last_export += 1;
        self.exported.insert(self.last_export, shared);
        self.last_export
    }

    pub(crate) fn exported(&self, id: u32) -> Option<&Buffer> {
        self.exported.get(&id)
    }

    /// The last descriptor of an export is closed.
    pub(crate) fn unexport(&mut self, id: u32) {
        if let Some(buffer) = self.exported.remove(&id) {
            self.unuse(buffer.block);
        }
    }

    /// Imports an exported buffer for a GPU, at an address.
    pub(crate) fn import(&mut self, id: u32, gpu: usize, va: u64) -> Option<u64> {
        let buffer = self.exported.get(&id)?.clone();
        let shared = self.share(&buffer);
        Some(self.insert(Buffer { gpu, va, ..shared }))
    }

    /// A GEM handle for an exported buffer.
    pub(crate) fn gem_import(&mut self, id: u32) -> Option<u32> {
        let buffer = self.exported.get(&id)?.clone();
        let shared = self.share(&buffer);
        self.last_gem += 1;
        self.gems.insert(self.last_gem, shared);
        Some(self.last_gem)
    }

    /// A new buffer of the graphics stack, with a GEM handle.
    pub(crate) fn gem_create(
        &mut self,
        config: &Config,
        gpu: usize,
        size: u64,
        flags: u32,
    ) -> Result<u32> {
        let handle = self.allocate(config, gpu, 0, size, flags, 0)?;
        self.last_gem += 1;
        let buffer = self.buffers.remove(&handle);
        self.gems.extend(buffer.map(|buffer| (self.last_gem, buffer)));
        Ok(self.last_gem)
    }

    /// What was last written about a buffer.
    pub(crate) fn metadata(&self, buffer: &Buffer) -> Metadata {
        let block = buffer.block.and_then(|offset| self.blocks.get(&offset));
        block.map_or_else(Metadata::default, |block| block.metadata.clone())
    }

    pub(crate) fn set_metadata(&mut self, buffer: &Buffer, metadata: Metadata) {
        if let Some(block) = buffer.block.and_then(|offset| self.blocks.get_mut(&offset)) {
            block.metadata = metadata;
        }
    }

    /// How many GEM handles and how many exports nobody has given back.
    pub(crate) fn handles(&self) -> (usize, usize) {
        (self.gems.len(), self.exported.len())
    }

    pub(crate) fn gem(&self, handle: u32) -> Option<&Buffer> {
        self.gems.get(&handle)
    }

    pub(crate) fn gem_close(&mut self, handle: u32) -> bool {
        let Some(buffer) = self.gems.remove(&handle) else { return false };
        self.unuse(buffer.block);
        true
    }
}
