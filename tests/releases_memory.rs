//! What a call means in one ROCm release and not in another, stock and interposed, on every
//! release that can be had: pinned memory, registered memory, pools and their flags.

mod common;

use common::release::{Release, releases};
use common::{Ran, Run};

const PINNED: &str = "USERPTR coherent gfx1030#0=UC";
const PINNED_NON_COHERENT: &str = "USERPTR non-coherent gfx1030#0=NC";
const DEVICE: &str = "VRAM non-coherent gfx1030#0=NC";
const DEVICE_COHERENT: &str = "VRAM coherent gfx1030#0=UC";
const REGISTERED: &str = "SVM coherent gfx1030#0=UC";

/// HSA_STATUS_ERROR_INVALID_ARGUMENT
const INVALID: i32 = 0x1001;

fn run(release: &Release, interposed: bool, settings: &[(&str, &str)]) -> Ran {
    let libraries = ["-std=c++17", "-lamdhip64", "-lhsa-runtime64", "-ldl"];
    let program = release.compile("tests/programs/release_calls.cpp", "release_calls", &libraries);
    let mut run = Run::new(program);
    for (name, value) in settings {
        run = run.env(name, value);
    }
    if interposed {
        run = run.interposed();
    }
    let ran = run.on("gfx1030").inside(release).go().well();
    assert!(ran.stdout().ends_with("DONE\n"), "ROCm {}: {}", release.name, ran.stdout());
    ran
}

/// What a call returned; `None` if it was not made, because there is no such pool.
fn result(ran: &Ran, call: &str) -> Option<i32> {
    let line = ran.stdout().lines().find_map(|line| line.strip_prefix(call)?.strip_prefix(" -> "));
    line.map(|code| code.parse().expect("a number"))
}

/// What the memory was in the end.
fn last(ran: &Ran, call: &str) -> Option<String> {
    ran.memory(call).pop()
}

