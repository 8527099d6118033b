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

/// By VLAN; index 0 is for untagged and priority-tagged frames.
type Attachments = Box<[Option<Attachment>; 4096]>;

/// An immutable map from VLAN to attachment for one port.
#[derive(Clone, Debug)]
pub struct AccessMap {
    vlans: Attachments,
    /// VLANs whose frames are all to go the unusual way: [`AccessMap::get`] does not know them.
    set_aside: Option<Attachments>,
}

impl AccessMap {
    /// The map of a port that has no bridge.
    #[must_use]
    pub fn empty() -> Self {
        Self { vlans: Box::new([None; 4096]), set_aside: None }
    }

    /// Gives the VLAN, or the untagged frames, to a member of a bridge.
    pub fn attach(&mut self, vlan: Option<VlanId>, member: MemberIndex, bridge: BridgeIndex) {
        self.vlans[vlan.map_or(0, |vlan| usize::from(vlan.get()))] = Some(Attachment::new(member, bridge));
    }

    /// Gives every VLAN that has no bridge of its own, tag and all, to the member that has the untagged frames.
    pub fn attach_rest_to_untagged(&mut self) {
        let Some(carried) = self.vlans[0].map(Attachment::keeping_tag) else { return };
        self.vlans[0] = Some(carried);
        // The last identifier is reserved (IEEE 802.1Q, 9.6).
        for attachment in self.vlans.iter_mut().take(4095) {
            attachment.get_or_insert(carried);
        }
    }

    /// Sets the VLANs of some bridges aside. After all others are attached.
    pub fn set_aside(&mut self, is_aside: impl Fn(BridgeIndex) -> bool) {
        let mut aside: Attachments = Box::new([None; 4096]);
        for (here, there) in self.vlans.iter_mut().zip(aside.iter_mut()) {
            *there = here.take_if(|attachment| is_aside(attachment.bridge()));
        }
        self.set_aside = aside.iter().any(Option::is_some).then_some(aside);
    }

    /// The attachment of frames with this VLAN identifier, also where it was set aside.
    #[must_use]
    pub fn get_any(&self, tci: u16) -> Option<Attachment> {
        self.get(tci).or_else(|| self.set_aside.as_ref()?[usize::from(tci & 0x0fff)])
    }

    /// The attachment of frames with this VLAN identifier that was not set aside: the lower 12 bits of `tci`, 0 for
    /// untagged ones.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, tci: u16) -> Option<Attachment> {
        self.vlans[usize::from(tci & 0x0fff)]
    }
}
