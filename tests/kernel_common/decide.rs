//! Runs the decision functions of a kernel source in user space: they are cut out of it, compiled
//! with `tests/programs/kernel_decision.c` and answer to every input. Judges nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::extract::{defines, enumerators, function, lines_with, read};
use super::{DRIVER, Source};
use crate::cli_common::{root, succeed, text};

/// Bits 50:48 of a page table entry of GFX10, and the values that matter here (navi10_enum.h).
pub const MTYPE: u64 = 7 << 48;
pub const UC: u64 = 3 << 48;
pub const NC: u64 = 0;

/// What a function answers for each input, which is words and numbers.
pub type Answers = BTreeMap<String, u64>;

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
            ["#define", name, value] | [name, "=", value, ..] => {
                writeln!(lines, "{name} = {value}").expect("a string");
            }
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
pub fn answers(source: &Source, tree: &Path, stock: bool) -> Answers {
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
pub fn value(input: &str, word: &str) -> i64 {
    let mut words = input.split(' ').skip_while(|it| *it != word);
    let value = words.nth(1).unwrap_or_else(|| panic!("{word} in {input}"));
    let radix = if ["gc", "flags"].contains(&word) { 16 } else { 10 };
    i64::from_str_radix(value, radix).expect("a number")
}
