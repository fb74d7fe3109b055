//! The decisions of the patches for Linux: the functions are cut out of the stock and the patched
//! source, compiled for user space and run over their whole input. It shows what they answer, and
//! nothing about what a GPU does with it.

mod cli_common;
mod kernel_common;
mod source_common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use cli_common::{root, succeed, text};
use kernel_common::extract::{defines, enumerators, function, lines_with, read};
use kernel_common::{DRIVER, Source};

/// Bits 50:48 of a page table entry of GFX10, and the values that matter here (navi10_enum.h).
const MTYPE: u64 = 7 << 48;
const UC: u64 = 3 << 48;
const NC: u64 = 0;

const COHERENT: i64 = 1;
/// Of an SVM range.
const SVM_COHERENT: i64 = 2;
const SVM_EXT_COHERENT: i64 = 0x80;
const VRAM: i64 = 2;
const GC10: i64 = 10;

/// What a function answers for each input, which is words and numbers.
type Answers = BTreeMap<String, u64>;

/// The functions, in the order in which they need each other, and where they are.
const FUNCTIONS: [(&str, &str); 9] = [
    ("amdgpu/amdgpu_gmc.c", "amdgpu_gmc_noretry_set"),
    ("amdgpu/gmc_v10_0.c", "gmc_v10_0_map_mtype"),
    ("amdgpu/gmc_v10_0.c", "gmc_v10_0_bo_is_noncoherent"),
    ("amdgpu/gmc_v10_0.c", "gmc_v10_0_get_vm_pte"),
    ("amdgpu/amdgpu_amdkfd_gpuvm.c", "get_pte_flags"),
    ("amdkfd/kfd_svm.c", "svm_range_get_pte_flags"),
    ("amdkfd/kfd_svm.c", "svm_range_default_is_noncoherent"),
    ("amdkfd/kfd_svm.c", "svm_range_set_default_attributes"),
    ("amdgpu/gmc_v10_0.c", "set_parameter"),
];

/// The constants that they use, as the kernel's headers have them.
fn constants(source: &Source) -> String {
    let uapi =
        |file: &str, of: &[&str]| defines(&read(&source.tree, &format!("include/uapi/{file}")), of);
    let driver = |file: &str| read(&source.tree, &format!("{DRIVER}/{file}"));
    uapi("drm/amdgpu_drm.h", &["AMDGPU_VM_MTYPE_", "AMDGPU_VM_PAGE_", "AMDGPU_GEM_CREATE_"])
        + &uapi("linux/kfd_ioctl.h", &["KFD_IOC_ALLOC_MEM_FLAGS_"])
        + &enumerators(&uapi_svm(source), if source.version == "6.1" { &SVM[1..] } else { &SVM })
        + &defines(&driver("amdgpu/amdgpu_vm.h"), &["AMDGPU_PTE_"])
        + &enumerators(
            &driver("include/navi10_enum.h"),
            &["MTYPE_NC", "MTYPE_WC", "MTYPE_CC", "MTYPE_UC"],
        )
}

/// What the functions use of the SVM interface; 6.1 has not the first.
const SVM: [&str; 6] = [
    "KFD_IOCTL_SVM_FLAG_EXT_COHERENT",
    "KFD_IOCTL_SVM_FLAG_HOST_ACCESS",
    "KFD_IOCTL_SVM_FLAG_COHERENT",
    "KFD_IOCTL_SVM_FLAG_GPU_RO",
    "KFD_IOCTL_SVM_FLAG_GPU_EXEC",
    "KFD_IOCTL_SVM_LOCATION_UNDEFINED",
];

/// The constants of the SVM interface as lines `NAME = value`, whatever C writes them with.
fn uapi_svm(source: &Source) -> String {
    let header = read(&source.tree, "include/uapi/linux/kfd_ioctl.h");
    let mut lines = String::new();
    for line in lines_with(&header, "KFD_IOCTL_SVM_") {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["#define", name, value] => writeln!(lines, "{name} = {value}").expect("a string"),
            [name, "=", value, ..] => writeln!(lines, "{name} = {value}").expect("a string"),
            _ => {}
        }
    }
    lines
}

/// The functions of a tree, and the statement by which the parameter becomes a decision.
fn functions(tree: &Path, source: &Source) -> String {
    let mut all = String::new();
    for (file, name) in FUNCTIONS {
        // A file that no patch touches is the same in both.
        let path = format!("{DRIVER}/{file}");
        let from = if tree.join(&path).exists() { tree } else { &source.tree };
        let body = if name == "set_parameter" {
            let lines = read(from, &path);
            let set = lines_with(&lines, "adev->gmc.rdna_noncoherent =");
            assert!(set.len() <= 1, "{set:?}");
            let statement = set.first().copied().unwrap_or("\t(void)adev;");
            format!("static void set_parameter(struct amdgpu_device *adev)\n{{\n{statement}\n}}\n")
        } else {
            function(&read(from, &path), name).unwrap_or_default()
        };
        all += &body;
        all.push('\n');
    }
    all
}

