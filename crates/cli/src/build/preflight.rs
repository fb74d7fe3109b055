//! What is checked before anything is changed: programs, headers, memory, disk, inodes. Each
//! lack comes with the command that mends it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use nix::sys::statvfs::statvfs;

use super::release::{Need, Release};
use super::source::From;
use super::steps::Inputs;

/// Bytes that a compiler process of this size of project may need.
const MEMORY_OF_A_JOB: u64 = 2_500_000_000;
/// Bytes that source, objects and stage of both libraries take, with room for a clone of the
/// repositories: docs/performance.md.
const DISK: u64 = 300_000_000;
/// Files of the same, with room.
const INODES: u64 = 10_000;
/// Bytes of an overlay, with room for the one that it replaces.
const OVERLAY: u64 = 50_000_000;

/// The machine as a build finds it.
pub(super) struct Machine {
    /// How many compilers may run at once.
    pub(super) jobs: usize,
    /// What the tools and headers are: two builds with others are two builds.
    pub(super) toolchain: String,
    /// The first line that each program says of itself.
    pub(super) versions: Vec<String>,
}

/// What the machine has and lacks.
pub(super) struct Found {
    machine: Machine,
    lacks: Vec<String>,
    /// The Debian packages of what is missing.
    packages: Vec<String>,
}

impl Found {
    /// The machine, if it can build.
    ///
    /// # Errors
    /// Everything that it lacks, and how that can be had.
    pub(super) fn expect_ready(self, release: &str) -> Result<Machine> {
        if self.lacks.is_empty() {
            return Ok(self.machine);
        }
        let mut text = format!("ROCm {release} cannot be built here:");
        let way_out =
            if self.packages.is_empty() { Vec::new() } else { way_out(release, &self.packages) };
        for line in self.lacks.iter().chain(&way_out) {
            text.push('\n');
            text.push_str(&wrapped(line));
        }
        bail!(text)
    }

    /// The same for programs.
    pub(super) fn document(&self, release: &str) -> serde_json::Value {
        let ready = self.lacks.is_empty();
        serde_json::json!({
            "release": release,
            "possible": ready,
            "jobs": ready.then_some(self.machine.jobs),
            "tools": self.machine.versions,
            "lacks": self.lacks,
            "packages": self.packages,
        })
    }
}

/// Below a title, in 80 columns; commands, which begin with `$`, stay whole to be copied.
fn wrapped(line: &str) -> String {
    if line.starts_with('$') {
        return format!("  {line}");
    }
    let options = textwrap::Options::new(80).initial_indent("  ").subsequent_indent("      ");
    textwrap::fill(line, options.word_splitter(textwrap::WordSplitter::NoHyphenation))
}

/// Looks at the machine and changes nothing.
///
/// # Errors
/// Everything that it lacks.
pub(super) fn check(
    release: &Release,
    from: &From,
    work: &Path,
    prefix: &Path,
    jobs: Option<u16>,
) -> Result<Machine> {
    examine(release, from, work, prefix, jobs).expect_ready(&release.name)
}

/// The same, to say it in another way.
pub(super) fn examine(
    release: &Release,
    from: &From,
    work: &Path,
    prefix: &Path,
    jobs: Option<u16>,
) -> Found {
    let mut lacks = Vec::new();
    let mut packages: Vec<&str> = Vec::new();
    let mut inputs = Inputs::new("toolchain");
    let mut versions = Vec::new();
    for need in &release.needs {
        match found(need) {
            Ok(said) => {
                inputs = inputs.and(need.what()).and(&said);
                if need.command.is_some() {
                    let line = said.lines().find(|line| !line.trim().is_empty());
                    versions.push(format!("{}: {}", need.what(), line.unwrap_or_default().trim()));
                }
            }
            Err(lack) => {
                lacks.push(lack);
                if !packages.contains(&&need.package[..]) {
                    packages.push(&need.package);
                }
            }
        }
    }
    if *from == From::Git && in_path("git").is_none() {
        lacks.push("git is missing".to_owned());
        packages.push("git");
    }
    lacks.extend(room("the work", "set XDG_CACHE_HOME to a directory", work, DISK));
    lacks.extend(room("the overlay", "name a --prefix", prefix, OVERLAY));
    let memory = available_memory();
    if let Some(memory) = memory.filter(|memory| *memory < MEMORY_OF_A_JOB && jobs.is_none()) {
        lacks.push(format!(
            "{:.1} GB of memory are available and a compiler may need {:.1}: close programs, add \
             swap, or try it with --jobs 1",
            gigabytes(memory),
            gigabytes(MEMORY_OF_A_JOB)
        ));
    }
    let jobs = jobs.map_or_else(|| self::jobs(MEMORY_OF_A_JOB), usize::from);
    let machine = Machine { jobs, toolchain: inputs.hash(), versions };
    Found { machine, lacks, packages: packages.into_iter().map(str::to_owned).collect() }
}

/// The Debian packages of what is missing.
pub(super) fn missing(release: &Release) -> Vec<&str> {
    let mut packages: Vec<&str> = Vec::new();
    for need in release.needs.iter().filter(|need| found(need).is_err()) {
        if !packages.contains(&&need.package[..]) {
            packages.push(&need.package);
        }
    }
    packages
}

/// The file of a command.
pub(super) fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| {
        nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok() && file.is_file()
    })
}

