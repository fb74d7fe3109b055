//! The installed libamdhip64 on the simulated GPU.

mod sim_common;

use std::path::Path;
use std::sync::OnceLock;

use kfd_abi::log::{Domain, Ioctl, Mtype};
use sim_common::{Ran, compile, run};

const SIZE: u64 = 4 << 20;

fn copies() -> &'static Path {
    static PROGRAM: OnceLock<std::path::PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compile("sim_copies.cpp"))
}

#[test]
fn copies_of_64_bytes_to_64_mib_and_fills_are_byte_correct() {
    run(copies(), &[], &[]).expect_ok();
}

#[test]
fn copies_are_correct_in_every_machine() {
    for (name, value) in [
        ("KFDSIM_GPUS", "gfx1010"),
        ("KFDSIM_GPUS", "gfx1035"),
        ("KFDSIM_GPUS", "gfx906"),
        ("KFDSIM_GPUS", "gfx1030,gfx1010"),
        ("KFDSIM_LARGE_BAR", "1"),
        ("KFDSIM_SVM", "0"),
        ("KFDSIM_KFD_VERSION", "1.14"),
    ] {
        let ran = run(copies(), &["0x100000"], &[(name, value)]);
        assert!(ran.success, "{name}={value}: {}\n{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn copies_are_correct_whichever_engine_rocr_chooses() {
    for (name, value) in [
        ("HSA_ENABLE_SDMA", "0"),
        ("GPU_FORCE_BLIT_COPY_SIZE", "0"),
        ("HSA_USERPTR_FOR_PAGED_MEM", "0"),
    ] {
        let ran = run(copies(), &["0x500000"], &[(name, value)]);
        assert!(ran.success, "{name}={value}: {}\n{}", ran.stdout, ran.stderr);
    }
}

fn calls(settings: &[(&str, &str)]) -> Ran {
    static PROGRAM: OnceLock<std::path::PathBuf> = OnceLock::new();
    let ran = run(PROGRAM.get_or_init(|| compile("sim_calls.cpp")), &[], settings);
    assert!(ran.success, "{}\n{}", ran.stdout, ran.stderr);
    ran
}

/// The allocation of 4 MiB after a mark.
fn allocation<'a>(ran: &'a Ran, mark: &str) -> &'a Ioctl {
    let found: Vec<&Ioctl> = ran
        .after(mark)
        .into_iter()
        .filter(|ioctl| ioctl.memory.iter().any(|memory| memory.size == SIZE))
        .collect();
    assert_eq!(found.len(), 1, "{mark}: {found:?}");
    found[0]
}

#[test]
fn each_hip_allocation_asks_the_kernel_for_what_it_should() {
    let ran = calls(&[]);
    for (mark, domain, coherent, mtype) in [
        ("hipMalloc", Domain::Vram, false, Mtype::Nc),
        ("hipHostMalloc", Domain::Userptr, true, Mtype::Uc),
        ("hipHostMalloc NonCoherent", Domain::Userptr, false, Mtype::Nc),
        ("hipHostRegister", Domain::Userptr, true, Mtype::Uc),
        ("hipMallocManaged", Domain::Svm, true, Mtype::Uc),
        ("SetCoarseGrain", Domain::Svm, false, Mtype::Nc),
        ("UnsetCoarseGrain", Domain::Svm, true, Mtype::Uc),
    ] {
        let ioctl = allocation(&ran, mark);
        let memory = &ioctl.memory[0];
        assert_eq!((memory.domain, memory.coherent), (domain, coherent), "{mark}");
        assert_eq!(memory.mtype["gfx1030#0"], mtype, "{mark}");
        let named = memory.flags.contains(&"COHERENT".to_owned());
        assert_eq!(named, coherent, "{mark}: {:?}", memory.flags);
    }
}

#[test]
fn the_log_names_the_hip_function_behind_an_allocation() {
    let ran = calls(&[]);
    for (mark, api) in [
        ("hipMalloc", "hipMalloc"),
        ("hipHostMalloc", "hipHostMalloc"),
        ("hipHostRegister", "hipHostRegister"),
        ("hipMallocManaged", "hipMallocManaged"),
        ("SetCoarseGrain", "hipMemAdvise"),
    ] {
        assert_eq!(allocation(&ran, mark).api.as_deref(), Some(api), "{mark}");
    }
}

#[test]
fn without_svm_managed_memory_is_coarse_grained_host_memory() {
    let ran = calls(&[("KFDSIM_SVM", "0")]);
    let memory = &allocation(&ran, "hipMallocManaged").memory[0];
    assert_eq!((memory.domain, memory.coherent), (Domain::Userptr, false));
    assert!(ran.ioctls("SVM").is_empty());
}

#[test]
fn system_memory_is_listed_with_every_gpu_and_its_own_mtype() {
    let ran = calls(&[("KFDSIM_GPUS", "gfx1030,gfx1201")]);
    let memory = &allocation(&ran, "hipHostMalloc").memory[0];
    assert_eq!(memory.mtype["gfx1030#0"], Mtype::Uc);
    assert_eq!(memory.mtype["gfx1201#1"], Mtype::Nc);
    assert_eq!(allocation(&ran, "hipMalloc").memory[0].mtype.len(), 1);
}

#[test]
fn a_large_bar_only_adds_public_to_vram() {
    let flags = |ran: &Ran| allocation(ran, "hipMalloc").memory[0].flags.clone();
    let (small, large) = (calls(&[]), calls(&[("KFDSIM_LARGE_BAR", "1")]));
    let added: Vec<String> =
        flags(&large).into_iter().filter(|flag| !flags(&small).contains(flag)).collect();
    assert_eq!(added, ["PUBLIC"]);
}

#[test]
fn a_kernel_that_denies_non_coherent_memory_says_so() {
    let ran = calls(&[("KFDSIM_DENY_NONCOHERENT", "1")]);
    let said = |call: &str| {
        let line = ran.stdout.lines().find_map(|line| line.strip_prefix(call));
        line.unwrap_or_else(|| panic!("no {call}")).trim().to_owned()
    };
    assert_eq!(said("hipHostMalloc NonCoherent"), "hipErrorOutOfMemory");
    assert_eq!(said("hipHostMalloc hip"), "Success");
    assert_eq!(said("hipMalloc hip"), "Success");
    let refused = ran.after("SetCoarseGrain");
    assert!(refused.iter().any(|ioctl| ioctl.name == "SVM" && ioctl.errno == 22));
}

#[test]
fn a_child_uses_the_gpu_after_fork() {
    let program = compile("sim_fork.cpp");
    run(&program, &["fresh"], &[]).expect_ok();
    let ran = run(&program, &["used"], &[]);
    ran.expect_ok();
    // A child starts counting again.
    assert!(ran.records.iter().filter(|record| record.seq == 0).count() >= 3);
}
