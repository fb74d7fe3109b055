//! Recognising messages: a text of any length against the table, in bounded memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use regex::bytes::{RegexSet, RegexSetBuilder};
use serde::Serialize;

use crate::stdout::printable_line;

use super::table::{self, Helps, Severity, Symptom, address, filled};

/// A longer line is looked at in pieces of this size.
const LONGEST_PIECE: u64 = 64 << 10;
/// So much of the end of a piece is looked at again with the next one: no message is longer.
const OVERLAP: usize = 1 << 10;
/// So much of a line is shown.
const SHOWN: usize = 300;

/// What was recognised in a text.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Explained {
    pub(crate) rdnafix: &'static str,
    /// How many lines were read.
    pub(crate) lines: u64,
    pub(crate) symptoms: Vec<Recognised>,
}

/// One symptom.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Recognised {
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    pub(crate) title: &'static str,
    /// How many lines have such a message.
    pub(crate) count: u64,
    /// Number of the first one.
    pub(crate) line: u64,
    /// The first one, without control characters.
    pub(crate) text: String,
    pub(crate) why: &'static str,
    pub(crate) advice: &'static str,
    pub(crate) fix: Vec<String>,
    pub(crate) verify: Vec<String>,
    pub(crate) rdnafix: Helps,
    pub(crate) help: &'static str,
    pub(crate) sources: Vec<String>,
}

/// Opens a text.
///
/// # Errors
/// What opening it gave.
pub(crate) fn open(file: &Path) -> Result<BufReader<File>> {
    let opened = File::open(file).with_context(|| {
        format!("cannot read '{}'; give a text file, or pipe the text in", file.display())
    })?;
    if opened.metadata().is_ok_and(|data| data.is_dir()) {
        bail!("'{}' is a directory; give a text file, or pipe the text in", file.display());
    }
    Ok(BufReader::new(opened))
}

/// What the table has seen of the text so far.
#[derive(Default)]
struct Seen {
    count: u64,
    first: Option<(u64, String)>,
}

/// Reads a text to its end.
///
/// # Errors
/// What reading gave.
pub(crate) fn read(mut text: impl BufRead, name: &str) -> Result<Explained> {
    let table = table::all();
    let (messages, message_of) = messages(table)?;
    let mut seen: Vec<Seen> = table.iter().map(|_| Seen::default()).collect();
    let mut lines = 0;
    let mut piece: Vec<u8> = Vec::new();
    let mut inside = false;
    // The symptoms that this line has counted for already.
    let mut counted: Vec<usize> = Vec::new();
    loop {
        let kept = piece.len();
        let read = text
            .by_ref()
            .take(LONGEST_PIECE)
            .read_until(b'\n', &mut piece)
            .with_context(|| format!("cannot read {name}"))?;
        if read == 0 && kept == piece.len() {
            break;
        }
        if !inside {
            lines += 1;
            counted.clear();
        }
        for message in messages.matches(&piece) {
            let symptom = message_of[message];
            if !counted.contains(&symptom) {
                counted.push(symptom);
                seen[symptom].count += 1;
                seen[symptom].first.get_or_insert_with(|| (lines, shown(&piece)));
            }
        }
        inside = piece.last() != Some(&b'\n');
        let rest = if inside { piece.len().saturating_sub(OVERLAP) } else { piece.len() };
        piece.drain(..rest);
        if inside && read == 0 {
            break;
        }
    }
    Ok(Explained { rdnafix: env!("CARGO_PKG_VERSION"), lines, symptoms: recognised(table, seen) })
}

/// All patterns as one set, and the symptom of each.
fn messages(table: &[Symptom]) -> Result<(RegexSet, Vec<usize>)> {
    let patterns: Vec<(usize, &String)> = table
        .iter()
        .enumerate()
        .flat_map(|(index, symptom)| symptom.matches.iter().map(move |pattern| (index, pattern)))
        .collect();
    let set =
        RegexSetBuilder::new(patterns.iter().map(|(_, pattern)| pattern)).unicode(false).build()?;
    Ok((set, patterns.into_iter().map(|(index, _)| index).collect()))
}

