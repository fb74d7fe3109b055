//! What the library does to a program beside the memory it asks for, and when it keeps out:
//! several GPUs, overridden names, bad input, refusals, settings, the report.

mod common;

use std::path::Path;

use common::{Ran, Run, alloc_probe, compile, rdnafix};
use serde_json::Value;

fn probe() -> Run {
    Run::new(alloc_probe()).interposed()
}

/// A HIP and HSA program of tests/programs.
fn program(name: &str) -> Run {
    let libraries = ["-std=c++17", "-lamdhip64", "-lhsa-runtime64", "-ldl"];
    Run::new(compile(&format!("tests/programs/{name}.cpp"), name, &libraries))
}

#[test]
fn on_a_mixed_box_memory_of_the_other_gpu_never_changes() {
    for level in ["standard", "full"] {
        let run = probe().env("HSA_FORCE_FINE_GRAIN_PCIE", "1").env("RDNAFIX_POLICY", level);
        let ran = run.arg("--device").arg("1").on("gfx1030,gfx906").go().well();
        assert_eq!(ran.memory("hipMalloc"), ["VRAM non-coherent gfx906#1=NC"]);
        for call in ["hsa pool GPU fine", "hipExtMallocWithFlags(Finegrained)"] {
            assert_eq!(ran.memory(call), ["VRAM coherent gfx906#1=UC"], "{call}, level {level}");
        }
    }
    let ran = probe().env("HSA_FORCE_FINE_GRAIN_PCIE", "1").on("gfx1030,gfx906").go().well();
    assert_eq!(ran.memory("hsa pool GPU fine"), ["VRAM non-coherent gfx1030#0=NC"]);
}

#[test]
fn on_a_mixed_box_pinned_memory_follows_the_current_device() {
    for (device, expected) in [
        ("0", "USERPTR non-coherent gfx1030#0=NC gfx906#1=NC"),
        ("1", "USERPTR coherent gfx1030#0=UC gfx906#1=UC"),
    ] {
        let ran = probe().arg("--device").arg(device).on("gfx1030,gfx906").go().well();
        assert_eq!(ran.memory("hipHostMalloc(Default)"), [expected]);
    }
}

#[test]
fn on_a_mixed_box_managed_memory_changes_if_an_rdna12_gpu_is_given_access() {
    let ran = probe().arg("--device").arg("1").on("gfx1030,gfx906").go().well();
    assert_eq!(ran.memory("hipMallocManaged"), ["SVM non-coherent gfx1030#0=NC gfx906#1=NC"]);
    let hidden = probe().env("HIP_VISIBLE_DEVICES", "1").on("gfx1030,gfx906").go().well();
    assert_eq!(hidden.memory("hipMallocManaged"), ["SVM coherent gfx906#1=UC"]);
}

/// On one box with a gfx906, system memory that both can reach is left alone at level full.
#[test]
fn on_a_mixed_box_system_memory_pools_stay_as_they_are() {
    let ran = probe().env("RDNAFIX_POLICY", "full").on("gfx1030,gfx906").go().well();
    let fine = ran.memory("hsa pool CPU fine");
    assert!(fine.iter().all(|memory| memory.starts_with("USERPTR coherent")), "{fine:?}");
}

#[test]
fn an_overridden_name_does_not_change_what_the_gpu_is() {
    let renamed = |gpu: &str, version: &str| {
        probe().env("HSA_OVERRIDE_GFX_VERSION", version).on(gpu).go().well()
    };
    for (gpu, version) in [("gfx1030", "9.0.6"), ("gfx1010", "10.3.0"), ("gfx1032", "10.3.0")] {
        let managed = renamed(gpu, version).memory("hipMallocManaged");
        assert_eq!(managed, [format!("SVM non-coherent {gpu}#0=NC")], "as {version}");
    }
    // A name that says RDNA2 on a GPU that is not: nothing changes.
    let ran = renamed("gfx1100", "10.3.0");
    let stock =
        Run::new(alloc_probe()).env("HSA_OVERRIDE_GFX_VERSION", "10.3.0").on("gfx1100").go();
    for call in ["hipMallocManaged", "hipHostMalloc(Default)"] {
        assert_eq!(ran.memory(call), stock.memory(call));
        assert!(ran.memory(call)[0].contains(" coherent"), "{:?}", ran.memory(call));
    }
}

