//! Recognises ROCm's own copy and fill kernels and does what they do.
//!
//! Code is not executed. ROCr's internal kernels have no names and are told by the shape of
//! their arguments; those of HIP are found by name in the code object. Everything else is a
//! remark in the log.

use super::access::{Access, Result, Stop};

/// ELF64 constants (elf.h).
mod elf {
    pub(super) const PT_DYNAMIC: u32 = 2;
    pub(super) const DT_NULL: u64 = 0;
    pub(super) const DT_HASH: u64 = 4;
    pub(super) const DT_STRTAB: u64 = 5;
    pub(super) const DT_SYMTAB: u64 = 6;
    pub(super) const SYMBOL: u64 = 24;
    pub(super) const HEADER: usize = 64;
    pub(super) const PROGRAM_HEADER: usize = 56;
}

/// Bytes of kernel arguments that are looked at.
const ARGUMENTS: usize = 96;

/// Kernel arguments as words.
struct Arguments(Vec<u8>);

impl Arguments {
    fn long(&self, index: usize) -> u64 {
        long(&self.0, index * 8)
    }

    fn word(&self, index: usize) -> u32 {
        word(&self.0, index * 4)
    }
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|part| part.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// A kernel is dispatched: `object` is the address of its descriptor.
pub(super) fn dispatch(access: &Access, object: u64, kernarg: u64) -> Result<()> {
    match try_dispatch(access, object, kernarg) {
        Err(Stop::Bad(reason)) => {
            access.sim.note(format!("kernel at {object:#x} did nothing: {reason}"));
            Ok(())
        }
        result => result,
    }
}

fn try_dispatch(access: &Access, object: u64, kernarg: u64) -> Result<()> {
    let arguments = || {
        // The segment may end before what is looked at.
        let read = |size: usize| {
            let mut bytes = vec![0; size];
            access.read(kernarg, &mut bytes, "arguments").ok().map(|()| Arguments(bytes))
        };
        let available = (0..=ARGUMENTS).rev().step_by(8).find_map(read);
        available.ok_or_else(|| Stop::from("arguments are not readable"))
    };
    let image = access.sim.lock().memory.image(access.gpu, object);
    let Some(image) = image.filter(|image| is_elf(*image)) else {
        return internal(access, &arguments()?);
    };
    let name = name(image, object).ok_or("no name")?;
    if name.starts_with("__amd_rocclr_fillBuffer") {
        fill_buffer(access, &arguments()?)
    } else if name.starts_with("__amd_rocclr_copyBuffer.") {
        copy_buffer(access, &arguments()?)
    } else {
        Err(format!("{name} is not one of ROCm's own").into())
    }
}

/// ROCr's kernels (core/runtime/amd_blit_kernel.cpp, BlitKernel::KernelArgs): each has the
/// ends of phases in its arguments.
fn internal(access: &Access, arguments: &Arguments) -> Result<()> {
    let a = |index| arguments.long(index);
    let within = |value: u64, first: u64, last: u64| (first..=last).contains(&value);
    // copy_aligned: phase 1 to 4 source and destination, then their common end.
    if a(8) > a(0)
        && a(8) - a(0) == a(9).wrapping_sub(a(1))
        && within(a(2), a(0), a(8))
        && a(6) <= a(8)
    {
        return access.copy(a(1), a(0), a(8) - a(0));
    }
    // copy_misaligned: two phases.
    if a(4) > a(0) && a(4) - a(0) == a(5).wrapping_sub(a(1)) && within(a(2), a(0), a(4)) {
        return access.copy(a(1), a(0), a(4) - a(0));
    }
    // fill: two phases, then the value.
    if a(2) > a(0) && within(a(1), a(0), a(2)) {
        return access.fill(a(0), a(2) - a(0), &arguments.word(6).to_le_bytes());
    }
    Err("an unknown kernel of ROCr".into())
}

/// `__amd_rocclr_fillBufferAligned` of HIP (rocclr, blitcl.cpp), in both its layouts.
fn fill_buffer(access: &Access, arguments: &Arguments) -> Result<()> {
    let a = |index| arguments.long(index);
    let w = |index| arguments.word(index);
    // ROCm 6: start, pattern, pattern size in elements, element size, ..., end.
    if matches!(w(5), 1 | 2 | 4 | 8 | 16) && a(3) > a(0) {
        let pattern = pattern(access, a(1), u64::from(w(4)) * u64::from(w(5)))?;
        return access.fill(a(0), a(3) - a(0), &pattern);
    }
    // ROCm 5: one pointer for each element size (1, 2, 4, 8), of which one is set; pattern;
    // pattern size in elements; offset in elements; number of patterns.
    let index = (0..4u32)
        .rev()
        .find(|index| a(*index as usize) != 0)
        .ok_or("fill without a destination")?;
    let size = u64::from(w(10)) << index;
    let pattern = pattern(access, a(4), size)?;
    let offset = a(6).wrapping_shl(index);
    access.fill(a(index as usize).wrapping_add(offset), a(7).saturating_mul(size), &pattern)
}

/// The pattern of a fill.
fn pattern(access: &Access, va: u64, size: u64) -> Result<Vec<u8>> {
    if size > 4096 {
        return Err(format!("a fill pattern of {size} bytes").into());
    }
    let mut bytes = vec![0; size as usize];
    access.read(va, &mut bytes, "fill pattern")?;
    Ok(bytes)
}

/// `__amd_rocclr_copyBuffer` of HIP, in both its layouts.
fn copy_buffer(access: &Access, arguments: &Arguments) -> Result<()> {
    let a = |index| arguments.long(index);
    let w = |index| arguments.word(index);
    // ROCm 6: source, destination, size, remainder, element size, end of the destination.
    if matches!(w(7), 4 | 16) && a(4) >= a(1) {
        return access.copy(a(1), a(0), a(4) - a(1) + u64::from(w(6)));
    }
    // ROCm 5: source, destination, their offsets in bytes, number of work items, remainder.
    // Each item copies four bytes, the last one the remainder; or, with 8, one byte each.
    let (from, to) = (a(0).wrapping_add(a(2)), a(1).wrapping_add(a(3)));
    match (a(4), w(10)) {
        (items, 8) => access.copy(to, from, items),
        (items @ 1.., remainder @ 0..4) => {
            access.copy(to, from, (items - 1).saturating_mul(4) + u64::from(remainder))
        }
        _ => Err("arguments of copyBuffer in an unknown layout".into()),
    }
}

/// Whether an image starts with an ELF header; ROCr's own kernels are bare code.
fn is_elf((_, address, size): (u64, u64, u64)) -> bool {
    size >= 4 && crate::sys::read::<[u8; 4]>(address) == Ok(*b"\x7fELF")
}

/// The symbol of a kernel descriptor. The loader places a code object as one image that
/// starts with its ELF header; `image` is its GPU address, its address here and its size.
fn name((start, address, size): (u64, u64, u64), object: u64) -> Option<String> {
    let read = |offset: u64, length: usize| -> Option<Vec<u8>> {
        if offset.checked_add(length as u64)? > size {
            return None;
        }
        let mut bytes = vec![0; length];
        crate::sys::copy_from_user(&mut bytes, address + offset).ok()?;
        Some(bytes)
    };
    let header = read(0, elf::HEADER)?;
    let (table, count) = (long(&header, 32), word(&header, 56) & 0xffff);
    let headers = read(table, count as usize * elf::PROGRAM_HEADER)?;
    let dynamic = headers
        .chunks_exact(elf::PROGRAM_HEADER)
        .find(|header| word(header, 0) == elf::PT_DYNAMIC)?;
    let (offset, length) = (long(dynamic, 16), long(dynamic, 40));
    let entries = read(offset, length.min(size) as usize)?;
    let entry = |tag: u64| {
        let entries = entries.chunks_exact(16).take_while(|entry| long(entry, 0) != elf::DT_NULL);
        entries.filter(|entry| long(entry, 0) == tag).map(|entry| long(entry, 8)).next()
    };
    let (symbols, strings) = (entry(elf::DT_SYMTAB)?, entry(elf::DT_STRTAB)?);
    let count = word(&read(entry(elf::DT_HASH)? + 4, 4)?, 0); // nchain is the number of symbols
    let table = read(symbols, usize::try_from(u64::from(count) * elf::SYMBOL).ok()?)?;
    let symbol = table
        .chunks_exact(elf::SYMBOL as usize)
        .find(|symbol| long(symbol, 8) == object.wrapping_sub(start))?;
    let at = strings + u64::from(word(symbol, 0));
    let bytes = read(at, 512.min(size.saturating_sub(at)) as usize)?;
    let end = bytes.iter().position(|byte| *byte == 0)?;
    String::from_utf8(bytes[..end].to_vec()).ok()
}
