//! GPU memory: buffer objects, what is mapped where, and the file behind it.
//!
//! All VRAM, GTT, doorbells and registers are parts of one sparse file. /dev/kfd and the
//! render nodes are further opens of it, so mmap of them needs no emulation. The whole file
//! is also mapped once for the simulator itself; that mapping never moves or goes away, so an
//! address in it stays good without the lock.

mod foreign;
mod heap;
mod mappings;
mod sharing;

use std::collections::BTreeMap;
use std::ffi::c_int;

use kfd_abi::flags::alloc;
use kfd_abi::ioctl::SIGNAL_EVENT_LIMIT;

use crate::config::{Config, MAX_GPUS};
use crate::events::UNSIGNALED;
use crate::sys::{self, Errno, Result};
use crate::tree::gpu_id;
pub(crate) use foreign::Exported;
use foreign::Foreign;
use heap::Heap;
pub(crate) use sharing::Metadata;

/// `KFD_DOORBELL` slice of a process: two pages (kfd_doorbell.c, kfd_doorbell_process_slice).
pub(crate) const DOORBELL_SLICE: u64 = 8192;
const DOORBELLS: u64 = 0x1_0000;
/// The event page of user space that does not bring its own.
pub(crate) const EVENT_PAGE: u64 = 0x10_0000;
const MMIO: u64 = 0x20_0000;
const HEAP: u64 = 0x1000_0000;
/// `VRAM_AVAILABLITY_ALIGN` (amdgpu_amdkfd_gpuvm.c 6.12).
const VRAM_ALIGN: u64 = 2 << 20;
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
    /// Bytes of memory, whole pages.
    pub(crate) size: u64,
    pub(crate) flags: u32,
    pub(crate) place: Place,
    /// The GPUs it is mapped on by KFD, as bits.
    pub(crate) mapped: u32,
    /// The library function that asked for it, where that is looked for.
    pub(crate) by: Option<String>,
    /// Place of the heap that it shares with its imports, if it has one.
    block: Option<u64>,
}

impl Buffer {
    /// Where it is mapped: the ring of an AQL queue twice, one after the other (kfd_mem_attach).
    fn addresses(&self) -> impl Iterator<Item = u64> {
        let copies = if self.flags & alloc::AQL_QUEUE_MEM == 0 { 1 } else { 2 };
        let (va, size) = (self.va, self.size);
        (0..copies).map(move |copy| va.wrapping_add(copy * size))
    }
}

/// A part of the heap and the buffers and descriptors that keep it.
#[derive(Debug)]
struct Block {
    size: u64,
    users: usize,
    /// Whose VRAM it is.
    vram: Option<usize>,
    /// What the graphics stack wrote about it.
    metadata: Metadata,
    /// Where its bytes are if they are another process's.
    foreign: Option<Foreign>,
}

/// Part of the GPUs' address space.
#[derive(Clone, Copy, Debug)]
struct Mapping {
    end: u64,
    place: Place,
    /// The GPUs that have it, as bits.
    gpus: u32,
    /// GPUs may not write it.
    read_only: bool,
}

/// Part of the address space of a GPU, from an address on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The address in this process.
    pub(crate) address: u64,
    /// Bytes to the end of the mapping.
    pub(crate) left: u64,
    pub(crate) writable: bool,
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
    /// Blocks without users, which other processes have imported.
    left: Vec<u64>,
    buffers: BTreeMap<u64, Buffer>,
    last_handle: u32,
    mappings: BTreeMap<u64, Mapping>,
    /// VRAM in use, by GPU; and with every buffer rounded up to 2 MiB, as KFD tells it.
    used: Vec<u64>,
    used_aligned: Vec<u64>,
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
            left: Vec::new(),
            buffers: BTreeMap::new(),
            last_handle: 0,
            mappings: BTreeMap::new(),
            used: vec![0; gpus],
            used_aligned: vec![0; gpus],
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
                // allocate_signal_page (kfd_events.c): no slot is signaled.
                let slots = vec![UNSIGNALED; SIGNAL_EVENT_LIMIT as usize];
                sys::copy_to_user(base as u64 + EVENT_PAGE, bytemuck::cast_slice(&slots))?;
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

    /// As amdgpu_amdkfd_get_available_memory counts it (VRAM_AVAILABLITY_ALIGN).
    pub(crate) fn vram_used_aligned(&self, gpu: usize) -> u64 {
        self.used_aligned[gpu]
    }

    /// The file, by device and inode number, if it has been made.
    pub(crate) fn file(&self) -> Option<(u64, u64)> {
        self.backing?.file
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
            self.blocks.insert(
                offset,
                Block { size, users: 1, vram, metadata: Metadata::default(), foreign: None },
            );
            if vram.is_some() {
                self.used[gpu] += heap::rounded(size);
                self.used_aligned[gpu] += size.next_multiple_of(VRAM_ALIGN);
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
        Ok(self.insert(Buffer { gpu, va, size, flags, place, mapped: 0, by: None, block }))
    }

    fn insert(&mut self, buffer: Buffer) -> u64 {
        self.last_handle += 1;
        let handle = u64::from(gpu_id(buffer.gpu)) << 32 | u64::from(self.last_handle);
        self.buffers.insert(handle, buffer);
        handle
    }

    /// Remembers the library function that asked for a buffer object.
    pub(crate) fn name(&mut self, handle: u64, by: Option<String>) {
        if let Some(buffer) = self.buffers.get_mut(&handle) {
            buffer.by = by;
        }
    }

    /// All buffer objects with their handles.
    pub(crate) fn buffers(&self) -> impl Iterator<Item = (u64, &Buffer)> {
        self.buffers.iter().map(|(handle, buffer)| (*handle, buffer))
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
        self.left.push(offset);
        for offset in std::mem::take(&mut self.left) {
            self.release(offset);
        }
    }

    /// Gives back a block that has no users here, unless another process has it.
    fn release(&mut self, offset: u64) {
        let Some(block) = self.blocks.get(&offset) else { return };
        let (size, vram, foreign) = (block.size, block.vram, block.foreign.is_some());
        if self.backing.is_some_and(|backing| sys::is_locked(backing.fd, offset, size)) {
            self.left.push(offset);
            return;
        }
        self.blocks.remove(&offset);
        if foreign {
            self.disown(offset, size);
        }
        self.heap.release(offset, size);
        if let Some(gpu) = vram {
            self.used[gpu] -= heap::rounded(size);
            self.used_aligned[gpu] -= size.next_multiple_of(VRAM_ALIGN);
        }
        if let Some(backing) = self.backing {
            sys::punch_hole(backing.fd, offset, heap::rounded(size));
        }
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
}
