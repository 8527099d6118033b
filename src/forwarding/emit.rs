//! Stage 3 for a frame with one destination: put around it what the destination asks for, and send it.

use super::egress::Egress;
use super::encapsulate::{AddressBytes, Flow, encapsulate};
use super::forwarder::Surroundings;
use super::packet::PacketBuffer;
use crate::tables::snapshot::{Bridge, Member, PortSide};
use crate::tables::tunnel::NextHop;
use crate::tables::{MemberIndex, TunnelIndex};
use crate::telemetry::{DropReason, Event};
use crate::wire::ethernet::{ETHERNET_HEADER, ETHERNET_MINIMUM, ETHERTYPE_VLAN, VLAN_TAG, network_header};

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
    index: MemberIndex,
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) -> Result<(), DropReason> {
    let member = around.snapshot.members.get(index.0 as usize).ok_or(DropReason::NoMember)?;
    if packet.len() > ETHERNET_HEADER + usize::from(member.mtu) {
        check_access_mtu(layer3_length(&packet), member)?;
    }
    if member.vlan == 0 {
        check_own_tag(packet.head().get(size_of::<AddressBytes>()..).unwrap_or_default(), index, member, around)?;
    }
    pad(&mut packet, around)?;
    let length = packet.len();
    if member.vlan != 0 {
        let addresses = packet.head().first_chunk::<{ size_of::<AddressBytes>() }>().copied();
        let addresses = addresses.ok_or(DropReason::HeadersScattered)?;
        if !packet.grow_front(VLAN_TAG) {
            return Err(DropReason::NoHeadroom);
        }
        write_tagged_front(packet.head_mut(), addresses, member.vlan);
    }
    around.telemetry.bridge(member.bridge).access_sent().count(length);
    egress.transmit(member.port, packet);
    Ok(())
}

/// Writes the MAC addresses, and behind them the 802.1Q tag of a VLAN other than 0 (IEEE 802.1Q, 9.6).
#[inline]
pub(super) fn write_tagged_front(front: &mut [u8], addresses: AddressBytes, vlan: u16) {
    if let Some(front) = front.first_chunk_mut::<{ size_of::<AddressBytes>() }>() {
        *front = addresses;
    }
    if vlan != 0
        && let Some(tag) =
            front.get_mut(size_of::<AddressBytes>()..).and_then(|rest| rest.first_chunk_mut::<VLAN_TAG>())
    {
        let [v0, v1] = vlan.to_be_bytes();
        let [t0, t1] = ETHERTYPE_VLAN.to_be_bytes();
        *tag = [t0, t1, v0, v1];
    }
}

/// The length of what a frame carries behind its Ethernet header and its tags, in bytes.
pub(super) fn layer3_length<P: PacketBuffer>(packet: &P) -> usize {
    let header = network_header(packet.head()).map_or(ETHERNET_HEADER, |(_, offset)| offset);
    packet.len().saturating_sub(header)
}

/// Refuses a frame for an untagged member whose own tag means another bridge on the member's port: whoever is behind
/// the port would take it for that bridge's. `behind_addresses` is the frame from its EtherType on.
#[inline]
pub(super) fn check_own_tag(
    behind_addresses: &[u8],
    index: MemberIndex,
    member: &Member,
    around: &Surroundings<'_>,
) -> Result<(), DropReason> {
    let Some([t0, t1, v0, v1]) = behind_addresses.first_chunk::<VLAN_TAG>() else { return Ok(()) };
    if u16::from_be_bytes([*t0, *t1]) != ETHERTYPE_VLAN {
        return Ok(());
    }
    let port = around.snapshot.ports.get(usize::from(member.port.0)).map(|port| &port.side);
    match port {
        Some(PortSide::Access(vlans))
            if vlans.get(u16::from_be_bytes([*v0, *v1])).is_some_and(|owner| owner.member == index) =>
        {
            Ok(())
        }
        _ => Err(DropReason::ForeignTag),
    }
}

/// Refuses a layer-3 packet that is longer than the port's MTU.
#[inline]
pub(super) fn check_access_mtu(layer3_length: usize, member: &Member) -> Result<(), DropReason> {
    if layer3_length <= usize::from(member.mtu) { Ok(()) } else { Err(DropReason::TooBigForAccess) }
}

/// Pads a frame, still without its access tag, to the Ethernet minimum (IEEE 802.3, 4A.2.3.2.4).
#[inline]
pub(super) fn pad<P: PacketBuffer>(packet: &mut P, around: &Surroundings<'_>) -> Result<(), DropReason> {
    let missing = ETHERNET_MINIMUM.saturating_sub(packet.len());
    if missing > 0 {
        if !packet.grow_back_zeroed(missing) {
            return Err(DropReason::NoHeadroom);
        }
        around.telemetry.event(Event::Padded);
    }
    Ok(())
}

/// The way to a remote VTEP.
///
/// # Errors
/// [`DropReason::NoNextHop`] where no way is known.
#[inline(always)]
pub(super) fn way_to<'a>(index: TunnelIndex, around: &Surroundings<'a>) -> Result<&'a NextHop, DropReason> {
    let tunnel = around.snapshot.tunnels.get(usize::from(index.0));
    tunnel.and_then(|tunnel| tunnel.next_hop.as_ref()).ok_or(DropReason::NoNextHop)
}

/// Sends a frame to a remote VTEP.
///
/// # Errors
/// Why it was not sent.
#[inline(always)]
pub fn to_tunnel<P: PacketBuffer>(
    mut packet: P,
    index: TunnelIndex,
    bridge: &Bridge,
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) -> Result<(), Undelivered<P>> {
    let way = way_to(index, around)?;
    let max_frame = way.template.max_frame();
    let length = packet.len();
    if length > max_frame {
        return Err(Undelivered::TooBig { packet, max_frame });
    }
    let vtep = &around.snapshot.vtep;
    let flow = Flow::of(packet.head(), vtep);
    if !encapsulate(&mut packet, &way.template, bridge.vni, flow, vtep) {
        return Err(DropReason::NoHeadroom.into());
    }
    around.telemetry.bridge(bridge.index).tunnel_sent().count(length);
    around.telemetry.remote(index).sent().count(length);
    egress.transmit(way.port, packet);
    Ok(())
}
