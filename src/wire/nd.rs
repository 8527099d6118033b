//! Neighbour discovery for IPv6 (RFC 4861): answering solicitations for an own address.

use std::net::Ipv6Addr;

use super::address::MacAddr;
use super::checksum::pseudo_header_ipv6;
use super::ethernet::{ETHERNET_HEADER, ETHERTYPE_IPV6, EthernetHeader};
use super::field::{FieldWriter, field, field_mut};
use super::icmpv6::ipv6_header;
use super::ip::PROTOCOL_ICMPV6;
use super::ipv6::{IPV6_HEADER, Ipv6Header};

/// The length of the frame [`advertisement`] builds, in bytes: headers, target, and the target's link-layer address.
pub const ADVERTISEMENT_FRAME: usize = ETHERNET_HEADER + IPV6_HEADER + ADVERTISEMENT;

/// A neighbour solicitation without options, in bytes (RFC 4861, 4.3).
const SOLICITATION: usize = 24;
/// A neighbour advertisement with one link-layer address option, in bytes (RFC 4861, 4.4).
const ADVERTISEMENT: usize = 32;
const TYPE_SOLICITATION: u8 = 135;
const TYPE_ADVERTISEMENT: u8 = 136;
const OPTION_SOURCE_LINK_LAYER: u8 = 1;
const OPTION_TARGET_LINK_LAYER: u8 = 2;
const FLAG_SOLICITED: u8 = 0x40;
const FLAG_OVERRIDE: u8 = 0x20;
/// What no router can have forwarded, and so proves that the sender is on the link (RFC 4861, 7.1.1).
const HOP_LIMIT: u8 = 255;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The solicited-node multicast address of a unicast address (RFC 4291, 2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | a as u16, (b as u16) << 8 | c as u16)
}

/// The group MAC address that an IPv6 multicast address is sent to (RFC 2464, 7).
#[must_use]
pub const fn multicast_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// What the answer needs from a valid solicitation.
struct Solicitation {
    source: Ipv6Addr,
    /// Of the Source Link-Layer Address option.
    source_mac: Option<MacAddr>,
}

/// Answers an untagged neighbour solicitation for `own_ip`, all of which must be in `frame`, with an advertisement:
/// solicited and to the asker, or, to one that is detecting duplicates and has no address yet, unsolicited and to all
/// nodes (RFC 4861, 7.2.4; RFC 4862, 5.4.3). The Override flag is set, the Router flag is not, and the target's
/// link-layer address is always in it. The answer is longer than some solicitations, so it is returned rather than
/// written over the question.
///
/// `None` for anything else, and for a solicitation that RFC 4861, 7.1.1 says to discard: a hop limit other than 255, a
/// wrong checksum, code or length, an option without length, an unspecified source together with a source address option
/// or with a destination other than the solicited-node address. Also for one that `own_ip` seems to have sent.
#[must_use]
pub fn advertisement(frame: &[u8], own_mac: MacAddr, own_ip: Ipv6Addr) -> Option<[u8; ADVERTISEMENT_FRAME]> {
    let ethernet = EthernetHeader::parse(frame)?;
    if ethernet.ethertype != ETHERTYPE_IPV6 || !ethernet.source.is_station() {
        return None;
    }
    let asker = solicitation_for(frame.get(ETHERNET_HEADER..)?, own_ip)?;
    let (destination, destination_mac, flags) = if asker.source.is_unspecified() {
        (ALL_NODES, multicast_mac(ALL_NODES), FLAG_OVERRIDE)
    } else {
        (asker.source, asker.source_mac.unwrap_or(ethernet.source), FLAG_SOLICITED | FLAG_OVERRIDE)
    };

    let mut message = [0u8; ADVERTISEMENT];
    let mut fields = FieldWriter::new(&mut message);
    fields.put(&[TYPE_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0])?;
    fields.put(&own_ip.octets())?;
    fields.put(&[OPTION_TARGET_LINK_LAYER, 1])?;
    fields.put(&own_mac.0)?;
    let mut checksum = pseudo_header_ipv6(own_ip, destination, PROTOCOL_ICMPV6, ADVERTISEMENT as u32);
    checksum.add_bytes(&message);
    *field_mut(&mut message, 2)? = checksum.finish().to_be_bytes();

    let mut answer = [0u8; ADVERTISEMENT_FRAME];
    let mut fields = FieldWriter::new(&mut answer);
    let header = EthernetHeader { destination: destination_mac, source: own_mac, ethertype: ETHERTYPE_IPV6 };
    fields.put(&header.to_bytes())?;
    fields.put(&ipv6_header(ADVERTISEMENT as u16, HOP_LIMIT, own_ip, destination)?)?;
    fields.put(&message)?;
    Some(answer)
}

/// Reads and validates a solicitation for `own_ip` (RFC 4861, 7.1.1).
fn solicitation_for(packet: &[u8], own_ip: Ipv6Addr) -> Option<Solicitation> {
    let ip = Ipv6Header::parse(packet, packet.len()).ok()?;
    if ip.next_header != PROTOCOL_ICMPV6 || ip.hop_limit != HOP_LIMIT {
        return None;
    }
    let message = packet.get(IPV6_HEADER..IPV6_HEADER + ip.payload_length)?;
    let [kind, code, _, _, _, _, _, _, target @ ..] = field::<SOLICITATION>(message, 0)?;
    if (*kind, *code) != (TYPE_SOLICITATION, 0) || Ipv6Addr::from(*target) != own_ip {
        return None;
    }
    let solicited_node = solicited_node(own_ip);
    let source_is_sound = !ip.source.is_multicast() && !ip.source.is_loopback() && ip.source != own_ip;
    if !source_is_sound || (ip.destination != own_ip && ip.destination != solicited_node) {
        return None;
    }
    let mut checksum =
        pseudo_header_ipv6(ip.source, ip.destination, PROTOCOL_ICMPV6, u32::try_from(message.len()).ok()?);
    checksum.add_bytes(message);
    if checksum.finish() != 0 {
        return None;
    }
    let source_mac = source_link_layer_address(message.get(SOLICITATION..)?)?;
    if ip.source.is_unspecified() && (source_mac.is_some() || ip.destination != solicited_node) {
        return None;
    }
    Some(Solicitation { source: ip.source, source_mac })
}

/// Walks a solicitation's options for the Source Link-Layer Address (RFC 4861, 4.6); the outer `None` is an option that
/// has no length, does not lie within the message, or names what is no station.
fn source_link_layer_address(mut options: &[u8]) -> Option<Option<MacAddr>> {
    let mut found = None;
    while !options.is_empty() {
        let [kind, units] = *field(options, 0)?;
        let (option, rest) = options.split_at_checked(usize::from(units) * 8)?;
        if option.is_empty() {
            return None;
        }
        if kind == OPTION_SOURCE_LINK_LAYER {
            let mac = MacAddr(*field(option, 2)?);
            if !mac.is_station() {
                return None;
            }
            found = Some(mac);
        }
        options = rest;
    }
    Some(found)
}

#[cfg(test)]
mod tests;
