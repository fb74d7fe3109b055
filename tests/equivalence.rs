//! The central claim of the patches: a program asks the kernel for the same memory, whether it
//! is interposed or its libraries are patched, and patched and interposed together are as either
//! alone. ROCm 6.4.3: Debian's packages beside libraries built from the same release's source.

mod common;
mod equivalence_common;

use std::path::Path;
use std::process::{Command, Output};

use common::Run;
use common::artifact::artifact;
use common::boards::{BOARDS, CONTROLS};
use common::parallel::each;
use equivalence_common::asked::Asked;
use equivalence_common::machine::{LEVELS, Machine, Seen, Setup, Way};
use equivalence_common::table::{self, Measured};
use serde_json::Value;

const PROBE: [&str; 2] = ["examples/alloc_probe.cpp", "alloc_probe"];
const GFX1030: Machine = Machine::of("gfx1030", true);

/// Boxes of two GPUs, and GPUs under the name of another.
const OTHERS: [Machine; 7] = [
    Machine::of("gfx1030,gfx906", true),
    Machine::of("gfx1100,gfx1010", true),
    Machine::of("gfx1010,gfx1030", true),
    Machine { gpus: "gfx1010", named: Some("10.3.0"), rdna12: true },
    Machine { gpus: "gfx1031", named: Some("10.3.0"), rdna12: true },
    Machine { gpus: "gfx1030", named: Some("11.0.0"), rdna12: true },
    Machine { gpus: "gfx1100", named: Some("10.3.0"), rdna12: false },
];

fn machines() -> Vec<Machine> {
    let board = |board: &'static str| Machine::of(board, !CONTROLS.contains(&board));
    BOARDS.into_iter().map(board).chain(OTHERS).collect()
}

fn measure(setup: &Setup, program: &Path, machine: Machine) -> Measured {
    let run = |way, level| setup.run(program, machine, way, level);
    let at = |level| [Way::Interposed, Way::Patched, Way::Both].map(|way| run(way, level));
    Measured { machine, stock: run(Way::Stock, LEVELS[0]), levels: LEVELS.map(at).into() }
}

#[track_caller]
fn assert_same(what: &str, one: &Seen, other: &Seen) {
    let pairs = one.asked.calls.iter().zip(&other.asked.calls);
    for (one, other) in pairs {
        assert_eq!(one, other, "{what}: {}", one.name);
    }
    assert_eq!(one, other, "{what}");
}

