//! Every command of the pages (*.md) runs, every link and every file that they name is there.
//!
//! A block ```` ```sh ```` is run in a shell in the root of the repository, with a home of its
//! own, `target/release` being that of this build and in PATH. In the line above it may be
//! `<!-- exit: 0 1 -->`, the codes that its commands may end with. What cannot be run here is
//! ```` ```sh no-run ````, below `<!-- no-run: REASON -->`, and is printed as SKIPPED.

mod common;
mod docs_common;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use docs_common::{Block, anchor, code, links, pages, parse, root};

/// What a block may be. Only `sh` is run; the others are shown to be read.
const KINDS: [&str; 7] = ["sh", "sh no-run", "text", "json", "toml", "c", "python"];

/// A command may build something. In seconds.
const TIME_LIMIT: &str = "900";

/// EX_UNAVAILABLE: what the Debian archive no longer has is no failure of the project's.
const CANNOT_BE_HAD: i32 = 69;

fn git_status() -> Option<Vec<u8>> {
    let output = Command::new("git")
        .args(["status", "--porcelain"])
        .current_dir(root())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then_some(output.stdout)
}

/// The commands of a block: lines, joined as long as the shell wants more.
fn commands(block: &Block) -> Vec<String> {
    let mut commands = Vec::new();
    let mut open = String::new();
    for line in block.text.iter().filter(|line| !line.trim().is_empty()) {
        open.push_str(line);
        open.push('\n');
        let complete = !line.ends_with('\\')
            && Command::new("bash")
                .args(["-n", "-c", &open])
                .stderr(Stdio::null())
                .status()
                .expect("bash starts")
                .success();
        if complete {
            commands.push(std::mem::take(&mut open).trim_end().into());
        }
    }
    assert!(open.is_empty(), "{}: this is no complete command: {open}", block.place());
    commands
}

