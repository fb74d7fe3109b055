//! From the log of the simulated GPU to rows: which call asked for what.

use std::collections::{HashMap, HashSet};

use kfd_abi::log::{Domain, Event, Ioctl, Memory, Record};

use super::model::{Asked, Ioctls, Kind, OnKernel, Row, Side, Third};

/// The return code of a call that is open at the end of the log.
const NO_RETURN: &str = "no return";

/// One run's calls, in the order in which they first came.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    order: Vec<(Kind, String)>,
    by_name: HashMap<(Kind, String), Ioctls>,
}

impl Calls {
    fn entry(&mut self, kind: Kind, name: &str) -> &mut Ioctls {
        let key = (kind, name.to_owned());
        self.by_name.entry(key.clone()).or_insert_with(|| {
            self.order.push(key);
            Ioctls::default()
        })
    }
}

/// A call between its marks.
#[derive(Debug)]
struct Open {
    name: String,
    asked: Ioctls,
    /// SVM ranges by their last state.
    ranges: Vec<Range>,
}

#[derive(Clone, Debug, PartialEq)]
struct Range {
    start: u64,
    end: u64,
    asked: Asked,
}

impl Open {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), asked: Ioctls::default(), ranges: Vec::new() }
    }

    fn add(&mut self, memory: &Memory) {
        if memory.domain == Domain::Svm {
            overlay(
                &mut self.ranges,
                Range {
                    start: memory.va,
                    end: memory.va.saturating_add(memory.size),
                    asked: memory.into(),
                },
            );
        } else {
            self.asked.add(memory.into(), memory.size);
        }
    }

    fn close(mut self, code: &str, calls: &mut Calls) {
        for range in self.ranges {
            self.asked.add(range.asked, range.end - range.start);
        }
        self.asked.codes.insert(code.to_owned(), 1);
        calls.entry(Kind::Call, &self.name).absorb(self.asked);
    }
}

/// Puts a range over the others: what it covers of them is gone.
fn overlay(ranges: &mut Vec<Range>, new: Range) {
    let mut kept = Vec::with_capacity(ranges.len() + 1);
    for old in ranges.drain(..) {
        let left = (old.start, old.end.min(new.start));
        let right = (old.start.max(new.end), old.end);
        for (start, end) in [left, right] {
            if start < end {
                kept.push(Range { start, end, asked: old.asked.clone() });
            }
        }
    }
    kept.push(new);
    *ranges = kept;
}

/// How the requests of a process without marks are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmarked {
    /// By the API function on the stack.
    ByCall,
    /// By kind of memory: what is on the stack differs between the runs, as in libraries whose
    /// exported functions leave it before the ioctl, and patched ones, whose do not.
    ByKind,
}

impl Unmarked {
    /// For these runs.
    pub(crate) fn of(runs: &[&[Record]], patched: bool) -> Self {
        let named =
            |record: &Record| matches!(&record.event, Event::Ioctl(ioctl) if ioctl.api.is_some());
        let all_named = runs.iter().all(|records| records.iter().any(named));
        if all_named && !patched { Self::ByCall } else { Self::ByKind }
    }
}

/// Which call asked for what.
///
/// Between the marks `> NAME` and `< NAME = CODE` of a thread, it is NAME; of an SVM range
/// the last state within the call counts, so that a range which a second ioctl makes
/// non-coherent is non-coherent. A process that sets marks does what lies outside of them
/// for itself: that is the runtime's. In a process without marks it is the API function on
/// the stack, if the log names one; or, for `Unmarked::ByKind`, nobody's in particular.
pub(crate) fn attribute(records: &[Record], unmarked: Unmarked) -> Calls {
    let marking: HashSet<u32> = records
        .iter()
        .filter(|record| matches!(&record.event, Event::Mark { text } if opening(text).is_some()))
        .map(|record| record.pid)
        .collect();
    let mut calls = Calls::default();
    let mut open: HashMap<(u32, u32), Vec<Open>> = HashMap::new();
    for record in records {
        let stack = open.entry((record.pid, record.tid)).or_default();
        match &record.event {
            Event::Mark { text } => {
                if let Some(name) = opening(text) {
                    // The row is where the call starts, also if calls are nested.
                    calls.entry(Kind::Call, name);
                    stack.push(Open::new(name));
                } else if let Some((name, code)) = closing(text)
                    && stack.last().is_some_and(|call| call.name == name)
                    && let Some(call) = stack.pop()
                {
                    call.close(code, &mut calls);
                }
            }
            Event::Ioctl(ioctl) if ioctl.errno == 0 => {
                if let Some(call) = stack.last_mut() {
                    ioctl.memory.iter().for_each(|memory| call.add(memory));
                } else {
                    let marking = marking.contains(&record.pid);
                    add_unmarked(ioctl, marking, unmarked, &mut calls);
                }
            }
            Event::Ioctl(_) | Event::Note { .. } | Event::Opened { .. } => {}
        }
    }
    let mut left: Vec<_> = open.into_iter().collect();
    left.sort_by_key(|(thread, _)| *thread);
    for call in left.into_iter().flat_map(|(_, stack)| stack) {
        call.close(NO_RETURN, &mut calls);
    }
    calls
}

