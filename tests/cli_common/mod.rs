//! Running the `rdnafix` command of the release build, and the programs that it is tried on.

#![allow(dead_code, reason = "every test binary uses a part of it")]

#[path = "../common/artifact.rs"]
mod artifact;
#[path = "../common/cache.rs"]
pub mod cache;
#[path = "../common/patched.rs"]
pub mod patched;
#[path = "../common/release.rs"]
pub mod release;

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub use artifact::artifact as release;
use serde_json::Value;

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The command, with none of the variables that change what it or ROCm does.
pub fn rdnafix<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = clean(release("rdnafix"));
    command.args(arguments);
    command
}

/// A program with none of those variables.
pub fn clean(program: impl AsRef<OsStr>) -> Command {
    const CHANGING: [&str; 9] = [
        "RDNAFIX_",
        "KFDSIM_",
        "HSA_",
        "HIP_",
        "ROCR_",
        "AMD_",
        "PYTORCH_",
        "LD_PRELOAD",
        "NO_COLOR",
    ];
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if CHANGING.iter().any(|start| name.to_string_lossy().starts_with(start)) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// What a command wrote to stdout, which must have succeeded and said nothing on stderr.
pub fn stdout(command: &mut Command) -> String {
    let output = succeed(command);
    let err = text(&output.stderr);
    assert!(err.is_empty(), "{command:?} says on stderr:\n{err}");
    text(&output.stdout)
}

/// Runs a command that must succeed, whatever it says on stderr.
pub fn succeed(command: &mut Command) -> Output {
    let output = output(command);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{command:?}: {}\n--- stdout\n{out}\n--- stderr\n{err}",
        output.status
    );
    output
}

/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `examples/alloc_probe.cpp`, compiled.
pub fn alloc_probe() -> PathBuf {
    let libraries = ["-std=c++17", "-lamdhip64", "-lhsa-runtime64", "-ldl"];
    artifact::compile("examples/alloc_probe.cpp", "alloc_probe", &libraries)
}

/// Compiles C++, once for each source text: the tests may run in processes of their own.
pub fn compile(name: &str, source: &str, flags: &[&str], libraries: &[&str]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (source, flags, libraries).hash(&mut hasher);
    let name = format!("{name}-{:016x}", hasher.finish());
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = directory.join(&name);
    if program.exists() {
        return program;
    }
    let scratch = tempfile::tempdir_in(directory).expect("a directory in the target directory");
    let input = scratch.path().join("source.cpp");
    let made = scratch.path().join("program");
    std::fs::write(&input, source).expect("write the source");
    let compiler =
        output(Command::new("g++").args(flags).arg(&input).arg("-o").arg(&made).args(libraries));
    assert!(compiler.status.success(), "g++ cannot compile {name}:\n{}", text(&compiler.stderr));
    // A program that another test has put there meanwhile is the same one.
    std::fs::rename(&made, &program).expect("rename in the target directory");
    program
}

/// The JSON document of `rdnafix compare --json`.
pub struct Comparison(pub Value);

impl Comparison {
    /// Of `alloc_probe`, with more arguments for `compare`.
    pub fn of_probe(arguments: &[&str]) -> Self {
        Self::of_probe_with(arguments, &[])
    }

    /// The same, with environment variables.
    pub fn of_probe_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        // Where the output of the two runs differs it is kept: here, for as long as this runs.
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let mut command = rdnafix(["compare", "--json", "--timeout", "120"]);
        command.args(arguments).arg("--").arg(alloc_probe());
        command.env("TMPDIR", scratch.path()).envs(environment.iter().copied());
        Self(serde_json::from_slice(&succeed(&mut command).stdout).expect("a JSON document"))
    }

    /// All rows.
    pub fn rows(&self) -> &[Value] {
        self.0["rows"].as_array().expect("rows")
    }

    /// One row.
    pub fn row(&self, call: &str) -> &Value {
        let names = || self.rows().iter().map(|row| row["call"].to_string()).collect::<Vec<_>>();
        self.rows()
            .iter()
            .find(|row| row["call"] == call)
            .unwrap_or_else(|| panic!("no {call} in {:?}", names()))
    }

    /// What a run asked for in a call: `VRAM coherent UC`, one for each kind, and the return
    /// code if it is not 0.
    pub fn asked(&self, call: &str, run: &str) -> String {
        let side = &self.row(call)[run];
        let mut parts: Vec<String> = Vec::new();
        for code in side["codes"].as_object().expect("codes").keys().filter(|code| *code != "0") {
            parts.push(format!("rc {code}"));
        }
        for asked in side["asked"].as_array().expect("asked") {
            let coherence = if asked["coherent"] == true { "coherent" } else { "non-coherent" };
            let mut mtypes: Vec<&str> = asked["mtype"]
                .as_object()
                .expect("mtype")
                .values()
                .filter_map(Value::as_str)
                .collect();
            mtypes.dedup();
            parts.push(format!(
                "{} {coherence} {}",
                asked["domain"].as_str().expect("domain"),
                mtypes.join("/")
            ));
        }
        parts.join(", ")
    }

    /// The calls that changed, in the order of the table.
    pub fn changed(&self) -> Vec<&str> {
        self.rows()
            .iter()
            .filter(|row| row["changed"] == true)
            .map(|row| row["call"].as_str().expect("call"))
            .collect()
    }
}
