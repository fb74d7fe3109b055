//! The example programs: on the simulated GPU, and where something is missing.

mod cli_common;

use std::path::Path;
use std::process::Command;

use cli_common::{Comparison, alloc_probe, clean, output, rdnafix, root, stdout, succeed, text};

fn python(script: &str) -> Command {
    let mut command = clean("python3");
    command.arg(root().join("examples").join(script));
    command
}

/// Exit code and stderr of a program that is to fail.
fn failure(command: &mut Command) -> (Option<i32>, String) {
    let output = output(command);
    (output.status.code(), text(&output.stderr))
}

#[test]
fn alloc_probe_needs_a_gpu_and_a_right_command_line() {
    // Where the machine has a GPU, none of them is visible.
    let (code, err) = failure(clean(alloc_probe()).env("HIP_VISIBLE_DEVICES", "-1"));
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("no HIP device") && err.contains("rdnafix sim"), "{err}");
    for arguments in [&["--size", "5"][..], &["--device", "x"], &["--size"], &["--what", "1"]] {
        let (code, err) = failure(clean(alloc_probe()).args(arguments));
        assert_eq!(code, Some(1), "{arguments:?}: {err}");
        assert!(err.contains("usage:") && err.contains(arguments[0]), "{err}");
    }
}

#[test]
fn alloc_probe_shows_every_call_with_and_without_svm() {
    for options in [&["--gpu", "gfx1030"][..], &["--gpu", "gfx1010", "--large-bar"], &["--no-svm"]]
    {
        let mut command = rdnafix(["sim"]);
        command.args(options).arg("--").arg(alloc_probe()).args(["--size", "8388608"]);
        let out = text(&succeed(&mut command).stdout);
        assert!(out.starts_with("device 0: ") && out.ends_with("DONE\n"), "{out}");
        for call in [
            "hipMalloc ",
            "hipHostMalloc(Mapped)",
            "hipHostRegister",
            "hsa pool GPU coarse",
            "hsa_queue_create",
        ] {
            let row = out
                .lines()
                .find(|line| line.starts_with(call))
                .unwrap_or_else(|| panic!("no {call} in {out}"));
            assert!(row.contains(" 0  "), "{row}");
        }
    }
}

#[test]
fn alloc_probe_uses_the_device_that_it_is_told() {
    let run = |device: &str| {
        let mut command = rdnafix(["sim", "--gpu", "gfx1030,gfx906", "--"]);
        stdout(command.arg(alloc_probe()).args(["--device", device]))
    };
    assert!(run("0").lines().next().unwrap().contains("gfx1030"));
    assert!(run("1").lines().next().unwrap().contains("gfx906"));
}

#[test]
fn managed_py_copies_every_byte_stock_and_interposed() {
    let script = root().join("examples/managed.py");
    for preload in [&["sim"][..], &["compare", "--simulate", "--show-output"]] {
        let mut command = rdnafix(preload);
        let output = output(command.args(["--", "python3"]).arg(&script));
        let all = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{all}");
        assert!(all.contains("managed -> device -> pinned: 4194304 bytes right"), "{all}");
        assert!(all.contains("pinned -> device -> managed: 4194304 bytes right"), "{all}");
        assert!(!all.contains("WRONG"), "{all}");
    }
}

#[test]
fn managed_py_reaches_the_hsa_hooks_only() {
    let mut command = rdnafix(["compare", "--json", "--simulate", "--", "python3"]);
    let document = stdout(command.arg(root().join("examples/managed.py")));
    let comparison = Comparison(serde_json::from_str(&document).unwrap());
    // ctypes looks hip* functions up with dlsym; what libamdhip64 calls below is hooked.
    assert_eq!(comparison.changed(), ["hipMallocManaged"]);
    assert_eq!(comparison.asked("hipMallocManaged", "interposed"), "SVM non-coherent NC");
    assert_eq!(comparison.asked("hipHostMalloc(Default)", "interposed"), "USERPTR coherent UC");
    assert_eq!(comparison.0["output_differs"], false);
}

#[test]
fn managed_py_without_a_gpu_says_so() {
    let (code, err) = failure(python("managed.py").env("HIP_VISIBLE_DEVICES", "-1"));
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("no GPU") && err.contains("rdnafix sim"), "{err}");
}

/// `train.py` with a PyTorch that is this text.
fn train_with(torch: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let package = dir.path().join("torch");
    std::fs::create_dir_all(package.join("utils")).unwrap();
    for (file, text) in [("__init__.py", torch), ("utils/__init__.py", ""), ("utils/data.py", "")] {
        std::fs::write(package.join(Path::new(file)), text).unwrap();
    }
    failure(
        python("train.py")
            .args(arguments)
            .env("PYTHONPATH", dir.path())
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )
}

#[test]
fn train_py_says_what_is_missing() {
    let stub = |hip: &str| {
        format!(
            "__version__ = '9'\nclass version: hip = {hip}\nclass cuda:\n    is_available = staticmethod(lambda: False)\n"
        )
    };
    for (torch, part) in [
        ("raise ImportError('not today')".to_owned(), "does not import: not today"),
        (stub("None"), "not built for ROCm"),
        (stub("'6.2'"), "finds no GPU"),
    ] {
        let (code, err) = train_with(&torch, &[]);
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains(part), "{err}");
    }
    let (code, _) = train_with(&stub("None"), &["--steps", "0"]);
    assert_eq!(code, Some(2));
}
