//! Stage 3 for a frame with one destination: put around it what the destination asks for, and send it.

use super::bridging::Frame;
use super::egress::Egress;
use super::encapsulate::{Flow, encapsulate, sum_behind, write_ipv4_udp_checksum};
use super::forwarder::Surroundings;
use super::framing::{ADDRESSES, Addresses, FramePlace};
use super::packet::PacketBuffer;
use super::remark::Marks;
use crate::tables::snapshot::{Member, MemberTags, PortSide};
use crate::tables::tunnel::{NextHop, OUTER_IPV4};
use crate::tables::{Location, MemberIndex, PortIndex, TunnelIndex};
use crate::telemetry::{DropReason, Event};
use crate::wire::ethernet::{
    ETHERNET_HEADER, ETHERNET_MINIMUM, ETHERTYPE_VLAN, VLAN_TAG, is_vlan_ethertype, network_header,
};
use crate::wire::field::read_u16;
use crate::wire::{VlanId, VlanTag};

/// Why a frame was not sent.
#[derive(Debug)]
pub enum Undelivered<P> {
    /// It was dropped.
    Dropped(DropReason),
    /// It does not fit the way to the remote VTEP: here it is, unchanged, so that its sender can be told.
    TooBig {
        /// The frame.
        packet: P,
        /// The longest frame that fits, in bytes.
        max_frame: usize,
    },
}

impl<P> From<DropReason> for Undelivered<P> {
    fn from(reason: DropReason) -> Self {
        Self::Dropped(reason)
    }
}

/// Sends a frame out of an access member, padded to the Ethernet minimum (conformance row V11).
///
/// # Errors
/// The reason why it is dropped.
#[inline(always)]
pub fn to_member<P: PacketBuffer>(
    mut packet: P,
    place: FramePlace,
    addresses: Addresses,
    marks: Marks,
    index: MemberIndex,
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) -> Result<(), DropReason> {
    let member = around.snapshot.members.get(index.0 as usize).ok_or(DropReason::NoMember)?;
    match member.tags() {
        MemberTags::One(tag) if member.takes_directly(place.length()) => {
            let front = place.exchange(&mut packet).ok_or(DropReason::NoHeadroom)?;
            write_tagged_front(front, addresses, tag.with_priority(marks.priority));
        }
        MemberTags::Untagged if member.takes_directly(place.length()) && has_no_tag(&packet, place) => {
            addresses.write(place.exchange(&mut packet).ok_or(DropReason::NoHeadroom)?);
        }
        _ => return to_member_unusual(packet, place, addresses, marks, index, around, egress),
    }
    hand_over(packet, place, member, around, egress);
    Ok(())
}

/// The frame has no tag of its own.
#[inline(always)]
fn has_no_tag<P: PacketBuffer>(packet: &P, place: FramePlace) -> bool {
    place.front_behind_addresses(packet).is_some_and(|ethertype| !is_vlan_ethertype(u16::from_be_bytes(*ethertype)))
}

/// Sends any frame out of an access member. Of a frame that needs a tag or none, and nothing else, it does the same as
/// [`to_member`].
#[cold]
#[inline(never)]
fn to_member_unusual<P: PacketBuffer>(
    mut packet: P,
    place: FramePlace,
    addresses: Addresses,
    marks: Marks,
    index: MemberIndex,
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) -> Result<(), DropReason> {
    let member = around.snapshot.members.get(index.0 as usize).ok_or(DropReason::NoMember)?;
    if place.length() > ETHERNET_HEADER + usize::from(member.mtu()) {
        check_access_mtu(layer3_length(&packet, place), member)?;
    }
    let place = pad(&mut packet, place, around)?;
    match member.tags() {
        MemberTags::One(tag) => {
            let front = place.exchange(&mut packet).ok_or(DropReason::NoHeadroom)?;
            write_tagged_front(front, addresses, tag.with_priority(marks.priority));
        }
        MemberTags::Untagged => {
            check_own_tag(place.behind_addresses(&packet).unwrap_or_default(), index, member, around)?;
            place.extract(&mut packet, addresses).ok_or(DropReason::NoHeadroom)?;
        }
        MemberTags::Guarded(tag) => {
            check_own_tag(place.behind_addresses(&packet).unwrap_or_default(), index, member, around)?;
            let front = place.exchange(&mut packet).ok_or(DropReason::NoHeadroom)?;
            write_tagged_front(front, addresses, tag.with_priority(marks.priority));
        }
        MemberTags::Two(outer, inner) => {
            let front = place.exchange(&mut packet).ok_or(DropReason::NoHeadroom)?;
            write_double_tagged_front(front, addresses, (outer, inner), marks.priority);
        }
    }
    hand_over(packet, place, member, around, egress);
    Ok(())
}

