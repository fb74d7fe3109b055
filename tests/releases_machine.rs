//! The machine and the environment on every ROCm release that can be had: variables of the
//! runtimes, an old kernel, names that are overridden, boxes of several GPUs, hidden GPUs.

mod common;

use common::release::{Release, releases};
use common::{Ran, Run};

fn run(release: &Release, gpus: &str, interposed: bool, settings: &[(&str, &str)]) -> Ran {
    on_device(release, gpus, 0, interposed, settings)
}

fn on_device(
    release: &Release,
    gpus: &str,
    device: usize,
    interposed: bool,
    settings: &[(&str, &str)],
) -> Ran {
    let libraries = ["-std=c++17", "-lamdhip64", "-lhsa-runtime64", "-ldl"];
    let program = release.compile("tests/programs/release_calls.cpp", "release_calls", &libraries);
    let mut run = Run::new(program).args(["--device", &device.to_string()]);
    for (name, value) in settings {
        run = run.env(name, value);
    }
    if interposed {
        run = run.interposed();
    }
    run.on(gpus).inside(release).go()
}

fn says(ran: &Ran, line: &str) -> bool {
    ran.stdout().lines().any(|said| said == line)
}

/// What the memory of a call was in the end: `USERPTR coherent`, without the GPUs' MTYPEs.
fn grain(ran: &Ran, call: &str) -> String {
    let memory = ran.memory(call).pop().unwrap_or_else(|| panic!("{call}: {}", ran.stdout()));
    memory.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// 5.2.3 leaves out GPUs that came after it.
fn knows(release: &Release, gpu: &str) -> bool {
    release.name != "5.2.3" || !["gfx1036", "gfx1100"].contains(&gpu)
}

#[test]
fn managed_memory_without_svm_is_non_coherent_already_where_the_release_heeds_the_variable() {
    for release in releases() {
        let heeds = release.name != "5.2.3";
        for interposed in [false, true] {
            let ran = run(&release, "gfx1030", interposed, &[("HSA_USE_SVM", "0")]).well();
            let expected = match (heeds, interposed) {
                (true, _) => "USERPTR non-coherent",
                (false, true) => "SVM non-coherent",
                (false, false) => "SVM coherent",
            };
            assert_eq!(grain(&ran, "hipMallocManaged"), expected, "ROCm {}", release.name);
        }
    }
}

/// The variable makes every buffer uncached; SVM ranges are not buffers.
#[test]
fn without_caches_only_ranges_can_be_non_coherent() {
    for release in releases() {
        for interposed in [false, true] {
            let ran = run(&release, "gfx1030", interposed, &[("HSA_DISABLE_CACHE", "1")]).well();
            for (call, buffer) in [("hipMalloc", "VRAM"), ("hipHostMalloc 0x0", "USERPTR")] {
                assert_eq!(grain(&ran, call), format!("{buffer} coherent"), "{}", release.name);
            }
            let managed = if interposed { "SVM non-coherent" } else { "SVM coherent" };
            assert_eq!(grain(&ran, "hipMallocManaged"), managed, "ROCm {}", release.name);
        }
    }
}

/// Stock, the program gets hipErrorOutOfMemory and no reason. With the library it still does;
/// whoever asks for warnings reads the reason.
#[test]
fn on_an_old_kernel_managed_memory_fails_with_hip_7_and_the_log_says_why() {
    const OLD: (&str, &str) = ("KFDSIM_KFD_VERSION", "1.14");
    const WARN: (&str, &str) = ("RDNAFIX_LOG", "warn");
    for release in releases() {
        let broken = release.name == "7.2.4";
        let code = if broken { 2 } else { 0 };
        for interposed in [false, true] {
            let ran = run(&release, "gfx1030", interposed, &[OLD]).well();
            assert!(says(&ran, &format!("hipMallocManaged -> {code}")), "{}", ran.stdout());
            assert!(says(&ran, &format!("the error left by hipMallocManaged -> {code}")));
        }
        let ran = run(&release, "gfx1030", true, &[OLD, WARN]);
        let lines: Vec<&str> =
            ran.stderr().lines().filter(|line| line.starts_with("rdnafix")).collect();
        assert_eq!(lines.len(), usize::from(broken), "ROCm {}: {lines:?}", release.name);
        for line in lines {
            for part in ["hipMallocManaged", "KFD 1.15", "HSA_USE_SVM=0", "newer kernel"] {
                assert!(line.contains(part), "no {part:?} in {line:?}");
            }
        }
        // The way out is one, and on a newer kernel nothing is said.
        let ran = run(&release, "gfx1030", true, &[OLD, WARN, ("HSA_USE_SVM", "0")]).well();
        assert!(says(&ran, "hipMallocManaged -> 0"), "{}", ran.stdout());
        run(&release, "gfx1030", true, &[("KFDSIM_KFD_VERSION", "1.15"), WARN]).well();
    }
}

#[test]
fn a_gpu_is_what_the_kernel_says_whatever_name_it_is_given() {
    for (gpu, version, name) in [
        ("gfx1010", "10.3.0", "gfx1030"),
        ("gfx1012", "10.1.0", "gfx1010"),
        ("gfx1030", "9.0.6", "gfx906"),
        ("gfx1100", "10.3.0", "gfx1030"),
    ] {
        for release in releases() {
            let by_node = ["6.4.3", "7.2.4"].contains(&&release.name[..]);
            for (variable, renamed) in
                [("HSA_OVERRIDE_GFX_VERSION", true), ("HSA_OVERRIDE_GFX_VERSION_1", by_node)]
            {
                if !renamed && !knows(&release, gpu) {
                    continue;
                }
                let ran = run(&release, gpu, true, &[(variable, version)]).well();
                let expected = if renamed { name } else { gpu };
                assert!(says(&ran, &format!("gpu0 is {expected}")), "{}", ran.stdout());
                let stock = run(&release, gpu, false, &[(variable, version)]).well();
                let grain_word = if gpu == "gfx1100" { "coherent" } else { "non-coherent" };
                for (call, kind) in [("hipMallocManaged", "SVM"), ("hipHostMalloc 0x0", "USERPTR")]
                {
                    assert_eq!(grain(&stock, call), format!("{kind} coherent"), "{variable}");
                    assert_eq!(
                        grain(&ran, call),
                        format!("{kind} {grain_word}"),
                        "ROCm {}: {gpu} with {variable}={version}: {call}",
                        release.name
                    );
                }
            }
        }
    }
}

fn is_rdna12(gpu: &str) -> bool {
    gpu.starts_with("gfx10")
}

#[test]
fn on_a_mixed_box_each_memory_is_decided_by_its_own_gpus() {
    for boards in ["gfx1030,gfx1100", "gfx1010,gfx906", "gfx1031,gfx1031", "gfx1030,gfx1036"] {
        for release in releases() {
            let gpus: Vec<&str> = boards.split(',').filter(|gpu| knows(&release, gpu)).collect();
            for device in 0..gpus.len() {
                let ran = on_device(&release, boards, device, true, &[]).well();
                let about = format!("ROCm {}: {boards}, device {device}", release.name);
                let stock = on_device(&release, boards, device, false, &[]).well();
                assert_eq!(grain(&stock, "hipHostMalloc 0x0"), "USERPTR coherent", "{about}");
                assert_eq!(grain(&stock, "hipMallocManaged"), "SVM coherent", "{about}");
                assert!(says(&ran, &format!("devices {}", gpus.len())), "{about}");
                let non_coherent =
                    |changed: bool| if changed { "non-coherent" } else { "coherent" };
                let pinned = non_coherent(is_rdna12(gpus[device]));
                assert_eq!(
                    grain(&ran, "hipHostMalloc 0x0"),
                    format!("USERPTR {pinned}"),
                    "{about}"
                );
                // Every one of these boxes has an RDNA1/2 GPU, and HIP lists all.
                assert_eq!(grain(&ran, "hipMallocManaged"), "SVM non-coherent", "{about}");
                if release.name == "5.2.3" {
                    continue; // no pseudo fine-grain flag
                }
                for (number, gpu) in gpus.iter().enumerate() {
                    let pool = non_coherent(is_rdna12(gpu));
                    let call = format!("pool gpu{number} 0x4 flags 0x1");
                    assert_eq!(grain(&stock, &call), "VRAM coherent", "{about}: {call}");
                    assert_eq!(grain(&ran, &call), format!("VRAM {pool}"), "{about}: {call}");
                }
            }
        }
    }
}

/// ROCr hides a GPU from everybody, HIP only from itself.
#[test]
fn a_hidden_gpu_decides_nothing() {
    for release in releases() {
        for variable in ["ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"] {
            for (visible, word) in [("0", "non-coherent"), ("1", "coherent")] {
                let ran = run(&release, "gfx1010,gfx906", true, &[(variable, visible)]).well();
                let about = format!("ROCm {}: {variable}={visible}", release.name);
                let stock = run(&release, "gfx1010,gfx906", false, &[(variable, visible)]).well();
                assert_eq!(grain(&stock, "hipHostMalloc 0x0"), "USERPTR coherent", "{about}");
                assert_eq!(grain(&stock, "hipMallocManaged"), "SVM coherent", "{about}");
                assert!(says(&ran, "devices 1"), "{about}: {}", ran.stdout());
                assert_eq!(grain(&ran, "hipMallocManaged"), format!("SVM {word}"), "{about}");
                assert_eq!(grain(&ran, "hipHostMalloc 0x0"), format!("USERPTR {word}"), "{about}");
            }
        }
    }
}
