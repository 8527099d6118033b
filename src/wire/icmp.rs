//! ICMP for IPv4 (RFC 792): answering echo requests, and telling a sender that its packet does not fit (RFC 1191).

use std::net::Ipv4Addr;

use super::address::MacAddr;
use super::checksum::{Checksum, ipv4_header_is_valid, update_u16};
use super::ethernet::{ETHERNET_HEADER, ETHERTYPE_IPV4, EthernetHeader};
use super::field::{FieldWriter, field_mut, read_u8};
use super::ip::PROTOCOL_ICMP;
use super::ipv4::{IPV4_HEADER, Ipv4Header};

/// The length of the header of an ICMP echo, destination unreachable or ICMPv6 message, in bytes.
pub const ICMP_HEADER: usize = 8;
/// The longest frame [`fragmentation_needed`] builds, in bytes: 576 of IPv4 (RFC 1812, 4.3.2.3) behind an Ethernet
/// header.
pub const FRAGMENTATION_NEEDED_FRAME: usize = ETHERNET_HEADER + 576;

/// The time to live of what the gateway sends itself, in hops.
pub(super) const OWN_TTL: u8 = 64;

const ECHO_REPLY: u8 = 0;
const DESTINATION_UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;
const FRAGMENTATION_NEEDED: u8 = 4;
/// Internetwork control, which ICMP errors are sent with (RFC 1812, 4.3.2.5).
const INTERNETWORK_CONTROL: u8 = 0xc0;
const DONT_FRAGMENT: u16 = 0x4000;

