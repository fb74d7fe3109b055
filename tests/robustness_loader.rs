//! Ways into a process other than a linked executable, and other libraries beside this one.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::Run;
use common::pair::{
    Pair, extension, hip_program, installed_hip, of_size, pair, plain_program, same, skipped,
    with_stand_in_linked,
};
use common::{compile, everywhere_inside, only_outside, rdnafix};

/// Where a library is, if the loader knows it.
fn installed(library: &str) -> Option<PathBuf> {
    let list = std::process::Command::new("/sbin/ldconfig").arg("-p").output().ok()?;
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let line = list.lines().find(|line| {
        line.trim_start().starts_with(&format!("{library} ")) && line.contains("x86-64")
    })?;
    let path = line.rsplit(" => ").next()?;
    // A root of a release has the tree of this machine there.
    let tree = if everywhere_inside().is_some() { "/machine" } else { "" };
    Some(format!("{tree}{path}").into())
}

#[test]
fn an_extension_that_came_by_rtld_local_is_reached() {
    let program = plain_program("robust_rtld_local");
    let pair = same(program, |run| run.arg(extension()).on("gfx1030"));
    pair.printing("local: 0\n").as_the_policy_says(1);
}

/// Its calls of HIP go past every preloaded library; those of HIP to HSA do not, because HIP
/// itself was loaded with the program.
#[test]
fn an_extension_that_came_by_rtld_deepbind_is_reached_below_hip() {
    let options = ["-Wl,--no-as-needed", "-lamdhip64", "-ldl"];
    let program =
        compile("tests/programs/robust_rtld_deepbind.c", "robust_rtld_deepbind", &options);
    let pair = same(program, |run| run.arg(extension()).on("gfx1030"));
    pair.printing("deepbind: 0\nextension gave 0\n").as_the_policy_says_of_hsa(1);
}

/// HIP comes with the extension, and in its scope libc comes before the simulator.
#[test]
fn hip_that_came_by_rtld_deepbind_gives_the_answers_of_stock() {
    let program = plain_program("robust_rtld_deepbind");
    let pair = same(program, |run| run.arg(extension()).on("gfx1030")).ending_with(0);
    assert!(pair.interposed.stdout().contains("extension gave"), "{}", pair.interposed.stdout());
}

#[test]
fn hip_in_a_namespace_of_its_own_does_not_disturb_that_of_the_program() {
    let program = hip_program("robust_dlmopen");
    let pair = same(program, |run| run.arg(extension()).on("gfx1030")).ending_with(0);
    assert!(pair.interposed.stdout().ends_with("program: 0\n"), "{}", pair.interposed.stdout());
    pair.as_the_policy_says(1);
}

#[test]
fn hip_may_be_closed_and_loaded_again() {
    let program = plain_program("robust_reload");
    let pair = same(program, |run| run.arg(extension()).on("gfx1030")).ending_with(0);
    pair.as_the_policy_says(3);
}

/// ROCm 5.2 cannot be unloaded; the stand-in can.
#[test]
fn hip_that_was_unloaded_and_came_back_is_served() {
    let plugin =
        with_stand_in_linked("robust_stand_in_plugin", "stand_in_plugin.so", &["-shared", "-fPIC"]);
    let pair = pair(plain_program("robust_reload"), |run| run.arg(&plugin).on("gfx1030"));
    assert_eq!(pair.stock.stdout().matches("hipHostMalloc(65536, 0)\n").count(), 3);
    let expected = pair.stock.stdout().replace("(65536, 0)", "(65536, 0x80000000)");
    assert_eq!(pair.interposed.stdout(), expected);
    assert!(pair.stock.output.status.success() && pair.interposed.output.status.success());
}

#[test]
fn a_plugin_that_is_closed_is_unloaded() {
    let options = ["-shared", "-fPIC", "-lamdhip64"];
    let plugin = compile("tests/programs/robust_plugin.c", "plugin.so", &options);
    let pair = same(plain_program("robust_reload"), |run| run.arg(&plugin).on("gfx1030"));
    assert_eq!(pair.stock.stdout().matches("use 1\n").count(), 3, "{}", pair.stock.stdout());
    pair.as_the_policy_says(3);
}

