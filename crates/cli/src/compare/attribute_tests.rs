//! Tests of the attribution, from synthetic records.

use std::collections::BTreeMap;

use kfd_abi::log::{Device, Domain, Event, Ioctl, Memory, Mtype, Record};
use proptest::prelude::*;

use super::attribute::Unmarked::{self, ByCall, ByKind};
use super::attribute::{attribute, rows};
use super::model::{Ioctls, Kind, Row, Side};

fn record(tid: u32, event: Event) -> Record {
    Record { seq: 0, pid: 100, tid, ns: 0, event }
}

fn mark(text: &str) -> Record {
    mark_of(1, text)
}

fn mark_of(tid: u32, text: &str) -> Record {
    let text = text.to_owned();
    record(tid, Event::Mark { text })
}

fn memory(domain: Domain, coherent: bool, va: u64, size: u64) -> Memory {
    let mtype = if coherent { Mtype::Uc } else { Mtype::Nc };
    Memory {
        domain,
        va,
        size,
        flags: vec!["WRITABLE".to_owned()],
        coherent,
        mtype: BTreeMap::from([("gfx1030#0".to_owned(), mtype)]),
    }
}

fn ioctl_of(tid: u32, api: Option<&str>, errno: i32, memory: Memory) -> Record {
    record(
        tid,
        Event::Ioctl(Ioctl {
            dev: Device::Kfd,
            name: "ALLOC_MEMORY_OF_GPU".to_owned(),
            errno,
            api: api.map(str::to_owned),
            args: serde_json::Map::new(),
            memory: vec![memory],
        }),
    )
}

fn alloc(coherent: bool) -> Record {
    ioctl_of(1, None, 0, memory(Domain::Userptr, coherent, 0, 4096))
}

fn svm(coherent: bool, va: u64, size: u64) -> Record {
    ioctl_of(1, None, 0, memory(Domain::Svm, coherent, va, size))
}

/// The counts of coherent and non-coherent requests in each row of a run compared with
/// itself.
fn counts(records: &[Record]) -> Vec<(String, u64, u64)> {
    rows(attribute(records, ByCall), attribute(records, ByCall), None, None)
        .into_iter()
        .map(|row| {
            assert!(!row.changed, "{row:?}");
            let side = ioctls(row.stock.as_ref());
            let sum = |coherent| {
                side.asked
                    .iter()
                    .filter(|(asked, _)| asked.coherent == coherent)
                    .map(|(_, amount)| amount.count)
                    .sum()
            };
            (row.call, sum(true), sum(false))
        })
        .collect()
}

fn ioctls(side: Option<&Side>) -> &Ioctls {
    match side {
        Some(Side::Ioctls(side)) => side,
        other => panic!("{other:?}"),
    }
}

fn row(call: &str, coherent: u64, non_coherent: u64) -> (String, u64, u64) {
    (call.to_owned(), coherent, non_coherent)
}

#[test]
fn what_is_between_the_marks_belongs_to_the_call() {
    let records = [
        alloc(true),
        mark("> f(x = 1)"),
        alloc(true),
        alloc(false),
        mark("< f(x = 1) = 0"),
        mark("> g"),
        mark("< g = 2 hipErrorOutOfMemory"),
        mark("> f(x = 1)"),
        alloc(true),
        mark("< f(x = 1) = 0"),
    ];
    assert_eq!(
        counts(&records),
        [row("f(x = 1)", 2, 1), row("g", 0, 0), row("(runtime) USERPTR", 1, 0)]
    );
    let rows = rows(attribute(&records, ByCall), attribute(&records, ByCall), None, None);
    assert_eq!(ioctls(rows[1].stock.as_ref()).codes, BTreeMap::from([("2".to_owned(), 1)]));
    assert_eq!(rows[2].kind, Kind::Runtime);
}

#[test]
fn another_thread_is_not_inside_the_call() {
    let other = ioctl_of(2, None, 0, memory(Domain::Gtt, true, 0, 4096));
    let records = [mark("> f"), other, alloc(false), mark("< f = 0")];
    assert_eq!(counts(&records), [row("f", 0, 1), row("(runtime) GTT", 1, 0)]);
}

#[test]
fn an_inner_call_takes_its_own() {
    let records = [
        mark("> outer"),
        alloc(true),
        mark("> inner"),
        alloc(false),
        mark("< inner = 0"),
        alloc(true),
        mark("< outer = 0"),
    ];
    assert_eq!(counts(&records), [row("outer", 2, 0), row("inner", 0, 1)]);
}

#[test]
fn a_call_that_does_not_return_is_there() {
    let calls = attribute(&[mark("> f"), alloc(true)], ByCall);
    let rows =
        rows(calls, attribute(&[mark("> f"), alloc(true), mark("< f = 0")], ByCall), None, None);
    assert!(rows[0].changed);
    assert!(ioctls(rows[0].stock.as_ref()).codes.contains_key("no return"));
}

#[test]
fn without_marks_the_api_names_the_row() {
    let with_api = ioctl_of(1, Some("hipHostMalloc"), 0, memory(Domain::Userptr, true, 0, 1));
    assert_eq!(
        counts(&[with_api.clone(), alloc(true)]),
        [row("hipHostMalloc", 1, 0), row("(runtime) USERPTR", 1, 0)]
    );
    // A process that sets marks has none of its own calls outside of them.
    assert_eq!(
        counts(&[with_api, mark("> f"), mark("< f = 0")]),
        [row("f", 0, 0), row("(runtime) USERPTR", 1, 0)]
    );
}

