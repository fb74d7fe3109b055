//! How ROCm was installed: repositories of another release, programs that no shell finds.

use std::collections::BTreeSet;

use super::Found;
use crate::doctor::facts::{Machine, Read, Repository};

/// The first two numbers of a release; `latest` and the like have none.
fn numbers(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// Lists with a repository that is for another release of the distribution, or for an older ROCm
/// than the one in /opt: apt-get installs nothing from it that fits, or nothing newer.
pub(super) fn repository_stale(machine: &Machine) -> Vec<Found> {
    let found = &machine.installation;
    let fits = |repository: &Repository| {
        // AMD's first repositories were for every release.
        let suite = &repository.suite;
        found.ubuntu.as_ref().is_none_or(|ubuntu| ubuntu.value == *suite || suite == "ubuntu")
    };
    let installed = machine
        .libraries
        .iter()
        .filter(|library| library.path.starts_with("/opt/rocm"))
        .filter_map(|library| library.release.as_ref())
        .filter_map(|release| Some((numbers(&release.value)?, release)))
        .max_by_key(|(numbers, _)| *numbers);
    let fitting = || found.repositories.iter().filter(|repository| fits(repository));
    // One of `latest`, or of a newer release, is what counts.
    let newest: Option<Vec<_>> = fitting().map(|known| numbers(&known.release)).collect();
    let newest = newest.and_then(|known| known.into_iter().max());
    let older = installed.filter(|(installed, _)| newest.is_some_and(|newest| newest < *installed));
    let is_stale = |repository: &&Repository| !fits(repository) || older.is_some();
    let files: BTreeSet<&str> = found.repositories.iter().map(|known| &known.from[..]).collect();
    let mut all = Vec::new();
    for file in files {
        let of_file = || found.repositories.iter().filter(|repository| repository.from == file);
        let stale: Vec<&Repository> = of_file().filter(is_stale).collect();
        let Some(first) = stale.first() else { continue };
        let text = |known: &&Repository| {
            Read::new(format!("ROCm {} for {}", known.release, known.suite), file)
        };
        let mut evidence: Vec<Read> = stale.iter().map(text).collect();
        let what = match (&found.ubuntu, older) {
            (Some(ubuntu), _) if !fits(first) => {
                evidence.push(Read::new(format!("UBUNTU_CODENAME={}", ubuntu.value), &ubuntu.from));
                format!("it is for {}, and this system is {}", first.suite, ubuntu.value)
            }
            (_, Some((_, release))) => {
                evidence.push(release.clone());
                format!("it has ROCm {}, and {} is installed", first.release, release.value)
            }
            _ => continue,
        };
        let mut one = Found::new(what, evidence).with("file", file);
        // What else is in the list is to stay.
        if stale.len() < of_file().count() {
            one.commands = Some(0);
        }
        all.push(one);
    }
    all
}

/// Programs of ROCm in /opt, and PATH without them.
pub(super) fn not_in_path(machine: &Machine) -> Vec<Found> {
    let Some(place) = &machine.installation.not_in_path else { return Vec::new() };
    let evidence = vec![
        Read::new("rocminfo", place.value.as_str()),
        Read::new("no directory with rocminfo", place.from.as_str()),
    ];
    let what = format!("rocminfo is in {} only", place.value);
    vec![Found::new(what, evidence).with("directory", place.value.as_str())]
}

#[cfg(test)]
mod tests {
    use super::super::test_machine::{board, count, library, machine};
    use super::*;

    #[test]
    fn a_repository_of_another_ubuntu_or_of_an_older_rocm_is_stale() {
        for (repositories, ubuntu, installed, expected) in [
            (&[("6.2.4", "jammy")][..], Some("noble"), "6.2.4", 1),
            (&[("6.2.4", "noble")], Some("noble"), "6.2.4", 0),
            // AMD's packages for jammy are those for Debian 12.
            (&[("6.2.4", "jammy")], None, "6.2.4", 0),
            (&[("6.2.4", "noble")], Some("noble"), "6.4.1", 1),
            (&[("6.10", "noble")], Some("noble"), "6.4.1", 0),
            (&[("latest", "noble")], Some("noble"), "6.4.1", 0),
            (&[("latest", "noble"), ("6.2", "noble")], Some("noble"), "6.4.1", 0),
            (&[("7.0", "jammy"), ("6.2", "noble")], Some("noble"), "6.4.1", 1),
            (&[("5.2.3", "ubuntu")], Some("noble"), "5.2.3", 0),
            (&[("6.2", "noble"), ("6.4.1", "noble")], Some("noble"), "6.4.1", 0),
            (&[("7.0", "noble")], Some("noble"), "6.4.1", 0),
        ] {
            let mut machine = machine(&[board("gfx1030", 1)], &[]);
            let found = &mut machine.installation;
            found.repositories = repositories
                .iter()
                .map(|(release, suite)| Repository {
                    release: (*release).to_owned(),
                    suite: (*suite).to_owned(),
                    from: "/etc/apt/sources.list.d/rocm.list".to_owned(),
                })
                .collect();
            found.ubuntu = ubuntu.map(|name| Read::new(name, "/etc/os-release"));
            machine.libraries = vec![library(installed)];
            assert_eq!(
                count("repository-stale", &machine),
                expected,
                "{repositories:?} {installed}"
            );
        }
    }

    #[test]
    fn a_list_that_has_a_fitting_repository_too_is_not_to_be_put_away() {
        let mut machine = machine(&[board("gfx1030", 1)], &[]);
        let from = "/etc/apt/sources.list.d/rocm.list".to_owned();
        let of = |suite: &str| Repository {
            release: "6.4.1".to_owned(),
            suite: suite.to_owned(),
            from: from.clone(),
        };
        machine.installation.ubuntu = Some(Read::new("noble", "/etc/os-release"));
        machine.installation.repositories = vec![of("noble"), of("jammy"), of("focal")];
        let found = repository_stale(&machine);
        assert_eq!((found.len(), found[0].commands), (1, Some(0)));
        assert_eq!(found[0].evidence.len(), 3);
    }

    #[test]
    fn programs_outside_of_path_are_a_note_with_the_directory() {
        let mut machine = machine(&[board("gfx1030", 1)], &[]);
        assert_eq!(count("not-in-path", &machine), 0);
        machine.installation.not_in_path = Some(Read::new("/opt/rocm/bin", "PATH"));
        assert_eq!(count("not-in-path", &machine), 1);
        assert_eq!(not_in_path(&machine)[0].values, [("directory", "/opt/rocm/bin".to_owned())]);
    }
}
