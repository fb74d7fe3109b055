//! What building the module needs: checked before anything is changed, and each lack comes with
//! the command that mends it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::host::{self, Kernel, installed, said};
use super::package;
use crate::build::preflight::{apt_knows, in_path, room};
use crate::build::steps::Inputs;

/// Bytes that the unpacked source and the objects take: 2.9 GB for Linux 7.2, 1.5 for 6.1.
const DISK: u64 = 3_000_000_000;
/// Bytes of the module, with debug information and without (801 MB and 49 MB for Linux 7.2), where
/// dkms keeps it and where it is installed.
const INSTALLED: u64 = 900_000_000;
/// Bytes of memory that a compiler or the linker may take: 1.0 GB were measured.
const MEMORY_OF_A_JOB: u64 = 1_000_000_000;

/// AMD's own package of amdgpu, and the name that it has for dkms.
const OF_AMD: (&str, &str) = ("amdgpu-dkms", "/var/lib/dkms/amdgpu");

/// A kernel that the module can be built for.
#[derive(Debug)]
pub(super) struct Ready {
    /// Of the kernel's packages, such as `6.1.192-2`.
    pub(super) version: String,
    /// Headers and compiler: a build with others is another build.
    pub(super) toolchain: String,
    /// How many compilers may run at once.
    pub(super) jobs: usize,
}

/// What was found out about a kernel.
pub(super) struct Found {
    ready: Option<Ready>,
    /// What is missing or wrong, with the way out of each; the last one is of all packages.
    lacks: Vec<String>,
    /// Debian packages, as apt-get takes them.
    packages: Vec<String>,
}

impl Found {
    /// As a document: `{event, kernel, possible, version, jobs, lacks, packages}`.
    pub(super) fn document(&self, kernel: &Kernel) -> Value {
        json!({
            "event": "checked",
            "kernel": kernel.release,
            "possible": self.ready.is_some(),
            "version": self.ready.as_ref().map(|ready| &ready.version),
            "jobs": self.ready.as_ref().map(|ready| ready.jobs),
            "lacks": self.lacks,
            "packages": self.packages,
        })
    }

    /// # Errors
    /// Everything that the machine lacks.
    pub(super) fn expect_ready(self, kernel: &Kernel) -> Result<Ready> {
        self.ready.with_context(|| {
            format!(
                "amdgpu cannot be built here for Linux {}; nothing was changed:\n  {}",
                kernel.release,
                self.lacks.join("\n  ")
            )
        })
    }
}

/// Whether it is only said what is missing, or the module is to be installed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Check,
    Installation,
}

/// Looks at the machine and changes nothing.
///
/// # Errors
/// A series that is none, which a test rules out.
pub(super) fn examine(kernel: &Kernel, work: &Path, what_for: For) -> Result<Found> {
    let mut lacks = Vec::new();
    let mut packages: Vec<String> = Vec::new();
    if std::env::consts::ARCH != "x86_64" {
        lacks.push(format!("the patches are for x86_64, and this is {}", std::env::consts::ARCH));
    }
    if what_for == For::Installation && !nix::unistd::geteuid().is_root() {
        lacks.push("it installs a module, which only root may: run it with sudo".to_owned());
    }
    if installed(OF_AMD.0).is_some() || Path::new(OF_AMD.1).exists() {
        lacks.push(format!(
            "{} is installed and puts an amdgpu of its own where this one goes: sudo apt-get \
             remove {}, and then this again",
            OF_AMD.0, OF_AMD.0
        ));
    }
    if installed(package::DEB).is_some() {
        lacks.push(format!(
            "the package {0} is installed and builds the module by itself: sudo apt-get remove \
             {0}, and then this again",
            package::DEB
        ));
    }
    let version = sources(kernel, &mut lacks, &mut packages)?;
    let toolchain = tools(kernel, &mut lacks, &mut packages);
    if !packages.is_empty() {
        lacks.push(way_out(&packages));
    }
    lacks.extend(room("the work", "set XDG_CACHE_HOME to a directory", work, DISK));
    for directory in ["/var/lib/dkms", host::MODULES] {
        lacks.extend(room("the module", "remove an old kernel", Path::new(directory), INSTALLED));
    }
    let ready = match (version, toolchain) {
        (Some(version), Some(toolchain)) if lacks.is_empty() => {
            let jobs = crate::build::preflight::jobs(MEMORY_OF_A_JOB);
            Some(Ready { version, toolchain, jobs })
        }
        _ => None,
    };
    Ok(Found { ready, lacks, packages })
}

