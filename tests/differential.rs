//! Random sequences of HIP and HSA calls, stock and interposed: the program sees the same, and
//! the kernel is asked for the same but where the policy says otherwise.
//!
//! `RDNAFIX_FUZZ_SEQUENCES` (200) is how many sequences the tests make together on a release, and
//! `RDNAFIX_FUZZ_SEED` (1) the seed of the first; `scripts/soak.sh` makes many more. The first
//! four tests run on this machine's ROCm or, with `RDNAFIX_FUZZ_RELEASE=NAME`, on another.

mod common;
mod fuzz_common;

use common::patched::patched;
use common::release::{release, releases};
use fuzz_common::{asked_for, fuzz, fuzz_patched};
use policy::Level;

#[test]
fn where_no_gpu_is_rdna12_nothing_differs() {
    fuzz(asked_for().as_ref(), |setting| setting.gpus == "gfx906");
}

#[test]
fn at_level_off_nothing_differs() {
    fuzz(asked_for().as_ref(), |setting| setting.level == Level::Off);
}

#[test]
fn on_an_rdna2_gpu_memory_differs_only_where_the_policy_says_so() {
    fuzz(asked_for().as_ref(), |setting| setting.gpus == "gfx1030" && setting.level != Level::Off);
}

#[test]
fn on_a_box_of_two_gpus_memory_differs_only_where_the_policy_says_so() {
    fuzz(asked_for().as_ref(), |setting| setting.gpus.contains(',') && setting.level != Level::Off);
}

#[test]
fn on_every_release_the_same_holds() {
    if asked_for().is_some() {
        return;
    }
    for release in releases() {
        fuzz(Some(&release), |_| true);
    }
}

#[test]
fn patched_libraries_differ_from_stock_only_where_the_policy_says_so_and_never_from_interposed() {
    if asked_for().is_some_and(|release| release.name != "6.4.3") {
        return;
    }
    let Some(prefix) = patched() else { return };
    let Some(release) = release("6.4.3") else { return };
    fuzz_patched(&release, &prefix.join("lib"));
}
