//! `rdnafix doctor --merge`: the documents of many nodes side by side, and which node differs in
//! what. Reads what `doctor --json` wrote, of this version or another; examines no machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde::Serialize;
use serde_json::Value;

use crate::stdout::{printable_json, printable_line};

/// Facts that differ between nodes that are alike.
const OF_EACH: [&str; 2] = ["kernel.processes", "kernel.boot"];

/// All nodes.
#[derive(Debug, Serialize)]
pub(super) struct Merged {
    nodes: Vec<Node>,
    /// The facts that are not the same everywhere, by name.
    differences: BTreeMap<String, Vec<Group>>,
}

/// One node.
#[derive(Debug, Serialize)]
struct Node {
    /// That of its file, without the ending.
    name: String,
    gpus: Vec<String>,
    kernel: Option<String>,
    rocm: Option<String>,
    torch: Option<String>,
    errors: usize,
    warnings: usize,
    /// Facts in which it is not like most nodes.
    differs: Vec<String>,
}

/// The nodes that have one value of a fact; most nodes first.
#[derive(Debug, Serialize)]
struct Group {
    /// `None` where they do not have the fact.
    value: Option<String>,
    nodes: Vec<String>,
}

impl Merged {
    /// Whether no node differs and nothing is wrong on any.
    pub(super) fn is_clean(&self) -> bool {
        let wrong = |node: &Node| node.errors + node.warnings > 0;
        self.differences.is_empty() && !self.nodes.iter().any(wrong)
    }
}

/// Reads the documents of the nodes.
///
/// # Errors
/// A file that cannot be read or is no document of doctor; two of the same name.
pub(super) fn merge(files: &[PathBuf]) -> Result<Merged> {
    let mut all = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let name = printable_line(&name).into_owned();
        if all.iter().any(|(known, _)| *known == name) {
            bail!("--merge: two files are called '{name}': the name of a file is that of its node");
        }
        all.push((name, read(file)?));
    }
    Ok(compare(&all))
}

fn read(file: &Path) -> Result<Value> {
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read '{name}'"))?;
    let document: Value = serde_json::from_str(&text).with_context(|| {
        format!("'{name}' is no JSON: expected what `rdnafix doctor --json` prints")
    })?;
    if !(document["machine"].is_object() && document["findings"].is_array()) {
        bail!(
            "'{name}' is not what `rdnafix doctor --json` prints: it has no machine or no findings"
        );
    }
    Ok(printable_json(document))
}

fn compare(all: &[(String, Value)]) -> Merged {
    let facts: Vec<BTreeMap<String, String>> = all.iter().map(|(_, node)| facts(node)).collect();
    let names: BTreeSet<&String> = facts.iter().flat_map(BTreeMap::keys).collect();
    let mut differences = BTreeMap::new();
    let mut differs = vec![Vec::new(); all.len()];
    for name in names {
        let mut groups: BTreeMap<Option<&String>, Vec<usize>> = BTreeMap::new();
        for (node, facts) in facts.iter().enumerate() {
            groups.entry(facts.get(name)).or_default().push(node);
        }
        if groups.len() < 2 {
            continue;
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, nodes)| (std::cmp::Reverse(nodes.len()), nodes[0]));
        for node in groups.iter().skip(1).flat_map(|(_, nodes)| nodes) {
            differs[*node].push(name.clone());
        }
        let group = |(value, nodes): (Option<&String>, Vec<usize>)| Group {
            value: value.cloned(),
            nodes: nodes.into_iter().map(|node| all[node].0.clone()).collect(),
        };
        differences.insert(name.clone(), groups.into_iter().map(group).collect());
    }
    let node = |((name, document), differs): (&(String, Value), Vec<String>)| {
        let machine = &document["machine"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let gpus = machine["gpus"].as_array().into_iter().flatten();
        let libraries = machine["libraries"].as_array().into_iter().flatten();
        let mut releases = libraries.filter_map(|library| text(&library["release"]["value"]));
        // What is there counts, not what the document says of itself.
        let count = |severity: &str| findings(document).filter(|one| one.1 == severity).count();
        Node {
            name: name.clone(),
            gpus: gpus.map(|gpu| text(&gpu["target"]).unwrap_or_else(|| "?".into())).collect(),
            kernel: text(&machine["kernel"]["release"]["value"]),
            rocm: releases.next(),
            torch: text(&machine["torch"][0]["version"]["value"]),
            errors: count("error"),
            warnings: count("warning"),
            differs,
        }
    };
    Merged { nodes: all.iter().zip(differs).map(node).collect(), differences }
}

