//! What `examples/alloc_probe.cpp` makes ROCm ask of the kernel, stock and interposed: one
//! test for each row of the table, on simulated RDNA1 and RDNA2 GPUs.

mod common;

use common::{Ran, Run, alloc_probe};
use kfd_abi::log::Ioctl;

/// One GPU of each generation; the stock rows are the same for every board.
const GPUS: [&str; 2] = ["gfx1010", "gfx1030"];

fn probe(gpu: &str, interposed: bool, environment: &[(&str, &str)]) -> Ran {
    let mut run = Run::new(alloc_probe());
    if interposed {
        run = run.interposed();
    }
    for (name, value) in environment {
        run = run.env(name, value);
    }
    run.on(gpu).go().well()
}

/// Asserts what one call asks for in the end, stock and interposed, on both GPUs.
fn row(call: &str, environment: &[(&str, &str)], stock: &str, interposed: &str) {
    for gpu in GPUS {
        for (with, expected) in [(false, stock), (true, interposed)] {
            let ran = probe(gpu, with, environment);
            let mtype = if expected.ends_with(" coherent") { "UC" } else { "NC" };
            let expected = format!("{expected} {gpu}#0={mtype}");
            let asked = ran.memory(call);
            assert_eq!(asked.last(), Some(&expected), "{call} on {gpu}, interposed: {with}");
            // Only a call that is several calls asks for several things.
            assert!(asked.len() == 1 || call.contains('+'), "{call} on {gpu}: {asked:?}");
        }
    }
}

fn unchanged(call: &str, environment: &[(&str, &str)], both: &str) {
    row(call, environment, both, both);
}

const COHERENT: &str = "USERPTR coherent";
const NON_COHERENT: &str = "USERPTR non-coherent";

#[test]
fn device_memory_is_non_coherent_with_and_without() {
    for call in ["hipMalloc", "hipMallocPitch", "hipMallocAsync"] {
        unchanged(call, &[], "VRAM non-coherent");
    }
}

#[test]
fn managed_memory_becomes_non_coherent_in_the_same_ioctl() {
    row("hipMallocManaged", &[], "SVM coherent", "SVM non-coherent");
    for gpu in GPUS {
        let ran = probe(gpu, true, &[]);
        let ioctls: Vec<&Ioctl> = ran
            .during("hipMallocManaged")
            .into_iter()
            .filter(|ioctl| ioctl.name == "SVM")
            .collect();
        assert_eq!(ioctls.len(), 1);
        let attributes = ioctls[0].args["attrs"].to_string();
        assert!(attributes.contains("ACCESS") && attributes.contains("CLR_FLAGS"), "{attributes}");
    }
}

#[test]
fn managed_memory_without_svm_is_non_coherent_already() {
    unchanged("hipMallocManaged", &[("KFDSIM_SVM", "0")], NON_COHERENT);
}

#[test]
fn a_grain_that_the_program_chose_stands() {
    unchanged("hipMallocManaged+UnsetCoarseGrain+SetAccessedBy", &[], "SVM coherent");
}

/// The last word of the call: the one SVM ioctl, or the second of two.
#[test]
fn an_svm_range_gets_its_grain_with_its_access_unless_it_has_one() {
    row("hsa_amd_svm_attributes_set(access)", &[], "SVM coherent", "SVM non-coherent");
    for gpu in GPUS {
        let ran = probe(gpu, true, &[]);
        let memory = ran.memory("hsa_amd_svm_attributes_set(fine, then access)");
        assert_eq!(memory.last(), Some(&format!("SVM coherent {gpu}#0=UC")));
    }
}

#[test]
fn pinned_memory_with_flags_0_becomes_non_coherent() {
    row("hipHostMalloc(Default)", &[], COHERENT, NON_COHERENT);
    row("hipMemAllocHost", &[], COHERENT, NON_COHERENT);
}

#[test]
fn pinned_memory_that_is_non_coherent_stays_so() {
    for call in [
        "hipHostMalloc(NonCoherent)",
        "hipHostMalloc(Portable)",
        "hipHostMalloc(WriteCombined)",
        "hipMallocHost",
    ] {
        unchanged(call, &[], NON_COHERENT);
    }
}

#[test]
fn pinned_memory_that_was_asked_for_with_flags_stays_coherent() {
    for call in ["hipHostMalloc(Coherent)", "hipHostMalloc(Mapped)", "hipHostMalloc(NumaUser)"] {
        unchanged(call, &[], COHERENT);
    }
}

