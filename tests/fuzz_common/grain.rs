//! What the kernel has been told of a page of an SVM range, without the library and with it.

use policy::pool_flags;

/// A page of an SVM range.
#[derive(Clone, Copy, Debug)]
pub struct Grain {
    /// The program set the grain itself.
    pub chosen: bool,
    /// What it is without the library.
    pub stock: Coherence,
    /// What it is with it.
    pub interposed: Coherence,
}

/// What the kernel was last told of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coherence {
    Coarse,
    Fine,
    /// Extended-scope fine-grained, which naming a grain does not take back.
    Extended,
}

impl Coherence {
    /// What locking memory into a pool makes of it.
    pub const fn of_pool(pool: u32) -> Self {
        if pool & pool_flags::EXTENDED != 0 {
            Self::Extended
        } else if pool & pool_flags::COARSE != 0 {
            Self::Coarse
        } else {
            Self::Fine
        }
    }

    /// What naming a grain makes of it.
    pub fn named(self, fine: bool) -> Self {
        match self {
            Self::Extended => self,
            _ if fine => Self::Fine,
            _ => Self::Coarse,
        }
    }

    pub fn is_coherent(self) -> bool {
        self != Self::Coarse
    }
}

impl Grain {
    /// What KFD gives a new range (svm_range_set_default_attributes).
    pub const DEFAULT: Self =
        Self { chosen: false, stock: Coherence::Fine, interposed: Coherence::Fine };
}
