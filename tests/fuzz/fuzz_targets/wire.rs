//! Any bytes through everything that parses or builds a header, with what each function promises checked.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz wire`

#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use vtepd::wire::arp::{self, ArpPacket};
use vtepd::wire::checksum::{Checksum, ipv4_header_is_valid, pseudo_header_ipv4, pseudo_header_ipv6, update_u16};
use vtepd::wire::ecn::{self, Ecn, EcnOutcome};
use vtepd::wire::ethernet::{ETHERNET_HEADER, EthernetHeader, network_header};
use vtepd::wire::flow_hash::{flow_hash, SourcePorts};
use vtepd::wire::ipv4::{self, Ipv4Header};
use vtepd::wire::ipv6::{self, Ipv6Header, upper_layer};
use vtepd::wire::udp::UdpHeader;
use vtepd::wire::{MacAddr, icmp, icmpv6, nd, vxlan};

const OWN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);

fuzz_target!(|bytes: &[u8]| {
    views(bytes);
    sums(bytes);
    congestion(bytes);
    answers(bytes);
    errors(bytes);
});

fn views(bytes: &[u8]) {
    let ethernet = EthernetHeader::parse(bytes);
    assert_eq!(ethernet.is_some(), bytes.len() >= ETHERNET_HEADER);
    if let Some(header) = ethernet {
        assert_eq!(header.to_bytes()[..], bytes[..ETHERNET_HEADER]);
    }
    let network = network_header(bytes).map_or(bytes, |(_, at)| &bytes[at..]);
    for packet in [bytes, network] {
        if let Ok(header) = Ipv4Header::parse(packet, packet.len()) {
            assert!(header.header_length <= header.total_length && header.total_length <= packet.len());
        }
        if let Ok(header) = Ipv6Header::parse(packet, packet.len()) {
            assert!(header.payload_length + ipv6::IPV6_HEADER <= packet.len());
        }
        if let Ok(upper) = upper_layer(packet) {
            assert!(upper.offset <= packet.len());
        }
        if let Some(header) = UdpHeader::parse(packet) {
            assert_eq!(header.to_bytes()[..], packet[..8]);
        }
        if let Some(packet) = ArpPacket::parse(packet) {
            assert_eq!(ArpPacket::parse(&packet.to_bytes()), Some(packet));
        }
        if let Some(header) = packet.first_chunk::<{ vxlan::VXLAN_HEADER }>() {
            let vni = vxlan::vni_of(header);
            assert_eq!(vxlan::vni_of(&vxlan::header_of(vni)), vni);
            let is_ours = vxlan::has_valid_vni(header) && vxlan::reserved_is_zero(header);
            assert_eq!(is_ours, *header == vxlan::header_of(vni));
        }
    }
    assert!(SourcePorts::DYNAMIC.of(flow_hash(bytes)) >= 49152);
}

fn sums(bytes: &[u8]) {
    let mut whole = Checksum::new();
    whole.add_bytes(bytes);
    let (front, back) = bytes.split_at(bytes.first().map_or(0, |at| usize::from(*at)).min(bytes.len()));
    let mut pieces = Checksum::new();
    pieces.add_bytes(front);
    pieces.add_bytes(back);
    assert_eq!(whole.finish(), pieces.finish());
    if let Some([a, b, c, d, e, f, ..]) = bytes.first_chunk::<8>() {
        let word = |high, low| u16::from_be_bytes([high, low]);
        let there = update_u16(word(*a, *b), word(*c, *d), word(*e, *f));
        let back = update_u16(there, word(*e, *f), word(*c, *d));
        assert_eq!(u32::from(back) % 0xffff, u32::from(word(*a, *b)) % 0xffff);
    }
    let mut packet = bytes.to_vec();
    let was_valid = ipv4_header_is_valid(&packet);
    if ipv4::set_dscp_ecn(&mut packet, 0x5a) && was_valid {
        assert!(ipv4_header_is_valid(&packet));
    }
    assert_eq!(ipv6::set_traffic_class(&mut packet, 0xa5), packet.len() >= ipv6::IPV6_HEADER);
}

