//! The work that builds leave in the cache: listed, and freed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use walkdir::WalkDir;

use super::args::CleanArgs;
use super::{release, steps};
use crate::root;
use crate::stdout::{print, print_json};

/// The directory of a build.
#[derive(Serialize)]
struct Kept {
    name: String,
    path: PathBuf,
    bytes: u64,
}

/// Where all of them are.
///
/// # Errors
/// Where there is no cache.
pub(super) fn directory() -> Result<PathBuf> {
    Ok(root::cache()?.join("build"))
}

/// The name of a build's directory.
pub(super) fn name(release: &str, kind: &str) -> String {
    format!("rocm-{release}-{kind}")
}

fn all() -> Result<Vec<Kept>> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(directory()?).into_iter().flatten() {
        let path = entry?.path();
        if path.join("lock").is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            kept.push(Kept { name, bytes: size(&path), path });
        }
    }
    kept.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(kept)
}

fn size(path: &Path) -> u64 {
    let files = WalkDir::new(path).into_iter().filter_map(Result::ok);
    files
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|data| data.len())
        .sum()
}

/// Says what can be built and what is kept.
///
/// # Errors
/// Where the cache cannot be read.
pub(super) fn list(json: bool) -> Result<()> {
    let (releases, kept) = (release::names(), all()?);
    if json {
        return print(&format!("{}\n", serde_json::json!({ "releases": releases, "kept": kept })));
    }
    let mut text = format!("releases: {}\n", releases.join(", "));
    for kept in &kept {
        let _ = writeln!(
            text,
            "kept: {}: {} MB, {}",
            kept.name,
            kept.bytes / 1_000_000,
            kept.path.display()
        );
    }
    print(&text)
}

/// Removes what is kept, of one release or of all.
///
/// # Errors
/// Where a build is at work there, or it cannot be removed.
pub(super) fn clean(args: &CleanArgs) -> Result<()> {
    let release = args.release.as_deref();
    let mut removed = Vec::new();
    if let Some(release) = release {
        release::named(release)?;
    }
    for kept in all()? {
        let of_it = |release: &str| {
            ["patched", "stock"].iter().any(|kind| kept.name == name(release, kind))
        };
        if release.is_none_or(of_it) {
            let _lock = steps::lock(&kept.path)?;
            fs::remove_dir_all(&kept.path)
                .with_context(|| format!("cannot remove {}", kept.path.display()))?;
            if !args.json {
                print(&format!("removed {}\n", kept.path.display()))?;
            }
            removed.push(kept.path);
        }
    }
    if args.json {
        print_json(&serde_json::json!({ "removed": removed }))?;
    }
    Ok(())
}
