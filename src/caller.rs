//! Who asks: recognised by the object that the return address lies in.

use policy::Caller;

use crate::hook::Library;
use crate::objects;
use crate::resolve::PerCaller;

/// Libraries that poll memory from running kernels, by the start of their file names.
const DENIED: [&str; 2] = ["librccl", "librocshmem"];

static CALLERS: PerCaller<Caller> = PerCaller::new();

/// The kind of caller that `address` belongs to. Thread-safe; code outside every object (made
/// at run time) counts as the program's.
pub(crate) fn at(address: usize) -> Caller {
    let found = CALLERS.get(address, || {
        let object = objects::containing(address)?;
        Some((object.scope, of_file(object.file_name())))
    });
    found.map_or(Caller::Program, |(_, caller)| *caller)
}

fn of_file(name: &[u8]) -> Caller {
    if name.starts_with(Library::Hip.file_prefix().as_bytes()) {
        Caller::HipRuntime
    } else if DENIED.iter().any(|denied| name.starts_with(denied.as_bytes())) {
        Caller::Denied
    } else {
        Caller::Program
    }
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
            assert_eq!(of_file(name.as_bytes()), caller, "{name}");
        }
    }

    #[test]
    fn this_test_is_the_program() {
        assert_eq!(at(callers_are_known_by_their_file_name as *const () as usize), Caller::Program);
        assert_eq!(at(0), Caller::Program);
    }
}