fn add_unmarked(ioctl: &Ioctl, marking: bool, unmarked: Unmarked, calls: &mut Calls) {
    for memory in &ioctl.memory {
        let domain = domain_name(memory.domain);
        let entry = match (&ioctl.api, unmarked) {
            (_, Unmarked::ByKind) if !marking => {
                calls.entry(Kind::Call, &format!("(any call) {domain}"))
            }
            (Some(api), Unmarked::ByCall) if !marking => calls.entry(Kind::Call, api),
            _ => calls.entry(Kind::Runtime, &format!("(runtime) {domain}")),
        };
        entry.add(memory.into(), memory.size);
    }
}

fn opening(text: &str) -> Option<&str> {
    text.strip_prefix("> ").map(str::trim)
}

fn closing(text: &str) -> Option<(&str, &str)> {
    let (name, code) = text.strip_prefix("< ")?.rsplit_once(" = ")?;
    Some((name.trim(), code.split_whitespace().next()?))
}

/// The name that the kernel has for a domain.
pub(crate) const fn domain_name(domain: Domain) -> &'static str {
    match domain {
        Domain::Vram => "VRAM",
        Domain::Gtt => "GTT",
        Domain::Userptr => "USERPTR",
        Domain::Svm => "SVM",
        Domain::Doorbell => "DOORBELL",
        Domain::Mmio => "MMIO",
    }
}

/// The rows of the runs: the program's calls in the order of the stock run, then those that
/// only others have, then the runtime's.
pub(crate) fn rows(
    mut stock: Calls,
    mut interposed: Calls,
    patched: Option<Calls>,
    kernel: Option<Calls>,
) -> Vec<Row> {
    let mut names = std::mem::take(&mut stock.order);
    let (with_patched, with_kernel) = (patched.is_some(), kernel.is_some());
    let mut patched = patched.unwrap_or_default();
    let mut kernel = kernel.unwrap_or_default();
    for more in [&mut interposed, &mut patched, &mut kernel] {
        let more = std::mem::take(&mut more.order);
        let new: Vec<_> = more.into_iter().filter(|name| !names.contains(name)).collect();
        names.extend(new);
    }
    let (mut calls, mut runtime): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|(kind, _)| *kind == Kind::Call);
    runtime.sort();
    calls.extend(runtime);
    calls
        .into_iter()
        .map(|name| {
            let stock = stock.by_name.remove(&name);
            let interposed = interposed.by_name.remove(&name);
            let patched = patched.by_name.remove(&name);
            let third = with_patched.then(|| Third {
                patched_differs: !same(interposed.as_ref(), patched.as_ref()),
                patched: patched.map(Side::Ioctls),
            });
            let kernel = kernel.by_name.remove(&name);
            let kernel = with_kernel.then(|| OnKernel {
                kernel_changed: !same(stock.as_ref(), kernel.as_ref()),
                kernel_patched: kernel.map(Side::Ioctls),
            });
            Row {
                kind: name.0,
                call: name.1,
                changed: !same(stock.as_ref(), interposed.as_ref()),
                stock: stock.map(Side::Ioctls),
                interposed: interposed.map(Side::Ioctls),
                third,
                kernel,
            }
        })
        .collect()
}

fn same(one: Option<&Ioctls>, other: Option<&Ioctls>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.same_as(other),
        (None, None) => true,
        _ => false,
    }
}
