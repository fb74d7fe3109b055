//! The command line of `rdnafix build`.

use std::path::PathBuf;

use clap::Subcommand;

/// Build the patched libraries: the permanent fix.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    #[command(subcommand)]
    pub(crate) command: BuildCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BuildCommand {
    Rocm(RocmArgs),
    Uninstall(UninstallArgs),
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
    /// package), or a directory with source trees or tarballs.
    #[arg(long, value_name = "git|debian|DIR", default_value = "git")]
    pub(crate) from: String,
    /// Build without the patches, to compare with.
    #[arg(long)]
    pub(crate) stock: bool,
    /// Compilers at once [default: one for each core, and 2.5 GB of memory for each].
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
    /// Make the overlay /opt/rocm, by update-alternatives.
    #[arg(long)]
    pub(crate) set_default: bool,
    /// Say what is done as one JSON object per line.
    #[arg(long)]
    pub(crate) json: bool,
}

const ROCM_HELP: &str = "\
The work is kept in $XDG_CACHE_HOME/rdnafix/build [default: ~/.cache], a log for each step in it.";

/// Remove an overlay that was built: exactly what was installed.
#[derive(Debug, clap::Args)]
pub(crate) struct UninstallArgs {
    /// The overlay.
    #[arg(long, value_name = "DIR")]
    pub(crate) prefix: PathBuf,
}
