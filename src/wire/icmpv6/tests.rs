//! Echo replies, and "packet too big".

use super::*;
use crate::wire::fixture::{GATEWAY, HOST, ethernet, icmpv6, icmpv6_residue, ipv6};
use etherparse::{Icmpv6Type, SlicedPacket, TransportSlice};
use proptest::prelude::*;

const OWN: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const OTHER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3);
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const MAC_B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn request(source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let message = [&[ECHO_REQUEST, 0, 0, 0, 0x12, 0x34, 0, 1][..], payload].concat();
    let packet = ipv6(source, destination, 58, 3, &icmpv6(source, destination, &message));
    ethernet(GATEWAY, HOST, ETHERTYPE_IPV6, &packet)
}

fn reply(frame: &mut [u8], packet_length: usize) -> Option<usize> {
    echo_reply_in_place(frame, packet_length, GATEWAY, OWN)
}

#[test]
fn an_echo_request_becomes_the_reply_with_the_right_checksum() {
    for payload in [&[][..], &[1], &[0xff; 56], &[7; 1453]] {
        let mut frame = request(PEER, OWN, payload);
        let length = frame.len();
        assert_eq!(reply(&mut frame, length), Some(length));
        assert_eq!((&frame[..6], &frame[6..12]), (&HOST.0[..], &GATEWAY.0[..]));
        let ip = Ipv6Header::parse(&frame[14..], length - 14).expect("IPv6");
        assert_eq!((ip.source, ip.destination, ip.hop_limit), (OWN, PEER, OWN_TTL));
        let answer = SlicedPacket::from_ethernet(&frame).expect("a packet");
        let Some(TransportSlice::Icmpv6(message)) = answer.transport else { panic!("no ICMPv6: {answer:?}") };
        assert!(message.is_checksum_valid(OWN.octets(), PEER.octets()));
        assert!(matches!(message.icmp_type(), Icmpv6Type::EchoReply(echo) if echo.id == 0x1234 && echo.seq == 1));
        assert_eq!(message.payload(), payload);
    }
}

#[test]
fn m3_a_request_whose_payload_is_in_other_segments_is_answered_from_the_head() {
    let whole = request(PEER, OWN, &[0x5a; 4000]);
    let (head, rest) = whole.split_at(62);
    let mut head = head.to_vec();
    assert_eq!(reply(&mut head, whole.len()), Some(whole.len()));
    assert_eq!(icmpv6_residue(OWN, PEER, &[&head[54..], rest].concat()), 0);
}

#[test]
fn requests_that_are_not_for_us_or_not_sound_are_left_as_they_are() {
    let byte = |at: usize, value: u8| {
        let mut frame = request(PEER, OWN, &[0; 8]);
        frame[at] = value;
        frame
    };
    let cases = [
        ("another's address", request(PEER, OTHER, &[])),
        ("a group", request(PEER, GROUP, &[])),
        ("a multicast source", request(GROUP, OWN, &[])),
        ("no source", request(Ipv6Addr::UNSPECIFIED, OWN, &[])),
        ("a loopback source", request(Ipv6Addr::LOCALHOST, OWN, &[])),
        ("our own source", request(OWN, OWN, &[])),
        ("a reply", byte(54, ECHO_REPLY)),
        ("a code", byte(55, 1)),
        ("an extension header", byte(20, 60)),
        ("a group MAC", byte(0, 0x33)),
        ("a group source MAC", byte(6, 0x33)),
        ("another EtherType", byte(13, 0xde)),
        ("under eight bytes", byte(19, 7)),
    ];
    for (case, mut frame) in cases {
        let (before, length) = (frame.clone(), frame.len());
        assert_eq!(reply(&mut frame, length), None, "{case}");
        assert_eq!(frame, before, "{case}");
    }
    let mut frame = request(PEER, OWN, &[]);
    assert_eq!(reply(&mut frame, 61), None, "longer than what arrived");
    for length in 0..62 {
        assert_eq!(reply(&mut frame[..length], 62), None, "{length} bytes");
    }
}

fn original(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(MAC_B, HOST, ETHERTYPE_IPV6, &ipv6(source, destination, next_header, 64, payload))
}

