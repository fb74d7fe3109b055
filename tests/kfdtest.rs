//! AMD's kfdtest, the test suite of the thunk, on the simulated GPU: every test in a process of
//! its own, stock and interposed.

mod common;
mod fidelity_common;

use std::time::Duration;

use fidelity_common::suite::{Column, Suite};

// kfdtest calls the thunk below HSA, where the library has nothing to do: one board shows that.
const COLUMNS: [Column; 3] = [
    Column { name: "gfx1030", release: "6.4.3", set: &["KFDSIM_GPUS=gfx1030"], interposed: true },
    Column { name: "gfx1010", release: "6.4.3", set: &["KFDSIM_GPUS=gfx1010"], interposed: false },
    // Most of what skips itself on one GPU wants a second one, or all of VRAM visible.
    Column {
        name: "2xgfx1030-large-BAR",
        release: "6.4.3",
        set: &["KFDSIM_GPUS=gfx1030,gfx1030", "KFDSIM_LARGE_BAR=1"],
        interposed: false,
    },
];

/// kfdtest does not use GoogleTest's way: it says so, in many words, and passes.
fn skips(line: &str) -> Option<&str> {
    let lower = line.to_ascii_lowercase();
    if !["skipping", "skipped", "skip test"].iter().any(|word| lower.contains(word)) {
        return None;
    }
    let why = line.trim_start_matches(['[', ' ', ']']);
    Some(why.strip_prefix("Skipping test: ").unwrap_or(why))
}

#[test]
fn amds_tests_of_the_thunk_end_as_expected_with_and_without_the_library() {
    let kfdtest = Suite {
        name: "kfdtest",
        file: "kfdtest",
        directory: "",
        columns: &COLUMNS,
        // One test looks at VRAM through ptrace only where HSA_DEBUG is set. The memory of the
        // host decides what others try.
        set: &["HSA_DEBUG=1", "KFDSIM_HOST_MEMORY=24"],
        // How long it waits for the GPU, in ms; by default a minute, which one test waits out.
        arguments: &["--timeout", "15000"],
        // 14 and 6 GB on a GPU with 16 GB of VRAM; the kernel ended them for want of memory.
        large: &["KFDEvictTest.QueueTest", "KFDMemoryTest.CheckZeroInitializationSysMem"],
        limit: Duration::from_secs(120),
        at_least: 150,
        skips,
    };
    if let Some(kfdtest) = kfdtest.built() {
        kfdtest.check();
    }
}