/// Every fact of a node by name, and its findings.
fn facts(document: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    flatten(String::new(), &document["machine"], &mut found);
    let mut times: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for finding in findings(document) {
        *times.entry(finding).or_default() += 1;
    }
    for ((id, severity), times) in times {
        let times = if times == 1 { String::new() } else { format!(", {times} times") };
        found.insert(format!("finding {id}"), format!("{severity}{times}"));
    }
    found.retain(|name, _| !OF_EACH.iter().any(|each| name.starts_with(each)));
    found
}

/// The id and the severity of each finding.
fn findings(document: &Value) -> impl Iterator<Item = (&str, &str)> {
    let all = document["findings"].as_array().into_iter().flatten();
    all.filter_map(|one| Some((one["id"].as_str()?, one["severity"].as_str()?)))
}

fn flatten(name: String, value: &Value, found: &mut BTreeMap<String, String>) {
    let inner = |part: &str| if name.is_empty() { part.into() } else { format!("{name}.{part}") };
    match value {
        Value::Null => {}
        // A value and where it was read, which is the file's path and may differ.
        Value::Object(parts)
            if parts.len() == 2 && parts.contains_key("from") && parts.contains_key("value") =>
        {
            flatten(name, &parts["value"], found);
        }
        Value::Object(parts) => {
            for (part, value) in parts.iter().filter(|(part, _)| *part != "from") {
                flatten(inner(part), value, found);
            }
        }
        Value::Array(values)
            if values.iter().any(|value| value.is_object() || value.is_array()) =>
        {
            let mut used = BTreeSet::new();
            for (index, value) in values.iter().enumerate() {
                let name = called(value, index).into_iter().map(|part| format!("{name}[{part}]"));
                if let Some(name) = name.into_iter().find(|name| used.insert(name.clone())) {
                    flatten(name, value, found);
                }
            }
        }
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().map(plain).collect();
            found.insert(name, texts.join(", "));
        }
        value => {
            found.insert(name, plain(value));
        }
    }
}

