//! Programs that nobody here wrote, on the real ROCm libraries and the simulated GPU, stock and
//! interposed. Each test makes its rows of the tables in docs/compatibility.md.

mod clients_common;
mod common;

use std::path::{Path, PathBuf};

use clients_common::{Both, Line, Way, both, headers, prepared, table, versions};
use common::boards::rdna12;
use common::pair::{EXPLICIT, IMPLICIT, MANAGED, of_size, pair, skipped};
use common::release::{RELEASES, Release, release};
use common::{Ran, Run};

const ROCMINFO: &str = "rocminfo";
const CLINFO: &str = "clinfo, AMD's OpenCL";
const GGML: &str = "llama.cpp's ggml, HIP backend";
const CUPY: &str = "CuPy 14.2.0 (cupy-rocm-7-0)";
const HIP_PYTHON: &str = "hip-python 10.0.0.0.1.2";
const RCCL: &str = "RCCL, and a program that uses it";

const SVM_COHERENT: &str = "SVM coherent gfx1030#0=UC";
const SVM_NON_COHERENT: &str = "SVM non-coherent gfx1030#0=NC";
const PINNED_COHERENT: &str = "USERPTR coherent gfx1030#0=UC";
const PINNED_NON_COHERENT: &str = "USERPTR non-coherent gfx1030#0=NC";

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name)
}

/// Asserts what was asked for between the marks of a name: stock, interposed.
fn expect(both: &Both, mark: &str, stock: &[&str], interposed: &[&str]) {
    assert_eq!(both.memory(mark), [stock, interposed], "{mark}");
}

/// The HIP and HSA of a root.
fn runtime(release: &Release) -> String {
    let hip = release.packages.keys().find(|name| {
        name.strip_prefix("libamdhip64-").is_some_and(|soname| soname.parse::<u32>().is_ok())
    });
    versions(release, &[hip.expect("a libamdhip64"), "libhsa-runtime64-1"])
}

fn rocminfo_says_the_same_on(name: &str) {
    let Some(release) = release(name) else { return };
    let both =
        both(Path::new("/usr/bin/rocminfo"), "gfx1030", Way::Preload, |run| run.inside(&release));
    let both = both.the_same_to_the_client();
    assert!(both.pair.stock.stdout().contains("amdgcn-amd-amdhsa--gfx1030"));
    assert_eq!(both.rewritten(), [""; 0], "it asks for no memory of its own");
    let versions = versions(&release, &["rocminfo"]);
    Line { client: ROCMINFO, setting: "", way: Way::Preload, release: name, versions, both: &both }
        .check();
}

#[test]
fn rocminfo_says_the_same_on_5_2_3() {
    rocminfo_says_the_same_on("5.2.3");
}

#[test]
fn rocminfo_says_the_same_on_5_7_1() {
    rocminfo_says_the_same_on("5.7.1");
}

#[test]
fn rocminfo_says_the_same_on_6_4_3() {
    rocminfo_says_the_same_on("6.4.3");
}

#[test]
fn rocminfo_says_the_same_on_7_2_4() {
    rocminfo_says_the_same_on("7.2.4");
}

/// AMD's OpenCL uses HSA by itself, without HIP.
#[test]
fn clinfo_says_the_same_and_opencl_keeps_its_own_memory() {
    for (root, name) in [("ggml-6.4.3", "6.4.3"), ("cupy-7.2.4", "7.2.4")] {
        let Some(release) = release(root) else { continue };
        let both =
            both(Path::new("/usr/bin/clinfo"), "gfx1030", Way::Preload, |run| run.inside(&release));
        let both = both.the_same_to_the_client();
        let device = ["Device Name", "gfx1030"];
        assert!(
            both.pair
                .stock
                .stdout()
                .lines()
                .any(|line| device.iter().all(|part| line.contains(part))),
            "{}",
            both.pair.stock.stdout()
        );
        assert_eq!(both.rewritten(), [""; 0]);
        let versions = versions(&release, &["clinfo", "rocm-opencl-icd"]);
        Line {
            client: CLINFO,
            setting: "",
            way: Way::Preload,
            release: name,
            versions,
            both: &both,
        }
        .check();
    }
}

