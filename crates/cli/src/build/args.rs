//! The command line of `rdnafix build`.

use std::path::PathBuf;

use clap::Subcommand;

/// Build the patched libraries, or the patched amdgpu: the permanent fix.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    #[command(subcommand)]
    pub(crate) command: BuildCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BuildCommand {
    Check(CheckArgs),
    Rocm(RocmArgs),
    Kernel(KernelArgs),
    /// Check that an overlay is as it was installed.
    Verify(PrefixArgs),
    /// Make an overlay /opt/rocm, by update-alternatives; `uninstall` takes it back.
    SetDefault(PrefixArgs),
    /// Remove an overlay that was built: exactly what was installed.
    Uninstall(PrefixArgs),
    List(ListArgs),
    Clean(CleanArgs),
}

/// Build libhsa-runtime64 and libamdhip64 of a ROCm release with the patches, as an overlay.
///
/// The overlay has these two libraries only and is used with the stock ROCm beside it:
/// `. PREFIX/bin/env.sh` puts it first for one shell. Nothing of the distribution is changed.
///
/// An interrupted build goes on where it stopped, and what has not changed is not built again.
#[derive(Debug, clap::Args)]
#[command(after_help = ROCM_HELP)]
pub(crate) struct RocmArgs {
    /// The release.
    #[arg(long, value_name = "VERSION", default_value = "6.4.3")]
    pub(crate) release: String,
    /// Where the overlay goes [default: /opt/rocm-patched-VERSION].
    #[arg(long, value_name = "DIR")]
    pub(crate) prefix: Option<PathBuf>,
    /// Where the source comes from: `git` (upstream's tag), `debian` (the Debian source
    /// package), or a directory with source trees or tarballs [default: `debian` in a root of
    /// `rdnafix sim root` that has the package, `git` elsewhere].
    #[arg(long, value_name = "git|debian|DIR")]
    pub(crate) from: Option<String>,
    /// Build without the patches, to compare with.
    #[arg(long)]
    pub(crate) stock: bool,
    /// Compilers at once [default: one for each core, and 2.5 GB of memory for each].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Make the overlay /opt/rocm, as `rdnafix build set-default` does.
    #[arg(long)]
    pub(crate) set_default: bool,
    /// Say what is done as one JSON object per line.
    #[arg(long)]
    pub(crate) json: bool,
}

const ROCM_HELP: &str = "\
The work is kept in $XDG_CACHE_HOME/rdnafix/build [default: ~/.cache], a log for each step in it; \
`rdnafix build clean` frees it.

Without changing this machine, on any distribution:
  rdnafix sim root build-6.4.3 -- rdnafix build rocm --prefix DIR";

/// Build the patched amdgpu of a Debian kernel, and install it by DKMS beside the stock one.
///
/// It is made from the kernel's own source, refused where it would not fit the kernel, signed by
/// dkms, and found before the stock module. The parameter rdna_noncoherent is off by default.
#[expect(clippy::struct_excessive_bools, reason = "each is an option that is given or not")]
#[derive(Debug, clap::Args)]
#[command(after_help = KERNEL_HELP)]
pub(crate) struct KernelArgs {
    /// The kernel, as uname -r prints it [default: the running one].
    #[arg(long, value_name = "VERSION")]
    pub(crate) kernel: Option<String>,
    /// Switch rdna_noncoherent on, in /etc/modprobe.d/amdgpu-rdna.conf.
    #[arg(long)]
    pub(crate) enable: bool,
    /// Only say whether this machine has what is needed, and what is missing. Needs no root.
    #[arg(long, conflicts_with_all = ["enable", "remove", "deb"])]
    pub(crate) check: bool,
    /// Take the stock module back, for all kernels.
    #[arg(long, conflicts_with_all = ["kernel", "enable", "deb"])]
    pub(crate) remove: bool,
    /// Make the Debian package amdgpu-rdna-dkms in DIR instead, which builds the module where it
    /// is installed.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kernel", "enable"])]
    pub(crate) deb: Option<PathBuf>,
    /// Say what is done as one JSON object per line.
    #[arg(long)]
    pub(crate) json: bool,
}

const KERNEL_HELP: &str = "\
Run it as root, but for --check and --deb. It needs dkms, and linux-headers and linux-source of \
exactly this kernel; what is missing is named with the command that installs it. The work, up to 3 \
GB, is kept in $XDG_CACHE_HOME/rdnafix/build [default: ~/.cache], a log for each step in it; \
`rdnafix build clean` frees it.

Where dkms fails, what it was given is taken away again, and what was installed before stays.

Where a machine does not start with the module: modprobe.blacklist=amdgpu or nomodeset on the \
kernel's command line, and then rdnafix build kernel --remove.";

/// Say whether this machine has what a build needs. Changes nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The release.
    #[arg(long, value_name = "VERSION", default_value = "6.4.3")]
    pub(crate) release: String,
    /// Print the missing Debian packages only, one a line.
    #[arg(long)]
    pub(crate) packages: bool,
    /// Print JSON: {release, possible, jobs, tools, lacks, packages}; jobs is null where nothing
    /// can be built.
    #[arg(long, conflicts_with = "packages")]
    pub(crate) json: bool,
}

/// An overlay.
#[derive(Debug, clap::Args)]
pub(crate) struct PrefixArgs {
    /// The overlay.
    #[arg(long, value_name = "DIR")]
    pub(crate) prefix: PathBuf,
    /// Print JSON: `verify` {prefix, release, patched, files, needs}, `set-default` {link, prefix},
    /// `uninstall` {prefix, files}.
    #[arg(long)]
    pub(crate) json: bool,
}

/// List the releases that can be built, and the work that is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Remove the work that is kept: sources, objects and logs. No overlay is touched.
#[derive(Debug, clap::Args)]
pub(crate) struct CleanArgs {
    /// Of this release only.
    #[arg(long, value_name = "VERSION")]
    pub(crate) release: Option<String>,
    /// Print JSON: `{removed: [PATH]}`.
    #[arg(long)]
    pub(crate) json: bool,
}
