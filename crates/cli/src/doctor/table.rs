//! The table of symptoms, which `doctor`, `explain` and the documentation share.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// How bad a finding is, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Something does not work, or computes wrong results.
    Error,
    /// Harmful, or will be.
    Warning,
    /// Worth knowing, no fault.
    Note,
}

impl Severity {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Whether librdnafix.so helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Helps {
    Yes,
    Partly,
    No,
}

impl Helps {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Yes => "helps",
            Self::Partly => "helps partly",
            Self::No => "does not help",
        }
    }
}

/// One entry; symptoms/setup.toml says what the fields are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Symptom {
    pub(crate) id: String,
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "which symptom family of the survey it is"))]
    pub(crate) rows: Vec<u32>,
    pub(crate) severity: Severity,
    pub(crate) title: String,
    pub(crate) why: String,
    #[serde(default)]
    pub(crate) advice: String,
    pub(crate) fix: Vec<String>,
    pub(crate) verify: Vec<String>,
    pub(crate) sources: Vec<String>,
    pub(crate) rdnafix: Helps,
    pub(crate) help: String,
    #[serde(rename = "match")]
    pub(crate) matches: Vec<String>,
    #[serde(default)]
    pub(crate) instead_of: Vec<String>,
}

#[derive(Deserialize)]
struct Table {
    symptom: Vec<Symptom>,
}

const FILES: [&str; 5] = [
    include_str!("symptoms/setup.toml"),
    include_str!("symptoms/code.toml"),
    include_str!("symptoms/memory.toml"),
    include_str!("symptoms/use.toml"),
    include_str!("symptoms/settings.toml"),
];

static TABLE: LazyLock<Vec<Symptom>> = LazyLock::new(|| {
    let tables = FILES.map(|text| toml::from_str::<Table>(text).expect("a test reads these files"));
    tables.into_iter().flat_map(|table| table.symptom).collect()
});

/// All entries, in the order of the files.
pub(crate) fn all() -> &'static [Symptom] {
    &TABLE
}

/// An entry by its id.
pub(crate) fn symptom(id: &str) -> &'static Symptom {
    all().iter().find(|symptom| symptom.id == id).unwrap_or_else(|| panic!("no symptom {id}"))
}

/// A source as an address: `owner/name#number`, `owner/name@commit`, `owner/name`, a manual
/// page or a file of this repository.
pub(crate) fn address(source: &str) -> String {
    if let Some((repository, number)) = source.split_once('#') {
        return format!("https://github.com/{repository}/issues/{number}");
    }
    if let Some((repository, commit)) = source.split_once('@') {
        return format!("https://github.com/{repository}/commit/{commit}");
    }
    if let Some(page) = source.strip_prefix("man:") {
        return page.to_owned();
    }
    if source.starts_with("docs/") {
        return source.to_owned();
    }
    format!("https://github.com/{source}")
}

/// A text with `{NAME}` filled in, or written as NAME where nothing is known.
pub(crate) fn filled(text: &str, values: &[(&str, String)]) -> String {
    let mut text = text.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    // The end of a variable's name, which most have not.
    text = text.replace("{suffix}", "");
    for name in PLACEHOLDERS {
        text = text.replace(&format!("{{{name}}}"), &name.to_uppercase());
    }
    text
}

/// What a rule can fill in.
const PLACEHOLDERS: [&str; 7] =
    ["directory", "file", "group", "index", "node", "variable", "version"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_entry_is_complete_and_has_a_name_of_its_own() {
        let mut ids = BTreeSet::new();
        for symptom in all() {
            assert!(ids.insert(symptom.id.as_str()), "{} is there twice", symptom.id);
            let texts = [&symptom.title, &symptom.why, &symptom.help];
            assert!(texts.iter().all(|text| !text.is_empty()), "{}", symptom.id);
            assert!(!symptom.sources.is_empty(), "{} has no source", symptom.id);
            let way_out = !symptom.fix.is_empty() || !symptom.advice.is_empty();
            assert!(way_out, "{} has no way out", symptom.id);
            let title = symptom.title.chars().count();
            assert!(title <= 70, "the title of {} is too long for a line", symptom.id);
            for other in &symptom.instead_of {
                assert!(all().iter().any(|symptom| symptom.id == *other), "{other}");
            }
        }
    }

    #[test]
    fn every_placeholder_is_one_that_can_be_filled_in() {
        for symptom in all() {
            for text in symptom.fix.iter().chain(&symptom.verify) {
                let text = filled(text, &[]);
                assert!(!text.contains('{'), "{}: {text}", symptom.id);
            }
        }
        assert_eq!(filled("a {node} {version}", &[("node", "2".into())]), "a 2 VERSION");
    }

    #[test]
    fn a_source_becomes_an_address() {
        assert_eq!(address("ROCm/clr#285"), "https://github.com/ROCm/clr/issues/285");
        assert_eq!(address("torvalds/linux@e47"), "https://github.com/torvalds/linux/commit/e47");
        assert_eq!(address("ROCm/TheRock"), "https://github.com/ROCm/TheRock");
        assert_eq!(address("man:ld.so(8)"), "ld.so(8)");
    }

    #[test]
    fn every_symptom_family_of_the_survey_is_covered() {
        let rows: BTreeSet<u32> = all().iter().flat_map(|symptom| symptom.rows.clone()).collect();
        // 18 (copies on APUs) leaves neither a message nor a trace on the machine.
        let missing: Vec<u32> = (1..=23).filter(|row| !rows.contains(row)).collect();
        assert_eq!(missing, [18]);
    }
}
