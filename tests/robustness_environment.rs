//! Surroundings that are not as they should be: outputs that cannot be written, file systems
//! that are not there, limits, settings that are junk. And the programs of every day, which
//! inherit the library and must not notice.

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use common::Run;
use common::pair::{Pair, hip_program, pair, same, skipped, with_stand_in};

/// Every variable that the library reads.
const VARIABLES: [&str; 10] = [
    "RDNAFIX_POLICY",
    "RDNAFIX_LOG",
    "RDNAFIX_REPORT",
    "RDNAFIX_SUMMARY_FILE",
    "RDNAFIX_DENY",
    "RDNAFIX_ALLOW",
    "RDNAFIX_MIN_BYTES",
    "RDNAFIX_TORCH",
    "RDNAFIX_VRAM_FRACTION",
    "RDNAFIX_DRY_RUN",
];

/// A run of a shell command in which `$0` is the program.
fn shell(run: Run, command: &str, program: impl AsRef<OsStr>) -> Run {
    run.arg("-c").arg(command).arg(program)
}

/// In a user and a mount namespace of its own, where this process is root.
fn in_namespaces(run: Run, command: &str, program: impl AsRef<OsStr>) -> Run {
    shell(run.args(["-Urm", "/bin/sh"]), command, program)
}

/// Says that the test is skipped if the kernel allows no such namespaces.
fn without_namespaces(test: &str) -> bool {
    let tried = std::process::Command::new("unshare").args(["-Urm", "true"]).output();
    let refused = !tried.is_ok_and(|tried| tried.status.success());
    if refused {
        skipped(test, "no user namespaces: `unshare -Urm true` fails");
    }
    refused
}

#[test]
fn messages_that_a_full_standard_error_refuses_are_lost() {
    let program = hip_program("robust_use");
    let pair = same("/bin/sh", |run| {
        let run = run.env("RDNAFIX_LOG", "trace").env("RDNAFIX_MIN_BYTES", "junk");
        shell(run, "exec \"$0\" 2>/dev/full", &program).on("gfx1030")
    });
    pair.printing("program: 0\n").ending_with(0).as_the_policy_says(1);
}

#[test]
fn a_process_without_a_standard_error_is_served_too() {
    let program = hip_program("robust_use");
    let pair = same("/bin/sh", |run| {
        let run = run.env("RDNAFIX_LOG", "trace").env("RDNAFIX_MIN_BYTES", "junk");
        shell(run, "exec \"$0\" 2>&-", &program).on("gfx1030")
    });
    pair.printing("program: 0\n").ending_with(0).as_the_policy_says(1);
}

#[test]
fn a_message_never_goes_into_a_file_of_the_program() {
    let program = hip_program("robust_data_in_fd_2");
    for (name, value) in
        [("RDNAFIX_POLICY", "junk"), ("RDNAFIX_LOG", "debug"), ("RDNAFIX_LOG", "info:/none/log")]
    {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let run = shell(Run::new("/bin/sh"), "exec \"$0\" \"$1\" 2>&-", &program);
        let ran = run.arg(file.path()).interposed().env(name, value).on("gfx1030").go();
        assert_eq!((ran.output.status.code(), ran.stdout()), (Some(0), "program: 0\n"));
        let data = std::fs::read_to_string(file.path()).expect("the program's file");
        assert_eq!(data, "data\n", "{name}={value}");
    }
}

#[test]
fn a_report_that_cannot_be_written_changes_nothing() {
    for report in ["/nonexistent/report", "/dev/full", "/", "/proc/self/mem", "relative/report"] {
        let pair =
            same(hip_program("robust_use"), |run| run.env("RDNAFIX_REPORT", report).on("gfx1030"));
        pair.printing("program: 0\n").ending_with(0).as_the_policy_says(1);
    }
}

