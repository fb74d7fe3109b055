//! A report for people, at most 80 columns wide. It shows what the report has and judges nothing.

use std::fmt::Write as _;

use super::model::{Cell, Gpu, Kind, Memory, Outcome, Report, Row, Side, cells};
use crate::stdout::printable_line;

/// Columns.
const WIDTH: usize = 80;

/// Where a report was made up, what shows it says so.
pub(crate) const SYNTHETIC: &str = "SYNTHETIC: made for a test, not measured";

/// The whole report.
pub(crate) fn text(report: &Report, colour: bool) -> String {
    let mut page = Page { text: String::new(), colour };
    if report.synthetic {
        page.line(SYNTHETIC);
    }
    page.machine(report);
    if report.launch_only {
        page.wrapped("", "LAUNCH ONLY: kernels were launched, and no result was read");
    }
    if let Some(why) = &report.not_measured {
        page.wrapped("not measured: ", why);
    }
    if report.kind == Kind::Probe {
        page.risks(report);
    }
    if !report.rows.is_empty() {
        match report.kind {
            Kind::Probe => page.matrices(report),
            Kind::Bench => page.bandwidths(report),
        }
        page.allocations(&report.rows);
        page.notes(&report.rows);
    }
    if !report.meaning.is_empty() {
        page.line("");
        for meaning in &report.meaning {
            page.wrapped("- ", meaning);
        }
    }
    if report.synthetic {
        page.line(SYNTHETIC);
    }
    page.text
}

struct Page {
    text: String,
    colour: bool,
}

/// How bad what a cell has is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Plain,
    Bad,
}

