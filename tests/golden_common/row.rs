//! What one run of `tests/programs/golden.cpp` asked for, row by row, without what differs from
//! run to run and from GPU to GPU. Judges nothing.

use std::fmt::Write as _;

use kfd_abi::flags::{alloc, svm};
use kfd_abi::log::{Domain, Event, Ioctl, Memory, Mtype, Record};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A call of the program and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The call and its flags.
    pub call: String,
    /// What it returned, or why it could not be made.
    pub code: String,
    /// The HSA calls on the way, as they reach ROCr.
    pub hsa: Vec<String>,
    /// What the kernel was asked for.
    pub kfd: Vec<Asked>,
}

/// A request to the kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Asked {
    /// `94000004 USERPTR|COHERENT`
    pub what: String,
    /// The MTYPE that Linux gives the GPU's mapping; empty where the GPU gets none.
    pub mtype: String,
}

impl Asked {
    /// The word of flags of an ALLOC_MEMORY_OF_GPU.
    pub fn word(&self) -> Option<u32> {
        let (word, _) = self.what.split_once(' ')?;
        (word.len() == 8).then(|| u32::from_str_radix(word, 16).ok())?
    }
}

/// All that a run asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The calls in order.
    pub rows: Vec<Row>,
    /// Memory that the runtimes asked for on their own, with its size, in alphabetical order.
    pub own: Vec<(Asked, u64)>,
}

/// Names of calls that only prepare a row.
const PREPARATION: &str = "(preparation)";

/// The bits of a flag word that say nothing about the kind of memory; the legend has them.
const USUAL: u32 = alloc::NO_SUBSTITUTE | alloc::EXECUTABLE | alloc::WRITABLE;

/// Waiting and time, which differ from run to run, and what only keeps the books of memory that
/// another request is about.
const NOT_SHOWN: [&str; 10] = [
    "WAIT_EVENTS",
    "SET_EVENT",
    "RESET_EVENT",
    "GET_CLOCK_COUNTERS",
    "AVAILABLE_MEMORY",
    "UNMAP_MEMORY_FROM_GPU",
    "FREE_MEMORY_OF_GPU",
    "EXPORT_DMABUF",
    "PRIME_FD_TO_HANDLE",
    "AMDGPU_GEM_MMAP",
];

/// Reads the log of a run.
pub fn seen(records: &[Record]) -> Seen {
    let main = records
        .iter()
        .find_map(|record| matches!(record.event, Event::Mark { .. }).then_some(record.tid));
    let mut rows: Vec<Row> = Vec::new();
    let mut own = Vec::new();
    let mut inside = false;
    for record in records {
        match &record.event {
            Event::Mark { text } => {
                if let Some(call) = text.strip_prefix("> ") {
                    inside = true;
                    let (call, code) = (call.to_owned(), "did not return".to_owned());
                    rows.push(Row { call, code, hsa: Vec::new(), kfd: Vec::new() });
                } else if let Some((_, code)) =
                    text.strip_prefix("< ").and_then(|text| text.rsplit_once(" = "))
                {
                    inside = false;
                    code.clone_into(&mut last(&mut rows).code);
                } else if let (true, Some(call)) = (inside, text.strip_prefix("hsa ")) {
                    last(&mut rows).hsa.push(call.to_owned());
                }
            }
            // A stream's thread may do the work on a range that the program waits for.
            Event::Ioctl(ioctl) if inside && (Some(record.tid) == main || ioctl.name == "SVM") => {
                last(&mut rows).kfd.extend(asked(ioctl));
            }
            Event::Ioctl(ioctl) => {
                let size = ioctl.memory.first().map(|memory| memory.size);
                own.extend(asked(ioctl).zip(size));
            }
            Event::Note { .. } | Event::Opened { .. } => {}
        }
    }
    rows.retain(|row| row.call != PREPARATION);
    for row in &mut rows {
        // What follows an allocation of itself is shown only where it is all there is.
        if row.kfd.iter().any(|asked| asked.what != "MAP_MEMORY_TO_GPU") {
            row.kfd.retain(|asked| asked.what != "MAP_MEMORY_TO_GPU");
        }
    }
    own.sort();
    Seen { rows, own }
}

fn last(rows: &mut [Row]) -> &mut Row {
    rows.last_mut().expect("a row has begun")
}

/// An ioctl in words, if it belongs into a table.
fn asked(ioctl: &Ioctl) -> Option<Asked> {
    let reads = ioctl.args.get("op").is_some_and(|op| *op == "GET_ATTR");
    if NOT_SHOWN.contains(&&ioctl.name[..]) || reads {
        return None;
    }
    let mut what = match &ioctl.name[..] {
        "ALLOC_MEMORY_OF_GPU" => flag_word(word(&words(&ioctl.args["flags"]), alloc::NAMES)),
        "SVM" => format!("SVM{}", attributes(&ioctl.args["attrs"])),
        "AMDGPU_GEM_VA" => {
            let mut flags = words(&ioctl.args["flags"]);
            flags.retain(|flag| flag.starts_with("MTYPE"));
            format!("GEM_VA {}", flags.join("|"))
        }
        other => other.to_owned(),
    };
    if ioctl.errno != 0 {
        let _ = write!(what, " errno {}", ioctl.errno);
    }
    Some(Asked { what, mtype: mtypes(&ioctl.memory) })
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The word behind a list of names.
fn word(list: &[&str], names: &kfd_abi::flags::Names) -> u32 {
    list.iter().fold(0, |word, name| {
        let known = names.iter().find(|(_, known)| known == name).map(|(bit, _)| *bit);
        let bits = known.or_else(|| u32::from_str_radix(name.strip_prefix("0x")?, 16).ok());
        word | bits.unwrap_or_else(|| panic!("a flag without a value: {name}"))
    })
}

/// `94000004 USERPTR|COHERENT`
pub fn flag_word(word: u32) -> String {
    format!("{word:08x} {}", kfd_abi::flags::names(word & !USUAL, alloc::NAMES).join("|"))
}

/// ` ACCESS +2 COHERENT`: + is SET_FLAGS, - is CLR_FLAGS. Which GPU gets access is not said.
fn attributes(list: &Value) -> String {
    let mut text = String::new();
    for attribute in list.as_array().into_iter().flatten() {
        let kind = attribute["type"].as_str().unwrap_or("?");
        let sign = match kind {
            "SET_FLAGS" => '+',
            "CLR_FLAGS" => '-',
            "PREFERRED_LOC" | "PREFETCH_LOC" => {
                let place = match attribute["value"].as_str() {
                    Some("0x0") => "SYSMEM",
                    Some("0xffffffff") => "UNDEFINED",
                    _ => "GPU",
                };
                let _ = write!(text, " {kind} {place}");
                continue;
            }
            _ => {
                let _ = write!(text, " {kind}");
                continue;
            }
        };
        let flags = words(&attribute["value"]);
        let _ = write!(text, " {sign}{:x} {}", word(&flags, svm::NAMES), flags.join("|"));
    }
    text
}

/// One GPU is simulated; a range in several pieces has one MTYPE for each.
fn mtypes(memory: &[Memory]) -> String {
    let mut found: Vec<&str> = memory
        .iter()
        .filter(|memory| !matches!(memory.domain, Domain::Doorbell | Domain::Mmio))
        .flat_map(|memory| memory.mtype.values())
        .map(|mtype| match mtype {
            Mtype::Nc => "NC",
            Mtype::Uc => "UC",
            Mtype::Cc => "CC",
            Mtype::Rw => "RW",
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found.join("+")
}
