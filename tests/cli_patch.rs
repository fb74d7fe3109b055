//! `rdnafix patch`: list, verify, apply and revert on the real sources, and what each command
//! says of a tree that is patched, half patched, changed or none at all.

mod cli_common;
mod source_common;

use std::fs;
use std::path::Path;
use std::process::Command;

use cli_common::{output, rdnafix, root, stdout, succeed, text};
use serde_json::Value;
use source_common::{SERIES, contents, create, patch, patches_of, sources, sources_in};

const MEMORY: &str = "hipamd/src/hip_memory.cpp";

/// `rdnafix patch COMMAND --source TREE`.
fn on(command: &str, tree: &Path) -> Command {
    let mut all = rdnafix(["patch", command, "--source"]);
    all.arg(tree);
    all
}

fn said(command: &str, tree: &Path) -> String {
    stdout(&mut on(command, tree))
}

/// What a command says that must fail.
fn refused(command: &mut Command) -> String {
    let output = output(command);
    let (out, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!((output.status.code(), &out[..]), (Some(125), ""), "{command:?}: {said}");
    assert!(said.starts_with("rdnafix: ") && said.lines().count() == 1, "{command:?}: {said}");
    said
}

fn json(command: &mut Command) -> Value {
    serde_json::from_str(&stdout(command.arg("--json"))).expect("JSON")
}

#[test]
fn the_list_has_every_series_and_patch() {
    let list = stdout(&mut rdnafix(["patch", "list"]));
    let values = json(&mut rdnafix(["patch", "list"]));
    for (series, ..) in SERIES {
        assert!(list.lines().any(|line| line == series), "{series} in\n{list}");
        let (component, version) = series.split_once('/').unwrap();
        let value = values
            .as_array()
            .unwrap()
            .iter()
            .find(|value| value["component"] == component && value["version"] == version)
            .expect(series);
        let patches = patches_of(series);
        assert_eq!(value["patches"].as_array().unwrap().len(), patches.len());
        for (path, text) in patches {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let subject = text.lines().find_map(|line| line.strip_prefix("Subject: [PATCH] "));
            assert!(list.contains(&name) && list.contains(subject.unwrap()), "{name} in\n{list}");
        }
    }
}

#[test]
fn a_tree_is_patched_and_comes_back_as_it_was() {
    let Some(tree) = sources("clr/6.4.3") else { return };
    let stock = contents(tree.path());
    let there_and_back =
        "clr/6.4.3: {}: not patched; 6 patches apply and reverse without a trace\n";
    let here = tree.path().display().to_string();
    assert_eq!(said("verify", tree.path()), there_and_back.replace("{}", &here));
    assert_eq!(
        said("revert", tree.path()),
        format!("clr/6.4.3: {here}: is not patched: nothing to do\n")
    );
    assert!(contents(tree.path()) == stock, "nothing is written");

    assert_eq!(
        said("apply", tree.path()),
        format!("clr/6.4.3: {here}: 6 patches applied, 7 files\n")
    );
    let patched = contents(tree.path());
    let by_hand = sources("clr/6.4.3").expect("again");
    for (path, _) in patches_of("clr/6.4.3") {
        patch(by_hand.path(), &path, &[]);
    }
    assert!(patched == contents(by_hand.path()), "as patch(1) does it");
    assert!(said("verify", tree.path()).contains("patched; 6 patches reverse and apply"));
    assert!(said("apply", tree.path()).contains("is patched already: nothing to do"));
    let (made, _directory) = create("clr", tree.path());
    let why = text(&made.stderr);
    assert!(
        !made.status.success() && why.contains("is patched already, wholly or in part"),
        "{why}"
    );
    assert!(contents(tree.path()) == patched, "nothing is written");

    let value = json(&mut on("revert", tree.path()));
    assert_eq!(value[0]["series"], "clr/6.4.3");
    assert_eq!(value[0]["state"], "patched");
    assert_eq!(value[0]["files"].as_array().unwrap().len(), 7);
    assert_eq!(value[0]["dirty"], serde_json::json!([]));
    assert!(contents(tree.path()) == stock, "as it was");
}

#[test]
fn a_half_patched_tree_is_told_and_can_be_taken_back() {
    let Some(tree) = sources("rocr-runtime/6.4.3") else { return };
    let stock = contents(tree.path());
    for (path, _) in &patches_of("rocr-runtime/6.4.3")[..3] {
        patch(tree.path(), path, &[]);
    }
    let half = contents(tree.path());
    for command in ["verify", "apply"] {
        let said = refused(&mut on(command, tree.path()));
        let name = "is half patched: 3 of 5 patches are applied, up to 0003-rocr-coarse-grained";
        assert!(said.contains(name) && said.contains("`rdnafix patch revert`"), "{said}");
    }
    let (made, _directory) = create("rocr-runtime", tree.path());
    assert!(!made.status.success() && text(&made.stderr).contains("wholly or in part"));
    assert!(contents(tree.path()) == half, "nothing is written");
    assert!(said("revert", tree.path()).contains("3 of 5 patches reversed"));
    assert!(contents(tree.path()) == stock, "as it was");
}

#[test]
fn a_tree_with_parts_of_a_patch_or_of_other_ones_is_told() {
    let Some(tree) = sources("clr/6.4.3") else { return };
    said("apply", tree.path());
    // An earlier header, as it would be after the series of another version of this project.
    let header = tree.path().join("rocclr/device/rdnafix_policy.h");
    let other = fs::read_to_string(&header).unwrap().replace("#ifndef RDNAFIX", "#ifndef  RDNAFIX");
    fs::write(&header, other).unwrap();
    let there = contents(tree.path());
    for command in ["verify", "apply", "revert"] {
        let said = refused(&mut on(command, tree.path()));
        let why = "has rocclr/device/rdnafix_policy.h, rocclr/device/rdnafix_device.hpp, \
                   rocclr/device/rdnafix_system.h: it is patched in part or by other patches";
        assert!(said.contains(why), "{said}");
    }
    assert!(contents(tree.path()) == there, "nothing is written");
}

#[test]
fn a_changed_tree_is_patched_where_the_patches_fit_and_said_to_be_changed() {
    let Some(tree) = sources("clr/6.4.3") else { return };
    let file = tree.path().join(MEMORY);
    let release = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("// Ours\n{release}")).unwrap();
    let stock = contents(tree.path());
    let note = format!("  {MEMORY} is not the release's; the patches fit all the same\n");
    for command in ["verify", "apply", "verify", "revert"] {
        let said = said(command, tree.path());
        assert!(said.ends_with(&note) && said.lines().count() == 2, "{command}: {said}");
    }
    assert!(contents(tree.path()) == stock, "as it was, with our line");
    assert_eq!(json(&mut on("verify", tree.path()))[0]["dirty"], serde_json::json!([MEMORY]));

    // What a patch changes has changed itself.
    fs::write(&file, release.replace("unsigned int ihipFlags = CL", "uint32_t ihipFlags = CL"))
        .unwrap();
    let stock = contents(tree.path());
    for command in ["verify", "apply", "revert"] {
        let said = refused(&mut on(command, tree.path()));
        for part in [
            "clr/6.4.3: ",
            "is another version, or was changed",
            "patch create",
            MEMORY,
            "0004-hip-",
        ] {
            assert!(said.contains(part), "{command}: {part} in: {said}");
        }
    }
    fs::write(&file, release.replace('\n', "\r\n")).unwrap();
    assert!(refused(&mut on("apply", tree.path())).contains("the file has CRLF line ends"));
    fs::write(&file, release.replace("unsigned int ihipFlags = CL", "uint32_t ihipFlags = CL"))
        .unwrap();
    assert!(contents(tree.path()) == stock, "nothing is written");
}