/// Gives a member's port a packet that is ready, and counts the frame that was at this place in it.
#[inline(always)]
fn hand_over<P: PacketBuffer>(
    packet: P,
    place: FramePlace,
    member: &Member,
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) {
    around.telemetry.bridge(member.bridge()).access_sent().count(place.length());
    egress.transmit(member.port(), packet);
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

/// Sends a frame of a bridge to a remote VTEP.
///
/// # Errors
/// Why it was not sent.
#[inline(always)]
pub fn to_tunnel<P: PacketBuffer>(
    packet: P,
    frame: &Frame,
    marks: Marks,
    index: TunnelIndex,
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) -> Result<(), Undelivered<P>> {
    match around.snapshot.next_hops.get(usize::from(index.0)) {
        Some(way) if way.takes_directly(frame.place.length()) => {
            Ok(send(packet, (frame, marks), index, way, |_, _| Ok(way.port()), around, egress)?)
        }
        _ => to_tunnel_unusual(packet, frame, marks, index, around, egress),
    }
}

/// Sends any frame of a bridge to a remote VTEP. Of a frame that its way takes directly, it does the same as
/// [`to_tunnel`].
#[cold]
#[inline(never)]
fn to_tunnel_unusual<P: PacketBuffer>(
    packet: P,
    frame: &Frame,
    marks: Marks,
    index: TunnelIndex,
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) -> Result<(), Undelivered<P>> {
    let way = match way_to(index, frame.place.length(), around) {
        Ok(way) => way,
        Err(DropReason::TooBigForTunnel) => return Err(too_big(packet, index, around)),
        Err(reason) => return Err(reason.into()),
    };
    let port = |packet: &mut P, flow| {
        if around.snapshot.vtep.full_checksum_ipv4 && !way.is_ipv6() {
            let behind = sum_behind(packet, OUTER_IPV4);
            write_ipv4_udp_checksum(packet.head_mut(), behind);
        }
        direct(way, flow, packet.head_mut(), around)
    };
    Ok(send(packet, (frame, marks), index, way, port, around, egress)?)
}

/// Puts the headers of its way in front of a frame, and sends it out of the uplink that `port` says of the packet and its
/// flow.
#[inline(always)]
fn send<P: PacketBuffer>(
    mut packet: P,
    (frame, marks): (&Frame, Marks),
    index: TunnelIndex,
    way: &NextHop,
    port: impl FnOnce(&mut P, Flow) -> Result<PortIndex, DropReason>,
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) -> Result<(), DropReason> {
    let (bridge, length) = (frame.bridge(), frame.place.length());
    let outer = around.snapshot.encapsulations.get(usize::from(bridge.0)).ok_or(DropReason::UnknownVni)?;
    let flow = encapsulate(&mut packet, frame, way, outer, &around.snapshot.vtep).ok_or(DropReason::NoHeadroom)?;
    marks.write_outer(&mut packet);
    let port = port(&mut packet, flow)?;
    around.telemetry.bridge(bridge).tunnel_sent().count(length);
    around.telemetry.remote(index).sent().count(length);
    egress.transmit(port, packet);
    Ok(())
}

#[cold]
fn too_big<P>(packet: P, index: TunnelIndex, around: &Surroundings<'_>) -> Undelivered<P> {
    around.telemetry.too_big(index).increment();
    let way = around.snapshot.next_hops.get(usize::from(index.0));
    Undelivered::TooBig { packet, max_frame: way.map_or(0, NextHop::max_frame) }
}
