//! `rdnafix run` of programs that no preloaded library reaches: they are warned of and still run.

mod cli_common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cli_common::{compile, output, rdnafix, release, text};

const SAYS: &str = "#include <cstdio>\nint main() { std::puts(\"ran\"); }\n";

/// What is said about a program that must run.
fn said(program: &Path) -> String {
    let output = output(rdnafix(["run", "--"]).arg(program));
    assert!(output.status.success() && output.stdout.starts_with(b"ran\n"), "{output:?}");
    text(&output.stderr)
}

#[test]
fn a_static_program_is_warned_of_and_still_run() {
    let program = compile("static", SAYS, &["-static"], &[]);
    let said = said(&program);
    assert!(said.contains("warning") && said.contains("it is statically linked"), "{said}");
}

fn script(directory: &Path, text: &str) -> PathBuf {
    let script = directory.join("script");
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[test]
fn so_is_a_script_by_its_interpreter() {
    let program = compile("static", SAYS, &["-static"], &[]);
    let dir = tempfile::tempdir().unwrap();
    let script = script(dir.path(), &format!("#!{}\n", program.display()));
    let said_of_it = said(&script);
    let reason = format!("its interpreter '{}' is statically linked", program.display());
    assert!(said_of_it.contains("warning") && said_of_it.contains(&reason), "{said_of_it}");
    fs::write(&script, "#!/usr/bin/env sh\necho ran\n").unwrap();
    assert_eq!(said(&script), "");
    // The kernel takes no notice of it on a script.
    fs::set_permissions(&script, fs::Permissions::from_mode(0o4755)).unwrap();
    assert_eq!(said(&script), "");
}

/// Says whether the library is there.
const LOOKS: &str = r#"
#include <cstdio>
#include <cstring>
int main() {
    std::FILE *maps = std::fopen("/proc/self/maps", "r");
    char line[4096];
    bool found = false;
    while (maps && std::fgets(line, sizeof line, maps)) found |= std::strstr(line, "librdnafix.so") != nullptr;
    std::puts(found ? "there" : "not there");
}
"#;

/// Runs a program as nobody, with copies of what the repository may hide from them.
fn as_nobody(directory: &Path, program: &Path) -> (String, String) {
    const NOBODY: u32 = 65534;
    let [command, library] = ["rdnafix", "librdnafix.so"].map(|name| {
        let copy = directory.join(name);
        fs::copy(release(name), &copy).unwrap();
        copy
    });
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&library, fs::Permissions::from_mode(0o755)).unwrap();
    let mut run = cli_common::clean(command);
    let run = output(run.args(["run", "--"]).arg(program).uid(NOBODY).gid(NOBODY));
    (text(&run.stdout), text(&run.stderr))
}

#[test]
fn a_program_that_the_loader_guards_is_warned_of_where_it_is_guarded() {
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        println!("SKIPPED: programs with more rights than who runs them: this is not root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    fs::copy(compile("looks", LOOKS, &[], &[]), &program).unwrap();
    let script = script(dir.path(), &format!("#!{}\n", program.display()));
    let both = |reason: &str| {
        for file in [&program, &script] {
            let (out, err) = as_nobody(dir.path(), file);
            assert_eq!((out == "not there\n", err.contains(reason)), (true, true), "{out}{err}");
        }
    };
    assert_eq!(as_nobody(dir.path(), &program), ("there\n".into(), String::new()));

    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    both("is set-user-ID");
    // Root gets no other rights by it.
    let run = output(rdnafix(["run", "--"]).arg(&program));
    assert_eq!((text(&run.stdout), text(&run.stderr)), ("there\n".into(), String::new()));

    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let given = Command::new("setcap").arg("cap_net_bind_service=ep").arg(&program).output();
    if !given.is_ok_and(|given| given.status.success()) {
        println!("SKIPPED: file capabilities: `setcap` is not here, or not allowed");
        return;
    }
    both("has file capabilities");
    let run = output(rdnafix(["run", "--"]).arg(&program));
    assert_eq!((text(&run.stdout), text(&run.stderr)), ("there\n".into(), String::new()));
}