impl Page {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{}", line.trim_end());
    }

    /// A paragraph; lines after the first are indented by the width of its label.
    fn wrapped(&mut self, label: &str, text: &str) {
        let indent = " ".repeat(label.len());
        let options = textwrap::Options::new(WIDTH)
            .initial_indent(label)
            .subsequent_indent(&indent)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        self.text.push_str(&textwrap::fill(&printable_line(text), options));
        self.text.push('\n');
    }

    fn machine(&mut self, report: &Report) {
        let machine = &report.machine;
        let simulated = if machine.simulated { "simulated GPU: " } else { "GPU: " };
        let gpu = machine.gpu.as_ref().map_or_else(|| "none".to_owned(), describe_gpu);
        self.wrapped(simulated, &gpu);
        if let Some(gpu) = &machine.gpu {
            self.wrapped("slot: ", &describe_slot(gpu));
        }
        let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "not known".into());
        self.wrapped(
            "versions: ",
            &format!(
                "rdnafix {}, policy {}; HIP {}; Linux {}",
                report.rdnafix,
                report.policy,
                known(&machine.hip),
                known(&machine.kernel)
            ),
        );
        if !machine.environment.is_empty() {
            let all: Vec<String> =
                machine.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
            self.wrapped("environment: ", &all.join(" "));
        }
    }

    fn risks(&mut self, report: &Report) {
        if report.risks.is_empty() {
            return;
        }
        self.line("");
        self.line(&format!("{:13} {:11} {:18} why", "at risk", "stock", "with librdnafix.so"));
        for risk in &report.risks {
            let word = |risk: Option<bool>| match risk {
                Some(true) => "AT RISK",
                Some(false) => "no",
                None => "unknown",
            };
            let label = format!(
                "{:13} {:11} {:18} ",
                risk.memory.name(),
                word(risk.stock),
                word(risk.interposed)
            );
            self.wrapped(&label, &risk.why);
        }
    }

    fn matrices(&mut self, report: &Report) {
        type Pick = fn(&Row) -> &Side;
        let sides: [(&str, Pick); 2] =
            [("stock", |row| &row.stock), ("with librdnafix.so", |row| &row.interposed)];
        for (title, side) in sides {
            self.line("");
            let mut head = format!("{:10}", "");
            for row in &report.rows {
                let _ = write!(head, " {:>w$}", short(row.memory), w = width(row.memory));
            }
            let what = if report.launch_only { "" } else { ", wrong elements" };
            self.line(&format!("{title}{what}:"));
            self.line(&head);
            for name in cells(Kind::Probe) {
                let mut line = format!("{name:10}");
                for row in &report.rows {
                    self.put(&mut line, cell(side(row), name), width(row.memory));
                }
                self.line(&line);
            }
        }
    }

    fn bandwidths(&mut self, report: &Report) {
        const COLUMN: usize = 10;
        let patterns = cells(Kind::Bench);
        self.line("");
        self.line(if report.launch_only { "launched:" } else { "GB/s:" });
        let (mut names, mut runs) = (format!("{:13}", ""), format!("{:13}", ""));
        for pattern in &patterns {
            let _ = write!(names, " {pattern:>w$}", w = 2 * COLUMN + 1);
            let _ = write!(runs, " {:>COLUMN$} {:>COLUMN$}", "stock", "rdnafix");
        }
        self.line(&names);
        self.line(&runs);
        for row in &report.rows {
            let mut line = format!("{:13}", row.memory.name());
            for pattern in &patterns {
                self.put(&mut line, cell(&row.stock, pattern), COLUMN);
                self.put(&mut line, cell(&row.interposed, pattern), COLUMN);
            }
            self.line(&line);
        }
    }

    fn put(&self, line: &mut String, cell: Option<&Cell>, width: usize) {
        let (word, look) = cell.map_or(("-".to_owned(), Look::Plain), |cell| word(&cell.outcome));
        let padded = format!(" {word:>width$}");
        if self.colour && look == Look::Bad {
            let _ = write!(line, "\x1b[1;31m{padded}\x1b[0m");
        } else {
            line.push_str(&padded);
        }
    }

    fn allocations(&mut self, rows: &[Row]) {
        let said: Vec<_> = rows
            .iter()
            .filter_map(|row| Some((row.memory, row.interposed.allocation.as_ref()?)))
            .collect();
        if said.is_empty() {
            return;
        }
        self.line("");
        self.line("what librdnafix.so did with the allocation:");
        for (memory, text) in said {
            self.wrapped(&format!("{:13} ", memory.name()), text);
        }
    }

    /// Why cells have no result, and those whose two numbers differ.
    fn notes(&mut self, rows: &[Row]) {
        let mut notes: Vec<(String, Vec<&str>)> = Vec::new();
        for row in rows {
            for (run, side) in [("stock", &row.stock), ("with librdnafix.so", &row.interposed)] {
                for cell in &side.cells {
                    let Some(why) = note(&cell.outcome) else { continue };
                    let text = format!("{}, {run}: {why}", row.memory.name());
                    match notes.iter_mut().find(|(known, _)| *known == text) {
                        Some((_, names)) => names.push(&cell.name),
                        None => notes.push((text, vec![&cell.name])),
                    }
                }
            }
        }
        if notes.is_empty() {
            return;
        }
        self.line("");
        for (text, names) in notes {
            self.wrapped("- ", &format!("{text} ({})", names.join(", ")));
        }
    }
}

fn describe_gpu(gpu: &Gpu) -> String {
    let mut text = gpu.target.clone().unwrap_or_else(|| "of unknown target".into());
    if let Some(name) = &gpu.name {
        let _ = write!(text, ", {name}");
    }
    if let Some(id) = gpu.device_id {
        let _ = write!(text, ", device {id:#06x}");
    }
    if let Some(firmware) = gpu.firmware_version {
        let _ = write!(text, ", firmware {firmware}");
    }
    text
}

fn describe_slot(gpu: &Gpu) -> String {
    let atomics = match (gpu.apu, gpu.pcie_atomics) {
        (true, _) => "an APU, which shares memory with the CPU",
        (false, Some(true)) => "PCIe atomics",
        (false, Some(false)) => "no PCIe atomics",
        (false, None) => "not known whether there are PCIe atomics",
    };
    let flags = gpu.link_flags.map_or_else(String::new, |flags| format!(" (link flags {flags})"));
    let svm = match gpu.svm {
        Some(true) => "",
        Some(false) => "; the kernel has no SVM API",
        None => "; not known whether the kernel has the SVM API",
    };
    format!("{}, {atomics}{flags}{svm}", gpu.pci)
}

