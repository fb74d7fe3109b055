//! What can be set, and where it comes from: the options of `rdnafix run`, the environment, the
//! user's file, the system's file, the default, in this order.
//!
//! One table has every setting; the configuration files, `rdnafix config`, `rdnafix run` and
//! docs/configuration.md follow from it. The library itself reads only the environment: files
//! reach it by `rdnafix run`. No module but `file` reads any.

mod environment;
mod file;
mod show;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use policy::Level;

pub(crate) use environment::misunderstood;
pub(crate) use show::{ConfigArgs, config};

/// The kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false` in a file, `1` or `0` in a variable.
    Switch,
    /// A number of bytes.
    Bytes,
    /// A number above 0 and at most 1.
    Fraction,
    /// Globs of file names; in a variable separated by commas.
    Globs,
    /// A file; in a configuration file its path is absolute.
    File,
    /// A level of logging, and perhaps a file after a colon.
    Log,
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// In a configuration file.
    pub(crate) key: &'static str,
    /// In the environment.
    pub(crate) variable: &'static str,
    pub(crate) kind: Kind,
    /// As it is shown where nobody set it.
    pub(crate) default: &'static str,
    /// What it does, in half a line.
    pub(crate) about: &'static str,
}

/// When `rdnafix run` says at the end what was done.
pub(crate) const SUMMARY_WORDS: [&str; 3] = ["auto", "always", "never"];

/// How much is logged.
pub(crate) const LEVELS_OF_LOG: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// All of them.
pub(crate) const SETTINGS: [Setting; 11] = [
    Setting {
        key: "policy",
        variable: "RDNAFIX_POLICY",
        kind: Kind::Word(&LEVELS),
        default: "standard",
        about: "what is rewritten",
    },
    Setting {
        key: "dry_run",
        variable: "RDNAFIX_DRY_RUN",
        kind: Kind::Switch,
        default: "false",
        about: "decide and report, change nothing",
    },
    Setting {
        key: "report",
        variable: "RDNAFIX_REPORT",
        kind: Kind::File,
        default: "",
        about: "the file that a line of JSON is appended to for each process that used a GPU",
    },
    Setting {
        key: "log",
        variable: "RDNAFIX_LOG",
        kind: Kind::Log,
        default: "",
        about: "LEVEL or LEVEL:FILE; info says once what is done, debug shows every call",
    },
    Setting {
        key: "min_bytes",
        variable: "RDNAFIX_MIN_BYTES",
        kind: Kind::Bytes,
        default: "0",
        about: "smaller requests are left alone",
    },
    Setting {
        key: "deny",
        variable: "RDNAFIX_DENY",
        kind: Kind::Globs,
        default: "",
        about: "file names of libraries whose calls are left alone below the level full",
    },
    Setting {
        key: "allow",
        variable: "RDNAFIX_ALLOW",
        kind: Kind::Globs,
        default: "",
        about: "file names that are taken off the built-in list of such libraries",
    },
    Setting {
        key: "dlsym",
        variable: "RDNAFIX_DLSYM",
        kind: Kind::Switch,
        default: "false",
        about: "also reach callers that look functions up by name (ctypes, hip-python)",
    },
    Setting {
        key: "torch",
        variable: "RDNAFIX_TORCH",
        kind: Kind::Switch,
        default: "true",
        about: "set PyTorch's allocator defaults where every visible GPU is RDNA1/2",
    },
    Setting {
        key: "vram_fraction",
        variable: "RDNAFIX_VRAM_FRACTION",
        kind: Kind::Fraction,
        default: "",
        about: "refuse device memory above this part of a board's",
    },
    Setting {
        key: "summary",
        variable: "RDNAFIX_SUMMARY",
        kind: Kind::Word(&SUMMARY_WORDS),
        default: "auto",
        about: "whether `rdnafix run` ends with a line of what was rewritten; auto: on a terminal",
    },
];

