//! Configuring and compiling a component, and checking what came out.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSymbol};

use super::progress::Progress;
use super::release::{self, Component, Release};
use super::source::run;
use super::steps::Log;

/// Makes the directory of tools that a component is configured with.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn tools(release: &Release, directory: &Path) -> Result<()> {
    let write = |name: &str, content: &[u8], executable: bool| -> Result<()> {
        let path = directory.join(name);
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
        ("hip/include/hip", PathBuf::from("/usr/include/hip")),
        ("bin/clang", PathBuf::from("/usr/bin/clang-21")),
        ("bin/llvm-mc", PathBuf::from("/usr/bin/llvm-mc-21")),
    ];
    for (link, target) in links {
        let link = directory.join(link);
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&target, &link)
            .with_context(|| format!("cannot make the link {}", link.display()))?;
    }
    Ok(())
}

/// The arguments of cmake, with the build's directories in them.
pub(super) fn arguments(component: &Component, tools: &Path, prefix: &Path) -> Vec<String> {
    let mut arguments: Vec<String> = component
        .configure
        .iter()
        .map(|argument| argument.replace("@TOOLS@", &tools.display().to_string()))
        .collect();
    arguments.push(format!("-DCMAKE_INSTALL_PREFIX={}", prefix.display()));
    if in_path("ccache") {
        arguments.extend(
            ["C", "CXX"].map(|language| format!("-DCMAKE_{language}_COMPILER_LAUNCHER=ccache")),
        );
    }
    arguments
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn command(program: &str, tools: &Path) -> Result<Command> {
    let mut directories = vec![tools.join("bin")];
    directories.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new(program);
    command.env("PATH", std::env::join_paths(directories)?).env("LC_ALL", "C.UTF-8");
    // What the user's shell sets for other builds would not be among the recorded inputs.
    for name in
        ["CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CC", "CXX", "MAKEFLAGS", "LD_PRELOAD"]
    {
        command.env_remove(name);
    }
    Ok(command)
}

/// Runs cmake.
///
/// # Errors
/// Where it fails.
pub(super) fn configure(
    tree: &Path,
    objects: &Path,
    tools: &Path,
    arguments: &[String],
    log: &Log,
) -> Result<()> {
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
    log.line(&format!("+ {ninja:?}"))?;
    let mut child = ninja
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.file()?)
        .spawn()
        .context("cannot start ninja")?;
    let mut kept = log.file()?;
    for line in BufReader::new(child.stdout.take().context("no stdout")?).split(b'\n') {
        let line = line.context("ninja's output")?;
        kept.write_all(&line)
            .and_then(|()| kept.write_all(b"\n"))
            .context("cannot write the log")?;
        if let Some((done, of)) = count(&String::from_utf8_lossy(&line)) {
            progress.at(done, of);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("ninja failed: {status}; the next build goes on where this one stopped");
    }
    Ok(())
}

/// `[3/70] Building ...`
fn count(line: &str) -> Option<(u64, u64)> {
    let (done, of) = line.strip_prefix('[')?.split_once(']')?.0.split_once('/')?;
    Some((done.parse().ok()?, of.parse().ok()?))
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

/// That a library is what its name says: its soname, and that it exports what programs call.
///
/// # Errors
/// Where it is not.
pub(super) fn check(component: &Component, library: &Path) -> Result<()> {
    let exported = match &component.library[..] {
        name if name.starts_with("libamdhip64") => ["hipMallocManaged", "hipHostMalloc"],
        _ => ["hsa_init", "hsa_amd_memory_pool_allocate"],
    };
    let data = fs::read(library).with_context(|| format!("cannot read {}", library.display()))?;
    let file = object::File::parse(&*data)
        .with_context(|| format!("{}: no ELF file", library.display()))?;
    let names: Vec<&str> = file.dynamic_symbols().filter_map(|symbol| symbol.name().ok()).collect();
    for name in exported {
        if !names.contains(&name) {
            bail!("{}: does not export {name}", library.display());
        }
    }
    Ok(())
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
