//! PyTorch in the Python environments that this process would use. Files are read; no Python is
//! started.

use serde::Serialize;

use super::Read;
use super::source::Source;

/// An installed PyTorch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Torch {
    /// Its directory.
    pub(crate) directory: String,
    /// For example `2.6.0+rocm6.2.4`.
    pub(crate) version: Option<Read>,
    /// The HIP that it is built for; `None` for a build for CUDA or the CPU.
    pub(crate) hip: Option<Read>,
    /// The gfx targets of its own kernels; `None` where they cannot be read.
    pub(crate) targets: Option<Read<Vec<String>>>,
}

impl Torch {
    /// Major and minor number of its version.
    pub(crate) fn number(&self) -> Option<(u32, u32)> {
        let mut parts = self.version.as_ref()?.value.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// The directory of its packages.
    pub(super) fn site(&self) -> &str {
        self.directory.strip_suffix("/torch").unwrap_or(&self.directory)
    }
}

/// Every PyTorch of the environment: an active virtual or conda environment, the `python3` of
/// PATH, the user's and the system's packages, and the directories named.
pub(super) fn torch(source: &Source, site_packages: &[String]) -> Vec<Torch> {
    let mut sites: Vec<String> = site_packages.to_vec();
    for variable in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        if let Some(prefix) = source.variable(variable) {
            sites.extend(packages(source, &format!("{prefix}/lib")));
        }
    }
    // `python3` may be a link into the directories of its own installation.
    let python = source.directory_in_path("python3").map(|bin| format!("{bin}/python3"));
    let real = python.as_ref().and_then(|python| source.real(python));
    for program in python.iter().chain(&real) {
        if let Some(prefix) = program.rsplit_once("/bin/").map(|(prefix, _)| prefix) {
            sites.extend(packages(source, &format!("{prefix}/lib")));
        }
    }
    if let Some(home) = source.variable("HOME") {
        sites.extend(packages(source, &format!("{home}/.local/lib")));
    }
    for directory in ["/usr/local/lib", "/usr/lib"] {
        sites.extend(packages(source, directory));
    }
    let mut found: Vec<Torch> = Vec::new();
    for site in sites {
        let directory = format!("{}/torch", site.trim_end_matches('/'));
        if found.iter().all(|torch| torch.directory != directory) {
            found.extend(read(source, directory));
        }
    }
    found
}

/// The directories of packages below a `lib`: `python3.11/site-packages` and the like.
fn packages(source: &Source, lib: &str) -> Vec<String> {
    let pythons = source.list(lib, |name| name.starts_with("python3")).unwrap_or_default();
    pythons
        .iter()
        .flat_map(|python| {
            ["site-packages", "dist-packages"].map(|name| format!("{lib}/{python}/{name}"))
        })
        .collect()
}

fn read(source: &Source, directory: String) -> Option<Torch> {
    let from = format!("{directory}/version.py");
    let text = source.lines(&from, |line| {
        ["__version__", "hip", "cuda"].iter().any(|name| line.starts_with(name))
    })?;
    let value = |name: &str| assigned(&text, name).map(|value| Read::new(value, from.as_str()));
    let library = format!("{directory}/lib/libtorch_hip.so");
    let targets = source.library(&library).and_then(|elf| elf.targets);
    Some(Torch {
        version: value("__version__"),
        hip: value("hip"),
        targets: targets.map(|targets| Read::of(targets, library)),
        directory,
    })
}

/// The string that a line such as `hip: Optional[str] = '6.2'` assigns.
fn assigned<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with([' ', ':', '=']).then_some(())?;
        let value = rest.split_once('=')?.1.trim();
        let quote = value.chars().next().filter(|first| ['\'', '"'].contains(first))?;
        value[1..].split_once(quote).map(|(inner, _)| inner)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::source::Notes;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::fs;

    const VERSION: &str = "from typing import Optional\n\n__version__ = '2.6.0+rocm6.2.4'\n\
                           debug = False\ncuda: Optional[str] = None\n\
                           git_version = 'x'\nhip: Optional[str] = '6.2.41134-65d174c3e'\n";

    #[test]
    fn a_version_file_gives_the_version_and_hip() {
        assert_eq!(assigned(VERSION, "__version__"), Some("2.6.0+rocm6.2.4"));
        assert_eq!(assigned(VERSION, "hip"), Some("6.2.41134-65d174c3e"));
        assert_eq!(assigned(VERSION, "cuda"), None);
        assert_eq!(assigned("hip = None\n", "hip"), None);
        assert_eq!(assigned("hipster = 'x'\n", "hip"), None);
        assert_eq!(assigned("hip = '\n", "hip"), None);
    }

    #[test]
    fn torch_is_found_in_the_active_environment_and_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let torch_in = |site: &str| {
            let place = dir.path().join(site).join("torch");
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("version.py"), VERSION).unwrap();
        };
        torch_in("venv/lib/python3.12/site-packages");
        torch_in("usr/lib/python3/dist-packages");
        torch_in("given");
        let environment = BTreeMap::from([
            ("VIRTUAL_ENV".to_owned(), "/venv".to_owned()),
            ("PATH".to_owned(), "bin:/venv/bin:/usr/bin".to_owned()),
        ]);
        fs::create_dir_all(dir.path().join("venv/bin")).unwrap();
        fs::write(dir.path().join("venv/bin/python3"), "").unwrap();
        let notes = Notes { environment, ..Notes::default() };
        let source = Source::copy(dir.path().to_owned(), Some(notes));
        let found = torch(&source, &["/given/".to_owned()]);
        let places: Vec<&str> = found.iter().map(|torch| torch.directory.as_str()).collect();
        assert_eq!(
            places,
            [
                "/given/torch",
                "/venv/lib/python3.12/site-packages/torch",
                "/usr/lib/python3/dist-packages/torch"
            ]
        );
        assert_eq!(found[0].number(), Some((2, 6)));
        assert_eq!(found[0].site(), "/given");
        assert_eq!(found[0].targets, None);
    }

    proptest! {
        #[test]
        fn any_version_file_is_read(text in "\\PC{0,60}", value in "(hip|__version__)[ :=]{1,3}['\"]?\\PC{0,9}['\"]?") {
            for name in ["hip", "__version__"] {
                let _ = assigned(&text, name);
                let _ = assigned(&value, name);
            }
        }
    }
}