#[test]
fn a_failed_ioctl_gave_nothing() {
    let failed = ioctl_of(1, None, 22, memory(Domain::Vram, true, 0, 4096));
    assert_eq!(counts(&[mark("> f"), failed, mark("< f = 0")]), [row("f", 0, 0)]);
}

#[test]
fn the_last_state_of_an_svm_range_counts() {
    let records = [
        mark("> managed"),
        svm(true, 0x10_0000, 0x4000),
        svm(false, 0x10_0000, 0x4000),
        svm(true, 0x20_0000, 0x4000),
        mark("< managed = 0"),
    ];
    assert_eq!(counts(&records), [row("managed", 1, 1)]);
    // In the next call it is a range of that call.
    let again = [mark("> advise"), svm(true, 0x10_0000, 0x4000), mark("< advise = 0")];
    let both: Vec<Record> = records.into_iter().chain(again).collect();
    assert_eq!(counts(&both), [row("managed", 1, 1), row("advise", 1, 0)]);
}

#[test]
fn part_of_an_svm_range_leaves_the_rest_as_it_was() {
    let records =
        [mark("> f"), svm(true, 0x1000, 0x3000), svm(false, 0x2000, 0x1000), mark("< f = 0")];
    assert_eq!(counts(&records), [row("f", 2, 1)]);
    let row = rows(attribute(&records, ByCall), attribute(&records, ByCall), None, None).remove(0);
    let bytes: u64 = ioctls(row.stock.as_ref()).asked.values().map(|amount| amount.bytes).sum();
    assert_eq!(bytes, 0x3000);
}

#[test]
fn rows_are_compared_by_kind_count_and_code() {
    let run = |coherent, code: &str| {
        attribute(&[mark("> f"), alloc(coherent), mark(&format!("< f = {code}"))], ByCall)
    };
    let changed = |stock, interposed| rows(stock, interposed, None, None).remove(0).changed;
    assert!(!changed(run(true, "0"), run(true, "0")));
    assert!(changed(run(true, "0"), run(false, "0")));
    assert!(changed(run(true, "0"), run(true, "1")));
}

#[test]
fn a_call_in_one_run_only_is_a_change() {
    let stock = attribute(&[mark("> a"), mark("< a = 0"), alloc(true)], ByCall);
    let interposed = attribute(&[mark("> b"), mark("< b = 0"), alloc(true)], ByCall);
    let rows = rows(stock, interposed, None, None);
    let names: Vec<(&str, bool)> =
        rows.iter().map(|row: &Row| (row.call.as_str(), row.changed)).collect();
    assert_eq!(names, [("a", true), ("b", true), ("(runtime) USERPTR", false)]);
    assert_eq!((&rows[0].interposed, &rows[1].stock), (&None, &None));
}

proptest! {
    /// However ranges lie over each other, each byte is counted once, in its last state.
    #[test]
    fn each_byte_of_svm_counts_once(ranges in proptest::collection::vec((0u64..64, 1u64..16, any::<bool>()), 1..12)) {
        let mut state = BTreeMap::new();
        let mut records = vec![mark("> f")];
        for (start, size, coherent) in ranges {
            state.extend((start..start + size).map(|byte| (byte, coherent)));
            records.push(svm(coherent, start, size));
        }
        records.push(mark("< f = 0"));
        let row = rows(attribute(&records, ByCall), attribute(&records, ByCall), None, None).remove(0);
        for coherent in [true, false] {
            let bytes: u64 = ioctls(row.stock.as_ref()).asked.iter()
                .filter(|(asked, _)| asked.coherent == coherent)
                .map(|(_, amount)| amount.bytes).sum();
            prop_assert_eq!(bytes, state.values().filter(|last| **last == coherent).count() as u64);
        }
    }

    #[test]
    fn any_marks_are_read(texts in proptest::collection::vec("([<>] )?[a-c](( = )?[0-9 ]{0,3})", 0..12), tids in proptest::collection::vec(0u32..3, 12)) {
        let records: Vec<Record> = texts.iter().zip(tids).map(|(text, tid)| mark_of(tid, text)).collect();
        let rows = rows(attribute(&records, ByCall), attribute(&records, ByCall), None, None);
        prop_assert!(rows.iter().all(|row| !row.changed));
    }
}

#[test]
fn where_the_runs_show_other_functions_on_the_stack_requests_are_told_apart_by_kind() {
    let request = |api| ioctl_of(1, api, 0, memory(Domain::Userptr, true, 0, 4096));
    let named = [request(Some("hipHostMalloc")), request(None)];
    let unnamed = [request(None), request(None)];
    assert_eq!(Unmarked::of(&[&named, &named], false), ByCall);
    assert_eq!(Unmarked::of(&[&named, &named], true), ByKind);
    assert_eq!(Unmarked::of(&[&unnamed, &named], false), ByKind);
    let rows = rows(
        attribute(&unnamed, ByKind),
        attribute(&named, ByKind),
        Some(attribute(&named, ByKind)),
        None,
    );
    let [row] = &rows[..] else { panic!("one row: {rows:?}") };
    assert_eq!((&row.call[..], row.kind, row.changed), ("(any call) USERPTR", Kind::Call, false));
    assert!(row.third.as_ref().is_some_and(|third| !third.patched_differs));
}
