//! Buffers of other processes, which come here as dma-bufs over a socket.
//!
//! The name of the descriptor's file says whose they are and where. Their bytes are mapped over
//! a part of this process's own file, so that nothing else has to know the difference; only a
//! program's mmap has to be led to the other file (`Memory::source`). A lock on the range of the
//! exporter's file keeps its bytes for as long as the importer has them. A buffer that is freed
//! on the way, with no process that has it, is gone.

use std::ffi::CString;
use std::os::fd::RawFd;

use super::{Block, Buffer, Memory, Metadata, Place};
use crate::config::Config;
use crate::sys::{self, Errno, Result};

const INVALID: Errno = Errno(libc::EINVAL);
/// What the name of a dma-buf's file begins with.
const NAME: &str = "kfdsim-dmabuf";

/// Where the bytes of a buffer of another process are.
#[derive(Debug)]
pub(super) struct Foreign {
    /// Our descriptor of its file.
    fd: RawFd,
    offset: u64,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        sys::close(self.fd);
    }
}

/// What the name of a dma-buf says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exported {
    /// The process, its descriptor of the file, and its number of the export.
    process: u32,
    file: u32,
    pub(crate) id: u32,
    gpu: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

impl Exported {
    fn name(&self) -> CString {
        let Exported { process, file, id, gpu, flags, offset, size } = self;
        let name = format!("{NAME}:{process}:{file}:{id}:{gpu}:{flags}:{offset}:{size}");
        CString::new(name).unwrap_or_default()
    }

    /// From the path of a descriptor.
    fn parse(path: &str) -> Option<Exported> {
        let path = path.strip_prefix("/memfd:")?.strip_prefix(NAME)?.strip_prefix(':')?;
        let mut parts = path.split(' ').next()?.split(':').map(str::parse::<u64>);
        let mut next = || parts.next()?.ok();
        let mut word = || next().and_then(|value| u32::try_from(value).ok());
        Some(Exported {
            process: word()?,
            file: word()?,
            id: word()?,
            gpu: word()?,
            flags: word()?,
            offset: next()?,
            size: next()?,
        })
    }

    /// What a descriptor that came from somewhere is.
    pub(crate) fn of(fd: RawFd) -> Option<Exported> {
        Exported::parse(std::str::from_utf8(&sys::path_of(fd)?).ok()?)
    }

    /// Whether this process exported it.
    pub(crate) fn is_own(&self) -> bool {
        self.process == sys::pid()
    }
}

/// Of 256 bytes of data at most, and three words before it: their number, flags and tiling.
const METADATA: usize = 24 + 256;

/// What is written into an export's file, of which nothing else is read: what the graphics
/// stack keeps with the buffer, as it is at that time.
fn written(metadata: &Metadata) -> Vec<u8> {
    let words = [metadata.data.len() as u64, metadata.flags, metadata.tiling];
    [bytemuck::cast_slice(&words), &metadata.data[..]].concat()
}

fn read(bytes: &[u8; METADATA]) -> Metadata {
    let word = |index: usize| {
        u64::from_ne_bytes(bytes[index * 8..index * 8 + 8].try_into().unwrap_or_default())
    };
    let length = (word(0) as usize).min(METADATA - 24);
    Metadata { flags: word(1), tiling: word(2), data: bytes[24..24 + length].to_vec() }
}

impl Memory {
    /// A descriptor for an export, of a file with the buffer's size, as lseek on a dma-buf
    /// tells it.
    pub(crate) fn descriptor(&self, id: u32) -> Result<RawFd> {
        let (name, size) = self.export_name(id).ok_or(INVALID)?;
        let fd = sys::memfd(&name, size)?;
        let metadata = self.exported.get(&id).map(|buffer| self.metadata(buffer));
        let metadata = written(&metadata.unwrap_or_default());
        sys::write_at_start(fd, &metadata).inspect_err(|_| sys::close(fd))?;
        Ok(fd)
    }

    /// The name of the file of an export's descriptor, and its size.
    fn export_name(&self, id: u32) -> Option<(CString, u64)> {
        let buffer = self.exported.get(&id)?;
        let Place::File(offset) = buffer.place else {
            // The memory of the process: nobody else's.
            return Some((CString::new(NAME).ok()?, buffer.size));
        };
        let exported = Exported {
            process: sys::pid(),
            file: u32::try_from(self.backing?.fd).ok()?,
            id,
            gpu: buffer.gpu as u32,
            flags: buffer.flags,
            offset,
            size: buffer.size,
        };
        Some((exported.name(), buffer.size))
    }

