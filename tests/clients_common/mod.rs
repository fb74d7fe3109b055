//! Programs that nobody here wrote, run stock and interposed on the simulated GPU, and what
//! became of their memory. Decides nothing about what is right: that is for the tests.

pub mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::common::artifact::target_dir;
use crate::common::pair::{Pair, skipped};
use crate::common::release::Release;
use crate::common::{Run, in_words, rdnafix};

pub use asked::{Asked, asked, whole_run};

mod asked;

/// How the library gets into the process.
#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    Preload,
    /// Preloaded, with `RDNAFIX_DLSYM=1`.
    Dlsym,
    /// `HSA_TOOLS_LIB`, not preloaded.
    Tool,
}

impl Way {
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Preload => "LD_PRELOAD",
            Self::Dlsym => "LD_PRELOAD, RDNAFIX_DLSYM=1",
            Self::Tool => "HSA_TOOLS_LIB",
        }
    }
}

/// Both runs of a client, and what the library said of the second.
pub struct Both {
    pub pair: Pair,
    report: Value,
}

/// Runs a client both ways on these GPUs; `set` gives both runs what the client needs.
pub fn both(program: &Path, gpus: &str, way: Way, set: impl Fn(Run) -> Run) -> Both {
    let report = tempfile::NamedTempFile::new().expect("a temporary file");
    let run = || set(Run::new(program).env("RDNAFIX_REPORT", report.path()));
    let interposed = match way {
        Way::Preload => run().interposed(),
        Way::Dlsym => run().interposed().env("RDNAFIX_DLSYM", "1"),
        Way::Tool => run().env("HSA_TOOLS_LIB", rdnafix()),
    };
    let pair = Pair { stock: run().on(gpus).go(), interposed: interposed.on(gpus).go() };
    let said = std::fs::read_to_string(report.path()).expect("the report");
    // rocminfo of 5.2.3 starts lsmod, which asks for no memory and reports nothing.
    let report = said.lines().next_back().map_or(Value::Null, |line| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    Both { pair, report }
}

impl Both {
    /// Asserts that the client ended well both times and could not tell the difference.
    pub fn the_same_to_the_client(self) -> Self {
        assert!(
            self.pair.stock.output.status.success(),
            "{}\n{}\n{}",
            self.pair.stock.output.status,
            self.pair.stock.stdout(),
            self.pair.stock.stderr()
        );
        let pair = self.pair.answers_the_same();
        assert_eq!(pair.interposed.stderr(), pair.stock.stderr());
        Self { pair, report: self.report }
    }

    /// The calls that the library rewrote, by name.
    pub fn rewritten(&self) -> Vec<String> {
        let calls = self.report["calls"].as_array().map_or(&[][..], Vec::as_slice);
        let mut names: Vec<String> = calls
            .iter()
            .filter(|call| call["action"] == "rewritten")
            .map(|call| call["api"].as_str().expect("a name").to_owned())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// How many calls came by this way: `symbols`, `table` (the runtime's), or were
    /// `handed_out` by dlsym.
    pub fn came_by(&self, layer: &str) -> u64 {
        self.report["layers"][layer].as_u64().unwrap_or(0)
    }

    /// What was asked for between the marks of a name, in words, each time: stock, interposed.
    pub fn memory(&self, mark: &str) -> [Vec<String>; 2] {
        [&self.pair.stock, &self.pair.interposed].map(|ran| {
            let own = ran.during(mark).into_iter().filter(|ioctl| asked::by_the_client(ioctl));
            own.flat_map(|ioctl| &ioctl.memory).map(in_words).collect()
        })
    }

    /// How many copies to the GPU and back were right, by what the client printed.
    fn round_trips(&self) -> usize {
        self.pair.stock.stdout().lines().filter(|line| line.ends_with(": right")).count()
    }
}

/// A line of the table of clients.
pub struct Line<'a> {
    pub client: &'a str,
    pub setting: &'a str,
    pub way: Way,
    pub release: &'a str,
    pub versions: String,
    pub both: &'a Both,
}

impl Line<'_> {
    /// Compares it with docs/compatibility.md, or writes it there.
    pub fn check(&self) {
        let Pair { stock, interposed } = &self.both.pair;
        let marked = !asked(stock).is_empty();
        let look = if marked { asked } else { whole_run };
        let (before, after) = (look(stock), look(interposed));
        let trips = match self.both.round_trips() {
            0 => String::new(),
            count => format!("; {count} x 16 MiB to the GPU and back"),
        };
        let rewritten: Vec<String> =
            self.both.rewritten().iter().map(|name| format!("`{name}`")).collect();
        let same = stock.stdout() == interposed.stdout() && stock.stderr() == interposed.stderr();
        let client = match self.setting {
            "" => self.client.to_owned(),
            setting => format!("{} with {setting}", self.client),
        };
        let cells = [
            client,
            self.release.to_owned(),
            self.way.in_words().to_owned(),
            self.versions.clone(),
            format!("{}{trips}", Asked::all(&before)),
            Asked::coherent(&before),
            Asked::coherent(&after),
            if rewritten.is_empty() { "-".to_owned() } else { rewritten.join(", ") },
            if same { "identical" } else { "DIFFERS" }.to_owned(),
        ];
        table::check("clients", 3, 3, &cells);
    }
}

/// Packages of a root with their versions.
pub fn versions(release: &Release, packages: &[&str]) -> String {
    let named = packages.iter().map(|package| {
        let version = release.packages.get(*package);
        format!("{package} {}", version.unwrap_or_else(|| panic!("no {package} in the root")))
    });
    named.collect::<Vec<_>>().join(", ")
}

/// What scripts/clients.sh made, or None after a line that says that it did not.
pub fn prepared(client: &str, part: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/clients.sh");
    let output = Command::new(&script).arg("--where").output().expect("the script starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let directory = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if directory.join(part).exists() {
        return Some(directory);
    }
    skipped(client, &format!("scripts/clients.sh has not made {part}"));
    None
}

/// A directory with these of a root's headers and none of its C library.
pub fn headers(release: &Release, wanted: impl Fn(&str) -> bool) -> PathBuf {
    let directory = target_dir().join("test-programs/client-headers").join(&release.name);
    std::fs::create_dir_all(&directory).expect("the target directory is writable");
    for entry in release.file("usr/include").read_dir().expect("headers") {
        let entry = entry.expect("a name");
        let name = entry.file_name().into_string().expect("UTF-8");
        let link = directory.join(&name);
        if !wanted(&name) || link.read_link().is_ok_and(|to| to == entry.path()) {
            continue;
        }
        // Of a root that is no longer there.
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(entry.path(), link).expect("a link");
    }
    directory
}
