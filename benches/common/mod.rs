//! What both benchmarks need: the release library and small C libraries made by `cc`.

#[path = "../../tests/common/artifact.rs"]
pub mod artifact;
pub mod variants;

use std::path::{Path, PathBuf};

/// A shared library from a file in benches/c.
pub fn library(dir: &Path, source: &str, soname: &str) -> PathBuf {
    let out = dir.join(soname);
    let target = "x86_64-unknown-linux-gnu";
    let compiler = cc::Build::new()
        .target(target)
        .host(target)
        .opt_level(2)
        .out_dir(dir)
        .cargo_metadata(false)
        .cargo_debug(false)
        .get_compiler();
    let status = compiler
        .to_command()
        .args(["-shared", "-fPIC", &format!("-Wl,-soname,{soname}")])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/c").join(source))
        .arg("-o")
        .arg(&out)
        .status()
        .expect("the C compiler runs");
    assert!(status.success(), "{source}: {status}");
    out
}
