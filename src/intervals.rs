//! A map from address ranges that do not overlap to values. Pure.

use std::collections::BTreeMap;

/// Address ranges with a value each; a later one replaces what it covers of earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Intervals<T> {
    /// start -> (end, value); ends are exclusive.
    by_start: BTreeMap<usize, (usize, T)>,
}

impl<T: Copy> Intervals<T> {
    pub(crate) const fn new() -> Self {
        Self { by_start: BTreeMap::new() }
    }

    /// Number of ranges.
    pub(crate) fn len(&self) -> usize {
        self.by_start.len()
    }

    /// Sets the value of `start .. start + size`; of a range that it covers in part, the rest
    /// keeps its value. Nothing for an empty range or one past the end of the address space.
    pub(crate) fn set(&mut self, start: usize, size: usize, value: T) {
        if let Some(end) = start.checked_add(size).filter(|end| *end > start) {
            self.clear(start, size);
            self.by_start.insert(start, (end, value));
        }
    }

    /// Forgets `start .. start + size`, and gives back what there was of it.
    pub(crate) fn cut(&mut self, start: usize, size: usize) -> Vec<(usize, usize, T)> {
        let end = start.saturating_add(size);
        let covered: Vec<(usize, (usize, T))> = self
            .by_start
            .range(..end)
            .rev()
            .take_while(|(_, (stop, _))| *stop > start)
            .map(|(from, entry)| (*from, *entry))
            .collect();
        for (from, (stop, value)) in &covered {
            self.by_start.remove(from);
            if *from < start {
                self.by_start.insert(*from, (start, *value));
            }
            if *stop > end {
                self.by_start.insert(end, (*stop, *value));
            }
        }
        let inside = |(from, (stop, value)): (usize, (usize, T))| {
            let (from, stop) = (from.max(start), stop.min(end));
            (from, stop - from, value)
        };
        covered.into_iter().map(inside).collect()
    }

    /// Forgets `start .. start + size`.
    pub(crate) fn clear(&mut self, start: usize, size: usize) {
        self.cut(start, size);
    }

    /// Forgets the range that starts at `start`, whatever its length, and gives it back.
    pub(crate) fn take(&mut self, start: usize) -> Option<(usize, T)> {
        self.by_start.remove(&start).map(|(end, value)| (end - start, value))
    }

    /// Forgets the ranges whose value `leaves`.
    pub(crate) fn drop_where(&mut self, leaves: impl Fn(T) -> bool) {
        self.by_start.retain(|_, (_, value)| !leaves(*value));
    }

    /// The value at an address.
    pub(crate) fn at(&self, address: usize) -> Option<T> {
        let (_, (end, value)) = self.by_start.range(..=address).next_back()?;
        (address < *end).then_some(*value)
    }

    /// Whether any of `start .. start + size` has a value.
    pub(crate) fn overlaps(&self, start: usize, size: usize) -> bool {
        let end = start.saturating_add(size);
        self.by_start.range(..end).next_back().is_some_and(|(_, (stop, _))| *stop > start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_is_found_by_any_address_in_it() {
        let mut map = Intervals::new();
        map.set(100, 10, 'a');
        assert_eq!([99, 100, 109, 110].map(|at| map.at(at)), [None, Some('a'), Some('a'), None]);
        assert!(map.overlaps(95, 6) && map.overlaps(109, 1) && !map.overlaps(110, 50));
    }

    #[test]
    fn taking_needs_the_start() {
        let mut map = Intervals::new();
        map.set(100, 10, 'a');
        assert_eq!(map.take(101), None);
        assert_eq!(map.take(100), Some((10, 'a')));
        assert_eq!(map.len(), 0);
    }

    #[test]
    fn ranges_can_be_forgotten_by_their_value() {
        let mut map = Intervals::new();
        for (start, value) in [(100, 'a'), (200, 'b'), (300, 'a')] {
            map.set(start, 10, value);
        }
        map.drop_where(|value| value == 'a');
        assert_eq!([100, 200, 300].map(|at| map.at(at)), [None, Some('b'), None]);
    }

    #[test]
    fn the_end_of_the_address_space_is_no_trap() {
        let mut map = Intervals::new();
        map.set(usize::MAX - 4, 100, 'a');
        map.set(5, 0, 'b');
        assert_eq!(map.len(), 0);
        map.clear(usize::MAX - 4, usize::MAX);
        assert!(!map.overlaps(usize::MAX, usize::MAX));
    }

    proptest! {
        /// The same operations on an array of 64 cells.
        #[test]
        fn it_agrees_with_a_plain_array(
            operations in proptest::collection::vec((any::<bool>(), 0usize..64, 0usize..64, any::<u8>()), 0..40),
        ) {
            let mut map = Intervals::new();
            let mut cells = [None; 128];
            for (set, start, size, value) in operations {
                let new = set.then_some(value);
                if set { map.set(start, size, value) } else { map.clear(start, size) }
                cells[start..start + size].fill(new);
            }
            for (at, cell) in cells.iter().enumerate() {
                prop_assert_eq!(map.at(at), *cell);
            }
            for start in 0..64 {
                for size in 1..8 {
                    let any = cells[start..start + size].iter().any(Option::is_some);
                    prop_assert_eq!(map.overlaps(start, size), any);
                }
            }
        }
    }
}
