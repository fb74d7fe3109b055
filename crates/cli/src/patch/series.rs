//! The patch series that come with this command: `patches/COMPONENT/VERSION/series` and the
//! patches that it lists, embedded. Reads them only; nothing here touches a source tree.

use anyhow::{Context, Result, bail};
use diffy::patch_set::{FileOperation, FilePatch, ParseOptions, PatchSet};
use include_dir::{Dir, include_dir};

pub(super) static PATCHES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../patches");

/// A series: what is applied to one version of one component.
#[derive(Debug)]
pub(crate) struct Series {
    /// `clr`, `rocr-runtime`, ...
    pub(crate) component: String,
    /// The version that it was made for.
    pub(crate) version: String,
    pub(crate) patches: Vec<Patch>,
}

/// One patch of a series.
#[derive(Debug)]
pub(crate) struct Patch {
    /// Its file name.
    pub(crate) name: String,
    /// Its `Subject:`, without `[PATCH]`.
    pub(crate) subject: String,
    pub(crate) text: &'static [u8],
    pub(crate) files: Vec<FilePatch<'static, [u8]>>,
    /// For each of them what git calls the content that it was made for; empty where it does not
    /// say.
    pub(crate) made_for: Vec<String>,
}

impl Series {
    /// `clr/6.4.3`
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.component, self.version)
    }

    /// Every file that the series changes or makes, once.
    pub(crate) fn files(&self) -> impl Iterator<Item = Result<String>> {
        let mut paths: Vec<Result<String>> = Vec::new();
        for part in self.patches.iter().flat_map(|patch| &patch.files) {
            let file = path(part);
            let known = |other: &Result<String>| matches!((other, &file), (Ok(a), Ok(b)) if a == b);
            if !paths.iter().any(known) {
                paths.push(file);
            }
        }
        paths.into_iter()
    }
}

/// The file that a part of a patch is about, from the root of the component's tree.
///
/// # Errors
/// Where it renames or copies, which no patch here does.
pub(crate) fn path(part: &FilePatch<'static, [u8]>) -> Result<String> {
    let file = match part.operation().strip_prefix(1) {
        FileOperation::Create(file) | FileOperation::Delete(file) => file,
        FileOperation::Modify { original, modified } if original == modified => modified,
        other => bail!("a patch may not rename or copy: {other:?}"),
    };
    Ok(String::from_utf8_lossy(&file).into_owned())
}

/// All series, by component and version.
///
/// # Errors
/// Where a file is not a patch, which a test rules out.
pub(crate) fn all() -> Result<Vec<Series>> {
    let mut all = Vec::new();
    for component in PATCHES.dirs() {
        for version in component.dirs() {
            let Some(list) = version.get_file(version.path().join("series")) else { continue };
            let name = |dir: &Dir<'_>| {
                dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
            };
            let list = list.contents_utf8().context("a series is text")?;
            let patches = list
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(|patch| {
                    let file = version.get_file(version.path().join(patch));
                    let file = file.with_context(|| {
                        format!("{patch}: the series names it, and it is not there")
                    })?;
                    parse(patch, file.contents())
                        .with_context(|| format!("{}/{patch}", version.path().display()))
                })
                .collect::<Result<_>>()?;
            all.push(Series { component: name(component), version: name(version), patches });
        }
    }
    all.sort_by(|a, b| (&a.component, &a.version).cmp(&(&b.component, &b.version)));
    Ok(all)
}

pub(super) fn parse(name: &str, text: &'static [u8]) -> Result<Patch> {
    let files = PatchSet::parse_bytes(text, ParseOptions::gitdiff())
        .collect::<Result<Vec<_>, _>>()
        .context("not a patch")?;
    if files.is_empty() {
        bail!("changes no file");
    }
    let head = String::from_utf8_lossy(text);
    let subject = head.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or(name);
    let subject = subject.split_once("] ").map_or(subject, |(_, subject)| subject);
    let made_for = head
        .split("\ndiff --git ")
        .skip(1)
        .map(|part| {
            let index = part.lines().find_map(|line| line.strip_prefix("index "));
            let old = index.and_then(|index| index.split_once("..")).map(|(old, _)| old);
            old.unwrap_or_default().to_owned()
        })
        .collect();
    Ok(Patch { name: name.to_owned(), subject: subject.to_owned(), text, files, made_for })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_read_and_names_files_within_the_tree() {
        for series in all().unwrap() {
            assert!(!series.patches.is_empty(), "{}", series.name());
            for file in series.files() {
                let file = file.unwrap();
                assert!(!file.starts_with('/') && !file.contains(".."), "{file}");
            }
        }
    }

    #[test]
    fn what_is_no_patch_is_refused() {
        assert!(parse("a", b"Subject: [PATCH] nothing\n").is_err());
        let text =
            b"Subject: [PATCH 1/2] clr: say so\n---\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1,2 @@\n one\n+two\n";
        let patch = parse("a", text).unwrap();
        assert_eq!(patch.subject, "clr: say so");
        assert_eq!(path(&patch.files[0]).unwrap(), "f");
    }
}
