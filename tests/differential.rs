//! Random sequences of HIP and HSA calls, stock and interposed: the program sees the same, and
//! the kernel is asked for the same but where the policy says otherwise.
//!
//! `RDNAFIX_FUZZ_SEQUENCES` (200) is how many sequences all tests make together, and
//! `RDNAFIX_FUZZ_SEED` (1) the seed of the first; `scripts/soak.sh` makes many more.

mod common;
mod fuzz_common;

use fuzz_common::fuzz;
use policy::Level;

#[test]
fn where_no_gpu_is_rdna12_nothing_differs() {
    fuzz(|setting| setting.gpus == "gfx906");
}

#[test]
fn at_level_off_nothing_differs() {
    fuzz(|setting| setting.level == Level::Off);
}

#[test]
fn on_an_rdna2_gpu_memory_differs_only_where_the_policy_says_so() {
    fuzz(|setting| setting.gpus == "gfx1030" && setting.level != Level::Off);
}

#[test]
fn on_a_box_of_two_gpus_memory_differs_only_where_the_policy_says_so() {
    fuzz(|setting| setting.gpus.contains(',') && setting.level != Level::Off);
}
