//! How ROCr loads tools and how symbols are bound, on every ROCm release that can be had.

mod common;

use common::release::{Release, releases};
use common::{Ran, Run, compile, rdnafix};

const PINNED: &str = "USERPTR coherent gfx1030#0=UC";
const PINNED_NON_COHERENT: &str = "USERPTR non-coherent gfx1030#0=NC";
const MANAGED: &str = "SVM coherent gfx1030#0=UC";
const MANAGED_NON_COHERENT: &str = "SVM non-coherent gfx1030#0=NC";

/// A program that opens HIP itself, with RTLD_LOCAL.
fn opens(release: &Release) -> Run {
    let hip = format!("libamdhip64.so.{}", &release.name[..1]);
    Run::new(compile("tests/programs/release_opens.c", "release_opens", &["-ldl"])).arg(hip)
}

fn go(release: &Release, run: Run) -> Ran {
    run.on("gfx1030").inside(release).go()
}

fn last(ran: &Ran, call: &str) -> String {
    ran.memory(call).pop().unwrap_or_else(|| panic!("{call}: {}", ran.stdout()))
}

/// The root table's major version, that of the AMD extensions, and their size in bytes.
fn tables(release: &str) -> &'static str {
    match release {
        "5.2.3" => "OnLoad: root 1, amd_ext 1 of 400 bytes\n",
        "5.7.1" => "OnLoad: root 3, amd_ext 2 of 560 bytes\n",
        "6.4.3" => "OnLoad: root 3, amd_ext 2 of 592 bytes\n",
        "7.2.4" => "OnLoad: root 3, amd_ext 2 of 624 bytes\n",
        other => panic!("ROCm {other}: what tables does it have?"),
    }
}

/// 5.7.1 is run with ROCr 6.1.2.
#[test]
fn the_tables_of_the_tool_interface_have_the_size_that_the_layout_is_chosen_by() {
    let tool = compile("tests/programs/release_tool.c", "tool.so", &["-shared", "-fPIC"]);
    for release in releases() {
        let named = go(&release, opens(&release).env("HSA_TOOLS_LIB", &tool));
        assert_eq!(named.stderr(), tables(&release.name), "ROCm {}", release.name);
        let preloaded = go(&release, opens(&release).preload(&tool));
        let automatic = if release.name == "5.2.3" { "" } else { tables(&release.name) };
        assert_eq!(preloaded.stderr(), automatic, "ROCm {}", release.name);
    }
}

#[test]
fn as_a_tool_without_preloading_it_reaches_managed_memory() {
    for release in releases() {
        let stock = go(&release, opens(&release)).well();
        assert_eq!(last(&stock, "managed by dlsym"), MANAGED, "ROCm {}", release.name);
        let tool = go(&release, opens(&release).env("HSA_TOOLS_LIB", rdnafix())).well();
        assert_eq!(last(&tool, "managed by dlsym"), MANAGED_NON_COHERENT, "{}", release.name);
        assert_eq!(last(&tool, "pinned by dlsym"), PINNED, "ROCm {}", release.name);
        assert_eq!(tool.stdout(), stock.stdout(), "ROCm {}", release.name);
    }
}

/// No table of a release is one that is left alone with a warning.
#[test]
fn the_table_of_every_release_is_taken_over() {
    for release in releases() {
        let run = opens(&release).env("HSA_TOOLS_LIB", rdnafix()).env("RDNAFIX_LOG", "debug");
        let ran = go(&release, run);
        let taken = ran.stderr().matches("HSA table taken over").count();
        assert_eq!(taken, 1, "ROCm {}: {}", release.name, ran.stderr());
    }
}

#[test]
fn where_hip_is_opened_with_rtld_local_managed_memory_is_reached_and_pinned_memory_with_dlsym() {
    for release in releases() {
        let by_address = ["6.4.3", "7.2.4"].contains(&&release.name[..]);
        let stock = go(&release, opens(&release)).well();
        for (dlsym, pinned) in [("0", PINNED), ("1", PINNED_NON_COHERENT)] {
            let ran = go(&release, opens(&release).interposed().env("RDNAFIX_DLSYM", dlsym)).well();
            let about = format!("ROCm {}, RDNAFIX_DLSYM={dlsym}", release.name);
            assert_eq!(ran.stdout(), stock.stdout(), "{about}");
            assert_eq!(last(&ran, "managed by dlsym"), MANAGED_NON_COHERENT, "{about}");
            assert_eq!(last(&ran, "pinned by dlsym"), pinned, "{about}");
            assert_eq!(ran.stdout().contains("hipGetProcAddress 0\n"), by_address, "{about}");
            if by_address {
                assert_eq!(last(&ran, "pinned by hipGetProcAddress"), pinned, "{about}");
            }
        }
    }
}

#[test]
fn both_ways_in_at_once_change_a_call_once() {
    for release in releases() {
        let report = |tool: bool| {
            let file = tempfile::NamedTempFile::new().expect("a temporary file");
            let mut run = opens(&release).interposed().env("RDNAFIX_REPORT", file.path());
            if tool {
                run = run.env("HSA_TOOLS_LIB", rdnafix());
            }
            let ran = go(&release, run).well();
            assert_eq!(last(&ran, "managed by dlsym"), MANAGED_NON_COHERENT, "{}", release.name);
            let text = std::fs::read_to_string(file.path()).expect("the report");
            let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            value["calls"].clone()
        };
        assert_eq!(report(true), report(false), "ROCm {}", release.name);
    }
}
