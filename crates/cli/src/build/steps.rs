//! The steps of a build: each is stamped with the hash of its inputs when it is done, and run
//! again when they change. What is interrupted is run again by the next build.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use sha2::{Digest, Sha256};

use super::child;
use super::progress::Progress;

/// Changes when steps do something else than before.
const METHOD: &str = "2";

/// The directory of a build, held by one builder at a time.
pub(super) struct Work {
    directory: PathBuf,
    progress: Progress,
    _lock: Flock<File>,
}

/// What a step depends on.
#[derive(Clone)]
pub(super) struct Inputs(Sha256);

impl Inputs {
    pub(super) fn new(step: &str) -> Self {
        Self(Sha256::new()).and(METHOD).and(step)
    }

    #[must_use]
    pub(super) fn and(mut self, input: impl AsRef<[u8]>) -> Self {
        let input = input.as_ref();
        // With its length, so that two inputs are never taken for two others.
        self.0.update(input.len().to_le_bytes());
        self.0.update(input);
        self
    }

    pub(super) fn hash(&self) -> String {
        hex(&self.0.clone().finalize())
    }
}

/// Hexadecimal digits of a hash.
pub(super) fn hex(hash: &[u8]) -> String {
    use std::fmt::Write as _;
    hash.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Work {
    /// Takes the directory.
    ///
    /// # Errors
    /// Where another builder has it, or it cannot be written to.
    pub(super) fn open(directory: &Path, progress: Progress) -> Result<Self> {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let lock = lock(directory)?;
        for part in ["stamps", "log", "pristine", "src", "obj", "download"] {
            let part = directory.join(part);
            fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
        }
        // What an interrupted step had begun to make.
        for part in ["pristine", "src"] {
            for entry in fs::read_dir(directory.join(part))? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(".new-") {
                    fs::remove_dir_all(entry.path())?;
                }
            }
        }
        Ok(Self { directory: directory.to_owned(), progress, _lock: lock })
    }

    /// The directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A path below the directory.
    pub(super) fn path(&self, part: impl AsRef<Path>) -> PathBuf {
        self.directory.join(part)
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Does a step unless it was done with the same inputs and what it made is there. Gives
    /// its hash, an input of the next step.
    ///
    /// # Errors
    /// Those of the step, with the end of its log.
    pub(super) fn step(
        &self,
        name: &str,
        inputs: &Inputs,
        is_there: impl Fn() -> bool,
        act: impl FnOnce(&Log) -> Result<()>,
    ) -> Result<String> {
        let hash = inputs.hash();
        let stamp = self.path("stamps").join(name);
        if fs::read_to_string(&stamp).is_ok_and(|done| done == hash) && is_there() {
            self.progress.kept(name);
            return Ok(hash);
        }
        // Gone while the step is at work: an interrupted one is not taken for done.
        match fs::remove_file(&stamp) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", stamp.display()));
            }
            _ => {}
        }
        let log = Log { path: self.path("log").join(format!("{name}.log")) };
        fs::write(&log.path, "").with_context(|| format!("cannot write {}", log.path.display()))?;
        self.progress.begin(name, &log.path);
        let done = child::go_on().and_then(|()| act(&log));
        child::go_on().inspect_err(|_| self.progress.end(name, "interrupted"))?;
        if let Err(error) = done {
            self.progress.end(name, "failed");
            let hint = log.hint().unwrap_or_default();
            bail!("step {name} failed: {error:#}{}{hint}", log.end());
        }
        if !is_there() {
            bail!("step {name} did not make what it should{}", log.end());
        }
        fs::write(&stamp, &hash).with_context(|| format!("cannot write {}", stamp.display()))?;
        self.progress.end(name, "done");
        Ok(hash)
    }
}

/// Takes the lock of a build's directory. The programs that the build starts hold it too: those
/// of a build that was killed may be at work for a moment after it.
///
/// # Errors
/// Where another builder has it, or it cannot be written to.
pub(super) fn lock(directory: &Path) -> Result<Flock<File>> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let path = directory.join("lock");
    let mut file =
        File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let begun = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => {
                fcntl(&*lock, FcntlArg::F_SETFD(FdFlag::empty())).context("fcntl")?;
                return Ok(lock);
            }
            Err(_) if begun.elapsed() > PATIENCE => {
                bail!("another build works in {}: wait for it to end", directory.display())
            }
            Err((back, _)) => file = back,
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The log of a step.
pub(super) struct Log {
    path: PathBuf,
}