#[test]
fn patched_asks_for_the_same_as_interposed_on_every_machine_at_every_level() {
    let Some(setup) = Setup::new() else { return };
    let program = setup.compile(PROBE[0], PROBE[1]);
    let started = std::time::Instant::now();
    let measured = each(&machines(), |machine| measure(&setup, &program, *machine));
    for one in &measured {
        for (level, [interposed, patched, both]) in LEVELS.iter().zip(&one.levels) {
            let what = format!("{}, {level}", one.machine.name());
            assert_same(&format!("{what}: interposed and patched"), interposed, patched);
            assert_same(&format!("{what}: interposed and both"), interposed, both);
            if *level == "off" || !one.machine.rdna12 {
                assert_same(&format!("{what}: stock and patched"), &one.stock, patched);
            } else {
                let changed = Measured::differing(&one.stock, patched);
                assert!(!changed.is_empty(), "{what}: nothing changed");
            }
        }
    }
    println!(
        "MATRIX: stock, interposed, patched, both: {} machines x {} levels, {} calls in {:.0?}",
        measured.len(),
        LEVELS.len(),
        measured[0].stock.asked.calls.len(),
        started.elapsed()
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/equivalence.md");
    let now = table::page(&measured);
    if std::env::var_os("RDNAFIX_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, now).expect("docs can be written");
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    if kept != now {
        let diff = similar::TextDiff::from_lines(&kept, &now);
        panic!(
            "docs/equivalence.md says something else; if that is meant, scripts/golden.sh writes \
             it anew.\n{}",
            diff.unified_diff().header("kept", "now")
        );
    }
}

/// That two runs asked for the same in some of the calls.
#[track_caller]
fn assert_same_in(what: &str, one: &Seen, other: &Seen, which: impl Fn(&str) -> bool) {
    assert_eq!(one.asked.calls.len(), other.asked.calls.len(), "{what}: calls are missing");
    let pairs = one.asked.calls.iter().zip(&other.asked.calls);
    let mut compared = 0;
    for (one, other) in pairs.filter(|(one, _)| which(&one.name)) {
        assert_eq!(one, other, "{what}");
        compared += 1;
    }
    assert!(compared > 0, "{what}: no call was compared");
}

/// docs/patches.md, "Who decides where both are patched".
#[test]
fn each_library_patched_alone_decides_what_reaches_it() {
    let Some(setup) = Setup::new() else { return };
    let program = setup.compile(PROBE[0], PROBE[1]);
    let scratch = [tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two")];
    let hip = setup.with_only("libamdhip64.so.6", scratch[0].path());
    let rocr = setup.with_only("libhsa-runtime64.so.1", scratch[1].path());
    let pinned = |name: &str| {
        ["hipHostMalloc", "hipHostAlloc", "hipMemAllocHost"].iter().any(|of| name.starts_with(of))
    };
    let of_hip = |name: &str| name.starts_with("hip");
    let cases: Vec<_> = [GFX1030, OTHERS[0]]
        .into_iter()
        .flat_map(|machine| LEVELS.map(|level| (machine, level)))
        .collect();
    each(&cases, |&(machine, level)| {
        let what = format!("{}, {level}", machine.name());
        let stock = setup.run(&program, machine, Way::Stock, level);
        let interposed = setup.run(&program, machine, Way::Interposed, level);
        let alone = hip.run(&program, machine, Way::Patched, level);
        // No page is asked for to learn whether the release takes the flag: this one does.
        let without_page = |name: &str| name == "hipExtMallocWithFlags(Contiguous)";
        let as_interposed = |name: &str| of_hip(name) && !without_page(name);
        assert_same_in(&format!("HIP alone, {what}"), &alone, &interposed, as_interposed);
        let last = |seen: &Seen| {
            let call = seen.asked.calls.iter().find(|call| without_page(&call.name));
            call.and_then(|call| call.requests.last().cloned())
        };
        assert_eq!(last(&alone), last(&interposed), "HIP alone, {what}");
        assert_same_in(&format!("HIP alone, {what}"), &alone, &stock, |name| !of_hip(name));
        let alone = rocr.run(&program, machine, Way::Patched, level);
        // ROCr does not learn that managed memory is gone: what the program chose for it stands
        // for what comes to lie there by other means than HIP.
        let outlived = |name: &str| name == "hsa_amd_svm_attributes_set(access)";
        let as_stock = |name: &str| pinned(name) || outlived(name);
        assert_same_in(&format!("ROCr alone, {what}"), &alone, &interposed, |name| !as_stock(name));
        assert_same_in(&format!("ROCr alone, {what}"), &alone, &stock, as_stock);
    });
}

/// What each call got, and not how it was asked for: docs/patches.md says where that differs.
fn memory(asked: &Asked) -> Vec<(&str, &str, Vec<&str>)> {
    asked
        .calls
        .iter()
        .map(|call| {
            let memory = call.requests.iter().flat_map(|request| &request.memory);
            (&call.name[..], &call.code[..], memory.map(String::as_str).collect())
        })
        .collect()
}

#[test]
fn libraries_on_the_deny_list_are_left_alone_alike() {
    let Some(setup) = Setup::new() else { return };
    let program = setup.compile("tests/programs/denied.cpp", "denied");
    let options = ["-shared", "-fPIC", "-lamdhip64"];
    let built = setup.release.compile("tests/programs/denied_library.cpp", "denied.so", &options);
    let scratch = tempfile::tempdir().expect("a directory");
    let mut cases = Vec::new();
    for name in ["librccl.so.1", "librocshmem.so", "libother.so"] {
        let library = scratch.path().join(name);
        std::fs::copy(&built, &library).expect("a copy");
        for machine in [GFX1030, OTHERS[0]] {
            cases.extend(LEVELS.map(|level| (library.clone(), machine, level)));
        }
    }
    let results = each(&cases, |(library, machine, level)| {
        let run = |way| setup.run_with(Run::new(&program).arg(library), *machine, way, level);
        let [stock, interposed] = [Way::Stock, Way::Interposed].map(run);
        for way in [Way::Patched, Way::Both] {
            let other = run(way);
            let what = format!("{way:?}, {}, {}, {level}", library.display(), machine.name());
            assert_eq!(memory(&interposed.asked), memory(&other.asked), "{what}");
            assert_eq!(interposed.stdout, other.stdout, "{what}");
        }
        memory(&stock.asked) != memory(&interposed.asked)
    });
    for ((library, _, level), changed) in cases.iter().zip(results) {
        let denied = !library.ends_with("libother.so");
        let expected = *level != "off" && (!denied || *level == "full");
        assert_eq!(changed, expected, "{}, {level}", library.display());
    }
}

/// `rdnafix compare` of the program with patched libraries.
fn compare(options: &[&str], program: &Path) -> Output {
    let mut command = Command::new(artifact("rdnafix"));
    command.args(["compare", "--root", "6.4.3"]).args(options).arg("--").arg(program);
    command.output().expect("the command starts")
}

#[test]
fn compare_shows_the_patched_libraries_as_a_third_column() {
    let Some(setup) = Setup::new() else { return };
    let program = setup.compile(PROBE[0], PROBE[1]);
    let prefix = setup.overlay.parent().expect("the prefix").to_str().expect("UTF-8");
    let output = compare(&["--gpu", "gfx1012", "--patched", prefix, "--json"], &program);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["summary"]["patched_differ"], 0, "{document:#}");
    assert_eq!(document["runs"]["patched"]["ending"]["exited"], 0);
    assert_eq!(document["output_differs"], false);
    let rows = document["rows"].as_array().expect("rows");
    let managed = rows.iter().find(|row| row["call"] == "hipMallocManaged").expect("its row");
    assert_eq!(managed["patched"], managed["interposed"]);
    assert_ne!(managed["patched"], managed["stock"]);
    assert_eq!(managed["patched_differs"], false);

    let output = compare(&["--gpu", "gfx1012", "--patched", prefix], &program);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("interposed  ") && table.contains("patched\n"), "{table}");
    assert!(table.ends_with("patched asked for the same as interposed in every row\n"), "{table}");
}

#[test]
fn compare_says_where_the_patched_libraries_were_passed_over() {
    let Some(setup) = Setup::new() else { return };
    let program = setup.compile(PROBE[0], PROBE[1]);
    let scratch = tempfile::tempdir().expect("a directory");
    let refused = compare(&["--patched", scratch.path().to_str().expect("UTF-8")], &program);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(125), "{said}");
    assert!(said.contains("no libamdhip64") && said.contains("rdnafix build rocm"), "{said}");

    let lib = scratch.path().join("lib");
    std::fs::create_dir(&lib).expect("a new directory");
    setup.with_only("libhsa-runtime64.so.1", &lib);
    let output = compare(&["--patched", scratch.path().to_str().expect("UTF-8")], &program);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = "libamdhip64.so.6, which is not patched by";
    assert!(said.contains(expected) && said.contains("no library of that name"), "{said}");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.lines().any(|line| line.ends_with("  differs")), "{table}");
}

