//! What people read: findings and explanations, wrapped and aligned.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use super::Summary;
use super::explain::Explained;
use super::facts::{Gpu, Machine, Read};
use super::rules::Finding;
use super::table::{Helps, Severity};
use crate::stdout::colour;
use crate::stdout::printable_line;

/// How the text is to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) colour: bool,
    /// Columns.
    pub(crate) width: usize,
}

/// Wider lines are hard to read.
const WIDEST: usize = 80;
const NARROWEST: usize = 40;

impl Style {
    /// For stdout.
    pub(crate) fn stdout() -> Self {
        let stdout = std::io::stdout();
        let columns = if stdout.is_terminal() { columns() } else { None };
        Self { colour: colour(&stdout), width: columns.unwrap_or(WIDEST).clamp(NARROWEST, WIDEST) }
    }

    fn paint(self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Error => "31",
            Severity::Warning => "33",
            Severity::Note => "36",
        };
        if self.colour { format!("\x1b[1;{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn columns() -> Option<usize> {
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))
}

/// Columns before the texts.
const LABEL: usize = 10;

/// Writes blocks of `label  text`.
struct Page {
    text: String,
    style: Style,
}

impl Page {
    /// A text, wrapped.
    fn block(&mut self, label: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        // Values of files and variables are in these texts.
        let text = &printable_line(text);
        let width = self.style.width.saturating_sub(LABEL);
        let options = textwrap::Options::new(width)
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation)
            .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit);
        for (index, line) in textwrap::wrap(text, options).iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            let _ = writeln!(self.text, "{}", format!("{label:LABEL$}{line}").trim_end());
        }
    }

    /// Commands, each on a line of its own however long it is, to be copied.
    fn commands(&mut self, label: &str, commands: &[String]) {
        for (index, command) in commands.iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            let _ = writeln!(self.text, "{label:LABEL$}$ {}", printable_line(command));
        }
    }

    fn evidence(&mut self, evidence: &[Read]) {
        for (index, read) in evidence.iter().enumerate() {
            let label = if index == 0 { "  found" } else { "" };
            let line = format!("{} ({})", read.value, read.from);
            if line.chars().count() + LABEL <= self.style.width {
                self.block(label, &line);
            } else {
                self.block(label, &read.value);
                self.block("", &format!("({})", read.from));
            }
        }
    }

    fn heading(&mut self, severity: Severity, title: &str, id: &str) {
        let name = self.style.paint(severity, severity.name());
        let title = self.style.bold(title);
        let _ = writeln!(self.text, "\n{name}: {title}");
        self.block("  id", id);
    }

    fn rest(&mut self, texts: &Texts<'_>) {
        self.block("  why", texts.why);
        if texts.fix.is_empty() {
            self.block("  fix", texts.advice);
        } else {
            self.commands("  fix", texts.fix);
            self.block("", texts.advice);
        }
        self.commands("  verify", texts.verify);
        self.block("  rdnafix", &format!("{}. {}", texts.rdnafix.name(), texts.help));
        for (index, source) in texts.sources.iter().enumerate() {
            let label = if index == 0 { "  source" } else { "" };
            let _ = writeln!(self.text, "{label:LABEL$}{source}");
        }
    }
}

/// What findings and explanations have in common.
struct Texts<'a> {
    why: &'a str,
    advice: &'a str,
    fix: &'a [String],
    verify: &'a [String],
    rdnafix: Helps,
    help: &'a str,
    sources: &'a [String],
}

/// The report of `rdnafix doctor`.
pub(crate) fn report(
    machine: &Machine,
    findings: &[Finding],
    summary: Summary,
    style: Style,
) -> String {
    let mut page = Page { text: String::new(), style };
    overview(&mut page, machine);
    for finding in findings {
        page.heading(finding.severity, finding.title, finding.id);
        page.block("  what", &finding.what);
        page.evidence(&finding.evidence);
        page.rest(&Texts {
            why: finding.why,
            advice: finding.advice,
            fix: &finding.fix,
            verify: &finding.verify,
            rdnafix: finding.rdnafix,
            help: finding.help,
            sources: &finding.sources,
        });
    }
    let Summary { errors, warnings, notes } = summary;
    let _ = writeln!(
        page.text,
        "\n{}, {}, {}. Nothing was changed.",
        many(errors, "error"),
        many(warnings, "warning"),
        many(notes, "note"),
    );
    page.text
}

