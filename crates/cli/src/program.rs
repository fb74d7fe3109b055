//! The program that is to be run: where it is, and whether a preloaded library reaches it.
//!
//! It is looked at as the kernel and env(1) would; what cannot be told is not warned of.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{getgid, getuid};
use object::elf::{ELFCLASS32, ELFCLASS64, ET_DYN, ET_EXEC, FileClass, PT_INTERP};
use object::read::elf::{FileHeader, ProgramHeader};
use rustix::fs::{StatVfsMountFlags, getxattr, statvfs};

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

/// Why a preloaded library has no effect on a program; for a script, on what interprets it.
pub(crate) fn unreachable(program: &Path, path: Option<&OsStr>) -> Option<String> {
    /// The kernel follows 5 (`exec_binprm` of fs/exec.c), and as many again for each env.
    const MOST: usize = 10;
    let mut loaded = program.to_owned();
    for _ in 0..=MOST {
        let start = start_of(&loaded);
        let Some(line) = script(&start) else {
            let why = elevated(&loaded).or_else(|| unreachable_image(&start))?;
            return Some(if loaded == program {
                format!("it {why}")
            } else {
                format!("its interpreter '{}' {why}", loaded.display())
            });
        };
        loaded = interpreter(line, path)?;
    }
    None
}

/// The headers are at the start; 64 KiB hold any real program header table. Empty where it
/// cannot be read, which does not keep it from being run.
fn start_of(file: &Path) -> Vec<u8> {
    let mut start = Vec::new();
    if let Ok(file) = File::open(file) {
        let _ = file.take(64 << 10).read_to_end(&mut start);
    }
    start
}

/// What follows `#!` on the first line, if it is a script.
fn script(start: &[u8]) -> Option<&[u8]> {
    /// What the kernel looks at: `BINPRM_BUF_SIZE` of <linux/binfmts.h>.
    const LOOKED_AT: usize = 256;
    let line = start[..start.len().min(LOOKED_AT)].strip_prefix(b"#!")?;
    line.split(|byte| *byte == b'\n').next()
}

/// The file that interprets a script, from the rest of its first line; for `/usr/bin/env NAME`
/// what env would run.
fn interpreter(line: &[u8], path: Option<&OsStr>) -> Option<PathBuf> {
    let mut words = line
        .split(|byte| matches!(byte, b' ' | b'\t' | 0))
        .filter(|word| !word.is_empty())
        .map(OsStr::from_bytes);
    let first = Path::new(words.next()?);
    if first.file_name() != Some(OsStr::new("env")) {
        return Some(first.to_owned());
    }
    // Without -S, what follows is one name. Other options may change PATH or LD_PRELOAD.
    let mut words = words.skip_while(|word| *word == "-S" || word.as_bytes().contains(&b'='));
    find(words.next().filter(|word| !word.as_bytes().starts_with(b"-"))?, path)
}

/// Why the loader ignores `LD_PRELOAD` (`AT_SECURE`): the process has more rights than its parent
/// (`cap_bprm_creds_from_file` of the kernel's security/commoncap.c).
fn elevated(program: &Path) -> Option<&'static str> {
    if statvfs(program).ok()?.f_flag.contains(StatVfsMountFlags::NOSUID) {
        return None;
    }
    let file = program.metadata().ok()?;
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    if changes_ids(file.mode(), (file.uid(), file.gid()), (uid, gid))
        && !nix::sys::prctl::get_no_new_privs().unwrap_or(false)
    {
        return Some("is set-user-ID or set-group-ID, and the loader ignores LD_PRELOAD there");
    }
    let mut value = [0_u8; 24];
    let length = getxattr(program, "security.capability", &mut value[..]).ok()?;
    (uid != 0 && gives_capabilities(&value[..length]))
        .then_some("has file capabilities, and the loader ignores LD_PRELOAD there")
}

/// Whether a file of this mode and owner runs as somebody else than who starts it.
fn changes_ids(mode: u32, owner: (u32, u32), own: (u32, u32)) -> bool {
    // Without the right to execute, set-group-ID means something else.
    (mode & 0o4000 != 0 && owner.0 != own.0) || (mode & 0o2010 == 0o2010 && owner.1 != own.1)
}

