//! `rdnafix build`: what is installed and removed, and what stands in the way.

mod build_common;

use std::fs;
use std::path::Path;
use std::process::Command;

use build_common::cli_common::{output, rdnafix, succeed, text};
use build_common::{Bench, with_mounts};

#[test]
fn an_overlay_has_the_names_that_programs_look_for_and_says_what_is_in_it() {
    let Some(bench) = Bench::new() else { return };
    bench.build();
    let prefix = bench.prefix();
    for (link, target) in
        [("libamdhip64.so", "libamdhip64.so.6"), ("libhsa-runtime64.so", "libhsa-runtime64.so.1")]
    {
        assert_eq!(fs::read_link(prefix.join("lib").join(link)).unwrap(), Path::new(target));
    }
    let script = ". \"$0/bin/env.sh\"; printf %s \"$LD_LIBRARY_PATH\"";
    let said = succeed(
        Command::new("sh").args(["-euc", script]).arg(&prefix).env("LD_LIBRARY_PATH", "/x"),
    );
    assert_eq!(text(&said.stdout), format!("{}/lib:/x", prefix.display()));
    let manifest = fs::read(prefix.join("share/rdnafix/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["release"], "6.4.3");
    assert_eq!(manifest["patched"], false);
    assert!(manifest["components"][0]["upstream"].is_null(), "a tree of the user's");
    assert!(manifest["tools"].to_string().contains("clang-21: "));
    assert_eq!(manifest["files"]["lib/libamdhip64.so"], "-> libamdhip64.so.6");
}

#[test]
fn uninstall_removes_what_was_installed_and_the_next_build_installs_it_again() {
    let Some(bench) = Bench::new() else { return };
    bench.build();
    let prefix = bench.prefix().display().to_string();
    let uninstall = ["build", "uninstall", "--prefix", &prefix];
    fs::write(bench.prefix().join("lib/mine.so"), "").unwrap();
    let said = Bench::refused(&mut rdnafix(uninstall));
    assert!(said.contains("added: ") && said.contains("lib/mine.so"), "{said}");
    let said = Bench::refused(&mut bench.command(&[]));
    assert!(said.contains("lib/mine.so"), "neither is it built over: {said}");
    fs::remove_file(bench.prefix().join("lib/mine.so")).unwrap();
    succeed(&mut rdnafix(uninstall));
    assert!(!bench.prefix().exists());
    assert!(fs::read_dir(bench.path("opt")).unwrap().next().is_none());
    let events = bench.events();
    assert!(
        events.contains(&"kept build-clr".to_owned())
            && events.contains(&"done install".to_owned())
    );
    assert!(bench.prefix().join("bin/env.sh").exists());
}

#[test]
fn a_prefix_that_is_not_ours_or_the_systems_is_refused_before_anything_is_made() {
    let Some(bench) = Bench::new() else { return };
    bench.write("opt/rocm/bin/hipcc", "");
    let said = Bench::refused(&mut bench.command(&[]));
    assert!(said.contains("rdnafix did not make it"), "{said}");
    for prefix in ["/usr", "/opt/rocm", "/"] {
        let said = Bench::refused(&mut bench.rdnafix(&["build", "rocm", "--prefix", prefix]));
        assert!(said.contains(&format!("--prefix '{prefix}'")), "{said}");
    }
    // Of a root nothing is changed, and this is said before hours of work.
    fs::remove_dir_all(bench.path("opt")).unwrap();
    let said = Bench::refused(&mut bench.command(&["--set-default"]));
    assert!(said.contains("/opt/rocm"), "{said}");
    assert!(!bench.path("cache").exists());
}

#[test]
fn a_disk_that_is_too_small_is_named_before_anything_is_made() {
    let Some(bench) = Bench::new() else { return };
    fs::create_dir(bench.path("cache")).unwrap();
    let mount = format!("mount -t tmpfs -o size=1m t '{}'", bench.path("cache").display());
    let Some(output) = with_mounts("a small disk", &mount, &bench.command(&[])) else { return };
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("has 0.00 GB free of the") && said.contains("XDG_CACHE_HOME"), "{said}");
}

#[test]
fn a_disk_that_fills_up_loses_nothing() {
    let Some(bench) = Bench::new() else { return };
    bench.build();
    let before = fs::read(bench.prefix().join("share/rdnafix/manifest.json")).unwrap();
    // The disk of the overlay is full when it is installed: a step of the build fills it.
    let fill = bench.path("opt/fill").display().to_string();
    let lists = fs::read_to_string(bench.path("source/clr/CMakeLists.txt")).unwrap();
    bench.write(
        "source/clr/CMakeLists.txt",
        &format!("{lists}\nadd_custom_target(fill ALL COMMAND cat /dev/zero >'{fill}' || true)\nadd_dependencies(amdhip64 fill)\n"),
    );
    let script = format!(
        "cp -a '{0}' '{0}.old'; mount -t tmpfs -o size=60m t '{0}'; cp -a '{0}.old/.' '{0}'\n\
         code=0; \"$0\" \"$@\" || code=$?; rm -f '{fill}'\n\
         ls -A '{0}' >&2; cat '{0}/rocm/share/rdnafix/manifest.json'; exit $code",
        bench.path("opt").display()
    );
    let Some(output) = with_mounts("a full disk", &script, &bench.command(&[])) else { return };
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(
        said.contains("step install failed") && said.contains("No space left on device"),
        "{said}"
    );
    assert!(output.stdout.ends_with(&before), "the old overlay is there");
    assert!(said.ends_with("\nrocm\n"), "and nothing beside it: {said}");
}

#[test]
fn a_disk_that_fills_up_while_compiling_is_said_with_what_to_do() {
    let Some(bench) = Bench::new() else { return };
    let lists = fs::read_to_string(bench.path("source/clr/CMakeLists.txt")).unwrap();
    bench.write(
        "source/clr/CMakeLists.txt",
        &format!("{lists}\nadd_custom_target(fill ALL COMMAND cp /dev/zero fill)\nadd_dependencies(amdhip64 fill)\n"),
    );
    fs::create_dir(bench.path("cache")).unwrap();
    let mount = format!("mount -t tmpfs -o size=320m t '{}'", bench.path("cache").display());
    let Some(output) = with_mounts("a full disk", &mount, &bench.command(&[])) else { return };
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("the disk is full: free some of it"), "{said}");
}

