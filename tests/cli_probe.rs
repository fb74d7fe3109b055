//! `rdnafix probe`: what is told of results, failures, crashes and hangs. HIP is a stand-in that
//! computes on the CPU, or the real one on the simulated GPU.

mod cli_common;
mod probe_common;

use cli_common::{output, rdnafix, release, succeed, text};
use probe_common::{INCOMPLETE, UNAVAILABLE, WRONG, cell, cells, on, report, stand_in};

const KINDS: [&str; 6] = ["vram", "default", "mapped", "coherent", "non-coherent", "managed"];

#[test]
fn lost_atomics_are_counted_where_they_are_lost_and_nowhere_else() {
    let hip = stand_in(true);
    // hipHostMallocMapped
    let mut command = on(hip.path(), "probe", &[]);
    let (report, code) = report(command.env("STAND_IN", "min lose 2"));
    assert_eq!(code, WRONG);
    assert_eq!(report["machine"]["simulated"], false);
    assert_eq!(report["machine"]["gpu"]["name"], "stand-in");
    for kind in KINDS {
        for run in ["stock", "interposed"] {
            let min = cell(&report, kind, run, "min");
            let lost = if kind == "mapped" { 65536 } else { 0 };
            assert_eq!(min["wrong"], lost, "{kind} {run}: {min}");
            assert_eq!(min["wrong_returning"], 0, "{kind} {run}: {min}");
            assert_eq!(cell(&report, kind, run, "max")["wrong"], 0);
        }
    }
    let shown = text(&output(on(hip.path(), "probe", &[]).env("STAND_IN", "min lose 2")).stdout);
    assert!(shown.contains("65536 wrong without the old value used, 0 with it (min)"), "{shown}");
}

#[test]
fn a_crash_costs_one_cell_and_the_others_still_run() {
    let hip = stand_in(true);
    let mut command = on(hip.path(), "probe", &[]);
    let (report, code) = report(command.env("STAND_IN", "xor crash 0x40000000"));
    assert_eq!(code, INCOMPLETE);
    for run in ["stock", "interposed"] {
        let xor = cell(&report, "coherent", run, "xor");
        assert_eq!((&xor["outcome"], &xor["how"]), (&"crashed".into(), &"ended by SIGABRT".into()));
    }
    let rest = cells(&report).filter(|cell| cell["outcome"] == "compared").count();
    assert_eq!(rest, 6 * 11 * 2 - 2);
}

#[test]
fn a_hang_is_ended_and_the_others_still_run() {
    let hip = stand_in(true);
    let mut command = on(hip.path(), "probe", &["--timeout", "2"]);
    let (report, code) = report(command.env("STAND_IN", "inc hang 0"));
    assert_eq!(code, INCOMPLETE);
    let inc = cell(&report, "default", "stock", "inc");
    assert_eq!((&inc["outcome"], &inc["seconds"]), (&"timed-out".into(), &2.into()));
    let rest = cells(&report).filter(|cell| cell["outcome"] == "compared").count();
    assert_eq!(rest, 6 * 11 * 2 - 2);
}

#[test]
fn after_two_hangs_the_rest_of_that_memory_is_not_run() {
    let hip = stand_in(true);
    let mut command = on(hip.path(), "probe", &["--timeout", "1"]);
    let (report, code) = report(command.env("STAND_IN", "all hang 0x2"));
    assert_eq!(code, INCOMPLETE);
    let outcome = |name| &cell(&report, "mapped", "stock", name)["outcome"];
    assert_eq!([outcome("add"), outcome("min")], ["timed-out"; 2]);
    assert_eq!([outcome("max"), outcome("float_add")], ["not-run"; 2]);
    assert_eq!(cell(&report, "coherent", "stock", "add")["outcome"], "compared");
}

#[test]
fn what_hip_refuses_is_said_in_its_own_words() {
    let hip = stand_in(true);
    let mut command = on(hip.path(), "probe", &[]);
    let (report, code) = report(command.env("STAND_IN", "cas refuse any"));
    assert_eq!(code, INCOMPLETE);
    let why = cell(&report, "vram", "stock", "cas")["why"].as_str().unwrap();
    assert!(why.contains("hipModuleLaunchKernel failed: error 98 (made to fail)"), "{why}");
}

