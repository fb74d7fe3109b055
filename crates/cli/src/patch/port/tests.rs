//! Ports to small trees that stand for what upstream does to its files: moved, reformatted,
//! renamed, with CRLF, with tabs. The real hooks on real trees: `tests/port_*.rs`.

use std::fs;
use std::path::Path;

use super::hooks::Hooks;
use super::{Made, make};

const HOOKS: &str = r#"
within = ["projects/clr"]
headers-beside = "device/device.hpp"
[[patch]]
subject = "clr: ask"
description = """
Ask the decision, in a line that is so long that it has to be broken, and
twice."""
bug = "https://github.com/ROCm/clr/issues/285"
[[patch.edit]]
function = ["hip::ihipHostMalloc(void** ptr, size_t size, unsigned int flags)"]
include = "policy.h"
place = "outside"
insert = """
static unsigned ask(unsigned flags) {
  return flags;
}
"""
[[patch.edit]]
function = ["hip::ihipHostMalloc(void** ptr, size_t size, unsigned int flags)"]
include = "policy.h"
place = "before"
anchor = "unsigned int @wanted@ = 0"
insert = """
if (ask(@flags@)) {
  @wanted@();
}
"""
[[patch.edit]]
otherwise = true
function = ["::hipHostMalloc(void** ptr, size_t size, unsigned int flags)"]
place = "replace"
anchor = "return alloc(@ptr@,"
insert = "return ask(@flags@);"
[[patch.edit]]
only-with = "hipManaged"
function = ["::hipManaged()"]
place = "first"
insert = "ask(0);"
[[patch.edit]]
only-with = "hipManaged"
function = ["::hipManaged()"]
place = "first"
anchor = "if (hmm)"
insert = "ask(1);"
"#;

const STOCK: &str = "// file\n#include <hip.h>\n\nnamespace hip {\n// Pinned\n\
hipError_t ihipHostMalloc(void** ptr, size_t sizeBytes, unsigned int f) {\n  *ptr = nullptr;\n\
\x20 unsigned int ihipFlags = 0;\n  return alloc(ptr, sizeBytes, f | ihipFlags);\n}\n}\n\
hipError_t hipHostMalloc(void** ptr, size_t sizeBytes, unsigned int flags) {\n  return ihipHostMalloc(ptr, sizeBytes, flags);\n}\n";

fn port(file: &str, text: &str) -> Result<String, String> {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), file, text);
    let made = port_tree(root.path()).map_err(|error| format!("{error:#}"))?;
    Ok(String::from_utf8(made.into_iter().next().unwrap().text).unwrap())
}

