//! The exported functions, made from the table: each jumps straight to the real one where
//! there is nothing to decide, else to its handler with the caller's return address added.
//!
//! They are naked: what may be a forwarded call has to cost one load, one branch and a jump,
//! and only at the very first instruction is the return address at a known place. No handler
//! and no decision lives here.

use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The library that a function is taken over from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    /// libamdhip64
    Hip,
    /// libhsa-runtime64
    Hsa,
}

impl Library {
    /// What the file name of every copy of it starts with.
    pub(crate) const fn file_prefix(self) -> &'static str {
        match self {
            Self::Hip => "libamdhip64.so",
            Self::Hsa => "libhsa-runtime64.so",
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the hooks are written for x86-64, the only architecture ROCm is made for");

/// Assembly that goes on to `{handler}` with the return address as an argument after the last:
/// in a register, or on the stack where six arguments fill the registers and a seventh is
/// there already.
macro_rules! pass_caller {
    (stack) => {
        concat!(
            "mov r11, qword ptr [rsp]\n",
            "mov r10, qword ptr [rsp + 8]\n",
            // Two arguments, and 16-byte alignment at the call.
            "sub rsp, 8\n",
            ".cfi_adjust_cfa_offset 8\n",
            "push r11\n",
            ".cfi_adjust_cfa_offset 8\n",
            "push r10\n",
            ".cfi_adjust_cfa_offset 8\n",
            "call {handler}\n",
            "add rsp, 24\n",
            ".cfi_adjust_cfa_offset -24\n",
            "ret",
        )
    };
    ($register:ident) => {
        concat!("mov ", stringify!($register), ", qword ptr [rsp]\n", "jmp {handler}")
    };
}
pub(crate) use pass_caller;

macro_rules! hooks {
    ($($variant:ident, $library:ident, $name:ident, $register:ident, $handler:path, $what:literal;)*) => {
        /// A function that is taken over.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Hook { $(#[doc = $what] $variant,)* }

        impl Hook {
            /// Every hook, in the order of the table.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its C name.
            pub(crate) const fn symbol(self) -> &'static CStr {
                match self { $(Self::$variant => {
                    const NAME: &CStr = match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                        Ok(name) => name,
                        Err(_) => panic!("an identifier has no NUL"),
                    };
                    NAME
                })* }
            }

            /// Its C name.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($name),)* }
            }

            /// Where it comes from.
            pub(crate) const fn library(self) -> Library {
                match self { $(Self::$variant => Library::$library,)* }
            }

            /// What is done to it, in one line.
            #[cfg(test)]
            pub(crate) const fn what(self) -> &'static str {
                match self { $(Self::$variant => $what,)* }
            }

            /// The address of the exported function.
            pub(crate) fn exported(self) -> *const () {
                match self { $(Self::$variant => exported::$name as *const (),)* }
            }
        }

        mod exported {
            $(
                #[doc = $what]
                // SAFETY: the name is the ROCm function's own, which is the point of it.
                #[cfg_attr(not(test), unsafe(no_mangle))]
                #[unsafe(naked)]
                pub(super) unsafe extern "C" fn $name() {
                    core::arch::naked_asm!(
                        ".cfi_startproc",
                        "mov r11, qword ptr [rip + {direct} + {offset}]",
                        "test r11, r11",
                        "jz 2f",
                        "jmp r11",
                        "2:",
                        crate::hook::pass_caller!($register),
                        ".cfi_endproc",
                        direct = sym super::DIRECT,
                        offset = const super::Hook::$variant as usize * size_of::<usize>(),
                        handler = sym $handler,
                    )
                }
            )*
        }
    };
}

include!("table.rs");

/// For each hook the real function to jump to, or null while there may be something to decide.
static DIRECT: [AtomicPtr<()>; Hook::ALL.len()] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; Hook::ALL.len()];

impl Hook {
    /// From now on the exported function jumps to `real` and the handler is not called again.
    /// `real` must be the right function for every caller.
    pub(crate) fn go_direct(self, real: *const ()) {
        DIRECT[self as usize].store(real.cast_mut(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/hooks.md holds the table for readers; this keeps the two the same.
    #[test]
    fn the_documentation_lists_the_hooks_as_the_table_has_them() {
        let row = |hook: &Hook| {
            format!("| `{}` | {:?} | {} |\n", hook.name(), hook.library(), hook.what())
        };
        let rows = Hook::ALL.iter().map(row).collect::<Vec<_>>().concat();
        let page = include_str!("../docs/hooks.md");
        assert!(page.contains(&rows), "docs/hooks.md should contain:\n{rows}");
    }
}