#[test]
fn a_prefix_that_cannot_be_written_is_refused_before_anything_is_made() {
    let Some(bench) = Bench::new() else { return };
    fs::create_dir(bench.path("opt")).unwrap();
    let mount = format!("mount -t tmpfs -o ro t '{}'", bench.path("opt").display());
    let Some(output) = with_mounts("a read-only disk", &mount, &bench.command(&[])) else { return };
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("cannot write to") && said.contains("Read-only file system"), "{said}");
    assert!(!bench.path("cache").exists());
}

/// In mounts of its own, which hide what this machine has there.
#[test]
fn the_default_link_is_set_only_when_asked_for_and_taken_back_by_uninstall() {
    if output(Command::new("sh").args(["-c", "command -v update-alternatives"])).stdout.is_empty() {
        println!("SKIPPED: the link /opt/rocm: there is no update-alternatives here");
        return;
    }
    let Some(bench) = Bench::new() else { return };
    bench.build();
    let hidden = "for hidden in /opt /etc/alternatives /var/lib/dpkg/alternatives; do \
                  mkdir -p $hidden; mount -t tmpfs t $hidden; done; unset XDG_CACHE_HOME";
    let prefix = bench.prefix().display().to_string();
    let run = |script: &str| {
        let command = &rdnafix(["build", "set-default", "--prefix", &prefix]);
        with_mounts("the link /opt/rocm", &format!("{hidden}\n{script}"), command)
    };
    let there_and_back = format!(
        "\"$0\" \"$@\" >&2; readlink -f /opt/rocm; \"$0\" build uninstall --prefix '{prefix}' >&2\n\
         [ ! -e '{prefix}' ]; [ ! -L /opt/rocm ]; echo gone; exit"
    );
    let Some(said) = run("mkdir /opt/rocm") else { return };
    assert!(text(&said.stderr).contains("/opt/rocm is not a link"), "{said:?}");
    let said = run("ln -s /opt/rocm-6.4.3 /opt/rocm").unwrap();
    assert!(text(&said.stderr).contains("update-alternatives does not manage"), "{said:?}");
    let said = run("mkdir -p /opt/rocm-6.4.3/bin; update-alternatives --quiet --install /opt/rocm rocm \
                    /opt/rocm-6.4.3 60403; \"$0\" \"$@\"; update-alternatives --quiet --auto rocm; readlink -f /opt/rocm; exit")
        .unwrap();
    assert!(text(&said.stderr).contains("/opt/rocm was /opt/rocm-6.4.3"), "{said:?}");
    assert!(text(&said.stdout).ends_with("/opt/rocm-6.4.3\n"), "{said:?}");
    let said = run(&there_and_back).unwrap();
    assert!(said.status.success(), "{said:?}");
    assert_eq!(text(&said.stdout), format!("{prefix}\ngone\n"));
}
