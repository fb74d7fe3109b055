//! Callers that look functions up by name: reached with RDNAFIX_DLSYM=1, and never disturbed.

mod common;

use std::path::Path;

use common::{Ran, Run, compile};

fn looks_up(dlsym: bool, interposed: bool) -> Ran {
    let program = compile("tests/programs/looks_up.c", "looks_up", &["-ldl"]);
    let run = Run::new(program).env("RDNAFIX_DLSYM", if dlsym { "1" } else { "0" });
    if interposed { run.interposed() } else { run }.on("gfx1030").go().well()
}

#[test]
fn functions_taken_by_name_are_reached_only_if_the_user_says_so() {
    let stock = looks_up(true, false);
    assert!(stock.stdout().contains("dlsym 0\n"), "{}", stock.stdout());
    for (dlsym, expected) in
        [(false, "USERPTR coherent gfx1030#0=UC"), (true, "USERPTR non-coherent gfx1030#0=NC")]
    {
        let ran = looks_up(dlsym, true);
        for lookup in ["dlsym", "dlvsym"] {
            let memory = ran.memory(lookup);
            assert_eq!(memory.last().map(String::as_str), Some(expected), "{lookup}, {dlsym}");
        }
        assert_eq!(ran.stdout(), stock.stdout(), "answers and errors are the C library's");
    }
}

#[test]
fn a_python_program_gets_non_coherent_pinned_memory_with_dlsym() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/managed.py");
    let run = Run::new("/usr/bin/python3").arg(script).interposed().env("RDNAFIX_DLSYM", "1");
    let ran = run.on("gfx1030").go().well();
    let pinned = ran.memory("hipHostMalloc(Default)");
    assert_eq!(pinned.last().map(String::as_str), Some("USERPTR non-coherent gfx1030#0=NC"));
}

/// hip-python is a package of PyPI; scripts/test.sh makes an environment that has it.
#[test]
fn hip_python_gets_non_coherent_pinned_memory_with_dlsym() {
    let Some(python) = std::env::var_os("RDNAFIX_TEST_HIP_PYTHON") else {
        eprintln!("SKIPPED: hip-python: RDNAFIX_TEST_HIP_PYTHON names no Python that has it");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/uses_hip_python.py");
    let run = |dlsym: &str| {
        let run = Run::new(&python).arg(&script).interposed().env("RDNAFIX_DLSYM", dlsym);
        run.on("gfx1030").go().well()
    };
    for (dlsym, pinned) in
        [("0", "USERPTR coherent gfx1030#0=UC"), ("1", "USERPTR non-coherent gfx1030#0=NC")]
    {
        let ran = run(dlsym);
        assert_eq!(ran.stdout(), "hipHostMalloc 0\nhipMallocManaged 0\n");
        let last = |call: &str| ran.memory(call).last().cloned().unwrap_or_default();
        assert_eq!(last("hipHostMalloc"), pinned);
        assert_eq!(last("hipMallocManaged"), "SVM non-coherent gfx1030#0=NC");
    }
}

/// dlsym(RTLD_NEXT) answers by its caller's return address, which must still be the caller's.
#[test]
fn a_second_library_that_wraps_malloc_finds_the_next_one() {
    let wrapper = compile(
        "tests/programs/forwards_dlsym.c",
        "forwards_dlsym.so",
        &["-shared", "-fPIC", "-ldl"],
    );
    for (program, script) in [("/bin/bash", ":"), ("/usr/bin/python3", "pass")] {
        let run = |dlsym: Option<&str>, first: bool| {
            let run = Run::new(program).arg("-c").arg(script);
            let run = match (dlsym, first) {
                (None, _) => run.preload(&wrapper),
                (Some(_), true) => run.interposed().preload(&wrapper),
                (Some(_), false) => run.preload(&wrapper).interposed(),
            };
            run.env("RDNAFIX_DLSYM", dlsym.unwrap_or("0")).go().well().stdout().to_owned()
        };
        let stock = run(None, false);
        assert!(stock.contains("libc.so.6, called"), "{stock}");
        for dlsym in ["0", "1"] {
            assert_eq!(run(Some(dlsym), true), stock, "{program}, before it, {dlsym}");
            assert_eq!(run(Some(dlsym), false), stock, "{program}, after it, {dlsym}");
        }
    }
}
