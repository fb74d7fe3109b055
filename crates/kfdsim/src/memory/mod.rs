//! GPU memory: buffer objects, what is mapped where, and the file behind it.
//!
//! All VRAM, GTT, doorbells and registers are parts of one sparse file. /dev/kfd and the
//! render nodes are further opens of it, so mmap of them needs no emulation. The whole file
//! is also mapped once for the simulator itself; that mapping never moves or goes away, so an
//! address in it stays good without the lock.

mod heap;
mod sharing;

use std::collections::BTreeMap;
use std::ffi::c_int;

use kfd_abi::flags::alloc;

use crate::config::{Config, MAX_GPUS};
use crate::sys::{self, Errno, Result};
use crate::tree::gpu_id;
use heap::Heap;

/// `KFD_DOORBELL` slice of a process: two pages (kfd_doorbell.c, kfd_doorbell_process_slice).
pub(crate) const DOORBELL_SLICE: u64 = 8192;
const DOORBELLS: u64 = 0x1_0000;
/// The event page of user space that does not bring its own.
pub(crate) const EVENT_PAGE: u64 = 0x10_0000;
const MMIO: u64 = 0x20_0000;
const HEAP: u64 = 0x1000_0000;
/// System memory that the kernel may allocate for GPUs here.
pub(crate) const GTT_SIZE: u64 = 64 << 30;

const _: () = assert!(DOORBELLS + MAX_GPUS as u64 * DOORBELL_SLICE <= EVENT_PAGE);

/// Where the bytes of a buffer object are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At an offset of the file.
    File(u64),
    /// At an address of the process.
    User(u64),
}

impl Place {
    pub(crate) fn plus(self, offset: u64) -> Place {
        match self {
            Place::File(start) => Place::File(start + offset),
            Place::User(start) => Place::User(start + offset),
        }
    }
}

/// A buffer object.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    pub(crate) gpu: usize,
    pub(crate) va: u64,
    pub(crate) size: u64,
    pub(crate) flags: u32,
    pub(crate) place: Place,
    /// The GPUs it is mapped on by KFD, as bits.
    pub(crate) mapped: u32,
    /// Place of the heap that it shares with its imports, if it has one.
    block: Option<u64>,
}

/// A part of the heap and the buffers and descriptors that keep it.
#[derive(Debug)]
struct Block {
    size: u64,
    users: usize,
    /// Whose VRAM it is.
    vram: Option<usize>,
}

/// Part of the GPUs' address space.
#[derive(Clone, Copy, Debug)]
struct Mapping {
    end: u64,
    place: Place,
    /// The GPUs that have it, as bits.
    gpus: u32,
}

/// The sparse file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backing {
    pub(crate) fd: c_int,
    /// The file that `fd` was opened on.
    file: Option<(u64, u64)>,
    base: usize,
}

impl Backing {
    /// Address of a place in the simulator's own mapping.
    pub(crate) fn address(&self, place: Place) -> u64 {
        match place {
            Place::File(offset) => self.base as u64 + offset,
            Place::User(address) => address,
        }
    }
}

/// All memory that GPUs of this process know.
#[derive(Debug)]
pub(crate) struct Memory {
    backing: Option<Backing>,
    heap: Heap,
    blocks: BTreeMap<u64, Block>,
    buffers: BTreeMap<u64, Buffer>,
    last_handle: u32,
    mappings: BTreeMap<u64, Mapping>,
    /// VRAM in use, by GPU.
    used: Vec<u64>,
    /// Exported buffers, by the number that the descriptor carries.
    exported: BTreeMap<u32, Buffer>,
    last_export: u32,
    /// GEM handles of render nodes, each with what it stands for.
    gems: BTreeMap<u32, Buffer>,
    last_gem: u32,
}

impl Memory {
    pub(crate) fn new(gpus: usize) -> Memory {
        Memory {
            backing: None,
            heap: Heap::new(HEAP, 0),
            blocks: BTreeMap::new(),
            buffers: BTreeMap::new(),
            last_handle: 0,
            mappings: BTreeMap::new(),
            used: vec![0; gpus],
            exported: BTreeMap::new(),
            last_export: 0,
            gems: BTreeMap::new(),
            last_gem: 0,
        }
    }

