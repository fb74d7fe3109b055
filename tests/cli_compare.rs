//! `rdnafix compare` on the real ROCm libraries: what the kernel is asked for, stock and
//! interposed. The table of `hip` and `hsa` calls is that of ROCm 5.2; where later releases
//! differ, the tests say so by the row that they leave out.

mod cli_common;

use std::process::Command;

use cli_common::{Comparison, alloc_probe, output, rdnafix, release, stdout, text};

const CHANGED: [&str; 4] = [
    "hipMallocManaged",
    "hipHostMalloc(Default)",
    "hipMemAllocHost",
    "hsa_amd_svm_attributes_set(access)",
];

/// Runs `rdnafix compare --simulate` on a shell script.
fn compare_script(options: &[&str], script: &str) -> Command {
    let mut command = rdnafix(["compare", "--simulate"]);
    command.args(options).args(["--", "sh", "-c", script]);
    command
}

/// Without the tests below, a table in which nothing changes could be one of nothing.
fn assert_is_complete(comparison: &Comparison) {
    assert!(comparison.rows().len() > 25, "{}", comparison.0);
    assert_eq!(comparison.0["runs"]["stock"]["ending"]["exited"], 0);
    assert_eq!(comparison.0["runs"]["interposed"]["ending"]["exited"], 0);
}

#[test]
fn on_rdna1_and_rdna2_what_nobody_asked_to_be_coherent_changes() {
    for gpu in ["gfx1030", "gfx1010"] {
        let comparison = Comparison::of_probe(&["--gpu", gpu]);
        assert_is_complete(&comparison);
        for (call, stock, interposed) in [
            ("hipMallocManaged", "SVM coherent UC", "SVM non-coherent NC"),
            ("hipHostMalloc(Default)", "USERPTR coherent UC", "USERPTR non-coherent NC"),
            ("hipMemAllocHost", "USERPTR coherent UC", "USERPTR non-coherent NC"),
            ("hsa_amd_svm_attributes_set(access)", "SVM coherent UC", "SVM non-coherent NC"),
        ] {
            assert_eq!(comparison.asked(call, "stock"), stock, "{gpu} {call}");
            assert_eq!(comparison.asked(call, "interposed"), interposed, "{gpu} {call}");
        }
        assert_eq!(comparison.changed(), CHANGED, "{gpu}");
        assert_eq!(comparison.0["output_differs"], false);
        assert_eq!(comparison.0["summary"]["runtime_changed"], false);
    }
}

#[test]
fn what_was_asked_for_explicitly_or_is_non_coherent_stays() {
    let comparison = Comparison::of_probe(&[]);
    for (call, asked) in [
        ("hipMalloc", "VRAM non-coherent NC"),
        ("hipMallocPitch", "VRAM non-coherent NC"),
        ("hipMallocAsync", "VRAM non-coherent NC"),
        ("hipMallocManaged+UnsetCoarseGrain+SetAccessedBy", "SVM coherent UC"),
        ("hipHostMalloc(NonCoherent)", "USERPTR non-coherent NC"),
        ("hipHostMalloc(Portable)", "USERPTR non-coherent NC"),
        ("hipHostMalloc(WriteCombined)", "USERPTR non-coherent NC"),
        ("hipHostMalloc(Coherent)", "USERPTR coherent UC"),
        ("hipHostMalloc(Mapped)", "USERPTR coherent UC"),
        ("hipHostMalloc(NumaUser)", "USERPTR coherent UC"),
        ("hipMallocHost", "USERPTR non-coherent NC"),
        ("hsa pool CPU fine", "USERPTR coherent UC"),
        ("hsa pool CPU coarse", "USERPTR non-coherent NC"),
        ("hsa pool CPU kernarg", "USERPTR coherent UC"),
        ("hsa pool GPU coarse", "VRAM non-coherent NC"),
        ("hsa_amd_svm_attributes_set(fine, then access)", "SVM coherent UC"),
    ] {
        assert_eq!(comparison.asked(call, "stock"), asked, "{call}, stock");
        assert_eq!(comparison.asked(call, "interposed"), asked, "{call}, interposed");
    }
}

#[test]
fn without_the_svm_api_managed_memory_is_non_coherent_already() {
    let comparison = Comparison::of_probe(&["--no-svm"]);
    assert_is_complete(&comparison);
    assert_eq!(comparison.asked("hipMallocManaged", "stock"), "USERPTR non-coherent NC");
    assert_eq!(comparison.row("hipMallocManaged")["changed"], false);
    assert_eq!(comparison.changed(), ["hipHostMalloc(Default)", "hipMemAllocHost"]);
}

#[test]
fn fine_grained_vram_becomes_non_coherent() {
    let comparison = Comparison::of_probe_with(&[], &[("HSA_FORCE_FINE_GRAIN_PCIE", "1")]);
    let call = "hsa pool GPU fine";
    assert_eq!(comparison.asked(call, "stock"), "VRAM coherent UC");
    assert_eq!(comparison.asked(call, "interposed"), "VRAM non-coherent NC");
}

