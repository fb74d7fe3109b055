//! `rdnafix patch`: the source patches, and a source tree that they are applied to.

mod args;
mod find;
pub(crate) mod port;
pub(crate) mod series;
mod state;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;

pub(crate) use self::args::PatchArgs;
use self::args::{CreateArgs, PatchCommand, SourceArgs};
use self::find::Found;
use self::series::Series;
use self::state::State;
use self::tree::Tree;
use crate::stdout::print;

/// Does it.
///
/// # Errors
/// A tree that no series fits, or that is not in the state that is needed; a file that cannot
/// be read or written.
pub(crate) fn patch(args: &PatchArgs) -> Result<ExitCode> {
    let all = series::all()?;
    let report = match &args.command {
        PatchCommand::List(args) => return list(&all, args.json),
        PatchCommand::Create(args) => return create(args),
        PatchCommand::Verify(args) => verify(&all, args)?,
        PatchCommand::Apply(args) => switch(&all, args, Direction::Apply)?,
        PatchCommand::Revert(args) => switch(&all, args, Direction::Revert)?,
    };
    let (PatchCommand::Verify(source) | PatchCommand::Apply(source) | PatchCommand::Revert(source)) =
        &args.command
    else {
        return Ok(ExitCode::SUCCESS);
    };
    if source.json {
        print(&format!("{}\n", serde_json::to_string(&report)?))?;
    } else {
        let mut text = String::new();
        for done in &report {
            let _ = writeln!(text, "{}: {}: {}", done.series, done.root.display(), done.what);
        }
        print(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Applies a series to a fresh tree.
///
/// # Errors
/// Where a patch does not fit; nothing is written then.
pub(crate) fn apply_series(series: &Series, root: &Path) -> Result<()> {
    let tree = Tree::read(root, series)?;
    let mut new = tree.clone();
    all_patches(&mut new, series, Direction::Apply).with_context(|| series.name())?;
    new.write(&tree, root).map(drop)
}

/// What was found or done for one component.
#[derive(Serialize)]
struct Done {
    series: String,
    root: PathBuf,
    /// Before: `stock`, `patched`.
    state: &'static str,
    what: String,
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Apply,
    Revert,
}

fn list(all: &[Series], json: bool) -> Result<ExitCode> {
    #[derive(Serialize)]
    struct Listed<'a> {
        component: &'a str,
        version: &'a str,
        patches: Vec<[&'a str; 2]>,
    }
    if json {
        let listed: Vec<Listed<'_>> = all
            .iter()
            .map(|series| Listed {
                component: &series.component,
                version: &series.version,
                patches: series
                    .patches
                    .iter()
                    .map(|patch| [&patch.name[..], &patch.subject])
                    .collect(),
            })
            .collect();
        print(&format!("{}\n", serde_json::to_string(&listed)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for series in all {
        let _ = writeln!(text, "{}", series.name());
        for patch in &series.patches {
            let _ = writeln!(text, "  {}\n      {}", patch.name, patch.subject);
        }
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the series of a component for a tree, and checks it before it writes it.
fn create(args: &CreateArgs) -> Result<ExitCode> {
    if args.out.exists() {
        bail!("--out '{}': is there already; name a directory that is not", args.out.display());
    }
    let parent = std::path::absolute(&args.out)?.parent().map(Path::to_owned).unwrap_or_default();
    let version = args.version.as_deref().unwrap_or("as given with --source");
    let made =
        port::create(&args.component, &args.source, &format!("{} {version}", args.component))?;
    let mut series = Series {
        component: args.component.clone(),
        version: version.to_owned(),
        patches: Vec::new(),
    };
    for patch in &made {
        // The parser borrows what it reads for as long as an embedded patch lives.
        series.patches.push(series::parse(&patch.name, patch.text.clone().leak())?);
    }
    let tree = Tree::read(&args.source, &series)?;
    there_and_back(&tree, &series, Direction::Apply).context("the new patches do not apply")?;

    let stage = tempfile::tempdir_in(&parent).with_context(|| {
        format!("--out '{}': cannot write to {}", args.out.display(), parent.display())
    })?;
    let mut list = String::new();
    for patch in &made {
        std::fs::write(stage.path().join(&patch.name), &patch.text)?;
        let _ = writeln!(list, "{}", patch.name);
    }
    std::fs::write(stage.path().join("series"), &list)?;
    // A temporary directory is private; this one is a result.
    std::fs::set_permissions(stage.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    std::fs::rename(stage.path(), &args.out)
        .with_context(|| format!("--out '{}': cannot be made", args.out.display()))?;
    print(&format!(
        "{}: {} patches; apply them with patch -p1 in {}\n",
        args.out.display(),
        made.len(),
        args.source.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Applies to a copy, takes back and compares; writes nothing.
fn verify(all: &[Series], args: &SourceArgs) -> Result<Vec<Done>> {
    for_each_component(all, args, |found, tree, state| {
        let (state, changed) = match state {
            State::Stock => ("stock", there_and_back(tree, found.series, Direction::Apply)?),
            State::Patched => ("patched", there_and_back(tree, found.series, Direction::Revert)?),
            other => bail!(complain(found, other)),
        };
        let what = match state {
            "stock" => format!("not patched; {changed} patches apply and reverse without a trace"),
            _ => format!("patched; {changed} patches reverse and apply without a trace"),
        };
        Ok(Done {
            series: found.series.name(),
            root: found.root.clone(),
            state,
            what,
            files: Vec::new(),
        })
    })
}

/// Applies or takes back all patches of a series in memory, and then does the opposite.
fn there_and_back(tree: &Tree, series: &Series, first: Direction) -> Result<usize> {
    let mut copy = tree.clone();
    all_patches(&mut copy, series, first)?;
    let second = if first == Direction::Apply { Direction::Revert } else { Direction::Apply };
    all_patches(&mut copy, series, second)?;
    if copy != *tree {
        bail!("{}: applied and reversed, the tree is not what it was", series.name());
    }
    Ok(series.patches.len())
}

fn all_patches(tree: &mut Tree, series: &Series, direction: Direction) -> Result<()> {
    match direction {
        Direction::Apply => series.patches.iter().try_for_each(|patch| tree.apply(patch)),
        Direction::Revert => series.patches.iter().rev().try_for_each(|patch| tree.revert(patch)),
    }
}

fn switch(all: &[Series], args: &SourceArgs, direction: Direction) -> Result<Vec<Done>> {
    for_each_component(all, args, |found, tree, state| {
        let name = found.series.name();
        let done = |state, what: String, files| Done {
            series: name.clone(),
            root: found.root.clone(),
            state,
            what,
            files,
        };
        let state = match (state, direction) {
            (State::Stock, Direction::Apply) => "stock",
            (State::Patched, Direction::Revert) => "patched",
            (State::Stock, Direction::Revert) => {
                return Ok(done("stock", "is not patched: nothing to do".into(), Vec::new()));
            }
            (State::Patched, Direction::Apply) => {
                return Ok(done("patched", "is patched already: nothing to do".into(), Vec::new()));
            }
            (other, _) => bail!(complain(found, other)),
        };
        let mut new = tree.clone();
        all_patches(&mut new, found.series, direction)?;
        let files = new.write(tree, &found.root)?;
        let verb = if direction == Direction::Apply { "applied" } else { "reversed" };
        let what = format!("{} patches {verb}, {} files", found.series.patches.len(), files.len());
        Ok(done(state, what, files))
    })
}

/// Does something with the series that fits best for each component in the source.
fn for_each_component(
    all: &[Series],
    args: &SourceArgs,
    mut act: impl FnMut(&Found<'_>, &Tree, State) -> Result<Done>,
) -> Result<Vec<Done>> {
    let candidates = find::candidates(&args.source, all, args.series.as_deref())?;
    let mut components: Vec<&str> =
        candidates.iter().map(|found| &found.series.component[..]).collect();
    components.dedup();
    let mut done = Vec::new();
    for component in components {
        let of_it = candidates.iter().filter(|found| found.series.component == component);
        let mut tried = Vec::new();
        for found in of_it {
            let tree = Tree::read(&found.root, found.series)?;
            let state = state::of(&tree, found.series);
            tried.push((found, tree, state));
        }
        // The newest that fits; else the newest that is half applied; else say why none fits.
        let rank = |state: &State| match state {
            State::Stock | State::Patched => 2,
            State::Half(_) => 1,
            State::Other(_) => 0,
        };
        let best = tried
            .into_iter()
            .max_by_key(|(_, _, state)| rank(state))
            .context("a series is there")?;
        let (found, tree, state) = best;
        done.push(act(found, &tree, state)?);
    }
    Ok(done)
}

fn complain(found: &Found<'_>, state: State) -> anyhow::Error {
    let (name, root) = (found.series.name(), found.root.display());
    match state {
        State::Half(applied) => {
            let patches = &found.series.patches;
            anyhow!(
                "{name}: {root} is half patched: {} of {} patches are applied, up to {}; reverse \
                 them (patch -R) or take a fresh tree",
                applied,
                patches.len(),
                patches[applied - 1].name
            )
        }
        State::Other(error) => error.context(format!(
            "{name}: {root} is another version, or was changed: nothing is written; \
             `rdnafix patch create` makes a series for it",
        )),
        State::Stock | State::Patched => anyhow!("{name}: {root}: not in the state that is needed"),
    }
}
