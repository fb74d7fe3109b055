//! What tests keep between runs, and their turns at making it.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// `rdnafix`'s own directory, so that all that it keeps can be found and removed in one place.
pub fn cache() -> PathBuf {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    cache.expect("XDG_CACHE_HOME or HOME is set").join("rdnafix")
}

/// The turn at making something, until it is dropped: other tests wait, also those of other
/// checkouts.
pub fn turn(of: &str) -> File {
    fs::create_dir_all(cache()).expect("the cache is writable");
    let lock = File::create(cache().join(format!("{of}.lock"))).expect("the cache is writable");
    // SAFETY: the descriptor is open; closing it ends the lock.
    let locked = unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) };
    assert_eq!(locked, 0, "{}", std::io::Error::last_os_error());
    lock
}
