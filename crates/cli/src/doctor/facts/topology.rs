//! The GPUs: KFD's topology, and the PCI devices behind it.

use std::collections::BTreeMap;

use kfd_abi::topology::{PciAddress, TOPOLOGY, parse_node};
use policy::GfxTarget;
use serde::Serialize;

use super::source::Source;

/// No machine has more nodes (KFD's own limit of GPUs is 64, Linux 6.12 kfd_priv.h).
const MOST_NODES: u32 = 256;
const PCI: &str = "/sys/bus/pci/devices";

/// A GPU that KFD drives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Gpu {
    /// Number of the KFD node; the first GPU usually has 1.
    pub(crate) node: u32,
    /// File with its properties.
    pub(crate) from: String,
    /// Its true gfx target, for example `gfx1031`; `None` on kernels before 5.14.
    pub(crate) target: Option<String>,
    pub(crate) gfx_target_version: Option<u32>,
    /// Code name, for example `navi22`.
    pub(crate) name: Option<String>,
    /// `0000:03:00.0`
    pub(crate) pci: String,
    pub(crate) device_id: u32,
    pub(crate) revision: Option<u32>,
    pub(crate) render_minor: u32,
    pub(crate) firmware_version: u32,
    pub(crate) sdma_firmware_version: u32,
    /// The kernel has the SVM API, which managed memory needs.
    pub(crate) svm: bool,
    /// Bytes of VRAM; of an APU the carve-out.
    pub(crate) vram: u64,
    /// Bytes of VRAM that the CPU sees; `None` where nothing says so.
    pub(crate) visible: Option<u64>,
    /// From the GPU to the host.
    pub(crate) link: Option<Link>,
    /// What the IOMMU does with its addresses: `identity`, `DMA`, `DMA-FQ`.
    pub(crate) iommu: Option<String>,
    /// All other numbers of the node.
    pub(crate) properties: BTreeMap<String, u64>,
    pub(crate) caches: Vec<Cache>,
    pub(crate) memory: BTreeMap<String, u64>,
}

/// The link from a GPU to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Link {
    pub(crate) from: String,
    pub(crate) flags: u32,
    /// PCIe carries atomics of 32 and 64 bits from the GPU to host memory.
    pub(crate) atomics: bool,
}

/// `CRAT_IOLINK_FLAGS_NO_ATOMICS_32_BIT` and `_64_BIT` (Linux 6.12 kfd_crat.h).
const NO_ATOMICS: u32 = 1 << 2 | 1 << 3;
/// `HSA_CAP_SVMAPI_SUPPORTED` (Linux 6.12 kfd_sysfs.h).
const SVMAPI_SUPPORTED: u64 = 0x0800_0000;
/// `HSA_MEM_HEAP_TYPE_FB_PUBLIC` and `_PRIVATE` (kfd_sysfs.h).
const PUBLIC: u64 = 1;
const PRIVATE: u64 = 2;

/// One kind of cache of a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cache {
    pub(crate) level: u64,
    pub(crate) size_kib: u64,
    /// `HSA_CACHE_TYPE_*`, 1 data, 2 instructions.
    pub(crate) kind: u64,
}

/// A display device of AMD on PCI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Display {
    pub(crate) pci: String,
    pub(crate) device_id: u32,
    /// The gfx target by its PCI id, for RDNA1 and RDNA2.
    pub(crate) target: Option<&'static str>,
    /// Whether KFD drives it.
    pub(crate) in_kfd: bool,
}

impl Gpu {
    /// Whether it is RDNA1 or RDNA2, which is what this project is about.
    pub(crate) fn is_rdna12(&self) -> bool {
        self.gfx().is_some_and(GfxTarget::is_rdna12)
    }

    pub(crate) fn gfx(&self) -> Option<GfxTarget> {
        GfxTarget::from_kfd(self.gfx_target_version?)
    }

    /// Its target for people.
    pub(crate) fn called(&self) -> &str {
        self.target.as_deref().unwrap_or("a GPU of unknown target")
    }

    /// Whether it shares its memory with the CPU.
    pub(crate) fn is_apu(&self) -> bool {
        // By target: KFD joins the CPU and the GPU of an APU in one node in older kernels only.
        const APUS: [u32; 10] = [
            90_002, 90_012, 100_103, 100_303, 100_305, 100_306, 110_003, 110_500, 110_501, 110_502,
        ];
        self.gfx_target_version.is_some_and(|version| APUS.contains(&version))
    }
}

