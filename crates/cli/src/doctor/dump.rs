//! A dump: the files that were read, as an archive that says nothing of whose machine it is,
//! and reading one back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Serialize;
use tempfile::TempDir;

use super::anonymous::Anonymous;
use super::facts::source::{FORMAT, NOTES, Notes, Record, Source};
use crate::stdout::printable_line;

/// The directory in the archive.
const DIRECTORY: &str = "rdnafix-dump";
/// A dump has some hundred kilobytes; what unpacks to more than this is none.
const LARGEST: u64 = 64 << 20;
const MOST_ENTRIES: usize = 200_000;

/// A dump that was written.
#[derive(Debug, Serialize)]
pub(crate) struct Written<'a> {
    file: &'a Path,
    /// How many files are in it.
    files: usize,
    bytes: usize,
}

/// Writes a dump.
///
/// # Errors
/// A file that is there already, or that cannot be written.
pub(crate) fn write(file: &Path, record: Record) -> Result<Written<'_>> {
    let name = file.to_string_lossy();
    if !name.ends_with(".tar.gz") && !name.ends_with(".tgz") {
        bail!("--dump '{name}': it becomes a .tar.gz, so name it so");
    }
    let record = Anonymous::here().record(record);
    let bytes = archive(&record).context("cannot make the archive")?;
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let context = || format!("--dump '{}': cannot write it", file.display());
    // As a whole or not at all, and never over another file.
    let mut draft = tempfile::NamedTempFile::new_in(directory).with_context(context)?;
    draft.write_all(&bytes).with_context(context)?;
    if let Err(error) = draft.persist_noclobber(file) {
        if error.error.kind() == std::io::ErrorKind::AlreadyExists {
            bail!("--dump '{}': there is such a file already; name another", file.display());
        }
        return Err(error.error).with_context(context);
    }
    Ok(Written { file, files: record.files.len(), bytes: bytes.len() })
}

impl Written<'_> {
    /// What is in it.
    pub(crate) fn text(&self) -> String {
        format!(
            "{}: {} files, {} KiB\n\
             What rdnafix has read of /sys, /proc, /etc, /opt and the directories of libraries:\n\
             names of files, short texts, variables that concern ROCm. No serial numbers; users,\n\
             home directories and the host are called \"user\", other names in paths \"dir\".\n\
             Look into it before you send it:\n\
             $ tar -xzf {3}; less {DIRECTORY}/{NOTES}\n",
            printable_line(&self.file.to_string_lossy()),
            self.files,
            self.bytes.div_ceil(1024),
            shlex::try_quote(&printable_line(&self.file.to_string_lossy())).unwrap_or_default(),
        )
    }
}

/// The archive: the same bytes for the same record.
fn archive(record: &Record) -> Result<Vec<u8>> {
    let mut entries: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
    for path in &record.names {
        entries.insert(path.clone(), Some(Vec::new()));
    }
    for path in &record.directories {
        entries.insert(path.clone(), None);
    }
    for (path, bytes) in &record.files {
        entries.insert(path.clone(), Some(bytes.clone()));
    }
    // What has something below it is a directory, whatever it was listed as.
    let parents: BTreeSet<String> = entries
        .keys()
        .flat_map(|path| path.match_indices('/').map(|(at, _)| path[..at].to_owned()))
        .collect();
    entries.retain(|path, _| !parents.contains(path));
    let mut notes = serde_json::to_vec_pretty(&record.notes)?;
    notes.push(b'\n');
    entries.insert(format!("/{NOTES}"), Some(notes));
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (path, content) in &entries {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        let path = format!("{DIRECTORY}{path}");
        if let Some(bytes) = content {
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, path, bytes.as_slice())?;
        } else {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            tar.append_data(&mut header, format!("{path}/"), std::io::empty())?;
        }
    }
    Ok(tar.into_inner()?.finish()?)
}

/// A copy of a machine: a tree, a dump, or the archive of a dump, which is unpacked to a
/// directory that lives as long as the second value.
///
/// # Errors
/// What is no such copy.
pub(crate) fn open(root: &Path) -> Result<(Source, Option<TempDir>)> {
    let context = || format!("--root '{}'", root.display());
    let data = root.metadata().with_context(context)?;
    if data.is_dir() {
        let root = root.canonicalize().with_context(context)?;
        let notes = notes(&root).with_context(context)?;
        return Ok((Source::copy(root, notes), None));
    }
    let unpacked = unpack(root).with_context(|| {
        format!("--root '{}' is neither a directory nor a dump of `rdnafix doctor`", root.display())
    })?;
    let directory = unpacked.path().canonicalize().with_context(context)?;
    let notes = notes(&directory).with_context(context)?;
    if notes.is_none() {
        bail!("--root '{}': the archive has no {DIRECTORY}/{NOTES}", root.display());
    }
    Ok((Source::copy(directory, notes), Some(unpacked)))
}

