//! What comes out of a decision, as data: what to do, and why.

/// What the caller of [`decide()`](crate::decide()) has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Forward the call as it came.
    Forward,
    /// Forward the call with these flags instead.
    WithFlags(u32),
    /// Call `hipHostMalloc` with these flags instead.
    CallHostMalloc(u32),
    /// Allocate from the coarse-grained pool of the same agent, with these flags.
    CoarsePool {
        /// Flags of the call.
        flags: u32,
    },
    /// Append GLOBAL_FLAG = COARSE_GRAINED to the attribute list.
    AppendCoarse,
    /// The call has succeeded: now `hipMemAdvise(SetCoarseGrain)` on the range.
    AdviseCoarse,
}

impl Action {
    /// Whether anything changes.
    pub const fn rewrites(self) -> bool {
        !matches!(self, Self::Forward)
    }
}

impl core::fmt::Display for Action {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Forward => f.write_str("forwarded unchanged"),
            Self::WithFlags(flags) => write!(f, "flags={flags:#x}"),
            Self::CallHostMalloc(flags) => write!(f, "hipHostMalloc, flags={flags:#x}"),
            Self::CoarsePool { flags } => write!(f, "coarse-grained pool, flags={flags:#x}"),
            Self::AppendCoarse => f.write_str("coarse-grained"),
            Self::AdviseCoarse => f.write_str("then hipMemAdvise(SetCoarseGrain)"),
        }
    }
}

/// A decision and the reason for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
}

impl Decision {
    /// The same, but requests of fewer than `least` bytes are left alone.
    #[must_use]
    pub const fn unless_below(self, bytes: usize, least: usize) -> Self {
        if self.action.rewrites() && bytes < least {
            Self { action: Action::Forward, reason: Reason::BelowMinimum }
        } else {
            self
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal: $text:literal,)*) => {
        /// Why a request is rewritten or left alone. Log, report and documentation print
        /// [`Reason::text`]; programs read [`Reason::code`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $(#[doc = $text] $name,)* }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// A short stable name, for JSON.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// One line for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    NobodyAsked = "nobody-asked": "nobody asked for coherent memory",
    MappedDefault = "mapped-default": "mapped host memory is coherent by default (ROCm/clr#285)",
    ExplicitOverridden = "explicit-overridden": "level full overrides an explicit request for coherent memory",
    LevelOff = "level-off": "level off",
    NotRdna12 = "not-rdna12": "the GPU is not RDNA1/2",
    UnknownGpu = "unknown-gpu": "the GPU is not known",
    AlreadyNonCoherent = "already-non-coherent": "non-coherent already",
    ExplicitCoherent = "explicit-coherent": "coherent memory was asked for explicitly",
    Mapped = "mapped": "mapped host memory is rewritten from level mapped on",
    GrainChosen = "grain-chosen": "the program chose the grain of this range itself",
    NoAccess = "no-access": "the call gives no GPU access to the range",
    DecidedBelow = "decided-below": "decided by the HSA hook below",
    NeverTouched = "never-touched": "memory that must stay coherent (kernarg, executable, signal)",
    RuntimeInternal = "runtime-internal": "libamdhip64's own memory, or decided at the HIP call above",
    DeniedCaller = "denied-caller": "the caller is on the deny list",
    UnknownFlags = "unknown-flags": "flags that this version does not know, or an illegal combination",
    OldHostAlloc = "old-host-alloc": "hipHostAlloc before ROCm 6.3 does not give coherent host memory",
    BelowMinimum = "below-minimum": "smaller than RDNAFIX_MIN_BYTES",
    NoCoarsePool = "no-coarse-pool": "the agent has no coarse-grained pool",
}