/// The version of the kernel, if itself, its headers and its source are there in the same one.
fn sources(
    kernel: &Kernel,
    lacks: &mut Vec<String>,
    packages: &mut Vec<String>,
) -> Result<Option<String>> {
    let release = &kernel.release;
    let numbers = kernel.numbers();
    let series: Vec<String> =
        package::all_series()?.into_iter().map(|series| series.version).collect();
    if !series.contains(&numbers) {
        lacks.push(format!(
            "there are no patches for Linux {release}, only for Debian's {}: boot one of these, \
             or name it with --kernel; `rdnafix patch create --component linux` makes patches for \
             the source of another one, to be built by hand (docs/kernel.md)",
            series.join(", ")
        ));
    }
    if !kernel.modules().is_dir() {
        let known: Vec<_> = host::kernels().into_iter().map(|kernel| kernel.release).collect();
        lacks.push(format!(
            "there is no kernel {release} here (no {}); --kernel names one of: {}",
            kernel.modules().display(),
            if known.is_empty() { "none is installed".to_owned() } else { known.join(", ") }
        ));
        return Ok(None);
    }
    if !series.contains(&numbers) {
        return Ok(None);
    }
    let before = lacks.len();
    let image = image(kernel, lacks);
    let headers = format!("linux-headers-{release}");
    let has_headers = kernel.headers().join("Makefile").is_file();
    let of_headers = installed(&headers).filter(|_| has_headers);
    let source = format!("linux-source-{numbers}");
    // Packages of one release of the kernel have one version, and others may be of other code.
    let version = image.or_else(|| of_headers.clone());
    for (what, name, found) in
        [("headers package", headers, of_headers), ("source", source.clone(), installed(&source))]
    {
        let exact = version.as_ref().map_or(name.clone(), |version| format!("{name}={version}"));
        match (found, &version) {
            (None, _) => {
                lacks.push(format!("the {what} of the kernel, {name}, is missing"));
                packages.push(exact);
            }
            (Some(found), Some(version)) if found != *version => lacks.push(format!(
                "the {what} is of another version: {name} is {found}, and kernel \
                 {release} is {version}; a module of another source may not fit the kernel: sudo \
                 apt-get install {exact}\n  (if the archive has that no more: sudo apt-get install \
                 linux-image-amd64 linux-headers-amd64 {source}, restart, and then this again)"
            )),
            _ => {}
        }
    }
    Ok(version.filter(|_| lacks.len() == before))
}

/// The version of the kernel itself, by its package and, if it runs, by its own word.
fn image(kernel: &Kernel, lacks: &mut Vec<String>) -> Option<String> {
    let release = &kernel.release;
    if kernel.stock_module().is_none() {
        lacks.push(format!(
            "the stock amdgpu of Linux {release} is missing below {}/kernel: what is built could \
             not be compared with it, and nothing would be there to go back to; a kernel of the \
             cloud has none, of another one: sudo apt-get install --reinstall linux-image-{release}",
            kernel.modules().display()
        ));
        return None;
    }
    let package = kernel.image();
    let Some((package, version)) =
        package.and_then(|package| installed(&package).map(|version| (package, version)))
    else {
        lacks.push(format!(
            "the amdgpu of Linux {release} is of no Debian package, so its version cannot be \
             compared with that of a source: only Debian's own kernels are supported"
        ));
        return None;
    };
    if kernel.is_running() {
        match host::running_version() {
            None => lacks.push(format!(
                "the running kernel {release} does not say which version of Debian's it is (uname \
                 -v), and {package} is {version}: only Debian's own kernels are supported"
            )),
            Some(running) if running != version => lacks.push(format!(
                "the running kernel is {running}, and its package {package} is {version} by now: \
                 restart, and then this again"
            )),
            Some(_) => {}
        }
    }
    Some(version)
}

