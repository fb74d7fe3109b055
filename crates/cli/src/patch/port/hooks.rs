//! What a port puts where: `patches/COMPONENT/hooks.toml`, embedded. Data only.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::super::series::PATCHES;

/// All patches of a component, as edits that are found by syntax and not by line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hooks {
    pub(crate) patch: Vec<Idea>,
}

/// One patch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Idea {
    /// The patch's file name.
    pub(crate) file: String,
    pub(crate) subject: String,
    /// DEP-3 `Description`: what and why.
    pub(crate) description: String,
    /// DEP-3 `Bug`, where there is one.
    pub(crate) bug: Option<String>,
    /// Files that the patch adds: they are copies of files in `patches/`.
    #[serde(default)]
    pub(crate) add: Vec<Addition>,
    #[serde(default)]
    pub(crate) edit: Vec<Edit>,
}

/// A file that is added.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Addition {
    /// Below `patches/`.
    pub(crate) from: String,
    /// The function in whose file's directory it goes.
    pub(crate) beside: Vec<String>,
}

/// An insertion.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    /// The function, as it is written in the releases that are known, the newest first. Types
    /// must be those; `@NAME@` in what is inserted becomes the tree's name of the parameter.
    pub(crate) function: Vec<String>,
    pub(crate) place: Place,
    /// How the statement begins that `before` and `after` are about, in the releases known.
    #[serde(default)]
    pub(crate) anchor: Vec<String>,
    /// What is put there, one level of indentation being two spaces.
    pub(crate) insert: String,
}

/// Where an insertion goes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// After the last `#include` before the function's definition.
    Includes,
    /// Before the definition of the function.
    Outside,
    /// Before the anchor statement.
    Before,
    /// After the anchor statement.
    After,
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
        for component in components() {
            let hooks = Hooks::of(&component).unwrap();
            for idea in &hooks.patch {
                assert!(
                    !idea.add.is_empty() || !idea.edit.is_empty(),
                    "{component}: {}",
                    idea.file
                );
                for edit in &idea.edit {
                    let anchored = matches!(edit.place, Place::Before | Place::After);
                    assert_eq!(anchored, !edit.anchor.is_empty(), "{component}: {}", idea.file);
                }
            }
        }
    }

    #[test]
    fn an_unknown_component_is_refused() {
        assert!(Hooks::of("mesa").unwrap_err().to_string().contains("'mesa'"));
    }
}
