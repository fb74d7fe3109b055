//! The command line of `rdnafix sim root`.

use std::ffi::OsString;

use clap::builder::PossibleValuesParser;

use super::recipe;

/// Make a root: a tree with another ROCm release, and run a program in it.
///
/// A root is made once from packages of the Debian archive, by mmdebstrap, and kept in the
/// cache: 0.4 GB for a release, up to 2.6 GB for those that tests need. Without NAME, all roots are listed; without PROGRAM, the path of the root
/// is printed.
///
/// The root's /usr, /etc and the like take the place of the machine's for the program; /home,
/// /tmp, /proc, /sys, /dev and all other directories stay. No privileges are needed where user
/// namespaces are allowed.
#[derive(Debug, clap::Args)]
#[command(after_help = ROOT_HELP)]
pub(crate) struct RootArgs {
    /// The root, for example 6.4.3 for that ROCm release.
    #[arg(value_parser = names(), hide_possible_values = true)]
    pub(crate) name: Option<String>,
    /// Remove the root from the cache.
    #[arg(long, requires = "name", conflicts_with = "program")]
    pub(crate) remove: bool,
    /// Print the root's path and the versions of its packages as JSON.
    #[arg(long, conflicts_with_all = ["remove", "program"])]
    pub(crate) json: bool,
    /// The program and its arguments.
    #[arg(value_name = "PROGRAM", last = true, requires = "name")]
    pub(crate) program: Vec<OsString>,
}

const ROOT_HELP: &str = "\
Exit code: the program's own; 69 where the root cannot be had (the archive has those versions \
no more, or is out of reach, mmdebstrap is not installed, or namespaces are not allowed); 125 where rdnafix itself fails, \
126 where PROGRAM does not start, 127 where it is not found.

Environment: RDNAFIX_MIRROR is the mirror of the Debian archive to use; XDG_CACHE_HOME is where \
roots are kept, in rdnafix/roots [default: ~/.cache].";

/// Names of roots: completions have them, and a mistake is told what is nearest.
pub(crate) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(recipe::names())
}
