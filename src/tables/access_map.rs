//! A port's VLANs to bridges: one flat array per access port.

use super::{BridgeIndex, Location, MemberIndex};
use crate::wire::VlanId;

/// What a frame of one VLAN of one access port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The member the frame came in through; sources are learned as being there.
    pub source: Location,
    /// The member's bridge.
    pub bridge: BridgeIndex,
    /// The frame's outermost tag is the one that names the bridge, and comes off. Otherwise it is the bridged frame's
    /// own.
    pub strip_tag: bool,
}

/// An attachment, or none, in one word: bits 0 to 31 are the source, 32 to 47 the bridge, 48 says that the tag comes off,
/// 49 that there is one.
#[derive(Clone, Copy, Debug)]
struct Packed(u64);

impl Packed {
    const NONE: Self = Self(0);
    const STRIP: u64 = 1 << 48;
    const PRESENT: u64 = 1 << 49;

    fn new(attachment: Attachment) -> Self {
        let strip = if attachment.strip_tag { Self::STRIP } else { 0 };
        Self(u64::from(attachment.source.to_bits()) | u64::from(attachment.bridge.0) << 32 | strip | Self::PRESENT)
    }

    #[inline(always)]
    fn get(self) -> Option<Attachment> {
        (self.0 != Self::NONE.0).then(|| Attachment {
            source: Location::from_bits(self.0 as u32),
            bridge: BridgeIndex((self.0 >> 32) as u16),
            strip_tag: self.0 & Self::STRIP != 0,
        })
    }
}

/// An immutable map from VLAN to attachment for one port. Index 0 is for untagged and priority-tagged frames.
#[derive(Clone, Debug)]
pub struct AccessMap(Box<[Packed; 4096]>);

impl AccessMap {
    /// The map of a port that has no bridge.
    #[must_use]
    pub fn empty() -> Self {
        Self(Box::new([Packed::NONE; 4096]))
    }

    /// Gives the VLAN, or the untagged frames, to a member of a bridge.
    pub fn attach(&mut self, vlan: Option<VlanId>, member: MemberIndex, bridge: BridgeIndex) {
        let attachment = Attachment { source: Location::access(member), bridge, strip_tag: true };
        self.0[vlan.map_or(0, |vlan| usize::from(vlan.get()))] = Packed::new(attachment);
    }

    /// Gives every VLAN that has no bridge of its own, tag and all, to the member that has the untagged frames.
    pub fn attach_rest_to_untagged(&mut self) {
        let Some(untagged) = self.0[0].get() else { return };
        let carried = Packed::new(Attachment { strip_tag: false, ..untagged });
        self.0[0] = carried;
        // The last identifier is reserved (IEEE 802.1Q, 9.6).
        let vlans = self.0.iter_mut().take(4095);
        for attachment in vlans.filter(|attachment| attachment.get().is_none()) {
            *attachment = carried;
        }
    }

    /// The attachment of frames with this VLAN identifier: the lower 12 bits of `tci`, 0 for untagged ones.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, tci: u16) -> Option<Attachment> {
        self.0[usize::from(tci & 0x0fff)].get()
    }
}
