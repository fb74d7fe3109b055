//! The built library: it exports what the table says and nothing else, and needs nothing but
//! the C library.

mod common;

use std::collections::BTreeSet;

use object::read::elf::{Dyn, ElfFile64, FileHeader};
use object::{Object, ObjectSymbol, elf};

macro_rules! hooks {
    ($($variant:ident, $library:ident, $name:ident, $register:ident, $handler:path, $what:literal;)*) => {
        const TABLE: &[&str] = &[$(stringify!($name),)*];
    };
}

include!("../src/table.rs");

fn library() -> Vec<u8> {
    std::fs::read(common::rdnafix()).expect("the library is readable")
}

#[test]
fn the_exports_are_those_of_the_table() {
    let bytes = library();
    let file = ElfFile64::<object::Endianness>::parse(&bytes[..]).expect("an ELF file");
    let exported: BTreeSet<&str> = file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition() && symbol.is_global())
        .filter_map(|symbol| symbol.name().ok())
        .collect();
    // Beside the table: ROCr's tool interface (src/tool.rs) and symbol lookup (src/dl.rs).
    let others = ["OnLoad", "OnUnload", "HSA_AMD_TOOL_PRIORITY", "dlsym", "dlvsym"];
    assert_eq!(exported, TABLE.iter().copied().chain(others).collect());
}

#[test]
fn only_the_c_library_and_the_loader_are_needed() {
    let bytes = library();
    let file = ElfFile64::<object::Endianness>::parse(&bytes[..]).expect("an ELF file");
    let endian = file.endian();
    let sections = file.elf_header().sections(endian, &bytes[..]).expect("sections");
    let (dynamic, strings) =
        sections.dynamic(endian, &bytes[..]).expect("readable").expect("a dynamic section");
    let strings = sections.strings(endian, &bytes[..], strings).expect("its strings");
    let needed: BTreeSet<&str> = dynamic
        .iter()
        .filter(|entry| entry.tag(endian) == elf::DT_NEEDED)
        .map(|entry| {
            std::str::from_utf8(entry.string(endian, strings).expect("a name")).expect("ASCII")
        })
        .collect();
    assert_eq!(needed, BTreeSet::from(["libc.so.6", "ld-linux-x86-64.so.2"]));
}
