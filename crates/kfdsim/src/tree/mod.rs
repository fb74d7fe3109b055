//! The simulated part of /sys, /dev and /proc as a real directory tree.
//!
//! Real files make opendir, readdir, fstat and relative opens work by themselves. The tree
//! depends on the settings only and is shared by all processes that have the same ones; it
//! is made in one step by rename and never changed or deleted afterwards.

mod files;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use crate::config::Config;
use files::{Files, Node, files};

/// Number of the first render node (drm/drm_drv.c).
pub(crate) const FIRST_RENDER_MINOR: u32 = 128;
/// Major number of DRM devices.
pub(crate) const DRM_MAJOR: u32 = 226;
/// Where the PCI devices of the simulated GPUs are.
pub(crate) const PCI_ROOT: &str = "/sys/devices/pci0000:00";

/// `gpu_id` of a GPU; the kernel's is a hash of its properties, any unique 16-bit number will
/// do (kfd_topology.c, kfd_generate_gpu_id).
pub(crate) fn gpu_id(gpu: usize) -> u32 {
    0x4d01 + gpu as u32
}

/// PCI address of a GPU.
pub(crate) fn pci_address(gpu: usize) -> String {
    format!("0000:{:02x}:00.0", bus(gpu))
}

fn bus(gpu: usize) -> u32 {
    3 + gpu as u32
}

/// Makes the tree, or finds it made, and gives its directory.
///
/// # Errors
/// What to tell the user.
pub(crate) fn create(config: &Config, cpus: usize, ram: u64) -> Result<PathBuf, String> {
    let files = files(config, cpus, ram);
    let mut hash = DefaultHasher::new();
    for (path, node) in &files.0 {
        path.hash(&mut hash);
        match node {
            Node::File(text) | Node::Link(text) => text.hash(&mut hash),
            Node::Directory => {}
        }
    }
    // SAFETY: no arguments, cannot fail.
    let uid = unsafe { libc::geteuid() };
    let parent = std::env::temp_dir();
    let name = format!("kfdsim-{uid}-{:016x}", hash.finish());
    let path = parent.join(&name);
    let error = |error: std::io::Error| {
        format!("cannot make {}: {error}; set TMPDIR to a writable directory", path.display())
    };
    if !path.exists() {
        let draft = parent.join(format!("{name}.{}.{}", crate::sys::pid(), crate::sys::tid()));
        std::fs::DirBuilder::new().mode(0o700).create(&draft).map_err(error)?;
        write(&files, &draft).map_err(error)?;
        if let Err(reason) = std::fs::rename(&draft, &path) {
            // Somebody else was first, or it cannot be done at all.
            let _ = std::fs::remove_dir_all(&draft);
            if !path.exists() {
                return Err(error(reason));
            }
        }
    }
    check(&path, uid)?;
    path.canonicalize().map_err(error)
}

/// In a shared /tmp another user could have put the directory there.
fn check(path: &Path, uid: u32) -> Result<(), String> {
    let data = path.symlink_metadata().map_err(|error| format!("{}: {error}", path.display()))?;
    if !data.is_dir() || data.uid() != uid || data.mode() & 0o022 != 0 {
        return Err(format!(
            "{} is not a directory that only you can write; remove it or set TMPDIR",
            path.display()
        ));
    }
    Ok(())
}

fn write(files: &Files, root: &Path) -> std::io::Result<()> {
    for (path, node) in &files.0 {
        let path = root.join(path.trim_start_matches('/'));
        match node {
            Node::Directory => std::fs::create_dir_all(&path)?,
            Node::File(text) => {
                std::fs::create_dir_all(path.parent().unwrap_or(root))?;
                std::fs::write(&path, text)?;
            }
            Node::Link(target) => {
                std::fs::create_dir_all(path.parent().unwrap_or(root))?;
                symlink(target, &path)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kfd_abi::topology;

    fn config(gpus: &str) -> Config {
        Config::read(|name| (name == "KFDSIM_GPUS").then(|| gpus.into())).unwrap()
    }

    fn written(config: &Config) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        write(&files(config, 4, 8 << 30), root.path()).unwrap();
        root
    }

    #[test]
    fn the_topology_reads_as_kfds_own() {
        let root = written(&config("gfx1030,gfx1036"));
        let gpus = topology::gpus(&root.path().join("sys/class/kfd/kfd/topology")).unwrap();
        assert_eq!(gpus.len(), 2);
        assert_eq!(gpus[0].gfx_target_version, Some(100_300));
        assert_eq!(gpus[1].gfx_target_version, Some(100_306));
        assert_eq!((gpus[0].node, gpus[0].pci.bdf), (1, 0x300));
        assert_eq!((gpus[1].node, gpus[1].pci.bdf), (2, 0x400));
    }

    #[test]
    fn every_link_in_the_tree_leads_somewhere() {
        let config = config("gfx1030,gfx1010");
        let root = written(&config);
        for (path, node) in files(&config, 4, 8 << 30).0 {
            if let Node::Link(target) = node {
                let path = root.path().join(path.trim_start_matches('/'));
                assert!(path.exists(), "{} -> {target}", path.display());
            }
        }
    }

    #[test]
    fn every_node_has_the_directories_of_links_even_where_there_is_no_link() {
        let root = written(&config("gfx1030"));
        let nodes = root.path().join("sys/devices/virtual/kfd/kfd/topology/nodes");
        for directory in ["0/io_links", "0/p2p_links", "1/io_links", "1/p2p_links"] {
            assert!(nodes.join(directory).is_dir(), "{directory}");
        }
    }

    #[test]
    fn without_pcie_atomics_the_links_of_cards_say_so_and_those_of_apus_do_not() {
        let flags = |atomics: bool, node: u32| {
            let root = written(&Config { pcie_atomics: atomics, ..config("gfx1031,gfx1036") });
            let links = format!("sys/devices/virtual/kfd/kfd/topology/nodes/{node}/io_links");
            let text =
                std::fs::read_to_string(root.path().join(links).join("0/properties")).unwrap();
            text.lines().last().unwrap().to_owned()
        };
        assert_eq!([flags(true, 1), flags(true, 2)], ["flags 1", "flags 1"]);
        assert_eq!([flags(false, 1), flags(false, 2)], ["flags 13", "flags 1"]);
    }

    #[test]
    fn only_a_large_bar_makes_vram_public_and_links_the_cpu_to_it() {
        let node = |config: &Config, path: &str| {
            let root = written(config);
            let topology = root.path().join("sys/devices/virtual/kfd/kfd/topology/nodes");
            std::fs::read_to_string(topology.join(path)).ok()
        };
        let small = config("gfx1030");
        let large = Config { large_bar: true, ..config("gfx1030") };
        let bank = "1/mem_banks/0/properties";
        assert!(node(&small, bank).unwrap().contains("heap_type 2\n"));
        assert!(node(&large, bank).unwrap().contains("heap_type 1\n"));
        assert!(node(&small, "0/io_links/0/properties").is_none());
        assert!(node(&large, "0/io_links/0/properties").unwrap().contains("node_to 1\n"));
    }
}
