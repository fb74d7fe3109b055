//! The ROCm releases that tests run on: roots made by `rdnafix sim root`.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::artifact::{artifact, compile, target_dir};

/// All of them, by the version of HIP.
pub const RELEASES: [&str; 4] = ["5.2.3", "5.7.1", "6.4.3", "7.2.4"];

/// A root with a release in it.
#[derive(Clone, Debug)]
pub struct Release {
    /// What `rdnafix sim root` calls it.
    pub name: String,
    root: PathBuf,
    /// Its packages and their versions.
    pub packages: BTreeMap<String, String>,
}

/// The root of a release, made if need be. `None`, after a line that says why, where it cannot
/// be had.
pub fn release(name: &str) -> Option<Release> {
    if let Ok(only) = std::env::var("RDNAFIX_TEST_RELEASE")
        && name != only
        && !name.ends_with(&format!("-{only}"))
    {
        println!("SKIPPED: ROCm {name}: only {only} is asked for");
        return None;
    }
    let output = Command::new(artifact("rdnafix"))
        .args(["sim", "root", name, "--json"])
        .output()
        .expect("the command starts");
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => {}
        // EX_UNAVAILABLE
        Some(69) => {
            let why = said.lines().last().unwrap_or_default();
            println!("SKIPPED: ROCm {name}: {why}");
            return None;
        }
        _ => panic!("rdnafix sim root {name}: {}\n{said}", output.status),
    }
    // Made is not entered: that takes namespaces.
    let entered =
        Command::new(artifact("rdnafix")).args(["sim", "root", name, "--", "true"]).output();
    let entered = entered.expect("the command starts");
    if entered.status.code() == Some(69) {
        let said = String::from_utf8_lossy(&entered.stderr);
        println!("SKIPPED: ROCm {name}: {}", said.lines().last().unwrap_or_default());
        return None;
    }
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let packages = value["packages"].as_object().expect("packages");
    Some(Release {
        name: name.to_owned(),
        root: text(&value["path"]).into(),
        packages: packages.iter().map(|(name, version)| (name.clone(), text(version))).collect(),
    })
}

/// All releases that can be had.
pub fn releases() -> Vec<Release> {
    RELEASES.iter().filter_map(|name| release(name)).collect()
}

impl Release {
    /// A file of the root, as the tests see it.
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// What runs a program in the root; the program and its arguments come after it.
    pub fn enter(&self) -> Command {
        let mut command = Command::new(artifact("rdnafix"));
        command.args(["sim", "root", &self.name, "--"]);
        command
    }

    /// Compiles a file of the repository with this machine's compiler, for the HIP and HSA of
    /// the release. Libraries are named in `arguments`, such as `-lamdhip64`.
    pub fn compile(&self, source: &str, name: &str, arguments: &[&str]) -> PathBuf {
        let parts = self.development_files();
        let include = format!("-isystem{}", parts.join("include").display());
        let libraries = format!("-L{}", parts.join("lib").display());
        let mut all = vec![&include[..], &libraries, "-Wl,--allow-shlib-undefined"];
        all.extend(arguments);
        compile(source, name, &all)
    }

    /// The headers and libraries of ROCm by themselves: those of the root's C library do not go
    /// with this machine's compiler.
    fn development_files(&self) -> PathBuf {
        let name = self.root.file_name().expect("a root has a name");
        let parts = target_dir().join("test-programs").join(name);
        if parts.exists() {
            return parts;
        }
        let new = target_dir().join("test-programs");
        std::fs::create_dir_all(&new).expect("the target directory is writable");
        let new = tempfile::Builder::new().tempdir_in(new).expect("a directory of our own");
        let link = |from: &Path, to: &str| {
            let to = new.path().join(to);
            std::fs::create_dir_all(to.parent().expect("has one")).expect("a directory");
            symlink(from, to).expect("a link");
        };
        for headers in ["hip", "hsa", "hsakmt"] {
            link(&self.file(&format!("usr/include/{headers}")), &format!("include/{headers}"));
        }
        for library in ["libamdhip64.so", "libhsa-runtime64.so", "libhiprtc.so"] {
            let file = self.file(&format!("usr/lib/x86_64-linux-gnu/{library}"));
            link(&file, &format!("lib/{library}"));
        }
        // Another process may have been quicker; what it made is the same.
        let _ = std::fs::rename(new.path(), &parts);
        parts
    }
}
