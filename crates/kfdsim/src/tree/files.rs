//! What the files of the simulated tree say: the KFD topology, DRM and PCI, in KFD's own format.
//!
//! Field names and order are those of amdkfd/kfd_topology.c, Linux 6.12. Values come from the
//! board files and the settings; nothing is written here.

use std::fmt::Write as _;

use super::{DRM_MAJOR, FIRST_RENDER_MINOR, PCI_ROOT, bus, gpu_id, pci_address};
use crate::board::Board;
use crate::config::Config;

pub(super) enum Node {
    File(String),
    Directory,
    Link(String),
}

/// The files, by absolute path in the simulated file system; parents are implied.
pub(super) struct Files(pub(super) Vec<(String, Node)>);

impl Files {
    fn file(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.0.push((path.into(), Node::File(text.into())));
    }

    fn directory(&mut self, path: impl Into<String>) {
        self.0.push((path.into(), Node::Directory));
    }

    fn link(&mut self, path: impl Into<String>, target: impl Into<String>) {
        self.0.push((path.into(), Node::Link(target.into())));
    }

    /// A sysfs file of `name value` lines.
    fn properties(&mut self, path: impl Into<String>, values: &[(&str, u64)]) {
        let mut text = String::new();
        for (name, value) in values {
            let _ = writeln!(text, "{name} {value}");
        }
        self.file(path, text);
    }
}

/// All files for these settings.
pub(super) fn files(config: &Config, cpus: usize, ram: u64) -> Files {
    let mut files = Files(Vec::new());
    // Opens of /dev/kfd and render nodes never reach these; they are here to be listed.
    files.file("/dev/kfd", "");
    files.link("/sys/class/kfd/kfd", "../../devices/virtual/kfd/kfd");
    let topology = "/sys/devices/virtual/kfd/kfd/topology";
    files.file(format!("{topology}/generation_id"), "2\n");
    files.properties(
        format!("{topology}/system_properties"),
        &[("platform_oem", 0), ("platform_id", 0), ("platform_rev", 0)],
    );
    files.file("/sys/class/drm/version", "drm 1.1.0 20060810\n");
    module(&mut files);
    cpu_node(&mut files, config, &format!("{topology}/nodes/0"), cpus, ram);
    for (gpu, board) in config.boards.iter().enumerate() {
        gpu_node(&mut files, config, &format!("{topology}/nodes/{}", gpu + 1), gpu);
        pci_device(&mut files, board, gpu);
    }
    files
}

/// The amdgpu module, which rocminfo looks for: by lsmod (5.2.3) or directly (newer).
fn module(files: &mut Files) {
    const SIZE: u32 = 17_000_000;
    files.file("/sys/module/amdgpu/initstate", "live\n");
    files.file("/sys/module/amdgpu/refcnt", "1\n");
    files.file("/sys/module/amdgpu/coresize", format!("{SIZE}\n"));
    files.directory("/sys/module/amdgpu/holders");
    files.file("/proc/modules", format!("amdgpu {SIZE} 1 - Live 0x0000000000000000\n"));
}

/// `CRAT_IOLINK_FLAGS_NO_ATOMICS_32_BIT` and `_64_BIT` (kfd_crat.h 6.12).
const NO_ATOMICS: u64 = 1 << 2 | 1 << 3;

fn io_link(files: &mut Files, path: String, from: u64, to: u64, flags: u64) {
    const PCI_EXPRESS: u64 = 2; // HSA_IOLINK_TYPE_PCIEXPRESS
    const ENABLED: u64 = 1; // HSA_IOLINK_FLAGS_ENABLED
    let values = [
        ("type", PCI_EXPRESS),
        ("version_major", 0),
        ("version_minor", 0),
        ("node_from", from),
        ("node_to", to),
        ("weight", 20),
        ("min_latency", 0),
        ("max_latency", 0),
        ("min_bandwidth", 312),
        ("max_bandwidth", 15_754),
        ("recommended_transfer_size", 0),
        ("recommended_sdma_engine_id_mask", 0),
        ("flags", ENABLED | flags),
    ];
    files.properties(path, &values);
}

