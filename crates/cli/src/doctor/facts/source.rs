//! Reading the machine, or a copy of one: files below a root, the environment, the access to
//! device nodes. Remembers everything that it was asked, so that a dump has exactly that.
//!
//! Never opens a device, never runs a program, and gives `None` for whatever cannot be read:
//! what a machine does not show is not this module's to judge.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, getegid, getgroups};
use serde::{Deserialize, Serialize};

use super::elf::{self, Elf};
use super::place::{inside, regular_file};

/// No file that is read here is meant to be longer; the rest of a longer one is not read.
const LONGEST_FILE: u64 = 256 << 10;
/// A directory of rocBLAS has some thousand entries.
const MOST_ENTRIES: usize = 20_000;

/// Whether this process may use a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Access {
    Missing,
    Denied,
    Granted,
    /// A copy of a machine does not say.
    Unknown,
}

/// What is known of a device node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) access: Access,
    /// Group of the node.
    pub(crate) gid: Option<u32>,
    /// Whether this process is in that group.
    pub(crate) member: bool,
}

impl Node {
    const UNKNOWN: Self = Self { access: Access::Unknown, gid: None, member: false };
}

/// What the files of a dump cannot hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Notes {
    /// Version of this format.
    pub(crate) format: u32,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) nodes: BTreeMap<String, Node>,
    /// Where links lead.
    pub(crate) links: BTreeMap<String, String>,
    /// Libraries, whose content is not in a dump.
    pub(crate) libraries: BTreeMap<String, Elf>,
}

/// The name of the notes in a dump.
pub(crate) const NOTES: &str = "rdnafix-dump.json";
/// The format that this version writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// All that was read.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) directories: BTreeSet<String>,
    /// Entries of directories that were listed.
    pub(crate) names: BTreeSet<String>,
    pub(crate) notes: Notes,
}

/// Where facts are read.
pub(crate) struct Source {
    /// `None` for the running machine.
    root: Option<PathBuf>,
    /// Of a dump.
    notes: Option<Notes>,
    /// The variables to read; none for a copy without notes.
    environment: BTreeMap<String, String>,
    record: RefCell<Record>,
}

