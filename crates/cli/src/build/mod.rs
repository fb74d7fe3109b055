//! `rdnafix build`: the two libraries of ROCm that the patches change, built as an overlay.

mod args;
mod compile;
mod prefix;
mod preflight;
mod progress;
mod release;
mod source;
mod steps;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;

pub(crate) use self::args::BuildArgs;
use self::args::{BuildCommand, RocmArgs};
use self::progress::Progress;
use self::release::{Component, Release};
use self::source::From;
use self::steps::{Inputs, Work};
use crate::patch::series;
use crate::root;
use crate::stdout::print;

/// Does it.
///
/// # Errors
/// What the machine lacks, a step that failed, a prefix that is not ours.
pub(crate) fn build(args: &BuildArgs) -> Result<ExitCode> {
    match &args.command {
        BuildCommand::Rocm(args) => rocm(args),
        BuildCommand::Uninstall(args) => {
            let removed = prefix::uninstall(&args.prefix)?;
            print(&format!("{}: removed, {removed} files\n", args.prefix.display()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn rocm(args: &RocmArgs) -> Result<ExitCode> {
    let release = release::named(&args.release)?;
    let kind = if args.stock { "stock" } else { "patched" };
    let prefix =
        args.prefix.clone().unwrap_or_else(|| format!("/opt/rocm-{kind}-{}", release.name).into());
    let prefix =
        std::path::absolute(&prefix).with_context(|| format!("--prefix '{}'", prefix.display()))?;
    let from = match &args.from[..] {
        "git" => From::Git,
        "debian" => From::Debian,
        directory => From::Directory(
            fs::canonicalize(directory).with_context(|| format!("--from '{directory}'"))?,
        ),
    };
    // Before hours of work rather than after them.
    prefix::manifest(&prefix)?;
    let directory = root::cache()?.join(format!("build/rocm-{}-{kind}", release.name));
    let work = Work::open(&directory, Progress::new(args.json))?;
    let jobs = preflight::check(&release, &directory, args.jobs)?;

    let mut built = Vec::new();
    for component in &release.component {
        built.push(one(&work, &release, component, &from, args.stock, &prefix, jobs)?);
    }
    let stage = work.path("stage");
    let mut inputs = Inputs::new("stage");
    for (library, hash) in &built {
        inputs = inputs.and(hash).and(library.display().to_string());
    }
    let staged =
        work.step("stage", &inputs, &stage, |_| stage_all(&release, &built, &stage, &prefix))?;
    work.step("check", &Inputs::new("check").and(&staged), &stage, |_| {
        let check = |component: &Component| {
            compile::check(component, &stage.join("lib").join(&component.library))
        };
        release.component.iter().try_for_each(check)
    })?;
    let inputs = Inputs::new("install")
        .and(&staged)
        .and(prefix.display().to_string())
        .and([u8::from(args.set_default)]);
    let mark = prefix.join("bin/env.sh");
    work.step("install", &inputs, &mark, |_| {
        prefix::install(&stage, &prefix, &release.name, args.set_default).map(drop)
    })?;
    if args.json {
        print(&format!("{}\n", json!({ "event": "installed", "prefix": prefix })))?;
    } else {
        print(&format!(
            "ROCm {} {kind}: {}\nuse it in a shell:  . {}/bin/env.sh\nremove it:  rdnafix build uninstall --prefix {}\n",
            release.name,
            prefix.display(),
            prefix.display(),
            prefix.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds one component; gives its library and the hash of everything that it was made from.
fn one(
    work: &Work,
    release: &Release,
    component: &Component,
    from: &From,
    stock: bool,
    prefix: &Path,
    jobs: usize,
) -> Result<(PathBuf, String)> {
    let name = &component.name;
    let all = series::all()?;
    let series = all.iter().find(|series| !stock && series.name() == component.series);
    let tree = work.path("src").join(name);
    let objects = work.path("obj").join(name);
    let tools = work.path("tools");
    let download = work.path("download");

    let mut source = PathBuf::new();
    let mut inputs =
        Inputs::new("fetch").and(format!("{from:?}")).and(&component.sha256).and(&component.tag);
    if let From::Directory(directory) = from {
        // A tree of the user's may change under the same name.
        inputs = inputs.and(source::newest(directory)?);
    }
    let place = work.path("download").join(format!("{name}.path"));
    let fetched = work.step(&format!("fetch-{name}"), &inputs, &place, |log| {
        let found = source::fetch(component, from, &download, log)?;
        Ok(fs::write(&place, found.as_os_str().as_encoded_bytes())?)
    })?;
    source.push(fs::read_to_string(&place)?);

    let mut inputs = Inputs::new("patch").and(&fetched);
    for text in series.iter().flat_map(|series| &series.patches).map(|patch| patch.text) {
        inputs = inputs.and(text);
    }
    let patched = work.step(&format!("patch-{name}"), &inputs, &tree, |log| {
        source::prepare(&source, series, &tree, log)
    })?;

    let arguments = compile::arguments(component, &tools, prefix);
    let mut inputs = Inputs::new("configure").and(arguments.join("\n"));
    for (tool, content) in release::tools(&release.name) {
        inputs = inputs.and(tool).and(content);
    }
    let configured =
        work.step(&format!("configure-{name}"), &inputs, &objects.join("build.ninja"), |log| {
            compile::tools(release, &tools)?;
            compile::configure(&tree, &objects, &tools, &arguments, log)
        })?;
    let inputs = Inputs::new("build").and(&patched).and(&configured);
    let hash = work.step(&format!("build-{name}"), &inputs, &objects, |log| {
        compile::build(component, &objects, &tools, jobs, log, work.progress())
    })?;
    Ok((compile::library(component, &objects)?, hash))
}

fn stage_all(
    release: &Release,
    built: &[(PathBuf, String)],
    stage: &Path,
    prefix: &Path,
) -> Result<()> {
    if stage.exists() {
        fs::remove_dir_all(stage).with_context(|| format!("cannot remove {}", stage.display()))?;
    }
    fs::create_dir_all(stage.join("lib"))?;
    fs::create_dir_all(stage.join("bin"))?;
    for (component, (library, _)) in release.component.iter().zip(built) {
        fs::copy(library, stage.join("lib").join(&component.library))
            .with_context(|| format!("cannot copy {}", library.display()))?;
    }
    let script = format!(
        "# Puts the libraries in {0}/lib before those of the system, for this shell.\n\
         export LD_LIBRARY_PATH=\"{0}/lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"\n",
        prefix.display()
    );
    Ok(fs::write(stage.join("bin/env.sh"), script)?)
}
