//! Who asks: recognised by the object that the return address lies in.

use policy::Caller;

use crate::config::{self, Config};
use crate::hook::Library;
use crate::objects::Scope;
use crate::resolve::PerCaller;
use crate::{objects, seen};

/// Libraries that poll memory from running kernels, by their file names.
const DENIED: [&str; 2] = ["librccl*", "librocshmem*"];

/// Copies of libamdhip64 that calls came from.
static SEEN: PerCaller<()> = PerCaller::new();

/// The kind of caller that `address` belongs to. Thread-safe; code outside every object (made
/// at run time) counts as the program's. Not kept: another library may come to the same place,
/// and only a call that may be rewritten asks.
pub(crate) fn at(address: usize) -> Caller {
    if seen::is_denied() {
        return Caller::Denied;
    }
    if seen::is_explicit() {
        return Caller::HipRuntime;
    }
    let Some(object) = objects::containing(address) else { return Caller::Program };
    let caller = of_file(object.file_name(), config::get());
    if caller == Caller::HipRuntime {
        SEEN.get(address, || Some((object.scope, ())));
    }
    caller
}

/// Whether a call came from the copy of libamdhip64 at these addresses.
pub(crate) fn seen_in(scope: Scope) -> bool {
    let mut any = false;
    SEEN.each(|callers, ()| any |= callers == scope);
    any
}

/// What a file name says: first HIP itself, then the user's lists, the built-in one last.
fn of_file(name: &[u8], config: &Config) -> Caller {
    let listed = |globs: &[String]| globs.iter().any(|glob| matches(glob.as_bytes(), name));
    let built_in = || DENIED.iter().any(|glob| matches(glob.as_bytes(), name));
    if name.starts_with(Library::Hip.file_prefix().as_bytes()) {
        Caller::HipRuntime
    } else if listed(&config.deny) || (!listed(&config.allow) && built_in()) {
        Caller::Denied
    } else {
        Caller::Program
    }
}

/// Whether a file name matches a glob of `*` and `?`. Only the last `*` is ever gone back to,
/// so that no glob takes longer than its length times that of the name.
fn matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read, mut star) = (0, 0, None);
    while read < name.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((asterisk, from)) = star else { return false };
                star = Some((asterisk, from + 1));
                (at, read) = (asterisk + 1, from + 1);
            }
        }
    }
    glob[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_known_by_their_file_name() {
        for (name, caller) in [
            ("libamdhip64.so.5.2.50221", Caller::HipRuntime),
            ("libamdhip64.so", Caller::HipRuntime),
            ("librccl.so.1", Caller::Denied),
            ("librocshmem.so", Caller::Denied),
            ("libtorch_hip.so", Caller::Program),
            ("python3.11", Caller::Program),
            ("", Caller::Program),
        ] {
            assert_eq!(of_file(name.as_bytes(), &Config::default()), caller, "{name}");
        }
    }

    #[test]
    fn the_users_lists_come_before_the_built_in_one() {
        let list = |globs: &[&str]| globs.iter().map(ToString::to_string).collect();
        let config = Config {
            deny: list(&["libucp*", "*shmem?.so"]),
            allow: list(&["librccl*", "libucp*"]),
            ..Config::default()
        };
        for (name, caller) in [
            ("librccl.so.1", Caller::Program),
            ("librocshmem.so", Caller::Denied),
            ("libucp.so.0", Caller::Denied),
            ("libshmem1.so", Caller::Denied),
            ("libshmem.so", Caller::Program),
            ("libamdhip64.so.6", Caller::HipRuntime),
        ] {
            assert_eq!(of_file(name.as_bytes(), &config), caller, "{name}");
        }
    }

    #[test]
    fn globs_match_as_in_a_shell() {
        for (glob, name, expected) in [
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?", "", false),
            ("**a", "ba", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(glob.as_bytes(), name.as_bytes()), expected, "{glob} {name}");
        }
    }

    #[test]
    fn this_test_is_the_program() {
        assert_eq!(at(callers_are_known_by_their_file_name as *const () as usize), Caller::Program);
        assert_eq!(at(0), Caller::Program);
    }
}
