//! Machines with Debian 12, its kernel, dkms and an initramfs: a root that is made once by
//! mmdebstrap, and changed by each test in a layer of its own. The host's kernel is not touched.

#![allow(dead_code, reason = "every test binary uses a part of it")]

#[path = "../cli_common/mod.rs"]
pub mod cli_common;

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cli_common::{clean, output, release as artifact, text};

/// What is installed. linux-image and linux-source are of one version in one archive.
const PACKAGES: &str = "apt,busybox-static,dkms,initramfs-tools,kmod,linux-headers-amd64,\
    linux-image-amd64,linux-source-6.1,make,openssl,patch,xz-utils";

/// In a mount namespace of its own; $1 is the root, $2 the layer, $3 the cache, $4 the command.
const ENTER: &str = r#"
mnt=$2/mnt
mkdir -p "$mnt" "$2/upper" "$2/work"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$mnt"
mount --rbind /proc "$mnt/proc"
mount --rbind /dev "$mnt/dev"
mkdir -p "$mnt/cache" "$mnt/out"
mount --bind "$3" "$mnt/cache"
touch "$mnt/usr/local/bin/rdnafix"
mount --bind "$4" "$mnt/usr/local/bin/rdnafix"
exec chroot "$mnt" env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    LC_ALL=C.UTF-8 XDG_CACHE_HOME=/cache sh -ec "$5"
"#;

/// A machine of one test. Others wait: the work of a build is kept for the next one.
pub struct Machine {
    root: PathBuf,
    layer: tempfile::TempDir,
    cache: PathBuf,
    /// The release of its kernel.
    pub kernel: String,
    _turn: File,
}

impl Machine {
    /// `None`, after a line that says why, where there can be none.
    pub fn new(test: &str) -> Option<Self> {
        match Self::made() {
            Ok(machine) => Some(machine),
            Err(why) => {
                println!("SKIPPED: {test}: {why}");
                None
            }
        }
    }

    fn made() -> Result<Self, String> {
        if !is_root() {
            return Err("only root can install packages in a root".to_owned());
        }
        if !succeeds(Command::new("unshare").args(["-m", "true"])) {
            return Err("unshare -m is not allowed here".to_owned());
        }
        let base = cache().join("kernel");
        fs::create_dir_all(&base).expect("the cache is writable");
        let turn = File::create(base.join("lock")).expect("the cache is writable");
        // SAFETY: the descriptor is open; closing it ends the lock.
        assert_eq!(unsafe { libc::flock(turn.as_raw_fd(), libc::LOCK_EX) }, 0);
        let mut hash = DefaultHasher::new();
        PACKAGES.hash(&mut hash);
        let root = base.join(format!("root-{:016x}", hash.finish()));
        if !root.exists() {
            bootstrap(&root)?;
        }
        let kernels = fs::read_dir(root.join("lib/modules")).expect("the root has a kernel");
        let kernels: Vec<_> = kernels.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(kernels.len(), 1, "{kernels:?}");
        let kernel = kernels[0].to_str().unwrap().to_owned();
        // On the same file system, of a kind that an overlay can have its changes on.
        let layer = tempfile::Builder::new().prefix("layer-").tempdir_in(&base).unwrap();
        let cache = base.join("cache");
        fs::create_dir_all(&cache).unwrap();
        let machine = Self { root, layer, cache, kernel, _turn: turn };
        let starts = machine.run("rdnafix --version");
        if !starts.status.success() {
            let why = text(&starts.stderr);
            return Err(format!("the command that was built here does not run there: {why}"));
        }
        Ok(machine)
    }

    /// Runs a script in it, as root; it ends at the first command that fails. `$K` is the kernel.
    pub fn run(&self, script: &str) -> Output {
        let mut command = clean("unshare");
        command.args(["-m", "sh", "-ec", ENTER, "sh"]).arg(&self.root).arg(self.layer.path());
        command.arg(&self.cache).arg(artifact("rdnafix"));
        output(command.arg(format!("K={}\n{script}", self.kernel)))
    }

    /// Runs a script that must succeed; gives what it said on stdout.
    pub fn succeed(&self, script: &str) -> String {
        let output = self.run(script);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{script}: {}\n{out}\n--- stderr\n{err}", output.status);
        out
    }

    /// Runs a script that must end with the exit code of errors of rdnafix; gives its stderr.
    pub fn refused(&self, script: &str) -> String {
        let output = self.run(script);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{script}: {}\n{err}", text(&output.stdout));
        err
    }

    /// A file of it, as it is now.
    pub fn file(&self, path: &str) -> PathBuf {
        let path = path.trim_start_matches('/');
        let changed = self.layer.path().join("upper").join(path);
        if changed.exists() { changed } else { self.root.join(path) }
    }
}

fn bootstrap(root: &Path) -> Result<(), String> {
    let part = root.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).expect("the cache is writable");
    }
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", "--format=directory", "--quiet"]);
    command.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    command.arg("--aptopt=APT::Install-Recommends \"false\"");
    command.arg(format!("--include={PACKAGES}"));
    for path in ["doc", "info", "locale", "man"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{path}/*"));
    }
    command.arg("bookworm").arg(&part);
    command.args(std::env::var_os("RDNAFIX_MIRROR").filter(|mirror| !mirror.is_empty()));
    let output = command.output().map_err(|error| format!("mmdebstrap does not start: {error}"))?;
    if !output.status.success() {
        let said = text(&output.stderr);
        let error = said.lines().rfind(|line| line.starts_with("E:")).unwrap_or("no reason given");
        let _ = fs::remove_dir_all(&part);
        return Err(format!("mmdebstrap cannot make a Debian 12: {error}"));
    }
    fs::rename(&part, root).expect("rename within a directory");
    Ok(())
}

/// `rdnafix`'s own, so that all that it keeps can be found and removed in one place.
fn cache() -> PathBuf {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    cache.expect("XDG_CACHE_HOME or HOME is set").join("rdnafix")
}

fn is_root() -> bool {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
