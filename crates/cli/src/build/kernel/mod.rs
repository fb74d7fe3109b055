//! `rdnafix build kernel`: the patched amdgpu of Debian's kernels, by DKMS. Nothing of the system
//! is changed before the module is built and asks for the same kernel as the stock one.

mod check;
mod dkms;
mod host;
mod objects;
mod package;
mod preflight;
mod remove;
mod signing;
mod undo;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::json;
use walkdir::WalkDir;

use self::host::Kernel;
use self::objects::Objects;
use self::preflight::{For, Ready};
use self::undo::Before;
use super::args::KernelArgs;
use super::compile::without_other_builds;
use super::progress::Progress;
use super::steps::{Inputs, Log, Work};
use super::{child, kept, tree};
use crate::stderr::say;
use crate::stdout::print;

/// Where the module is below the directory of a build.
const AMDGPU: &str = "src/linux/drivers/gpu/drm/amd/amdgpu";

/// Does it.
///
/// # Errors
/// What the machine lacks, a step that failed, a module that does not fit the kernel.
pub(super) fn build(args: &KernelArgs) -> Result<()> {
    if let Some(directory) = &args.deb {
        let made = package::deb(directory)?;
        return if args.json {
            print(&format!("{}\n", json!({ "event": "made", "deb": made })))
        } else {
            print(&format!("{}\ninstall it: sudo apt-get install {0}\n", absolute(&made)))
        };
    }
    if args.remove {
        return remove::remove(args.json);
    }
    let kernel = Kernel::named(args.kernel.as_deref())?;
    let directory = kept::directory()?.join(format!("linux-{}", kernel.release));
    if args.check {
        return check_only(&kernel, &directory, args.json);
    }
    let ready =
        preflight::examine(&kernel, &directory, For::Installation)?.expect_ready(&kernel)?;
    let others: Vec<String> =
        dkms::versions()?.into_iter().filter(|version| version != package::VERSION).collect();
    for version in others.iter().map(String::as_str).chain([package::VERSION]) {
        dkms::expect_unowned(version)?;
    }
    child::listen();
    let steps = 7 + usize::from(args.enable) + usize::from(!others.is_empty());
    let work = Work::open(&directory, Progress::new(args.json, steps))?;
    let plan = Plan { kernel, ready, enable: args.enable, others };
    plan.run(&work)?;
    plan.say(&work, args.json)
}

/// Says whether the module can be built here, and changes nothing.
fn check_only(kernel: &Kernel, directory: &Path, as_json: bool) -> Result<()> {
    let found = preflight::examine(kernel, directory, For::Check)?;
    if as_json {
        print(&format!("{}\n", found.document(kernel)))?;
    }
    let ready = found.expect_ready(kernel)?;
    if as_json {
        return Ok(());
    }
    print(&format!(
        "amdgpu of Linux {} ({}) can be built here, {} compilers at once: sudo rdnafix build \
         kernel{}\n",
        kernel.release,
        ready.version,
        ready.jobs,
        if kernel.is_running() { String::new() } else { format!(" --kernel {}", kernel.release) }
    ))
}

