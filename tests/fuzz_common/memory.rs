//! The log of a run of `fuzz_calls`, cut into calls: what each one asked the kernel for, and
//! what the memory that it was about was like once it had returned.

use std::collections::{BTreeMap, HashMap, HashSet};

use kfd_abi::log::{Domain, Event, Ioctl, Record};

use crate::common::sequence::of_main_thread;

pub const PAGE: u64 = 4096;

/// What the kernel was asked for, for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub domain: Domain,
    pub coherent: bool,
}

/// One call in the log, or what happened before the next one began.
#[derive(Default)]
pub struct Section<'a> {
    pub ioctls: Vec<&'a Ioctl>,
    /// The pages that the call was about; `None` for one that the kernel was never asked about.
    pub about: Vec<Option<Page>>,
}

/// The log of a run.
pub struct Log<'a> {
    /// By the id of the call.
    pub calls: BTreeMap<&'a str, Section<'a>>,
    /// What came after that call and before the next.
    pub after: BTreeMap<&'a str, Section<'a>>,
    /// The handles of buffers in the memory of a GPU.
    pub vram: HashSet<&'a str>,
}

/// Cuts a log. What comes before the first call is listed as after "".
pub fn read(records: &[Record]) -> Log<'_> {
    let mut log = Log { calls: BTreeMap::new(), after: BTreeMap::new(), vram: HashSet::new() };
    let mut pages = HashMap::new();
    let (mut call, mut inside) = ("", false);
    for record in of_main_thread(records) {
        match &record.event {
            Event::Ioctl(ioctl) => {
                remember(&mut pages, ioctl);
                if let Some(handle) = handle(ioctl)
                    && ioctl.memory.iter().any(|memory| memory.domain == Domain::Vram)
                {
                    log.vram.insert(handle);
                }
                let sections = if inside { &mut log.calls } else { &mut log.after };
                sections.entry(call).or_default().ioctls.push(ioctl);
            }
            Event::Mark { text } => {
                let mut words = text.split(' ');
                match (words.next(), words.next()) {
                    (Some(">"), Some(id)) => {
                        (call, inside) = (id, true);
                        log.calls.entry(id).or_default();
                    }
                    (Some("<"), _) => inside = false,
                    (Some("@"), Some(id)) => {
                        let section = log.calls.get_mut(id).expect("the call has begun");
                        let mut place = words.map(number);
                        let (address, size) = (place.next(), place.next());
                        section.about =
                            look(&pages, address.expect("an address"), size.expect("a size"));
                    }
                    _ => {}
                }
            }
            Event::Note { text } => panic!("the simulated GPU says: {text}"),
            Event::Opened { .. } => {}
        }
    }
    log
}

pub fn handle(ioctl: &Ioctl) -> Option<&str> {
    ioctl.args.get("handle").and_then(serde_json::Value::as_str)
}

fn remember(pages: &mut HashMap<u64, Page>, ioctl: &Ioctl) {
    for memory in &ioctl.memory {
        let page = Page { domain: memory.domain, coherent: memory.coherent };
        for number in memory.va / PAGE..(memory.va + memory.size).div_ceil(PAGE) {
            pages.insert(number, page);
        }
    }
}

fn look(pages: &HashMap<u64, Page>, address: u64, size: u64) -> Vec<Option<Page>> {
    let end = address.saturating_add(size).div_ceil(PAGE);
    (address / PAGE..end).map(|number| pages.get(&number).copied()).collect()
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}
