//! Looking up an exported function in the memory of a loaded object, without dlsym: the one
//! way to find the real dlsym from a library that exports one itself. Allocates nothing.

use std::ffi::CStr;

use crate::objects;

/// <elf.h>: tags of the dynamic section.
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_GNU_HASH: u64 = 0x6fff_fef5;

/// Elf64_Dyn
#[repr(C)]
struct Dynamic {
    tag: u64,
    value: u64,
}

/// Elf64_Sym
#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: u64,
    size: u64,
}

/// The address of `name` in the first object after this library that has it, else in the first
/// one whose file name starts with one of `files`; null if there is none.
pub(crate) fn next(files: &[&[u8]], name: &CStr) -> *const () {
    let mut after_us = false;
    let found = search(name, |ours, _| {
        after_us |= ours;
        after_us
    });
    if found.is_null() { in_files(files, name) } else { found }
}

/// The address of `name` in the first loaded object whose file name starts with one of `files`
/// and that has it; null if there is none.
pub(crate) fn in_files(files: &[&[u8]], name: &CStr) -> *const () {
    search(name, |_, file| files.iter().any(|wanted| file.starts_with(wanted)))
}

/// The address of `name` in the first object, in the loader's order, that `wanted` accepts and
/// that has it; `wanted` is told whether it is this library, whose own export does not count.
fn search(name: &CStr, mut wanted: impl FnMut(bool, &[u8]) -> bool) -> *const () {
    let mut found = std::ptr::null();
    objects::each(|info, path| {
        let file = objects::file_name(path);
        let ours = objects::scope(info).contains(next as *const () as usize);
        // The addresses in the tables of the kernel's own object are not made absolute.
        if wanted(ours, file) && !ours && !file.starts_with(b"linux-vdso") {
            // SAFETY: the object is mapped for as long as the loader shows it.
            found = unsafe { in_object(info, name) };
        }
        !found.is_null()
    });
    found
}

/// # Safety
/// The object must be mapped.
unsafe fn in_object(info: &libc::dl_phdr_info, name: &CStr) -> *const () {
    let base = info.dlpi_addr as usize;
    let Some(dynamic) =
        objects::headers(info).iter().find(|header| header.p_type == libc::PT_DYNAMIC)
    else {
        return std::ptr::null();
    };
    let (mut symbols, mut strings, mut hash) = (0, 0, 0);
    let mut entry = (base + dynamic.p_vaddr as usize) as *const Dynamic;
    loop {
        // SAFETY: the dynamic section ends with a null tag.
        let Dynamic { tag, value } = unsafe { &*entry };
        // glibc has made the addresses absolute.
        match *tag {
            0 => break,
            DT_SYMTAB => symbols = *value as usize,
            DT_STRTAB => strings = *value as usize,
            DT_GNU_HASH => hash = *value as usize,
            _ => {}
        }
        entry = entry.wrapping_add(1);
    }
    if symbols == 0 || strings == 0 || hash == 0 {
        return std::ptr::null();
    }
    // SAFETY: these are the tables of a mapped object.
    match unsafe { by_hash(hash as *const u32, symbols as *const Symbol, strings, name) } {
        0 => std::ptr::null(),
        value => (base + value) as *const (),
    }
}

/// The value of a symbol by the GNU hash table: header, bloom filter, buckets, chains.
///
/// # Safety
/// The tables must be those of a mapped object.
unsafe fn by_hash(table: *const u32, symbols: *const Symbol, strings: usize, name: &CStr) -> usize {
    let wanted = name
        .to_bytes()
        .iter()
        .fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(*byte)));
    // SAFETY: the header has four words, then come bloom words of 64 bits, then the buckets.
    unsafe {
        let (buckets, first, bloom) = (*table, *table.add(1), *table.add(2));
        if buckets == 0 {
            return 0;
        }
        let bucket = table.add(4 + bloom as usize * 2);
        let chain = bucket.add(buckets as usize);
        let mut index = *bucket.add((wanted % buckets) as usize);
        while index >= first {
            let hash = *chain.add((index - first) as usize);
            let symbol = &*symbols.add(index as usize);
            if hash | 1 == wanted | 1
                && symbol.section != 0
                && CStr::from_ptr((strings + symbol.name as usize) as *const _) == name
            {
                return symbol.value as usize;
            }
            if hash & 1 == 1 {
                break;
            }
            index += 1;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_the_c_library_is_found_where_dlsym_finds_it() {
        for name in [c"getenv", c"dl_iterate_phdr", c"mmap"] {
            // SAFETY: a valid name.
            let expected = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            assert_eq!(next(&[b"libc.so.6"], name), expected.cast_const().cast(), "{name:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert!(next(&[b"libc.so.6"], c"hipMalloc").is_null());
    }
}
