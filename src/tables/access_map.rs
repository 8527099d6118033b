//! A port's VLANs to bridges: one flat array per access port, and beside it a map of the pairs of tags that name a bridge
//! together (QinQ; IEEE 802.1ad).

use std::num::NonZeroU64;

use rustc_hash::FxHashMap;

use super::{BridgeIndex, Location, MemberIndex};
use crate::wire::VlanId;
use crate::wire::ethernet::VLAN_TAG;

/// What a frame with certain tags on an access port belongs to, in one word: bits 0 to 31 are the source, 32 says that the
/// outermost tag comes off, 33 that the one behind it does, too, 48 to 63 are the bridge's index plus one, where an FDB key
/// has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment(NonZeroU64);

impl Attachment {
    const STRIP: u64 = 1 << 32;
    const STRIP_INNER: u64 = 1 << 33;

    /// None for the bridge 65535, which there is not.
    fn new(member: MemberIndex, bridge: BridgeIndex) -> Option<Self> {
        let source = u64::from(Location::access(member).to_bits());
        let bridge = NonZeroU64::new(u64::from(bridge.0.wrapping_add(1)) << 48)?;
        Some(Self(bridge | source | Self::STRIP))
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
        BridgeIndex(((self.0.get() >> 48) as u16).wrapping_sub(1))
    }

    /// The frame's outermost tag is the one that names the bridge, and comes off. Otherwise it is the bridged frame's
    /// own.
    #[inline(always)]
    #[must_use]
    pub const fn strips_tag(self) -> bool {
        self.0.get() & Self::STRIP != 0
    }

    /// How much comes off a frame that has an outermost tag of the port's kind, in bytes.
    #[inline]
    #[must_use]
    pub const fn stripped(self) -> u16 {
        let tags = self.strips_tag() as u16 + (self.0.get() & Self::STRIP_INNER != 0) as u16;
        tags * VLAN_TAG as u16
    }

    fn keeping_tag(self) -> Self {
        NonZeroU64::new(self.0.get() & !Self::STRIP).map_or(self, Self)
    }

    fn stripping_both(self) -> Self {
        Self(self.0 | Self::STRIP_INNER)
    }
}

/// By VLAN; index 0 is for untagged and priority-tagged frames.
type Attachments = Box<[Option<Attachment>; 4096]>;

/// An immutable map from the tags that frames come with to attachments, for one port.
#[derive(Clone, Debug)]
pub struct AccessMap {
    vlans: Attachments,
    /// VLANs whose frames are all to go the unusual way: [`AccessMap::get`] does not know them.
    set_aside: Option<Attachments>,
    /// By [`AccessMap::pair_key`].
    pairs: FxHashMap<u32, Attachment>,
    tpid: u16,
}

impl AccessMap {
    /// The map of a port that has no bridge, and whose VLANs are named by tags of this EtherType: 0x8100 or 0x88a8. All
    /// other frames are untagged to it.
    #[must_use]
    pub fn empty(tpid: u16) -> Self {
        Self { vlans: Box::new([None; 4096]), set_aside: None, pairs: FxHashMap::default(), tpid }
    }

    /// Gives the VLAN, or the untagged frames, to a member of a bridge.
    pub fn attach(&mut self, vlan: Option<VlanId>, member: MemberIndex, bridge: BridgeIndex) {
        self.vlans[vlan.map_or(0, |vlan| usize::from(vlan.get()))] = Attachment::new(member, bridge);
    }

    /// Gives the frames with an outer tag and, right behind it, an inner 0x8100 tag of these VLANs to a member of a
    /// bridge, whoever has the outer VLAN otherwise.
    pub fn attach_pair(&mut self, outer: VlanId, inner: VlanId, member: MemberIndex, bridge: BridgeIndex) {
        if let Some(attachment) = Attachment::new(member, bridge) {
            self.pairs.insert(Self::pair_key(outer.get(), inner.get()), attachment.stripping_both());
        }
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

    /// The EtherType of the tags that name the port's VLANs.
    #[inline(always)]
    #[must_use]
    pub const fn tpid(&self) -> u16 {
        self.tpid
    }

    /// The attachment of frames whose one tag has this VLAN identifier, also where it was set aside.
    #[must_use]
    pub fn get_any(&self, tci: u16) -> Option<Attachment> {
        self.get(tci).or_else(|| self.set_aside.as_ref()?[usize::from(tci & 0x0fff)])
    }

    /// The attachment of frames whose one tag has this VLAN identifier that was not set aside: the lower 12 bits of `tci`,
    /// 0 for untagged ones.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, tci: u16) -> Option<Attachment> {
        self.vlans[usize::from(tci & 0x0fff)]
    }

    /// True where two tags name a bridge, so that a frame's second tag has to be looked at.
    #[inline]
    #[must_use]
    pub fn has_pairs(&self) -> bool {
        !self.pairs.is_empty()
    }

    /// The attachment of frames that these two tags together give one.
    #[must_use]
    pub fn get_pair(&self, outer: u16, inner: u16) -> Option<Attachment> {
        self.pairs.get(&Self::pair_key(outer, inner)).copied()
    }

    /// The attachment of frames with an outermost tag of the port's kind, and perhaps a 0x8100 tag behind it.
    #[must_use]
    pub fn find(&self, outer: u16, inner: Option<u16>) -> Option<Attachment> {
        inner.and_then(|inner| self.get_pair(outer, inner)).or_else(|| self.get_any(outer))
    }

    const fn pair_key(outer: u16, inner: u16) -> u32 {
        (outer as u32 & 0x0fff) << 12 | inner as u32 & 0x0fff
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ethernet::{ETHERTYPE_QINQ, ETHERTYPE_VLAN};

    fn vlan(number: u16) -> VlanId {
        VlanId::new(number).expect("a VLAN")
    }

    #[test]
    fn a_pair_of_tags_goes_before_its_outer_vlan() {
        let mut map = AccessMap::empty(ETHERTYPE_QINQ);
        assert!(!map.has_pairs());
        map.attach(Some(vlan(10)), MemberIndex(1), BridgeIndex(1));
        map.attach_pair(vlan(10), vlan(20), MemberIndex(2), BridgeIndex(2));
        let found = |outer, inner| map.find(outer, inner).map(|found| (found.bridge().0, found.stripped()));
        assert_eq!(found(10, Some(20)), Some((2, 8)));
        assert_eq!(found(0xf00a, Some(0xe014)), Some((2, 8)), "priorities name no VLAN");
        assert_eq!(found(10, Some(21)), Some((1, 4)));
        assert_eq!(found(10, None), Some((1, 4)));
        assert_eq!(found(20, Some(10)), None);
        assert!(map.has_pairs() && map.tpid() == ETHERTYPE_QINQ);
    }

    #[test]
    fn a_pair_is_not_taken_along_with_what_has_no_bridge() {
        let mut map = AccessMap::empty(ETHERTYPE_VLAN);
        map.attach(None, MemberIndex(1), BridgeIndex(1));
        map.attach_pair(vlan(10), vlan(20), MemberIndex(2), BridgeIndex(2));
        map.attach_rest_to_untagged();
        let found = |outer, inner| map.find(outer, inner).map(|found| (found.bridge().0, found.stripped()));
        assert_eq!(found(10, Some(20)), Some((2, 8)));
        assert_eq!(found(10, Some(21)), Some((1, 0)));
        assert_eq!(found(4095, None), None);
    }
}