const fn short(memory: Memory) -> &'static str {
    match memory {
        Memory::Default => "default",
        other => other.name(),
    }
}

fn width(memory: Memory) -> usize {
    short(memory).len().max(8)
}

fn cell<'a>(side: &'a Side, name: &str) -> Option<&'a Cell> {
    side.cells.iter().find(|cell| cell.name == name)
}

fn word(outcome: &Outcome) -> (String, Look) {
    let (word, look) = match outcome {
        Outcome::Compared { wrong, wrong_returning, .. } => {
            let most = *wrong.max(wrong_returning);
            return (most.to_string(), if most == 0 { Look::Plain } else { Look::Bad });
        }
        Outcome::Bandwidth { gb_per_s, .. } => return (figure(*gb_per_s), Look::Plain),
        Outcome::Accepted => ("accepted", Look::Plain),
        Outcome::Failed { .. } => ("failed", Look::Bad),
        Outcome::TimedOut { .. } => ("timeout", Look::Bad),
        Outcome::Crashed { .. } => ("crashed", Look::Bad),
        Outcome::NotRun { .. } => ("not run", Look::Bad),
    };
    (word.to_owned(), look)
}

/// Three significant digits, or the whole number where it has more.
pub(crate) fn figure(value: f64) -> String {
    // As rounded: 9.999 is 10.0.
    let exponent = format!("{value:.2e}");
    let power = exponent.rsplit('e').next().and_then(|power| power.parse::<i32>().ok());
    match power {
        _ if value == 0.0 => "0".to_owned(),
        Some(power @ -4..=8) => format!("{value:.*}", usize::try_from(2 - power).unwrap_or(0)),
        _ => exponent,
    }
}

fn note(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Compared { wrong, wrong_returning, .. } if wrong != wrong_returning => {
            Some(format!("{wrong} wrong without the old value used, {wrong_returning} with it"))
        }
        Outcome::Failed { why } => Some(format!("failed: {why}")),
        Outcome::TimedOut { seconds } => Some(format!("did not end in {seconds} s")),
        Outcome::Crashed { how } => Some(format!("crashed: the process was {how}")),
        Outcome::NotRun { why } => Some(format!("not run: {why}")),
        Outcome::Compared { .. } | Outcome::Bandwidth { .. } | Outcome::Accepted => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Machine, SCHEMA};
    use super::*;

    #[test]
    fn a_figure_has_three_significant_digits() {
        for (value, shown) in [
            (0.0, "0"),
            (0.000_000_012_34, "1.23e-8"),
            (0.000_123_4, "0.000123"),
            (0.05, "0.0500"),
            (0.9996, "1.00"),
            (9.999, "10.0"),
            (99.96, "100"),
            (134.2, "134"),
            (12_345.7, "12346"),
            (1e12, "1.00e12"),
        ] {
            assert_eq!(figure(value), shown);
            assert!(shown.len() <= 10);
        }
    }

    #[test]
    fn what_is_wrong_is_coloured_on_a_terminal_and_nothing_else() {
        let cells = |outcome: Outcome| vec![Cell { name: "add".to_owned(), outcome }];
        let compared = |wrong| Outcome::Compared { elements: 9, wrong, wrong_returning: 0 };
        let side = |wrong| Side { allocation: None, cells: cells(compared(wrong)) };
        let report = Report {
            schema: SCHEMA.to_owned(),
            kind: Kind::Probe,
            synthetic: true,
            rdnafix: "0".to_owned(),
            policy: "standard".to_owned(),
            machine: Machine::default(),
            not_measured: None,
            launch_only: false,
            risks: Vec::new(),
            rows: vec![Row { memory: Memory::Vram, stock: side(5), interposed: side(0) }],
            meaning: Vec::new(),
        };
        let coloured = text(&report, true);
        assert_eq!(coloured.matches("\x1b[1;31m        5\x1b[0m").count(), 1, "{coloured:?}");
        assert_eq!(coloured.matches('\x1b').count(), 2, "{coloured:?}");
        let plain = text(&report, false);
        assert_eq!(coloured.replace("\x1b[1;31m", "").replace("\x1b[0m", ""), plain);
    }
}