/// `name value` lines.
fn properties(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

/// The GPUs of the topology, in node order.
pub(super) fn gpus(source: &Source) -> Vec<Gpu> {
    let nodes = format!("{TOPOLOGY}/nodes");
    let numbers = |name: &str| name.parse::<u32>().is_ok_and(|node| node < MOST_NODES);
    let mut gpus: Vec<Gpu> = source
        .list(&nodes, numbers)
        .unwrap_or_default()
        .iter()
        .filter_map(|name| gpu(source, &format!("{nodes}/{name}"), name.parse().ok()?))
        .collect();
    gpus.sort_by_key(|gpu| gpu.node);
    gpus
}

fn gpu(source: &Source, directory: &str, node: u32) -> Option<Gpu> {
    let from = format!("{directory}/properties");
    // What identifies one card is not read.
    let text = source.lines(&from, |line| !line.starts_with("unique_id"))?;
    let known = parse_node(node, &text)?;
    let mut values = properties(&text);
    let mut take = |name: &str| values.remove(name).unwrap_or(0);
    let small = |value: u64| u32::try_from(value).unwrap_or(0);
    let pci = address(known.pci);
    let mut gpu = Gpu {
        node,
        target: known
            .gfx_target_version
            .and_then(GfxTarget::from_kfd)
            .map(|target| target.to_string()),
        gfx_target_version: known.gfx_target_version,
        name: source.word(&format!("{directory}/name")).filter(|name| !name.is_empty()),
        device_id: small(take("device_id")),
        render_minor: small(take("drm_render_minor")),
        firmware_version: small(take("fw_version")),
        sdma_firmware_version: small(take("sdma_fw_version")),
        svm: take("capability") & SVMAPI_SUPPORTED != 0,
        revision: source.word(&format!("{PCI}/{pci}/revision")).and_then(|text| hex(&text)),
        link: link(source, directory),
        iommu: source.word(&format!("{PCI}/{pci}/iommu_group/type")),
        caches: caches(source, directory),
        pci,
        from,
        ..Gpu::default()
    };
    memory(source, directory, &mut gpu);
    gpu.properties = values;
    Some(gpu)
}

/// The numbered directories below one of a node.
fn numbered(source: &Source, directory: &str) -> Vec<String> {
    let mut names: Vec<u32> = source
        .list(directory, |name| name.parse::<u32>().is_ok())
        .unwrap_or_default()
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    names.sort_unstable();
    names.iter().map(|name| format!("{directory}/{name}/properties")).collect()
}

/// The link to the host: to the lowest node, as those of CPUs come before those of GPUs.
fn link(source: &Source, directory: &str) -> Option<Link> {
    let links = numbered(source, &format!("{directory}/io_links")).into_iter();
    let links = links.filter_map(|from| {
        let values = properties(&source.text(&from)?);
        let flags = u32::try_from(*values.get("flags")?).ok()?;
        Some((*values.get("node_to")?, Link { from, flags, atomics: flags & NO_ATOMICS == 0 }))
    });
    links.min_by_key(|(node, _)| *node).map(|(_, link)| link)
}

fn memory(source: &Source, directory: &str, gpu: &mut Gpu) {
    let (mut visible, mut hidden) = (0_u64, 0_u64);
    for file in numbered(source, &format!("{directory}/mem_banks")) {
        let values = properties(&source.text(&file).unwrap_or_default());
        let size = values.get("size_in_bytes").copied().unwrap_or(0);
        match values.get("heap_type") {
            Some(&PUBLIC) => visible = visible.saturating_add(size),
            Some(&PRIVATE) => hidden = hidden.saturating_add(size),
            _ => continue,
        }
        gpu.memory = values;
    }
    gpu.vram = visible.saturating_add(hidden);
    // The first region is the window to VRAM. Without it, KFD says whether all of it is visible.
    let window = source
        .text(&format!("{PCI}/{}/resource", gpu.pci))
        .and_then(|text| region(text.lines().next()?));
    gpu.visible = window.or((hidden == 0 && visible > 0).then_some(visible));
}

/// Size of a region in a `resource` file: `start end flags`, hexadecimal.
fn region(line: &str) -> Option<u64> {
    let mut numbers =
        line.split_whitespace().map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    let (start, end) = (numbers.next()??, numbers.next()??);
    end.checked_sub(start).filter(|size| *size > 0)?.checked_add(1)
}

/// The kinds of caches: KFD lists each instance.
fn caches(source: &Source, directory: &str) -> Vec<Cache> {
    let mut kinds: Vec<Cache> = Vec::new();
    for file in numbered(source, &format!("{directory}/caches")) {
        let values = properties(&source.text(&file).unwrap_or_default());
        let value = |name: &str| values.get(name).copied().unwrap_or(0);
        let cache =
            Cache { level: value("level"), size_kib: value("size"), kind: value("type") & 3 };
        if !kinds.contains(&cache) {
            kinds.push(cache);
        }
    }
    kinds
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

/// An address as sysfs writes it.
fn address(pci: PciAddress) -> String {
    let (bus, device, function) = (pci.bdf >> 8, pci.bdf >> 3 & 0x1f, pci.bdf & 7);
    format!("{:04x}:{bus:02x}:{device:02x}.{function:x}", pci.domain)
}

/// AMD's display devices.
pub(super) fn displays(source: &Source, gpus: &[Gpu]) -> Vec<Display> {
    const AMD: u32 = 0x1002;
    // Base class of display controllers; 0x12 are the accelerators without one.
    const CLASSES: [u32; 2] = [0x03, 0x12];
    let mut names = source.list(PCI, |_| true).unwrap_or_default();
    // Where the listing has not all of them, as on the simulated GPU.
    names.extend(gpus.iter().map(|gpu| gpu.pci.clone()));
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter_map(|pci| {
            let number = |file: &str| hex(&source.word(&format!("{PCI}/{pci}/{file}"))?);
            (number("vendor")? == AMD && CLASSES.contains(&(number("class")? >> 16)))
                .then_some(())?;
            let device_id = number("device")?;
            Some(Display {
                device_id,
                target: target_of_device(device_id),
                in_kfd: gpus.iter().any(|gpu| gpu.pci == pci),
                pci,
            })
        })
        .collect()
}

/// The gfx target of an RDNA1 or RDNA2 device (libhsakmt/src/topology.c 6.4.3, and the ids that
/// amdgpu has besides).
fn target_of_device(id: u32) -> Option<&'static str> {
    Some(match id {
        0x7310 | 0x7312 | 0x7318..=0x731b | 0x731e | 0x731f => "gfx1010",
        0x7360 | 0x7362 => "gfx1011",
        0x7340 | 0x7341 | 0x7347 | 0x734f => "gfx1012",
        0x13f9..=0x13fc | 0x13fe | 0x143f => "gfx1013",
        0x73a0..=0x73a3 | 0x73a5 | 0x73a8 | 0x73a9 | 0x73ab..=0x73ae | 0x73bf => "gfx1030",
        0x73c0 | 0x73c1 | 0x73c3 | 0x73da..=0x73df => "gfx1031",
        0x73e0..=0x73e3 | 0x73e8..=0x73ed | 0x73ef | 0x73ff => "gfx1032",
        0x163f => "gfx1033",
        0x7420..=0x7424 | 0x743f => "gfx1034",
        0x164d | 0x1681 => "gfx1035",
        0x164e => "gfx1036",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_window_of_a_card_is_its_first_region() {
        let line = "0x000000d000000000 0x000000d00fffffff 0x000000000014220c";
        assert_eq!(region(line), Some(256 << 20));
        let none = "0x0000000000000000 0x0000000000000000 0x0000000000000000";
        for line in [none, "", "0x1", "zz zz", "0x2 0x1"] {
            assert_eq!(region(line), None, "{line}");
        }
    }

    #[test]
    fn an_address_is_written_as_in_sysfs() {
        assert_eq!(address(PciAddress { domain: 0, bdf: 0x0300 }), "0000:03:00.0");
        assert_eq!(address(PciAddress { domain: 0x10, bdf: 0xc7fb }), "0010:c7:1f.3");
    }

    #[test]
    fn the_ids_of_the_simulated_boards_have_their_targets() {
        let boards = concat!(env!("CARGO_MANIFEST_DIR"), "/../kfdsim/boards");
        for entry in std::fs::read_dir(boards).unwrap() {
            let board: toml::Table =
                toml::from_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
            let name = board["name"].as_str().unwrap();
            let id = u32::try_from(board["device_id"].as_integer().unwrap()).unwrap();
            let expected = name.starts_with("gfx10").then_some(name);
            assert_eq!(target_of_device(id), expected, "{id:#x}");
        }
    }

    #[test]
    fn the_link_to_the_host_is_judged_and_not_the_one_to_another_gpu() {
        let dir = tempfile::tempdir().unwrap();
        let node = dir.path().join("nodes/3");
        for (link, text) in [("0", "node_to 4\nflags 1\n"), ("1", "node_to 1\nflags 13\n")] {
            std::fs::create_dir_all(node.join("io_links").join(link)).unwrap();
            std::fs::write(node.join("io_links").join(link).join("properties"), text).unwrap();
        }
        let source = Source::copy(dir.path().to_owned(), None);
        let link = link(&source, "/nodes/3").unwrap();
        assert_eq!((link.flags, link.atomics), (13, false));
    }

    proptest! {
        #[test]
        fn any_text_of_sysfs_is_read_or_passed_over(text in "\\PC{0,80}", hexes in "(0x[0-9a-f]{0,17} ?){0,4}") {
            let _ = region(&text);
            let _ = region(&hexes);
            let _ = hex(&text);
            let _ = properties(&text);
        }

        #[test]
        fn any_node_is_read_or_passed_over(
            lines in proptest::collection::vec("(simd_count|domain|location_id|gfx_target_version|capability|flags|node_to|size_in_bytes|heap_type) [0-9]{0,22}", 0..9),
            resource in "\\PC{0,60}",
        ) {
            let dir = tempfile::tempdir().unwrap();
            let node = dir.path().join("sys/class/kfd/kfd/topology/nodes/1");
            for below in ["io_links/0", "mem_banks/0", "mem_banks/1", "caches/0"] {
                std::fs::create_dir_all(node.join(below)).unwrap();
                std::fs::write(node.join(below).join("properties"), lines.join("\n")).unwrap();
            }
            std::fs::write(node.join("properties"), lines.join("\n")).unwrap();
            let pci = dir.path().join("sys/bus/pci/devices/0000:00:00.0");
            std::fs::create_dir_all(&pci).unwrap();
            std::fs::write(pci.join("resource"), resource).unwrap();
            let source = Source::copy(dir.path().to_owned(), None);
            let gpus = gpus(&source);
            let _ = displays(&source, &gpus);
        }
    }
}
