//! Nanoseconds that one intercepted call takes: called directly, through a C interposer that
//! only forwards, and through librdnafix.so, forwarded and rewritten.
//!
//! Each variant is a process of its own, because what is preloaded cannot be changed later.
//! The real functions are a stand-in (benches/c/stub_hip.c): this measures the interposer.

#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod common;

use std::ffi::{c_int, c_uint, c_void};
use std::hint::black_box;
use std::process::Command;

use criterion::Criterion;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

type HostMalloc = unsafe extern "C" fn(*mut *mut c_void, usize, c_uint) -> c_int;
type HostFree = unsafe extern "C" fn(*mut c_void) -> c_int;

const NON_COHERENT: c_uint = 0x8000_0000;
const VARIANT: &str = "RDNAFIX_BENCH_VARIANT";
const STUB: &str = "RDNAFIX_BENCH_STUB";

/// Name, what is preloaded, further variables, flags of the call, whether it is freed again.
struct Variant {
    name: &'static str,
    preload: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    flags: c_uint,
}

const VARIANTS: &[Variant] = &[
    Variant { name: "direct call", preload: &[], environment: &[], flags: NON_COHERENT },
    Variant {
        name: "C interposer",
        preload: &["libforward.so"],
        environment: &[],
        flags: NON_COHERENT,
    },
    Variant {
        name: "rdnafix, level off",
        preload: &["librdnafix.so"],
        environment: &[("RDNAFIX_POLICY", "off")],
        flags: NON_COHERENT,
    },
    Variant {
        name: "rdnafix, no RDNA1-2 GPU",
        preload: &["librdnafix.so", "libkfdsim.so"],
        environment: &[("KFDSIM_GPUS", "gfx1100")],
        flags: NON_COHERENT,
    },
    Variant {
        name: "rdnafix, gfx1030, forwarded",
        preload: &["librdnafix.so", "libkfdsim.so"],
        environment: &[("KFDSIM_GPUS", "gfx1030")],
        flags: NON_COHERENT,
    },
    Variant {
        name: "rdnafix, gfx1030, rewritten",
        preload: &["librdnafix.so", "libkfdsim.so"],
        environment: &[("KFDSIM_GPUS", "gfx1030")],
        flags: 0,
    },
];

fn main() {
    match std::env::var(VARIANT) {
        Ok(name) => {
            let variant = VARIANTS.iter().find(|variant| variant.name == name);
            measure(variant.expect("a variant"));
        }
        Err(_) => run_all(),
    }
}

fn run_all() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let stub = common::library(dir.path(), "stub_hip.c", "libamdhip64.so.6");
    common::library(dir.path(), "forward.c", "libforward.so");
    let locate = |name: &str| match name {
        "libforward.so" => dir.path().join(name),
        _ => common::artifact::artifact(name),
    };
    for variant in VARIANTS {
        let preload: Vec<_> =
            variant.preload.iter().map(|name| locate(name).into_os_string()).collect();
        let status = Command::new(std::env::current_exe().expect("this file"))
            .args(std::env::args_os().skip(1))
            .env(VARIANT, variant.name)
            .env(STUB, &stub)
            .env("LD_PRELOAD", preload.join(std::ffi::OsStr::new(":")))
            .envs(variant.environment.iter().copied())
            .status()
            .expect("this file runs");
        assert!(status.success(), "{}: {status}", variant.name);
    }
    summary();
}

fn measure(variant: &Variant) {
    let stub = std::env::var_os(STUB).expect("set by the parent");
    // SAFETY: the stand-in has no constructor.
    let stub =
        unsafe { Library::open(Some(&stub), RTLD_NOW | RTLD_GLOBAL) }.expect("the stub loads");
    // The first definition in the global scope, as a linked program would bind to.
    let global = Library::this();
    // SAFETY: the functions have these types in stub_hip.c, forward.c and librdnafix.so.
    let (malloc, free) = unsafe {
        (
            *global.get::<HostMalloc>(b"hipHostMalloc\0").expect("hipHostMalloc"),
            *global.get::<HostFree>(b"hipHostFree\0").expect("hipHostFree"),
        )
    };
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
    drop(stub);
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
