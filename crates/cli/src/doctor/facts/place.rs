//! Where a path of the examined machine is on this one, and opening what is there. Never leaves a
//! copy, and never waits for a writer.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// As `MAXSYMLINKS` of Linux.
const MOST_LINKS: usize = 40;

/// `path` below `root`, links resolved as if `root` were `/`.
pub(super) fn inside(root: &Path, path: &Path) -> Option<PathBuf> {
    use std::path::Component;
    let mut links = 0;
    let mut place = root.to_owned();
    let mut depth = 0;
    let mut rest: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(next) = rest.pop() {
        let mut parts = next.components();
        let Some(part) = parts.next() else { continue };
        let after = parts.as_path().to_owned();
        if !after.as_os_str().is_empty() {
            rest.push(after);
        }
        match part {
            Component::RootDir | Component::Prefix(_) => {
                root.clone_into(&mut place);
                depth = 0;
            }
            Component::CurDir => {}
            Component::ParentDir => {
                if depth > 0 {
                    place.pop();
                    depth -= 1;
                }
            }
            Component::Normal(name) => {
                let candidate = place.join(name);
                if let Ok(target) = std::fs::read_link(&candidate) {
                    links += 1;
                    if links > MOST_LINKS {
                        return None;
                    }
                    rest.push(target);
                } else {
                    place = candidate;
                    depth += 1;
                }
            }
        }
    }
    Some(place)
}

/// A file to read, where it is a regular one: opening another may block for ever.
///
/// # Errors
/// Where it cannot be opened, or is no regular file.
pub(crate) fn regular_file(path: &Path) -> std::io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(std::io::Error::other("it is no regular file"))
    }
}
