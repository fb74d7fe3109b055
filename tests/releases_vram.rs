//! The cap on device memory, `RDNAFIX_VRAM_FRACTION`, on the real HIP of every release: how much
//! a program gets, how it is refused the rest, and what must not change the count.

mod common;

use common::release::{RELEASES, Release, release, releases};
use common::{Ran, Run, in_words};
use kfd_abi::log::Event;

/// `tests/programs/vram_cap.cpp`, which takes tenths of device 0.
fn run(release: &Release, arguments: &[&str], set: impl Fn(Run) -> Run, gpus: &str) -> Ran {
    let libraries = ["-std=c++17", "-pthread", "-lamdhip64"];
    let program = release.compile("tests/programs/vram_cap.cpp", "vram_cap", &libraries);
    set(Run::new(program).args(arguments)).on(gpus).inside(release).go()
}

fn capped(fraction: &str) -> impl Fn(Run) -> Run {
    move |run| run.interposed().env("RDNAFIX_VRAM_FRACTION", fraction)
}

/// The release that is enough where HIP itself makes no difference.
fn one() -> Option<Release> {
    release("6.4.3")
}

/// hipErrorOutOfMemory, which is the last error too, until it is read.
const REFUSED: &str = "8 tenths, then status 2, last error 2 2";

#[test]
fn in_every_release_each_way_to_allocate_stops_at_the_cap() {
    for release in releases() {
        let ran = run(&release, &["8"], capped("0.8"), "gfx1031,gfx1012");
        let ran = ran.well();
        let (out, name) = (ran.stdout(), &release.name);
        let mut ways = vec![
            "hipMalloc",
            "hipExtMallocWithFlags",
            "hipMallocPitch",
            "hipMemAllocPitch",
            "hipMalloc3D",
            "hipMallocAsync",
            "hipMallocAsync, hipFree",
            "hipMallocFromPoolAsync",
        ];
        if !name.starts_with('5') {
            ways.push("hipMemCreate");
        }
        for way in ways {
            let line = format!("{way}: {REFUSED}, again 0 0\n");
            assert!(out.contains(&line), "ROCm {name}: no {line} in\n{out}");
        }
        if name == RELEASES[1] {
            assert!(out.contains(&format!("hipMemCreate: {REFUSED}\n")), "ROCm {name}:\n{out}");
        }
        let mut after = vec![
            "a free by an address inside",
            "one that is too large",
            "a free of what was never allocated",
            "a double free",
            "host and managed memory",
            "threads",
            "a child",
            "freeing on another device",
        ];
        if name != RELEASES[0] {
            after.push("a reset");
        }
        if !name.starts_with('5') {
            after.push("a capture");
            for line in ["captured: 0 0 0 0\n", "the legacy stream: 0 0\n"] {
                assert!(out.contains(line), "ROCm {name}: no {line} in\n{out}");
            }
        }
        for what in after {
            let line = format!("after {what}: {REFUSED}\n");
            assert!(out.contains(&line), "ROCm {name}: no {line} in\n{out}");
        }
        for line in [
            "too large: status 2, last error 2 2\n",
            "null: 1, empty: 0, free null: 0\n",
            "freed inside: 0 0\n",
            "; wrong flags: 1\n",
            "freed twice: 0 0 1\n",
            "threads: never too much\n",
            "child: 1\n",
        ] {
            assert!(out.contains(line), "ROCm {name}: no {line} in\n{out}");
        }
        // The smaller one has memory for 3 tenths of the larger one, and 8 tenths of its own.
        let devices =
            format!("{REFUSED} on device 0; 2 tenths, then status 2, last error 2 2 on device 1\n");
        assert!(out.contains(&devices) && out.ends_with("DONE\n"), "ROCm {name}:\n{out}");
    }
}

/// What device memory the kernel was asked for.
fn vram(ran: &Ran) -> Vec<String> {
    let memory = ran.records.iter().filter_map(|record| match &record.event {
        Event::Ioctl(ioctl) => Some(&ioctl.memory),
        _ => None,
    });
    memory.flatten().map(in_words).filter(|memory| memory.starts_with("VRAM")).collect()
}

#[test]
fn without_a_cap_and_below_it_neither_program_nor_kernel_sees_a_difference() {
    for release in releases() {
        // Not to the end of the memory, where HIP 7.2.4 itself ends with SIGSEGV. No threads:
        // the order of their calls is never the same.
        let arguments = ["0", "5"];
        let stock = run(&release, &arguments, |run| run, "gfx1031").well();
        assert!(vram(&stock).len() > 50, "ROCm {}", release.name);
        for setting in
            [("RDNAFIX_LOG", "off"), ("RDNAFIX_POLICY", "off"), ("RDNAFIX_VRAM_FRACTION", "0.9")]
        {
            let set = |run: Run| run.interposed().env(setting.0, setting.1);
            let ran = run(&release, &arguments, set, "gfx1031").well();
            assert_eq!(ran.stdout(), stock.stdout(), "ROCm {} {setting:?}", release.name);
            assert_eq!(vram(&ran), vram(&stock), "ROCm {} {setting:?}", release.name);
        }
    }
}

