//! Tests of installing into a prefix and removing.

use std::collections::BTreeMap;

use super::*;
use crate::build::{
    manifest::{MANIFEST, Manifest},
    tree,
};

fn stage(directory: &Path, text: &str) -> PathBuf {
    let stage = directory.join("stage");
    let _ = fs::remove_dir_all(&stage);
    fs::create_dir_all(stage.join("lib")).unwrap();
    fs::create_dir_all(stage.join("share/rdnafix")).unwrap();
    fs::write(stage.join("lib/a.so.1"), text).unwrap();
    std::os::unix::fs::symlink("a.so.1", stage.join("lib/a.so")).unwrap();
    let files: BTreeMap<_, _> = tree::contents(&stage).unwrap();
    let manifest = Manifest {
        rdnafix: "0".into(),
        release: "6.4.3".into(),
        patched: true,
        components: Vec::new(),
        tools: Vec::new(),
        files,
    };
    fs::write(stage.join(MANIFEST), serde_json::to_string(&manifest).unwrap()).unwrap();
    stage
}

#[test]
fn nothing_is_removed_that_was_not_installed() {
    for add in [
        |prefix: &Path| fs::create_dir(prefix.join("mine")).unwrap(),
        |prefix: &Path| fs::create_dir_all(prefix.join("lib/.git")).unwrap(),
        |prefix: &Path| {
            fs::create_dir(prefix.join(".git")).unwrap();
            fs::write(prefix.join(".git/HEAD"), "").unwrap();
        },
        |prefix: &Path| {
            let mode = nix::sys::stat::Mode::S_IRUSR;
            nix::unistd::mkfifo(&prefix.join("lib/pipe"), mode).unwrap();
        },
    ] {
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path().join("rocm-patched");
        let stage = stage(directory.path(), "1");
        install(&stage, &prefix).unwrap();
        add(&prefix);
        let before = WalkDir::new(&prefix).into_iter().count();
        for refused in [install(&stage, &prefix), uninstall(&prefix).map(drop)] {
            let error = format!("{:#}", refused.unwrap_err());
            assert!(error.contains("added: "), "{error}");
            assert_eq!(WalkDir::new(&prefix).into_iter().count(), before);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing beside it");
    }
}

#[test]
fn a_removal_that_was_interrupted_is_ended_by_the_next_command() {
    let directory = tempfile::tempdir().unwrap();
    let prefix = directory.path().join("rocm-patched");
    install(&stage(directory.path(), "1"), &prefix).unwrap();
    let part = directory.path().join(scratch(&prefix) + "x");
    fs::create_dir(&part).unwrap();
    fs::rename(&prefix, part.join(OLD)).unwrap();
    fs::remove_file(part.join(OLD).join("lib/a.so")).unwrap();
    assert!(uninstall(&prefix).unwrap_err().to_string().contains("there is nothing"));
    assert!(!part.exists());
}

#[test]
fn a_pipe_in_the_place_of_the_manifest_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(MANIFEST);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(manifest::read(directory.path()).is_err());
}

#[test]
fn a_slash_at_the_end_of_a_prefix_means_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path(), &link).unwrap();
    let slash = |path: &Path| PathBuf::from(format!("{}/", path.display()));
    assert!(allowed(&slash(&link)).unwrap_err().to_string().contains("is a link"));
    let plain = directory.path().join("p");
    assert_eq!(allowed(&slash(&plain)).unwrap().to_str(), plain.to_str());
}

