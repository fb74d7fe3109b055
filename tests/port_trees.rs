//! `rdnafix patch create` on the real sources: it makes the series that are in `patches/`, and the
//! same changes wherever the files are.

mod cli_common;
mod source_common;

use std::fs;
use std::path::{Path, PathBuf};

use cli_common::{output, rdnafix, text};
use source_common::{Contents, SERIES, contents, create, patches, patches_in, ported};
use source_common::{sources, sources_in};

#[test]
fn the_series_of_this_repository_are_what_create_makes() {
    for (series, ..) in SERIES {
        let Some(tree) = sources(series) else { continue };
        let (component, version) = series.split_once('/').expect("a component and a version");
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out");
        let mut command = rdnafix(["patch", "create", "--component", component, "--version"]);
        let made =
            output(command.arg(version).arg("--source").arg(tree.path()).arg("--out").arg(&out));
        assert!(made.status.success(), "{series}: {}", text(&made.stderr));
        let (made, there) = (contents(&out), contents(&patches().join(series)));
        let names = |all: &Contents| all.keys().cloned().collect::<Vec<PathBuf>>();
        assert_eq!(names(&made), names(&there), "{series}");
        for (name, text) in &made {
            let same = there[name] == *text;
            assert!(
                same,
                "{series}/{}: is not what the hooks make: scripts/create_source_patches.sh --all",
                name.display()
            );
        }
    }
}

/// What the series changes and adds, with `from` at the start of the paths made `to`.
fn changes(stock: &Contents, patched: &Contents, from: &str, to: &str) -> Contents {
    let changed = patched.iter().filter(|(path, text)| stock.get(*path) != Some(text));
    let moved = changed.map(|(path, text)| {
        let path = path.to_str().expect("UTF-8");
        let path = path.strip_prefix(from).map_or(path.to_owned(), |rest| format!("{to}{rest}"));
        (PathBuf::from(path), text.clone())
    });
    moved.collect()
}

/// A port of a tree whose files were moved makes the same changes at the new places.
fn same_changes(component: &str, tree: &Path, moves: &[(&str, &str)], prefix: &str) {
    let stock = contents(tree);
    let mut wanted = changes(&stock, &ported(component, tree), "", prefix);
    let other = tempfile::tempdir().unwrap();
    let root = other.path().join(prefix);
    fs::create_dir_all(root.parent().unwrap()).unwrap();
    fs::rename(tree, &root).unwrap();
    for (from, to) in moves {
        let to_path = other.path().join(prefix).join(to);
        fs::create_dir_all(to_path.parent().unwrap()).unwrap();
        fs::rename(other.path().join(prefix).join(from), to_path).unwrap();
        wanted = changes(
            &Contents::new(),
            &wanted,
            &format!("{prefix}{from}"),
            &format!("{prefix}{to}"),
        );
    }
    // A component beside it that defines the same functions, as profilers and tests do.
    let profiler = other.path().join("projects/profiler/wrappers.cpp");
    if prefix.starts_with("projects") {
        fs::create_dir_all(profiler.parent().unwrap()).unwrap();
        let same = "hipError_t hipHostMalloc(void** ptr, size_t size, unsigned int flags) {}\n\
                    hsa_status_t hsa_amd_memory_pool_allocate() {}\n";
        fs::write(profiler, same).unwrap();
    }
    let stock = contents(other.path());
    let got = changes(&stock, &ported(component, other.path()), "", "");
    let names = |all: &Contents| all.keys().cloned().collect::<Vec<PathBuf>>();
    assert_eq!(names(&got), names(&wanted));
    assert!(got == wanted, "{component}: other text than at the old places");
    fs::rename(&root, tree).unwrap();
}

#[test]
fn rocr_is_found_in_each_of_its_layouts() {
    let Some(tree) = sources("rocr-runtime/6.4.3") else { return };
    let runtime = "runtime/hsa-runtime/";
    // Up to 6.2 in src/, in the monorepo below projects/.
    same_changes("rocr-runtime", tree.path(), &[], "projects/rocr-runtime/");
    same_changes("rocr-runtime", &tree.path().join(runtime), &[], "src/");
    // A file that moved within it.
    same_changes(
        "rocr-runtime",
        tree.path(),
        &[(
            "runtime/hsa-runtime/core/common/hsa_table_interface.cpp",
            "runtime/hsa-runtime/core/api/table.cpp",
        )],
        "",
    );
}

#[test]
fn clr_is_found_in_each_of_its_layouts() {
    let Some(tree) = sources("clr/6.4.3") else { return };
    same_changes("clr", tree.path(), &[], "projects/clr/");
    same_changes(
        "clr",
        tree.path(),
        &[("hipamd/src/hip_memory.cpp", "hipamd/src/memory/pinned.cpp")],
        "clr/",
    );
}

#[test]
fn two_checkouts_of_the_time_before_clr_are_one_source() {
    let Some(tree) = sources("clr/5.7.1") else { return };
    let moves = [("rocclr/", "ROCclr/"), ("hipamd/", "hip/")];
    same_changes("clr", tree.path(), &moves, "");
}

#[test]
fn a_monorepo_is_ported_component_by_component() {
    let monorepo = tempfile::tempdir().unwrap();
    let projects = monorepo.path().join("projects");
    for (series, name) in [("clr/6.4.3", "clr"), ("rocr-runtime/6.4.3", "rocr-runtime")] {
        if !sources_in(series, &projects.join(name)) {
            return;
        }
    }
    for component in ["clr", "rocr-runtime"] {
        let (made, directory) = create(component, monorepo.path());
        assert!(made.status.success(), "{}", text(&made.stderr));
        for (path, text) in patches_in(&directory.path().join("out")) {
            let files = text.lines().filter_map(|line| line.strip_prefix("+++ b/"));
            for file in files {
                let within = format!("projects/{component}/");
                assert!(file.starts_with(&within), "{}: {file}", path.display());
            }
        }
    }
}

#[test]
fn what_a_release_lacks_is_left_out_and_said() {
    let Some(tree) = sources("rocr-runtime/6.4.3") else { return };
    // Before 6.0 there is no such function, nor a mention of it.
    for (path, content) in contents(tree.path()) {
        let content = text(&content);
        if content.contains("hsa_amd_vmem_handle_create") {
            let older = content.replace("hsa_amd_vmem_handle_create", "hsa_amd_other");
            fs::write(tree.path().join(path), older).unwrap();
        }
    }
    let (made, directory) = create("rocr-runtime", tree.path());
    let said = text(&made.stdout);
    let line = "left out, the tree has no use for it: ::hsa_amd_vmem_handle_create(";
    assert!(made.status.success() && said.contains(line), "{said}{}", text(&made.stderr));
    for (path, text) in patches_in(&directory.path().join("out")) {
        let hook = text.contains("+  if (rdnafix::vmem_handle_create(");
        assert!(!hook, "{}", path.display());
    }
    // One mention is enough to be sure that it is not left out by mistake.
    let header = tree.path().join("runtime/hsa-runtime/inc/hsa_ext_amd.h");
    let more = fs::read_to_string(&header).unwrap() + "// hsa_amd_vmem_handle_create\n";
    fs::write(&header, more).unwrap();
    let (made, _directory) = create("rocr-runtime", tree.path());
    let said = text(&made.stderr);
    assert!(!made.status.success() && said.contains("no file defines"), "{said}");
}
