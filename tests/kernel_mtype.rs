//! The MTYPE that the simulated kernel says of memory is the one that the functions of the real one
//! choose, stock and patched. The functions run in user space; no GPU has a part in it.

mod cli_common;
mod kernel_common;
#[path = "../crates/kfdsim/src/mtype.rs"]
mod mtype;
mod source_common;

use kernel_common::Source;
use kernel_common::decide::{Answers, MTYPE, NC, UC, answers, value};
use kfd_abi::flags::alloc;
use kfd_abi::log::Mtype;
use mtype::{Place, Rules};

/// `gfx_target_version` of a GC version, as far as the rules look at it.
fn target(gc: i64) -> u32 {
    u32::try_from((gc >> 16) * 10_000 + (gc >> 8 & 0xff) * 100 + (gc & 0xff)).expect("positive")
}

/// Those that there are boards for: the others have an MTYPE by whose memory it is.
fn simulated(gc: i64) -> bool {
    matches!(
        (gc >> 16, gc >> 8 & 0xff, gc & 0xff),
        (9, 0..=2, _) | (9, 4, 0) | (10 | 11, ..) | (12, 0, _)
    )
}

fn mtype_of(pte: u64) -> Mtype {
    match pte & MTYPE {
        NC => Mtype::Nc,
        UC => Mtype::Uc,
        other => panic!("MTYPE {other:x}"),
    }
}

/// What the simulated kernel says, `None` where it says nothing of such an input.
fn said(rules: Rules, input: &str) -> Option<Mtype> {
    let gc = value(input, "gc");
    let here = value(input, "here") == 1;
    let place = |local| if local { Place::Local } else { Place::Elsewhere };
    if input.starts_with("range ") {
        let local = here && value(input, "vram") == 1;
        let flags = u32::try_from(value(input, "flags")).expect("flags");
        return simulated(gc).then(|| rules.of_range(target(gc), flags, place(local)));
    }
    // What KFD itself maps; an entry that is cleared maps nothing.
    if value(input, "from") != 0 || value(input, "valid") == 0 {
        return None;
    }
    let bit = |bit, flag| if value(input, "grain") & bit != 0 { flag } else { 0 };
    let flags = bit(1, alloc::COHERENT) | bit(2, alloc::EXT_COHERENT) | bit(4, alloc::UNCACHED);
    let local = here && value(input, "place") == 2;
    Some(rules.of_buffer(target(gc), flags, place(local)))
}

fn compare(name: &str, answers: &Answers, patched: bool) {
    let mut compared = 0;
    for (input, answer) in answers {
        let kind = input.split(' ').next().expect("a word");
        if kind == "noretry" {
            continue;
        }
        let rules = Rules { rdna_noncoherent: patched && value(input, "parameter") == 1 };
        if kind == "default" {
            let gpus = input.rsplit(' ').next().expect("the GPUs").split('-');
            let gpus = gpus.map(|gc| i64::from_str_radix(gc, 16).expect("a version"));
            let gpus: Vec<u32> = gpus.filter(|gc| *gc != 0).map(target).collect();
            assert_eq!(u64::from(rules.range_starts_with(&gpus)), *answer, "{name}: {input}");
        } else if let Some(said) = said(rules, input) {
            assert_eq!(said, mtype_of(*answer), "{name}: {input}");
        } else {
            continue;
        }
        compared += 1;
    }
    println!("{name}: {compared} answers are those of the simulated kernel");
    assert!(compared > 10_000, "{name}: {compared}");
}

// Of 6.1, which does not know EXT_COHERENT, the simulated kernel is no picture.
#[test]
fn the_simulated_kernel_chooses_as_6_12_and_7_2_do_stock_and_patched() {
    for version in ["6.12", "7.2"] {
        let Some(source) = Source::get(version) else { continue };
        compare(
            &format!("Linux {version}, stock"),
            &answers(&source, source.copy().path(), true),
            false,
        );
        let patched = answers(&source, source.patched().path(), false);
        compare(&format!("Linux {version}, patched"), &patched, true);
    }
}