#[test]
fn bad_input_gets_the_answers_of_the_stock_library() {
    for gpu in ["gfx1010", "gfx1030", "gfx906"] {
        let stock = program("bad_input").on(gpu).go();
        assert!(stock.stdout().ends_with("DONE\n"), "{}", stock.stdout());
        for level in ["off", "standard", "mapped", "full"] {
            let run = program("bad_input").interposed().env("RDNAFIX_POLICY", level);
            let interposed = run.on(gpu).go();
            assert_eq!(interposed.stdout(), stock.stdout(), "{gpu}, level {level}");
            assert_eq!(interposed.output.status, stock.output.status);
        }
    }
}

#[test]
fn an_unknown_level_is_complained_about_once_and_means_standard() {
    let ran = probe().env("RDNAFIX_POLICY", "maximum").on("gfx1030").go();
    let lines: Vec<&str> = ran.stderr().lines().filter(|line| line.contains("rdnafix")).collect();
    assert_eq!(
        lines,
        [
            "rdnafix: RDNAFIX_POLICY=\"maximum\" is not a level; allowed are off, standard, mapped, full; using standard"
        ]
    );
    assert!(ran.output.status.success());
    assert_eq!(ran.memory("hipHostMalloc(Default)"), ["USERPTR non-coherent gfx1030#0=NC"]);
    let silent = Run::new("/bin/true").interposed().env("RDNAFIX_POLICY", "maximum").go();
    assert_eq!(silent.stderr(), "", "a process without a GPU says nothing");
}

#[test]
fn an_unreadable_topology_means_not_rdna_and_is_logged_at_debug() {
    let unreadable =
        compile("tests/programs/no_topology.c", "no_topology.so", &["-shared", "-fPIC", "-ldl"]);
    let stub = compile(
        "tests/programs/stub_hip.c",
        "libamdhip64.so.6",
        &["-shared", "-fPIC", "-Wl,-soname,libamdhip64.so.6"],
    );
    let directory = format!("-Wl,-rpath,{}", stub.parent().expect("a directory").display());
    let stub = stub.display().to_string();
    let caller = compile("tests/programs/calls_hip.c", "calls_hip", &[&stub, &directory]);
    let run = |log: &str| {
        let run = Run::new(&caller).interposed().preload(&unreadable).arg("host");
        run.env("RDNAFIX_LOG", log).on("gfx1030").go()
    };
    let ran = run("debug");
    assert_eq!(ran.stdout(), "hipHostMalloc(65536, 0)\nhost -> 0\n");
    assert!(ran.stderr().contains("cannot read /sys/class/kfd/kfd/topology"), "{}", ran.stderr());
    assert_eq!(run("info").stderr(), "");
}

#[test]
fn a_refused_rewrite_falls_back_to_what_the_program_asked_for() {
    let report = tempfile::NamedTempFile::new().expect("a temporary file");
    let run = probe().env("KFDSIM_DENY_NONCOHERENT", "1").env("RDNAFIX_REPORT", report.path());
    let ran = run.on("gfx1030").go();
    assert!(ran.stdout().contains("hipHostMalloc(Default)                                     0"));
    let pinned = ran.memory("hipHostMalloc(Default)");
    assert_eq!(pinned.last().map(String::as_str), Some("USERPTR coherent gfx1030#0=UC"));
    assert!(ran.stdout().contains("hipMallocManaged                                           0"));
    let managed = ran.memory("hipMallocManaged");
    assert_eq!(managed.last().map(String::as_str), Some("SVM coherent gfx1030#0=UC"));
    let fell_back = |api: &str| {
        calls(&read_report(report.path())[0])
            .filter(|call| call["api"] == api)
            .filter_map(|call| call["fell_back"].as_u64())
            .sum::<u64>()
    };
    assert!(fell_back("hipHostMalloc") > 0 && fell_back("hsa_amd_svm_attributes_set") > 0);
}

