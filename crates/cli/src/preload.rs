//! The environment that makes the dynamic loader load a library first.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::locate::Library;

/// The variable that the loader reads.
pub(crate) const LD_PRELOAD: &str = "LD_PRELOAD";
/// The variable that ROCr reads.
pub(crate) const HSA_TOOLS_LIB: &str = "HSA_TOOLS_LIB";

/// A value for `LD_PRELOAD`: these libraries first, then what was there.
///
/// # Errors
/// A path that `LD_PRELOAD` cannot express.
pub(crate) fn prepend(libraries: &[PathBuf], existing: Option<&OsStr>) -> Result<OsString> {
    let mut value = Vec::new();
    for path in libraries {
        let bytes = path.as_os_str().as_bytes();
        if bytes.iter().any(|byte| is_separator(*byte)) {
            bail!(
                "the path '{}' has a space or a colon in it, which separate libraries in \
                 LD_PRELOAD: move it, or name a link to it by RDNAFIX_LIB or KFDSIM_LIB",
                path.display(),
            );
        }
        if !value.is_empty() {
            value.push(b':');
        }
        value.extend_from_slice(bytes);
    }
    if let Some(existing) = existing.filter(|existing| !existing.is_empty()) {
        if !value.is_empty() {
            value.push(b':');
        }
        value.extend_from_slice(existing.as_bytes());
    }
    Ok(OsString::from_vec(value))
}

/// The same, where what was there has another copy of one of them, as in a run within a run: it
/// is taken out. Two of them would do everything twice.
///
/// # Errors
/// As [`prepend`].
pub(crate) fn put_first(libraries: &[PathBuf], existing: Option<&OsStr>) -> Result<OsString> {
    let again = |entry: &[u8]| {
        let name = Path::new(OsStr::from_bytes(entry)).file_name();
        libraries.iter().any(|library| library.file_name() == name)
    };
    match existing {
        Some(list) if entries(list).any(again) => {
            let rest: Vec<&[u8]> = entries(list).filter(|entry| !again(entry)).collect();
            prepend(libraries, Some(OsStr::from_bytes(&rest.join(&b':'))))
        }
        _ => prepend(libraries, existing),
    }
}

/// `LD_PRELOAD` or `HSA_TOOLS_LIB` without a library, by its file name; `None` if nothing is
/// left.
pub(crate) fn without(library: Library, existing: &OsStr) -> Option<OsString> {
    let rest: Vec<&[u8]> = entries(existing).filter(|entry| !names(library, entry)).collect();
    (!rest.is_empty()).then(|| OsString::from_vec(rest.join(&b':')))
}

/// Whether a list of libraries has this one in it.
pub(crate) fn contains(library: Library, list: &OsStr) -> bool {
    entries(list).any(|entry| names(library, entry))
}

fn entries(list: &OsStr) -> impl Iterator<Item = &[u8]> {
    list.as_bytes().split(|byte| is_separator(*byte)).filter(|entry| !entry.is_empty())
}

fn is_separator(byte: u8) -> bool {
    byte == b':' || byte.is_ascii_whitespace()
}

fn names(library: Library, entry: &[u8]) -> bool {
    is_named(library, Path::new(OsStr::from_bytes(entry)))
}

/// Whether a file has the name of a library.
pub(crate) fn is_named(library: Library, file: &Path) -> bool {
    file.file_name() == Some(OsStr::new(library.file_name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_preloaded_before_stays_behind() {
        let paths = [PathBuf::from("/a/librdnafix.so"), PathBuf::from("/b/libkfdsim.so")];
        assert_eq!(
            prepend(&paths, Some(OsStr::new("/c.so /d.so"))).unwrap(),
            "/a/librdnafix.so:/b/libkfdsim.so:/c.so /d.so"
        );
        assert_eq!(
            prepend(&paths[..1], None).unwrap(),
            prepend(&paths[..1], Some(OsStr::new(""))).unwrap()
        );
    }

    #[test]
    fn a_library_that_is_there_already_is_put_in_front_once() {
        let ours = [PathBuf::from("/a/librdnafix.so")];
        let put = |list: &str| put_first(&ours, Some(OsStr::new(list))).unwrap();
        assert_eq!(put("/a/librdnafix.so"), "/a/librdnafix.so");
        assert_eq!(put("/c.so /b/librdnafix.so:/d.so"), "/a/librdnafix.so:/c.so:/d.so");
        assert_eq!(put("/c.so /d.so"), "/a/librdnafix.so:/c.so /d.so");
    }

    #[test]
    fn a_path_that_the_loader_would_split_is_refused() {
        for path in ["/my libs/librdnafix.so", "/a:b/librdnafix.so"] {
            assert!(prepend(&[PathBuf::from(path)], None).is_err(), "{path}");
        }
    }

    #[test]
    fn one_library_is_taken_out() {
        let list = OsStr::new("/x/librdnafix.so:/c.so  librdnafix.so.1");
        assert!(contains(Library::Rdnafix, list));
        assert!(!contains(Library::Kfdsim, list));
        assert_eq!(without(Library::Rdnafix, list), Some(OsString::from("/c.so:librdnafix.so.1")));
        assert_eq!(without(Library::Rdnafix, OsStr::new("librdnafix.so")), None);
    }

    proptest! {
        #[test]
        fn taking_out_what_was_put_in_front_gives_back_the_rest(rest in "[a-z/.]{1,9}(:[a-z/.]{1,9}){0,3}") {
            let path = PathBuf::from("/lib/librdnafix.so");
            let list = prepend(&[path], Some(OsStr::new(&rest))).unwrap();
            prop_assert!(contains(Library::Rdnafix, &list));
            prop_assert_eq!(without(Library::Rdnafix, &list), Some(OsString::from(rest)));
        }
    }
}