fn port_tree(root: &Path) -> anyhow::Result<Vec<Made>> {
    let hooks: Hooks = toml::from_str(HOOKS).unwrap();
    make(&hooks, root, "clr 9.9").map(|port| port.patches)
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_patch_has_its_header_and_applies_with_the_trees_own_names() {
    let patch = port("hipamd/src/hip_memory.cpp", STOCK).unwrap();
    assert_eq!(
        patch,
        "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n\
         From: rdnafix project\nDate: Sun, 22 Nov 2026 22:00:00 +0000\nSubject: [PATCH] clr: ask\n\n\
         Description: Ask the decision, in a line that is so long that it has to be\n broken, and twice.\n\
         Origin: other, rdnafix\nForwarded: no\nApplies-To: clr 9.9\nBug: https://github.com/ROCm/clr/issues/285\n---\n\n\
         diff --git a/hipamd/src/hip_memory.cpp b/hipamd/src/hip_memory.cpp\nindex 294ca802b02c..4daece0a5018 100644\n\
         --- a/hipamd/src/hip_memory.cpp\n+++ b/hipamd/src/hip_memory.cpp\n@@ -1,10 +1,18 @@\n // file\n #include <hip.h>\n\
         +#include \"policy.h\"\n \n namespace hip {\n+static unsigned ask(unsigned flags) {\n+  return flags;\n+}\n+\n\
         \x20// Pinned\n hipError_t ihipHostMalloc(void** ptr, size_t sizeBytes, unsigned int f) {\n   *ptr = nullptr;\n\
         +  if (ask(f)) {\n+    ihipFlags();\n+  }\n   unsigned int ihipFlags = 0;\n   return alloc(ptr, sizeBytes, f | ihipFlags);\n }\n"
    );
}

#[test]
fn a_file_that_moved_is_found_and_of_a_monorepo_only_the_component_counts() {
    let moved = port("projects/clr/hipamd/src/memory/host.cpp", STOCK).unwrap();
    assert!(moved.contains("+++ b/projects/clr/hipamd/src/memory/host.cpp"));

    let root = tempfile::tempdir().unwrap();
    write(root.path(), "projects/clr/hip_memory.cpp", STOCK);
    write(root.path(), "projects/profiler/wrappers.cpp", STOCK);
    assert_eq!(port_tree(root.path()).unwrap().len(), 1);
    write(root.path(), "projects/clr/again.cpp", STOCK);
    let error = format!("{:#}", port_tree(root.path()).err().unwrap());
    let places = "several places: projects/clr/again.cpp:6, projects/clr/hip_memory.cpp:6";
    assert!(error.contains(places), "{error}");
}

#[test]
fn an_older_release_gets_the_edit_that_stands_in_for_the_newer_one() {
    let mut hooks: Hooks = toml::from_str(HOOKS).unwrap();
    hooks.patch[0].edit.remove(0);
    let root = tempfile::tempdir().unwrap();
    let older = "#include <a.h>\nint hipHostMalloc(void** p, size_t n, unsigned int f) {\n  return alloc(p, n, f);\n}\n";
    write(root.path(), "src/hip_memory.cpp", older);
    let port = make(&hooks, root.path(), "clr 5.2").unwrap();
    assert_eq!(port.left_out, ["::hipManaged()", "::hipManaged()"]);
    let made = port.patches;
    let text = String::from_utf8(made[0].text.clone()).unwrap();
    assert!(text.contains("-  return alloc(p, n, f);\n+  return ask(f);\n"), "{text}");

    // Neither: both are named.
    write(root.path(), "src/hip_memory.cpp", &older.replace("return alloc(", "return allocate("));
    let error = format!("{:#}", make(&hooks, root.path(), "").err().unwrap());
    for part in [
        "no file defines `hip::ihipHostMalloc(",
        "; or src/hip_memory.cpp:2: ",
        "`return alloc(@ptr@,`",
    ] {
        assert!(error.contains(part), "{part} in: {error}");
    }
}

#[test]
fn the_first_statement_is_found_on_the_line_of_the_brace_too() {
    let with = |managed: &str| port("src/a.cpp", &format!("{STOCK}{managed}")).unwrap();
    let patch = with(
        "int hipManaged() {\n  // why\n  if (hmm) {\n    // yes\n    work();\n  }\n  return 0;\n}\n",
    );
    assert!(
        patch.contains("   // why\n+  ask(0);\n   if (hmm) {\n     // yes\n+    ask(1);\n"),
        "{patch}"
    );
    let patch = with("int hipManaged() { if (hmm) { work(); } }\n");
    let lines = "-int hipManaged() { if (hmm) { work(); } }\n+int hipManaged() {\n+  ask(0);\n\
                 +  if (hmm) {\n+    ask(1);\n+    work(); } }\n";
    assert!(patch.contains(lines), "{patch}");
}

#[test]
fn other_formatting_tabs_and_crlf_are_kept() {
    let tabs = STOCK
        .replace("  ", "\t")
        .replace("unsigned int ihipFlags = 0", "unsigned\tint ihipFlags=0");
    let patch = port("a.cpp", &tabs).unwrap();
    assert!(patch.contains("+\tif (ask(f)) {\n+\t\tihipFlags();\n+\t}\n"), "{patch}");
    let patch = port("a.cpp", &STOCK.replace('\n', "\r\n")).unwrap();
    assert!(patch.contains("+  if (ask(f)) {\r\n+    ihipFlags();\r\n"), "{patch}");
    assert!(patch.contains("+#include \"policy.h\"\r\n"), "{patch}");
}

#[test]
fn what_goes_outside_of_a_function_goes_above_its_comment() {
    let above = |comment: &str| {
        let patch = port("a.cpp", &STOCK.replace("// Pinned", comment)).unwrap();
        let first = comment.lines().next().unwrap();
        patch.contains(&format!("+}}\n+\n {first}\n"))
    };
    assert!(above("// Pinned\n// memory"));
    assert!(above("/** Pinned **/"));
    assert!(above("/* Pinned\n * memory,\n   of the host */"));
    // Of a line with code the comment is not the function's.
    assert!(!above("int a; /* what\n is pinned */"));
    assert!(!above("int a; /* pinned */"));
}

#[test]
fn a_directive_stands_at_the_start_of_its_line() {
    let hooks = HOOKS.replacen("if (ask(@flags@)) {", "#ifdef X\nif (ask(@flags@)) {", 1);
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.cpp", STOCK);
    let hooks: Hooks = toml::from_str(&hooks).unwrap();
    let made = make(&hooks, root.path(), "clr 9.9").unwrap().patches.remove(0);
    let text = String::from_utf8(made.text).unwrap();
    assert!(text.contains("\n+#ifdef X\n+  if (ask(f)) {\n"), "{text}");
}

#[test]
fn what_is_not_as_expected_is_refused_with_file_and_line() {
    let refused = |text: &str, parts: &[&str]| {
        let error = port("src/a.cpp", text).unwrap_err();
        for part in parts.iter().chain(&["\"clr: ask\": nothing is written"]) {
            assert!(error.contains(part), "{part} in: {error}");
        }
    };
    refused(
        &STOCK.replace("HostMalloc", "PinnedMalloc"),
        &["no file defines `hip::ihipHostMalloc("],
    );
    refused(
        &STOCK.replace(
            "ihipHostMalloc(void** ptr, size_t sizeBytes",
            "ihipHostMalloc(void** ptr, int sizeBytes",
        ),
        &[
            "src/a.cpp:6: hip::ihipHostMalloc has the parameters (void * *, int, unsigned int)",
            "looked for (void * *, size_t, unsigned int)",
        ],
    );
    refused(
        &STOCK.replace("ihipFlags = 0", "ihipFlags = 1"),
        &["src/a.cpp:6: hip::ihipHostMalloc has no statement", "`unsigned int @wanted@ = 0`"],
    );
    refused(
        &STOCK.replace("  *ptr = nullptr;\n", "  *ptr = nullptr;"),
        &["src/a.cpp:7: other code on the line"],
    );
    let twice =
        STOCK.replace("  *ptr = nullptr;\n", "  if (!f) {\n    unsigned int other = 0;\n  }\n");
    refused(&twice, &["lines 8, 10: more than one statement"]);
    refused(&STOCK.replace("#include", "//"), &["src/a.cpp:6: no #include before it"]);
    refused(&format!("{STOCK}int hipManaged() {{}}\n"), &["no statement in `::hipManaged`"]);
}

#[test]
fn a_patched_tree_is_refused_and_a_file_of_the_tests_is_not_taken_for_the_runtime() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "hip-tests/mock.cpp", STOCK);
    write(root.path(), "clr/hip_memory.cpp", STOCK);
    let made = port_tree(root.path()).unwrap();
    assert!(String::from_utf8_lossy(&made[0].text).contains("b/clr/hip_memory.cpp"));

    write(root.path(), "clr/other.cpp", "int a;\n// rdnafix::\n");
    let error = format!("{:#}", port_tree(root.path()).err().unwrap());
    assert!(error.starts_with("clr/other.cpp:2: has 'rdnafix'"), "{error}");
    assert!(error.contains("patched already, wholly or in part"), "{error}");
}

