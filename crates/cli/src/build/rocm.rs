//! `rdnafix build rocm`: the steps of a build in their order, and what each depends on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::args::RocmArgs;
use super::manifest::{self, Built, MANIFEST, Manifest};
use super::preflight::{self, Machine};
use super::progress::Progress;
use super::release::{self, Component, Release};
use super::source::{self, From};
use super::steps::{Inputs, Work, hex};
use super::{alternatives, child, compile, kept, library, prefix, tree};
use crate::patch::series::{self, Series};
use crate::stderr::say;
use crate::stdout::print;

/// What is built, and where to.
struct Plan {
    release: Release,
    from: From,
    patched: bool,
    prefix: PathBuf,
}

/// Does it.
///
/// # Errors
/// What the machine lacks, a step that failed, a prefix that is not ours.
pub(super) fn build(args: &RocmArgs) -> Result<()> {
    let release = release::named(&args.release)?;
    let kind = if args.stock { "stock" } else { "patched" };
    let default = || PathBuf::from(format!("/opt/rocm-{kind}-{}", release.name));
    let prefix = prefix::allowed(&args.prefix.clone().unwrap_or_else(default))?;
    let from = From::named(args.from.as_deref())?;
    let directory = kept::directory()?.join(kept::name(&release.name, kind));

    // Nothing is changed before all of this is known to be there.
    let machine = preflight::check(&release, &from, &directory, &prefix, args.jobs)?;
    prefix::ready(&prefix)?;
    if args.set_default {
        alternatives::ready()?;
    }
    child::listen();
    let steps = 5 * release.component.len() + 3;
    let work = Work::open(&directory, Progress::new(args.json, steps))?;
    let plan = Plan { release, from, patched: !args.stock, prefix };
    let prefix = plan.prefix.display();
    plan.run(&work, &machine)?;
    let lost = if args.set_default { alternatives::set(&plan.prefix)? } else { None };
    let manifest = manifest::read(&plan.prefix)?.context("it was installed")?;
    if args.json {
        let event =
            json!({ "event": "installed", "prefix": plan.prefix, "needs": manifest.needs() });
        return print(&format!("{event}\n"));
    }
    print(&format!(
        "{}: {prefix}\n\
         it needs where it is used: {}\n\
         use it in a shell:  . '{prefix}/bin/env.sh'\n\
         remove it:  rdnafix build uninstall --prefix '{prefix}'\n",
        manifest.title(),
        manifest.needs(),
    ))?;
    if let Some(lost) = lost {
        say(&lost);
    }
    Ok(())
}

impl Plan {
    fn run(&self, work: &Work, machine: &Machine) -> Result<()> {
        let mut built = Vec::new();
        for component in &self.release.component {
            built.push(self.component(work, component, machine)?);
        }
        let stage = work.path("stage");
        let mut inputs = Inputs::new("stage").and(self.prefix.as_os_str().as_encoded_bytes());
        for (_, built) in &built {
            inputs = inputs.and(serde_json::to_vec(built)?);
        }
        let script = prefix::script(&self.prefix);
        let there = || stage.join(MANIFEST).is_file();
        let staged = work.step("stage", &inputs.and(&script), there, |_| {
            self.stage(&built, machine, &script, &stage)
        })?;
        work.step(
            "check",
            &Inputs::new("check").and(&staged),
            || true,
            |_| {
                self.release.component.iter().try_for_each(|component| {
                    library::check(
                        component,
                        self.patched,
                        &stage.join("lib").join(&component.library),
                    )
                })
            },
        )?;
        let inputs = Inputs::new("install").and(&staged);
        let there = || {
            let same =
                fs::read(self.prefix.join(MANIFEST)).ok() == fs::read(stage.join(MANIFEST)).ok();
            let found = manifest::read(&self.prefix);
            same && found.is_ok_and(|found| {
                found.is_some_and(|found| found.expect_untouched(&self.prefix).is_ok())
            })
        };
        work.step("install", &inputs, there, |_| prefix::install(&stage, &self.prefix))?;
        Ok(())
    }

