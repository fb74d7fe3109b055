//! `rdnafix doctor` on simulated boards: what it reads, what it finds, its exit codes.

mod cli_common;
mod doctor_common;

use cli_common::{output, rdnafix, text};
use doctor_common::{BOARDS, Examined, examine, on_board, rdna};

#[test]
fn every_board_is_read_by_its_true_target() {
    for board in BOARDS {
        let examined = on_board(board, &[], &[]);
        let gpu = &examined.document["machine"]["gpus"][0];
        assert_eq!(gpu["target"], *board);
        assert_eq!(gpu["node"], 1);
        assert_eq!(gpu["pci"], "0000:03:00.0");
        assert_eq!(gpu["link"]["atomics"], true);
        assert!(gpu["vram"].as_u64().unwrap() > 0);
        assert_eq!(examined.document["machine"]["simulated"], true);
    }
}

#[test]
fn a_board_without_fault_has_no_error_and_rdna_alone_has_uncached_coherent_memory() {
    for board in BOARDS {
        let examined = on_board(board, &[], &[]);
        assert_eq!(examined.document["summary"]["errors"], 0, "{board}: {:?}", examined.ids());
        assert_eq!(examined.has("coherent-memory"), rdna(board), "{board}");
        for id in ["pcie-atomics", "no-svm", "no-access", "igpu-visible", "override-mixed"] {
            assert!(!examined.has(id), "{board}: {id}");
        }
    }
}

#[test]
fn an_override_to_rdna2_is_an_error_on_rdna1_and_hides_nothing_of_the_true_target() {
    for board in ["gfx1010", "gfx1011", "gfx1012", "gfx1013"] {
        let examined = on_board(board, &[], &[("HSA_OVERRIDE_GFX_VERSION", "10.3.0")]);
        assert_eq!(examined.code, 1);
        let found = examined.finding("override-wrong-family");
        assert_eq!(found["severity"], "error");
        assert_eq!(found["fix"][0], "unset HSA_OVERRIDE_GFX_VERSION");
        assert_eq!(found["evidence"][0]["value"], "HSA_OVERRIDE_GFX_VERSION=10.3.0");
        assert!(found["what"].as_str().unwrap().starts_with(board));
    }
    for board in ["gfx1031", "gfx1032", "gfx1034", "gfx1035", "gfx1036"] {
        let examined = on_board(board, &[], &[("HSA_OVERRIDE_GFX_VERSION", "10.3.0")]);
        assert!(!examined.has("override-wrong-family"), "{board}");
    }
}

#[test]
fn a_global_override_on_a_mixed_machine_names_the_gpu_that_it_hits() {
    let over = [("HSA_OVERRIDE_GFX_VERSION", "10.3.0")];
    let examined = on_board("gfx1031,gfx906", &[], &over);
    let found = examined.finding("override-mixed");
    assert!(found["what"].as_str().unwrap().starts_with("gfx906"));
    assert_eq!(found["fix"][1], "export HSA_OVERRIDE_GFX_VERSION_1=10.3.0");
    let own = [("HSA_OVERRIDE_GFX_VERSION_1", "10.3.0")];
    assert!(!on_board("gfx1031,gfx906", &[], &own).has("override-mixed"));
}

#[test]
fn an_integrated_gpu_beside_a_card_is_named_until_it_is_hidden() {
    let examined = on_board("gfx1036,gfx1030", &[], &[]);
    let found = examined.finding("igpu-visible");
    assert_eq!(found["fix"][0], "export ROCR_VISIBLE_DEVICES=1");
    let hidden = on_board("gfx1036,gfx1030", &[], &[("ROCR_VISIBLE_DEVICES", "1")]);
    assert!(!hidden.has("igpu-visible"));
}

#[test]
fn harmful_settings_are_named_with_the_variable_that_was_read() {
    for (name, value, id) in [
        ("HSA_FORCE_FINE_GRAIN_PCIE", "1", "fine-grain-pcie"),
        ("HSA_DISABLE_CACHE", "1", "disable-cache"),
        ("HIP_HOST_COHERENT", "1", "host-coherent"),
        ("HSA_XNACK", "1", "xnack"),
        ("HSA_USE_SVM", "0", "use-svm"),
        ("GPU_MAX_HW_QUEUES", "16", "hw-queues"),
        ("MIOPEN_FIND_ENFORCE", "SEARCH", "miopen-search"),
        ("RDNAFIX_POLICY", "off", "rdnafix-off"),
        ("RDNAFIX_POLICY", "maximal", "rdnafix-setting"),
        ("HSA_OVERRIDE_GFX_VERSION", "gfx1030", "override-unreadable"),
        ("PYTORCH_HIP_ALLOC_CONF", "expandable_segments:true", "torch-alloc-conf"),
    ] {
        let examined = on_board("gfx1031", &[], &[(name, value)]);
        let found = examined.finding(id);
        let evidence = found["evidence"][0].clone();
        assert_eq!(evidence["value"], format!("{name}={value}"), "{id}");
        assert!(evidence["from"].as_str().unwrap().starts_with("environment"), "{id}");
        assert!(!on_board("gfx1031", &[], &[]).has(id), "{id}");
    }
}