#[test]
fn other_gpus_and_the_level_off_change_nothing() {
    for options in [&["--gpu", "gfx906"][..], &["--policy", "off"]] {
        let comparison = Comparison::of_probe(options);
        assert_is_complete(&comparison);
        assert_eq!(comparison.changed(), [""; 0], "{options:?}");
        assert_eq!(comparison.0["output_differs"], false, "{options:?}");
    }
}

#[test]
fn beside_another_gpu_only_what_both_can_reach_changes() {
    let on_device = |device: &str| {
        let mut command = rdnafix(["compare", "--json", "--gpu", "gfx1030,gfx906", "--"]);
        let document = stdout(command.arg(alloc_probe()).args(["--device", device]));
        Comparison(serde_json::from_str(&document).unwrap())
    };
    // Managed memory is for all visible GPUs, whichever is current.
    let rdna2 = on_device("0");
    assert_is_complete(&rdna2);
    assert_eq!(rdna2.changed(), CHANGED);
    // Pinned memory goes by the current device, and explicit access by the agent named.
    let vega = on_device("1");
    assert_is_complete(&vega);
    assert_eq!(vega.changed(), ["hipMallocManaged"]);
    assert!(vega.asked("hipMalloc", "interposed").starts_with("VRAM non-coherent"));
}

#[test]
fn each_level_adds_to_the_one_below() {
    let mapped = Comparison::of_probe(&["--policy", "mapped"]);
    assert!(mapped.changed().contains(&"hipHostMalloc(Mapped)"));
    assert!(!mapped.changed().contains(&"hipHostMalloc(Coherent)"));
    let full = Comparison::of_probe(&["--policy", "full"]);
    assert!(full.changed().contains(&"hipHostMalloc(Coherent)"));
    for comparison in [mapped, full] {
        assert_is_complete(&comparison);
        assert!(CHANGED.iter().all(|call| comparison.changed().contains(call)));
        assert_eq!(comparison.0["summary"]["runtime_changed"], false);
        for call in ["hsa_signal_create", "hsa_queue_create", "hsa pool CPU kernarg", "hipMalloc"] {
            assert_eq!(comparison.row(call)["changed"], false, "{call}");
        }
    }
}

#[test]
fn the_table_is_plain_and_ends_in_a_summary() {
    let mut command = rdnafix(["compare", "--gpu", "gfx1030", "--"]);
    let table = stdout(command.arg(alloc_probe()));
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[0],
        "simulated gfx1030: this shows what is asked of the kernel, not what hardware does"
    );
    let cells = |call: &str| -> Vec<String> {
        let row = lines.iter().find(|line| line.starts_with(&format!("{call}  ")));
        let row = row.unwrap_or_else(|| panic!("no {call} in\n{table}"));
        row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    assert_eq!(cells("call"), ["call", "stock", "interposed"]);
    assert_eq!(cells("hipMalloc"), ["hipMalloc", "VRAM non-coherent NC", "same"]);
    assert_eq!(
        cells("hipHostMalloc(Default)"),
        ["hipHostMalloc(Default)", "USERPTR coherent UC", "USERPTR non-coherent NC"]
    );
    assert!(table.is_ascii() && !table.contains('\x1b'), "{table}");
    let summary = format!(" calls changed: {}", CHANGED.join(", "));
    assert!(table.replace("\n  ", " ").lines().any(|line| line.ends_with(&summary)), "{table}");
    assert!(lines[1..].iter().all(|line| line.len() <= 80), "{table}");
    assert!(lines.contains(&"what the runtime allocates for itself: the same"), "{table}");
}

#[test]
fn a_program_without_marks_is_listed_by_api() {
    let source = "#include <hip/hip_runtime_api.h>\n\
                  int main() {\n\
                    void* p = nullptr;\n\
                    int count = 0;\n\
                    if (hipGetDeviceCount(&count) != hipSuccess) return 1;\n\
                    for (int i = 0; i < 3; i++)\n\
                      if (hipHostMalloc(&p, 4 << 20, 0) != hipSuccess) return 1;\n\
                    return 0;\n\
                  }\n";
    let program =
        cli_common::compile("unmarked", source, &["-D__HIP_PLATFORM_AMD__"], &["-lamdhip64"]);
    let mut command = rdnafix(["compare", "--json", "--simulate", "--"]);
    let document = stdout(command.arg(program));
    let comparison = Comparison(serde_json::from_str(&document).unwrap());
    let row = comparison.row("hipHostMalloc");
    assert_eq!(comparison.asked("hipHostMalloc", "stock"), "USERPTR coherent UC");
    assert_eq!(comparison.asked("hipHostMalloc", "interposed"), "USERPTR non-coherent NC");
    assert_eq!((&row["stock"]["asked"][0]["count"], &row["kind"]), (&3.into(), &"call".into()));
    // What the runtime needs to start belongs to the call that started it.
    assert_eq!(comparison.row("hipGetDeviceCount")["changed"], false);
    assert_eq!(comparison.changed(), ["hipHostMalloc"]);
}

