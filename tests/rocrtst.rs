//! AMD's rocrtst, the test suite of ROCr, on the simulated GPU: every test in a process of its
//! own, stock and interposed.

mod common;
mod fidelity_common;

use std::time::Duration;

use fidelity_common::suite::{Column, Suite};

/// With a small BAR the tests that look at VRAM from the CPU skip themselves.
const COLUMNS: [Column; 4] = [
    Column { name: "gfx1030", release: "6.4.3", set: &["KFDSIM_GPUS=gfx1030"], interposed: true },
    Column {
        name: "gfx1030-large-BAR",
        release: "6.4.3",
        set: &["KFDSIM_GPUS=gfx1030", "KFDSIM_LARGE_BAR=1"],
        interposed: true,
    },
    Column {
        name: "gfx1010-large-BAR",
        release: "6.4.3",
        set: &["KFDSIM_GPUS=gfx1010", "KFDSIM_LARGE_BAR=1"],
        interposed: true,
    },
    Column {
        name: "gfx1030-large-BAR-on-7.2.4",
        release: "7.2.4",
        set: &["KFDSIM_GPUS=gfx1030", "KFDSIM_LARGE_BAR=1"],
        interposed: true,
    },
];

/// Tests of a pool that do not apply say so, too; only this is about the whole test.
fn skips(line: &str) -> Option<&str> {
    line.contains("not large bar").then_some("The system has no large BAR.")
}

#[test]
fn amds_tests_of_rocr_end_as_expected_with_and_without_the_library() {
    let rocrtst = Suite {
        name: "rocrtst",
        file: "rocrtst64",
        directory: "",
        columns: &COLUMNS,
        // IPC of 6.4.3 wants an ioctl that no upstream kernel has, unless it is told to use
        // dma-bufs, as 7.2.4 does by itself.
        set: &["HSA_ENABLE_IPC_MODE_LEGACY=0"],
        arguments: &[],
        large: &[],
        limit: Duration::from_secs(60),
        at_least: 55,
        skips,
    };
    if let Some(rocrtst) = rocrtst.built() {
        rocrtst.check();
    }
}
