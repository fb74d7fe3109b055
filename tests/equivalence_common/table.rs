//! docs/equivalence.md: the central claim as a table, written from what was measured.

use std::fmt::Write as _;

use super::asked::Call;
use super::machine::{LEVELS, Machine, Seen};

/// A machine at each of [`LEVELS`].
pub struct Measured {
    pub machine: Machine,
    pub stock: Seen,
    /// Interposed, patched, both.
    pub levels: Vec<[Seen; 3]>,
}

impl Measured {
    /// The calls in which two runs asked for something else.
    pub fn differing<'a>(one: &'a Seen, other: &Seen) -> Vec<&'a str> {
        assert_eq!(one.asked.calls.len(), other.asked.calls.len(), "calls are missing");
        let pairs = one.asked.calls.iter().zip(&other.asked.calls);
        pairs.filter(|(one, other)| one != other).map(|(one, _)| &one.name[..]).collect()
    }
}

const BEGIN: &str = "\
# Patched equals interposed

A program asks the kernel for the same memory, whether `librdnafix.so` is preloaded or libamdhip64 and libhsa-runtime64
have the [source patches](patches.md): the same requests, flags and MTYPE in each call, at every level, and for what the
libraries allocate for themselves. **It is shown on the simulated GPU: what is asked of the kernel, nothing about what
hardware then does.**

`tests/equivalence.rs` measures it in every test run and compares this page; `scripts/golden.sh` writes it anew. The
stock libraries are Debian's packages of ROCm 6.4.3; the patched ones are built by `rdnafix build rocm` from the source of
the same release, which Debian's source packages have. For one program, `rdnafix compare --patched PREFIX -- PROGRAM`
shows the same.

## On each machine, at each level

The calls of `examples/alloc_probe.cpp`, each once. *changed*: the interposer made another request than stock. *differ*:
the patched libraries asked for something else than the interposer, or patched and interposed together did.

";

/// The page.
pub fn page(measured: &[Measured]) -> String {
    let mut page = BEGIN.to_owned();
    let _ = writeln!(
        page,
        "| machine | calls | {} |",
        LEVELS.map(|level| format!("`{level}`")).join(" | ")
    );
    let _ = writeln!(page, "| --- |{}", " --- |".repeat(LEVELS.len() + 1));
    for one in measured {
        let calls = one.stock.asked.calls.len();
        let at: Vec<String> = one.levels.iter().map(|seen| cell(&one.stock, seen)).collect();
        let _ = writeln!(page, "| {} | {calls} | {} |", one.machine.name(), at.join(" | "));
    }
    page.push_str(
        "\n`gfx1010 as 10.3.0` is a gfx1010 that `HSA_OVERRIDE_GFX_VERSION=10.3.0` gives another \
         name:\nwhat counts is the GPU that the kernel has.\n",
    );
    calls_of(&mut page, &measured[0]);
    page
}

fn cell(stock: &Seen, seen: &[Seen; 3]) -> String {
    let [interposed, patched, both] = seen;
    let changed = Measured::differing(stock, interposed).len();
    let mut differ = Measured::differing(interposed, patched);
    differ.extend(Measured::differing(interposed, both));
    format!("{changed} changed, {} differ", differ.len())
}

fn calls_of(page: &mut String, one: &Measured) {
    let _ = write!(
        page,
        "\n## Call by call on {}\n\nWhat each call asked for, stock, and from the level on that \
         changes it: interposed, patched, and both alike. Of two for one call, the first is a page \
         that is asked\nfor and given back, to learn whether the release takes the flags.\n\n| call | stock | | interposed and \
         patched |\n| --- | --- | --- | --- |\n",
        one.machine.name()
    );
    for (index, call) in one.stock.asked.calls.iter().enumerate() {
        let levels = LEVELS.iter().zip(&one.levels);
        let at = |seen: &[Seen; 3]| seen[1].asked.calls[index].clone();
        let first = levels.map(|(level, seen)| (level, at(seen))).find(|(_, now)| now != call);
        let (level, now) = match &first {
            Some((level, now)) if words(now) == words(call) => {
                (format!("`{level}`"), format!("{}, asked for in another way", words(now)))
            }
            Some((level, now)) => (format!("`{level}`"), words(now)),
            None => (String::new(), "the same".to_owned()),
        };
        let _ = writeln!(page, "| {} | {} | {level} | {now} |", call.name, words(call));
    }
}

/// `USERPTR non-coherent NC`
fn words(call: &Call) -> String {
    let mut parts: Vec<String> = Vec::new();
    for memory in call.requests.iter().flat_map(|request| &request.memory) {
        // One GPU: its name says nothing.
        let part = memory.replace("gfx1030#0=", "");
        // A range that a second request changes is what the second one made it.
        if part.starts_with("SVM") {
            parts.retain(|part| !part.starts_with("SVM"));
        }
        parts.push(part);
    }
    let code = if call.code == "0" { String::new() } else { format!("returns {}: ", call.code) };
    let asked = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
    format!("{code}{asked}")
}