#[test]
fn symbolic_links_are_not_followed_and_said() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "other/real.txt", STOCK);
    std::os::unix::fs::symlink("other/real.txt", root.path().join("a.cpp")).unwrap();
    let error = format!("{:#}", port_tree(root.path()).err().unwrap());
    assert!(error.contains("(1 symbolic links to files were not followed"), "{error}");
}

const KERNEL: &str = r#"
within = []
skip = ["display"]
mark = "rdna_"
kernel-style = true
[[patch]]
subject = "drm/amdgpu: turn it off"
description = """
Two paragraphs, which stay

as they are.
"""
applied-upstream = "7.2"
[[patch.edit]]
function = ["set(struct device *adev)"]
already = "version >= VERSION(10, 1)"
place = "within"
anchor = "bool retry ="
part = "version >= VERSION(@major@, 3)"
insert = "version >= VERSION(10, 1)"
[[patch]]
subject = "drm/amdgpu: ask"
description = "Ask."
[[patch.line]]
file = "gmc.h"
place = "after"
anchor = "int noretry;"
insert = "\tbool rdna_nc;"
[[patch.edit]]
function = ["set(struct device *adev)"]
include = "<linux/ask.h>"
place = "first"
anchor = "default: flags |= NC;"
lacks = ["old"]
insert = """
if (ask(@adev@) &&
    adev->ours)
	return;
"""
[[patch.edit]] # the parameters
function = ["set(struct device *adev)"]
place = "within"
part = "(struct device *@adev@)"
insert = """
(struct device *@adev@,
	 int more)
"""
"#;

