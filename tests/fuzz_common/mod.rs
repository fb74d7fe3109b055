//! Running `tests/programs/fuzz_calls.cpp` stock and interposed, and what may differ between.

pub mod calls;
pub mod compare;
pub mod grain;
pub mod memory;
pub mod oracle;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use self::compare::{any_difference, difference};
use self::oracle::Setting;
use crate::common::parallel::each;
use crate::common::release::{Release, release};
use crate::common::{Ran, Run, compile};
use policy::Level;

/// Sequences of one process: starting one takes as long as a few hundred of them.
const PER_PROCESS: u64 = 50;

const fn setting(gpus: &'static str, level: Level) -> Setting {
    Setting { gpus, level, min_bytes: None, fine_pool: false, svm: true, refusing: false }
}

impl Setting {
    const fn with_fine_pool(self) -> Self {
        Self { fine_pool: true, ..self }
    }

    const fn with_minimum(self) -> Self {
        Self { min_bytes: Some(65536), ..self }
    }
}

/// The setting of a sequence is that of the place `seed % SETTINGS.len()`: its seed alone says
/// all about it.
pub const SETTINGS: [Setting; 19] = [
    setting("gfx906", Level::Standard),
    setting("gfx906", Level::Full).with_fine_pool(),
    setting("gfx1030", Level::Off).with_fine_pool(),
    setting("gfx1030,gfx906", Level::Off),
    setting("gfx1030", Level::Standard),
    setting("gfx1030", Level::Standard).with_minimum().with_fine_pool(),
    setting("gfx1030", Level::Mapped),
    setting("gfx1030", Level::Mapped).with_minimum(),
    setting("gfx1030", Level::Full).with_fine_pool(),
    setting("gfx1030", Level::Full).with_minimum(),
    Setting { svm: false, ..setting("gfx1030", Level::Full) },
    Setting { refusing: true, ..setting("gfx1030", Level::Full) },
    setting("gfx1030,gfx906", Level::Standard).with_fine_pool(),
    setting("gfx1030,gfx906", Level::Standard).with_minimum(),
    setting("gfx1030,gfx906", Level::Mapped),
    setting("gfx1030,gfx906", Level::Mapped).with_minimum(),
    setting("gfx1030,gfx906", Level::Full),
    setting("gfx1030,gfx906", Level::Full).with_minimum().with_fine_pool(),
    setting("gfx1010,gfx1030", Level::Full),
];

impl Setting {
    /// Whether every call is to be forwarded; this does not ask the policy.
    fn changes_nothing(&self) -> bool {
        self.level == Level::Off || !self.gpus.contains("gfx10")
    }

