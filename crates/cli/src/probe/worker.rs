//! The child process that measures one kind of memory. It says each result on a line of its own
//! as soon as it has it, as it may crash or hang at the next one.

use std::ffi::c_int;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use policy::host_malloc;
use serde::{Deserialize, Serialize};

use super::atomics::{ELEMENTS, Operation, scatter};
use super::bench::{self, BLOCKS, Pattern, SUMS};
use super::hip::{Handle, Hip, THREADS};
use super::model::{Cell, Kind, Memory, Outcome};
use super::presence;
use crate::stdout::print;

/// What a child is to do; on its command line, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    /// librdnafix.so, and whether it is to be in this process.
    pub(crate) library: PathBuf,
    pub(crate) interposed: bool,
    /// Without one, only which device this is is said.
    pub(crate) memory: Option<Memory>,
    pub(crate) cells: Vec<String>,
    /// Only compile.
    pub(crate) compile: bool,
    /// gfx target to compile for; without one, hiprtc asks the device.
    pub(crate) target: Option<String>,
    /// The code object: written after compiling, read before measuring.
    pub(crate) code: Option<PathBuf>,
    pub(crate) device: u32,
    pub(crate) launch_only: bool,
    /// Where libamdhip64 is.
    pub(crate) rocm: Option<PathBuf>,
}

/// A line of a child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    Device {
        hip: String,
        pci: String,
        name: String,
    },
    /// HIP answers; before the device is asked for.
    Hip(String),
    /// Where librdnafix.so is mapped from, if it is; once HIP has opened what it opens.
    Library(Option<PathBuf>),
    /// Bytes of a code object.
    Compiled {
        bytes: usize,
    },
    /// What is begun, to be named where the process ends in it.
    Begin(String),
    Cell(Cell),
    /// Nothing further can be done.
    Fatal(String),
}

fn say(line: &Line) -> Result<()> {
    print(&format!("{}\n", serde_json::to_string(line)?))
}

