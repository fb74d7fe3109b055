//! ROCm's libraries: the runtimes with their releases, and the kernels of rocBLAS.

use std::collections::BTreeSet;

use serde::Serialize;

use super::source::Source;
use super::{Read, Torch};

/// The runtimes that decide what memory a program gets.
const RUNTIMES: [&str; 2] = ["libamdhip64.so", "libhsa-runtime64.so"];
/// The directory of Debian's libraries.
const DEBIAN: &str = "/usr/lib/x86_64-linux-gnu";
/// Where the loader looks without being told.
const SYSTEM: [&str; 4] = [DEBIAN, "/usr/lib64", "/usr/lib", "/usr/local/lib"];

/// A runtime library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Library {
    /// Its file, all links followed.
    pub(crate) path: String,
    pub(crate) soname: Option<String>,
    /// The ROCm release that it is of.
    pub(crate) release: Option<Read>,
}

impl Library {
    /// Major number of the release.
    pub(crate) fn major(&self) -> Option<u32> {
        self.release.as_ref()?.value.split('.').next()?.parse().ok()
    }
}

/// The kernels of a rocBLAS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Blas {
    pub(crate) directory: String,
    /// The gfx targets that it has kernels for.
    pub(crate) targets: Vec<String>,
    /// Whether it is Debian's, whose ISA compatibility lets gfx103x use the kernels of gfx1030,
    /// and gfx1011 and gfx1012 those of gfx1010 (patches 0025 and 0026 of rocm-hipamd).
    pub(crate) compatible: bool,
}

/// The runtimes of the system, of ROCm's own directories, of LD_LIBRARY_PATH and beside PyTorch.
pub(super) fn libraries(source: &Source, torch: &[Torch]) -> Vec<Library> {
    let mut found: Vec<Library> = Vec::new();
    for directory in directories(source, torch) {
        let runtime = |name: &str| RUNTIMES.iter().any(|runtime| name.starts_with(runtime));
        for name in source.list(&directory, runtime).unwrap_or_default() {
            let Some(path) = source.real(&format!("{directory}/{name}")) else { continue };
            if found.iter().any(|library| library.path == path) {
                continue;
            }
            let Some(elf) = source.library(&path) else { continue };
            let release = release(source, &directory, &path);
            found.push(Library { path, soname: elf.soname, release });
        }
    }
    found
}

/// The release: as ROCm's own file says, or else as libamdhip64's file name does.
fn release(source: &Source, directory: &str, path: &str) -> Option<Read> {
    for above in [".info/version", "../.info/version"] {
        let from = match above.strip_prefix("../") {
            Some(file) => format!("{}/{file}", directory.rsplit_once('/')?.0),
            None => format!("{directory}/{above}"),
        };
        if let Some(text) = source.word(&from).filter(|text| !text.is_empty()) {
            // The build number is of no use here.
            let release = text.split('-').next().unwrap_or(&text).to_owned();
            return Some(Read::new(release, from));
        }
    }
    let numbers = path.rsplit_once('/')?.1.strip_prefix("libamdhip64.so.")?;
    let mut parts = numbers.split('.').map(|part| part.parse::<u32>().ok());
    let (major, minor) = (parts.next()??, parts.next()??);
    Some(Read::new(format!("{major}.{minor}"), path))
}

/// The directories to look in, each once, in the order in which they would be used.
fn directories(source: &Source, torch: &[Torch]) -> Vec<String> {
    let mut directories: Vec<String> = Vec::new();
    let paths = source.variable("LD_LIBRARY_PATH").unwrap_or_default();
    directories.extend(paths.split(':').filter(|path| path.starts_with('/')).map(str::to_owned));
    for torch in torch {
        directories.push(format!("{}/lib", torch.directory));
        // The wheels of TheRock have ROCm in packages of its own.
        let sdk = |name: &str| name.starts_with("_rocm_sdk_");
        let packages = source.list(torch.site(), sdk).unwrap_or_default();
        directories.extend(packages.iter().map(|name| format!("{}/{name}/lib", torch.site())));
    }
    directories.push("/opt/rocm/lib".to_owned());
    for (parent, start) in [("/opt", "rocm-"), ("/opt/rocm", "core-")] {
        let releases = source.list(parent, |name| name.starts_with(start)).unwrap_or_default();
        directories.extend(releases.iter().map(|name| format!("{parent}/{name}/lib")));
    }
    directories.extend(SYSTEM.map(str::to_owned));
    let mut seen = BTreeSet::new();
    directories.retain(|directory| seen.insert(directory.trim_end_matches('/').to_owned()));
    directories
}

