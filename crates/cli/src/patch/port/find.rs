//! Finding the functions of hooks in a source tree, in whichever file they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use super::syntax::{Definition, Signature, Source};

/// Directories of a monorepo or a component that hold no code of the runtime itself.
const NOT_THE_RUNTIME: [&str; 10] = [
    "build",
    "doc",
    "docs",
    "hip-tests",
    "rocrtst",
    "samples",
    "test",
    "tests",
    "unittests",
    "opencl",
];

/// The C++ files of a tree, by their paths from its root.
pub(crate) struct Files {
    root: PathBuf,
    paths: Vec<PathBuf>,
    changed: BTreeMap<PathBuf, Vec<u8>>,
}

/// A function that a hook is about.
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    pub(crate) source: Source,
    pub(crate) function: Definition,
    /// As the hook writes it.
    pub(crate) signature: Signature,
}

impl Files {
    /// Lists a tree.
    ///
    /// # Errors
    /// Where it is no directory, or cannot be read.
    pub(crate) fn of(root: &Path) -> Result<Self> {
        if !root.is_dir() {
            bail!("--source '{}': is no directory", root.display());
        }
        let wanted = |entry: &walkdir::DirEntry| {
            let name = entry.file_name().to_string_lossy();
            let skipped = name.starts_with('.') || NOT_THE_RUNTIME.contains(&&*name);
            entry.depth() == 0 || !(entry.file_type().is_dir() && skipped)
        };
        let mut paths = Vec::new();
        for entry in WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(wanted) {
            let entry = entry.context("cannot read the source tree")?;
            let extension =
                entry.path().extension().unwrap_or_default().to_string_lossy().into_owned();
            if entry.file_type().is_file()
                && ["cpp", "cc", "cxx", "c", "h", "hpp"].contains(&&*extension)
            {
                paths.push(entry.path().strip_prefix(root)?.to_owned());
            }
        }
        Ok(Self { root: root.to_owned(), paths, changed: BTreeMap::new() })
    }

    /// A file as it is by now.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(crate) fn read(&self, file: &Path) -> Result<Vec<u8>> {
        if let Some(text) = self.changed.get(file) {
            return Ok(text.clone());
        }
        let path = self.root.join(file);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Whether the tree has such a file.
    pub(crate) fn has(&self, file: &Path) -> bool {
        self.changed.contains_key(file) || self.root.join(file).exists()
    }

    /// Changes or adds a file, in memory.
    pub(crate) fn set(&mut self, file: PathBuf, text: Vec<u8>) {
        self.changed.insert(file, text);
    }

    /// The files that were changed or added.
    pub(crate) fn changed(&self) -> &BTreeMap<PathBuf, Vec<u8>> {
        &self.changed
    }

    /// A file with this name, anywhere.
    pub(crate) fn named(&self, name: &str) -> Option<&Path> {
        self.paths
            .iter()
            .map(PathBuf::as_path)
            .find(|path| path.file_name().is_some_and(|file| file == name))
    }

    /// The one definition of the first of these functions that the tree defines.
    ///
    /// # Errors
    /// Where it defines none of them, or one in several places, or with other parameters.
    pub(crate) fn function(&self, alternatives: &[String]) -> Result<Place> {
        for text in alternatives {
            let signature = Signature::parse(text)?;
            let mut found = self.definitions(&signature)?;
            match found.len() {
                0 => {}
                1 => {
                    let place = found.remove(0);
                    if place.function.types != signature.types {
                        bail!(
                            "{}:{}: {} has the parameters ({}); looked for ({})",
                            place.file.display(),
                            place.function.line,
                            signature.name,
                            place.function.types.join(", "),
                            signature.types.join(", ")
                        );
                    }
                    return Ok(place);
                }
                _ => {
                    let places: Vec<String> = found
                        .iter()
                        .map(|place| format!("{}:{}", place.file.display(), place.function.line))
                        .collect();
                    bail!("{} is defined in several places: {}", signature.name, places.join(", "));
                }
            }
        }
        bail!(
            "{}: no file defines {}",
            self.root.display(),
            alternatives.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(" or ")
        )
    }

    fn definitions(&self, signature: &Signature) -> Result<Vec<Place>> {
        // The last part of the name is looked for in the text first: parsing is slow.
        let short = signature.name.rsplit("::").next().unwrap_or(&signature.name).as_bytes();
        let mut found = Vec::new();
        for file in &self.paths {
            let text = self.read(file)?;
            if !text.windows(short.len()).any(|window| window == short) {
                continue;
            }
            let source = Source::parse(text)?;
            let definitions = source.definitions(&signature.name);
            let mut source = Some(source);
            for function in definitions {
                // Two definitions in one file, as in branches of #if, are two places.
                let source = match source.take() {
                    Some(source) => source,
                    None => Source::parse(self.read(file)?)?,
                };
                found.push(Place {
                    file: file.clone(),
                    source,
                    function,
                    signature: signature.clone(),
                });
            }
        }
        Ok(found)
    }
}
