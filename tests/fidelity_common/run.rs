//! Runs many short programs, a few at a time, each with a time limit. Judges nothing.

use std::io::{Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// `None`: it ran longer than the limit.
    pub status: Option<ExitStatus>,
    /// What it wrote to both its outputs.
    pub output: String,
    pub took: Duration,
}

impl Ended {
    /// `exit status: 1`, `signal: 11 (SIGSEGV)`, or that it hung.
    pub fn how(&self) -> String {
        match self.status {
            Some(status) => match status.signal() {
                Some(_) => status.to_string(),
                None => format!("exit status {}", status.code().unwrap_or_default()),
            },
            None => format!("no end after {} s", self.took.as_secs()),
        }
    }
}

/// Runs one program for each number below `count`, twice as many at a time as there are
/// processors: most of them wait most of the time. Of the `large` ones never two at a time.
pub fn run_all(
    count: usize,
    limit: Duration,
    large: impl Fn(usize) -> bool,
    command: impl Fn(usize) -> Command + Sync,
) -> Vec<Ended> {
    // The large ones first: they take longest.
    let (large, others): (Vec<usize>, Vec<usize>) = (0..count).partition(|job| large(*job));
    let (large, others) = (Mutex::new(large.into_iter()), Mutex::new(others.into_iter()));
    let ended: Mutex<Vec<Option<Ended>>> = Mutex::new(vec![None; count]);
    let work = |jobs: &Mutex<std::vec::IntoIter<usize>>| {
        loop {
            let job = jobs.lock().expect("nobody panics with it").next();
            let Some(job) = job else { break };
            let one = run_one(command(job), limit);
            ended.lock().expect("nobody panics with it")[job] = Some(one);
        }
    };
    let threads = 2 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            work(&large);
            work(&others);
        });
        for _ in 1..threads {
            scope.spawn(|| work(&others));
        }
    });
    let ended = ended.into_inner().expect("nobody panics with it");
    ended.into_iter().map(|ended| ended.expect("every job was taken")).collect()
}

/// Runs a program to its end, or for as long as `limit`. Nothing that it started is left.
pub fn run_one(mut command: Command, limit: Duration) -> Ended {
    let mut output = tempfile::tempfile().expect("a temporary file");
    let started = Instant::now();
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("dup"))
        .stderr(output.try_clone().expect("dup"))
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let group = libc::pid_t::try_from(child.id()).expect("a process id");
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break Some(status);
        }
        if started.elapsed() > limit {
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let took = started.elapsed();
    // SAFETY: plain integers. The group is the program's own; it is empty if all have ended.
    unsafe { libc::kill(-group, libc::SIGKILL) };
    if status.is_none() {
        child.wait().expect("wait");
    }
    let mut bytes = Vec::new();
    output.rewind().and_then(|()| output.read_to_end(&mut bytes)).expect("read back");
    Ended { status, output: String::from_utf8_lossy(&bytes).into_owned(), took }
}
