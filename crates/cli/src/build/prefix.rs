//! Installing into a prefix in one step, and removing exactly what was installed. Nothing
//! outside the prefix is written, but for the link of `set-default`.

use std::fs::{self, File};
use std::path::{Component as Part, Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};
use walkdir::WalkDir;

use super::manifest::Manifest;
use super::{alternatives, manifest};

/// What an overlay is called while it is removed.
const OLD: &str = "old";
/// What a new one is called, or the one that it has replaced; and while it is copied.
const NEW: &str = "new";
const COPY: &str = "copy";

/// Directories of the system, and those that hold other people's. An overlay is a directory of
/// its own in one of the latter.
const OF_THE_SYSTEM: [&str; 12] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr",
    "/var",
];
const SHARED: [&str; 8] = ["/", "/home", "/mnt", "/opt", "/root", "/srv", "/tmp", "/usr/local"];
/// Below these an overlay may be all the same.
const FREE: [&str; 4] = ["/usr/local", "/var/tmp", "/var/lib", "/run/user"];

/// The prefix as an absolute path, if an overlay may be there.
///
/// # Errors
/// Where it may not: why.
pub(super) fn allowed(prefix: &Path) -> Result<PathBuf> {
    let refuse = |why: String| Err(anyhow::anyhow!("--prefix '{}': {why}", prefix.display()));
    let absolute = std::path::absolute(prefix).with_context(|| "--prefix: no directory")?;
    // Without a slash at its end, with which a link is not seen as one.
    let absolute: PathBuf = absolute.components().collect();
    let Some(text) = absolute.to_str() else {
        return refuse("is not UTF-8".into());
    };
    if let Some(bad) = text.chars().find(|c| ":;$\"\\".contains(*c) || c.is_control()) {
        return refuse(format!("the loader cannot have {bad:?} in LD_LIBRARY_PATH"));
    }
    if absolute.components().any(|part| part == Part::ParentDir) {
        return refuse("has '..' in it".into());
    }
    // What it is called by links counts too.
    let real = real(&absolute);
    let home = std::env::var_os("HOME").map(PathBuf::from);
    for path in [&absolute, &real] {
        let is_free = FREE.iter().any(|free| path.starts_with(free) && path != Path::new(free));
        let of_the_system = OF_THE_SYSTEM.iter().any(|of| path.starts_with(of)) && !is_free;
        let holds_others = SHARED.iter().any(|of| path == Path::new(of))
            || home.as_ref().is_some_and(|home| home.starts_with(path));
        if of_the_system || holds_others {
            return refuse("belongs to the system or holds other files: name a directory of its own, such as /opt/rocm-patched-6.4.3".into());
        }
    }
    if absolute == Path::new(alternatives::DEFAULT_LINK) {
        return refuse("is a link to the ROCm that is used by default: name another directory, and point the link to it by `rdnafix build set-default`".into());
    }
    if let Ok(target) = fs::read_link(&absolute) {
        return refuse(format!("is a link: name what it leads to, {}", target.display()));
    }
    Ok(absolute)
}

/// With the links of those directories resolved that are there.
fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|part| Some((part, fs::canonicalize(part).ok()?)));
    there.map_or_else(
        || path.to_owned(),
        |(part, real)| match path.strip_prefix(part) {
            Ok(rest) if rest != Path::new("") => real.join(rest),
            _ => real,
        },
    )
}

/// The script that puts an overlay first, for one shell.
pub(super) fn script(prefix: &Path) -> String {
    let quoted = prefix.join("lib").display().to_string().replace('\'', r"'\''");
    format!(
        "# Puts the libraries of this overlay before those of the system, for this shell:\n\
         # . env.sh\n\
         case \":${{LD_LIBRARY_PATH-}}:\" in\n\
         *:'{quoted}':*) ;;\n\
         *) export LD_LIBRARY_PATH='{quoted}'\"${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\" ;;\n\
         esac\n"
    )
}

/// That an overlay can be installed there, before hours of work rather than after them.
///
/// # Errors
/// A prefix that is not ours or was touched, or that cannot be written.
pub(super) fn ready(prefix: &Path) -> Result<()> {
    if let Some(before) = manifest::read(prefix)? {
        before.expect_untouched(prefix)?;
    }
    let there = prefix.ancestors().skip(1).find(|part| part.exists()).context("/ is there")?;
    nix::unistd::access(there, nix::unistd::AccessFlags::W_OK)
        .with_context(|| cannot_write(prefix, there))
}

fn cannot_write(prefix: &Path, directory: &Path) -> String {
    format!(
        "--prefix '{}': cannot write to {}; run this as a user who can, or name a prefix elsewhere",
        prefix.display(),
        directory.display()
    )
}

/// What an interrupted installation leaves beside the prefix begins so.
fn scratch(prefix: &Path) -> String {
    format!(".{}.rdnafix-", prefix.file_name().unwrap_or_default().display())
}

