//! The report of `rdnafix probe` and `rdnafix bench`: one JSON file, made to be attached to an
//! issue. It has no names of hosts or users, and no paths.

use std::collections::BTreeMap;
use std::path::Path;

use crate::stdout::printable_json;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// The version of the file's form. Another one is refused.
pub(crate) const SCHEMA: &str = "rdnafix-measurement/1";

/// Which command made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Probe,
    Bench,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Bench => "bench",
        }
    }
}

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    pub(crate) schema: String,
    pub(crate) kind: Kind,
    /// Made by hand for a test. Whatever shows it must say so.
    #[serde(default)]
    pub(crate) synthetic: bool,
    /// Version of this command.
    pub(crate) rdnafix: String,
    /// What the interposed run rewrites.
    pub(crate) policy: String,
    pub(crate) machine: Machine,
    /// Why there is no result at all.
    pub(crate) not_measured: Option<String>,
    /// Kernels were launched, and their results not read.
    #[serde(default)]
    pub(crate) launch_only: bool,
    pub(crate) risks: Vec<Risk>,
    pub(crate) rows: Vec<Row>,
    /// What the words and figures mean.
    pub(crate) meaning: Vec<String>,
}

/// Where it was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    /// libkfdsim.so stands in for the kernel.
    pub(crate) simulated: bool,
    /// The kernel's release.
    pub(crate) kernel: Option<String>,
    /// Version of HIP, for example 6.4.
    pub(crate) hip: Option<String>,
    pub(crate) gpu: Option<Gpu>,
    /// The variables that change what ROCm does.
    pub(crate) environment: BTreeMap<String, String>,
}

/// The GPU and its slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gpu {
    /// `0000:03:00.0`
    pub(crate) pci: String,
    /// The name that HIP gives.
    pub(crate) name: Option<String>,
    /// gfx target; kernels before 5.14 do not say.
    pub(crate) target: Option<String>,
    pub(crate) device_id: Option<u32>,
    pub(crate) firmware_version: Option<u32>,
    pub(crate) apu: bool,
    /// Flags of KFD's link from the GPU to the host.
    pub(crate) link_flags: Option<u32>,
    /// PCIe carries atomics from the GPU to host memory.
    pub(crate) pcie_atomics: Option<bool>,
    /// Managed memory by the kernel's SVM API.
    pub(crate) svm: Option<bool>,
}

/// A kind of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Memory {
    Vram,
    Default,
    Mapped,
    Coherent,
    NonCoherent,
    Managed,
}

impl Memory {
    pub(crate) const ALL: [Self; 6] =
        [Self::Vram, Self::Default, Self::Mapped, Self::Coherent, Self::NonCoherent, Self::Managed];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Vram => "VRAM",
            Self::Default => "default host",
            Self::Mapped => "mapped",
            Self::Coherent => "coherent",
            Self::NonCoherent => "non-coherent",
            Self::Managed => "managed",
        }
    }
}

/// Whether atomics on a kind of memory are at risk, from the topology alone; `None`: unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Risk {
    pub(crate) memory: Memory,
    pub(crate) stock: Option<bool>,
    pub(crate) interposed: Option<bool>,
    pub(crate) why: String,
}

/// A kind of memory, without and with librdnafix.so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) memory: Memory,
    pub(crate) stock: Side,
    pub(crate) interposed: Side,
}

/// One of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Side {
    /// What librdnafix.so did with the allocation, in its own words.
    pub(crate) allocation: Option<String>,
    pub(crate) cells: Vec<Cell>,
}

/// One operation or pattern.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// Compared with what the CPU computes.
    Compared {
        elements: u32,
        /// Elements that are wrong after atomics whose old value nobody uses.
        wrong: u32,
        /// Elements that are wrong, or whose old value is, where it is used.
        wrong_returning: u32,
    },
    /// 10^9 bytes per second that the kernel asked for: the median, and each run.
    Bandwidth {
        gb_per_s: f64,
        runs: Vec<f64>,
    },
    /// Launched and ended; the result was not read.
    Accepted,
    /// HIP or hiprtc refused something.
    Failed {
        why: String,
    },
    /// The process was ended after so many seconds.
    TimedOut {
        seconds: u64,
    },
    /// The process died.
    Crashed {
        how: String,
    },
    NotRun {
        why: String,
    },
}

/// The cells of a row.
pub(crate) fn cells(kind: Kind) -> Vec<&'static str> {
    match kind {
        Kind::Probe => super::atomics::Operation::ALL.map(super::atomics::Operation::name).into(),
        Kind::Bench => super::bench::Pattern::ALL.map(super::bench::Pattern::name).into(),
    }
}

/// Reads a report.
///
/// # Errors
/// A file that cannot be read, is no report, of another kind, or of another version.
pub(crate) fn read(file: &Path, kind: Kind) -> Result<Report> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read '{}'", file.display()))?;
    // Somebody else may have written it.
    let value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("'{}' is no JSON", file.display()))?;
    match value["schema"].as_str() {
        Some(SCHEMA) => {}
        Some(other) => bail!(
            "'{}' has the schema '{other}', and this rdnafix reads '{SCHEMA}': use the version that made it",
            file.display()
        ),
        None => bail!("'{}' is no report of rdnafix: it has no schema", file.display()),
    }
    let report: Report = serde_json::from_value(printable_json(value))
        .with_context(|| format!("'{}' is not as '{SCHEMA}' has it", file.display()))?;
    if report.kind != kind {
        let made = report.kind.name();
        bail!("'{}' is of `rdnafix {made}`: use `rdnafix {made} --replay`", file.display());
    }
    super::check::check(&report)
        .with_context(|| format!("'{}' is no report that rdnafix made", file.display()))?;
    Ok(report)
}
