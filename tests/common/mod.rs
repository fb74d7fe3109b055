//! Running real programs on the real ROCm libraries, on the simulated GPU, with and without
//! librdnafix.so, and reading what the kernel was asked for.

#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod artifact;
pub mod boards;
pub mod cache;
pub mod pair;
pub mod parallel;
pub mod patched;
pub mod release;
pub mod sequence;

use std::ffi::OsString;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use self::artifact::artifact;
use kfd_abi::log::{Event, Ioctl, Memory, Record};

/// A program that runs longer than this hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// What the names of variables begin with that change what this project, ROCm or PyTorch does.
const CHANGING: [&str; 8] =
    ["RDNAFIX_", "KFDSIM_", "HSA_", "HIP_", "ROCR_", "CUDA_", "PYTORCH_", "LD_PRELOAD"];

/// The interposer.
pub fn rdnafix() -> PathBuf {
    artifact("librdnafix.so")
}

/// The simulated GPU.
pub fn kfdsim() -> PathBuf {
    artifact("libkfdsim.so")
}

/// The release that programs are compiled for and run in where a test names none:
/// `RDNAFIX_TEST_INSIDE`; without it, this machine's.
pub fn everywhere_inside() -> Option<&'static release::Release> {
    static RELEASE: OnceLock<Option<release::Release>> = OnceLock::new();
    let asked_for = || {
        let name = std::env::var("RDNAFIX_TEST_INSIDE").ok()?;
        let release = release::release(&name);
        Some(release.unwrap_or_else(|| panic!("RDNAFIX_TEST_INSIDE: ROCm {name}: see above")))
    };
    RELEASE.get_or_init(asked_for).as_ref()
}

/// Whether a test has to be left out because it needs something of this machine that the root of
/// a release does not have; then it says so.
pub fn only_outside(test: &str, why: &str) -> bool {
    let Some(release) = everywhere_inside() else { return false };
    println!("SKIPPED: ROCm {}: {test}: {why}", release.name);
    true
}

/// Compiles a file of the repository; `arguments` go to the compiler after it.
pub fn compile(source: &str, name: &str, arguments: &[&str]) -> PathBuf {
    match everywhere_inside() {
        Some(release) => release.compile(source, name, arguments),
        None => artifact::compile(source, name, arguments),
    }
}

fn scratch() -> &'static Path {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIR.get_or_init(|| tempfile::tempdir().expect("a temporary directory")).path()
}

/// `examples/alloc_probe.cpp`.
pub fn alloc_probe() -> PathBuf {
    let libraries = ["-std=c++17", "-lamdhip64", "-lhsa-runtime64", "-ldl"];
    compile("examples/alloc_probe.cpp", "alloc_probe", &libraries)
}

/// A run of a program.
pub struct Run {
    command: Command,
    preload: Vec<OsString>,
    /// Runs the program in a root.
    enter: Option<Command>,
    log: Option<tempfile::NamedTempFile>,
}

/// What came of it.
pub struct Ran {
    pub output: Output,
    pub records: Vec<Record>,
}