/// A copy of the installed libamdhip64 under another soname, and an extension linked with it.
fn extension_with_its_own_hip(dir: &Path) -> PathBuf {
    const SONAME: &[u8] = b"libamdhip64.so.";
    let mut hip = std::fs::read(installed_hip()).expect("the installed library");
    let mut at = 0;
    while let Some(found) = hip[at..].windows(SONAME.len()).position(|part| part == SONAME) {
        at += found + SONAME.len();
        hip[at] = b'9';
    }
    let copy = dir.join("libamdhip64.so.9");
    std::fs::write(&copy, hip).expect("a writable directory");
    let out = dir.join("own_hip.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/robust_extension.c");
    let status = std::process::Command::new("gcc")
        .args(["-shared", "-fPIC", "-D__HIP_PLATFORM_AMD__", "-Wl,-rpath,$ORIGIN", "-o"])
        .args([&out, &source, &copy])
        .status();
    assert!(status.expect("gcc").success());
    out
}

#[test]
fn two_libraries_with_a_hip_of_their_own_each_get_their_own() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let other = extension_with_its_own_hip(dir.path());
    let program = plain_program("robust_two_copies");
    let pair = same(program, |run| run.arg(extension()).arg(&other).on("gfx1030")).ending_with(0);
    pair.as_the_policy_says(4);
}

#[test]
fn two_copies_of_hip_that_were_opened_by_path_are_reached_below_hip() {
    const MANAGED: u64 = (4 << 20) + 0x3000; // tests/programs/robust.h
    let dir = tempfile::tempdir().expect("a temporary directory");
    let copy = dir.path().join("copy.so");
    std::fs::copy(installed_hip(), &copy).expect("a writable directory");
    let program = plain_program("robust_two_opened");
    let pair = same(program, |run| run.arg(installed_hip()).arg(&copy).on("gfx1030"));
    let pair = pair.printing("copy 1: 0 0\ncopy 2: 0 0\n");
    assert_eq!(of_size(&pair.stock, MANAGED), ["SVM coherent gfx1030#0=UC"; 2]);
    assert_eq!(of_size(&pair.interposed, MANAGED), ["SVM non-coherent gfx1030#0=NC"; 2]);
}

#[test]
fn a_static_executable_runs_as_it_does() {
    let program = compile("tests/programs/robust_static.c", "robust_static", &["-static"]);
    // Something preloaded both times, because the program says whether there is.
    let pair = same(program, |run| run.on("gfx1030"));
    pair.ending_with(9).printing("inherited\n");
}

#[test]
fn a_setuid_program_runs_without_the_library() {
    const TEST: &str = "a_setuid_program_runs_without_the_library";
    if only_outside(TEST, "nobody is another user in a user namespace") {
        return;
    }
    // SAFETY: asks the kernel who this is.
    if unsafe { libc::geteuid() } != 0 {
        return skipped(TEST, "only root makes a setuid copy that another user runs");
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let copy = dir.path().join("setuid");
    std::fs::copy(plain_program("robust_setuid"), &copy).expect("a writable directory");
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
    };
    allow(dir.path(), 0o755);
    allow(&copy, 0o4755);
    let run = |run: Run| run.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
    let pair = same("/usr/bin/setpriv", run).ending_with(0);
    if pair.stock.stdout().starts_with("user 65534 as 65534") {
        return skipped(TEST, "the temporary directory is mounted nosuid");
    }
    pair.printing("user 65534 as 0, maps read, library not loaded\n");
}

/// Without a C library: only the loader has to be there.
fn program_of_32_bits(name: &str, options: &[&str]) -> PathBuf {
    let all = [&["-m32", "-nostdlib", "-ffreestanding"], options].concat();
    compile("tests/programs/robust_32_bit.c", name, &all)
}

#[test]
fn a_static_32_bit_program_runs_as_it_does() {
    const TEST: &str = "a_static_32_bit_program_runs_as_it_does";
    let program = program_of_32_bits("static_32", &["-static", "-fno-pie", "-no-pie"]);
    if let Err(error) = std::process::Command::new(&program).output() {
        return skipped(TEST, &format!("this kernel runs no 32-bit programs: {error}"));
    }
    same(program, |run| run).ending_with(11).printing("32 bits\n");
}

