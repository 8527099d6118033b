//! Frames for this room's tests, built by etherparse or by hand, so that what is tested does not build its own input.

use std::net::Ipv6Addr;

use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header};

use super::address::MacAddr;

pub const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub const GATEWAY: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);

/// The checksum as RFC 1071 defines it, word by word.
pub fn naive_checksum(bytes: &[u8]) -> u16 {
    let sum: u64 =
        bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0))).sum();
    !(((sum - 1) % 0xffff + 1) as u16)
}

/// The ICMPv6 checksum of a message that has its checksum field in it: 0 where that is right.
pub fn icmpv6_residue(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let mut bytes = [source.octets(), destination.octets()].concat();
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend([0, 0, 0, 58]);
    bytes.extend(message);
    naive_checksum(&bytes)
}

pub fn ethernet(destination: MacAddr, source: MacAddr, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination.0[..], &source.0, &ethertype.to_be_bytes(), payload].concat()
}

/// `frame` with VLAN tags of the given TPIDs, VLAN 1, put in.
pub fn tagged(frame: &[u8], tpids: &[u16]) -> Vec<u8> {
    let tags = tpids.iter().flat_map(|tpid| [(tpid >> 8) as u8, *tpid as u8, 0, 1]);
    frame[..12].iter().copied().chain(tags).chain(frame[12..].iter().copied()).collect()
}

pub fn ipv4_header(source: [u8; 4], destination: [u8; 4], protocol: u8) -> Ipv4Header {
    Ipv4Header::new(0, 17, IpNumber(protocol), source, destination).expect("a length that fits")
}

/// A packet with the header's total length and checksum set right.
pub fn ipv4_packet(mut header: Ipv4Header, payload: &[u8]) -> Vec<u8> {
    header.total_len = (header.header_len() + payload.len()) as u16;
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], payload].concat()
}

pub fn ipv4(source: [u8; 4], destination: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_packet(ipv4_header(source, destination, protocol), payload)
}

pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: payload.len() as u16,
        next_header: IpNumber(next_header),
        hop_limit,
        source: source.octets(),
        destination: destination.octets(),
    };
    [&header.to_bytes()[..], payload].concat()
}

/// An ICMPv6 message with its checksum set right.
pub fn icmpv6(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    message[2..4].fill(0);
    let checksum = icmpv6_residue(source, destination, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}
