//! Stage 3 for a frame with one destination: put around it what the destination asks for, in place, and say which port it
//! goes out of.

use super::bridging::Frame;
use super::encapsulate::{Flow, Front, encapsulate, sum_behind, sum_of_frame, write_ipv4_udp_checksum};
use super::forwarder::Surroundings;
use super::framing::{ADDRESSES, Addresses, FramePlace};
use super::packet::PacketBuffer;
use super::remark::Marks;
use crate::tables::snapshot::{Member, MemberTags, PortSide};
use crate::tables::tunnel::{NextHop, OUTER_IPV4, OUTER_IPV6};
use crate::tables::{BridgeIndex, Location, LocationKind, MemberIndex, PortIndex, TunnelIndex};
use crate::telemetry::{DropReason, Event};
use crate::wire::ethernet::{
    ETHERNET_HEADER, ETHERNET_MINIMUM, ETHERTYPE_VLAN, VLAN_TAG, is_vlan_ethertype, network_header,
};
use crate::wire::field::read_u16;
use crate::wire::{VlanId, VlanTag};

/// Why a frame does not go to a remote VTEP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsendable {
    /// It is dropped.
    Dropped(DropReason),
    /// It does not fit the way, and is as it was, so that its sender can be told of the longest frame that fits, in bytes.
    TooBig(u16),
}

impl From<DropReason> for Unsendable {
    fn from(reason: DropReason) -> Self {
        Self::Dropped(reason)
    }
}

impl From<Unsendable> for DropReason {
    fn from(unsendable: Unsendable) -> Self {
        match unsendable {
            Unsendable::Dropped(reason) => reason,
            Unsendable::TooBig(_) => Self::TooBigForTunnel,
        }
    }
}

/// Makes a packet what goes to this place of the usual frame, where the underlay is of this family, and counts it as sent.
/// Gives the port. None, and nothing done, for any other frame, which is for [`unusual`].
#[inline(always)]
pub fn usual<const IPV6: bool, P: PacketBuffer>(
    packet: &mut P,
    frame: &Frame,
    marks: Marks,
    to: Location,
    around: &Surroundings<'_>,
) -> Option<PortIndex> {
    match to.kind() {
        LocationKind::Access(member) => for_member_usual(packet, frame, marks, member, around),
        LocationKind::Tunnel(tunnel) => for_tunnel_usual::<IPV6, P>(packet, frame, marks, tunnel, around),
    }
}

/// Makes a packet what goes to this place of any frame, and counts it as sent. Gives the port. Of a frame that [`usual`]
/// takes, it does the same.
///
/// # Errors
/// Why it does not go there.
#[cold]
#[inline(never)]
pub fn unusual<P: PacketBuffer>(
    packet: &mut P,
    frame: &Frame,
    marks: Marks,
    to: Location,
    around: &Surroundings<'_>,
) -> Result<PortIndex, Unsendable> {
    match to.kind() {
        LocationKind::Access(member) => Ok(for_member(packet, frame.place, frame.addresses(), marks, member, around)?),
        LocationKind::Tunnel(tunnel) => for_tunnel(packet, frame, marks, tunnel, around),
    }
}

/// Makes a packet what goes to this place of a frame, whether that is a usual one or not.
///
/// # Errors
/// As [`unusual`].
#[inline(never)]
pub fn either<P: PacketBuffer>(
    packet: &mut P,
    frame: &Frame,
    marks: Marks,
    to: Location,
    around: &Surroundings<'_>,
) -> Result<PortIndex, Unsendable> {
    let usual = if around.snapshot.vtep.address.is_ipv6() { usual::<true, P> } else { usual::<false, P> };
    usual(packet, frame, marks, to, around).map_or_else(|| unusual(packet, frame, marks, to, around), Ok)
}

/// Makes a packet the usual frame that goes out of an access member: one that gets a tag or none, and needs neither
/// padding nor a look at what it carries. Counts it as sent by the bridge, and gives the member's port. None, and nothing
/// done, for any other frame, which is for [`for_member`].
#[inline(always)]
fn for_member_usual<P: PacketBuffer>(
    packet: &mut P,
    frame: &Frame,
    marks: Marks,
    index: MemberIndex,
    around: &Surroundings<'_>,
) -> Option<PortIndex> {
    let (place, addresses) = (frame.place, frame.addresses());
    let member = around.snapshot.members.get(index.0 as usize)?;
    match member.tags() {
        MemberTags::One(tag) if member.takes_directly(place.length()) => {
            write_tagged_front(place.exchange(packet)?, addresses, tag.with_priority(marks.priority));
        }
        MemberTags::Untagged if member.takes_directly(place.length()) && has_no_tag(packet, place) => {
            addresses.write(place.exchange(packet)?);
        }
        _ => return None,
    }
    Some(depart(place, member, around))
}