    /// Builds one component; gives its library and what it was made from.
    fn component(
        &self,
        work: &Work,
        component: &Component,
        machine: &Machine,
    ) -> Result<(PathBuf, Built)> {
        let name = &component.name;
        let series = if self.patched { Some(self.series(component)?) } else { None };
        let (pristine, tree, objects) = (
            work.path("pristine").join(name),
            work.path("src").join(name),
            work.path("obj").join(name),
        );
        let (tools, download) = (work.path("tools"), work.path("download"));

        let mut inputs = Inputs::new("fetch")
            .and(self.from.to_string())
            .and(&component.sha256)
            .and(&component.git)
            .and(&component.tag)
            .and(&component.commit);
        if let From::Directory(directory) = &self.from {
            // What the user has there may change under the same name.
            let found = source::of_the_user(component, directory)?;
            let hash = if found.is_file() {
                tree::hash(&found)?
            } else {
                tree::hash_of(&tree::contents(&found)?)
            };
            inputs = inputs.and(hash);
        }
        let place = download.join(format!("{name}.path"));
        let fetched = work.step(
            &format!("fetch-{name}"),
            &inputs,
            || place.exists(),
            |log| {
                let found = source::fetch(component, &self.from, &download, log)?;
                Ok(fs::write(&place, found.as_os_str().as_encoded_bytes())?)
            },
        )?;

        let mut inputs = Inputs::new("verify").and(&fetched);
        for (path, hash) in release::record(&self.release.name, name)? {
            inputs = inputs.and(path).and(hash);
        }
        let sum = work.path("pristine").join(format!("{name}.sha256"));
        work.step(
            &format!("verify-{name}"),
            &inputs,
            || sum.exists() && pristine.exists(),
            |log| {
                let fetched = PathBuf::from(fs::read_to_string(&place)?);
                source::unpack(&self.release, component, &self.from, &fetched, &pristine, log)?;
                Ok(fs::write(&sum, tree::hash_of(&tree::contents(&pristine)?))?)
            },
        )?;
        let source = fs::read_to_string(&sum)?;

        // Wherever it came from: the same source is not compiled again.
        let mut inputs = Inputs::new("patch").and(&source);
        let patches = series.as_ref().map_or(&[][..], |series| &series.patches);
        for patch in patches {
            inputs = inputs.and(patch.text);
        }
        let tree_made = work.step(
            &format!("patch-{name}"),
            &inputs,
            || tree.exists(),
            |log| tree::prepare(&pristine, series.as_ref(), &tree, log),
        )?;

        let arguments = compile::arguments(component, &tools, &tree);
        let mut inputs = Inputs::new("configure").and(arguments.join("\n")).and(&machine.toolchain);
        for (tool, content) in release::tools(&self.release.name) {
            inputs = inputs.and(tool).and(content);
        }
        let ready = objects.join("build.ninja");
        let configured = work.step(
            &format!("configure-{name}"),
            &inputs,
            || ready.exists(),
            |log| {
                compile::tools(&self.release, &tools)?;
                compile::configure(&tree, &objects, &tools, &arguments, &machine.toolchain, log)
            },
        )?;

        let inputs = Inputs::new("build").and(&tree_made).and(&configured);
        let sum = work.path("obj").join(format!("{name}.sha256"));
        let as_built = || compile::is_as_built(component, &objects, &sum);
        let hash = work.step(&format!("build-{name}"), &inputs, as_built, |log| {
            compile::build(component, &objects, &tools, machine.jobs, log, work.progress())?;
            Ok(fs::write(&sum, tree::hash(&compile::library(component, &objects)?)?)?)
        })?;
        let of_upstream = !matches!(self.from, From::Directory(_))
            || fs::read_to_string(&place)?.ends_with(&component.tarball);
        let library = compile::library(component, &objects)?;
        let built = Built {
            name: name.clone(),
            library: component.library.clone(),
            from: self.from.to_string(),
            upstream: of_upstream
                .then(|| format!("{} {} {}", component.git, component.tag, component.commit)),
            source,
            patches: patches
                .iter()
                .map(|patch| (patch.name.clone(), hex(&Sha256::digest(patch.text))))
                .collect(),
            inputs: hash,
            needs: library::needs(&library)?,
        };
        Ok((library, built))
    }

    fn series(&self, component: &Component) -> Result<Series> {
        let found = series::all()?.into_iter().find(|series| series.name() == component.series);
        found.with_context(|| {
            format!("ROCm {}: there are no patches {}", self.release.name, component.series)
        })
    }

    fn stage(
        &self,
        built: &[(PathBuf, Built)],
        machine: &Machine,
        script: &str,
        stage: &Path,
    ) -> Result<()> {
        if stage.exists() {
            fs::remove_dir_all(stage)
                .with_context(|| format!("cannot remove {}", stage.display()))?;
        }
        for part in ["bin", "lib", "share/rdnafix"] {
            fs::create_dir_all(stage.join(part))?;
        }
        for (library, Built { library: soname, .. }) in built {
            let target = stage.join("lib").join(soname);
            fs::copy(library, &target)
                .with_context(|| format!("cannot write {}", target.display()))?;
            // Bindings open this name; they would get the system's library otherwise.
            if let Some((unversioned, _)) = soname.split_once(".so.") {
                std::os::unix::fs::symlink(soname, stage.join(format!("lib/{unversioned}.so")))?;
            }
        }
        fs::write(stage.join("bin/env.sh"), script)?;
        let made = Manifest {
            rdnafix: env!("CARGO_PKG_VERSION").to_owned(),
            release: self.release.name.clone(),
            patched: self.patched,
            components: built.iter().map(|(_, built)| built.clone()).collect(),
            tools: machine.versions.clone(),
            files: tree::contents(stage)?,
        };
        let path = stage.join(MANIFEST);
        fs::write(&path, serde_json::to_string_pretty(&made)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