/// What the compiler and the headers are, if all programs are there.
fn tools(kernel: &Kernel, lacks: &mut Vec<String>, packages: &mut Vec<String>) -> Option<String> {
    let before = lacks.len();
    let headers = kernel.headers();
    let mut programs = vec![
        ("dkms", "dkms"),
        ("make", "make"),
        ("modinfo", "kmod"),
        // dkms makes its key with it, and signs nothing without one.
        ("openssl", "openssl"),
        ("patch", "patch"),
        ("tar", "tar"),
        ("xz", "xz-utils"),
    ];
    // Headers that come with a vmlinux, from 6.12 on, have types of the kernel added to modules.
    let config = fs::read_to_string(headers.join(".config")).unwrap_or_default();
    if headers.join("vmlinux").exists() && config.contains("CONFIG_DEBUG_INFO_BTF_MODULES=y") {
        programs.push(("pahole", "pahole"));
    }
    for (program, package) in programs {
        match lack_of(program) {
            Some(Lack::Package) => {
                lacks.push(format!("{program} is missing"));
                packages.push(package.to_owned());
            }
            Some(Lack::Path(directory)) => lacks.push(format!(
                "{program} is in {directory}, which is not in PATH: use sudo or `su -`"
            )),
            None => {}
        }
    }
    let initramfs = kernel.initramfs();
    let makers = ["update-initramfs", "dracut"];
    if initramfs.exists()
        && makers.iter().all(|maker| matches!(lack_of(maker), Some(Lack::Package)))
    {
        lacks.push(format!(
            "{} has to be made anew afterwards, and neither of {} is here",
            initramfs.display(),
            makers.join(" and ")
        ));
        packages.push("initramfs-tools".to_owned());
    }
    let mut inputs = Inputs::new("toolchain").and(&config);
    for file in ["Module.symvers", "include/generated/utsrelease.h"] {
        inputs = inputs.and(fs::read(headers.join(file)).unwrap_or_default());
    }
    // `gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0`
    let text = config.lines().find_map(|line| line.strip_prefix("CONFIG_CC_VERSION_TEXT=\""));
    if let Some(text) = text.map(|text| text.trim_end_matches('"')) {
        match compiler(text) {
            Ok(said) => inputs = inputs.and(said),
            Err((lack, package)) => {
                lacks.push(lack);
                packages.push(package);
            }
        }
    }
    (lacks.len() == before).then(|| inputs.hash())
}

/// Why a program cannot be started by root.
enum Lack {
    Package,
    /// It is in this directory of the system's programs, which root's PATH does not have.
    Path(&'static str),
}

fn lack_of(program: &str) -> Option<Lack> {
    if in_path(program).is_some() {
        return None;
    }
    let there = ["/usr/sbin", "/sbin"].into_iter().find(|at| Path::new(at).join(program).is_file());
    match there {
        // A user's PATH does not have to name it.
        Some(_) if !nix::unistd::geteuid().is_root() => None,
        Some(directory) => Some(Lack::Path(directory)),
        None => Some(Lack::Package),
    }
}

/// What the compiler that built the kernel says of itself, else what is wrong and the package.
fn compiler(text: &str) -> std::result::Result<String, (String, String)> {
    let name = text.split(' ').next().unwrap_or_default();
    let version = text.rsplit(' ').next().unwrap_or_default();
    let major = |version: &str| version.split('.').next().unwrap_or_default().to_owned();
    let package = name.strip_prefix("x86_64-linux-gnu-").unwrap_or(name).to_owned();
    let lack = |what: String| (format!("the kernel was built by {text}: {what}"), package.clone());
    let program = in_path(name).ok_or_else(|| lack(format!("{name} is missing")))?;
    let found = said(Command::new(program).arg("-dumpfullversion")).unwrap_or_default();
    if major(&found) == major(version) {
        Ok(found)
    } else {
        Err(lack(format!("{name} is version '{found}' here")))
    }
}

fn way_out(packages: &[String]) -> String {
    let list = packages.join(" ");
    if in_path("apt-get").is_none() {
        return format!(
            "there is no apt-get here, and only Debian's kernels are supported: {list}"
        );
    }
    let name = |package: &String| package.split('=').next().unwrap_or_default().to_owned();
    let unknown: Vec<String> =
        packages.iter().map(name).filter(|package| !apt_knows(package)).collect();
    if unknown.is_empty() {
        return format!("install them: sudo apt-get install {list}");
    }
    format!(
        "apt knows no {}: this kernel may be another distribution's, or gone from the archive; \
         try sudo apt-get update, or install linux-image-amd64 and linux-headers-amd64 and restart",
        unknown.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_of_another_version_than_the_kernels_is_named_with_its_package() {
        let (lack, package) = compiler("no-such-gcc-12 (Debian 12.2.0-14) 12.2.0").unwrap_err();
        assert!(lack.contains("no-such-gcc-12 is missing"), "{lack}");
        assert_eq!(package, "no-such-gcc-12");
        let (lack, _) = compiler("sh (Debian 99.1.0-1) 99.1.0").unwrap_err();
        assert!(lack.contains("sh is version ''"), "{lack}");
    }

    #[test]
    fn a_kernel_without_patches_is_refused_with_the_series_that_there_are() {
        let kernel = Kernel::named(Some("5.15.0-1-generic")).unwrap();
        let found = examine(&kernel, Path::new("/"), For::Installation).unwrap();
        let error = found.expect_ready(&kernel).unwrap_err().to_string();
        assert!(error.contains("no patches for Linux 5.15.0-1-generic"), "{error}");
        assert!(error.contains("6.1, 6.12, 7.2"), "{error}");
        assert!(error.contains("`rdnafix patch create --component linux`"), "{error}");
        assert!(error.contains("nothing was changed"), "{error}");
    }
}