fn ggml(setting: &str) -> Option<Both> {
    let release = release("ggml-6.4.3")?;
    let include = headers(&release, |name| name.starts_with("gg"));
    let library = |name: &str| release.file("usr/lib/x86_64-linux-gnu").join(name);
    let client = release.compile(
        "tests/programs/client_ggml.cpp",
        "client_ggml",
        &[
            "-std=c++17",
            &format!("-isystem{}", include.display()),
            &library("libggml.so").display().to_string(),
            &library("libggml-base.so").display().to_string(),
            "-ldl",
        ],
    );
    let both = both(&client, "gfx1030", Way::Preload, |run| {
        let run = run.arg("/usr/lib/x86_64-linux-gnu/ggml/backends0").inside(&release);
        if setting.is_empty() { run } else { run.env(setting, "1") }
    });
    let both = both.the_same_to_the_client();
    let versions = versions(&release, &["libggml0-backend-hip"]);
    let setting = if setting.is_empty() { "" } else { &format!("{setting}=1") };
    Line { client: GGML, setting, way: Way::Preload, release: "6.4.3", versions, both: &both }
        .check();
    Some(both)
}

#[test]
fn ggml_gets_non_coherent_pinned_memory() {
    let Some(both) = ggml("") else { return };
    let device = ["VRAM non-coherent gfx1030#0=NC"];
    expect(&both, "device", &device, &device);
    expect(&both, "pinned", &[PINNED_COHERENT], &[PINNED_NON_COHERENT]);
    assert_eq!(both.rewritten(), ["hipHostMalloc"]);
}

/// ggml asks for coarse-grained managed memory by itself, with hipMemAdvise. Stock that is a
/// second call; with the library the memory is never coherent.
#[test]
fn ggml_gets_non_coherent_managed_memory_at_once() {
    let Some(both) = ggml("GGML_CUDA_ENABLE_UNIFIED_MEMORY") else { return };
    expect(&both, "device", &[SVM_COHERENT, SVM_NON_COHERENT], &[SVM_NON_COHERENT; 2]);
    expect(&both, "pinned", &[PINNED_COHERENT], &[PINNED_NON_COHERENT]);
    assert_eq!(both.rewritten(), ["hipHostMalloc", "hsa_amd_svm_attributes_set"]);
}

