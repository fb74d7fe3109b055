//! How ROCm was installed: repositories of another release, programs that no shell finds.

use super::Found;
use crate::doctor::facts::{Machine, Read};

/// The first two numbers of a release; `latest` and the like have none.
fn numbers(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// A repository that is for another release of the distribution, or for an older ROCm than the
/// one in /opt: apt-get installs nothing from it that fits, or nothing newer.
pub(super) fn repository_stale(machine: &Machine) -> Vec<Found> {
    let found = &machine.installation;
    let installed = machine
        .libraries
        .iter()
        .filter(|library| library.path.starts_with("/opt/rocm"))
        .filter_map(|library| library.release.as_ref())
        .filter_map(|release| Some((numbers(&release.value)?, release)))
        .max_by_key(|(numbers, _)| *numbers);
    // A newer one beside it is what counts then.
    let newest = found.repositories.iter().filter_map(|known| numbers(&known.release)).max();
    let mut stale = Vec::new();
    for repository in &found.repositories {
        let text = format!("ROCm {} for {}", repository.release, repository.suite);
        let mut evidence = vec![Read::new(text, repository.from.as_str())];
        let other = found.ubuntu.as_ref().filter(|ubuntu| ubuntu.value != repository.suite);
        let what = match (other, &installed, newest) {
            (Some(ubuntu), _, _) => {
                evidence.push(Read::new(format!("UBUNTU_CODENAME={}", ubuntu.value), &ubuntu.from));
                format!("it is for {}, and this system is {}", repository.suite, ubuntu.value)
            }
            (None, Some((installed, release)), Some(newest)) if newest < *installed => {
                evidence.push((*release).clone());
                format!("it has ROCm {}, and {} is installed", repository.release, release.value)
            }
            _ => continue,
        };
        stale.push(Found::new(what, evidence).with("file", repository.from.as_str()));
    }
    stale
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
    use crate::doctor::facts::Repository;

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
    fn programs_outside_of_path_are_a_note_with_the_directory() {
        let mut machine = machine(&[board("gfx1030", 1)], &[]);
        assert_eq!(count("not-in-path", &machine), 0);
        machine.installation.not_in_path = Some(Read::new("/opt/rocm/bin", "PATH"));
        assert_eq!(count("not-in-path", &machine), 1);
        assert_eq!(not_in_path(&machine)[0].values, [("directory", "/opt/rocm/bin".to_owned())]);
    }
}