fn notes(root: &Path) -> Result<Option<Notes>> {
    let file = root.join(NOTES);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {NOTES}")),
    };
    let notes: Notes = serde_json::from_str(&text).with_context(|| format!("in {NOTES}"))?;
    if notes.format != FORMAT {
        bail!("{NOTES} has format {}; this rdnafix reads {FORMAT}", notes.format);
    }
    Ok(Some(notes))
}

/// Unpacks files and directories, and nothing else that an archive can hold.
fn unpack(file: &Path) -> Result<TempDir> {
    let to = tempfile::tempdir().context("no temporary directory; set TMPDIR")?;
    let bytes = GzDecoder::new(BufReader::new(File::open(file)?)).take(LARGEST);
    let mut archive = tar::Archive::new(bytes);
    for (index, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        if index >= MOST_ENTRIES {
            bail!("more than {MOST_ENTRIES} entries");
        }
        let name = entry.path()?.into_owned();
        let Some(place) = below(&name) else {
            bail!("the entry '{}' is not in {DIRECTORY}/", name.display());
        };
        let place = to.path().join(place);
        match entry.header().entry_type() {
            tar::EntryType::Directory => std::fs::create_dir_all(&place)?,
            tar::EntryType::Regular => {
                std::fs::create_dir_all(place.parent().unwrap_or(to.path()))?;
                std::io::copy(&mut entry, &mut File::create_new(&place)?)?;
            }
            other => bail!("the entry '{}' is {other:?}, not a file", name.display()),
        }
    }
    Ok(to)
}

/// The path below the dump's directory, if it is nothing but names.
fn below(name: &Path) -> Option<PathBuf> {
    let rest = name.strip_prefix(DIRECTORY).ok()?;
    rest.components().all(|part| matches!(part, Component::Normal(_))).then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record::default();
        record.files.insert("/proc/x".to_owned(), b"of /home/alice\n".to_vec());
        record.files.insert("/home/alice/version.py".to_owned(), b"y\n".to_vec());
        record.directories.extend(["/run/empty".to_owned(), "/home".to_owned()]);
        record.names.extend(["/home/alice".to_owned(), "/lib/name".to_owned()]);
        record.notes.environment.insert("PATH".to_owned(), "/home/alice/bin".to_owned());
        record
    }

    #[test]
    fn a_dump_reads_back_without_the_names() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("d.tar.gz");
        let anonymous = Anonymous::new(Some("/home/alice".to_owned()), [], []);
        std::fs::write(&file, archive(&anonymous.record(record())).unwrap()).unwrap();
        let (source, _unpacked) = open(&file).unwrap();
        assert_eq!(source.text("/proc/x").as_deref(), Some("of /home/user\n"));
        assert_eq!(source.text("/home/user/version.py").as_deref(), Some("y\n"));
        assert_eq!(source.variable("PATH").as_deref(), Some("/home/user/bin"));
        assert_eq!(source.list("/run/empty", |_| true), Some(vec![]));
        assert!(source.exists("/lib/name") && !source.exists("/home/alice"));
    }

    #[test]
    fn the_same_record_gives_the_same_bytes() {
        assert_eq!(archive(&record()).unwrap(), archive(&record()).unwrap());
    }

    #[test]
    fn a_file_that_is_there_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("d.tar.gz");
        std::fs::write(&file, "mine").unwrap();
        let error = write(&file, record()).unwrap_err().to_string();
        assert!(error.contains("already"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    fn opened(make: impl Fn(&mut tar::Builder<GzEncoder<Vec<u8>>>)) -> Result<()> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        make(&mut tar);
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(&file, tar.into_inner()?.finish()?)?;
        open(file.path()).map(drop)
    }

    fn entry(tar: &mut tar::Builder<GzEncoder<Vec<u8>>>, path: &str, text: &str) {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, text.as_bytes()).unwrap();
    }

    #[test]
    fn an_archive_that_is_no_dump_is_refused() {
        let good = "{\"format\":1,\"environment\":{},\"nodes\":{},\"links\":{},\"libraries\":{}}";
        let notes = format!("{DIRECTORY}/{NOTES}");
        assert!(opened(|tar| entry(tar, &notes, good)).is_ok());
        for path in ["../x", "/etc/x", "other/x", "rdnafix-dump/../../x"] {
            let error = opened(|tar| {
                entry(tar, &notes, good);
                entry(tar, path, "x");
            });
            assert!(format!("{:#}", error.unwrap_err()).contains("is not in"), "{path}");
        }
        let error = opened(|tar| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, format!("{DIRECTORY}/l"), "/etc").unwrap();
        });
        assert!(format!("{:#}", error.unwrap_err()).contains("not a file"));
        assert!(opened(|tar| entry(tar, "rdnafix-dump/a", "x")).is_err());
        assert!(opened(|tar| entry(tar, &notes, &good.replace(":1", ":9"))).is_err());
        assert!(opened(|tar| entry(tar, &notes, "not JSON")).is_err());
        assert!(open(Path::new("/dev/null")).is_err() && open(Path::new("/nonexistent")).is_err());
    }
}
