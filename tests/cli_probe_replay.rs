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

#[test]
fn a_report_that_contradicts_itself_is_refused_with_the_place() {
    type Change = fn(&mut Value);
    fn first<'a>(report: &'a mut Value, outcome: &str) -> &'a mut Value {
        let rows = report["rows"].as_array_mut().unwrap().iter_mut();
        let mut cells = rows.flat_map(|row| row["stock"]["cells"].as_array_mut().unwrap());
        cells.find(|cell| cell["outcome"] == outcome).unwrap()
    }
    fn again(list: &mut Value) {
        let list = list.as_array_mut().unwrap();
        list.push(list[0].clone());
    }
    let cases: [(Change, &[&str]); 9] = [
        (|report| again(&mut report["rows"]), &["the row of", "twice"]),
        (
            |report| {
                let risk = serde_json::json!({"memory": "vram", "stock": null, "why": ""});
                report["risks"] = serde_json::json!([risk, risk]);
            },
            &["the risk of VRAM", "twice"],
        ),
        (|report| again(&mut report["rows"][0]["stock"]["cells"]), &["stock: the cell", "twice"]),
        (|report| first(report, "compared")["wrong"] = 65537.into(), &["65537", "of 65536"]),
        (
            |report| first(report, "compared")["wrong_returning"] = 70000.into(),
            &["70000", "of 65536"],
        ),
        (|report| first(report, "compared")["name"] = "nand".into(), &["no cell 'nand'"]),
        (|report| first(report, "compared")["outcome"] = "guessed".into(), &["guessed"]),
        (
            |report| {
                let cell = serde_json::json!({"outcome": "bandwidth", "gb_per_s": 1, "runs": []});
                let changed = first(report, "compared");
                let name = changed["name"].clone();
                *changed = cell;
                changed["name"] = name;
            },
            &["no bandwidth"],
        ),
        (|report| report["policy"] = "some".into(), &["the policy 'some'", "standard"]),
    ];
    for (change, parts) in cases {
        let said = refused(change, "probe");
        for part in parts {
            assert!(said.contains(part), "{part} in: {said}");
        }
    }
}

#[test]
fn a_number_that_is_too_large_is_refused() {
    let text_of = std::fs::read_to_string(fixture("bench-figures.json")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    for (number, part) in [("1e999", "number out of range"), ("-1.0", "no bandwidth")] {
        let changed =
            text_of.replacen("\"gb_per_s\": 400.0", &format!("\"gb_per_s\": {number}"), 1);
        assert_ne!(changed, text_of);
        std::fs::write(&file, changed).unwrap();
        let output = replay("bench", &file);
        assert_eq!(output.status.code(), Some(125));
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
    }
}

#[test]
fn what_acts_on_a_terminal_or_ends_a_text_of_xml_is_not_passed_on() {
    let evil = "\u{1b}]0;x\u{7}<b a=\"1\">&\u{9b}31m\r\u{202e}";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    let svg = directory.path().join("report.svg");
    for command in ["probe", "bench"] {
        let made = fixture(&format!("{command}-every-outcome.json"));
        let mut report: Value =
            serde_json::from_str(&std::fs::read_to_string(made).unwrap()).unwrap();
        for name in ["name", "target", "pci"] {
            report["machine"]["gpu"][name] = evil.into();
        }
        report["machine"]["environment"] = serde_json::json!({(evil): evil});
        for name in ["not_measured", "rdnafix"] {
            report[name] = evil.into();
        }
        report["meaning"] = serde_json::json!([evil]);
        report["rows"][0]["interposed"]["allocation"] = evil.into();
        std::fs::write(&file, report.to_string()).unwrap();
        let mut shown = cli_common::clean(cli_common::release("rdnafix"));
        shown.args([command, "--replay"]).arg(&file);
        let mut outputs = vec![replay(command, &file), cli_common::output(shown.arg("--json"))];
        if command == "bench" {
            let mut draw = cli_common::rdnafix([command, "--replay"]);
            outputs.push(cli_common::output(draw.arg(&file).arg("--svg").arg(&svg)));
        }
        for output in outputs {
            assert!(output.status.success(), "{}", text(&output.stderr));
            let acts = |letter: char| letter != '\n' && letter.is_control() || letter == '\u{202e}';
            assert!(!text(&output.stdout).contains(acts), "{:?}", text(&output.stdout));
        }
    }
    let drawn = std::fs::read_to_string(&svg).unwrap();
    assert!(drawn.contains("&lt;b a=&quot;1&quot;&gt;&amp;"), "{drawn}");
    let mut parser = std::process::Command::new("python3");
    parser.args(["-c", "import sys, xml.etree.ElementTree as e; e.parse(sys.argv[1])"]);
    cli_common::succeed(parser.arg(&svg));

    // An error quotes what is wrong.
    let said = refused(|report| report["schema"] = evil.into(), "probe");
    assert!(!said.contains('\u{1b}') && said.contains("has the schema"), "{said:?}");
}
