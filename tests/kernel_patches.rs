//! The series for Linux: what each patch says of itself, that it is in kernel style, and that it
//! applies to Debian's source with no fuzz and leaves it as it was when it is reversed.

mod cli_common;
mod kernel_common;
mod source_common;

use std::fs;
use std::path::Path;
use std::process::Command;

use cli_common::{output, rdnafix, stdout, text};
use kernel_common::{DRIVER, Source, VERSIONS, directories, touched};
use source_common::{contents, patch, patches_of};

#[test]
fn every_directory_is_a_series_that_is_tested() {
    assert_eq!(directories(), VERSIONS);
    for version in VERSIONS {
        let directory = source_common::patches().join("linux").join(version);
        let listed = patches_of(&format!("linux/{version}")).len();
        let there = fs::read_dir(directory).expect("a directory").count() - 1;
        assert_eq!(listed, there, "Linux {version}: the series file names every patch");
        for file in touched(version) {
            assert!(file.starts_with(DRIVER), "{file}: is built outside of the kernel's tree");
        }
    }
}

#[test]
fn every_patch_says_what_it_is_and_nobody_has_signed_it() {
    for version in VERSIONS {
        for (path, text) in patches_of(&format!("linux/{version}")) {
            let (head, _) = text.split_once("\n---\n").expect("git format-patch's separator");
            let name = path.display();
            let applies = format!("Applies-To: linux {version}");
            for field in ["From: rdnafix project", "Origin: other, rdnafix", &applies] {
                assert!(head.lines().any(|line| line == field), "{name}: {field}");
            }
            assert!(head.contains("\nForwarded: no"), "{name}");
            let subject = head.split_once("\nSubject: [PATCH] ").expect("a subject").1;
            let (subject, message) = subject.split_once("\n\n").expect("a message");
            let begins = ["drm/amdgpu: ", "drm/amdkfd: "];
            assert!(begins.iter().any(|it| subject.starts_with(it)), "{name}: {subject}");
            assert!(subject.len() <= 70 && message.lines().count() > 5, "{name}");
            let trailer = text.lines().find(|line| line.contains("-by:"));
            assert_eq!(trailer, None, "{name}: a tool names nobody");
        }
    }
}

#[test]
fn the_parameter_is_documented_once_and_off_by_default() {
    for version in VERSIONS {
        let all: String =
            patches_of(&format!("linux/{version}")).into_iter().map(|it| it.1).collect();
        let count = |line: &str| all.lines().filter(|it| it.starts_with(line)).count();
        assert_eq!(count("+ * DOC: rdna_noncoherent (int)"), 1, "Linux {version}");
        assert_eq!(count("+int amdgpu_rdna_noncoherent = -1;"), 1, "Linux {version}");
        let set = "+	adev->gmc.rdna_noncoherent = amdgpu_rdna_noncoherent == 1;";
        assert_eq!(count(set), 1, "Linux {version}: by gmc_v10_0.c, which serves GC 10 only");
    }
}

/// By patch(1): there, back and there again.
fn there_and_back(version: &'static str) {
    let Some(source) = Source::get(version) else { return };
    let tree = source.copy();
    let stock = contents(tree.path());
    let all = patches_of(&source.series());
    let apply = || {
        for (path, _) in &all {
            patch(tree.path(), path, &[]);
        }
        contents(tree.path())
    };
    let patched = apply();
    let same = stock.iter().filter(|(path, text)| patched.get(*path) == Some(text)).count();
    assert_eq!((same, patched.len()), (0, stock.len()), "it changes each file and adds none");
    for (path, _) in all.iter().rev() {
        patch(tree.path(), path, &["--reverse"]);
    }
    assert!(contents(tree.path()) == stock, "Linux {version}: the tree is what it was");
    assert!(apply() == patched, "Linux {version}: applied again, it is the same");
}

#[test]
fn the_series_of_6_1_applies_reverses_and_applies_again() {
    there_and_back("6.1");
}

#[test]
fn the_series_of_6_12_applies_reverses_and_applies_again() {
    there_and_back("6.12");
}

#[test]
fn the_series_of_7_2_applies_reverses_and_applies_again() {
    there_and_back("7.2");
}

/// By `rdnafix patch`, which has to tell the versions apart.
#[test]
fn the_command_finds_the_series_of_a_kernel_and_takes_it_back() {
    for version in VERSIONS {
        let Some(source) = Source::get(version) else { continue };
        let tree = source.copy();
        let stock = contents(tree.path());
        let said = |command: &str| {
            let mut rdnafix = rdnafix(["patch", command, "--source"]);
            let said = stdout(rdnafix.arg(tree.path()));
            let series = format!("linux/{version}: {}: ", tree.path().display());
            said.strip_prefix(&series).unwrap_or_else(|| panic!("{series}{said}")).to_owned()
        };
        let count = patches_of(&source.series()).len();
        let fits = format!("not patched; {count} patches apply and reverse without a trace\n");
        assert_eq!(said("verify"), fits);
        let files = stock.len();
        assert_eq!(said("apply"), format!("{count} patches applied, {files} files\n"));
        let by_hand = source.patched();
        assert!(contents(tree.path()) == contents(by_hand.path()), "as patch(1) does it");
        assert!(said("apply").starts_with("is patched already"));
        assert_eq!(said("revert"), format!("{count} patches reversed, {files} files\n"));
        assert!(contents(tree.path()) == stock, "as it was");
    }
}

#[test]
fn a_kernel_that_no_series_fits_is_refused_and_told_what_there_is() {
    let Some(source) = Source::get("6.1") else { return };
    let tree = source.copy();
    let file = format!("{DRIVER}/amdgpu/gmc_v10_0.c");
    source_common::edit(
        tree.path(),
        &file,
        "gmc_v10_0_set_umc_funcs(adev);\n\n\tadev",
        "other(adev);\n\n\tadev",
    );
    let before = contents(tree.path());
    let mut apply = rdnafix(["patch", "apply", "--source"]);
    let refused = output(apply.arg(tree.path()));
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(125), "{said}");
    assert!(said.contains("gmc_v10_0.c") && said.contains("nothing is written"), "{said}");
    assert!(said.contains("`rdnafix patch create` makes a series for it"), "{said}");
    assert!(contents(tree.path()) == before, "nothing is written");
}

/// What checkpatch says of a patch, each with the lines that it is about.
fn checkpatch(source: &Source, patch: &Path) -> Vec<String> {
    // Away from this repository, which checkpatch takes for the kernel's.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let copy = directory.path().join("0001.patch");
    fs::copy(patch, &copy).expect("writable");
    let mut perl = Command::new("perl");
    perl.arg(source.tree.join("scripts/checkpatch.pl"));
    perl.args(["--strict", "--no-tree", "--no-summary", "--terse", "--color=never"]).arg(&copy);
    let said = output(perl.current_dir(directory.path()));
    let (out, err) = (text(&said.stdout), text(&said.stderr));
    assert!(err.is_empty() && !out.is_empty(), "{err}");
    out.lines().map(|line| line.rsplit_once("patch:").map_or(line, |it| it.1).to_owned()).collect()
}

#[test]
fn checkpatch_misses_the_sign_off_and_nothing_else() {
    for version in VERSIONS {
        let Some(source) = Source::get(version) else { continue };
        for (path, _) in patches_of(&source.series()) {
            let said = checkpatch(&source, &path);
            let name = path.display();
            assert_eq!(said.len(), 1, "{name}: {said:?}");
            assert!(said[0].ends_with("ERROR: Missing Signed-off-by: line(s)"), "{name}: {said:?}");
        }
    }
}
