//! rocminfo of the installed ROCm on every simulated board.

mod sim_common;

use sim_common::run;

/// The boards that ROCr 5.2.3 has an ISA for.
const KNOWN: [&str; 11] = [
    "gfx906", "gfx1010", "gfx1011", "gfx1012", "gfx1013", "gfx1030", "gfx1031", "gfx1032",
    "gfx1033", "gfx1034", "gfx1035",
];

/// The agents that rocminfo lists, without the CPU.
fn gpus(stdout: &str) -> Vec<String> {
    stdout
        .lines()
        .filter_map(|line| line.strip_prefix("  Name:")?.trim().strip_prefix("gfx"))
        .map(|name| format!("gfx{name}"))
        .collect()
}

#[test]
fn rocminfo_lists_a_gfx1030_with_its_pools() {
    let ran = run("rocminfo", &[], &[]);
    assert!(ran.success, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(gpus(&ran.stdout), ["gfx1030"]);
    let agent = ran.stdout.split("Agent 2").nth(1).expect("a second agent");
    for text in [
        "Marketing Name:          AMD Radeon RX 6800",
        "Chip ID:                 29631(0x73bf)",
        "Compute Unit:            60",
        "Segment:                 GLOBAL; FLAGS: COARSE GRAINED",
        "Size:                    16777216(0x1000000) KB",
        "amdgcn-amd-amdhsa--gfx1030",
    ] {
        assert!(agent.contains(text), "{text:?} is missing in\n{agent}");
    }
    assert!(!agent.contains("FINE GRAINED"), "a fine-grained pool in VRAM that nobody asked for");
}

#[test]
fn rocminfo_lists_every_board_that_this_rocm_knows() {
    for board in KNOWN {
        let ran = run("rocminfo", &[], &[("KFDSIM_GPUS", board)]);
        assert!(ran.success, "{board}: {}\n{}", ran.stdout, ran.stderr);
        assert_eq!(gpus(&ran.stdout), [board]);
        assert!(ran.stdout.contains(&format!("amdgcn-amd-amdhsa--{board}")), "{}", ran.stdout);
    }
}

#[test]
fn rocminfo_lists_several_gpus_in_order_and_the_same_twice() {
    let ran = run("rocminfo", &[], &[("KFDSIM_GPUS", "gfx1030,gfx1010,gfx1030")]);
    assert_eq!(gpus(&ran.stdout), ["gfx1030", "gfx1010", "gfx1030"], "{}", ran.stderr);
    let addresses: Vec<&str> = ran
        .stdout
        .lines()
        .filter_map(|line| line.trim().strip_prefix("BDFID:"))
        .map(str::trim)
        .collect();
    assert_eq!(addresses[1..], ["768", "1024", "1280"]);
}

#[test]
fn a_board_beyond_this_rocm_does_not_hide_the_others() {
    let ran = run("rocminfo", &[], &[("KFDSIM_GPUS", "gfx1030,gfx1201")]);
    assert!(gpus(&ran.stdout).contains(&"gfx1030".to_owned()), "{}\n{}", ran.stdout, ran.stderr);
}

#[test]
fn a_fine_grained_pool_in_vram_appears_when_forced() {
    let ran = run("rocminfo", &[], &[("HSA_FORCE_FINE_GRAIN_PCIE", "1")]);
    let agent = ran.stdout.split("Agent 2").nth(1).expect("a second agent");
    assert!(agent.contains("FLAGS: FINE GRAINED"), "{agent}");
}

#[test]
fn a_wrong_setting_ends_the_program_with_a_message() {
    for (name, value, allowed) in [
        ("KFDSIM_GPUS", "gfx1099", "gfx1030"),
        ("KFDSIM_LARGE_BAR", "yes", "0 or 1"),
        ("KFDSIM_KFD_VERSION", "3", "1.14"),
        ("KFDSIM_BOARDS", "/nonexistent", "No such file"),
    ] {
        let ran = run("rocminfo", &[], &[(name, value)]);
        assert!(!ran.success, "{name}={value} is accepted");
        assert!(ran.stderr.contains(&format!("{name}={value}")), "{}", ran.stderr);
        assert!(ran.stderr.contains(allowed), "{}", ran.stderr);
    }
}

#[test]
fn a_board_file_of_the_user_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let text = include_str!("../crates/kfdsim/boards/gfx1032.toml");
    let text = text.replace("compute_units = 28", "compute_units = 20");
    std::fs::write(dir.path().join("mine.toml"), text).unwrap();
    let boards = dir.path().to_str().unwrap();
    let ran = run("rocminfo", &[], &[("KFDSIM_BOARDS", boards), ("KFDSIM_GPUS", "gfx1032")]);
    assert!(ran.stdout.contains("Compute Unit:            20"), "{}\n{}", ran.stdout, ran.stderr);
}

#[test]
fn a_program_that_uses_no_gpu_leaves_no_trace() {
    let ran = run("ls", &["/"], &[("KFDSIM_GPUS", "nonsense")]);
    assert!(ran.success, "{}", ran.stderr);
    assert!(ran.stderr.is_empty() && ran.records.is_empty());
}
