//! Takes out of a dump what says whose machine it is of: names of people, hosts and projects in
//! paths, ids of cards. Names that tools give to files stay: they are what a dump is for.
//!
//! The same text always becomes the same, and what was made anonymous stays as it is.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::facts::source::{FORMAT, Notes, Record};

/// Of the system, in the root: what is in these directories has its name from a distribution or
/// the kernel.
const SYSTEM: [&str; 15] = [
    ".dockerenv",
    "bin",
    "boot",
    "dev",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "proc",
    "run",
    "sbin",
    "sys",
    "usr",
    "var",
];
/// Places in these that people have theirs in.
const PEOPLE: [(&str, &str); 4] =
    [("run", "media"), ("run", "user"), ("usr", "home"), ("var", "home")];
/// Other directories of the root whose names say nothing.
const COMMON: [&str; 14] = [
    "data", "export", "home", "media", "mnt", "nfs", "nix", "opt", "root", "scratch", "srv", "tmp",
    "users", "work",
];
/// Names of users and hosts that identify nobody, or are words of what is read.
const NOBODY: [&str; 27] = [
    "admin",
    "amd",
    "amd64",
    "amdgpu",
    "arch",
    "cuda",
    "debian",
    "fedora",
    "generic",
    "gfx",
    "gpu",
    "hip",
    "home",
    "lib",
    "linux",
    "localhost",
    "none",
    "opt",
    "python",
    "render",
    "rocm",
    "root",
    "str",
    "torch",
    "ubuntu",
    "user",
    "video",
];
/// Logins of people, on most distributions (login.defs(5)).
const PEOPLES_IDS: std::ops::Range<u32> = 1000..65_000;

/// Takes names of people and machines out of texts.
pub(super) struct Anonymous {
    home: Option<String>,
    /// The user's, and the host's; the longest first.
    own: Vec<String>,
    /// Those of other users.
    others: Vec<String>,
    /// What other names became.
    given: RefCell<BTreeMap<String, String>>,
}

