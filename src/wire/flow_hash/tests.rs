//! Stability and spread of the flow hash over each kind of traffic (V4).

use super::*;
use crate::wire::ecn::traffic_class_of;
use crate::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_QINQ, ETHERTYPE_VLAN};
use crate::wire::fixture::{GATEWAY, HOST, ethernet, ipv4, ipv4_header, ipv4_packet, ipv6, tagged};
use proptest::prelude::*;
use std::collections::HashSet;
use std::net::Ipv6Addr;

const FLOWS: u32 = 1 << 16;

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [&source.to_be_bytes()[..], &destination.to_be_bytes(), &[0; 4]].concat()
}

fn v6(host: u32) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, (host >> 16) as u16, host as u16)
}

fn v4_flow(protocol: u8, flow: u32) -> Vec<u8> {
    let [_, _, a, b] = flow.to_be_bytes();
    ethernet(
        HOST,
        GATEWAY,
        ETHERTYPE_IPV4,
        &ipv4([10, 0, a, 1], [10, 1, 0, 2], protocol, &ports(32768 + u16::from(b), 443)),
    )
}

fn v6_flow(protocol: u8, flow: u32) -> Vec<u8> {
    let packet = ipv6(v6(flow >> 8), v6(0xabcd), protocol, 64, &ports(32768 + (flow & 0xff) as u16, 443));
    ethernet(HOST, GATEWAY, ETHERTYPE_IPV6, &packet)
}

/// Chi-square of `FLOWS` source ports over 1024 buckets, by their upper and by their lower bits, and over the few ways
/// of an ECMP group. With 1023 degrees of freedom it has mean 1023 and standard deviation 45: six of them are allowed.
fn assert_spreads(kind: &str, frame: impl Fn(u32) -> Vec<u8>) {
    let found: Vec<u16> = (0..FLOWS).map(|flow| SourcePorts::DYNAMIC.of(flow_hash(&frame(flow)))).collect();
    assert!(found.iter().all(|port| *port >= 49152));
    let chi_square = |ways: usize, bucket: &dyn Fn(u16) -> usize| {
        let mut counts = vec![0f64; ways];
        for port in &found {
            counts[bucket(*port)] += 1.0;
        }
        let expected = f64::from(FLOWS) / ways as f64;
        counts.iter().map(|count| (count - expected).powi(2) / expected).sum::<f64>()
    };
    let limit = |ways: usize| (ways - 1) as f64 + 6.0 * (2.0 * (ways - 1) as f64).sqrt();
    assert!(chi_square(1024, &|port| usize::from(port & 0x3fff) >> 4) < limit(1024), "{kind}: upper bits");
    assert!(chi_square(1024, &|port| usize::from(port) & 0x3ff) < limit(1024), "{kind}: lower bits");
    for ways in [2, 3, 5, 7, 16] {
        // 16384 ports do not fall evenly on every number of ways: that bias is not the hash's.
        let bias = f64::from(FLOWS) * (ways as f64 / 16384.0).powi(2);
        assert!(chi_square(ways, &|port| usize::from(port) % ways) < limit(ways) + bias, "{kind}: {ways} ways");
    }
}

#[test]
fn v4_flows_of_layer_4_spread() {
    for protocol in [PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP] {
        assert_spreads("IPv4 ports", |flow| v4_flow(protocol, flow));
        assert_spreads("IPv6 ports", |flow| v6_flow(protocol, flow));
    }
    assert_spreads("source ports of one pair", |flow| {
        ethernet(HOST, GATEWAY, ETHERTYPE_IPV4, &ipv4([10, 0, 0, 1], [10, 0, 0, 2], 6, &ports(flow as u16, 80)))
    });
}

#[test]
fn v4_pairs_of_layer_3_only_spread() {
    assert_spreads("IPv4 pairs", |flow| {
        let [_, _, a, b] = flow.to_be_bytes();
        ethernet(HOST, GATEWAY, ETHERTYPE_IPV4, &ipv4([10, 0, 0, a], [10, 0, 1, b], 50, &[0; 8]))
    });
    assert_spreads("IPv6 pairs", |flow| {
        ethernet(HOST, GATEWAY, ETHERTYPE_IPV6, &ipv6(v6(flow >> 8), v6(flow & 0xff), 50, 64, &[0; 8]))
    });
}

#[test]
fn v4_pairs_of_mac_addresses_spread() {
    assert_spreads("MAC pairs", |flow| {
        let [_, _, a, b] = flow.to_be_bytes();
        ethernet(MacAddr([2, 0, 0, 0, 0, a]), MacAddr([2, 0, 0, 0, 1, b]), 0x88cc, &[0; 46])
    });
    assert_spreads("ARP", |flow| {
        let [a, b, c, d] = flow.to_be_bytes();
        ethernet(MacAddr::BROADCAST, MacAddr([2, 0, a, b, c, d]), ETHERTYPE_ARP, &[0; 28])
    });
}

#[test]
fn v4_tagged_frames_spread_and_hash_as_untagged_ones() {
    let tpids = [ETHERTYPE_QINQ, ETHERTYPE_VLAN];
    assert_spreads("tagged", |flow| tagged(&v4_flow(PROTOCOL_TCP, flow), &tpids));
    for flow in 0..100 {
        for frame in [v4_flow(PROTOCOL_UDP, flow), v6_flow(PROTOCOL_TCP, flow)] {
            for tags in 1..=2 {
                assert_eq!(flow_hash(&tagged(&frame, &tpids[..tags])), flow_hash(&frame));
            }
        }
    }
}