/// What a program says of itself, or what is in a header; else what is wrong.
fn found(need: &Need) -> std::result::Result<String, String> {
    let what = need.what();
    let said = if let Some(command) = &need.command {
        let file = in_path(command).ok_or_else(|| format!("{what} is missing"))?;
        let output = Command::new(file).arg("--version").output();
        let output = output.map_err(|error| format!("{what} does not start: {error}"))?;
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    } else {
        let text = std::fs::read(what).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("{what} is missing"),
            _ => format!("{what} cannot be read: {error}"),
        })?;
        String::from_utf8_lossy(&text).into_owned()
    };
    match need.says.iter().find(|wanted| !said.contains(&wanted[..])) {
        Some(wanted) => Err(format!("{what} is of another version: it does not say '{wanted}'")),
        None => Ok(said),
    }
}

/// How packages can be had here, or how to do without, a line each.
fn way_out(release: &str, packages: &[String]) -> Vec<String> {
    let list = packages.join(" ");
    let here = name_of_system();
    let mut lines = Vec::new();
    if in_path("apt-get").is_none() {
        lines.push(format!(
            "{here} has no apt-get: install these by the names that they have here (those of \
             Debian are {list}), or, without changing this machine:"
        ));
    } else {
        let unknown: Vec<&str> =
            packages.iter().filter(|name| !apt_knows(name)).map(String::as_str).collect();
        if unknown.is_empty() {
            lines.push("install them:".to_owned());
            lines.push(format!("$ sudo apt-get install {list}"));
            lines.push("or, without changing this machine:".to_owned());
        } else {
            let unknown = unknown.join(", ");
            lines.push(format!(
                "{here} has no package {unknown}: do it without changing this machine:"
            ));
        }
    }
    lines.push(format!(
        "$ rdnafix sim root build-{release} -- rdnafix build rocm \\\n      --release {release} \
         --prefix DIR"
    ));
    lines.push(
        "(what is built there runs where the C and C++ libraries are as new as in that root)"
            .to_owned(),
    );
    lines
}

/// Whether apt has a package of this name.
pub(super) fn apt_knows(package: &str) -> bool {
    let output = Command::new("apt-cache").args(["show", "--", package]).output();
    // Without lists nothing can be said: apt-get says it then.
    output.map_or(true, |output| output.status.success())
}

/// `PRETTY_NAME` of os-release(5).
fn name_of_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "this system".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// What the file system of a directory, which need not be there, lacks.
pub(super) fn room(what: &str, instead: &str, directory: &Path, bytes: u64) -> Vec<String> {
    let there = directory.ancestors().find(|part| part.exists());
    let Some((there, room)) = there.and_then(|there| Some((there, statvfs(there).ok()?))) else {
        return Vec::new();
    };
    let mut lacks = Vec::new();
    let free = room.blocks_available().saturating_mul(room.fragment_size());
    if free < bytes {
        lacks.push(format!(
            "{} has {:.2} GB free of the {:.2} that {what} needs: free some, or {instead} on a larger disk",
            there.display(),
            gigabytes(free),
            gigabytes(bytes)
        ));
    }
    // Some file systems count no inodes.
    if bytes == DISK && room.files() > 0 && room.files_available() < INODES {
        lacks.push(format!(
            "{} has {} free inodes of the {INODES} that {what} needs: remove files, or {instead} on another disk",
            there.display(),
            room.files_available()
        ));
    }
    lacks
}

/// How many compilers may run at once here, each with so many bytes of memory.
pub(super) fn jobs(memory_of_a_job: u64) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    jobs_for(cores, available_memory(), memory_of_a_job)
}

/// One job for each core, and memory for each.
fn jobs_for(cores: usize, memory: Option<u64>, of_a_job: u64) -> usize {
    let fit = memory
        .map_or(usize::MAX, |memory| usize::try_from(memory / of_a_job).unwrap_or(usize::MAX));
    cores.min(fit).max(1)
}

/// `MemAvailable` of /proc/meminfo, in bytes.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[expect(clippy::cast_precision_loss, reason = "decimals are shown")]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::release;

    #[test]
    fn jobs_fit_cores_and_memory() {
        assert_eq!(jobs_for(8, Some(6_000_000_000), MEMORY_OF_A_JOB), 2);
        assert_eq!(jobs_for(2, Some(64_000_000_000), MEMORY_OF_A_JOB), 2);
        assert_eq!(jobs_for(4, Some(1), MEMORY_OF_A_JOB), 1);
        assert_eq!(jobs_for(4, None, MEMORY_OF_A_JOB), 4);
    }

    #[test]
    fn what_is_missing_or_of_another_version_is_named() {
        let mut release = release::named("6.4.3").unwrap();
        release.needs.truncate(2);
        release.needs[0].command = Some("no-such-command".to_owned());
        release.needs[1].command = Some("sh".to_owned());
        release.needs[1].says = vec!["version 21.".to_owned()];
        let root = Path::new("/");
        let error = check(&release, &From::Debian, root, root, Some(1));
        let error = error.err().unwrap().to_string();
        assert!(error.contains("no-such-command is missing"), "{error}");
        assert!(error.contains("sh is of another version"), "{error}");
        assert!(error.contains("rdnafix sim root build-6.4.3"), "{error}");
    }

    #[test]
    fn a_disk_that_is_too_small_is_named_though_the_directory_is_not_there_yet() {
        let lacks = room("the work", "x", Path::new("/proc/no/such"), DISK);
        // procfs has no blocks at all.
        assert!(lacks[0].starts_with("/proc has 0.00 GB free"), "{lacks:?}");
    }
}
