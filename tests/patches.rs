//! The source patches: what they say of themselves, that the files which they add are those of
//! `patches/policy`, and that each series applies to the sources of its release with no fuzz and
//! leaves them as they were when it is reversed.

mod cli_common;
mod source_common;

use std::fs;

use source_common::{SERIES, contents, patch, patches, patches_of, sources};

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
    for component in ["clr", "pytorch", "rocr-runtime"] {
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
        let first = if series.starts_with("pytorch/") {
            "rdnafix_alloc_defaults.h"
        } else {
            "rdnafix_policy.h"
        };
        assert_eq!(names(&all[0].1), [first], "{series}: the header comes first");
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

/// Applies a series to the sources and takes it off again.
fn there_and_back(series: &str) {
    let Some(tree) = sources(series) else { return };
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
    there_and_back("rocr-runtime/6.4.3");
}

#[test]
fn the_series_of_clr_6_4_3_applies_and_reverses() {
    there_and_back("clr/6.4.3");
}

#[test]
fn the_series_of_clr_5_7_1_applies_and_reverses() {
    there_and_back("clr/5.7.1");
}

#[test]
fn the_series_of_pytorch_1_13_1_applies_and_reverses() {
    there_and_back("pytorch/1.13.1");
}

#[test]
fn the_series_of_pytorch_2_6_0_applies_and_reverses() {
    there_and_back("pytorch/2.6.0");
}
