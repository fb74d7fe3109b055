//! How much is rewritten: the levels of `RDNAFIX_POLICY`.

/// A policy level. Each contains the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing: every call is forwarded unchanged.
    Off,
    /// Memory that nobody asked to be coherent.
    #[default]
    Standard,
    /// Also `hipHostMalloc` with `hipHostMallocMapped` (ROCm/clr#285).
    Mapped,
    /// Also explicit requests for coherent memory.
    Full,
}

impl Level {
    /// All levels, weakest first.
    pub const ALL: [Self; 4] = [Self::Off, Self::Standard, Self::Mapped, Self::Full];

    /// The name that users write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Standard => "standard",
            Self::Mapped => "mapped",
            Self::Full => "full",
        }
    }

    /// The level of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}
