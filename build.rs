//! The export list of librdnafix.so, from the same table as its functions, and the link
//! options that keep it cheap to load: it is mapped into every process under the user's command.

use std::path::PathBuf;

macro_rules! hooks {
    ($($variant:ident, $library:ident, $name:ident, $register:literal, $handler:path, $what:literal;)*) => {
        const EXPORTS: &[&str] = &[$(stringify!($name),)*];
    };
}

include!("src/table.rs");

fn main() {
    println!("cargo:rerun-if-changed=src/table.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let map = out.join("exports.map");
    let script = format!("{{\n  global: {};\n  local: *;\n}};\n", EXPORTS.join("; "));
    std::fs::write(&map, script).expect("OUT_DIR is writable");
    for option in [
        format!("--version-script={}", map.display()),
        // Handlers stay registered with the C library (atexit, fork): never unmapped.
        "-z,nodelete".into(),
        "-z,relro".into(),
        "-z,now".into(),
        "--hash-style=gnu".into(),
        "--gc-sections".into(),
        "-O2".into(),
    ] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,{option}");
    }
}