    /// Closes the file, in a forked child, which makes its own.
    pub(crate) fn abandon(&mut self) {
        if let Some(backing) = self.backing.take()
            && sys::identity(backing.fd) == backing.file
        {
            sys::close(backing.fd);
        }
    }

    /// The file, made now if need be.
    pub(crate) fn backing(&mut self, config: &Config) -> Backing {
        *self.backing.get_or_insert_with(|| {
            let vram: u64 = config.boards.iter().map(crate::board::Board::vram).sum();
            let heap = heap::rounded(vram) + GTT_SIZE;
            let made = sys::memfd(c"kfdsim", HEAP + heap).and_then(|fd| {
                let fd = sys::move_high(fd);
                let base = sys::map_shared(fd, HEAP + heap)?;
                Ok(Backing { fd, file: sys::identity(fd), base })
            });
            self.heap = Heap::new(HEAP, heap);
            made.unwrap_or_else(|errno| {
                sys::fatal(&format!(
                    "cannot map {} GiB of address space for GPU memory (errno {}); is there a \
                     limit, as by `ulimit -v`?",
                    (HEAP + heap) >> 30,
                    errno.0
                ))
            })
        })
    }

    /// Offset of the doorbells of a GPU.
    pub(crate) fn doorbells(gpu: usize) -> u64 {
        DOORBELLS + gpu as u64 * DOORBELL_SLICE
    }

    /// Offset of the remapped registers.
    pub(crate) fn registers() -> u64 {
        MMIO
    }

    pub(crate) fn vram_used(&self, gpu: usize) -> u64 {
        self.used[gpu]
    }

    /// Makes a buffer object and gives its handle.
    pub(crate) fn allocate(
        &mut self,
        config: &Config,
        gpu: usize,
        va: u64,
        size: u64,
        flags: u32,
        user: u64,
    ) -> Result<u64> {
        let no_memory = Errno(libc::ENOMEM);
        self.backing(config);
        let vram = (flags & alloc::VRAM != 0).then_some(gpu);
        let mut block = None;
        let place = if flags & (alloc::VRAM | alloc::GTT) != 0 {
            if vram.is_some() && self.used[gpu] + heap::rounded(size) > config.boards[gpu].vram() {
                return Err(no_memory);
            }
            let offset = self.heap.allocate(size).ok_or(no_memory)?;
            self.blocks.insert(offset, Block { size, users: 1, vram });
            if vram.is_some() {
                self.used[gpu] += heap::rounded(size);
            }
            block = Some(offset);
            Place::File(offset)
        } else if flags & alloc::USERPTR != 0 {
            Place::User(user)
        } else if flags & alloc::DOORBELL != 0 {
            Place::File(Memory::doorbells(gpu))
        } else {
            Place::File(MMIO)
        };
        Ok(self.insert(Buffer { gpu, va, size, flags, place, mapped: 0, block }))
    }

    fn insert(&mut self, buffer: Buffer) -> u64 {
        self.last_handle += 1;
        let handle = u64::from(gpu_id(buffer.gpu)) << 32 | u64::from(self.last_handle);
        self.buffers.insert(handle, buffer);
        handle
    }

    pub(crate) fn buffer(&self, handle: u64) -> Option<&Buffer> {
        self.buffers.get(&handle)
    }

    /// Removes a buffer object.
    pub(crate) fn free(&mut self, handle: u64) {
        if let Some(buffer) = self.buffers.remove(&handle) {
            self.unuse(buffer.block);
        }
    }

    fn unuse(&mut self, block: Option<u64>) {
        let Some(offset) = block else { return };
        let Some(block) = self.blocks.get_mut(&offset) else { return };
        block.users -= 1;
        if block.users > 0 {
            return;
        }
        let (size, vram) = (block.size, block.vram);
        self.blocks.remove(&offset);
        self.heap.release(offset, size);
        if let Some(gpu) = vram {
            self.used[gpu] -= heap::rounded(size);
        }
        if let Some(backing) = self.backing {
            sys::punch_hole(backing.fd, offset, heap::rounded(size));
        }
    }