fn cpu_node(files: &mut Files, config: &Config, node: &str, cpus: usize, ram: u64) {
    // KFD makes the CPU to GPU link only where the host reaches all of VRAM (kfd_crat.c).
    let links: Vec<usize> =
        (0..config.boards.len()).filter(|gpu| config.is_large_bar(*gpu)).collect();
    files.file(format!("{node}/gpu_id"), "0\n");
    files.file(format!("{node}/name"), "\n");
    files.directory(format!("{node}/caches"));
    link_directories(files, node);
    let mut values = vec![
        ("cpu_cores_count", cpus as u64),
        ("simd_count", 0),
        ("mem_banks_count", 1),
        ("caches_count", 0),
        ("io_links_count", links.len() as u64),
    ];
    values.extend(
        [
            "p2p_links_count",
            "cpu_core_id_base",
            "simd_id_base",
            "max_waves_per_simd",
            "lds_size_in_kb",
            "gds_size_in_kb",
            "num_gws",
            "wave_front_size",
            "array_count",
            "simd_arrays_per_engine",
            "cu_per_simd_array",
            "simd_per_cu",
            "max_slots_scratch_cu",
            "gfx_target_version",
            "vendor_id",
            "device_id",
            "location_id",
            "domain",
            "drm_render_minor",
            "hive_id",
            "num_sdma_engines",
            "num_sdma_xgmi_engines",
            "num_sdma_queues_per_engine",
            "num_cp_queues",
        ]
        .map(|name| (name, 0)),
    );
    values.push(("max_engine_clk_ccompute", 4000));
    files.properties(format!("{node}/properties"), &values);
    files.properties(
        format!("{node}/mem_banks/0/properties"),
        &[
            ("heap_type", 0),
            ("size_in_bytes", ram),
            ("flags", 0),
            ("width", 64),
            ("mem_clk_max", 2400),
        ],
    );
    for (index, gpu) in links.iter().enumerate() {
        io_link(files, format!("{node}/io_links/{index}/properties"), 0, *gpu as u64 + 1, 0);
    }
}

/// The KFD that came with the debugger (kfd_ioctl.h 6.12, "1.13 - Add debugger API").
const DEBUGGER_MINOR: u32 = 13;

/// `capability` of a GPU node, by the bits of kfd_sysfs.h 6.12.
fn capability(board: &Board, config: &Config) -> u64 {
    const WATCH_POINTS_SUPPORTED: u64 = 0x80;
    const WATCH_POINTS_SHIFT: u32 = 8; // log2 of their number: 4
    const DOORBELL_TYPE_2_0: u64 = 2 << 12;
    const TRAP_DEBUG: u64 = 0x0003_8000; // SUPPORT, and the two of WAVE_LAUNCH
    const ASIC_REVISION_SHIFT: u32 = 22;
    const SVMAPI_SUPPORTED: u64 = 0x0800_0000;
    const TRAP_DEBUG_FIRMWARE: u64 = 0x2000_0000;
    let mut capability = WATCH_POINTS_SUPPORTED
        | 2 << WATCH_POINTS_SHIFT
        | DOORBELL_TYPE_2_0
        | 1 << ASIC_REVISION_SHIFT;
    if config.svm {
        capability |= SVMAPI_SUPPORTED;
    }
    if config.kfd_minor >= DEBUGGER_MINOR {
        capability |= TRAP_DEBUG;
        if debugs(board) {
            capability |= TRAP_DEBUG_FIRMWARE;
        }
    }
    capability
}

