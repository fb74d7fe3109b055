//! `rdnafix sim root`: trees of other ROCm releases, made from the Debian archive, in which a
//! program runs without the machine's own ROCm being touched.

mod args;
mod enter;
mod make;
mod recipe;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;

pub(crate) use self::args::{RootArgs, names};
use self::make::Root;
pub(crate) use self::make::Unavailable;
use crate::args::Program;
use crate::run;
use crate::stdout::print;

/// Does it.
///
/// # Errors
/// An unknown name, a root that cannot be made or entered, a program that does not start.
pub(crate) fn root(args: &RootArgs) -> Result<ExitCode> {
    let Some(name) = &args.name else {
        return list(args.json);
    };
    let recipe = recipe::named(name)?;
    if args.remove {
        for path in make::remove(&recipe)? {
            print(&format!("removed {}\n", path.display()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let made = make::make(&recipe)?;
    if args.program.is_empty() {
        if args.json {
            let listed = Listed::of(&recipe, Some(made));
            print(&format!("{}\n", serde_json::to_string(&listed)?))?;
        } else {
            print(&format!("{}\n", made.tree.display()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let program = Program { words: args.program.clone() };
    enter::enter(&made.tree)?;
    run::exec(run::command(&program), &program)
}

/// Makes this process one that runs in a root, if one is named, and says how files of the
/// machine are called from there. To be called while there is one thread.
///
/// # Errors
/// As [`root`].
pub(crate) fn enter<'a>(
    name: Option<&str>,
    files: impl IntoIterator<Item = &'a mut PathBuf>,
) -> Result<()> {
    if let Some(name) = name {
        enter::enter(&make::make(&recipe::named(name)?)?.tree)?;
        for file in files {
            *file = enter::seen_inside(file);
        }
    }
    Ok(())
}

/// Where everything that can be made again is kept.
///
/// # Errors
/// Where neither `XDG_CACHE_HOME` nor HOME is set.
pub(crate) fn cache() -> Result<PathBuf> {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME names a directory: set one")?;
    Ok(cache.join("rdnafix"))
}

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    about: String,
    path: Option<PathBuf>,
    packages: std::collections::BTreeMap<String, String>,
}

impl Listed {
    fn of(recipe: &recipe::Recipe, root: Option<Root>) -> Self {
        let (path, packages) =
            root.map_or_else(Default::default, |root| (Some(root.tree), root.packages));
        Self { name: recipe.name, about: recipe.about.clone(), path, packages }
    }
}

fn list(json: bool) -> Result<ExitCode> {
    let mut listed = Vec::new();
    for recipe in recipe::all()? {
        let made = make::made(&recipe)?;
        listed.push(Listed::of(&recipe, made));
    }
    if json {
        print(&format!("{}\n", serde_json::to_string(&listed)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let width = listed.iter().map(|root| root.name.len()).max().unwrap_or(0);
    let mut table = String::new();
    for root in &listed {
        let state = if root.path.is_some() { "made" } else { "not made" };
        let begin = format!("{:width$}  {state:8}  ", root.name);
        let rest = " ".repeat(begin.len());
        let options = textwrap::Options::new(80).initial_indent(&begin).subsequent_indent(&rest);
        let _ = writeln!(table, "{}", textwrap::fill(root.about.trim(), options));
    }
    print(&table)?;
    Ok(ExitCode::SUCCESS)
}
