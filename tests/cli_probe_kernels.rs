//! The source of the kernels of `rdnafix probe` and `rdnafix bench`, compiled as C++ and called on
//! the CPU: what it comes to is what the command expects, and a wrong kernel is seen. This shows
//! the arithmetic of the source, not what compilers make of it for a GPU, and nothing of hardware.

mod cli_common;
mod probe_common;

use probe_common::{INCOMPLETE, WRONG, cells, kernels, on, report, stand_in, stand_in_of};
use serde_json::Value;

/// The report of a command whose kernels were changed: what stood there, and what stands there now.
fn changed(command: &str, changes: &[(&str, &str)]) -> (Value, Option<i32>) {
    let mut source = std::fs::read_to_string(kernels()).unwrap();
    for (from, to) in changes {
        assert_eq!(source.matches(from).count(), 1, "{from}");
        source = source.replace(from, to);
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kernels.hip");
    std::fs::write(&file, source).unwrap();
    let hip = stand_in_of(&file, &[]);
    report(&mut on(hip.path(), command, &[]))
}

/// Both numbers of a cell.
fn wrong(cell: &Value) -> (u64, u64) {
    let number = |name: &str| cell[name].as_u64().unwrap_or_else(|| panic!("{name}: {cell}"));
    (number("wrong"), number("wrong_returning"))
}

#[test]
fn every_atomic_comes_to_what_is_expected_of_it() {
    let hip = stand_in(true);
    let (report, code) = report(&mut on(hip.path(), "probe", &[]));
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(cells(&report).count(), 6 * 11 * 2);
    for cell in cells(&report) {
        assert_eq!((&cell["elements"], wrong(cell)), (&65536.into(), (0, 0)), "{cell}");
    }
}

#[test]
fn every_atomic_that_is_another_one_is_seen() {
    let (report, code) = changed(
        "probe",
        &[
            ("atomicAdd(p + i, operand[i])", "atomicXor(p + i, operand[i])"),
            ("atomicMin(", "atomicMax("),
            ("(atomic_max, atomicMax(", "(atomic_max, atomicMin("),
            ("atomicAnd(", "atomicOr("),
            ("(atomic_or, atomicOr(", "(atomic_or, atomicXor("),
            ("(atomic_xor, atomicXor(", "(atomic_xor, atomicAdd("),
            ("atomicInc(", "atomicDec("),
            ("(atomic_dec, atomicDec(", "(atomic_dec, atomicInc("),
            ("initial[i], operand[i]", "operand[i], operand[i]"),
            ("atomicExch(p + i, operand[i])", "atomicExch(p + i, operand[i] + 1)"),
            ("__uint_as_float(operand[i])", "-__uint_as_float(operand[i])"),
        ],
    );
    assert_eq!(code, WRONG);
    for cell in cells(&report) {
        let (without, with) = wrong(cell);
        // Some come to the same for some operands, as or and xor where no bit is set in both.
        assert!(without > 60000 && with > 60000, "{cell}");
    }
}

#[test]
fn an_old_value_that_is_wrong_is_seen_where_it_is_used() {
    let (report, code) = changed("probe", &[("bits(call);", "bits(call) + 1;")]);
    assert_eq!(code, WRONG);
    for cell in cells(&report) {
        assert_eq!(wrong(cell), (0, 65536), "{cell}");
    }
}

#[test]
fn a_single_element_that_is_left_out_is_seen() {
    let (report, code) = changed("probe", &[("if (i < n) { call; }", "if (i + 1 < n) { call; }")]);
    assert_eq!(code, WRONG);
    for cell in cells(&report) {
        assert_eq!(wrong(cell), (1, 0), "{cell}");
    }
}

#[test]
fn every_pattern_that_reads_something_else_gives_no_bandwidth() {
    let (report, code) = changed(
        "bench",
        &[
            ("i < n / 4; i += threads", "i + 1 < n / 4; i += threads"),
            ("pass * 4099u) & (n / 4 - 1)", "pass * 4099u) & (n / 8 - 1)"),
            ("scatter(INDEX + pass * threads)", "scatter(INDEX + pass * threads + 1)"),
        ],
    );
    assert_eq!(code, INCOMPLETE);
    assert_eq!(cells(&report).count(), 6 * 3 * 2);
    for cell in cells(&report) {
        assert_eq!(cell["outcome"], "failed", "{cell}");
        assert!(cell["why"].as_str().unwrap().contains("read other data"), "{cell}");
    }
}
