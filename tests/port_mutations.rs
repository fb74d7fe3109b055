//! `rdnafix patch create` on the real sources, changed as upstream changes them: it makes the same
//! changes where it can be sure, or says what is not as expected and writes nothing.

mod cli_common;
mod source_common;

use std::fs;
use std::path::{Path, PathBuf};

use cli_common::text;
use source_common::{Contents, contents, create, create_refuses, edit, ported, restore, sources};

const TABLE: &str = "hipamd/src/hip_table_interface.cpp";
const MEMORY: &str = "hipamd/src/hip_memory.cpp";
const DEVICE: &str = "rocclr/device/rocm/rocdevice.cpp";
const BUFFER: &str = "rocclr/device/rocm/rocmemory.cpp";
const HSA: &str = "runtime/hsa-runtime/core/common/hsa_table_interface.cpp";
const LINK: &str = "runtime/hsa-runtime/hsacore.so.def";

/// Each change is refused, with these words.
fn refused(series: &str, table: &[(&str, &str, &str, &[&str])]) {
    let Some(tree) = sources(series) else { return };
    let component = series.split_once('/').unwrap().0;
    let stock = contents(tree.path());
    for (file, from, to, words) in table {
        edit(tree.path(), file, from, to);
        let said = create_refuses(component, tree.path());
        for word in words.iter().chain(&["nothing is written"]) {
            assert!(said.contains(word), "{from} -> {to}: {word} in: {said}");
        }
        restore(tree.path(), &stock);
    }
}