fn recognised(table: &'static [Symptom], seen: Vec<Seen>) -> Vec<Recognised> {
    let all = |texts: &'static [String]| texts.iter().map(|text| filled(text, &[])).collect();
    let mut found: Vec<(&Symptom, Recognised)> = table
        .iter()
        .zip(seen)
        .filter_map(|(symptom, seen)| {
            let (line, text) = seen.first?;
            Some((
                symptom,
                Recognised {
                    id: &symptom.id,
                    severity: symptom.severity,
                    title: &symptom.title,
                    count: seen.count,
                    line,
                    text,
                    why: &symptom.why,
                    advice: &symptom.advice,
                    fix: all(&symptom.fix),
                    verify: all(&symptom.verify),
                    rdnafix: symptom.rdnafix,
                    help: &symptom.help,
                    sources: symptom.sources.iter().map(|source| address(source)).collect(),
                },
            ))
        })
        .collect();
    let hidden: Vec<&String> =
        found.iter().flat_map(|(symptom, _)| symptom.instead_of.iter()).collect();
    found.retain(|(symptom, _)| !hidden.contains(&&symptom.id));
    let mut found: Vec<Recognised> = found.into_iter().map(|(_, recognised)| recognised).collect();
    found.sort_by_key(|recognised| (recognised.severity, recognised.line));
    found
}

