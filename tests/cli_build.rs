//! `rdnafix build`: the patched libraries as an overlay.

mod cli_common;

use cli_common::patched::patched;

#[test]
fn the_patched_libraries_are_built_from_the_archives_source() {
    let Some(prefix) = patched() else { return };
    for file in ["lib/libamdhip64.so.6", "lib/libhsa-runtime64.so.1", "bin/env.sh"] {
        assert!(prefix.join(file).is_file(), "{file}");
    }
}