    /// Takes a buffer of another process as an export of this one; gives its number.
    pub(crate) fn adopt(&mut self, config: &Config, fd: RawFd, from: &Exported) -> Result<u32> {
        let metadata = read(&sys::read_at_start(fd)?);
        let gpu = from.gpu as usize;
        if gpu >= config.boards.len() || from.size == 0 {
            return Err(INVALID);
        }
        let path = CString::new(format!("/proc/{}/fd/{}", from.process, from.file));
        let path = path.map_err(|_| INVALID)?;
        let fd = sys::open(&path, libc::O_RDWR | libc::O_CLOEXEC, 0).map_err(|_| INVALID)?;
        let foreign = Foreign { fd: sys::move_high(fd), offset: from.offset };
        sys::lock_range(foreign.fd, from.offset, from.size)?;
        let backing = self.backing(config);
        let at = self.heap.allocate(from.size).ok_or(Errno(libc::ENOMEM))?;
        let address = backing.address(Place::File(at));
        if !lay(address, from.size, foreign.fd, from.offset) {
            self.heap.release(at, from.size);
            return Err(Errno(libc::ENOMEM));
        }
        let block =
            Block { size: from.size, users: 1, vram: None, metadata, foreign: Some(foreign) };
        self.blocks.insert(at, block);
        let buffer = Buffer {
            gpu,
            va: 0,
            size: from.size,
            flags: from.flags,
            place: Place::File(at),
            mapped: 0,
            by: None,
            block: Some(at),
        };
        self.last_export += 1;
        self.exported.insert(self.last_export, buffer);
        Ok(self.last_export)
    }

    /// Puts the own file back where a foreign buffer was.
    pub(super) fn disown(&self, at: u64, size: u64) {
        if let Some(backing) = self.backing {
            // If that fails the bytes stay the other's; the place is then not used again soon.
            let _ = lay(backing.address(Place::File(at)), size, backing.fd, at);
        }
    }

    /// The file and offset that the program's mmap of a buffer at an offset goes to, if it is
    /// another process's.
    pub(crate) fn source(&self, offset: u64) -> Option<(RawFd, u64)> {
        let (start, block) = self.blocks.range(..=offset).next_back()?;
        let foreign = block.foreign.as_ref()?;
        Some((foreign.fd, foreign.offset + (offset - start)))
    }
}

/// Maps a part of a file over a part of the simulator's own mapping.
fn lay(address: u64, size: u64, fd: RawFd, offset: u64) -> bool {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_NORESERVE | libc::MAP_FIXED;
    let length = size.next_multiple_of(4096) as usize;
    // SAFETY: the place was given by the heap for this buffer alone, within the mapping.
    let laid = unsafe { sys::mmap(address as *mut _, length, protection, flags, fd, offset) };
    laid != libc::MAP_FAILED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_as_it_was_written() {
        let metadata = Metadata { flags: 5, tiling: 7, data: b"tag".to_vec() };
        let mut file = [0; METADATA];
        let bytes = written(&metadata);
        file[..bytes.len()].copy_from_slice(&bytes);
        let Metadata { flags, tiling, data } = read(&file);
        assert_eq!((flags, tiling, &data[..]), (5, 7, &b"tag"[..]));
    }

    #[test]
    fn the_name_of_a_descriptor_says_where_the_buffer_is() {
        let exported = Exported {
            process: 4_194_303,
            file: 960,
            id: 3,
            gpu: 1,
            flags: 0x9000_0001,
            offset: 0x7000_0000,
            size: 40 << 20,
        };
        let name = exported.name().into_string().unwrap();
        assert_eq!(Exported::parse(&format!("/memfd:{name} (deleted)")), Some(exported));
        assert_eq!(Exported::parse("/memfd:kfdsim-dmabuf (deleted)"), None);
        assert_eq!(Exported::parse("/memfd:other:1:2:3:4:5:6:7 (deleted)"), None);
        assert!(name.len() < 250, "memfd_create takes no longer one");
    }
}
