//! What the build has made, and programs that the tests compile.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target directory of this build.
pub fn target_dir() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp is in the target directory")
}

/// A file that `cargo build --release --workspace` makes.
pub fn artifact(name: &str) -> PathBuf {
    let path = target_dir().join("release").join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --release --workspace` first",
        path.display()
    );
    path
}

/// Compiles a file of the repository; `arguments` go to the compiler after it. Made once for
/// each content: test processes share what one of them compiled.
pub fn compile(source: &str, name: &str, arguments: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let mut hash = DefaultHasher::new();
    let text = std::fs::read_to_string(&source).expect("the source is readable");
    hash_headers(&source, &text, &mut hash);
    (text, arguments).hash(&mut hash);
    let dir = target_dir().join("test-programs").join(format!("{name}-{:016x}", hash.finish()));
    let out = dir.join(name);
    if out.exists() {
        return out;
    }
    std::fs::create_dir_all(&dir).expect("the target directory is writable");
    let part = tempfile::Builder::new().tempdir_in(&dir).expect("a directory of our own");
    let made = part.path().join(name);
    let compiler = if source.extension().is_some_and(|kind| kind == "cpp") { "g++" } else { "gcc" };
    let status = Command::new(compiler)
        .args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-D__HIP_PLATFORM_AMD__"])
        .arg(&source)
        .args(arguments)
        .arg("-o")
        .arg(&made)
        .status()
        .unwrap_or_else(|error| panic!("{compiler}: {error}; install g++"));
    assert!(status.success(), "{compiler} {} failed: {status}", source.display());
    std::fs::rename(&made, &out).expect("rename within a directory");
    out
}

/// Adds the repository's own headers that a text includes, and those that they include.
fn hash_headers(file: &Path, text: &str, hash: &mut DefaultHasher) {
    for header in text.lines().filter_map(|line| line.strip_prefix("#include \"")) {
        let header = file.with_file_name(header.trim_end_matches('"'));
        let text = std::fs::read_to_string(&header).expect("the header is readable");
        text.hash(hash);
        hash_headers(&header, &text, hash);
    }
}
