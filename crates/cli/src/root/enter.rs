//! Entering a root: this process gets a mount namespace in which the root's directories take
//! the place of the machine's, and everything else stays where it is.
//!
//! Needs no privileges where user namespaces are allowed. Must be called while the process has
//! one thread. What exec starts afterwards has the same user and no more rights than before.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chroot, getgid, getuid};

use super::make::Unavailable;

use crate::stderr::say;

/// Directories that are the machine's in every root.
const OF_THE_MACHINE: [&str; 10] =
    ["dev", "home", "media", "mnt", "proc", "root", "run", "srv", "sys", "tmp"];

/// Where the machine's own tree is seen from inside.
const MACHINE: &str = "/machine";

/// Makes the tree of a root this process's own.
///
/// # Errors
/// Where the machine allows no namespaces, or a mount fails: what, and what to do.
pub(crate) fn enter(tree: &Path) -> Result<()> {
    let directory = std::env::current_dir();
    new_namespace()?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("cannot make the mounts private")?;
    // Over the directory that holds this root only: other mounts there are not needed.
    let new = tree.join("proc");
    mount(Some("tmpfs"), &new, Some("tmpfs"), MsFlags::empty(), Some("mode=755,size=1m"))
        .context("cannot mount a tmpfs")?;
    bind(Path::new("/"), &new.join(&MACHINE[1..]))?;
    for entry in read(tree)? {
        if !OF_THE_MACHINE.iter().any(|name| entry.ends_with(name)) {
            place(&entry, &new, Access::ReadOnly)?;
        }
    }
    for entry in read(Path::new("/"))? {
        place(&entry, &new, Access::AsBefore)?;
    }
    chroot(&new).with_context(|| format!("cannot change the root to {}", new.display()))?;
    let directory = directory.unwrap_or_else(|_| "/".into());
    if std::env::set_current_dir(&directory).is_err() {
        say(&format!("{} is not there in the root: running in /", directory.display()));
        std::env::set_current_dir("/").context("cannot change to /")?;
    }
    Ok(())
}

/// How a file of the machine is called from inside a root.
pub(crate) fn seen_inside(file: &Path) -> PathBuf {
    Path::new(MACHINE).join(file.strip_prefix("/").unwrap_or(file))
}

/// A mount namespace; with a user namespace where the process may not have one by itself.
fn new_namespace() -> Result<()> {
    if unshare(CloneFlags::CLONE_NEWNS).is_ok() {
        return Ok(());
    }
    let (user, group) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUSER).map_err(|error| {
        let way_out = match error {
            Errno::EPERM | Errno::ENOSPC | Errno::EACCES => {
                "; a root needs user namespaces (sysctl kernel.unprivileged_userns_clone=1, \
                 user.max_user_namespaces above 0, kernel.apparmor_restrict_unprivileged_userns=0) \
                 or a privileged user"
            }
            _ => "",
        };
        Unavailable(format!("cannot make a user namespace: {error}{way_out}"))
    })?;
    let write = |file: &str, text: &str| {
        fs::write(file, text).with_context(|| format!("cannot write {file}"))
    };
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("{user} {user} 1"))?;
    write("/proc/self/gid_map", &format!("{group} {group} 1"))
}

fn read(directory: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
    };
    read().with_context(|| format!("cannot read {}", directory.display()))
}

/// Puts a directory or a symbolic link into the new tree, unless it has one of that name.
fn place(entry: &Path, new: &Path, access: Access) -> Result<()> {
    let Some(name) = entry.file_name() else { return Ok(()) };
    let target = new.join(name);
    if target.symlink_metadata().is_ok() {
        return Ok(());
    }
    if let Ok(link) = fs::read_link(entry) {
        std::os::unix::fs::symlink(link, &target)
            .with_context(|| format!("cannot make the link {}", target.display()))
    } else if entry.is_dir() {
        bind(entry, &target)?;
        if access == Access::ReadOnly { read_only(&target) } else { Ok(()) }
    } else {
        Ok(())
    }
}

/// Whether a directory can be written to as it could before, or not at all.
#[derive(Clone, Copy, PartialEq)]
enum Access {
    AsBefore,
    ReadOnly,
}

/// A root is shared: nothing that runs in it changes it.
fn read_only(target: &Path) -> Result<()> {
    use nix::sys::statvfs::{FsFlags, statvfs};
    let context = || format!("cannot make {} read-only", target.display());
    // A user namespace may not take away what the mount was restricted by.
    let before = statvfs(target).with_context(context)?.flags();
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    for (had, flag) in [
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        flags.set(flag, before.contains(had));
    }
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>).with_context(context)
}

fn bind(directory: &Path, target: &Path) -> Result<()> {
    fs::create_dir(target).with_context(|| format!("cannot make {}", target.display()))?;
    mount(Some(directory), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .with_context(|| format!("cannot bind {} to {}", directory.display(), target.display()))
}
