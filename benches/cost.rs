//! What else librdnafix.so costs, as the table of docs/performance.md: instructions per call
//! (callgrind), nanoseconds per call with many threads, memory added to a process that uses no
//! GPU, and the size of the file.

#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod common;

use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Instant;

use common::artifact::artifact;
use common::library;
use common::variants::{VARIANTS, Variant, functions};

const THREADS: [usize; 3] = [1, 8, 64];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    if let Some(variant) = Variant::of_this_process() {
        let numbers: Vec<usize> =
            arguments[1..].iter().filter_map(|argument| argument.parse().ok()).collect();
        println!("{:.2}", calls(variant, numbers[0], numbers[1]));
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    println!("| hipHostMalloc | instructions | ns, 1 thread | ns, 8 threads | ns, 64 threads |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for variant in VARIANTS {
        let instructions = instructions(variant, dir.path());
        let times = THREADS.map(|threads| nanoseconds(variant, dir.path(), threads));
        println!("| {} | {instructions} | {} |", variant.name, times.join(" | "));
    }
    println!();
    let empty = library(dir.path(), "empty.c", "libempty.so");
    let rdnafix = artifact("librdnafix.so");
    let added = private_kib(&rdnafix).saturating_sub(private_kib(&empty));
    println!("private memory added to a process that uses no GPU: {added} KiB");
    let size = std::fs::metadata(&rdnafix).expect("the library").len();
    println!("size of librdnafix.so: {} KiB", size / 1024);
}

/// Makes `count` calls in each of `threads` threads; nanoseconds of processor time per call.
fn calls(variant: &Variant, threads: usize, count: usize) -> f64 {
    let (malloc, free) = functions();
    let barrier = Barrier::new(threads);
    let spans: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let work = || {
            let mut ptr = std::ptr::null_mut();
            barrier.wait();
            let begun = Instant::now();
            for _ in 0..count {
                // SAFETY: a valid place for the result.
                unsafe { malloc(black_box(&raw mut ptr), black_box(64), black_box(variant.flags)) };
            }
            let ended = Instant::now();
            // SAFETY: allocated above.
            unsafe { free(ptr) };
            (begun, ended)
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let begun = spans.iter().map(|span| span.0).min().expect("a thread");
    let ended = spans.iter().map(|span| span.1).max().expect("a thread");
    // Threads beyond the number of processors take turns.
    let processors = std::thread::available_parallelism().map_or(1, usize::from).min(threads);
    let total = u32::try_from(threads * count).expect("fewer calls");
    (ended - begun).as_secs_f64() * 1e9 * f64::from(u32::try_from(processors).expect("fewer"))
        / f64::from(total)
}

fn nanoseconds(variant: &Variant, dir: &Path, threads: usize) -> String {
    let count = 2_000_000 / threads;
    let output = variant
        .command(dir, &[])
        .args([threads.to_string(), count.to_string()])
        .output()
        .expect("this file runs");
    assert!(output.status.success(), "{}: {output:?}", variant.name);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Instructions per call: the difference between two runs that differ in the number of calls.
fn instructions(variant: &Variant, dir: &Path) -> String {
    const CALLS: [usize; 2] = [1_000, 11_000];
    let [few, many] = CALLS.map(|count| {
        let out = dir.join("callgrind.out");
        let option = format!("--callgrind-out-file={}", out.display());
        let status = variant
            .command(dir, &["valgrind", "--quiet", "--tool=callgrind", &option])
            .args(["1".to_owned(), count.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !status.is_ok_and(|status| status.success()) {
            return None;
        }
        let text = std::fs::read_to_string(out).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("summary: "))?;
        line.trim().parse::<u64>().ok()
    });
    match (few, many) {
        (Some(few), Some(many)) => ((many - few) / (CALLS[1] - CALLS[0]) as u64).to_string(),
        _ => "SKIPPED: needs valgrind".into(),
    }
}

/// Private memory of a process that has a library preloaded and prints its own numbers.
fn private_kib(preload: &Path) -> u64 {
    let output = Command::new("/bin/cat")
        .arg("/proc/self/smaps_rollup")
        .env_clear()
        .env("LD_PRELOAD", preload)
        .output()
        .expect("cat runs");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.starts_with("Private_Clean:") || line.starts_with("Private_Dirty:"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}
