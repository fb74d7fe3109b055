//! Link options that keep librdnafix.so cheap to load: it is mapped into every process under
//! the user's command. The export list needs none: rustc gives the linker a version script of
//! the `no_mangle` functions, which src/hook.rs makes from the table (tests/exports.rs checks).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for option in [
        // Handlers stay registered with the C library (atexit, fork): never unmapped.
        "-z,nodelete",
        "-z,relro",
        "-z,now",
        "--hash-style=gnu",
        "--gc-sections",
        "-O2",
    ] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,{option}");
    }
}
