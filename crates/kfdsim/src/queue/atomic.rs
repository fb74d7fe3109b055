//! Atomic operations of PM4 (ATOMIC_MEM) and SDMA (ATOMIC), which share one table.
//!
//! Operations: TC_OP_ATOMIC_* of the kernel's soc15_enum.h (Linux 6.12): bits 0 to 4 the
//! operation, bit 5 set for 64 bits, bit 6 set if nothing is returned.

use super::access::{Access, Result, Word};

const SWAP: u32 = 7;
const COMPARE_AND_SWAP: u32 = 8;
const ADD: u32 = 15;
const SUB: u32 = 16;
const SIGNED_MIN: u32 = 17;
const MIN: u32 = 18;
const SIGNED_MAX: u32 = 19;
const MAX: u32 = 20;
const AND: u32 = 21;
const OR: u32 = 22;
const XOR: u32 = 23;
const INC: u32 = 24;
const DEC: u32 = 25;

/// An operation on one word of memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Atomic {
    pub(super) operation: u32,
    pub(super) va: u64,
    pub(super) operand: u64,
    pub(super) compare: u64,
}

impl Atomic {
    fn is_64_bit(&self) -> bool {
        self.operation & 0x20 != 0
    }

    /// Whether it is the one that can be repeated until it succeeds.
    pub(super) fn compares(&self) -> bool {
        self.operation & 0x1f == COMPARE_AND_SWAP
    }

    /// What becomes of a value; `None` for an operation that is not known here.
    fn apply(&self, old: u64) -> Option<u64> {
        let wide = self.is_64_bit();
        let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
        let signed = |value: u64| if wide { value.cast_signed() } else { i64::from(value as i32) };
        let (old, operand) = (cut(old), cut(self.operand));
        Some(cut(match self.operation & 0x1f {
            SWAP => operand,
            COMPARE_AND_SWAP if old == cut(self.compare) => operand,
            COMPARE_AND_SWAP => old,
            ADD => old.wrapping_add(operand),
            SUB => old.wrapping_sub(operand),
            SIGNED_MIN => signed(old).min(signed(operand)).cast_unsigned(),
            MIN => old.min(operand),
            SIGNED_MAX => signed(old).max(signed(operand)).cast_unsigned(),
            MAX => old.max(operand),
            AND => old & operand,
            OR => old | operand,
            XOR => old ^ operand,
            INC if old >= operand => 0,
            INC => old + 1,
            DEC if old == 0 || old > operand => operand,
            DEC => old - 1,
            _ => return None,
        }))
    }

    /// Does it; gives the value before, or `None` for an operation that is not known here.
    pub(super) fn run(&self, access: &Access) -> Result<Option<u64>> {
        if self.apply(0).is_none() {
            return Ok(None);
        }
        Ok(Some(if self.is_64_bit() {
            let address = access.target(self.va, 8, "atomic")?;
            u64::update(address, |old| self.apply(old).unwrap_or(old))
        } else {
            let address = access.target(self.va, 4, "atomic")?;
            let new = |old| self.apply(u64::from(old)).map_or(old, |new| new as u32);
            u64::from(u32::update(address, new))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn apply(operation: u32, old: u64, operand: u64) -> Option<u64> {
        Atomic { operation, va: 0, operand, compare: 5 }.apply(old)
    }

    #[test]
    fn every_operation_gives_its_result_in_64_bits() {
        let minus_one = u64::MAX;
        for (operation, old, operand, result) in [
            (SWAP, 1, 2, 2),
            (COMPARE_AND_SWAP, 5, 9, 9),
            (COMPARE_AND_SWAP, 4, 9, 4),
            (ADD, 3, minus_one, 2),
            (SUB, 3, 4, minus_one),
            (SIGNED_MIN, 1, minus_one, minus_one),
            (MIN, 1, minus_one, 1),
            (SIGNED_MAX, 1, minus_one, 1),
            (MAX, 1, minus_one, minus_one),
            (AND, 6, 3, 2),
            (OR, 6, 3, 7),
            (XOR, 6, 3, 5),
            (INC, 6, 7, 7),
            (INC, 7, 7, 0),
            (DEC, 7, 7, 6),
            (DEC, 0, 7, 7),
            (DEC, 9, 7, 7),
        ] {
            assert_eq!(apply(operation | 0x20, old, operand), Some(result), "{operation}");
            assert_eq!(apply(operation | 0x60, old, operand), Some(result), "{operation}");
        }
    }

    #[test]
    fn narrow_operations_wrap_and_sign_at_32_bits() {
        assert_eq!(apply(ADD, 0xffff_ffff, 1), Some(0));
        assert_eq!(apply(SIGNED_MIN, 1, 0xffff_ffff), Some(0xffff_ffff));
        assert_eq!(apply(SIGNED_MAX, 0xffff_ffff, 1), Some(1));
    }

    proptest! {
        #[test]
        fn any_operation_is_done_or_refused(operation: u32, old: u64, operand: u64) {
            let known = matches!(operation & 0x1f, 7 | 8 | 15..=25);
            prop_assert_eq!(apply(operation, old, operand).is_some(), known);
        }
    }
}
