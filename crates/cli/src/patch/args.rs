//! The command line of `rdnafix patch`.

use std::path::PathBuf;

use clap::Subcommand;

/// The source patches: the permanent fix for those who build ROCm themselves.
#[derive(Debug, clap::Args)]
pub(crate) struct PatchArgs {
    #[command(subcommand)]
    pub(crate) command: PatchCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PatchCommand {
    List(ListArgs),
    /// Check that a series fits a tree: apply to a copy, reverse, compare. Nothing is written.
    Verify(SourceArgs),
    /// Apply a series to a tree, all of it or nothing.
    Apply(SourceArgs),
    /// Take a series back out of a tree, all of it or nothing.
    Revert(SourceArgs),
    Create(CreateArgs),
}

/// List the series and their patches.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SourceArgs {
    /// The source tree of a component, or a monorepo that holds it.
    #[arg(long, value_name = "DIR")]
    pub(crate) source: PathBuf,
    /// Only this component or series: `clr`, `clr/6.4.3` [default: what fits the tree].
    #[arg(long, value_name = "NAME")]
    pub(crate) series: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Make the series for a source tree of any version, by finding the functions in its syntax.
///
/// The series applies at the root of the tree that is named (patch -p1). Where a function, its
/// parameters or a statement is not as expected, nothing is written.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// What the tree is of: clr, rocr-runtime, pytorch or linux.
    #[arg(long, value_name = "COMPONENT")]
    pub(crate) component: String,
    /// The component's source tree, or a monorepo that holds it; for linux the kernel's.
    #[arg(long, value_name = "DIR")]
    pub(crate) source: PathBuf,
    /// A directory that is made, for the file `series` and the patches.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The version of the tree, which the patches then name.
    #[arg(long, value_name = "TEXT")]
    pub(crate) version: Option<String>,
    /// Print JSON: {component, version, source, out, patches: [[NAME, SUBJECT]], left_out,
    /// already_there}.
    #[arg(long)]
    pub(crate) json: bool,
}
