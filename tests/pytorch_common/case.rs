//! The cases of the table: what the user has set, and what PyTorch's allocator then does.

use super::{Built, Variant, Version, lines};

/// The steps of `tests/programs/pytorch_alloc.cpp` that show what the allocator does.
const SHOWS: [&str; 4] = ["settings", "limit=0", "collect=0", "split"];

/// What is set for a run.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub variant: Variant,
    pub gpus: &'static str,
    pub set: Set,
    pub is: Is,
}

/// What the user sets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Set {
    Nothing,
    /// `PYTORCH_HIP_ALLOC_CONF`
    Environment(&'static str),
    /// The runtime setter, after the start.
    Later(&'static str),
    /// The runtime setter with something that is none of these settings.
    LaterOther,
    /// The environment, and then the runtime setter with something else.
    EnvironmentThenOther(&'static str),
    /// `torch.cuda.set_per_process_memory_fraction`
    Fraction(&'static str),
    OptOut,
}

/// What the allocator then goes by: None is the default of PyTorch.
#[derive(Clone, Copy, Debug)]
pub struct Is {
    /// In MB.
    pub split: Option<u32>,
    pub threshold: Option<f64>,
    /// Of each device.
    pub fraction: &'static [f64],
}

/// What was seen.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    /// As the allocator tells it; "-" where it does not.
    pub split: String,
    pub threshold: String,
    pub fraction: String,
    /// Whether 850/1024 of the memory are to be had.
    pub limit: String,
    /// 1024ths of the memory that are reserved after 640 were cached and 100 asked for.
    pub collect: String,
    /// MiB that are reserved after 256 were cached in one block and 100 asked for.
    pub reserved: String,
}

impl Case {
    pub fn run(&self, built: &Built) -> Seen {
        let other = format!("set={}", built.version.other_setting);
        let mut run = built.run(self.variant, self.gpus);
        match self.set {
            Set::Nothing => {}
            Set::OptOut => run = run.env("PYTORCH_RDNA_ALLOC_DEFAULTS", "0"),
            Set::Environment(text) => run = run.env("PYTORCH_HIP_ALLOC_CONF", text),
            Set::EnvironmentThenOther(text) => {
                run = run.env("PYTORCH_HIP_ALLOC_CONF", text).arg(&other);
            }
            Set::Later(text) => run = run.arg(format!("set={text}")),
            Set::LaterOther => run = run.arg(&other),
            Set::Fraction(value) => run = run.arg(format!("fraction={value}")),
        }
        let lines = lines(run.args(SHOWS));
        let line = |name: &str| {
            let found = lines.iter().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            found.unwrap_or_else(|| panic!("no {name} in {lines:?}")).to_owned()
        };
        let settings = line("settings");
        let part = |name: &str| {
            let found = settings.split(", ").find_map(|part| part.strip_prefix(name));
            found.map_or_else(|| "-".to_owned(), |value| value.trim().to_owned())
        };
        Seen {
            split: part("split"),
            threshold: part("threshold"),
            fraction: part("fraction"),
            limit: line("limit"),
            collect: line("collect"),
            reserved: line("split"),
        }
    }

    /// What the allocator does by these settings, from what they mean (facts of PyTorch's
    /// allocator: CUDACachingAllocator.cpp).
    pub fn expected(&self, version: Version, gib: f64) -> Seen {
        let Is { split, threshold, fraction } = self.is;
        let tells = version.name != "1.13.1";
        let told = |text: String| if tells { text } else { "-".to_owned() };
        // 1.13 tells what it was at the start.
        let at_start = match self.set {
            Set::Later(_) | Set::LaterOther if !tells => {
                if self.variant == Variant::Patched {
                    Some(128)
                } else {
                    None
                }
            }
            Set::EnvironmentThenOther(_) if !tells => Some(128),
            _ => split,
        };
        let limit = if fraction[0] * 1024.0 >= 850.0 {
            "ok".to_owned()
        } else {
            format!("out of memory, {:.2} GiB allowed", fraction[0] * gib)
        };
        // A block of at least the split size serves no smaller request. Cached blocks are freed
        // above the threshold, which a fraction has to be set for.
        let has_fraction = fraction[0] < 1.0 || matches!(self.set, Set::Fraction(_));
        let splits = split.is_none();
        let collects = threshold
            .filter(|_| has_fraction)
            .is_some_and(|threshold| 640.0 > threshold * fraction[0] * 1024.0);
        let collect = match (splits, collects) {
            (true, _) => 640,
            (false, true) => 100,
            (false, false) => 740,
        };
        let reserved = if split.is_some_and(|split| split <= 256) { 356 } else { 256 };
        Seen {
            split: at_start.map_or("none".to_owned(), |split| format!("{split} MB")),
            threshold: told(threshold.unwrap_or(0.0).to_string()),
            fraction: told(
                fraction.iter().map(|one| format!("{one:.2}")).collect::<Vec<_>>().join(" "),
            ),
            limit,
            collect: format!("640 -> {collect}"),
            reserved: format!("{reserved} MiB"),
        }
    }

    /// In words, for the table.
    pub fn name(&self, version: Version) -> String {
        let variant = self.variant.directory();
        let set = match self.set {
            Set::Nothing => return format!("{variant}, {}", self.gpus),
            Set::Environment(text) => format!("environment `{text}`"),
            Set::Later(text) => format!("later `{text}`"),
            Set::LaterOther => format!("later `{}`", version.other_setting),
            Set::EnvironmentThenOther(text) => {
                format!("environment `{text}`, later `{}`", version.other_setting)
            }
            Set::Fraction(value) => format!("later `set_per_process_memory_fraction({value})`"),
            Set::OptOut => "`PYTORCH_RDNA_ALLOC_DEFAULTS=0`".to_owned(),
        };
        format!("{variant}, {}, {set}", self.gpus)
    }
}
