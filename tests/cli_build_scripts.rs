//! The scripts around `rdnafix build`.

mod cli_common;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use cli_common::patched::{Turn, patched};
use cli_common::{clean, output, root, succeed, text};

fn script(name: &str) -> Command {
    clean(root().join("scripts").join(name))
}

/// What a script said on stdout and stderr.
fn said(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn an_overlay_that_was_installed_passes_its_checks_and_one_that_was_changed_does_not() {
    let Some(prefix) = patched() else { return };
    let ended = succeed(script("test_patched_rocm.sh").arg(&prefix));
    let out = text(&ended.stdout);
    for check in [
        "passed   the files are as they were installed",
        "passed   programs get both libraries of the overlay",
        "passed   rocminfo lists gfx1030 (simulated)",
        "passed   hipHostMalloc(0) is non-coherent on gfx1030 (simulated)",
        "passed   the kernel is asked for what stock asks for on gfx1100 (simulated)",
    ] {
        assert!(out.lines().any(|line| line == check), "{check} in\n{out}");
    }
    assert!(out.contains(" passed, 0 failed, "), "{out}");

    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy");
    succeed(Command::new("cp").arg("-a").arg(&prefix).arg(&copy));
    fs::write(copy.join("lib/libamdhip64.so.6"), "not this").unwrap();
    let ended = output(script("test_patched_rocm.sh").arg(&copy));
    assert_eq!(ended.status.code(), Some(1));
    assert!(said(&ended).contains("FAILED   the files are as they were installed"), "{ended:?}");
}

#[test]
fn the_stable_link_leads_to_what_was_built_last() {
    if patched().is_none() {
        return;
    }
    let _turn = Turn::take();
    let directory = tempfile::tempdir().unwrap();
    let (prefix, link) =
        (directory.path().join("rocm-patched-6.4.3"), directory.path().join("rocm-patched"));
    symlink("/nonexistent", &link).unwrap();
    let mut build = script("build_patched_rocm.sh");
    build.arg("--prefix").arg(&prefix).arg("--link").arg(&link).args(["--from", "debian"]);
    succeed(&mut build);
    assert_eq!(fs::canonicalize(&link).unwrap(), fs::canonicalize(&prefix).unwrap());
    assert!(link.join("lib/libamdhip64.so").exists());
    // Again, away, and over a directory of somebody's.
    succeed(&mut build);
    let mut undo = script("build_patched_rocm.sh");
    succeed(undo.arg("--uninstall").arg("--prefix").arg(&prefix).arg("--link").arg(&link));
    assert!(link.symlink_metadata().is_err() && !prefix.exists());
    fs::create_dir(&link).unwrap();
    let ended = output(&mut build);
    assert!(!ended.status.success() && said(&ended).contains("is not a link"), "{ended:?}");
}

#[test]
fn the_environment_is_a_root_where_the_system_lacks_the_compiler() {
    if patched().is_none() {
        return;
    }
    let ended = succeed(script("setup_build_environment.sh").args(["--root", "--no-install"]));
    assert!(said(&ended).contains("ROCm 6.4.3 can be built in the root /"), "{ended:?}");
    let ended = output(script("setup_build_environment.sh").arg("--wrong"));
    assert!(!ended.status.success() && said(&ended).contains("usage:"), "{ended:?}");
}

#[test]
fn the_directory_of_the_kernel_packages_deb_is_the_callers() {
    let directory = tempfile::tempdir().unwrap();
    let deb = "amdgpu-rdna-dkms";
    for option in [&["--deb", "out"][..], &["--deb=out"]] {
        fs::create_dir(directory.path().join("out")).unwrap();
        let ended = output(script("build_patched_kernel.sh").args(option).current_dir(&directory));
        if text(&ended.stderr).contains("dpkg-deb, which makes Debian packages, does not start") {
            println!("SKIPPED: the directory of the kernel's deb: dpkg-deb is not here");
            return;
        }
        assert!(ended.status.success(), "{}", said(&ended));
        let made = fs::read_dir(directory.path().join("out")).unwrap().next().unwrap().unwrap();
        assert!(made.file_name().to_string_lossy().starts_with(deb), "{made:?}");
        fs::remove_dir_all(directory.path().join("out")).unwrap();
    }
    let ended = output(script("build_patched_kernel.sh").arg("--deb"));
    assert_eq!(ended.status.code(), Some(125), "{}", said(&ended));
}
