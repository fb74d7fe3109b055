//! `rdnafix sim root`: trees of other ROCm releases, and programs that run in them.

mod cli_common;

use std::path::Path;
use std::process::Command;

use cli_common::release::{RELEASES, release};
use cli_common::{output, rdnafix, stdout, text};

fn code_and_stderr(command: &mut Command) -> (Option<i32>, String) {
    let output = output(command);
    (output.status.code(), text(&output.stderr))
}

#[test]
fn the_list_has_every_release() {
    let list = stdout(&mut rdnafix(["sim", "root"]));
    for name in RELEASES {
        assert!(list.lines().any(|line| line.starts_with(name)), "{name} in\n{list}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&mut rdnafix(["sim", "root", "--json"]))).unwrap();
    assert!(json.as_array().unwrap().iter().any(|root| root["name"] == "6.4.3"));
}

/// One release is enough: what is entered does not differ.
#[test]
fn a_program_runs_with_the_roots_libraries_and_this_machines_other_files() {
    let Some(release) = release("6.4.3") else { return };
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("in"), "of this machine").unwrap();
    let mut command = rdnafix(["sim", "root", "6.4.3", "--", "sh", "-c"]);
    command.arg(
        "cat in; cp in out; pwd; id -u; readlink -f /usr/lib/x86_64-linux-gnu/libamdhip64.so.6",
    );
    let said = stdout(command.current_dir(directory.path()));
    let here = directory.path().display();
    let user = text(&output(Command::new("id").arg("-u")).stdout);
    assert!(said.starts_with(&format!("of this machine{here}\n{user}")), "{said}");
    assert!(said.contains("libamdhip64.so.6.4"), "{said}");
    assert!(directory.path().join("out").exists());
    assert!(release.file("packages").exists());
}

/// Roots have no documentation of packages.
#[test]
fn a_working_directory_that_the_root_does_not_have_is_named() {
    if release("6.4.3").is_none() {
        return;
    }
    let packages = std::fs::read_dir("/usr/share/doc").into_iter().flatten().flatten();
    let Some(package) = packages.map(|entry| entry.path()).find(|path| path.is_dir()) else {
        println!("SKIPPED: a directory that a root lacks: this machine has no /usr/share/doc");
        return;
    };
    let mut command = rdnafix(["sim", "root", "6.4.3", "--", "pwd"]);
    let output = output(command.current_dir(&package));
    assert_eq!(text(&output.stdout), "/\n");
    let said = text(&output.stderr);
    assert!(said.contains(&format!("{} is not there", package.display())), "{said}");
}

#[test]
fn nothing_that_runs_in_a_root_changes_it() {
    let Some(release) = release("6.4.3") else { return };
    let (code, said) =
        code_and_stderr(&mut rdnafix(["sim", "root", "6.4.3", "--", "touch", "/etc/new"]));
    assert!(code == Some(1) && said.contains("Read-only"), "{code:?} {said}");
    assert!(!release.file("etc/new").exists());
}

#[test]
fn the_exit_code_is_that_of_the_program() {
    if release("6.4.3").is_none() {
        return;
    }
    let code = |program: &[&str]| {
        let arguments = ["sim", "root", "6.4.3", "--"].iter().chain(program);
        code_and_stderr(&mut rdnafix(arguments)).0
    };
    assert_eq!(code(&["sh", "-c", "exit 7"]), Some(7));
    assert_eq!(code(&["no-such-program"]), Some(127));
    assert_eq!(code(&["/usr/lib/os-release"]), Some(126));
}

#[test]
fn a_simulated_gpu_is_seen_by_the_rocm_of_a_root() {
    for name in RELEASES {
        let Some(release) = release(name) else { continue };
        let mut command = rdnafix(["sim", "--root", name, "--gpu", "gfx1031", "--", "rocminfo"]);
        let said = text(&cli_common::succeed(&mut command).stdout);
        assert!(said.contains("gfx1031"), "{name}: {said}");
        // Compiled for this release, so that no other one can serve it.
        let libraries = ["-std=c++17", "-lamdhip64", "-lhsa-runtime64", "-ldl"];
        let probe = release.compile("examples/alloc_probe.cpp", "alloc_probe", &libraries);
        let mut command = rdnafix(["compare", "--root", name, "--gpu", "gfx1012"]);
        let said = stdout(command.arg("--").arg(probe));
        let row = said.lines().find(|line| line.contains("hipMallocManaged ")).expect(&said);
        assert!(row.contains("UC") && row.contains("NC"), "{name}: {row}");
    }
}

#[test]
fn a_name_that_is_none_is_told_which_there_are() {
    let (code, said) = code_and_stderr(&mut rdnafix(["sim", "root", "4.5"]));
    assert!(code == Some(125) && said.contains("7.2.4"), "{said}");
}

/// An empty cache, a mirror that nobody answers for, or no mmdebstrap.
#[test]
fn a_root_that_cannot_be_had_is_unavailable_and_leaves_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let unavailable = |name: &str, value: &str| {
        let mut command = rdnafix(["sim", "root", "5.2.3"]);
        command.env("XDG_CACHE_HOME", cache.path()).env(name, value);
        let (code, said) = code_and_stderr(&mut command);
        assert_eq!(code, Some(69), "{said}");
        let roots = std::fs::read_dir(cache.path().join("rdnafix/roots")).unwrap();
        assert!(roots.filter_map(Result::ok).all(|entry| !entry.path().is_dir()));
        said
    };
    let said = unavailable("PATH", "/nonexistent");
    assert!(said.contains("apt-get install mmdebstrap"), "{said}");
    if Path::new("/usr/bin/mmdebstrap").exists() {
        let said = unavailable("RDNAFIX_MIRROR", "http://127.0.0.1:9/debian");
        assert!(said.contains("out of reach") && said.contains("127.0.0.1"), "{said}");
    } else {
        println!("SKIPPED: a mirror that does not answer: mmdebstrap is not installed");
    }
}

#[test]
fn removing_a_root_removes_its_older_versions_and_no_other_root() {
    let cache = tempfile::tempdir().unwrap();
    let roots = cache.path().join("rdnafix/roots");
    let (old, other) =
        (roots.join("5.2.3-0123456789abcdef"), roots.join("5.2.3-b-0123456789abcdef"));
    for directory in [&old, &other] {
        std::fs::create_dir_all(directory).unwrap();
    }
    let mut command = rdnafix(["sim", "root", "5.2.3", "--remove"]);
    let said = stdout(command.env("XDG_CACHE_HOME", cache.path()));
    assert_eq!(said, format!("removed {}\n", old.display()));
    assert!(!old.exists() && other.exists());
}

/// A root is a copy of a machine, with links from one of its directories to another.
#[test]
fn doctor_finds_the_runtimes_of_every_release_in_its_root() {
    for name in RELEASES {
        let Some(release) = release(name) else { continue };
        let mut command = rdnafix(["doctor", "--json", "--root"]);
        let output = output(command.arg(release.file("/")));
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let libraries = document["machine"]["libraries"].as_array().unwrap();
        let runtime = |start: &str| {
            let of = |library: &&serde_json::Value| {
                library["soname"].as_str().is_some_and(|name| name.starts_with(start))
            };
            libraries.iter().find(of).unwrap_or_else(|| panic!("{name}: no {start}"))
        };
        let number = runtime("libamdhip64.so.")["release"]["value"].as_str().unwrap();
        assert!(name.starts_with(number), "{name}: {number}");
        runtime("libhsa-runtime64.so.1");
    }
}
