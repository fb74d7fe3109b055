//! `rdnafix config`, the configuration files, and what is generated from the command line.

mod cli_common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use cli_common::{clean, output, rdnafix, root, stdout, succeed, text};
use serde_json::Value;

/// A user's configuration directory with this file.
fn configured(file: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("rdnafix")).unwrap();
    fs::write(directory.path().join("rdnafix/config.toml"), file).unwrap();
    directory
}

fn with(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = rdnafix(arguments);
    command.env("XDG_CONFIG_HOME", directory);
    command
}

#[test]
fn options_come_before_the_environment_and_that_before_the_file() {
    let user = configured("policy = \"mapped\"\nmin_bytes = 4096\ndry_run = true\n");
    let print = "echo $RDNAFIX_POLICY $RDNAFIX_MIN_BYTES $RDNAFIX_DRY_RUN";
    let run = |options: &[&str], policy: Option<&str>| {
        let words = [&["run"], options, &["--", "sh", "-c", print]].concat();
        let mut command = with(user.path(), &words);
        command.envs(policy.map(|policy| ("RDNAFIX_POLICY", policy)));
        stdout(&mut command)
    };
    assert_eq!(run(&[], None), "mapped 4096 1\n");
    assert_eq!(run(&[], Some("full")), "full 4096 1\n");
    assert_eq!(run(&[], Some("")), "mapped 4096 1\n", "empty is as good as none");
    assert_eq!(run(&["--level", "off"], Some("full")), "off 4096 1\n");
}

#[test]
fn what_is_shown_says_where_it_comes_from() {
    let user = configured("torch = false\n");
    let mut command = with(user.path(), &["config", "show", "--json"]);
    let shown: Value =
        serde_json::from_str(&stdout(command.env("RDNAFIX_POLICY", "full"))).unwrap();
    let settings = shown["settings"].as_array().unwrap();
    let setting = |key: &str| settings.iter().find(|setting| setting["key"] == key).unwrap();
    assert_eq!(
        (&setting("policy")["value"], &setting("policy")["from"]),
        (&"full".into(), &"environment".into())
    );
    assert_eq!(setting("torch")["value"], "0");
    let file = setting("torch")["from"].as_str().unwrap();
    assert_eq!(Path::new(file), user.path().join("rdnafix/config.toml"));
    assert_eq!(setting("log")["from"], "default");
    let table = stdout(&mut with(user.path(), &["config", "show"]));
    assert!(table.contains("user's file") && table.lines().all(|line| line.len() <= 80), "{table}");
}

#[test]
fn a_wrong_file_is_named_and_nothing_is_run() {
    let user = configured("# mine\npolici = \"off\"\n");
    for arguments in [&["run", "--", "echo", "ran"][..], &["config", "show"]] {
        let output = output(&mut with(user.path(), arguments));
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(125), &b""[..]));
        let said = text(&output.stderr);
        for part in ["rdnafix/config.toml", "line 2", "'polici'", "did you mean 'policy'?"] {
            assert!(said.contains(part), "{said}");
        }
    }
}

/// The variables that the library reads are those that can be configured.
#[test]
fn every_variable_of_the_library_is_a_setting() {
    let mut read = BTreeSet::new();
    for file in ["src/config.rs", "src/dl.rs"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let names = text.split("c\"RDNAFIX_").skip(1).map(|rest| rest.split('"').next().unwrap());
        read.extend(names.map(|name| format!("RDNAFIX_{name}")));
    }
    let shown: Value =
        serde_json::from_str(&stdout(&mut rdnafix(["config", "show", "--json"]))).unwrap();
    let settings = shown["settings"].as_array().unwrap().iter();
    let mut settable: BTreeSet<String> =
        settings.map(|setting| setting["variable"].as_str().unwrap().to_owned()).collect();
    assert!(settable.remove("RDNAFIX_SUMMARY"), "which is the command's own");
    assert!(read.remove("RDNAFIX_SUMMARY_FILE"), "which `rdnafix run` sets, and no user");
    assert_eq!(read, settable);
}

/// What a shell says of the completions, where it is installed.
fn shell(name: &str, arguments: &[&str], script: &str) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("completions");
    fs::write(&file, script).unwrap();
    if clean(name).arg("--version").output().is_err() {
        println!("SKIPPED: the completions of {name}: {name} is not installed");
        return None;
    }
    Some(text(&succeed(clean(name).args(arguments).arg(&file)).stdout))
}

#[test]
fn bash_completes_commands_and_levels() {
    let mut script = stdout(&mut rdnafix(["completions", "bash"]));
    script.push_str(
        "complete() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
         _rdnafix rdnafix \"${@: -1}\" \"${@: -2:1}\"; echo \"${COMPREPLY[@]}\"; }\n\
         complete rdnafix conf\ncomplete rdnafix run --level m\n",
    );
    assert_eq!(shell("bash", &[], &script).unwrap(), "config\nmapped\n");
}

#[test]
fn zsh_and_fish_understand_their_completions() {
    for name in ["zsh", "fish"] {
        let script = stdout(&mut rdnafix(["completions", name]));
        assert!(script.contains("doctor"), "{script}");
        shell(name, &["-n"], &script);
    }
}

#[test]
fn there_is_a_manual_page_for_every_command_without_a_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = rdnafix(["man", "--out"]);
    assert_eq!(stdout(command.arg(directory.path())), "");
    for name in ["rdnafix.1", "rdnafix-run.1", "rdnafix-doctor.1", "rdnafix-build-rocm.1"] {
        assert!(directory.path().join(name).is_file(), "{name}");
    }
    assert!(stdout(&mut rdnafix(["man"])).starts_with(".ie"));
    if clean("groff").arg("--version").output().is_err() {
        println!("SKIPPED: a check of the manual pages: groff is not installed");
        return;
    }
    for page in fs::read_dir(directory.path()).unwrap() {
        let page = page.unwrap().path();
        let mut groff = clean("groff");
        let said = output(groff.args(["-man", "-ww", "-Tutf8", "-z"]).arg(&page));
        assert_eq!(text(&said.stderr), "", "{}", page.display());
    }
}