impl Log {
    /// For a program's output.
    ///
    /// # Errors
    /// Where the log cannot be written.
    pub(super) fn file(&self) -> Result<File> {
        let file = File::options().append(true).create(true).open(&self.path);
        file.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Adds a line.
    ///
    /// # Errors
    /// As [`Log::file`].
    pub(super) fn line(&self, text: &str) -> Result<()> {
        writeln!(self.file()?, "{text}")
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Where it is, and its last 40 lines, for an error message.
    fn end(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        if lines.is_empty() {
            return String::new();
        }
        let last = lines[lines.len().saturating_sub(40)..].join("\n");
        format!("; the end of {}:\n{last}\n", self.path.display())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.path).unwrap_or_default()).into_owned()
    }

    /// What to try, by what compilers and the system say where they lack something.
    fn hint(&self) -> Option<&'static str> {
        const HINTS: [(&str, &str); 4] = [
            (
                "No space left on device",
                "the disk is full: free some of it, or set XDG_CACHE_HOME to a directory on a larger one; the same command then goes on from here\n",
            ),
            (
                "Disk quota exceeded",
                "your quota is used up: free some of it, or set XDG_CACHE_HOME to a directory on another disk; the same command then goes on from here\n",
            ),
            (
                "Killed signal",
                "a compiler was killed, most likely for want of memory: close programs, add swap, or give --jobs 1; the same command then goes on from here\n",
            ),
            (
                "FAILED: ",
                "what was compiled is kept, and the same command goes on from here; --jobs 1 shows the first error alone; rdnafix build clean makes a new start\n",
            ),
        ];
        let text = self.text();
        HINTS.iter().find(|(said, _)| text.contains(said)).map(|(_, hint)| *hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(directory: &Path) -> Work {
        Work::open(directory, Progress::silent()).unwrap()
    }

    #[test]
    fn a_step_is_done_once_for_the_same_inputs() {
        let directory = tempfile::tempdir().unwrap();
        let work = work(directory.path());
        let made = work.path("made");
        let run = |inputs: &Inputs| {
            let mut ran = false;
            work.step(
                "build",
                inputs,
                || made.exists(),
                |_| {
                    ran = true;
                    Ok(fs::write(&made, "")?)
                },
            )
            .unwrap();
            ran
        };
        let inputs = Inputs::new("build").and("a").and("bc");
        assert!(run(&inputs));
        assert!(!run(&inputs));
        assert!(run(&Inputs::new("build").and("ab").and("c")), "other inputs");
        assert!(run(&inputs));
        fs::remove_file(&made).unwrap();
        assert!(run(&inputs), "what it made is gone");
    }

    #[test]
    fn a_step_that_fails_is_done_again_and_shows_the_end_of_its_log() {
        let directory = tempfile::tempdir().unwrap();
        let work = work(directory.path());
        let inputs = Inputs::new("build");
        let made = work.path("made");
        work.step("build", &inputs, || made.exists(), |_| Ok(fs::write(&made, "")?)).unwrap();
        let error = work
            .step(
                "build",
                &inputs.clone().and("more"),
                || made.exists(),
                |log| {
                    for line in 0..60 {
                        log.line(&format!("line {line}"))?;
                    }
                    bail!("the compiler crashed")
                },
            )
            .unwrap_err();
        let said = format!("{error:#}");
        assert!(
            said.contains("step build failed") && said.contains("the compiler crashed"),
            "{said}"
        );
        assert!(
            said.contains("line 59") && said.contains("line 20\n") && !said.contains("line 19\n"),
            "{said}"
        );
        let mut ran = false;
        work.step(
            "build",
            &inputs,
            || made.exists(),
            |_| {
                ran = true;
                Ok(())
            },
        )
        .unwrap();
        assert!(ran, "an earlier stamp is not valid after a failure");
    }

    #[test]
    fn a_second_builder_is_turned_away() {
        let directory = tempfile::tempdir().unwrap();
        let _first = work(directory.path());
        let second = Work::open(directory.path(), Progress::silent());
        assert!(second.err().unwrap().to_string().contains("another build"));
    }
}