#[test]
fn v4_ipv6_behind_extension_headers_spreads_and_hashes_as_without() {
    let extended = |flow: u32| {
        let upper = ports(32768 + (flow & 0xff) as u16, 443);
        let chain = [&[60, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0][..], &upper].concat();
        ethernet(HOST, GATEWAY, ETHERTYPE_IPV6, &ipv6(v6(flow >> 8), v6(0xabcd), 0, 64, &chain))
    };
    assert_spreads("extension headers", extended);
    assert_eq!(flow_hash(&extended(7)), flow_hash(&v6_flow(PROTOCOL_UDP, 7)));
}

#[test]
fn v4_an_ipv4_header_with_options_hashes_as_without() {
    let mut header = ipv4_header([10, 0, 0, 1], [10, 1, 0, 2], PROTOCOL_TCP);
    header.options = [1; 8].into();
    let frame = ethernet(HOST, GATEWAY, ETHERTYPE_IPV4, &ipv4_packet(header, &ports(32768 + 5, 443)));
    assert_eq!(flow_hash(&frame), flow_hash(&v4_flow(PROTOCOL_TCP, 5)));
}

#[test]
fn v4_fragments_of_one_datagram_share_one_port_and_datagrams_spread() {
    let fragment = |offset: u16, more: bool, flow: u32, payload: &[u8]| {
        let [_, _, a, b] = flow.to_be_bytes();
        let mut header = ipv4_header([10, 0, 0, a], [10, 0, 1, b], PROTOCOL_UDP);
        header.more_fragments = more;
        header.fragment_offset = offset.try_into().expect("13 bits");
        ethernet(HOST, GATEWAY, ETHERTYPE_IPV4, &ipv4_packet(header, payload))
    };
    let first = flow_hash(&fragment(0, true, 9, &ports(1, 2)));
    assert_eq!(flow_hash(&fragment(185, true, 9, &[0xaa; 100])), first);
    assert_eq!(flow_hash(&fragment(370, false, 9, &[0xbb; 3])), first);
    assert_spreads("IPv4 fragments", |flow| fragment(0, true, flow, &ports(1, 2)));

    let fragment = |offset: u16, more: u16, next: u8, payload: &[u8]| {
        let header = [&[next, 0][..], &(offset | more).to_be_bytes(), &[0, 0, 0, 1], payload].concat();
        ethernet(HOST, GATEWAY, ETHERTYPE_IPV6, &ipv6(v6(1), v6(2), 44, 64, &header))
    };
    let first = flow_hash(&fragment(0, 1, 60, &[&[17, 0, 0, 0, 0, 0, 0, 0][..], &ports(1, 2)].concat()));
    assert_eq!(flow_hash(&fragment(1232, 1, 60, &[0xaa; 100])), first);
    assert_eq!(flow_hash(&fragment(2464, 0, 60, &[])), first);
}

#[test]
fn v4_each_bit_of_the_flow_changes_each_bit_of_the_port_half_the_time() {
    let v4_bits = (26 * 8..38 * 8, v4_flow as fn(u8, u32) -> Vec<u8>);
    let v6_bits = (22 * 8..58 * 8, v6_flow as fn(u8, u32) -> Vec<u8>);
    for (bits, frame) in [v4_bits, v6_bits] {
        for bit in bits {
            let mut flips = [0u32; 14];
            for flow in 0..1000 {
                let mut frame = frame(PROTOCOL_TCP, flow * 61);
                let before = SourcePorts::DYNAMIC.of(flow_hash(&frame));
                frame[bit / 8] ^= 1 << (bit % 8);
                let changed = before ^ SourcePorts::DYNAMIC.of(flow_hash(&frame));
                flips.iter_mut().enumerate().for_each(|(at, count)| *count += u32::from(changed >> at & 1));
            }
            assert!(flips.iter().all(|count| (400..600).contains(count)), "bit {bit}: {flips:?}");
        }
    }
}

#[test]
fn v4_the_ports_cover_the_whole_range() {
    assert_eq!((SourcePorts::DYNAMIC.of(0), SourcePorts::DYNAMIC.of(u32::MAX)), (49152, 65535));
    let all: HashSet<u16> = (0..1 << 14).map(|hash: u32| SourcePorts::DYNAMIC.of(hash << 18)).collect();
    assert_eq!(all.len(), 1 << 14);
}

proptest! {
    #[test]
    fn v4_any_frame_hashes_the_same_whatever_its_payload(mut frame in prop::collection::vec(any::<u8>(), 0..120),
                                                        v6: bool, ordinary: bool) {
        if ordinary && let Some(start) = frame.first_chunk_mut::<24>() {
            start[12..15].copy_from_slice(if v6 { &[0x86, 0xdd, 0x60] } else { &[0x08, 0x00, 0x45] });
            start[20..24].copy_from_slice(if v6 { &[6, 64, 0, 0] } else { &[0, 0, 64, 6] });
        }
        let hash = flow_hash(&frame);
        prop_assert!(SourcePorts::DYNAMIC.of(hash) >= 49152);
        prop_assert_eq!(InnerFlow::of(&frame), InnerFlow { hash, dscp_ecn: traffic_class_of(&frame) }, "all ways agree");
        if ordinary && frame.len() >= 58 {
            let from = if v6 { 58 } else { 38 };
            frame[from..].fill(0);
            prop_assert_eq!(flow_hash(&frame), hash);
            prop_assert_eq!(flow_hash(&frame[..from]), hash, "the head is enough");
        }
    }
}
