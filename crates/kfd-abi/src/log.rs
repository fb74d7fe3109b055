//! The log of the simulated GPU: one JSON object per line.
//!
//! The writer is `libkfdsim.so`, the readers are `rdnafix compare` and the tests. A record
//! says what user space asked the kernel for and which MTYPE Linux would choose for it on
//! that GPU; it says nothing about what hardware then does.

use std::collections::BTreeMap;
use std::io::BufRead;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Position in the process, from 0; restarts in a forked child.
    pub seq: u64,
    /// Process that made the call.
    pub pid: u32,
    /// Thread that made the call (gettid).
    pub tid: u32,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub ns: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What one line of the log is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ev", rename_all = "lowercase")]
pub enum Event {
    /// A text that the program passed to `kfdsim_mark`.
    Mark {
        /// The text.
        text: String,
    },
    /// Something the simulator has to say of itself (an unknown kernel, a stuck queue).
    Note {
        /// The text.
        text: String,
    },
    /// The process opened /dev/kfd.
    Opened {
        /// The libraries of ROCm that it has loaded, by their paths.
        libraries: Vec<String>,
    },
    /// An ioctl on /dev/kfd or on a render node.
    Ioctl(Ioctl),
}

/// One ioctl and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ioctl {
    /// Which device file it was made on.
    pub dev: Device,
    /// The kernel's name without its prefix, for example `ALLOC_MEMORY_OF_GPU` or `SVM`.
    pub name: String,
    /// 0, or the positive errno that the caller got.
    pub errno: i32,
    /// The exported function of a ROCm library that the program had called, where the call
    /// stack shows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Arguments and results by their kernel names; flags as lists of names, addresses and
    /// handles as hexadecimal strings.
    pub args: Map<String, Value>,
    /// What the call did to memory: one entry for an allocation, one per resulting range for
    /// an SVM SET_ATTR, none otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memory: Vec<Memory>,
}

/// The device file of an ioctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// /dev/kfd
    Kfd,
    /// /dev/dri/renderD*
    Drm,
}

/// Memory as the kernel was asked to provide it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// What backs it.
    pub domain: Domain,
    /// GPU virtual address; 0 where none was given (VMM).
    pub va: u64,
    /// Bytes.
    pub size: u64,
    /// The flags that decide about caching and those beside them, by KFD name: the ALLOC
    /// flags of a buffer object, the flags in force for an SVM range.
    pub flags: Vec<String>,
    /// Whether any of COHERENT, EXT_COHERENT, UNCACHED is among them.
    pub coherent: bool,
    /// MTYPE that Linux gives the mapping, by GPU (`gfx1030#0`: gfx target and index).
    pub mtype: BTreeMap<String, Mtype>,
}

/// What backs an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Domain {
    /// Memory of the GPU.
    Vram,
    /// System memory allocated by the kernel.
    Gtt,
    /// System memory of the process, pinned.
    Userptr,
    /// A range managed by KFD's SVM.
    Svm,
    /// The doorbell page.
    Doorbell,
    /// Remapped registers.
    Mmio,
}

/// Memory type of a GPU page-table entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mtype {
    /// Cached, not coherent.
    Nc,
    /// Uncached.
    Uc,
    /// Cached, coherent.
    Cc,
    /// Cached, read-write, owned by this GPU.
    Rw,
}

/// An argument of an ioctl as the log shows it; `name` is the kernel's name of the field.
pub trait Argument {
    /// The JSON value.
    fn value(&self, name: &str) -> Value;
}

impl Argument for u64 {
    fn value(&self, name: &str) -> Value {
        // Sizes and counters are numbers; every other 64-bit field is an address, an offset
        // or a handle.
        if ["size", "available", "counter", "freq"].iter().any(|part| name.contains(part)) {
            Value::from(*self)
        } else {
            Value::from(format!("{self:#x}"))
        }
    }
}

impl Argument for u32 {
    fn value(&self, name: &str) -> Value {
        if name == "gpu_id" || name == "gpuid" {
            Value::from(format!("{self:#x}"))
        } else {
            Value::from(*self)
        }
    }
}

impl Argument for i32 {
    fn value(&self, _: &str) -> Value {
        Value::from(*self)
    }
}

/// Arrays inside an argument structure say nothing that the tools read.
impl<T, const N: usize> Argument for [T; N] {
    fn value(&self, _: &str) -> Value {
        Value::from(N)
    }
}

/// [`Argument::value`] as a function, for the list of requests.
pub fn argument(name: &str, value: &impl Argument) -> Value {
    value.value(name)
}

/// Reads a whole log.
///
/// # Errors
/// The line that is not a record, with its number, or the read error.
pub fn read(input: impl BufRead) -> Result<Vec<Record>, std::io::Error> {
    input
        .lines()
        .enumerate()
        .map(|(number, line)| {
            let line = line?;
            serde_json::from_str(&line).map_err(|error| {
                std::io::Error::new(
                    std::io::ErrorKind::InvalidData,
                    format!("kfdsim log, line {}: {error}: {line:?}", number + 1),
                )
            })
        })
        .collect()
}
