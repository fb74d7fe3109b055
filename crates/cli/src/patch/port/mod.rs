//! `rdnafix patch create`: makes the patches of a component for a source tree of any version,
//! by finding the functions that they hook in the tree's syntax.
//!
//! Everything is done in memory and checked before the first file is written. Where the tree
//! is not as the hooks expect, nothing is written.

mod anchor;
mod edit;
mod find;
mod format;
mod hooks;
mod syntax;
#[cfg(test)]
mod tests;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use self::find::{Files, Sought};
use self::hooks::{Edit, Hooks, Idea};
use super::series::PATCHES;

/// A patch that was made: its file name and its text.
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) text: Vec<u8>,
}

/// What was made for a tree.
pub(crate) struct Port {
    /// In order; paths in them are from the tree's root.
    pub(crate) patches: Vec<Made>,
    /// What the tree's release lacks, so that no hook is needed there.
    pub(crate) left_out: Vec<String>,
    /// Subjects of the patches that would change nothing, so that they are not made.
    pub(crate) there: Vec<String>,
}

/// What becomes of an edit and those that stand in for it.
enum Outcome {
    /// A file after it.
    Changed(PathBuf, Vec<u8>),
    /// The tree's release lacks what they are about.
    NoUse,
    /// The tree has what they are for.
    There,
}

/// Makes the patches of a component for a tree.
///
/// # Errors
/// Where a function, its parameters or a statement is not as expected: the file, the line and
/// what was looked for. Where the tree is patched already.
pub(crate) fn create(component: &str, source: &Path, applies_to: &str) -> Result<Port> {
    make(&Hooks::of(component)?, source, applies_to)
}

/// Whether a component can be ported to.
pub(crate) fn is_there_for(component: &str) -> bool {
    PATCHES.get_file(format!("{component}/hooks.toml")).is_some()
}

fn make(hooks: &Hooks, source: &Path, applies_to: &str) -> Result<Port> {
    let mut files = Files::of(source, hooks)?;
    files.must_be_unpatched()?;
    let mut port = Port { patches: Vec::new(), left_out: Vec::new(), there: Vec::new() };
    // First in the tree as it is, so that an error names its lines and not those after an edit.
    for idea in &hooks.patch {
        for choice in idea.choices() {
            match edited(&files, choice, hooks.kernel_style).with_context(|| nothing(idea))? {
                Outcome::Changed(..) | Outcome::There => {}
                Outcome::NoUse => {
                    port.left_out.extend(choice.first().map(|edit| edit.function[0].clone()));
                }
            }
        }
        for line in &idea.line {
            let file = files.ending_with(&line.file).with_context(|| nothing(idea))?;
            edit::expect_one_line(&files.text(&file)?, line)
                .with_context(|| files.root().join(&file).display().to_string())
                .with_context(|| nothing(idea))?;
        }
    }
    for idea in &hooks.patch {
        apply(hooks, idea, &mut files).with_context(|| nothing(idea))?;
        let changes = files.take_changes();
        if changes.is_empty() {
            port.there.push(idea.subject.clone());
            continue;
        }
        let mut text = format::head(idea, applies_to, hooks.kernel_style).into_bytes();
        for change in changes {
            let mode = source.join(&change.file).metadata().map(|there| there.permissions().mode());
            let executable = mode.is_ok_and(|mode| mode & 0o100 != 0);
            text.extend(format::diff(
                &change.file,
                change.old.as_deref(),
                &change.new,
                executable,
            )?);
        }
        let name = format::file_name(port.patches.len() + 1, &idea.subject);
        port.patches.push(Made { name, text });
    }
    Ok(port)
}

fn nothing(idea: &Idea) -> String {
    format!("\"{}\": nothing is written", idea.subject)
}

fn apply(hooks: &Hooks, idea: &Idea, files: &mut Files) -> Result<()> {
    for header in &idea.add {
        let beside = hooks.headers_beside.as_deref().context("no headers-beside")?;
        let beside = files.ending_with(beside)?;
        let content = PATCHES.get_file(header).with_context(|| format!("no patches/{header}"))?;
        let name = header.rsplit('/').next().unwrap_or(header);
        files.set(beside.with_file_name(name), content.contents().to_vec());
    }
    for choice in idea.choices() {
        if let Outcome::Changed(file, text) = edited(files, choice, hooks.kernel_style)? {
            files.set(file, text);
        }
    }
    for line in &idea.line {
        let file = files.ending_with(&line.file)?;
        let text = edit::with_line(&files.text(&file)?, line)
            .with_context(|| files.root().join(&file).display().to_string())?;
        files.set(file, text);
    }
    Ok(())
}

/// A file after the first of these edits that has its place.
fn edited(files: &Files, choice: &[Edit], as_it_stands: bool) -> Result<Outcome> {
    let word = choice.first().and_then(|edit| edit.only_with.as_deref());
    if word.is_some_and(|word| !files.mention(word)) {
        return Ok(Outcome::NoUse);
    }
    let mut missing = Vec::new();
    for edit in choice {
        let place = match files.function(&edit.function)? {
            Sought::Found(place) => place,
            Sought::Missing(what) => {
                missing.push(what);
                continue;
            }
        };
        if edit::is_there(&place, edit)? {
            return Ok(Outcome::There);
        }
        match edit::edited(&place, edit, as_it_stands)? {
            Sought::Found(text) => return Ok(Outcome::Changed(place.file, text)),
            Sought::Missing(what) => missing.push(what),
        }
    }
    bail!("{}", missing.join("; or "));
}