#[test]
fn host_alloc_of_this_release_gives_device_memory_and_is_left_alone() {
    unchanged("hipHostAlloc(Default)", &[], "VRAM non-coherent");
}

#[test]
fn registered_memory_stays_coherent() {
    unchanged("hipHostRegister", &[], COHERENT);
}

#[test]
fn system_memory_pools_stay_as_they_are() {
    unchanged("hsa pool CPU fine", &[], COHERENT);
    unchanged("hsa pool CPU coarse", &[], NON_COHERENT);
    unchanged("hsa pool CPU kernarg", &[], COHERENT);
    unchanged("hsa pool GPU coarse", &[], "VRAM non-coherent");
}

#[test]
fn the_fine_grained_pool_of_the_gpu_becomes_the_coarse_grained_one() {
    let forced = [("HSA_FORCE_FINE_GRAIN_PCIE", "1")];
    row("hsa pool GPU fine", &forced, "VRAM coherent", "VRAM non-coherent");
}

/// hipDeviceMallocFinegrained is an explicit request: only level `full` overrides it.
#[test]
fn a_fine_grained_request_to_hip_stays_below_full() {
    let call = "hipExtMallocWithFlags(Finegrained)";
    let forced = ("HSA_FORCE_FINE_GRAIN_PCIE", "1");
    unchanged(call, &[forced], "VRAM coherent");
    row(call, &[forced, ("RDNAFIX_POLICY", "full")], "VRAM coherent", "VRAM non-coherent");
}

#[test]
fn mapped_memory_becomes_non_coherent_at_level_mapped() {
    for level in ["mapped", "full"] {
        row("hipHostMalloc(Mapped)", &[("RDNAFIX_POLICY", level)], COHERENT, NON_COHERENT);
    }
}

#[test]
fn explicit_requests_become_non_coherent_at_level_full() {
    let full = [("RDNAFIX_POLICY", "full")];
    for call in [
        "hipHostMalloc(Coherent)",
        "hipHostMalloc(NumaUser)",
        "hipHostRegister",
        "hsa pool CPU fine",
        "hsa_amd_memory_lock_to_pool(CPU fine)",
    ] {
        row(call, &full, COHERENT, NON_COHERENT);
    }
    unchanged("hsa pool CPU kernarg", &full, COHERENT);
    unchanged("hipMallocManaged+UnsetCoarseGrain+SetAccessedBy", &full, "SVM coherent");
}

/// Signals, queues, kernarg and event page: everything outside the probed calls, and the calls
/// that make signals and queues, ask for the same at every level.
#[test]
fn what_the_runtime_needs_for_itself_is_the_same_at_every_level() {
    for gpu in GPUS {
        let stock = own_requests(&probe(gpu, false, &[]));
        assert!(stock.len() > 20, "the runtime allocates for itself: {stock:?}");
        for level in ["off", "standard", "mapped", "full"] {
            let interposed = own_requests(&probe(gpu, true, &[("RDNAFIX_POLICY", level)]));
            assert_eq!(interposed, stock, "{gpu}, level {level}");
        }
    }
}

/// What is asked for before the first mark, and while signals and queues are made.
fn own_requests(ran: &Ran) -> Vec<String> {
    use kfd_abi::log::Event;
    let before =
        ran.records.iter().take_while(|record| !matches!(record.event, Event::Mark { .. }));
    before
        .filter_map(|record| match &record.event {
            Event::Ioctl(ioctl) => Some(ioctl),
            _ => None,
        })
        .chain(ran.during("hsa_signal_create"))
        .chain(ran.during("hsa_queue_create"))
        .flat_map(|ioctl| {
            ioctl
                .memory
                .iter()
                .map(|memory| format!("{} {}", common::in_words(memory), memory.flags.join("|")))
        })
        .collect()
}

#[test]
fn return_codes_and_output_are_those_of_the_stock_run() {
    for gpu in ["gfx1010", "gfx1030", "gfx906"] {
        let stock = probe(gpu, false, &[]);
        for level in ["off", "standard", "mapped", "full"] {
            let interposed = probe(gpu, true, &[("RDNAFIX_POLICY", level)]);
            assert_eq!(interposed.stdout(), stock.stdout(), "{gpu}, level {level}");
        }
    }
}
