//! Nanoseconds that one intercepted call takes: called directly, through a C interposer that
//! only forwards, and through librdnafix.so, forwarded and rewritten.

#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod common;

use std::hint::black_box;

use common::variants::{VARIANTS, Variant, functions};
use criterion::Criterion;

fn main() {
    match Variant::of_this_process() {
        Some(variant) => measure(variant),
        None => run_all(),
    }
}

fn run_all() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for variant in VARIANTS {
        let mut command = variant.command(dir.path(), &[]);
        let status = command.args(std::env::args_os().skip(1)).status().expect("this file runs");
        assert!(status.success(), "{}: {status}", variant.name);
    }
    summary();
}

fn measure(variant: &Variant) {
    let (malloc, free) = functions();
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function(&format!("hipHostMalloc/{}", variant.name), |bencher| {
        let mut ptr = std::ptr::null_mut();
        bencher.iter(|| {
            // SAFETY: a valid place for the result.
            unsafe { malloc(black_box(&raw mut ptr), black_box(64), black_box(variant.flags)) }
        });
        // SAFETY: allocated above; what is remembered of it is forgotten.
        unsafe { free(ptr) };
    });
    criterion.final_summary();
}

/// Medians of all variants, and what each adds to the direct call, from what criterion wrote.
fn summary() {
    let target = common::artifact::target_dir();
    let median = |name: &str| -> Option<f64> {
        let file = target
            .join("criterion")
            .join(format!("hipHostMalloc_{name}"))
            .join("new/estimates.json");
        let text = std::fs::read_to_string(file).ok()?;
        serde_json::from_str::<serde_json::Value>(&text).ok()?["median"]["point_estimate"].as_f64()
    };
    let Some(direct) = median(VARIANTS[0].name) else { return };
    println!("\n{:30} {:>9} {:>9}", "hipHostMalloc", "ns", "added");
    for variant in VARIANTS {
        if let Some(ns) = median(variant.name) {
            println!("{:30} {ns:9.2} {:9.2}", variant.name, ns - direct);
        }
    }
}
