//! Stage 3 for a frame with many destinations: ingress replication and local flooding.
//!
//! The copies share the payload. The frame is split behind its MAC addresses; each copy is a small buffer with its own
//! outer headers or access tag and the addresses, chained to the same payload (conformance row B8).

use super::bridging::Admission;
use super::egress::Egress;
use super::emit::{self, Undelivered, check_access_mtu, check_own_tag, layer3_length, pad, way_to, write_tagged_front};
use super::encapsulate::{AddressBytes, Flow, sum_segments, write_ipv6_udp_checksum, write_outer};
use super::forwarder::Surroundings;
use super::packet::PacketBuffer;
use crate::tables::snapshot::Bridge;
use crate::tables::{Location, LocationKind, MemberIndex, TunnelIndex};
use crate::telemetry::{DropReason, Event};
use crate::wire::checksum::Checksum;
use crate::wire::ethernet::VLAN_TAG;

const ADDRESSES: usize = size_of::<AddressBytes>();

/// Where a flood goes: every access member but the source, and every remote VTEP of the flood list unless the frame
/// came from one (split horizon; conformance row V10).
fn destinations<'a>(admission: &Admission, bridge: &'a Bridge) -> impl Iterator<Item = Location> + 'a {
    let source = admission.source;
    let tunnels = match source.kind() {
        LocationKind::Access(_) => &bridge.flood_list[..],
        LocationKind::Tunnel(_) => &[],
    };
    let members = bridge.members.iter().map(|member| Location::access(*member));
    let tunnels = tunnels.iter().map(|tunnel| Location::tunnel(*tunnel));
    members.chain(tunnels).filter(move |destination| *destination != source)
}

/// The shortest limit among the remote VTEPs a flood of this length does not fit, in bytes of frame.
#[must_use]
pub fn shortest_limit(
    length: usize,
    admission: &Admission,
    bridge: &Bridge,
    around: &Surroundings<'_>,
) -> Option<usize> {
    let limit = |destination: Location| match destination.kind() {
        LocationKind::Tunnel(tunnel) => Some(way_to(tunnel, around).ok()?.template.max_frame()),
        LocationKind::Access(_) => None,
    };
    destinations(admission, bridge).filter_map(limit).filter(|limit| length > *limit).min()
}

/// Sends a frame to every destination of a flood. A copy that cannot be sent is counted as dropped.
///
/// # Errors
/// Why there was no copy at all.
pub fn flood<P: PacketBuffer>(
    packet: P,
    admission: &Admission,
    bridge: &Bridge,
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) -> Result<(), DropReason> {
    let mut all = destinations(admission, bridge);
    let first = all.next().ok_or(DropReason::NoMember)?;
    around.telemetry.event(Event::FloodedFrame);
    if all.next().is_none() {
        match first.kind() {
            LocationKind::Access(member) => emit::to_member(packet, member, around, egress)?,
            LocationKind::Tunnel(tunnel) => {
                emit::to_tunnel(packet, tunnel, bridge, around, egress).map_err(|undelivered| match undelivered {
                    Undelivered::Dropped(reason) => reason,
                    Undelivered::TooBig { .. } => DropReason::TooBigForTunnel,
                })?;
            }
        }
        around.telemetry.event(Event::FloodCopy);
        return Ok(());
    }
    // Floods from a tunnel go to no tunnel: nothing then needs the sum of all bytes.
    let to_tunnels = matches!(admission.source.kind(), LocationKind::Access(_)) && !bridge.flood_list.is_empty();
    let payload = Payload::split(packet, to_tunnels, around)?;
    for destination in destinations(admission, bridge) {
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
    addresses: AddressBytes,
    flow: Flow,
    /// The frame's length, addresses included.
    length: usize,
    /// The length of what it carries behind its Ethernet header and its tags.
    layer3_length: usize,
    /// The sum of the whole frame, where outer UDP checksums need it.
    sum: Option<Checksum>,
}

impl<P: PacketBuffer> Payload<P> {
    fn split(mut packet: P, to_tunnels: bool, around: &Surroundings<'_>) -> Result<Self, DropReason> {
        let vtep = &around.snapshot.vtep;
        let addresses = *packet.head().first_chunk::<ADDRESSES>().ok_or(DropReason::HeadersScattered)?;
        let flow = Flow::of(packet.head(), vtep);
        let layer3_length = layer3_length(&packet);
        // Padding has to be there before the payload is shared; to the remote VTEPs it does no harm.
        pad(&mut packet, around)?;
        let length = packet.len();
        let is_summed = to_tunnels && vtep.address.is_ipv6() && !vtep.zero_checksum_ipv6;
        let sum = is_summed.then(|| sum_segments(&packet));
        if !packet.trim_front(ADDRESSES) {
            return Err(DropReason::HeadersScattered);
        }
        Ok(Self { shared: packet, addresses, flow, length, layer3_length, sum })
    }

    /// A copy with `front` bytes of its own, to be written by `write`.
    fn copy(&self, front: usize, egress: &mut impl Egress<P>, write: impl FnOnce(&mut [u8])) -> Result<P, DropReason> {
        let mut copy = egress.allocate().ok_or(DropReason::NoBuffer)?;
        if !copy.grow_front(front) {
            return Err(DropReason::NoHeadroom);
        }
        write(copy.head_mut());
        if copy.share(&self.shared) { Ok(copy) } else { Err(DropReason::NoBuffer) }
    }

    fn copy_to_member(
        &self,
        index: MemberIndex,
        around: &Surroundings<'_>,
        egress: &mut impl Egress<P>,
    ) -> Result<(), DropReason> {
        let member = around.snapshot.members.get(index.0 as usize).ok_or(DropReason::NoMember)?;
        check_access_mtu(self.layer3_length, member)?;
        if member.vlan == 0 {
            check_own_tag(self.shared.head(), index, member, around)?;
        }
        let tag = if member.vlan == 0 { 0 } else { VLAN_TAG };
        let copy =
            self.copy(ADDRESSES + tag, egress, |front| write_tagged_front(front, self.addresses, member.vlan))?;
        around.telemetry.bridge(member.bridge).access_sent().count(self.length);
        egress.transmit(member.port, copy);
        Ok(())
    }

    fn copy_to_tunnel(
        &self,
        index: TunnelIndex,
        bridge: &Bridge,
        around: &Surroundings<'_>,
        egress: &mut impl Egress<P>,
    ) -> Result<(), DropReason> {
        let way = way_to(index, around)?;
        if self.length > way.template.max_frame() {
            return Err(DropReason::TooBigForTunnel);
        }
        let outer = way.template.length();
        let copy = self.copy(outer + ADDRESSES, egress, |front| {
            write_outer(front, &way.template, bridge.vni, self.flow, self.length);
            if let Some(addresses) = front.get_mut(outer..) {
                write_tagged_front(addresses, self.addresses, 0);
            }
            if let Some(sum) = self.sum {
                write_ipv6_udp_checksum(front, &way.template, sum);
            }
        })?;
        around.telemetry.bridge(bridge.index).tunnel_sent().count(self.length);
        around.telemetry.remote(index).sent().count(self.length);
        egress.transmit(way.port, copy);
        Ok(())
    }
}
