//! The settings: `KFDSIM_*` in the environment, checked once.
//!
//! A wrong value is an error that names the variable, the value and what is allowed; nothing
//! is guessed.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::board::{self, Board};
use crate::mtype::Rules;

/// GPUs that fit the descriptor table and KFD's own limit of render minors here.
pub(crate) const MAX_GPUS: usize = 16;

/// What to simulate.
#[expect(clippy::struct_excessive_bools, reason = "each is a setting that is on or off")]
#[derive(Debug)]
pub(crate) struct Config {
    /// `KFDSIM_GPUS`: the boards, in node order.
    pub(crate) boards: Vec<Board>,
    /// `KFDSIM_LOG`: where the log goes.
    pub(crate) log: Option<PathBuf>,
    /// `KFDSIM_LARGE_BAR`: the host reaches all of VRAM.
    pub(crate) large_bar: bool,
    /// `KFDSIM_PCIE_ATOMICS`: PCIe carries atomics from the cards to the host.
    pub(crate) pcie_atomics: bool,
    /// `KFDSIM_SVM`: the kernel has the SVM API.
    pub(crate) svm: bool,
    /// `KFDSIM_RDNA_NONCOHERENT`: amdgpu is patched (patches/linux) and rdna_noncoherent is 1.
    pub(crate) rdna_noncoherent: bool,
    /// `KFDSIM_KFD_VERSION`: minor number of the KFD interface.
    pub(crate) kfd_minor: u32,
    /// `KFDSIM_DENY_NONCOHERENT`: host memory of 2 MiB or more without COHERENT is refused, and
    /// so is clearing COHERENT of an SVM range.
    pub(crate) deny_noncoherent: bool,
    /// `KFDSIM_HOST_MEMORY`: bytes of memory that the topology says the host has; as it has by
    /// default.
    pub(crate) host_memory: Option<u64>,
    /// `KFDSIM_STRICT`: what is left at exit, and what no program may do, is an error.
    pub(crate) strict: bool,
}

impl Config {
    /// Reads the settings through `get`.
    ///
    /// # Errors
    /// What to tell the user.
    pub(crate) fn read(get: impl Fn(&str) -> Option<OsString>) -> Result<Config, String> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let text = |name: &str| -> Result<Option<String>, String> {
            get(name)
                .map(|value| {
                    value.into_string().map_err(|value| {
                        format!("{name}={}: must be UTF-8", value.to_string_lossy())
                    })
                })
                .transpose()
        };
        let switch = |name: &str, default: bool| match text(name)?.as_deref() {
            None => Ok(default),
            Some("1") => Ok(true),
            Some("0") => Ok(false),
            Some(other) => Err(format!("{name}={other}: must be 0 or 1")),
        };
        let known = board::all(get("KFDSIM_BOARDS").map(PathBuf::from).as_deref())?;
        Ok(Config {
            boards: boards(text("KFDSIM_GPUS")?.as_deref().unwrap_or("gfx1030"), &known)?,
            log: get("KFDSIM_LOG").map(PathBuf::from),
            large_bar: switch("KFDSIM_LARGE_BAR", false)?,
            pcie_atomics: switch("KFDSIM_PCIE_ATOMICS", true)?,
            svm: switch("KFDSIM_SVM", true)?,
            rdna_noncoherent: switch("KFDSIM_RDNA_NONCOHERENT", false)?,
            kfd_minor: kfd_minor(text("KFDSIM_KFD_VERSION")?.as_deref())?,
            deny_noncoherent: switch("KFDSIM_DENY_NONCOHERENT", false)?,
            host_memory: host_memory(text("KFDSIM_HOST_MEMORY")?.as_deref())?,
            strict: switch("KFDSIM_STRICT", false)?,
        })
    }

    /// How the kernel chooses an MTYPE.
    pub(crate) fn rules(&self) -> Rules {
        Rules { rdna_noncoherent: self.rdna_noncoherent }
    }

    /// The flags that an SVM range starts with.
    pub(crate) fn range_starts_with(&self) -> u32 {
        let targets = self.boards.iter().map(|board| board.gfx_target_version);
        self.rules().range_starts_with(&targets.collect::<Vec<_>>())
    }

    /// Whether the host reaches all VRAM of this board: the carve-out of an APU is always
    /// visible.
    pub(crate) fn is_large_bar(&self, gpu: usize) -> bool {
        self.large_bar || self.boards[gpu].apu
    }
}

