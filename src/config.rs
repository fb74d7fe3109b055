//! What the user set: the `RDNAFIX_*` variables, read once in the constructor, before the
//! program can change its environment from several threads. Parsing never fails: a bad value
//! is kept as a complaint, which is printed when the process first uses a GPU.

use std::ffi::{CStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use policy::Level;
use tracing::level_filters::LevelFilter;

/// The settings of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// `RDNAFIX_POLICY`
    pub(crate) level: Level,
    /// `RDNAFIX_LOG`
    pub(crate) log: Option<Log>,
    /// `RDNAFIX_REPORT`
    pub(crate) report: Option<PathBuf>,
    /// Values that were not understood, each a line for the user.
    pub(crate) complaints: Vec<String>,
}

/// Where to log and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// The least severe level that is written.
    pub(crate) level: LevelFilter,
    /// The file, or standard error.
    pub(crate) file: Option<PathBuf>,
}

static CONFIG: OnceLock<Config> = OnceLock::new();

/// The settings. Thread-safe; the first call, from the constructor, reads the environment.
pub(crate) fn get() -> &'static Config {
    CONFIG.get_or_init(|| {
        parse(variable(c"RDNAFIX_POLICY"), variable(c"RDNAFIX_LOG"), variable(c"RDNAFIX_REPORT"))
    })
}

fn variable(name: &CStr) -> Option<Vec<u8>> {
    // SAFETY: `name` is NUL-terminated, and no other thread of this process runs yet: the
    // first call comes from the constructor of a preloaded library.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: getenv returned a NUL-terminated string, which is copied at once.
    Some(unsafe { CStr::from_ptr(value) }.to_bytes().to_vec())
}

/// The settings that these values mean; an empty value is as good as none.
fn parse(policy: Option<Vec<u8>>, log: Option<Vec<u8>>, report: Option<Vec<u8>>) -> Config {
    let mut config = Config::default();
    let given = |value: Option<Vec<u8>>| value.filter(|value| !value.is_empty());
    if let Some(value) = given(policy) {
        match std::str::from_utf8(&value).ok().and_then(Level::from_name) {
            Some(level) => config.level = level,
            None => config.complaints.push(format!(
                "RDNAFIX_POLICY={} is not a level; allowed are off, standard, mapped, full; using standard",
                shown(&value)
            )),
        }
    }
    if let Some(value) = given(log) {
        let (level, file) = match value.iter().position(|byte| *byte == b':') {
            Some(colon) => (&value[..colon], &value[colon + 1..]),
            None => (&value[..], &[][..]),
        };
        match log_level(level) {
            Some(level) => {
                let file = (!file.is_empty()).then(|| PathBuf::from(OsString::from_vec(file.to_vec())));
                config.log = Some(Log { level, file });
            }
            None => config.complaints.push(format!(
                "RDNAFIX_LOG={} is not LEVEL or LEVEL:FILE; levels are off, error, warn, info, debug, trace; not logging",
                shown(&value)
            )),
        }
    }
    config.report = given(report).map(|value| PathBuf::from(OsString::from_vec(value)));
    config
}

fn log_level(name: &[u8]) -> Option<LevelFilter> {
    Some(match name {
        b"off" => LevelFilter::OFF,
        b"error" => LevelFilter::ERROR,
        b"warn" => LevelFilter::WARN,
        b"info" => LevelFilter::INFO,
        b"debug" => LevelFilter::DEBUG,
        b"trace" => LevelFilter::TRACE,
        _ => return None,
    })
}

/// A value as it may stand in a message: on one line, and not the whole of a megabyte.
fn shown(value: &[u8]) -> String {
    const LONGEST: usize = 60;
    let text =
        String::from_utf8_lossy(&value[..value.len().min(LONGEST)]).escape_debug().to_string();
    if value.len() > LONGEST {
        format!("\"{text}…\" ({} bytes)", value.len())
    } else {
        format!("\"{text}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(policy: &str, log: &str, report: &str) -> Config {
        let value = |text: &str| Some(text.as_bytes().to_vec());
        parse(value(policy), value(log), value(report))
    }

    #[test]
    fn nothing_set_means_standard_and_silence() {
        assert_eq!(parse(None, None, None), Config::default());
        assert_eq!(of("", "", ""), Config::default());
        assert_eq!(Config::default().level, Level::Standard);
    }

    #[test]
    fn every_level_is_understood() {
        for level in Level::ALL {
            assert_eq!(of(level.name(), "", "").level, level);
        }
    }

    #[test]
    fn an_unknown_level_is_complained_about_with_the_allowed_values() {
        let config = of("Standard", "", "");
        assert_eq!(config.level, Level::Standard);
        assert_eq!(config.complaints.len(), 1);
        assert!(config.complaints[0].contains("\"Standard\""));
        assert!(config.complaints[0].contains("off, standard, mapped, full"));
    }

    #[test]
    fn a_log_has_a_level_and_perhaps_a_file() {
        let log = |text| of("", text, "").log;
        assert_eq!(log("debug"), Some(Log { level: LevelFilter::DEBUG, file: None }));
        let file = Some(PathBuf::from("/tmp/a:b"));
        assert_eq!(log("info:/tmp/a:b"), Some(Log { level: LevelFilter::INFO, file }));
        assert_eq!(log("loud"), None);
        assert_eq!(of("", "loud", "").complaints.len(), 1);
    }

    #[test]
    fn a_megabyte_of_junk_makes_one_short_complaint() {
        let junk = "x\n".repeat(1 << 19);
        let config = of(&junk, "", "");
        assert_eq!(config.complaints.len(), 1);
        assert!(config.complaints[0].len() < 300);
        assert!(!config.complaints[0].contains('\n'));
    }

    proptest! {
        #[test]
        fn any_bytes_are_understood_or_complained_about(
            policy in proptest::collection::vec(any::<u8>(), 0..80),
            log in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let config = parse(Some(policy.clone()), Some(log), None);
            let known = policy.is_empty() || Level::ALL.iter().any(|level| level.name().as_bytes() == policy);
            prop_assert!(known || config.complaints.iter().any(|line| line.starts_with("RDNAFIX_POLICY=")));
            prop_assert!(config.complaints.iter().all(|line| !line.contains('\n')));
        }
    }
}
