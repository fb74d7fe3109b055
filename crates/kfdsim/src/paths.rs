//! Which paths are simulated, and where their files really are.
//!
//! Decides by the path alone. Everything else must pass untouched, so the first look is cheap
//! and allocates nothing.

use std::borrow::Cow;
use std::ffi::{CStr, CString};

use crate::sim::{self, Sim};
use crate::tree;

/// What a simulated path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// /dev/kfd
    Kfd,
    /// A DRM node of a GPU, with its minor number.
    Drm {
        /// Index of the GPU.
        gpu: usize,
        /// Minor device number.
        minor: u32,
    },
    /// An ordinary file or directory.
    File,
}

/// A simulated path.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) node: Node,
    /// Where its file is.
    pub(crate) real: CString,
}

/// Looks a path up; `None` for one that is not simulated.
pub(crate) fn find(path: &CStr) -> Option<Found> {
    let path = simulated(path.to_bytes(), sim::gpus_if_ready)?;
    let sim = sim::get()?;
    find_in(sim, &path)
}

fn find_in(sim: &Sim, path: &[u8]) -> Option<Found> {
    let path = simulated(path, || Some(sim.config.boards.len()))?;
    let mut real = sim.root.as_bytes().to_vec();
    real.extend_from_slice(&path);
    let node = device(&path, sim.config.boards.len()).unwrap_or(Node::File);
    Some(Found { node, real: CString::new(real).ok()? })
}

/// The path if it is simulated, with doubled slashes and `.` taken out. `gpus` gives the
/// number of GPUs; while that is not known, every PCI address may be one of them.
fn simulated(path: &[u8], gpus: impl Fn() -> Option<usize>) -> Option<Cow<'_, [u8]>> {
    let [b'/', b'd' | b's' | b'p' | b'/' | b'.', ..] = path else { return None };
    let path = tidy(path);
    let below = |directory: &str| {
        path.strip_prefix(directory.as_bytes())
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    };
    let pci = |directory: &str| {
        path.strip_prefix(directory.as_bytes())
            .and_then(|rest| rest.get(..13))
            .and_then(|rest| std::str::from_utf8(rest).ok()?.strip_prefix('/'))
            .is_some_and(|address| {
                gpus().is_none_or(|count| (0..count).any(|gpu| tree::pci_address(gpu) == address))
            })
    };
    let found = [
        "/dev/kfd",
        "/dev/dri",
        "/sys/class/kfd",
        "/sys/class/drm",
        "/sys/devices/virtual/kfd",
        "/sys/module/amdgpu",
        "/proc/modules",
    ]
    .into_iter()
    .any(below)
        || path.starts_with(b"/sys/dev/char/226:")
        || pci("/sys/bus/pci/devices")
        || pci(tree::PCI_ROOT);
    found.then_some(path)
}

/// The device that a path names.
fn device(path: &[u8], gpus: usize) -> Option<Node> {
    if path == b"/dev/kfd" {
        return Some(Node::Kfd);
    }
    let name = std::str::from_utf8(path.strip_prefix(b"/dev/dri/")?).ok()?;
    let (number, first) = match name.strip_prefix("renderD") {
        Some(number) => (number, tree::FIRST_RENDER_MINOR),
        None => (name.strip_prefix("card")?, 0),
    };
    let minor: u32 = number.parse().ok()?;
    let gpu = minor.checked_sub(first)? as usize;
    (gpu < gpus).then_some(Node::Drm { gpu, minor })
}

/// Takes `//` and `/.` out of a path, as the kernel does.
fn tidy(path: &[u8]) -> Cow<'_, [u8]> {
    let untidy =
        path.windows(2).any(|pair| pair == b"//") || path.windows(2).any(|pair| pair == b"/.");
    if !untidy {
        return Cow::Borrowed(path);
    }
    let mut tidy = Vec::with_capacity(path.len());
    for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        tidy.push(b'/');
        tidy.extend_from_slice(part);
    }
    Cow::Owned(tidy)
}

/// Where the file of a directory descriptor would be in the simulated file system, for opens
/// relative to it.
pub(crate) fn below(real_directory: &[u8], name: &CStr) -> Option<Found> {
    let sim = sim::get()?;
    let directory = real_directory.strip_prefix(sim.root.as_bytes())?;
    let path = [directory, b"/", name.to_bytes()].concat();
    find_in(sim, &path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_simulated(path: &str) -> bool {
        simulated(path.as_bytes(), || Some(2)).is_some()
    }

    #[test]
    fn the_paths_that_rocm_reads_are_simulated() {
        for path in [
            "/dev/kfd",
            "/dev/dri",
            "/dev/dri/renderD128",
            "/sys/class/kfd/kfd/topology/nodes/0/gpu_id",
            "/sys/devices/virtual/kfd/kfd/topology",
            "/sys/class/drm/card0/device",
            "/sys/dev/char/226:128/device/drm",
            "/sys/module/amdgpu/initstate",
            "/proc/modules",
            "/sys/bus/pci/devices/0000:04:00.0",
            "/sys/devices/pci0000:00/0000:03:00.0/vendor",
            "//dev//kfd",
            "/dev/./kfd",
        ] {
            assert!(is_simulated(path), "{path}");
        }
    }

    #[test]
    fn everything_else_is_left_alone() {
        for path in [
            "",
            "/",
            "dev/kfd",
            "/dev",
            "/dev/kfdx",
            "/dev/null",
            "/dev/drive",
            "/sys/class",
            "/sys/module/amdgpux",
            "/sys/dev/char/1:3",
            "/proc/modulesx",
            "/proc/self/maps",
            "/sys/bus/pci/devices",
            "/sys/bus/pci/devices/0000:05:00.0",
            "/sys/bus/pci/devices/0000:03:00.1",
            "/home/dev/kfd",
        ] {
            assert!(!is_simulated(path), "{path}");
        }
    }

    #[test]
    fn only_nodes_of_gpus_that_there_are_are_devices() {
        assert_eq!(device(b"/dev/kfd", 1), Some(Node::Kfd));
        assert_eq!(device(b"/dev/dri/renderD128", 1), Some(Node::Drm { gpu: 0, minor: 128 }));
        assert_eq!(device(b"/dev/dri/card1", 2), Some(Node::Drm { gpu: 1, minor: 1 }));
        for path in ["/dev/dri/renderD129", "/dev/dri/renderD0", "/dev/dri/card1", "/dev/dri"] {
            assert_eq!(device(path.as_bytes(), 1), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_judged(path in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = simulated(&path, || None);
        }

        #[test]
        fn a_tidy_path_names_the_same_file(parts in proptest::collection::vec("(kfd|\\.|x)?", 1..6)) {
            let path = format!("/{}", parts.join("/"));
            let tidied = String::from_utf8(tidy(path.as_bytes()).into_owned()).unwrap();
            prop_assert!(!tidied.contains("//") && !tidied.contains("/./"));
            let names = |path: &str| -> Vec<String> {
                path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
            };
            prop_assert_eq!(names(&tidied), names(&path));
        }
    }
}
