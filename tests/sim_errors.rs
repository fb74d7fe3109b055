//! Wrong arguments of every request: the simulated GPU answers with the kernel's errno, and
//! keeps the state that the kernel keeps.

mod sim_common;

use sim_common::{compile, run};

#[test]
fn wrong_queues_and_small_requests_get_the_errno_of_the_kernel() {
    let ran = run(compile("sim_errors.c"), &[], &[]);
    ran.expect_ok();
    // Failed calls are logged, too, with the errno that the caller got.
    assert!(ran.ioctls("0x82").iter().all(|ioctl| ioctl.errno == 25));
}

#[test]
fn wrong_memory_gets_the_errno_of_the_kernel_and_leaves_its_state() {
    let ran = run(compile("sim_errors_memory.c"), &[], &[("KFDSIM_GPUS", "gfx1030,gfx1010")]);
    ran.expect_ok();
    let refused = ran.ioctls("ALLOC_MEMORY_OF_GPU");
    assert!(refused.iter().any(|ioctl| ioctl.errno == 22 && ioctl.memory.is_empty()));
}

#[test]
fn wrong_svm_ranges_get_the_errno_of_the_kernel() {
    run(compile("sim_errors_svm.c"), &[], &[]).expect_ok();
}

#[test]
fn wrong_events_get_the_errno_of_the_kernel_and_slots_end_where_its_page_ends() {
    run(compile("sim_errors_events.c"), &[], &[]).expect_ok();
}

#[test]
fn wrong_dmabufs_and_settings_get_the_errno_of_the_kernel() {
    run(compile("sim_errors_dmabuf.c"), &[], &[]).expect_ok();
}

#[test]
fn an_older_kfd_does_not_know_the_requests_that_came_later() {
    let ran = run(compile("sim_errors_dmabuf.c"), &[], &[("KFDSIM_KFD_VERSION", "1.11")]);
    assert!(!ran.success);
    let names: Vec<&str> = ran
        .records
        .iter()
        .filter_map(|record| match &record.event {
            kfd_abi::log::Event::Ioctl(ioctl) if ioctl.errno == 25 => Some(ioctl.name.as_str()),
            _ => None,
        })
        .collect();
    assert!(names.contains(&"0x24") && names.contains(&"0x26"), "{names:?}"); // EXPORT_DMABUF, DBG_TRAP
    assert!(ran.ioctls("AVAILABLE_MEMORY").iter().all(|ioctl| ioctl.errno == 0)); // since 1.9
}

#[test]
fn any_bytes_as_arguments_of_any_request_are_answered() {
    for seed in ["1", "0x9e3779b97f4a7c15", "20261122"] {
        let ran = run(compile("sim_random.c"), &[seed, "6000"], &[]);
        assert!(ran.success, "seed {seed}:\n{}\n{}", ran.stdout, ran.stderr);
    }
}
