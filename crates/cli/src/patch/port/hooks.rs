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
    /// Names of directories in it that are not read.
    #[serde(default)]
    pub(crate) skip: Vec<String>,
    /// What a tree may hold only if it is patched.
    #[serde(default = "of_this_project")]
    pub(crate) mark: String,
    /// Messages are those of the kernel: the description as it stands, with the fields behind it.
    /// So is the indentation of what is inserted: kernel style aligns with blanks behind tabs.
    #[serde(default)]
    pub(crate) kernel_style: bool,
    /// How the path of the header ends beside which the patches put theirs. What it begins with
    /// is a directory that the compiler searches, so `#include` finds them in every layout.
    pub(crate) headers_beside: Option<String>,
    pub(crate) patch: Vec<Idea>,
}

/// One patch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Idea {
    pub(crate) subject: String,
    /// DEP-3 `Description`: what and why, one paragraph; or the message of a kernel patch.
    pub(crate) description: String,
    /// DEP-3 `Bug`, where there is one.
    pub(crate) bug: Option<String>,
    /// DEP-3 `Forwarded`.
    #[serde(default = "no")]
    pub(crate) forwarded: String,
    /// DEP-3 `Applied-Upstream`: the release that has it, where there is one.
    pub(crate) applied_upstream: Option<String>,
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
    /// What the file has to include, in `<>` or else in quotes: written after the last `#include`
    /// of that kind, where it is not there.
    pub(crate) include: Option<String>,
    pub(crate) place: Place,
    /// How the statement begins. `@NAME@` is the tree's name of a parameter, or else any
    /// expression, which `insert` may repeat.
    pub(crate) anchor: Option<String>,
    /// What `insert` takes for granted: code that the function must have, spaces apart.
    #[serde(default)]
    pub(crate) uses: Vec<String>,
    /// Code that the function must not have, as `uses`: what another edit is for.
    #[serde(default)]
    pub(crate) lacks: Vec<String>,
    /// Left out, with the edits that stand in for it, where the function has this code: the tree
    /// has already what the edit is for.
    pub(crate) already: Option<String>,
    /// Of `within`: what the new text takes the place of.
    pub(crate) part: Option<String>,
    /// What is put there, one level of indentation being two spaces (but see `kernel-style`).
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
    /// In place of `part`, which the anchor statement has once, or the function if there is none.
    Within,
}

/// A line that is found by its text: in a file that is not C++, or outside of functions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// How its path ends; the component has one such file.
    pub(crate) file: String,
    /// Before the anchor, after it, or in place of it.
    pub(crate) place: Place,
    /// The line, without the blanks around it; the file has it once.
    pub(crate) anchor: String,
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

fn of_this_project() -> String {
    "rdnafix".to_owned()
}

fn no() -> String {
    "no".to_owned()
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
        assert_eq!(components(), ["clr", "linux", "pytorch", "rocr-runtime"]);
        for component in components() {
            let hooks = Hooks::of(&component).unwrap();
            for idea in &hooks.patch {
                let name = format!("{component}: {}", idea.subject);
                assert!(!idea.add.is_empty() || !idea.edit.is_empty(), "{name}");
                assert!(idea.add.is_empty() || hooks.headers_beside.is_some(), "{name}");
                assert!(idea.edit.first().is_none_or(|edit| !edit.otherwise), "{name}");
                for edit in &idea.edit {
                    let alone = [Place::Outside, Place::First, Place::Within];
                    assert!(alone.contains(&edit.place) || edit.anchor.is_some(), "{name}");
                    assert_eq!(edit.part.is_some(), edit.place == Place::Within, "{name}");
                    assert!(!edit.otherwise || edit.only_with.is_none(), "{name}");
                }
                let places = [Place::Before, Place::After, Place::Replace];
                assert!(idea.line.iter().all(|line| places.contains(&line.place)), "{name}");
            }
        }
    }

    #[test]
    fn an_unknown_component_is_refused() {
        assert!(Hooks::of("mesa").unwrap_err().to_string().contains("'mesa'"));
    }
}
