//! SVM ranges: which attributes hold for which addresses.
//!
//! Splits and merges as amdkfd/kfd_svm.c of Linux 6.12 (svm_range_add,
//! svm_range_apply_attrs, svm_range_get_attr). Knows addresses only, no memory.

use std::collections::BTreeMap;

use kfd_abi::flags::svm;
use kfd_abi::ioctl::SvmAttribute;

use crate::memory::Extent;
use crate::sys::{Errno, Result};

/// Attributes of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) flags: u32,
    preferred_loc: u32,
    pub(crate) prefetch_loc: u32,
    granularity: u32,
    /// GPUs with ACCESS, as bits.
    access: u32,
    /// GPUs with ACCESS_IN_PLACE, as bits.
    in_place: u32,
}

impl Attributes {
    /// What a new range starts with: svm_range_set_default_attributes.
    const fn of_a_new_range(flags: u32) -> Attributes {
        Attributes {
            flags,
            preferred_loc: svm::LOCATION_UNDEFINED,
            prefetch_loc: svm::LOCATION_UNDEFINED,
            granularity: 9,
            access: 0,
            in_place: 0,
        }
    }

    /// The GPUs that have any access, as bits.
    pub(crate) fn gpus(&self) -> u32 {
        self.access | self.in_place
    }

    fn apply(&mut self, attribute: SvmAttribute, gpu_index: impl Fn(u32) -> Option<usize>) {
        let SvmAttribute { r#type, value } = attribute;
        let bit = gpu_index(value).map_or(0, |gpu| 1 << gpu);
        match r#type {
            svm::ATTR_PREFERRED_LOC => self.preferred_loc = value,
            svm::ATTR_PREFETCH_LOC => self.prefetch_loc = value,
            svm::ATTR_ACCESS => {
                (self.access, self.in_place) = (self.access | bit, self.in_place & !bit);
            }
            svm::ATTR_ACCESS_IN_PLACE => {
                (self.access, self.in_place) = (self.access & !bit, self.in_place | bit);
            }
            svm::ATTR_NO_ACCESS => {
                (self.access, self.in_place) = (self.access & !bit, self.in_place & !bit);
            }
            svm::ATTR_SET_FLAGS => self.flags |= value,
            svm::ATTR_CLR_FLAGS => self.flags &= !value,
            _ => self.granularity = value.min(0x3f),
        }
    }
}

/// A range of addresses with one set of attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) attributes: Attributes,
}

/// All ranges of the process.
#[derive(Debug)]
pub(crate) struct Ranges {
    /// The flags that a new one has.
    starts_with: u32,
    /// By start: end and attributes. They never overlap.
    ranges: BTreeMap<u64, (u64, Attributes)>,
}

/// Whether the attributes of a call make sense (svm_range_check_attr).
pub(crate) fn check(
    attributes: &[SvmAttribute],
    gpu_index: impl Fn(u32) -> Option<usize>,
) -> Result<()> {
    let valid = attributes.iter().all(|SvmAttribute { r#type, value }| match *r#type {
        svm::ATTR_PREFERRED_LOC => {
            matches!(*value, svm::LOCATION_SYSMEM | svm::LOCATION_UNDEFINED)
                || gpu_index(*value).is_some()
        }
        svm::ATTR_PREFETCH_LOC => *value == svm::LOCATION_SYSMEM || gpu_index(*value).is_some(),
        svm::ATTR_ACCESS | svm::ATTR_ACCESS_IN_PLACE | svm::ATTR_NO_ACCESS => {
            gpu_index(*value).is_some()
        }
        svm::ATTR_SET_FLAGS | svm::ATTR_CLR_FLAGS | svm::ATTR_GRANULARITY => true,
        _ => false,
    });
    if valid { Ok(()) } else { Err(Errno(libc::EINVAL)) }
}

impl Ranges {
    /// None yet; new ones start with these flags.
    pub(crate) fn new(starts_with: u32) -> Ranges {
        Ranges { starts_with, ranges: BTreeMap::new() }
    }

    /// Applies attributes to the addresses from `start` to `end`, and gives the ranges that
    /// cover them afterwards, cut to those addresses.
    pub(crate) fn set(
        &mut self,
        start: u64,
        end: u64,
        attributes: &[SvmAttribute],
        gpu_index: impl Fn(u32) -> Option<usize> + Copy,
    ) -> Vec<Range> {
        let changed = |old: Attributes| {
            let mut new = old;
            for attribute in attributes {
                new.apply(*attribute, gpu_index);
            }
            new
        };
        // A range that the call changes is split at its ends; one that it does not is left.
        for Range { start: from, end: to, attributes: old } in self.within(start, end) {
            let new = changed(old);
            if new == old {
                continue;
            }
            let (first, last) = (from.max(start), to.min(end));
            if from < first {
                self.ranges.insert(from, (first, old));
            }
            if last < to {
                self.ranges.insert(last, (to, old));
            }
            self.ranges.insert(first, (last, new));
        }
        let new = changed(Attributes::of_a_new_range(self.starts_with));
        let mut at = start;
        for Range { start: from, end: to, .. } in self.within(start, end) {
            if at < from {
                self.ranges.insert(at, (from, new));
            }
            at = to;
        }
        if at < end {
            self.ranges.insert(at, (end, new));
        }
        self.within(start, end)
            .into_iter()
            .map(|range| Range { start: range.start.max(start), end: range.end.min(end), ..range })
            .collect()
    }