/// Whether the firmware raises exceptions (kfd_topology_set_dbg_firmware_support, 6.12; the
/// kernel asks for the version of the GC block, which the gfx target stands for here).
fn debugs(board: &Board) -> bool {
    match board.gfx_target_version {
        90_006 => board.firmware_version >= 459,
        100_100..=100_102 => board.firmware_version >= 144,
        100_300..=100_304 => board.firmware_version >= 89,
        100_103 | 100_305 => false,
        _ => true,
    }
}

fn gpu_node(files: &mut Files, config: &Config, node: &str, gpu: usize) {
    let board = &config.boards[gpu];
    // kfd_crat.c: ids of compute units start here, one block of them for each GPU.
    let first_simd = 0x8000_1000 + gpu as u64 * 0x100;
    files.file(format!("{node}/gpu_id"), format!("{}\n", gpu_id(gpu)));
    files.file(format!("{node}/name"), format!("{}\n", board.codename));
    let simds = board.compute_units * board.simd_per_compute_unit;
    let arrays = board.shader_engines * board.shader_arrays_per_engine;
    let values: [(&str, u64); 38] = [
        ("cpu_cores_count", 0),
        ("simd_count", simds.into()),
        ("mem_banks_count", 1),
        ("caches_count", board.caches.len() as u64),
        ("io_links_count", 1),
        ("p2p_links_count", 0),
        ("cpu_core_id_base", 0),
        ("simd_id_base", first_simd),
        ("max_waves_per_simd", board.max_waves_per_simd.into()),
        ("lds_size_in_kb", 64),
        ("gds_size_in_kb", 0),
        ("num_gws", 0),
        ("wave_front_size", board.wave_front_size.into()),
        ("array_count", arrays.into()),
        ("simd_arrays_per_engine", board.shader_arrays_per_engine.into()),
        ("cu_per_simd_array", board.compute_units_per_array.into()),
        ("simd_per_cu", board.simd_per_compute_unit.into()),
        ("max_slots_scratch_cu", 32),
        ("gfx_target_version", board.gfx_target_version.into()),
        ("vendor_id", 0x1002),
        ("device_id", board.device_id.into()),
        ("location_id", (bus(gpu) << 8).into()),
        ("domain", 0),
        ("drm_render_minor", (FIRST_RENDER_MINOR + gpu as u32).into()),
        ("hive_id", 0),
        ("num_sdma_engines", board.sdma_engines.into()),
        ("num_sdma_xgmi_engines", 0),
        ("num_sdma_queues_per_engine", board.sdma_queues_per_engine.into()),
        ("num_cp_queues", 8),
        ("max_engine_clk_fcompute", board.engine_clock_mhz.into()),
        ("local_mem_size", 0),
        ("fw_version", board.firmware_version.into()),
        ("capability", capability(board, config)),
        ("debug_prop", 1495),
        ("sdma_fw_version", board.sdma_firmware_version.into()),
        ("unique_id", 0x5af7_c0de_0000_0000 + gpu as u64),
        ("num_xcc", 1),
        ("max_engine_clk_ccompute", 4000),
    ];
    files.properties(format!("{node}/properties"), &values);
    let heap_type = if config.is_large_bar(gpu) { 1 } else { 2 }; // FB_PUBLIC, FB_PRIVATE
    files.properties(
        format!("{node}/mem_banks/0/properties"),
        &[
            ("heap_type", heap_type),
            ("size_in_bytes", board.vram()),
            ("flags", 0),
            ("width", board.vram_bit_width.into()),
            ("mem_clk_max", board.memory_clock_mhz.into()),
        ],
    );
    files.file(format!("{node}/mem_banks/0/used_memory"), "0\n");
    for (index, cache) in board.caches.iter().enumerate() {
        let path = format!("{node}/caches/{index}/properties");
        let values = [
            ("processor_id_low", first_simd),
            ("level", cache.level.into()),
            ("size", cache.size_kib.into()),
            ("cache_line_size", 128),
            ("cache_lines_per_tag", 1),
            ("association", 16),
            ("latency", 0),
            ("type", cache.kind.hsa_type().into()),
        ];
        files.properties(path, &values);
        if let Some((_, Node::File(text))) = files.0.last_mut() {
            let _ = writeln!(text, "sibling_map {}", ["1"; 16].join(","));
        }
    }
    link_directories(files, node);
    // kfd_topology.c, kfd_set_iolink_no_atomics: what amdgpu was refused; never of an APU.
    let flags = if config.pcie_atomics || board.apu { 0 } else { NO_ATOMICS };
    io_link(files, format!("{node}/io_links/0/properties"), gpu as u64 + 1, 0, flags);
}

