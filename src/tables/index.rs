//! Indices into the tables, and the place where a MAC address is.

/// A port's place in the snapshot's port table; the order of the config file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortIndex(pub u16);

/// A bridge's place in the bridge table, 0 to 65534. It is the bridge's half of an FDB key, and keeps its value over
/// reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BridgeIndex(pub u16);

/// The place in the member table of one access member: a VLAN of a port, or its untagged frames, in a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberIndex(pub u32);

/// The place in the tunnel table of one remote VTEP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelIndex(pub u16);

/// Where a station is: behind an access member or behind a remote VTEP. It is both what a frame's source is learned
/// as and where a frame to it goes. One 32-bit word, so that it fits an FDB value: bit 31 tells a tunnel, the rest is
/// the index.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Location(u32);

impl Location {
    const TUNNEL: u32 = 1 << 31;

    /// A station behind an access member.
    #[inline]
    #[must_use]
    pub const fn access(member: MemberIndex) -> Self {
        Self(member.0 & !Self::TUNNEL)
    }

    /// A station behind a remote VTEP.
    #[inline]
    #[must_use]
    pub const fn tunnel(tunnel: TunnelIndex) -> Self {
        Self(tunnel.0 as u32 | Self::TUNNEL)
    }

    /// The word that an FDB value holds.
    #[inline]
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The inverse of [`Location::to_bits`].
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether a frame from here may go there: not from tunnel to tunnel, and not back.
    #[inline(always)]
    #[must_use]
    pub const fn may_send_to(self, destination: Self) -> bool {
        self.0 & destination.0 & Self::TUNNEL == 0 && self.0 != destination.0
    }

    /// Which of the two it is.
    #[inline]
    #[must_use]
    pub const fn kind(self) -> LocationKind {
        if self.0 & Self::TUNNEL == 0 {
            LocationKind::Access(MemberIndex(self.0))
        } else {
            LocationKind::Tunnel(TunnelIndex((self.0 & 0xffff) as u16))
        }
    }
}

impl std::fmt::Debug for Location {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind().fmt(out)
    }
}

/// A [`Location`], told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LocationKind {
    /// Behind an access member.
    Access(MemberIndex),
    /// Behind a remote VTEP.
    Tunnel(TunnelIndex),
}
