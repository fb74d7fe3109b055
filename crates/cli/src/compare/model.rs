//! What is compared: rows of calls, and what each run asked for in them.

use std::collections::BTreeMap;

use kfd_abi::log::{Domain, Memory, Mtype};
use serde::Serialize;

use crate::report;

/// One call, or one kind of memory that the runtime allocates for itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) call: String,
    pub(crate) kind: Kind,
    /// Whether the two runs asked for different things or got different return codes.
    pub(crate) changed: bool,
    /// `None` where that run did not get to it.
    pub(crate) stock: Option<Side>,
    pub(crate) interposed: Option<Side>,
    /// With `--patched`.
    #[serde(flatten)]
    pub(crate) third: Option<Third>,
    /// With `--kernel-patched`.
    #[serde(flatten)]
    pub(crate) kernel: Option<OnKernel>,
}

/// The run with patched libraries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Third {
    pub(crate) patched: Option<Side>,
    /// Whether it asked for something else than the interposed run.
    pub(crate) patched_differs: bool,
}

/// The stock libraries on the kernel of `KFDSIM_RDNA_NONCOHERENT=1`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct OnKernel {
    pub(crate) kernel_patched: Option<Side>,
    /// Whether it got something else than the stock run.
    pub(crate) kernel_changed: bool,
}

/// Whose call a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The program's.
    Call,
    /// The ROCm runtime's own.
    Runtime,
}

/// One run's side of a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Side {
    /// What the kernel was asked for.
    Ioctls(Ioctls),
    /// What the interposer saw and did.
    Reported(Reported),
}

/// What the kernel was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Ioctls {
    /// Return codes of the call, where marks say them, and how often each came.
    pub(crate) codes: BTreeMap<String, u64>,
    #[serde(serialize_with = "as_list")]
    pub(crate) asked: BTreeMap<Asked, Amount>,
}

/// One kind of memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Asked {
    pub(crate) domain: Domain,
    pub(crate) coherent: bool,
    pub(crate) mtype: BTreeMap<String, Mtype>,
    /// In alphabetical order.
    pub(crate) flags: Vec<String>,
}

/// How much of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Amount {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

/// What the interposer saw and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Reported {
    pub(crate) calls: Vec<report::Call>,
}

impl From<&Memory> for Asked {
    fn from(memory: &Memory) -> Self {
        let mut flags = memory.flags.clone();
        flags.sort_unstable();
        Self {
            domain: memory.domain,
            coherent: memory.coherent,
            mtype: memory.mtype.clone(),
            flags,
        }
    }
}

impl Ioctls {
    /// Counts one request.
    pub(crate) fn add(&mut self, asked: Asked, bytes: u64) {
        let amount = self.asked.entry(asked).or_default();
        amount.count += 1;
        amount.bytes += bytes;
    }

    /// Adds what another call of the same name asked for.
    pub(crate) fn absorb(&mut self, other: Self) {
        for (asked, more) in other.asked {
            let amount = self.asked.entry(asked).or_default();
            amount.count += more.count;
            amount.bytes += more.bytes;
        }
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
    }

    /// Whether the same was asked for as often, with the same return codes. The number of
    /// bytes is not looked at: a program may well ask for other sizes the second time.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let kinds = |side: &Self| -> Vec<(Asked, u64)> {
            side.asked.iter().map(|(asked, amount)| (asked.clone(), amount.count)).collect()
        };
        self.codes == other.codes && kinds(self) == kinds(other)
    }
}

fn as_list<S: serde::Serializer>(
    asked: &BTreeMap<Asked, Amount>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Item<'a> {
        #[serde(flatten)]
        asked: &'a Asked,
        #[serde(flatten)]
        amount: &'a Amount,
    }
    serializer.collect_seq(asked.iter().map(|(asked, amount)| Item { asked, amount }))
}
