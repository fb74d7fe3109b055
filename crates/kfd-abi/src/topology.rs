//! The KFD topology in sysfs: which GPUs the kernel drives, by their true gfx target.
//!
//! `HSA_OVERRIDE_GFX_VERSION` changes what ROCr calls an agent, never these files, so this
//! is where "is it RDNA1/2" is decided. Reads files only; parsing never panics.

use std::io;
use std::path::Path;

/// Where Linux shows the topology (kfd_topology.c; `/sys/class/kfd/kfd` is a link to
/// `/sys/devices/virtual/kfd/kfd`).
pub const TOPOLOGY: &str = "/sys/class/kfd/kfd/topology";

/// The address of a PCI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    /// PCI domain (segment).
    pub domain: u32,
    /// Bus, device and function as KFD's `location_id` has them: bus << 8 | devfn.
    pub bdf: u16,
}

/// One GPU node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// Number of the node in the topology.
    pub node: u32,
    /// Its PCI address.
    pub pci: PciAddress,
    /// `gfx_target_version`: major * 10000 + minor * 100 + stepping, decimal (kfd_device.c);
    /// `None` on kernels before 5.14, which do not say.
    pub gfx_target_version: Option<u32>,
}

/// The GPUs of a topology directory, CPU nodes left out, in node order. A node that cannot be
/// read is left out too: in a container that was given some of the GPUs, the kernel refuses the
/// files of the others (Linux 6.12 kfd_topology.c, node_show), and ROCr does not see them either.
///
/// # Errors
/// What reading the directory gave.
pub fn gpus(topology: &Path) -> io::Result<Vec<Gpu>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(topology.join("nodes"))? {
        let path = entry?.path();
        let Some(node) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else {
            continue;
        };
        let text = std::fs::read_to_string(path.join("properties")).unwrap_or_default();
        found.extend(parse_node(node, &text));
    }
    found.sort_by_key(|gpu| gpu.node);
    Ok(found)
}

/// One node's `properties` file: lines of `name value`. `None` for a CPU node, which has no
/// SIMD units, and for text without the fields that every KFD GPU node has.
pub fn parse_node(node: u32, properties: &str) -> Option<Gpu> {
    let field = |name: &str| -> Option<u64> {
        properties.lines().find_map(|line| {
            let (key, value) = line.split_once(' ')?;
            (key == name).then(|| value.trim().parse().ok())?
        })
    };
    if field("simd_count")? == 0 {
        return None;
    }
    Some(Gpu {
        node,
        pci: PciAddress {
            domain: u32::try_from(field("domain").unwrap_or(0)).ok()?,
            bdf: u16::try_from(field("location_id")?).ok()?,
        },
        gfx_target_version: field("gfx_target_version")
            .filter(|version| *version != 0)
            .and_then(|version| u32::try_from(version).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAVI21: &str = "cpu_cores_count 0\nsimd_count 120\ngfx_target_version 100300\n\
                          location_id 768\ndomain 0\n";

    #[test]
    fn a_gpu_node_gives_its_address_and_target() {
        assert_eq!(
            parse_node(1, NAVI21),
            Some(Gpu {
                node: 1,
                pci: PciAddress { domain: 0, bdf: 0x300 },
                gfx_target_version: Some(100_300),
            })
        );
    }

    #[test]
    fn a_cpu_node_is_no_gpu() {
        assert_eq!(parse_node(0, "simd_count 0\ngfx_target_version 0\n"), None);
    }

    #[test]
    fn an_old_kernel_does_not_say_the_target() {
        let text = NAVI21.replace("gfx_target_version 100300\n", "");
        assert_eq!(parse_node(1, &text).unwrap().gfx_target_version, None);
    }

    #[test]
    fn nodes_are_read_in_order_and_other_entries_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("10", NAVI21), ("2", NAVI21), ("0", "simd_count 0\n"), ("junk", "")] {
            let node = dir.path().join("nodes").join(name);
            std::fs::create_dir_all(&node).unwrap();
            std::fs::write(node.join("properties"), text).unwrap();
        }
        let nodes: Vec<u32> = gpus(dir.path()).unwrap().iter().map(|gpu| gpu.node).collect();
        assert_eq!(nodes, [2, 10]);
    }

    #[test]
    fn a_node_that_cannot_be_read_does_not_hide_the_others() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("nodes/1/properties")).unwrap();
        std::fs::create_dir_all(dir.path().join("nodes/2")).unwrap();
        std::fs::write(dir.path().join("nodes/2/properties"), NAVI21).unwrap();
        std::fs::create_dir_all(dir.path().join("nodes/3")).unwrap();
        std::fs::write(dir.path().join("nodes/3/properties"), [0xff, 0xfe]).unwrap();
        let nodes: Vec<u32> = gpus(dir.path()).unwrap().iter().map(|gpu| gpu.node).collect();
        assert_eq!(nodes, [2]);
    }

    #[test]
    fn a_missing_topology_is_an_error() {
        assert!(gpus(Path::new("/nonexistent")).is_err());
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in "\\PC{0,200}", lines in proptest::collection::vec("(simd_count|domain|location_id|gfx_target_version) [0-9a-z-]{0,25}", 0..6)) {
            let _ = parse_node(1, &text);
            let _ = parse_node(1, &lines.join("\n"));
        }
    }
}
