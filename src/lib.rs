//! librdnafix.so: on RDNA1/2 GPUs, ROCm memory that nobody asked to be coherent is allocated
//! non-coherent.
//!
//! A call arrives in `hook`, which jumps on to the real function or into `hooks`; there the
//! request is put to the `policy` crate and the real function, found by `resolve`, is called
//! with what came out. The library is inherited by every process under the user's command, so
//! it does nothing until a hooked function is called but read its environment and, where every
//! GPU is RDNA1/2, set PyTorch's allocator defaults in it.

#![cfg_attr(
    test,
    allow(dead_code, non_snake_case, reason = "tests do not export the functions of ROCm's names")
)]
#![allow(missing_docs, reason = "the interface of this library is C; docs/hooks.md documents it")]

mod caller;
mod cancel;
mod config;
mod dl;
mod elf;
mod fork;
mod gpus;
mod hip;
mod hook;
mod hooks;
mod hsa;
mod intervals;
mod log;
mod mode;
mod objects;
mod remember;
mod report;
mod resolve;
mod seen;
#[cfg(test)]
mod test_threads;
mod tool;
mod torch;
mod vram;

/// Reads the environment while the process has one thread.
#[ctor::ctor(unsafe)]
fn constructor() {
    let config = config::get();
    if !config.complaints.is_empty() || config.log.is_some() {
        log::note_stderr();
    }
    if config.counts() {
        fork::note_process();
        report::start();
    }
    torch::at_start(!config.no_torch && !config.dry_run && config.level != policy::Level::Off);
    if config.log.is_some() {
        torch::note();
    }
}

// libgcc_s would be one more library to load in every process; its unwinder also comes as an
// archive, which is found first because it is named here.
#[link(name = "gcc_eh", kind = "static")]
unsafe extern "C" {}
