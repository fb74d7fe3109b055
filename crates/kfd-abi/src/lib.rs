//! The amdkfd user ABI as Rust types: what the kernel's `include/uapi/linux/kfd_ioctl.h`
//! and `/sys/class/kfd/kfd/topology` say.
//!
//! Shared by the simulated GPU, which answers these requests, and by the interposer, which
//! only reads the topology. Nothing here calls the kernel or decides anything.

#[cfg(feature = "ioctl")]
mod constants;
#[cfg(feature = "ioctl")]
pub mod drm;
pub mod flags;
#[cfg(feature = "ioctl")]
pub mod ioctl;
#[cfg(feature = "ioctl")]
pub mod layout;
#[cfg(feature = "log")]
pub mod log;
pub mod topology;
