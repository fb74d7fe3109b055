//! Raw clients of the simulated /dev/kfd: what it answers, and what the log says.

mod sim_common;

use kfd_abi::log::{Domain, Mtype};
use sim_common::{compile, run};

#[test]
fn files_and_devices_look_real_through_every_libc_call() {
    run(compile("sim_files.c"), &[], &[]).expect_ok();
}

#[test]
fn events_wake_everyone_who_waits() {
    run(compile("sim_events.c"), &[], &[]).expect_ok();
}

#[test]
fn queues_do_their_packets_in_order_and_stop_when_destroyed() {
    run(compile("sim_queues.c"), &[], &[]).expect_ok();
}

#[test]
fn a_bad_address_or_packet_is_told_by_an_exception_event_and_stops_the_gpu() {
    for (what, reason) in [
        ("not-mapped", "write of WRITE_DATA"),
        ("nowhere", "0x12345678: not mapped"),
        ("read-only", "does not allow it"),
        ("unknown", "SDMA opcode 12.0 is not known here"),
    ] {
        let ran = run(compile("sim_faults.c"), &[what], &[]);
        ran.expect_ok();
        let notes = ran.notes();
        assert!(notes.iter().any(|note| note.contains(reason)), "{what}: {notes:?}");
        assert_eq!(ran.stderr, "", "the event has told the program");
    }
}

#[test]
fn a_queue_that_is_never_idle_is_destroyed_at_once() {
    run(compile("sim_faults.c"), &["endless"], &[]).expect_ok();
}

#[test]
fn svm_ranges_split_and_are_forgotten_when_unmapped() {
    let ran = run(compile("sim_svm.c"), &[], &[("KFDSIM_GPUS", "gfx1030,gfx1201")]);
    ran.expect_ok();
    let ranges = |mark: &str| {
        let call = ran.after(mark)[0];
        assert_eq!(call.name, "SVM");
        let base = call.memory[0].va;
        let page = |address: u64| (address - base) / 4096;
        call.memory
            .iter()
            .map(|memory| {
                assert_eq!(memory.domain, Domain::Svm);
                let mtype = memory.mtype.get("gfx1030#0").copied();
                assert!(!memory.mtype.contains_key("gfx1201#1"), "it has no access");
                (page(memory.va), memory.size / 4096, memory.coherent, mtype)
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(ranges("access"), [(0, 16, true, Some(Mtype::Uc))]);
    assert_eq!(ranges("middle"), [(0, 4, false, Some(Mtype::Nc))]);
    assert_eq!(
        ranges("all"),
        [
            (0, 4, true, Some(Mtype::Uc)),
            (4, 4, false, Some(Mtype::Nc)),
            (8, 8, true, Some(Mtype::Uc)),
        ]
    );
}

#[test]
fn without_svm_the_kernel_refuses_the_call() {
    let ran = run(compile("sim_svm.c"), &[], &[("KFDSIM_SVM", "0")]);
    assert!(!ran.success);
    // EPERM, but for a structure that is too short, which is found first.
    assert!(ran.ioctls("SVM").iter().all(|ioctl| matches!(ioctl.errno, 1 | 22)));
    assert_eq!(ran.ioctls("SVM")[0].errno, 1);
}

#[test]
fn several_processes_share_a_log_line_by_line() {
    let program = compile("sim_svm.c");
    let script = format!("for i in 1 2 3 4 5 6 7 8; do {} & done; wait", program.display());
    let ran = run("sh", &["-c", &script], &[]);
    assert_eq!(ran.stdout, "OK\n".repeat(8), "{}", ran.stderr);
    let mut pids: Vec<u32> = ran.records.iter().map(|record| record.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 8);
    for pid in pids {
        let seqs: Vec<u64> = ran
            .records
            .iter()
            .filter(|record| record.pid == pid)
            .map(|record| record.seq)
            .collect();
        assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<_>>());
    }
}
