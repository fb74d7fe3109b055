//! Configuring and compiling a component.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::child::{self, run};
use super::preflight::in_path;
use super::progress::Progress;
use super::release::{self, Component, Release};
use super::steps::Log;
use super::tree;

/// Makes the directory of tools that a component is configured with. What is as it should be is
/// not written again: the kernels of ROCr are compiled anew when their compiler is newer.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn tools(release: &Release, directory: &Path) -> Result<()> {
    let write = |name: &str, content: &[u8], executable: bool| -> Result<()> {
        let path = directory.join(name);
        if fs::read(&path).is_ok_and(|there| there == content) {
            return Ok(());
        }
        fs::create_dir_all(path.parent().context("has a directory")?)?;
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        let mode = if executable { 0o755 } else { 0o644 };
        Ok(fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode))?)
    };
    for (name, content) in release::tools(&release.name) {
        let is_cmake = Path::new(&name).extension().is_some_and(|kind| kind == "cmake");
        let folder = if is_cmake { "cmake" } else { "bin" };
        write(&format!("{folder}/{name}"), content, !is_cmake)?;
    }
    // The headers of HIP have a repository of their own; the installed ones are the same files.
    write("hip/VERSION", release.hip_version.replace('/', "\n").as_bytes(), false)?;
    write("hip/hip-lang-config.cmake.in", b"", false)?;
    for name in ["bin", "cmake", "include"] {
        fs::create_dir_all(directory.join("hip").join(name))?;
    }
    for program in ["hipconfig", "hipcc"] {
        write(&format!("bin/{program}"), b"#!/bin/sh\n", true)?;
    }
    let links = [
        ("hip/include/hip", "/usr/include/hip"),
        ("bin/clang", "/usr/bin/clang-21"),
        ("bin/llvm-mc", "/usr/bin/llvm-mc-21"),
    ];
    for (link, target) in links {
        let link = directory.join(link);
        if fs::read_link(&link).is_ok_and(|there| there == Path::new(target)) {
            continue;
        }
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(target, &link)
            .with_context(|| format!("cannot make the link {}", link.display()))?;
    }
    Ok(())
}

/// The arguments of cmake, with the build's directories in them. Where the overlay will be is
/// none of them: it can be installed anywhere without being compiled again.
pub(super) fn arguments(component: &Component, tools: &Path, tree: &Path) -> Vec<String> {
    let mut arguments: Vec<String> = component
        .configure
        .iter()
        .map(|argument| {
            argument
                .replace("@TOOLS@", &tools.display().to_string())
                .replace("@SOURCE@", &tree.display().to_string())
        })
        .collect();
    arguments.push("-DCMAKE_INSTALL_PREFIX=/usr".to_owned());
    if in_path("ccache").is_some() {
        arguments.extend(
            ["C", "CXX"].map(|language| format!("-DCMAKE_{language}_COMPILER_LAUNCHER=ccache")),
        );
    }
    arguments
}

fn command(program: &str, tools: &Path) -> Result<Command> {
    let mut directories = vec![tools.join("bin")];
    directories.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new(program);
    command.env("PATH", std::env::join_paths(directories)?);
    without_other_builds(&mut command);
    Ok(command)
}

/// Takes away what the user's shell sets for other builds: it would not be among the recorded
/// inputs.
pub(super) fn without_other_builds(command: &mut Command) {
    command.env("LC_ALL", "C.UTF-8");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if OF_OTHER_BUILDS.contains(&&text[..]) || text.starts_with("CMAKE_") {
            command.env_remove(&name);
        }
    }
}

/// Variables that compilers, linkers and build tools read.
const OF_OTHER_BUILDS: [&str; 26] = [
    "CFLAGS",
    "CXXFLAGS",
    "CPPFLAGS",
    "LDFLAGS",
    "CC",
    "CXX",
    "MAKEFLAGS",
    "NINJAFLAGS",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "LIBRARY_PATH",
    "PKG_CONFIG_PATH",
    "PKG_CONFIG_LIBDIR",
    "COMPILER_PATH",
    "GCC_EXEC_PREFIX",
    "CCC_OVERRIDE_OPTIONS",
    "ROCM_PATH",
    "HIP_PATH",
    "KCFLAGS",
    "KBUILD_OUTPUT",
    "KBUILD_EXTMOD",
    "ARCH",
    "CROSS_COMPILE",
];

/// Runs cmake. Objects of another toolchain are removed first: ninja does not see that.
///
/// # Errors
/// Where it fails.
pub(super) fn configure(
    tree: &Path,
    objects: &Path,
    tools: &Path,
    arguments: &[String],
    toolchain: &str,
    log: &Log,
) -> Result<()> {
    let mark = objects.join("toolchain");
    if objects.exists() && fs::read_to_string(&mark).ok().as_deref() != Some(toolchain) {
        log.line("another toolchain than before: everything is compiled again")?;
        fs::remove_dir_all(objects)
            .with_context(|| format!("cannot remove {}", objects.display()))?;
    }
    fs::create_dir_all(objects).with_context(|| format!("cannot make {}", objects.display()))?;
    fs::write(&mark, toolchain).with_context(|| format!("cannot write {}", mark.display()))?;
    let mut cmake = command("cmake", tools)?;
    // A cache of other arguments would keep some of them.
    let _ = fs::remove_file(objects.join("CMakeCache.txt"));
    cmake.args(["-G", "Ninja", "-S"]).arg(tree).arg("-B").arg(objects).args(arguments);
    run(&mut cmake, log)
}

/// Runs ninja, whose own count of jobs is the progress.
///
/// # Errors
/// Where a compiler fails.
pub(super) fn build(
    component: &Component,
    objects: &Path,
    tools: &Path,
    jobs: usize,
    log: &Log,
    progress: &Progress,
) -> Result<()> {
    let mut ninja = command("ninja", tools)?;
    ninja.arg("-C").arg(objects).arg("-j").arg(jobs.to_string()).arg(&component.target);
    ninja.env("NINJA_STATUS", "[%f/%t] ");
    child::run_showing(&mut ninja, log, |line| {
        if let Some((done, of)) = count(line) {
            progress.at(done, of);
        }
    })
}

/// `[3/70] Building ...`
fn count(line: &str) -> Option<(u64, u64)> {
    let (done, of) = line.strip_prefix('[')?.split_once(']')?.0.split_once('/')?;
    Some((done.parse().ok()?, of.parse().ok()?))
}

/// Whether the library is the one whose hash was written down when it was built. A damaged one is
/// removed, to be linked anew: ninja looks at times only.
pub(super) fn is_as_built(component: &Component, objects: &Path, sum: &Path) -> bool {
    let Ok(library) = library(component, objects) else { return false };
    let Ok(built) = fs::read_to_string(sum) else { return false };
    let same = tree::hash(&library).is_ok_and(|now| now == built);
    if !same {
        let _ = fs::remove_file(&library);
    }
    same
}

/// The library that a build made: the file that its soname stands for.
///
/// # Errors
/// Where there is none.
pub(super) fn library(component: &Component, objects: &Path) -> Result<PathBuf> {
    let mut found = None;
    for entry in walkdir::WalkDir::new(objects) {
        let entry = entry?;
        if entry.file_type().is_file()
            && entry.file_name().to_string_lossy().starts_with(&component.library)
        {
            found = Some(entry.into_path());
        }
    }
    found.with_context(|| format!("the build made no {}", component.library))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ninjas_count_is_read() {
        assert_eq!(count("[3/70] Building CXX object a.o"), Some((3, 70)));
        assert_eq!(count("FAILED: a.o"), None);
        assert_eq!(count("[x/y] z"), None);
    }
}
