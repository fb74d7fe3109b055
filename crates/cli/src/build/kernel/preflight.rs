//! What building the module needs: checked before anything is changed, and each lack comes with
//! the command that mends it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

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

/// Looks at the machine and changes nothing.
///
/// # Errors
/// Everything that it lacks.
pub(super) fn check(kernel: &Kernel, work: &Path) -> Result<Ready> {
    let mut lacks = Vec::new();
    let mut packages: Vec<String> = Vec::new();
    if std::env::consts::ARCH != "x86_64" {
        lacks.push(format!("the patches are for x86_64, and this is {}", std::env::consts::ARCH));
    }
    if !nix::unistd::geteuid().is_root() {
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
    match (version, toolchain) {
        (Some(version), Some(toolchain)) if lacks.is_empty() => {
            let jobs = crate::build::preflight::jobs(MEMORY_OF_A_JOB);
            Ok(Ready { version, toolchain, jobs })
        }
        _ => bail!(
            "amdgpu cannot be built here for Linux {}; nothing was changed:\n  {}",
            kernel.release,
            lacks.join("\n  ")
        ),
    }
}

/// The version of the kernel, if its headers and its source are there in the same one.
fn sources(
    kernel: &Kernel,
    lacks: &mut Vec<String>,
    packages: &mut Vec<String>,
) -> Result<Option<String>> {
    let release = &kernel.release;
    if !kernel.modules().is_dir() {
        let known: Vec<_> = host::kernels().into_iter().map(|kernel| kernel.release).collect();
        lacks.push(format!(
            "there is no kernel {release} here (no {}); --kernel names one of: {}",
            kernel.modules().display(),
            if known.is_empty() { "none is installed".to_owned() } else { known.join(", ") }
        ));
    }
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
        return Ok(None);
    }
    let (headers, source) = (format!("linux-headers-{release}"), format!("linux-source-{numbers}"));
    let version = installed(&headers);
    if version.is_none() || !kernel.headers().join("Makefile").is_file() {
        lacks.push(format!("the headers of the kernel, {headers}, are missing"));
        packages.push(headers.clone());
    }
    let Some(found) = installed(&source) else {
        lacks.push(format!("the source of the kernel, {source}, is missing"));
        // The newest one may be of another version than the kernel.
        packages
            .push(version.as_ref().map_or(source.clone(), |version| format!("{source}={version}")));
        return Ok(None);
    };
    if let Some(version) = version.as_ref().filter(|version| **version != found) {
        lacks.push(format!(
            "the source is of another version: {source} is {found}, and kernel {release} is \
             {version}; a module of another source may not fit the kernel: sudo apt-get install \
             {source}={version}\n  (if the archive has that no more: sudo apt-get install \
             linux-image-amd64 linux-headers-amd64 {source}, restart, and then this again)"
        ));
        return Ok(None);
    }
    Ok(version)
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
        if in_path(program).is_none() {
            lacks.push(format!("{program} is missing"));
            packages.push(package.to_owned());
        }
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
        let error = check(&kernel, Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("no patches for Linux 5.15.0-1-generic"), "{error}");
        assert!(error.contains("6.1, 6.12, 7.2"), "{error}");
        assert!(error.contains("`rdnafix patch create --component linux`"), "{error}");
        assert!(error.contains("nothing was changed"), "{error}");
    }
}