/// The frame has no tag of its own.
#[inline(always)]
fn has_no_tag<P: PacketBuffer>(packet: &P, place: FramePlace) -> bool {
    place.front_behind_addresses(packet).is_some_and(|ethertype| !is_vlan_ethertype(u16::from_be_bytes(*ethertype)))
}

/// Makes a packet the frame that goes out of an access member, padded to the Ethernet minimum (conformance row V11), and
/// counts it as sent by the bridge. Gives the member's port. Of a usual frame, it does the same as [`usual`].
///
/// # Errors
/// The reason why it is dropped.
#[inline(never)]
pub fn for_member<P: PacketBuffer>(
    packet: &mut P,
    place: FramePlace,
    addresses: Addresses,
    marks: Marks,
    index: MemberIndex,
    around: &Surroundings<'_>,
) -> Result<PortIndex, DropReason> {
    let member = around.snapshot.members.get(index.0 as usize).filter(|member| member.mtu() > 0);
    let member = member.ok_or(DropReason::NoMember)?;
    if place.length() > ETHERNET_HEADER + usize::from(member.mtu()) {
        check_access_mtu(layer3_length(packet, place), member)?;
    }
    let place = pad(packet, place, around)?;
    match member.tags() {
        MemberTags::One(tag) => {
            let front = place.exchange(packet).ok_or(DropReason::NoHeadroom)?;
            write_tagged_front(front, addresses, tag.with_priority(marks.priority));
        }
        MemberTags::Untagged => {
            check_own_tag(place.behind_addresses(packet).unwrap_or_default(), index, member, around)?;
            place.extract(packet, addresses).ok_or(DropReason::NoHeadroom)?;
        }
        MemberTags::Guarded(tag) => {
            check_own_tag(place.behind_addresses(packet).unwrap_or_default(), index, member, around)?;
            let front = place.exchange(packet).ok_or(DropReason::NoHeadroom)?;
            write_tagged_front(front, addresses, tag.with_priority(marks.priority));
        }
        MemberTags::Two(outer, inner) => {
            let front = place.exchange(packet).ok_or(DropReason::NoHeadroom)?;
            write_double_tagged_front(front, addresses, (outer, inner), marks.priority);
        }
    }
    Ok(depart(place, member, around))
}

/// Counts a frame that was at this place in its packet as sent by its bridge, and gives the member's port.
#[inline(always)]
fn depart(place: FramePlace, member: &Member, around: &Surroundings<'_>) -> PortIndex {
    around.telemetry.bridge(member.bridge()).access_sent().count(place.length());
    member.port()
}

/// Writes the front of a tagged frame: its addresses, and the tag (IEEE 802.1Q, 9.6).
#[inline(always)]
pub(super) fn write_tagged_front(front: &mut [u8; ADDRESSES + VLAN_TAG], own: Addresses, tag: VlanTag) {
    let (addresses, behind) = front.split_at_mut(ADDRESSES);
    if let (Some(addresses), Some(behind)) = (addresses.first_chunk_mut(), behind.first_chunk_mut()) {
        own.write(addresses);
        *behind = tag.to_bytes();
    }
}

/// Writes the front of a frame with two tags of this priority, of which the inner one is 0x8100 (IEEE 802.1Q, 9.5).
pub(super) fn write_double_tagged_front(
    front: &mut [u8; ADDRESSES + 2 * VLAN_TAG],
    addresses: Addresses,
    (outer, inner): (VlanTag, VlanId),
    priority: u8,
) {
    let (first, second) = front.split_at_mut(ADDRESSES + VLAN_TAG);
    if let (Some(first), Some(second)) = (first.first_chunk_mut(), second.first_chunk_mut()) {
        write_tagged_front(first, addresses, outer.with_priority(priority));
        *second = VlanTag::new(ETHERTYPE_VLAN, inner).with_priority(priority).to_bytes();
    }
}

