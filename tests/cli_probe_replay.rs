//! `rdnafix probe --replay`: every branch of what is shown, from fixtures that say that they were
//! made up; and files that are refused.

mod cli_common;
mod probe_common;

use cli_common::text;
use probe_common::{fixture, replay};
use serde_json::Value;

#[test]
fn every_fixture_is_shown_as_its_text() {
    probe_common::every_fixture_is_shown_as_its_text("probe");
}

#[test]
fn the_fixtures_have_every_outcome_and_say_that_they_were_made_up() {
    let mut outcomes = std::collections::BTreeSet::new();
    for name in ["probe-every-outcome.json", "bench-every-outcome.json"] {
        let text = std::fs::read_to_string(fixture(name)).unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report["synthetic"], true);
        let cells = probe_common::cells(&report);
        outcomes.extend(cells.map(|cell| cell["outcome"].as_str().unwrap().to_owned()));
    }
    let all = ["accepted", "bandwidth", "compared", "crashed", "failed", "not-run", "timed-out"];
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn json_gives_the_report_back() {
    let file = fixture("probe-every-outcome.json");
    let mut command = cli_common::rdnafix(["probe", "--json", "--replay"]);
    let shown: Value = serde_json::from_str(&cli_common::stdout(command.arg(&file))).unwrap();
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(shown, written);
}

/// What is said of a changed fixture, which must be refused.
fn refused(change: impl FnOnce(&mut Value), command: &str) -> String {
    let text_of = std::fs::read_to_string(fixture("probe-every-outcome.json")).unwrap();
    let mut report: Value = serde_json::from_str(&text_of).unwrap();
    change(&mut report);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    std::fs::write(&file, report.to_string()).unwrap();
    let output = replay(command, &file);
    assert_eq!(output.status.code(), Some(125));
    assert!(output.stdout.is_empty());
    text(&output.stderr)
}

#[test]
fn a_report_of_another_version_kind_or_form_is_refused() {
    let said = refused(|report| report["schema"] = "rdnafix-measurement/99".into(), "probe");
    assert!(said.contains("rdnafix-measurement/99") && said.contains("version"), "{said}");
    let said = refused(|_| {}, "bench");
    assert!(said.contains("use `rdnafix probe --replay`"), "{said}");
    let said = refused(|report| drop(report.as_object_mut().unwrap().remove("schema")), "probe");
    assert!(said.contains("no report of rdnafix"), "{said}");
    let said = refused(|report| report["rows"][0]["memory"] = "tape".into(), "probe");
    assert!(said.contains("tape"), "{said}");
    let said = refused(|report| report["surprise"] = 1.into(), "probe");
    assert!(said.contains("surprise"), "{said}");
}

#[test]
fn what_is_no_json_or_no_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    for (content, part) in [(None, "cannot read"), (Some("{"), "is no JSON")] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let output = replay("probe", &file);
        assert_eq!(output.status.code(), Some(125));
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
    }
}