impl Anonymous {
    /// For the user and the host of this process, and the users that this machine knows.
    pub(super) fn here() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        // Of a full name the first label, too.
        let host = host.trim();
        let label = host.split('.').next().unwrap_or_default();
        let hosts = [host.to_owned(), label.to_owned()];
        let users = ["USER", "LOGNAME", "SUDO_USER"].map(variable).into_iter().flatten();
        let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
        let others = logins(&String::from_utf8_lossy(&passwd));
        Self::new(variable("HOME"), users.chain(hosts), others)
    }

    pub(super) fn new(
        home: Option<String>,
        own: impl IntoIterator<Item = String>,
        others: impl IntoIterator<Item = String>,
    ) -> Self {
        let known =
            |home: &String| home.starts_with('/') && !["/", "/root"].contains(&home.as_str());
        let home = home.map(|home| home.trim_end_matches('/').to_owned()).filter(known);
        let last = home.as_deref().and_then(|home| home.rsplit('/').next()).map(str::to_owned);
        let somebody = |name: &String| !name.is_empty() && !NOBODY.contains(&name.as_str());
        let mut own: Vec<String> = own.into_iter().chain(last).filter(somebody).collect();
        own.sort_by_key(|name| std::cmp::Reverse(name.len()));
        let others = others.into_iter().filter(somebody).collect();
        Self { home, own, others, given: RefCell::default() }
    }

    /// All that was read.
    pub(super) fn record(&self, record: Record) -> Record {
        let set = |set: BTreeSet<String>| set.iter().map(|path| self.text(path)).collect();
        let mut files = record.files;
        let mut names = record.names;
        // Somebody's scripts and settings, which say nothing of the GPU, are nobody's business.
        files.retain(|path, content| {
            let bare = content.is_empty()
                && ["/etc/modprobe.d/", "/etc/profile.d/"].iter().any(|of| path.starts_with(of));
            if bare {
                names.remove(path);
            }
            !bare
        });
        let files =
            self.map(files, |bytes| self.text(&String::from_utf8_lossy(&bytes)).into_bytes());
        let notes = record.notes;
        Record {
            files,
            directories: set(record.directories),
            names: set(names),
            notes: Notes {
                format: FORMAT,
                environment: self.map(notes.environment, |value| self.text(&value)),
                nodes: self.map(notes.nodes, |node| node),
                links: self.map(notes.links, |path| self.text(&path)),
                libraries: self.map(notes.libraries, |elf| elf),
            },
        }
    }

    fn map<T>(&self, map: BTreeMap<String, T>, value: impl Fn(T) -> T) -> BTreeMap<String, T> {
        map.into_iter().map(|(key, inner)| (self.text(&key), value(inner))).collect()
    }

    /// The text without them.
    fn text(&self, text: &str) -> String {
        let ends = |letter: char| ": \t\n\"'=,;".contains(letter);
        let mut clean = String::with_capacity(text.len());
        // Whether a path of somebody's may go on after a space.
        let mut goes_on = false;
        for part in self.without_home(text).split_inclusive(ends) {
            let (token, end) = match part.chars().next_back().filter(|last| ends(*last)) {
                Some(last) => part.split_at(part.len() - last.len_utf8()),
                None => (part, ""),
            };
            let (token, private) = self.token(token, goes_on);
            clean.push_str(&token);
            clean.push_str(end);
            goes_on = private && end == " ";
        }
        clean
    }

    /// The user's home directory, wherever it is, as the usual one.
    fn without_home(&self, text: &str) -> String {
        let Some(home) = &self.home else { return text.to_owned() };
        replaced(text, home, "/home/user", |letter| !letter.is_alphanumeric() && letter != '-')
    }

    /// What stands between separators, and whether it ended in a place of somebody's.
    fn token(&self, token: &str, goes_on: bool) -> (String, bool) {
        if let Some(id) = token.strip_prefix("GPU-") {
            // The unique id of a card (ROCR_VISIBLE_DEVICES).
            return (format!("GPU-{}", "0".repeat(id.len())), false);
        }
        if !token.contains('/') {
            return (self.words(token), false);
        }
        let parts: Vec<&str> = token.split('/').collect();
        let absolute = parts[0].is_empty();
        let mut private = !absolute && goes_on;
        let mut clean: Vec<String> = Vec::with_capacity(parts.len());
        for (index, part) in parts.iter().enumerate() {
            let first = absolute && index == 1;
            let place = index == 2 && PEOPLE.contains(&(parts[1], part));
            let of_home = index > 0 && parts[index - 1] == "home";
            let known = SYSTEM.contains(part) || COMMON.contains(part);
            clean.push(if part.is_empty() || absolute && place || first && known {
                (*part).to_owned()
            } else if first || private {
                self.name(part, of_home)
            } else {
                self.words(part)
            });
            private |= absolute && (place || first && !SYSTEM.contains(part));
        }
        (clean.join("/"), private)
    }

    /// The name of a file or a directory of somebody's.
    fn name(&self, part: &str, of_home: bool) -> String {
        if self.own.iter().any(|name| name == part) {
            return "user".to_owned();
        }
        if of_tools(part) {
            return self.words(part);
        }
        let start = if of_home { "user" } else { "dir" };
        let mut given = self.given.borrow_mut();
        // The user is the first.
        let next = given.values().filter(|name| name.starts_with(start)).count() + 2;
        let key = format!("{start} {part}");
        given.entry(key).or_insert_with(|| format!("{start}{next}")).clone()
    }

    /// The names as words of any text.
    fn words(&self, text: &str) -> String {
        /// Shorter ones are parts of too much.
        const SHORTEST: usize = 3;
        let names = self.own.iter().chain(&self.others).filter(|name| name.len() >= SHORTEST);
        names.fold(text.to_owned(), |text, name| {
            replaced(&text, name, "user", |letter| !letter.is_alphanumeric())
        })
    }
}

/// The logins of people in passwd(5).
fn logins(passwd: &str) -> Vec<String> {
    let login = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let id: u32 = fields.nth(1)?.parse().ok()?;
        PEOPLES_IDS.contains(&id).then_some(name)
    };
    passwd.lines().filter_map(login).collect()
}

/// `text` with `name` replaced where no letter that belongs to it is before or behind.
fn replaced(text: &str, name: &str, with: &str, ends: impl Fn(char) -> bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut done = 0;
    for (at, _) in text.match_indices(name) {
        let after = at + name.len();
        if text[..at].chars().next_back().is_none_or(&ends)
            && text[after..].chars().next().is_none_or(&ends)
        {
            clean.push_str(&text[done..at]);
            clean.push_str(with);
            done = after;
        }
    }
    clean.push_str(&text[done..]);
    clean
}

