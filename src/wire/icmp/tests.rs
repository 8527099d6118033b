//! Echo replies, and "fragmentation needed".

use super::*;
use crate::wire::fixture::{GATEWAY, HOST, ethernet, ipv4, ipv4_header, ipv4_packet, naive_checksum};
use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{Icmpv4Slice, Icmpv4Type, SlicedPacket, TransportSlice};
use proptest::prelude::*;

const OWN: [u8; 4] = [10, 0, 0, 1];
const PEER: [u8; 4] = [10, 0, 0, 2];
const MAC_B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn echo_request(payload: &[u8]) -> Vec<u8> {
    let mut message = [&[8, 0, 0, 0, 0x12, 0x34, 0, 1][..], payload].concat();
    let checksum = naive_checksum(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

fn request_frame(payload: &[u8]) -> Vec<u8> {
    ethernet(GATEWAY, HOST, ETHERTYPE_IPV4, &ipv4(PEER, OWN, PROTOCOL_ICMP, &echo_request(payload)))
}

fn reply(frame: &mut [u8], packet_length: usize) -> Option<usize> {
    echo_reply_in_place(frame, packet_length, GATEWAY, OWN.into())
}

#[test]
fn an_echo_request_becomes_the_reply_with_right_checksums() {
    for payload in [&[][..], &[1], &[0xff; 56], &[7; 1473]] {
        let mut frame = request_frame(payload);
        let length = frame.len();
        frame.extend([0; 6]);
        assert_eq!(reply(&mut frame, length + 6), Some(length));
        assert_eq!((&frame[..6], &frame[6..12]), (&HOST.0[..], &GATEWAY.0[..]));
        let ip = Ipv4Header::parse(&frame[14..], length - 14).expect("IPv4");
        assert_eq!((ip.source.octets(), ip.destination.octets(), ip.ttl), (OWN, PEER, OWN_TTL));
        assert!(ipv4_header_is_valid(&frame[14..]));
        assert_eq!(naive_checksum(&frame[34..length]), 0);
        let message = Icmpv4Slice::from_slice(&frame[34..length]).expect("ICMP");
        assert!(matches!(message.icmp_type(), Icmpv4Type::EchoReply(echo) if echo.id == 0x1234 && echo.seq == 1));
        assert_eq!(message.payload(), payload);
    }
}

#[test]
fn m3_a_request_whose_payload_is_in_other_segments_is_answered_from_the_head() {
    let whole = request_frame(&[0x5a; 4000]);
    let (head, rest) = whole.split_at(42);
    let mut head = head.to_vec();
    assert_eq!(reply(&mut head, whole.len()), Some(whole.len()));
    assert_eq!(naive_checksum(&[&head[34..], rest].concat()), 0);
}

#[test]
fn requests_that_are_not_for_us_or_not_sound_are_left_as_they_are() {
    let ip = |change: &dyn Fn(&mut etherparse::Ipv4Header)| {
        let mut header = ipv4_header(PEER, OWN, PROTOCOL_ICMP);
        change(&mut header);
        ethernet(GATEWAY, HOST, ETHERTYPE_IPV4, &ipv4_packet(header, &echo_request(&[0; 8])))
    };
    let byte = |at: usize, value: u8| {
        let mut frame = request_frame(&[0; 8]);
        frame[at] = value;
        frame
    };
    assert!(reply(&mut ip(&|_| ()), 50).is_some(), "the cases below differ from a good one in one thing");
    let cases = [
        ("another's address", ip(&|header| header.destination = [10, 0, 0, 9])),
        ("a loopback source", ip(&|header| header.source = [127, 0, 0, 1])),
        ("a multicast source", ip(&|header| header.source = [224, 0, 0, 1])),
        ("a broadcast source", ip(&|header| header.source = [255; 4])),
        ("no source", ip(&|header| header.source = [0; 4])),
        ("our own source", ip(&|header| header.source = OWN)),
        ("a first fragment", ip(&|header| header.more_fragments = true)),
        ("a later fragment", ip(&|header| header.fragment_offset = 1u16.try_into().expect("13 bits"))),
        ("UDP", ip(&|header| header.protocol = 17.into())),
        ("options", ip(&|header| header.options = [1; 4].into())),
        ("a wrong header checksum", byte(25, 0xff)),
        ("a reply", byte(34, 0)),
        ("a code", byte(35, 1)),
        ("a broadcast frame", byte(0, 0xff)),
        ("a group source MAC", byte(6, 0xff)),
        ("another EtherType", byte(13, 0x06)),
    ];
    for (case, mut frame) in cases {
        let before = frame.clone();
        let length = frame.len();
        assert_eq!(reply(&mut frame, length), None, "{case}");
        assert_eq!(frame, before, "{case}");
    }
    let mut frame = request_frame(&[0; 8]);
    assert_eq!(reply(&mut frame, 49), None, "longer than what arrived");
    for length in 0..42 {
        assert_eq!(reply(&mut frame[..length], 50), None, "{length} bytes");
    }
}

fn original(change: impl Fn(&mut etherparse::Ipv4Header), payload: &[u8]) -> Vec<u8> {
    let mut header = ipv4_header(PEER, [10, 0, 0, 3], 6);
    header.dont_fragment = true;
    change(&mut header);
    ethernet(MAC_B, HOST, ETHERTYPE_IPV4, &ipv4_packet(header, payload))
}

#[test]
fn m1_the_sender_is_told_the_mtu_in_the_name_of_the_station_it_wrote_to() {
    let frame = original(|_| (), &[0x42; 1480]);
    let mut out = [0; FRAGMENTATION_NEEDED_FRAME];
    assert_eq!(fragmentation_needed(&frame, 1450, &mut out), Some(FRAGMENTATION_NEEDED_FRAME));
    assert_eq!((&out[..6], &out[6..12]), (&HOST.0[..], &MAC_B.0[..]));
    assert!(ipv4_header_is_valid(&out[14..]));
    assert_eq!(naive_checksum(&out[34..]), 0);
    let answer = SlicedPacket::from_ethernet(&out).expect("a packet");
    let Some(TransportSlice::Icmpv4(message)) = answer.transport else { panic!("no ICMP: {answer:?}") };
    let expected = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1450 };
    assert_eq!(message.icmp_type(), Icmpv4Type::DestinationUnreachable(expected));
    assert_eq!(message.payload(), &frame[14..14 + 548]);
    let ip = Ipv4Header::parse(&out[14..], 576).expect("IPv4");
    assert_eq!((ip.source.octets(), ip.destination.octets()), ([10, 0, 0, 3], PEER));
}

#[test]
fn m1_what_is_quoted_fits_the_room_the_packet_and_the_segment_but_is_never_under_28_bytes() {
    let frame = original(|_| (), &[0x42; 100]);
    let mut out = [0; FRAGMENTATION_NEEDED_FRAME];
    let length = |frame: &[u8], out: &mut [u8]| fragmentation_needed(frame, 1450, out);
    assert_eq!(length(&[&frame[..], &[0; 20]].concat(), &mut out), Some(42 + 120), "no padding");
    assert_eq!(length(&frame[..14 + 60], &mut out), Some(42 + 60));
    assert_eq!(length(&frame[..14 + 28], &mut out), Some(42 + 28));
    assert_eq!(length(&frame[..14 + 27], &mut out), None);
    assert_eq!(length(&frame, &mut out[..42 + 28]), Some(42 + 28));
    assert_eq!(length(&frame, &mut out[..42 + 27]), None);
    assert_eq!(length(&frame, &mut []), None);
}

#[test]
fn m1_no_answer_where_rfc_1122_forbids_one() {
    let payload = [0u8; 64];
    let with_type = |kind: u8| original(|header| header.protocol = 1.into(), &[&[kind, 0][..], &payload].concat());
    let mut out = [0; FRAGMENTATION_NEEDED_FRAME];
    for kind in 0..=255 {
        let answered = fragmentation_needed(&with_type(kind), 1450, &mut out).is_some();
        assert_eq!(answered, !matches!(kind, 3 | 4 | 5 | 11 | 12), "ICMP type {kind}");
    }
    let byte = |at: usize, value: u8| {
        let mut frame = original(|_| (), &payload);
        frame[at] = value;
        frame
    };
    let cases = [
        ("no DF", original(|header| header.dont_fragment = false, &payload)),
        ("a later fragment", original(|header| header.fragment_offset = 1u16.try_into().expect("13 bits"), &payload)),
        ("to multicast", original(|header| header.destination = [239, 0, 0, 1], &payload)),
        ("to broadcast", original(|header| header.destination = [255; 4], &payload)),
        ("from multicast", original(|header| header.source = [239, 0, 0, 1], &payload)),
        ("from nobody", original(|header| header.source = [0; 4], &payload)),
        ("a group MAC", byte(0, 1)),
        ("a group source MAC", byte(6, 1)),
        ("a wrong checksum", byte(25, 0xff)),
        ("a tag", byte(12, 0x81)),
    ];
    for (case, frame) in cases {
        assert_eq!(fragmentation_needed(&frame, 1450, &mut out), None, "{case}");
    }
    assert!(fragmentation_needed(&original(|header| header.more_fragments = true, &payload), 1450, &mut out).is_some());
}

proptest! {
    #[test]
    fn any_frame_is_answered_within_the_room_or_not_at_all(mut frame in prop::collection::vec(any::<u8>(), 0..100),
                                                          room in 0usize..700, ordinary: bool) {
        if ordinary && let Some(start) = frame.first_chunk_mut::<24>() {
            start[12..15].copy_from_slice(&[8, 0, 0x45]);
            start[23] = PROTOCOL_ICMP;
        }
        let mut out = vec![0; room];
        prop_assert!(fragmentation_needed(&frame, 1450, &mut out).is_none_or(|length| length <= room));
        let length = frame.len();
        prop_assert!(reply(&mut frame, length).is_none_or(|reply| reply <= length));
    }
}
