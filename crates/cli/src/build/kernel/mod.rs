//! `rdnafix build kernel`: the patched amdgpu of Debian's kernels, by DKMS. Nothing of the system
//! is changed before the module is built and asks for the same kernel as the stock one.

mod check;
mod dkms;
mod host;
mod package;
mod preflight;
mod remove;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::json;
use walkdir::WalkDir;

use self::host::Kernel;
use self::preflight::Ready;
use super::args::KernelArgs;
use super::compile::without_other_builds;
use super::progress::Progress;
use super::steps::{Inputs, Log, Work};
use super::{child, kept, tree};
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
    let ready = preflight::check(&kernel, &directory)?;
    dkms::expect_unowned(package::VERSION)?;
    child::listen();
    let steps = if args.enable { 8 } else { 7 };
    let work = Work::open(&directory, Progress::new(args.json, steps))?;
    let plan = Plan { kernel, ready, enable: args.enable };
    plan.run(&work)?;
    plan.say(args.json)
}

fn absolute(path: &Path) -> String {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// What is built, and for which kernel.
struct Plan {
    kernel: Kernel,
    ready: Ready,
    enable: bool,
}

impl Plan {
    fn run(&self, work: &Work) -> Result<()> {
        let made = work.path(AMDGPU).join("amdgpu.ko");
        let built = self.compile(work, &made)?;
        self.check(work, &made, &built)?;

        let place = package::place(package::VERSION);
        let inputs = package::inputs(Inputs::new("package"))?;
        let is_known = || dkms::known().iter().any(|known| known.version == package::VERSION);
        let there = || package::is_in(&place).unwrap_or(false) && is_known();
        work.step("package", &inputs, there, |log| {
            for version in dkms::versions()?.iter().filter(|other| *other != package::VERSION) {
                dkms::expect_unowned(version)?;
                for kernel in dkms::remove(version, log)? {
                    dkms::update_initramfs(&kernel, log)?;
                }
            }
            package::write(&place)?;
            if is_known() {
                return Ok(());
            }
            child::run(&mut dkms::command("add", package::VERSION), log)
        })?;

        let inputs = package::inputs(Inputs::new("dkms").and(&built))?;
        let of_this = |installed: bool| {
            dkms::known().iter().any(|known| {
                known.version == package::VERSION
                    && known.kernel.as_ref() == Some(&self.kernel.release)
                    && (known.installed || !installed)
            })
        };
        let act = |action: &str| {
            let mut command = dkms::command(action, package::VERSION);
            command.args(["-k", &self.kernel.release, "--force"]);
            self.surroundings(&mut command, work);
            command
        };
        // dkms runs the same scripts; what was compiled above is not compiled again.
        let signed = work.step(
            "dkms",
            &inputs,
            || of_this(false),
            |log| child::run(&mut act("build"), log),
        )?;
        let inputs = Inputs::new("install").and(&signed);
        let there = || of_this(true) && self.is_in_use();
        work.step("install", &inputs, there, |log| child::run(&mut act("install"), log))?;
        self.options(work)?;
        let module = self.kernel.dkms_module().context("dkms has installed a module")?;
        let newer = || dkms::initramfs_is_newer(&self.kernel, &[&module, Path::new(dkms::OPTIONS)]);
        work.step("initramfs", &Inputs::new("initramfs"), newer, |log| {
            dkms::update_initramfs(&self.kernel, log)
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
                let needs = check::needs(made)?;
                let Some(stock) = stock else {
                    return log
                        .line("the stock module is not installed: there is nothing to compare");
                };
                let symbols = check::same(&needs, &check::needs(&stock)?)?;
                log.line(&format!("{}; {symbols} symbols as the stock module's", needs.vermagic))
            },
        )?;
        Ok(())
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

    fn say(&self, as_json: bool) -> Result<()> {
        let Self { kernel, ready, .. } = self;
        let module = kernel.dkms_module().context("dkms has installed a module")?;
        let enabled = dkms::options_are_on();
        // What this machine enforces is asked of the running kernel.
        let refused = host::enforcement().filter(|_| !key_is_enrolled());
        if as_json {
            let event = json!({
                "event": "installed", "kernel": kernel.release, "version": ready.version,
                "module": module, "enabled": enabled, "signer": kernel.modinfo("signer"),
                "enforcement": refused,
            });
            return print(&format!("{event}\n"));
        }
        let parameter = if enabled {
            format!("rdna_noncoherent=1 is set in {}", dkms::OPTIONS)
        } else {
            "rdna_noncoherent is off: sudo rdnafix build kernel --enable switches it on".to_owned()
        };
        let when = match (refused, kernel.is_running()) {
            (Some(_), _) => "once its key is enrolled, and not before",
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
        if let Some(why) = refused {
            eprintln!("rdnafix: {why}: {MOK}");
        }
        Ok(())
    }
}

/// The key that dkms signs with.
const KEY: &str = "/var/lib/dkms/mok.pub";

const MOK: &str = "\
the kernel will NOT load this module, and there will be no amdgpu, until the key that dkms
signs with is enrolled. Do this before you restart:
  sudo mokutil --import /var/lib/dkms/mok.pub     (choose a password for one use)
  restart, choose Enroll MOK in the blue screen that comes, and give the password
  mokutil --test-key /var/lib/dkms/mok.pub        (says whether it is enrolled)
Or take the stock module back: sudo rdnafix build kernel --remove";

fn key_is_enrolled() -> bool {
    // It says so on stdout, and its exit code is 1 then.
    let output = Command::new("mokutil").args(["--test-key", KEY]).output();
    output
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("is already enrolled"))
}

/// How many objects are made, of how many.
struct Objects {
    directory: PathBuf,
    /// Those that were there before, and all; known when make has written its list.
    before: Option<(u64, u64)>,
    made: u64,
}

impl Objects {
    fn new(directory: PathBuf) -> Self {
        Self { directory, before: None, made: 0 }
    }

    /// By a line that make prints.
    fn count(&mut self, line: &str) -> Option<(u64, u64)> {
        if !line.trim_start().starts_with("CC [M]") {
            return None;
        }
        let (before, all) = match self.before {
            Some(known) => known,
            None => *self.before.insert(self.list()?),
        };
        self.made += 1;
        // A file that is compiled again is counted twice otherwise.
        Some(((before + self.made).min(all), all))
    }

    fn list(&self) -> Option<(u64, u64)> {
        let list = fs::read_to_string(self.directory.join("amdgpu.mod")).ok()?;
        let files: Vec<&str> = list.split_whitespace().collect();
        let there = files.iter().filter(|file| self.directory.join(file).exists()).count();
        Some((there as u64, files.len() as u64))
    }
}

/// That the stock module is the one that a kernel loads.
fn expect_stock(kernel: &Kernel) -> Result<()> {
    let found = kernel.modinfo("filename");
    if found.contains("/updates/") {
        bail!(
            "Linux {} would still load {found}, which is not of {}: remove it, and then sudo \
             depmod {} && sudo update-initramfs -u -k {}",
            kernel.release,
            package::NAME,
            kernel.release,
            kernel.release
        );
    }
    Ok(())
}
