//! `rdnafix config`: what is set, and where. Prints; changes nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;

use super::{Kind, Misunderstood, Origin, SETTINGS, Value, files, values};
use crate::nearest::nearest;
use crate::stderr::say;
use crate::stdout;

/// Show how rdnafix is configured.
///
/// Settings come from the options of `rdnafix run`, the environment, the user's file
/// (~/.config/rdnafix/config.toml, or under `XDG_CONFIG_HOME`) and /etc/rdnafix.toml, in this order.
/// The files are read by `rdnafix run` alone: with LD_PRELOAD by itself, only the environment counts.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every setting, its value, and where it comes from.
    Show {
        /// Print one JSON document instead of the table.
        #[arg(long)]
        json: bool,
    },
}

/// Does it.
///
/// # Errors
/// A file that is wrong; stdout that cannot be written.
pub(crate) fn config(args: &ConfigArgs) -> Result<ExitCode> {
    let ConfigCommand::Show { json } = args.command;
    let values = values()?;
    if json {
        stdout::print_json(&document(&values))?;
    } else {
        stdout::print(&table(&values))?;
    }
    for value in &values {
        if let (Some(wrong), Some(text)) = (value.misunderstood(), &value.text) {
            let (name, allowed) = (value.setting.variable, &wrong.allowed);
            say(&format!("{name}={}: expected {allowed}; {}", given(text), instead(value, &wrong)));
        }
    }
    for name in unknown() {
        let hint = nearest(&name, SETTINGS.iter().map(|setting| setting.variable));
        let hint = hint.map_or_else(String::new, |known| format!("; did you mean '{known}'?"));
        say(&format!("{name}: there is no such variable{hint}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Variables of the environment with the name of one of rdnafix, which are none.
fn unknown() -> Vec<String> {
    // Where the libraries and the archive are, and what `rdnafix run` tells the library.
    const OTHERS: [&str; 3] = ["RDNAFIX_LIB", "RDNAFIX_MIRROR", "RDNAFIX_SUMMARY_FILE"];
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<String> = names
        .filter(|name| name.starts_with("RDNAFIX_") && !OTHERS.contains(&&name[..]))
        .filter(|name| SETTINGS.iter().all(|setting| setting.variable != name))
        .collect();
    unknown.sort();
    unknown
}

/// The value that counts.
fn shown(value: &Value) -> String {
    match (value.misunderstood(), &value.text) {
        (Some(wrong), _) => in_words(value, wrong.instead.to_owned()),
        (None, Some(text)) => in_words(value, given(text)),
        (None, None) => value.setting.default.to_owned(),
    }
}

/// A switch as it is in a file.
fn in_words(value: &Value, text: String) -> String {
    match (value.setting.kind, &text[..]) {
        (Kind::Switch, "0") => "false".into(),
        (Kind::Switch, "1") => "true".into(),
        _ => text,
    }
}

/// A value as it may stand in a line: with escapes where it is no text, or would act on a
/// terminal.
fn given(text: &OsStr) -> String {
    match text.to_str().filter(|text| stdout::printable_line(text) == *text) {
        Some(text) => text.to_owned(),
        None => format!("\"{}\"", text.as_bytes().escape_ascii()),
    }
}

/// What becomes of a variable that is not understood.
fn instead(value: &Value, wrong: &Misunderstood) -> String {
    match wrong.instead {
        _ if value.setting.key == "summary" => "`rdnafix run` refuses it".into(),
        "" => "it is ignored".into(),
        instead => format!("it is taken as {instead}"),
    }
}

fn origin(value: &Value) -> String {
    match &value.origin {
        Origin::Default => "default".into(),
        Origin::File(path) => path.display().to_string(),
        Origin::Environment => "environment".into(),
    }
}

fn table(values: &[Value]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(80).force_no_tty().set_header(["setting", "value", "from", "variable"]);
    for value in values {
        let mut shown = shown(value);
        if shown.is_empty() {
            "-".clone_into(&mut shown);
        }
        let from = match &value.origin {
            Origin::File(path) if path.starts_with("/etc") => "system's file".into(),
            Origin::File(_) => "user's file".into(),
            _ if value.misunderstood().is_some() => "environment, wrong".into(),
            _ => origin(value),
        };
        table.add_row([value.setting.key, &shown, &from, value.setting.variable]);
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
    let files = files().into_iter().map(|path| {
        let there = if path.exists() { "" } else { " (not there)" };
        format!("   {}{there}\n", given(path.as_os_str()))
    });
    let heading = "\n files, of which the first that has a setting counts:\n".to_owned();
    lines.chain([heading]).chain(files).collect()
}

fn document(values: &[Value]) -> serde_json::Value {
    let settings: Vec<_> = values
        .iter()
        .map(|value| {
            json!({
                "key": value.setting.key,
                "variable": value.setting.variable,
                "value": shown(value),
                "from": origin(value),
                "not_understood": value.misunderstood().and(value.text.as_deref()).map(given),
                "default": value.setting.default,
                "about": value.setting.about,
            })
        })
        .collect();
    let files: Vec<_> = files()
        .iter()
        .map(|path| json!({"path": path.to_string_lossy(), "exists": path.exists()}))
        .collect();
    json!({"settings": settings, "files": files})
}
