//! KFDSIM_STRICT=1: what a process leaves at its exit is told, and what the program left makes
//! it fail; nothing else about its end changes.

mod sim_common;

use std::path::Path;

use sim_common::{Ran, compile, kfdsim, run};

const STRICT: (&str, &str) = ("KFDSIM_STRICT", "1");

fn strict(mode: &str) -> Ran {
    run(compile("sim_strict.cpp"), &[mode], &[STRICT])
}

/// The report without addresses, which differ from run to run.
fn report(ran: &Ran) -> Vec<String> {
    let mut lines: Vec<String> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("kfdsim:"))
        .map(|line| {
            let words =
                line.split(' ').map(|word| if word.starts_with("0x") { "at" } else { word });
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn a_program_that_frees_everything_succeeds_whatever_the_runtime_leaves() {
    let ran = strict("clean");
    ran.expect_ok_line("clean OK");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!ran.stderr.contains("never freed"), "{}", ran.stderr);
}

#[test]
fn memory_that_was_never_freed_is_told_with_size_flags_and_caller_and_fails_the_process() {
    let ran = strict("leak");
    ran.expect_ok_line("leak OK"); // what the program wrote last is not lost
    assert_eq!(ran.code, Some(86), "{}", ran.stderr);
    let report = report(&ran);
    let leaks: Vec<&String> = report.iter().filter(|line| line.contains("MiB")).collect();
    assert!(report.contains(&"kfdsim: 2: never freed".to_owned()), "{report:#?}");
    let told =
        |parts: &[&str]| leaks.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(told(&["4 MiB", "VRAM", "mapped on gfx1030#0", "by hipMalloc"]), "{leaks:#?}");
    assert!(told(&["2 MiB", "USERPTR COHERENT", "by hipHostMalloc"]), "{leaks:#?}");
}

#[test]
fn an_exit_code_a_signal_and_an_exit_without_handlers_stay_what_they_are() {
    let fails = strict("fails");
    assert_eq!(fails.code, Some(3));
    assert!(fails.stderr.contains("never freed"), "{}", fails.stderr);
    for (mode, code) in [("crashes", None), ("exits", Some(0))] {
        let ran = strict(mode);
        assert_eq!(ran.code, code, "{mode}: {}", ran.stderr);
        assert!(!ran.stderr.contains("never freed"), "{mode}: {}", ran.stderr);
    }
}

#[test]
fn without_the_setting_nothing_is_told() {
    for value in ["0", ""] {
        let ran = run(compile("sim_strict.cpp"), &["leak"], &[("KFDSIM_STRICT", value)]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_program_that_makes_its_ioctls_itself_is_told_of_its_buffers_and_events_are_no_leak() {
    let ran = run(compile("sim_strict_ioctls.c"), &["leak"], &[STRICT]);
    assert_eq!(ran.code, Some(86), "{}", ran.stderr);
    let report = report(&ran);
    assert!(report.contains(&"kfdsim: 1: never freed".to_owned()), "{report:#?}");
    assert!(
        report.iter().any(|line| line.contains("12 KiB") && line.contains("GTT")),
        "{report:#?}"
    );
    let ran = run(compile("sim_strict_ioctls.c"), &["clean"], &[STRICT]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let ran = run(compile("sim_strict_ioctls.c"), &["child"], &[STRICT]);
    assert_eq!(ran.code, Some(0), "what the parent has is not the child's: {}", ran.stderr);
}

#[test]
fn a_packet_that_touches_freed_memory_is_told_and_fails_the_process() {
    let ran = run(compile("sim_faults.c"), &["not-mapped"], &[STRICT]);
    assert_eq!(ran.code, Some(86), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("kfdsim: 1: not allowed"), "{}", ran.stderr);
    assert!(ran.stderr.contains("VM fault"), "{}", ran.stderr);
}

#[test]
fn the_interposer_leaves_nothing_that_stock_does_not() {
    let interposer = kfdsim().with_file_name("librdnafix.so");
    assert!(Path::new(&interposer).exists(), "run `cargo build --release --workspace` first");
    let preload = format!("{}:{}", interposer.display(), kfdsim().display());
    for mode in ["clean", "leak"] {
        let program = compile("sim_strict.cpp");
        let stock = run(&program, &[mode], &[STRICT]);
        let own = run(&program, &[mode], &[STRICT, ("LD_PRELOAD", &preload)]);
        assert_eq!(own.code, stock.code, "{}", own.stderr);
        let without_flags = |ran: &Ran| -> Vec<String> {
            // What is allocated differs in COHERENT, which is what the interposer is for.
            report(ran).into_iter().map(|line| line.replace("COHERENT ", "")).collect()
        };
        assert_eq!(without_flags(&own), without_flags(&stock));
    }
}
