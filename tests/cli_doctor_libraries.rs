//! `rdnafix doctor` on installed libraries: a PyTorch with real device code sections, rocBLAS
//! directories, other releases of ROCm.

mod cli_common;
mod doctor_common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use cli_common::succeed;
use doctor_common::{Examined, examine, simulated};
use tempfile::TempDir;

/// A directory of Python packages with a PyTorch whose library has code for these targets, in a
/// bundle as the compiler makes it.
fn wheel(targets: &[&str]) -> TempDir {
    let site = tempfile::tempdir().unwrap();
    let library = site.path().join("torch/lib");
    fs::create_dir_all(&library).unwrap();
    fs::write(
        site.path().join("torch/version.py"),
        "__version__ = '2.9.1+rocm6.4'\nhip: Optional[str] = '6.4.43484'\n",
    )
    .unwrap();
    let mut names = vec!["host-x86_64-unknown-linux-gnu--".to_owned()];
    names.extend(targets.iter().map(|target| format!("hipv4-amdgcn-amd-amdhsa--{target}")));
    let mut source = format!(
        ".section .hip_fatbin,\"a\",@progbits\n.ascii \"__CLANG_OFFLOAD_BUNDLE__\"\n.quad {}\n",
        names.len()
    );
    for name in &names {
        let _ = writeln!(source, ".quad 4096\n.quad 0\n.quad {}\n.ascii \"{name}\"", name.len());
    }
    let assembly = site.path().join("fatbin.s");
    fs::write(&assembly, source).unwrap();
    succeed(
        Command::new("gcc")
            .args(["-shared", "-nostdlib", "-Wl,-soname,libtorch_hip.so", "-o"])
            .arg(library.join("libtorch_hip.so"))
            .arg(&assembly),
    );
    site
}

/// Kernels of rocBLAS beside that PyTorch.
fn add_blas(site: &Path, targets: &[&str]) {
    let library = site.join("torch/lib/rocblas/library");
    fs::create_dir_all(&library).unwrap();
    for target in targets {
        fs::write(library.join(format!("TensileLibrary_lazy_{target}.dat")), "").unwrap();
        fs::write(library.join(format!("Kernels.so-000-{target}.hsaco")), "").unwrap();
    }
}

fn with_packages(board: &str, site: &TempDir, environment: &[(&str, &str)]) -> Examined {
    let arguments = ["doctor", "--json", "--site-packages", site.path().to_str().unwrap()];
    examine(&mut simulated(board, &[], environment, &arguments))
}

/// What AMD's official wheels had.
const OFFICIAL: [&str; 6] = ["gfx900", "gfx906:xnack-", "gfx90a", "gfx1030", "gfx1100", "gfx942"];

#[test]
fn the_targets_of_a_wheel_are_read_from_its_device_code() {
    let site = wheel(&OFFICIAL);
    let examined = with_packages("gfx1030", &site, &[]);
    let torch = &examined.document["machine"]["torch"][0];
    let targets = ["gfx1030", "gfx1100", "gfx900", "gfx906", "gfx90a", "gfx942"];
    assert_eq!(torch["targets"]["value"], serde_json::json!(targets));
    assert_eq!(torch["version"]["value"], "2.9.1+rocm6.4");
    assert!(!examined.has("no-kernels"));
}

#[test]
fn a_wheel_without_the_boards_target_is_an_error_that_points_to_a_build_with_it() {
    let site = wheel(&OFFICIAL);
    for board in ["gfx1010", "gfx1012", "gfx1031", "gfx1032"] {
        let examined = with_packages(board, &site, &[]);
        let found = examined.finding("no-kernels");
        assert!(found["advice"].as_str().unwrap().contains("TheRock"), "{board}");
        assert_eq!(found["rdnafix"], "no");
        let commands = found["fix"].as_array().unwrap();
        if board.starts_with("gfx101") {
            assert!(commands.is_empty(), "{board}: there is nothing to fall back on");
        } else {
            assert_eq!(commands[0], "export HSA_OVERRIDE_GFX_VERSION=10.3.0");
        }
    }
    // What the command says is then right.
    let over = [("HSA_OVERRIDE_GFX_VERSION", "10.3.0")];
    let examined = with_packages("gfx1031", &site, &over);
    assert!(!examined.has("no-kernels") && !examined.has("override-needless"));
}

#[test]
fn with_several_gpus_the_override_is_for_the_one_that_needs_it() {
    let site = wheel(&OFFICIAL);
    let examined = with_packages("gfx1030,gfx1031", &site, &[]);
    let found = examined.finding("no-kernels");
    assert_eq!(found["fix"][0], "export HSA_OVERRIDE_GFX_VERSION_2=10.3.0");
}

#[test]
fn an_override_beside_a_native_wheel_is_needless() {
    let site = wheel(&["gfx1031"]);
    let over = [("HSA_OVERRIDE_GFX_VERSION", "10.3.0")];
    let examined = with_packages("gfx1031", &site, &over);
    assert_eq!(examined.finding("override-needless")["severity"], "warning");
    // And with it, the wheel has no code for what the GPU is taken for.
    assert!(examined.has("no-kernels"));
    assert!(!with_packages("gfx1031", &site, &[]).has("no-kernels"));
}

#[test]
fn a_rocblas_that_lacks_the_target_is_named_although_pytorch_has_it() {
    let site = wheel(&["gfx1010", "gfx1030"]);
    add_blas(site.path(), &["gfx1030", "gfx90a"]);
    let examined = with_packages("gfx1010", &site, &[]);
    let what = examined.finding("no-kernels")["what"].as_str().unwrap();
    assert!(what.starts_with("rocBLAS has no code for gfx1010"), "{what}");
    assert!(!with_packages("gfx1030", &site, &[]).has("no-kernels"));
}

#[test]
fn a_cut_or_foreign_library_leaves_the_targets_unknown() {
    let site = wheel(&OFFICIAL);
    let library = site.path().join("torch/lib/libtorch_hip.so");
    let bytes = fs::read(&library).unwrap();
    for content in [&b""[..], &b"no library"[..], &bytes[..bytes.len() / 2], &bytes[..64]] {
        fs::write(&library, content).unwrap();
        let examined = with_packages("gfx1010", &site, &[]);
        assert_eq!(examined.document["machine"]["torch"][0]["targets"], serde_json::Value::Null);
        assert!(!examined.has("no-kernels"));
    }
}

#[test]
fn this_machines_own_rocm_is_found_with_its_soname() {
    let site = wheel(&OFFICIAL);
    let examined = with_packages("gfx1030", &site, &[]);
    let libraries = examined.document["machine"]["libraries"].as_array().unwrap();
    let hip = libraries.iter().find(|library| {
        library["soname"].as_str().is_some_and(|name| name.starts_with("libamdhip64.so."))
    });
    let Some(hip) = hip else {
        println!("SKIPPED: the ROCm of this machine: there is no libamdhip64 here");
        return;
    };
    let path = hip["path"].as_str().unwrap();
    assert!(Path::new(path).is_file(), "{path}");
    assert!(!examined.has("no-rocm"));
}
