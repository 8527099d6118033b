//! Priorities from where a packet has them to where it shall have them: between the tag that a frame came with, its outer
//! headers and its own IP header.
//!
//! Stage 3, and for a flood stage 4, reads them off the packet as it arrived, for the tag or the outer headers are still in
//! front of the frame. It does so only where the snapshot says that any are carried.

use super::bridging::Frame;
use super::packet::PacketBuffer;
use crate::tables::LocationKind;
use crate::tables::snapshot::Remarking;
use crate::wire::VlanTag;
use crate::wire::ecn::{set_dscp, traffic_class_of};
use crate::wire::ethernet::{ETHERNET_HEADER, ETHERTYPE_AT, is_vlan_ethertype};
use crate::wire::field::read_u16;

/// The priorities that a frame gets on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Of its access tags (PCP), 0 to 7.
    pub priority: u8,
    /// Of its outer headers, where it is not the inner DSCP that says so.
    pub outer_dscp: Option<u8>,
}

impl Marks {
    /// Those of frames whose priorities nobody carries.
    pub const NONE: Self = Self { priority: 0, outer_dscp: None };

    /// What a frame, still as it arrived, brings along. The DSCP of a decapsulated frame is set, too, where the outer one
    /// says what it is.
    #[inline(never)]
    pub fn carry<P: PacketBuffer>(packet: &mut P, frame: &Frame, remarking: &Remarking) -> Self {
        match frame.source.kind() {
            LocationKind::Access(_) => {
                let priority = priority_of(packet.head());
                Self {
                    priority: remarking.pcp_from_outer.map_or(0, |_| priority),
                    outer_dscp: remarking.outer_from_pcp.map(|map| map[usize::from(priority & 7)]),
                }
            }
            LocationKind::Tunnel(_) => {
                let outer = usize::from(traffic_class_of(packet.head()) >> 2);
                if let Some(map) = &remarking.dscp_from_outer {
                    let bytes = packet.head_mut().get_mut(frame.place.start()..).unwrap_or_default();
                    set_dscp(bytes, map[outer & 63]);
                }
                Self { priority: remarking.pcp_from_outer.map_or(0, |map| map[outer & 63]), outer_dscp: None }
            }
        }
    }

    /// Sets the outer DSCP of an encapsulated packet, where these marks have one.
    #[inline(always)]
    pub fn write_outer<P: PacketBuffer>(self, packet: &mut P) {
        if let Some(dscp) = self.outer_dscp {
            set_dscp(packet.head_mut(), dscp);
        }
    }
}

/// The priority of a frame's outermost tag; 0 without one.
fn priority_of(head: &[u8]) -> u8 {
    match (read_u16(head, ETHERTYPE_AT), read_u16(head, ETHERNET_HEADER)) {
        (Some(ethertype), Some(tci)) if is_vlan_ethertype(ethertype) => VlanTag::priority_of(tci),
        _ => 0,
    }
}
