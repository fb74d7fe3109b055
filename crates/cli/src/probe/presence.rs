//! Whether librdnafix.so is in a process: each figure is of a run that has it or has not, and the
//! loader only warns of a library that it cannot preload. Reads /proc/self/maps, changes nothing.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::locate::Library;
use crate::preload;

/// Where it is mapped from, if it is: the file itself, a file of its name, or a copy of it.
///
/// # Errors
/// Where the process cannot tell what is mapped.
pub(crate) fn mapped(library: &Path) -> Result<Option<PathBuf>> {
    let maps = fs::read_to_string("/proc/self/maps").context("cannot read /proc/self/maps")?;
    let own = fs::metadata(library).ok();
    let is_own = |file: &&PathBuf| {
        preload::is_named(Library::Rdnafix, file)
            || own.as_ref().is_some_and(|own| same(library, own, file))
    };
    Ok(files(&maps).iter().find(is_own).cloned())
}

/// The files of a list of mappings.
fn files(maps: &str) -> BTreeSet<PathBuf> {
    // Addresses, rights, offset, device and inode come before the path, which may have spaces.
    let path = |line: &str| Some(line[line.find('/')?..].trim_end_matches(" (deleted)").into());
    maps.lines().filter_map(path).collect()
}

fn same(library: &Path, own: &Metadata, file: &Path) -> bool {
    let Ok(other) = fs::metadata(file) else { return false };
    let linked = (own.dev(), own.ino()) == (other.dev(), other.ino());
    let copied = || {
        own.len() == other.len()
            && matches!((fs::read(library), fs::read(file)), (Ok(own), Ok(other)) if own == other)
    };
    linked || (other.is_file() && copied())
}

/// Refuses a run that is not what it is to be.
///
/// # Errors
/// The library is not in the run that is to have it, or is in the one that is not.
pub(crate) fn check(library: &Path, wanted: bool, found: Option<&Path>) -> Result<()> {
    match (wanted, found) {
        (true, None) => bail!(
            "librdnafix.so is not in the run that is to have it, so nothing is compared: the loader \
             did not preload '{library}'. `LD_PRELOAD='{library}' true` shows why; RDNAFIX_LIB names another one",
            library = library.display()
        ),
        (false, Some(found)) => bail!(
            "librdnafix.so is in the stock run, so nothing is compared: '{}' is loaded, though it \
             was taken out of LD_PRELOAD and HSA_TOOLS_LIB where it has its own name. Take it out of \
             /etc/ld.so.preload, or from LD_PRELOAD where it has another name",
            found.display()
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_files_are_found_also_with_spaces_and_where_they_were_deleted() {
        let maps = "7f00-7f01 r--p 00000000 08:01 12 /a b/librdnafix.so (deleted)\n\
                    7f02-7f03 rw-p 00000000 00:00 0 \n\
                    7f04-7f05 rw-p 00000000 00:00 0 [heap]\n";
        assert_eq!(files(maps), BTreeSet::from([PathBuf::from("/a b/librdnafix.so")]));
    }

    #[test]
    fn a_file_that_is_mapped_is_found_by_its_contents_and_another_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("copy");
        // This program is mapped, and stands for the library.
        fs::copy("/proc/self/exe", &copy).unwrap();
        let own = fs::read_link("/proc/self/exe").unwrap();
        assert_eq!(mapped(&copy).unwrap().as_deref(), Some(own.as_path()));
        fs::write(&copy, "no library").unwrap();
        assert_eq!(mapped(&copy).unwrap(), None);
    }

    #[test]
    fn only_a_run_that_is_what_it_is_to_be_is_taken() {
        let (library, found) = (Path::new("/l/librdnafix.so"), Path::new("/x/other.so"));
        assert!(check(library, true, Some(library)).is_ok());
        assert!(check(library, false, None).is_ok());
        let said = |wanted, found| check(library, wanted, found).unwrap_err().to_string();
        assert!(said(true, None).contains("did not preload '/l/librdnafix.so'"));
        assert!(said(false, Some(found)).contains("'/x/other.so' is loaded"));
    }
}
