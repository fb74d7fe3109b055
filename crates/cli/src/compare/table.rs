//! The table for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use comfy_table::{Attribute, Cell, ContentArrangement, LineStyle, Table, TableStyle, presets};
use kfd_abi::log::Mtype;

use super::attribute::domain_name;
use super::model::{Asked, Ioctls, Kind, Reported, Row, Side};
use crate::report::{Action, Report};
use crate::stdout::printable_line;

const ABSENT: &str = "not called";
/// What the stock run asked for, too.
const SAME: &str = "same";
/// Columns where there is no terminal.
pub(super) const WIDTH: u16 = 80;

/// How the table is to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Whether it goes to a terminal.
    pub(crate) terminal: bool,
    /// The columns to fit it to; of a terminal its own.
    pub(crate) width: u16,
    pub(crate) colour: bool,
}

/// The table as text, with a line feed at the end.
pub(crate) fn table(rows: &[Row], style: Style) -> String {
    let mut table = Table::new();
    table.load_style(if style.terminal {
        TableStyle::new().header_separator(LineStyle::none().fill('-').junction('-'))
    } else {
        presets::NOTHING
    });
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if !style.terminal {
        table.set_width(style.width);
    }
    if style.colour {
        table.enforce_styling();
    }
    if !style.terminal {
        table.force_no_tty();
    }
    let mut header = vec!["call", "stock", "interposed"];
    if rows.iter().any(|row| row.third.is_some()) {
        header.push("patched");
    }
    if rows.iter().any(|row| row.kernel.is_some()) {
        header.push("patched kernel");
    }
    let marked = rows.iter().any(patched_differs);
    if marked {
        header.push("");
    }
    table.set_header(header);
    for row in rows {
        let mut cells = [vec![printable_line(&row.call).into_owned()], cells(row)].concat();
        if marked {
            cells.push(if patched_differs(row) { "differs".into() } else { String::new() });
        }
        table.add_row(cells.into_iter().map(|text| {
            let cell = Cell::new(text);
            if row.changed && style.colour { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
    }
    let mut text = String::new();
    for line in table.lines() {
        // Without borders each line starts with a space of padding.
        let line = line.trim_end();
        let line = if style.terminal { line } else { line.strip_prefix(' ').unwrap_or(line) };
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn patched_differs(row: &Row) -> bool {
    row.third.as_ref().is_some_and(|third| third.patched_differs)
}

fn kernel_changed(row: &Row) -> bool {
    row.kernel.as_ref().is_some_and(|kernel| kernel.kernel_changed)
}

/// The sides of a row as text, which differ wherever the sides do. What is as in the stock run
/// is not written again.
fn cells(row: &Row) -> Vec<String> {
    let mut sides = vec![row.stock.as_ref(), row.interposed.as_ref()];
    sides.extend(row.third.iter().map(|third| third.patched.as_ref()));
    sides.extend(row.kernel.iter().map(|kernel| kernel.kernel_patched.as_ref()));
    let with_codes = codes_differ(&sides);
    let describe = |detailed| -> Vec<String> {
        let text = |side: Option<&Side>| match side {
            None => ABSENT.to_owned(),
            Some(Side::Ioctls(side)) => describe_ioctls(side, with_codes, detailed),
            Some(Side::Reported(side)) => describe_reported(side),
        };
        sides.iter().copied().map(text).collect()
    };
    let cells = describe(false);
    let hidden = row.changed && cells[0] == cells[1]
        || patched_differs(row) && Some(&cells[1]) == cells.get(2)
        || kernel_changed(row) && Some(&cells[0]) == cells.last();
    let mut cells = if hidden { describe(true) } else { cells };
    let third = row.third.iter().map(|third| row.changed || third.patched_differs);
    let kernel = row.kernel.iter().map(|kernel| kernel.kernel_changed);
    let differ = std::iter::once(row.changed).chain(third).chain(kernel);
    for (cell, _) in cells.iter_mut().skip(1).zip(differ).filter(|(_, differs)| !differs) {
        SAME.clone_into(cell);
    }
    cells
}

fn codes_differ(sides: &[Option<&Side>]) -> bool {
    let codes = |side: Option<&Side>| match side {
        Some(Side::Ioctls(side)) => Some(side.codes.clone()),
        _ => None,
    };
    let mut codes = sides.iter().copied().filter_map(codes);
    let first = codes.next();
    codes.any(|other| Some(other) != first)
}

fn describe_ioctls(side: &Ioctls, with_codes: bool, detailed: bool) -> String {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for (asked, amount) in &side.asked {
        *kinds.entry(describe_asked(asked, detailed)).or_default() += amount.count;
    }
    let kinds: Vec<String> = kinds.into_iter().map(|(kind, count)| kind + &times(count)).collect();
    let asked = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(" + ") };
    let mut codes: Vec<String> = Vec::new();
    for (code, count) in &side.codes {
        if with_codes || code != "0" {
            let often = side.codes.len() > 1 && *count == 1;
            let times = if often { " x1".into() } else { times(*count) };
            codes.push(format!("rc {code}{times}"));
        }
    }
    if codes.is_empty() { asked } else { format!("{}: {asked}", codes.join(", ")) }
}

/// How often, where it is not once.
fn times(count: u64) -> String {
    if count == 1 { String::new() } else { format!(" x{count}") }
}

fn describe_asked(asked: &Asked, detailed: bool) -> String {
    let coherence = if asked.coherent { "coherent" } else { "non-coherent" };
    let mut text = format!("{} {coherence}", domain_name(asked.domain));
    let kinds: BTreeSet<Mtype> = asked.mtype.values().copied().collect();
    if kinds.len() == 1 {
        text.extend(kinds.into_iter().flat_map(|mtype| [" ", mtype_name(mtype)]));
    } else {
        for (gpu, mtype) in &asked.mtype {
            let _ = write!(text, " {}/{gpu}", mtype_name(*mtype));
        }
    }
    if detailed {
        let _ = write!(text, " [{}]", asked.flags.join(" "));
    }
    text
}

const fn mtype_name(mtype: Mtype) -> &'static str {
    match mtype {
        Mtype::Nc => "NC",
        Mtype::Uc => "UC",
        Mtype::Cc => "CC",
        Mtype::Rw => "RW",
    }
}

fn describe_reported(side: &Reported) -> String {
    let parts: Vec<String> = side
        .calls
        .iter()
        .map(|call| {
            let action = match call.action {
                Action::Rewritten => "rewritten",
                Action::Forwarded => "as it came",
                Action::WouldRewrite => "as it came (dry run)",
            };
            let fell_back = match call.fell_back {
                0 => String::new(),
                count => format!(", {count} of them fell back"),
            };
            let (count, why, bytes) = (call.calls, &call.why, size(call.bytes));
            format!("{action} x{count}, {bytes}{fell_back}: {why}")
        })
        .collect();
    parts.join(" + ")
}

/// What the table comes to, a line for each thing.
pub(crate) fn summary(rows: &[Row], reports: &[Report]) -> String {
    let names = |kind| -> (usize, Vec<&str>) {
        let of_kind = || rows.iter().filter(move |row| row.kind == kind);
        let changed = of_kind().filter(|row| row.changed).map(|row| row.call.as_str()).collect();
        (of_kind().count(), changed)
    };
    let (calls, changed) = names(Kind::Call);
    let mut text = format!("{} of {calls} calls changed", changed.len());
    if !changed.is_empty() {
        let _ = write!(text, ": {}", changed.join(", "));
    }
    text.push('\n');
    let (runtime, changed) = names(Kind::Runtime);
    if runtime > 0 && changed.is_empty() {
        text.push_str("what the runtime allocates for itself: the same\n");
    } else if runtime > 0 {
        let _ =
            writeln!(text, "what the runtime allocates for itself differs: {}", changed.join(", "));
    }
    if rows.iter().any(|row| row.third.is_some()) {
        let differ: Vec<&str> =
            rows.iter().filter(|row| patched_differs(row)).map(|row| row.call.as_str()).collect();
        if differ.is_empty() {
            text.push_str("patched asked for the same as interposed in every row\n");
        } else {
            let _ = writeln!(
                text,
                "patched asked for something else than interposed in {} rows: {}",
                differ.len(),
                differ.join(", ")
            );
        }
    }
    if rows.iter().any(|row| row.kernel.is_some()) {
        let changed: Vec<&str> =
            rows.iter().filter(|row| kernel_changed(row)).map(|row| row.call.as_str()).collect();
        let _ = writeln!(
            text,
            "on the patched kernel {} of {} rows are different from stock{}",
            changed.len(),
            rows.len(),
            if changed.is_empty() { String::new() } else { format!(": {}", changed.join(", ")) }
        );
    }
    let calls = || reports.iter().flat_map(|report| &report.calls);
    let fell_back: u64 = calls().map(|call| call.fell_back).sum();
    if fell_back > 0 {
        let names: BTreeSet<&str> =
            calls().filter(|call| call.fell_back > 0).map(|call| call.api.as_str()).collect();
        let names = Vec::from_iter(names).join(", ");
        let _ =
            writeln!(text, "rewritten, refused and then repeated as it came: {names} x{fell_back}");
    }
    text
}

/// A size as people write it.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    // Only while nothing is lost.
    while value > 0 && value.is_multiple_of(1024) && unit + 1 < UNITS.len() {
        value /= 1024;
        unit += 1;
    }
    format!("{value} {}", UNITS[unit])
}