/// A line that can be printed on a terminal whatever is in it.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(SHOWN * 4)]);
    let clean = printable_line(text.trim());
    if clean.chars().count() <= SHOWN {
        return clean.into_owned();
    }
    let mut short: String = clean.chars().take(SHOWN).collect();
    short.push_str("...");
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn ids(text: &str) -> Vec<&'static str> {
        read(text.as_bytes(), "x").unwrap().symptoms.iter().map(|one| one.id).collect()
    }

    /// A real message of every symptom that has one.
    const MESSAGES: &[(&str, &str)] = &[
        ("no-gpu", "RuntimeError: No HIP GPUs are available"),
        ("no-gpu", "hipErrorNoDevice: no ROCm-capable device is detected"),
        ("driver-not-loaded", "ROCk module is NOT loaded, possibly no GPU devices"),
        (
            "kfd-skips-gpu",
            "[ 9.29] kfd kfd: amdgpu: skipped device 1002:731f, PCI rejects atomics 730<0",
        ),
        ("no-access", "Unable to open /dev/kfd read-write: Permission denied"),
        ("no-access", "me is not member of \"render\" group, the default DRM access group."),
        (
            "container-devices",
            "root is not member of \"nogroup\" group, the default DRM access group.",
        ),
        (
            "no-rocm",
            "a.out: error while loading shared libraries: libamdhip64.so.6: cannot open shared object file: No such file or directory",
        ),
        ("torch-without-rocm", "AssertionError: Torch not compiled with CUDA enabled"),
        (
            "no-kernels",
            "\"hipErrorNoBinaryForGpu: Unable to find code object for all current devices!\"",
        ),
        ("no-kernels", "RuntimeError: HIP error: invalid device function"),
        (
            "no-kernels",
            "rocBLAS error: Cannot read /opt/rocm/lib/rocblas/library/TensileLibrary.dat: Illegal seek",
        ),
        ("no-kernels", "rocBLAS error: Could not load /x/TensileLibrary_lazy_gfx1010.dat"),
        (
            "override-wrong-family",
            ":0:rocdevice.cpp :2660: HSA_STATUS_ERROR_MEMORY_APERTURE_VIOLATION: The agent attempted to access memory beyond the largest legal address. code: 0x29",
        ),
        (
            "override-needless",
            "HSA_STATUS_ERROR_OUT_OF_REGISTERS: Kernel has requested more VGPRs than are available on this agent code: 0x2d",
        ),
        (
            "pcie-atomics",
            ":1:rocvirtual.cpp :3103: Pcie atomics not enabled, hostcall not supported",
        ),
        ("pcie-atomics", "amdgpu 0000:0b:00.0: amdgpu: PCIE atomic ops is not supported"),
        (
            "memory-access-fault",
            "Memory access fault by GPU node-1 (Agent handle: 0x55d) on address (nil). Reason: Page not present or supervisor privilege.",
        ),
        (
            "host-pointer-fault",
            "Memory access fault by GPU node-1 (Agent handle: 0x55d) on address 0x7f2b5c000000. Reason: Page not present or supervisor privilege.",
        ),
        (
            "preemption-hang",
            "[75287.322365] amdgpu 0000:03:00.0: amdgpu: HIQ MQD's queue_doorbell_id0 is not 0, Queue preemption time out",
        ),
        (
            "preemption-hang",
            "workqueue: svm_range_restore_work [amdgpu] hogged CPU for >10000us 4 times",
        ),
        ("cwsr-size", "amdgpu: queue expected size 0x6ab000 not equal to mapping size 0x6ad000"),
        (
            "many-processes",
            "amdgpu: Runlist is getting oversubscribed due to too many queues. Expect reduced ROCm performance.",
        ),
        ("miopen-search", "MIOpen(HIP): Info2 [GenericSearch] #111/0/120 112"),
        (
            "nan-images",
            "modules.devices.NansException: A tensor with all NaNs was produced in Unet.",
        ),
        (
            "iommu-translates",
            "NCCL WARN Missing \"iommu=pt\" from kernel command line which can lead to system instablity or hang!",
        ),
        (
            "fine-grain-pcie",
            "NCCL WARN Missing \"HSA_FORCE_FINE_GRAIN_PCIE=1\" from environment which can lead to low RCCL performance, system instablity or hang!",
        ),
        ("kernel-6.6-navi10", "[ 74.46] amdgpu: Failed to map VA 0x800000000000 in vm. ret -22"),
        (
            "dkms-stale",
            "Error! Bad return status for module build on kernel: 6.8.0-50-generic (x86_64)",
        ),
        ("not-in-path", "bash: rocminfo: command not found"),
        ("not-in-path", "zsh: command not found: hipcc"),
        ("not-in-path", "fish: Unknown command: rocminfo"),
        (
            "repository-stale",
            "E: The repository 'https://host/rocm/apt/5.7 jammy Release' does not have a Release file.",
        ),
        (
            "chip-family-assert",
            "addrlib/src/gfx10/gfx10addrlib.cpp:962: virtual Addr::ChipFamily Addr::V2::Gfx10Lib::HwlConvertChipFamily(UINT_32, UINT_32): Assertion `!\"Unknown chip family\"' failed.",
        ),
        ("mtype-local", "amdgpu: unknown parameter 'mtype_local' ignored"),
        (
            "preload-leftover",
            "ERROR: ld.so: object '/gone/librdnafix.so' from LD_PRELOAD cannot be preloaded (cannot open shared object file): ignored.",
        ),
        (
            "torch-alloc-conf",
            "RuntimeError: Unrecognized CachingAllocator option: expandable_segments",
        ),
    ];

    #[test]
    fn every_message_is_recognised_as_its_symptom_alone() {
        for (id, message) in MESSAGES {
            assert_eq!(ids(&format!("before\n{message}\nafter\n")), [*id], "{message}");
        }
    }

    #[test]
    fn every_symptom_with_a_message_has_one_here() {
        let tried: BTreeSet<&str> = MESSAGES.iter().map(|(id, _)| *id).collect();
        for symptom in table::all().iter().filter(|symptom| !symptom.matches.is_empty()) {
            assert!(tried.contains(symptom.id.as_str()), "{}", symptom.id);
        }
    }

    #[test]
    fn an_ordinary_log_is_not_recognised() {
        let log = "Loading model weights...\nepoch 1: loss 0.3 nan_to_num ok\n\
                   [drm] amdgpu kernel modesetting enabled.\nkfd kfd: amdgpu: added device 1002:73df\n\
                   ROCk module is loaded\nHSA_STATUS_SUCCESS\nhipErrorOutOfMemory\n";
        assert_eq!(ids(log), Vec::<&str>::new());
        assert_eq!(ids(""), Vec::<&str>::new());
    }

    #[test]
    fn lines_are_counted_and_the_first_message_is_kept() {
        let text = "a\nNo HIP GPUs are available\nb\nNo HIP GPUs are available";
        let explained = read(text.as_bytes(), "x").unwrap();
        assert_eq!(explained.lines, 4);
        let symptom = &explained.symptoms[0];
        assert_eq!((symptom.count, symptom.line), (2, 2));
    }

    #[test]
    fn a_message_anywhere_in_an_endless_line_is_found_once() {
        for before in [0, 65_500, 65_536, 200_000] {
            let text =
                format!("{}No HIP GPUs are available{}", "x".repeat(before), "y".repeat(100_000));
            let explained = read(text.as_bytes(), "x").unwrap();
            assert_eq!((explained.lines, explained.symptoms[0].count), (1, 1), "{before}");
        }
    }

    #[test]
    fn nothing_of_a_message_reaches_the_terminal_as_control() {
        let text = "\u{1b}]0;title\u{7}invalid device function\u{1b}[31m";
        let explained = read(text.as_bytes(), "x").unwrap();
        assert!(!explained.symptoms[0].text.contains(char::is_control));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes[..], "x").unwrap();
        }
    }
}
