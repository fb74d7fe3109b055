//! Making a root: mmdebstrap extracts packages of the Debian archive into the cache.
//!
//! Needs no privileges, as nothing is configured: no script of a package is run. A root is
//! made in a directory of its own and renamed when it is complete; it is not changed later.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

use super::cache;
use super::recipe::Recipe;
use crate::stderr::say;
use crate::waiting::waiting;

/// Names another mirror of the Debian archive than the one that mmdebstrap uses by itself.
const MIRROR: &str = "RDNAFIX_MIRROR";

/// Where the tarballs of source packages are in a root.
const SOURCES: &str = "usr/src/deb";

/// What no program reads.
const UNREAD: [&str; 4] =
    ["/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*"];

/// A shell command that keeps the names of the package files, which have their versions.
const LIST_PACKAGES: &str = "ls \"$1/var/cache/apt/archives\" >\"$1/packages\"";

/// A root that cannot be had here, or not any more: nothing is wrong with rdnafix or the root.
#[derive(Debug)]
pub(crate) struct Unavailable(pub(super) String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// A root in the cache.
pub(crate) struct Root {
    pub(crate) tree: PathBuf,
    /// Packages and their versions.
    pub(crate) packages: BTreeMap<String, String>,
}

/// Where all roots are.
fn roots() -> Result<PathBuf> {
    Ok(cache()?.join("roots"))
}

/// The root of a recipe if it has been made.
///
/// # Errors
/// Where the cache cannot be read.
pub(crate) fn made(recipe: &Recipe) -> Result<Option<Root>> {
    let tree = tree(recipe)?;
    if !tree.is_dir() {
        return Ok(None);
    }
    let list = tree.join("packages");
    let list = fs::read_to_string(&list)
        .with_context(|| format!("{}: remove the root and make it again", list.display()))?;
    Ok(Some(Root { tree, packages: versions(&list) }))
}

/// The root of a recipe, made if it has not been.
///
/// # Errors
/// [`Unavailable`] where the archive does not have it or cannot be reached, or where this
/// machine lacks mmdebstrap.
pub(crate) fn make(recipe: &Recipe) -> Result<Root> {
    if let Some(root) = made(recipe)? {
        return Ok(root);
    }
    let cache = roots()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    // Whoever comes second waits, and finds the root made.
    let lock = cache.join(format!("{}.lock", recipe.name));
    let file = File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
    let other = waiting(format!("waiting for another rdnafix to make the root {}", recipe.name));
    let _lock = Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .with_context(|| format!("cannot lock {}", lock.display()))?;
    drop(other);
    if let Some(root) = made(recipe)? {
        return Ok(root);
    }
    say(&format!("making the root {}: {}", recipe.name, recipe.about));
    let prefix = format!(".{}-", recipe.name);
    remove_interrupted(&cache, &prefix)?;
    let part = tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir_in(&cache)
        .with_context(|| format!("cannot make a directory in {}", cache.display()))?;
    let new = part.path().join("tree");
    let log = cache.join(format!("{}.log", recipe.name));
    extract(recipe, &new, &log)?;
    check(recipe, &new)?;
    let tree = tree(recipe)?;
    fs::rename(&new, &tree).with_context(|| format!("cannot rename to {}", tree.display()))?;
    made(recipe)?.context("the new root is gone")
}

/// Removes all roots of a recipe, those of its older versions too. Gives what was removed.
///
/// # Errors
/// Where one cannot be removed.
pub(crate) fn remove(recipe: &Recipe) -> Result<Vec<PathBuf>> {
    let cache = roots()?;
    let mut removed = Vec::new();
    for entry in fs::read_dir(&cache).into_iter().flatten() {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // NAME-HASH and nothing else: another root's name may begin with this one.
        let hash = name.strip_prefix(recipe.name).and_then(|rest| rest.strip_prefix('-'));
        if path.is_dir() && hash.is_some_and(|hash| hash.len() == recipe.hash.len()) {
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
            removed.push(path);
        }
    }
    Ok(removed)
}

/// Removes what an interrupted making has left; nobody else makes this root now.
fn remove_interrupted(cache: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(cache).with_context(|| format!("cannot read {}", cache.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // What tempfile adds has no dash; another root's name may begin with this one.
        if name.strip_prefix(prefix).is_some_and(|random| !random.contains('-')) {
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn tree(recipe: &Recipe) -> Result<PathBuf> {
    Ok(roots()?.join(format!("{}-{}", recipe.name, recipe.hash)))
}

fn extract(recipe: &Recipe, tree: &Path, log: &Path) -> Result<()> {
    let mut command = command(recipe, tree);
    tracing::info!(?command, "mmdebstrap");
    let mut child =
        match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Unavailable(
                "roots are made by mmdebstrap, which is not installed: apt-get install mmdebstrap"
                    .to_owned(),
            )
            .into());
            }
            Err(error) => return Err(error).context("cannot start mmdebstrap"),
        };
    let mut kept = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let (mut said, mut working) = (Vec::new(), None);
    for line in BufReader::new(child.stderr.take().context("no stderr")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
        writeln!(kept, "{line}")?;
        if let Some(step) = line.strip_prefix("I: ").filter(|step| step.ends_with("...")) {
            drop(working.take());
            say(step);
            working = Some(waiting(step));
        }
        said.push(line);
    }
    drop(working);
    if child.wait()?.success() {
        return Ok(());
    }
    if let Some(why) = lack(&said) {
        return Err(
            Unavailable(format!("root {}: {why} (log: {})", recipe.name, log.display())).into()
        );
    }
    let last = said[said.len().saturating_sub(20)..].join("\n");
    bail!("root {}: mmdebstrap failed (log: {}):\n{last}", recipe.name, log.display())
}

fn command(recipe: &Recipe, tree: &Path) -> Command {
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=extract", "--mode=chrootless", "--format=directory"]);
    // A mirror may be a snapshot whose date has passed; signatures are checked all the same.
    command.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    let include = recipe.packages().collect::<Vec<_>>().join(",");
    command.arg(format!("--include={include}"));
    for path in UNREAD.into_iter().chain(recipe.exclude.iter().map(String::as_str)) {
        command.arg(format!("--dpkgopt=path-exclude={path}"));
    }
    for path in &recipe.include {
        command.arg(format!("--dpkgopt=path-include={path}"));
    }
    command.arg(format!("--setup-hook={}", add_sources(recipe)));
    command.arg(format!("--extract-hook={LIST_PACKAGES}"));
    if !recipe.sources.is_empty() {
        command.arg(format!("--extract-hook={}", fetch_sources(recipe)));
    }
    command.arg(&recipe.suites[0]).arg(tree);
    if let Some(mirror) = std::env::var_os(MIRROR).filter(|mirror| !mirror.is_empty()) {
        command.arg(mirror);
    }
    // The text of its messages is read.
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// A shell command for further lines of sources.list. Which mirror it is stands only there.
fn add_sources(recipe: &Recipe) -> String {
    let suite = &recipe.suites[0];
    let mut command = "list=$1/etc/apt/sources.list".to_owned();
    let mut add = |edit: &str| {
        let _ = write!(command, r#"; more=$(sed -n '{edit}' "$list"); echo "$more" >>"$list""#);
    };
    for more in recipe.suites.iter().skip(1) {
        add(&format!(r"s/^\(deb .*\) {suite} main$/\1 {more} main/p"));
    }
    // After the suites, so that there is a line for each of them.
    if !recipe.sources.is_empty() {
        add("s/^deb /deb-src /p");
    }
    command
}

/// A shell command that fetches the upstream tarballs of the source packages. An archive may
/// have them without the packaging, so what is there is checked afterwards.
fn fetch_sources(recipe: &Recipe) -> String {
    format!(
        "mkdir -p \"$1/{SOURCES}\" && cd \"$1/{SOURCES}\" && for source in {}; do APT_CONFIG=$MMDEBSTRAP_APT_CONFIG \
         apt-get source --download-only --only-source \"$source\" >&2 || true; done",
        recipe.sources.join(" ")
    )
}

/// That the root has the versions and tarballs that its recipe is about.
fn check(recipe: &Recipe, tree: &Path) -> Result<()> {
    let packages = versions(&fs::read_to_string(tree.join("packages"))?);
    for (package, wanted) in &recipe.expect {
        let found = packages.get(package).map_or("nothing", String::as_str);
        if !found.starts_with(wanted.as_str()) {
            let why = format!(
                "root {}: the archive has {package} {found} now, and no longer {wanted}",
                recipe.name
            );
            return Err(Unavailable(why).into());
        }
    }
    for source in &recipe.sources {
        let begins = format!("{source}_");
        let is_tarball = |name: &str| name.starts_with(&begins) && name.contains(".orig.tar.");
        let mut files = fs::read_dir(tree.join(SOURCES))?.filter_map(Result::ok);
        if !files.any(|file| is_tarball(&file.file_name().to_string_lossy())) {
            let why = format!("root {}: the archive has no source of {source}", recipe.name);
            return Err(Unavailable(why).into());
        }
    }
    Ok(())
}

/// Package files, `NAME_VERSION_ARCHITECTURE.deb` with `%3a` for the colon of an epoch.
fn versions(list: &str) -> BTreeMap<String, String> {
    list.lines()
        .filter_map(|line| {
            let mut parts = line.strip_suffix(".deb")?.split('_');
            Some((parts.next()?.to_owned(), parts.next()?.replace("%3a", ":")))
        })
        .collect()
}

/// What the archive lacks, or that it is out of reach, by what apt-get said.
fn lack(said: &[String]) -> Option<String> {
    const MISSING: [&str; 4] = [
        "Unable to locate package",
        "has no installation candidate",
        "was not found",
        "have unmet dependencies",
    ];
    const OUT_OF_REACH: [&str; 6] = [
        "Temporary failure resolving",
        "Could not resolve",
        "Could not connect",
        "Connection failed",
        "Connection timed out",
        "Failed to fetch",
    ];
    let first =
        |signs: &[&str]| said.iter().find(|line| signs.iter().any(|sign| line.contains(sign)));
    if let Some(line) = first(&MISSING) {
        return Some(format!("the archive no longer has it: {}", line.trim_start_matches("E: ")));
    }
    first(&OUT_OF_REACH)
        .map(|line| format!("the archive is out of reach: {}", line.trim_start_matches("E: ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::recipe;

    #[test]
    fn versions_are_read_from_the_names_of_package_files() {
        let versions =
            versions("libc6_2.43-7_amd64.deb\nlibllvm21_1%3a21.1.8-14_amd64.deb\npartial\n");
        assert_eq!(versions.len(), 2);
        assert_eq!(versions["libc6"], "2.43-7");
        assert_eq!(versions["libllvm21"], "1:21.1.8-14");
    }

    #[test]
    fn what_the_archive_lacks_is_told_apart_from_other_failures() {
        let lack = |line: &str| super::lack(&["I: x".to_owned(), line.to_owned()]);
        assert!(lack("E: Unable to locate package libamdhip64-6").unwrap().contains("no longer"));
        assert!(lack("E: Version '7' for 'a' was not found").unwrap().contains("no longer"));
        assert!(lack("  Could not connect to 203.0.113.1:80").unwrap().contains("out of reach"));
        assert_eq!(lack("E: cannot write to the disk"), None);
    }

    #[test]
    fn another_version_or_a_missing_tarball_makes_a_root_unavailable() {
        let mut recipe = recipe::named("6.4.3").unwrap();
        let tree = tempfile::tempdir().unwrap();
        let packages =
            "libamdhip64-6_6.4.3-5_amd64.deb\nlibhsa-runtime64-1_6.4.3+dfsg-5_amd64.deb\n";
        fs::write(tree.path().join("packages"), packages).unwrap();
        check(&recipe, tree.path()).unwrap();

        recipe.sources.push("rocm-hipamd".to_owned());
        fs::create_dir_all(tree.path().join(SOURCES)).unwrap();
        fs::write(tree.path().join(SOURCES).join("rocm-hipamd_6.4.3-5.debian.tar.xz"), "").unwrap();
        let error = check(&recipe, tree.path()).unwrap_err();
        assert!(
            error.downcast_ref::<Unavailable>().unwrap().0.contains("no source of rocm-hipamd")
        );
        fs::write(tree.path().join(SOURCES).join("rocm-hipamd_6.4.3.orig.tar.gz"), "").unwrap();
        check(&recipe, tree.path()).unwrap();

        fs::write(tree.path().join("packages"), packages.replace("-6_6.4.3", "-6_6.5.0")).unwrap();
        let error = check(&recipe, tree.path()).unwrap_err();
        let why = &error.downcast_ref::<Unavailable>().unwrap().0;
        assert!(why.contains("libamdhip64-6 6.5.0-5 now, and no longer 6.4.3"), "{why}");
    }

    #[test]
    fn what_was_interrupted_is_removed_and_nothing_else() {
        let cache = tempfile::tempdir().unwrap();
        for name in [".6.4.3-aBc123", ".6.4.3-b-aBc123", "6.4.3-0123456789abcdef"] {
            fs::create_dir_all(cache.path().join(name).join("tree")).unwrap();
        }
        remove_interrupted(cache.path(), ".6.4.3-").unwrap();
        assert!(!cache.path().join(".6.4.3-aBc123").exists());
        assert!(cache.path().join(".6.4.3-b-aBc123").exists());
        assert!(cache.path().join("6.4.3-0123456789abcdef").exists());
    }

    #[test]
    fn further_suites_come_from_the_same_mirror() {
        let hook = add_sources(&recipe::named("7.2.4").unwrap());
        assert!(hook.contains(" sid main") && hook.contains(" experimental main"), "{hook}");
    }

    #[test]
    fn every_suite_has_its_sources() {
        let mut recipe = recipe::named("7.2.4").unwrap();
        recipe.sources.push("rocm-hipamd".to_owned());
        let root = tempfile::tempdir().unwrap();
        let list = root.path().join("etc/apt/sources.list");
        fs::create_dir_all(list.parent().unwrap()).unwrap();
        fs::write(&list, "deb http://mirror.example/debian sid main\n").unwrap();
        let hook = add_sources(&recipe);
        let status =
            Command::new("sh").args(["-c", &hook, "sh"]).arg(root.path()).status().unwrap();
        assert!(status.success());
        let lines =
            |kind: &str, suite: &str| format!("{kind} http://mirror.example/debian {suite} main\n");
        let mut expected = String::new();
        for kind in ["deb", "deb-src"] {
            for suite in ["sid", "experimental"] {
                expected += &lines(kind, suite);
            }
        }
        assert_eq!(fs::read_to_string(&list).unwrap(), expected);
    }
}