#[test]
fn of_the_series_that_do_not_fit_the_nearest_says_why() {
    let Some(tree) = sources("clr/5.7.1") else { return };
    let hmm = tree.path().join("hipamd/src/hip_hmm.cpp");
    let other = fs::read_to_string(&hmm).unwrap().replace("HIP_INIT_API(hipMallocManaged", "INIT(");
    fs::write(&hmm, other).unwrap();
    let said = refused(&mut on("verify", tree.path()));
    assert!(said.contains("clr/5.7.1: ") && said.contains("hipamd/src/hip_hmm.cpp"), "{said}");
}

#[test]
fn of_a_monorepo_all_components_are_patched_or_none() {
    let monorepo = tempfile::tempdir().unwrap();
    let clr = monorepo.path().join("projects/clr");
    let rocr = monorepo.path().join("projects/rocr-runtime");
    if !sources_in("clr/6.4.3", &clr) || !sources_in("rocr-runtime/6.4.3", &rocr) {
        return;
    }
    let stock = contents(monorepo.path());
    let values = json(&mut on("apply", monorepo.path()));
    let roots: Vec<&str> =
        values.as_array().unwrap().iter().map(|one| one["root"].as_str().unwrap()).collect();
    assert_eq!(roots, [clr.to_str().unwrap(), rocr.to_str().unwrap()]);
    // One is taken back alone; then the other is all that is left to do.
    let one = stdout(on("revert", monorepo.path()).args(["--series", "clr"]));
    assert!(one.lines().count() == 1 && one.contains("clr/6.4.3: "), "{one}");
    let rest = said("revert", monorepo.path());
    let lines: Vec<&str> = rest.lines().collect();
    assert!(lines[0].ends_with("is not patched: nothing to do"), "{rest}");
    assert!(lines[1].contains("5 patches reversed"), "{rest}");
    assert!(contents(monorepo.path()) == stock, "as it was");

    // The second does not fit: the first is not written.
    let table = rocr.join("runtime/hsa-runtime/core/common/hsa_table_interface.cpp");
    fs::write(&table, "// empty\n").unwrap();
    let said = refused(&mut on("apply", monorepo.path()));
    assert!(
        said.contains("rocr-runtime/6.4.3: ") && said.contains("hsa_table_interface.cpp"),
        "{said}"
    );
    let changed =
        contents(monorepo.path()).into_iter().filter(|(path, text)| stock.get(path) != Some(text));
    assert_eq!(changed.count(), 1, "only what was changed by hand");
}