impl Source {
    /// The machine that this runs on.
    pub(crate) fn machine() -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .collect();
        Self { root: None, notes: None, environment, record: RefCell::default() }
    }

    /// A copy below a directory, with the notes of a dump if it is one.
    pub(crate) fn copy(root: PathBuf, notes: Option<Notes>) -> Self {
        let environment = notes.as_ref().map(|notes| notes.environment.clone());
        Self {
            root: Some(root),
            notes,
            environment: environment.unwrap_or_default(),
            record: RefCell::default(),
        }
    }

    /// Whether this is the running machine.
    pub(crate) fn is_live(&self) -> bool {
        self.root.is_none()
    }

    /// All that was asked until now.
    pub(crate) fn into_record(self) -> Record {
        self.record.into_inner()
    }

    /// The text of a file.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        self.lines(path, |_| true)
    }

    /// The lines of a file that are kept; the others are not in a dump either.
    pub(crate) fn lines(&self, path: &str, keep: impl Fn(&str) -> bool) -> Option<String> {
        self.part(path, |text| text.split_inclusive('\n').filter(|line| keep(line)).collect())
    }

    /// What `keep` leaves of a file, and what a dump has of it.
    pub(crate) fn part(&self, path: &str, keep: impl Fn(&str) -> String) -> Option<String> {
        self.part_as(path, path, |text| Some(keep(text)))
    }

    /// The same of a file that a dump has by another name, or, where `keep` leaves nothing, not.
    pub(crate) fn part_as(
        &self,
        path: &str,
        kept_as: &str,
        keep: impl Fn(&str) -> Option<String>,
    ) -> Option<String> {
        let mut bytes = Vec::new();
        let file = regular_file(&self.place(path)?).ok()?;
        file.take(LONGEST_FILE).read_to_end(&mut bytes).ok()?;
        let kept = keep(&String::from_utf8_lossy(&bytes))?;
        self.record.borrow_mut().files.insert(kept_as.to_owned(), kept.clone().into_bytes());
        Some(kept)
    }

    /// The text of a file without the white space around it.
    pub(crate) fn word(&self, path: &str) -> Option<String> {
        self.text(path).map(|text| text.trim().to_owned())
    }

    /// The names in a directory that are kept, sorted.
    pub(crate) fn list(&self, path: &str, keep: impl Fn(&str) -> bool) -> Option<Vec<String>> {
        let names = self.names_in(path, keep)?;
        let mut record = self.record.borrow_mut();
        record.directories.insert(path.to_owned());
        record.names.extend(names.iter().map(|name| format!("{path}/{name}")));
        drop(record);
        Some(names)
    }

    /// The same, which a dump does not have.
    pub(crate) fn names(&self, path: &str, keep: impl Fn(&str) -> bool) -> Vec<String> {
        self.names_in(path, keep).unwrap_or_default()
    }

    fn names_in(&self, path: &str, keep: impl Fn(&str) -> bool) -> Option<Vec<String>> {
        let entries = std::fs::read_dir(self.place(path)?).ok()?;
        let mut names: Vec<String> = entries
            .take(MOST_ENTRIES)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| keep(name))
            .collect();
        names.sort();
        Some(names)
    }

    /// Whether there is such a file or directory.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let found = self.place(path).is_some_and(|place| place.exists());
        if found {
            self.record.borrow_mut().names.insert(path.to_owned());
        }
        found
    }

    /// Where a path leads, all links followed.
    pub(crate) fn real(&self, path: &str) -> Option<String> {
        let real = match (&self.notes, &self.root) {
            (Some(notes), _) => {
                notes.links.get(path).cloned().or_else(|| Some(path.to_owned())).filter(|real| {
                    self.place(real).is_some_and(|place| place.symlink_metadata().is_ok())
                })?
            }
            (None, None) => Path::new(path).canonicalize().ok()?.to_str()?.to_owned(),
            (None, Some(root)) => {
                let place = self.place(path)?;
                let inside = place.strip_prefix(root).ok()?.to_str()?;
                place.symlink_metadata().ok()?;
                format!("/{inside}")
            }
        };
        let mut record = self.record.borrow_mut();
        if real != path {
            record.notes.links.insert(path.to_owned(), real.clone());
        }
        record.names.extend([path.to_owned(), real.clone()]);
        Some(real)
    }

    /// What a shared library says of itself.
    pub(crate) fn library(&self, path: &str) -> Option<Elf> {
        let elf = match &self.notes {
            Some(notes) => notes.libraries.get(path).cloned()?,
            None => elf::read(&self.place(path)?)?,
        };
        let mut record = self.record.borrow_mut();
        record.names.insert(path.to_owned());
        record.notes.libraries.insert(path.to_owned(), elf.clone());
        Some(elf)
    }

    /// The variables whose names are kept.
    pub(crate) fn variables(&self, keep: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
        let kept: BTreeMap<String, String> = self
            .environment
            .iter()
            .filter(|(name, _)| keep(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        self.record.borrow_mut().notes.environment.extend(kept.clone());
        kept
    }

    /// One variable that is not empty.
    pub(crate) fn variable(&self, wanted: &str) -> Option<String> {
        self.variables(|name| name == wanted).remove(wanted).filter(|value| !value.is_empty())
    }

    /// Whether PATH is known, which a tree that is no dump has not.
    pub(crate) fn has_path(&self) -> bool {
        self.environment.contains_key("PATH")
    }

    /// The first directory of PATH that has a program. A dump gets no more of PATH than such
    /// directories: the others are nobody's business.
    pub(crate) fn directory_in_path(&self, program: &str) -> Option<String> {
        let path = self.environment.get("PATH")?;
        let mut all = path.split(':').filter(|directory| directory.starts_with('/'));
        let found = all.find(|directory| self.exists(&format!("{directory}/{program}")));
        let mut record = self.record.borrow_mut();
        let kept = record.notes.environment.entry("PATH".to_owned()).or_default();
        let found = found?;
        if kept.split(':').all(|known| known != found) {
            if !kept.is_empty() {
                kept.push(':');
            }
            kept.push_str(found);
        }
        Some(found.to_owned())
    }

    /// A device node, without opening it.
    pub(crate) fn node(&self, path: &str) -> Node {
        let node = match (&self.notes, &self.root) {
            (Some(notes), _) => notes.nodes.get(path).cloned().unwrap_or(Node::UNKNOWN),
            (None, Some(_)) => Node::UNKNOWN,
            (None, None) => live_node(Path::new(path)),
        };
        self.record.borrow_mut().notes.nodes.insert(path.to_owned(), node.clone());
        node
    }

    /// Where a path of the machine is here. A link in a copy leads into the copy, never out.
    fn place(&self, path: &str) -> Option<PathBuf> {
        match &self.root {
            None => Some(PathBuf::from(path)),
            Some(root) => inside(root, Path::new(path)),
        }
    }
}

fn live_node(path: &Path) -> Node {
    let Ok(data) = path.metadata() else {
        return Node { access: Access::Missing, ..Node::UNKNOWN };
    };
    let gid = data.gid();
    let groups = getgroups().unwrap_or_default();
    Node {
        access: match access(path, AccessFlags::R_OK | AccessFlags::W_OK) {
            Ok(()) => Access::Granted,
            Err(_) => Access::Denied,
        },
        gid: Some(gid),
        member: getegid().as_raw() == gid || groups.iter().any(|group| group.as_raw() == gid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn copy(make: impl Fn(&Path)) -> (tempfile::TempDir, Source) {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let source = Source::copy(dir.path().to_owned(), None);
        (dir, source)
    }

    #[test]
    fn a_link_of_a_copy_never_leads_out_of_it() {
        let (_dir, source) = copy(|root| {
            fs::create_dir_all(root.join("etc")).unwrap();
            fs::create_dir_all(root.join("opt/rocm-6/lib")).unwrap();
            fs::write(root.join("etc/passwd"), "of the copy\n").unwrap();
            symlink("/etc/passwd", root.join("absolute")).unwrap();
            symlink("../../../../etc/passwd", root.join("etc/above")).unwrap();
            symlink("/opt/rocm-6", root.join("opt/rocm")).unwrap();
            symlink("round", root.join("round")).unwrap();
        });
        for path in ["/absolute", "/etc/above", "/../../etc/passwd"] {
            assert_eq!(source.text(path).as_deref(), Some("of the copy\n"), "{path}");
        }
        assert_eq!(source.real("/opt/rocm/lib").as_deref(), Some("/opt/rocm-6/lib"));
        assert_eq!(source.text("/round"), None);
        assert_eq!(source.real("/nowhere"), None);
    }

    #[test]
    fn a_copy_has_neither_variables_nor_access() {
        let (_dir, source) = copy(|_| {});
        assert_eq!(source.variable("PATH"), None);
        assert_eq!(source.node("/dev/null").access, Access::Unknown);
        assert_eq!(Source::machine().node("/dev/null").access, Access::Granted);
        assert_eq!(Source::machine().node("/dev/nonexistent").access, Access::Missing);
    }

    #[test]
    fn what_is_not_kept_is_not_remembered() {
        let (_dir, source) = copy(|root| fs::write(root.join("f"), "a=1\nsecret=2\n").unwrap());
        assert_eq!(source.lines("/f", |line| line.starts_with('a')).unwrap(), "a=1\n");
        assert_eq!(source.into_record().files["/f"], b"a=1\n");
    }

    #[test]
    fn a_long_or_strange_file_is_read_in_part_and_without_panic() {
        let (_dir, source) = copy(|root| {
            fs::write(root.join("long"), vec![b'x'; 1 << 20]).unwrap();
            fs::write(root.join("bytes"), [0xff, 0, 0xfe]).unwrap();
            fs::create_dir(root.join("directory")).unwrap();
            mkfifo(&root.join("fifo"), Mode::S_IRWXU).unwrap();
        });
        assert_eq!(source.text("/long").unwrap().len() as u64, LONGEST_FILE);
        assert!(source.text("/bytes").is_some());
        assert_eq!(source.text("/directory"), None);
        assert_eq!(source.text("/fifo"), None, "nobody ever writes to it");
        assert_eq!(source.list("/long", |_| true), None);
    }
}
