//! One program twice, without the library and with it: the user has to see the same.

use std::path::{Path, PathBuf};

use super::{Ran, Run, compile, everywhere_inside, in_words};
use kfd_abi::log::Event;

/// What `tests/programs/robust.h` allocates, by size.
pub const IMPLICIT: u64 = (4 << 20) + 0x1000;
pub const EXPLICIT: u64 = (4 << 20) + 0x2000;
pub const MANAGED: u64 = (4 << 20) + 0x3000;

const COHERENT: &str = "USERPTR coherent gfx1030#0=UC";
const NON_COHERENT: &str = "USERPTR non-coherent gfx1030#0=NC";
const SVM_COHERENT: &str = "SVM coherent gfx1030#0=UC";
const SVM_NON_COHERENT: &str = "SVM non-coherent gfx1030#0=NC";

/// Both runs.
pub struct Pair {
    pub stock: Ran,
    pub interposed: Ran,
}

/// Runs a program both ways; `set` gives both runs their arguments and surroundings.
pub fn pair(program: impl AsRef<Path>, set: impl Fn(Run) -> Run) -> Pair {
    let program = program.as_ref();
    Pair {
        stock: set(Run::new(program)).go(),
        interposed: set(Run::new(program).interposed()).go(),
    }
}

/// The same; exit status and both outputs have to be equal.
pub fn same(program: impl AsRef<Path>, set: impl Fn(Run) -> Run) -> Pair {
    let pair = pair(program, set).answers_the_same();
    assert_eq!(pair.interposed.stderr(), pair.stock.stderr());
    pair
}

impl Pair {
    /// Asserts that exit status and standard output are equal.
    pub fn answers_the_same(self) -> Self {
        let Self { stock, interposed } = &self;
        assert_eq!(
            (interposed.output.status, interposed.stdout()),
            (stock.output.status, stock.stdout()),
            "\n--- stderr, stock\n{}\n--- stderr, interposed\n{}",
            stock.stderr(),
            interposed.stderr()
        );
        self
    }

    /// Asserts that the program printed this, both times.
    pub fn printing(self, stdout: &str) -> Self {
        assert_eq!(self.stock.stdout(), stdout, "stderr: {}", self.stock.stderr());
        self.answers_the_same()
    }

    /// Asserts that the program ended with this code, both times.
    pub fn ending_with(self, code: i32) -> Self {
        assert_eq!(self.stock.output.status.code(), Some(code), "{}", self.stock.stderr());
        self.answers_the_same()
    }

    /// Asserts that the GPU was used so many times and that each allocation was what the policy
    /// says: only what nobody asked to be coherent differs from stock.
    pub fn as_the_policy_says(&self, uses: usize) {
        asked(&self.stock, [COHERENT, COHERENT, SVM_COHERENT], uses);
        asked(&self.interposed, [NON_COHERENT, COHERENT, SVM_NON_COHERENT], uses);
    }

    /// Asserts that the GPU was used so many times and that only managed memory, which passes
    /// the HSA hooks, differs from stock.
    pub fn as_the_policy_says_of_hsa(&self, uses: usize) {
        asked(&self.stock, [COHERENT, COHERENT, SVM_COHERENT], uses);
        asked(&self.interposed, [COHERENT, COHERENT, SVM_NON_COHERENT], uses);
    }

    /// Asserts that the GPU was used so many times and nothing was changed.
    pub fn left_alone(&self, uses: usize) {
        for ran in [&self.stock, &self.interposed] {
            asked(ran, [COHERENT, COHERENT, SVM_COHERENT], uses);
        }
    }
}

fn asked(ran: &Ran, expected: [&str; 3], uses: usize) {
    for (size, expected) in [IMPLICIT, EXPLICIT, MANAGED].into_iter().zip(expected) {
        assert_eq!(of_size(ran, size), vec![expected; uses], "{size:#x}; {}", ran.stdout());
    }
}

/// What every allocation of this size asked for, in words.
pub fn of_size(ran: &Ran, size: u64) -> Vec<String> {
    ran.records
        .iter()
        .filter_map(|record| match &record.event {
            Event::Ioctl(ioctl) => Some(&ioctl.memory),
            _ => None,
        })
        .flatten()
        .filter(|memory| memory.size == size)
        .map(in_words)
        .collect()
}

/// A program of tests/programs that is linked with HIP.
pub fn hip_program(name: &str) -> PathBuf {
    let libraries = ["-pthread", "-lamdhip64", "-ldl"];
    compile(&format!("tests/programs/{name}.c"), name, &libraries)
}

/// A program of tests/programs that is not.
pub fn plain_program(name: &str) -> PathBuf {
    compile(&format!("tests/programs/{name}.c"), name, &["-ldl"])
}

/// A program that is linked with the stand-in for libamdhip64, which needs no GPU.
pub fn with_stand_in(name: &str) -> PathBuf {
    with_stand_in_linked(name, name, &["-pthread"])
}

/// The same with other options for the compiler, as `output`.
pub fn with_stand_in_linked(name: &str, output: &str, options: &[&str]) -> PathBuf {
    let soname = "-Wl,-soname,libamdhip64.so.6";
    let stub =
        compile("tests/programs/stub_hip.c", "libamdhip64.so.6", &["-shared", "-fPIC", soname]);
    let directory = format!("-Wl,-rpath,{}", stub.parent().expect("a directory").display());
    let stub = stub.display().to_string();
    let arguments = [options, &[&stub, &directory]].concat();
    compile(&format!("tests/programs/{name}.c"), output, &arguments)
}

/// A library that uses HIP for the program that opens it.
pub fn extension() -> PathBuf {
    let options = ["-shared", "-fPIC", "-lamdhip64"];
    compile("tests/programs/robust_extension.c", "extension.so", &options)
}

/// The installed libamdhip64.
pub fn installed_hip() -> PathBuf {
    if let Some(release) = everywhere_inside() {
        let linked = release.file("usr/lib/x86_64-linux-gnu/libamdhip64.so");
        return linked.canonicalize().expect("the release has HIP");
    }
    // The number differs between releases: what a program that is linked with HIP asks for.
    let linked = std::process::Command::new("ldd").arg(extension()).output().expect("ldd");
    let text = String::from_utf8_lossy(&linked.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("libamdhip64")).expect("it is linked");
    line.split_whitespace().nth(2).expect("ldd found it").into()
}

/// Says that a test could not be made here, and why; scripts/test.sh counts these lines.
pub fn skipped(test: &str, reason: &str) {
    eprintln!("SKIPPED: {test}: {reason}");
}