fn absolute(path: &Path) -> String {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// What is built, and for which kernel.
struct Plan {
    kernel: Kernel,
    ready: Ready,
    enable: bool,
    /// Other versions of the package that are there.
    others: Vec<String>,
}

impl Plan {
    fn run(&self, work: &Work) -> Result<()> {
        let made = work.path(AMDGPU).join("amdgpu.ko");
        let built = self.compile(work, &made)?;
        self.check(work, &made, &built)?;

        let before = Before::take(work)?;
        self.install(work, &built).map_err(|failure| before.put_back(failure, work))?;
        before.forget()?;

        self.remove_others(work)?;
        self.options(work)?;
        // The options are those of every kernel that has the module.
        let kernels = dkms::installed_for(package::VERSION);
        let old = || {
            let options = Path::new(dkms::OPTIONS);
            let is_old = |kernel: &&Kernel| {
                let module = kernel.dkms_module();
                let made_of = [Some(options), module.as_deref()];
                !dkms::initramfs_is_newer(
                    kernel,
                    &made_of.into_iter().flatten().collect::<Vec<_>>(),
                )
            };
            kernels.iter().filter(is_old).cloned().collect::<Vec<_>>()
        };
        work.step(
            "initramfs",
            &Inputs::new("initramfs"),
            || old().is_empty(),
            |log| dkms::update_initramfs(&old(), work, log),
        )?;
        Ok(())
    }

    /// Gives the package to dkms, which builds, signs and installs the module.
    fn install(&self, work: &Work, built: &str) -> Result<()> {
        let place = package::place(package::VERSION);
        let inputs = package::inputs(Inputs::new("package"))?;
        let is_known = || dkms::known().iter().any(|known| known.version == package::VERSION);
        let there = || package::is_in(&place).unwrap_or(false) && is_known();
        work.step("package", &inputs, there, |log| {
            package::write(&place)?;
            if is_known() {
                return Ok(());
            }
            child::run(&mut dkms::command("add", package::VERSION), log)
        })?;

        let inputs = package::inputs(Inputs::new("dkms").and(built))?;
        let is_built = || {
            dkms::known().iter().any(|known| {
                known.version == package::VERSION
                    && known.kernel.as_ref() == Some(&self.kernel.release)
            })
        };
        let act = |action: &str| {
            let mut command = dkms::command(action, package::VERSION);
            command.args(["-k", &self.kernel.release, "--force"]);
            self.surroundings(&mut command, work);
            command
        };
        // dkms runs the same scripts; what was compiled above is not compiled again.
        let signed =
            work.step("dkms", &inputs, is_built, |log| child::run(&mut act("build"), log))?;
        let inputs = Inputs::new("install").and(&signed);
        let there =
            || dkms::installed_for(package::VERSION).contains(&self.kernel) && self.is_in_use();
        work.step("install", &inputs, there, |log| {
            child::run(&mut act("install"), log)?;
            // dkms strips, signs and copies it, and does not look whether that went well.
            let module = self.kernel.dkms_module().context("dkms has installed no module")?;
            let symbols = self.expect_as_stock(&module)?;
            log.line(&format!("{}: {symbols} symbols as the stock module's", module.display()))
        })?;
        Ok(())
    }

    /// Removes other versions of the package, when this one is in its place.
    fn remove_others(&self, work: &Work) -> Result<()> {
        if self.others.is_empty() {
            return Ok(());
        }
        let inputs = Inputs::new("others").and(self.others.join("\n"));
        let gone = || dkms::versions().is_ok_and(|versions| versions == [package::VERSION]);
        work.step("others", &inputs, gone, |log| {
            let mut kernels = Vec::new();
            for version in &self.others {
                kernels.extend(dkms::remove(version, log)?);
            }
            kernels.retain(|kernel| *kernel != self.kernel);
            for kernel in &kernels {
                log.line(&format!("Linux {} has the stock module again", kernel.release))?;
            }
            dkms::update_initramfs(&kernels, work, log)
        })?;
        Ok(())
    }

    /// Unpacks, patches and compiles in the directory of the build. Gives the hash of the step.
    fn compile(&self, work: &Work, made: &Path) -> Result<String> {
        let scripts = work.path("package");
        let inputs = package::inputs(Inputs::new("source").and(&self.ready.version))?;
        let tree = work.path("src/linux/made-from");
        let source = work.step(
            "source",
            &inputs,
            || tree.is_file(),
            |log| {
                package::write(&scripts)?;
                self.script("prepare.sh", work, log, |_| {})
            },
        )?;
        let inputs = Inputs::new("compile").and(&source).and(&self.ready.toolchain);
        let sum = work.path("obj/amdgpu.ko.sha256");
        // One that was damaged is removed, to be linked anew: make looks at times only.
        let as_built = || {
            let same = fs::read_to_string(&sum)
                .is_ok_and(|sum| tree::hash(made).is_ok_and(|now| now == sum));
            if !same {
                let _ = fs::remove_file(made);
            }
            same
        };
        work.step("compile", &inputs, as_built, |log| {
            self.forget_other_tools(work, log)?;
            let mut objects = Objects::new(work.path(AMDGPU));
            self.script("build.sh", work, log, |line| {
                if let Some((done, of)) = objects.count(line) {
                    work.progress().at(done, of);
                }
            })?;
            Ok(fs::write(&sum, tree::hash(made)?)?)
        })
    }

    /// Objects of another compiler or other headers are removed: make would keep some of them.
    fn forget_other_tools(&self, work: &Work, log: &Log) -> Result<()> {
        let mark = work.path("obj/toolchain");
        if fs::read_to_string(&mark).is_ok_and(|there| there == self.ready.toolchain) {
            return Ok(());
        }
        for entry in WalkDir::new(work.path("src/linux")) {
            let path = entry.context("the unpacked source")?.into_path();
            if path.extension().is_some_and(|kind| kind == "o") {
                fs::remove_file(&path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        log.line("another toolchain than before, or none: everything is compiled")?;
        fs::write(&mark, &self.ready.toolchain)
            .with_context(|| format!("cannot write {}", mark.display()))
    }

    fn check(&self, work: &Work, made: &Path, built: &str) -> Result<()> {
        let stock = self.kernel.stock_module();
        let hash = stock.as_deref().map(tree::hash).transpose()?.unwrap_or_default();
        let inputs = Inputs::new("check").and(built).and(hash);
        work.step(
            "check",
            &inputs,
            || true,
            |log| {
                let symbols = self.expect_as_stock(made)?;
                let how = if symbols == 0 {
                    "this kernel has no CRCs of symbols, and only the release is compared"
                } else {
                    "symbols as the stock module's"
                };
                log.line(&format!("{symbols} {how}"))
            },
        )?;
        Ok(())
    }

    /// That a module asks for the same kernel as the stock one, symbol by symbol. Gives how many
    /// they are.
    fn expect_as_stock(&self, module: &Path) -> Result<usize> {
        let stock = self.kernel.stock_module().with_context(|| {
            format!("the stock module of Linux {} is gone", self.kernel.release)
        })?;
        check::same(&check::needs(module)?, &check::needs(&stock)?)
            .with_context(|| format!("{} does not fit the kernel", module.display()))
    }

    fn options(&self, work: &Work) -> Result<()> {
        if !self.enable {
            return Ok(());
        }
        let path = Path::new(dkms::OPTIONS);
        let is_on = || fs::read_to_string(path).is_ok_and(|text| text == dkms::OPTIONS_TEXT);
        if path.exists() && !is_on() {
            bail!(
                "{} was changed by somebody and is kept: add the line options amdgpu \
                 rdna_noncoherent=1 to it, or remove it, and repeat this",
                path.display()
            );
        }
        work.step("options", &Inputs::new("options").and(dkms::OPTIONS_TEXT), is_on, |_| {
            fs::write(path, dkms::OPTIONS_TEXT)
                .with_context(|| format!("cannot write {}", path.display()))
        })?;
        Ok(())
    }

    /// Whether modprobe takes the module, with the patches in it.
    fn is_in_use(&self) -> bool {
        let file = self.kernel.dkms_module();
        file.is_some_and(|file| Path::new(&self.kernel.modinfo("filename")) == file)
            && self.kernel.modinfo("parm").contains("rdna_noncoherent:")
    }

    /// What a script of the package, also one that dkms runs, has to know.
    fn surroundings(&self, command: &mut Command, work: &Work) {
        without_other_builds(command);
        command.env("AMDGPU_RDNA_WORK", work.directory());
        command.env("AMDGPU_RDNA_JOBS", self.ready.jobs.to_string());
    }

    fn script(&self, name: &str, work: &Work, log: &Log, show: impl FnMut(&str)) -> Result<()> {
        let mut script = Command::new(work.path("package").join(name));
        // The module for dkms is put below the current directory: not over the one of make.
        let place = work.path("obj");
        script.arg(&self.kernel.release).arg(self.kernel.headers()).current_dir(place);
        self.surroundings(&mut script, work);
        child::run_showing(&mut script, log, show)
    }

    fn say(&self, work: &Work, as_json: bool) -> Result<()> {
        let Self { kernel, ready, .. } = self;
        let module = kernel.dkms_module().context("dkms has installed a module")?;
        let enabled = dkms::options_are_on();
        // What this machine enforces is asked of the running kernel.
        let refused = signing::refused(kernel, &work.path("scripts"))?;
        if as_json {
            let event = json!({
                "event": "installed", "kernel": kernel.release, "version": ready.version,
                "module": module, "enabled": enabled, "signer": kernel.modinfo("signer"),
                "enforcement": refused.map(|refused| refused.why),
            });
            return print(&format!("{event}\n"));
        }
        let parameter = if enabled {
            format!("rdna_noncoherent=1 is set in {}", dkms::OPTIONS)
        } else {
            "rdna_noncoherent is off: sudo rdnafix build kernel --enable switches it on".to_owned()
        };
        let when = match (&refused, kernel.is_running()) {
            (Some(refused), _) => refused.when,
            (None, true) => "from the next start on",
            (None, false) => "by that kernel",
        };
        print(&format!(
            "{} {} for Linux {} ({}): {}\n{parameter}\nit is used {when}\n\
             remove it: sudo rdnafix build kernel --remove\n{}",
            package::NAME,
            package::VERSION,
            kernel.release,
            ready.version,
            module.display(),
            remove::EMERGENCY,
        ))?;
        if let Some(refused) = refused {
            say(&format!("{}: {}", refused.why, refused.way_out));
        }
        Ok(())
    }
}

/// That the stock module is the one that a kernel loads.
fn expect_stock(kernel: &Kernel) -> Result<()> {
    let found = kernel.modinfo("filename");
    if found.contains("/updates/") {
        bail!(
            "Linux {} would still load {found}, which is not of {}: remove it, and then sudo \
             depmod {} && sudo {}",
            kernel.release,
            package::NAME,
            kernel.release,
            host::initramfs_command(&kernel.release)
        );
    }
    Ok(())
}
