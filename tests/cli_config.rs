//! `rdnafix config`, the configuration files, and what is generated from the command line.

mod cli_common;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use cli_common::{alloc_probe, clean, output, rdnafix, root, stdout, succeed, text};
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
    assert_eq!(setting("torch")["value"], "false");
    let file = setting("torch")["from"].as_str().unwrap();
    assert_eq!(Path::new(file), user.path().join("rdnafix/config.toml"));
    assert_eq!(setting("log")["from"], "default");
    let table = stdout(&mut with(user.path(), &["config", "show"]));
    assert!(table.contains("user's file") && table.lines().all(|line| line.len() <= 80), "{table}");
}

/// What `config show` says on stderr, and the setting as it shows it, with this variable.
fn shown_with(variable: &str, value: &OsStr) -> (String, Value) {
    let shown = output(rdnafix(["config", "show", "--json"]).env(variable, value));
    assert_eq!(shown.status.code(), Some(0));
    let document: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let mut settings = document["settings"].as_array().unwrap().iter();
    let setting = settings.find(|setting| setting["variable"] == variable).unwrap();
    (text(&shown.stderr), setting.clone())
}

#[test]
fn a_variable_that_is_not_understood_is_shown_as_what_counts_instead() {
    let not_text = OsStr::from_bytes(b"/tmp/\xff");
    for (variable, value, counts, said) in [
        (
            "RDNAFIX_POLICY",
            OsStr::new("Mapped"),
            "standard",
            "expected off, standard, mapped, full",
        ),
        ("RDNAFIX_DRY_RUN", OsStr::new("yes"), "true", "expected 0 or 1; it is taken as 1"),
        ("RDNAFIX_DLSYM", OsStr::new("yes"), "false", "it is taken as 0"),
        ("RDNAFIX_LOG", not_text, "", "it is ignored"),
        ("RDNAFIX_SUMMARY", OsStr::new("no"), "auto", "`rdnafix run` refuses it"),
    ] {
        let (stderr, setting) = shown_with(variable, value);
        assert_eq!(setting["value"], counts, "{variable}");
        assert!(!setting["not_understood"].is_null(), "{setting}");
        assert!(stderr.starts_with("rdnafix: ") && stderr.contains(said), "{stderr}");
    }
    let (stderr, setting) = shown_with("RDNAFIX_REPORT", not_text);
    assert_eq!((&stderr[..], &setting["value"]), ("", &r#""/tmp/\xff""#.into()));
    let shown = output(rdnafix(["config", "show"]).env("RDNAFIX_POLICY", "Mapped"));
    let table = text(&shown.stdout);
    assert!(table.contains("standard  environment, wrong"), "{table}");
}

#[test]
fn a_variable_that_is_none_is_named_with_the_nearest() {
    let mut command = rdnafix(["config", "show"]);
    let shown = output(command.env("RDNAFIX_POLCY", "full").env("RDNAFIX_MIRROR", "x"));
    let expected =
        "rdnafix: RDNAFIX_POLCY: there is no such variable; did you mean 'RDNAFIX_POLICY'?\n";
    assert_eq!(text(&shown.stderr), expected);
}

#[test]
fn what_the_library_does_not_understand_is_what_config_show_says_so_of() {
    // RDNAFIX_DLSYM is read where nothing can be said.
    for (variable, values) in [
        ("RDNAFIX_POLICY", &["off", "full", "Standard", " off"][..]),
        ("RDNAFIX_LOG", &["off", "error:", "loud", "error,debug"]),
        ("RDNAFIX_DENY", &["a", "a,b?", "a,,b", ",", "*"]),
        ("RDNAFIX_MIN_BYTES", &["0", "65536", "+1", "64k", "-1", "99999999999999999999"]),
        ("RDNAFIX_DRY_RUN", &["0", "1", "01", "true"]),
        ("RDNAFIX_TORCH", &["0", "1", "off"]),
        (
            "RDNAFIX_VRAM_FRACTION",
            &["0.8", ".5", "1.", "1.0000009", "0", "0.0000001", "1e-1", ".", "2"],
        ),
    ] {
        for value in values {
            let mut run = rdnafix(["sim", "--"]);
            run.args([rdnafix([] as [&str; 0]).get_program(), "run".as_ref(), "--".as_ref()]);
            let ran = output(run.arg(alloc_probe()).env(variable, value));
            let complained = text(&ran.stderr).contains(&format!("rdnafix: {variable}="));
            let (said, setting) = shown_with(variable, value.as_ref());
            assert_eq!(
                !setting["not_understood"].is_null(),
                complained,
                "{variable}={value}: {said}"
            );
        }
    }
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
fn bash_completes_commands_levels_and_roots() {
    let mut script = stdout(&mut rdnafix(["completions", "bash"]));
    script.push_str(
        "complete() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
         _rdnafix rdnafix \"${@: -1}\" \"${@: -2:1}\"; echo \"${COMPREPLY[@]}\"; }\n\
         complete rdnafix conf\ncomplete rdnafix run --level m\n\
         complete rdnafix compare --root 7\ncomplete rdnafix sim root linux-6\n",
    );
    let completed = "config\nmapped\n7.2.4\nlinux-6.1 linux-6.12\n";
    assert_eq!(shell("bash", &[], &script).unwrap(), completed);
}

#[test]
fn fish_completes_commands_levels_and_roots() {
    let mut script = stdout(&mut rdnafix(["completions", "fish"]));
    for words in ["conf", "run --level m", "run --summary=al", "compare --root 7"] {
        let line = ["complete -C 'rdnafix ", words, "' | string split -f 1 \\t; true\n"];
        script.push_str(&line.concat());
    }
    if let Some(completed) = shell("fish", &["--no-config"], &script) {
        assert_eq!(completed, "config\nmapped\n--summary=always\n7.2.4\n");
    }
}

#[test]
fn zsh_loads_its_completions() {
    let mut script = "autoload -U compinit && compinit -D -u\n".to_owned();
    script.push_str(&stdout(&mut rdnafix(["completions", "zsh"])));
    script.push_str("compdef _rdnafix rdnafix && print $_comps[rdnafix]\n");
    if let Some(loaded) = shell("zsh", &["--no-rcs"], &script) {
        assert_eq!(loaded, "_rdnafix\n");
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
    for page in fs::read_dir(directory.path()).unwrap() {
        let page = fs::read_to_string(page.unwrap().path()).unwrap();
        let source = concat!("\"rdnafix ", env!("CARGO_PKG_VERSION"), "\"");
        assert!(
            page.lines().any(|line| line.starts_with(".TH ") && line.contains(source)),
            "{page}"
        );
    }
    assert!(stdout(&mut rdnafix(["man"])).starts_with(".ie"));
    for words in [&["run"][..], &["build", "rocm"]] {
        let name = format!("rdnafix-{}.1", words.join("-"));
        let page = fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(stdout(rdnafix(["man"]).args(words)), page);
    }
    let unknown = output(&mut rdnafix(["man", "build", "roc"]));
    assert_eq!(unknown.status.code(), Some(125));
    let said = text(&unknown.stderr);
    assert!(said.contains("no command 'build roc'; did you mean 'build rocm'?"), "{said}");
    let said = text(&output(&mut rdnafix(["man", "run", "x"])).stderr);
    assert!(said.ends_with("there is no command 'run x'; 'run' has none\n"), "{said}");
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
