//! What a program gets from a kernel that has the patches and rdna_noncoherent=1, as the simulated
//! GPU shows it: the MTYPE of each request, on every ROCm release. Nothing about hardware.

mod cli_common;

use std::fs::File;
use std::io::BufReader;

use cli_common::release::{RELEASES, Release, release};
use cli_common::{Comparison, alloc_probe, output, rdnafix, succeed, text};
use kfd_abi::log::{self, Domain, Event, Mtype};
use serde_json::Value;

const FINE_VRAM: [(&str, &str); 1] = [("HSA_FORCE_FINE_GRAIN_PCIE", "1")];
const ON_STOCK: &str = "stock";
const ON_PATCHED: &str = "kernel_patched";

/// The comparison for a release, with a column for the patched kernel.
fn compare(release: &Release, options: &[&str]) -> Comparison {
    let libraries = ["-std=c++17", "-lamdhip64", "-lhsa-runtime64", "-ldl"];
    let program = release.compile("examples/alloc_probe.cpp", "alloc_probe", &libraries);
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let mut command = rdnafix(["compare", "--json", "--timeout", "120", "--kernel-patched"]);
    command.args(["--root", &release.name]).args(options).arg("--").arg(program);
    command.env("TMPDIR", scratch.path()).envs(FINE_VRAM);
    let output = output(&mut command);
    let said = text(&output.stderr);
    assert!(output.status.success(), "ROCm {}: {said}", release.name);
    Comparison(serde_json::from_slice(&output.stdout).expect("a JSON document"))
}

/// The rows that the patched kernel changes.
fn changed(comparison: &Comparison) -> Vec<String> {
    let rows = comparison.rows().iter();
    let changed = rows.filter(|row| row["kernel_changed"] == true);
    changed.map(|row| row["call"].as_str().expect("a name").to_owned()).collect()
}

/// All memory that a side of a row has: its domain and the words of its flags.
fn flags(side: &Value) -> Vec<(String, Vec<String>)> {
    let words = |asked: &Value| {
        let flags = asked["flags"].as_array().expect("flags").iter();
        flags.map(|flag| flag.as_str().expect("a word").to_owned()).collect::<Vec<_>>()
    };
    let asked = side["asked"].as_array().expect("asked").iter();
    asked.map(|it| (it["domain"].as_str().expect("a domain").to_owned(), words(it))).collect()
}

#[test]
fn only_fine_grained_vram_and_managed_memory_without_a_grain_are_different_on_every_release() {
    for name in RELEASES {
        let Some(release) = release(name) else { continue };
        let comparison = compare(&release, &["--gpu", "gfx1030"]);
        assert!(comparison.rows().len() > 25, "ROCm {name}: {}", comparison.0);
        for row in comparison.rows().iter().filter(|row| row["kernel_changed"] == true) {
            let call = row["call"].as_str().expect("a name");
            assert_eq!(row["kind"], "call", "ROCm {name}: {call}: the runtime's own");
            for (domain, flags) in flags(&row[ON_STOCK]) {
                let word = |word: &str| flags.iter().any(|flag| flag == word);
                let ours = domain == "SVM" || domain == "VRAM" && !word("UNCACHED");
                assert!(ours && word("COHERENT"), "ROCm {name}: {call}: {domain} {flags:?}");
            }
        }
        let managed = "hipMallocManaged";
        assert_eq!(comparison.asked(managed, ON_STOCK), "SVM coherent UC", "ROCm {name}");
        assert_eq!(comparison.asked(managed, ON_PATCHED), "SVM non-coherent NC", "ROCm {name}");
        let fine = "hsa pool GPU fine";
        assert_eq!(comparison.asked(fine, ON_STOCK), "VRAM coherent UC", "ROCm {name}");
        assert_eq!(comparison.asked(fine, ON_PATCHED), "VRAM coherent NC", "ROCm {name}");
        for explicit in
            ["hipMallocManaged+UnsetCoarseGrain+SetAccessedBy", "hipHostMalloc(Coherent)"]
        {
            let stock = comparison.asked(explicit, ON_STOCK);
            assert!(stock.ends_with("coherent UC"), "ROCm {name}: {explicit}: {stock}");
            assert_eq!(comparison.asked(explicit, ON_PATCHED), stock, "ROCm {name}: {explicit}");
        }
        println!("MATRIX: ROCm {name} on a patched kernel: {}", changed(&comparison).join(", "));
    }
}

