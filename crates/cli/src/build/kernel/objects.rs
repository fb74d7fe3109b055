//! How far make is, by what it prints and what is there.

use std::fs;
use std::path::PathBuf;

/// How many objects are made, of how many.
pub(super) struct Objects {
    directory: PathBuf,
    /// Those that were there before, and all; known when make has written its list.
    before: Option<(u64, u64)>,
    made: u64,
}

impl Objects {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, before: None, made: 0 }
    }

    /// By a line that make prints.
    pub(super) fn count(&mut self, line: &str) -> Option<(u64, u64)> {
        if !line.trim_start().starts_with("CC [M]") {
            return None;
        }
        let (before, all) = match self.before {
            Some(known) => known,
            None => *self.before.insert(self.list()?),
        };
        self.made += 1;
        // A file that is compiled again is counted twice otherwise.
        Some(((before + self.made).min(all), all))
    }

    fn list(&self) -> Option<(u64, u64)> {
        let list = fs::read_to_string(self.directory.join("amdgpu.mod")).ok()?;
        let files: Vec<&str> = list.split_whitespace().collect();
        let there = files.iter().filter(|file| self.directory.join(file).exists()).count();
        Some((there as u64, files.len() as u64))
    }
}
