//! Once broken, found by hostile testing: the library answered for functions of other libraries
//! that are called like its own (`OnLoad`, `dlsym`, names that nobody has), wrote its log into
//! files of the program, changed the last error, let a cancelled thread unwind through it, leaked,
//! and judged by what was true before: a grain, a plugin at an address, a GPU node that is gone.

mod common;

use std::path::{Path, PathBuf};

use common::pair::{
    Pair, hip_program, installed_hip, of_size, pair, plain_program, same, skipped, with_stand_in,
};
use common::{Ran, Run, compile, kfdsim};

const HIP_AND_HSA: [&str; 4] = ["-std=c++17", "-lamdhip64", "-lhsa-runtime64", "-ldl"];

/// A C++ program of tests/programs that uses HIP and HSA.
fn cpp_program(name: &str) -> PathBuf {
    compile(&format!("tests/programs/{name}.cpp"), name, &HIP_AND_HSA)
}

/// A library of tests/programs, called `name` plus `.so`.
fn library(name: &str) -> PathBuf {
    let options = ["-shared", "-fPIC", "-ldl"];
    compile(&format!("tests/programs/{name}.c"), &format!("{name}.so"), &options)
}

/// `debug:FILE` with a file in that directory.
fn debug_log(dir: &Path) -> String {
    format!("debug:{}", dir.join("log").display())
}

/// What a run without the library prints, and whether one with it prints anything else.
fn prints_as_stock(program: &Path, set: impl Fn(Run) -> Run) -> Pair {
    let pair = pair(program, set).ending_with(0);
    assert!(!pair.stock.stdout().is_empty());
    pair
}

#[test]
fn a_library_of_the_program_that_has_on_load_and_on_unload_gets_its_own_calls() {
    let plugin = library("found_on_load_plugin");
    let directory = format!("-Wl,-rpath,{}", plugin.parent().expect("a directory").display());
    let plugin = plugin.display().to_string();
    let options = [plugin.as_str(), &directory];
    let program = compile("tests/programs/found_on_load.c", "found_on_load", &options);
    same(program, |run| run)
        .ending_with(0)
        .printing("its OnLoad: 1 11 12 name\nOnLoad gave 0\nits OnUnload\n");
}

/// With the simulated GPU but not its log: a program that closes descriptors would have its own
/// file there, and much is slow to log.
fn on_a_gpu_without_a_log(run: Run) -> Run {
    run.preload(kfdsim()).env("KFDSIM_GPUS", "gfx1030")
}

#[test]
fn calls_that_name_no_gpu_or_no_pool_do_not_grow_the_heap() {
    let program = cpp_program("found_growth");
    for level in ["standard", "full"] {
        let set = |run: Run| on_a_gpu_without_a_log(run.env("RDNAFIX_POLICY", level));
        let pair = prints_as_stock(&program, set);
        let text = pair.stock.stdout();
        assert_eq!(text.matches("different 0, ok\n").count(), 3, "{text}");
    }
}

/// A program that closes descriptors `first` to `last` and has a file of its own as `first`.
fn closes(program: &Path, (first, last): (&str, &str), when: &str, log: impl Fn(&Path) -> String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let run = |run: Run| {
        let data = dir.path().join("data");
        let run = run.arg(&data).arg(first).arg(last).arg(when).env("RDNAFIX_LOG", log(dir.path()));
        let ran = on_a_gpu_without_a_log(run).go();
        (ran, std::fs::read_to_string(data).expect("the program's file"))
    };
    let (stock, _) = run(Run::new(program));
    let (ran, data) = run(Run::new(program).interposed());
    assert_eq!(ran.output.status.code(), Some(0), "{when}: {}", ran.stderr());
    assert_eq!(ran.stdout().replace("0x80000000", "0"), stock.stdout(), "{when}");
    assert_eq!(data, "data\n", "{when}");
}

#[test]
fn a_program_that_closes_all_descriptors_finds_no_log_in_its_file() {
    closes(&hip_program("found_closes_all"), ("3", "100"), "unused", debug_log);
    // The stand-in for HIP has no descriptor that the program could close.
    closes(&with_stand_in("found_closes_all"), ("3", "100"), "used", debug_log);
}

#[test]
fn a_program_that_closes_standard_error_finds_no_log_in_its_file() {
    let to_stderr = |_: &Path| "debug".to_owned();
    closes(&hip_program("found_closes_all"), ("2", "2"), "unused", to_stderr);
    closes(&hip_program("found_closes_all"), ("2", "2"), "used", to_stderr);
}

