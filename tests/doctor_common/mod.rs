//! Runs of `rdnafix doctor` on simulated boards.

#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::process::Command;

use serde_json::Value;

use crate::cli_common::{output, rdnafix, release, text};

/// The boards of the simulated GPU.
pub const BOARDS: &[&str] = &[
    "gfx1010", "gfx1011", "gfx1012", "gfx1013", "gfx1030", "gfx1031", "gfx1032", "gfx1033",
    "gfx1034", "gfx1035", "gfx1036", "gfx1100", "gfx1201", "gfx906",
];

/// Whether a board is RDNA1 or RDNA2.
pub fn rdna(board: &str) -> bool {
    board.starts_with("gfx101") || board.starts_with("gfx103")
}

/// What `rdnafix doctor --json` said.
pub struct Examined {
    pub code: i32,
    pub document: Value,
}

impl Examined {
    /// The ids of the findings.
    pub fn ids(&self) -> Vec<&str> {
        let findings = self.document["findings"].as_array().expect("findings");
        findings.iter().map(|finding| finding["id"].as_str().expect("an id")).collect()
    }

    /// Whether there is such a finding.
    pub fn has(&self, id: &str) -> bool {
        self.ids().contains(&id)
    }

    /// The finding.
    pub fn finding(&self, id: &str) -> &Value {
        let findings = self.document["findings"].as_array().expect("findings");
        findings
            .iter()
            .find(|finding| finding["id"] == id)
            .unwrap_or_else(|| panic!("no {id} in {:?}", self.ids()))
    }

    /// The command for the report as text.
    pub fn text(boards: &str, environment: &[(&str, &str)]) -> Command {
        simulated(boards, &[], environment, &["doctor"])
    }
}

/// `rdnafix` with these arguments on simulated boards, in a process without the variables that
/// the machine of the tests may have.
pub fn simulated(
    boards: &str,
    options: &[&str],
    environment: &[(&str, &str)],
    arguments: &[&str],
) -> Command {
    let mut command = rdnafix(["sim", "--gpu", boards]);
    for name in ["VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars() {
        if ["PYTORCH_", "MIOPEN_", "GPU_", "NCCL_", "ROC_"]
            .iter()
            .any(|start| name.starts_with(start))
        {
            command.env_remove(name);
        }
    }
    // The variables are for the program, not for the simulator's own run.
    command.args(options).args(["--", "env"]);
    for (name, value) in environment {
        match *name {
            // In front of the simulator, which has to stay.
            "LD_PRELOAD" => {
                let simulator = release("libkfdsim.so");
                command.arg(format!("LD_PRELOAD={value}:{}", simulator.display()));
            }
            name if name.starts_with("KFDSIM_") => {
                command.env(name, value);
            }
            _ => {
                command.arg(format!("{name}={value}"));
            }
        }
    }
    command.arg(release("rdnafix")).args(arguments);
    command
}

/// Runs a command that prints the document, with exit code 0 or 1 and nothing on stderr but the
/// loader's own complaints.
pub fn examine(command: &mut Command) -> Examined {
    let output = output(command);
    let err = text(&output.stderr);
    let own: Vec<&str> = err.lines().filter(|line| !line.starts_with("ERROR: ld.so")).collect();
    assert!(own.is_empty(), "{command:?} says on stderr:\n{err}");
    let code = output.status.code().expect("an exit code");
    assert!(code < 2, "{command:?}: {code}");
    let document: Value = serde_json::from_slice(&output.stdout).expect("a JSON document");
    let wrong = document["summary"]["errors"] != 0 || document["summary"]["warnings"] != 0;
    assert_eq!(code, i32::from(wrong), "{:#}", document["summary"]);
    Examined { code, document }
}

/// What is found on these simulated boards.
pub fn on_board(boards: &str, options: &[&str], environment: &[(&str, &str)]) -> Examined {
    examine(&mut simulated(boards, options, environment, &["doctor", "--json"]))
}
