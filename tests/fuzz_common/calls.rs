//! What `tests/programs/fuzz_calls.cpp` prints: the machine as the runtimes show it, and one
//! line for each call.

use std::collections::BTreeMap;

use policy::{HipVersion, pool_flags};

/// The output of one run.
pub struct Printed {
    pub hip: Option<HipVersion>,
    /// Owner and global flags of every pool.
    pub pools: Vec<(String, u32)>,
    pub calls: Vec<Call>,
}

impl Printed {
    /// Whether a GPU has a pool that the policy may replace by the one from whose blocks the
    /// runtime hands out small requests.
    pub fn has_blocks(&self) -> bool {
        let coherent = pool_flags::FINE | pool_flags::EXTENDED;
        self.pools.iter().any(|(owner, flags)| owner.starts_with("gpu") && flags & coherent != 0)
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// `SEED.NUMBER`, as in the marks of the log.
    pub id: String,
    pub sequence: u64,
    pub number: u32,
    pub name: String,
    arguments: BTreeMap<String, String>,
    pub result: i32,
    /// The whole line.
    pub line: String,
}

impl Call {
    /// An argument as it was printed.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.arguments.get(name).map(String::as_str)
    }

    /// An argument that is a number, decimal or hexadecimal.
    pub fn number(&self, name: &str) -> Option<u64> {
        let text = self.text(name)?;
        match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        }
    }

    /// The flags of the call.
    pub fn flags(&self) -> u32 {
        self.number("flags").and_then(|flags| u32::try_from(flags).ok()).unwrap_or_default()
    }

    pub fn size(&self) -> usize {
        self.number("size").and_then(|size| usize::try_from(size).ok()).unwrap_or_default()
    }

    fn read(line: &str) -> Option<Self> {
        let (made, result) = line.split_once(" -> ")?;
        let mut words = made.split(' ');
        let (id, name) = (words.next()?, words.next()?);
        let (sequence, number) = id.split_once('.')?;
        let pair = |word: &str| {
            word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        Some(Self {
            id: id.to_owned(),
            sequence: sequence.parse().ok()?,
            number: number.parse().ok()?,
            name: name.to_owned(),
            arguments: words.map(pair).collect::<Option<_>>()?,
            result: result.split(' ').next()?.parse().ok()?,
            line: line.to_owned(),
        })
    }
}

/// Reads the output of a run that ended well.
pub fn read(stdout: &str) -> Printed {
    let mut printed = Printed { hip: None, pools: Vec::new(), calls: Vec::new() };
    for line in stdout.lines().filter(|line| *line != "DONE") {
        read_line(&mut printed, line).unwrap_or_else(|| panic!("fuzz_calls printed {line:?}"));
    }
    printed
}

fn read_line(printed: &mut Printed, line: &str) -> Option<()> {
    if let Some(version) = line.strip_prefix("hip=") {
        printed.hip = HipVersion::from_runtime(version.split(' ').next()?.parse().ok()?);
    } else if let Some(pool) = line.strip_prefix("pool owner=") {
        let (owner, flags) = pool.split_once(" pool=0x")?;
        printed.pools.push((owner.to_owned(), u32::from_str_radix(flags, 16).ok()?));
    } else {
        printed.calls.push(Call::read(line)?);
    }
    Some(())
}
