//! The source patches: what they say of themselves, that the files which they add are those of
//! `patches/policy`, and that each series applies to the sources of its release with no fuzz and
//! leaves them as they were when it is reversed.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A series, and where its sources are: the recipe of a root that has them, and how the name of
/// the tarball begins.
const SERIES: [(&str, &str, &str); 3] = [
    ("rocr-runtime/6.4.3", "build-6.4.3", "rocr-runtime_6.4.3"),
    ("clr/6.4.3", "build-6.4.3", "rocm-hipamd_6.4.3"),
    ("clr/5.7.1", "source-5.7.1", "rocm-hipamd_5.7.1"),
];

fn patches() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("patches")
}

/// The patches of a series, in order: path and text.
fn patches_of(series: &str) -> Vec<(PathBuf, String)> {
    let directory = patches().join(series);
    let list = fs::read_to_string(directory.join("series")).expect("a series file");
    let read = |name: &str| {
        let path = directory.join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        (path, text)
    };
    list.lines().map(read).collect()
}

/// The files that a patch adds, by their names.
fn added(text: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for part in text.split("\ndiff --git ").skip(1) {
        if !part.contains("\n--- /dev/null\n") {
            continue;
        }
        let path = part.lines().find_map(|line| line.strip_prefix("+++ b/")).expect("its name");
        let body = part.split_once("\n@@ ").expect("a hunk").1;
        let lines = body.lines().skip(1).filter_map(|line| line.strip_prefix('+'));
        let content = lines.fold(String::new(), |all, line| all + line + "\n");
        let name = path.rsplit('/').next().expect("a file name");
        files.push((name.to_owned(), content));
    }
    files
}

#[test]
fn every_directory_of_patches_is_a_series_that_is_tested() {
    let mut found = Vec::new();
    for component in ["clr", "rocr-runtime"] {
        for entry in fs::read_dir(patches().join(component)).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                let version = path.file_name().expect("a name").to_string_lossy();
                found.push(format!("{component}/{version}"));
                let mut listed: Vec<_> = patches_of(found.last().expect("one"))
                    .into_iter()
                    .map(|(path, _)| path)
                    .collect();
                let mut there: Vec<_> = fs::read_dir(&path)
                    .expect("a directory")
                    .map(|entry| entry.expect("an entry").path())
                    .filter(|path| path.extension().is_some_and(|kind| kind == "patch"))
                    .collect();
                listed.sort();
                there.sort();
                assert_eq!(listed, there, "the series file names every patch");
            }
        }
    }
    found.sort();
    let mut tested = SERIES.map(|(series, ..)| series.to_owned()).to_vec();
    tested.sort();
    assert_eq!(found, tested);
}

#[test]
fn every_patch_says_what_it_is_and_nobody_has_signed_it() {
    for (series, ..) in SERIES {
        let applies = format!("Applies-To: {}", series.replace('/', " "));
        for (path, text) in patches_of(series) {
            let (head, _) = text.split_once("\n---\n").expect("git format-patch's separator");
            let name = path.display();
            for field in ["Subject: ", "Description: ", "Origin: ", "Forwarded: no", &applies] {
                assert!(head.lines().any(|line| line.starts_with(field)), "{name}: {field}");
            }
            assert!(!text.contains("Signed-off-by"), "{name}");
            let subject = head.split_once("\nSubject: ").expect("a subject").1;
            assert!(
                subject.split_once("\n\n").is_some_and(|(line, _)| !line.contains('\n')),
                "{name}"
            );
            let from = head.lines().find_map(|line| line.strip_prefix("From: "));
            assert_eq!(from, Some("rdnafix project"), "{name}");
            let long = text.lines().find(|line| line.starts_with('+') && line.len() > 101);
            assert_eq!(long, None, "{name}: the components wrap at 100");
        }
        let bug = "Bug: https://github.com/ROCm/clr/issues/285";
        let about = patches_of(series).iter().filter(|(_, text)| text.contains(bug)).count();
        assert_eq!(about, usize::from(series.starts_with("clr/")), "{series}");
    }
}

