//! How ROCm came here: the package repositories of AMD's releases, and whether its programs are
//! in PATH. Of a repository's line no more is read, and kept in a dump, than these words: its
//! address may have a password in it.

use serde::Serialize;

use super::source::Source;
use super::{Read, has_extension};

const APT: &str = "/etc/apt/sources.list.d";
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
    let lists =
        source.list(APT, |name| has_extension(name, "list") || has_extension(name, "sources"));
    let mut repositories = Vec::new();
    for name in lists.unwrap_or_default() {
        let from = format!("{APT}/{name}");
        let text = source.part(&from, in_short).unwrap_or_default();
        repositories.extend(text.lines().filter_map(|line| repository(line, &from)));
    }
    Installation { repositories, ubuntu: ubuntu(source), not_in_path: not_in_path(source) }
}

/// The repositories of a list as `deb rocm/apt/RELEASE SUITE` lines, whatever their form is
/// (sources.list(5)). Of such lines it makes the same lines.
fn in_short(text: &str) -> String {
    let mut short = String::new();
    for line in text.lines().filter(|line| line.starts_with("deb ")) {
        let mut words = line.split_whitespace();
        if let (Some(release), Some(suite)) = (words.find_map(release), words.next()) {
            short.extend(["deb ", ROCM, release, " ", suite, "\n"]);
        }
    }
    for stanza in text.split("\n\n") {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name));
        let (uris, suites) = (field("URIs:"), field("Suites:"));
        for release in uris.iter().flat_map(|uris| uris.split_whitespace()).filter_map(release) {
            for suite in suites.iter().flat_map(|suites| suites.split_whitespace()) {
                short.extend(["deb ", ROCM, release, " ", suite, "\n"]);
            }
        }
    }
    short
}

/// The release in the address of a repository.
fn release(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once(ROCM)?;
    rest.split('/').next().filter(|release| !release.is_empty())
}

fn repository(line: &str, from: &str) -> Option<Repository> {
    let (release, suite) = line.strip_prefix("deb ")?.strip_prefix(ROCM)?.split_once(' ')?;
    Some(Repository { release: release.into(), suite: suite.into(), from: from.into() })
}

/// As Ubuntu and what is made of it say it; AMD's packages for Ubuntu are meant for Debian, too,
/// whose releases have other names.
fn ubuntu(source: &Source) -> Option<Read> {
    const FILE: &str = "/etc/os-release";
    let text = source.lines(FILE, |line| line.starts_with("UBUNTU_CODENAME="))?;
    let name = text.lines().next()?.strip_prefix("UBUNTU_CODENAME=")?.trim_matches('"');
    Some(Read::new(name, FILE))
}

fn not_in_path(source: &Source) -> Option<Read> {
    const PROGRAM: &str = "rocminfo";
    if source.directory_in_path(PROGRAM).is_some() {
        return None;
    }
    let releases = source.list("/opt", |name| name.starts_with("rocm-")).unwrap_or_default();
    // The newest last.
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
        let stanzas = "Types: deb\nURIs: https://user:secret@h/rocm/apt/latest/\nSuites: noble\n\n\
                       URIs: https://h/graphics\nSuites: noble\n";
        assert_eq!(in_short(stanzas), "deb rocm/apt/latest noble\n");
        assert_eq!(in_short("deb rocm/apt/ x\ndeb\nURIs: rocm/apt/6\n"), "");
    }

    #[test]
    fn programs_that_path_does_not_have_are_named_and_a_dump_says_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for place in ["opt/rocm-6.4.1/bin", "usr/bin", "etc/apt/sources.list.d"] {
            fs::create_dir_all(at(place)).unwrap();
        }
        fs::write(at("opt/rocm-6.4.1/bin/rocminfo"), "").unwrap();
        fs::write(at("etc/os-release"), "NAME=x\nUBUNTU_CODENAME=noble\n").unwrap();
        let list = "deb https://h/rocm/apt/6.4.1 noble main\n";
        fs::write(at("etc/apt/sources.list.d/rocm.list"), list).unwrap();
        let read = |path: &str| {
            let environment = [("PATH".to_owned(), path.to_owned())].into();
            let notes = Notes { environment, ..Notes::default() };
            let source = Source::copy(dir.path().to_owned(), Some(notes));
            (installation(&source), source.into_record())
        };
        let (found, record) = read("/usr/bin:/secret/bin");
        assert_eq!(found.not_in_path.unwrap().value, "/opt/rocm-6.4.1/bin");
        assert_eq!(found.ubuntu.unwrap().value, "noble");
        assert_eq!(found.repositories[0].release, "6.4.1");
        assert!(!record.notes.environment.contains_key("PATH"));
        let kept = &record.files["/etc/apt/sources.list.d/rocm.list"];
        assert_eq!(kept, b"deb rocm/apt/6.4.1 noble\n");
        let (found, record) = read("/usr/bin:/opt/rocm-6.4.1/bin:/secret/bin");
        assert_eq!(found.not_in_path, None);
        assert_eq!(record.notes.environment["PATH"], "/opt/rocm-6.4.1/bin");
    }
}