/// Whether a `struct vfs_cap_data` (<linux/capability.h>) has a capability that is permitted, or
/// makes those effective that are.
fn gives_capabilities(data: &[u8]) -> bool {
    const EFFECTIVE: u8 = 1;
    let Some((magic, sets)) = data.split_first_chunk::<4>() else { return false };
    // Pairs of permitted and inheritable, of 32 bits each; version 1 has one, the others two.
    let permitted = sets.chunks_exact(8).take(2).flat_map(|pair| &pair[..4]);
    magic[0] & EFFECTIVE != 0 || permitted.into_iter().any(|byte| *byte != 0)
}

fn unreachable_image(start: &[u8]) -> Option<&'static str> {
    if !start.starts_with(&object::elf::ELFMAG) {
        return None;
    }
    match FileClass(*start.get(4)?) {
        ELFCLASS32 => Some("is a 32-bit program, and ROCm and the library are 64-bit"),
        ELFCLASS64 => is_static(start)?
            .then_some("is statically linked, so no loader runs that would read LD_PRELOAD"),
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
    fn a_dynamic_program_is_reached() {
        assert_eq!(unreachable_image(&image(2, PT_INTERP.0)), None);
        assert_eq!(unreachable(Path::new("/bin/sh"), None), None);
        assert_eq!(unreachable_image(b""), None);
    }

    #[test]
    fn a_static_and_a_32_bit_program_are_not() {
        let reason = |class, segment| unreachable_image(&image(class, segment)).unwrap();
        assert!(reason(2, 1).contains("static"));
        assert!(reason(1, PT_INTERP.0).contains("32-bit"));
    }

    #[test]
    fn a_program_that_changes_its_user_or_group_is_not() {
        let (me, other) = ((7, 7), (0, 0));
        assert!(changes_ids(0o4755, other, me) && changes_ids(0o2755, other, me));
        assert!(!changes_ids(0o4755, (7, 0), me), "its own");
        assert!(!changes_ids(0o755, other, me));
        assert!(!changes_ids(0o2745, other, me), "a lock of old, not a right");
    }

    #[test]
    fn file_capabilities_are_read_as_the_kernel_does() {
        // VFS_CAP_REVISION_2 and cap_net_raw: =ep, =p, =i, and none.
        let data = |effective: u8, permitted: u8, inheritable: u8| {
            let mut data = [0; 20];
            (data[0], data[3]) = (effective, 2);
            (data[5], data[9]) = (permitted, inheritable);
            data
        };
        assert!(gives_capabilities(&data(1, 0x20, 0)) && gives_capabilities(&data(0, 0x20, 0)));
        assert!(!gives_capabilities(&data(0, 0, 0x20)) && !gives_capabilities(&[]));
        let mut high = data(0, 0, 0);
        high[12] = 0x80;
        assert!(gives_capabilities(&high), "cap_bpf, above 31");
    }

    #[test]
    fn the_interpreter_of_a_script_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let fixed = write("fixed", &image(2, 1));
        write("dynamic", &image(2, PT_INTERP.0));
        let path = Some(dir.path().as_os_str());
        let why = |line: &str| unreachable(&write("script", line.as_bytes()), path);
        let reason = format!("its interpreter '{}' is statically linked", fixed.display());
        for line in [
            format!("#!{}\n", fixed.display()),
            format!("#! \t{} -x\n", fixed.display()),
            "#!/usr/bin/env fixed\n".into(),
            "#!/usr/bin/env -S A=b fixed -u\n".into(),
        ] {
            assert!(why(&line).is_some_and(|why| why.starts_with(&reason)), "{line}");
            write("inner", line.as_bytes());
            let outer = format!("#!{}/inner\n", dir.path().display());
            assert!(why(&outer).is_some_and(|why| why.starts_with(&reason)), "{outer}");
        }
        let own = format!("#!{}/script\n", dir.path().display());
        for line in [
            "#!/usr/bin/env dynamic\n",
            "#!/usr/bin/env -i fixed\n",
            "#!/nonexistent\n",
            "#!\n",
            &own,
        ] {
            assert_eq!(why(line), None, "{line}");
        }
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
            let _ = gives_capabilities(&bytes);
        }

        #[test]
        fn any_first_line_is_looked_at_without_harm(mut line in proptest::collection::vec(any::<u8>(), 0..400)) {
            line.splice(..0, *b"#!");
            let line = script(&line).unwrap();
            prop_assert!(line.len() <= 254 && !line.contains(&b'\n'));
            let _ = interpreter(line, None);
        }
    }
}
