//! PyTorch's allocator defaults in the environment of real Python programs: by every rule of
//! merging, in the program itself, in what it starts, and in spawned workers; and on which
//! machines.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::boards::{BOARDS, CONTROLS};
use common::{Run, only_outside, rdnafix};

const CUDA: &str = "PYTORCH_CUDA_ALLOC_CONF";
const HIP: &str = "PYTORCH_HIP_ALLOC_CONF";
const ALLOC: &str = "PYTORCH_ALLOC_CONF";
const ADDED: &str = "RDNAFIX_TORCH_ADDED";
const BOTH: &str = "max_split_size_mb:128,garbage_collection_threshold:0.6";

type Variables = BTreeMap<String, String>;

fn variables(list: &[(&str, &str)]) -> Variables {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What is found where nothing was set and everything is added.
fn added() -> Variables {
    variables(&[(HIP, BOTH), (ADDED, HIP)])
}

fn python() -> Run {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/torch_environment.py");
    Run::new("/usr/bin/python3").env("PYTHONDONTWRITEBYTECODE", "1").arg(script)
}

/// The variables by the kind of process.
fn found(run: Run) -> BTreeMap<String, Variables> {
    let ran = run.go();
    let well = ran.output.status.success() && ran.stderr().is_empty();
    assert!(well, "{}\n{}\n{}", ran.output.status, ran.stdout(), ran.stderr());
    serde_json::from_str(ran.stdout()).expect("JSON")
}

/// The variables of a process that does nothing.
fn of_one(run: Run) -> Variables {
    let ran = run.arg("--here").go();
    assert_eq!((ran.output.status.code(), ran.stderr()), (Some(0), ""));
    serde_json::from_str(ran.stdout()).expect("JSON")
}

fn set(mut run: Run, list: &[(&str, &str)]) -> Run {
    for (name, value) in list {
        run = run.env(name, value);
    }
    run
}

/// What the user sets, and what every process then finds.
type Rule = (&'static [(&'static str, &'static str)], Variables);

fn rules() -> Vec<Rule> {
    let with = |text: &str| format!("{text},{BOTH}");
    let expandable = "expandable_segments:True,garbage_collection_threshold:0.6".to_owned();
    vec![
        (&[], added()),
        (
            &[(HIP, "max_split_size_mb:256")],
            variables(&[(HIP, "max_split_size_mb:256,garbage_collection_threshold:0.6")]),
        ),
        (
            &[(HIP, "garbage_collection_threshold:0.9")],
            variables(&[(HIP, "garbage_collection_threshold:0.9,max_split_size_mb:128")]),
        ),
        (&[(HIP, BOTH)], variables(&[(HIP, BOTH)])),
        (&[(HIP, "expandable_segments:True")], variables(&[(HIP, &expandable)])),
        (
            &[(CUDA, "expandable_segments:True")],
            variables(&[(CUDA, &expandable), (HIP, BOTH), (ADDED, HIP)]),
        ),
        (&[(ALLOC, "expandable_segments:True")], variables(&[(ALLOC, &expandable)])),
        (
            &[(CUDA, "a:1"), (ALLOC, "b:2")],
            variables(&[(CUDA, &with("a:1")), (ALLOC, &with("b:2"))]),
        ),
        (
            &[(CUDA, "a:1"), (HIP, "b:[1:2,>:3]")],
            variables(&[(CUDA, &with("a:1")), (HIP, &with("b:[1:2,>:3]"))]),
        ),
        (&[(HIP, "a:1"), (ALLOC, "b:2")], variables(&[(HIP, &with("a:1")), (ALLOC, &with("b:2"))])),
        (&[(HIP, "")], variables(&[(HIP, "")])),
        (&[(CUDA, "")], variables(&[(CUDA, "")])),
        (&[(ALLOC, "")], variables(&[(ALLOC, "")])),
        (&[(HIP, "backend:hipMallocAsync")], variables(&[(HIP, "backend:hipMallocAsync")])),
        (&[(CUDA, "backend:cudaMallocAsync")], variables(&[(CUDA, "backend:cudaMallocAsync")])),
        (
            &[(ALLOC, "a:1,backend:cudaMallocAsync")],
            variables(&[(ALLOC, "a:1,backend:cudaMallocAsync")]),
        ),
        (&[(HIP, "max_split_size_mb")], variables(&[(HIP, "max_split_size_mb")])),
        (&[(CUDA, "a:1"), (HIP, "junk,")], variables(&[(CUDA, "a:1"), (HIP, "junk,")])),
        (
            &[(HIP, "large_segment_size_mb:512")],
            variables(&[(HIP, "large_segment_size_mb:512,garbage_collection_threshold:0.6")]),
        ),
        (
            &[(HIP, " max_split_size_mb : 64 ")],
            variables(&[(HIP, " max_split_size_mb : 64 ,garbage_collection_threshold:0.6")]),
        ),
    ]
}

#[test]
fn every_rule_holds_in_the_program_in_what_it_starts_and_in_spawned_workers() {
    for (given, expected) in rules() {
        let found = found(set(python(), given).interposed().on("gfx1031"));
        for kind in ["main", "subprocess", "worker", "forked"] {
            assert_eq!(found[kind], expected, "{kind}, {given:?}");
        }
        // An environment in which they are not set is one in which the user sets nothing.
        assert_eq!(found["emptied"], added(), "{given:?}");
    }
}

/// A script that sets a variable itself, after this library has added its own.
#[test]
fn what_a_script_sets_is_not_hidden_from_the_programs_that_it_starts() {
    let with = format!("a:1,{BOTH}");
    let (alloc, cuda, hip) = (format!("{ALLOC}=a:1"), format!("{CUDA}=a:1"), format!("{HIP}=a:1"));
    let (empty, gone) = (format!("{ALLOC}="), HIP.to_owned());
    for (argument, expected) in [
        (&alloc, variables(&[(ALLOC, &with)])),
        (&cuda, variables(&[(CUDA, &with), (HIP, BOTH), (ADDED, HIP)])),
        (&hip, variables(&[(HIP, &with)])),
        (&empty, variables(&[(ALLOC, "")])),
        (&gone, added()),
    ] {
        let found = found(python().arg(argument).interposed().on("gfx1031"));
        assert_eq!(found["main"], added());
        for kind in ["subprocess", "worker"] {
            assert_eq!(found[kind], expected, "{kind}, {argument}");
        }
    }
}

#[test]
fn it_can_be_turned_off_and_a_child_takes_back_what_its_parent_added() {
    for off in [("RDNAFIX_TORCH", "0"), ("RDNAFIX_POLICY", "off"), ("RDNAFIX_DRY_RUN", "1")] {
        for given in [&[][..], &[(CUDA, "a:1")], &[(HIP, BOTH)]] {
            let run = set(python(), given).env(off.0, off.1).interposed().on("gfx1031");
            assert_eq!(of_one(run), variables(given), "{off:?}");
        }
        let argument = format!("{}={}", off.0, off.1);
        let found = found(python().arg(argument).interposed().on("gfx1031"));
        assert_eq!((&found["main"], &found["subprocess"]), (&added(), &Variables::new()));
        assert_eq!(found["worker"], Variables::new());
    }
    let run = python().env("RDNAFIX_TORCH", "1").interposed().on("gfx1031");
    assert_eq!(of_one(run), added());
}

#[test]
fn only_where_every_visible_gpu_is_rdna12() {
    for board in BOARDS {
        let expected = if CONTROLS.contains(&board) { Variables::new() } else { added() };
        assert_eq!(of_one(python().interposed().on(board)), expected, "{board}");
    }
    let only = |variable: &str, list: &str, gpus: &str| {
        of_one(python().env(variable, list).interposed().on(gpus))
    };
    assert_eq!(of_one(python().interposed().on("gfx1012,gfx1030")), added());
    assert_eq!(of_one(python().interposed().on("gfx1030,gfx1100")), Variables::new());
    for variable in ["ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"] {
        assert_eq!(only(variable, "0", "gfx1030,gfx1100"), added(), "{variable}");
        for list in ["1", "0,1", "GPU-0", "-1", "", "junk"] {
            let found = only(variable, list, "gfx1030,gfx1100");
            assert_eq!(found, Variables::new(), "{variable}={list}");
        }
    }
    // Of the two that HIP reads, its own is the one that counts.
    let both = |hip: &str, cuda: &str| {
        let run = python().env("HIP_VISIBLE_DEVICES", hip).env("CUDA_VISIBLE_DEVICES", cuda);
        of_one(run.interposed().on("gfx1030,gfx1100"))
    };
    assert_eq!((both("1", "0"), both("0", "1")), (Variables::new(), added()));
}

#[test]
fn on_a_machine_without_the_driver_nothing_is_added() {
    if Path::new("/sys/class/kfd/kfd").exists() {
        println!("SKIPPED: a machine without KFD: this one has it");
        return;
    }
    for given in [&[][..], &[(CUDA, "a:1")], &[(HIP, "")]] {
        assert_eq!(of_one(set(python(), given).interposed()), variables(given));
    }
}

/// The environment is the program's own once it runs, also while it has one thread.
#[test]
fn a_library_that_is_opened_later_changes_no_environment() {
    if only_outside("torch_environment: dlopen", "the interpreter is this machine's") {
        return;
    }
    let script = "import ctypes, os, sys\nlibc = ctypes.CDLL(None)\nlibc.getenv.restype = ctypes.c_char_p\n\
                  ctypes.CDLL(sys.argv[1])\nprint(libc.getenv(b'PYTORCH_HIP_ALLOC_CONF'))";
    let opens = || Run::new("/usr/bin/python3").args(["-c", script]).arg(rdnafix()).on("gfx1031");
    assert_eq!(opens().go().well().stdout(), "None\n");
    let preloaded = Run::new("/usr/bin/python3").args(["-c", script]).arg(rdnafix());
    let preloaded = preloaded.interposed().on("gfx1031").go().well();
    assert_eq!(preloaded.stdout(), format!("b'{BOTH}'\n"));
}

#[test]
fn the_rest_of_the_environment_and_its_order_stay_as_they_were() {
    let stock = Run::new("/usr/bin/env").env("A_VALUE", "with = and\nnewline").on("gfx1031").go();
    let run = Run::new("/usr/bin/env").env("A_VALUE", "with = and\nnewline");
    let interposed = run.interposed().on("gfx1031").go().well();
    let differs =
        |line: &&str| !line.starts_with("LD_PRELOAD=") && !line.starts_with("KFDSIM_LOG=");
    let stock: Vec<&str> = stock.stdout().lines().filter(differs).collect();
    let after: Vec<&str> = interposed.stdout().lines().filter(differs).collect();
    let (rest, new) = after.split_at(stock.len());
    assert_eq!(rest, stock);
    assert_eq!(new, [format!("{HIP}={BOTH}"), format!("{ADDED}={HIP}")]);
}

#[test]
fn the_log_says_what_pytorch_finds_whoever_set_it() {
    let program = common::alloc_probe();
    let line = format!("for PyTorch: {HIP}={BOTH}");
    // A shell sets it for what it starts, and does not use a GPU itself.
    let script = format!("{}; true", program.display());
    for run in [Run::new(&program), Run::new("/bin/sh").args(["-c", &script])] {
        let ran = run.env("RDNAFIX_LOG", "info").interposed().on("gfx1031").go();
        assert!(ran.stderr().contains(&line), "{}", ran.stderr());
    }
}

#[test]
fn the_switch_of_the_source_patches_is_one_of_the_library_too() {
    let all = |value: &str| {
        let run = Run::new("/usr/bin/env").env("PYTORCH_RDNA_ALLOC_DEFAULTS", value);
        run.interposed().on("gfx1031").go().stdout().to_owned()
    };
    for off in ["0", "off", "false", "00"] {
        assert!(!all(off).contains(HIP), "{off}: {}", all(off));
    }
    for on in ["1", ""] {
        assert!(all(on).contains(&format!("{HIP}={BOTH}")), "{on}: {}", all(on));
    }
}
