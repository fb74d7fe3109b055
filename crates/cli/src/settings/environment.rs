//! Variables that the library does not understand, and what it does then: the same rules as
//! `src/config.rs` and `src/dl.rs`, which a test in tests/cli_config.rs compares. Changes nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::{Kind, LEVELS_OF_LOG, Misunderstood, Setting};

/// What is wrong with the value of a variable; `None` where it is understood.
pub(crate) fn misunderstood(setting: &'static Setting, value: &OsStr) -> Option<Misunderstood> {
    let (allowed, instead) = match setting.kind {
        Kind::Word(words) => (words.join(", "), setting.default),
        // Whoever sets it to something wants it; of RDNAFIX_TORCH, the change to be off.
        Kind::Switch => ("0 or 1".into(), if setting.key == "dry_run" { "1" } else { "0" }),
        Kind::Bytes => ("a number of bytes, such as 65536".into(), setting.default),
        Kind::Fraction => ("a number above 0 and at most 1, such as 0.8".into(), setting.default),
        Kind::Globs => {
            ("a list such as librccl*,libucp.so.?, separated by commas".into(), setting.default)
        }
        Kind::Log => {
            (format!("LEVEL or LEVEL:FILE, levels being {}", LEVELS_OF_LOG.join(", ")), "")
        }
        Kind::File => return None,
    };
    (!understood(setting.kind, value)).then_some(Misunderstood { allowed, instead })
}

fn understood(kind: Kind, value: &OsStr) -> bool {
    // A file name after a level of logging need not be text.
    if kind == Kind::Log {
        let level = value.as_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
        return LEVELS_OF_LOG.iter().any(|known| known.as_bytes() == level);
    }
    let Some(text) = value.to_str() else { return kind == Kind::File };
    match kind {
        Kind::Word(words) => words.contains(&text),
        Kind::Switch => matches!(text, "0" | "1"),
        Kind::Bytes => text.parse::<usize>().is_ok(),
        Kind::Fraction => {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            // Millionths are what counts.
            let number = text.parse().map(|number: f64| (number * 1e6).floor());
            plain && number.is_ok_and(|millionths| (1.0..=1e6).contains(&millionths))
        }
        Kind::Globs => text.split(',').all(|glob| (1..=255).contains(&glob.len())),
        Kind::File | Kind::Log => true,
    }
}
