//! Checking a library that was built: that it is what its name says, and will find what it needs
//! where it is installed. Reads only.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use memchr::memmem;
use object::elf::{self, DynamicTag};
use object::read::elf::{Dyn, ElfFile64, FileHeader};
use object::{Endianness, Object, ObjectSymbol};

use super::release::Component;

/// What the patches read, and nothing else in ROCm does.
const OF_THE_PATCHES: &[u8] = b"RDNAFIX_POLICY";

/// Checks a library.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(component: &Component, patched: bool, library: &Path) -> Result<()> {
    let is_hip = component.library.starts_with("libamdhip64");
    let exported = if is_hip {
        ["hipMallocManaged", "hipHostMalloc"]
    } else {
        ["hsa_init", "hsa_amd_memory_pool_allocate"]
    };
    let data = fs::read(library).with_context(|| format!("cannot read {}", library.display()))?;
    let name = library.display();
    let file =
        ElfFile64::<Endianness>::parse(&*data).with_context(|| format!("{name}: no ELF file"))?;
    let names: Vec<&str> = file.dynamic_symbols().filter_map(|symbol| symbol.name().ok()).collect();
    for function in exported {
        if !names.contains(&function) {
            bail!("{name}: does not export {function}");
        }
    }
    let dynamic = dynamic(&file, &data).with_context(|| format!("{name}: its dynamic section"))?;
    let all = |tag: DynamicTag| {
        dynamic.iter().filter(move |(of, _)| *of == tag).map(|(_, text)| &text[..])
    };
    if all(elf::DT_SONAME).next() != Some(&component.library) {
        bail!("{name}: its soname is not {}", component.library);
    }
    if is_hip {
        let paths: Vec<&str> = all(elf::DT_RUNPATH).collect();
        if paths != ["$ORIGIN"] {
            bail!(
                "{name}: its RUNPATH is {paths:?} and not $ORIGIN, where the patched libhsa-runtime64 is"
            );
        }
        if !all(elf::DT_NEEDED).any(|needed| needed.starts_with("libhsa-runtime64.so.")) {
            bail!("{name}: does not need libhsa-runtime64");
        }
    }
    if memmem::find(&data, OF_THE_PATCHES).is_some() != patched {
        bail!("{name}: {}", if patched { "the patches are not in it" } else { "it is not stock" });
    }
    Ok(())
}

/// What a library must find where it is used, such as `GLIBC` and `2.38`: of each family of
/// versions the newest that it names. What is built on a newer system may not start on an older.
///
/// # Errors
/// Where it is no ELF file.
pub(super) fn needs(library: &Path) -> Result<BTreeMap<String, String>> {
    let data = fs::read(library).with_context(|| format!("cannot read {}", library.display()))?;
    let file = ElfFile64::<Endianness>::parse(&*data)
        .with_context(|| format!("{}: no ELF file", library.display()))?;
    let endian = file.endian();
    let sections = file.elf_header().sections(endian, &*data)?;
    let mut newest: BTreeMap<String, String> = BTreeMap::new();
    let Some((mut files, strings)) = sections.gnu_verneed(endian, &*data)? else {
        return Ok(newest);
    };
    let strings = sections.strings(endian, &*data, strings)?;
    while let Some((_, mut versions)) = files.next()? {
        while let Some(version) = versions.next()? {
            let name = String::from_utf8_lossy(version.name(endian, strings)?).into_owned();
            let Some((family, version)) = name.rsplit_once('_') else { continue };
            let numbers = |text: &str| -> Vec<u32> {
                text.split('.').filter_map(|part| part.parse().ok()).collect()
            };
            let known = newest.entry(family.to_owned()).or_default();
            if numbers(version) > numbers(known) {
                version.clone_into(known);
            }
        }
    }
    // Other libraries' own versions are those of their sonames.
    newest.retain(|family, _| ["GLIBC", "GLIBCXX", "CXXABI"].contains(&&family[..]));
    Ok(newest)
}

/// The entries of the dynamic section that are texts.
fn dynamic(file: &ElfFile64<'_, Endianness>, data: &[u8]) -> Result<Vec<(DynamicTag, String)>> {
    let endian = file.endian();
    let sections = file.elf_header().sections(endian, data)?;
    let (entries, strings) = sections.dynamic(endian, data)?.context("there is none")?;
    let strings = sections.strings(endian, data, strings)?;
    let texts = [elf::DT_SONAME, elf::DT_RUNPATH, elf::DT_NEEDED];
    entries
        .iter()
        .map(|entry| (entry.d_tag(endian), entry))
        .filter(|(tag, _)| texts.contains(tag))
        .map(|(tag, entry)| {
            let text = entry.string(endian, strings)?;
            Ok((tag, String::from_utf8_lossy(text).into_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_of_each_family_is_what_is_needed() {
        let needs = needs(&std::env::current_exe().unwrap()).unwrap();
        let glibc = &needs["GLIBC"];
        assert!(glibc.starts_with("2.") && glibc.len() > 3, "{needs:?}");
    }
}
