//! What the uplink receives for the gateway itself: neighbour discovery and pings for its own addresses are answered.

use std::net::{IpAddr, Ipv6Addr};

use super::forwarder::Surroundings;
use super::packet::PacketBuffer;
use crate::tables::snapshot::Port;
use crate::telemetry::{DropReason, Event};
use crate::wire::ethernet::ETHERNET_MINIMUM;
use crate::wire::nd::{self, TargetFlags};
use crate::wire::{arp, icmp, icmpv6};

/// Turns a packet that `port` received into its answer, to be sent out of the same port.
///
/// # Errors
/// The reason why it is dropped; [`DropReason::UplinkUnserved`] where it is no question that the gateway answers, and
/// the packet as it was.
#[cold]
pub fn answer<P: PacketBuffer>(packet: &mut P, port: &Port, around: &Surroundings<'_>) -> Result<(), DropReason> {
    let mut addresses = around.snapshot.vtep.addresses();
    let (event, length) = loop {
        let own = addresses.next().ok_or(DropReason::UplinkUnserved)?;
        match answer_in_place(packet, port, own) {
            Err(DropReason::UplinkUnserved) => {}
            answered => break answered?,
        }
    };
    if !packet.truncate(length) {
        return Err(DropReason::Truncated);
    }
    // Not every device pads what is shorter than a frame may be (IEEE 802.3, 4A.2.3.2.4).
    let missing = ETHERNET_MINIMUM.saturating_sub(length);
    if missing > 0 && !packet.grow_back_zeroed(missing) {
        return Err(DropReason::NoHeadroom);
    }
    around.telemetry.event(event);
    Ok(())
}

/// Turns a question into its answer; returns what it was, and the answer's length in bytes.
fn answer_in_place<P: PacketBuffer>(packet: &mut P, port: &Port, own: IpAddr) -> Result<(Event, usize), DropReason> {
    let length = packet.len();
    let head = packet.head_mut();
    let (event, answer) = match own {
        IpAddr::V4(own) => match arp::reply_in_place(head, port.mac, own) {
            Some(length) => (Event::ArpAnswered, Some(length)),
            None => (Event::EchoAnswered, icmp::echo_reply_in_place(head, length, port.mac, own)),
        },
        IpAddr::V6(own) => match icmpv6::echo_reply_in_place(head, length, port.mac, own) {
            Some(length) => (Event::EchoAnswered, Some(length)),
            None => (Event::NeighbourAnswered, advertise(packet, port, own)?),
        },
    };
    Ok((event, answer.ok_or(DropReason::UplinkUnserved)?))
}

/// Replaces a neighbour solicitation by its answer, which may be longer.
fn advertise<P: PacketBuffer>(packet: &mut P, port: &Port, own: Ipv6Addr) -> Result<Option<usize>, DropReason> {
    let Some(advertisement) = nd::advertisement(packet.head(), port.mac, own, TargetFlags::OVERRIDE) else {
        return Ok(None);
    };
    let missing = advertisement.len().saturating_sub(packet.len());
    if missing > 0 && !packet.grow_back_zeroed(missing) {
        return Err(DropReason::NoHeadroom);
    }
    *packet.head_mut().first_chunk_mut().ok_or(DropReason::HeadersScattered)? = advertisement;
    Ok(Some(advertisement.len()))
}