/// One shell for the block: a directory or a variable that a command sets holds for the next.
fn run(block: &Block, home: &Path) -> Output {
    let release = common::artifact::artifact("rdnafix").parent().expect("a directory").to_owned();
    let allowed = block.directive("exit").unwrap_or("0");
    let mut script = format!(
        "set -o pipefail\n\
         ended() {{ [[ ' {allowed} ' == *\" $1 \"* ]] || {{ echo \"ended with $1: $2\" >&2; exit $1; }}; }}\n"
    );
    for command in commands(block) {
        let release = release.to_string_lossy();
        let mut command = command
            .replace("target/release", &release)
            .replace(&format!("$PWD/{release}"), &release);
        if std::env::var_os("RDNAFIX_TEST_NO_INSTALL").is_some()
            && command.starts_with("./scripts/quickstart.sh")
        {
            command.push_str(" --no-install");
        }
        let quoted = format!("'{}'", command.replace('\'', r"'\''"));
        writeln!(script, "eval {quoted} </dev/null; ended $? {quoted}").expect("a string");
    }
    let real_home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let kept = |name: &str, below: &str| {
        std::env::var_os(name).map_or_else(|| real_home.join(below), PathBuf::from)
    };
    let path = std::env::join_paths(
        std::iter::once(release)
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )
    .expect("a path");
    Command::new("timeout")
        .args([TIME_LIMIT, "bash", "-c", &script])
        .current_dir(root())
        .env("HOME", home)
        .env("PATH", path)
        .env("CARGO_HOME", kept("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", kept("RUSTUP_HOME", ".rustup"))
        .env("XDG_CACHE_HOME", kept("XDG_CACHE_HOME", ".cache"))
        .env_remove("XDG_CONFIG_HOME")
        .env("CARGO_TARGET_DIR", common::artifact::target_dir())
        .stdin(Stdio::null())
        .output()
        .expect("timeout and bash start")
}

#[test]
fn every_command_of_the_pages_runs() {
    let before = git_status();
    if before.is_none() {
        println!("SKIPPED: whether commands of the pages leave something behind: no git checkout");
    }
    let mut failures = Vec::new();
    let (mut ran, mut skipped) = (0, 0);
    for page in pages() {
        // Of its own for each page: what its first block writes is there for the next.
        let home = tempfile::tempdir().expect("a directory");
        for block in &page.blocks {
            match block.info.as_str() {
                "sh no-run" => {
                    let reason = block.directive("no-run").unwrap_or("no reason is given");
                    println!("SKIPPED: {}: {reason}", block.place());
                    skipped += 1;
                }
                "sh" => {
                    let output = run(block, home.path());
                    match output.status.code() {
                        Some(0) => ran += 1,
                        Some(CANNOT_BE_HAD) => {
                            println!("SKIPPED: {}: it cannot be had here", block.place());
                            skipped += 1;
                        }
                        _ => failures.push(format!(
                            "{}: {}\n{}\n{}",
                            block.place(),
                            output.status,
                            tail(&output.stdout),
                            tail(&output.stderr)
                        )),
                    }
                }
                _ => {}
            }
        }
    }
    println!("{ran} blocks run, {skipped} skipped");
    assert!(ran > 0, "the pages have commands");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(
        before.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        git_status().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        "commands of the pages leave files in the repository"
    );
}

fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

#[test]
fn every_block_says_what_it_is_and_why_it_is_not_run() {
    let mut wrong = Vec::new();
    for page in pages() {
        for block in &page.blocks {
            let place = block.place();
            if !KINDS.contains(&block.info.as_str()) {
                wrong.push(format!("{place}: '{}' is none of {KINDS:?}", block.info));
            }
            let reason = block.directive("no-run").is_some_and(|reason| !reason.is_empty());
            if (block.info == "sh no-run") != reason {
                wrong.push(format!("{place}: `sh no-run` and <!-- no-run: REASON --> are a pair"));
            }
        }
        // A block that is only indented would be neither run nor counted.
        for pair in page.prose.windows(2) {
            if pair[0].1.is_empty() && pair[1].1.starts_with("    ") {
                wrong.push(format!("{}:{}: indented code", page.path.display(), pair[1].0));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut dead = Vec::new();
    for page in pages() {
        for (line, text) in &page.prose {
            for target in links(text) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (file, heading) = target.split_once('#').unwrap_or((target, ""));
                let directory = page.path.parent().expect("a page is in a directory");
                let path = if file.is_empty() { page.path.clone() } else { directory.join(file) };
                if !root().join(&path).exists() || !has_heading(&path, heading) {
                    dead.push(format!("{}:{line}: {target}", page.path.display()));
                }
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

fn has_heading(path: &Path, heading: &str) -> bool {
    if heading.is_empty() {
        return true;
    }
    let text = std::fs::read_to_string(root().join(path)).unwrap_or_default();
    let page = parse(path, &text);
    page.prose.iter().any(|(_, line)| line.starts_with('#') && anchor(line) == heading)
}

/// Files of the repository begin with one of these; what has a placeholder is no file.
#[test]
fn every_file_of_the_repository_that_is_named_is_there() {
    const BEGIN: [&str; 9] = [
        "benches/",
        "crates/",
        "docs/",
        "examples/",
        "packaging/",
        "patches/",
        "scripts/",
        "tests/",
        "./scripts/",
    ];
    let mut missing = Vec::new();
    for page in pages() {
        for (line, text) in &page.prose {
            for word in code(text).filter_map(|code| code.split(' ').next()) {
                let placeholder = word
                    .contains(|c: char| c.is_ascii_uppercase() || "*<{$".contains(c))
                    && !root().join(word).exists();
                if BEGIN.iter().any(|begin| word.starts_with(begin))
                    && !placeholder
                    && !root().join(word).exists()
                {
                    missing.push(format!("{}:{line}: {word}", page.path.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "named, but not there:\n{}", missing.join("\n"));
}

#[test]
fn every_page_is_in_the_index() {
    let index = std::fs::read_to_string(root().join("docs/README.md")).expect("the index");
    let listed: Vec<&str> = index.lines().flat_map(links).collect();
    for page in pages() {
        if page.path.parent() == Some(Path::new("docs")) && !page.path.ends_with("README.md") {
            let name = page.path.file_name().expect("a name").to_string_lossy();
            assert!(listed.contains(&name.as_ref()), "docs/README.md does not name {name}");
        }
    }
}

#[test]
fn a_wrong_command_fails_and_an_allowed_code_does_not() {
    let home = tempfile::tempdir().expect("a directory");
    let block = |text: &str| parse(Path::new("page.md"), text).blocks.remove(0);
    let ended = |text: &str| run(&block(text), home.path()).status.code();
    assert_eq!(ended("```sh\nfalse\ntrue\n```"), Some(1));
    assert_eq!(ended("```sh\nfalse | true\n```"), Some(1));
    assert_eq!(ended("<!-- exit: 0 1 -->\n```sh\nfalse\ntrue\n```"), Some(0));
    assert_eq!(ended("<!-- exit: 0 1 -->\n```sh\nexit 3\n```"), Some(3));
    assert_eq!(ended("```sh\nrdnafix --no-such-option\n```"), Some(125));
    assert_eq!(ended("```sh\nfor x in 1 2; do\n  test -n \"$x\"\ndone\ntest $x = 2\n```"), Some(0));
    assert_eq!(ended("```sh\ntouch ~/made && test -e ~/made\n```"), Some(0));
    assert!(home.path().join("made").exists(), "~ is the home of the test");
}
