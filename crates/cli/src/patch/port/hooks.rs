//! What a port puts where: `patches/COMPONENT/hooks.toml`, embedded. Data only.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::super::series::PATCHES;

/// All patches of a component, as edits that are found by syntax and not by line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Hooks {
    /// Where the component is in a monorepo; the first of these that is there is searched alone.
    pub(crate) within: Vec<String>,
    /// How the path of the header ends beside which the patches put theirs. What it begins with
    /// is a directory that the compiler searches, so `#include` finds them in every layout.
    pub(crate) headers_beside: String,
    pub(crate) patch: Vec<Idea>,
}

/// One patch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Idea {
    pub(crate) subject: String,
    /// DEP-3 `Description`: what and why, one paragraph.
    pub(crate) description: String,
    /// DEP-3 `Bug`, where there is one.
    pub(crate) bug: Option<String>,
    /// Headers that the patch adds: files below `patches/`.
    #[serde(default)]
    pub(crate) add: Vec<String>,
    #[serde(default)]
    pub(crate) edit: Vec<Edit>,
    #[serde(default)]
    pub(crate) line: Vec<Line>,
}

/// An insertion into a function, or beside it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Edit {
    /// The function, as the releases that are known write it, the newest first: namespaces as far
    /// as needed (`::f` is in none), and parameters, whose types must be those.
    pub(crate) function: Vec<String>,
    /// What the file has to include: written after its last `#include`, where it is not there.
    pub(crate) include: Option<String>,
    pub(crate) place: Place,
    /// How the statement begins. `@NAME@` is the tree's name of a parameter, or else any
    /// expression, which `insert` may repeat.
    pub(crate) anchor: Option<String>,
    /// What `insert` takes for granted: code that the function must have, spaces apart.
    #[serde(default)]
    pub(crate) uses: Vec<String>,
    /// What is put there, one level of indentation being two spaces.
    pub(crate) insert: String,
    /// Made only where the edit before it has no place: the function, the statement or such
    /// code is missing.
    #[serde(default)]
    pub(crate) otherwise: bool,
    /// Left out, with the edits that stand in for it, where no file of the component has this
    /// word: releases that lack what the edit is about.
    pub(crate) only_with: Option<String>,
}

/// Where an insertion goes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// Before the definition of the function and the comment above it.
    Outside,
    /// Before the first statement: of the function, or of the anchor, which is an `if`.
    First,
    /// Before the anchor statement.
    Before,
    /// After the anchor statement.
    After,
    /// In place of the anchor statement.
    Replace,
}

/// A line in a file that is not C++.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// Its name; the component has one such file.
    pub(crate) file: String,
    /// The line that the new one goes before; the file has it once.
    pub(crate) before: String,
    pub(crate) insert: String,
}

impl Hooks {
    /// Those of a component.
    ///
    /// # Errors
    /// Where there are none for it: which components there are.
    pub(crate) fn of(component: &str) -> Result<Self> {
        let file = PATCHES.get_file(format!("{component}/hooks.toml"));
        let Some(file) = file else {
            bail!("--component '{component}': there are {}", components().join(", "));
        };
        let text = file.contents_utf8().context("text")?;
        toml::from_str(text).with_context(|| format!("patches/{component}/hooks.toml"))
    }
}

impl Idea {
    /// The edits, each with those that stand in for it.
    pub(crate) fn choices(&self) -> impl Iterator<Item = &[Edit]> {
        self.edit.chunk_by(|_, next| next.otherwise)
    }
}

/// The components that can be ported to.
fn components() -> Vec<String> {
    let mut names: Vec<String> = PATCHES
        .dirs()
        .filter(|dir| dir.get_file(dir.path().join("hooks.toml")).is_some())
        .map(|dir| dir.path().display().to_string())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hooks_of_every_component_are_read() {
        assert_eq!(components(), ["clr", "pytorch", "rocr-runtime"]);
        for component in components() {
            let hooks = Hooks::of(&component).unwrap();
            for idea in &hooks.patch {
                let name = format!("{component}: {}", idea.subject);
                assert!(!idea.add.is_empty() || !idea.edit.is_empty(), "{name}");
                assert!(idea.edit.first().is_none_or(|edit| !edit.otherwise), "{name}");
                for edit in &idea.edit {
                    let anchored = !matches!(edit.place, Place::Outside | Place::First);
                    assert!(!anchored || edit.anchor.is_some(), "{name}");
                    assert!(!edit.otherwise || edit.only_with.is_none(), "{name}");
                }
            }
        }
    }

    #[test]
    fn an_unknown_component_is_refused() {
        assert!(Hooks::of("mesa").unwrap_err().to_string().contains("'mesa'"));
    }
}
