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
    /// `RDNAFIX_SUMMARY_FILE`: those of each `rdnafix run` that waits to say what was done
    pub(crate) summary_files: Vec<PathBuf>,
    /// `RDNAFIX_DENY`: globs of file names whose calls are left alone below level `full`
    pub(crate) deny: Vec<String>,
    /// `RDNAFIX_ALLOW`: globs of file names that are taken off the built-in deny list
    pub(crate) allow: Vec<String>,
    /// `RDNAFIX_MIN_BYTES`: smaller requests are left alone
    pub(crate) min_bytes: usize,
    /// `RDNAFIX_DRY_RUN`: decide and report, change nothing
    pub(crate) dry_run: bool,
    /// `RDNAFIX_TORCH=0`: PyTorch's allocator settings are left alone
    pub(crate) no_torch: bool,
    /// `RDNAFIX_VRAM_FRACTION`: device memory above this part of a GPU's is refused
    pub(crate) vram_millionths: Option<u32>,
    /// Values that were not understood, each a line for the user.
    pub(crate) complaints: Vec<String>,
}

impl Config {
    /// Whether calls are counted.
    pub(crate) fn counts(&self) -> bool {
        self.report.is_some() || !self.summary_files.is_empty()
    }

    /// The part of a GPU's memory that may be used, if the program is to be held to one, in
    /// millionths.
    pub(crate) fn cap(&self) -> Option<u32> {
        self.vram_millionths.filter(|_| self.level != Level::Off && !self.dry_run)
    }

    /// The program may change its directory before a file is opened.
    fn with_absolute_paths(mut self) -> Self {
        let log = self.log.as_mut().and_then(|log| log.file.as_mut());
        for path in log.into_iter().chain(self.report.as_mut()) {
            if let Ok(absolute) = std::path::absolute(&*path) {
                *path = absolute;
            }
        }
        self
    }
}

/// The parts that a fraction is counted in.
pub(crate) const MILLION: u32 = 1_000_000;

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
#[inline]
pub(crate) fn get() -> &'static Config {
    CONFIG.get_or_init(|| parse(variable).with_absolute_paths())
}

unsafe extern "C" {
    /// getenv, but null in a set-user-ID program, whose caller must not choose what is written
    /// where (<stdlib.h>, glibc 2.17).
    pub(crate) fn secure_getenv(name: *const std::ffi::c_char) -> *mut std::ffi::c_char;
}

