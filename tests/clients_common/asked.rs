//! What a client's calls asked of the kernel, by kind of memory, for the table.

use std::collections::BTreeMap;

use kfd_abi::log::{Domain, Event, Ioctl};

use crate::common::Ran;

/// Memory of one domain. A range that is asked for twice counts once.
#[derive(Default)]
struct Kind {
    bytes: u64,
    coherent: u64,
    /// Was coherent at first and is not at the end.
    given_up: u64,
}

/// What was asked for during one call of the client, or the whole run.
pub struct Asked {
    what: String,
    kinds: BTreeMap<&'static str, Kind>,
}

/// Between each pair of marks, in their order.
pub fn asked(ran: &Ran) -> Vec<Asked> {
    let mut names: Vec<&str> = Vec::new();
    for record in &ran.records {
        if let Event::Mark { text } = &record.event
            && let Some(name) = text.strip_prefix("> ")
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
        .into_iter()
        .map(|name| Asked {
            what: name.to_owned(),
            kinds: kinds(ran.during(name).into_iter().filter(|ioctl| by_the_client(ioctl))),
        })
        .collect()
}

/// In the whole run, the runtime's own memory too: for a program without marks.
pub fn whole_run(ran: &Ran) -> Vec<Asked> {
    let ioctls = ran.records.iter().filter_map(|record| match &record.event {
        Event::Ioctl(ioctl) => Some(ioctl),
        _ => None,
    });
    vec![Asked { what: "whole run".to_owned(), kinds: kinds(ioctls) }]
}

/// Not what the runtime allocates for itself on the way, as for the queue of a stream. Which
/// HIP function was called is not known on every release.
pub fn by_the_client(ioctl: &Ioctl) -> bool {
    let allocates =
        |api: &String| ["Malloc", "Alloc", "Register"].iter().any(|part| api.contains(part));
    ioctl.api.as_ref().is_none_or(allocates)
}

fn kinds<'a>(ioctls: impl Iterator<Item = &'a Ioctl>) -> BTreeMap<&'static str, Kind> {
    // By domain, address and size: coherent at first, and at the end.
    let mut ranges: BTreeMap<(&'static str, u64, u64), (bool, bool)> = BTreeMap::new();
    for memory in ioctls.flat_map(|ioctl| &ioctl.memory) {
        let domain = match memory.domain {
            Domain::Vram => "VRAM",
            Domain::Gtt => "GTT",
            Domain::Userptr => "USERPTR",
            Domain::Svm => "SVM",
            // Registers, not memory.
            _ => continue,
        };
        let range = ranges.entry((domain, memory.va, memory.size)).or_default();
        *range = (range.0 || memory.coherent, memory.coherent);
    }
    let mut kinds: BTreeMap<&'static str, Kind> = BTreeMap::new();
    for ((domain, _, size), (coherent, at_the_end)) in ranges {
        let kind = kinds.entry(domain).or_default();
        kind.bytes += size;
        kind.coherent += if coherent { size } else { 0 };
        kind.given_up += if coherent && !at_the_end { size } else { 0 };
    }
    kinds
}

impl Asked {
    /// `device: VRAM 16 MiB; pinned: USERPTR 32 MiB`
    pub fn all(asked: &[Self]) -> String {
        Self::list(asked, |kind| (kind.bytes, ""))
    }

    /// The same of coherent memory.
    pub fn coherent(asked: &[Self]) -> String {
        Self::list(asked, |kind| {
            (kind.coherent, if kind.given_up > 0 { " (non-coherent afterwards)" } else { "" })
        })
    }

    fn list(asked: &[Self], amount: impl Fn(&Kind) -> (u64, &'static str)) -> String {
        let mut parts = Vec::new();
        for Self { what, kinds } in asked {
            let kinds: Vec<String> = kinds
                .iter()
                .map(|(domain, kind)| (domain, amount(kind)))
                .filter(|(_, (bytes, _))| *bytes > 0)
                .map(|(domain, (bytes, note))| format!("{domain} {}{note}", in_units(bytes)))
                .collect();
            if !kinds.is_empty() {
                parts.push(format!("{what}: {}", kinds.join(", ")));
            }
        }
        if parts.is_empty() { "none".to_owned() } else { parts.join("; ") }
    }
}

/// All sizes are whole pages.
fn in_units(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}
