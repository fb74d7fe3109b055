//! Finding the functions of hooks in a source tree, in whichever file they are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, anyhow, bail};
use memchr::memmem;
use walkdir::WalkDir;

use super::hooks::Hooks;
use super::syntax::{Definition, Signature, Source};

/// Directories of a component that hold no code of the runtime itself.
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

/// The files of a component, by their paths from the root of the tree that was named.
pub(crate) struct Files {
    root: PathBuf,
    mark: String,
    /// C++ files and the few others that are read, as they are by now.
    texts: BTreeMap<PathBuf, Rc<[u8]>>,
    before: BTreeMap<PathBuf, Option<Rc<[u8]>>>,
    others: Vec<PathBuf>,
    links: usize,
    parsed: RefCell<BTreeMap<PathBuf, Rc<Source>>>,
}

/// A file that was changed, or added where there is no old text.
pub(crate) struct Change {
    pub(crate) file: PathBuf,
    pub(crate) old: Option<Rc<[u8]>>,
    pub(crate) new: Rc<[u8]>,
}

/// A function that a hook is about.
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    pub(crate) source: Rc<Source>,
    pub(crate) function: Definition,
    /// As the hook writes it.
    pub(crate) signature: Signature,
}

/// Whether there is what an edit is about.
pub(crate) enum Sought<T> {
    Found(T),
    /// What was looked for, and where.
    Missing(String),
}

impl Files {
    /// Reads a component: in the first of `within` that the tree has, else in all of it.
    ///
    /// # Errors
    /// Where it is no directory, or cannot be read.
    pub(crate) fn of(root: &Path, hooks: &Hooks) -> Result<Self> {
        if !root.is_dir() {
            bail!("--source '{}': is no directory", root.display());
        }
        let top = hooks.within.iter().map(|below| root.join(below)).find(|path| path.is_dir());
        let wanted = |entry: &walkdir::DirEntry| {
            let name = entry.file_name().to_string_lossy();
            let skipped = name.starts_with('.')
                || NOT_THE_RUNTIME.contains(&&*name)
                || hooks.skip.iter().any(|skipped| *skipped == name);
            entry.depth() == 0 || !(entry.file_type().is_dir() && skipped)
        };
        let mut files = Self {
            root: root.to_owned(),
            mark: hooks.mark.clone(),
            texts: BTreeMap::new(),
            before: BTreeMap::new(),
            others: Vec::new(),
            links: 0,
            parsed: RefCell::default(),
        };
        let walk = WalkDir::new(top.as_deref().unwrap_or(root)).sort_by_file_name();
        for entry in walk.into_iter().filter_entry(wanted) {
            let entry = entry.context("cannot read the source tree")?;
            let path = entry.path().strip_prefix(root)?.to_owned();
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            let code = ["cpp", "cc", "cxx", "c", "h", "hpp"].contains(&&*extension);
            if code && entry.path_is_symlink() {
                files.links += 1;
            } else if entry.file_type().is_file() && code {
                let text = read(root, &path)?;
                files.texts.insert(path, text.into());
            } else if entry.file_type().is_file() {
                files.others.push(path);
            }
        }
        Ok(files)
    }

    /// The tree that was named.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Changes or adds a file, in memory.
    pub(crate) fn set(&mut self, file: PathBuf, text: Vec<u8>) {
        self.parsed.get_mut().remove(&file);
        let old = self.texts.insert(file.clone(), text.into());
        self.before.entry(file).or_insert(old);
    }

