//! `rdnafix build rocm`: its steps, what they do again and what not, and how they fail.

mod build_common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use build_common::cli_common::patched::{Turn, patched};
use build_common::cli_common::{output, rdnafix, root, succeed, text};
use build_common::{Bench, HIP, events, wait_until};
use object::{Object, ObjectSymbol};
use serde_json::Value;

#[test]
fn the_patched_libraries_of_rocm_are_built_from_the_archives_source() {
    let Some(prefix) = patched() else { return };
    let manifest = fs::read(prefix.join("share/rdnafix/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["patched"], true);
    for (library, function) in
        [("libamdhip64", "hipHostMalloc"), ("libhsa-runtime64", "hsa_amd_memory_pool_allocate")]
    {
        let file = prefix.join(format!("lib/{library}.so"));
        let data = fs::read(&file).unwrap();
        let elf = object::File::parse(&*data).unwrap();
        assert!(elf.dynamic_symbols().any(|symbol| symbol.name() == Ok(function)), "{library}");
        let soname = fs::read_link(&file).unwrap();
        let component = manifest["components"].as_array().unwrap().iter();
        let mut component = component.filter(|one| one["library"] == *soname.to_str().unwrap());
        let component = component.next().expect("in the manifest");
        assert!(!component["patches"].as_array().unwrap().is_empty());
        assert!(component["upstream"].as_str().unwrap().contains("rocm-6.4.3"));
    }
    let verify = ["build", "verify", "--prefix", prefix.to_str().unwrap()];
    let said = text(&succeed(&mut rdnafix(verify)).stdout);
    let document = succeed(rdnafix(verify).arg("--json")).stdout;
    let document: Value = serde_json::from_slice(&document).unwrap();
    assert_eq!((&document["release"], &document["patched"]), (&"6.4.3".into(), &true.into()));
    let files = manifest["files"].as_object().unwrap().len();
    assert_eq!(document["files"], files);
    assert!(
        said.contains(&format!(" {files} files"))
            && said.contains(document["needs"].as_str().unwrap())
    );
    let glibc = said.split_once("GLIBC ").expect(&said).1.split([',', '\n']).next().unwrap();
    let document = fs::read_to_string(root().join("docs/build.md")).unwrap();
    assert!(document.contains(&format!("needs glibc {glibc} ")), "docs/build.md: glibc {glibc}");
}

#[test]
fn a_second_build_finds_everything_done() {
    if patched().is_none() {
        return;
    }
    let turn = Turn::take();
    turn.build(&[], &[]);
    let begun = Instant::now();
    let output = turn.build(&["--json"], &[]);
    let seconds = begun.elapsed().as_secs_f64();
    let events = events(&output);
    assert_eq!(events.iter().filter(|event| event.starts_with("kept ")).count(), 13, "{events:?}");
    assert_eq!(events.last().unwrap(), "installed ");
    println!("nothing to do: {seconds:.1} s");
}

/// Upstream's repositories as the archive's tarballs have them, under their own addresses.
#[test]
fn the_same_source_from_git_is_not_compiled_again() {
    if patched().is_none() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let set = git_repositories(directory.path());
    let turn = Turn::take();
    turn.build(&[], &[]);
    let events_of = |from: &str| {
        let output = turn.build(&["--json", "--from", from], &set);
        assert!(output.status.success(), "{}", text(&output.stderr));
        events(&output)
    };
    let from_git = events_of("git");
    for step in ["done fetch-clr", "done verify-rocr-runtime", "kept build-clr", "kept patch-clr"] {
        assert!(from_git.iter().any(|event| event == step), "{step} in {from_git:?}");
    }
    assert!(events_of("debian").iter().any(|event| event == "kept build-rocr-runtime"));
}

/// Makes a repository of each tarball of the root. Gives what has git find them in the place of
/// upstream's.
fn git_repositories(directory: &std::path::Path) -> Vec<String> {
    let script = "
        mkdir -p \"$0\"
        cd \"$0\"
        for tarball in /usr/src/deb/*.orig.tar.*; do
            name=$(basename \"$tarball\" | cut -d_ -f1)
            case $name in rocm-hipamd) name=clr ;; rocr-runtime) name=ROCR-Runtime ;; esac
            mkdir -p ROCm/$name
            tar -xf $tarball -C ROCm/$name --strip-components=1
            cd ROCm/$name
            git init -q .
            git -c core.autocrlf=false add -A -f
            git -c user.name=test -c user.email=test@localhost commit -qm source
            git tag rocm-6.4.3
            cd ../..
        done";
    let mut command = rdnafix(["sim", "root", "build-6.4.3", "--", "sh", "-ec", script]);
    succeed(command.arg(directory));
    instead_of_upstream(directory)
}

/// `url.BASE.insteadOf`, from the environment.
fn instead_of_upstream(directory: &std::path::Path) -> Vec<String> {
    vec![
        "GIT_CONFIG_COUNT=2".to_owned(),
        format!("GIT_CONFIG_KEY_0=url.file://{}/.insteadOf", directory.display()),
        "GIT_CONFIG_VALUE_0=https://github.com/".to_owned(),
        // Who runs the tests in a container may not own the files.
        "GIT_CONFIG_KEY_1=safe.directory".to_owned(),
        "GIT_CONFIG_VALUE_1=*".to_owned(),
    ]
}

#[test]
fn a_tag_that_was_moved_to_other_files_is_refused() {
    let Some(mut bench) = Bench::new() else { return };
    bench.set = git_repositories(&bench.path("upstream"));
    let script = "cd \"$0\"; echo // >>CMakeLists.txt; git -c user.name=test \
                  -c user.email=test@localhost commit -qam more; git tag -f rocm-6.4.3";
    let mut command = rdnafix(["sim", "root", "build-6.4.3", "--", "sh", "-ec", script]);
    succeed(command.arg(bench.path("upstream/ROCm/ROCR-Runtime")));
    let said = Bench::refused(&mut bench.command(&["--from", "git"]));
    for part in [
        "ROCR-Runtime rocm-6.4.3, which is the commit ",
        "now and was 1cd4eea",
        "CMakeLists.txt is another one",
        "--from debian",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
}

#[test]
fn a_repository_that_cannot_be_reached_is_named_with_the_way_out() {
    let Some(mut bench) = Bench::new() else { return };
    bench.set = instead_of_upstream(&bench.path("nowhere"));
    let said = Bench::refused(&mut bench.command(&["--from", "git"]));
    assert!(
        said.contains("https://github.com/ROCm/ROCR-Runtime rocm-6.4.3 cannot be cloned"),
        "{said}"
    );
    assert!(said.contains("--from debian") && said.contains("does not appear to be"), "{said}");
}

#[test]
fn a_tarball_that_is_not_the_recorded_one_is_refused() {
    let Some(bench) = Bench::new() else { return };
    bench.write("tarballs/rocr-runtime_6.4.3+dfsg.orig.tar.xz", "of somebody else");
    let tarballs = bench.path("tarballs").display().to_string();
    let said = Bench::refused(&mut bench.command(&["--from", &tarballs]));
    assert!(said.contains("its SHA-256 is") && said.contains("as recorded"), "{said}");
}

#[test]
fn a_tree_that_the_patches_do_not_fit_is_refused() {
    let Some(bench) = Bench::new() else { return };
    let mut command = bench.rdnafix(&["build", "rocm", "--prefix"]);
    command.arg(bench.prefix()).arg("--from").arg(bench.path("source"));
    let said = Bench::refused(&mut command);
    assert!(said.contains("step patch-rocr-runtime failed: rocr-runtime/6.4.3"), "{said}");
    assert!(!bench.prefix().exists());
}

#[test]
fn what_changed_is_compiled_again_and_nothing_else() {
    let Some(bench) = Bench::new() else { return };
    bench.build();
    assert_eq!(bench.compiled("rocr-runtime"), ["init.c", "pool.c"]);
    bench.write("source/rocr-runtime/init.c", "int hsa_init(void) { return 1; }\n");
    let events = bench.events();
    assert_eq!(bench.compiled("rocr-runtime"), ["init.c"]);
    for step in
        ["done build-rocr-runtime", "kept configure-rocr-runtime", "kept build-clr", "done install"]
    {
        assert!(events.iter().any(|event| event == step), "{step} in {events:?}");
    }
    // The same text at another time.
    bench.write("source/rocr-runtime/init.c", "int hsa_init(void) { return 1; }\n");
    assert!(bench.events().iter().all(|event| !event.starts_with("begin ")));
    // Elsewhere: installed, and not compiled.
    let elsewhere = bench.path("elsewhere").display().to_string();
    let mut command =
        bench.rdnafix(&["build", "rocm", "--stock", "--json", "--prefix", &elsewhere]);
    let output = succeed(command.arg("--from").arg(bench.path("source")));
    let events = build_common::events(&output);
    assert!(events.iter().any(|event| event == "kept build-clr"), "{events:?}");
    assert!(bench.path("elsewhere/lib/libamdhip64.so.6").is_file());
}

#[test]
fn another_compiler_compiles_everything_again_and_ccache_is_used_where_it_is() {
    let Some(mut bench) = Bench::new() else { return };
    bench.build();
    bench
        .put_in_path("g++", "[ \"$1\" = --version ] && exec echo g++ 99; exec /usr/bin/g++ \"$@\"");
    bench.build();
    assert_eq!(bench.compiled("rocr-runtime"), ["init.c", "pool.c"]);
    let log = fs::read_to_string(bench.work().join("log/configure-clr.log")).unwrap();
    assert!(log.contains("another toolchain than before"), "{log}");

    let used = bench.path("ccache.used").display().to_string();
    bench.put_in_path("ccache", &format!("echo \"$@\" >>'{used}'; exec \"$@\""));
    bench.build();
    let used = fs::read_to_string(used).unwrap();
    assert!(used.contains("pool.c"), "{used}");
}

#[test]
fn a_compiler_that_fails_is_shown_and_the_build_goes_on_when_it_is_mended() {
    let Some(bench) = Bench::new() else { return };
    bench.write("source/rocr-runtime/pool.c", "this is no C\n");
    let said = Bench::refused(&mut bench.command(&["--jobs", "1"]));
    for part in [
        "step build-rocr-runtime failed: ninja failed",
        "log/build-rocr-runtime.log",
        "this is no C",
        "the same command goes on from here",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    assert!(!bench.prefix().exists());
    bench.write(
        "source/rocr-runtime/pool.c",
        "int hsa_amd_memory_pool_allocate(void) { return 0; }\n",
    );
    bench.build();
    assert_eq!(bench.compiled("rocr-runtime"), ["pool.c"]);
}

#[test]
fn an_interrupted_build_leaves_no_process_and_the_next_one_goes_on() {
    for (signal, code) in [("INT", Some(130)), ("TERM", Some(143)), ("KILL", None)] {
        let Some(bench) = Bench::new() else { return };
        bench.make_it_wait();
        let child = bench.start_until(&bench.path("waits"));
        // To the build alone, as a service manager does it.
        let pid = child.id().to_string();
        succeed(Command::new("kill").args(["-s", signal, &pid]));
        let ended = child.wait_with_output().unwrap();
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), code, "{said}");
        if code.is_some() {
            assert!(said.contains("goes on from here"), "{said}");
        }
        wait_until("its processes are gone", || bench.processes().is_empty());

        bench.write("go", "");
        let events = bench.events();
        for step in
            ["kept build-rocr-runtime", "kept configure-clr", "done build-clr", "installed "]
        {
            assert!(events.iter().any(|event| event == step), "{signal}: {step} in {events:?}");
        }
    }
}

#[test]
fn a_build_that_is_killed_at_any_point_comes_to_the_same_in_the_end() {
    let Some(bench) = Bench::new() else { return };
    let libraries = || {
        ["libamdhip64.so.6", "libhsa-runtime64.so.1"]
            .map(|name| fs::read(bench.prefix().join("lib").join(name)).unwrap())
    };
    let begun = Instant::now();
    bench.build();
    let (whole, steps) = (begun.elapsed(), 12);
    let undisturbed = libraries();
    let prefix = bench.prefix().display().to_string();
    succeed(&mut rdnafix(["build", "uninstall", "--prefix", &prefix]));
    succeed(&mut bench.rdnafix(&["build", "clean"]));
    for step in 0..steps {
        // Another source each time, so that there is always something to do.
        bench.write("source/clr/hip.c", &format!("{HIP}/* {step} */\n"));
        let mut child =
            bench.command(&[]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole * step / steps);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    wait_until("its processes are gone", || bench.processes().is_empty());
    bench.write("source/clr/hip.c", HIP);
    bench.build();
    assert!(libraries() == undisturbed);
    assert_eq!(fs::read_dir(bench.path("opt")).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_second_builder_is_turned_away_and_disturbs_nothing() {
    let Some(bench) = Bench::new() else { return };
    bench.make_it_wait();
    let first = bench.start_until(&bench.path("waits"));
    let said = Bench::refused(&mut bench.command(&[]));
    assert!(said.contains("another build works in"), "{said}");
    let said = Bench::refused(&mut bench.rdnafix(&["build", "clean"]));
    assert!(said.contains("another build works in"), "{said}");
    bench.write("go", "");
    let first = first.wait_with_output().unwrap();
    assert!(first.status.success(), "{}", text(&first.stderr));
}

#[test]
fn what_is_kept_is_listed_and_freed() {
    let Some(bench) = Bench::new() else { return };
    bench.build();
    let list = text(&succeed(&mut bench.rdnafix(&["build", "list"])).stdout);
    assert!(list.contains("releases: 6.4.3") && list.contains("rocm-6.4.3-stock"), "{list}");
    let list = succeed(&mut bench.rdnafix(&["build", "list", "--json"])).stdout;
    let list: Value = serde_json::from_slice(&list).unwrap();
    assert!(list["kept"][0]["bytes"].as_u64().unwrap() > 0);
    succeed(&mut bench.rdnafix(&["build", "clean", "--release", "6.4.3"]));
    assert!(!bench.work().exists() && bench.prefix().join("bin/env.sh").exists());
}

/// On a machine that can build it, there is nothing to say.
#[test]
fn a_machine_that_lacks_the_compiler_is_told_before_anything_is_made() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = rdnafix(["build", "rocm", "--from", "debian", "--prefix"]);
    command.arg(cache.path().join("prefix")).env("XDG_CACHE_HOME", cache.path());
    // None of the programs are found, whatever this machine has.
    let refused = output(command.env("PATH", cache.path()));
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(125), "{said}");
    for part in [
        "clang-21 is missing",
        "cmake is missing",
        "rdnafix sim root build-6.4.3 -- rdnafix build rocm",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    assert!(fs::read_dir(cache.path()).unwrap().next().is_none(), "nothing was made");
    let mut packages = rdnafix(["build", "check", "--packages"]);
    let packages = text(&succeed(packages.env("PATH", cache.path())).stdout);
    assert!(packages.lines().any(|line| line == "clang-21"), "{packages}");
    // To be copied whole: a path as long as any. All else fits a terminal.
    for line in said.lines().filter(|line| !line.trim_start().starts_with('$')) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let mut check = rdnafix(["build", "check", "--json"]);
    let lacking = output(check.env("PATH", cache.path()).env("XDG_CACHE_HOME", cache.path()));
    assert_eq!(lacking.status.code(), Some(125), "as without --json");
    let document: Value = serde_json::from_slice(&lacking.stdout).unwrap();
    assert_eq!((&document["possible"], &document["jobs"]), (&Value::Bool(false), &Value::Null));
    let list = document["packages"].as_array().unwrap();
    assert_eq!(
        list.iter().map(|one| one.as_str().unwrap()).collect::<Vec<_>>(),
        [
            packages.lines().collect::<Vec<_>>(),
            // Needed for the source as it is named here, but not for every build.
            if document["lacks"].to_string().contains("git is missing") {
                vec!["git"]
            } else {
                vec![]
            }
        ]
        .concat()
    );
    let Some(bench) = Bench::new() else { return };
    let said = text(&succeed(&mut bench.rdnafix(&["build", "check"])).stdout);
    assert!(said.contains("can be built here") && said.contains("clang-21: "), "{said}");
    let document = succeed(&mut bench.rdnafix(&["build", "check", "--json"])).stdout;
    let document: Value = serde_json::from_slice(&document).unwrap();
    assert_eq!((&document["possible"], &document["release"]), (&true.into(), &"6.4.3".into()));
    assert!(document["jobs"].as_u64().unwrap() > 0 && document["lacks"] == serde_json::json!([]));
    assert!(
        document["tools"]
            .as_array()
            .unwrap()
            .iter()
            .any(|tool| { tool.as_str().unwrap().starts_with("clang-21: ") })
    );
    assert!(!bench.path("cache").exists());
}
