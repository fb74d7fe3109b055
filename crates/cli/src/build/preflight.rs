//! What is checked before anything is changed: programs, headers, memory, disk, inodes. Each
//! lack comes with the command that mends it.

use std::path::Path;

use anyhow::{Result, bail};
use nix::sys::statvfs::statvfs;

use super::release::Release;

/// Bytes that a compiler process of this size of project may need.
const MEMORY_OF_A_JOB: u64 = 2_500_000_000;
/// Bytes that source, objects and stage of both libraries take, with room: 1.3 GB measured.
const DISK: u64 = 3_000_000_000;
/// Files of the same.
const INODES: u64 = 50_000;

/// How many compilers may run at once.
///
/// # Errors
/// Everything that the machine lacks.
pub(super) fn check(release: &Release, work: &Path, jobs: Option<usize>) -> Result<usize> {
    let mut lacks = Vec::new();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut packages: Vec<&str> = Vec::new();
    for need in &release.needs {
        let there = need.command.as_ref().map_or_else(
            || need.file.as_ref().is_some_and(|file| Path::new(file).exists()),
            |command| {
                std::env::split_paths(&path).any(|directory| directory.join(command).is_file())
            },
        );
        if !there {
            let what = need.command.as_deref().or(need.file.as_deref()).unwrap_or_default();
            lacks.push(format!("{what} is missing"));
            if !packages.contains(&&need.package[..]) {
                packages.push(&need.package);
            }
        }
    }
    if !packages.is_empty() {
        lacks.push(format!("install them: sudo apt-get install {}", packages.join(" ")));
    }
    if let Ok(room) = statvfs(work) {
        let free = room.blocks_available().saturating_mul(room.fragment_size());
        if free < DISK {
            lacks.push(format!(
                "{} has {:.1} GB free of the {:.1} that are needed: free some, or set XDG_CACHE_HOME to a larger disk",
                work.display(),
                gigabytes(free),
                gigabytes(DISK)
            ));
        }
        // Some file systems count no inodes.
        if room.files() > 0 && room.files_available() < INODES {
            lacks.push(format!(
                "{} has {} free inodes of the {INODES} that are needed",
                work.display(),
                room.files_available()
            ));
        }
    }
    let memory = available_memory();
    if memory.is_some_and(|memory| memory < MEMORY_OF_A_JOB) {
        lacks.push(format!(
            "{:.1} GB of memory are available and a compiler may need {:.1}: close programs or add swap",
            gigabytes(memory.unwrap_or(0)),
            gigabytes(MEMORY_OF_A_JOB)
        ));
    }
    if !lacks.is_empty() {
        bail!("ROCm {} cannot be built here:\n  {}", release.name, lacks.join("\n  "));
    }
    Ok(jobs.unwrap_or_else(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        jobs_for(cores, memory)
    }))
}

/// One job for each core, and memory for each.
fn jobs_for(cores: usize, memory: Option<u64>) -> usize {
    let fit = memory.map_or(usize::MAX, |memory| {
        usize::try_from(memory / MEMORY_OF_A_JOB).unwrap_or(usize::MAX)
    });
    cores.min(fit).max(1)
}

/// `MemAvailable` of /proc/meminfo, in bytes.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::release;

    #[test]
    fn jobs_fit_cores_and_memory() {
        assert_eq!(jobs_for(8, Some(6_000_000_000)), 2);
        assert_eq!(jobs_for(2, Some(64_000_000_000)), 2);
        assert_eq!(jobs_for(4, Some(1)), 1);
        assert_eq!(jobs_for(4, None), 4);
    }

    #[test]
    fn what_is_missing_is_named_with_the_command_that_mends_it() {
        let mut release = release::named("6.4.3").unwrap();
        release.needs.truncate(2);
        release.needs[0].command = Some("no-such-command".to_owned());
        release.needs[0].package = "the-package".to_owned();
        let error = check(&release, Path::new("/"), None).unwrap_err().to_string();
        assert!(error.contains("no-such-command is missing"), "{error}");
        assert!(error.contains("apt-get install the-package"), "{error}");
    }
}