    fn run(&self, program: Run, rocm: Option<&Release>) -> Ran {
        let program = match rocm {
            Some(release) => program.inside(release),
            None => program,
        };
        let mut run = program
            .env("HSA_FORCE_FINE_GRAIN_PCIE", if self.fine_pool { "1" } else { "0" })
            .env("KFDSIM_SVM", if self.svm { "1" } else { "0" })
            .env("KFDSIM_DENY_NONCOHERENT", if self.refusing { "1" } else { "0" })
            .env("RDNAFIX_POLICY", self.level.name());
        if let Some(bytes) = self.min_bytes {
            run = run.env("RDNAFIX_MIN_BYTES", bytes.to_string());
        }
        let ran = run.on(self.gpus).go();
        let complete = ran.stdout().ends_with("DONE\n") && !ran.stderr().contains("rdnafix");
        assert!(
            ran.output.status.success() && complete,
            "{self:?}: {}, after\n{}\n--- stderr\n{}",
            ran.output.status,
            last_lines(ran.stdout(), 30),
            last_lines(ran.stderr(), 10)
        );
        ran
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The first seed and the number of sequences, of all settings together.
fn range() -> (u64, u64) {
    let number = |name: &str, otherwise| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")),
        Err(_) => otherwise,
    };
    (number("RDNAFIX_FUZZ_SEED", 1), number("RDNAFIX_FUZZ_SEQUENCES", 200))
}

/// The release that `scripts/soak.sh` was told, if any.
pub fn asked_for() -> Option<Release> {
    let name = std::env::var("RDNAFIX_FUZZ_RELEASE").ok()?;
    Some(release(&name).unwrap_or_else(|| panic!("ROCm {name} cannot be had here")))
}

/// Makes the sequences that have one of these settings, and asserts that they differ from stock
/// only where the policy says so. `rocm` is the root of a release; without it, this machine's.
pub fn fuzz(rocm: Option<&Release>, which: impl Fn(&Setting) -> bool) {
    let (first, count) = range();
    let stride = SETTINGS.len() as u64;
    for seed in first..(first + stride).min(first + count) {
        let setting = SETTINGS[(seed % stride) as usize];
        if !which(&setting) || setting.refusing && !starts_refused(rocm) {
            continue;
        }
        let mut seed = seed;
        while seed < first + count {
            let sequences = (first + count - seed).div_ceil(stride).min(PER_PROCESS);
            check(rocm, setting, seed, sequences);
            seed += sequences * stride;
        }
    }
}

/// Whether refusals can be compared: from 5.6 on ROCr itself goes another way where a range is
/// refused, and from 6.4 on HIP does not start without large non-coherent host memory. Says so
/// once for a release where they cannot.
fn starts_refused(rocm: Option<&Release>) -> bool {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let Some(name) = rocm.map(|release| &release.name) else { return true };
    if name == "5.2.3" {
        return true;
    }
    if SAID.lock().expect("nothing panics with it").insert(name.clone()) {
        println!("SKIPPED: fuzz on ROCm {name}: what a kernel refuses cannot be compared there");
    }
    false
}

/// Makes sequences of each setting with patched libraries: they differ from stock only where the
/// policy says so, and from interposed ones nowhere, nor does patched and interposed together.
pub fn fuzz_patched(rocm: &Release, libraries: &Path) {
    let (first, count) = range();
    let sequences = count.div_ceil(SETTINGS.len() as u64).max(1);
    let seeds: Vec<u64> = (first..first + SETTINGS.len() as u64).collect();
    each(&seeds, |&seed| {
        let setting = SETTINGS[(seed % SETTINGS.len() as u64) as usize];
        // Neither is a setting of the patches, or can be compared.
        if setting.min_bytes.is_some() || setting.refusing {
            return;
        }
        let program = sequences_of(Some(rocm), seed, sequences);
        let run = |run: Run| setting.run(run, Some(rocm));
        let stock = run(program());
        let interposed = run(program().interposed());
        let patched = run(program().with_libraries(libraries));
        let both = run(program().interposed().with_libraries(libraries));
        let found = [
            (
                "patched, beside stock",
                difference(setting, setting.changes_nothing(), &stock, &patched),
            ),
            ("patched, beside interposed", any_difference(setting, &interposed, &patched)),
            (
                "patched and interposed, beside interposed",
                any_difference(setting, &interposed, &both),
            ),
        ];
        for (what, found) in found {
            if let Some(found) = found {
                panic!(
                    "{what}: {setting:?}\n{}\n\nthese sequences again:\n  RDNAFIX_FUZZ_SEED={seed} \
                     RDNAFIX_FUZZ_SEQUENCES={count} cargo test --release --test differential patched\n",
                    found.text
                );
            }
        }
    });
    println!("MATRIX: fuzz, patched: {sequences} sequences in each setting");
}

/// A process that makes sequences, from a seed on.
fn sequences_of(rocm: Option<&Release>, seed: u64, sequences: u64) -> impl Fn() -> Run {
    const SOURCE: &str = "tests/programs/fuzz_calls.cpp";
    let libraries = ["-std=c++17", "-lamdhip64", "-lhsa-runtime64", "-ldl"];
    let program = match rocm {
        Some(release) => release.compile(SOURCE, "fuzz_calls", &libraries),
        None => compile(SOURCE, "fuzz_calls", &libraries),
    };
    move || {
        Run::new(&program)
            .args(["--seed", &seed.to_string()])
            .args(["--step", &SETTINGS.len().to_string()])
            .args(["--sequences", &sequences.to_string()])
    }
}

/// One process of each kind.
fn check(rocm: Option<&Release>, setting: Setting, seed: u64, sequences: u64) {
    let run = sequences_of(rocm, seed, sequences);
    let stock = setting.run(run(), rocm);
    let interposed = setting.run(run().interposed(), rocm);
    let strict = setting.changes_nothing();
    if let Some(found) = difference(setting, strict, &stock, &interposed) {
        let sequence = found.sequence.unwrap_or(seed);
        let name = rocm
            .map_or_else(String::new, |release| format!("RDNAFIX_FUZZ_RELEASE={} ", release.name));
        let command = |seed: u64, sequences: u64| {
            format!(
                "{name}RDNAFIX_FUZZ_SEED={seed} RDNAFIX_FUZZ_SEQUENCES={sequences} cargo test --release --test differential"
            )
        };
        panic!(
            "seed {sequence}, {setting:?}\n{}\n\nthis sequence alone:\n  {}\nafter those before it in its process:\n  {}\n",
            found.text,
            command(sequence, 1),
            command(seed, sequence - seed + 1)
        );
    }
}