const LEVELS: [&str; 4] = {
    let all = Level::ALL;
    [all[0].name(), all[1].name(), all[2].name(), all[3].name()]
};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(PathBuf),
    Environment,
}

/// A setting with its value, as the variable has it.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) setting: &'static Setting,
    /// `None`: the default.
    pub(crate) text: Option<OsString>,
    pub(crate) origin: Origin,
}

/// A variable that is not understood.
#[derive(Debug)]
pub(crate) struct Misunderstood {
    /// What it may be, for people.
    pub(crate) allowed: String,
    /// The value that counts instead.
    pub(crate) instead: &'static str,
}

impl Value {
    /// Whether a variable of the environment has a value that is not understood. Files are
    /// checked when they are read.
    pub(crate) fn misunderstood(&self) -> Option<Misunderstood> {
        let text = self.text.as_ref().filter(|_| self.origin == Origin::Environment)?;
        environment::misunderstood(self.setting, text)
    }
}

/// The files, the more important first; they need not exist.
pub(crate) fn files() -> Vec<PathBuf> {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    let user = home.map(|directory| directory.join("rdnafix/config.toml"));
    user.into_iter().chain([PathBuf::from("/etc/rdnafix.toml")]).collect()
}

/// All settings as they are here.
///
/// # Errors
/// A file that cannot be read or is wrong: where, and what is allowed.
pub(crate) fn values() -> Result<Vec<Value>> {
    let mut known = Vec::new();
    for path in files() {
        known.extend(file::read(&path)?.into_iter().map(|entry| (path.clone(), entry)));
    }
    Ok(SETTINGS
        .iter()
        .map(|setting| {
            // An empty value is as good as none, for the library too.
            let set = std::env::var_os(setting.variable).filter(|value| !value.is_empty());
            let in_file = known.iter().find(|(_, (key, _))| *key == setting.key);
            let (text, origin) = match (set, in_file) {
                (Some(value), _) => (Some(value), Origin::Environment),
                (None, Some((path, (_, text)))) => (Some(text.into()), Origin::File(path.clone())),
                (None, None) => (None, Origin::Default),
            };
            Value { setting, text, origin }
        })
        .collect())
}

/// Gives a program what the files say; what its environment has already is not changed.
pub(crate) fn pass_on(values: &[Value], command: &mut Command) {
    for value in values {
        if let (Origin::File(path), Some(text)) = (&value.origin, &value.text) {
            tracing::info!(file = %path.display(), "{}={}", value.setting.variable, text.display());
            command.env(value.setting.variable, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    /// docs/configuration.md has the table between these lines.
    const MARKS: [&str; 2] = ["<!-- settings -->\n", "<!-- end of settings -->\n"];

    #[test]
    fn the_documentation_has_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once(MARKS[0]).unwrap();
        let (_, after) = rest.split_once(MARKS[1]).unwrap();
        let mut table = String::from("| key | variable | value | default | meaning |\n");
        table.push_str("| --- | --- | --- | --- | --- |\n");
        for Setting { key, variable, kind, default, about } in &SETTINGS {
            let default = if default.is_empty() { "none" } else { default };
            let value = file::expected(*kind).replace('|', "\\|");
            writeln!(table, "| `{key}` | `{variable}` | {value} | {default} | {about} |").unwrap();
        }
        let expected = [before, MARKS[0], &table, MARKS[1], after].concat();
        if std::env::var_os("RDNAFIX_GOLDEN").is_some_and(|value| value == "write") {
            std::fs::write(path, expected).unwrap();
        } else {
            assert_eq!(text, expected, "run RDNAFIX_GOLDEN=write cargo test -p rdnafix-cli table");
        }
    }

    #[test]
    fn every_key_and_variable_is_there_once() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            for other in &SETTINGS[index + 1..] {
                assert!(setting.key != other.key && setting.variable != other.variable);
            }
            assert_eq!(setting.variable, format!("RDNAFIX_{}", setting.key.to_uppercase()));
        }
    }
}
