//! What a released PyTorch makes of the settings that are merged into its environment: the
//! parser of its real libc10, by itself and under Python, on the simulated GPU. And the training
//! example, which runs as it does without the library.
//!
//! The root has PyTorch for the CPU: no GPU is used, and nothing is learned about one.

#[allow(dead_code, reason = "a part of it is used")]
mod clients_common;
mod common;

use std::path::Path;

use common::release::{Release, release};
use common::{Ran, Run};

const VARIABLES: [&str; 3] =
    ["PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_ALLOC_CONF"];

fn torch() -> Option<Release> {
    release("torch-2.14")
}

/// `tests/programs/torch_settings.cpp`: what libc10 has read, a line each.
fn parsed(release: &Release, interposed: bool, settings: &[(&str, &str)]) -> Vec<String> {
    let headers = clients_common::headers(release, |name| name == "c10" || name == "torch");
    let headers = format!("-isystem{}", headers.display());
    let library = release.file("usr/lib/x86_64-linux-gnu/libc10.so.2.14");
    let library = library.to_str().expect("UTF-8");
    let options = ["-std=c++20", &headers, library, "-Wl,--allow-shlib-undefined"];
    let program = release.compile("tests/programs/torch_settings.cpp", "torch_settings", &options);
    let mut run = Run::new(program).inside(release);
    for (name, value) in settings {
        run = run.env(name, value);
    }
    let run = if interposed { run.interposed() } else { run };
    let ran = run.on("gfx1031").go().well();
    ran.stdout().lines().map(str::to_owned).collect()
}

/// The same with every number by its name: split, gc, expandable, large.
fn numbers(line: &str) -> Vec<&str> {
    let (_, numbers) = line.split_once(": ").expect("a line of numbers");
    numbers.split(", ").collect()
}

const NO_SPLIT: &str = "split unlimited";
const SPLIT: &str = "split 128 MB";
const GC: &str = "gc 0.60";

#[test]
fn the_real_parser_reads_both_defaults_where_the_user_set_nothing() {
    let Some(release) = torch() else { return };
    println!("libc10 of {}", release.packages["libtorch2.14"]);
    let stock = parsed(&release, false, &[]);
    let merged = parsed(&release, true, &[]);
    assert_eq!(numbers(&stock[0])[..2], [NO_SPLIT, "gc 0.00"]);
    assert_eq!(numbers(&merged[0])[..2], [SPLIT, GC]);
    assert_eq!(merged[1], "text: max_split_size_mb:128,garbage_collection_threshold:0.6");
    // docs/pytorch.md: the setter of PyTorch forgets what it is not given.
    assert_eq!(numbers(&merged[2])[..2], [NO_SPLIT, "gc 0.00"]);
}

/// Users' settings: whether they have the split (or rule it out), and the threshold.
const SETTINGS: [(&str, bool, bool); 24] = [
    ("max_split_size_mb:256", true, false),
    ("max_split_size_mb:20", true, false),
    ("max_split_size_mb: 64", true, false),
    (" max_split_size_mb :64 ,expandable_segments:False", true, false),
    ("garbage_collection_threshold:0.9", false, true),
    ("garbage_collection_threshold:0.8,max_split_size_mb:512", true, true),
    ("expandable_segments:True", true, false),
    ("expandable_segments:False,garbage_collection_threshold:0.5", false, true),
    ("roundup_power2_divisions:4", false, false),
    ("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]", false, false),
    ("roundup_power2_divisions:[256:1, 512 : 2,>:8], max_split_size_mb:64", true, false),
    ("max_non_split_rounding_mb:32", false, false),
    ("large_segment_size_mb:256", true, false),
    ("large_segment_size_mb:64,max_split_size_mb:64", true, false),
    ("pinned_use_background_threads:True", false, false),
    ("backend:native", false, false),
    ("per_process_memory_fraction:0.8", false, false),
    ("an_option_of_tomorrow:1", false, false),
    // Left alone.
    ("", true, true),
    ("   ", true, true),
    ("backend:cudaMallocAsync", true, true),
    ("expandable_segments:True,backend:hipMallocAsync", true, true),
    ("max_split_size_mb:64,", true, true),
    ("an_option_of_tomorrow:[1,2]", true, true),
];

#[test]
fn the_real_parser_finds_every_value_that_the_user_set_and_beside_them_the_defaults() {
    let Some(release) = torch() else { return };
    for variable in VARIABLES {
        for (text, has_split, has_gc) in SETTINGS {
            let stock = parsed(&release, false, &[(variable, text)]);
            let merged = parsed(&release, true, &[(variable, text)]);
            let mut expected = numbers(&stock[0]);
            if !has_split {
                assert_eq!(expected[0], NO_SPLIT, "{text}");
                expected[0] = SPLIT;
            }
            if !has_gc {
                assert_eq!(expected[1], "gc 0.00", "{text}");
                expected[1] = GC;
            }
            assert_eq!(numbers(&merged[0]), expected, "{variable}={text:?}");
            assert!(merged[1].starts_with(&stock[1]), "{variable}={text:?}: {}", merged[1]);
            let same = merged[1] == stock[1];
            assert_eq!(same, has_split && has_gc, "{variable}={text:?}: {}", merged[1]);
        }
    }
}

