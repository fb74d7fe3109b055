//! The files of a source tree that a series is about, in memory: patches are applied and
//! reversed here, and nothing is written until all of it has worked.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use diffy::patch_set::{FileOperation, FilePatch};

use super::series::{self, Patch, Series};

/// The files by their paths from the root of the component's tree; `None` is no such file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    files: BTreeMap<String, Option<Vec<u8>>>,
}

/// Changes to a tree that are on disk, but not yet in place.
pub(crate) struct Staged {
    written: Vec<(tempfile::NamedTempFile, PathBuf)>,
    removed: Vec<PathBuf>,
}

impl Tree {
    /// What a series is about.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub(crate) fn read(root: &Path, series: &Series) -> Result<Self> {
        let mut files = BTreeMap::new();
        for file in series.files() {
            let file = file?;
            let path = root.join(&file);
            expect_own(root, &path)?;
            let content = match fs::read(&path) {
                Ok(content) => Some(content),
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                {
                    None
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read {}", path.display()));
                }
            };
            files.insert(file, content);
        }
        Ok(Self { files })
    }

    /// Applies a patch, with no fuzz.
    ///
    /// # Errors
    /// The first file and hunk that do not fit; the tree is then as it was.
    pub(crate) fn apply(&mut self, patch: &Patch) -> Result<()> {
        self.change(patch, false)
    }

    /// Takes a patch back.
    ///
    /// # Errors
    /// As for [`Tree::apply`].
    pub(crate) fn revert(&mut self, patch: &Patch) -> Result<()> {
        self.change(patch, true)
    }

    fn change(&mut self, patch: &Patch, back: bool) -> Result<()> {
        let mut files = self.files.clone();
        let parts: Box<dyn Iterator<Item = &FilePatch<'static, [u8]>>> =
            if back { Box::new(patch.files.iter().rev()) } else { Box::new(patch.files.iter()) };
        for part in parts {
            let file = series::path(part)?;
            let before = files.get(&file).cloned().flatten();
            let after =
                changed(part, before, back).with_context(|| format!("{}: {file}", patch.name))?;
            files.insert(file, after);
        }
        self.files = files;
        Ok(())
    }

    /// The content of a file, where there is one.
    pub(crate) fn content(&self, file: &str) -> Option<&[u8]> {
        self.files.get(file)?.as_deref()
    }

    /// What there is of the files that a series adds.
    pub(crate) fn added(&self, series: &Series) -> Vec<String> {
        let parts = series.patches.iter().flat_map(|patch| &patch.files);
        parts
            .filter(|part| matches!(part.operation(), FileOperation::Create(_)))
            .filter_map(|part| series::path(part).ok())
            .filter(|file| self.content(file).is_some())
            .collect()
    }

    /// Writes what differs from `before` beside the files below `root`, so that a full disk or a
    /// directory that cannot be written to loses nothing.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub(crate) fn stage(&self, before: &Self, root: &Path) -> Result<Staged> {
        let mut staged = Staged { written: Vec::new(), removed: Vec::new() };
        for (file, content) in &self.files {
            if before.files.get(file) == Some(content) {
                continue;
            }
            let path = root.join(file);
            let Some(content) = content else {
                staged.removed.push(path);
                continue;
            };
            let stage = || -> Result<_> {
                let directory = path.parent().context("has a directory")?;
                fs::create_dir_all(directory)?;
                let part = tempfile::NamedTempFile::new_in(directory)?;
                fs::write(part.path(), content)?;
                let permissions = path.metadata().map(|file| file.permissions());
                let new_file = || std::os::unix::fs::PermissionsExt::from_mode(0o644);
                fs::set_permissions(part.path(), permissions.unwrap_or_else(|_| new_file()))?;
                Ok(part)
            };
            let part = stage().with_context(|| format!("cannot write {}", path.display()))?;
            staged.written.push((part, path));
        }
        Ok(staged)
    }
}

impl Staged {
    /// Renames the new files into place and removes the others: which they are.
    ///
    /// # Errors
    /// Where that fails, which is not expected in a directory that a file was just written to.
    pub(crate) fn commit(self) -> Result<Vec<PathBuf>> {
        let mut done = Vec::new();
        for (part, path) in self.written {
            part.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
            done.push(path);
        }
        for path in self.removed {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            done.push(path);
        }
        Ok(done)
    }
}

/// That a file, where it is there, is the tree's own: a link would be replaced, or lead out of
/// the tree, and reading a pipe would not end.
fn expect_own(root: &Path, path: &Path) -> Result<()> {
    let parts = path.ancestors().take_while(|part| *part != root);
    for part in parts {
        let Ok(about) = part.symlink_metadata() else { continue };
        let as_expected = if part == path { about.is_file() } else { about.is_dir() };
        if !as_expected && (part == path || about.is_symlink()) {
            bail!(
                "{}: is a link or no regular file, which a patch cannot change and give back",
                part.display()
            );
        }
    }
    Ok(())
}

/// One file after a part of a patch; `None` is no file.
fn changed(
    part: &FilePatch<'static, [u8]>,
    before: Option<Vec<u8>>,
    back: bool,
) -> Result<Option<Vec<u8>>> {
    let text = part.patch().as_text().context("a binary patch")?;
    let (makes, removes) = match (part.operation(), back) {
        (FileOperation::Create(_), false) | (FileOperation::Delete(_), true) => (true, false),
        (FileOperation::Create(_), true) | (FileOperation::Delete(_), false) => (false, true),
        _ => (false, false),
    };
    if makes && before.is_some() {
        bail!("is there already");
    }
    let before = match before {
        Some(before) => before,
        None if makes => Vec::new(),
        None => bail!("there is no such file"),
    };
    let text = if back { text.reverse() } else { text.clone() };
    let after = diffy::apply_bytes(&before, &text).map_err(|error| {
        let crlf = before.windows(2).any(|pair| pair == b"\r\n");
        let hint = if crlf { " (the file has CRLF line ends)" } else { "" };
        anyhow!("{error}{hint}")
    })?;
    if removes {
        if !after.is_empty() {
            bail!("has other content than the patch put there");
        }
        return Ok(None);
    }
    Ok(Some(after))
}