#[test]
fn what_is_no_source_tree_is_told() {
    let empty = tempfile::tempdir().unwrap();
    for command in ["verify", "apply", "revert"] {
        let said = refused(&mut on(command, empty.path()));
        assert!(said.contains("has no file that a series"), "{said}");
        let said = refused(&mut on(command, &empty.path().join("none")));
        assert!(said.contains("none': is no directory"), "{said}");
    }
    fs::write(empty.path().join("file"), "").unwrap();
    assert!(refused(&mut on("verify", &empty.path().join("file"))).contains("is no directory"));
    let unknown = on("verify", empty.path()).args(["--series", "clr/1.0"]).output().unwrap();
    let said = text(&unknown.stderr);
    assert!(
        said.contains("there is no series 'clr/1.0'; there are clr/5.7.1, clr/6.4.3"),
        "{said}"
    );
}

#[test]
fn create_says_what_is_wrong_with_its_arguments() {
    let directory = tempfile::tempdir().unwrap();
    let (tree, out) = (directory.path().join("tree"), directory.path().join("out"));
    fs::create_dir(&tree).unwrap();
    let said = |component: &str, source: &Path, out: &Path, more: &[&str]| {
        let mut command = rdnafix(["patch", "create", "--component", component, "--source"]);
        refused(command.arg(source).arg("--out").arg(out).args(more))
    };
    let wrong = said("mesa", &tree, &out, &[]);
    assert!(
        wrong.contains("--component 'mesa': there are clr, linux, pytorch, rocr-runtime"),
        "{wrong}"
    );
    assert!(said("clr", &directory.path().join("no"), &out, &[]).contains("no': is no directory"));
    assert!(said("clr", &tree, &tree, &[]).contains("tree': is there already"));
    assert!(
        said("clr", &tree, &out, &["--version", "6.4\nBug: x"]).contains("a version is one word")
    );
    let nothing = said("clr", &tree, &out, &[]);
    assert!(nothing.contains("no file defines `::hipHostMalloc(") && !out.exists(), "{nothing}");
    // A dangling link is there, too.
    std::os::unix::fs::symlink("nowhere", &out).unwrap();
    assert!(said("clr", &tree, &out, &[]).contains("out': is there already"));

    let Some(tree) = sources("clr/5.7.1") else { return };
    // Nothing can be made in /proc, whoever asks.
    let full = said("clr", tree.path(), Path::new("/proc/rdnafix-series"), &[]);
    assert!(full.contains("--out '/proc/rdnafix-series': cannot write to /proc"), "{full}");
    let none = said("clr", tree.path(), &directory.path().join("a/b"), &[]);
    assert!(none.contains("cannot write to") && none.contains("/a:"), "{none}");
}