#[test]
fn a_32_bit_program_gets_the_loaders_own_message_and_runs() {
    const TEST: &str = "a_32_bit_program_gets_the_loaders_own_message_and_runs";
    const LOADER: &str = "/lib/ld-linux.so.2";
    if only_outside(TEST, "the root has no 32-bit loader") {
        return;
    }
    if !Path::new(LOADER).exists() {
        return skipped(TEST, "no 32-bit loader; install libc6-i386");
    }
    let loader = format!("-Wl,-dynamic-linker={LOADER}");
    let program = program_of_32_bits("dynamic_32", &["-fPIE", "-pie", &loader]);
    let shell = |run: Run| run.args(["-c", "\"$0\"; echo $?"]).arg(&program);
    let pair = pair("/bin/sh", shell).printing("32 bits\n11\n");
    assert_eq!(pair.stock.stderr(), "");
    assert_eq!(
        pair.interposed.stderr(),
        format!(
            "ERROR: ld.so: object '{}' from LD_PRELOAD cannot be preloaded (wrong ELF class: \
             ELFCLASS64): ignored.\n",
            rdnafix().display()
        )
    );
}

/// A program on a gfx1030 with another library preloaded, before this one or after it.
fn beside(library: &Path, before: bool, environment: &[(&str, &str)]) -> Pair {
    let ran = |interposed: bool| {
        let mut run = Run::new(hip_program("robust_use"));
        run = if before { run.preload(library) } else { run };
        run = if interposed { run.interposed() } else { run };
        run = if before { run } else { run.preload(library) };
        environment.iter().fold(run, |run, (name, value)| run.env(name, value)).on("gfx1030").go()
    };
    Pair { stock: ran(false), interposed: ran(true) }
}

fn allocator(test: &str, library: &str, package: &str, environment: &[(&str, &str)]) {
    let Some(library) = installed(library) else {
        return skipped(test, &format!("{library} is not installed; install {package}"));
    };
    for before in [true, false] {
        let pair = beside(&library, before, environment).printing("program: 0\n").ending_with(0);
        assert!(!pair.stock.stderr().contains("preload"), "{}", pair.stock.stderr());
        assert_eq!(pair.interposed.stderr(), pair.stock.stderr(), "before: {before}");
        pair.as_the_policy_says(1);
    }
}

#[test]
fn jemalloc_may_come_before_or_after() {
    let test = "jemalloc_may_come_before_or_after";
    allocator(test, "libjemalloc.so.2", "libjemalloc2", &[]);
}

#[test]
fn tcmalloc_may_come_before_or_after() {
    let test = "tcmalloc_may_come_before_or_after";
    allocator(test, "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4", &[]);
}

/// The checker wants to be the first library, and ROCm itself leaks; neither is the point.
#[test]
fn the_address_sanitizer_may_come_before_or_after() {
    let test = "the_address_sanitizer_may_come_before_or_after";
    let options = [("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0")];
    allocator(test, "libasan.so.8", "libasan8", &options);
}

fn second_interposer() -> PathBuf {
    let options = ["-shared", "-fPIC", "-ldl"];
    compile("tests/programs/robust_second_interposer.c", "second_interposer.so", &options)
}

#[test]
fn another_interposer_before_this_one_sees_what_the_program_asks() {
    let pair = beside(&second_interposer(), true, &[]).ending_with(0);
    assert!(pair.stock.stdout().contains("second: hipHostMalloc(4198400, 0)"));
    assert!(pair.stock.stdout().contains("second: hsa_amd_svm_attributes_set(4206592, 1 "));
    pair.as_the_policy_says(1);
}

#[test]
fn another_interposer_after_this_one_sees_what_is_asked_instead() {
    let pair = beside(&second_interposer(), false, &[]);
    let expected = pair
        .stock
        .stdout()
        .replace("hipHostMalloc(4198400, 0)", "hipHostMalloc(4198400, 0x80000000)")
        .replace("1 attributes", "2 attributes");
    assert_eq!(pair.interposed.stdout(), expected);
    assert_eq!(expected.lines().filter(|line| line.starts_with("second: ")).count(), 6);
    assert_eq!(pair.interposed.output.status, pair.stock.output.status);
    pair.as_the_policy_says(1);
}