#[test]
fn other_gpus_are_as_before_also_beside_one() {
    let Some(release) = release("6.4.3") else { return };
    for gpus in ["gfx906", "gfx1100", "gfx1201"] {
        assert_eq!(changed(&compare(&release, &["--gpu", gpus])), [""; 0], "{gpus}");
    }
    // Managed memory of a process that sees another GPU starts as it does there.
    let mixed = compare(&release, &["--gpu", "gfx1030,gfx1100"]);
    let managed = "hipMallocManaged";
    assert_eq!(mixed.asked(managed, ON_PATCHED), mixed.asked(managed, ON_STOCK));
    let fine = "hsa pool GPU fine";
    assert_eq!(mixed.asked(fine, ON_PATCHED), "VRAM coherent NC");
}

#[test]
fn the_vram_of_an_apu_is_system_memory_and_stays_uncached() {
    let Some(release) = release("6.4.3") else { return };
    let apu = compare(&release, &["--gpu", "gfx1035"]);
    let fine = "hsa pool GPU fine";
    assert_eq!(apu.asked(fine, ON_PATCHED), apu.asked(fine, ON_STOCK));
    assert_eq!(apu.asked("hipMallocManaged", ON_PATCHED), "SVM non-coherent NC");
}

#[test]
fn without_the_svm_api_only_fine_grained_vram_is_different() {
    let Some(release) = release("6.4.3") else { return };
    // Debian's 6.1 and 6.12 have none.
    let comparison = compare(&release, &["--gpu", "gfx1012", "--no-svm"]);
    for call in changed(&comparison) {
        let stock = comparison.asked(&call, ON_STOCK);
        assert_eq!(stock, "VRAM coherent UC", "{call}");
    }
    assert!(changed(&comparison).contains(&"hsa pool GPU fine".to_owned()));
}

/// What a call of the probe asks of the simulated kernel, and the MTYPE that it chooses.
fn on_a_kernel_with(parameter: Option<&str>, call: &str) -> (Domain, bool, Mtype) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = directory.path().join("log");
    let mut sim = rdnafix(["sim", "--gpu", "gfx1030", "--log"]);
    sim.arg(&log).arg("--").arg(alloc_probe()).envs(FINE_VRAM);
    sim.envs(parameter.map(|value| ("KFDSIM_RDNA_NONCOHERENT", value)));
    assert!(succeed(&mut sim).stdout.ends_with(b"DONE\n"));
    let records = log::read(BufReader::new(File::open(&log).expect("a log"))).expect("a log");
    let begin = format!("> {call}");
    let mut events = records.iter().map(|record| &record.event);
    assert!(events.any(|event| matches!(event, Event::Mark { text } if *text == begin)), "{call}");
    let during = events.take_while(|event| !matches!(event, Event::Mark { .. }));
    let memory = during.filter_map(|event| match event {
        Event::Ioctl(ioctl) => Some(&ioctl.memory),
        _ => None,
    });
    let memory: Vec<_> = memory.flatten().collect();
    let [one] = memory[..] else { panic!("{call}: {memory:?}") };
    (one.domain, one.coherent, one.mtype["gfx1030#0"])
}

#[test]
fn the_variable_of_the_simulator_does_the_same_and_takes_0_and_1_only() {
    let (managed, fine, host) = ("hipMallocManaged", "hsa pool GPU fine", "hipHostMalloc(Default)");
    for stock in [None, Some("0")] {
        let asked = |call| on_a_kernel_with(stock, call);
        assert_eq!(asked(managed), (Domain::Svm, true, Mtype::Uc), "{stock:?}");
        assert_eq!(asked(fine), (Domain::Vram, true, Mtype::Uc), "{stock:?}");
        assert_eq!(asked(host), (Domain::Userptr, true, Mtype::Uc), "{stock:?}");
    }
    let asked = |call| on_a_kernel_with(Some("1"), call);
    assert_eq!(asked(managed), (Domain::Svm, false, Mtype::Nc));
    assert_eq!(asked(fine), (Domain::Vram, true, Mtype::Nc));
    assert_eq!(asked(host), (Domain::Userptr, true, Mtype::Uc), "system memory is left alone");

    for value in ["-1", "2", "on"] {
        let mut sim = rdnafix(["sim", "--gpu", "gfx1030", "--"]);
        let refused = output(sim.arg(alloc_probe()).env("KFDSIM_RDNA_NONCOHERENT", value));
        assert_eq!(refused.status.code(), Some(78));
        let said = text(&refused.stderr);
        let wanted = format!("KFDSIM_RDNA_NONCOHERENT={value}: must be 0 or 1");
        assert!(said.contains(&wanted), "{said}");
    }
}
