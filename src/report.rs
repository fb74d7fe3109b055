//! What was seen and done, counted by call, GPU, request and reason, and written at exit to
//! the file that `RDNAFIX_REPORT` names: one JSON object per process, on a line of its own,
//! appended. Counting takes no lock; without the variable nothing is counted.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use policy::{GfxTarget, Reason};

use crate::hook::Hook;
use crate::{config, gpus};

/// One call, after it was made.
pub(crate) struct Call {
    pub(crate) hook: Hook,
    /// The GPU that decided, if it is known.
    pub(crate) gpu: Option<GfxTarget>,
    pub(crate) rewritten: bool,
    pub(crate) reason: Reason,
    /// What was asked: flags, or for pools and ranges what [`request_text`] takes apart.
    pub(crate) detail: u32,
    pub(crate) bytes: usize,
    /// The rewritten call failed and the original one was made.
    pub(crate) fell_back: bool,
}

struct Row {
    /// 0 while free, else the packed key of the row.
    key: AtomicU64,
    calls: AtomicU64,
    bytes: AtomicU64,
    fell_back: AtomicU64,
}

/// More combinations than a program can produce without trying to; what does not fit is
/// counted as a whole.
const ROWS: usize = 256;
static TABLE: [Row; ROWS] = [const {
    Row {
        key: AtomicU64::new(0),
        calls: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        fell_back: AtomicU64::new(0),
    }
}; ROWS];
static NOT_COUNTED: AtomicU64 = AtomicU64::new(0);
static THROUGH_TABLE: AtomicU64 = AtomicU64::new(0);

/// Whether calls are counted.
pub(crate) fn wanted() -> bool {
    config::get().report.is_some()
}

/// Has the report written at exit; called once.
pub(crate) fn start() {
    if wanted() {
        // SAFETY: a plain function of this library, which is never unmapped.
        unsafe { libc::atexit(write_at_exit) };
    }
}

/// Counts a call. Thread-safe, and safe in a signal handler.
pub(crate) fn count(call: &Call) {
    if !wanted() {
        return;
    }
    let key = pack(call);
    for row in &TABLE {
        let found = match row.key.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => true,
            Err(there) => there == key,
        };
        if found {
            row.calls.fetch_add(1, Ordering::Relaxed);
            row.bytes.fetch_add(call.bytes as u64, Ordering::Relaxed);
            row.fell_back.fetch_add(u64::from(call.fell_back), Ordering::Relaxed);
            return;
        }
    }
    NOT_COUNTED.fetch_add(1, Ordering::Relaxed);
}

/// A call came through ROCr's table and not through an exported hook. Thread-safe.
pub(crate) fn through_table() {
    if wanted() {
        THROUGH_TABLE.fetch_add(1, Ordering::Relaxed);
    }
}

/// In a forked child: its parent's calls are not its own.
pub(crate) fn forget_counts() {
    for row in &TABLE {
        for number in [&row.key, &row.calls, &row.bytes, &row.fell_back] {
            number.store(0, Ordering::Relaxed);
        }
    }
    NOT_COUNTED.store(0, Ordering::Relaxed);
    THROUGH_TABLE.store(0, Ordering::Relaxed);
}

/// 1 bit that is always set, hook, rewritten, reason, GPU target, detail: from the top down.
fn pack(call: &Call) -> u64 {
    let target = call.gpu.map_or(0, |gpu| {
        u64::from(gpu.major) << 8 | u64::from(gpu.minor & 15) << 4 | u64::from(gpu.stepping & 15)
    });
    1 << 63
        | (call.hook as u64) << 56
        | u64::from(call.rewritten) << 55
        | (call.reason as u64) << 48
        | target << 32
        | u64::from(call.detail)
}

/// What was asked, in words.
pub(crate) fn request_text(hook: Hook, detail: u32) -> String {
    match hook {
        Hook::HsaMemoryPoolAllocate | Hook::HsaMemoryLockToPool | Hook::HsaVmemHandleCreate => {
            let owner = if detail >> 16 & 1 == 1 { "GPU" } else { "CPU" };
            let flags = detail >> 8 & 0xff;
            let kinds = ["kernarg", "fine", "coarse", "extended"];
            let names: Vec<&str> = kinds
                .iter()
                .enumerate()
                .filter(|(bit, _)| flags >> bit & 1 == 1)
                .map(|(_, name)| *name)
                .collect();
            format!("{owner} {} pool, flags={:#x}", names.join("+"), detail & 0xff)
        }
        Hook::HsaSvmAttributesSet => {
            let words = ["other attributes", "access", "grain", "access and grain"];
            words[detail as usize & 3].into()
        }
        _ => format!("flags={detail:#x}"),
    }
}

extern "C" fn write_at_exit() {
    let Some(path) = &config::get().report else {
        return;
    };
    let line = render(&rows(), NOT_COUNTED.load(Ordering::Relaxed));
    let written = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    if let Err(error) = written {
        tracing::error!("RDNAFIX_REPORT: cannot write {}: {error}", path.display());
    }
}