#[test]
fn on_a_read_only_file_system_the_log_is_complained_about_and_nothing_else_changes() {
    if without_namespaces(
        "on_a_read_only_file_system_the_log_is_complained_about_and_nothing_else_changes",
    ) {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (log, report) = (dir.path().join("log"), dir.path().join("report"));
    let command = format!(
        "mount -t tmpfs -o ro tmpfs '{0}' && ! touch '{0}/x' 2>/dev/null && exec \"$0\"",
        dir.path().display()
    );
    let pair = pair("unshare", |run| {
        let run = run.env("RDNAFIX_LOG", format!("debug:{}", log.display()));
        let run = run.env("RDNAFIX_REPORT", &report);
        in_namespaces(run, &command, hip_program("robust_use")).on("gfx1030")
    });
    let pair = pair.printing("program: 0\n").ending_with(0);
    assert_eq!(
        pair.interposed.stderr(),
        format!(
            "{}rdnafix: RDNAFIX_LOG: cannot open {}: Read-only file system (os error 30); \
             not logging\n",
            pair.stock.stderr(),
            log.display()
        )
    );
    pair.as_the_policy_says(1);
}

/// No topology is a doubt, and a doubt means that calls are forwarded as they came.
#[test]
fn without_sysfs_nothing_is_changed() {
    if without_namespaces("without_sysfs_nothing_is_changed") {
        return;
    }
    let command = "mount -t tmpfs tmpfs /sys && test ! -e /sys/class && exec \"$0\" \"$@\"";
    let calls = same("unshare", |run| {
        let program = with_stand_in("calls_hip");
        in_namespaces(run, command, program).args(["host", "managed", "flags", "free"])
    });
    assert!(calls.stock.stdout().starts_with("hipHostMalloc(65536, 0)\n"));
    assert_eq!(calls.stock.output.status.code(), Some(0));
    // The real library finds no GPU there.
    same("unshare", |run| in_namespaces(run, command, hip_program("robust_use")));
}

#[test]
fn in_a_user_namespace_the_policy_is_the_same() {
    if without_namespaces("in_a_user_namespace_the_policy_is_the_same") {
        return;
    }
    let program = hip_program("robust_use");
    let pair = same("unshare", |run| in_namespaces(run, "exec \"$0\"", &program).on("gfx1030"));
    pair.printing("program: 0\n").ending_with(0).as_the_policy_says(1);
}

/// Neither the topology nor the report can be reached from there; what is known stays known.
#[test]
fn a_program_may_change_its_root_between_two_calls() {
    if without_namespaces("a_program_may_change_its_root_between_two_calls") {
        return;
    }
    let (empty, dir) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir());
    let report = dir.expect("a directory").path().join("report");
    let pair = same("unshare", |run| {
        let run = run.env("RDNAFIX_REPORT", &report).env("KFDSIM_GPUS", "gfx1030");
        let run = in_namespaces(run, "exec \"$0\" \"$1\"", hip_program("robust_chroot"));
        run.arg(empty.path()).on("gfx1030")
    });
    pair.printing("before: 0\nafter: 0\n").ending_with(0).as_the_policy_says(2);
}

#[test]
fn a_program_that_is_started_in_another_root_is_reached() {
    if without_namespaces("a_program_that_is_started_in_another_root_is_reached") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let program = hip_program("robust_use");
    let pair = same("unshare", |run| {
        let command = "mount --rbind / \"$1\" && exec chroot \"$1\" \"$0\"";
        in_namespaces(run, command, &program).arg(root.path()).on("gfx1030")
    });
    pair.printing("program: 0\n").ending_with(0).as_the_policy_says(1);
}

#[test]
fn half_a_gigabyte_of_address_space_is_enough() {
    let calls = with_stand_in("calls_hip").display().to_string();
    for (program, output) in [
        ("/bin/true", ""),
        ("bash -c 'echo $((6*7))'", "42\n"),
        ("/usr/bin/python3 -c 'print(sum(range(10)))'", "45\n"),
        (&calls, ""),
        (&format!("{calls} host"), "hipHostMalloc(65536, 0)\nhost -> 0\n"),
    ] {
        let command = format!("ulimit -v 524288 && exec {program}");
        let pair = same("/bin/sh", |run| run.arg("-c").arg(&command));
        pair.printing(output).ending_with(0);
    }
}

/// The longest value that the kernel passes on: MAX_ARG_STRLEN of <linux/binfmts.h> is 128 KiB
/// for a variable with its name, so nine of them make the megabyte, or nearly.
fn junk(name: &str, with: &[u8]) -> Vec<u8> {
    const LONGEST: usize = 128 << 10;
    let bytes = with.iter().copied().cycle();
    bytes.take(LONGEST - name.len() - "=".len() - "\0".len()).collect()
}

