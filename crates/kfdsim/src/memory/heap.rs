//! Gives out parts of the file that stands for GPU memory, and takes them back.

use std::collections::BTreeMap;

/// Free space, by start; neighbours are always merged.
#[derive(Debug)]
pub(crate) struct Heap {
    free: BTreeMap<u64, u64>,
}

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;

/// What an allocation of this size really takes: whole huge pages if it is large enough for
/// one, so that offsets are aligned as VRAM is.
pub(crate) fn rounded(size: u64) -> u64 {
    let unit = if size >= HUGE { HUGE } else { PAGE };
    size.div_ceil(unit) * unit
}

impl Heap {
    /// A heap of `size` bytes from `start`, both multiples of 2 MiB.
    pub(crate) fn new(start: u64, size: u64) -> Heap {
        Heap { free: BTreeMap::from([(start, size)]) }
    }

    /// The first place that is large enough.
    pub(crate) fn allocate(&mut self, size: u64) -> Option<u64> {
        let (size, align) = (rounded(size), if size >= HUGE { HUGE } else { PAGE });
        let (start, length, offset) = self.free.iter().find_map(|(start, length)| {
            let offset = start.next_multiple_of(align);
            (offset + size <= start + length).then_some((*start, *length, offset))
        })?;
        self.free.remove(&start);
        if offset > start {
            self.free.insert(start, offset - start);
        }
        if offset + size < start + length {
            self.free.insert(offset + size, start + length - offset - size);
        }
        Some(offset)
    }

    /// Takes back what `allocate` gave for `size`.
    pub(crate) fn release(&mut self, offset: u64, size: u64) {
        let (mut start, mut length) = (offset, rounded(size));
        if let Some((before, size)) = self.free.range(..offset).next_back()
            && before + size == offset
        {
            (start, length) = (*before, length + size);
        }
        if let Some(size) = self.free.remove(&(offset + rounded(size))) {
            length += size;
        }
        self.free.insert(start, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn allocations_never_overlap_and_all_comes_back(
            sizes in proptest::collection::vec(1u64..6 << 20, 1..40),
            freed in proptest::collection::vec(any::<bool>(), 40),
        ) {
            let mut heap = Heap::new(HUGE, 1 << 30);
            let mut live: Vec<(u64, u64)> = Vec::new();
            for (size, free) in sizes.iter().zip(freed) {
                let offset = heap.allocate(*size).unwrap();
                let end = offset + rounded(*size);
                prop_assert!(offset >= HUGE && end <= HUGE + (1 << 30));
                prop_assert!(*size < HUGE || offset.is_multiple_of(HUGE));
                prop_assert!(live.iter().all(|(o, s)| end <= *o || o + rounded(*s) <= offset));
                live.push((offset, *size));
                if free {
                    let (offset, size) = live.swap_remove(live.len() / 2);
                    heap.release(offset, size);
                }
            }
            for (offset, size) in live {
                heap.release(offset, size);
            }
            prop_assert_eq!(heap.free, BTreeMap::from([(HUGE, 1 << 30)]));
        }
    }

    #[test]
    fn a_full_heap_says_so() {
        let mut heap = Heap::new(0, HUGE);
        assert_eq!(heap.allocate(HUGE + 1), None);
        assert_eq!(heap.allocate(HUGE), Some(0));
        assert_eq!(heap.allocate(1), None);
    }
}