/// Whether ROCm, Python or this module gave a name.
fn of_tools(name: &str) -> bool {
    const NAMES: [&str; 28] = [
        ".",
        "..",
        ".conda",
        ".info",
        ".local",
        ".pyenv",
        ".venv",
        "anaconda3",
        "bin",
        "conda",
        "dist-packages",
        "env",
        "envs",
        "lib",
        "lib64",
        "library",
        "miniconda3",
        "miniforge3",
        "python",
        "rocblas",
        "share",
        "site-packages",
        "torch",
        "venv",
        "version",
        "version.py",
        "versions",
        "x86_64-linux-gnu",
    ];
    let numbers = |rest: &str| rest.chars().all(|letter| letter.is_ascii_digit() || letter == '.');
    let after = |start: &str| name.strip_prefix(start);
    NAMES.contains(&name)
        || numbers(name)
        || ["dir", "user", "python", "core-"].iter().any(|start| after(start).is_some_and(numbers))
        || ["$", "rocm", "_rocm_sdk_", "Kernels.so-", "TensileLibrary_"]
            .iter()
            .any(|start| after(start).is_some())
        || after("lib").is_some_and(|rest| rest.contains(".so"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn alice() -> Anonymous {
        let own = ["alice", "alice-pc", "alice-pc.corp.test", "root"].map(str::to_owned);
        Anonymous::new(Some("/home/alice".to_owned()), own, ["bob".to_owned()])
    }

    #[test]
    fn neither_people_nor_hosts_nor_projects_are_in_a_text() {
        for (text, clean) in [
            ("/home/alice/venv", "/home/user/venv"),
            ("/home/alicia/venv:/home/alice/x", "/home/user2/venv:/home/user/dir2"),
            ("/data/alice/venv", "/data/user/venv"),
            ("/mnt/alice-pc/lib", "/mnt/user/lib"),
            ("/mnt/alice-pc.corp.test/lib", "/mnt/user/lib"),
            ("/srv/bobsecret/bin:/usr/bin", "/srv/dir2/bin:/usr/bin"),
            ("/srv/of carol/secret/bin", "/srv/dir2 dir3/dir4/bin"),
            ("/acme/rocm/lib", "/dir2/rocm/lib"),
            ("/run/media/carol/disk/lib", "/run/media/dir2/dir3/lib"),
            ("/var/home/carol/.venv", "/var/home/user2/.venv"),
            ("/opt/rocm-6.4.3/lib", "/opt/rocm-6.4.3/lib"),
            ("/opt/acme/lib/libamdhip64.so.6", "/opt/dir2/lib/libamdhip64.so.6"),
            ("$ORIGIN/../lib/libx.so", "$ORIGIN/../lib/libx.so"),
            ("PATH=/root/bin:/home/alice", "PATH=/root/bin:/home/user"),
            ("6.9.0-alice-pc", "6.9.0-user"),
            ("/etc/modprobe.d/alice-gpu.conf", "/etc/modprobe.d/user-gpu.conf"),
            (
                "/sys/bus/pci/devices/0000:03:00.0/vendor",
                "/sys/bus/pci/devices/0000:03:00.0/vendor",
            ),
            ("0,GPU-0123456789abcdef", "0,GPU-0000000000000000"),
            ("malice alicex alice", "malice alicex user"),
            ("/home", "/home"),
        ] {
            assert_eq!(alice().text(text), clean, "{text}");
        }
        let elsewhere = Anonymous::new(Some("/users/staff/carol".to_owned()), [], []);
        assert_eq!(elsewhere.text("/users/staff/carol/a:/tmp/carol"), "/home/user/dir2:/tmp/user");
        assert_eq!(elsewhere.text("/users/staff/caroline/a"), "/users/dir3/dir4/dir2");
    }

    #[test]
    fn two_directories_stay_two_and_one_stays_one() {
        let alice = alice();
        let one = alice.text("/srv/one/lib");
        assert_ne!(one, alice.text("/srv/two/lib"));
        assert_eq!(one, alice.text("/srv/one/lib"));
    }

    #[test]
    fn logins_of_people_are_known_and_those_of_services_are_not() {
        let passwd = "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/false\n\
                      bob:x:1000:1000:Bob,,,:/srv/b:/bin/sh\nnobody:x:65534:65534::/:/x\nbad\n";
        assert_eq!(logins(passwd), ["bob"]);
    }

    #[test]
    fn files_of_the_system_that_say_nothing_of_the_gpu_are_not_named() {
        let mut record = Record::default();
        for (path, content) in [
            ("/etc/modprobe.d/acme.conf", ""),
            ("/etc/profile.d/acme.sh", ""),
            ("/etc/modprobe.d/gpu.conf", "options amdgpu noretry=0\n"),
        ] {
            record.files.insert(path.to_owned(), content.as_bytes().to_vec());
            record.names.insert(path.to_owned());
        }
        let record = alice().record(record);
        assert_eq!(record.files.keys().collect::<Vec<_>>(), ["/etc/modprobe.d/gpu.conf"]);
        assert_eq!(record.names.iter().collect::<Vec<_>>(), ["/etc/modprobe.d/gpu.conf"]);
    }

    proptest! {
        #[test]
        fn any_text_becomes_anonymous_and_then_stays_as_it_is(
            text in "\\PC{0,40}",
            path in "(/(home|alice|bob|srv|x|é|lib)?[:= ]?){0,9}",
        ) {
            for text in [text, path] {
                let clean = alice().text(&text);
                let word = |part: &str| ["alice", "bob"].contains(&part);
                prop_assert!(!clean.split(|letter: char| !letter.is_alphanumeric()).any(word));
                prop_assert_eq!(alice().text(&clean), clean);
            }
        }
    }
}
