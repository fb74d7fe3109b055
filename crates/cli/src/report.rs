//! Reading the report of `librdnafix.so`: one JSON object per line, one line per process
//! that used a GPU.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What one process did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Version of the library.
    pub(crate) rdnafix: String,
    pub(crate) pid: u32,
    /// Path of the program.
    pub(crate) program: String,
    /// Policy level.
    pub(crate) level: String,
    /// GPUs of the machine.
    pub(crate) gpus: Vec<Gpu>,
    /// Calls, summed where all but their number and size is the same.
    pub(crate) calls: Vec<Call>,
    /// Which way the calls came.
    #[serde(default)]
    pub(crate) layers: Layers,
    /// Copies of libamdhip64 whose calls no layer saw.
    #[serde(default)]
    pub(crate) unseen: Vec<String>,
}

/// How many calls came which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layers {
    /// Through the exported functions.
    pub(crate) symbols: u64,
    /// Through the table of ROCr.
    pub(crate) table: u64,
    /// Functions that dlsym and the like were asked for and handed out.
    pub(crate) handed_out: u64,
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gpu {
    /// Node of the KFD topology.
    pub(crate) node: u32,
    /// PCI address.
    pub(crate) pci: String,
    /// gfx target; kernels before 5.14 do not say.
    pub(crate) gfx: Option<String>,
    /// Whether the policy is for it.
    pub(crate) rdna12: bool,
}

/// Calls of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    /// Function.
    pub(crate) api: String,
    /// gfx target of the GPU that the memory was for; not always known.
    pub(crate) gpu: Option<String>,
    /// What was asked.
    pub(crate) request: String,
    pub(crate) action: Action,
    /// Stable name of the reason.
    pub(crate) reason: String,
    /// The reason for people.
    pub(crate) why: String,
    /// How many.
    pub(crate) calls: u64,
    /// Sum of their sizes.
    pub(crate) bytes: u64,
    /// How many of the rewritten ones failed and were then forwarded as they came.
    pub(crate) fell_back: u64,
}

/// What was done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// Forwarded with other arguments, or followed by another call.
    Rewritten,
    /// Forwarded as it came.
    Forwarded,
    /// A dry run: it would have been rewritten.
    #[serde(rename = "would rewrite")]
    WouldRewrite,
}

/// All reports in a file; none where there is no file, as no process used a GPU.
///
/// # Errors
/// A file that cannot be read, a line that is no report.
pub(crate) fn read(file: &Path) -> Result<Vec<Report>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot read the report '{}'", file.display()));
        }
    };
    parse(&text).with_context(|| format!("in the report '{}'", file.display()))
}

fn parse(text: &str) -> Result<Vec<Report>> {
    text.lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(line).with_context(|| format!("line {}: {line:?}", number + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"rdnafix":"0.1.0","pid":1,"program":"/usr/bin/python3.11","level":"standard","gpus":[{"node":1,"pci":"0000:03:00.0","gfx":"gfx1030","rdna12":true}],"calls":[{"api":"hipHostMalloc","gpu":"gfx1030","request":"flags=0x0","action":"rewritten","reason":"nobody-asked","why":"nobody asked for coherent memory","calls":3,"bytes":12582912,"fell_back":0},{"api":"hipHostMalloc","gpu":null,"request":"flags=0x2","action":"forwarded","reason":"mapped","why":"w","calls":1,"bytes":1,"fell_back":0}]}"#;

    #[test]
    fn the_documented_line_is_read() {
        let reports = parse(&format!("{LINE}\n{LINE}\n")).unwrap();
        assert_eq!(reports.len(), 2);
        assert_eq!(reports[0].calls[0].action, Action::Rewritten);
        assert_eq!(reports[0].calls[0].gpu.as_deref(), Some("gfx1030"));
        assert_eq!(reports[1].calls[1].gpu, None);
        assert!(reports[0].gpus[0].rdna12);
    }

    #[test]
    fn a_line_that_is_no_report_is_named() {
        let error = format!("{:#}", parse(&format!("{LINE}\nnonsense\n")).unwrap_err());
        assert!(error.contains("line 2") && error.contains("nonsense"), "{error}");
    }

    #[test]
    fn no_file_means_no_gpu_was_used() {
        assert_eq!(read(Path::new("/nonexistent/report.json")).unwrap(), []);
    }
}
