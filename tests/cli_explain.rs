//! `rdnafix explain`: messages of programs and of the kernel.

mod cli_common;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use cli_common::{output, rdnafix, release, text};
use serde_json::Value;

/// The answer to a text on stdin.
fn explain(input: &[u8], arguments: &[&str]) -> Output {
    let mut command = rdnafix(["explain"]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn ids(output: &Output) -> Vec<String> {
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let symptoms = document["symptoms"].as_array().unwrap();
    symptoms.iter().map(|symptom| symptom["id"].as_str().unwrap().to_owned()).collect()
}

const PROGRAM: &str = "\
loading model\n\
:1:rocvirtual.cpp           :3103: 0368660788d us:  Pcie atomics not enabled, hostcall not supported\n\
:1:rocvirtual.cpp           :3465: 0368660830d us:  AQL dispatch failed!\n\
RuntimeError: HIP error: the operation cannot be performed in the present state\n\
Memory access fault by GPU node-1 (Agent handle: 0x55d5) on address (nil). Reason: Page not present or supervisor privilege.\n\
Memory access fault by GPU node-1 (Agent handle: 0x55d5) on address (nil). Reason: Page not present or supervisor privilege.\n";

const DMESG: &str = "\
[    3.1] [drm] amdgpu kernel modesetting enabled.\n\
[75287.3] amdgpu 0000:03:00.0: amdgpu: HIQ MQD's queue_doorbell_id0 is not 0, Queue preemption time out\n\
[75287.4] amdgpu: Failed to evict process queues\n\
[75287.5] amdgpu: Failed to quiesce KFD\n";

#[test]
fn the_messages_of_a_program_are_named_worst_first() {
    let output = explain(PROGRAM.as_bytes(), &["--json"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(ids(&output), ["memory-access-fault", "pcie-atomics"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let fault = &document["symptoms"][0];
    assert_eq!((&fault["count"], &fault["line"]), (&2.into(), &5.into()));
    assert_eq!(fault["rdnafix"], "no");
    assert_eq!(document["lines"], 6);
    assert_eq!(explain(PROGRAM.as_bytes(), &["--json", "-"]).stdout, output.stdout);
}

#[test]
fn the_log_of_the_kernel_is_read_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dmesg.txt");
    std::fs::write(&file, DMESG).unwrap();
    let output = output(rdnafix(["explain", "--json"]).arg(&file));
    assert_eq!(ids(&output), ["preemption-hang"]);
}

#[test]
fn a_fault_at_an_address_of_the_host_is_named_as_that() {
    let line = "Memory access fault by GPU node-2 (Agent handle: 0x1) on address 0x7f3a5c000000. Reason: Unknown.";
    assert_eq!(ids(&explain(line.as_bytes(), &["--json"])), ["host-pointer-fault"]);
}

#[test]
fn the_answer_names_cause_fix_check_and_source_and_what_rdnafix_cannot_do() {
    let output = explain(PROGRAM.as_bytes(), &[]);
    let answer = text(&output.stdout);
    for part in [
        "error: A kernel touched memory that is not there\n  id      memory-access-fault\n",
        "(line 5, 2 in all)",
        "  why     \"Memory access fault by GPU\" is not about coherence.",
        "  fix     $ AMD_SERIALIZE_KERNEL=3",
        "  verify  $ rdnafix doctor",
        "  rdnafix does not help.",
        "https://github.com/ROCm/legacy-rocm-build/issues/4562",
        "warning: No PCIe atomics between this GPU and the host\n  id      pcie-atomics\n",
    ] {
        assert!(answer.contains(part), "{part} in:\n{answer}");
    }
    assert!(!answer.contains('\u{1b}'));
    // Nothing is left to be filled in by hand but what is written in capitals.
    assert!(!answer.contains('{'), "{answer}");
}

#[test]
fn a_text_without_a_known_message_fails_and_says_what_to_try_and_where_to_report() {
    for input in ["", "all is well\n", "\u{0}\u{1}\u{2}"] {
        let output = explain(input.as_bytes(), &[]);
        assert_eq!(output.status.code(), Some(1), "{input:?}");
        let answer = text(&output.stdout);
        for part in ["Nothing known", "sudo dmesg | rdnafix explain", "rdnafix doctor --dump"] {
            assert!(answer.contains(part), "{part} in:\n{answer}");
        }
    }
    let output = explain(b"all is well", &["--json"]);
    assert_eq!((output.status.code(), ids(&output).len()), (Some(1), 0));
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_of_its_own() {
    for (file, word) in [("/nonexistent", "/nonexistent"), ("/", "directory")] {
        let output = output(&mut rdnafix(["explain", file]));
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(word));
    }
    assert_eq!(output(&mut rdnafix(["explain", "--loud"])).status.code(), Some(2));
}

#[test]
fn a_text_of_any_length_is_read_in_bounded_memory() {
    // 100 MB in one line, in 100 MB of address space beyond what the program itself takes.
    let script = "ulimit -v 150000; head -c 100000000 /dev/zero | tr '\\0' x | \"$0\" explain --json; echo $?";
    let output = output(Command::new("bash").args(["-c", script]).arg(release("rdnafix")));
    let said = text(&output.stdout);
    assert!(
        said.contains("\"lines\": 1") && said.ends_with("\n1\n"),
        "{said}{}",
        text(&output.stderr)
    );
}

#[test]
fn what_real_libraries_say_without_a_gpu_is_recognised() {
    // The real runtime of this machine, whose rocminfo finds no /dev/kfd.
    let output = output(Command::new("sh").args(["-c", "rocminfo 2>&1"]));
    let said = text(&output.stdout);
    if !said.contains("ROCk module is NOT loaded") {
        println!("SKIPPED: rocminfo without a GPU: it is not installed, or there is a GPU");
        return;
    }
    assert_eq!(ids(&explain(said.as_bytes(), &["--json"])), ["driver-not-loaded"]);
}