#[test]
fn what_is_installed_is_replaced_and_removed_without_a_trace() {
    let directory = tempfile::tempdir().unwrap();
    let prefix = directory.path().join("opt/rocm-patched");
    // As an interrupted installation leaves it; and a neighbour's.
    fs::create_dir_all(directory.path().join("opt/.rocm-patched.rdnafix-abc/new")).unwrap();
    let neighbour = directory.path().join("opt/.rocm-patched-2.rdnafix-abc");
    fs::create_dir_all(&neighbour).unwrap();
    install(&stage(directory.path(), "1"), &prefix).unwrap();
    install(&stage(directory.path(), "2"), &prefix).unwrap();
    assert_eq!(fs::read_to_string(prefix.join("lib/a.so")).unwrap(), "2");
    assert_eq!(uninstall(&prefix).unwrap(), 2);
    fs::remove_dir(&neighbour).unwrap();
    assert!(fs::read_dir(directory.path().join("opt")).unwrap().next().is_none());
}

#[test]
fn files_that_changed_since_are_kept_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let prefix = directory.path().join("rocm-patched");
    let stage = stage(directory.path(), "1");
    install(&stage, &prefix).unwrap();
    for (file, text) in [("lib/a.so.1", "mine"), ("lib/b.so", "mine too")] {
        fs::write(prefix.join(file), text).unwrap();
        for error in [uninstall(&prefix).unwrap_err(), install(&stage, &prefix).unwrap_err()] {
            assert!(error.to_string().contains(file), "{error}");
        }
        assert!(prefix.join(file).exists());
        fs::write(prefix.join("lib/a.so.1"), "1").unwrap();
    }
}

#[test]
fn a_prefix_that_is_not_ours_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    let other = tempfile::tempdir().unwrap();
    let error = install(&stage(other.path(), "1"), directory.path()).unwrap_err().to_string();
    assert!(error.contains("rdnafix did not make it"), "{error}");
    assert!(uninstall(directory.path()).is_err());
    assert!(directory.path().join("file").exists());
}

#[test]
fn directories_of_the_system_are_no_prefixes() {
    let home = std::env::var("HOME").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("/usr", &link).unwrap();
    let through = link.join("share/x");
    for bad in [
        "/",
        "/usr",
        "/usr/local",
        "/usr/lib/x86_64-linux-gnu",
        "/opt",
        "/opt/rocm",
        "/tmp",
        "/etc/x",
        "/a/../usr",
        "/tmp/a:b",
        "/tmp/$x",
        &home,
        link.to_str().unwrap(),
        through.to_str().unwrap(),
    ] {
        assert!(allowed(Path::new(bad)).is_err(), "{bad}");
    }
    for good in ["/opt/rocm-patched-6.4.3", "/usr/local/rocm-patched", "/tmp/a b", "/var/tmp/a"] {
        assert_eq!(allowed(Path::new(good)).unwrap(), Path::new(good));
    }
}

#[test]
fn the_script_puts_any_directory_first_and_once() {
    let directory = tempfile::tempdir().unwrap();
    let prefix = directory.path().join("it's a prefix");
    let env = directory.path().join("env.sh");
    fs::write(&env, script(&prefix)).unwrap();
    let said = std::process::Command::new("sh")
        .args(["-euc", "unset LD_LIBRARY_PATH; . \"$0\"; . \"$0\"; printf %s \"$LD_LIBRARY_PATH\""])
        .arg(&env)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), prefix.join("lib").display().to_string());
}

#[test]
fn a_leftover_with_something_else_in_it_and_a_linked_directory_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let prefix = directory.path().join("rocm-patched");
    let users = directory.path().join(scratch(&prefix) + "x").join(OLD).join("lib/users");
    fs::create_dir_all(users.parent().unwrap()).unwrap();
    fs::write(&users, "mine").unwrap();
    assert!(install(&stage(directory.path(), "1"), &prefix).is_err());
    assert!(users.exists());
    fs::remove_dir_all(directory.path().join(scratch(&prefix) + "x")).unwrap();

    install(&stage(directory.path(), "1"), &prefix).unwrap();
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(prefix.join("share"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, prefix.join("share")).unwrap();
    assert!(format!("{:#}", uninstall(&prefix).unwrap_err()).contains("added: "));
    assert!(elsewhere.join("rdnafix/manifest.json").exists());
}
