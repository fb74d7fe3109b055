//! A small series on small trees: every state that a tree can be in.

use std::fs;
use std::path::Path;

use super::series::{Patch, Series, parse};
use super::state::{self, State};
use super::tree::Tree;
use super::{Direction, all_patches, there_and_back};

const ADDS: &[u8] = b"Subject: [PATCH 1/2] add the decision\n---\n\
diff --git a/inc/policy.h b/inc/policy.h\nnew file mode 100644\n--- /dev/null\n+++ b/inc/policy.h\n\
@@ -0,0 +1,2 @@\n+#pragma once\n+int policy(void);\n";
const CALLS: &[u8] = b"Subject: [PATCH 2/2] ask it\n---\n\
diff --git a/src/a.cpp b/src/a.cpp\n--- a/src/a.cpp\n+++ b/src/a.cpp\n\
@@ -1,3 +1,4 @@\n one\n+asked();\n two\n three\n";
const STOCK: &str = "one\ntwo\nthree\n";

fn series() -> Series {
    let patch = |name, text| -> Patch { parse(name, text).unwrap() };
    Series {
        component: "clr".to_owned(),
        version: "1".to_owned(),
        patches: vec![patch("0001.patch", ADDS), patch("0002.patch", CALLS)],
    }
}

fn stock(root: &Path, content: &str) -> Tree {
    fs::create_dir_all(root.join("src")).unwrap();
    fs::write(root.join("src/a.cpp"), content).unwrap();
    Tree::read(root, &series()).unwrap()
}

#[test]
fn a_tree_goes_there_and_back_and_is_known_in_both_states() {
    let root = tempfile::tempdir().unwrap();
    let series = series();
    let before = stock(root.path(), STOCK);
    assert!(matches!(state::of(&before, &series), State::Stock));
    assert_eq!(there_and_back(&before, &series, Direction::Apply).unwrap(), 2);

    let mut after = before.clone();
    all_patches(&mut after, &series, Direction::Apply).unwrap();
    assert!(matches!(state::of(&after, &series), State::Patched));
    assert_eq!(after.stage(&before, root.path()).unwrap().commit().unwrap().len(), 2);
    assert_eq!(
        fs::read_to_string(root.path().join("src/a.cpp")).unwrap(),
        "one\nasked();\ntwo\nthree\n"
    );
    assert!(root.path().join("inc/policy.h").exists());

    let patched = Tree::read(root.path(), &series).unwrap();
    let mut back = patched.clone();
    all_patches(&mut back, &series, Direction::Revert).unwrap();
    back.stage(&patched, root.path()).unwrap().commit().unwrap();
    assert_eq!(Tree::read(root.path(), &series).unwrap(), before);
    assert!(!root.path().join("inc/policy.h").exists());
}

#[test]
fn a_half_patched_tree_is_told_from_another_one() {
    let root = tempfile::tempdir().unwrap();
    let series = series();
    let mut half = stock(root.path(), STOCK);
    half.apply(&series.patches[0]).unwrap();
    assert!(matches!(state::of(&half, &series), State::Half(1)));

    let other = stock(root.path(), "one\nelse\nthree\n");
    let State::Other(error) = state::of(&other, &series) else { panic!("it does not fit") };
    let said = format!("{error:#}");
    assert!(said.contains("0002.patch: src/a.cpp") && said.contains('1'), "{said}");

    let crlf = stock(root.path(), &STOCK.replace('\n', "\r\n"));
    let State::Other(error) = state::of(&crlf, &series) else { panic!("it does not fit") };
    assert!(format!("{error:#}").contains("CRLF"), "{error:#}");
}

#[test]
fn a_patch_that_does_not_fit_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let series = series();
    let before = stock(root.path(), "one\nelse\nthree\n");
    let mut tree = before.clone();
    assert!(tree.apply(&series.patches[1]).is_err());
    assert_eq!(tree, before);
    // A file that the patch would make is there already.
    fs::create_dir_all(root.path().join("inc")).unwrap();
    fs::write(root.path().join("inc/policy.h"), "mine\n").unwrap();
    let tree = Tree::read(root.path(), &series).unwrap();
    let State::Other(error) = state::of(&tree, &series) else { panic!("it does not fit") };
    assert!(format!("{error:#}").contains("is there already"), "{error:#}");
}

#[test]
fn the_mode_of_a_file_stays() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let series = series();
    let before = stock(root.path(), STOCK);
    let file = root.path().join("src/a.cpp");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o750)).unwrap();
    let mut after = before.clone();
    all_patches(&mut after, &series, Direction::Apply).unwrap();
    after.stage(&before, root.path()).unwrap().commit().unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o750);
}

#[test]
fn links_and_pipes_in_a_tree_are_refused() {
    let text = b"Subject: [PATCH] f\n---\ndiff --git a/d/f b/d/f\n--- a/d/f\n+++ b/d/f\n@@ -1 +1,2 @@\n one\n+two\n";
    let series = Series {
        component: "c".to_owned(),
        version: "1".to_owned(),
        patches: vec![super::series::parse("f.patch", text).unwrap()],
    };
    let refused = |make: &dyn Fn(&Path)| {
        let root = tempfile::tempdir().unwrap();
        make(root.path());
        Tree::read(root.path(), &series).unwrap_err().to_string()
    };
    let link = |from: &Path, to: &Path| std::os::unix::fs::symlink(from, to).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("f"), "one\n").unwrap();
    let file = |root: &Path| {
        fs::create_dir(root.join("d")).unwrap();
        link(&elsewhere.path().join("f"), &root.join("d/f"));
    };
    let directory = |root: &Path| link(elsewhere.path(), &root.join("d"));
    let pipe = |root: &Path| {
        fs::create_dir(root.join("d")).unwrap();
        nix::unistd::mkfifo(&root.join("d/f"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    };
    for (make, named) in
        [(&file as &dyn Fn(&Path), "d/f: "), (&directory, "/d: "), (&pipe, "d/f: ")]
    {
        let error = refused(make);
        assert!(error.contains(named) && error.contains("no regular file"), "{error}");
    }
}