fn congestion(bytes: &[u8]) {
    for bits in 0..4 {
        let mut frame = bytes.to_vec();
        let outcome = ecn::copy_congestion(&mut frame, Ecn::from_dscp_ecn(bits));
        match outcome {
            EcnOutcome::Deliver(ecn) | EcnOutcome::DeliverWithWarning(ecn) => {
                assert_eq!(ecn::traffic_class_of(&frame) & 3, ecn.bits());
            }
            EcnOutcome::Drop => assert_eq!(frame, bytes),
        }
    }
}

/// The answers for the address that the bytes ask for, so that the fuzzer need not guess ours.
fn answers(bytes: &[u8]) {
    let v4 = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).map(|ip| Ipv4Addr::from(*ip));
    let v6 = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()).map(|ip| Ipv6Addr::from(*ip));
    let mut frame = bytes.to_vec();
    if let Some(length) = v4(38).and_then(|ip| arp::reply_in_place(&mut frame, OWN_MAC, ip)) {
        assert!((42..=60).contains(&length) && length <= frame.len());
    }
    let mut frame = bytes.to_vec();
    if let Some(length) = v4(30).and_then(|ip| icmp::echo_reply_in_place(&mut frame, bytes.len(), OWN_MAC, ip)) {
        assert!(length <= frame.len() && ipv4_header_is_valid(&frame[14..]));
    }
    let mut frame = bytes.to_vec();
    if let Some(length) = v6(38).and_then(|ip| icmpv6::echo_reply_in_place(&mut frame, bytes.len(), OWN_MAC, ip)) {
        assert!(length <= frame.len());
    }
    if let Some(answer) = v6(62).and_then(|ip| nd::advertisement(bytes, OWN_MAC, ip, nd::TargetFlags::OVERRIDE)) {
        assert_eq!(icmpv6_residue(&answer), Some(0));
    }
}

fn errors(bytes: &[u8]) {
    let room = bytes.first().map_or(0, |size| usize::from(*size) * 8);
    let mut out = vec![0; room];
    if let Some(length) = icmp::fragmentation_needed(bytes, 1400, &mut out) {
        assert!(length <= icmp::FRAGMENTATION_NEEDED_FRAME && ipv4_header_is_valid(&out[14..]));
        let mut checksum = Checksum::new();
        checksum.add_bytes(&out[34..length]);
        assert_eq!(checksum.finish(), 0);
        let mut second = [0; icmp::FRAGMENTATION_NEEDED_FRAME];
        assert_eq!(icmp::fragmentation_needed(&out[..length], 1400, &mut second), None, "an error about an error");
    }
    if let Some(length) = icmpv6::packet_too_big(bytes, 1400, &mut out) {
        assert!(length <= icmpv6::PACKET_TOO_BIG_FRAME);
        assert_eq!(icmpv6_residue(&out[..length]), Some(0));
        let mut second = [0; icmpv6::PACKET_TOO_BIG_FRAME];
        assert_eq!(icmpv6::packet_too_big(&out[..length], 1400, &mut second), None, "an error about an error");
    }
    if let Ok(ip) = Ipv4Header::parse(bytes, bytes.len()) {
        let mut checksum = pseudo_header_ipv4(ip.source, ip.destination, ip.protocol, 0);
        checksum.add_bytes(bytes);
        assert_ne!(checksum.finish_udp(), 0);
    }
}

/// 0 where the checksum of the ICMPv6 message in a frame is right.
fn icmpv6_residue(frame: &[u8]) -> Option<u16> {
    let packet = frame.get(ETHERNET_HEADER..)?;
    let ip = Ipv6Header::parse(packet, packet.len()).ok()?;
    let message = packet.get(ipv6::IPV6_HEADER..)?;
    let mut checksum = pseudo_header_ipv6(ip.source, ip.destination, ip.next_header, message.len() as u32);
    checksum.add_bytes(message);
    Some(checksum.finish())
}