#[test]
fn cupy_gets_non_coherent_managed_memory_and_keeps_what_it_chose() {
    let Some(release) = release("cupy-7.2.4") else { return };
    let Some(prepared) = prepared(CUPY, "lib/libroctracer64.so.4") else { return };
    let both = both(Path::new("/usr/bin/python3"), "gfx1030", Way::Preload, |run| {
        run.arg(program("client_cupy.py"))
            .env("PYTHONPATH", prepared.join("python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("LD_LIBRARY_PATH", prepared.join("lib"))
            .inside(&release)
    });
    let both = both.the_same_to_the_client();
    let device = ["VRAM non-coherent gfx1030#0=NC"];
    expect(&both, "device", &device, &device);
    // CuPy's own pinned memory is hipHostMallocPortable, which HIP gives non-coherent.
    expect(&both, "pinned", &[PINNED_NON_COHERENT], &[PINNED_NON_COHERENT]);
    expect(&both, "pinned, flags 0", &[PINNED_COHERENT], &[PINNED_NON_COHERENT]);
    expect(&both, "managed", &[SVM_COHERENT], &[SVM_NON_COHERENT]);
    assert_eq!(both.rewritten(), ["hipHostMalloc", "hsa_amd_svm_attributes_set"]);
    let versions =
        versions(&release, &["libamdhip64-7", "libhsa-runtime64-1", "librocfft0", "python3"]);
    Line { client: CUPY, setting: "", way: Way::Preload, release: "7.2.4", versions, both: &both }
        .check();
}

/// hip-python takes `hip*` by name, so pinned memory is reached with `RDNAFIX_DLSYM=1` only.
/// Managed memory is reached in the runtime below: through its symbols, or through its table
/// where the library is not preloaded.
fn hip_python(way: Way, name: &str, versions: &str, python: &Path, set: impl Fn(Run) -> Run) {
    let both = both(python, "gfx1030", way, |run| {
        set(run.arg(program("client_hip_python.py")).env("PYTHONDONTWRITEBYTECODE", "1"))
    });
    let both = both.the_same_to_the_client();
    let pinned = if way == Way::Dlsym { PINNED_NON_COHERENT } else { PINNED_COHERENT };
    expect(&both, "pinned", &[PINNED_COHERENT], &[pinned]);
    expect(&both, "managed", &[SVM_COHERENT], &[SVM_NON_COHERENT]);
    assert_eq!(both.came_by("handed_out") > 0, way == Way::Dlsym);
    assert_eq!(both.came_by("table") > 0, way == Way::Tool);
    assert_eq!(both.came_by("symbols") > 0, way != Way::Tool);
    let versions = versions.to_owned();
    Line { client: HIP_PYTHON, setting: "", way, release: name, versions, both: &both }.check();
}

const WAYS: [Way; 3] = [Way::Preload, Way::Dlsym, Way::Tool];

#[test]
fn hip_python_is_reached_on_the_machines_own_rocm() {
    let libraries = Path::new("/usr/lib/x86_64-linux-gnu").read_dir().into_iter().flatten();
    let mut names = libraries.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
    let Some(library) = names.find(|name| name.starts_with("libamdhip64.so.5.2.")) else {
        skipped(&format!("{HIP_PYTHON} on ROCm 5.2.3"), "the machine has another ROCm, or none");
        return;
    };
    let Some(prepared) = prepared(HIP_PYTHON, "host/bin/python") else { return };
    for way in WAYS {
        let versions = format!("{library} and Python of the machine");
        hip_python(way, "5.2.3", &versions, &prepared.join("host/bin/python"), |run| run);
    }
}

#[test]
fn hip_python_is_reached_in_each_root_that_has_a_python() {
    let Some(prepared) = prepared(HIP_PYTHON, "python/hip") else { return };
    for (root, name) in [("rccl-5.7.1", "5.7.1"), ("ggml-6.4.3", "6.4.3"), ("cupy-7.2.4", "7.2.4")]
    {
        let Some(release) = release(root) else { continue };
        let versions = format!("{}, {}", runtime(&release), versions(&release, &["python3"]));
        for way in WAYS {
            hip_python(way, name, &versions, Path::new("/usr/bin/python3"), |run| {
                run.env("PYTHONPATH", prepared.join("python")).inside(&release)
            });
        }
    }
}

/// RCCL polls its buffers from running kernels: it is left alone, the program beside it is not.
#[test]
fn rccl_keeps_coherent_memory_and_the_program_that_uses_it_does_not() {
    let Some(release) = release("rccl-5.7.1") else { return };
    let include = headers(&release, |name| name == "rccl");
    let library = release.file("usr/lib/x86_64-linux-gnu/librccl.so.1");
    let client = release.compile(
        "tests/programs/client_rccl.cpp",
        "client_rccl",
        &[
            "-std=c++17",
            &format!("-isystem{}", include.display()),
            &library.display().to_string(),
            "-lamdhip64",
            "-ldl",
        ],
    );
    let both = both(&client, "gfx1030,gfx1030", Way::Preload, |run| run.inside(&release));
    let both = both.the_same_to_the_client();
    // It allocates from one thread for each GPU, in any order.
    let [stock, interposed] = both.memory("communicator").map(|mut memory| {
        memory.sort();
        memory
    });
    for kind in ["USERPTR coherent", "SVM coherent"] {
        assert!(stock.iter().any(|memory| memory.starts_with(kind)), "{kind}: {stock:?}");
    }
    assert_eq!(interposed, stock, "RCCL's own memory");
    assert_eq!(both.rewritten(), ["hipHostMalloc"]);
    let words =
        |grain: &str, mtype: &str| format!("USERPTR {grain} gfx1030#0={mtype} gfx1030#1={mtype}");
    expect(&both, "pinned", &[&words("coherent", "UC")], &[&words("non-coherent", "NC")]);
    let versions = versions(&release, &["librccl1"]);
    let (client, setting) = (RCCL, "two GPUs");
    Line { client, setting, way: Way::Preload, release: "5.7.1", versions, both: &both }.check();
}

#[test]
fn the_table_has_no_client_that_no_test_runs() {
    let clients = [ROCMINFO, CLINFO, GGML, CUPY, HIP_PYTHON, RCCL];
    for row in table::rows("clients") {
        assert!(clients.iter().any(|client| row[0].starts_with(client)), "{row:?}");
    }
    for row in table::rows("releases") {
        assert!(RELEASES.contains(&&*row[0]), "{row:?}");
    }
}

/// What `tests/programs/robust.h` allocates, stock and interposed, as the policy says. False if
/// the release finds no GPU.
fn proven(release: &Release, program: &Path, board: &str) -> bool {
    let pair = pair(program, |run| run.on(board).inside(release)).answers_the_same();
    let none =
        [IMPLICIT, EXPLICIT, MANAGED].iter().all(|size| of_size(&pair.stock, *size).is_empty());
    if !pair.stock.output.status.success() && none {
        return false;
    }
    let [uc, nc] = ["UC", "NC"].map(|mtype| format!("{board}#0={mtype}"));
    let check = |ran: &Ran, size, expected: String| {
        assert_eq!(of_size(ran, size), [expected], "{board}, {size:#x}");
    };
    check(&pair.stock, IMPLICIT, format!("USERPTR coherent {uc}"));
    check(&pair.interposed, IMPLICIT, format!("USERPTR non-coherent {nc}"));
    check(&pair.stock, MANAGED, format!("SVM coherent {uc}"));
    check(&pair.interposed, MANAGED, format!("SVM non-coherent {nc}"));
    for ran in [&pair.stock, &pair.interposed] {
        check(ran, EXPLICIT, format!("USERPTR coherent {uc}"));
    }
    true
}

fn every_board_of(name: &str) {
    let Some(release) = release(name) else { return };
    let libraries = ["-pthread", "-lamdhip64", "-ldl"];
    let program = release.compile("tests/programs/robust_use.c", "robust_use", &libraries);
    if let Ok(board) = std::env::var("RDNAFIX_TEST_BOARD") {
        // Which boards the release finds no GPU on stands in the table.
        let row = table::rows("releases").into_iter().find(|row| row[0] == name);
        let finds = row.expect("a row of the release")[2].split(", ").any(|known| known == board);
        assert_eq!(proven(&release, &program, &board), finds, "ROCm {name} on {board}");
        skipped(&format!("boards of ROCm {name}"), &format!("only {board} is asked for"));
        return;
    }
    let boards = rdna12();
    let (known, unknown): (Vec<&str>, Vec<&str>) =
        boards.iter().partition(|board| proven(&release, &program, board));
    println!("MATRIX: pinned and managed memory, ROCm {name}: {} boards", boards.len());
    let cell = |boards: &[&str]| {
        if boards.is_empty() { "-".to_owned() } else { boards.join(", ") }
    };
    table::check(
        "releases",
        1,
        1,
        &[name.to_owned(), runtime(&release), cell(&known), cell(&unknown)],
    );
}

#[test]
fn pinned_and_managed_memory_change_on_every_board_of_5_2_3() {
    every_board_of("5.2.3");
}

#[test]
fn pinned_and_managed_memory_change_on_every_board_of_5_7_1() {
    every_board_of("5.7.1");
}

#[test]
fn pinned_and_managed_memory_change_on_every_board_of_6_4_3() {
    every_board_of("6.4.3");
}

#[test]
fn pinned_and_managed_memory_change_on_every_board_of_7_2_4() {
    every_board_of("7.2.4");
}
