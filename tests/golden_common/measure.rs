//! The matrix: every setting and level of a release is a run of the program. All tests of one
//! run of the test suite share what the first of them measured; nothing is kept beyond it.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use kfd_abi::log::{Event, Record};
use serde::{Deserialize, Serialize};

use super::row::{Seen, seen};
use crate::common::Run;
use crate::common::artifact::target_dir;
use crate::common::boards::{BOARDS, CONTROLS};
use crate::common::parallel::each;
use crate::common::release::Release;

/// Settings of ROCm that are measured on one board.
const VARIABLES: [&str; 2] = ["HSA_FORCE_FINE_GRAIN_PCIE=1", "HIP_HOST_COHERENT=0"];

/// The runs of a setting: without the library, then at each level.
pub const LEVELS: [&str; 5] = ["stock", "off", "standard", "mapped", "full"];

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub board: String,
    pub large_bar: bool,
    pub svm: bool,
    /// `NAME=VALUE`, a setting of ROCm.
    pub variable: Option<String>,
}

/// What was seen on a machine at each of [`LEVELS`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Measured {
    pub setting: Setting,
    pub levels: Vec<Seen>,
}

impl Measured {
    /// Whether the library has anything to do here.
    pub fn is_rdna_1_or_2(&self) -> bool {
        !CONTROLS.contains(&&self.setting.board[..])
    }

    /// The name of the setting, for messages.
    pub fn name(&self) -> String {
        format!("{:?}", self.setting)
    }

    /// Each level with the library, its name and what was seen.
    pub fn interposed(&self) -> impl Iterator<Item = (&'static str, &Seen)> {
        LEVELS.into_iter().zip(&self.levels).skip(1)
    }
}

/// All settings of the matrix; the same one with a small and with a large BAR are neighbours.
pub fn settings() -> Vec<Setting> {
    let mut all = Vec::new();
    let mut both_bars = |board: &str, svm, variable: Option<&str>| {
        all.extend([false, true].map(|large_bar| {
            let (board, variable) = (board.to_owned(), variable.map(str::to_owned));
            Setting { board, large_bar, svm, variable }
        }));
    };
    for board in BOARDS {
        both_bars(board, true, None);
        both_bars(board, false, None);
    }
    for variable in VARIABLES {
        both_bars(BOARDS[0], true, Some(variable));
    }
    all
}

/// This run of the suite. Without nextest all tests are in this process, and an earlier one may
/// have had the same process id.
static THIS_RUN: LazyLock<String> = LazyLock::new(|| {
    std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| {
        let since = UNIX_EPOCH.elapsed().expect("a clock after 1970");
        format!("{}-{}", std::process::id(), since.as_nanos())
    })
});

/// The whole matrix of a release: measured, or what another test of the same run of the suite
/// has measured.
pub fn matrix(release: &Release) -> Vec<Measured> {
    let directory = target_dir().join("golden");
    std::fs::create_dir_all(&directory).expect("the target directory is writable");
    let lock = File::create(directory.join(format!("{}.lock", release.name))).expect("a lock");
    // SAFETY: the descriptor is open; the lock ends with it.
    assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }, 0, "flock");
    let file = directory.join(format!("{}.{}.json", release.name, *THIS_RUN));
    if let Ok(text) = std::fs::read(&file) {
        return serde_json::from_slice(&text).expect("what a test wrote");
    }
    forget_earlier_runs(&directory, &release.name);
    let measured = measure(release);
    let text = serde_json::to_vec(&measured).expect("JSON");
    let part = file.with_extension("part");
    std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, &file)).expect("written");
    measured
}

fn forget_earlier_runs(directory: &Path, release: &str) {
    for entry in std::fs::read_dir(directory).expect("readable").flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(&format!("{release}."));
        if ours && path.extension().is_none_or(|kind| kind != "lock") {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// `tests/programs/golden.cpp`, which makes all calls.
pub fn program(release: &Release) -> PathBuf {
    let libraries = ["-std=c++17", "-lamdhip64", "-lhsa-runtime64", "-ldl"];
    release.compile("tests/programs/golden.cpp", "golden", &libraries)
}

fn measure(release: &Release) -> Vec<Measured> {
    let started = std::time::Instant::now();
    let program = program(release);
    let trace = release.compile(
        "tests/programs/golden_trace.c",
        "golden_trace.so",
        &["-shared", "-fPIC", "-ldl"],
    );
    let settings = settings();
    let count = settings.len() * LEVELS.len();
    let runs: Vec<_> =
        settings.iter().flat_map(|setting| LEVELS.map(|level| (setting, level))).collect();
    let mut found =
        each(&runs, |(setting, level)| run(release, &program, &trace, setting, level)).into_iter();
    let measured = settings
        .iter()
        .map(|setting| Measured {
            setting: setting.clone(),
            levels: found.by_ref().take(LEVELS.len()).collect(),
        })
        .collect();
    println!(
        "MATRIX: golden tables, ROCm {}: {} boards, {count} runs in {:.0?}",
        release.name,
        BOARDS.len(),
        started.elapsed()
    );
    measured
}

fn run(release: &Release, program: &Path, trace: &Path, setting: &Setting, level: &str) -> Seen {
    let mut run = Run::new(program);
    if level != LEVELS[0] {
        run = run.interposed().env("RDNAFIX_POLICY", level);
    }
    run_on(release, run.preload(trace), setting)
}

/// A run on the machine of a setting.
pub fn run_on(release: &Release, mut run: Run, setting: &Setting) -> Seen {
    let number = |yes: bool| if yes { "1" } else { "0" };
    run = run
        .env("KFDSIM_LARGE_BAR", number(setting.large_bar))
        .env("KFDSIM_SVM", number(setting.svm));
    if let Some((name, value)) = setting.variable.as_deref().and_then(|text| text.split_once('=')) {
        run = run.env(name, value);
    }
    let ran = run.on(&setting.board).inside(release).go().well();
    let ended = |record: &Record| matches!(&record.event, Event::Mark { text } if text == "end");
    assert!(ran.records.iter().any(ended), "{setting:?}: not all calls were made");
    seen(&ran.records)
}
