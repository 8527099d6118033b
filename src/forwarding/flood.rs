//! Stage 4 for a frame with many destinations: ingress replication and local flooding.
//!
//! The copies share the payload. The frame is split behind its MAC addresses; each copy is a small buffer with its own
//! outer headers or access tag and the addresses, chained to the same payload (conformance row B8).

use super::bridging::Frame;
use super::egress::Egress;
use super::emit::{
    self, check_access_mtu, check_own_tag, direct, layer3_length, pad, way_to, write_double_tagged_front,
    write_tagged_front,
};
use super::encapsulate::{Flow, Front, sum_behind, write_ipv4_udp_checksum};
use super::forwarder::Surroundings;
use super::framing::{ADDRESSES, Addresses, FramePlace};
use super::packet::PacketBuffer;
use super::remark::Marks;
use crate::tables::snapshot::{BroadcastDomain, MemberTags};
use crate::tables::tunnel::{Header, NextHop};
use crate::tables::{BridgeIndex, Location, LocationKind, MemberIndex, TunnelIndex};
use crate::telemetry::{DropReason, Event};
use crate::wire::checksum::Checksum;

/// Where a flood goes: every access member but the source, and every remote VTEP of the flood list unless the frame
/// came from one (split horizon; conformance row V10).
fn destinations(source: Location, domain: &BroadcastDomain) -> impl Iterator<Item = Location> + Clone + '_ {
    let tunnels = match source.kind() {
        LocationKind::Access(_) => &domain.flood_list[..],
        LocationKind::Tunnel(_) => &[],
    };
    let members = domain.members.iter().map(|member| Location::access(*member));
    let tunnels = tunnels.iter().map(|tunnel| Location::tunnel(*tunnel));
    members.chain(tunnels).filter(move |destination| *destination != source)
}

/// The shortest limit among the remote VTEPs a flood of this length does not fit, in bytes of frame.
#[must_use]
pub fn shortest_limit(
    length: usize,
    source: Location,
    domain: &BroadcastDomain,
    around: &Surroundings<'_>,
) -> Option<usize> {
    let limit = |destination: Location| match destination.kind() {
        LocationKind::Tunnel(tunnel) => around.snapshot.next_hops.get(usize::from(tunnel.0)),
        LocationKind::Access(_) => None,
    };
    let known = destinations(source, domain).filter_map(limit).filter(|way| !way.is_unknown());
    known.map(NextHop::max_frame).filter(|limit| length > *limit).min()
}

/// Sends a frame, which is all of its packet, to every destination of a flood. A copy that cannot be sent is counted as
/// dropped.
///
/// # Errors
/// Why there was no copy at all.
pub fn flood<P: PacketBuffer>(
    packet: P,
    frame: &Frame,
    marks: Marks,
    domain: &BroadcastDomain,
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) -> Result<(), DropReason> {
    // Floods from a tunnel go to no tunnel: nothing then needs the sum of all bytes.
    let to_tunnels = matches!(frame.source.kind(), LocationKind::Access(_)) && !domain.flood_list.is_empty();
    spread(packet, (frame, marks), destinations(frame.source, domain), to_tunnels, around, egress)
}

/// As [`flood`], to those of these places to which a frame from where this one came may go.
///
/// # Errors
/// As there.
pub fn flood_to<P: PacketBuffer>(
    packet: P,
    frame: &Frame,
    marks: Marks,
    places: &[Location],
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) -> Result<(), DropReason> {
    let source = frame.source;
    let to_tunnels = matches!(source.kind(), LocationKind::Access(_));
    let places = places.iter().copied().filter(move |place| source.may_send_to(*place));
    spread(packet, (frame, marks), places, to_tunnels, around, egress)
}

/// Sends a frame, which is all of its packet, to every one of these; `to_tunnels` says whether there may be a remote VTEP
/// among them.
#[inline(always)]
fn spread<P: PacketBuffer>(
    mut packet: P,
    (frame, marks): (&Frame, Marks),
    destinations: impl Iterator<Item = Location> + Clone,
    to_tunnels: bool,
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) -> Result<(), DropReason> {
    let (bridge, addresses) = (frame.bridge(), frame.addresses());
    let mut all = destinations.clone();
    let first = all.next().ok_or(DropReason::NoMember)?;
    around.telemetry.event(Event::FloodedFrame);
    if all.next().is_none() {
        let frame = frame.placed(FramePlace::whole(&packet));
        let port = emit::either(&mut packet, &frame, marks, first, around)?;
        egress.transmit(port, packet);
        around.telemetry.event(Event::FloodCopy);
        return Ok(());
    }
    let payload = Payload::split(packet, addresses, marks, to_tunnels, around)?;
    for destination in destinations {
        let sent = match destination.kind() {
            LocationKind::Access(member) => payload.copy_to_member(member, around, egress),
            LocationKind::Tunnel(tunnel) => payload.copy_to_tunnel(tunnel, bridge, around, egress),
        };
        match sent {
            Ok(()) => around.telemetry.event(Event::FloodCopy),
            Err(reason) => around.telemetry.count_drop(reason),
        }
    }
    Ok(())
}

