//! What of a bridge's floods is not to pass.

use std::sync::Arc;

use super::snooping::SnoopedGroups;

/// What a flooded frame is, by its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloodKind {
    /// For every station.
    Broadcast,
    /// For a group of stations.
    Multicast,
    /// For a station that is not known.
    UnknownUnicast,
}

impl FloodKind {
    /// Every one, in the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::Broadcast, Self::Multicast, Self::UnknownUnicast];

    /// The word for it in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Broadcast => "broadcast",
            Self::Multicast => "multicast",
            Self::UnknownUnicast => "unknown_unicast",
        }
    }
}

/// How much of something one worker lets pass in one second; at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StormRate {
    /// So many frames.
    Frames(u64),
    /// So many bits of frames.
    Bits(u64),
}

/// One worker's share of the limits of a port or a bridge; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StormRates([Option<StormRate>; FloodKind::ALL.len()]);

impl StormRates {
    /// Rates, in the order of [`FloodKind::ALL`].
    #[must_use]
    pub const fn new(rates: [Option<StormRate>; FloodKind::ALL.len()]) -> Self {
        Self(rates)
    }

    /// The rate of a kind.
    #[inline]
    #[must_use]
    pub fn of(&self, kind: FloodKind) -> Option<StormRate> {
        self.0.get(kind as usize).copied().flatten()
    }

    /// True where nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What restricts the floods of a bridge.
#[derive(Clone, Debug)]
pub struct FloodRules {
    /// Frames to unknown stations are flooded.
    pub unknown_unicast: bool,
    /// The bridge's limits.
    pub storm: StormRates,
    /// Who wants which multicast group, where the bridge snoops IGMP and MLD.
    pub snooping: Option<Arc<SnoopedGroups>>,
}
