//! The sources that the series in `patches/` are for, from the Debian archive, and what is done
//! with a tree of them. The including test has `mod cli_common`.

#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::cli_common::{output, rdnafix, root, text};

/// A series, and where its sources are: the recipe of a root that has them, and how the name of
/// the tarball begins.
pub const SERIES: [(&str, &str, &str); 5] = [
    ("rocr-runtime/6.4.3", "build-6.4.3", "rocr-runtime_6.4.3"),
    ("clr/6.4.3", "build-6.4.3", "rocm-hipamd_6.4.3"),
    ("clr/5.7.1", "source-5.7.1", "rocm-hipamd_5.7.1"),
    ("pytorch/1.13.1", "build-pytorch-1.13.1", "pytorch_1.13.1"),
    ("pytorch/2.6.0", "build-pytorch-2.6.0", "pytorch_2.6.0"),
];

/// Files by their paths below a directory.
pub type Contents = BTreeMap<PathBuf, Vec<u8>>;

/// The directory with all series.
pub fn patches() -> PathBuf {
    root().join("patches")
}

/// The patches of a series, in order: path and text.
pub fn patches_of(series: &str) -> Vec<(PathBuf, String)> {
    patches_in(&patches().join(series))
}

/// The patches of the series in a directory, in order: path and text.
pub fn patches_in(directory: &Path) -> Vec<(PathBuf, String)> {
    let list = fs::read_to_string(directory.join("series")).expect("a series file");
    let read = |name: &str| {
        let path = directory.join(name);
        (path.clone(), text(&fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"))))
    };
    list.lines().map(read).collect()
}

/// A fresh tree of the sources that a series is for; `None`, after a line that says why, where
/// they cannot be had.
pub fn sources(series: &str) -> Option<tempfile::TempDir> {
    let tree = tempfile::tempdir().expect("a temporary directory");
    sources_in(series, tree.path()).then_some(tree)
}

/// The same in a directory, which is made.
pub fn sources_in(series: &str, tree: &Path) -> bool {
    let (_, recipe, begins) =
        SERIES.into_iter().find(|(name, ..)| *name == series).expect("a series");
    unpack(&format!("patches {series}"), recipe, begins, tree)
}

/// The sources of a recipe in a directory, which is made; false, after a line that says why `what`
/// cannot be tested, where they cannot be had.
pub fn unpack(what: &str, recipe: &str, begins: &str, tree: &Path) -> bool {
    let got = output(&mut rdnafix(["sim", "root", recipe, "--json"]));
    let said = text(&got.stderr);
    if !got.status.success() {
        // EX_UNAVAILABLE
        assert_eq!(got.status.code(), Some(69), "rdnafix sim root {recipe}: {said}");
        println!("SKIPPED: {what}: {}", said.lines().last().unwrap_or_default());
        return false;
    }
    let value: serde_json::Value = serde_json::from_slice(&got.stdout).expect("JSON");
    let sources = Path::new(value["path"].as_str().expect("a path")).join("usr/src/deb");
    let tarball = fs::read_dir(sources)
        .expect("sources")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            name.starts_with(begins) && name.contains(".orig.tar.")
        })
        .expect("the recipe sees to the tarball");
    fs::create_dir_all(tree).expect("a directory");
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--strip-components=1", "--file"]).arg(&tarball).current_dir(tree);
    if begins.starts_with("pytorch") {
        // Of a large tree the part that the patches are about.
        tar.args(["--wildcards", "--no-wildcards-match-slash", "*/c10"]);
    }
    assert!(tar.status().expect("tar is installed").success(), "{}", tarball.display());
    true
}

/// Every file below a directory.
pub fn contents(root: &Path) -> Contents {
    let mut all = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let entry = entry.expect("an entry");
            let kind = entry.file_type().expect("a type");
            if kind.is_dir() {
                left.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path().strip_prefix(root).expect("below it").to_owned();
                all.insert(path, fs::read(entry.path()).expect("readable"));
            }
        }
    }
    all
}

/// Changes a file; its text must have what is replaced.
pub fn edit(tree: &Path, file: &str, from: &str, to: &str) {
    let path = tree.join(file);
    let old = text(&fs::read(&path).expect("the file"));
    assert!(old.contains(from), "{file} has no {from}");
    fs::write(path, old.replace(from, to)).expect("the file");
}

/// One patch, as quilt applies it, but with no fuzz and no offset.
pub fn patch(tree: &Path, patch: &Path, more: &[&str]) {
    let mut command = Command::new("patch");
    command
        .args(["--strip=1", "--fuzz=0", "--force", "--no-backup-if-mismatch"])
        // CRLF is content here.
        .args(["--remove-empty-files", "--binary"])
        .args(more)
        .arg("--input")
        .arg(patch)
        .current_dir(tree);
    let output = output(&mut command);
    let (said, name) = (text(&output.stdout), patch.display());
    assert!(output.status.success(), "{name}: {said}");
    assert!(!said.contains("fuzz") && !said.contains("offset"), "{name}: {said}");
}

/// `rdnafix patch create` for a tree: what it did, and where the series is to be.
pub fn create(component: &str, tree: &Path) -> (Output, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = rdnafix(["patch", "create", "--component", component, "--source"]);
    command.arg(tree).arg("--out").arg(directory.path().join("out"));
    (output(&mut command), directory)
}

/// The same where it must refuse: what it says. It has written nothing.
pub fn create_refuses(component: &str, tree: &Path) -> String {
    let before = contents(tree);
    let (made, directory) = create(component, tree);
    let said = text(&made.stderr);
    assert_eq!(made.status.code(), Some(125), "{}{said}", text(&made.stdout));
    let written = fs::read_dir(directory.path()).expect("a directory").count();
    assert!(written == 0 && contents(tree) == before, "it wrote, and said: {said}");
    said
}

/// Makes a tree what it was: files that are new are removed.
pub fn restore(tree: &Path, stock: &Contents) {
    let there = contents(tree);
    for path in there.keys().filter(|path| !stock.contains_key(*path)) {
        fs::remove_file(tree.join(path)).expect("writable");
    }
    for (path, content) in stock.iter().filter(|(path, content)| there.get(*path) != Some(content))
    {
        fs::write(tree.join(path), content).expect("writable");
    }
}

/// The tree after the series that is made for it. It has applied by `git apply` and by `patch`,
/// and reversing it has left the tree as it was.
pub fn ported(component: &str, tree: &Path) -> Contents {
    let (made, directory) = create(component, tree);
    assert!(made.status.success(), "{component}: {}", text(&made.stderr));
    let stock = contents(tree);
    let series = patches_in(&directory.path().join("out"));
    for (path, _) in &series {
        // Outside of a repository it changes files as patch does; here it only checks.
        let mut git = Command::new("git");
        git.args(["apply", "--check", "--whitespace=nowarn"]).arg(path).current_dir(tree);
        let checked = output(git.env("GIT_CEILING_DIRECTORIES", tree.parent().expect("a parent")));
        assert!(checked.status.success(), "git apply: {}", text(&checked.stderr));
        patch(tree, path, &[]);
    }
    let patched = contents(tree);
    for (path, _) in series.iter().rev() {
        patch(tree, path, &["--reverse"]);
    }
    assert!(contents(tree) == stock, "{component}: the tree is what it was");
    patched
}