const DRIVER: &str = "#include <linux/a.h>\n#include \"b.h\"\n\nvoid set(struct device *dev)\n{\n\
\tint version = dev->version;\n\tbool retry = (version == VERSION(9, 0) ||\n\t\t      version >= VERSION(10, 3));\n\n\
\tswitch (version) {\n\tcase 1:\n\t\tflags |= UC;\n\t\tbreak;\n\tdefault:\n\t\tflags |= NC;\n\t}\n}\n";

fn port_driver(text: &str) -> Result<super::Port, String> {
    port_with_header(text, "struct gmc {\n\tint noretry;\n};\n")
}

fn port_with_header(text: &str, header: &str) -> Result<super::Port, String> {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "amdgpu/gmc.c", text);
    write(root.path(), "amdgpu/gmc.h", header);
    // Not read: it has the same function.
    write(root.path(), "display/gmc.c", text);
    let hooks: Hooks = toml::from_str(KERNEL).unwrap();
    make(&hooks, root.path(), "linux 9.9").map_err(|error| format!("{error:#}"))
}

#[test]
fn a_kernel_patch_is_in_kernel_style() {
    let made = port_driver(DRIVER).unwrap().patches;
    let text = |index: usize| String::from_utf8(made[index].text.clone()).unwrap();
    let message = "\nSubject: [PATCH] drm/amdgpu: turn it off\n\nTwo paragraphs, which stay\n\nas they are.\n\n\
                   Origin: other, rdnafix\nForwarded: no\nApplied-Upstream: 7.2\nApplies-To: linux 9.9\n---\n\ndiff";
    assert!(text(0).contains(message), "{}", text(0));
    let part = "-\t\t      version >= VERSION(10, 3));\n+\t\t      version >= VERSION(10, 1));\n";
    assert!(text(0).contains(part), "{}", text(0));
    for part in [
        " #include <linux/a.h>\n+#include <linux/ask.h>\n #include \"b.h\"\n",
        // The blanks that align stay blanks.
        " \tdefault:\n+\t\tif (ask(dev) &&\n+\t\t    adev->ours)\n+\t\t\treturn;\n \t\tflags |= NC;\n",
        "-void set(struct device *dev)\n+void set(struct device *dev,\n+\t int more)\n",
        " \tint noretry;\n+\tbool rdna_nc;\n",
    ] {
        assert!(text(1).contains(part), "{part} in: {}", text(1));
    }
}

#[test]
fn a_patch_that_the_tree_has_is_left_out_and_the_others_are_counted_without_it() {
    let error = port_driver(&DRIVER.replace("b.h", "rdna_.h")).err().unwrap();
    assert!(error.starts_with("amdgpu/gmc.c:2: has 'rdna_'"), "{error}");
    let port = port_driver(&DRIVER.replace("(10, 3)", "(10, 1)")).unwrap();
    assert_eq!(port.there, ["drm/amdgpu: turn it off"]);
    let [made] = &port.patches[..] else { panic!("one patch") };
    assert_eq!(made.name, "0001-drm-amdgpu-ask.patch");
}

#[test]
fn a_part_of_a_statement_that_is_not_there_once_is_refused() {
    let refused = |from: &str, to: &str, wanted: &str| {
        let error = port_driver(&DRIVER.replace(from, to)).err().unwrap();
        assert!(error.contains(wanted) && error.contains("nothing is written"), "{error}");
    };
    refused("(10, 3)", "(10, 4)", "amdgpu/gmc.c: set: line 7: no `version >= VERSION(@major@, 3)`");
    refused(
        "version == VERSION(9, 0)",
        "version >= VERSION(9, 3)",
        "amdgpu/gmc.c: set: lines 7, 8: more than one `version >= VERSION(@major@, 3)` there",
    );
    refused(
        "bool retry",
        "bool old",
        "amdgpu/gmc.c:4: set has no statement that begins with `bool",
    );
    refused(
        "bool retry",
        "int old;\n\tbool retry",
        "amdgpu/gmc.c:4: set has `old`, which the hook is not for",
    );
}