#[test]
fn what_is_wrong_ends_with_1_though_other_cells_have_no_result() {
    let hip = stand_in(true);
    let changed = |from: &str, to: &str| {
        let source = std::fs::read_to_string(probe_common::kernels()).unwrap();
        assert_eq!(source.matches(from).count(), 1);
        let file = hip.path().join("kernels.hip");
        std::fs::write(&file, source.replace(from, to)).unwrap();
        probe_common::stand_in_of(&file, &[])
    };
    let wrong = changed("(atomic_add, atomicAdd(", "(atomic_add, atomicXor(");
    let mut command = on(wrong.path(), "probe", &[]);
    let (report, code) = report(command.env("STAND_IN", "float_add crash any"));
    assert_eq!(code, WRONG, "{report}");
    assert_eq!(cell(&report, "vram", "stock", "float_add")["outcome"], "crashed");
    assert!(cell(&report, "vram", "stock", "add")["wrong"].as_u64() > Some(0));
}

#[test]
fn a_target_or_device_that_cannot_be_is_refused_before_anything_is_done() {
    for (arguments, part) in [
        (["--compile", ""], "a target is such as gfx1030"),
        (["--compile", ","], "a target is such as gfx1030"),
        (["--compile", "gfx1030,"], "a target is such as gfx1030"),
        (["--compile", "gfx"], "a target is such as gfx1030"),
        (["--compile", "gfx1030 -x"], "a target is such as gfx1030"),
        (["--device", "2147483648"], "is not in 0..=2147483647"),
        (["--device", "-1"], "-1"),
    ] {
        let output = output(&mut rdnafix(["probe"].iter().chain(&arguments)));
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
    }
}

#[test]
fn without_hiprtc_nothing_is_compared_and_the_way_out_is_named() {
    let hip = stand_in(false);
    let (report, code) = report(&mut on(hip.path(), "probe", &[]));
    assert_eq!((code, report["rows"].as_array().unwrap().len()), (UNAVAILABLE, 0));
    let why = report["not_measured"].as_str().unwrap();
    assert!(why.contains("there is no hiprtc") && why.contains("install it"), "{why}");
}

#[test]
fn without_hip_or_a_gpu_there_is_no_result_and_the_reason() {
    let empty = tempfile::tempdir().unwrap();
    let (none, code) = report(&mut on(empty.path(), "probe", &[]));
    assert_eq!(code, UNAVAILABLE);
    let why = none["not_measured"].as_str().unwrap();
    assert!(why.contains("cannot open libamdhip64"), "{why}");
    assert!(why.contains("`rdnafix doctor`") && why.contains("--rocm"), "{why}");
    assert!(!none.to_string().contains(empty.path().to_str().unwrap()), "{none}");

    let hip = stand_in(true);
    let (none, code) = report(on(hip.path(), "probe", &[]).env("STAND_IN_DEVICES", "0"));
    assert_eq!((code, none["rows"].as_array().unwrap().len()), (UNAVAILABLE, 0));
    assert!(none["not_measured"].as_str().unwrap().contains("HIP has 0 devices"));
}

#[test]
fn the_simulated_gpu_gives_risks_and_never_a_result() {
    let kfdsim = release("libkfdsim.so");
    let command = || {
        let mut command = rdnafix(["probe"]);
        command.env("LD_PRELOAD", &kfdsim).env("KFDSIM_GPUS", "gfx1031");
        command.env("KFDSIM_PCIE_ATOMICS", "0");
        command
    };
    let (report, code) = report(&mut command());
    assert_eq!(code, INCOMPLETE);
    assert_eq!(report["rows"].as_array().unwrap().len(), 0);
    let at_risk = |run: &str| -> Vec<&str> {
        let risks = report["risks"].as_array().unwrap().iter();
        risks
            .filter(|risk| risk[run] == true)
            .map(|risk| risk["memory"].as_str().unwrap())
            .collect()
    };
    assert_eq!(at_risk("stock"), ["default", "mapped", "coherent", "managed"]);
    assert_eq!(at_risk("interposed"), ["mapped", "coherent"]);
    let shown = output(&mut command());
    assert_eq!(shown.status.code(), INCOMPLETE);
    let shown = text(&shown.stdout);
    assert!(shown.contains("kernels are not executed on the simulated GPU"), "{shown}");
    assert!(!shown.contains("wrong elements"), "{shown}");
}

#[test]
fn a_device_that_the_simulated_machine_has_not_is_the_reason_that_is_told() {
    let mut command = rdnafix(["probe", "--device", "3"]);
    command.env("LD_PRELOAD", release("libkfdsim.so")).env("KFDSIM_GPUS", "gfx1031");
    let (report, code) = report(&mut command);
    assert_eq!(code, UNAVAILABLE);
    let why = report["not_measured"].as_str().unwrap();
    assert!(why.contains("HIP has 1 devices") && why.contains("device 3"), "{why}");
}