/// A frame split behind its addresses, to be shared by copies.
struct Payload<P> {
    /// What all copies share.
    shared: P,
    addresses: Addresses,
    flow: Flow,
    /// The priority of access tags.
    priority: u8,
    /// The frame's length, addresses included.
    length: usize,
    /// The length of what it carries behind its Ethernet header and its tags.
    layer3_length: usize,
    /// The sum of the whole frame, where outer UDP checksums need it.
    sum: Option<Checksum>,
}

impl<P: PacketBuffer> Payload<P> {
    fn split(
        mut packet: P,
        addresses: Addresses,
        marks: Marks,
        to_tunnels: bool,
        around: &Surroundings<'_>,
    ) -> Result<Self, DropReason> {
        let vtep = &around.snapshot.vtep;
        let flow = Flow::of(packet.head(), vtep).with_dscp(marks.outer_dscp);
        let layer3_length = layer3_length(&packet, FramePlace::whole(&packet));
        // Padding has to be there before the payload is shared; to the remote VTEPs it does no harm.
        let whole = FramePlace::whole(&packet);
        let length = pad(&mut packet, whole, around)?.length();
        let is_summed = to_tunnels && vtep.sends_checksums();
        let sum = is_summed.then(|| sum_behind(&packet, 0));
        if !packet.trim_front(ADDRESSES) {
            return Err(DropReason::HeadersScattered);
        }
        Ok(Self { shared: packet, addresses, flow, priority: marks.priority, length, layer3_length, sum })
    }

    /// A copy with `FRONT` bytes of its own, to be written by `write`.
    fn copy<const FRONT: usize>(
        &self,
        egress: &mut impl Egress<P>,
        write: impl FnOnce(&mut [u8; FRONT]),
    ) -> Result<P, DropReason> {
        let mut copy = egress.allocate().ok_or(DropReason::NoBuffer)?;
        write(copy.replace_front(0).ok_or(DropReason::NoHeadroom)?);
        if copy.share(&self.shared) { Ok(copy) } else { Err(DropReason::NoBuffer) }
    }

    fn copy_to_member(
        &self,
        index: MemberIndex,
        around: &Surroundings<'_>,
        egress: &mut impl Egress<P>,
    ) -> Result<(), DropReason> {
        let member = around.snapshot.members.get(index.0 as usize).filter(|member| member.mtu() > 0);
        let member = member.ok_or(DropReason::NoMember)?;
        check_access_mtu(self.layer3_length, member)?;
        if !matches!(member.tags(), MemberTags::One(_)) {
            check_own_tag(self.shared.head(), index, member, around)?;
        }
        let copy = match member.tags() {
            MemberTags::Untagged => self.copy(egress, |front| self.addresses.write(front))?,
            MemberTags::One(tag) | MemberTags::Guarded(tag) => {
                self.copy(egress, |front| write_tagged_front(front, self.addresses, tag.with_priority(self.priority)))?
            }
            MemberTags::Two(outer, inner) => self.copy(egress, |front| {
                write_double_tagged_front(front, self.addresses, (outer, inner), self.priority)
            })?,
        };
        around.telemetry.bridge(member.bridge()).access_sent().count(self.length);
        egress.transmit(member.port(), copy);
        Ok(())
    }

    fn copy_to_tunnel(
        &self,
        index: TunnelIndex,
        bridge: BridgeIndex,
        around: &Surroundings<'_>,
        egress: &mut impl Egress<P>,
    ) -> Result<(), DropReason> {
        let way = way_to(index, self.length, around).inspect_err(|reason| {
            if *reason == DropReason::TooBigForTunnel {
                around.telemetry.too_big(index).increment();
            }
        })?;
        let outer = around.snapshot.encapsulations.get(usize::from(bridge.0)).ok_or(DropReason::UnknownVni)?;
        let front = Front { outer, flow: self.flow, addresses: self.addresses, length: self.length };
        let mut copy = match way.header() {
            Header::Ipv4(header) => self.copy(egress, |bytes| {
                front.write_ipv4(bytes, header, way);
                if let Some(sum) = self.sum {
                    write_ipv4_udp_checksum(bytes, sum);
                }
            })?,
            Header::Ipv6(header) => self.copy(egress, |bytes| front.write_ipv6(bytes, header, way, self.sum))?,
        };
        let port = direct(way, self.flow, copy.head_mut(), around)?;
        around.telemetry.bridge(bridge).tunnel_sent().count(self.length);
        around.telemetry.remote(index).sent().count(self.length);
        egress.transmit(port, copy);
        Ok(())
    }
}
