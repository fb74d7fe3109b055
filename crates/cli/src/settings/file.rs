//! Reading a configuration file: TOML with the keys of the table, checked, as the values that
//! the variables would have. Says where a mistake is and what is allowed; guesses nothing.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

use anyhow::{Context, Result, bail};
use toml::de::{DeTable, DeValue};

use super::{Kind, SETTINGS};
use crate::args;
use crate::doctor::regular_file;
use crate::nearest::nearest;

/// Bytes of a file that are read.
const LONGEST: u64 = 1 << 20;

/// The entries of a file, as keys and the values of their variables; none where there is no file.
///
/// # Errors
/// A file that cannot be read or is wrong: the line, the value, and what is allowed.
pub(super) fn read(path: &Path) -> Result<Vec<(&'static str, String)>> {
    let name = path.display();
    let mut text = String::new();
    let file = match regular_file(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        file => file.with_context(|| format!("cannot read the configuration {name}"))?,
    };
    file.take(LONGEST)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read the configuration {name}"))?;
    parse(&text).with_context(|| format!("in the configuration {name}"))
}

fn parse(text: &str) -> Result<Vec<(&'static str, String)>> {
    let table = DeTable::parse(text)?;
    let mut entries: Vec<_> = table.into_inner().into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut found = Vec::new();
    for (key, value) in entries {
        let line = text[..key.span().start].lines().count().max(1)
            + usize::from(text[..key.span().start].ends_with('\n'));
        let name = key.get_ref();
        let Some(setting) = SETTINGS.iter().find(|setting| setting.key == &**name) else {
            bail!("line {line}: there is no setting '{name}'{}", hint(name));
        };
        // A variable has no NUL.
        let usable = as_variable(setting.kind, value.get_ref()).filter(|text| !text.contains('\0'));
        let value = usable.with_context(|| {
            let given = text[value.span()].trim();
            format!("line {line}: {name} = {given}: expected {}", expected(setting.kind))
        })?;
        found.push((setting.key, value));
    }
    Ok(found)
}

/// The known key that is most like this one, as the end of a message.
fn hint(key: &str) -> String {
    match nearest(key, SETTINGS.iter().map(|setting| setting.key)) {
        Some(known) => format!("; did you mean '{known}'?"),
        None => format!("; there are {}", SETTINGS.map(|setting| setting.key).join(", ")),
    }
}

/// The value as the library reads it from the environment. `None` if it is not one.
fn as_variable(kind: Kind, value: &DeValue<'_>) -> Option<String> {
    match kind {
        Kind::Word(words) => {
            words.contains(&value.as_str()?).then(|| value.as_str())?.map(Into::into)
        }
        Kind::Switch => Some(if value.as_bool()? { "1" } else { "0" }.into()),
        Kind::Bytes => {
            let number = value.as_integer()?;
            Some(u64::from_str_radix(number.as_str(), number.radix()).ok()?.to_string())
        }
        Kind::Fraction => {
            let text = match value {
                DeValue::Float(number) => number.as_str(),
                DeValue::Integer(number) => number.as_str(),
                _ => return None,
            };
            let number: f64 = text.parse().ok()?;
            // The library reads plain decimals of up to six places.
            (1e-6..=1.0).contains(&number).then(|| format!("{number:.6}"))
        }
        Kind::Globs => {
            let globs = value.as_array()?.iter().map(|glob| glob.get_ref().as_str());
            let globs = globs.collect::<Option<Vec<&str>>>()?;
            let good = |glob: &&str| (1..=255).contains(&glob.len()) && !glob.contains(',');
            globs.iter().all(good).then(|| globs.join(","))
        }
        Kind::File => {
            Path::new(value.as_str()?).is_absolute().then(|| value.as_str())?.map(Into::into)
        }
        Kind::Log => {
            let target = args::parse_log(value.as_str()?).ok()?;
            let usable = target.file.is_none_or(|file| file.is_absolute());
            usable.then(|| value.as_str())?.map(Into::into)
        }
    }
}

/// What a value may be, for people.
pub(super) fn expected(kind: Kind) -> String {
    match kind {
        Kind::Word(words) => format!("\"{}\"", words.join("\", \"")),
        Kind::Switch => "true or false".into(),
        Kind::Bytes => "a number of bytes, such as 65536".into(),
        Kind::Fraction => "a number above 0 and at most 1, such as 0.8".into(),
        Kind::Globs => "a list of file names, such as [\"librccl*\"]".into(),
        Kind::File => "the absolute path of a file, such as \"/var/log/rdnafix.jsonl\"".into(),
        Kind::Log => {
            "\"LEVEL\" or \"LEVEL:/FILE\", levels being off, error, warn, info, debug, trace".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> String {
        format!("{:#}", parse(text).unwrap_err())
    }

    #[test]
    fn every_setting_can_be_set() {
        let text = r#"
policy = "mapped" # a comment
dry_run = true
report = "/tmp/r.jsonl"
log = "debug:/tmp/l"
min_bytes = 65_536
deny = ["libmine.so", "librccl*"]
allow = []
dlsym = false
torch = false
vram_fraction = 0.8
summary = "never"
"#;
        let found = parse(text).unwrap();
        let value = |key: &str| found.iter().find(|(known, _)| *known == key).unwrap().1.clone();
        assert_eq!(found.len(), SETTINGS.len());
        assert_eq!(value("policy"), "mapped");
        assert_eq!((value("dry_run"), value("torch")), ("1".into(), "0".into()));
        assert_eq!(
            (value("min_bytes"), value("vram_fraction")),
            ("65536".into(), "0.800000".into())
        );
        assert_eq!((value("deny"), value("allow")), ("libmine.so,librccl*".into(), String::new()));
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn an_unknown_key_is_told_its_line_and_the_nearest() {
        assert_eq!(
            error("\n# hm\npolicy = \"off\"\npolizy = \"off\"\n"),
            "line 4: there is no setting 'polizy'; did you mean 'policy'?"
        );
        assert!(error("xyz = 1").contains("line 1: there is no setting 'xyz'; there are policy,"));
        assert!(error("[policy]\nlevel = \"off\"").contains("line 1: policy"));
    }

    #[test]
    fn a_wrong_value_is_told_what_is_allowed() {
        assert!(error("policy = \"max\"").contains("\"off\", \"standard\", \"mapped\", \"full\""));
        for wrong in [
            "dry_run = 1",
            "torch = \"no\"",
            "min_bytes = -1",
            "min_bytes = 1.5",
            "vram_fraction = 0",
            "vram_fraction = 1.01",
            "vram_fraction = nan",
            "vram_fraction = \"0.8\"",
            "deny = \"librccl*\"",
            "deny = [\"a,b\"]",
            "deny = [\"\"]",
            "report = \"r.jsonl\"",
            "report = \"/a\\u0000b\"",
            "log = \"loud\"",
            "log = \"debug:here\"",
            "summary = true",
        ] {
            let said = error(wrong);
            assert!(said.starts_with("line 1: ") && said.contains("expected "), "{wrong}: {said}");
        }
        assert!(error("policy = ").contains("line 1"), "not TOML: {}", error("policy = "));
        assert!(error("policy = \"off\"\npolicy = \"off\"").contains("duplicate key"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in ".*", key in "[a-z_]{0,12}", value in ".{0,20}") {
            let _ = parse(&text);
            let _ = parse(&format!("{key} = {value}"));
        }
    }
}