#[test]
fn a_preloaded_library_that_is_gone_is_named_and_ours_ends_the_note_about_memory() {
    let interposer = cli_common::release("librdnafix.so");
    let with = |library: &str| on_board("gfx1031", &[], &[("LD_PRELOAD", library)]);
    let there = with(interposer.to_str().unwrap());
    assert!(!there.has("coherent-memory") && !there.has("preload-leftover"));
    let gone = with("/nonexistent/librdnafix.so");
    assert!(gone.has("preload-leftover"));
}

#[test]
fn a_kernel_without_the_svm_api_and_a_large_bar_are_read() {
    assert!(on_board("gfx1031", &["--no-svm"], &[]).has("no-svm"));
    let visible = |options: &[&str]| {
        let examined = on_board("gfx1031", options, &[]);
        examined.document["machine"]["gpus"][0]["visible"].as_u64()
    };
    assert_eq!(visible(&["--large-bar"]), Some(12 << 30));
    assert_eq!(visible(&[]), None);
}

#[test]
fn a_slot_without_pcie_atomics_is_a_warning_and_fails() {
    let examined = on_board("gfx1031", &[], &[("KFDSIM_PCIE_ATOMICS", "0")]);
    let found = examined.finding("pcie-atomics");
    assert_eq!(found["severity"], "warning");
    assert_eq!(found["rdnafix"], "partly");
    let from = found["evidence"][0]["from"].as_str().unwrap();
    assert_eq!(from, "/sys/class/kfd/kfd/topology/nodes/1/io_links/0/properties");
    assert_eq!(examined.code, 1);
    // An APU shares the memory of the CPU.
    assert!(!on_board("gfx1036", &[], &[("KFDSIM_PCIE_ATOMICS", "0")]).has("pcie-atomics"));
}

#[test]
fn a_machine_without_a_gpu_has_nothing_to_examine() {
    let empty = tempfile::tempdir().unwrap();
    let examined =
        examine(&mut rdnafix(["doctor", "--json", "--root", empty.path().to_str().unwrap()]));
    assert_eq!(examined.ids(), ["no-gpu"]);
    assert_eq!(examined.code, 1);
}

#[test]
fn what_is_asked_wrongly_is_an_error_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file.tar.gz");
    std::fs::write(&file, "no archive").unwrap();
    let file = file.to_str().unwrap();
    for (arguments, word) in [
        (&["doctor", "--root", "/nonexistent"][..], "/nonexistent"),
        (&["doctor", "--root", file], "neither a directory nor a dump"),
        (&["doctor", "--dump", file], "already"),
        (&["doctor", "--dump", "/nonexistent/x.tar.gz"], "cannot write"),
        (&["doctor", "--dump", "-"], "name it so"),
        (&["doctor", "--root", dir.path().to_str().unwrap(), "--board", "1"], "no GPU"),
        (&["doctor", "--no-such-option"], "--no-such-option"),
    ] {
        let output = output(&mut rdnafix(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(word), "{}", text(&output.stderr));
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "no archive");
}

#[test]
fn the_report_fits_80_columns_says_that_nothing_was_changed_and_has_no_colour_in_a_pipe() {
    let bad = [
        ("HSA_OVERRIDE_GFX_VERSION", "10.3.0"),
        ("HSA_FORCE_FINE_GRAIN_PCIE", "1"),
        ("HSA_DISABLE_CACHE", "1"),
        ("HSA_XNACK", "1"),
        ("LD_PRELOAD", "/nonexistent/librdnafix.so"),
    ];
    for boards in ["gfx1010,gfx906,gfx1030,gfx1036", "gfx1030", "gfx906"] {
        let report = text(&output(&mut Examined::text(boards, &bad)).stdout);
        assert!(report.ends_with("Nothing was changed.\n"), "{report}");
        assert!(!report.contains('\u{1b}'));
        for line in report.lines() {
            // What is to be copied stays whole: commands, addresses, paths.
            let whole =
                line.contains(" $ ") || !line.trim_start()[..].contains(' ') || line.contains('/');
            assert!(line.chars().count() <= 80 || whole, "{line}");
            assert_eq!(line.trim_end(), line);
        }
    }
}

#[test]
fn the_worst_is_told_first() {
    let bad = [("HSA_OVERRIDE_GFX_VERSION", "10.3.0"), ("HSA_DISABLE_CACHE", "1")];
    let report = text(&output(&mut Examined::text("gfx1010", &bad)).stdout);
    let at = |word: &str| report.find(word).unwrap_or_else(|| panic!("{word} in {report}"));
    assert!(at("\nerror: ") < at("\nwarning: ") && at("\nwarning: ") < at("\nnote: "));
}
