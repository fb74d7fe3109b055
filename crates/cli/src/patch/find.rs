//! Finding a component's tree below the directory that the user named: the tree itself, or a
//! monorepo that holds it.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::series::Series;

/// Where the trees of components are below a monorepo's root: ROCm/rocm-systems has
/// `projects/clr`, a checkout of several repositories has `clr` or `ROCR-Runtime`.
const BELOW: [&str; 8] = [
    "",
    "clr",
    "rocr-runtime",
    "ROCR-Runtime",
    "projects/clr",
    "projects/rocr-runtime",
    "rocm-systems/projects/clr",
    "rocm-systems/projects/rocr-runtime",
];

/// A tree that some series may be about.
pub(crate) struct Found<'a> {
    pub(crate) root: PathBuf,
    pub(crate) series: &'a Series,
}

/// Every series with the tree that has its files.
///
/// # Errors
/// Where the directory is none, or none of the series is about anything in it.
pub(crate) fn candidates<'a>(
    source: &Path,
    all: &'a [Series],
    only: Option<&str>,
) -> Result<Vec<Found<'a>>> {
    if !source.is_dir() {
        bail!("--source '{}': is no directory", source.display());
    }
    let wanted = |series: &&Series| {
        only.is_none_or(|only| only == series.component || only == series.name())
    };
    let mut found = Vec::new();
    for series in all.iter().filter(wanted) {
        // Joined with nothing it would end with a slash.
        let root =
            |below: &&str| if below.is_empty() { source.to_owned() } else { source.join(below) };
        let roots = BELOW.iter().map(root);
        if let Some(root) = roots.into_iter().find(|root| has_a_file(root, series)) {
            found.push(Found { root, series });
        }
    }
    if found.is_empty() {
        let names = all.iter().map(Series::name).collect::<Vec<_>>().join(", ");
        match only {
            Some(only) if !all.iter().any(|series| wanted(&series)) => {
                bail!("there is no series '{only}'; there are {names}")
            }
            _ => bail!(
                "--source '{}': has no file that a series ({names}) changes; name the root of \
                 the component's source tree, or of a monorepo with it",
                source.display()
            ),
        }
    }
    Ok(found)
}

fn has_a_file(root: &Path, series: &Series) -> bool {
    series.files().flatten().any(|file| root.join(file).is_file())
}
