//! How ROCm came here: the package repositories of AMD's releases, and whether its programs are
//! in PATH. Of a repository's line no more is read, and kept in a dump, than these words: its
//! address may have a password in it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::source::Source;
use super::{Read, has_extension};

const APT: &str = "/etc/apt/sources.list";
/// What the path of a repository of ROCm has, before the release.
const ROCM: &str = "rocm/apt/";

/// A repository that apt-get installs ROCm from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Repository {
    /// As in its path, for example `6.2.4` or `latest`.
    pub(crate) release: String,
    /// The distribution's release that it is for.
    pub(crate) suite: String,
    pub(crate) from: String,
}

/// How ROCm was installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Installation {
    pub(crate) repositories: Vec<Repository>,
    /// The release of Ubuntu; other distributions have none.
    pub(crate) ubuntu: Option<Read>,
    /// The directory of ROCm's programs, where PATH has none of them.
    pub(crate) not_in_path: Option<Read>,
}

pub(super) fn installation(source: &Source) -> Installation {
    let directory = format!("{APT}.d");
    let is_list = |name: &str| has_extension(name, "list") || has_extension(name, "sources");
    let mut files = vec![(APT.to_owned(), APT.to_owned())];
    for (index, name) in source.names(&directory, is_list).iter().enumerate() {
        // Names of lists have those of people in them; AMD's own have not.
        let of_amd = ["rocm", "amdgpu", "other"].iter().any(|start| name.starts_with(start));
        let kept = if of_amd { name.clone() } else { format!("other{index}.list") };
        files.push((format!("{directory}/{name}"), format!("{directory}/{kept}")));
    }
    let mut repositories = Vec::new();
    for (from, kept) in files {
        let text = source
            .part_as(&from, &kept, |text| Some(in_short(text)).filter(|text| !text.is_empty()));
        let text = text.unwrap_or_default();
        repositories.extend(text.lines().filter_map(|line| repository(line, &from)));
    }
    Installation { repositories, ubuntu: ubuntu(source), not_in_path: not_in_path(source) }
}

/// The repositories of a list as `deb rocm/apt/RELEASE SUITE` lines, whatever their form is
/// (sources.list(5)). Of such lines it makes the same lines.
fn in_short(text: &str) -> String {
    let mut short = String::new();
    let mut keep = |release: &str, suite: &str| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "./-".contains(letter);
        if suite.chars().all(plain) {
            short.extend(["deb ", ROCM, release, " ", suite, "\n"]);
        }
    };
    let mut stanza: BTreeMap<String, String> = BTreeMap::new();
    let mut field = String::new();
    for line in text.lines().chain([""]) {
        let mut words = line.split_whitespace().peekable();
        if words.next_if_eq(&"deb").is_some() {
            if let (Some(release), Some(suite)) = (words.find_map(release), words.next()) {
                keep(release, suite);
            }
        } else if line.trim().is_empty() {
            let of = |name: &str| stanza.get(name).map_or("", String::as_str).split_whitespace();
            let wanted =
                of("types").any(|kind| kind == "deb") && of("enabled").all(|word| word != "no");
            for release in of("uris").filter_map(release).filter(|_| wanted) {
                of("suites").for_each(|suite| keep(release, suite));
            }
            stanza.clear();
        } else if line.starts_with([' ', '\t']) {
            stanza.entry(field.clone()).or_default().push_str(line);
        } else if let Some((name, value)) = line.split_once(':') {
            field = name.to_ascii_lowercase();
            stanza.insert(field.clone(), value.to_owned());
        }
    }
    short
}

/// The release in the address of a repository.
fn release(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once(ROCM)?;
    let release = rest.split('/').next()?;
    let numbers = release.starts_with(|first: char| first.is_ascii_digit())
        && release.chars().all(|letter| letter.is_ascii_digit() || letter == '.');
    (numbers || release == "latest").then_some(release)
}

fn repository(line: &str, from: &str) -> Option<Repository> {
    let (release, suite) = line.strip_prefix("deb ")?.strip_prefix(ROCM)?.split_once(' ')?;
    Some(Repository { release: release.into(), suite: suite.into(), from: from.into() })
}

/// As Ubuntu and what is made of it say it (os-release(5)); AMD's packages for Ubuntu are meant for
/// Debian, too, whose releases have other names.
fn ubuntu(source: &Source) -> Option<Read> {
    const FILE: &str = "/etc/os-release";
    let text = source.lines(FILE, |line| line.starts_with("UBUNTU_CODENAME="))?;
    let value = text.lines().next()?.strip_prefix("UBUNTU_CODENAME=")?.trim();
    let name = value.trim_matches(['"', '\'']);
    (!name.is_empty()).then(|| Read::new(name, FILE))
}

