//! The kernels of `rdnafix probe` and `rdnafix bench`: compiled by the hiprtc of each release, and
//! launched on the simulated GPU. What comes of them is never read: nothing executes them.

mod cli_common;
mod probe_common;

use cli_common::release::{Release, release as rocm};
use cli_common::{clean, output, release, text};
use probe_common::{INCOMPLETE, cells};
use serde_json::Value;

const TARGETS: [&str; 3] = ["gfx1010", "gfx1030", "gfx1100"];

/// The command in a root, on a simulated GPU if one is named.
fn run(root: &Release, gpu: Option<&str>, arguments: &[&str]) -> std::process::Output {
    let mut command = clean(release("rdnafix"));
    let own = release("rdnafix");
    match gpu {
        Some(gpu) => command.args(["sim", "--gpu", gpu, "--root", &root.name, "--"]),
        None => command.args(["sim", "root", &root.name, "--"]),
    };
    output(command.arg(own).args(arguments))
}

fn compiled_and_accepted(name: &str, targets: &[&str]) {
    let Some(root) = rocm(name) else { return };
    for target in targets {
        let compiled = run(&root, None, &["probe", "--compile", target]);
        let said = text(&compiled.stdout);
        assert_eq!(compiled.status.code(), Some(0), "{name}: {said}{}", text(&compiled.stderr));
        let bytes = said.trim().strip_suffix(" bytes").and_then(|line| line.rsplit(' ').next());
        let bytes: usize = bytes.expect("bytes").parse().expect("a number");
        assert!(bytes > 1000, "{name}: {said}");
        launched(&root, "probe", target, 6 * 11 * 2);
    }
    launched(&root, "bench", targets[0], 6 * 3 * 2);
}

fn launched(root: &Release, command: &str, target: &str, count: usize) {
    let output = run(root, Some(target), &[command, "--launch-only", "--json"]);
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{}: {}{err}", root.name, text(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["machine"]["gpu"]["target"], target);
    for cell in cells(&report) {
        assert_eq!(cell["outcome"], "accepted", "{} {target}: {cell}", root.name);
    }
    assert_eq!(cells(&report).count(), count);
}

#[test]
fn rocm_5_2_compiles_and_launches_them_for_the_targets_that_it_knows() {
    compiled_and_accepted("5.2.3", &TARGETS[..2]);
}

#[test]
fn rocm_5_2_dies_of_a_target_that_it_does_not_know_and_that_is_said() {
    let Some(root) = rocm("5.2.3") else { return };
    let output = run(&root, None, &["probe", "--compile", "gfx1100,gfx1030"]);
    assert_eq!(output.status.code(), INCOMPLETE);
    let said = text(&output.stdout);
    assert!(said.starts_with("gfx1100 (HIP 5.2): not compiled: "), "{said}");
    assert!(said.contains("\ngfx1030 (HIP 5.2): ") && said.ends_with(" bytes\n"), "{said}");
}

#[test]
fn rocm_5_7_compiles_and_launches_them() {
    compiled_and_accepted("5.7.1", &TARGETS);
}

#[test]
fn rocm_6_4_compiles_and_launches_them() {
    compiled_and_accepted("6.4.3", &TARGETS);
}

#[test]
fn rocm_7_2_compiles_and_launches_them() {
    compiled_and_accepted("7.2.4", &TARGETS);
}
