//! How a source tree stands to a series: as it came, patched, half patched, or something else.

use anyhow::{Error, Result};

use super::series::Series;
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
    for applied in (0..=count).rev() {
        if stands_at(tree, series, applied).is_ok() {
            return match applied {
                0 => State::Stock,
                _ if applied == count => State::Patched,
                _ => State::Half(applied),
            };
        }
    }
    match stands_at(tree, series, 0) {
        Err(error) => State::Other(error),
        Ok(()) => State::Stock,
    }
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