impl Run {
    /// A program with nothing preloaded and none of this project's variables set.
    pub fn new(program: impl AsRef<Path>) -> Self {
        let mut command = Command::new(program.as_ref());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if CHANGING.iter().any(|start| text.starts_with(start)) {
                command.env_remove(&name);
            }
        }
        Self { command, preload: Vec::new(), enter: None, log: None }
    }

    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub fn args<A: AsRef<std::ffi::OsStr>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.command.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Adds a library to preload.
    pub fn preload(mut self, library: impl AsRef<Path>) -> Self {
        self.preload.push(library.as_ref().into());
        self
    }

    /// With librdnafix.so, before everything that is preloaded later.
    pub fn interposed(self) -> Self {
        self.preload(rdnafix())
    }

    /// On the simulated GPUs of this list, with a log.
    pub fn on(self, gpus: &str) -> Self {
        let log = tempfile::NamedTempFile::new_in(scratch()).expect("a temporary file");
        let mut run = self.preload(kfdsim()).env("KFDSIM_GPUS", gpus).env("KFDSIM_LOG", log.path());
        run.log = Some(log);
        run
    }

    /// In the root of a release, with its ROCm.
    pub fn inside(mut self, release: &release::Release) -> Self {
        self.enter = Some(release.enter());
        self
    }

    /// With the libraries of a directory before those of the system.
    pub fn with_libraries(self, directory: &Path) -> Self {
        self.env("LD_LIBRARY_PATH", directory)
    }

    /// Runs it to its end, at most a minute.
    pub fn go(mut self) -> Ran {
        let mut preload = OsString::from("LD_PRELOAD=");
        preload.push(self.preload.join(std::ffi::OsStr::new(":")));
        let enter = self.enter.or_else(|| everywhere_inside().map(release::Release::enter));
        if let Some(mut enter) = enter {
            // What enters the root has nothing preloaded.
            enter.arg("/usr/bin/env");
            if !self.preload.is_empty() {
                enter.arg(preload);
            }
            enter.arg(self.command.get_program()).args(self.command.get_args());
            for (name, value) in self.command.get_envs() {
                match value {
                    Some(value) => enter.env(name, value),
                    None => enter.env_remove(name),
                };
            }
            self.command = enter;
        } else if !self.preload.is_empty() {
            self.command.env("LD_PRELOAD", self.preload.join(std::ffi::OsStr::new(":")));
        }
        let mut stdout = tempfile::tempfile_in(scratch()).expect("a temporary file");
        let mut stderr = tempfile::tempfile_in(scratch()).expect("a temporary file");
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(stdout.try_clone().expect("dup"))
            .stderr(stderr.try_clone().expect("dup"))
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("wait") {
                break status;
            }
            if started.elapsed() > LIMIT {
                child.kill().expect("kill");
                child.wait().expect("wait");
                let (out, err) = (text(&mut stdout), text(&mut stderr));
                panic!("{:?} hangs\n--- stdout\n{out}\n--- stderr\n{err}", self.command);
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let output =
            Output { status, stdout: text(&mut stdout).into(), stderr: text(&mut stderr).into() };
        let records = self.log.map_or_else(Vec::new, |log| {
            kfd_abi::log::read(BufReader::new(log.reopen().expect("the log")))
                .expect("the log of the simulator")
        });
        Ran { output, records }
    }
}

fn text(file: &mut std::fs::File) -> String {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("read back");
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Ran {
    pub fn stdout(&self) -> &str {
        std::str::from_utf8(&self.output.stdout).expect("made from a string")
    }

    pub fn stderr(&self) -> &str {
        std::str::from_utf8(&self.output.stderr).expect("made from a string")
    }

    /// Asserts that the program ended well and that the library, which nobody asked to, said
    /// nothing.
    pub fn well(self) -> Self {
        assert!(
            self.output.status.success() && !self.stderr().contains("rdnafix"),
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.output.status,
            self.stdout(),
            self.stderr()
        );
        self
    }

    /// The ioctls between the marks `> NAME` and `< NAME = ...` of the thread that made them.
    pub fn during(&self, name: &str) -> Vec<&Ioctl> {
        let (begin, end) = (format!("> {name}"), format!("< {name} = "));
        let mut inside = false;
        let mut seen = false;
        let mut found = Vec::new();
        for record in &self.records {
            match &record.event {
                Event::Mark { text } if *text == begin => (inside, seen) = (true, true),
                Event::Mark { text } if text.starts_with(&end) => inside = false,
                Event::Ioctl(ioctl) if inside => found.push(ioctl),
                _ => {}
            }
        }
        assert!(seen, "no mark {begin:?} in the log; stdout was\n{}", self.stdout());
        found
    }

    /// What those ioctls did to memory, in words: `USERPTR coherent UC`, each GPU's MTYPE.
    pub fn memory(&self, name: &str) -> Vec<String> {
        self.during(name).iter().flat_map(|ioctl| &ioctl.memory).map(in_words).collect()
    }
}

/// `VRAM non-coherent gfx1030#0=NC`
pub fn in_words(memory: &Memory) -> String {
    let grain = if memory.coherent { "coherent" } else { "non-coherent" };
    let mtypes: Vec<String> = memory
        .mtype
        .iter()
        .map(|(gpu, mtype)| {
            format!("{gpu}={mtype:?}")
                .replace("Nc", "NC")
                .replace("Uc", "UC")
                .replace("Rw", "RW")
                .replace("Cc", "CC")
        })
        .collect();
    format!("{:?} {grain} {}", memory.domain, mtypes.join(" "))
        .replace("Vram", "VRAM")
        .replace("Userptr", "USERPTR")
        .replace("Svm", "SVM")
        .replace("Gtt", "GTT")
}
