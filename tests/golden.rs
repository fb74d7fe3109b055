//! The golden tables: what every allocation call of HIP and HSA asks of the kernel, for each
//! ROCm release on each simulated board, without librdnafix.so and at each of its levels. The
//! text is under tests/golden, `scripts/golden.sh` writes it anew.

mod common;
mod golden_common;

use std::collections::BTreeSet;
use std::path::Path;

use common::Run;
use common::boards::BOARDS;
use common::parallel::each;
use common::patched::patched;
use common::release::{RELEASES, release, releases};
use golden_common::measure::{LEVELS, Measured, matrix, program, run_on};
use golden_common::row::Row;
use golden_common::text;

/// Compares, or writes where `RDNAFIX_GOLDEN=write`.
fn compare(name: &str) {
    let Some(release) = release(name) else { return };
    let now = text::file(name, &matrix(&release));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/rocm-{name}.txt"));
    if std::env::var_os("RDNAFIX_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, now).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    if kept != now {
        let diff = similar::TextDiff::from_lines(&kept, &now);
        panic!(
            "ROCm {name} asks for something else than tests/golden says; if that is meant, \
             scripts/golden.sh writes it anew.\n{}",
            diff.unified_diff().header("kept", "now")
        );
    }
}

#[test]
fn rocm_5_2_3_asks_what_its_table_says() {
    compare("5.2.3");
}

#[test]
fn rocm_5_7_1_asks_what_its_table_says() {
    compare("5.7.1");
}

#[test]
fn rocm_6_4_3_asks_what_its_table_says() {
    compare("6.4.3");
}

#[test]
fn rocm_7_2_4_asks_what_its_table_says() {
    compare("7.2.4");
}

#[test]
fn every_board_of_the_simulated_gpu_is_measured() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/kfdsim/boards");
    let files = directory.read_dir().expect("the boards").map(|file| file.expect("a file").path());
    let there: BTreeSet<String> =
        files.map(|file| file.file_stem().expect("a name").to_string_lossy().into()).collect();
    let measured = BTreeSet::from(BOARDS.map(str::to_owned));
    assert_eq!(measured, there);
}

/// Every setting of every release that can be had.
fn everywhere(mut check: impl FnMut(&str, &Measured)) {
    for name in RELEASES {
        if let Some(release) = release(name) {
            for measured in &matrix(&release) {
                check(name, measured);
            }
        }
    }
}

/// Each row of each level beside the row without the library.
fn each_row(check: impl Fn(&str, &Row, &Row)) {
    everywhere(|release, measured| {
        for (level, seen) in measured.interposed() {
            assert_eq!(seen.rows.len(), measured.levels[0].rows.len(), "{}", measured.name());
            for (stock, row) in measured.levels[0].rows.iter().zip(&seen.rows) {
                check(&format!("ROCm {release}, {}, {level}", measured.name()), stock, row);
            }
        }
    });
}

#[test]
fn level_off_asks_what_stock_asks() {
    everywhere(|release, measured| {
        assert_eq!(LEVELS[1], "off");
        assert_eq!(measured.levels[1], measured.levels[0], "ROCm {release}, {}", measured.name());
    });
}

#[test]
fn gpus_that_are_neither_rdna1_nor_rdna2_are_left_alone() {
    everywhere(|release, measured| {
        for (level, seen) in measured.interposed().filter(|_| !measured.is_rdna_1_or_2()) {
            let what = format!("ROCm {release}, {}, {level}", measured.name());
            assert_eq!(*seen, measured.levels[0], "{what}");
        }
    });
}

#[test]
fn no_call_returns_another_code() {
    each_row(|what, stock, row| {
        assert_eq!((&row.call, &row.code), (&stock.call, &stock.code), "{what}");
    });
}

#[test]
fn memory_of_the_runtimes_themselves_is_left_alone() {
    everywhere(|release, measured| {
        assert!(!measured.levels[0].own.is_empty(), "ROCm {release}, {}", measured.name());
        for (level, seen) in measured.interposed() {
            let what = format!("ROCm {release}, {}, {level}", measured.name());
            assert_eq!(seen.own, measured.levels[0].own, "{what}");
        }
    });
}

#[test]
fn what_is_rewritten_becomes_non_coherent() {
    let mut rewritten = 0;
    everywhere(|release, measured| {
        for (level, seen) in measured.interposed() {
            let pairs = measured.levels[0].rows.iter().zip(&seen.rows);
            for (stock, row) in pairs.filter(|(stock, row)| stock.kfd != row.kfd) {
                // The last request is what the program gets; one page may have been asked for
                // before, to learn whether the runtime takes the flags.
                let got = row.kfd.last().map(|asked| &asked.mtype[..]);
                assert_eq!(
                    got,
                    Some("NC"),
                    "ROCm {release}, {}, {level}: {stock:?} became {row:?}",
                    measured.name()
                );
                rewritten += 1;
            }
        }
    });
    assert!(rewritten > 0 || releases().is_empty(), "nothing was rewritten");
}

#[test]
fn signals_queues_and_kernargs_are_the_same_at_every_level() {
    let never = ["hsa_signal_create", "hsa_amd_signal_create", "hsa_queue_create", "kernarg"];
    each_row(|what, stock, row| {
        // Registered memory is the program's own, whichever pool it is locked to.
        let locked = row.call.contains("memory_lock");
        if never.iter().any(|part| row.call.contains(part)) && !locked
            || row.call.contains("SignalMemory")
        {
            assert_eq!(row, stock, "{what}");
        }
    });
}

#[test]
fn each_level_contains_the_one_before_it() {
    everywhere(|release, measured| {
        let stock = &measured.levels[0];
        for pair in measured.levels[1..].windows(2) {
            for (row, (lower, higher)) in
                stock.rows.iter().zip(pair[0].rows.iter().zip(&pair[1].rows))
            {
                let what = format!("ROCm {release}, {}: {}", measured.name(), row.call);
                assert!(lower == row || higher == lower, "{what}: {lower:?}, then {higher:?}");
            }
        }
    });
}

#[test]
fn patched_libraries_ask_what_interposed_ones_ask() {
    let Some(prefix) = patched() else { return };
    let Some(release) = release("6.4.3") else { return };
    let measured = matrix(&release);
    let program = program(&release);
    let all: Vec<_> = measured
        .iter()
        .flat_map(|one| one.interposed().map(|(level, seen)| (&one.setting, level, seen)))
        .collect();
    each(&all, |(setting, level, interposed)| {
        let run = Run::new(&program).with_libraries(&prefix.join("lib"));
        // What lies between HIP and HSA would be their caller: the HSA calls are not looked at.
        let patched = run_on(&release, run.env("RDNAFIX_POLICY", level), setting);
        let what = format!("{setting:?}, {level}");
        for (interposed, patched) in interposed.rows.iter().zip(&patched.rows) {
            let [one, other] = [interposed, patched].map(|row| (&row.call, &row.code, &row.kfd));
            assert_eq!(one, other, "{what}");
        }
        assert_eq!(interposed.rows.len(), patched.rows.len(), "{what}");
        assert_eq!(interposed.own, patched.own, "{what}");
    });
    println!("MATRIX: golden tables, patched ROCm 6.4.3: {} runs as interposed", all.len());
}
