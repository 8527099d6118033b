//! A port's VLANs to bridges: one flat array per access port.

use std::num::NonZeroU64;

use super::{BridgeIndex, Location, MemberIndex};
use crate::wire::VlanId;

/// What a frame of one VLAN of one access port belongs to, in one word: bits 0 to 31 are the source, 32 to 47 the bridge,
/// 48 says that the tag comes off, 49 is always set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment(NonZeroU64);

impl Attachment {
    const STRIP: u64 = 1 << 48;
    const PRESENT: NonZeroU64 = NonZeroU64::new(1 << 49).expect("one bit is set");

    fn new(member: MemberIndex, bridge: BridgeIndex) -> Self {
        let source = u64::from(Location::access(member).to_bits());
        Self(Self::PRESENT | source | u64::from(bridge.0) << 32 | Self::STRIP)
    }

    /// The member the frame came in through; sources are learned as being there.
    #[inline(always)]
    #[must_use]
    pub const fn source(self) -> Location {
        Location::from_bits(self.0.get() as u32)
    }

    /// The member's bridge.
    #[inline(always)]
    #[must_use]
    pub const fn bridge(self) -> BridgeIndex {
        BridgeIndex((self.0.get() >> 32) as u16)
    }

    /// The frame's outermost tag is the one that names the bridge, and comes off. Otherwise it is the bridged frame's
    /// own.
    #[inline(always)]
    #[must_use]
    pub const fn strips_tag(self) -> bool {
        self.0.get() & Self::STRIP != 0
    }

    fn keeping_tag(self) -> Self {
        Self(Self::PRESENT | self.0.get() & !Self::STRIP)
    }
}

/// An immutable map from VLAN to attachment for one port. Index 0 is for untagged and priority-tagged frames.
#[derive(Clone, Debug)]
pub struct AccessMap(Box<[Option<Attachment>; 4096]>);

impl AccessMap {
    /// The map of a port that has no bridge.
    #[must_use]
    pub fn empty() -> Self {
        Self(Box::new([None; 4096]))
    }

    /// Gives the VLAN, or the untagged frames, to a member of a bridge.
    pub fn attach(&mut self, vlan: Option<VlanId>, member: MemberIndex, bridge: BridgeIndex) {
        self.0[vlan.map_or(0, |vlan| usize::from(vlan.get()))] = Some(Attachment::new(member, bridge));
    }

    /// Gives every VLAN that has no bridge of its own, tag and all, to the member that has the untagged frames.
    pub fn attach_rest_to_untagged(&mut self) {
        let Some(carried) = self.0[0].map(Attachment::keeping_tag) else { return };
        self.0[0] = Some(carried);
        // The last identifier is reserved (IEEE 802.1Q, 9.6).
        for attachment in self.0.iter_mut().take(4095) {
            attachment.get_or_insert(carried);
        }
    }

    /// The attachment of frames with this VLAN identifier: the lower 12 bits of `tci`, 0 for untagged ones.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, tci: u16) -> Option<Attachment> {
        self.0[usize::from(tci & 0x0fff)]
    }
}