#[test]
fn a_new_allocation_at_an_old_address_starts_afresh() {
    let ran = program("reuse").interposed().on("gfx1030").go().well();
    assert!(ran.stdout().ends_with("the same address\n"), "{}", ran.stdout());
    let last = |call: &str| ran.memory(call).last().cloned().unwrap_or_default();
    assert_eq!(last("access after the choice"), "SVM coherent gfx1030#0=UC");
    assert_eq!(last("again"), "SVM non-coherent gfx1030#0=NC");
    assert_eq!(last("access, nothing chosen"), "SVM non-coherent gfx1030#0=NC");
}

/// ctypes opens libamdhip64 with RTLD_LOCAL, so the real hsa_* functions are not in the
/// global scope, and takes hip* by dlsym, which no ELF hook sees.
#[test]
fn a_python_program_that_opens_hip_by_ctypes_is_reached_through_hsa() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/managed.py");
    let ran = Run::new("/usr/bin/python3").arg(script).interposed().on("gfx1030").go().well();
    let managed = ran.memory("hipMallocManaged");
    assert_eq!(managed.last().map(String::as_str), Some("SVM non-coherent gfx1030#0=NC"));
}

#[test]
fn rocminfo_prints_the_same() {
    for gpu in ["gfx1030", "gfx906"] {
        let stock = Run::new("/usr/bin/rocminfo").on(gpu).go().well();
        let interposed = Run::new("/usr/bin/rocminfo").interposed().on(gpu).go().well();
        assert_eq!(interposed.stdout(), stock.stdout());
    }
}

/// A process that makes its own pinned memory through a library of the given name.
fn through(library: &str, settings: &[(&str, &str)]) -> Ran {
    let library = compile("tests/programs/pinned_by.c", library, &["-shared", "-fPIC"]);
    let directory = format!("-Wl,-rpath,{}", library.parent().expect("a directory").display());
    let library = library.display().to_string();
    let program = compile(
        "tests/programs/uses_pinned_by.c",
        "uses_pinned_by",
        &[&library, &directory, "-lamdhip64", "-ldl"],
    );
    let run = settings
        .iter()
        .fold(Run::new(program).interposed(), |run, (name, value)| run.env(name, value));
    run.on("gfx1030").go().well()
}

#[test]
fn callers_on_the_deny_list_are_left_alone_below_full() {
    const LEFT: &str = "USERPTR coherent gfx1030#0=UC";
    const CHANGED: &str = "USERPTR non-coherent gfx1030#0=NC";
    for (library, settings, expected) in [
        ("libother.so", &[][..], CHANGED),
        ("librccl.so", &[], LEFT),
        ("librccl.so", &[("RDNAFIX_ALLOW", "librccl*")], CHANGED),
        ("librccl.so", &[("RDNAFIX_POLICY", "full")], CHANGED),
        ("libother.so", &[("RDNAFIX_DENY", "libucp*,libother.so*")], LEFT),
        ("libother.so", &[("RDNAFIX_MIN_BYTES", "4194305")], LEFT),
        ("libother.so", &[("RDNAFIX_MIN_BYTES", "4194304")], CHANGED),
        ("libother.so", &[("RDNAFIX_DRY_RUN", "1")], LEFT),
    ] {
        // The first call of a process also starts the runtime; the allocation comes last.
        let asked = through(library, settings).memory("pinned");
        assert_eq!(asked.last().map(String::as_str), Some(expected), "{library} {settings:?}");
    }
}

