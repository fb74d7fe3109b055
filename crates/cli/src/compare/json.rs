//! The JSON document of `rdnafix compare --json`; `--help` has its outline.

use std::ffi::OsString;

use serde::Serialize;

use super::execute::Run;
use super::model::{Kind, Row};
use super::target::Target;
use crate::report::Report;

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    pub(crate) gpu: &'a Target,
    /// Level of the interposed run.
    pub(crate) policy: &'a str,
    /// The program and its arguments.
    pub(crate) program: Vec<String>,
    pub(crate) runs: Runs<'a>,
    /// Whether the runs print different things, addresses aside; null where the output was
    /// passed through.
    pub(crate) output_differs: Option<bool>,
    pub(crate) rows: &'a [Row],
    pub(crate) summary: Summary,
    /// The interposer's report of the interposed run, one per process.
    pub(crate) reports: &'a [Report],
}

/// How the runs ended.
#[derive(Debug, Serialize)]
pub(crate) struct Runs<'a> {
    pub(crate) stock: &'a Run,
    pub(crate) interposed: &'a Run,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) patched: Option<&'a Run>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kernel_patched: Option<&'a Run>,
}

/// What the rows come to.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    /// Rows of the program's calls.
    pub(crate) calls: usize,
    /// Those of them that changed.
    pub(crate) changed: usize,
    /// Whether any row of the runtime's own allocations changed.
    pub(crate) runtime_changed: bool,
    /// With `--patched`: rows in which it asked for something else than the interposed run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) patched_differ: Option<usize>,
    /// With `--kernel-patched`: rows in which it got something else than the stock run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kernel_changed: Option<usize>,
}

impl Summary {
    pub(crate) fn of(rows: &[Row]) -> Self {
        let count = |kind, changed_only: bool| {
            rows.iter().filter(|row| row.kind == kind && (row.changed || !changed_only)).count()
        };
        Self {
            calls: count(Kind::Call, false),
            changed: count(Kind::Call, true),
            runtime_changed: count(Kind::Runtime, true) > 0,
            patched_differ: rows.iter().any(|row| row.third.is_some()).then(|| {
                let thirds = rows.iter().filter_map(|row| row.third.as_ref());
                thirds.filter(|third| third.patched_differs).count()
            }),
            kernel_changed: rows.iter().any(|row| row.kernel.is_some()).then(|| {
                let kernels = rows.iter().filter_map(|row| row.kernel.as_ref());
                kernels.filter(|kernel| kernel.kernel_changed).count()
            }),
        }
    }
}

/// The words of a command line as text.
pub(crate) fn words(program: &[OsString]) -> Vec<String> {
    program.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kfd_abi::log::{Domain, Mtype};
    use serde_json::json;

    use super::super::execute::Ending;
    use super::super::model::{Asked, Ioctls, Side};
    use super::*;

    #[test]
    fn the_document_has_the_documented_outline() {
        let mut side = Ioctls { codes: BTreeMap::from([("0".to_owned(), 1)]), ..Ioctls::default() };
        let asked = Asked {
            domain: Domain::Vram,
            coherent: true,
            mtype: BTreeMap::from([("gfx1030#0".to_owned(), Mtype::Uc)]),
            flags: vec!["COHERENT".to_owned()],
        };
        side.add(asked, 4096);
        let rows = [Row {
            call: "f".to_owned(),
            kind: Kind::Call,
            changed: true,
            stock: Some(Side::Ioctls(side)),
            interposed: None,
            third: None,
            kernel: None,
        }];
        let run = |ending| Run { ending, output: None };
        let document = Document {
            gpu: &Target { simulated: true, gpus: vec!["gfx1030".to_owned()], source: "ioctls" },
            policy: "standard",
            program: words(&["p".into(), "-x".into()]),
            runs: Runs {
                stock: &run(Ending::Exited(0)),
                interposed: &run(Ending::TimedOut),
                patched: None,
                kernel_patched: None,
            },
            output_differs: None,
            rows: &rows,
            summary: Summary::of(&rows),
            reports: &[],
        };
        assert_eq!(
            serde_json::to_value(&document).unwrap(),
            json!({
                "gpu": {"simulated": true, "gpus": ["gfx1030"], "source": "ioctls"},
                "policy": "standard",
                "program": ["p", "-x"],
                "runs": {
                    "stock": {"ending": {"exited": 0}},
                    "interposed": {"ending": "timed_out"},
                },
                "output_differs": null,
                "rows": [{
                    "call": "f",
                    "kind": "call",
                    "changed": true,
                    "stock": {
                        "codes": {"0": 1},
                        "asked": [{
                            "domain": "VRAM", "coherent": true, "mtype": {"gfx1030#0": "UC"},
                            "flags": ["COHERENT"], "count": 1, "bytes": 4096,
                        }],
                    },
                    "interposed": null,
                }],
                "summary": {"calls": 1, "changed": 1, "runtime_changed": false},
                "reports": [],
            })
        );
    }
}
