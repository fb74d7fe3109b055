//! What was seen and done, counted by call, GPU, request and reason, and written at exit to
//! the file that `RDNAFIX_REPORT` names: one JSON object per process, on a line of its own,
//! appended; and to the files that `rdnafix run` sums up from, in `RDNAFIX_SUMMARY_FILE`.
//! Counting takes no lock; without either variable nothing is counted.

mod write;

use std::sync::atomic::{AtomicU64, Ordering};

use policy::{GfxTarget, Reason};

pub(crate) use self::write::request_text;
use crate::hook::Hook;
use crate::{config, seen};

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

impl Row {
    const fn new() -> Self {
        Self {
            key: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            fell_back: AtomicU64::new(0),
        }
    }
}

/// More combinations than a program can produce without trying to; what does not fit is
/// counted as a whole.
const ROWS: usize = 256;
static TABLE: [Row; ROWS] = [const { Row::new() }; ROWS];
static NOT_COUNTED: AtomicU64 = AtomicU64::new(0);
static THROUGH_SYMBOLS: AtomicU64 = AtomicU64::new(0);
static THROUGH_TABLE: AtomicU64 = AtomicU64::new(0);
static HANDED_OUT: AtomicU64 = AtomicU64::new(0);

/// Whether calls are counted.
pub(crate) fn wanted() -> bool {
    config::get().counts()
}

/// Has the report written at exit; called once, by the constructor, if one is wanted.
pub(crate) fn start() {
    // SAFETY: a plain function of this library, which is never unmapped.
    unsafe { libc::atexit(write::at_exit) };
}

/// Counts a call. Thread-safe, and safe in a signal handler.
pub(crate) fn count(call: &Call) {
    if wanted() {
        let layer = if seen::is_through_table() { &THROUGH_TABLE } else { &THROUGH_SYMBOLS };
        layer.fetch_add(1, Ordering::Relaxed);
        count_in(&TABLE, call);
    }
}

fn count_in(table: &[Row], call: &Call) {
    let key = pack(call);
    for row in table {
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

/// A function was handed out by a lookup (see `crate::dl`). Thread-safe.
pub(crate) fn handed_out() {
    HANDED_OUT.fetch_add(1, Ordering::Relaxed);
}

/// In a forked child: its parent's calls are not its own.
pub(crate) fn forget_counts() {
    for row in &TABLE {
        for number in [&row.key, &row.calls, &row.bytes, &row.fell_back] {
            number.store(0, Ordering::Relaxed);
        }
    }
    for number in [&NOT_COUNTED, &THROUGH_SYMBOLS, &THROUGH_TABLE, &HANDED_OUT] {
        number.store(0, Ordering::Relaxed);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Also run under ThreadSanitizer, by scripts/test.sh.
    #[test]
    fn without_locks_no_call_of_many_threads_is_lost() {
        const THREADS: usize = 8;
        const EACH: u32 = 1000;
        let table: Vec<Row> = (0..16).map(|_| Row::new()).collect();
        crate::test_threads::run(THREADS, || {
            for index in 0..EACH {
                let call = Call {
                    hook: Hook::HipHostMalloc,
                    gpu: GfxTarget::from_name("gfx1030"),
                    rewritten: index % 2 == 0,
                    reason: Reason::NobodyAsked,
                    detail: index % 5,
                    bytes: 3,
                    fell_back: false,
                };
                count_in(&table, &call);
            }
        });
        let sum = |number: fn(&Row) -> &AtomicU64| -> u64 {
            table.iter().map(|row| number(row).load(Ordering::Relaxed)).sum()
        };
        let calls = THREADS as u64 * u64::from(EACH);
        assert_eq!((sum(|row| &row.calls), sum(|row| &row.bytes)), (calls, 3 * calls));
        let used = table.iter().filter(|row| row.key.load(Ordering::Relaxed) != 0).count();
        assert_eq!(used, 10, "one row for each kind of call");
    }
}