    /// Maps a buffer object on a GPU.
    pub(crate) fn map(&mut self, handle: u64, gpu: usize) -> Result<()> {
        let buffer = self.buffers.get_mut(&handle).ok_or(Errno(libc::ENOMEM))?;
        let (bit, va, end, place) = (1 << gpu, buffer.va, buffer.va + buffer.size, buffer.place);
        if buffer.mapped & bit != 0 {
            return Ok(());
        }
        self.map_range(gpu, va, end, place)?;
        if let Some(buffer) = self.buffers.get_mut(&handle) {
            buffer.mapped |= bit;
        }
        Ok(())
    }

    /// Enters a range into the address space of a GPU.
    pub(crate) fn map_range(&mut self, gpu: usize, va: u64, end: u64, place: Place) -> Result<()> {
        let bit = 1 << gpu;
        let taken = |(start, mapping): (&u64, &Mapping)| {
            mapping.end > va && (mapping.gpus & bit != 0 || *start != va || mapping.place != place)
        };
        // amdgpu_vm_bo_map refuses a range that is taken (amdgpu_vm.c 6.12).
        if !va.is_multiple_of(4096)
            || self.mappings.range(..end).rev().take_while(|(_, m)| m.end > va).any(taken)
        {
            return Err(Errno(libc::EINVAL));
        }
        self.mappings.entry(va).or_insert(Mapping { end, place, gpus: 0 }).gpus |= bit;
        Ok(())
    }

    /// Takes a buffer object off a GPU.
    pub(crate) fn unmap(&mut self, handle: u64, gpu: usize) -> Result<()> {
        let buffer = self.buffers.get_mut(&handle).ok_or(Errno(libc::ENOMEM))?;
        let (bit, va) = (1 << gpu, buffer.va);
        if buffer.mapped & bit != 0 {
            buffer.mapped &= !bit;
            self.unmap_range(gpu, va);
        }
        Ok(())
    }

    /// Takes the range that starts at `va` off a GPU.
    pub(crate) fn unmap_range(&mut self, gpu: usize, va: u64) {
        if let Some(mapping) = self.mappings.get_mut(&va) {
            mapping.gpus &= !(1 << gpu);
            if mapping.gpus == 0 {
                self.mappings.remove(&va);
            }
        }
    }

    /// Whether any GPU has something mapped in a range.
    pub(crate) fn is_mapped(&self, start: u64, end: u64) -> bool {
        self.mappings.range(..end).next_back().is_some_and(|(_, mapping)| mapping.end > start)
    }

    /// Address of GPU memory in this process. What is not mapped by KFD or amdgpu is system
    /// memory under the same address, as with SVM.
    pub(crate) fn resolve(&self, gpu: usize, va: u64, size: u64) -> Result<u64> {
        let Some((start, mapping)) =
            self.mappings.range(..=va).next_back().filter(|(_, mapping)| va < mapping.end)
        else {
            return Ok(va);
        };
        let inside = va.checked_add(size).is_some_and(|end| end <= mapping.end);
        if mapping.gpus & 1 << gpu == 0 || !inside {
            return Err(Errno(libc::EFAULT));
        }
        let place = mapping.place.plus(va - start);
        self.backing.map(|backing| backing.address(place)).ok_or(Errno(libc::EFAULT))
    }

    /// Whether a part of the file belongs to one buffer.
    pub(crate) fn is_buffer(&self, offset: u64, length: u64) -> bool {
        self.blocks.range(..=offset).next_back().is_some_and(|(start, block)| {
            let end = start + heap::rounded(block.size);
            offset.checked_add(length).is_some_and(|last| last <= end)
        })
    }

    /// Address of a place in this process.
    pub(crate) fn address(&self, place: Place) -> Option<u64> {
        Some(self.backing?.address(place))
    }

    /// Where the mapping that covers `va` starts, and its address and size, if it is memory of
    /// the file: code objects are looked for there.
    pub(crate) fn image(&self, gpu: usize, va: u64) -> Option<(u64, u64, u64)> {
        let (start, mapping) = self.mappings.range(..=va).next_back()?;
        let inside = va < mapping.end && mapping.gpus & 1 << gpu != 0;
        match mapping.place {
            Place::File(_) if inside => {
                Some((*start, self.address(mapping.place)?, mapping.end - start))
            }
            _ => None,
        }
    }
}
