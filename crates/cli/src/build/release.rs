//! What is built for a release, and what the machine must have for it: `releases/*/release.toml`
//! and the tools beside it, embedded. Data only.

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
    /// The commit that the tag must be, where it is known.
    pub(super) commit: Option<String>,
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
}

/// The release of this name.
///
/// # Errors
/// Where it cannot be built: which can.
pub(super) fn named(name: &str) -> Result<Release> {
    let Some(file) = RELEASES.get_file(format!("{name}/release.toml")) else {
        let names: Vec<String> =
            RELEASES.dirs().map(|dir| dir.path().display().to_string()).collect();
        bail!("--release '{name}': what can be built is {}", names.join(", "));
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
            }
            for need in &release.needs {
                assert!(need.command.is_some() != need.file.is_some(), "{}", need.package);
            }
        }
        assert!(named("4.5").unwrap_err().to_string().contains("6.4.3"));
    }
}