/// True for the messages that are errors, and so must never be answered with one (RFC 1122, 3.2.2).
const fn is_error(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

/// True for an address that can be one host's, on whatever network (RFC 1122, 3.2.1.3). Which addresses are a subnet's
/// broadcast cannot be told without its mask.
fn is_one_host(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first != 127 && first < 224
}

/// Turns an untagged ICMP echo request to `own_ip` into the reply, Ethernet header included. `frame` is the packet's
/// first segment, which must hold the headers; `packet_length` is the length of all segments together. Returns the
/// reply's length, over all segments and without padding, in bytes.
///
/// The ICMP checksum is updated rather than computed, so that no other segment is touched; one that was wrong stays
/// wrong, for the receiver to find.
///
/// `None`, and nothing changed, for anything else, and for a request that is a fragment, carries IP options, has a wrong
/// header checksum, or comes from what is no single host.
#[must_use]
pub fn echo_reply_in_place(
    frame: &mut [u8],
    packet_length: usize,
    own_mac: MacAddr,
    own_ip: Ipv4Addr,
) -> Option<usize> {
    const ICMP_AT: usize = ETHERNET_HEADER + IPV4_HEADER;
    let ethernet = EthernetHeader::parse(frame)?;
    if ethernet.ethertype != ETHERTYPE_IPV4 || ethernet.destination.is_group() || !ethernet.source.is_station() {
        return None;
    }
    let packet = frame.get(ETHERNET_HEADER..)?;
    let ip = Ipv4Header::parse(packet, packet_length.checked_sub(ETHERNET_HEADER)?).ok()?;
    let is_for_us = ip.protocol == PROTOCOL_ICMP && ip.destination == own_ip && !ip.is_fragment() && !ip.has_options();
    let sender_is_sound = is_one_host(ip.source) && ip.source != own_ip;
    if !is_for_us || !sender_is_sound || ip.total_length < IPV4_HEADER + ICMP_HEADER || !ipv4_header_is_valid(packet) {
        return None;
    }
    let headers = field_mut::<{ ICMP_AT + ICMP_HEADER }>(frame, 0)?;
    if [headers[ICMP_AT], headers[ICMP_AT + 1]] != [ECHO_REQUEST, 0] {
        return None;
    }
    let icmp_checksum = u16::from_be_bytes([headers[ICMP_AT + 2], headers[ICMP_AT + 3]]);
    let icmp_checksum =
        update_u16(icmp_checksum, u16::from_be_bytes([ECHO_REQUEST, 0]), u16::from_be_bytes([ECHO_REPLY, 0]));
    headers[ICMP_AT] = ECHO_REPLY;
    [headers[ICMP_AT + 2], headers[ICMP_AT + 3]] = icmp_checksum.to_be_bytes();

    // That the addresses change places does not change the header's sum; the TTL does.
    let ip_checksum = u16::from_be_bytes([headers[24], headers[25]]);
    let ip_checksum =
        update_u16(ip_checksum, u16::from_be_bytes([ip.ttl, ip.protocol]), u16::from_be_bytes([OWN_TTL, ip.protocol]));
    headers[22] = OWN_TTL;
    [headers[24], headers[25]] = ip_checksum.to_be_bytes();
    *field_mut(headers, 26)? = own_ip.octets();
    *field_mut(headers, 30)? = ip.source.octets();
    let answer = EthernetHeader { destination: ethernet.source, source: own_mac, ethertype: ETHERTYPE_IPV4 };
    *field_mut(headers, 0)? = answer.to_bytes();
    Some(ETHERNET_HEADER + ip.total_length)
}

/// Builds in `out` the frame that tells the sender of an untagged IPv4 frame that it must not exceed `mtu` bytes of IP
/// packet (RFC 792, type 3, code 4, with the MTU field of RFC 1191, 4). Returns its length in bytes; with
/// [`FRAGMENTATION_NEEDED_FRAME`] bytes of room it quotes as much of the original as RFC 1812, 4.3.2.3 allows and
/// `original_frame` holds, with less room less, but at least the IP header and 8 bytes (RFC 792).
///
/// A bridge has no address of its own in the tenant's network: the answer bears the addresses, IP and MAC, of the
/// station the packet was for, whose direction is also where a switch between will learn that MAC.
///
/// `None` where no answer is due (RFC 1122, 3.2.2; RFC 1812, 4.3.2.7): the packet does not have DF, is malformed, is an
/// ICMP error or a fragment but the first, is for or from anything but one host; or where there is too little room.
#[must_use]
pub fn fragmentation_needed(original_frame: &[u8], mtu: u16, out: &mut [u8]) -> Option<usize> {
    let ethernet = EthernetHeader::parse(original_frame)?;
    if ethernet.ethertype != ETHERTYPE_IPV4 || ethernet.destination.is_group() || !ethernet.source.is_station() {
        return None;
    }
    let packet = original_frame.get(ETHERNET_HEADER..)?;
    // The frame may go on in other segments, and its length is of no consequence to the answer.
    let ip = Ipv4Header::parse(packet, usize::MAX).ok()?;
    let is_due = ip.dont_fragment && ip.fragment_offset == 0 && is_one_host(ip.source) && is_one_host(ip.destination);
    if !is_due || !ipv4_header_is_valid(packet) {
        return None;
    }
    if ip.protocol == PROTOCOL_ICMP && read_u8(packet, ip.header_length).is_none_or(is_error) {
        return None;
    }
    let overhead = ETHERNET_HEADER + IPV4_HEADER + ICMP_HEADER;
    let room = out.len().min(FRAGMENTATION_NEEDED_FRAME).checked_sub(overhead)?;
    let quote = packet.get(..room.min(ip.total_length).min(packet.len()))?;
    if quote.len() < ip.header_length + 8 {
        return None;
    }

    let mut header = [0u8; IPV4_HEADER];
    let mut fields = FieldWriter::new(&mut header);
    let total_length = u16::try_from(IPV4_HEADER + ICMP_HEADER + quote.len()).ok()?;
    fields.put(&[0x45, INTERNETWORK_CONTROL])?;
    fields.put(&total_length.to_be_bytes())?;
    fields.put(&[0, 0])?;
    fields.put(&DONT_FRAGMENT.to_be_bytes())?;
    fields.put(&[OWN_TTL, PROTOCOL_ICMP, 0, 0])?;
    fields.put(&ip.destination.octets())?;
    fields.put(&ip.source.octets())?;
    let mut checksum = Checksum::new();
    checksum.add_bytes(&header);
    *field_mut(&mut header, 10)? = checksum.finish().to_be_bytes();

    let [m0, m1] = mtu.to_be_bytes();
    let mut message = [DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, 0, 0, 0, 0, m0, m1];
    let mut checksum = Checksum::new();
    checksum.add_bytes(&message);
    checksum.add_bytes(quote);
    *field_mut(&mut message, 2)? = checksum.finish().to_be_bytes();

    let answer =
        EthernetHeader { destination: ethernet.source, source: ethernet.destination, ethertype: ETHERTYPE_IPV4 };
    let mut frame = FieldWriter::new(out);
    frame.put(&answer.to_bytes())?;
    frame.put(&header)?;
    frame.put(&message)?;
    frame.put(quote)?;
    Some(frame.written())
}

#[cfg(test)]
mod tests;