/// The kernels of every rocBLAS there.
pub(super) fn blas(source: &Source, torch: &[Torch]) -> Vec<Blas> {
    let mut found: Vec<Blas> = Vec::new();
    for library in directories(source, torch) {
        let parent = format!("{library}/rocblas");
        // Debian has a directory with the version in between.
        let below = source.list(&parent, |name| {
            name == "library" || name.starts_with(|first: char| first.is_ascii_digit())
        });
        for name in below.unwrap_or_default() {
            let debian = name != "library";
            let directory = if debian {
                format!("{parent}/{name}/library")
            } else {
                format!("{parent}/{name}")
            };
            let Some(directory) = source.real(&directory) else { continue };
            if found.iter().any(|blas| blas.directory == directory) {
                continue;
            }
            let Some(names) = source.list(&directory, |name| target_of_file(name).is_some()) else {
                continue;
            };
            let targets: BTreeSet<&str> =
                names.iter().filter_map(|name| target_of_file(name)).collect();
            if !targets.is_empty() {
                found.push(Blas {
                    compatible: debian || library == DEBIAN,
                    directory,
                    targets: targets.into_iter().map(str::to_owned).collect(),
                });
            }
        }
    }
    found
}

/// The target in the name of a file of rocBLAS: `Kernels.so-000-gfx1030.hsaco`,
/// `TensileLibrary_lazy_gfx90a.dat`, `TensileLibrary_Type_HH_fallback_gfx1010.co`.
fn target_of_file(name: &str) -> Option<&str> {
    if !name.starts_with("Kernels.so-") && !name.starts_with("TensileLibrary_") {
        return None;
    }
    let start = name.rfind("gfx")?;
    let rest = &name[start..];
    let digits = rest[3..].chars().take_while(char::is_ascii_hexdigit).count();
    (digits >= 3).then(|| &rest[..3 + digits])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_of_rocblas_name_their_target() {
        for (name, target) in [
            ("Kernels.so-000-gfx1030.hsaco", Some("gfx1030")),
            ("Kernels.so-000-gfx90a-xnack+.hsaco", Some("gfx90a")),
            ("TensileLibrary_lazy_gfx1101.dat", Some("gfx1101")),
            ("TensileLibrary_Type_HH_HPA_Contraction_l_Ailk_fallback_gfx1010.co", Some("gfx1010")),
            ("TensileLibrary_gfx906.co", Some("gfx906")),
            ("TensileLibrary.dat", None),
            ("TensileLibrary_Type_HH.dat", None),
            ("TensileManifest.txt", None),
            ("notes-gfx1030.txt", None),
            ("TensileLibrary_gfx", None),
        ] {
            assert_eq!(target_of_file(name), target, "{name}");
        }
    }

    #[test]
    fn kernels_are_found_beside_rocm_and_in_debians_place() {
        let dir = tempfile::tempdir().unwrap();
        let rocm = dir.path().join("opt/rocm-6.4.0/lib/rocblas/library");
        fs::create_dir_all(&rocm).unwrap();
        for target in ["gfx1030", "gfx90a"] {
            fs::write(rocm.join(format!("TensileLibrary_lazy_{target}.dat")), "").unwrap();
        }
        symlink("rocm-6.4.0", dir.path().join("opt/rocm")).unwrap();
        let debian = dir.path().join("usr/lib/x86_64-linux-gnu/rocblas/4.4.1/library");
        fs::create_dir_all(&debian).unwrap();
        fs::write(debian.join("Kernels.so-000-gfx1010.hsaco"), "").unwrap();
        let found = blas(&Source::copy(dir.path().to_owned(), None), &[]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].directory, "/opt/rocm-6.4.0/lib/rocblas/library");
        assert_eq!(found[0].targets, ["gfx1030", "gfx90a"]);
        assert!(!found[0].compatible && found[1].compatible);
    }

    #[test]
    fn the_release_is_that_of_the_info_file_or_of_the_file_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("opt/rocm/.info")).unwrap();
        fs::write(dir.path().join("opt/rocm/.info/version"), "6.4.1-83\n").unwrap();
        let source = Source::copy(dir.path().to_owned(), None);
        let of = |directory: &str, path: &str| {
            release(&source, directory, path).map(|release| release.value)
        };
        assert_eq!(of("/opt/rocm/lib", "/opt/rocm/lib/x").as_deref(), Some("6.4.1"));
        let debian = "/usr/lib/libamdhip64.so.5.2.21153";
        assert_eq!(of("/usr/lib", debian).as_deref(), Some("5.2"));
        assert_eq!(of("/usr/lib", "/usr/lib/libhsa-runtime64.so.1.5.0"), None);
        assert_eq!(of("/usr/lib", "/usr/lib/libamdhip64.so.x"), None);
    }

    proptest! {
        #[test]
        fn any_file_name_is_judged(name in "(Kernels.so-|TensileLibrary_)?\\PC{0,12}(gfx)?\\PC{0,6}") {
            let _ = target_of_file(&name);
        }
    }
}