#[test]
fn the_run_is_told_from_the_report_on_a_real_gpu() {
    // By another name the simulator is a kernel with a GPU, as far as the command can see.
    let dir = tempfile::tempdir().unwrap();
    let kernel = dir.path().join("libkernel.so");
    std::fs::copy(release("libkfdsim.so"), &kernel).unwrap();
    let run = |json: &[&str]| {
        let mut command = rdnafix(["compare"]);
        command.args(json).arg("--").arg(alloc_probe());
        stdout(command.env("LD_PRELOAD", &kernel).env("KFDSIM_GPUS", "gfx1031"))
    };
    let table = run(&[]);
    let first = table.lines().next().unwrap();
    assert!(first.starts_with("gfx1031 at 0000:"), "{first}");
    assert!(first.ends_with("; from the interposer's report, not from kernel ioctls"), "{first}");
    let rewritten =
        table.lines().find(|line| line.starts_with("hipHostMalloc flags=0x0 ")).unwrap();
    assert!(rewritten.ends_with("rewritten x1, 4 MiB:"), "{table}");
    assert!(table.contains("3 of 21 calls changed: hipHostMalloc flags=0x0 (gfx1031)"), "{table}");

    let document: serde_json::Value = serde_json::from_str(&run(&["--json"])).unwrap();
    assert_eq!(
        (&document["gpu"]["simulated"], &document["gpu"]["source"]),
        (&false.into(), &"report".into())
    );
    let row =
        document["rows"].as_array().unwrap().iter().find(|row| row["changed"] == true).unwrap();
    assert_eq!(row["stock"]["calls"][0]["reason"], "level-off");
    assert_eq!(row["interposed"]["calls"][0]["action"], "rewritten");
}

#[test]
fn both_runs_failing_alike_is_the_programs_own_affair() {
    let output = output(&mut compare_script(&[], "echo said; echo why >&2; exit 3"));
    assert_eq!(output.status.code(), Some(3));
    let err = text(&output.stderr);
    for part in [
        "the stock run ended with exit code 3",
        "the interposed run ended with exit code 3",
        "| said",
        "| why",
    ] {
        assert!(err.contains(part), "{err}");
    }
    assert!(text(&output.stdout).ends_with("the program asked for no GPU memory in any run\n"));
    forget(&err);
}

#[test]
fn runs_that_end_differently_are_told_and_fail() {
    // Only the interposed run has the library preloaded.
    let script = "case $LD_PRELOAD in *librdnafix*) kill -SEGV $$ ;; esac";
    let output = output(&mut compare_script(&[], script));
    assert_eq!(output.status.code(), Some(1));
    let err = text(&output.stderr);
    assert!(err.contains("the stock run ended with exit code 0"), "{err}");
    assert!(err.contains("the interposed run was ended by signal 11 (SIGSEGV)"), "{err}");
    forget(&err);
}

#[test]
fn a_run_that_hangs_is_ended() {
    let output = output(&mut compare_script(&["--timeout", "0.5"], "sleep 600"));
    assert_eq!(output.status.code(), Some(124));
    let err = text(&output.stderr);
    assert!(err.contains("the stock run was ended by --timeout"), "{err}");
    forget(&err);
}

#[test]
fn output_that_differs_is_shown_and_kept() {
    let script = "echo common; case $LD_PRELOAD in *librdnafix*) echo other ;; *) echo one ;; esac";
    let output = output(&mut compare_script(&[], script));
    assert_eq!(output.status.code(), Some(0));
    let err = text(&output.stderr);
    for part in ["first in line 2 of stdout", "stock:       one", "interposed:  other"] {
        assert!(err.contains(part), "{err}");
    }
    let kept = forget(&err);
    assert_eq!(kept, "common\none\n");
}

#[test]
fn the_stock_run_has_nothing_of_rdnafix_in_it() {
    let script = "echo \"$LD_PRELOAD|$HSA_TOOLS_LIB\" >&2";
    let library = release("librdnafix.so");
    let mut command = compare_script(&["--show-output"], script);
    command.env("LD_PRELOAD", &library);
    command.env("HSA_TOOLS_LIB", format!("{}:libother.so", library.display()));
    let output = output(&mut command);
    let err = text(&output.stderr);
    let runs: Vec<&str> = err.lines().collect();
    let path = |name: &str| release(name).canonicalize().unwrap().display().to_string();
    assert_eq!(
        runs,
        [
            format!("{}|libother.so", path("libkfdsim.so")),
            format!("{}:{}|libother.so", path("librdnafix.so"), path("libkfdsim.so"))
        ]
    );
}

#[test]
fn a_program_that_does_not_start_has_the_code_of_a_shell() {
    let code =
        |program: &str| output(rdnafix(["compare", "--simulate", "--"]).arg(program)).status.code();
    assert_eq!(code("no-such-program"), Some(127));
    assert_eq!(code("/etc/passwd"), Some(126));
}

/// Removes the output that the command has kept; returns the stdout of the stock run.
fn forget(err: &str) -> String {
    let line = err.lines().find_map(|line| line.strip_prefix("rdnafix: all of the output is in "));
    let directory = line.unwrap_or_else(|| panic!("no directory in: {err}"));
    let stock = std::fs::read_to_string(format!("{directory}/stock.stdout")).unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    stock
}
