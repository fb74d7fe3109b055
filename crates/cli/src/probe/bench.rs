//! The patterns of `rdnafix bench`: how many bytes each reads, and the sum that proves it.

use super::atomics::scatter;
use super::hip::THREADS;

/// How memory is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Each element once, in order.
    Streaming,
    /// A piece that fits into the L2 cache, again and again.
    Reread,
    /// Elements of 4 bytes, anywhere.
    Random,
}

/// Blocks of the launch.
pub(crate) const BLOCKS: u32 = 256;
/// Threads of the launch, each of which returns a sum.
pub(crate) const SUMS: u32 = BLOCKS * THREADS;
/// Elements of the memory: 256 MiB, twice the largest last-level cache of RDNA2.
pub(crate) const ELEMENTS: u32 = 1 << 26;

impl Pattern {
    pub(crate) const ALL: [Self; 3] = [Self::Streaming, Self::Reread, Self::Random];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Streaming => "streaming",
            Self::Reread => "reread",
            Self::Random => "random",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pattern| pattern.name() == name)
    }

    /// Elements that are read, of 4 bytes.
    pub(crate) const fn elements(self) -> u32 {
        match self {
            // One of 16 bytes for each thread: 1 MiB.
            Self::Reread => SUMS * 4,
            Self::Streaming | Self::Random => ELEMENTS,
        }
    }

    pub(crate) const fn passes(self) -> u32 {
        match self {
            Self::Streaming => 1,
            Self::Reread => 256,
            Self::Random => 64,
        }
    }

    /// Bytes that the kernel asks for.
    pub(crate) fn bytes(self) -> f64 {
        match self {
            Self::Streaming => f64::from(ELEMENTS) * 4.0,
            Self::Reread => f64::from(SUMS) * 16.0 * f64::from(self.passes()),
            Self::Random => f64::from(SUMS) * 4.0 * f64::from(self.passes()),
        }
    }

    /// The sum of all that the kernel reads from such data, modulo 2^32.
    pub(crate) fn expected(self, data: &[u32]) -> u32 {
        let sum = |values: &[u32]| values.iter().fold(0_u32, |sum, value| sum.wrapping_add(*value));
        match self {
            Self::Streaming => sum(data),
            Self::Reread => sum(&data[..self.elements() as usize]).wrapping_mul(self.passes()),
            Self::Random => (0..SUMS * self.passes()).fold(0, |sum, index| {
                let at = scatter(index) & (self.elements() - 1);
                sum.wrapping_add(data[at as usize])
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // That the sums are those of the kernels is shown by calling these: tests/cli_probe_kernels.rs.
    #[test]
    fn no_pattern_has_the_sum_of_another_one() {
        let data: Vec<u32> = (0..ELEMENTS).map(scatter).collect();
        let sums = Pattern::ALL.map(|pattern| pattern.expected(&data));
        assert!(sums[0] != sums[1] && sums[1] != sums[2] && sums[0] != sums[2]);
    }

    #[test]
    fn every_pattern_has_its_kernel() {
        for pattern in Pattern::ALL {
            let kernel = format!("void bandwidth_{}(", pattern.name());
            assert!(super::super::hip::KERNELS.contains(&kernel), "{kernel}");
            assert_eq!(Pattern::from_name(pattern.name()), Some(pattern));
        }
    }
}
