//! Ports to small trees that stand for what upstream does to its files: moved, reformatted,
//! renamed, with CRLF, with tabs.

use std::fs;
use std::path::Path;

use super::hooks::Hooks;
use super::{Made, make};

const HOOKS: &str = r#"
[[patch]]
file = "0001-ask.patch"
subject = "clr: ask"
description = """
Ask the decision.

Twice."""
bug = "https://github.com/ROCm/clr/issues/285"
[[patch.edit]]
function = ["ihipHostMalloc(void** ptr, size_t size, unsigned int flags)", "hipHostMalloc(void** ptr, size_t size, unsigned int flags)"]
place = "includes"
insert = '#include "policy.h"'
[[patch.edit]]
function = ["ihipHostMalloc(void** ptr, size_t size, unsigned int flags)", "hipHostMalloc(void** ptr, size_t size, unsigned int flags)"]
place = "outside"
insert = """
static unsigned ask(unsigned flags) {
  return flags;
}
"""
[[patch.edit]]
function = ["ihipHostMalloc(void** ptr, size_t size, unsigned int flags)", "hipHostMalloc(void** ptr, size_t size, unsigned int flags)"]
place = "before"
anchor = ["unsigned int ihipFlags ="]
insert = """
if (ask(@flags@)) {
  @flags@ = 1;
}
"""
"#;

const STOCK: &str = "// file\n#include <hip.h>\n\nnamespace hip {\n\
hipError_t ihipHostMalloc(void** ptr, size_t sizeBytes, unsigned int f) {\n  *ptr = nullptr;\n\
\x20 unsigned int ihipFlags = 0;\n  return alloc(ptr, sizeBytes, f | ihipFlags);\n}\n\
hipError_t hipHostMalloc(void** ptr, size_t sizeBytes, unsigned int flags) {\n  return ihipHostMalloc(ptr, sizeBytes, flags);\n}\n}\n";

fn port(file: &str, text: &str) -> Result<String, String> {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), file, text);
    let made = port_tree(root.path()).map_err(|error| format!("{error:#}"))?;
    Ok(String::from_utf8(made.into_iter().next().unwrap().text).unwrap())
}

fn port_tree(root: &Path) -> anyhow::Result<Vec<Made>> {
    let hooks: Hooks = toml::from_str(HOOKS).unwrap();
    make(&hooks, root, "clr 9.9")
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
        "Subject: [PATCH 1/1] clr: ask\nDescription: Ask the decision.\n .\n Twice.\nOrigin: vendor, rdnafix\n\
         Forwarded: no\nBug: https://github.com/ROCm/clr/issues/285\nApplies-To: clr 9.9\n---\n\
         diff --git a/hipamd/src/hip_memory.cpp b/hipamd/src/hip_memory.cpp\n\
         --- a/hipamd/src/hip_memory.cpp\n+++ b/hipamd/src/hip_memory.cpp\n@@ -1,9 +1,17 @@\n // file\n #include <hip.h>\n\
         +#include \"policy.h\"\n \n namespace hip {\n+static unsigned ask(unsigned flags) {\n+  return flags;\n+}\n+\n\
         \x20hipError_t ihipHostMalloc(void** ptr, size_t sizeBytes, unsigned int f) {\n   *ptr = nullptr;\n\
         +  if (ask(f)) {\n+    f = 1;\n+  }\n   unsigned int ihipFlags = 0;\n   return alloc(ptr, sizeBytes, f | ihipFlags);\n }\n"
    );
}

#[test]
fn a_file_that_moved_and_a_function_that_was_split_off_are_found() {
    let moved = port("projects/clr/hipamd/src/memory/host.cpp", STOCK).unwrap();
    assert!(moved.contains("+++ b/projects/clr/hipamd/src/memory/host.cpp"));
    let older = STOCK
        .split("hipError_t hipHostMalloc")
        .next()
        .unwrap()
        .replace("ihipHostMalloc", "hipHostMalloc");
    assert!(
        port("src/hip_memory.cpp", &format!("{older}}}\n")).unwrap().contains("+  if (ask(f)) {")
    );
}

#[test]
fn other_formatting_tabs_and_crlf_are_kept() {
    let tabs = STOCK
        .replace("  ", "\t")
        .replace("unsigned int ihipFlags = 0", "unsigned\tint ihipFlags=0");
    let patch = port("a.cpp", &tabs).unwrap();
    assert!(patch.contains("+\tif (ask(f)) {\n+\t\tf = 1;\n+\t}\n"), "{patch}");
    let patch = port("a.cpp", &STOCK.replace('\n', "\r\n")).unwrap();
    assert!(patch.contains("+  if (ask(f)) {\r\n+    f = 1;\r\n"), "{patch}");
}

#[test]
fn what_is_not_as_expected_is_refused_with_file_and_line() {
    let refused = |text: &str, parts: &[&str]| {
        let error = port("src/a.cpp", text).unwrap_err();
        for part in parts.iter().chain(&["0001-ask.patch: nothing is written"]) {
            assert!(error.contains(part), "{part} in: {error}");
        }
    };
    refused(&STOCK.replace("HostMalloc", "PinnedMalloc"), &["no file defines `ihipHostMalloc("]);
    refused(
        &STOCK.replace(
            "ihipHostMalloc(void** ptr, size_t sizeBytes",
            "ihipHostMalloc(void** ptr, int sizeBytes",
        ),
        &[
            "src/a.cpp:5: ihipHostMalloc has the parameters (void * *, int, unsigned int)",
            "looked for (void * *, size_t, unsigned int)",
        ],
    );
    refused(
        &STOCK.replace("ihipFlags = 0", "other = 0"),
        &["src/a.cpp: ihipHostMalloc", "line 5", "`unsigned int ihipFlags =`"],
    );
    refused(
        &STOCK.replace("  *ptr = nullptr;\n", "  *ptr = nullptr;"),
        &["src/a.cpp:6: other code on the line"],
    );
    let twice =
        STOCK.replace("  *ptr = nullptr;\n", "  if (!f) {\n    unsigned int ihipFlags = 1;\n  }\n");
    refused(&twice, &["lines 7, 9: more than one statement"]);
    refused(&format!("{STOCK}{STOCK}"), &["several places: src/a.cpp:5, src/a.cpp:18"]);
}

#[test]
fn a_file_of_the_tests_is_not_taken_for_the_runtime() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "hip-tests/mock.cpp", STOCK);
    write(root.path(), "clr/hip_memory.cpp", STOCK);
    let made = port_tree(root.path()).unwrap();
    assert!(String::from_utf8_lossy(&made[0].text).contains("b/clr/hip_memory.cpp"));
}