#[test]
fn what_create_has_made_is_said_as_json() {
    let Some(tree) = sources("clr/6.4.3") else { return };
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let mut command = rdnafix(["patch", "create", "--component", "clr", "--version", "6.4.3"]);
    let made = json(command.arg("--source").arg(tree.path()).arg("--out").arg(&out));
    assert_eq!((&made["component"], &made["version"]), (&"clr".into(), &"6.4.3".into()));
    assert_eq!(made["out"], out.to_str().unwrap());
    let names = made["patches"].as_array().unwrap().iter().map(|patch| patch[0].as_str().unwrap());
    let list = fs::read_to_string(out.join("series")).unwrap();
    assert_eq!(names.collect::<Vec<_>>(), list.lines().collect::<Vec<_>>());
    assert!(!made["patches"][0][1].as_str().unwrap().is_empty());
    assert!(made["left_out"].is_array() && made["already_there"].is_array());
}

#[test]
fn a_link_to_the_tree_is_the_tree_and_links_in_it_are_not_followed() {
    let Some(tree) = sources("clr/5.7.1") else { return };
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(tree.path(), &link).unwrap();
    assert!(create("clr", &link).0.status.success());

    // A farm of links, as some build systems make it.
    let memory = tree.path().join(MEMORY);
    let elsewhere = directory.path().join("hip_memory.cpp");
    fs::rename(&memory, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &memory).unwrap();
    let (made, _directory) = create("clr", tree.path());
    let said = text(&made.stderr);
    assert!(
        !made.status.success() && said.contains("(1 symbolic links to files were not followed"),
        "{said}"
    );
}

#[test]
fn the_command_in_the_documentation_makes_patches_that_apply() {
    let doc = fs::read_to_string(root().join("docs/patches.md")).unwrap();
    let section = doc.split("\n## Porting\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().unwrap();
    let block = section.split("```sh no-run\n").nth(1).expect("a block of commands");
    let commands: Vec<&str> = block.lines().take_while(|line| *line != "```").collect();
    assert!(commands.iter().any(|line| line.starts_with("rdnafix patch create ")), "{commands:?}");
    let here = tempfile::tempdir().unwrap();
    if !sources_in("clr/6.4.3", &here.path().join("clr")) {
        return;
    }
    let binaries = Path::new(rdnafix([""; 0]).get_program()).parent().unwrap().to_owned();
    let path = std::env::var("PATH").unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-euc", &commands.join("\n")]).current_dir(here.path());
    succeed(shell.env("PATH", format!("{}:{path}", binaries.display())));
    assert!(said("verify", &here.path().join("clr")).contains(": patched; 6 patches"));
}

#[test]
fn the_script_says_what_it_is_for_and_does_nothing_unasked() {
    let script = root().join("scripts/create_source_patches.sh");
    let help = stdout(Command::new(&script).arg("--help"));
    assert!(help.contains("--component clr|rocr-runtime") && help.contains("--all"), "{help}");
    let nothing = output(&mut Command::new(&script));
    let said = text(&nothing.stderr);
    assert!(!nothing.status.success() && said.contains("nothing is named"), "{said}");
}