#[test]
fn the_interposed_run_is_rewritten_though_hip_is_looked_up_by_name() {
    let mut command = rdnafix(["probe", "--launch-only", "--policy", "mapped"]);
    command.env("LD_PRELOAD", release("libkfdsim.so")).env("KFDSIM_GPUS", "gfx1030");
    let (report, code) = report(&mut command);
    assert_eq!(code, Some(0), "{report}");
    for cell in cells(&report) {
        assert_eq!(cell["outcome"], "accepted", "{cell}");
    }
    let said: Vec<&str> = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            assert_eq!(row["stock"]["allocation"], serde_json::Value::Null);
            row["interposed"]["allocation"].as_str().unwrap_or("nothing")
        })
        .map(|said| said.split(':').next().unwrap())
        .collect();
    assert_eq!(said[1..], ["rewritten", "rewritten", "left alone", "left alone", "rewritten"]);
}

#[test]
fn a_library_that_the_loader_cannot_preload_ends_the_command_with_the_reason() {
    let hip = stand_in(true);
    let library = hip.path().join("librdnafix.so");
    std::fs::write(&library, "no ELF file").unwrap();
    let output = output(on(hip.path(), "probe", &[]).env("RDNAFIX_LIB", &library));
    assert_eq!(output.status.code(), Some(125));
    let said = text(&output.stderr);
    assert!(said.contains("is not in the run that is to have it"), "{said}");
    assert!(said.contains(library.to_str().unwrap()) && said.contains("RDNAFIX_LIB"), "{said}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
}

#[test]
fn the_stock_run_has_no_librdnafix_though_the_environment_preloads_it() {
    let hip = stand_in(true);
    let library = release("librdnafix.so");
    let mut command = on(hip.path(), "probe", &[]);
    let (preloaded, code) = report(command.env("LD_PRELOAD", &library));
    assert_eq!(code, Some(0), "{preloaded}");

    // Under another name it is in the stock run.
    let other = hip.path().join("libother.so");
    std::fs::copy(&library, &other).unwrap();
    let output = output(on(hip.path(), "probe", &[]).env("LD_PRELOAD", &other));
    assert_eq!(output.status.code(), Some(125));
    let said = text(&output.stderr);
    assert!(said.contains("librdnafix.so is in the stock run"), "{said}");
    assert!(said.contains(other.to_str().unwrap()), "{said}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
}

#[test]
fn the_stock_run_has_no_librdnafix_though_rocr_is_told_to_open_it() {
    let run = |library: &std::path::Path| {
        let mut command = rdnafix(["probe", "--launch-only", "--json"]);
        command.env("LD_PRELOAD", release("libkfdsim.so")).env("KFDSIM_GPUS", "gfx1030");
        output(command.env("HSA_TOOLS_LIB", library))
    };
    let said = run(&release("librdnafix.so"));
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));
    // Under another name ROCr opens it, which shows that this way is looked at, too.
    let directory = tempfile::tempdir().unwrap();
    let other = directory.path().join("libother.so");
    std::fs::copy(release("librdnafix.so"), &other).unwrap();
    let said = run(&other);
    assert_eq!(said.status.code(), Some(125), "{}", text(&said.stdout));
    assert!(text(&said.stderr).contains("librdnafix.so is in the stock run"));
}

#[test]
fn a_report_is_shown_again_as_it_was_and_has_no_private_names() {
    let hip = stand_in(true);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    let mut command = on(hip.path(), "probe", &["--report", file.to_str().unwrap()]);
    command.env("HSA_TOOLS_LIB", "/home/someone/lib.so").env("HSA_XNACK", "0");
    let first = text(&succeed(&mut command).stdout);
    let again = probe_common::replay("probe", &file);
    assert_eq!(text(&again.stdout), first);
    let written = std::fs::read_to_string(&file).unwrap();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let stand_in = hip.path().to_str().unwrap();
    for private in ["someone", "/home", stand_in] {
        assert!(!written.contains(private), "{private} in\n{written}");
    }
    let mut words = written.split(|letter: char| !letter.is_ascii_alphanumeric());
    assert!(!words.any(|word| word == host.trim()), "the host's name in\n{written}");
    assert!(written.contains("HSA_XNACK"));
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_anything_is_measured() {
    let hip = stand_in(true);
    let output = output(&mut on(hip.path(), "probe", &["--report", "/nonexistent/report.json"]));
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("no directory"), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
}
