//! The decision of rdnafix: which ROCm memory requests become non-coherent, and why.
//!
//! On an RDNA1 or RDNA2 GPU (gfx101x, gfx103x), memory that a program did not explicitly ask
//! to be coherent is allocated non-coherent (coarse-grained). [`decide()`] answers for one
//! request, as data: an [`Action`] and the [`Reason`] for it. Pure: no I/O, no state, no
//! unsafe, no allocation. Whoever calls it says who asks, for which GPU and for what.

#![no_std]
#![forbid(unsafe_code)]

mod decide;
mod gfx;
mod level;
mod outcome;
mod request;

pub use decide::decide;
pub use gfx::GfxTarget;
pub use level::Level;
pub use outcome::{Action, Decision, Reason};
pub use request::{
    Below, Caller, Gpu, HipVersion, Owner, Request, ext_malloc, host_malloc, pool_alloc, pool_flags,
};
