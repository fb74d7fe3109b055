//! What a run asked of the kernel, call by call: every request for memory with its size, its
//! flags as the kernel gets them, and the MTYPE of each GPU. Judges nothing.

use std::collections::BTreeSet;

use kfd_abi::log::{Event, Ioctl, Record};

use crate::common::in_words;

/// A call of the program between its marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// With its number, where the program makes it more than once.
    pub name: String,
    /// What it returned.
    pub code: String,
    pub requests: Vec<Request>,
}

/// A request to the kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// `USERPTR coherent gfx1030#0=UC`; empty where it got nothing.
    pub memory: Vec<String>,
    /// The ioctl with all that it asks for, and the answer.
    pub ioctl: String,
}

/// All that a run asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    pub calls: Vec<Call>,
    /// What the libraries asked for outside of the calls, in alphabetical order.
    pub own: Vec<Request>,
}

/// Reads the log of a run. Calls are those of the thread that set the first mark.
pub fn asked(records: &[Record]) -> Asked {
    let mut seen = Asked { calls: Vec::new(), own: Vec::new() };
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut inside = false;
    for record in records {
        match &record.event {
            Event::Mark { text } => {
                if let Some(name) = text.strip_prefix("> ") {
                    let numbered = (2..).map(|number| format!("{name} ({number})"));
                    let name = std::iter::once(name.to_owned())
                        .chain(numbered)
                        .find(|name| !names.contains(name))
                        .expect("numbers do not end");
                    names.insert(name.clone());
                    let code = "did not return".to_owned();
                    seen.calls.push(Call { name, code, requests: Vec::new() });
                    inside = true;
                } else if let Some((_, code)) = text.rsplit_once(" = ") {
                    code.clone_into(&mut seen.calls.last_mut().expect("it began").code);
                    inside = false;
                }
            }
            Event::Ioctl(ioctl) => {
                let Some(request) = request(ioctl) else { continue };
                match seen.calls.last_mut().filter(|_| inside) {
                    Some(call) => call.requests.push(request),
                    None => seen.own.push(request),
                }
            }
            Event::Note { .. } | Event::Opened { .. } => {}
        }
    }
    seen.own.sort();
    seen
}

/// An ioctl that is about the kind of memory; addresses are left out, they differ in every run.
fn request(ioctl: &Ioctl) -> Option<Request> {
    let words = ["flags", "attrs", "size"];
    let words: Vec<String> = words
        .iter()
        .filter_map(|name| Some(format!("{name} {}", ioctl.args.get(*name)?)))
        .collect();
    let sets = ioctl.name == "SVM" && ioctl.args.get("op").is_some_and(|op| op != "GET_ATTR");
    let allocates = ioctl.name == "ALLOC_MEMORY_OF_GPU";
    (allocates || sets || !ioctl.memory.is_empty()).then(|| Request {
        memory: ioctl.memory.iter().map(in_words).collect(),
        ioctl: format!("{} {} errno {}", ioctl.name, words.join(", "), ioctl.errno),
    })
}
