//! Stage 1 for frames from an access port: which bridge, and off with the access tag.

use super::bridging::{Addresses, Admission, check_front};
use super::packet::PacketBuffer;
use crate::tables::Location;
use crate::tables::access_map::AccessMap;
use crate::tables::snapshot::Snapshot;
use crate::telemetry::DropReason;
use crate::wire::ethernet::{ETHERNET_HEADER, ETHERTYPE_VLAN, VLAN_TAG, is_vlan_ethertype};

/// Offset of the EtherType behind the two MAC addresses.
const ETHERTYPE_AT: usize = 12;

/// Admits a frame that an access port with these VLANs received: finds its bridge and takes the access tag off.
///
/// Only an 802.1Q tag (0x8100) names a VLAN of the port; a priority tag (VID 0) counts as untagged (IEEE 802.1Q, 6.9).
///
/// # Errors
/// The reason why the frame is dropped.
#[inline(always)]
pub fn admit<P: PacketBuffer>(packet: &mut P, vlans: &AccessMap, snapshot: &Snapshot) -> Result<Admission, DropReason> {
    let Some(header) = packet.head().first_chunk::<ETHERNET_HEADER>() else {
        return Err(short(packet, ETHERNET_HEADER));
    };
    let outermost = u16::from_be_bytes([header[ETHERTYPE_AT], header[ETHERTYPE_AT + 1]]);
    // What is read is read before the tag comes off: a load of what was just stored in other pieces has to wait.
    let (tci, behind_tag) = if outermost == ETHERTYPE_VLAN {
        let Some(header) = packet.head().first_chunk::<{ ETHERNET_HEADER + VLAN_TAG }>() else {
            return Err(short(packet, ETHERNET_HEADER + VLAN_TAG));
        };
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        (word(ETHERNET_HEADER), word(ETHERNET_HEADER + 2))
    } else {
        (0, outermost)
    };
    let attachment = vlans.get(tci).ok_or(DropReason::UnknownVlan)?;
    let bridge = snapshot.bridges.get(usize::from(attachment.bridge.0)).ok_or(DropReason::UnknownVlan)?;
    let addresses = Addresses::of(packet.head()).ok_or(DropReason::Truncated)?;
    let strip = outermost == ETHERTYPE_VLAN && attachment.strip_tag;
    if strip {
        take_tag_off(packet)?;
    }
    if !bridge.policy.carry_tags && is_vlan_ethertype(if strip { behind_tag } else { outermost }) {
        return Err(if strip { DropReason::AccessDoubleTagged } else { DropReason::UnknownVlan });
    }
    check_front(packet)?;
    let addresses = addresses.check(bridge.policy)?;
    Ok(Admission { bridge: attachment.bridge, source: Location::access(attachment.member), addresses })
}

/// Moves the MAC addresses over the tag behind them.
#[inline(always)]
fn take_tag_off<P: PacketBuffer>(packet: &mut P) -> Result<(), DropReason> {
    if let Some(front) = packet.head_mut().first_chunk_mut::<{ ETHERTYPE_AT + VLAN_TAG }>() {
        front.copy_within(..ETHERTYPE_AT, VLAN_TAG);
    }
    if packet.trim_front(VLAN_TAG) { Ok(()) } else { Err(DropReason::Truncated) }
}

/// Why a head that is shorter than `needed` bytes cannot be read.
#[cold]
pub(super) fn short<P: PacketBuffer>(packet: &P, needed: usize) -> DropReason {
    if packet.len() < needed { DropReason::Truncated } else { DropReason::HeadersScattered }
}