/// The length of what a frame carries behind its Ethernet header and its tags, in bytes.
pub(super) fn layer3_length<P: PacketBuffer>(packet: &P, place: FramePlace) -> usize {
    let frame = packet.head().get(place.start()..).unwrap_or_default();
    let header = network_header(frame).map_or(ETHERNET_HEADER, |(_, offset)| offset);
    place.length().saturating_sub(header)
}

/// Refuses a frame whose own tag, with what its member puts in front of it, means another bridge on the member's port:
/// whoever is behind the port would take it for that bridge's. `behind_addresses` is the frame from its EtherType on.
#[inline]
pub(super) fn check_own_tag(
    behind_addresses: &[u8],
    index: MemberIndex,
    member: &Member,
    around: &Surroundings<'_>,
) -> Result<(), DropReason> {
    match behind_addresses.first_chunk() {
        Some(&[t0, t1, v0, v1]) if is_vlan_ethertype(u16::from_be_bytes([t0, t1])) => {
            let own = (u16::from_be_bytes([t0, t1]), u16::from_be_bytes([v0, v1]));
            let behind = behind_addresses.get(VLAN_TAG..).unwrap_or_default();
            if leads_elsewhere(own, behind, index, member, around) { Err(DropReason::ForeignTag) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

/// Whether a frame with a tag of its `own` (TPID and TCI), and `behind` it the rest, is another bridge's to the port.
#[inline(never)]
fn leads_elsewhere(
    (tpid, tci): (u16, u16),
    behind: &[u8],
    index: MemberIndex,
    member: &Member,
    around: &Surroundings<'_>,
) -> bool {
    let port = around.snapshot.ports.get(usize::from(member.port().0)).map(|port| &port.side);
    let Some(PortSide::Access(vlans)) = port else { return true };
    match member.tags() {
        MemberTags::Untagged if tpid == vlans.tpid() => {
            let is_double = read_u16(behind, 0) == Some(ETHERTYPE_VLAN);
            let owner = vlans.find(tci, read_u16(behind, 2).filter(|_| is_double));
            owner.is_none_or(|owner| owner.source() != Location::access(index))
        }
        MemberTags::Guarded(tag) => tpid == ETHERTYPE_VLAN && vlans.get_pair(tag.vlan(), tci).is_some(),
        _ => false,
    }
}

/// Refuses a layer-3 packet that is longer than the port's MTU.
#[inline]
pub(super) fn check_access_mtu(layer3_length: usize, member: &Member) -> Result<(), DropReason> {
    if layer3_length <= usize::from(member.mtu()) { Ok(()) } else { Err(DropReason::TooBigForAccess) }
}

/// Pads a frame, still without its access tag, to the Ethernet minimum (IEEE 802.3, 4A.2.3.2.4).
#[inline(always)]
pub(super) fn pad<P: PacketBuffer>(
    packet: &mut P,
    place: FramePlace,
    around: &Surroundings<'_>,
) -> Result<FramePlace, DropReason> {
    if place.length() >= ETHERNET_MINIMUM {
        return Ok(place);
    }
    if !packet.grow_back_zeroed(ETHERNET_MINIMUM - place.length()) {
        return Err(DropReason::NoHeadroom);
    }
    around.telemetry.event(Event::Padded);
    Ok(place.grown_to(ETHERNET_MINIMUM))
}

/// The way to a remote VTEP for a frame of this length.
///
/// # Errors
/// [`DropReason::NoNextHop`] where no way is known; [`DropReason::TooBigForTunnel`] where the frame does not fit.
#[inline(always)]
pub(super) fn way_to<'a>(
    index: TunnelIndex,
    length: usize,
    around: &Surroundings<'a>,
) -> Result<&'a NextHop, DropReason> {
    let way = around.snapshot.next_hops.get(usize::from(index.0)).ok_or(DropReason::NoNextHop)?;
    // A way that is none takes no frame.
    if length <= way.max_frame() {
        Ok(way)
    } else if way.is_unknown() {
        Err(DropReason::NoNextHop)
    } else {
        Err(DropReason::TooBigForTunnel)
    }
}

/// The uplink for a packet of this flow that has the headers of `way` at its front. Where flows are spread over several
/// next hops, it gets the Ethernet addresses of its own.
#[inline(always)]
pub(super) fn direct(
    way: &NextHop,
    flow: Flow,
    front: &mut [u8],
    around: &Surroundings<'_>,
) -> Result<PortIndex, DropReason> {
    let Some(group) = way.group() else { return Ok(way.port()) };
    let group = around.snapshot.next_hop_groups.get(usize::from(group.0)).ok_or(DropReason::NoNextHop)?;
    let next_hop = group.next_hop(flow.hash());
    *front.first_chunk_mut().ok_or(DropReason::NoHeadroom)? = *next_hop.addresses();
    Ok(next_hop.port())
}

/// Makes a packet what goes to a remote VTEP of this family of the usual frame: one that fits, where the way is one next
/// hop. Counts it as sent, and gives the uplink. None, and nothing done, for any other frame, which is for
/// [`for_tunnel`].
#[inline(always)]
fn for_tunnel_usual<const IPV6: bool, P: PacketBuffer>(
    packet: &mut P,
    frame: &Frame,
    marks: Marks,
    index: TunnelIndex,
    around: &Surroundings<'_>,
) -> Option<PortIndex> {
    let vtep = &around.snapshot.vtep;
    let way = around.snapshot.next_hops.get(usize::from(index.0))?;
    let (bridge, length) = (frame.bridge(), frame.place.length());
    let outer = around.snapshot.encapsulations.get(usize::from(bridge.0))?;
    let front = |flow| Front { outer, flow, addresses: frame.addresses(), length };
    if IPV6 {
        let header = way.direct_header::<true, OUTER_IPV6>(length)?;
        let front = front(Flow::of_placed(packet, frame, vtep));
        let behind = (!vtep.zero_checksum_ipv6).then(|| sum_of_frame(packet, frame));
        front.write_ipv6(frame.place.exchange(packet)?, header, way, behind);
    } else {
        let header = way.direct_header::<false, OUTER_IPV4>(length)?;
        let front = front(Flow::of_placed(packet, frame, vtep));
        front.write_ipv4(frame.place.exchange(packet)?, header, way);
    }
    marks.write_outer(packet);
    count_sent(bridge, index, length, around);
    Some(way.port())
}

/// Makes a packet what goes to a remote VTEP of a frame of a bridge, and counts it as sent. Gives the uplink. Of a frame
/// that [`for_tunnel_usual`] takes, it does the same.
///
/// # Errors
/// Why it does not go there.
fn for_tunnel<P: PacketBuffer>(
    packet: &mut P,
    frame: &Frame,
    marks: Marks,
    index: TunnelIndex,
    around: &Surroundings<'_>,
) -> Result<PortIndex, Unsendable> {
    let vtep = &around.snapshot.vtep;
    let (bridge, length) = (frame.bridge(), frame.place.length());
    let way = match way_to(index, length, around) {
        Ok(way) => way,
        Err(DropReason::TooBigForTunnel) => return Err(too_big(index, around)),
        Err(reason) => return Err(reason.into()),
    };
    let outer = around.snapshot.encapsulations.get(usize::from(bridge.0)).ok_or(DropReason::UnknownVni)?;
    let flow = encapsulate(packet, frame, way, outer, vtep).ok_or(DropReason::NoHeadroom)?;
    marks.write_outer(packet);
    if vtep.full_checksum_ipv4 && !way.is_ipv6() {
        let behind = sum_behind(packet, OUTER_IPV4);
        write_ipv4_udp_checksum(packet.head_mut(), behind);
    }
    let port = direct(way, flow, packet.head_mut(), around)?;
    count_sent(bridge, index, length, around);
    Ok(port)
}

/// Counts a frame of so many bytes as sent by its bridge to a remote VTEP.
#[inline(always)]
fn count_sent(bridge: BridgeIndex, index: TunnelIndex, length: usize, around: &Surroundings<'_>) {
    around.telemetry.bridge(bridge).tunnel_sent().count(length);
    around.telemetry.remote(index).sent().count(length);
}

#[cold]
fn too_big(index: TunnelIndex, around: &Surroundings<'_>) -> Unsendable {
    around.telemetry.too_big(index).increment();
    let way = around.snapshot.next_hops.get(usize::from(index.0));
    // As it is in the way itself.
    Unsendable::TooBig(way.map_or(0, NextHop::max_frame) as u16)
}