/// KFD makes both for every node, with links or without (kfd_topology.c,
/// kfd_build_sysfs_node_entry; p2p_links since Linux 6.0). librocm_smi64 aborts without them.
fn link_directories(files: &mut Files, node: &str) {
    files.directory(format!("{node}/io_links"));
    files.directory(format!("{node}/p2p_links"));
}

fn pci_device(files: &mut Files, board: &Board, gpu: usize) {
    let address = pci_address(gpu);
    let device = format!("{PCI_ROOT}/{address}");
    for (name, value) in [
        ("vendor", "0x1002".to_owned()),
        ("device", format!("{:#06x}", board.device_id)),
        ("revision", format!("{:#04x}", board.pci_revision)),
        ("subsystem_vendor", "0x1002".to_owned()),
        ("subsystem_device", "0x0e3a".to_owned()),
        ("class", "0x030000".to_owned()),
    ] {
        files.file(format!("{device}/{name}"), format!("{value}\n"));
    }
    files.file(
        format!("{device}/uevent"),
        format!(
            "DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_ID=1002:{:04X}\nPCI_SUBSYS_ID=1002:0E3A\n\
             PCI_SLOT_NAME={address}\n",
            board.device_id
        ),
    );
    files.link(format!("{device}/subsystem"), "../../../bus/pci");
    files.link(
        format!("/sys/bus/pci/devices/{address}"),
        format!("../../../devices/pci0000:00/{address}"),
    );
    let render = FIRST_RENDER_MINOR + gpu as u32;
    for (name, minor) in [(format!("card{gpu}"), gpu as u32), (format!("renderD{render}"), render)]
    {
        let node = format!("{device}/drm/{name}");
        let uevent =
            format!("MAJOR={DRM_MAJOR}\nMINOR={minor}\nDEVNAME=dri/{name}\nDEVTYPE=drm_minor\n");
        files.file(format!("{node}/uevent"), uevent);
        files.file(format!("{node}/dev"), format!("{DRM_MAJOR}:{minor}\n"));
        files.link(format!("{node}/device"), format!("../../../{address}"));
        let target = format!("../../devices/pci0000:00/{address}/drm/{name}");
        files.link(format!("/sys/dev/char/{DRM_MAJOR}:{minor}"), target.clone());
        files.link(format!("/sys/class/drm/{name}"), target);
        files.file(format!("/dev/dri/{name}"), "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_follow_the_settings_and_the_firmware() {
        let of = |gpu: &'static str, minor: &'static str, svm: &'static str| {
            let config = Config::read(|name| match name {
                "KFDSIM_GPUS" => Some(gpu.into()),
                "KFDSIM_KFD_VERSION" => Some(minor.into()),
                "KFDSIM_SVM" => Some(svm.into()),
                _ => None,
            });
            let config = config.expect("these values are allowed");
            capability(&config.boards[0], &config)
        };
        assert_eq!(of("gfx1030", "1.17", "1"), 0x2843_a280);
        assert_eq!(of("gfx1030", "1.17", "0"), 0x2043_a280);
        assert_eq!(of("gfx1030", "1.12", "1"), 0x0840_2280);
        assert_eq!(of("gfx1035", "1.17", "1"), 0x0843_a280);
    }
}
