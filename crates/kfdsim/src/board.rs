//! Boards: what amdgpu and KFD would say of a GPU, as data files.
//!
//! One TOML file per board in `boards/`, embedded; more from the directory that
//! `KFDSIM_BOARDS` names. Values are what user space reads, not how hardware behaves.

use std::path::Path;

use serde::Deserialize;

/// One board.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Board {
    /// What `KFDSIM_GPUS` calls it, and the LLVM target.
    pub(crate) name: String,
    #[serde(rename = "board")]
    _full_name: String,
    #[serde(rename = "source")]
    _where_from: String,
    pub(crate) codename: String,
    pub(crate) apu: bool,
    pub(crate) gfx_target_version: u32,
    pub(crate) device_id: u32,
    pub(crate) pci_revision: u32,
    pub(crate) family: u32,
    pub(crate) external_revision: u32,
    pub(crate) shader_engines: u32,
    pub(crate) shader_arrays_per_engine: u32,
    pub(crate) compute_units_per_array: u32,
    pub(crate) compute_units: u32,
    pub(crate) simd_per_compute_unit: u32,
    pub(crate) wave_front_size: u32,
    pub(crate) max_waves_per_simd: u32,
    pub(crate) engine_clock_mhz: u32,
    vram_mib: u64,
    pub(crate) vram_bit_width: u32,
    pub(crate) memory_clock_mhz: u32,
    pub(crate) sdma_engines: u32,
    pub(crate) sdma_queues_per_engine: u32,
    pub(crate) firmware_version: u32,
    pub(crate) sdma_firmware_version: u32,
    pub(crate) caches: Vec<Cache>,
}

/// One cache of a GPU node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cache {
    pub(crate) level: u32,
    pub(crate) size_kib: u32,
    pub(crate) kind: CacheKind,
}

/// What a cache holds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CacheKind {
    Data,
    Instruction,
}

impl CacheKind {
    /// `HSA_CACHE_TYPE_*` of a cache of compute units (kfd_sysfs.h 6.12).
    pub(crate) fn hsa_type(self) -> u32 {
        const HSACU: u32 = 8;
        match self {
            CacheKind::Data => HSACU | 1,
            CacheKind::Instruction => HSACU | 2,
        }
    }
}

impl Board {
    /// Bytes of VRAM; of an APU the carve-out.
    pub(crate) fn vram(&self) -> u64 {
        self.vram_mib << 20
    }

    fn parse(text: &str, origin: &str) -> Result<Board, String> {
        let board: Board = toml::from_str(text).map_err(|error| format!("{origin}: {error}"))?;
        let (major, minor) =
            (board.gfx_target_version / 10_000, board.gfx_target_version / 100 % 100);
        let stepping = board.gfx_target_version % 100;
        let name = format!("gfx{major}{minor:x}{stepping:x}");
        if board.name != name {
            return Err(format!(
                "{origin}: gfx_target_version {} is {name}, but the board is called {}",
                board.gfx_target_version, board.name
            ));
        }
        // Only where the MTYPE does not depend on which GPU's memory it is: see mtype.rs.
        if !matches!((major, minor, stepping), (9, 0, 0..=6) | (10..=11, ..) | (12, 0, _)) {
            return Err(format!(
                "{origin}: no MTYPE rule for {name}; known are gfx900 to gfx906, gfx10, gfx11 \
                 and gfx120x"
            ));
        }
        if board.compute_units == 0 || board.vram_mib == 0 || board.sdma_engines == 0 {
            return Err(format!(
                "{origin}: compute_units, vram_mib and sdma_engines must not be 0"
            ));
        }
        Ok(board)
    }
}

macro_rules! embedded {
    ($($name:literal),*) => {
        &[$(($name, include_str!(concat!("../boards/", $name, ".toml")))),*]
    };
}

const EMBEDDED: &[(&str, &str)] = embedded![
    "gfx906", "gfx1010", "gfx1011", "gfx1012", "gfx1013", "gfx1030", "gfx1031", "gfx1032",
    "gfx1033", "gfx1034", "gfx1035", "gfx1036", "gfx1100", "gfx1201"
];

/// The embedded boards, and those of `directory` in front of them.
///
/// # Errors
/// Which file is wrong, and how.
pub(crate) fn all(directory: Option<&Path>) -> Result<Vec<Board>, String> {
    let mut boards = Vec::new();
    if let Some(directory) = directory {
        let error = |error| format!("KFDSIM_BOARDS={}: {error}", directory.display());
        let mut files = std::fs::read_dir(directory)
            .map_err(error)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(error)?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(&file).map_err(error)?;
            boards.push(Board::parse(&text, &file.display().to_string())?);
        }
    }
    for (name, text) in EMBEDDED {
        boards.push(Board::parse(text, name)?);
    }
    Ok(boards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_board_is_valid_and_named_by_its_file() {
        let boards = all(None).unwrap();
        for ((file, _), board) in EMBEDDED.iter().zip(&boards) {
            assert_eq!(*file, board.name);
            let arrays = board.shader_engines * board.shader_arrays_per_engine;
            assert!(arrays * board.compute_units_per_array >= board.compute_units, "{file}");
            let wave = if board.gfx_target_version < 100_000 { 64 } else { 32 };
            assert_eq!(board.wave_front_size, wave, "{file}");
        }
    }

    #[test]
    fn the_issue_boards_are_all_there() {
        let names: Vec<String> = all(None).unwrap().into_iter().map(|board| board.name).collect();
        for stepping in ["10", "11", "12", "13", "30", "31", "32", "33", "34", "35", "36"] {
            assert!(names.contains(&format!("gfx10{stepping}")), "gfx10{stepping}");
        }
    }

    #[test]
    fn a_file_of_the_user_comes_first_and_a_wrong_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let text = EMBEDDED.iter().find(|(name, _)| *name == "gfx1030").unwrap().1;
        std::fs::write(
            dir.path().join("mine.toml"),
            text.replace("vram_mib = 16384", "vram_mib = 32768"),
        )
        .unwrap();
        std::fs::write(dir.path().join("notes.txt"), "not a board").unwrap();
        assert_eq!(all(Some(dir.path())).unwrap()[0].vram(), 32 << 30);

        std::fs::write(dir.path().join("bad.toml"), text.replace("gfx1030", "gfx1031")).unwrap();
        let error = all(Some(dir.path())).unwrap_err();
        assert!(error.contains("bad.toml") && error.contains("gfx1030"), "{error}");
    }

    #[test]
    fn a_board_without_an_mtype_rule_is_refused() {
        let text = EMBEDDED[0].1.replace("gfx906", "gfx942").replace("90006", "90402");
        assert!(Board::parse(&text, "x").unwrap_err().contains("no MTYPE rule for gfx942"));
    }

    #[test]
    fn a_field_that_nobody_reads_is_an_error() {
        let text = format!("vram_gib = 3\n{}", EMBEDDED[0].1);
        assert!(Board::parse(&text, "x").unwrap_err().contains("vram_gib"));
    }
}
