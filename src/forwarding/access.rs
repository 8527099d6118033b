//! Stage 1 for frames from an access port: which bridge, and where the frame is behind the access tag or tags.

use super::bridging::{Admission, check_front};
use super::framing::{Addresses, FramePlace};
use super::packet::PacketBuffer;
use super::uplink::Refusal;
use crate::tables::access_map::{AccessMap, Attachment};
use crate::tables::snapshot::{LinkLocal, Snapshot};
use crate::telemetry::DropReason;
use crate::wire::MacAddr;
use crate::wire::discovery::NEXT_HEADER_AT;
use crate::wire::ethernet::{
    ETHERNET_HEADER, ETHERTYPE_ARP, ETHERTYPE_AT, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, VLAN_TAG,
    is_vlan_ethertype,
};
use crate::wire::field::{field, read_u16};
use crate::wire::ip::PROTOCOL_ICMPV6;

/// A tagged frame's header.
const TAGGED_HEADER: usize = ETHERNET_HEADER + VLAN_TAG;
/// The header of a frame with two tags.
const DOUBLE_TAGGED_HEADER: usize = TAGGED_HEADER + VLAN_TAG;
/// A tagged frame's header, and of IPv6 behind it as much as says what follows.
const FRONT: usize = TAGGED_HEADER + NEXT_HEADER_AT + 1;

/// Admits the usual frame that an access port with these VLANs received: one segment with room for a tag and some of what
/// follows, of a VLAN that has a bridge, no tag behind the access tag, neither ARP nor ICMPv6. None for any other, which is
/// for [`admit_unusual`].
///
/// Only a tag of the port's own EtherType names a VLAN of the port; a priority tag (VID 0) counts as untagged (IEEE
/// 802.1Q, 6.9).
#[inline(always)]
pub fn admit_usual<P: PacketBuffer>(packet: &P, vlans: &AccessMap) -> Option<Admission> {
    let head = packet.head();
    let header = head.first_chunk::<FRONT>().filter(|_| head.len() == packet.len())?;
    let outermost = word(header, ETHERTYPE_AT);
    let (attachment, stripped) = if outermost == vlans.tpid() {
        let attachment = vlans.get(word(header, ETHERNET_HEADER)).filter(|attachment| attachment.strips_tag())?;
        (is_plain::<VLAN_TAG>(word(header, ETHERNET_HEADER + 2), header).then_some(attachment)?, VLAN_TAG)
    } else {
        (vlans.get(0).filter(|_| is_plain::<0>(outermost, header))?, 0)
    };
    let place = FramePlace::without(stripped as u16, packet);
    let addresses = Addresses::of(header.first_chunk()?);
    Some(Admission { bridge: attachment.bridge(), source: attachment.source(), addresses, place })
}

/// What a frame carries behind a tag of so many bytes is neither behind another one nor address resolution, from which it
/// is learned who has an address. Of IPv4, which is most of all, this need not be asked.
#[inline(always)]
fn is_plain<const TAG: usize>(ethertype: u16, header: &[u8; FRONT]) -> bool {
    const { assert!(ETHERNET_HEADER + TAG + NEXT_HEADER_AT < FRONT) };
    match ethertype {
        ETHERTYPE_IPV4 => true,
        ETHERTYPE_IPV6 => header[ETHERNET_HEADER + TAG + NEXT_HEADER_AT] != PROTOCOL_ICMPV6,
        _ => !is_vlan_ethertype(ethertype) && ethertype != ETHERTYPE_ARP,
    }
}

/// Admits any frame that an access port with these VLANs, and this word on the frames of its link, received: finds its
/// bridge and how many access tags come off. Of a frame that [`admit_usual`] takes, it says the same.
///
/// # Errors
/// Why the frame is not bridged.
pub fn admit_unusual<P: PacketBuffer>(
    packet: &P,
    vlans: &AccessMap,
    link_local: LinkLocal,
    snapshot: &Snapshot,
) -> Result<Admission, Refusal> {
    let head = packet.head();
    let front = head.first_chunk::<ETHERNET_HEADER>().ok_or_else(|| short(packet, ETHERNET_HEADER))?;
    let outermost = u16::from_be_bytes([front[ETHERTYPE_AT], front[ETHERTYPE_AT + 1]]);
    let is_tagged = outermost == vlans.tpid();
    let attachment = if is_tagged { of_tagged(packet, vlans)? } else { vlans.get_any(0) };
    let Some(attachment) = attachment else {
        let destination = front.first_chunk().map_or(MacAddr::ZERO, |octets| MacAddr(*octets));
        let is_ports =
            !is_of_vlan(head, vlans.tpid()) && link_local != LinkLocal::AsBridge && destination.is_link_local_group();
        return Err(if is_ports { Refusal::LinkLocal } else { DropReason::UnknownVlan.into() });
    };
    let stripped = if is_tagged { attachment.stripped() } else { 0 };
    let place = FramePlace::without(stripped, packet);
    let has_own = read_u16(head, place.start() + ETHERTYPE_AT).is_some_and(is_vlan_ethertype);
    if has_own && !snapshot.policy(attachment.bridge()).carry_tags {
        return Err(if stripped > 0 { DropReason::AccessDoubleTagged.into() } else { DropReason::UnknownVlan.into() });
    }
    check_front(packet, place)?;
    let addresses = front.first_chunk().map(Addresses::of).ok_or(DropReason::Truncated)?;
    Ok(Admission { bridge: attachment.bridge(), source: attachment.source(), addresses, place })
}

/// True for a frame that has the tag of a VLAN of its port, whose tags have the EtherType `tpid`: no priority tag, whose
/// VID is 0 (IEEE 802.1Q, 6.9).
#[must_use]
pub(super) fn is_of_vlan(head: &[u8], tpid: u16) -> bool {
    let tci = read_u16(head, ETHERNET_HEADER).filter(|_| read_u16(head, ETHERTYPE_AT) == Some(tpid));
    tci.is_some_and(|tci| tci & 0x0fff != 0)
}

/// The attachment of a frame with a tag of the port's kind.
fn of_tagged<P: PacketBuffer>(packet: &P, vlans: &AccessMap) -> Result<Option<Attachment>, DropReason> {
    let head = packet.head();
    let header = head.first_chunk::<TAGGED_HEADER>().ok_or_else(|| short(packet, TAGGED_HEADER))?;
    let has_inner = vlans.has_pairs() && word(header, ETHERNET_HEADER + 2) == ETHERTYPE_VLAN;
    // With an EtherType behind the second tag.
    let inner = if has_inner {
        let [i0, i1, ..] =
            *field::<VLAN_TAG>(head, TAGGED_HEADER).ok_or_else(|| short(packet, DOUBLE_TAGGED_HEADER))?;
        Some(u16::from_be_bytes([i0, i1]))
    } else {
        None
    };
    Ok(vlans.find(word(header, ETHERNET_HEADER), inner))
}

/// Two bytes of a header, read as one: taken apart, they would be put together again by several instructions.
#[inline(always)]
fn word<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    let mut bytes = [0; 2];
    bytes.copy_from_slice(&header[at..at + 2]);
    u16::from_be_bytes(bytes)
}

/// Why a head that is shorter than `needed` bytes cannot be read.
#[cold]
pub(super) fn short<P: PacketBuffer>(packet: &P, needed: usize) -> DropReason {
    if packet.len() < needed { DropReason::Truncated } else { DropReason::HeadersScattered }
}
