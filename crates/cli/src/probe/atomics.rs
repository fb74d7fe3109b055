//! The atomics of the matrix, and what the CPU says they come to.

/// An atomic on 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Inc,
    Dec,
    Cas,
    Exchange,
    FloatAdd,
}

/// As many as in ROCm/clr#285.
pub(crate) const ELEMENTS: u32 = 65_536;

impl Operation {
    pub(crate) const ALL: [Self; 11] = [
        Self::Add,
        Self::Min,
        Self::Max,
        Self::And,
        Self::Or,
        Self::Xor,
        Self::Inc,
        Self::Dec,
        Self::Cas,
        Self::Exchange,
        Self::FloatAdd,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Min => "min",
            Self::Max => "max",
            Self::And => "and",
            Self::Or => "or",
            Self::Xor => "xor",
            Self::Inc => "inc",
            Self::Dec => "dec",
            Self::Cas => "cas",
            Self::Exchange => "exchange",
            Self::FloatAdd => "float_add",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// What an element has before.
    pub(crate) fn initial(self, index: u32) -> u32 {
        let value = scatter(index);
        match self {
            // Something is there to be taken away, or to be below of.
            Self::Min | Self::And => value | 1 << 31,
            Self::Max | Self::Or => value & !(1 << 31),
            // Each fourth one wraps around.
            Self::Inc if index.is_multiple_of(4) => LIMIT,
            Self::Inc => value % LIMIT,
            Self::Dec if index.is_multiple_of(4) => 0,
            Self::Dec => value % LIMIT + 1,
            // Whole numbers below 2^24 are exact.
            Self::FloatAdd => f32::from(value as u16).to_bits(),
            _ => value,
        }
    }

    /// What the atomic is given.
    pub(crate) fn operand(self, index: u32) -> u32 {
        let value = scatter(index ^ 0x5555_5555);
        match self {
            Self::Min | Self::And => value & !(1 << 31),
            Self::Max | Self::Or => value | 1 << 31,
            Self::Inc | Self::Dec => LIMIT,
            Self::FloatAdd => f32::from(value as u16 | 1).to_bits(),
            Self::Cas | Self::Exchange => !self.initial(index),
            Self::Add | Self::Xor => value | 1,
        }
    }

    /// What an element has afterwards. It never is what it was before, so that a lost atomic
    /// shows.
    pub(crate) fn expected(self, index: u32) -> u32 {
        let (before, operand) = (self.initial(index), self.operand(index));
        match self {
            Self::Add => before.wrapping_add(operand),
            Self::Min => before.min(operand),
            Self::Max => before.max(operand),
            Self::And => before & operand,
            Self::Or => before | operand,
            Self::Xor => before ^ operand,
            Self::Inc => {
                if before >= operand {
                    0
                } else {
                    before + 1
                }
            }
            Self::Dec => {
                if before == 0 || before > operand {
                    operand
                } else {
                    before - 1
                }
            }
            Self::Cas | Self::Exchange => operand,
            Self::FloatAdd => (f32::from_bits(before) + f32::from_bits(operand)).to_bits(),
        }
    }
}

/// Of inc and dec.
const LIMIT: u32 = 1000;

/// Numbers without a pattern: a hash of 32 bits, the same as in `kernels.hip`.
pub(crate) fn scatter(index: u32) -> u32 {
    let x = (index ^ index >> 16).wrapping_mul(0x7feb_352d);
    let x = (x ^ x >> 15).wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_that_is_lost_shows_in_every_element() {
        for operation in Operation::ALL {
            for index in 0..ELEMENTS {
                assert_ne!(
                    operation.expected(index),
                    operation.initial(index),
                    "{} of element {index}",
                    operation.name()
                );
            }
        }
    }

    #[test]
    fn inc_and_dec_wrap_around() {
        assert_eq!((Operation::Inc.initial(4), Operation::Inc.expected(4)), (LIMIT, 0));
        assert_eq!((Operation::Dec.initial(4), Operation::Dec.expected(4)), (0, LIMIT));
        assert_eq!(Operation::Inc.expected(5), Operation::Inc.initial(5) + 1);
        assert_eq!(Operation::Dec.expected(5), Operation::Dec.initial(5) - 1);
    }

    #[test]
    fn every_operation_has_its_kernels() {
        for operation in Operation::ALL {
            let kernel = format!("ATOMIC(atomic_{},", operation.name());
            assert!(super::super::hip::KERNELS.contains(&kernel), "{kernel}");
            assert_eq!(Operation::from_name(operation.name()), Some(operation));
        }
    }
}
