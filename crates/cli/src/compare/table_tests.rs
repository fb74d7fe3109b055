//! Tests of the table.

use std::collections::BTreeMap;

use kfd_abi::log::{Domain, Mtype};

use super::model::{Asked, Ioctls, Kind, OnKernel, Reported, Row, Side, Third};
use super::table::{Style, WIDTH, summary, table};
use crate::report::{Action, Call, Layers, Report};

const PLAIN: Style = Style { terminal: false, colour: false, width: 160 };

fn asked(coherent: bool, flags: &[&str], mtypes: &[(&str, Mtype)]) -> Asked {
    Asked {
        domain: Domain::Userptr,
        coherent,
        mtype: mtypes.iter().map(|(gpu, mtype)| ((*gpu).to_owned(), *mtype)).collect(),
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
    }
}

fn uc() -> Asked {
    asked(true, &["COHERENT"], &[("gfx1030#0", Mtype::Uc)])
}

fn nc(flags: &[&str]) -> Asked {
    asked(false, flags, &[("gfx1030#0", Mtype::Nc)])
}

fn side(code: Option<&str>, asked: &[Asked]) -> Side {
    let mut side = Ioctls {
        codes: code.map(|code| (code.to_owned(), 1)).into_iter().collect(),
        asked: BTreeMap::new(),
    };
    for kind in asked {
        side.add(kind.clone(), 4096);
    }
    Side::Ioctls(side)
}

fn row(
    call: &str,
    kind: Kind,
    changed: bool,
    stock: impl Into<Option<Side>>,
    interposed: impl Into<Option<Side>>,
) -> Row {
    Row {
        call: call.to_owned(),
        kind,
        changed,
        stock: stock.into(),
        interposed: interposed.into(),
        third: None,
        kernel: None,
    }
}

fn example() -> Vec<Row> {
    vec![
        row(
            "hipMalloc",
            Kind::Call,
            false,
            side(Some("0"), &[nc(&[])]),
            side(Some("0"), &[nc(&[])]),
        ),
        row(
            "hipHostMalloc",
            Kind::Call,
            true,
            side(Some("0"), &[uc(), uc()]),
            side(Some("0"), &[nc(&[]), nc(&[])]),
        ),
        row("hipExtMalloc", Kind::Call, false, side(Some("2"), &[]), side(Some("2"), &[])),
        row("(runtime) GTT", Kind::Runtime, false, side(None, &[uc()]), side(None, &[uc()])),
    ]
}

