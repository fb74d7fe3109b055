//! `rdnafix run`: becomes the program, with `librdnafix.so` preloaded.

use std::env;
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::args::{Program, RunArgs};
use crate::exit::CannotStart;
use crate::locate::{Library, locate};
use crate::preload::{self, LD_PRELOAD};
use crate::program;
use crate::settings;
use crate::sigpipe;
use crate::stderr::say;
use crate::watch::{self, Ending};

/// Does it. Returns only where the program cannot be started.
///
/// # Errors
/// A library that is not found, a file that cannot be written, a program that does not start.
pub(crate) fn run(args: &RunArgs, verbose: bool) -> Result<ExitCode> {
    let mut command = command(&args.program);
    preload_into(&mut command, &[locate(Library::Rdnafix)?])?;
    let values = settings::values()?;
    settings::pass_on(&values, &mut command);
    let set = |key: &str| {
        let value = values.iter().find(|value| value.setting.key == key)?;
        value.text.clone()
    };
    if let Some(level) = &args.level {
        command.env("RDNAFIX_POLICY", level);
    }
    if args.dry_run {
        command.env("RDNAFIX_DRY_RUN", "1");
    }
    let report = args.report.as_deref().map(|file| output_file("--report", file)).transpose()?;
    if let Some(report) = &report {
        command.env("RDNAFIX_REPORT", report);
    }
    if args.dlsym {
        command.env("RDNAFIX_DLSYM", "1");
    }
    if let Some(log) = &args.log {
        let mut value = std::ffi::OsString::from(&log.level);
        if let Some(file) = &log.file {
            value.push(":");
            value.push(output_file("--log", file)?);
        }
        command.env("RDNAFIX_LOG", value);
    }
    warn_if_unreachable(&args.program, Library::Rdnafix);
    let words = args.summary.clone().map(Into::into).or_else(|| set("summary"));
    let ending = if verbose {
        Ending::Layers
    } else if summary(words.as_deref(), std::io::stderr().is_terminal())?
        // One line is enough: that of the command around this one.
        && (args.summary.is_some() || !watch::is_watched())
    {
        Ending::Summary
    } else {
        return exec(command, &args.program);
    };
    let report = report.or_else(|| set("report").map(PathBuf::from));
    watch::run(command, report, ending)
}

/// Whether to end with a summary.
///
/// # Errors
/// A word that is none of those allowed.
fn summary(when: Option<&OsStr>, terminal: bool) -> Result<bool> {
    match when.and_then(OsStr::to_str).unwrap_or(if when.is_some() { "?" } else { "auto" }) {
        "auto" => Ok(terminal),
        "always" => Ok(true),
        "never" => Ok(false),
        other => {
            bail!("RDNAFIX_SUMMARY={other}: expected one of {}", settings::SUMMARY_WORDS.join(", "))
        }
    }
}

/// The program with its arguments.
pub(crate) fn command(program: &Program) -> Command {
    let mut command = Command::new(&program.words[0]);
    command.args(&program.words[1..]);
    sigpipe::restore_in(&mut command);
    command
}

/// Puts libraries in front of what is preloaded already, where a copy of them is taken out.
pub(crate) fn preload_into(command: &mut Command, libraries: &[PathBuf]) -> Result<()> {
    let value = preload::put_first(libraries, env::var_os(LD_PRELOAD).as_deref())?;
    tracing::info!(LD_PRELOAD = %value.display(), "set");
    command.env(LD_PRELOAD, value);
    Ok(())
}

/// An absolute path, as the program and its children may have other working directories.
///
/// # Errors
/// Where the directory does not exist.
pub(crate) fn output_file(option: &str, path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path)
        .with_context(|| format!("{option} '{}': cannot make it absolute", path.display()))?;
    if absolute.is_dir() {
        bail!("{option} '{}': is a directory, name a file", path.display());
    }
    match absolute.parent() {
        Some(directory) if directory.is_dir() => {
            if absolute.is_file() || !absolute.exists() {
                std::fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(&absolute)
                    .with_context(|| format!("{option} '{}': cannot be written", path.display()))?;
            }
            Ok(absolute)
        }
        parent => bail!(
            "{option} '{}': there is no directory '{}'; create it first",
            path.display(),
            parent.unwrap_or(&absolute).display(),
        ),
    }
}

/// Says so where the library cannot have an effect.
pub(crate) fn warn_if_unreachable(program: &Program, library: Library) {
    let path = env::var_os("PATH");
    let Some(found) = program::find(&program.words[0], path.as_deref()) else {
        return;
    };
    if let Some(why) = program::unreachable(&found, path.as_deref()) {
        let (library, found) = (library.file_name(), found.display());
        say(&format!("warning: {library} will have no effect on '{found}': {why}"));
    }
}

/// Becomes the program.
///
/// # Errors
/// Always: it returns only where that failed.
pub(crate) fn exec(mut command: Command, program: &Program) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    Err(CannotStart::new(&program.words[0].to_string_lossy(), &error).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_file_is_absolute_and_its_directory_exists() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("r.json");
        assert_eq!(output_file("--report", &file).unwrap(), file);
        // Opened to see whether it can be written, and left as it is.
        assert!(output_file("--report", Path::new("Cargo.toml")).unwrap().is_absolute());
        let error = |path: &Path| output_file("--report", path).unwrap_err().to_string();
        assert!(error(dir.path()).contains("is a directory"));
        assert!(error(&dir.path().join("a/b")).contains("no directory"));
    }
}
