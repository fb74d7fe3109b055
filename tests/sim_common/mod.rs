//! Runs programs on the simulated GPU and reads its log, for the tests of the simulator itself.

#![allow(dead_code, reason = "every test binary uses a part of it")]

#[path = "../common/artifact.rs"]
mod artifact;

use std::ffi::OsStr;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use kfd_abi::log::{Event, Ioctl, Record};

/// A program that runs longer than this hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// The release build of the simulator.
pub fn kfdsim() -> PathBuf {
    artifact::artifact("libkfdsim.so")
}

/// A directory for this test process.
fn scratch() -> &'static Path {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIR.get_or_init(|| tempfile::tempdir().expect("a temporary directory")).path()
}

/// linux/kfd_ioctl.h includes drm/drm.h, which only libdrm-dev has, and needs its types only.
fn include() -> PathBuf {
    let include = artifact::target_dir().join("test-programs/include");
    std::fs::create_dir_all(include.join("drm")).expect("an include directory");
    let header = include.join("drm/drm.h");
    if !header.exists() {
        std::fs::write(header, "#include <linux/types.h>\n").expect("drm.h");
    }
    include
}

/// Compiles `tests/programs/NAME`, a C or C++ file.
pub fn compile(name: &str) -> PathBuf {
    let include = format!("-I{}", include().display());
    let mut arguments = vec![&include[..], "-lpthread", "-ldl"];
    if Path::new(name).extension() == Some(OsStr::new("cpp")) {
        // The copies do not look at every status.
        arguments.extend(["-std=c++17", "-w", "-lamdhip64"]);
    }
    let program = Path::new(name).file_stem().expect("a name").to_string_lossy();
    artifact::compile(&format!("tests/programs/{name}"), &program, &arguments)
}

/// What came of a run.
pub struct Ran {
    pub success: bool,
    /// The exit code, if it ended by itself.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub records: Vec<Record>,
}

impl Ran {
    /// Fails unless the program ended with success and its last line is `OK`.
    pub fn expect_ok(&self) -> &Ran {
        assert!(
            self.success && self.stdout.lines().last() == Some("OK"),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Fails unless this is the last line of its output.
    pub fn expect_ok_line(&self, line: &str) {
        assert_eq!(self.stdout.lines().last(), Some(line), "{}\n{}", self.stdout, self.stderr);
    }

    /// The simulator's own remarks.
    pub fn notes(&self) -> Vec<&str> {
        self.records
            .iter()
            .filter_map(|record| match &record.event {
                Event::Note { text } => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }

    /// The ioctls of a name.
    pub fn ioctls(&self, name: &str) -> Vec<&Ioctl> {
        ioctls(&self.records).into_iter().filter(|ioctl| ioctl.name == name).collect()
    }

    /// The ioctls between a mark and the next one.
    pub fn after(&self, mark: &str) -> Vec<&Ioctl> {
        let is_mark = |record: &&Record| matches!(record.event, Event::Mark { .. });
        let start = self
            .records
            .iter()
            .position(|record| matches!(&record.event, Event::Mark { text } if text == mark))
            .unwrap_or_else(|| panic!("no mark {mark:?}"));
        let part = &self.records[start + 1..];
        let end = part.iter().position(|record| is_mark(&record)).unwrap_or(part.len());
        ioctls(&part[..end])
    }
}

fn ioctls(records: &[Record]) -> Vec<&Ioctl> {
    records
        .iter()
        .filter_map(|record| match &record.event {
            Event::Ioctl(ioctl) => Some(ioctl),
            _ => None,
        })
        .collect()
}

/// Runs a program on the simulated GPU, with a log and a temporary directory of its own.
pub fn run(program: impl AsRef<OsStr>, arguments: &[&str], settings: &[(&str, &str)]) -> Ran {
    let dir = tempfile::tempdir_in(scratch()).expect("a temporary directory");
    let log = dir.path().join("log");
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["KFDSIM_", "RDNAFIX_", "HSA_", "HIP_", "ROCR_"]
            .iter()
            .any(|start| text.starts_with(start))
        {
            command.env_remove(&name);
        }
    }
    command.args(arguments).env("LD_PRELOAD", kfdsim()).env("KFDSIM_LOG", &log);
    command.env("TMPDIR", dir.path());
    command.envs(settings.iter().copied());
    // To files, so that a child that outlives the program cannot hold a pipe open.
    let file = |name| std::fs::File::create(dir.path().join(name)).expect("an output file");
    command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
    let mut child = command.spawn().expect("the program starts");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("the program can be waited for") {
            break Some(status);
        }
        if start.elapsed() > LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let read = |name| {
        String::from_utf8_lossy(&std::fs::read(dir.path().join(name)).unwrap_or_default())
            .into_owned()
    };
    let (stdout, stderr) = (read("stdout"), read("stderr"));
    let status =
        status.unwrap_or_else(|| panic!("{command:?} hangs\nstdout:\n{stdout}\nstderr:\n{stderr}"));
    let records = std::fs::File::open(&log).map_or_else(
        |_| Vec::new(),
        |file| kfd_abi::log::read(BufReader::new(file)).expect("every line is a record"),
    );
    Ran { success: status.success(), code: status.code(), stdout, stderr, records }
}
