//! The ways a call of hipHostMalloc can take. Each is a process of its own, because what is
//! preloaded cannot be changed later; the real functions are a stand-in (benches/c/stub_hip.c).

use std::ffi::{OsStr, c_int, c_uint, c_void};
use std::path::Path;
use std::process::Command;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use super::artifact::artifact;
use super::library;

pub type HostMalloc = unsafe extern "C" fn(*mut *mut c_void, usize, c_uint) -> c_int;
pub type HostFree = unsafe extern "C" fn(*mut c_void) -> c_int;

const NON_COHERENT: c_uint = 0x8000_0000;
const VARIANT: &str = "RDNAFIX_BENCH_VARIANT";
const STUB: &str = "RDNAFIX_BENCH_STUB";

/// Name, what is preloaded, further variables, flags of the call.
pub struct Variant {
    pub name: &'static str,
    preload: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    pub flags: c_uint,
}

pub const VARIANTS: &[Variant] = &[
    Variant { name: "direct call", preload: &[], environment: &[], flags: NON_COHERENT },
    Variant {
        name: "C interposer",
        preload: &["libforward.so"],
        environment: &[],
        flags: NON_COHERENT,
    },
    Variant {
        name: "rdnafix, level off",
        preload: &["librdnafix.so"],
        environment: &[("RDNAFIX_POLICY", "off")],
        flags: NON_COHERENT,
    },
    Variant {
        name: "rdnafix, no RDNA1-2 GPU",
        preload: &["librdnafix.so", "libkfdsim.so"],
        environment: &[("KFDSIM_GPUS", "gfx1100")],
        flags: NON_COHERENT,
    },
    Variant {
        name: "rdnafix, gfx1030, forwarded",
        preload: &["librdnafix.so", "libkfdsim.so"],
        environment: &[("KFDSIM_GPUS", "gfx1030")],
        flags: NON_COHERENT,
    },
    Variant {
        name: "rdnafix, gfx1030, rewritten",
        preload: &["librdnafix.so", "libkfdsim.so"],
        environment: &[("KFDSIM_GPUS", "gfx1030")],
        flags: 0,
    },
];

impl Variant {
    /// The one that this process was started to be, if it was.
    pub fn of_this_process() -> Option<&'static Self> {
        let name = std::env::var(VARIANT).ok()?;
        VARIANTS.iter().find(|variant| variant.name == name)
    }

    /// This program again, as that variant, started by `wrapper` if there is one. `dir` is
    /// where the stand-ins are made.
    pub fn command(&self, dir: &Path, wrapper: &[&str]) -> Command {
        let stub = library(dir, "stub_hip.c", "libamdhip64.so.6");
        library(dir, "forward.c", "libforward.so");
        let locate = |name: &&str| match *name {
            "libforward.so" => dir.join(name),
            name => artifact(name),
        };
        let preload: Vec<_> =
            self.preload.iter().map(|name| locate(name).into_os_string()).collect();
        let program = std::env::current_exe().expect("this file");
        let words: Vec<&OsStr> =
            wrapper.iter().map(OsStr::new).chain([program.as_os_str()]).collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env(VARIANT, self.name)
            .env(STUB, stub)
            .env("LD_PRELOAD", preload.join(OsStr::new(":")))
            .envs(self.environment.iter().copied());
        command
    }
}

/// hipHostMalloc and hipHostFree as a linked program would bind to them: the first definitions
/// in the global scope.
pub fn functions() -> (HostMalloc, HostFree) {
    let stub = std::env::var_os(STUB).expect("set by the parent");
    // SAFETY: the stand-in has no constructor.
    let stub = unsafe { Library::open(Some(&stub), RTLD_NOW | RTLD_GLOBAL) }.expect("it loads");
    std::mem::forget(stub);
    let global = Library::this();
    // SAFETY: the functions have these types in stub_hip.c, forward.c and librdnafix.so.
    unsafe {
        (
            *global.get::<HostMalloc>(b"hipHostMalloc\0").expect("hipHostMalloc"),
            *global.get::<HostFree>(b"hipHostFree\0").expect("hipHostFree"),
        )
    }
}