/// The order in which PyTorch looks is why HIP's variable is never added beside the third.
#[test]
fn of_several_variables_the_real_parser_reads_the_one_that_it_read_before() {
    let Some(release) = torch() else { return };
    let [cuda, hip, alloc] = VARIABLES;
    let (a, b, c) = ("max_split_size_mb:301", "max_split_size_mb:302", "max_split_size_mb:303");
    for (settings, split) in [
        (&[(cuda, a), (hip, b), (alloc, c)][..], "split 301 MB"),
        (&[(cuda, a), (alloc, c)], "split 301 MB"),
        (&[(hip, b), (alloc, c)], "split 302 MB"),
        (&[(alloc, c)], "split 303 MB"),
    ] {
        for interposed in [false, true] {
            let lines = parsed(&release, interposed, settings);
            assert_eq!(numbers(&lines[0])[0], split, "{settings:?}, interposed: {interposed}");
        }
    }
}

#[test]
fn what_the_real_parser_refuses_stays_refused_with_the_same_words() {
    let Some(release) = torch() else { return };
    for text in [
        "max_split_size_mb:19",
        "garbage_collection_threshold:0",
        "garbage_collection_threshold:1.0",
        "expandable_segments:false",
        "max_split_size_mb:x",
        "max_split_size_mb",
        "a:[1:2",
        "large_segment_size_mb:256,max_split_size_mb:128",
    ] {
        let stock = parsed(&release, false, &[(VARIABLES[1], text)]);
        let merged = parsed(&release, true, &[(VARIABLES[1], text)]);
        assert!(stock[0].starts_with("refused: "), "{text}: {stock:?}");
        assert_eq!(merged, stock, "{text}");
    }
}

fn python(release: &Release, interposed: bool, arguments: &[&str]) -> Ran {
    let libraries = "/usr/lib/x86_64-linux-gnu";
    let run = Run::new("/usr/bin/python3")
        .args(arguments)
        // Where Debian's alternatives, which nothing set up in the root, would lead.
        .env("LD_LIBRARY_PATH", format!("{libraries}/blas:{libraries}/lapack"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("OMP_NUM_THREADS", "1")
        .inside(release);
    let run = if interposed { run.interposed() } else { run };
    run.on("gfx1031").go()
}

#[test]
fn under_python_the_environment_of_before_the_first_use_is_what_counts() {
    let Some(release) = torch() else { return };
    let read = "import os, sys, torch\nif sys.argv[1:]: os.environ.update([sys.argv[1:]])\n\
                print(torch._C._accelerator_getAllocatorSettings())";
    let both = "max_split_size_mb:128,garbage_collection_threshold:0.6";
    let settings = |arguments: &[&str]| {
        let ran = python(&release, true, &[&["-c", read], arguments].concat());
        assert!(ran.output.status.success(), "{}", ran.stderr());
        ran.stdout().trim().to_owned()
    };
    assert_eq!(settings(&[]), both);
    let [cuda, hip, alloc] = VARIABLES;
    for variable in [cuda, hip] {
        assert_eq!(settings(&[variable, "max_split_size_mb:300"]), "max_split_size_mb:300");
    }
    // docs/pytorch.md names this limit: the script itself sets what HIP's variable hides.
    assert_eq!(settings(&[alloc, "max_split_size_mb:300"]), both);
}

/// The lines of the training example that do not depend on the time.
fn losses(ran: &Ran) -> Vec<&str> {
    let lines = ran.stdout().lines().filter(|line| line.starts_with("step "));
    lines.map(|line| line.split(',').next().expect("a part")).collect()
}

#[test]
fn the_training_example_trains_the_same_with_the_library() {
    let Some(release) = torch() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/train.py");
    let script = script.to_str().expect("UTF-8");
    let train = |interposed| {
        let ran =
            python(&release, interposed, &[script, "--cpu", "--steps", "6", "--workers", "1"]);
        assert!(ran.output.status.success(), "{}\n{}", ran.stdout(), ran.stderr());
        assert!(ran.stdout().ends_with("DONE\n"), "{}", ran.stdout());
        assert!(!ran.stderr().contains("rdnafix"), "{}", ran.stderr());
        ran
    };
    let (stock, interposed) = (train(false), train(true));
    assert_eq!(losses(&stock).len(), 6);
    assert_eq!(losses(&interposed), losses(&stock));
    assert!(stock.stdout().contains("PYTORCH_HIP_ALLOC_CONF is not set\n"), "{}", stock.stdout());
    let set = "PYTORCH_HIP_ALLOC_CONF=max_split_size_mb:128,garbage_collection_threshold:0.6\n";
    assert!(interposed.stdout().contains(set), "{}", interposed.stdout());
}