#[test]
fn what_cannot_be_ported_in_hip_is_refused() {
    let line = "hip::ihipHostMalloc has no statement that begins with `unsigned int ihipFlags =`";
    refused(
        "clr/6.4.3",
        &[
            // A public function is gone, is there twice, or takes something else.
            (
                TABLE,
                "hipError_t hipMallocManaged(",
                "hipError_t hipManaged(",
                &["no file defines `::hipMallocManaged("],
            ),
            (
                TABLE,
                "hipError_t hipHostFree(void* ptr) {",
                "hipError_t hipMemAllocHost(void** ptr, size_t size) {",
                &[
                    "::hipMemAllocHost is defined in several places: hipamd/src/hip_table_interface.cpp:808, hipamd/src/hip_table_interface.cpp:9",
                ],
            ),
            (
                TABLE,
                "hipError_t hipHostMalloc(void** ptr, size_t size,",
                "hipError_t hipHostMalloc(void** ptr, int size,",
                &[
                    "hip_table_interface.cpp:815: ::hipHostMalloc has the parameters (void * *, int, unsigned int)",
                    "looked for (void * *, size_t, unsigned int)",
                ],
            ),
            // The statement is another one, is there twice, or shares its line.
            (
                MEMORY,
                "unsigned int ihipFlags = CL_MEM_SVM_FINE",
                "uint32_t ihipFlags = CL_MEM_SVM_FINE",
                &[
                    "hipamd/src/hip_memory.cpp:377: ",
                    line,
                    // What stands in for it on older releases was looked for, too.
                    "hip::hipHostMalloc has no statement that begins with `hipError_t status = ihipMalloc(",
                ],
            ),
            (
                MEMORY,
                "*ptr = nullptr;\n  const unsigned int coherentFlags",
                r"{
    unsigned int ihipFlags = 0;
  }
  const unsigned int coherentFlags",
                &["hip_memory.cpp: hip::ihipHostMalloc: lines ", "more than one statement"],
            ),
            (
                MEMORY,
                r"
  unsigned int ihipFlags = CL_MEM_SVM_FINE_GRAIN_BUFFER;
  if (flags == 0",
                r"  ; unsigned int ihipFlags = CL_MEM_SVM_FINE_GRAIN_BUFFER;
  if (flags == 0",
                &["hip_memory.cpp:39", "other code on the line"],
            ),
        ],
    );
}

#[test]
fn what_cannot_be_ported_in_rocclr_is_refused() {
    refused(
        "clr/6.4.3",
        &[
            (
                DEVICE,
                "attr.data(), attr.size());\n    if (status",
                "attr.data(), attr.size(), 0);\n    if (status",
                &[
                    "rocdevice.cpp:2597: roc::Device::SetSvmAttributesInt has no statement that begins with",
                ],
            ),
            (
                DEVICE,
                "if (pool.handle == 0 || gpuvm",
                "if (!pool.handle || gpuvm",
                &[
                    "rocdevice.cpp:2350: roc::Device::deviceLocalAlloc has no statement that begins with `if (pool.handle == 0`",
                ],
            ),
            (
                DEVICE,
                "bool pseudo_fine_grain,\n",
                "int pseudo_fine_grain,\n",
                &["roc::Device::deviceLocalAlloc has the parameters (size_t, bool, int, bool)"],
            ),
            // What the hook takes for granted is not there.
            (
                BUFFER,
                "pool = (memFlags & CL_MEM_SVM_ATOMICS)",
                "pool = (flags & CL_MEM_SVM_ATOMICS)",
                &[
                    "rocmemory.cpp:732: roc::Buffer::create has no `hsa_amd_memory_pool_t pool = (memFlags",
                ],
            ),
            (
                BUFFER,
                "void Buffer::destroy() {",
                "void Buffer::release() {",
                &["no file defines `roc::Buffer::destroy()`"],
            ),
            (
                BUFFER,
                r"          if (dev().info().hmmSupported_) {
            // AMD HMM path. Destroy",
                "          if (dev().hmm()) {\n            // AMD HMM path. Destroy",
                &[
                    "roc::Buffer::destroy has no statement that begins with `if (dev().info().hmmSupported_)`",
                ],
            ),
        ],
    );
}

#[test]
fn what_cannot_be_ported_in_rocr_is_refused() {
    refused(
        "rocr-runtime/6.4.3",
        &[
            (
                HSA,
                "hsa_amd_memory_lock_to_pool(void*",
                "hsa_amd_memory_pin_to_pool(void*",
                &["no file defines `::hsa_amd_memory_lock_to_pool("],
            ),
            (
                HSA,
                "amdExtTable->hsa_amd_svm_attributes_set_fn(",
                "table()->hsa_amd_svm_attributes_set_fn(",
                &[
                    "::hsa_amd_svm_attributes_set has no `amdExtTable->hsa_amd_svm_attributes_set_fn`",
                ],
            ),
            (
                LINK,
                "local:",
                "local :",
                &["hsacore.so.def: looked for one line `local:`; there: none"],
            ),
            (
                LINK,
                "\nlocal:",
                "\nlocal:\nlocal:",
                &["looked for one line `local:`; there: 261, 262"],
            ),
        ],
    );
}

#[test]
fn a_missing_or_second_place_for_the_headers_is_refused() {
    let Some(tree) = sources("clr/5.7.1") else { return };
    let header = tree.path().join("rocclr/device/device.hpp");
    let refused = |word: &str| {
        let (made, _directory) = create("clr", tree.path());
        let said = text(&made.stderr);
        assert!(made.status.code() == Some(125) && said.contains(word), "{word} in: {said}");
    };
    let second = tree.path().join("hipamd/device");
    fs::create_dir(&second).unwrap();
    fs::copy(&header, second.join("device.hpp")).unwrap();
    refused(
        "device/device.hpp is there more than once: hipamd/device/device.hpp, rocclr/device/device.hpp",
    );
    fs::remove_dir_all(second).unwrap();
    fs::remove_file(header).unwrap();
    refused("no file device/device.hpp");
}

/// Blanks make no difference to this.
fn packed(content: &[u8]) -> Vec<u8> {
    content.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()
}

/// The files that a port changes, as they are after it, blanks apart.
fn outcome(stock: &Contents, patched: &Contents) -> Vec<(PathBuf, Vec<u8>)> {
    let changed = patched.iter().filter(|(path, text)| stock.get(*path) != Some(text));
    changed.map(|(path, text)| (path.clone(), packed(text))).collect()
}

/// Formats code in another way: lines are broken at blanks, and indented by chance.
fn reflowed(code: &str, seed: &mut u64) -> String {
    let mut chance = |of: u64| {
        // Knuth's MMIX generator
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) % of
    };
    let (mut out, mut comment, mut macro_line) = (String::new(), false, false);
    for line in code.lines() {
        let begins = line.trim_start();
        let keep = comment || macro_line || begins.starts_with('#') || line.contains("R\"");
        macro_line = line.ends_with('\\');
        comment = (comment || line.contains("/*")) && !line.contains("*/");
        if keep || comment || macro_line || begins.is_empty() || begins.starts_with("/*") {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let (code, rest) = line.find("//").map_or((line, ""), |at| line.split_at(at));
        let indentation = " ".repeat(usize::try_from(chance(9)).unwrap());
        out.push_str(if chance(5) == 0 { "\t" } else { &indentation });
        let mut quote = None;
        let mut before = ' ';
        for c in code.trim().chars() {
            match quote {
                Some(open) if c == open && before != '\\' => quote = None,
                None if c == '"' || c == '\'' => quote = Some(c),
                _ => {}
            }
            // A backslash that is itself escaped escapes nothing.
            before = if before == '\\' { ' ' } else { c };
            if c == ' ' && quote.is_none() && chance(6) == 0 {
                out.push_str("\n        ");
            } else {
                out.push(c);
            }
        }
        out.push_str(format!(" {rest}").trim_end());
        out.push('\n');
    }
    out
}

#[test]
fn formatting_makes_no_difference() {
    let cases: [(&str, &[&str]); 3] = [
        ("rocr-runtime/6.4.3", &[HSA]),
        ("clr/6.4.3", &[TABLE, MEMORY, DEVICE, BUFFER]),
        ("clr/5.7.1", &[MEMORY, "hipamd/src/hip_hmm.cpp", DEVICE, BUFFER]),
    ];
    for (series, files) in cases {
        let Some(tree) = sources(series) else { continue };
        let component = series.split_once('/').unwrap().0;
        let stock = contents(tree.path());
        let wanted = outcome(&stock, &ported(component, tree.path()));
        for seed in 1..=4 {
            let mut state = seed;
            for file in files {
                let code = reflowed(&text(&stock[Path::new(file)]), &mut state);
                fs::write(tree.path().join(file), code).unwrap();
            }
            let reflowed = contents(tree.path());
            let got = outcome(&reflowed, &ported(component, tree.path()));
            assert!(got == wanted, "{series}: seed {seed}: other code than in the tree as it came");
            restore(tree.path(), &stock);
        }
    }
}

#[test]
fn crlf_stays_and_tabs_are_kept() {
    let Some(tree) = sources("clr/6.4.3") else { return };
    let stock = contents(tree.path());
    let patched = ported("clr", tree.path());
    let crlf =
        |content: &[u8]| text(content).replace("\r\n", "\n").replace('\n', "\r\n").into_bytes();
    let code = |path: &Path| path.extension().is_some_and(|kind| kind == "cpp" || kind == "hpp");
    for (path, content) in stock.iter().filter(|(path, _)| code(path)) {
        fs::write(tree.path().join(path), crlf(content)).unwrap();
    }
    for (path, content) in ported("clr", tree.path()) {
        let hooked = stock.contains_key(&path) && code(&path);
        let wanted = if hooked { crlf(&patched[&path]) } else { patched[&path].clone() };
        assert!(content == wanted, "{}: with CRLF", path.display());
    }
    restore(tree.path(), &stock);

    edit(tree.path(), MEMORY, "  ", "\t");
    let got = text(&ported("clr", tree.path())[Path::new(MEMORY)]);
    assert!(got.contains("\n\tif (nonCoherent != flags && ihip"), "indented by tabs");
    assert!(got.contains("\n\t\tsize_t offset = 0; // This is ignored\n\t\t// What the"));
}

#[test]
fn the_trees_own_names_of_parameters_are_used() {
    let Some(tree) = sources("rocr-runtime/6.4.3") else { return };
    let from = "hsa_amd_memory_pool_allocate(hsa_amd_memory_pool_t memory_pool, size_t size,";
    edit(
        tree.path(),
        HSA,
        from,
        &from.replace("memory_pool,", "its_pool,").replace("size,", "bytes,"),
    );
    edit(tree.path(), HSA, "memory_pool, size, flags, ptr);", "its_pool, bytes, flags, ptr);");
    let got = text(&ported("rocr-runtime", tree.path())[Path::new(HSA)]);
    assert!(
        got.contains("rdnafix::CallerAt{__builtin_return_address(0)}, its_pool, bytes,\n"),
        "names"
    );
}

#[test]
fn a_function_that_moved_and_bytes_that_are_no_utf_8_are_no_hindrance() {
    let Some(tree) = sources("clr/6.4.3") else { return };
    let stock = text(&contents(tree.path())[Path::new(MEMORY)]);
    let start = stock
        .find(
            r"hipError_t ihipHostMalloc(void** ptr, size_t sizeBytes, unsigned int flags)
{",
        )
        .unwrap();
    let end = start + stock[start..].find("\n}\n").unwrap() + 3;
    let function = &stock[start..end];
    fs::write(tree.path().join(MEMORY), stock.replace(function, "")).unwrap();
    let mut moved = b"// Caf\xe9\n#include \"hip_internal.hpp\"\nnamespace hip {\n".to_vec();
    moved.extend_from_slice(
        function.replace("  *ptr = nullptr;\n", "  *ptr = nullptr;  // \u{fe}\n").as_bytes(),
    );
    moved.extend_from_slice(b"}\n");
    let file = Path::new("hipamd/src/host/pinned.cpp");
    fs::create_dir(tree.path().join("hipamd/src/host")).unwrap();
    fs::write(tree.path().join(file), &moved).unwrap();
    let patched = ported("clr", tree.path());
    assert!(patched[file].starts_with(
        b"// Caf\xe9\n#include \"hip_internal.hpp\"\n#include \"device/rdnafix_device.hpp\"\n"
    ));
    assert!(text(&patched[file]).contains("  const unsigned int nonCoherent ="));
    assert!(!text(&patched[Path::new(MEMORY)]).contains("rdnafix"), "nothing is left to hook here");
}
