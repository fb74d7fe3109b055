//! The program that is to be run: where it is, and whether a preloaded library reaches it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use object::elf::{ELFCLASS32, ELFCLASS64, ET_DYN, ET_EXEC, FileClass, PT_INTERP};
use object::read::elf::{FileHeader, ProgramHeader};

/// What exec would run, as far as it can be told before; `None` where there is nothing.
pub(crate) fn find(name: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    let direct = Path::new(name);
    if direct.components().count() > 1 || direct.is_absolute() {
        return direct.is_file().then(|| direct.to_owned());
    }
    std::env::split_paths(path?).map(|directory| directory.join(name)).find(|candidate| {
        candidate.metadata().is_ok_and(|file| file.is_file() && file.mode() & 0o111 != 0)
    })
}

/// Why a preloaded library has no effect on a program.
pub(crate) fn unreachable(program: &Path) -> Option<&'static str> {
    let file = File::open(program).ok()?;
    let mode = file.metadata().ok()?.mode();
    if mode & 0o6000 != 0 {
        return Some("it is set-user-ID or set-group-ID, and the loader ignores LD_PRELOAD there");
    }
    // The headers are at the start; 64 KiB hold any real program header table.
    let mut start = Vec::new();
    file.take(64 << 10).read_to_end(&mut start).ok()?;
    unreachable_image(&start)
}

fn unreachable_image(start: &[u8]) -> Option<&'static str> {
    if !start.starts_with(&object::elf::ELFMAG) {
        // A script: its interpreter is what is loaded.
        return None;
    }
    match FileClass(*start.get(4)?) {
        ELFCLASS32 => Some("it is a 32-bit program, and ROCm and the library are 64-bit"),
        ELFCLASS64 => is_static(start)?
            .then_some("it is statically linked, so no loader runs that would read LD_PRELOAD"),
        _ => None,
    }
}

fn is_static(start: &[u8]) -> Option<bool> {
    type Header = object::elf::FileHeader64<object::Endianness>;
    let header = Header::parse(start).ok()?;
    let endian = header.endian().ok()?;
    let kind = header.e_type(endian);
    let headers = header.program_headers(endian, start).ok()?;
    let interpreted = headers.iter().any(|segment| segment.p_type(endian) == PT_INTERP);
    Some(matches!(kind, ET_EXEC | ET_DYN) && !interpreted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// An ELF image with one program header.
    fn image(class: u8, segment: u32) -> Vec<u8> {
        let mut image = vec![0; 64 + 56];
        image[..4].copy_from_slice(b"\x7fELF");
        image[4] = class;
        image[5..7].copy_from_slice(&[1, 1]);
        image[16] = 3; // ET_DYN
        image[18] = 62; // x86-64
        image[20] = 1;
        image[32] = 64; // program headers here,
        image[54] = 56; // of this size,
        image[56] = 1; // one
        image[64..68].copy_from_slice(&segment.to_le_bytes());
        image
    }

    #[test]
    fn a_dynamic_program_and_a_script_are_reached() {
        assert_eq!(unreachable_image(&image(2, PT_INTERP.0)), None);
        assert_eq!(unreachable_image(b"#!/bin/sh\n"), None);
        assert_eq!(unreachable_image(b""), None);
    }

    #[test]
    fn a_static_and_a_32_bit_program_are_not() {
        let reason = |class, segment| unreachable_image(&image(class, segment)).unwrap();
        assert!(reason(2, 1).contains("static"));
        assert!(reason(1, PT_INTERP.0).contains("32-bit"));
    }

    #[test]
    fn a_setuid_program_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("su");
        fs::write(&path, image(2, PT_INTERP.0)).unwrap();
        assert_eq!(unreachable(&path), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
        assert!(unreachable(&path).unwrap().contains("set-user-ID"));
    }

    #[test]
    fn programs_are_found_as_exec_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("prog");
        fs::write(&program, "").unwrap();
        let path = dir.path().as_os_str();
        let name = OsStr::new("prog");
        assert_eq!(find(name, Some(path)), None, "not executable");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(name, Some(path)), Some(program.clone()));
        assert_eq!(find(name, None), None);
        assert_eq!(find(program.as_os_str(), None), Some(program));
    }

    proptest! {
        #[test]
        fn any_file_is_looked_at_without_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), elf: bool) {
            if elf && bytes.len() >= 5 {
                bytes[..5].copy_from_slice(b"\x7fELF\x02");
            }
            let _ = unreachable_image(&bytes);
        }
    }
}
