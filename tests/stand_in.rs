//! What real ROCm libraries cannot be made to do on demand, shown with a stand-in for
//! libamdhip64 (tests/programs/stub_hip.c): a runtime that the HSA hooks do not see, one that
//! refuses non-coherent memory, and other versions.

mod common;

use std::path::PathBuf;

use common::{Ran, Run, compile};

/// A program linked with the stand-in.
fn program() -> PathBuf {
    let soname = "-Wl,-soname,libamdhip64.so.6";
    let stub =
        compile("tests/programs/stub_hip.c", "libamdhip64.so.6", &["-shared", "-fPIC", soname]);
    let dir = stub.parent().expect("a directory").display().to_string();
    let arguments = [stub.display().to_string(), format!("-Wl,-rpath,{dir}")];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    compile("tests/programs/calls_hip.c", "calls_hip", &arguments)
}

fn run(gpu: &str, environment: &[(&str, &str)], calls: &[&str]) -> Ran {
    let mut run = Run::new(program()).interposed().on(gpu);
    for (name, value) in environment {
        run = run.env(name, value);
    }
    calls.iter().fold(run, Run::arg).go().well()
}

#[test]
fn managed_memory_is_advised_coarse_where_the_hsa_hooks_are_not_on_the_path() {
    let ran = run("gfx1030", &[], &["managed", "last-error"]);
    assert_eq!(
        ran.stdout(),
        "hipMallocManaged(65536, 0x1)\nhipMemAdvise(the allocation, 65536, 100, 0)\n\
         managed -> 0\nlast-error -> 0\n"
    );
}

#[test]
fn managed_memory_is_not_advised_on_another_gpu_or_when_off() {
    let stock = "hipMallocManaged(65536, 0x1)\nmanaged -> 0\n";
    assert_eq!(run("gfx1100", &[], &["managed"]).stdout(), stock);
    assert_eq!(run("gfx1030", &[("RDNAFIX_POLICY", "off")], &["managed"]).stdout(), stock);
}

#[test]
fn refused_advice_leaves_no_error_behind() {
    let ran = run("gfx1030", &[("STUB_REFUSES", "1")], &["managed", "last-error"]);
    assert!(ran.stdout().contains("hipMemAdvise"), "{}", ran.stdout());
    assert!(ran.stdout().ends_with("managed -> 0\nlast-error -> 0\n"), "{}", ran.stdout());
}

#[test]
fn a_pending_error_of_the_program_stays() {
    let calls = ["managed-flags", "managed", "last-error"];
    let ran = run("gfx1030", &[("STUB_REFUSES", "1")], &calls);
    assert!(ran.stdout().ends_with("managed -> 0\nlast-error -> 1\n"), "{}", ran.stdout());
}

#[test]
fn a_refused_rewrite_is_made_as_it_came_and_leaves_no_error() {
    let ran = run("gfx1030", &[("STUB_REFUSES", "1")], &["host", "last-error"]);
    assert_eq!(
        ran.stdout(),
        "hipHostMalloc(65536, 0x80000000)\nhipHostMalloc(65536, 0)\nhost -> 0\nlast-error -> 0\n"
    );
}

#[test]
fn a_null_pointer_is_the_real_functions_to_refuse() {
    let ran = run("gfx1030", &[], &["host-null", "managed-null", "last-error"]);
    assert_eq!(
        ran.stdout(),
        "hipHostMalloc(65536, 0)\nhost-null -> 2\n\
         hipMallocManaged(65536, 0x1)\nmanaged-null -> 1\nlast-error -> 1\n"
    );
}

#[test]
fn the_program_reads_back_the_flags_it_passed_until_it_frees() {
    let ran = run("gfx1030", &[], &["host", "flags", "free", "flags"]);
    assert_eq!(
        ran.stdout(),
        "hipHostMalloc(65536, 0x80000000)\nhost -> 0\nhipHostGetFlags\nflags -> 0 0\n\
         free -> 0\nhipHostGetFlags\nflags -> 0 0x80000000\n"
    );
}

#[test]
fn host_alloc_becomes_host_malloc_from_rocm_6_3_on() {
    let made = |version: &str| run("gfx1030", &[("STUB_VERSION", version)], &["alloc"]);
    for version in ["60300000", "60443484", "70226015"] {
        assert_eq!(made(version).stdout(), "hipHostMalloc(65536, 0x80000000)\nalloc -> 0\n");
    }
    for version in ["50221153", "60241133"] {
        assert_eq!(made(version).stdout(), "hipHostAlloc(65536, 0)\nalloc -> 0\n");
    }
}

#[test]
fn mem_alloc_host_becomes_host_malloc() {
    let ran = run("gfx1030", &[], &["mem-alloc"]);
    assert_eq!(ran.stdout(), "hipHostMalloc(65536, 0x80000000)\nmem-alloc -> 0\n");
}