#[test]
fn without_a_terminal_the_table_is_plain() {
    let lines: Vec<Vec<String>> = table(&example(), PLAIN)
        .lines()
        .map(|line| {
            line.split("  ")
                .map(|cell| cell.trim().to_owned())
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    assert_eq!(
        lines,
        [
            vec!["call", "stock", "interposed"],
            vec!["hipMalloc", "USERPTR non-coherent NC", "same"],
            vec!["hipHostMalloc", "USERPTR coherent UC x2", "USERPTR non-coherent NC x2",],
            vec!["hipExtMalloc", "rc 2: nothing", "same"],
            vec!["(runtime) GTT", "USERPTR coherent UC", "same"],
        ]
    );
    assert!(table(&example(), PLAIN).is_ascii());
    assert!(table(&example(), PLAIN).lines().all(|line| line == line.trim()));
}

#[test]
fn without_a_terminal_the_table_fits_80_columns() {
    let mut rows = example();
    rows[1].call = "hipMallocManaged+UnsetCoarseGrain+SetAccessedBy".to_owned();
    rows[1].stock = Some(side(Some("2"), &[uc(), nc(&[])]));
    let text = table(&rows, Style { width: WIDTH, ..PLAIN });
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
}

#[test]
fn colour_is_for_terminals_and_only_marks_what_changed() {
    let style = |colour| Style { terminal: true, colour, width: 80 };
    assert!(!table(&example(), style(false)).contains('\x1b'));
    assert!(table(&example(), style(true)).contains('\x1b'));
    assert!(!table(&example()[..1], style(true)).contains('\x1b'));
}

#[test]
fn gpus_that_map_differently_are_named() {
    let mixed = asked(false, &[], &[("gfx1030#0", Mtype::Nc), ("gfx906#1", Mtype::Rw)]);
    let rows = [row(
        "f",
        Kind::Call,
        false,
        side(None, std::slice::from_ref(&mixed)),
        side(None, &[mixed]),
    )];
    assert!(table(&rows, PLAIN).contains("USERPTR non-coherent NC/gfx1030#0 RW/gfx906#1"));
}

#[test]
fn a_change_is_always_to_be_seen() {
    let rows = [
        row("flags", Kind::Call, true, side(None, &[nc(&["A"])]), side(None, &[nc(&["B"])])),
        row("codes", Kind::Call, true, side(Some("0"), &[]), side(Some("1"), &[])),
        row("absent", Kind::Call, true, side(Some("0"), &[]), None),
    ];
    let text = table(&rows, PLAIN);
    for part in ["NC [A]", "NC [B]", "rc 0: nothing", "rc 1: nothing", "not called"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

fn refused() -> Call {
    Call {
        api: "hipHostMalloc".to_owned(),
        gpu: None,
        request: "flags=0x0".to_owned(),
        action: Action::Rewritten,
        reason: "nobody-asked".to_owned(),
        why: "nobody asked for coherent memory".to_owned(),
        calls: 3,
        bytes: 12_288,
        fell_back: 1,
    }
}

#[test]
fn a_report_says_what_was_done_and_why() {
    let reported = Some(Side::Reported(Reported { calls: vec![refused()] }));
    let text = table(&[row("hipHostMalloc", Kind::Call, true, None, reported)], PLAIN);
    assert!(
        text.contains(
            "rewritten x3, 12 KiB, 1 of them fell back: nobody asked for coherent memory"
        ),
        "{text}"
    );
}

#[test]
fn the_summary_names_what_was_refused() {
    let report = Report {
        rdnafix: "0.1.0".to_owned(),
        pid: 1,
        program: "/bin/p".to_owned(),
        level: "standard".to_owned(),
        gpus: Vec::new(),
        calls: vec![refused(), refused()],
        layers: Layers::default(),
        unseen: Vec::new(),
    };
    assert!(summary(&[], &[report]).ends_with("repeated as it came: hipHostMalloc x2\n"));
}

#[test]
fn the_summary_counts_the_calls_of_the_program() {
    assert_eq!(
        summary(&example(), &[]),
        "1 of 3 calls changed: hipHostMalloc\nwhat the runtime allocates for itself: the same\n"
    );
    let differs = [row("(runtime) GTT", Kind::Runtime, true, None, side(None, &[uc()]))];
    assert_eq!(
        summary(&differs, &[]),
        "0 of 0 calls changed\nwhat the runtime allocates for itself differs: (runtime) GTT\n"
    );
    assert_eq!(summary(&[], &[]), "0 of 0 calls changed\n");
}

#[test]
fn patched_libraries_are_a_third_column_beside_the_interposed_one() {
    let with = |row: Row, patched: Option<Side>, patched_differs| Row {
        third: Some(Third { patched, patched_differs }),
        ..row
    };
    let changed = || row("f", Kind::Call, true, side(None, &[uc()]), side(None, &[nc(&["A"])]));
    let same = with(changed(), Some(side(None, &[nc(&["A"])])), false);
    let differs = with(changed(), Some(side(None, &[nc(&["B"])])), true);
    let absent = with(changed(), None, true);
    let text = table(std::slice::from_ref(&same), PLAIN);
    assert!(text.starts_with("call  stock  ") && text.contains("interposed"), "{text}");
    assert_eq!(text.matches("USERPTR non-coherent NC").count(), 2, "{text}");
    let text = table(&[differs.clone(), absent.clone()], PLAIN);
    for part in ["NC [A]", "NC [B]", "  differs", "not called"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let said = summary(std::slice::from_ref(&same), &[]);
    assert!(said.ends_with("patched asked for the same as interposed in every row\n"), "{said}");
    let said = summary(&[same, differs, absent], &[]);
    assert!(said.ends_with("something else than interposed in 2 rows: f, f\n"), "{said}");
}

#[test]
fn a_patched_kernel_is_a_column_beside_the_stock_one() {
    let with = |asked, kernel_changed| Row {
        kernel: Some(OnKernel { kernel_patched: Some(side(None, &[asked])), kernel_changed }),
        ..row("f", Kind::Call, false, side(None, &[uc()]), side(None, &[uc()]))
    };
    let (same, changed) = (with(uc(), false), with(nc(&["A"]), true));
    let text = table(&[same.clone(), changed.clone()], PLAIN);
    assert!(text.lines().next().is_some_and(|line| line.ends_with("patched kernel")), "{text}");
    assert!(text.lines().nth(1).is_some_and(|line| line.matches("same").count() == 2), "{text}");
    assert!(
        text.lines().nth(2).is_some_and(|line| line.ends_with("USERPTR non-coherent NC")),
        "{text}"
    );
    let said = summary(&[same.clone(), changed], &[]);
    assert!(
        said.ends_with("on the patched kernel 1 of 2 rows are different from stock: f\n"),
        "{said}"
    );
    let said = summary(&[same], &[]);
    assert!(
        said.ends_with("on the patched kernel 0 of 1 rows are different from stock\n"),
        "{said}"
    );
}