fn not_in_path(source: &Source) -> Option<Read> {
    const PROGRAM: &str = "rocminfo";
    if !source.has_path() || source.directory_in_path(PROGRAM).is_some() {
        return None;
    }
    let mut releases = source.list("/opt", |name| name.starts_with("rocm-")).unwrap_or_default();
    let numbers = |name: &String| -> Vec<u32> {
        name.split(['-', '.']).filter_map(|part| part.parse().ok()).collect()
    };
    releases.sort_by_key(numbers);
    let releases = releases.iter().rev().map(|name| format!("/opt/{name}/bin"));
    let mut places = std::iter::once("/opt/rocm/bin".to_owned()).chain(releases);
    let place = places.find(|place| source.exists(&format!("{place}/{PROGRAM}")))?;
    Some(Read::new(place, "PATH"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::source::Notes;
    use std::fs;

    #[test]
    fn a_repository_is_read_from_both_forms_of_lists_and_nothing_else_is_kept() {
        let list = "# deb https://h/rocm/apt/5.7 jammy main\ndeb [arch=amd64 signed-by=/k] \
                    https://user:secret@h/rocm/apt/6.2.4 jammy main\ndeb https://h/other noble main\n";
        let short = in_short(list);
        assert_eq!(short, "deb rocm/apt/6.2.4 jammy\n");
        assert_eq!(in_short(&short), short);
        let stanzas = "Types: deb\nURIs: https://user:secret@h/rocm/apt/latest/\nSuites: noble\n \n\
                       types: deb-src\nuris: https://h/rocm/apt/6.1\nsuites: noble\n\n\
                       Types: deb\nURIs: https://h/rocm/apt/6.2\nSuites: jammy\nEnabled: no\n\n\
                       types: deb\nuris: https://h/rocm/apt/6.3\nSuites:\n jammy\n noble\n\n\
                       Types: deb\nURIs: https://h/graphics\nSuites: noble\n";
        let expected =
            "deb rocm/apt/latest noble\ndeb rocm/apt/6.3 jammy\ndeb rocm/apt/6.3 noble\n";
        assert_eq!(in_short(stanzas), expected);
        assert_eq!(in_short("deb\thttps://h/rocm/apt/6.4 noble\n"), "deb rocm/apt/6.4 noble\n");
        for nothing in [
            "deb rocm/apt/ x\ndeb\nURIs: rocm/apt/6\n",
            "deb h/rocm/apt/6.2?token=secret noble",
            "deb h/rocm/apt/secret@h noble",
            "deb h/rocm/apt/6.2 $(id)",
        ] {
            assert_eq!(in_short(nothing), "", "{nothing}");
        }
    }

    #[test]
    fn the_name_of_ubuntus_release_is_read_as_a_shell_does() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        for (value, name) in [
            ("noble", Some("noble")),
            ("'noble'", Some("noble")),
            ("\"x\" ", Some("x")),
            ("", None),
        ] {
            fs::write(dir.path().join("etc/os-release"), format!("UBUNTU_CODENAME={value}\n"))
                .unwrap();
            let read = ubuntu(&Source::copy(dir.path().to_owned(), None));
            assert_eq!(read.map(|read| read.value).as_deref(), name, "{value}");
        }
    }

    #[test]
    fn programs_that_path_does_not_have_are_named_and_a_dump_says_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for place in ["opt/rocm-6.4.1/bin", "usr/bin", "etc/apt/sources.list.d"] {
            fs::create_dir_all(at(place)).unwrap();
        }
        fs::write(at("opt/rocm-6.4.1/bin/rocminfo"), "").unwrap();
        fs::create_dir_all(at("opt/rocm-6.10.0/bin")).unwrap();
        fs::write(at("opt/rocm-6.10.0/bin/rocminfo"), "").unwrap();
        fs::write(at("etc/os-release"), "NAME=x\nUBUNTU_CODENAME=noble\n").unwrap();
        let list = "deb https://h/rocm/apt/6.4.1 noble main\n";
        fs::write(at("etc/apt/sources.list.d/alice.list"), list).unwrap();
        fs::write(at("etc/apt/sources.list.d/bob.list"), "deb https://h/other noble main\n")
            .unwrap();
        let read = |path: &str| {
            let environment = [("PATH".to_owned(), path.to_owned())].into();
            let notes = Notes { environment, ..Notes::default() };
            let source = Source::copy(dir.path().to_owned(), Some(notes));
            (installation(&source), source.into_record())
        };
        let (found, record) = read("/usr/bin:/secret/bin");
        assert_eq!(found.not_in_path.unwrap().value, "/opt/rocm-6.10.0/bin");
        assert_eq!(found.ubuntu.unwrap().value, "noble");
        assert_eq!(found.repositories[0].release, "6.4.1");
        assert_eq!(record.notes.environment["PATH"], "");
        let kept = &record.files["/etc/apt/sources.list.d/other0.list"];
        assert_eq!(kept, b"deb rocm/apt/6.4.1 noble\n");
        let about = format!("{:?} {:?}", record.files.keys(), record.names);
        assert!(!about.contains("alice") && !about.contains("bob"), "{about}");
        let (found, record) = read("/usr/bin:/opt/rocm-6.4.1/bin:/secret/bin");
        assert_eq!(found.not_in_path, None);
        assert_eq!(record.notes.environment["PATH"], "/opt/rocm-6.4.1/bin");
        let no_dump = installation(&Source::copy(dir.path().to_owned(), None));
        assert_eq!(no_dump.not_in_path, None, "PATH is not known");
    }
}