/// A variable of the environment. To be called by the constructor only.
pub(crate) fn variable(name: &CStr) -> Option<Vec<u8>> {
    // SAFETY: `name` is NUL-terminated, and no other thread of this process runs yet: the
    // first call comes from the constructor of a preloaded library.
    let value = unsafe { secure_getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: it returned a NUL-terminated string, which is copied at once.
    Some(unsafe { CStr::from_ptr(value) }.to_bytes().to_vec())
}

/// The settings that the variables mean; an empty value is as good as none.
fn parse(variable: impl Fn(&'static CStr) -> Option<Vec<u8>>) -> Config {
    let mut complaints = Vec::new();
    let mut complain = |name: &CStr, value: &[u8], text: &str| {
        complaints.push(format!("{}={} {text}", name.to_string_lossy(), shown(value)));
    };
    let given = |name| variable(name).filter(|value| !value.is_empty());
    let path = |value: &[u8]| PathBuf::from(OsString::from_vec(value.to_vec()));
    let mut config =
        Config { report: given(c"RDNAFIX_REPORT").map(|value| path(&value)), ..Config::default() };
    if let Some(value) = given(c"RDNAFIX_SUMMARY_FILE") {
        config.summary_files = value.split(|byte| *byte == b':').map(path).collect();
    }
    if let Some(value) = given(c"RDNAFIX_POLICY") {
        match std::str::from_utf8(&value).ok().and_then(Level::from_name) {
            Some(level) => config.level = level,
            None => complain(
                c"RDNAFIX_POLICY",
                &value,
                "is not a level; allowed are off, standard, mapped, full; using standard",
            ),
        }
    }
    if let Some(value) = given(c"RDNAFIX_LOG") {
        let (level, file) = match value.iter().position(|byte| *byte == b':') {
            Some(colon) => (&value[..colon], &value[colon + 1..]),
            None => (&value[..], &[][..]),
        };
        match log_level(level) {
            Some(level) => {
                config.log = Some(Log { level, file: (!file.is_empty()).then(|| path(file)) });
            }
            None => complain(
                c"RDNAFIX_LOG",
                &value,
                "is not LEVEL or LEVEL:FILE; levels are off, error, warn, info, debug, trace; not logging",
            ),
        }
    }
    for (name, list) in [(c"RDNAFIX_DENY", &mut config.deny), (c"RDNAFIX_ALLOW", &mut config.allow)]
    {
        let Some(value) = given(name) else { continue };
        match globs(&value) {
            Some(globs) => *list = globs,
            None => complain(
                name,
                &value,
                "is not a comma-separated list of file-name globs such as librccl*,libucp.so.?; ignored",
            ),
        }
    }
    if let Some(value) = given(c"RDNAFIX_MIN_BYTES") {
        match std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok()) {
            Some(bytes) => config.min_bytes = bytes,
            None => complain(c"RDNAFIX_MIN_BYTES", &value, "is not a number of bytes; ignored"),
        }
    }
    if let Some(value) = given(c"RDNAFIX_DRY_RUN") {
        match &value[..] {
            b"0" => {}
            b"1" => config.dry_run = true,
            // Somebody wants nothing changed.
            _ => {
                config.dry_run = true;
                complain(c"RDNAFIX_DRY_RUN", &value, "is neither 0 nor 1; taken as 1");
            }
        }
    }
    if let Some(value) = given(c"RDNAFIX_TORCH") {
        config.no_torch = value != b"1";
        // Somebody wants it off.
        if config.no_torch && value != b"0" {
            complain(c"RDNAFIX_TORCH", &value, "is neither 0 nor 1; taken as 0");
        }
    }
    if let Some(value) = given(c"RDNAFIX_VRAM_FRACTION") {
        config.vram_millionths = millionths(&value);
        if config.vram_millionths.is_none() {
            complain(
                c"RDNAFIX_VRAM_FRACTION",
                &value,
                "is not a number above 0 and at most 1, such as 0.8; ignored",
            );
        }
    }
    config.complaints = complaints;
    config
}

/// Of `1`, the millionths that a decimal number is; `None` for 0, above 1, and other text. By
/// hand, as what the standard library has for it is larger than the rest of this file.
fn millionths(value: &[u8]) -> Option<u32> {
    let point = value.iter().position(|byte| *byte == b'.').unwrap_or(value.len());
    let (whole, decimals) = (&value[..point], value.get(point + 1..).unwrap_or_default());
    let digits = || whole.iter().chain(decimals);
    if digits().next().is_none() || !digits().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |byte: &u8| u32::from(byte - b'0');
    let ones = whole.iter().try_fold(0, |sum: u32, byte| {
        sum.checked_mul(10)?.checked_add(digit(byte)).filter(|sum| *sum <= 1)
    })?;
    let places = decimals.iter().chain(std::iter::repeat(&b'0')).take(6);
    let parts = ones * MILLION + places.fold(0, |sum, byte| sum * 10 + digit(byte));
    (1..=MILLION).contains(&parts).then_some(parts)
}

/// A comma-separated list; `None` if a part is empty, longer than a file name or no text.
fn globs(value: &[u8]) -> Option<Vec<String>> {
    const LONGEST: usize = 255; // NAME_MAX of <linux/limits.h>
    let text = std::str::from_utf8(value).ok()?;
    text.split(',')
        .map(|glob| (1..=LONGEST).contains(&glob.len()).then(|| glob.to_owned()))
        .collect()
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

    /// The settings with one variable set.
    fn with(name: &CStr, value: &[u8]) -> Config {
        parse(|asked| (asked == name).then(|| value.to_vec()))
    }

    const ALL: [&CStr; 10] = [
        c"RDNAFIX_POLICY",
        c"RDNAFIX_LOG",
        c"RDNAFIX_REPORT",
        c"RDNAFIX_SUMMARY_FILE",
        c"RDNAFIX_DENY",
        c"RDNAFIX_ALLOW",
        c"RDNAFIX_MIN_BYTES",
        c"RDNAFIX_DRY_RUN",
        c"RDNAFIX_TORCH",
        c"RDNAFIX_VRAM_FRACTION",
    ];

    #[test]
    fn nothing_set_means_standard_and_silence() {
        assert_eq!(parse(|_| None), Config::default());
        assert_eq!(parse(|_| Some(Vec::new())), Config::default());
        assert_eq!(Config::default().level, Level::Standard);
    }

    #[test]
    fn every_level_is_understood() {
        for level in Level::ALL {
            assert_eq!(with(c"RDNAFIX_POLICY", level.name().as_bytes()).level, level);
        }
    }

    #[test]
    fn an_unknown_level_is_complained_about_with_the_allowed_values() {
        let config = with(c"RDNAFIX_POLICY", b"Standard");
        assert_eq!(config.level, Level::Standard);
        assert_eq!(config.complaints.len(), 1);
        assert!(config.complaints[0].starts_with("RDNAFIX_POLICY=\"Standard\""));
        assert!(config.complaints[0].contains("off, standard, mapped, full"));
    }

    #[test]
    fn a_log_has_a_level_and_perhaps_a_file() {
        let log = |text: &str| with(c"RDNAFIX_LOG", text.as_bytes());
        assert_eq!(log("debug").log, Some(Log { level: LevelFilter::DEBUG, file: None }));
        let file = Some(PathBuf::from("/tmp/a:b"));
        assert_eq!(log("info:/tmp/a:b").log, Some(Log { level: LevelFilter::INFO, file }));
        assert_eq!((log("loud").log, log("loud").complaints.len()), (None, 1));
    }

    #[test]
    fn lists_numbers_and_switches_are_read() {
        assert_eq!(with(c"RDNAFIX_DENY", b"librccl*,a?b").deny, ["librccl*", "a?b"]);
        assert_eq!(with(c"RDNAFIX_ALLOW", b"x").allow, ["x"]);
        assert_eq!(with(c"RDNAFIX_MIN_BYTES", b"65536").min_bytes, 65536);
        assert!(with(c"RDNAFIX_DRY_RUN", b"1").dry_run && !with(c"RDNAFIX_DRY_RUN", b"0").dry_run);
        for (name, junk) in [
            (c"RDNAFIX_DENY", "a,,b"),
            (c"RDNAFIX_MIN_BYTES", "64k"),
            (c"RDNAFIX_MIN_BYTES", "-1"),
            (c"RDNAFIX_DRY_RUN", "yes"),
            (c"RDNAFIX_TORCH", "off"),
        ] {
            assert_eq!(with(name, junk.as_bytes()).complaints.len(), 1, "{name:?}={junk}");
        }
        assert!(with(c"RDNAFIX_DRY_RUN", b"yes").dry_run);
        assert!(with(c"RDNAFIX_TORCH", b"off").no_torch && with(c"RDNAFIX_TORCH", b"0").no_torch);
        assert!(!with(c"RDNAFIX_TORCH", b"1").no_torch);
    }

    #[test]
    fn a_fraction_is_above_0_and_at_most_1() {
        let read = |text: &str| with(c"RDNAFIX_VRAM_FRACTION", text.as_bytes());
        for (text, millionths) in [
            ("0.8", 800_000),
            ("1", MILLION),
            (".5", 500_000),
            ("1.000", MILLION),
            ("00.123456789", 123_456),
            ("1.0000009", MILLION),
        ] {
            let expected = Config { vram_millionths: Some(millionths), ..Config::default() };
            assert_eq!(read(text), expected);
        }
        for text in [
            "0",
            "0.0",
            "0.0000001",
            "2",
            "99999999999",
            "0.5.5",
            "1.01",
            "-0.5",
            "80%",
            "0,8",
            "inf",
            "nan",
            "1e-1",
            ".",
            "0.8 ",
        ] {
            let config = read(text);
            assert_eq!((config.vram_millionths, config.complaints.len()), (None, 1), "{text}");
        }
    }

    #[test]
    fn a_megabyte_of_junk_makes_one_short_complaint() {
        let junk = "x\n".repeat(1 << 19);
        for name in ALL {
            let complaints = with(name, junk.as_bytes()).complaints;
            let is_path = name == c"RDNAFIX_REPORT" || name == c"RDNAFIX_SUMMARY_FILE";
            assert_eq!(complaints.len(), usize::from(!is_path), "{name:?}");
            assert!(complaints.iter().all(|line| line.len() < 300 && !line.contains('\n')));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_understood_or_complained_about(
            which in 0..ALL.len(),
            value in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let name = ALL[which].to_str().expect("ASCII");
            for line in with(ALL[which], &value).complaints {
                prop_assert!(line.starts_with(name) && !line.contains('\n'));
            }
        }
    }
}