/// Stock, with a report, with a log, and with both: all have to print the same.
fn observed_or_not(program: &Path, gpu: &str) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let report = dir.path().join("report").display().to_string();
    let log = debug_log(dir.path());
    let stock = Run::new(program).on(gpu).go();
    assert!(stock.output.status.success() && !stock.stdout().is_empty(), "{}", stock.stderr());
    let (report, log) = (("RDNAFIX_REPORT", &report), ("RDNAFIX_LOG", &log));
    for settings in [&[][..], &[report], &[log], &[report, log]] {
        for level in ["off", "standard"] {
            let run = Run::new(program).interposed().env("RDNAFIX_POLICY", level);
            let run = settings.iter().fold(run, |run, (name, value)| run.env(name, value));
            let ran = run.on(gpu).go();
            assert_eq!(ran.stdout(), stock.stdout(), "{gpu}, level {level}, {settings:?}");
            assert_eq!(ran.output.status, stock.output.status);
        }
    }
}

#[test]
fn the_last_error_is_the_same_whether_or_not_somebody_reads_what_is_done() {
    for gpu in ["gfx1030", "gfx906"] {
        observed_or_not(&cpp_program("found_last_error"), gpu);
    }
}

#[test]
fn bad_input_gets_the_same_answers_with_a_report_and_a_log() {
    let program = cpp_program("bad_input");
    let dir = tempfile::tempdir().expect("a temporary directory");
    for gpu in ["gfx1030", "gfx906"] {
        prints_as_stock(&program, |run| {
            let run = run.env("RDNAFIX_REPORT", dir.path().join("report"));
            run.env("RDNAFIX_LOG", debug_log(dir.path())).on(gpu)
        });
    }
}

#[test]
fn a_thread_that_is_cancelled_in_a_logged_call_ends_as_it_does() {
    let program = hip_program("found_cancelled");
    for used in [&["used"][..], &[]] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let set = |run: Run| run.args(used).env("RDNAFIX_LOG", debug_log(dir.path()));
        let pair = prints_as_stock(&program, |run| set(run).on("gfx1030"));
        assert_eq!(pair.stock.stdout(), "cancelled, 0 0\nafterwards 0\n");
        let log = std::fs::read_to_string(dir.path().join("log")).expect("the log");
        assert!(log.contains("hipHostMalloc"), "{log}");
    }
}

#[test]
fn a_gpu_node_that_cannot_be_read_does_not_hide_the_other() {
    let hidden = library("found_hidden_node");
    let ran = |run: Run| run.preload(&hidden).on("gfx1030,gfx1030").go().well();
    let program = hip_program("robust_use");
    let stock = ran(Run::new(&program));
    let interposed = ran(Run::new(&program).interposed());
    assert_eq!(interposed.stdout(), stock.stdout());
    let sizes = [(4 << 20) + 0x1000, (4 << 20) + 0x3000]; // tests/programs/robust.h
    let words = |ran: &Ran| sizes.map(|size| of_size(ran, size).join(", "));
    let both = |kind: &str, mtype: &str| format!("{kind} gfx1030#0={mtype} gfx1030#1={mtype}");
    assert_eq!(words(&stock), [both("USERPTR coherent", "UC"), both("SVM coherent", "UC")]);
    let expected = [both("USERPTR non-coherent", "NC"), both("SVM non-coherent", "NC")];
    assert_eq!(words(&interposed), expected);
}

#[test]
fn a_handle_of_a_second_copy_of_hip_gives_the_functions_of_that_copy() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let copy = dir.path().join("libamdhip64.so.9");
    std::fs::copy(installed_hip(), &copy).expect("a writable directory");
    for gpu in ["gfx1030", "gfx906"] {
        let set = |run: Run| run.arg(&copy).env("RDNAFIX_DLSYM", "1").on(gpu);
        let pair = prints_as_stock(&hip_program("found_second_copy"), set);
        assert!(pair.stock.stdout().contains("hipHostGetDevicePointer 0\n"));
    }
}

#[test]
fn a_grain_chosen_for_a_part_of_a_page_stands_for_the_rest_of_it() {
    let pair = same(hip_program("found_part_of_page"), |run| run.on("gfx1030")).ending_with(0);
    for call in ["behind it", "the end of the page", "before it"] {
        let stock = pair.stock.memory(call);
        assert_eq!(pair.interposed.memory(call), stock, "{call}");
        assert!(stock.iter().all(|memory| memory.starts_with("SVM coherent")), "{stock:?}");
    }
    let other = pair.interposed.memory("another page");
    assert_eq!(other.last().map(String::as_str), Some("SVM non-coherent gfx1030#0=NC"));
}

/// Names that are taken over, and one that no library has.
const NAMES: [&str; 6] = [
    "hipFree",
    "hipPointerGetAttributes",
    "hipHostMalloc",
    "hsa_amd_vmem_handle_create",
    "hipGetProcAddress",
    "hipNoSuchFunction",
];