/// How many tenths of device 0, then of device 1, a program gets.
fn tenths(ran: &Ran) -> Vec<&str> {
    let line =
        ran.stdout().lines().find(|line| line.contains(" on device 1")).expect("two devices");
    line.split("; ").map(|part| part.split(" tenths").next().expect("a number")).collect()
}

#[test]
fn only_rdna12_devices_are_capped_and_not_by_other_settings() {
    let Some(release) = one() else { return };
    let free = |gpus: &str| {
        let ran = run(&release, &[], |run| run, gpus).well();
        tenths(&ran).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let stock = free("gfx1031,gfx1100");
    let ran = run(&release, &["8"], capped("0.5"), "gfx1031,gfx1100").well();
    assert_eq!(tenths(&ran), ["5", &stock[1]], "the second is RDNA3");
    let stock = free("gfx1100,gfx1031");
    let ran = run(&release, &[], capped("0.5"), "gfx1100,gfx1031").well();
    assert_eq!(tenths(&ran)[0], stock[0]);
    assert_ne!(tenths(&ran)[1], stock[1]);
    for (name, value) in [("RDNAFIX_POLICY", "off"), ("RDNAFIX_DRY_RUN", "1")] {
        let set = |run: Run| capped("0.5")(run).env(name, value);
        let ran = run(&release, &[], set, "gfx1031,gfx1031").well();
        assert_eq!(tenths(&ran), ["9", "10"], "{name}");
    }
    let ran = run(&release, &[], capped("1"), "gfx1031,gfx1031").well();
    assert_eq!(tenths(&ran), ["9", "10"], "all of it");
}

#[test]
fn a_refusal_is_logged_and_a_bad_fraction_is_complained_about_and_ignored() {
    let Some(release) = one() else { return };
    let ran = run(&release, &["8"], |run| capped("0.8")(run).env("RDNAFIX_LOG", "warn"), "gfx1031");
    let refused = "hipMemAllocPitch: ";
    let line = ran.stderr().lines().find(|line| line.contains(refused)).expect("a refusal");
    assert!(line.contains("bytes refused: device 0 holds"), "{line}");
    assert!(line.contains("RDNAFIX_VRAM_FRACTION allows"), "{line}");
    for fraction in ["0", "80%", "1.5", "junk"] {
        let ran = run(&release, &[], capped(fraction), "gfx1031,gfx1031");
        let said = ran.stderr().lines().filter(|line| line.contains("rdnafix"));
        assert_eq!(
            said.collect::<Vec<_>>(),
            [format!(
                "rdnafix: RDNAFIX_VRAM_FRACTION=\"{fraction}\" is not a number above 0 and at \
                 most 1, such as 0.8; ignored"
            )]
        );
        assert_eq!(tenths(&ran), ["9", "10"], "{fraction}");
    }
}

/// PyTorch's libraries are opened like this, so that RTLD_NEXT finds no HIP.
#[test]
fn a_library_that_python_opens_for_itself_and_one_that_takes_hip_by_name_are_capped_too() {
    let Some(release) = release("cupy-7.2.4") else { return };
    let options = ["-shared", "-fPIC", "-lamdhip64"];
    let extension =
        release.compile("tests/programs/vram_extension.c", "vram_extension.so", &options);
    let opens = "import ctypes, sys\nerror = ctypes.c_int()\nlibrary = ctypes.CDLL(sys.argv[1])\n\
                 print(library.tenths(ctypes.byref(error)), error.value)";
    let by_name = "import ctypes\nhip = ctypes.CDLL('libamdhip64.so.7')\ntotal = ctypes.c_size_t()\n\
                   p, count = ctypes.c_void_p(), 0\nhip.hipDeviceTotalMem(ctypes.byref(total), 0)\n\
                   tenth = ctypes.c_size_t(total.value // 10)\n\
                   while count < 11 and hip.hipMalloc(ctypes.byref(p), tenth) == 0: count += 1\n\
                   print(count, hip.hipGetLastError())";
    for (script, dlsym) in [(opens, "0"), (by_name, "1")] {
        for (fraction, expected) in [("0.5", "5 2\n"), ("1", "9 2\n")] {
            let run = Run::new("/usr/bin/python3").args(["-c", script]).arg(&extension);
            let run = capped(fraction)(run).env("RDNAFIX_DLSYM", dlsym);
            let ran = run.on("gfx1031").inside(&release).go().well();
            assert_eq!(ran.stdout(), expected, "RDNAFIX_DLSYM={dlsym}");
        }
    }
}