/// Puts a stage in the place of the prefix in one step.
///
/// # Errors
/// Where the prefix is not ours or was touched, or cannot be written: it is as before then.
pub(super) fn install(stage: &Path, prefix: &Path) -> Result<()> {
    let parent = prefix.parent().context("a prefix has a parent")?;
    let _lock = own(prefix, parent)?;
    let before = manifest::read(prefix)?;
    if let Some(before) = &before {
        before.expect_untouched(prefix)?;
    }
    let mut part = tempfile::Builder::new()
        .prefix(&scratch(prefix))
        .tempdir_in(parent)
        .with_context(|| cannot_write(prefix, parent))?;
    let (unfinished, new) = (part.path().join(COPY), part.path().join(NEW));
    copy(stage, &unfinished)?;
    fs::rename(&unfinished, &new)?;
    if !prefix.exists() {
        return fs::rename(&new, prefix)
            .with_context(|| format!("cannot rename to {}", prefix.display()));
    }
    let exchange = || {
        renameat2(AT_FDCWD, &new, AT_FDCWD, prefix, RenameFlags::RENAME_EXCHANGE)
            .with_context(|| format!("cannot switch {}", prefix.display()))
    };
    exchange()?;
    // The old one is `new` now. What came into it since it was looked at is somebody's.
    part.disable_cleanup(true);
    if let Some(before) = &before
        && let Err(touched) = before.expect_untouched(&new)
    {
        exchange()?;
        part.disable_cleanup(false);
        return Err(touched);
    }
    discard(part.path(), &new, before.as_ref())
}

/// Removes a directory that was moved away, by its manifest, and the one that it is in.
fn discard(part: &Path, old: &Path, manifest: Option<&Manifest>) -> Result<()> {
    match manifest {
        Some(manifest) => manifest.remove_from(old)?,
        None => fs::remove_dir(old).with_context(|| format!("cannot remove {}", old.display()))?,
    }
    fs::remove_dir(part).with_context(|| format!("cannot remove {}", part.display()))
}

/// Makes the parent, waits for whoever installs there, and clears away what was interrupted.
fn own(prefix: &Path, parent: &Path) -> Result<Flock<File>> {
    fs::create_dir_all(parent).with_context(|| cannot_write(prefix, parent))?;
    let directory =
        File::open(parent).with_context(|| format!("cannot read {}", parent.display()))?;
    let lock = Flock::lock(directory, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .with_context(|| format!("cannot lock {}", parent.display()))?;
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(&scratch(prefix)) {
            // A copy that was not finished is ours. An overlay goes by its manifest, and what is
            // not in that stays and is named.
            let _ = fs::remove_dir_all(path.join(COPY));
            for part in
                [OLD, NEW].map(|part| path.join(part)).into_iter().filter(|part| part.exists())
            {
                match manifest::read(&part) {
                    Ok(Some(manifest)) => manifest.remove_from(&part)?,
                    _ => fs::remove_dir(&part).with_context(|| {
                        format!(
                            "{}: left by an interrupted command, and not empty: look at it",
                            part.display()
                        )
                    })?,
                }
            }
            fs::remove_dir(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(lock)
}

/// Removes what was installed. Gives how many files.
///
/// # Errors
/// Where the prefix is not ours or was touched: nothing is removed then.
pub(super) fn uninstall(prefix: &Path) -> Result<usize> {
    let prefix = allowed(prefix)?;
    let parent = prefix.parent().context("a prefix has a parent")?;
    if manifest::read(&prefix)?.is_some() {
        nix::unistd::access(parent, nix::unistd::AccessFlags::W_OK)
            .with_context(|| cannot_write(&prefix, parent))?;
    }
    let _lock = if parent.exists() { Some(own(&prefix, parent)?) } else { None };
    let Some(manifest) = manifest::read(&prefix)? else {
        bail!("--prefix '{}': there is nothing", prefix.display());
    };
    manifest.expect_untouched(&prefix)?;
    // In one step: a program that starts meanwhile has both libraries or none.
    let mut part = tempfile::Builder::new()
        .prefix(&scratch(&prefix))
        .tempdir_in(parent)
        .with_context(|| cannot_write(&prefix, parent))?;
    let old = part.path().join(OLD);
    // While the overlay is there: update-alternatives forgets what is gone, and leaves its link.
    let was_an_alternative = alternatives::remove(&prefix)?;
    let moved = fs::rename(&prefix, &old)
        .with_context(|| format!("cannot remove {}", prefix.display()))
        .and_then(|()| {
            // What came into it since it was looked at is somebody's.
            part.disable_cleanup(true);
            manifest.expect_untouched(&old).or_else(|touched| {
                fs::rename(&old, &prefix)
                    .with_context(|| format!("cannot put {} back", old.display()))?;
                part.disable_cleanup(false);
                Err(touched)
            })
        });
    if let Err(why) = moved {
        if was_an_alternative {
            alternatives::set(&prefix)?;
        }
        return Err(why);
    }
    discard(part.path(), &old, Some(&manifest))?;
    Ok(manifest.files.len())
}

/// Copies a tree, and has it on the disk before it takes the place of another one.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in WalkDir::new(from) {
        let entry = entry?;
        let target = to.join(entry.path().strip_prefix(from)?);
        let cannot = || format!("cannot write {}", target.display());
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target).with_context(cannot)?;
        } else if entry.file_type().is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)
                .with_context(cannot)?;
        } else {
            fs::copy(entry.path(), &target).with_context(cannot)?;
            File::open(&target).and_then(|file| file.sync_all()).with_context(cannot)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "prefix_tests.rs"]
mod tests;