#[test]
fn the_files_that_a_series_adds_are_those_of_the_policy() {
    for (series, ..) in SERIES {
        let all = patches_of(series);
        let names = |text: &str| added(text).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&all[0].1), ["rdnafix_policy.h"], "{series}: the header comes first");
        for (path, text) in &all {
            for (name, content) in added(text) {
                let ours = fs::read_to_string(patches().join("policy").join(&name))
                    .unwrap_or_else(|error| panic!("{}: {name}: {error}", path.display()));
                assert_eq!(content, ours, "{}: {name}", path.display());
            }
        }
    }
}

#[test]
fn only_the_header_decides() {
    // What the hooks compare themselves would be a second decision.
    for (series, ..) in SERIES {
        for (path, text) in patches_of(series).iter().skip(1) {
            let hooks =
                text.split("\ndiff --git ").skip(1).filter(|part| !part.contains("/dev/null"));
            for line in hooks.flat_map(str::lines).filter(|line| line.starts_with('+')) {
                for word in ["versionMajor", "gfx10", "getenv", "EngineId"] {
                    assert!(!line.contains(word), "{}: {line}", path.display());
                }
            }
        }
    }
}

/// The root of a recipe; `None`, after a line that says why, where it cannot be had.
fn sources(series: &str, recipe: &str) -> Option<PathBuf> {
    let output = Command::new(common::rdnafix().with_file_name("rdnafix"))
        .args(["sim", "root", recipe, "--json"])
        .output()
        .expect("the command starts");
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        return Some(value["path"].as_str().expect("a path").into());
    }
    // EX_UNAVAILABLE
    assert_eq!(output.status.code(), Some(69), "rdnafix sim root {recipe}: {said}");
    println!("SKIPPED: patches {series}: {}", said.lines().last().unwrap_or_default());
    None
}

/// Every file below a directory.
fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let entry = entry.expect("an entry");
            let kind = entry.file_type().expect("a type");
            if kind.is_dir() {
                left.push(entry.path());
            } else if kind.is_file() {
                all.insert(entry.path(), fs::read(entry.path()).expect("readable"));
            }
        }
    }
    all
}

/// One patch, as quilt applies it, but with no fuzz.
fn patch(tree: &Path, patch: &Path, more: &[&str]) {
    let output = Command::new("patch")
        .args([
            "--strip=1",
            "--fuzz=0",
            "--force",
            "--no-backup-if-mismatch",
            "--remove-empty-files",
        ])
        .args(more)
        .arg("--input")
        .arg(patch)
        .current_dir(tree)
        .output()
        .expect("patch is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    let name = patch.display();
    assert!(output.status.success(), "{name}: {said}");
    assert!(!said.contains("fuzz") && !said.contains("offset"), "{name}: {said}");
}

/// Applies a series to the sources and takes it off again.
fn there_and_back((series, recipe, begins): (&str, &str, &str)) {
    let Some(root) = sources(series, recipe) else { return };
    let directory = root.join("usr/src/deb");
    let tarball = fs::read_dir(&directory)
        .expect("sources")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            name.starts_with(begins) && name.contains(".orig.tar.")
        })
        .expect("the recipe sees to the tarball");
    let tree = tempfile::tempdir().expect("a temporary directory");
    let status = Command::new("tar")
        .args(["--extract", "--strip-components=1", "--file"])
        .arg(&tarball)
        .current_dir(tree.path())
        .status()
        .expect("tar is installed");
    assert!(status.success(), "{}: {status}", tarball.display());
    let stock = contents(tree.path());
    let all = patches_of(series);
    for (path, _) in &all {
        patch(tree.path(), path, &[]);
    }
    let patched = contents(tree.path());
    let changed = stock.iter().filter(|(path, text)| patched.get(*path) != Some(text)).count();
    assert!(changed > 0 && patched.len() > stock.len(), "{series} changes and adds files");
    for (path, _) in all.iter().rev() {
        patch(tree.path(), path, &["--reverse"]);
    }
    assert!(contents(tree.path()) == stock, "{series}: the tree is what it was");
}

#[test]
fn the_series_of_rocr_6_4_3_applies_and_reverses() {
    there_and_back(SERIES[0]);
}

#[test]
fn the_series_of_clr_6_4_3_applies_and_reverses() {
    there_and_back(SERIES[1]);
}

#[test]
fn the_series_of_clr_5_7_1_applies_and_reverses() {
    there_and_back(SERIES[2]);
}