    /// Fills in the attributes that the call asks for (svm_range_get_attr).
    pub(crate) fn get(
        &self,
        start: u64,
        end: u64,
        attributes: &mut [SvmAttribute],
        gpu_index: impl Fn(u32) -> Option<usize>,
    ) -> Result<()> {
        let invalid = Errno(libc::EINVAL);
        let readable =
            |kind| !matches!(kind, svm::ATTR_ACCESS_IN_PLACE | svm::ATTR_NO_ACCESS | 8..);
        if !attributes.iter().all(|attribute| readable(attribute.r#type)) {
            return Err(invalid); // nothing is filled in then
        }
        let ranges: Vec<Attributes> =
            self.within(start, end).into_iter().map(|range| range.attributes).collect();
        let of = |field: fn(&Attributes) -> u32| -> Vec<u32> { ranges.iter().map(field).collect() };
        let location = |values: Vec<u32>| match values.first() {
            Some(first) if values.iter().all(|value| value == first) => *first,
            _ => svm::LOCATION_UNDEFINED,
        };
        let (and, or) = ranges
            .iter()
            .fold((u32::MAX, 0), |(and, or), range| (and & range.flags, or | range.flags));
        let (and, or) =
            if ranges.is_empty() { (self.starts_with, self.starts_with) } else { (and, or) };
        for attribute in attributes {
            attribute.value = match attribute.r#type {
                svm::ATTR_PREFERRED_LOC => location(of(|range| range.preferred_loc)),
                svm::ATTR_PREFETCH_LOC => location(of(|range| range.prefetch_loc)),
                svm::ATTR_ACCESS => {
                    let bit = 1 << gpu_index(attribute.value).ok_or(invalid)?;
                    let all = |field: fn(&Attributes) -> u32| {
                        !ranges.is_empty() && of(field).iter().all(|gpus| gpus & bit != 0)
                    };
                    attribute.r#type = if all(|range| range.access) {
                        svm::ATTR_ACCESS
                    } else if all(|range| range.in_place) {
                        svm::ATTR_ACCESS_IN_PLACE
                    } else {
                        svm::ATTR_NO_ACCESS
                    };
                    attribute.value
                }
                svm::ATTR_SET_FLAGS => and,
                svm::ATTR_CLR_FLAGS => !or,
                svm::ATTR_GRANULARITY => {
                    of(|range| range.granularity).into_iter().min().unwrap_or(9)
                }
                _ => return Err(invalid),
            };
        }
        Ok(())
    }

    /// Forgets a part of the address space, which was unmapped.
    pub(crate) fn forget(&mut self, start: u64, end: u64) {
        for Range { start: from, end: to, attributes } in self.within(start, end) {
            self.ranges.remove(&from);
            if from < start {
                self.ranges.insert(from, (start, attributes));
            }
            if end < to {
                self.ranges.insert(end, (to, attributes));
            }
        }
    }

    /// What a GPU reaches at an address of the process, which is the same for it. Without XNACK
    /// it reaches what it was given access to, no more.
    pub(crate) fn extent(&self, gpu: usize, va: u64) -> Option<Extent> {
        let (_, (end, attributes)) = self.ranges.range(..=va).next_back()?;
        let reached = va < *end && attributes.gpus() & 1 << gpu != 0;
        let writable = attributes.flags & svm::GPU_RO == 0;
        reached.then(|| Extent { address: va, left: end - va, writable })
    }

    /// Whether any range touches these addresses.
    pub(crate) fn overlaps(&self, start: u64, end: u64) -> bool {
        self.ranges.range(..end).next_back().is_some_and(|(_, (to, _))| *to > start)
    }

    /// The lowest and the highest address of any range.
    pub(crate) fn bounds(&self) -> Option<(u64, u64)> {
        Some((*self.ranges.first_key_value()?.0, self.ranges.last_key_value()?.1.0))
    }

    fn within(&self, start: u64, end: u64) -> Vec<Range> {
        let mut found: Vec<Range> = self
            .ranges
            .range(..end)
            .rev()
            .take_while(|(_, (to, _))| *to > start)
            .map(|(from, (to, attributes))| Range {
                start: *from,
                end: *to,
                attributes: *attributes,
            })
            .collect();
        found.reverse();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGES: u64 = 12;

    fn attribute(r#type: u32, value: u32) -> SvmAttribute {
        SvmAttribute { r#type, value }
    }

    /// GPU ids 0x10 and 0x11 are there.
    fn gpu(id: u32) -> Option<usize> {
        (0x10..0x12).contains(&id).then(|| id as usize - 0x10)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u64, u64, SvmAttribute),
        Forget(u64, u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let range =
            (0..PAGES, 1..PAGES).prop_map(|(start, size)| (start, (start + size).min(PAGES)));
        let attribute = prop_oneof![
            (5u32..7, 0u32..256).prop_map(|(kind, flags)| attribute(kind, flags)),
            (2u32..5, 0x10u32..0x12).prop_map(|(kind, gpu)| attribute(kind, gpu)),
            (0u32..2, 0u32..3).prop_map(|(kind, location)| attribute(kind, location)),
        ];
        let step = (range, attribute, 0..4).prop_map(|((start, end), attribute, kind)| {
            if kind == 0 { Step::Forget(start, end) } else { Step::Set(start, end, attribute) }
        });
        proptest::collection::vec(step, 1..20)
    }

    proptest! {
        #[test]
        fn every_page_has_the_attributes_that_were_set_for_it(steps in steps()) {
            let mut ranges = Ranges::new(svm::DEFAULT_FLAGS);
            let mut pages: Vec<Option<Attributes>> = vec![None; PAGES as usize];
            for step in steps {
                match step {
                    Step::Set(start, end, attribute) => {
                        let covered = ranges.set(start, end, &[attribute], gpu);
                        for page in &mut pages[start as usize..end as usize] {
                            page.get_or_insert(Attributes::of_a_new_range(svm::DEFAULT_FLAGS)).apply(attribute, gpu);
                        }
                        // The answer covers the call's addresses without gap or overlap.
                        let mut at = start;
                        for range in covered {
                            prop_assert_eq!(range.start, at);
                            prop_assert!(range.end > range.start && range.end <= end);
                            at = range.end;
                        }
                        prop_assert_eq!(at, end);
                    }
                    Step::Forget(start, end) => {
                        ranges.forget(start, end);
                        pages[start as usize..end as usize].fill(None);
                    }
                }
                for (page, expected) in (0..).zip(&pages) {
                    let found = ranges.within(page, page + 1);
                    prop_assert!(found.len() <= 1);
                    prop_assert_eq!(found.first().map(|range| range.attributes), *expected);
                    prop_assert_eq!(ranges.overlaps(page, page + 1), expected.is_some());
                }
            }
        }
    }

    #[test]
    fn reading_gives_what_all_of_the_range_has() {
        let mut ranges = Ranges::new(svm::DEFAULT_FLAGS);
        ranges.set(0, 4, &[attribute(svm::ATTR_ACCESS, 0x10)], gpu);
        ranges.set(4, 8, &[attribute(svm::ATTR_ACCESS_IN_PLACE, 0x10)], gpu);
        ranges.set(2, 6, &[attribute(svm::ATTR_CLR_FLAGS, svm::COHERENT)], gpu);
        let read = |start, end, kind, value| {
            let mut asked = [attribute(kind, value)];
            ranges.get(start, end, &mut asked, gpu).map(|()| (asked[0].r#type, asked[0].value))
        };
        assert_eq!(read(0, 2, svm::ATTR_SET_FLAGS, 0), Ok((5, svm::DEFAULT_FLAGS)));
        assert_eq!(read(0, 8, svm::ATTR_SET_FLAGS, 0), Ok((5, svm::HOST_ACCESS)));
        assert_eq!(read(2, 6, svm::ATTR_CLR_FLAGS, 0), Ok((6, !svm::HOST_ACCESS)));
        assert_eq!(read(0, 4, svm::ATTR_ACCESS, 0x10), Ok((svm::ATTR_ACCESS, 0x10)));
        assert_eq!(read(4, 8, svm::ATTR_ACCESS, 0x10), Ok((svm::ATTR_ACCESS_IN_PLACE, 0x10)));
        assert_eq!(read(0, 8, svm::ATTR_ACCESS, 0x10), Ok((svm::ATTR_NO_ACCESS, 0x10)));
        assert_eq!(read(0, 4, svm::ATTR_ACCESS, 0x99), Err(Errno(libc::EINVAL)));
        assert_eq!(read(20, 24, svm::ATTR_SET_FLAGS, 0), Ok((5, svm::DEFAULT_FLAGS)));
        assert_eq!(read(20, 24, svm::ATTR_GRANULARITY, 0), Ok((7, 9)));
    }

    #[test]
    fn a_call_that_changes_nothing_splits_nothing() {
        let mut ranges = Ranges::new(svm::DEFAULT_FLAGS);
        ranges.set(0, 8, &[attribute(svm::ATTR_SET_FLAGS, svm::GPU_RO)], gpu);
        ranges.set(2, 4, &[attribute(svm::ATTR_SET_FLAGS, svm::GPU_RO)], gpu);
        assert_eq!(ranges.within(0, 8).len(), 1);
    }

    #[test]
    fn unknown_attributes_and_gpus_are_refused() {
        for wrong in [(8, 0), (svm::ATTR_ACCESS, 0x12), (svm::ATTR_PREFETCH_LOC, u32::MAX)] {
            assert_eq!(check(&[attribute(wrong.0, wrong.1)], gpu), Err(Errno(libc::EINVAL)));
        }
        for right in [(svm::ATTR_PREFERRED_LOC, u32::MAX), (svm::ATTR_PREFETCH_LOC, 0)] {
            assert_eq!(check(&[attribute(right.0, right.1)], gpu), Ok(()));
        }
    }
}