    /// What was changed or added since the last time.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        let before = std::mem::take(&mut self.before);
        before
            .into_iter()
            .map(|(file, old)| {
                let new = self.texts[&file].clone();
                Change { file, old, new }
            })
            .collect()
    }

    /// Whether a file of the component has this word; those that the patches add do not count.
    pub(crate) fn mention(&self, word: &str) -> bool {
        let finder = memmem::Finder::new(word);
        let mut texts = self.texts.iter().filter(|(file, _)| !self.is_ours(file));
        texts.any(|(_, text)| finder.find(text).is_some())
    }

    /// # Errors
    /// Where the tree has something of this project: the file.
    pub(crate) fn must_be_unpatched(&self) -> Result<()> {
        let finder = memmem::Finder::new(&self.mark);
        let text = self.texts.iter().find_map(|(file, text)| {
            let line = line_of(text, finder.find(text)?);
            Some(format!("{}:{line}", file.display()))
        });
        let named = || {
            let file = self.texts.keys().find(|file| self.is_ours(file));
            file.map(|file| file.display().to_string())
        };
        if let Some(place) = text.or_else(named) {
            bail!(
                "{place}: has '{}': {} is patched already, wholly or in part; take the patches \
                 back first (`rdnafix patch revert`), or take a fresh tree",
                self.mark,
                self.root.display()
            );
        }
        Ok(())
    }

    /// The one file whose path ends so.
    ///
    /// # Errors
    /// Where there is none, or more than one.
    pub(crate) fn ending_with(&self, end: &str) -> Result<PathBuf> {
        // Of the others, those that were read are among the texts.
        let others = self.others.iter().filter(|file| !self.texts.contains_key(*file));
        let all = self.texts.keys().chain(others);
        let found: Vec<&PathBuf> = all.filter(|path| path.ends_with(end)).collect();
        match found[..] {
            [file] => Ok(file.clone()),
            [] => bail!("{}: no file {end}{}", self.root.display(), self.not_followed()),
            _ => {
                let all: Vec<_> = found.iter().map(|file| file.display().to_string()).collect();
                bail!("{}: {end} is there more than once: {}", self.root.display(), all.join(", "))
            }
        }
    }

    /// The text of a file.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(crate) fn text(&mut self, file: &Path) -> Result<Rc<[u8]>> {
        if let Some(text) = self.texts.get(file) {
            return Ok(text.clone());
        }
        let text: Rc<[u8]> = read(&self.root, file)?.into();
        self.texts.insert(file.to_owned(), text.clone());
        Ok(text)
    }

    /// The one definition of the first of these functions that the tree defines.
    ///
    /// # Errors
    /// Where one is defined in several places.
    pub(crate) fn function(&self, alternatives: &[String]) -> Result<Sought<Place>> {
        let mut missing = Vec::new();
        for text in alternatives {
            let signature = Signature::parse(text)?;
            let all = self.definitions(&signature)?;
            let at = |place: &Place| format!("{}:{}", place.file.display(), place.function.line);
            let (mut right, other): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|place| place.function.types == signature.types);
            if right.len() > 1 {
                let places: Vec<String> = right.iter().map(at).collect();
                bail!("{} is defined in several places: {}", signature.name, places.join(", "));
            }
            if let Some(place) = right.pop() {
                return Ok(Sought::Found(place));
            }
            let looked_for = signature.types.join(", ");
            missing.extend(other.iter().map(|place| {
                let has = place.function.types.join(", ");
                format!(
                    "{}: {} has the parameters ({has}); looked for ({looked_for})",
                    at(place),
                    signature.name
                )
            }));
            if other.is_empty() {
                missing.push(format!("no file defines `{text}`"));
            }
        }
        let missing = missing.join("; ");
        Ok(Sought::Missing(format!("{}: {missing}{}", self.root.display(), self.not_followed())))
    }

    fn definitions(&self, signature: &Signature) -> Result<Vec<Place>> {
        // The last part of the name is looked for in the text first: parsing is slow.
        let short = signature.name.rsplit("::").next().unwrap_or(&signature.name);
        let finder = memmem::Finder::new(short);
        let mut found = Vec::new();
        for (file, text) in &self.texts {
            // Inline functions in headers are other ones: HIP's for NVIDIA have the same names.
            if file.extension().is_some_and(is_header) || finder.find(text).is_none() {
                continue;
            }
            let source = self.parse(file, text)?;
            found.extend(source.definitions(&signature.name).map(|function| Place {
                file: file.clone(),
                source: source.clone(),
                function: function.clone(),
                signature: signature.clone(),
            }));
        }
        Ok(found)
    }

    fn parse(&self, file: &Path, text: &[u8]) -> Result<Rc<Source>> {
        if let Some(source) = self.parsed.borrow().get(file) {
            return Ok(source.clone());
        }
        let source = Source::parse(text.to_vec())
            .with_context(|| anyhow!("cannot parse {}", self.root.join(file).display()))?;
        let source = Rc::new(source);
        self.parsed.borrow_mut().insert(file.to_owned(), source.clone());
        Ok(source)
    }

    /// By its name alone: a file that the patches add.
    fn is_ours(&self, file: &Path) -> bool {
        file.file_name().is_some_and(|name| name.to_string_lossy().contains(&self.mark))
    }

    fn not_followed(&self) -> String {
        match self.links {
            0 => String::new(),
            links => format!(
                " ({links} symbolic links to files were not followed: a patch does not either)"
            ),
        }
    }
}

fn read(root: &Path, file: &Path) -> Result<Vec<u8>> {
    let path = root.join(file);
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn is_header(extension: &OsStr) -> bool {
    extension == "h" || extension == "hpp"
}

/// The line of a byte, counted from 1.
pub(crate) fn line_of(text: &[u8], offset: usize) -> usize {
    memchr::memchr_iter(b'\n', &text[..offset]).count() + 1
}
