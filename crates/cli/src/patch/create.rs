//! `rdnafix patch create`: writes the series that [`port`] makes for a tree, after it has been
//! applied and taken back.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::args::CreateArgs;
use super::series::{self, Series};
use super::tree::Tree;
use super::{Direction, port, there_and_back};
use crate::stdout::{print, print_json};

/// Makes the series of a component for a tree, and checks it before it writes it.
///
/// # Errors
/// Where the tree is not as the hooks expect, or `--out` is there or cannot be made; nothing is
/// written then.
pub(super) fn create(args: &CreateArgs) -> Result<ExitCode> {
    let out = args.out.display();
    if args.out.symlink_metadata().is_ok() {
        bail!("--out '{out}': is there already; name a directory that is not");
    }
    let parent = std::path::absolute(&args.out)?;
    let parent = parent.parent().with_context(|| format!("--out '{out}': is no directory"))?;
    let within = |parent: PathBuf| {
        fs::canonicalize(&args.source).is_ok_and(|source| parent.starts_with(source))
    };
    if fs::canonicalize(parent).is_ok_and(within) {
        bail!("--out '{out}': is in the tree of --source; name a directory elsewhere");
    }
    let version = args.version.as_deref().unwrap_or_default();
    if !version.chars().all(|c| c.is_ascii_graphic()) {
        bail!("--version '{}': a version is one word", version.escape_default());
    }
    let applies_to = format!("{} {version}", args.component);
    let port = port::create(&args.component, &args.source, applies_to.trim_end())?;
    let mut series = Series {
        component: args.component.clone(),
        version: version.to_owned(),
        patches: Vec::new(),
    };
    for patch in &port.patches {
        // The parser borrows what it reads for as long as an embedded patch lives.
        series.patches.push(series::parse(&patch.name, patch.text.clone().leak())?);
    }
    let tree = Tree::read(&args.source, &series)?;
    there_and_back(&tree, &series, Direction::Apply).context("the new patches do not apply")?;

    let stage = tempfile::tempdir_in(parent)
        .with_context(|| format!("--out '{out}': cannot write to {}", parent.display()))?;
    let mut list = String::new();
    for patch in &port.patches {
        fs::write(stage.path().join(&patch.name), &patch.text)?;
        let _ = writeln!(list, "{}", patch.name);
    }
    fs::write(stage.path().join("series"), &list)?;
    // A temporary directory is private; this one is a result.
    fs::set_permissions(stage.path(), PermissionsExt::from_mode(0o755))?;
    fs::rename(stage.path(), &args.out)
        .with_context(|| format!("--out '{out}': cannot be made"))?;

    if args.json {
        let patches = series.patches.iter().map(|patch| [&patch.name[..], &patch.subject]);
        print_json(&json!({
            "component": args.component,
            "version": args.version,
            "source": args.source,
            "out": args.out,
            "patches": patches.collect::<Vec<_>>(),
            "left_out": port.left_out,
            "already_there": port.there,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut said = String::new();
    for function in &port.left_out {
        let _ = writeln!(said, "left out, the tree has no use for it: {function}");
    }
    for subject in &port.there {
        let _ = writeln!(said, "left out, the tree has it already: {subject}");
    }
    let _ = writeln!(
        said,
        "{out}: {} patches; apply them with patch -p1 in {}",
        port.patches.len(),
        args.source.display()
    );
    print(&said)?;
    Ok(ExitCode::SUCCESS)
}
