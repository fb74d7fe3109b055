//! `rdnafix sim`: the real ROCm libraries on the simulated GPU, without rdnafix.

mod cli_common;

use std::fs::File;
use std::io::BufReader;

use cli_common::{alloc_probe, output, rdnafix, release, stdout, succeed, text};
use kfd_abi::log::{self, Domain, Event, Record};

/// The names of the GPU agents that rocminfo lists.
fn gpu_agents(options: &[&str]) -> Vec<String> {
    let mut command = rdnafix(["sim"]);
    command.args(options).args(["--", "rocminfo"]);
    let output = succeed(&mut command);
    text(&output.stdout)
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Name:"))
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with("gfx"))
        .collect()
}

fn log_of_probe(options: &[&str]) -> Vec<Record> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let mut command = rdnafix(["sim", "--log"]);
    command.arg(&file).args(options).arg("--").arg(alloc_probe());
    assert!(succeed(&mut command).stdout.ends_with(b"DONE\n"));
    log::read(BufReader::new(File::open(&file).unwrap())).unwrap()
}

fn domains(records: &[Record], call: &str) -> Vec<Domain> {
    let begin = format!("> {call}");
    records
        .iter()
        .skip_while(|record| !matches!(&record.event, Event::Mark { text } if *text == begin))
        .skip(1)
        .take_while(|record| !matches!(&record.event, Event::Mark { .. }))
        .filter_map(|record| match &record.event {
            Event::Ioctl(ioctl) => Some(&ioctl.memory),
            _ => None,
        })
        .flatten()
        .map(|memory| memory.domain)
        .collect()
}

#[test]
fn the_default_is_one_gfx1030() {
    assert_eq!(gpu_agents(&[]), ["gfx1030"]);
}

#[test]
fn the_named_gpus_are_there_in_that_order() {
    assert_eq!(gpu_agents(&["--gpu", "gfx1031,gfx906"]), ["gfx1031", "gfx906"]);
}

#[test]
fn nothing_of_rdnafix_is_preloaded() {
    let print = stdout(&mut rdnafix(["sim", "--", "sh", "-c", "echo $LD_PRELOAD"]));
    assert_eq!(print.trim(), release("libkfdsim.so").canonicalize().unwrap().to_str().unwrap());
}

#[test]
fn the_log_has_the_ioctls_of_each_call() {
    let records = log_of_probe(&[]);
    assert_eq!(domains(&records, "hipMalloc"), [Domain::Vram]);
    assert_eq!(domains(&records, "hipHostMalloc(Default)"), [Domain::Userptr]);
    assert_eq!(domains(&records, "hipMallocManaged"), [Domain::Svm]);
}

#[test]
fn without_the_svm_api_managed_memory_is_pinned() {
    assert_eq!(domains(&log_of_probe(&["--no-svm"]), "hipMallocManaged"), [Domain::Userptr]);
}

#[test]
fn a_gpu_that_is_no_name_of_one_is_refused() {
    let output = output(&mut rdnafix(["sim", "--gpu", "navi21", "--", "true"]));
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("navi21"));
}
