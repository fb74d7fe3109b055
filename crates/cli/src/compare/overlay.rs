//! The patched libraries of `--patched`: a prefix made by `rdnafix build rocm`, put before the
//! stock libraries, and whether the program then loaded them.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kfd_abi::log::{Event, Record};

use crate::build::MANIFEST;

/// What the loader takes the libraries from.
pub(crate) const LD_LIBRARY_PATH: &str = "LD_LIBRARY_PATH";
const LIBRARIES: [&str; 2] = ["libamdhip64.so", "libhsa-runtime64.so"];

/// The prefix as the loader will call it.
///
/// # Errors
/// Where it has none of the libraries.
pub(crate) fn prefix(named: &Path) -> Result<PathBuf> {
    let what = || format!("--patched '{}'", named.display());
    let prefix = std::fs::canonicalize(named).with_context(what)?;
    let entries = std::fs::read_dir(prefix.join("lib"));
    let mut files = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
    let is_ours = |name: OsString| {
        LIBRARIES.iter().any(|library| name.to_string_lossy().starts_with(library))
    };
    if !files.any(is_ours) {
        bail!(
            "{}: there is no libamdhip64 and no libhsa-runtime64 in its lib; `rdnafix build rocm` \
             makes such a prefix",
            what()
        );
    }
    Ok(prefix)
}

/// `LD_LIBRARY_PATH` with the prefix before what it has.
///
/// # Errors
/// Where the path of the prefix cannot stand in a list.
pub(crate) fn search_path(prefix: &Path) -> Result<OsString> {
    let before = env::var_os(LD_LIBRARY_PATH).filter(|list| !list.is_empty());
    let mut list = vec![prefix.join("lib")];
    list.extend(before.iter().flat_map(env::split_paths));
    env::join_paths(list).context("--patched: a directory with ':' in its name cannot be used")
}

/// The libraries of an overlay that were used where stock ones were meant, as a warning for each.
pub(crate) fn in_the_way(records: &[Record]) -> BTreeSet<String> {
    let of_an_overlay = |library: &&Path| {
        library.parent().and_then(Path::parent).is_some_and(|prefix| prefix.join(MANIFEST).exists())
    };
    loaded(records)
        .filter(of_an_overlay)
        .map(|library| {
            format!(
                "the stock run used {}, which `rdnafix build rocm` made, with the level off: take \
                 it out of {LD_LIBRARY_PATH}",
                library.display()
            )
        })
        .collect()
}

fn loaded(records: &[Record]) -> impl Iterator<Item = &Path> {
    let libraries = records.iter().filter_map(|record| match &record.event {
        Event::Opened { libraries } => Some(libraries),
        _ => None,
    });
    libraries.flatten().map(Path::new)
}

/// That the prefix is not of another major release than the program's libamdhip64: with the
/// libhsa-runtime64 of another release beside it, which has the same name, the program crashes.
///
/// # Errors
/// Where it is: both names.
pub(crate) fn expect_release(prefix: &Path, stock: &[Record]) -> Result<()> {
    const HIP: &str = "libamdhip64.so.";
    let major = |name: &str| {
        let version = name.strip_prefix(HIP)?.split('.').next()?;
        Some(format!("{HIP}{version}"))
    };
    let entries = std::fs::read_dir(prefix.join("lib")).into_iter().flatten().flatten();
    let ours: BTreeSet<String> =
        entries.filter_map(|entry| major(&entry.file_name().to_string_lossy())).collect();
    let mut theirs = loaded(stock).filter_map(|library| major(library.file_name()?.to_str()?));
    match theirs.find(|theirs| !ours.contains(theirs)) {
        Some(theirs) if !ours.is_empty() => bail!(
            "it has {}, and the program uses {theirs}: name a prefix of the program's ROCm \
             release, or the root of the prefix's release by --root",
            Vec::from_iter(ours).join(", ")
        ),
        _ => Ok(()),
    }
}

/// What the program loaded of ROCm that is not the prefix's, as a warning for each.
pub(crate) fn passed_over(prefix: &Path, records: &[Record]) -> BTreeSet<String> {
    let lib = prefix.join("lib");
    loaded(records)
        .filter(|library| !library.starts_with(&lib))
        .map(|library| {
            let name = library.file_name().unwrap_or_default();
            let why = if lib.join(name).exists() {
                "the program finds its own copy first (RPATH, or the full path)"
            } else {
                "the prefix has no library of that name"
            };
            format!(
                "the patched run used {}, which is not patched by {}: {why}",
                library.display(),
                prefix.display()
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_the_libraries_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = prefix(directory.path()).unwrap_err().to_string();
        assert!(error.contains("rdnafix build rocm"), "{error}");
        assert!(prefix(Path::new("/nonexistent")).is_err());
        std::fs::create_dir(directory.path().join("lib")).unwrap();
        std::fs::write(directory.path().join("lib/libamdhip64.so.6"), "").unwrap();
        assert!(prefix(directory.path()).is_ok());
    }

    fn opened(libraries: &[&str]) -> [Record; 1] {
        let libraries = libraries.iter().map(|&path| path.to_owned()).collect();
        [Record { seq: 0, pid: 1, tid: 1, ns: 0, event: Event::Opened { libraries } }]
    }

    #[test]
    fn a_prefix_of_another_release_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let lib = directory.path().join("lib");
        std::fs::create_dir(&lib).unwrap();
        let expect = |library: &str| {
            expect_release(directory.path(), &opened(&[library, "/lib/libhsa-runtime64.so.1"]))
        };
        assert!(expect("/lib/libamdhip64.so.5").is_ok(), "a prefix of ROCr alone");
        std::fs::write(lib.join("libamdhip64.so.6"), "").unwrap();
        assert!(expect("/lib/libamdhip64.so.6.4.43483").is_ok());
        assert!(expect_release(directory.path(), &opened(&[])).is_ok());
        let error = expect("/lib/libamdhip64.so.5.7.31921").unwrap_err().to_string();
        assert!(error.contains("has libamdhip64.so.6, and the program uses libamdhip64.so.5"));
    }

    #[test]
    fn libraries_from_elsewhere_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let lib = directory.path().join("lib");
        std::fs::create_dir(&lib).unwrap();
        std::fs::write(lib.join("libhsa-runtime64.so.1"), "").unwrap();
        let of =
            |libraries: &[&str]| Vec::from_iter(passed_over(directory.path(), &opened(libraries)));
        let ours = lib.join("libhsa-runtime64.so.1");
        assert_eq!(of(&[ours.to_str().unwrap()]), Vec::<String>::new());
        let told = of(&["/usr/lib/libhsa-runtime64.so.1", "/usr/lib/libamdhip64.so.5"]);
        assert!(told[0].contains("so.5") && told[0].contains("no library of that name"));
        assert!(told[1].contains("finds its own copy first"));
    }
}
