//! Recipes of roots: which packages of which suites of the Debian archive a root is made of.
//!
//! One TOML file each in `roots/`, embedded. Reads data only; `make` does what they say.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Changes when roots are made in another way, so that older ones are not used any more.
const METHOD: &str = "1";

/// What every root has: a shell and what a program expects to find beside its libraries.
const BASE: [&str; 9] =
    ["base-files", "bash", "coreutils", "dash", "findutils", "grep", "kmod", "procps", "sed"];

const FILES: [(&str, &str); 19] = [
    ("5.2.3", include_str!("../../roots/5.2.3.toml")),
    ("5.7.1", include_str!("../../roots/5.7.1.toml")),
    ("6.4.3", include_str!("../../roots/6.4.3.toml")),
    ("7.2.4", include_str!("../../roots/7.2.4.toml")),
    ("build-6.4.3", include_str!("../../roots/build-6.4.3.toml")),
    ("build-pytorch-1.13.1", include_str!("../../roots/build-pytorch-1.13.1.toml")),
    ("build-pytorch-2.6.0", include_str!("../../roots/build-pytorch-2.6.0.toml")),
    ("cupy-7.2.4", include_str!("../../roots/cupy-7.2.4.toml")),
    ("ggml-6.4.3", include_str!("../../roots/ggml-6.4.3.toml")),
    ("kfdtest-6.4.3", include_str!("../../roots/kfdtest-6.4.3.toml")),
    ("linux-6.1", include_str!("../../roots/linux-6.1.toml")),
    ("linux-6.12", include_str!("../../roots/linux-6.12.toml")),
    ("linux-7.2", include_str!("../../roots/linux-7.2.toml")),
    ("rccl-5.7.1", include_str!("../../roots/rccl-5.7.1.toml")),
    ("rocrtst-6.4.3", include_str!("../../roots/rocrtst-6.4.3.toml")),
    ("roctracer-6.4.1", include_str!("../../roots/roctracer-6.4.1.toml")),
    ("source-5.7.1", include_str!("../../roots/source-5.7.1.toml")),
    ("source-pytorch-newest", include_str!("../../roots/source-pytorch-newest.toml")),
    ("torch-2.14", include_str!("../../roots/torch-2.14.toml")),
];

/// A recipe.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    #[serde(skip)]
    pub(crate) name: &'static str,
    #[serde(skip)]
    pub(crate) hash: String,
    /// One line for people, which makes no other root.
    #[serde(skip_serializing)]
    pub(crate) about: String,
    /// The suite of the archive; from further ones comes only what names them.
    pub(crate) suites: Vec<String>,
    /// Packages as apt-get takes them: `name` or `name/suite`.
    packages: Vec<String>,
    /// What a package's version must begin with.
    #[serde(default)]
    pub(crate) expect: BTreeMap<String, String>,
    /// Paths that are not extracted, as dpkg's path-exclude takes them.
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
    /// Paths that are extracted all the same, as dpkg's path-include takes them.
    #[serde(default)]
    pub(crate) include: Vec<String>,
    /// Source packages, whose upstream tarballs go to `usr/src/deb`.
    #[serde(default)]
    pub(crate) sources: Vec<String>,
}

impl Recipe {
    /// Everything that is extracted, without what those packages need in turn.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &str> {
        BASE.into_iter().chain(self.packages.iter().map(String::as_str))
    }
}

/// The names of all.
pub(crate) fn names() -> [&'static str; FILES.len()] {
    FILES.map(|(name, _)| name)
}

/// All recipes.
///
/// # Errors
/// Where a file is not a recipe, which a test rules out.
pub(crate) fn all() -> Result<Vec<Recipe>> {
    FILES.iter().map(|(name, text)| parse(name, text)).collect()
}

/// The recipe of this name.
///
/// # Errors
/// Where there is none: which there are.
pub(crate) fn named(name: &str) -> Result<Recipe> {
    let Some((name, text)) = FILES.iter().find(|(known, _)| *known == name) else {
        bail!("there is no root '{name}'; there are {}", names().join(", "));
    };
    parse(name, text)
}

fn parse(name: &'static str, text: &str) -> Result<Recipe> {
    let mut recipe: Recipe =
        toml::from_str(text).with_context(|| format!("roots/{name}.toml is not a recipe"))?;
    let mut hash = Sha256::new();
    let contents = serde_json::to_string(&recipe).context("cannot write a recipe")?;
    for part in [METHOD, name, &contents].into_iter().chain(BASE) {
        hash.update(part);
        hash.update([0]);
    }
    recipe.name = name;
    let start = hash.finalize().iter().take(8).fold(0, |start, byte| start << 8 | u64::from(*byte));
    recipe.hash = format!("{start:016x}");
    Ok(recipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_embedded_and_a_recipe() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/roots");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        let recipes = all().unwrap();
        let names: Vec<&str> = recipes.iter().map(|recipe| recipe.name).collect();
        assert_eq!(names, files);
        for recipe in &recipes {
            assert!(!recipe.suites.is_empty(), "{}", recipe.name);
            for package in recipe.expect.keys() {
                let asked = recipe.packages().any(|known| known.split('/').next() == Some(package));
                assert!(asked, "{}: {package} is expected and not asked for", recipe.name);
            }
        }
    }

    #[test]
    fn the_hash_follows_what_is_in_the_root() {
        let text = "about = ''\nsuites = []\npackages = []\n";
        let first = parse("a", text).unwrap();
        assert_eq!(first.hash.len(), 16);
        assert_eq!(first.hash, parse("a", text).unwrap().hash);
        assert_ne!(first.hash, parse("b", text).unwrap().hash);
        let other = |from, to| parse("a", &text.replace(from, to)).unwrap().hash;
        assert_ne!(first.hash, other("packages = []", "packages = ['p']"));
        assert_eq!(first.hash, other("about = ''", "about = 'other words'"));
    }

    #[test]
    fn an_unknown_name_is_told_which_there_are() {
        let error = named("4.5").unwrap_err().to_string();
        assert!(error.contains("'4.5'") && error.contains("7.2.4"), "{error}");
    }
}
