//! What librdnafix.so adds to the start of a process that uses no GPU: /bin/true with it
//! preloaded, against /bin/true with an empty library preloaded.
//!
//! The two take turns, thousands of times, so that what else the machine does falls on both;
//! criterion, which measures one after the other, is not used for that reason.

#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod common;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const PROGRAM: &str = "/bin/true";

fn main() {
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let rounds: usize = std::env::var("RDNAFIX_BENCH_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3000);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let empty = common::library(dir.path(), "empty.c", "libempty.so");
    let rdnafix = common::artifact::artifact("librdnafix.so");
    let (mut without, mut with) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    for _ in 0..rounds {
        without.push(start(&empty));
        with.push(start(&rdnafix));
    }
    let (without, with) = (median(&mut without), median(&mut with));
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    println!("{PROGRAM}, median of {rounds} starts");
    println!("{:30} {:9.1} us", "empty library preloaded", micros(without));
    println!("{:30} {:9.1} us", "librdnafix.so preloaded", micros(with));
    println!("{:30} {:9.3}", "ratio", with.as_secs_f64() / without.as_secs_f64());
}

fn start(preload: &Path) -> Duration {
    let begun = Instant::now();
    let status = Command::new(PROGRAM).env_clear().env("LD_PRELOAD", preload).status();
    let taken = begun.elapsed();
    assert!(status.is_ok_and(|status| status.success()), "{PROGRAM} failed");
    taken
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