fn many(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

fn overview(page: &mut Page, machine: &Machine) {
    if machine.simulated {
        page.block("simulated", "the GPUs are libkfdsim.so's; the rest is this machine's");
    }
    for gpu in &machine.gpus {
        page.block(&format!("GPU {}", gpu.node), &describe(gpu));
    }
    for display in machine.displays.iter().filter(|display| !display.in_kfd) {
        let target = display.target.unwrap_or("not RDNA1 or RDNA2");
        let text =
            format!("{target}, 1002:{:04x} at {}, not in KFD", display.device_id, display.pci);
        page.block("PCI", &text);
    }
    if machine.gpus.is_empty() && machine.displays.is_empty() {
        page.block("GPU", "none of AMD's");
    }
    let kernel = &machine.kernel;
    if let Some(release) = &kernel.release {
        let module = match (&kernel.module_version, &kernel.module) {
            (Some(version), _) => format!(", amdgpu {} (DKMS)", version.value),
            (None, Some(_)) => ", amdgpu loaded".to_owned(),
            (None, None) => String::new(),
        };
        page.block("kernel", &format!("{}{module}", release.value));
    }
    for library in &machine.libraries {
        let release = library.release.as_ref().map(|read| format!("ROCm {}: ", read.value));
        page.block("library", &format!("{}{}", release.unwrap_or_default(), library.path));
    }
    for torch in &machine.torch {
        let version = torch.version.as_ref().map_or("?", |read| &read.value);
        let targets = torch
            .targets
            .as_ref()
            .map_or_else(String::new, |targets| format!(", for {}", targets.value.join(" ")));
        page.block("PyTorch", &format!("{version}{targets}: {}", torch.directory));
    }
    for blas in &machine.blas {
        page.block("rocBLAS", &format!("for {}: {}", blas.targets.join(" "), blas.directory));
    }
    if let Some(container) = &machine.container {
        page.block("container", &format!("{} ({})", container.value, container.from));
    }
}

fn describe(gpu: &Gpu) -> String {
    let mut parts = vec![gpu.called().to_owned()];
    parts.extend(gpu.name.clone());
    parts.push(format!("1002:{:04x} at {}", gpu.device_id, gpu.pci));
    if gpu.vram > 0 {
        parts.push(format!("{} VRAM", mebibytes(gpu.vram)));
    }
    if let Some(visible) = gpu.visible {
        parts.push(format!("BAR {}", mebibytes(visible)));
    }
    if let Some(link) = gpu.link.as_ref().filter(|_| !gpu.is_apu()) {
        parts.push(if link.atomics { "PCIe atomics" } else { "no PCIe atomics" }.to_owned());
    }
    parts.push(format!(
        "firmware {} (MEC), {} (SDMA)",
        gpu.firmware_version, gpu.sdma_firmware_version
    ));
    parts.join(", ")
}

fn mebibytes(bytes: u64) -> String {
    if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) {
        format!("{} GiB", bytes >> 30)
    } else {
        format!("{} MiB", bytes >> 20)
    }
}

/// The answer of `rdnafix explain`.
pub(crate) fn explanation(explained: &Explained, style: Style) -> String {
    let mut page = Page { text: String::new(), style };
    if explained.symptoms.is_empty() {
        let lines = usize::try_from(explained.lines).unwrap_or(usize::MAX);
        let _ = writeln!(page.text, "Nothing known in {}.\n", many(lines, "line"));
        page.block(
            "try",
            "the program's whole stderr, with AMD_LOG_LEVEL=3, and the kernel's log:",
        );
        let tries = [
            "AMD_LOG_LEVEL=3 PROGRAM 2>&1 | rdnafix explain",
            "sudo dmesg | rdnafix explain",
            "rdnafix doctor",
        ];
        page.commands("", &tries.map(str::to_owned));
        page.block(
            "report",
            "A message that belongs here and is not known: open an issue of rdnafix with the \
             text and a dump of the machine. A fault of ROCm itself belongs to ROCm, one of \
             the kernel to amdgpu:",
        );
        page.commands("", &["rdnafix doctor --dump machine.tar.gz".to_owned()]);
        for address in [
            "https://github.com/ROCm/TheRock/issues",
            "https://gitlab.freedesktop.org/drm/amd/-/issues",
        ] {
            let _ = writeln!(page.text, "{:LABEL$}{address}", "");
        }
        return page.text;
    }
    for symptom in &explained.symptoms {
        page.heading(symptom.severity, symptom.title, symptom.id);
        let more =
            if symptom.count > 1 { format!(", {} in all", symptom.count) } else { String::new() };
        page.block("  message", &symptom.text);
        page.block("", &format!("(line {}{more})", symptom.line));
        page.rest(&Texts {
            why: symptom.why,
            advice: symptom.advice,
            fix: &symptom.fix,
            verify: &symptom.verify,
            rdnafix: symptom.rdnafix,
            help: symptom.help,
            sources: &symptom.sources,
        });
    }
    page.text.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(width: usize) -> Page {
        Page { text: String::new(), style: Style { colour: false, width } }
    }

    #[test]
    fn a_text_is_wrapped_below_its_label_and_a_long_word_stays_whole() {
        let mut page = page(40);
        page.block("  why", "one two three four five six seven eight nine");
        page.block("", "/sys/class/kfd/kfd/topology/nodes/1/properties");
        page.block("  none", "");
        assert_eq!(
            page.text,
            "  why     one two three four five six\n          seven eight nine\n          \
             /sys/class/kfd/kfd/topology/nodes/1/properties\n"
        );
    }

    #[test]
    fn a_command_is_never_wrapped() {
        let mut page = page(40);
        let long = "sudo dmesg | grep -iE 'amdgpu|kfd' | tail -n 100".to_owned();
        page.commands("  fix", &[long.clone(), "true".to_owned()]);
        assert_eq!(page.text, format!("  fix     $ {long}\n          $ true\n"));
    }

    #[test]
    fn colour_is_for_the_severity_and_the_title_alone_and_only_if_wanted() {
        for colour in [false, true] {
            let mut page = Page { text: String::new(), style: Style { colour, width: 80 } };
            page.heading(Severity::Error, "title", "id");
            assert_eq!(page.text.matches("\x1b[").count(), if colour { 4 } else { 0 });
        }
    }

    #[test]
    fn sizes_are_exact() {
        assert_eq!(mebibytes(12 << 30), "12 GiB");
        assert_eq!(mebibytes(256 << 20), "256 MiB");
        assert_eq!(mebibytes((16 << 30) - (16 << 20)), "16368 MiB");
        assert_eq!((many(1, "note"), many(0, "note")), ("1 note".into(), "0 notes".into()));
    }
}
