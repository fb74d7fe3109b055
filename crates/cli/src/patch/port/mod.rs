//! `rdnafix patch create`: makes the patches of a component for a source tree of any version,
//! by finding the functions that they hook in the tree's syntax.
//!
//! Everything is done in memory and checked before the first file is written. Where the tree
//! is not as the hooks expect, nothing is written.

mod edit;
mod find;
mod hooks;
mod syntax;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use diffy::{DiffOptions, PatchFormatter};

use self::find::Files;
use self::hooks::{Hooks, Idea};
use super::series::PATCHES;

/// A patch that was made: its file name and its text.
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) text: Vec<u8>,
}

/// The patches of a component for a tree; paths in them are from the tree's root.
///
/// # Errors
/// Where a function, its parameters or a statement is not as expected: the file, the line and
/// what was looked for. Where the tree is patched already.
pub(crate) fn create(component: &str, source: &Path, applies_to: &str) -> Result<Vec<Made>> {
    make(&Hooks::of(component)?, source, applies_to)
}

fn make(hooks: &Hooks, source: &Path, applies_to: &str) -> Result<Vec<Made>> {
    let mut files = Files::of(source)?;
    for addition in hooks.patch.iter().flat_map(|idea| &idea.add) {
        let name = file_name(&addition.from);
        if let Some(there) = files.named(name) {
            bail!("{} is there: the tree is patched already", source.join(there).display());
        }
    }
    // First in the tree as it is, so that an error names its lines and not those after an edit.
    for idea in &hooks.patch {
        for edit in &idea.edit {
            let found =
                files.function(&edit.function).and_then(|place| edit::inserted(&place, edit));
            found.with_context(|| format!("{}: nothing is written", idea.file))?;
        }
    }
    let mut made = Vec::new();
    for (index, idea) in hooks.patch.iter().enumerate() {
        let before = files.changed().clone();
        apply(idea, &mut files).with_context(|| format!("{}: nothing is written", idea.file))?;
        let mut text = head(idea, index + 1, hooks.patch.len(), applies_to).into_bytes();
        text.extend(diff(&files, &before, source)?);
        made.push(Made { name: idea.file.clone(), text });
    }
    Ok(made)
}

fn apply(idea: &Idea, files: &mut Files) -> Result<()> {
    for addition in &idea.add {
        let place = files.function(&addition.beside)?;
        let directory = place.file.parent().unwrap_or(Path::new(""));
        let content = PATCHES
            .get_file(&addition.from)
            .with_context(|| format!("no patches/{}", addition.from))?;
        let file = directory.join(file_name(&addition.from));
        if files.has(&file) {
            bail!("{} is there already", file.display());
        }
        files.set(file, content.contents().to_vec());
    }
    for edit in &idea.edit {
        let place = files.function(&edit.function)?;
        let text = edit::inserted(&place, edit)?;
        files.set(place.file, text);
    }
    Ok(())
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn head(idea: &Idea, number: usize, of: usize, applies_to: &str) -> String {
    let mut head = format!("Subject: [PATCH {number}/{of}] {}\n", idea.subject);
    let mut lines = idea.description.trim().lines();
    let _ = writeln!(head, "Description: {}", lines.next().unwrap_or_default());
    for line in lines {
        let _ = writeln!(head, " {}", if line.is_empty() { "." } else { line });
    }
    head.push_str("Origin: vendor, rdnafix\nForwarded: no\n");
    if let Some(bug) = &idea.bug {
        let _ = writeln!(head, "Bug: {bug}");
    }
    let _ = writeln!(head, "Applies-To: {applies_to}\n---");
    head
}

/// What changed since `before`, as git writes it.
fn diff(files: &Files, before: &BTreeMap<PathBuf, Vec<u8>>, source: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for (file, new) in files.changed() {
        let on_disk = source.join(file);
        let old = match before.get(file) {
            Some(old) => Some(old.clone()),
            None if on_disk.exists() => Some(fs::read(&on_disk)?),
            None => None,
        };
        if old.as_ref() == Some(new) {
            continue;
        }
        let name = file.display();
        text.extend(format!("diff --git a/{name} b/{name}\n").into_bytes());
        let mut options = DiffOptions::new();
        options.set_modified_filename(format!("b/{name}"));
        if old.is_some() {
            options.set_original_filename(format!("a/{name}"));
        } else {
            text.extend(b"new file mode 100644\n");
            options.set_original_filename("/dev/null");
        }
        let old = old.unwrap_or_default();
        let patch = options.create_patch_bytes(&old, new);
        PatchFormatter::new().suppress_blank_empty(false).write_patch_into(&patch, &mut text)?;
    }
    Ok(text)
}
