//! How a source tree stands to a series: as it came, patched, half patched, or something else.

use anyhow::{Error, Result};

use super::blob::blob;
use super::series::{self, Series};
use super::tree::Tree;

/// How a tree stands to a series.
#[derive(Debug)]
pub(crate) enum State {
    /// None of the patches is applied, and all can be.
    Stock,
    /// All are applied, and can be taken back.
    Patched,
    /// This many from the start are applied, and the others can be.
    Half(usize),
    /// The tree has other content; what does not fit.
    Other(Error),
}

/// Finds out by applying and taking back in memory.
pub(crate) fn of(tree: &Tree, series: &Series) -> State {
    let count = series.patches.len();
    // A patched tree is told first: a patch that only adds lines may fit a second time.
    for applied in (1..=count).rev() {
        if stands_at(tree, series, applied).is_ok() {
            return if applied == count { State::Patched } else { State::Half(applied) };
        }
    }
    match stands_at(tree, series, 0) {
        Ok(()) => State::Stock,
        Err(error) => State::Other(error),
    }
}

/// The files whose content is not what the series was made for, with the patches taken back that
/// are applied. The patches may fit all the same, at other lines.
///
/// # Errors
/// Where a patch renames a file, which none does.
pub(crate) fn dirty(tree: &Tree, series: &Series) -> Result<Vec<String>> {
    let count = series.patches.len();
    let applied = (0..=count).rev().find(|applied| stands_at(tree, series, *applied).is_ok());
    let mut stock = tree.clone();
    for patch in series.patches[..applied.unwrap_or(0)].iter().rev() {
        stock.revert(patch)?;
    }
    let mut seen = Vec::new();
    let mut dirty = Vec::new();
    for patch in &series.patches {
        for (part, made_for) in patch.files.iter().zip(&patch.made_for) {
            let file = series::path(part)?;
            let other = stock.content(&file).is_some_and(|content| {
                !made_for.is_empty() && !blob(content).starts_with(made_for)
            });
            if other && !seen.contains(&file) {
                dirty.push(file.clone());
            }
            seen.push(file);
        }
    }
    Ok(dirty)
}

fn stands_at(tree: &Tree, series: &Series, applied: usize) -> Result<()> {
    let mut stock = tree.clone();
    for patch in series.patches[..applied].iter().rev() {
        stock.revert(patch)?;
    }
    let mut patched = tree.clone();
    for patch in &series.patches[applied..] {
        patched.apply(patch)?;
    }
    Ok(())
}
