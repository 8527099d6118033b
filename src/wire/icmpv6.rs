//! ICMPv6 (RFC 4443): answering echo requests, and telling a sender that its packet does not fit.

use std::net::Ipv6Addr;

use super::address::MacAddr;
use super::checksum::{pseudo_header_ipv6, update_u16};
use super::ethernet::{ETHERNET_HEADER, ETHERTYPE_IPV6, EthernetHeader};
use super::field::{FieldWriter, field_mut, read_u8};
use super::icmp::{ICMP_HEADER, OWN_TTL};
use super::ip::PROTOCOL_ICMPV6;
use super::ipv6::{IPV6_HEADER, IPV6_MINIMUM_MTU, Ipv6Header, upper_layer};

/// The longest frame [`packet_too_big`] builds, in bytes: IPv6's minimum MTU (RFC 4443, 3.2) behind an Ethernet header.
pub const PACKET_TOO_BIG_FRAME: usize = ETHERNET_HEADER + IPV6_MINIMUM_MTU as usize;

const PACKET_TOO_BIG: u8 = 2;
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const REDIRECT: u8 = 137;

/// True for an address that one node can send from (RFC 4291, 2.5).
fn is_one_node(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}

/// The bytes of an IPv6 header without flow label and traffic class.
pub(super) fn ipv6_header(
    payload_length: u16,
    hop_limit: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Option<[u8; IPV6_HEADER]> {
    let mut header = [0u8; IPV6_HEADER];
    let mut fields = FieldWriter::new(&mut header);
    fields.put(&[0x60, 0, 0, 0])?;
    fields.put(&payload_length.to_be_bytes())?;
    fields.put(&[PROTOCOL_ICMPV6, hop_limit])?;
    fields.put(&source.octets())?;
    fields.put(&destination.octets())?;
    Some(header)
}

/// Turns an untagged ICMPv6 echo request to `own_ip` into the reply, Ethernet header included. `frame` is the packet's
/// first segment, which must hold the headers; `packet_length` is the length of all segments together. Returns the
/// reply's length, over all segments and without padding, in bytes.
///
/// The checksum is updated rather than computed, so that no other segment is touched; one that was wrong stays wrong,
/// for the receiver to find.
///
/// `None`, and nothing changed, for anything else, for a request with extension headers, and for one that comes from
/// what is no single node.
#[must_use]
pub fn echo_reply_in_place(
    frame: &mut [u8],
    packet_length: usize,
    own_mac: MacAddr,
    own_ip: Ipv6Addr,
) -> Option<usize> {
    const ICMP_AT: usize = ETHERNET_HEADER + IPV6_HEADER;
    let ethernet = EthernetHeader::parse(frame)?;
    if ethernet.ethertype != ETHERTYPE_IPV6 || ethernet.destination.is_group() || !ethernet.source.is_station() {
        return None;
    }
    let ip = Ipv6Header::parse(frame.get(ETHERNET_HEADER..)?, packet_length.checked_sub(ETHERNET_HEADER)?).ok()?;
    let is_for_us = ip.next_header == PROTOCOL_ICMPV6 && ip.destination == own_ip;
    let sender_is_sound = is_one_node(ip.source) && ip.source != own_ip;
    if !is_for_us || !sender_is_sound || ip.payload_length < ICMP_HEADER {
        return None;
    }
    let headers = field_mut::<{ ICMP_AT + ICMP_HEADER }>(frame, 0)?;
    if [headers[ICMP_AT], headers[ICMP_AT + 1]] != [ECHO_REQUEST, 0] {
        return None;
    }
    // That the addresses change places does not change the pseudo-header's sum, and the hop limit is no part of it.
    let checksum = u16::from_be_bytes([headers[ICMP_AT + 2], headers[ICMP_AT + 3]]);
    let checksum = update_u16(checksum, u16::from_be_bytes([ECHO_REQUEST, 0]), u16::from_be_bytes([ECHO_REPLY, 0]));
    headers[ICMP_AT] = ECHO_REPLY;
    [headers[ICMP_AT + 2], headers[ICMP_AT + 3]] = checksum.to_be_bytes();
    headers[ETHERNET_HEADER + 7] = OWN_TTL;
    *field_mut(headers, ETHERNET_HEADER + 8)? = own_ip.octets();
    *field_mut(headers, ETHERNET_HEADER + 24)? = ip.source.octets();
    let answer = EthernetHeader { destination: ethernet.source, source: own_mac, ethertype: ETHERTYPE_IPV6 };
    *field_mut(headers, 0)? = answer.to_bytes();
    Some(ETHERNET_HEADER + IPV6_HEADER + ip.payload_length)
}

/// Builds in `out` the frame that tells the sender of an untagged IPv6 frame that it must not exceed `mtu` bytes of IP
/// packet (RFC 4443, 3.2). Returns its length in bytes; with [`PACKET_TOO_BIG_FRAME`] bytes of room it quotes as much
/// of the original as the RFC allows and `original_frame` holds, with less room less, but at least the IPv6 header and
/// 8 bytes.
///
/// A bridge has no address of its own in the tenant's network: the answer bears the addresses, IP and MAC, of the
/// station the packet was for. That is why a packet for a group is not answered, although the RFC allows it (2.4 (e.3)):
/// the answer would have to bear a unicast address of the gateway's (2.2).
///
/// `None` where no answer is due: the packet is malformed, an ICMPv6 error or a redirect, a fragment but the first, for
/// a group, or from what is no single node (RFC 4443, 2.4 (e)); the MTU is under [`IPV6_MINIMUM_MTU`], which the sender
/// would not heed (RFC 8201, 4); or there is too little room.
#[must_use]
pub fn packet_too_big(original_frame: &[u8], mtu: u16, out: &mut [u8]) -> Option<usize> {
    let ethernet = EthernetHeader::parse(original_frame)?;
    if ethernet.ethertype != ETHERTYPE_IPV6 || ethernet.destination.is_group() || !ethernet.source.is_station() {
        return None;
    }
    let packet = original_frame.get(ETHERNET_HEADER..)?;
    // The frame may go on in other segments, and its length is of no consequence to the answer.
    let ip = Ipv6Header::parse(packet, usize::MAX).ok()?;
    if mtu < IPV6_MINIMUM_MTU || !is_one_node(ip.source) || !is_one_node(ip.destination) {
        return None;
    }
    let upper = upper_layer(packet).ok()?;
    if upper.fragment.is_some_and(|fragment| fragment.offset != 0) {
        return None;
    }
    if upper.protocol == PROTOCOL_ICMPV6
        && read_u8(packet, upper.offset).is_none_or(|kind| kind < ECHO_REQUEST || kind == REDIRECT)
    {
        return None;
    }
    let overhead = ETHERNET_HEADER + IPV6_HEADER + ICMP_HEADER;
    let room = out.len().min(PACKET_TOO_BIG_FRAME).checked_sub(overhead)?;
    let quote = packet.get(..room.min(IPV6_HEADER + ip.payload_length).min(packet.len()))?;
    if quote.len() < IPV6_HEADER + 8 {
        return None;
    }

    let payload_length = u16::try_from(ICMP_HEADER + quote.len()).ok()?;
    let header = ipv6_header(payload_length, OWN_TTL, ip.destination, ip.source)?;
    let [m0, m1] = mtu.to_be_bytes();
    let mut message = [PACKET_TOO_BIG, 0, 0, 0, 0, 0, m0, m1];
    let mut checksum = pseudo_header_ipv6(ip.destination, ip.source, PROTOCOL_ICMPV6, u32::from(payload_length));
    checksum.add_bytes(&message);
    checksum.add_bytes(quote);
    *field_mut(&mut message, 2)? = checksum.finish().to_be_bytes();

    let answer =
        EthernetHeader { destination: ethernet.source, source: ethernet.destination, ethertype: ETHERTYPE_IPV6 };
    let mut frame = FieldWriter::new(out);
    frame.put(&answer.to_bytes())?;
    frame.put(&header)?;
    frame.put(&message)?;
    frame.put(quote)?;
    Some(frame.written())
}

#[cfg(test)]
mod tests;
