//! The patched libraries of `--patched`: a prefix made by `rdnafix build rocm`, put before the
//! stock libraries, and whether the program then loaded them.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kfd_abi::log::{Event, Record};

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

/// What the program loaded of ROCm that is not the prefix's, as a warning for each.
pub(crate) fn passed_over(prefix: &Path, records: &[Record]) -> BTreeSet<String> {
    let lib = prefix.join("lib");
    let loaded = records.iter().filter_map(|record| match &record.event {
        Event::Opened { libraries } => Some(libraries),
        _ => None,
    });
    loaded
        .flatten()
        .map(Path::new)
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

    #[test]
    fn libraries_from_elsewhere_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let lib = directory.path().join("lib");
        std::fs::create_dir(&lib).unwrap();
        std::fs::write(lib.join("libhsa-runtime64.so.1"), "").unwrap();
        let of = |libraries: &[&str]| {
            let libraries = libraries.iter().map(|&path| path.to_owned()).collect();
            let event = Event::Opened { libraries };
            let record = Record { seq: 0, pid: 1, tid: 1, ns: 0, event };
            Vec::from_iter(passed_over(directory.path(), &[record]))
        };
        let ours = lib.join("libhsa-runtime64.so.1");
        assert_eq!(of(&[ours.to_str().unwrap()]), Vec::<String>::new());
        let told = of(&["/usr/lib/libhsa-runtime64.so.1", "/usr/lib/libamdhip64.so.5"]);
        assert!(told[0].contains("so.5") && told[0].contains("no library of that name"));
        assert!(told[1].contains("finds its own copy first"));
    }
}