/// A row of the report.
struct Counted {
    key: u64,
    calls: u64,
    bytes: u64,
    fell_back: u64,
}

fn rows() -> Vec<Counted> {
    let number = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
    let mut rows: Vec<Counted> = TABLE
        .iter()
        .map(|row| Counted {
            key: number(&row.key),
            calls: number(&row.calls),
            bytes: number(&row.bytes),
            fell_back: number(&row.fell_back),
        })
        .filter(|row| row.key != 0)
        .collect();
    rows.sort_by_key(|row| row.key);
    rows
}

fn render(rows: &[Counted], not_counted: u64) -> String {
    let mut out = String::new();
    let program =
        std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    let _ = write!(
        out,
        "{{\"rdnafix\":\"{}\",\"pid\":{},\"program\":{},\"level\":\"{}\",\"gpus\":[",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        quoted(&program),
        config::get().level.name(),
    );
    for (index, gpu) in gpus::all().iter().enumerate() {
        let target = gpus::target(gpu);
        let _ = write!(
            out,
            "{}{{\"node\":{},\"pci\":\"{:04x}:{:02x}:{:02x}.{}\",\"gfx\":{},\"rdna12\":{}}}",
            if index == 0 { "" } else { "," },
            gpu.node,
            gpu.pci.domain,
            gpu.pci.bdf >> 8,
            gpu.pci.bdf >> 3 & 0x1f,
            gpu.pci.bdf & 7,
            target.map_or("null".into(), |target| quoted(&target.to_string())),
            target.is_some_and(GfxTarget::is_rdna12),
        );
    }
    out.push_str("],\"calls\":[");
    for (index, row) in rows.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { "," });
        render_row(&mut out, row);
    }
    let seen: u64 = rows.iter().map(|row| row.calls).sum();
    let table = THROUGH_TABLE.load(Ordering::Relaxed);
    let _ = writeln!(
        out,
        "],\"layers\":{{\"symbols\":{},\"table\":{table}}},\"not_counted\":{not_counted}}}",
        (seen + not_counted).saturating_sub(table),
    );
    out
}

fn render_row(out: &mut String, row: &Counted) {
    let bits = |from: u32, width: u32| (row.key >> from & ((1 << width) - 1)) as usize;
    let hook = Hook::ALL[bits(56, 7)];
    let reason = Reason::ALL[bits(48, 7)];
    let gpu = match bits(32, 16) {
        0 => "null".into(),
        target => format!("\"gfx{}{:x}{:x}\"", target >> 8, target >> 4 & 15, target & 15),
    };
    let _ = write!(
        out,
        "{{\"api\":\"{}\",\"gpu\":{gpu},\"request\":{},\"action\":\"{}\",\"reason\":\"{}\",\"why\":{},\
         \"calls\":{},\"bytes\":{},\"fell_back\":{}}}",
        hook.name(),
        quoted(&request_text(hook, row.key as u32)),
        match (bits(55, 1), config::get().dry_run) {
            (0, _) => "forwarded",
            (_, false) => "rewritten",
            (_, true) => "would rewrite",
        },
        reason.code(),
        quoted(reason.text()),
        row.calls,
        row.bytes,
        row.fell_back,
    );
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", control as u32);
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(hook: Hook, reason: Reason, detail: u32, gpu: &str) -> Call {
        let gpu = GfxTarget::from_name(gpu);
        Call { hook, gpu, rewritten: true, reason, detail, bytes: 4096, fell_back: false }
    }

    #[test]
    fn a_row_says_what_was_counted() {
        for (hook, reason, detail, gpu, request) in [
            (Hook::HipHostMalloc, Reason::NobodyAsked, 0xe000_0007, "gfx1030", "flags=0xe0000007"),
            (
                Hook::HsaMemoryPoolAllocate,
                Reason::NoCoarsePool,
                0x1_0201,
                "gfx1012",
                "GPU fine pool, flags=0x1",
            ),
            (Hook::HsaShutDown, Reason::LevelOff, 0, "gfx90a", "flags=0x0"),
            (Hook::HsaSvmAttributesSet, Reason::GrainChosen, 3, "", "access and grain"),
        ] {
            let mut text = String::new();
            let key = pack(&call(hook, reason, detail, gpu));
            render_row(&mut text, &Counted { key, calls: 2, bytes: 8192, fell_back: 0 });
            let row: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(row["api"], hook.name());
            assert_eq!(row["gpu"].as_str().unwrap_or(""), gpu);
            assert_eq!(row["request"], request);
            assert_eq!(row["action"], "rewritten");
            assert_eq!(row["reason"], reason.code());
            assert_eq!((row["calls"].as_u64(), row["bytes"].as_u64()), (Some(2), Some(8192)));
        }
    }

    #[test]
    fn every_reason_and_hook_fits_its_field() {
        assert!(Reason::ALL.len() <= 1 << 7 && Hook::ALL.len() <= 1 << 7);
    }

    #[test]
    fn the_report_is_one_line_of_json() {
        let line = render(&[], 0);
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "standard");
        assert_eq!(quoted("a\"\\\n"), "\"a\\\"\\\\\\u000a\"");
    }
}
