//! Finding the two libraries: named by the environment, else installed with this command.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Directories of an installation, beside that of the executable.
const INSTALLED: [&str; 3] = ["lib/rdnafix", "lib/x86_64-linux-gnu", "lib"];

/// A library that this command preloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    /// The interposer.
    Rdnafix,
    /// The simulated GPU.
    Kfdsim,
}

impl Library {
    pub(crate) const fn file_name(self) -> &'static str {
        match self {
            Self::Rdnafix => "librdnafix.so",
            Self::Kfdsim => "libkfdsim.so",
        }
    }

    const fn variable(self) -> &'static str {
        match self {
            Self::Rdnafix => "RDNAFIX_LIB",
            Self::Kfdsim => "KFDSIM_LIB",
        }
    }

    const fn package(self) -> &'static str {
        match self {
            Self::Rdnafix => "rdnafix",
            Self::Kfdsim => "kfdsim",
        }
    }
}

/// The absolute path of a library.
///
/// # Errors
/// Where it is not found: what was looked for where, and how to get it.
pub(crate) fn locate(library: Library) -> Result<PathBuf> {
    let named = env::var_os(library.variable()).filter(|value| !value.is_empty());
    let found = if let Some(named) = named {
        named_file(library, Path::new(&named))?
    } else {
        let executable = env::current_exe().context("cannot tell where rdnafix itself is")?;
        let executable = executable.canonicalize().unwrap_or(executable);
        installed_file(library, executable.parent().unwrap_or(Path::new("/")))?
    };
    tracing::info!(path = %found.display(), "using {}", library.file_name());
    Ok(found)
}

fn named_file(library: Library, named: &Path) -> Result<PathBuf> {
    if !named.is_file() {
        bail!(
            "{} is set to '{}', which is no file: set it to the path of {}, or unset it",
            library.variable(),
            named.display(),
            library.file_name(),
        );
    }
    named.canonicalize().with_context(|| format!("cannot resolve '{}'", named.display()))
}

fn installed_file(library: Library, directory: &Path) -> Result<PathBuf> {
    let mut candidates = vec![directory.join(library.file_name())];
    if let Some(prefix) = directory.parent() {
        candidates.extend(INSTALLED.map(|lib| prefix.join(lib).join(library.file_name())));
    }
    for candidate in &candidates {
        if let Ok(path) = candidate.canonicalize() {
            return Ok(path);
        }
    }
    let mut looked = String::new();
    for candidate in &candidates {
        looked.push_str("\n  ");
        looked.push_str(&candidate.display().to_string());
    }
    bail!(
        "{} not found; looked for{looked}\nBuild it with `cargo build --release -p {}`, or set {} to its path",
        library.file_name(),
        library.package(),
        library.variable(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_library_beside_the_executable_comes_first() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        for directory in ["bin", "lib/rdnafix", "lib"] {
            let directory = root.path().join(directory);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("libkfdsim.so"), "").unwrap();
        }
        let find = || installed_file(Library::Kfdsim, &bin).unwrap();
        assert_eq!(find(), bin.canonicalize().unwrap().join("libkfdsim.so"));
        fs::remove_file(bin.join("libkfdsim.so")).unwrap();
        assert!(find().ends_with("lib/rdnafix/libkfdsim.so"));
    }

    #[test]
    fn a_missing_library_says_where_it_was_looked_for_and_the_way_out() {
        let root = tempfile::tempdir().unwrap();
        let error = installed_file(Library::Rdnafix, root.path()).unwrap_err().to_string();
        for part in ["librdnafix.so", "lib/rdnafix/", "cargo build", "RDNAFIX_LIB"] {
            assert!(error.contains(part), "{part} in: {error}");
        }
    }

    #[test]
    fn a_named_library_that_is_missing_is_an_error() {
        let error = named_file(Library::Kfdsim, Path::new("/nonexistent/libkfdsim.so"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("KFDSIM_LIB") && error.contains("/nonexistent"), "{error}");
    }
}
