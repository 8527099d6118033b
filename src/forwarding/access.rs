//! Stage 1 for frames from an access port: which bridge, and where the frame is behind the access tag.

use super::bridging::{Addresses, Admission, check_front};
use super::framing::FramePlace;
use super::packet::PacketBuffer;
use crate::tables::access_map::AccessMap;
use crate::tables::snapshot::Snapshot;
use crate::telemetry::DropReason;
use crate::wire::ethernet::{ETHERNET_HEADER, ETHERTYPE_AT, ETHERTYPE_VLAN, VLAN_TAG, is_vlan_ethertype};

/// Admits a frame that an access port with these VLANs received: finds its bridge and whether the access tag comes off.
///
/// Only an 802.1Q tag (0x8100) names a VLAN of the port; a priority tag (VID 0) counts as untagged (IEEE 802.1Q, 6.9).
///
/// # Errors
/// The reason why the frame is dropped.
#[inline(always)]
pub fn admit<P: PacketBuffer>(packet: &P, vlans: &AccessMap, snapshot: &Snapshot) -> Result<Admission, DropReason> {
    let head = packet.head();
    // A tagged frame's header; an untagged one is hardly ever shorter.
    if let Some(header) = head.first_chunk::<{ ETHERNET_HEADER + VLAN_TAG }>() {
        return admit_header(packet, header, vlans, snapshot);
    }
    let Some(short_header) = head.first_chunk::<ETHERNET_HEADER>() else {
        return Err(short(packet, ETHERNET_HEADER));
    };
    let mut header = [0; ETHERNET_HEADER + VLAN_TAG];
    header[..ETHERNET_HEADER].copy_from_slice(short_header);
    if word(&header, ETHERTYPE_AT) == ETHERTYPE_VLAN {
        return Err(short(packet, ETHERNET_HEADER + VLAN_TAG));
    }
    admit_header(packet, &header, vlans, snapshot)
}

#[inline(always)]
fn admit_header<P: PacketBuffer>(
    packet: &P,
    header: &[u8; ETHERNET_HEADER + VLAN_TAG],
    vlans: &AccessMap,
    snapshot: &Snapshot,
) -> Result<Admission, DropReason> {
    let outermost = word(header, ETHERTYPE_AT);
    let is_tagged = outermost == ETHERTYPE_VLAN;
    let tci = if is_tagged { word(header, ETHERNET_HEADER) } else { 0 };
    let attachment = vlans.get(tci).ok_or(DropReason::UnknownVlan)?;
    let bridge = snapshot.bridges.get(usize::from(attachment.bridge.0)).ok_or(DropReason::UnknownVlan)?;
    let strip = is_tagged && attachment.strip_tag;
    let ethertype = if strip { word(header, ETHERNET_HEADER + 2) } else { outermost };
    if is_vlan_ethertype(ethertype) && !bridge.policy.carry_tags {
        return Err(if strip { DropReason::AccessDoubleTagged } else { DropReason::UnknownVlan });
    }
    let place = FramePlace::around_tag(if strip { VLAN_TAG as u16 } else { 0 }, packet);
    check_front(packet, place)?;
    let addresses = Addresses::of(header).check(bridge.policy)?;
    Ok(Admission { bridge: attachment.bridge, source: attachment.source, addresses, place })
}

#[inline(always)]
fn word(header: &[u8; ETHERNET_HEADER + VLAN_TAG], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}

/// Why a head that is shorter than `needed` bytes cannot be read.
#[cold]
pub(super) fn short<P: PacketBuffer>(packet: &P, needed: usize) -> DropReason {
    if packet.len() < needed { DropReason::Truncated } else { DropReason::HeadersScattered }
}
