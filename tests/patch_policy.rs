//! The policy's C header, which the source patches include, against the crate: the same answer
//! to every request, as C99 and as C++11.

mod common;
#[allow(dead_code, reason = "the targets are for the crate's own tests")]
#[path = "../crates/policy/tests/domain_common/mod.rs"]
mod domain;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use domain::CALLERS;
use policy::{Action, GfxTarget, Level, Reason, Request, decide, host_malloc};

/// Numbers in an answer: the GPU, and action, flags and reason for each caller and level.
const EACH: usize = 1 + 3 * 4 * 3;
/// One of each kind: not known, RDNA1/2, what was never built, and other generations.
const GPUS: [u32; 6] = [0, 100_300, 100_103, 100_200, 110_000, 90_006];

fn programs() -> [PathBuf; 2] {
    let strict = ["-pedantic-errors", "-Wconversion", "-Wsign-conversion", "-Wshadow"];
    let standard =
        |name: &'static str| [&["-D_POSIX_C_SOURCE=200809L", name][..], &strict].concat();
    [
        common::compile("tests/programs/policy_header.c", "policy_header", &standard("-std=c99")),
        common::compile(
            "tests/programs/policy_header_cpp.cpp",
            "policy_header_cpp",
            &standard("-std=c++11"),
        ),
    ]
}

/// A request and a GPU as the program reads them: the order of its members, and of the
/// enumerators, is that of the crate.
fn question(request: Request, gpu: u32) -> [u32; 13] {
    let mut all = [0; 13];
    all[12] = gpu;
    match request {
        Request::HostMalloc { flags } => all[1] = flags,
        Request::HostAlloc { flags, hip } => {
            (all[0], all[1]) = (1, flags);
            if let Some(hip) = hip {
                (all[2], all[3], all[4]) = (1, hip.major.into(), hip.minor.into());
            }
        }
        Request::MemAllocHost => all[0] = 2,
        Request::MallocManaged { below } => (all[0], all[5]) = (3, below as u32),
        Request::ExtMalloc { flags } => (all[0], all[1]) = (4, flags),
        Request::PoolAllocate { owner, pool, flags, coarse_sibling } => {
            (all[0], all[1], all[6]) = (5, flags, owner as u32);
            (all[7], all[8]) = (pool, coarse_sibling.into());
        }
        Request::LockToPool { pool, coarse_sibling } => {
            (all[0], all[7], all[8]) = (6, pool, coarse_sibling.into());
        }
        Request::SvmAttributes { gives_access, names_grain, chosen_before } => {
            (all[0], all[9]) = (7, gives_access.into());
            (all[10], all[11]) = (names_grain.into(), chosen_before.into());
        }
    }
    all
}

/// What the program has to answer.
fn answer(request: Request, version: u32) -> Vec<u32> {
    let gpu = GfxTarget::from_kfd(version);
    let known = gpu
        .map_or(0, |target| u32::from_be_bytes([1, target.major, target.minor, target.stepping]));
    let mut all = vec![known];
    for caller in CALLERS {
        for level in Level::ALL {
            let decision = decide(request, gpu, caller, level);
            let (action, flags) = match decision.action {
                Action::Forward => (0, 0),
                Action::WithFlags(flags) => (1, flags),
                Action::CallHostMalloc(flags) => (2, flags),
                Action::CoarsePool { flags } => (3, flags),
                Action::AppendCoarse => (4, 0),
                Action::AdviseCoarse => (5, 0),
            };
            all.extend([action, flags, decision.reason as u32]);
        }
    }
    all
}

/// Asks both programs, and compares every answer.
fn compare(questions: &[(Request, u32)]) {
    let mut input = tempfile::NamedTempFile::new().expect("a temporary file");
    let bytes: Vec<u8> = questions
        .iter()
        .flat_map(|(request, gpu)| question(*request, *gpu))
        .flat_map(u32::to_ne_bytes)
        .collect();
    input.write_all(&bytes).expect("written");
    for program in programs() {
        let stdin = File::open(input.path()).expect("the file is there");
        let said = Command::new(&program).stdin(stdin).output().expect("the program runs");
        assert!(said.status.success(), "{}: {}", program.display(), said.status);
        let words: Vec<u32> = said
            .stdout
            .chunks_exact(4)
            .map(|word| u32::from_ne_bytes(word.try_into().expect("4 bytes")))
            .collect();
        assert_eq!(words.len(), questions.len() * EACH, "{}", program.display());
        for ((request, gpu), found) in questions.iter().zip(words.chunks_exact(EACH)) {
            let program = program.display();
            assert_eq!(found, answer(*request, *gpu), "{program}: {request:?} for {gpu}");
        }
    }
}

#[test]
fn the_header_decides_as_the_crate_does_over_the_whole_domain() {
    let not_host: Vec<u32> =
        (0..32).map(|bit| 1 << bit).filter(|bit| bit & host_malloc::KNOWN == 0).collect();
    let versions = [&domain::VERSIONS[..], &[(0, 0), (7, 0), (u16::MAX, u16::MAX)]].concat();
    let mut all = domain::requests_with(&versions, &not_host, &[0x10, 0x100, 0x8000_0000]);
    all.extend((10..=16).chain([u32::MAX]).map(|flags| Request::ExtMalloc { flags }));
    let questions: Vec<_> =
        all.iter().flat_map(|request| GPUS.map(|gpu| (*request, gpu))).collect();
    assert!(questions.len() > 100_000, "{}", questions.len());
    compare(&questions);
}

#[test]
fn the_header_knows_the_same_gpus_as_the_crate() {
    let asked = Request::HostMalloc { flags: 0 };
    let numbers = (0..=20).chain(89_000..=131_000).chain([
        255 * 10_000 + 9_999,
        256 * 10_000,
        i32::MAX as u32,
        u32::MAX,
    ]);
    compare(&numbers.map(|version| (asked, version)).collect::<Vec<_>>());
}

#[test]
fn the_header_reads_its_level_once_and_understands_what_the_crate_does() {
    let values = Level::ALL.map(Level::name).map(str::as_bytes);
    let junk: [&[u8]; 8] =
        [b"", b"Standard", b"full ", b" off", b"fullest", b"2", b"\xff\xfe", &[b'x'; 4096]];
    for program in programs() {
        let level = |value: Option<&[u8]>| {
            let mut command = Command::new(&program);
            command.arg("level").env_remove("RDNAFIX_POLICY");
            if let Some(value) = value {
                command.env("RDNAFIX_POLICY", std::ffi::OsStr::from_bytes(value));
            }
            let said = command.output().expect("the program runs").stdout;
            String::from_utf8(said).expect("text")
        };
        for (index, value) in values.iter().enumerate() {
            assert_eq!(level(Some(value)), format!("{index} {index}\n"), "{program:?}");
        }
        for value in junk.map(Some).into_iter().chain([None]) {
            assert_eq!(level(value), "1 1\n", "{program:?}: {value:?}");
        }
    }
}

#[test]
fn the_reasons_have_the_same_names_in_the_same_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = fs::read_to_string(root.join("patches/policy/rdnafix_policy.h")).expect("text");
    let list = header.split("enum rdnafix_reason {").nth(1).expect("the reasons");
    let list = list.split('}').next().expect("their end");
    let found: Vec<&str> = list
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("RDNAFIX_REASON_"))
        .collect();
    let expected: Vec<String> = Reason::ALL
        .iter()
        .map(|reason| format!("RDNAFIX_REASON_{}", reason.code().replace('-', "_").to_uppercase()))
        .collect();
    assert_eq!(found, expected);
}
