//! A board of the simulated GPU (crates/kfdsim/boards) from the facts of a machine.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

use super::facts::{Gpu, Machine};

/// The GPU of a node as a board file.
///
/// # Errors
/// No such GPU, or one whose kernel does not say what it is.
pub(crate) fn board(machine: &Machine, node: u32) -> Result<String> {
    let nodes: Vec<String> = machine.gpus.iter().map(|gpu| gpu.node.to_string()).collect();
    let Some(gpu) = machine.gpus.iter().find(|gpu| gpu.node == node) else {
        if nodes.is_empty() {
            bail!("--board {node}: there is no GPU in KFD's topology");
        }
        bail!("--board {node}: no GPU is that KFD node; there are {}", nodes.join(", "));
    };
    let target =
        gpu.target.as_deref().context("--board: the kernel does not say the GPU's gfx target")?;
    let mut file = format!(
        "# {target}: what amdgpu and KFD say of it, from a dump of a machine.\n\
         name = \"{target}\"\n\
         board = \"{target}, PCI id 1002:{:04x}\"\n\
         source = \"`rdnafix doctor --board` on a dump of {}.\"\n\n\
         codename = \"{}\"\n\
         apu = {}\n\
         gfx_target_version = {}\n\
         device_id = {:#06x}\n",
        gpu.device_id,
        if machine.simulated { "the simulated GPU" } else { "hardware" },
        plain(gpu.name.as_deref().unwrap_or(target)),
        gpu.is_apu(),
        gpu.gfx_target_version.unwrap_or(0),
        gpu.device_id,
    );
    match gpu.revision {
        Some(revision) => {
            let _ = writeln!(file, "pci_revision = {revision:#04x}");
        }
        None => file.push_str("# Not readable here:\npci_revision = 0x00\n"),
    }
    let (family, external) =
        family(target).with_context(|| format!("--board: no family is known here for {target}"))?;
    let _ = writeln!(
        file,
        "# In no file of sysfs; the usual ones of this target (libdrm: amdgpu_query_gpu_info).\n\
         family = {family}\nexternal_revision = {external:#04x}\n"
    );
    numbers(&mut file, gpu)?;
    file.push_str("\ncaches = [\n");
    for cache in &gpu.caches {
        let kind = if cache.kind == 2 { "instruction" } else { "data" };
        let _ = writeln!(
            file,
            "    {{ level = {}, size_kib = {}, kind = \"{kind}\" }},",
            cache.level, cache.size_kib
        );
    }
    file.push_str("]\n");
    Ok(file)
}

fn numbers(file: &mut String, gpu: &Gpu) -> Result<()> {
    let property = |name: &str| -> Result<u64> {
        gpu.properties
            .get(name)
            .copied()
            .with_context(|| format!("--board: {} has no {name}", gpu.from))
    };
    let memory = |name: &str| gpu.memory.get(name).copied().unwrap_or(0);
    let arrays = property("simd_arrays_per_engine")?;
    let simds = property("simd_per_cu")?;
    let part = |whole: u64, parts: u64| whole.checked_div(parts).unwrap_or(0);
    let groups = [
        vec![
            ("shader_engines", part(property("array_count")?, arrays)),
            ("shader_arrays_per_engine", arrays),
            ("compute_units_per_array", property("cu_per_simd_array")?),
            ("compute_units", part(property("simd_count")?, simds)),
            ("simd_per_compute_unit", simds),
            ("wave_front_size", property("wave_front_size")?),
            ("max_waves_per_simd", property("max_waves_per_simd")?),
            ("engine_clock_mhz", property("max_engine_clk_fcompute")?),
        ],
        vec![
            ("vram_mib", gpu.vram >> 20),
            ("vram_bit_width", memory("width")),
            ("memory_clock_mhz", memory("mem_clk_max")),
        ],
        vec![
            ("sdma_engines", property("num_sdma_engines")?),
            ("sdma_queues_per_engine", property("num_sdma_queues_per_engine")?),
            ("firmware_version", gpu.firmware_version.into()),
            ("sdma_firmware_version", gpu.sdma_firmware_version.into()),
        ],
    ];
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            file.push('\n');
        }
        for (name, value) in group {
            let _ = writeln!(file, "{name} = {value}");
        }
    }
    Ok(())
}

/// A name without what TOML strings would have to escape.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || " -_.".contains(*letter))
        .collect()
}

/// `AMDGPU_FAMILY_*` (Linux 6.12 include/uapi/drm/amdgpu_drm.h) and the usual external revision,
/// as in the boards of the simulated GPU.
fn family(target: &str) -> Option<(u32, u32)> {
    FAMILIES
        .iter()
        .find(|(name, ..)| *name == target)
        .map(|(_, family, external)| (*family, *external))
}

const FAMILIES: [(&str, u32, u32); 14] = [
    ("gfx1010", 143, 0x0a),
    ("gfx1011", 143, 0x14),
    ("gfx1012", 143, 0x28),
    ("gfx1013", 143, 0x82),
    ("gfx1030", 143, 0x28),
    ("gfx1031", 143, 0x32),
    ("gfx1032", 143, 0x3c),
    ("gfx1033", 144, 0x01),
    ("gfx1034", 143, 0x46),
    ("gfx1035", 146, 0x01),
    ("gfx1036", 149, 0x01),
    ("gfx1100", 145, 0x01),
    ("gfx1201", 152, 0x51),
    ("gfx906", 141, 0x28),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_are_those_of_the_simulated_boards() {
        let boards = concat!(env!("CARGO_MANIFEST_DIR"), "/../kfdsim/boards");
        let mut tried = 0;
        for entry in std::fs::read_dir(boards).unwrap() {
            let board: toml::Table =
                toml::from_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
            let number = |name: &str| u32::try_from(board[name].as_integer().unwrap()).unwrap();
            let expected = Some((number("family"), number("external_revision")));
            assert_eq!(family(board["name"].as_str().unwrap()), expected);
            tried += 1;
        }
        assert_eq!(tried, FAMILIES.len());
    }

    #[test]
    fn a_machine_without_that_gpu_is_an_error_that_names_those_there_are() {
        let error = |machine: &Machine, node| board(machine, node).unwrap_err().to_string();
        assert!(error(&Machine::default(), 1).contains("no GPU"));
        let gpu = Gpu { node: 2, ..Gpu::default() };
        let machine = Machine { gpus: vec![gpu], ..Machine::default() };
        assert!(error(&machine, 1).contains("there are 2"));
        assert!(error(&machine, 2).contains("gfx target"));
    }

    #[test]
    fn a_name_cannot_break_the_file() {
        assert_eq!(plain("navi22\"\nname = \"x"), "navi22name  x");
    }
}
