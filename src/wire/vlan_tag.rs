//! VLAN tags (IEEE 802.1Q, 9.3 to 9.6).

use super::address::VlanId;
use super::ethernet::VLAN_TAG;

/// A tag as it stands in a frame: its EtherType (TPID), and in the two bytes behind it priority (PCP), drop eligibility
/// (DEI) and VLAN identifier (the TCI). Identifier 0 makes a priority tag, which names no VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag([u8; VLAN_TAG]);

impl VlanTag {
    /// Where the priority is in a TCI.
    const PRIORITY_SHIFT: u32 = 13;

    /// The tag of a VLAN, with priority 0.
    #[must_use]
    pub const fn new(tpid: u16, vlan: VlanId) -> Self {
        let ([t0, t1], [v0, v1]) = (tpid.to_be_bytes(), vlan.get().to_be_bytes());
        Self([t0, t1, v0, v1])
    }

    /// The tag that carries a priority only.
    #[must_use]
    pub const fn priority(tpid: u16) -> Self {
        let [t0, t1] = tpid.to_be_bytes();
        Self([t0, t1, 0, 0])
    }

    /// The VLAN identifier, 0 in a priority tag.
    #[inline]
    #[must_use]
    pub const fn vlan(self) -> u16 {
        let [_, _, v0, v1] = self.0;
        u16::from_be_bytes([v0, v1]) & 0x0fff
    }

    /// The tag's bytes.
    #[inline(always)]
    #[must_use]
    pub const fn to_bytes(self) -> [u8; VLAN_TAG] {
        self.0
    }

    /// The priority (PCP) of a TCI, 0 to 7.
    #[inline]
    #[must_use]
    pub const fn priority_of(tci: u16) -> u8 {
        (tci >> Self::PRIORITY_SHIFT) as u8
    }

    /// A tag of priority 0 with this priority (PCP), of which the lower three bits count.
    #[inline(always)]
    #[must_use]
    pub const fn with_priority(self, priority: u8) -> Self {
        let [t0, t1, v0, v1] = self.0;
        Self([t0, t1, v0 | priority << (Self::PRIORITY_SHIFT - 8), v1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ethernet::{ETHERTYPE_QINQ, ETHERTYPE_VLAN};
    use etherparse::{SingleVlanHeader, VlanId as OtherVlanId, VlanPcp};

    #[test]
    fn a_tag_is_written_as_etherparse_writes_it() {
        for (vlan, priority) in [(1, 0), (100, 5), (4094, 7)] {
            let oracle = SingleVlanHeader {
                pcp: VlanPcp::try_new(priority).expect("three bits"),
                drop_eligible_indicator: false,
                vlan_id: OtherVlanId::try_new(vlan).expect("twelve bits"),
                ether_type: 0x0800.into(),
            };
            let tag = VlanTag::new(ETHERTYPE_VLAN, VlanId::new(vlan).expect("a VLAN")).with_priority(priority);
            let [t0, t1, c0, c1] = tag.to_bytes();
            assert_eq!([t0, t1], [0x81, 0x00]);
            assert_eq!([c0, c1], oracle.to_bytes()[..2]);
            assert_eq!((tag.vlan(), VlanTag::priority_of(u16::from_be_bytes([c0, c1]))), (vlan, priority));
        }
        assert_eq!(VlanTag::priority(ETHERTYPE_QINQ).with_priority(3).to_bytes(), [0x88, 0xa8, 0x60, 0]);
    }
}