#[test]
fn a_program_that_asks_whether_hip_is_there_is_told_that_it_is_not() {
    let program = plain_program("found_probes");
    let expected = NAMES.map(|name| format!("{name}: not there, an error\n")).concat();
    for dlsym in ["0", "1"] {
        let set = |run: Run| run.args(NAMES).env("RDNAFIX_DLSYM", dlsym);
        same(&program, set).printing(&expected);
        same(&program, |run| set(run).on("gfx1030")).printing(&expected);
    }
}

#[test]
fn a_program_that_asks_for_a_function_of_later_releases_is_told_that_it_is_not_there() {
    let options = ["-Wl,--no-as-needed", "-lamdhip64", "-ldl"];
    let program = compile("tests/programs/found_probes.c", "found_probes_of_hip", &options);
    for dlsym in ["0", "1"] {
        let set = |run: Run| run.args(NAMES).env("RDNAFIX_DLSYM", dlsym).on("gfx1030");
        let pair = same(&program, set);
        let text = pair.stock.stdout();
        assert!(text.contains("hipFree: there, no error\n"), "{text}");
        if text.contains("hipGetProcAddress: there") {
            skipped("hipGetProcAddress", "the installed release has it");
        }
    }
}

#[test]
fn another_library_that_exports_dlsym_sees_the_lookups_of_the_program() {
    let wrapper = library("found_exports_dlsym");
    let program = plain_program("found_probes");
    let ran = |dlsym: &str, interposed: bool, before: bool| {
        let run = Run::new(&program).args(["atoi", "hcreate", "no_such_function"]);
        let run = if before { run.preload(&wrapper) } else { run };
        let run = if interposed { run.interposed() } else { run };
        let run = if before { run } else { run.preload(&wrapper) };
        run.env("RDNAFIX_DLSYM", dlsym).go().well().stdout().to_owned()
    };
    let stock = ran("0", false, true);
    assert!(stock.ends_with("3 lookups of the program\n"), "{stock}");
    for (dlsym, before) in [("0", true), ("0", false), ("1", true), ("1", false)] {
        assert_eq!(ran(dlsym, true, before), stock, "RDNAFIX_DLSYM={dlsym}, before: {before}");
    }
}

#[test]
fn a_plugin_is_judged_by_its_own_name_and_not_by_that_of_one_before_it() {
    const TEST: &str = "a_plugin_is_judged_by_its_own_name_and_not_by_that_of_one_before_it";
    const LEFT: &str = "USERPTR coherent gfx1030#0=UC";
    const CHANGED: &str = "USERPTR non-coherent gfx1030#0=NC";
    let dir = tempfile::tempdir().expect("a temporary directory");
    let plugin = |name: &str| {
        let options = ["-shared", "-fPIC"];
        let built = compile("tests/programs/pinned_by.c", "plugin_of_any_name.so", &options);
        let path = dir.path().join(name);
        std::fs::copy(built, &path).expect("a writable directory");
        path
    };
    let (plain, denied) = (plugin("libplain.so"), plugin("librccl.so"));
    for (plugins, expected) in
        [([&plain, &denied], [CHANGED, LEFT]), ([&denied, &plain], [LEFT, CHANGED])]
    {
        let pair = same(hip_program("found_same_address"), |run| run.args(plugins).on("gfx1030"));
        let pair = pair.ending_with(0);
        if !pair.interposed.stdout().contains("the same address") {
            skipped(TEST, "the loader put the second plugin at another address");
        }
        for (number, expected) in (1..).zip(expected) {
            let memory = of_size(&pair.interposed, (4 << 20) + (number << 12));
            assert_eq!(memory, [expected], "plugin {number} of {plugins:?}");
        }
    }
}

#[test]
fn a_child_that_leaves_the_gpu_alone_adds_nothing_to_the_report() {
    let programs = [hip_program("found_idle_child"), with_stand_in("found_idle_child")];
    for (program, when) in
        programs.iter().flat_map(|program| [(program, "unused"), (program, "used")])
    {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let report = dir.path().join("report");
        let set = |run: Run| run.arg(when).env("RDNAFIX_REPORT", &report).on("gfx1030");
        let ran = set(Run::new(program).interposed()).go().well();
        assert!(ran.stdout().contains("child ended with 0\n"), "{}", ran.stdout());
        let text = std::fs::read_to_string(&report).expect("the report");
        assert_eq!(text.lines().count(), 1, "{when}: {text}");
        assert!(text.contains("hipHostMalloc"), "the parent's: {text}");
    }
}