/// Does it.
///
/// # Errors
/// Where nothing can be said any more.
pub(crate) fn work(request: &str) -> Result<ExitCode> {
    let request: Request =
        serde_json::from_str(request).context("--worker is for rdnafix itself")?;
    match measure(&request) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            say(&Line::Fatal(explain(&error)))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Whether libkfdsim.so is in this process, whatever its file is called.
pub(crate) fn simulated() -> bool {
    let this = libloading::os::unix::Library::this();
    // SAFETY: only whether the name is there is asked.
    unsafe { this.get::<Handle>("kfdsim_mark") }.is_ok()
}

fn measure(request: &Request) -> Result<()> {
    let hip = Hip::open(request.rocm.as_deref())?;
    say(&Line::Hip(hip.version()))?;
    if request.compile {
        let code = hip.compile(request.target.as_deref())?;
        if let Some(file) = &request.code {
            std::fs::write(file, &code).context("cannot keep the code object")?;
        }
        return say(&Line::Compiled { bytes: code.len() });
    }
    let index = c_int::try_from(request.device).context("--device")?;
    let (pci, name) = hip.device(index)?;
    // HIP has started ROCr by now, which opens what HSA_TOOLS_LIB names.
    let found = presence::mapped(&request.library)?;
    say(&Line::Library(found.clone()))?;
    presence::check(&request.library, request.interposed, found.as_deref())?;
    say(&Line::Device { hip: hip.version(), pci, name })?;
    let Some(memory) = request.memory else { return Ok(()) };
    if simulated() && !request.launch_only {
        bail!("kernels are not executed on the simulated GPU: there is no result to read");
    }
    say(&Line::Begin("loading".into()))?;
    let code = request.code.as_ref().context("no code object is named")?;
    let code = std::fs::read(code).context("cannot read the code object")?;
    let module = hip.load(&code)?;
    say(&Line::Begin("allocation".into()))?;
    let elements = match request.kind {
        Kind::Probe => ELEMENTS,
        Kind::Bench => bench::ELEMENTS,
    };
    let tested = Tested::new(&hip, memory, elements as usize)?;
    let data: Vec<u32> = match request.kind {
        Kind::Probe => Vec::new(),
        Kind::Bench => (0..elements).map(|index| scatter(!index)).collect(),
    };
    tested.write(&hip, &data)?;
    for name in &request.cells {
        say(&Line::Begin(name.clone()))?;
        let outcome = match request.kind {
            Kind::Probe => atomic(&hip, module, &tested, name, request.launch_only),
            Kind::Bench => bandwidth(&hip, module, &tested, name, &data, request.launch_only),
        };
        let outcome = outcome.unwrap_or_else(|error| Outcome::Failed { why: explain(&error) });
        say(&Line::Cell(Cell { name: name.clone(), outcome }))?;
    }
    Ok(())
}

/// The memory under test.
struct Tested {
    device: Handle,
    /// `None` for VRAM, which is copied.
    host: Option<Handle>,
    elements: usize,
}

impl Tested {
    fn new(hip: &Hip, memory: Memory, elements: usize) -> Result<Self> {
        let bytes = elements * size_of::<u32>();
        let flags = match memory {
            Memory::Vram => {
                return Ok(Self { device: hip.malloc(bytes)?, host: None, elements });
            }
            Memory::Managed => {
                let memory = hip.malloc_managed(bytes)?;
                return Ok(Self { device: memory, host: Some(memory), elements });
            }
            Memory::Default => host_malloc::DEFAULT,
            Memory::Mapped => host_malloc::MAPPED,
            Memory::Coherent => host_malloc::COHERENT,
            Memory::NonCoherent => host_malloc::NON_COHERENT,
        };
        let (host, device) = hip.host_malloc(bytes, flags)?;
        Ok(Self { device, host: Some(host), elements })
    }

    fn write(&self, hip: &Hip, data: &[u32]) -> Result<()> {
        assert!(data.len() <= self.elements);
        if data.is_empty() {
            return Ok(());
        }
        let Some(host) = self.host else { return hip.upload(self.device, data) };
        // SAFETY: so many elements were allocated, and no kernel runs.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), host.cast(), data.len()) };
        Ok(())
    }

    fn read(&self, hip: &Hip, data: &mut [u32]) -> Result<()> {
        assert!(data.len() <= self.elements);
        let Some(host) = self.host else { return hip.download(data, self.device) };
        // SAFETY: so many elements were allocated, and no kernel runs.
        unsafe {
            std::ptr::copy_nonoverlapping(host.cast_const().cast(), data.as_mut_ptr(), data.len());
        };
        Ok(())
    }
}

fn atomic(
    hip: &Hip,
    module: Handle,
    tested: &Tested,
    name: &str,
    launch_only: bool,
) -> Result<Outcome> {
    let operation = Operation::from_name(name).with_context(|| format!("no operation {name}"))?;
    let all = |value: fn(Operation, u32) -> u32| -> Vec<u32> {
        (0..ELEMENTS).map(|index| value(operation, index)).collect()
    };
    let (initial, operand) = (all(Operation::initial), all(Operation::operand));
    let bytes = size_of_val(&initial[..]);
    let (before, given, old) = (hip.malloc(bytes)?, hip.malloc(bytes)?, hip.malloc(bytes)?);
    hip.upload(before, &initial)?;
    hip.upload(given, &operand)?;
    let mut wrong = [0; 2];
    for (returning, wrong) in wrong.iter_mut().enumerate() {
        // Not what is expected: a kernel that does not run must not look right.
        hip.upload(old, &initial.iter().map(|value| !value).collect::<Vec<_>>())?;
        tested.write(hip, &initial)?;
        let (mut p, mut operand, mut initial_at, mut old_at, mut n) =
            (tested.device, given, before, old, ELEMENTS);
        let mut arguments: [Handle; 5] = [
            (&raw mut p).cast(),
            (&raw mut operand).cast(),
            (&raw mut initial_at).cast(),
            (&raw mut old_at).cast(),
            (&raw mut n).cast(),
        ];
        let kernel = format!("atomic_{name}{}", ["", "_returning"][returning]);
        let kernel = hip.kernel(module, &kernel)?;
        hip.launch(&kernel, ELEMENTS / THREADS, &mut arguments)?;
        hip.synchronize()?;
        if launch_only {
            continue;
        }
        let (mut after, mut returned) = (vec![0; initial.len()], vec![0; initial.len()]);
        tested.read(hip, &mut after)?;
        hip.download(&mut returned, old)?;
        *wrong = (0..ELEMENTS)
            .zip(after.iter().zip(&returned))
            .map(|(index, (after, returned))| {
                let right = *after == operation.expected(index)
                    && (returning == 0 || *returned == operation.initial(index));
                u32::from(!right)
            })
            .sum();
    }
    let [wrong, wrong_returning] = wrong;
    Ok(if launch_only {
        Outcome::Accepted
    } else {
        Outcome::Compared { elements: ELEMENTS, wrong, wrong_returning }
    })
}

/// Timed runs.
const RUNS: usize = 5;
/// Launches that do not count come before, as a GPU that did nothing has its clocks down.
const WARM_UP: Duration = Duration::from_millis(200);
/// Milliseconds between two events at least, of launches one after another, so that what events
/// and a launch cost is little of it; and what is aimed at, as the first launch may be slow.
const BETWEEN_EVENTS: f64 = 20.0;
const AIM: f64 = 25.0;
/// More launches are not made, however short they are.
const MOST_LAUNCHES: u32 = 1 << 16;

fn bandwidth(
    hip: &Hip,
    module: Handle,
    tested: &Tested,
    name: &str,
    data: &[u32],
    launch_only: bool,
) -> Result<Outcome> {
    let pattern = Pattern::from_name(name).with_context(|| format!("no pattern {name}"))?;
    let mut sums = vec![0; SUMS as usize];
    let at = hip.malloc(size_of_val(&sums[..]))?;
    let (mut p, mut sums_at, mut n, mut passes) =
        (tested.device, at, pattern.elements(), pattern.passes());
    let kernel = hip.kernel(module, &format!("bandwidth_{name}"))?;
    let mut launch = |times: u32| {
        let mut arguments: [Handle; 4] = [
            (&raw mut p).cast(),
            (&raw mut sums_at).cast(),
            (&raw mut n).cast(),
            (&raw mut passes).cast(),
        ];
        (0..times).try_for_each(|_| hip.launch(&kernel, BLOCKS, &mut arguments))
    };
    if launch_only {
        hip.time(|| launch(1))?;
        hip.synchronize()?;
        return Ok(Outcome::Accepted);
    }
    let expected = pattern.expected(data);
    let start = Instant::now();
    let mut one = f64::INFINITY;
    while start.elapsed() < WARM_UP {
        one = one.min(hip.time(|| launch(1))?);
    }
    let (mut runs, mut times) = (Vec::new(), launches(one)?);
    while runs.len() < RUNS {
        sums.fill(expected ^ 1);
        hip.upload(at, &sums)?;
        let milliseconds = hip.time(|| launch(times))?;
        hip.synchronize()?;
        hip.download(&mut sums, at)?;
        let sum = sums.iter().fold(0_u32, |sum, value| sum.wrapping_add(*value));
        if sum != expected {
            bail!("the kernel read other data than was written: no bandwidth is given");
        }
        let most = launches(milliseconds / f64::from(times))?;
        if milliseconds < BETWEEN_EVENTS && most > times {
            // Faster than when it was warmed up: all runs are to be alike.
            runs.clear();
            times = most;
            continue;
        }
        runs.push(significant(pattern.bytes() * f64::from(times) / milliseconds / 1e6));
    }
    let mut sorted = runs.clone();
    sorted.sort_by(f64::total_cmp);
    Ok(Outcome::Bandwidth { gb_per_s: sorted[RUNS / 2], runs })
}

/// How many launches take the time that is aimed at, where one takes so many milliseconds.
fn launches(one: f64) -> Result<u32> {
    if !one.is_finite() || one <= 0.0 {
        bail!("the GPU's clock gave {one} ms for a run: no bandwidth is given");
    }
    Ok(((AIM / one).ceil() as u32).clamp(1, MOST_LAUNCHES))
}

/// Four significant digits.
fn significant(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// An error for the report: files without their directories, which may name a user.
fn explain(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let words = text.split(' ').map(|word| word.rsplit('/').next().unwrap_or_default());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_digits_are_kept_however_small_a_figure_is() {
        for (value, kept) in [(134.2177, 134.2), (0.000_123_456, 0.000_123_5), (0.0, 0.0)] {
            assert!((significant(value) - kept).abs() <= 1e-12, "{value}");
        }
    }

    #[test]
    fn launches_fill_the_time_between_events_and_a_clock_that_stands_is_refused() {
        let of = |one| launches(one).unwrap();
        assert_eq!([of(300.0), of(25.0), of(12.0), of(0.01), of(1e-9)], [1, 1, 3, 2500, 1 << 16]);
        for clock in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(launches(clock).unwrap_err().to_string().contains("no bandwidth"), "{clock}");
        }
    }

    #[test]
    fn an_error_names_files_without_their_directories() {
        let error = anyhow::anyhow!("/home/someone/lib/libx.so: no such file, '/a b/c'");
        assert_eq!(explain(&error), "libx.so: no such file, a c'");
    }
}
