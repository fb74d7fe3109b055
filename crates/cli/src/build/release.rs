//! What is built for a release, from what, and what the machine must have for it:
//! `releases/*/release.toml` and the files beside it, embedded. Data only.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use include_dir::{Dir, include_dir};
use serde::Deserialize;

static RELEASES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/releases");

/// A release that can be built.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Release {
    #[serde(rename = "release")]
    pub(super) name: String,
    /// The HIP headers' file VERSION, with slashes for its lines.
    pub(super) hip_version: String,
    pub(super) component: Vec<Component>,
    pub(super) needs: Vec<Need>,
}

/// One library and where its source comes from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Component {
    pub(super) name: String,
    /// The patches: a directory of `patches/`.
    pub(super) series: String,
    /// Debian's source package, and its upstream tarball.
    pub(super) package: String,
    pub(super) tarball: String,
    pub(super) sha256: String,
    /// Upstream's repository and tag.
    pub(super) git: String,
    pub(super) tag: String,
    /// How the tag's commit began when the record was made.
    pub(super) commit: String,
    /// The target of the build.
    pub(super) target: String,
    /// The library by its soname.
    pub(super) library: String,
    /// Arguments of cmake.
    pub(super) configure: Vec<String>,
}

/// Something that must be on the machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Need {
    pub(super) command: Option<String>,
    pub(super) file: Option<String>,
    pub(super) package: String,
    /// What the file must contain, or `COMMAND --version` say.
    #[serde(default)]
    pub(super) says: Vec<String>,
}

impl Need {
    /// The command or the file.
    pub(super) fn what(&self) -> &str {
        self.command.as_deref().or(self.file.as_deref()).unwrap_or_default()
    }
}

impl Component {
    /// The directory that upstream's repository is cloned to by default.
    pub(super) fn repository(&self) -> &str {
        self.git.rsplit('/').next().unwrap_or_default()
    }
}

/// The releases that can be built.
pub(super) fn names() -> Vec<String> {
    RELEASES.dirs().map(|dir| dir.path().display().to_string()).collect()
}

/// The release of this name.
///
/// # Errors
/// Where it cannot be built: which can.
pub(super) fn named(name: &str) -> Result<Release> {
    let Some(file) = RELEASES.get_file(format!("{name}/release.toml")) else {
        bail!("--release '{name}': what can be built is {}", names().join(", "));
    };
    let text = file.contents_utf8().context("text")?;
    toml::from_str(text).with_context(|| format!("releases/{name}/release.toml"))
}

/// The files in the release's `tools`: their names and contents.
pub(super) fn tools(name: &str) -> impl Iterator<Item = (String, &'static [u8])> {
    let files = RELEASES.get_dir(format!("{name}/tools")).map(Dir::files);
    files.into_iter().flatten().map(|file| {
        let name = file.path().file_name().unwrap_or_default();
        (name.to_string_lossy().into_owned(), file.contents())
    })
}

/// The record of a component's source, in the form of sha256sum(1): every file that is built
/// from, its path from the root of the tree, and its SHA-256.
///
/// # Errors
/// Where there is none, which a test rules out.
pub(super) fn record(
    release: &str,
    component: &str,
) -> Result<BTreeMap<&'static str, &'static str>> {
    let name = format!("{release}/{component}.sha256");
    let file = RELEASES.get_file(&name).with_context(|| format!("there is no releases/{name}"))?;
    let lines = file.contents_utf8().context("a record is text")?.lines();
    lines
        .map(|line| line.split_once("  ").map(|(hash, path)| (path, hash)))
        .collect::<Option<_>>()
        .with_context(|| format!("releases/{name} is not what sha256sum writes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::series;

    #[test]
    fn every_release_has_its_series_and_says_what_it_needs() {
        let known: Vec<String> = series::all().unwrap().iter().map(series::Series::name).collect();
        for dir in RELEASES.dirs() {
            let name = dir.path().display().to_string();
            let release = named(&name).unwrap();
            assert_eq!(release.name, name);
            for component in &release.component {
                assert!(known.contains(&component.series), "{} of {known:?}", component.series);
                assert_eq!(component.sha256.len(), 64);
                assert!(component.commit.len() >= 7, "{}", component.commit);
                for (path, hash) in record(&name, &component.name).unwrap() {
                    assert!(!path.starts_with('/') && !path.contains(".."), "{path}");
                    assert!(hash.len() == 64, "{path}: {hash}");
                }
            }
            for need in &release.needs {
                assert!(need.command.is_some() != need.file.is_some(), "{}", need.package);
            }
        }
        assert!(named("4.5").unwrap_err().to_string().contains("6.4.3"));
    }
}