#[test]
fn without_memory_to_decide_with_a_call_is_made_as_it_came() {
    let Some(setup) = Setup::new() else { return };
    let program = setup.compile("tests/programs/no_memory.cpp", "no_memory");
    for level in LEVELS {
        let [stock, interposed, patched, both] =
            [Way::Stock, Way::Interposed, Way::Patched, Way::Both]
                .map(|way| setup.run(&program, GFX1030, way, level).stdout);
        assert!(stock.contains("access: 4104"), "it gets memory all the same: {stock}");
        assert_eq!(stock, interposed, "{level}");
        assert_eq!(stock, patched, "{level}");
        assert_eq!(stock, both, "{level}");
    }
}

#[test]
fn a_program_without_marks_is_compared_by_kind_of_memory() {
    let Some(setup) = Setup::new() else { return };
    let libraries = ["-lamdhip64", "-ldl"];
    let program = setup.release.compile("tests/programs/unmarked.c", "unmarked", &libraries);
    let prefix = setup.overlay.parent().expect("the prefix").to_str().expect("UTF-8");
    let output = compare(&["--patched", prefix, "--json"], &program);
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["summary"]["patched_differ"], 0, "{document:#}");
    let rows = document["rows"].as_array().expect("rows");
    let changed: Vec<&str> = rows
        .iter()
        .filter(|row| row["changed"] == true)
        .map(|row| row["call"].as_str().expect("a name"))
        .collect();
    assert_eq!(changed, ["(any call) USERPTR", "(any call) SVM"]);
}

#[test]
fn compare_says_where_the_stock_run_found_an_overlay() {
    let Some(setup) = Setup::new() else { return };
    let program = setup.compile(PROBE[0], PROBE[1]);
    let mut command = Command::new(artifact("rdnafix"));
    command.args(["compare", "--root", "6.4.3", "--json", "--"]).arg(&program);
    let output = command.env("LD_LIBRARY_PATH", &setup.overlay).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the stock run used") && said.contains("LD_LIBRARY_PATH"), "{said}");
    // The level is off there, so that it is stock in what it asks for.
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["summary"]["changed"], 6, "{document:#}");
}

#[test]
fn over_patched_libraries_the_interposers_own_settings_hold() {
    let Some(setup) = Setup::new() else { return };
    let program = setup.compile(PROBE[0], PROBE[1]);
    let settings = [("RDNAFIX_DRY_RUN", "1"), ("RDNAFIX_MIN_BYTES", "1073741824")];
    for (name, value) in settings {
        for level in ["standard", "full"] {
            let run =
                |way| setup.run_with(Run::new(&program).env(name, value), GFX1030, way, level);
            let [stock, interposed, both] = [Way::Stock, Way::Interposed, Way::Both].map(run);
            assert_same(&format!("{name}={value}, {level}"), &interposed, &both);
            assert_same(&format!("{name}={value}, {level}: stock"), &stock, &both);
        }
    }
}
