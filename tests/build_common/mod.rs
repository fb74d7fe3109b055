//! Builds of small source trees with the recipe of ROCm 6.4.3, each with a cache and a prefix of
//! its own, in the root that has the compilers.

#![allow(dead_code, reason = "every test binary uses a part of it")]

#[path = "../cli_common/mod.rs"]
pub mod cli_common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cli_common::patched::BUILD_ROOT;
use cli_common::release::release;
use cli_common::{output, rdnafix, release as artifact, text};
use serde_json::Value;

/// Nothing here takes this long, but on a machine with other work to do.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A build that nothing else uses.
pub struct Bench {
    pub directory: tempfile::TempDir,
    /// Set for the build, as `NAME=VALUE`.
    pub set: Vec<String>,
}

impl Bench {
    /// With two small trees. `None`, after a line that says why, where the root cannot be had.
    pub fn new() -> Option<Self> {
        release(BUILD_ROOT)?;
        let bench = Self { directory: tempfile::tempdir().unwrap(), set: Vec::new() };
        bench.write("source/rocr-runtime/CMakeLists.txt", ROCR);
        bench.write("source/rocr-runtime/init.c", "int hsa_init(void) { return 0; }\n");
        bench.write(
            "source/rocr-runtime/pool.c",
            "int hsa_amd_memory_pool_allocate(void) { return 0; }\n",
        );
        bench.write("source/clr/CMakeLists.txt", CLR);
        bench.write("source/clr/hsa.c", "int hsa_init(void) { return 0; }\n");
        bench.write("source/clr/hip.c", HIP);
        Some(bench)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn prefix(&self) -> PathBuf {
        self.path("opt/rocm")
    }

    /// The directory of the build of the stock libraries.
    pub fn work(&self) -> PathBuf {
        self.path("cache/rdnafix/build/rocm-6.4.3-stock")
    }

    pub fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A program that is found before the root's own.
    pub fn put_in_path(&mut self, name: &str, script: &str) {
        self.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(self.path(&format!("bin/{name}")), mode).unwrap();
        self.set.push(format!("PATH={}:/usr/bin:/bin", self.path("bin").display()));
    }

    /// `rdnafix` in the root, with the cache of this build.
    pub fn rdnafix(&self, arguments: &[&str]) -> Command {
        let mut command = rdnafix(["sim", "root", BUILD_ROOT, "--", "env"]);
        command.arg(format!("XDG_CACHE_HOME={}", self.path("cache").display()));
        command.args(&self.set).arg(artifact("rdnafix")).args(arguments);
        command
    }

    /// The build of the small trees.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.rdnafix(&["build", "rocm", "--stock"]);
        command.arg("--prefix").arg(self.prefix());
        if !arguments.contains(&"--from") {
            command.arg("--from").arg(self.path("source"));
        }
        command.args(arguments);
        command
    }

    /// Runs it; it must succeed. Gives what it said on stderr.
    pub fn build(&self) -> String {
        let output = output(&mut self.command(&[]));
        let said = text(&output.stderr);
        assert!(output.status.success(), "{}\n{said}", output.status);
        said
    }

    /// Runs a command that must fail, with the exit code of errors of rdnafix. Gives what it
    /// said on stderr.
    pub fn refused(command: &mut Command) -> String {
        let output = output(command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{said}");
        said
    }

    /// The events of a build that must succeed, as `EVENT STEP`.
    pub fn events(&self) -> Vec<String> {
        let output = output(&mut self.command(&["--json"]));
        assert!(output.status.success(), "{}\n{}", output.status, text(&output.stderr));
        events(&output)
    }

    /// The files of a component that the last build compiled.
    pub fn compiled(&self, component: &str) -> Vec<String> {
        let log = self.work().join(format!("log/build-{component}.log"));
        let log = fs::read_to_string(log).unwrap();
        let objects = log
            .lines()
            .filter_map(|line| line.split_once("] Building C object ")?.1.strip_suffix(".o"));
        let mut files: Vec<_> =
            objects.map(|path| path.rsplit('/').next().unwrap_or_default().to_owned()).collect();
        files.sort();
        files
    }

    /// Starts a build, and waits until a file is there.
    pub fn start_until(&self, file: &Path) -> Child {
        let command = &mut self.command(&[]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("the build is at work", || file.exists());
        child
    }

    /// Makes the build of clr wait in a compiler's place until the file `go` is there; it makes
    /// the file `waits` then.
    pub fn make_it_wait(&self) {
        let script = format!(
            "touch '{}'\nwhile [ ! -e '{}' ]; do sleep 0.1; done\ntouch \"$1\"\n",
            self.path("waits").display(),
            self.path("go").display()
        );
        self.write("wait.sh", &script);
        let lists = format!(
            "{CLR}\nadd_custom_command(OUTPUT waited COMMAND sh {} waited)\n\
             add_custom_target(wait DEPENDS waited)\nadd_dependencies(amdhip64 wait)\n",
            self.path("wait.sh").display()
        );
        self.write("source/clr/CMakeLists.txt", &lists);
    }

    /// The command lines of processes that have the name of this build's directory in them.
    pub fn processes(&self) -> Vec<String> {
        let name = self.directory.path().display().to_string();
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .map(|line| text(&line).replace('\0', " "))
            .filter(|line| line.contains(&name))
            .collect()
    }
}

/// The events that a build printed, as `EVENT STEP`.
pub fn events(output: &Output) -> Vec<String> {
    let line = |line: &str| -> String {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        let part = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        format!("{} {}", part("event"), part("step"))
    };
    text(&output.stdout).lines().map(line).collect()
}

pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a command in mounts of its own, which a script has made with the command's first
/// argument as `$0`. `None`, after a line that says why, where that is not allowed.
pub fn with_mounts(test: &str, script: &str, command: &Command) -> Option<Output> {
    let allowed = Command::new("unshare").args(["-rm", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: {test}: unshare -rm is not allowed here");
        return None;
    }
    let mut inside = Command::new("unshare");
    inside.args(["-rm", "sh", "-ec", &format!("{script}\nexec \"$0\" \"$@\"")]);
    inside.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => inside.env(name, value),
            None => inside.env_remove(name),
        };
    }
    Some(output(&mut inside))
}

const ROCR: &str = "\
cmake_minimum_required(VERSION 3.10)
project(small C)
add_library(hsa-runtime64 SHARED init.c pool.c)
set_target_properties(hsa-runtime64 PROPERTIES SOVERSION 1)
";

const CLR: &str = "\
cmake_minimum_required(VERSION 3.10)
project(small C)
add_library(hsa SHARED hsa.c)
set_target_properties(hsa PROPERTIES OUTPUT_NAME hsa-runtime64 SOVERSION 1)
add_library(amdhip64 SHARED hip.c)
set_target_properties(amdhip64 PROPERTIES SOVERSION 6)
target_link_libraries(amdhip64 hsa)
";

/// The file of the small clr that has HIP's functions.
pub const HIP: &str = "\
int hsa_init(void);
int hipHostMalloc(void) { return hsa_init(); }
int hipMallocManaged(void) { return 0; }
";