/// Compiles and runs them.
fn answers(source: &Source, tree: &Path, stock: bool) -> Answers {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    fs::write(path("constants.h"), constants(source)).expect("writable");
    fs::write(path("functions.c"), functions(tree, source)).expect("writable");
    let (major, minor) = source.version.split_once('.').expect("a version");
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined"]);
    // The kernel is built so that 1 << 31 is defined. A variable that is set wherever it is used.
    gcc.arg("-fno-sanitize=shift");
    gcc.args(["-fno-sanitize-recover", "-Wno-maybe-uninitialized", "-Wno-unused"]);
    gcc.arg(format!("-DLINUX={major}{minor:0>2}")).args(stock.then_some("-DSTOCK"));
    for (name, file) in [("CONSTANTS", "constants.h"), ("FUNCTIONS", "functions.c")] {
        gcc.arg(format!("-D{name}=\"{}\"", path(file).display()));
    }
    succeed(
        gcc.arg(root().join("tests/programs/kernel_decision.c")).arg("-o").arg(path("program")),
    );
    let said = text(&succeed(&mut Command::new(path("program"))).stdout);
    let mut answers = Answers::new();
    for line in said.lines() {
        let (input, answer) = line.rsplit_once(" = ").expect("an answer");
        let answer = u64::from_str_radix(answer, 16).expect("a number");
        assert_eq!(answers.insert(input.to_owned(), answer), None, "{input}");
    }
    answers
}

/// The value of a word of an input.
fn value(input: &str, word: &str) -> i64 {
    let mut words = input.split(' ').skip_while(|it| *it != word);
    let value = words.nth(1).unwrap_or_else(|| panic!("{word} in {input}"));
    let radix = if ["gc", "flags"].contains(&word) { 16 } else { 10 };
    i64::from_str_radix(value, radix).expect("a number")
}

/// The answers of the stock and the patched functions of a version to each input.
fn both(version: &'static str) -> Option<Vec<(String, u64, u64)>> {
    let source = Source::get(version)?;
    let stock = answers(&source, source.copy().path(), true);
    let patched = answers(&source, source.patched().path(), false);
    assert!(stock.keys().eq(patched.keys()), "the same inputs");
    let pair = |((input, stock), patched)| (input, stock, patched);
    Some(stock.into_iter().zip(patched.into_values()).map(pair).collect())
}

/// The page table entry that a buffer must have, from what it has without the patch.
fn buffer(version: &str, input: &str, stock: u64) -> u64 {
    let is = |word, wanted| value(input, word) == wanted;
    let ours = is("parameter", 1)
        && is("grain", COHERENT)
        && is("kfd", 1)
        && is("here", 1)
        && is("place", VRAM);
    if !ours {
        return stock;
    }
    // 6.1 cannot tell the UC that a render node's client names from the UC that KFD asks for.
    let mtype = match value(input, "from") {
        3 => 1 << 48,
        4 => 2 << 48,
        5 if version != "6.1" => UC,
        _ => NC,
    };
    stock & !MTYPE | mtype
}

fn range(input: &str, stock: u64) -> u64 {
    let (flags, gc) = (value(input, "flags"), value(input, "gc"));
    let ours = value(input, "parameter") == 1
        && gc >> 16 == GC10
        && value(input, "vram") == 1
        && value(input, "here") == 1
        && flags & (SVM_COHERENT | SVM_EXT_COHERENT) == SVM_COHERENT;
    if ours { stock & !MTYPE | NC } else { stock }
}

fn default(input: &str, stock: u64) -> u64 {
    let gpus = input.rsplit(' ').next().expect("the GPUs");
    let mut gpus = gpus.split('-').filter(|gc| *gc != "0").peekable();
    let ours = value(input, "parameter") == 1 && gpus.peek().is_some();
    let all = gpus.all(|gc| i64::from_str_radix(gc, 16).expect("a version") >> 16 == GC10);
    if ours && all { stock & !SVM_COHERENT.cast_unsigned() } else { stock }
}

fn noretry(input: &str, stock: u64) -> u64 {
    let gc = value(input, "gc");
    if gc >> 8 == 0x0a01 && value(input, "parameter") == -1 { 1 } else { stock }
}

fn check(version: &'static str) {
    let Some(both) = both(version) else { return };
    let mut changed = BTreeMap::<&str, usize>::new();
    for (input, stock, patched) in &both {
        let kind = input.split(' ').next().expect("a word");
        let expected = match kind {
            "buffer" => buffer(version, input, *stock),
            "range" => range(input, *stock),
            "default" => default(input, *stock),
            _ => noretry(input, *stock),
        };
        assert_eq!(*patched, expected, "Linux {version}: {input}; stock {stock:x}");
        *changed.entry(kind).or_default() += usize::from(stock != patched);
        // What is UC without the patches, so that the rules above are not about nothing.
        if kind == "buffer" && value(input, "from") == 0 && version != "6.1" {
            let uncached = value(input, "grain") != 0;
            assert_eq!(stock & MTYPE == UC, uncached, "Linux {version}: {input}");
        }
    }
    println!("Linux {version}: {} inputs, different answers: {changed:?}", both.len());
    for kind in ["buffer", "range", "default"] {
        assert!(changed[kind] > 0, "Linux {version}: nothing differs for {kind}");
    }
    // 7.2 has it already.
    assert_eq!(changed["noretry"] > 0, version != "7.2", "Linux {version}");
}

#[test]
fn only_coherent_local_vram_and_new_ranges_get_another_answer_from_6_1() {
    check("6.1");
}

#[test]
fn only_coherent_local_vram_and_new_ranges_get_another_answer_from_6_12() {
    check("6.12");
}

#[test]
fn only_coherent_local_vram_and_new_ranges_get_another_answer_from_7_2() {
    check("7.2");
}
