//! `rdnafix patch create --component pytorch` on the real sources, changed as later releases are:
//! the same defaults where the hooks fit, and a refusal that says why where they do not.

mod cli_common;
mod source_common;

use std::fs;

use cli_common::text;
use source_common::{contents, create, edit, patches_in, ported, sources, unpack};

const CONFIG: &str = "c10/cuda/CUDAAllocatorConfig.cpp";
const ALLOCATOR: &str = "c10/cuda/CUDACachingAllocator.cpp";

/// The lines that a series for this tree adds.
fn added(tree: &std::path::Path) -> Vec<String> {
    let (made, directory) = create("pytorch", tree);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let all = patches_in(&directory.path().join("out"));
    let lines = all.iter().flat_map(|(_, text)| text.lines().map(str::to_owned));
    lines.filter(|line| line.starts_with('+') && !line.starts_with("+++ ")).collect()
}

#[test]
fn the_settings_of_2_7_to_2_9_are_found_too() {
    let Some(tree) = sources("pytorch/2.6.0") else { return };
    let stock = added(tree.path());
    edit(
        tree.path(),
        CONFIG,
        "::parseArgs(const char* env)",
        "::parseArgs(const std::optional<std::string>& env)",
    );
    edit(tree.path(), CONFIG, "if (env == nullptr) {", "if (!env.has_value()) {");
    assert_eq!(added(tree.path()), stock);
    ported("pytorch", tree.path());
}

#[test]
fn a_tree_that_hipify_has_been_over_is_patched_in_its_sources_only() {
    let Some(tree) = sources("pytorch/2.6.0") else { return };
    let stock = added(tree.path());
    // What build_amd.py makes of the two files, as far as names go.
    for (file, to) in [(CONFIG, "HIPAllocatorConfig.cpp"), (ALLOCATOR, "HIPCachingAllocator.cpp")] {
        let code = fs::read_to_string(tree.path().join(file)).unwrap();
        let code = code.replace("CUDA", "HIP").replace("cuda", "hip");
        fs::write(tree.path().join("c10/hip").join(to), code).unwrap();
    }
    assert_eq!(added(tree.path()), stock);
}

#[test]
fn what_2_10_has_changed_is_refused_and_nothing_is_written() {
    let Some(tree) = sources("pytorch/2.6.0") else { return };
    let stock = contents(tree.path());
    let table: [(&str, &str, &str, &str); 4] = [
        // The settings are read by c10/core, and CUDA's part has no defaults of these any more.
        (
            CONFIG,
            "::parseArgs(const char* env)",
            "::parseArgs(const std::string& env)",
            "parseArgs has the parameters (const std :: string &)",
        ),
        (
            CONFIG,
            "  m_garbage_collection_threshold = 0;\n",
            "",
            "has no statement that begins with `m_garbage_collection_threshold = 0;`",
        ),
        // No fraction is another one.
        (ALLOCATOR, "set_fraction = true;", "", "has no `set_fraction = true;`"),
        (
            ALLOCATOR,
            "device_allocator.resize(",
            "allocators_.resize(",
            "has no statement that begins with `device_allocator.resize(`",
        ),
    ];
    for (file, from, to, why) in table {
        edit(tree.path(), file, from, to);
        let changed = contents(tree.path());
        let (made, directory) = create("pytorch", tree.path());
        let said = text(&made.stderr);
        assert!(!made.status.success() && said.contains(why), "{from}: {said}");
        assert!(said.contains("nothing is written"), "{from}: {said}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{from}");
        assert!(contents(tree.path()) == changed, "{from}");
        fs::write(tree.path().join(file), &stock[std::path::Path::new(file)]).unwrap();
    }
}

#[test]
fn the_newest_release_is_refused() {
    let tree = tempfile::tempdir().unwrap();
    let what = "the newest PyTorch is refused";
    if !unpack(what, "source-pytorch-newest", "pytorch_", tree.path()) {
        return;
    }
    // 2.14.1 or later: no hook fits.
    let (made, directory) = create("pytorch", tree.path());
    let said = text(&made.stderr);
    assert!(!made.status.success() && said.contains("nothing is written"), "{said}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_patched_tree_is_not_patched_again() {
    let Some(tree) = sources("pytorch/1.13.1") else { return };
    let patched = ported("pytorch", tree.path());
    for (path, content) in patched {
        fs::write(tree.path().join(path), content).unwrap();
    }
    let (made, _directory) = create("pytorch", tree.path());
    let said = text(&made.stderr);
    assert!(!made.status.success() && said.contains("is patched already"), "{said}");
}
