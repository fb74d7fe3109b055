//! `rdnafix bench`: what is told of bandwidths, and that nothing is told where nothing was measured.
//! HIP is a stand-in that computes on the CPU, or the real one on the simulated GPU.

mod cli_common;
mod probe_common;

use cli_common::{output, rdnafix, release, succeed, text};
use probe_common::{INCOMPLETE, cell, cells, fixture, on, report, stand_in};

#[test]
fn every_memory_is_measured_in_every_pattern_and_drawn() {
    let hip = stand_in(true);
    let directory = tempfile::tempdir().unwrap();
    let svg = directory.path().join("bench.svg");
    let (report, code) = report(&mut on(hip.path(), "bench", &["--svg", svg.to_str().unwrap()]));
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(cells(&report).count(), 6 * 3 * 2);
    for cell in cells(&report) {
        // The clock of the stand-in gives 25 ms for each launch.
        let bytes = match cell["name"].as_str().unwrap() {
            "streaming" | "reread" => 256 << 20,
            "random" => 64 * 65536 * 4,
            other => panic!("{other}"),
        };
        let expected = f64::from(bytes) / 25e-3 / 1e9;
        let measured = cell["gb_per_s"].as_f64().expect("a bandwidth");
        assert!((measured / expected - 1.0).abs() < 1e-3, "{cell}");
        assert_eq!(cell["runs"].as_array().unwrap().len(), 5);
    }
    let drawn = std::fs::read_to_string(&svg).unwrap();
    assert_eq!(drawn.matches("10.7</text>").count(), 6 * 2 * 2);
    assert!(!drawn.contains("SYNTHETIC"));
}

#[test]
fn what_is_timed_is_warmed_up_and_long_enough_for_the_clock() {
    let hip = stand_in(true);
    let file = hip.path().join("times");
    let mut command = on(hip.path(), "bench", &[]);
    command.env("STAND_IN_MS", "1.5").env("STAND_IN_TIMES", &file);
    // Looking a kernel up between two events is refused by the stand-in.
    let (report, code) = report(&mut command);
    assert_eq!(code, Some(0), "{report}");
    let measured = cell(&report, "vram", "stock", "reread")["gb_per_s"].as_f64().unwrap();
    let expected = f64::from(256 << 20) / 1.5e-3 / 1e9;
    assert!((measured / expected - 1.0).abs() < 1e-3, "{measured}");

    // Of each process and pattern: milliseconds between two events, and when the first was.
    let mut timed = std::collections::BTreeMap::<(String, String), Vec<[f64; 2]>>::new();
    for line in std::fs::read_to_string(&file).unwrap().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let of = (words[0].to_owned(), words[1].to_owned());
        let number = |at: usize| words[at].parse().unwrap();
        timed.entry(of).or_default().push([number(2), number(3)]);
    }
    assert_eq!(timed.len(), 6 * 3 * 2);
    for (of, all) in timed {
        let (warm_up, runs) = all.split_at(all.len() - 5);
        assert!(runs.iter().all(|run| run[0] >= 20.0), "{of:?}: {runs:?}");
        let warmed_up = runs[0][1] - all[0][1];
        assert!(!warm_up.is_empty() && warmed_up >= 195.0, "{of:?}: {warmed_up} ms");
    }
}

#[test]
fn a_kernel_that_reads_other_data_gives_no_bandwidth() {
    let hip = stand_in(true);
    let mut command = on(hip.path(), "bench", &[]);
    let (report, code) = report(command.env("STAND_IN", "streaming lose 0x80000000"));
    assert_eq!(code, INCOMPLETE);
    let lost = cell(&report, "non-coherent", "stock", "streaming");
    assert_eq!(lost["outcome"], "failed");
    assert!(lost["why"].as_str().unwrap().contains("no bandwidth is given"), "{lost}");
    assert_eq!(lost["gb_per_s"], serde_json::Value::Null);
    assert_eq!(cell(&report, "coherent", "stock", "streaming")["outcome"], "bandwidth");
}

#[test]
fn the_simulated_gpu_is_refused() {
    let mut command = rdnafix(["bench"]);
    command.env("LD_PRELOAD", release("libkfdsim.so")).env("KFDSIM_GPUS", "gfx1030");
    let output = output(&mut command);
    assert_eq!(output.status.code(), INCOMPLETE);
    let shown = text(&output.stdout);
    assert!(shown.contains("kernels are not executed on the simulated GPU"), "{shown}");
    assert!(!shown.contains("GB/s"), "{shown}");
}

#[test]
fn a_report_is_drawn_again_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    // One with every outcome, and one with long texts, figures of 0 and very small ones.
    for name in ["bench-every-outcome", "bench-small"] {
        let svg = directory.path().join("again.svg");
        let mut command = rdnafix(["bench"]);
        command.arg("--replay").arg(fixture(&format!("{name}.json"))).arg("--svg").arg(&svg);
        succeed(&mut command);
        let drawn = std::fs::read_to_string(&svg).unwrap();
        assert!(drawn.contains("SYNTHETIC: made for a test, not measured"), "{drawn}");
        assert!(drawn.contains("no result</text>"), "{drawn}");
        assert_eq!(drawn, std::fs::read_to_string(fixture(&format!("{name}.svg"))).unwrap());
    }
}

#[test]
fn every_fixture_is_shown_as_its_text() {
    probe_common::every_fixture_is_shown_as_its_text("bench");
}