#[test]
fn m1_the_sender_is_told_the_mtu_in_the_name_of_the_station_it_wrote_to() {
    let frame = original(PEER, OTHER, 6, &[0x42; 1460]);
    let mut out = [0; PACKET_TOO_BIG_FRAME];
    assert_eq!(packet_too_big(&frame, 1430, &mut out), Some(PACKET_TOO_BIG_FRAME));
    assert_eq!((&out[..6], &out[6..12]), (&HOST.0[..], &MAC_B.0[..]));
    let answer = SlicedPacket::from_ethernet(&out).expect("a packet");
    let Some(TransportSlice::Icmpv6(message)) = answer.transport else { panic!("no ICMPv6: {answer:?}") };
    assert!(message.is_checksum_valid(OTHER.octets(), PEER.octets()));
    assert_eq!(message.icmp_type(), Icmpv6Type::PacketTooBig { mtu: 1430 });
    assert_eq!(message.payload(), &frame[14..14 + 1232]);
    let ip = Ipv6Header::parse(&out[14..], 1280).expect("IPv6");
    assert_eq!((ip.source, ip.destination), (OTHER, PEER));
}

#[test]
fn m1_what_is_quoted_fits_the_room_the_packet_and_the_segment() {
    let frame = original(PEER, OTHER, 6, &[0x42; 100]);
    let mut out = [0; PACKET_TOO_BIG_FRAME];
    let length = |frame: &[u8], out: &mut [u8]| packet_too_big(frame, 1430, out);
    assert_eq!(length(&[&frame[..], &[0; 20]].concat(), &mut out), Some(62 + 140), "no padding");
    assert_eq!(length(&frame[..14 + 60], &mut out), Some(62 + 60));
    assert_eq!(length(&frame[..14 + 48], &mut out), Some(62 + 48));
    assert_eq!(length(&frame[..14 + 47], &mut out), None);
    assert_eq!(length(&frame, &mut out[..62 + 48]), Some(62 + 48));
    assert_eq!(length(&frame, &mut out[..62 + 47]), None);
}

#[test]
fn m1_no_answer_where_rfc_4443_forbids_one() {
    let mut out = [0; PACKET_TOO_BIG_FRAME];
    for kind in 0..=255 {
        let behind_options = [&[58, 0, 0, 0, 0, 0, 0, 0, kind][..], &[0; 31]].concat();
        for frame in [original(PEER, OTHER, 58, &behind_options[8..]), original(PEER, OTHER, 60, &behind_options)] {
            let answered = packet_too_big(&frame, 1430, &mut out).is_some();
            assert_eq!(answered, kind >= 128 && kind != 137, "ICMPv6 type {kind}");
        }
    }
    let fragment = |offset: u8| original(PEER, OTHER, 44, &[&[17, 0, 0, offset, 0, 0, 0, 1][..], &[0; 32]].concat());
    assert!(packet_too_big(&fragment(1), 1430, &mut out).is_some(), "a first fragment");
    let good = original(PEER, OTHER, 17, &[0; 32]);
    assert!(packet_too_big(&good, 1280, &mut out).is_some());
    let byte = |at: usize, value: u8| {
        let mut frame = good.clone();
        frame[at] = value;
        frame
    };
    let cases = [
        ("a later fragment", fragment(8)),
        ("a chain that ends early", original(PEER, OTHER, 60, &[17, 9, 0, 0, 0, 0, 0, 0])),
        ("to a group", original(PEER, GROUP, 17, &[0; 32])),
        ("from a group", original(GROUP, OTHER, 17, &[0; 32])),
        ("from nobody", original(Ipv6Addr::UNSPECIFIED, OTHER, 17, &[0; 32])),
        ("a group MAC", byte(0, 0x33)),
        ("a group source MAC", byte(6, 0x33)),
        ("a tag", byte(12, 0x81)),
    ];
    for (case, frame) in cases {
        assert_eq!(packet_too_big(&frame, 1430, &mut out), None, "{case}");
    }
    assert_eq!(packet_too_big(&good, 1279, &mut out), None, "an MTU no IPv6 sender heeds");
}

proptest! {
    #[test]
    fn any_frame_is_answered_within_the_room_or_not_at_all(mut frame in prop::collection::vec(any::<u8>(), 0..120),
                                                          room in 0usize..1400, ordinary: bool) {
        if ordinary && let Some(start) = frame.first_chunk_mut::<24>() {
            start[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
            start[18..21].copy_from_slice(&[0, 20, 58]);
        }
        let mut out = vec![0; room];
        prop_assert!(packet_too_big(&frame, 1430, &mut out).is_none_or(|length| length <= room));
        let length = frame.len();
        prop_assert!(reply(&mut frame, length).is_none_or(|reply| reply <= length));
    }
}
