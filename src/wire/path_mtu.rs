//! What routers say of a packet that did not fit: ICMP "fragmentation needed" (RFC 792; RFC 1191, 4) and ICMPv6 "packet
//! too big" (RFC 4443, 3.2), with the packet that they quote.

use std::net::IpAddr;

use super::checksum::{Checksum, pseudo_header_ipv6};
use super::ethernet::{ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader};
use super::field::{field, read_u16};
use super::icmp::ICMP_HEADER;
use super::ip::{PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_UDP};
use super::ipv4::Ipv4Header;
use super::ipv6::{IPV6_HEADER, Ipv6Header, upper_layer};
use super::udp::UDP_HEADER;

const FRAGMENTATION_NEEDED: [u8; 2] = [3, 4];
const PACKET_TOO_BIG: [u8; 2] = [2, 0];

/// MTUs that links have had, for routers that tell none (RFC 1191, 7.1).
const PLATEAUS: [u32; 11] = [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];

/// A UDP datagram that did not fit, and what does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooBig {
    /// The largest IP packet that the router sends on, in bytes: less than the one quoted.
    pub mtu: u32,
    /// Who sent the quoted packet.
    pub source: IpAddr,
    /// Whom it was for.
    pub destination: IpAddr,
    /// Its UDP source port.
    pub source_port: u16,
    /// Its UDP destination port.
    pub port: u16,
    /// Its length, IP header included, in bytes.
    pub length: usize,
}

/// Reads an untagged frame that carries such a message, whole. `None` for anything else: also for one whose checksum is
/// wrong, that quotes no UDP header, or whose MTU the quoted packet would not have exceeded.
#[must_use]
pub fn too_big(frame: &[u8]) -> Option<TooBig> {
    let packet = frame.get(ETHERNET_HEADER..)?;
    let said = match EthernetHeader::parse(frame)?.ethertype {
        ETHERTYPE_IPV4 => fragmentation_needed(packet),
        ETHERTYPE_IPV6 => packet_too_big(packet),
        _ => None,
    }?;
    ((said.mtu as usize) < said.length).then_some(said)
}

fn fragmentation_needed(packet: &[u8]) -> Option<TooBig> {
    let ip = Ipv4Header::parse(packet, packet.len()).ok()?;
    let message = packet.get(ip.header_length..ip.total_length)?;
    if ip.protocol != PROTOCOL_ICMP || ip.is_fragment() || *field(message, 0)? != FRAGMENTATION_NEEDED {
        return None;
    }
    let mut sum = Checksum::new();
    sum.add_bytes(message);
    let quote = message.get(ICMP_HEADER..)?;
    // The rest of the quoted packet need not be there, and the header's checksum may be that of another hop.
    let quoted = Ipv4Header::parse(quote, usize::MAX).ok()?;
    if sum.finish() != 0 || quoted.protocol != PROTOCOL_UDP || quoted.fragment_offset != 0 {
        return None;
    }
    let mtu = match read_u16(message, 6)? {
        0 => PLATEAUS.into_iter().find(|plateau| (*plateau as usize) < quoted.total_length)?,
        mtu => mtu.into(),
    };
    let (source_port, port) = ports_of(quote.get(quoted.header_length..)?)?;
    let (source, destination) = (quoted.source.into(), quoted.destination.into());
    Some(TooBig { mtu, source, destination, source_port, port, length: quoted.total_length })
}

fn packet_too_big(packet: &[u8]) -> Option<TooBig> {
    let ip = Ipv6Header::parse(packet, packet.len()).ok()?;
    let upper = upper_layer(packet).ok()?;
    let message = packet.get(upper.offset..IPV6_HEADER + ip.payload_length)?;
    if upper.protocol != PROTOCOL_ICMPV6 || upper.is_fragment() || *field(message, 0)? != PACKET_TOO_BIG {
        return None;
    }
    let mut sum = pseudo_header_ipv6(ip.source, ip.destination, PROTOCOL_ICMPV6, message.len() as u32);
    sum.add_bytes(message);
    let quote = message.get(ICMP_HEADER..)?;
    let quoted = Ipv6Header::parse(quote, usize::MAX).ok()?;
    if sum.finish() != 0 || quoted.next_header != PROTOCOL_UDP {
        return None;
    }
    let mtu = u32::from_be_bytes(*field(message, 4)?);
    let (source_port, port) = ports_of(quote.get(IPV6_HEADER..)?)?;
    let (source, destination) = (quoted.source.into(), quoted.destination.into());
    Some(TooBig { mtu, source, destination, source_port, port, length: IPV6_HEADER + quoted.payload_length })
}

/// The source and destination ports of a UDP header that is there.
fn ports_of(datagram: &[u8]) -> Option<(u16, u16)> {
    let header = datagram.first_chunk::<UDP_HEADER>()?;
    Some((read_u16(header, 0)?, read_u16(header, 2)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_arrives_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..2_usize) {
            let mut frame = bytes;
            if frame.len() > 24 {
                frame[12..14].copy_from_slice(&[[8, 0], [0x86, 0xdd]][kind]);
                frame[14] = [0x45, 0x60][kind];
            }
            if let Some(said) = too_big(&frame) {
                prop_assert!((said.mtu as usize) < said.length);
            }
        }
    }
}