fn boards(value: &str, known: &[Board]) -> Result<Vec<Board>, String> {
    let names: Vec<&str> = value.split(',').map(str::trim).collect();
    if names.len() > MAX_GPUS {
        return Err(format!("KFDSIM_GPUS={value}: at most {MAX_GPUS} GPUs"));
    }
    names
        .iter()
        .map(|name| {
            known.iter().find(|board| board.name == *name).cloned().ok_or_else(|| {
                let mut names: Vec<&str> = known.iter().map(|board| board.name.as_str()).collect();
                names.dedup();
                format!(
                    "KFDSIM_GPUS={value}: {name:?} is no board; known are {}, separated by \
                     commas, or your own files in the directory KFDSIM_BOARDS",
                    names.join(", ")
                )
            })
        })
        .collect()
}

/// 17 is what Linux 6.12 has, and ROCm from 5.2.3 to 7.2.4 works with it; 7.2.4 needs 15.
fn kfd_minor(value: Option<&str>) -> Result<u32, String> {
    let Some(value) = value else { return Ok(17) };
    value
        .strip_prefix("1.")
        .and_then(|minor| minor.parse().ok())
        .filter(|minor| (1..=99).contains(minor))
        .ok_or_else(|| {
            format!("KFDSIM_KFD_VERSION={value}: must be 1.1 to 1.99, for example 1.14 or 1.17")
        })
}

fn host_memory(value: Option<&str>) -> Result<Option<u64>, String> {
    let Some(value) = value else { return Ok(None) };
    value
        .parse()
        .ok()
        .filter(|gib| (1..=1 << 14).contains(gib))
        .map(|gib: u64| Some(gib << 30))
        .ok_or_else(|| format!("KFDSIM_HOST_MEMORY={value}: must be 1 to 16384, in GiB"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, String> {
        Config::read(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_default_is_one_gfx1030_with_svm_and_a_small_bar() {
        let config = read(&[]).unwrap();
        assert_eq!(config.boards.len(), 1);
        assert_eq!(config.boards[0].name, "gfx1030");
        assert!(
            config.svm
                && config.pcie_atomics
                && !config.large_bar
                && !config.deny_noncoherent
                && !config.strict
                && !config.rdna_noncoherent
        );
        assert_eq!(config.kfd_minor, 17);
        assert!(config.log.is_none());
    }

    #[test]
    fn several_gpus_and_the_same_twice_are_fine() {
        let config = read(&[("KFDSIM_GPUS", "gfx1030, gfx1100,gfx1030")]).unwrap();
        let names: Vec<&str> = config.boards.iter().map(|board| board.name.as_str()).collect();
        assert_eq!(names, ["gfx1030", "gfx1100", "gfx1030"]);
    }

    #[test]
    fn the_carve_out_of_an_apu_is_visible_without_a_large_bar() {
        let config = read(&[("KFDSIM_GPUS", "gfx1030,gfx1035")]).unwrap();
        assert!(!config.is_large_bar(0) && config.is_large_bar(1));
    }

    #[test]
    fn a_wrong_value_names_the_variable_the_value_and_what_is_allowed() {
        for (name, value, allowed) in [
            ("KFDSIM_GPUS", "gfx1099", "gfx1030"),
            ("KFDSIM_GPUS", "gfx1030,", "gfx1030"),
            ("KFDSIM_LARGE_BAR", "yes", "0 or 1"),
            ("KFDSIM_PCIE_ATOMICS", "no", "0 or 1"),
            ("KFDSIM_SVM", "2", "0 or 1"),
            ("KFDSIM_DENY_NONCOHERENT", "on", "0 or 1"),
            ("KFDSIM_STRICT", "on", "0 or 1"),
            ("KFDSIM_RDNA_NONCOHERENT", "-1", "0 or 1"),
            ("KFDSIM_KFD_VERSION", "2.1", "1.14"),
            ("KFDSIM_KFD_VERSION", "17", "1.17"),
            ("KFDSIM_HOST_MEMORY", "24G", "GiB"),
            ("KFDSIM_HOST_MEMORY", "0", "1 to 16384"),
            ("KFDSIM_BOARDS", "/nonexistent", "No such file"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.contains(&format!("{name}={value}")), "{error}");
            assert!(error.contains(allowed), "{error}");
        }
    }

    #[test]
    fn seventeen_gpus_are_too_many() {
        let value = ["gfx1030"; 17].join(",");
        assert!(read(&[("KFDSIM_GPUS", &value)]).unwrap_err().contains("at most 16"));
    }

    proptest! {
        #[test]
        fn any_value_is_taken_or_refused(value in "\\PC{0,40}") {
            for name in ["KFDSIM_GPUS", "KFDSIM_SVM", "KFDSIM_KFD_VERSION", "KFDSIM_HOST_MEMORY"] {
                let _ = read(&[(name, &value)]);
            }
        }
    }
}
