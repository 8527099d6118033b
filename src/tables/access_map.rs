//! A port's VLANs to bridges: one flat array per access port.

use super::{BridgeIndex, MemberIndex};
use crate::wire::VlanId;

/// What a frame of one VLAN of one access port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The member the frame came in through; sources are learned as being there.
    pub member: MemberIndex,
    /// The member's bridge.
    pub bridge: BridgeIndex,
    /// The frame's outermost tag is the one that names the bridge, and comes off. Otherwise it is the bridged frame's
    /// own.
    pub strip_tag: bool,
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
        self.0[vlan.map_or(0, |vlan| usize::from(vlan.get()))] = Some(Attachment { member, bridge, strip_tag: true });
    }

    /// Gives every VLAN that has no bridge of its own, tag and all, to the member that has the untagged frames.
    pub fn attach_rest_to_untagged(&mut self) {
        let Some(untagged) = self.0[0] else { return };
        let carried = Attachment { strip_tag: false, ..untagged };
        self.0[0] = Some(carried);
        // The last identifier is reserved (IEEE 802.1Q, 9.6).
        let vlans = self.0.iter_mut().take(4095);
        for attachment in vlans.filter(|attachment| attachment.is_none()) {
            *attachment = Some(carried);
        }
    }

    /// The attachment of frames with this VLAN identifier: the lower 12 bits of `tci`, 0 for untagged ones.
    #[inline]
    #[must_use]
    pub fn get(&self, tci: u16) -> Option<Attachment> {
        self.0[usize::from(tci & 0x0fff)]
    }
}