fn read_report(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("the report");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn calls(report: &Value) -> impl Iterator<Item = &Value> {
    report["calls"].as_array().expect("calls").iter()
}

#[test]
fn the_report_says_what_was_seen_and_done_and_why() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    probe().env("RDNAFIX_REPORT", file.path()).on("gfx1030").go().well();
    let reports = read_report(file.path());
    let [report] = &reports[..] else { panic!("one process, one line: {reports:?}") };
    assert_eq!(report["level"], "standard");
    assert_eq!(report["gpus"][0]["gfx"], "gfx1030");
    let find = |api: &str, request: &str| {
        calls(report)
            .find(|call| call["api"] == api && call["request"] == request)
            .unwrap_or_else(|| panic!("{api} {request} in {report:#}"))
    };
    let host = find("hipHostMalloc", "flags=0x0");
    assert_eq!((&host["action"], &host["reason"]), (&"rewritten".into(), &"nobody-asked".into()));
    assert_eq!((host["calls"].as_u64(), host["bytes"].as_u64()), (Some(1), Some(4 << 20)));
    assert_eq!(host["gpu"], "gfx1030");
    let coherent = find("hipHostMalloc", "flags=0x40000000");
    assert_eq!(
        (&coherent["action"], &coherent["reason"]),
        (&"forwarded".into(), &"explicit-coherent".into())
    );
}

#[test]
fn a_dry_run_reports_what_it_would_do_and_does_nothing() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let run = probe().env("RDNAFIX_REPORT", file.path()).env("RDNAFIX_DRY_RUN", "1");
    let ran = run.on("gfx1030").go().well();
    assert_eq!(ran.memory("hipHostMalloc(Default)"), ["USERPTR coherent gfx1030#0=UC"]);
    assert_eq!(ran.memory("hipMallocManaged"), ["SVM coherent gfx1030#0=UC"]);
    let reports = read_report(file.path());
    let actions: Vec<&str> =
        calls(&reports[0]).filter_map(|call| call["action"].as_str()).collect();
    assert!(actions.contains(&"would rewrite") && !actions.contains(&"rewritten"), "{actions:?}");
}

#[test]
fn at_info_one_message_for_the_gpu_and_one_for_pytorch_say_what_is_done() {
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let setting = format!("info:{}", log.path().display());
    let ran = probe().env("RDNAFIX_LOG", setting).on("gfx1030").go().well();
    assert_eq!(ran.stderr(), "");
    let text = std::fs::read_to_string(log.path()).expect("the log");
    let lines: Vec<&str> = text.lines().collect();
    let [pytorch, gpu] = lines[..] else { panic!("not two lines: {text}") };
    assert!(pytorch.contains("for PyTorch: PYTORCH_HIP_ALLOC_CONF="), "{text}");
    assert!(gpu.contains("gfx1030") && gpu.contains("level standard"), "{text}");
}

#[test]
fn as_a_tool_of_rocr_without_preloading_it_reaches_managed_memory() {
    let run = Run::new(alloc_probe()).env("HSA_TOOLS_LIB", rdnafix());
    let ran = run.on("gfx1030").go().well();
    assert_eq!(ran.memory("hipMallocManaged"), ["SVM non-coherent gfx1030#0=NC"]);
    assert_eq!(
        ran.memory("hipMallocManaged+UnsetCoarseGrain+SetAccessedBy").last().map(String::as_str),
        Some("SVM coherent gfx1030#0=UC")
    );
}

#[test]
fn both_layers_at_once_rewrite_a_call_once() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let run = probe().env("HSA_TOOLS_LIB", rdnafix()).env("RDNAFIX_REPORT", file.path());
    let both = run.env("HSA_FORCE_FINE_GRAIN_PCIE", "1").on("gfx1030").go().well();
    let one_file = tempfile::NamedTempFile::new().expect("a temporary file");
    let run = probe().env("RDNAFIX_REPORT", one_file.path());
    let one = run.env("HSA_FORCE_FINE_GRAIN_PCIE", "1").on("gfx1030").go().well();
    assert_eq!(read_report(file.path())[0]["calls"], read_report(one_file.path())[0]["calls"]);
    assert_eq!(read_report(file.path())[0]["layers"]["table"], 0);
    for call in
        ["hipMallocManaged", "hsa pool GPU fine", "hipMallocManaged+UnsetCoarseGrain+SetAccessedBy"]
    {
        assert_eq!(both.memory(call), one.memory(call));
    }
}
