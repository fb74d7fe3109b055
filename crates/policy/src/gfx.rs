//! GPU targets: reading them from KFD and from agent names, and which are RDNA1/2.

/// A gfx target, for example gfx1030: major 10, minor 3, stepping 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GfxTarget {
    /// 10 for RDNA1/2.
    pub major: u8,
    /// 1 for RDNA1, 3 for RDNA2.
    pub minor: u8,
    /// The last digit of the name, hexadecimal there.
    pub stepping: u8,
}

impl GfxTarget {
    /// From KFD's `gfx_target_version`: major * 10000 + minor * 100 + stepping, decimal
    /// (Linux 6.12 kfd_device.c:360-417). `None` for 0 and for what does not fit.
    pub fn from_kfd(version: u32) -> Option<Self> {
        let part = |value: u32| u8::try_from(value).ok();
        (version != 0).then_some(())?;
        Some(Self {
            major: part(version / 10_000)?,
            minor: part(version / 100 % 100)?,
            stepping: part(version % 100)?,
        })
    }

    /// From an agent or ISA name: `gfx1030`, `gfx90a`, `gfx1010:xnack-`. The last two
    /// characters are minor and stepping, hexadecimal; what stands before them is the major.
    pub fn from_name(name: &str) -> Option<Self> {
        let target = name.strip_prefix("gfx")?.split(':').next()?;
        let (major, rest) = target.split_at_checked(target.len().checked_sub(2)?)?;
        let mut digits = rest.chars().map(|digit| digit.to_digit(16));
        Some(Self {
            major: major.parse().ok()?,
            minor: u8::try_from(digits.next()??).ok()?,
            stepping: u8::try_from(digits.next()??).ok()?,
        })
    }

    /// Whether this is gfx101x (RDNA1) or gfx103x (RDNA2). gfx102x does not exist.
    pub const fn is_rdna12(self) -> bool {
        self.major == 10 && matches!(self.minor, 1 | 3)
    }
}

impl core::fmt::Display for GfxTarget {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "gfx{}{:x}{:x}", self.major, self.minor, self.stepping)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn every_rdna12_target_is_known_by_number_and_by_name() {
        for (version, name) in [
            (100_100, "gfx1010"),
            (100_101, "gfx1011"),
            (100_102, "gfx1012"),
            (100_103, "gfx1013"),
            (100_300, "gfx1030"),
            (100_301, "gfx1031"),
            (100_302, "gfx1032"),
            (100_303, "gfx1033"),
            (100_304, "gfx1034"),
            (100_305, "gfx1035"),
            (100_306, "gfx1036"),
        ] {
            let target = GfxTarget::from_kfd(version).unwrap();
            assert!(target.is_rdna12(), "{name}");
            assert_eq!(GfxTarget::from_name(name), Some(target));
            assert_eq!(target.to_string(), name);
        }
    }

    #[test]
    fn other_generations_are_not_rdna12() {
        for version in [90_000, 90_006, 90_010, 90_402, 100_200, 110_000, 110_003, 115_001, 120_001]
        {
            assert!(!GfxTarget::from_kfd(version).unwrap().is_rdna12(), "{version}");
        }
    }

    #[test]
    fn a_feature_suffix_is_passed_over() {
        assert_eq!(GfxTarget::from_name("gfx1010:xnack-"), GfxTarget::from_kfd(100_100));
        assert_eq!(GfxTarget::from_name("gfx90a:sramecc+:xnack-"), GfxTarget::from_kfd(90_010));
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for name in ["", "gfx", "gfx1", "1030", "gfx10-3-generic", "gfxabc", "AMD Ryzen 7", "gfxé0"]
        {
            assert_eq!(GfxTarget::from_name(name), None, "{name}");
        }
        assert_eq!(GfxTarget::from_kfd(0), None);
        assert_eq!(GfxTarget::from_kfd(u32::MAX), None);
    }

    proptest! {
        #[test]
        fn any_name_and_number_is_read_or_refused(name in "\\PC{0,24}", hex in "gfx[0-9a-f]{0,8}", version: u32) {
            let _ = GfxTarget::from_name(&name);
            let _ = GfxTarget::from_name(&hex);
            let _ = GfxTarget::from_kfd(version);
        }

        #[test]
        fn a_name_reads_back(major in 9u8..13, minor in 0u8..16, stepping in 0u8..16) {
            let target = GfxTarget { major, minor, stepping };
            prop_assert_eq!(GfxTarget::from_name(&target.to_string()), Some(target));
        }
    }
}