fn with_junk(mut run: Run, names: &[&str], bytes: &[u8]) -> Run {
    for name in names {
        run = run.env(name, OsStr::from_bytes(&junk(name, bytes)));
    }
    run
}

/// The lines of the library, which are short whatever they are about.
fn complaints(pair: &Pair) -> usize {
    let lines = pair.interposed.stderr().lines();
    let ours: Vec<&str> = lines.filter(|line| line.starts_with("rdnafix: RDNAFIX_")).collect();
    assert!(ours.iter().all(|line| line.len() < 400), "{ours:?}");
    assert!(pair.interposed.stderr().len() < 4000);
    ours.len()
}

#[test]
fn settings_that_are_junk_are_complained_about_and_mean_the_defaults() {
    let (dry_run, others) = VARIABLES.split_last().expect("several");
    for bytes in [&b"x"[..], b"\xff", b"%s%n\x1b[2J"] {
        let run = |run: Run| with_junk(run, others, bytes).on("gfx1030");
        let pair = pair(hip_program("robust_use"), run).printing("program: 0\n").ending_with(0);
        // A report whose name is too long is only found out at the end, and of a file for the
        // summary that is not there nothing is said.
        assert_eq!(complaints(&pair), others.len() - 2, "{}", pair.interposed.stderr());
        pair.as_the_policy_says(1);

        let run = |run: Run| with_junk(run, &[dry_run], bytes).on("gfx1030");
        let pair = common::pair::pair(hip_program("robust_use"), run).printing("program: 0\n");
        assert_eq!(complaints(&pair), 1);
        pair.left_alone(1);
    }
}

#[test]
fn a_process_without_a_gpu_says_nothing_about_junk() {
    for bytes in [&b"x"[..], b"*,", b"\xff\n"] {
        let pair = same("/bin/echo", |run| with_junk(run.arg("said"), &VARIABLES, bytes));
        pair.printing("said\n").ending_with(0);
    }
}

/// A list that matches everything is a setting like any other.
#[test]
fn a_deny_list_of_thousands_of_globs_denies() {
    let mut globs = junk("RDNAFIX_DENY", b"no*such?library,");
    globs.truncate(globs.len() / 16 * 16 - 1);
    globs.extend(b",*");
    let pair = same(hip_program("robust_use"), |run| {
        run.env("RDNAFIX_DENY", OsStr::from_bytes(&globs)).on("gfx1030")
    });
    pair.printing("program: 0\n").left_alone(1);
}

#[test]
fn shells_compilers_and_interpreters_print_the_same() {
    let script = r#"
        cd "$0" || exit 99
        printf '#include <stdio.h>\nint main(void) { puts("compiled"); return 3; }\n' > a.c
        gcc -Wall a.c -o a; ./a; echo "a gave $?"
        gcc -c missing.c; echo "gcc gave $?"
        /usr/bin/python3 -c 'import subprocess, ctypes, json, threading
t = threading.Thread(target=print, args=("thread",)); t.start(); t.join()
print(subprocess.run(["wc", "-l", "a.c"], capture_output=True))'
        seq 1 1000 | sort -rn | head -1
        env -i /bin/echo clean; ls; exit 5
    "#;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let pair = same("bash", |run| shell(run, script, dir.path())).ending_with(5);
    for part in ["compiled\na gave 3\n", "gcc gave 1\n", "thread\n", "1000\n"] {
        assert!(pair.stock.stdout().contains(part), "no {part:?} in {}", pair.stock.stdout());
    }
}

#[test]
fn the_loaders_debugging_output_shows_no_error() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let pair = same("bash", |run| {
        let run = run.env("LD_DEBUG", "all").env("LD_DEBUG_OUTPUT", dir.path().join("debug"));
        run.args(["-c", "/bin/true; echo $((6*7))"])
    });
    pair.printing("42\n").ending_with(0);
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(entry.expect("an entry").path()).expect("text")
    };
    let texts: Vec<String> = dir.path().read_dir().expect("a directory").map(read).collect();
    // Two processes, with and without the library.
    let with_library = texts.iter().filter(|text| text.contains("librdnafix.so")).count();
    assert_eq!((texts.len(), with_library), (4, 2));
    for line in texts.iter().flat_map(|text| text.lines()) {
        assert!(!line.contains("error:"), "{line}");
    }
}
