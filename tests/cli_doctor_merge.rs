//! `rdnafix doctor --merge`: which of many nodes differs, and in what.

mod cli_common;

use std::fs;
use std::path::{Path, PathBuf};

use cli_common::{output, rdnafix, release, text};

/// What a simulated node says of itself.
fn node(directory: &Path, name: &str, board: &str, atomics: &str) -> PathBuf {
    let mut command = rdnafix(["sim", "--gpu", board, "--"]);
    command.arg(release("rdnafix")).args(["doctor", "--json"]).env("KFDSIM_PCIE_ATOMICS", atomics);
    let file = directory.join(name);
    fs::write(&file, output(&mut command).stdout).unwrap();
    file
}

fn merge(files: &[PathBuf], options: &[&str]) -> (Option<i32>, String, String) {
    let output = output(rdnafix(["doctor", "--merge"]).args(files).args(options));
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_node_whose_slot_is_another_is_named_with_what_differs() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name, atomics| node(directory.path(), name, "gfx1030", atomics);
    let files = [at("one.json", "1"), at("two.json", "0"), at("three.json", "1")];
    let (code, out, err) = merge(&files, &[]);
    assert_eq!((code, &err[..]), (Some(1), ""));
    let row = |node: &str| out.lines().find(|line| line.trim_start().starts_with(node)).unwrap();
    assert!(row("two").contains("1 warning") && row("two").contains("facts"), "{out}");
    assert!(row("one").ends_with('-') && row("three").ends_with('-'), "{out}");
    assert!(out.contains("gpus[0].link.atomics\n  true: one, three\n  false: two\n"), "{out}");
    assert!(out.contains("finding pcie-atomics\n  (none): one, three\n  warning: two\n"), "{out}");
    assert!(out.lines().all(|line| line.len() <= 80), "{out}");

    let (_, out, _) = merge(&files, &["--json"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["nodes"][1]["name"], "two");
    assert_eq!(document["nodes"][1]["warnings"], 1);
    let groups = &document["differences"]["gpus[0].link.atomics"];
    assert_eq!(groups[1]["nodes"], serde_json::json!(["two"]));
}

#[test]
fn nodes_that_are_alike_are_said_to_be_and_succeed() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name| node(directory.path(), name, "gfx1012", "1");
    let (code, out, _) = merge(&[at("a.json"), at("b.json")], &[]);
    assert!(out.ends_with("\nno node differs\n"), "{out}");
    assert_eq!(code, Some(0), "{out}");
}

#[test]
fn a_file_that_is_no_document_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let fail = |name: &str, content: &str, part: &str| {
        let file = directory.path().join(name);
        fs::write(&file, content).unwrap();
        let (code, out, err) = merge(&[file], &[]);
        assert_eq!((code, &out[..]), (Some(2), ""));
        assert!(err.contains(name) && err.contains(part), "{err}");
    };
    fail("empty.json", "", "is no JSON");
    fail("other.json", "{\"machine\": 1}", "is not what `rdnafix doctor --json` prints");
    let (code, _, err) = merge(&[directory.path().join("missing.json")], &[]);
    assert!(code == Some(2) && err.contains("missing.json"), "{err}");
    fs::create_dir(directory.path().join("b")).unwrap();
    let a = node(directory.path(), "same.json", "gfx1012", "1");
    let b = node(&directory.path().join("b"), "same.json", "gfx1012", "1");
    let (code, _, err) = merge(&[a, b], &[]);
    assert!(code == Some(2) && err.contains("two files are called 'same'"), "{err}");
}