/// The names that an entry of a list may have, the first that no entry before it has: that of its
/// file, the same with the directory, its number. The first of two files of a name is the one
/// that is used.
fn called(value: &Value, index: usize) -> Vec<String> {
    let text = |key: &str| value[key].as_str();
    let path = ["path", "library", "directory"].into_iter().find_map(text);
    let last = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let own = text("soname").map(str::to_owned).or_else(|| path.map(last));
    let mut names: Vec<String> = own.into_iter().collect();
    let above = path.and_then(|path| path.rsplit_once('/')).map(|(above, _)| above);
    names.extend(names.first().zip(above).map(|(own, above)| format!("{own} in {above}")));
    names.push(index.to_string());
    names
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The table and what differs, for people.
pub(super) fn text(merged: &Merged, width: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(80)).force_no_tty();
    table.set_header(["node", "GPUs", "kernel", "ROCm", "torch", "wrong", "differs in"]);
    // A long name must not press the others into columns of one letter.
    for (column, percent) in [(0, 25), (2, 22)] {
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(ColumnConstraint::UpperBoundary(Width::Percentage(percent)));
        }
    }
    for node in &merged.nodes {
        let none = || "-".to_owned();
        let wrong = [(node.errors, "error"), (node.warnings, "warning")].into_iter();
        let wrong: Vec<String> = wrong
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
            .collect();
        let wrong = if wrong.is_empty() { none() } else { wrong.join(", ") };
        table.add_row([
            node.name.clone(),
            node.gpus.join(" "),
            node.kernel.clone().unwrap_or_else(none),
            node.rocm.clone().unwrap_or_else(none),
            node.torch.clone().unwrap_or_else(none),
            wrong,
            match node.differs.len() {
                0 => none(),
                1 => "1 fact".into(),
                facts => format!("{facts} facts"),
            },
        ]);
    }
    let mut text: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    if merged.differences.is_empty() {
        text.push_str("\nno node differs\n");
        return text;
    }
    text.push_str("\nwhat differs, most nodes first:\n");
    for (fact, groups) in &merged.differences {
        text.push_str(&textwrap::fill(fact, textwrap::Options::new(width).subsequent_indent("  ")));
        text.push('\n');
        for group in groups {
            let value = group.value.as_deref().unwrap_or("(none)");
            let line = format!("{value}: {}", group.nodes.join(", "));
            let indent =
                textwrap::Options::new(width).initial_indent("  ").subsequent_indent("      ");
            text.push_str(&textwrap::fill(&line, indent));
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(kernel: &str, firmware: u32, findings: &[&str]) -> Value {
        let findings: Vec<Value> =
            findings.iter().map(|id| json!({"id": id, "severity": "error"})).collect();
        json!({
            "machine": {
                "gpus": [{"target": "gfx1030", "from": "/sys/x", "firmware_version": firmware}],
                "kernel": {"release": {"value": kernel, "from": "/proc"}, "processes": [{"pid": 1}]},
                "libraries": [{"soname": "libamdhip64.so.6", "release": {"value": "6.4", "from": "l"}}],
            },
            "summary": {"errors": findings.len(), "warnings": 0},
            "findings": findings,
        })
    }

    #[test]
    fn the_odd_node_is_named_with_what_is_odd() {
        let all = [
            ("a".to_owned(), node("6.12", 122, &[])),
            ("b".to_owned(), node("6.1", 122, &["no-atomics"])),
            ("c".to_owned(), node("6.12", 122, &[])),
        ];
        let merged = compare(&all);
        assert_eq!(merged.nodes[1].differs, ["finding no-atomics", "kernel.release"]);
        assert!(merged.nodes[0].differs.is_empty() && !merged.is_clean());
        let text = text(&merged, 80);
        assert!(text.contains("kernel.release\n  6.12: a, c\n  6.1: b\n"), "{text}");
        assert!(text.contains("finding no-atomics\n  (none): a, c\n  error: b\n"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }

    #[test]
    fn nodes_that_are_alike_are_said_to_be() {
        let all: Vec<_> = ["a", "b"].map(|name| (name.to_owned(), node("6.12", 122, &[]))).into();
        let merged = compare(&all);
        assert!(merged.is_clean());
        assert!(text(&merged, 80).ends_with("\nno node differs\n"));
    }

    #[test]
    fn two_files_of_one_name_are_two_facts_and_so_are_two_findings_of_one_id() {
        let library = |path: &str, release: &str| json!({"soname": "libamdhip64.so.6", "path": path, "release": release});
        let libraries = |second: &str| {
            let mut node = node("6.12", 1, &["no-kernels", "no-kernels"]);
            node["machine"]["libraries"] = json!([
                library("/venv/torch/lib/libamdhip64.so", "6.4"),
                library("/opt/rocm/lib/libamdhip64.so.6", second),
                library("/opt/rocm/lib/libamdhip64.so.6", "again"),
            ]);
            node
        };
        let facts = facts(&libraries("5.7"));
        let release = |name: &str| facts[&format!("libraries[{name}].release")].clone();
        assert_eq!(release("libamdhip64.so.6"), "6.4");
        assert_eq!(release("libamdhip64.so.6 in /opt/rocm/lib"), "5.7");
        assert_eq!(release("2"), "again");
        assert_eq!(facts["finding no-kernels"], "error, 2 times");
        let all = [("a".to_owned(), libraries("5.7")), ("b".to_owned(), libraries("6.4"))];
        let merged = compare(&all);
        let only = "libraries[libamdhip64.so.6 in /opt/rocm/lib].release";
        assert_eq!(merged.differences.keys().collect::<Vec<_>>(), [only]);
    }

    #[test]
    fn the_findings_count_and_not_what_is_said_of_them() {
        let mut wrong = node("6.12", 1, &["no-kernels"]);
        wrong["summary"] = json!({"errors": 0, "warnings": 7});
        let merged = compare(&[("a".to_owned(), wrong)]);
        assert_eq!((merged.nodes[0].errors, merged.nodes[0].warnings), (1, 0));
        assert!(!merged.is_clean());
    }

    #[test]
    fn long_names_leave_the_other_columns_whole() {
        let long = "gpu-node-0017.rack-12.cluster-of-the-institute.university.example";
        let kernel = "6.12.117-with-a-very-long-local-version-of-somebody-amd64";
        let all =
            [(long.to_owned(), node(kernel, 1, &["x"])), ("b".to_owned(), node("6.1", 1, &[]))];
        let text = text(&compare(&all), 80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for whole in ["gfx1030", " 1 error", " 2 facts", "differs in"] {
            assert!(text.contains(whole), "{whole} in\n{text}");
        }
        let cells = text.lines().skip(1).take_while(|line| !line.is_empty());
        let first: String = cells.filter_map(|line| line.get(1..20)).map(str::trim).collect();
        assert!(first.starts_with(long), "all of the name is shown: {first}");
    }

    #[test]
    fn a_tie_is_decided_by_the_first_node() {
        let all = [("a".to_owned(), node("6.1", 1, &[])), ("b".to_owned(), node("6.2", 1, &[]))];
        let merged = compare(&all);
        assert!(merged.nodes[0].differs.is_empty());
        assert_eq!(merged.nodes[1].differs, ["kernel.release"]);
    }
}
