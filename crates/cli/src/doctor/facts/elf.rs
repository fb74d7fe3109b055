//! What a shared library says of itself: its soname, and the gfx targets of its device code.
//!
//! Device code is in the section `.hip_fatbin`, as one or more bundles; the header of the first
//! one names the targets. Newer compilers compress bundles: their targets are then unknown.

use std::path::Path;

use object::Endianness;
use object::elf::{DT_SONAME, FileHeader64};
use object::read::elf::{Dyn, FileHeader, SectionHeader};
use object::read::{ReadCache, ReadRef};
use serde::{Deserialize, Serialize};

/// A shared library.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Elf {
    pub(crate) soname: Option<String>,
    /// The gfx targets of its device code; `None` where it has none, or they cannot be read.
    pub(crate) targets: Option<Vec<String>>,
}

/// Magic of a bundle (clang/docs/ClangOffloadBundler.rst).
const BUNDLE: &[u8] = b"__CLANG_OFFLOAD_BUNDLE__";
/// A bundle has one entry for the host and one for each target; more is no bundle.
const MOST_ENTRIES: u64 = 256;
/// Its header is a few kilobytes at most.
const LONGEST_HEADER: u64 = 64 << 10;

/// A soname is a file name.
const LONGEST_NAME: u64 = 256;

/// Reads what is needed of a library, however large it is.
pub(crate) fn read(path: &Path) -> Option<Elf> {
    let file = super::place::regular_file(path).ok()?;
    file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let cache = ReadCache::new(file);
    let data = &cache;
    let header = FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, data).ok()?;
    let bytes = |name: &[u8], from: u64, longest: u64| {
        let (_, section) = sections.section_by_name(endian, name)?;
        let (offset, size) = section.file_range(endian)?;
        let length = size.checked_sub(from)?.min(longest);
        data.read_bytes_at(offset.checked_add(from)?, length).ok()
    };
    let soname = || {
        let (entries, _) = sections.dynamic(endian, data).ok()??;
        let entry = entries.iter().find(|entry| entry.tag(endian) == DT_SONAME)?;
        let name = bytes(b".dynstr", entry.d_val(endian), LONGEST_NAME)?;
        let end = name.iter().position(|byte| *byte == 0)?;
        Some(std::str::from_utf8(&name[..end]).ok()?.to_owned())
    };
    Some(Elf {
        soname: soname(),
        targets: bytes(b".hip_fatbin", 0, LONGEST_HEADER).and_then(targets),
    })
}

/// The targets that the header of a bundle names; `None` where these bytes are no such header.
pub(crate) fn targets(bytes: &[u8]) -> Option<Vec<String>> {
    let number = |at: usize| -> Option<u64> {
        Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
    };
    bytes.strip_prefix(BUNDLE)?;
    let mut at = BUNDLE.len();
    let count = number(at).filter(|count| *count <= MOST_ENTRIES)?;
    at += 8;
    let mut targets = Vec::new();
    for _ in 0..count {
        // Offset and size of the code, then the length of its name.
        let length = usize::try_from(number(at.checked_add(16)?)?).ok()?;
        at += 24;
        let name = std::str::from_utf8(bytes.get(at..at.checked_add(length)?)?).ok()?;
        at += length;
        if let Some(target) = name.rsplit("--").next().and_then(target_of) {
            targets.push(target.to_owned());
        }
    }
    targets.sort();
    targets.dedup();
    Some(targets)
}

/// `gfx1030` of `gfx1030:xnack-`; `None` for the host's entry.
fn target_of(name: &str) -> Option<&str> {
    name.split(':').next().filter(|name| name.starts_with("gfx"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A bundle as clang-offload-bundler writes it, with no code in it.
    pub(crate) fn bundle(names: &[&str]) -> Vec<u8> {
        let mut bytes = BUNDLE.to_vec();
        bytes.extend((names.len() as u64).to_le_bytes());
        for name in names {
            for number in [4096, 0, name.len() as u64] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend(name.as_bytes());
        }
        bytes
    }

    #[test]
    fn a_bundle_names_its_targets_once_without_features() {
        let bytes = bundle(&[
            "host-x86_64-unknown-linux-gnu--",
            "hipv4-amdgcn-amd-amdhsa--gfx1030",
            "hipv4-amdgcn-amd-amdhsa--gfx90a:xnack+",
            "hipv4-amdgcn-amd-amdhsa--gfx90a:xnack-",
        ]);
        assert_eq!(targets(&bytes).unwrap(), ["gfx1030", "gfx90a"]);
    }

    #[test]
    fn a_compressed_bundle_is_unknown() {
        assert_eq!(targets(b"CCOB\x02\0\x01\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), None);
    }

    #[test]
    fn a_cut_bundle_is_unknown() {
        let bytes = bundle(&["hipv4-amdgcn-amd-amdhsa--gfx1030"]);
        for length in 0..bytes.len() {
            assert_eq!(targets(&bytes[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_library_of_this_machine_has_its_soname_and_no_device_code() {
        let libc = std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .lines()
            .find_map(|line| line.split_whitespace().last().filter(|path| path.contains("libc.so")))
            .expect("the C library is loaded")
            .to_owned();
        let elf = read(Path::new(&libc)).unwrap();
        assert_eq!(elf, Elf { soname: Some("libc.so.6".to_owned()), targets: None });
        assert_eq!(read(Path::new("/proc/self/maps")), None);
        assert_eq!(read(Path::new("/nonexistent")), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = targets(&bytes);
            let _ = targets(&[BUNDLE, &bytes[..]].concat());
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(&file, [b"\x7fELF\x02\x01\x01", &bytes[..]].concat()).unwrap();
            let _ = read(file.path());
        }
    }
}