/// What a call gives: memory, or the code of a refusal.
#[derive(Clone, Copy, Debug)]
enum Gives {
    Memory(&'static str),
    Refusal(i32),
}
use Gives::{Memory, Refusal};

fn check(release: &Release, ran: &Ran, call: &str, gives: Gives) {
    let name = &release.name;
    match gives {
        Memory(memory) => {
            assert_eq!(result(ran, call), Some(0), "ROCm {name}: {call}");
            assert_eq!(last(ran, call).as_deref(), Some(memory), "ROCm {name}: {call}");
        }
        Refusal(code) => assert_eq!(result(ran, call), Some(code), "ROCm {name}: {call}"),
    }
}

/// Checks what each release gives, in the order of `RELEASES`, stock and interposed.
fn each(settings: &[(&str, &str)], rows: &[(&str, [Gives; 4], [Gives; 4])]) {
    for release in releases() {
        let which = common::release::RELEASES.iter().position(|name| *name == release.name);
        let which = which.expect("one of the four");
        for interposed in [false, true] {
            let ran = run(&release, interposed, settings);
            for (call, stock, changed) in rows {
                let gives = if interposed { changed } else { stock };
                check(&release, &ran, call, gives[which]);
            }
        }
    }
}

#[test]
fn pinned_memory_is_what_the_release_makes_of_the_flags() {
    let old_device = [Memory(DEVICE), Memory(DEVICE)];
    let [old, also_old] = old_device;
    let mapped = [old, also_old, Memory(PINNED), Memory(PINNED)];
    let bit = [old, also_old, Refusal(1), Refusal(1)];
    let registered = [Memory(PINNED), Memory(REGISTERED), Memory(REGISTERED), Memory(REGISTERED)];
    // NonCoherent to hipHostMalloc, Uncached to the hipHostRegister of 7.2.
    let same_bit = [Memory(PINNED), Refusal(1), Refusal(1), Memory(REGISTERED)];
    each(
        &[],
        &[
            ("hipHostMalloc 0x0", [Memory(PINNED); 4], [Memory(PINNED_NON_COHERENT); 4]),
            ("hipHostMalloc 0x2", [Memory(PINNED); 4], [Memory(PINNED); 4]),
            (
                "hipHostMalloc 0x80000000",
                [Memory(PINNED_NON_COHERENT); 4],
                [Memory(PINNED_NON_COHERENT); 4],
            ),
            (
                "hipHostAlloc 0x0",
                [old, also_old, Memory(PINNED), Memory(PINNED)],
                [old, also_old, Memory(PINNED_NON_COHERENT), Memory(PINNED_NON_COHERENT)],
            ),
            ("hipHostAlloc 0x2", mapped, mapped),
            ("hipHostAlloc 0x80000000", bit, bit),
            ("hipHostRegister 0x0", registered, registered),
            ("hipHostRegister 0x8", registered, registered),
            ("hipHostRegister 0x80000000", same_bit, same_bit),
            ("hipMalloc", [Memory(DEVICE); 4], [Memory(DEVICE); 4]),
        ],
    );
}

#[test]
fn explicit_requests_for_device_memory_are_left_alone() {
    let (coherent, device) = (Memory(DEVICE_COHERENT), Memory(DEVICE));
    let fine = [Refusal(2), Refusal(2), device, device];
    let uncached = [Refusal(1), coherent, coherent, coherent];
    let contiguous = [Refusal(1), Refusal(1), coherent, coherent];
    each(
        &[],
        &[
            ("hipExtMallocWithFlags 0x1", fine, fine),
            ("hipExtMallocWithFlags 0x3", uncached, uncached),
            ("hipExtMallocWithFlags 0x4", contiguous, contiguous),
        ],
    );
}

#[test]
fn at_level_full_registered_memory_becomes_non_coherent() {
    let stock = [Memory(PINNED), Memory(REGISTERED), Memory(REGISTERED), Memory(REGISTERED)];
    let range = Memory("SVM non-coherent gfx1030#0=NC");
    let changed = [Memory(PINNED_NON_COHERENT), range, range, range];
    each(&[("RDNAFIX_POLICY", "full")], &[("hipHostRegister 0x0", stock, changed)]);
}

/// The flags of hsa_amd_memory_pool_allocate that the release takes, and which of them a
/// coarse-grained pool of the GPU turns into coherent memory.
#[test]
fn flags_of_a_pool_allocation_are_legal_or_refused_as_in_the_release() {
    // 6.4 and later ignore bits that they do not know.
    let all: &[u32] = &[0, 1, 2, 4, 8, 16];
    let releases_take: [(&str, &[u32], &[u32]); 4] = [
        ("5.2.3", &[0], &[]),
        ("5.7.1", &[0, 1], &[1]),
        ("6.4.3", all, &[1]),
        ("7.2.4", all, &[1, 8]),
    ];
    for release in releases() {
        let (_, legal, coherent) =
            releases_take.iter().find(|row| row.0 == release.name).expect("one of the four");
        for interposed in [false, true] {
            let ran = run(&release, interposed, &[]);
            for flags in all {
                let call = format!("pool gpu0 0x4 flags {flags:#x}");
                let pseudo_fine_grain = *flags == 1;
                let gives = if !legal.contains(flags) {
                    Refusal(INVALID)
                } else if coherent.contains(flags) && !(interposed && pseudo_fine_grain) {
                    Memory(DEVICE_COHERENT)
                } else {
                    Memory(DEVICE)
                };
                check(&release, &ran, &call, gives);
            }
        }
    }
}

#[test]
fn every_release_exposes_its_pools() {
    for release in releases() {
        let old = release.name == "5.2.3";
        let new = ["6.4.3", "7.2.4"].contains(&&release.name[..]);
        for (settings, gpu_fine) in
            [(&[][..], false), (&[("HSA_FORCE_FINE_GRAIN_PCIE", "1")], true)]
        {
            for interposed in [false, true] {
                let ran = run(&release, interposed, settings);
                for (pool, exposed) in [
                    ("cpu0 0x2", true),
                    ("cpu0 0x3", true),
                    ("cpu0 0x4", true),
                    ("cpu0 0x8", new),
                    ("gpu0 0x4", true),
                    ("gpu0 0x8", !old),
                    ("gpu0 0x2", gpu_fine),
                ] {
                    let there = result(&ran, &format!("pool {pool} flags 0x0")).is_some();
                    assert_eq!(there, exposed, "ROCm {}: pool {pool}", release.name);
                }
            }
        }
    }
}

/// The fine-grained pool of the GPU is what HIP takes for an explicit request, and what a
/// program that takes it itself did not ask HIP for.
#[test]
fn with_a_fine_grained_pool_of_the_gpu_only_the_programs_own_use_changes() {
    each(
        &[("HSA_FORCE_FINE_GRAIN_PCIE", "1")],
        &[
            (
                "hipExtMallocWithFlags 0x1",
                [Memory(DEVICE_COHERENT); 4],
                [Memory(DEVICE_COHERENT); 4],
            ),
            ("pool gpu0 0x2 flags 0x0", [Memory(DEVICE_COHERENT); 4], [Memory(DEVICE); 4]),
        ],
    );
}
