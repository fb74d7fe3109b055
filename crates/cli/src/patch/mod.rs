//! `rdnafix patch`: the source patches, and a source tree that they are applied to.

mod args;
mod blob;
mod create;
mod find;
mod held;
pub(crate) mod port;
pub(crate) mod series;
mod state;
#[cfg(test)]
mod tests;
mod tree;

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;

pub(crate) use self::args::PatchArgs;
use self::args::{PatchCommand, SourceArgs};
use self::find::Found;
use self::held::Held;
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
        PatchCommand::Create(args) => return create::create(args),
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
            for file in &done.dirty {
                let _ =
                    writeln!(text, "  {file} is not the release's; the patches fit all the same");
            }
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
    let _held = Held::new()?;
    new.stage(&tree, root)?.commit().map(drop)
}

/// What was found or done for one component.
#[derive(Serialize)]
struct Done {
    series: String,
    root: PathBuf,
    /// Before: `stock`, `half patched`, `patched`.
    state: &'static str,
    what: String,
    /// Written or removed.
    files: Vec<PathBuf>,
    /// Files that are not what the series was made for, patches apart.
    dirty: Vec<String>,
}

/// What is to be written for one component, if anything, and what to say of it then.
struct Step {
    after: Option<Tree>,
    done: Done,
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

/// Applies to a copy, takes back and compares; writes nothing.
fn verify(all: &[Series], args: &SourceArgs) -> Result<Vec<Done>> {
    for_each_component(all, args, |found, tree, state| {
        let (name, what) = match state {
            State::Stock => {
                let count = there_and_back(tree, found.series, Direction::Apply)?;
                ("stock", format!("not patched; {count} patches apply and reverse without a trace"))
            }
            State::Patched => {
                let count = there_and_back(tree, found.series, Direction::Revert)?;
                ("patched", format!("patched; {count} patches reverse and apply without a trace"))
            }
            other => bail!(complain(found, tree, other)),
        };
        step(found, tree, name, what, None)
    })
}

fn step(
    found: &Found<'_>,
    tree: &Tree,
    state: &'static str,
    what: String,
    after: Option<Tree>,
) -> Result<Step> {
    let done = Done {
        series: found.series.name(),
        root: found.root.clone(),
        state,
        what,
        files: Vec::new(),
        dirty: state::dirty(tree, found.series)?,
    };
    Ok(Step { after, done })
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
        let patches = &found.series.patches;
        let mut new = tree.clone();
        let (state, what, after) = match (state, direction) {
            (State::Stock, Direction::Apply) => {
                all_patches(&mut new, found.series, direction)?;
                ("stock", format!("{} patches applied", patches.len()), Some(new))
            }
            (State::Patched, Direction::Revert) => {
                all_patches(&mut new, found.series, direction)?;
                ("patched", format!("{} patches reversed", patches.len()), Some(new))
            }
            (State::Half(applied), Direction::Revert) => {
                patches[..applied].iter().rev().try_for_each(|patch| new.revert(patch))?;
                let what = format!("{applied} of {} patches reversed", patches.len());
                ("half patched", what, Some(new))
            }
            (State::Stock, Direction::Revert) => {
                ("stock", "is not patched: nothing to do".to_owned(), None)
            }
            (State::Patched, Direction::Apply) => {
                ("patched", "is patched already: nothing to do".to_owned(), None)
            }
            (other, _) => bail!(complain(found, tree, other)),
        };
        step(found, tree, state, what, after)
    })
}

/// Does something with the series that fits best for each component in the source. Nothing is
/// written before it has worked for all of them.
fn for_each_component(
    all: &[Series],
    args: &SourceArgs,
    mut act: impl FnMut(&Found<'_>, &Tree, State) -> Result<Step>,
) -> Result<Vec<Done>> {
    let candidates = find::candidates(&args.source, all, args.series.as_deref())?;
    // Before what is staged, so that it is dropped after it.
    let _held = Held::new()?;
    let mut done = Vec::new();
    let mut staged = Vec::new();
    for of_it in candidates.chunk_by(|a, b| a.series.component == b.series.component) {
        let mut tried = Vec::new();
        for found in of_it {
            let tree = Tree::read(&found.root, found.series)?;
            let state = state::of(&tree, found.series);
            let rank = match &state {
                State::Stock | State::Patched => 2,
                State::Half(_) => 1,
                State::Other(_) => 0,
            };
            let other = state::dirty(&tree, found.series)?.len();
            tried.push(((rank, Reverse(other)), found, tree, state));
        }
        // What fits; else what is half applied; else why the one for most of these files does not.
        let best = tried.into_iter().max_by_key(|(rank, ..)| *rank).context("a series is there")?;
        let (_, found, tree, state) = best;
        let step = act(found, &tree, state)?;
        if let Some(after) = step.after {
            staged.push((done.len(), after.stage(&tree, &found.root)?));
        }
        done.push(step.done);
    }
    for (index, staged) in staged {
        let done: &mut Done = &mut done[index];
        done.files = staged.commit()?;
        let _ = write!(done.what, ", {} files", done.files.len());
    }
    Ok(done)
}

fn complain(found: &Found<'_>, tree: &Tree, state: State) -> anyhow::Error {
    let (name, root) = (found.series.name(), found.root.display());
    match state {
        State::Half(applied) => {
            let patches = &found.series.patches;
            anyhow!(
                "{name}: {root} is half patched: {applied} of {} patches are applied, up to {}; \
                 `rdnafix patch revert` takes these back",
                patches.len(),
                patches[applied - 1].name
            )
        }
        State::Other(error) => {
            let added = tree.added(found.series);
            let why = if added.is_empty() && port::is_there_for(&found.series.component) {
                "is another version, or was changed: nothing is written; `rdnafix patch create` \
                 makes a series for it"
                    .to_owned()
            } else if added.is_empty() {
                "is another version than there is a series for, or was changed: nothing is written"
                    .to_owned()
            } else {
                format!(
                    "has {}: it is patched in part or by other patches than these: nothing is \
                     written; take a fresh tree",
                    added.join(", ")
                )
            };
            error.context(format!("{name}: {root} {why}"))
        }
        State::Stock | State::Patched => anyhow!("{name}: {root}: not in the state that is needed"),
    }
}
