//! Neighbour solicitations and their answers.

use super::*;
use crate::wire::fixture::{GATEWAY, HOST, ethernet, icmpv6, ipv6};
use etherparse::{Icmpv6Type, SlicedPacket, TransportSlice};
use proptest::prelude::*;

const OWN: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0xab, 0xcdef);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const OTHER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3);
const NOBODY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
const OPTION_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
const NONCE: [u8; 8] = [14, 1, 1, 2, 3, 4, 5, 6];

fn source_option(mac: MacAddr) -> Vec<u8> {
    [&[OPTION_SOURCE_LINK_LAYER, 1][..], &mac.0].concat()
}

fn solicitation(source: Ipv6Addr, destination: Ipv6Addr, target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    let message = [&[TYPE_SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..], &target.octets(), options].concat();
    let packet = ipv6(source, destination, 58, 255, &icmpv6(source, destination, &message));
    ethernet(multicast_mac(destination), HOST, ETHERTYPE_IPV6, &packet)
}

fn assert_answer(frame: &[u8], destination: Ipv6Addr, mac: MacAddr, solicited: bool) {
    let answer = advertisement(frame, GATEWAY, OWN, TargetFlags::OVERRIDE).expect("an answer");
    assert_eq!((&answer[..6], &answer[6..12]), (&mac.0[..], &GATEWAY.0[..]));
    let ip = Ipv6Header::parse(&answer[14..], 72).expect("IPv6");
    assert_eq!((ip.source, ip.destination, ip.hop_limit), (OWN, destination, 255));
    let answer = SlicedPacket::from_ethernet(&answer).expect("a packet");
    let Some(TransportSlice::Icmpv6(message)) = answer.transport else { panic!("no ICMPv6: {answer:?}") };
    assert!(message.is_checksum_valid(OWN.octets(), destination.octets()));
    let Icmpv6Type::NeighborAdvertisement(flags) = message.icmp_type() else { panic!("{:?}", message.icmp_type()) };
    assert_eq!((flags.router, flags.solicited, flags.r#override), (false, solicited, true));
    assert_eq!(message.slice()[8..24], OWN.octets());
    assert_eq!(message.slice()[24..], [&[2, 1][..], &GATEWAY.0].concat());
}

#[test]
fn rfc_4861_a_solicitation_is_answered_to_the_asker() {
    let group = solicited_node(OWN);
    assert_answer(&solicitation(PEER, group, OWN, &source_option(OPTION_MAC)), PEER, OPTION_MAC, true);
    assert_answer(
        &solicitation(PEER, group, OWN, &[&NONCE[..], &source_option(OPTION_MAC)].concat()),
        PEER,
        OPTION_MAC,
        true,
    );
    assert_answer(&solicitation(PEER, OWN, OWN, &[]), PEER, HOST, true);
}

#[test]
fn rfc_4862_duplicate_detection_is_answered_to_all_nodes() {
    let all_nodes_mac = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
    for options in [&[][..], &NONCE] {
        assert_answer(&solicitation(NOBODY, solicited_node(OWN), OWN, options), ALL_NODES, all_nodes_mac, false);
    }
}

#[test]
fn bytes_behind_the_packet_are_no_part_of_it() {
    let frame = [&solicitation(PEER, solicited_node(OWN), OWN, &[])[..], &[0xaa; 10]].concat();
    assert_answer(&frame, PEER, HOST, true);
}

#[test]
fn rfc_4861_7_1_1_invalid_solicitations_and_those_for_others_are_not_answered() {
    let group = solicited_node(OWN);
    let byte = |at: usize, value: u8| {
        let mut frame = solicitation(PEER, group, OWN, &[]);
        frame[at] = value;
        frame
    };
    // With the message's checksum right again.
    let message = |at: usize, value: u8| {
        let mut frame = byte(at, value);
        let message = icmpv6(PEER, group, &frame[54..]);
        frame[54..].copy_from_slice(&message);
        frame
    };
    assert!(advertisement(&message(58, 1), GATEWAY, OWN, TargetFlags::OVERRIDE).is_some(), "reserved bits are ignored");
    let own_option = source_option(OPTION_MAC);
    let cases = [
        ("hop limit", byte(21, 254)),
        ("checksum", byte(57, 0x55)),
        ("type", message(54, TYPE_ADVERTISEMENT)),
        ("code", message(55, 1)),
        ("another target", solicitation(PEER, group, OTHER, &[])),
        ("another destination", solicitation(PEER, OTHER, OWN, &[])),
        ("all nodes", solicitation(PEER, ALL_NODES, OWN, &[])),
        ("no option length", solicitation(PEER, group, OWN, &[1, 0, 2, 0, 0, 0, 0, 7])),
        ("an option that is cut", solicitation(PEER, group, OWN, &[1, 2, 2, 0, 0, 0, 0, 7])),
        ("half an option", solicitation(PEER, group, OWN, &[1])),
        ("a group in the option", solicitation(PEER, group, OWN, &source_option(MacAddr::BROADCAST))),
        ("nobody's option", solicitation(NOBODY, group, OWN, &own_option)),
        ("nobody to unicast", solicitation(NOBODY, OWN, OWN, &[])),
        ("a multicast source", solicitation(ALL_NODES, group, OWN, &[])),
        ("our own source", solicitation(OWN, group, OWN, &[])),
        ("an extension header", byte(20, 60)),
        ("another EtherType", byte(13, 0xde)),
        ("a group source MAC", byte(6, 0x33)),
    ];
    for (case, frame) in cases {
        assert_eq!(advertisement(&frame, GATEWAY, OWN, TargetFlags::OVERRIDE), None, "{case}");
    }
    let frame = solicitation(PEER, group, OWN, &own_option);
    for length in 0..frame.len() {
        assert_eq!(advertisement(&frame[..length], GATEWAY, OWN, TargetFlags::OVERRIDE), None, "{length} bytes");
    }
}

#[test]
fn multicast_addresses_are_derived_as_the_rfcs_say() {
    assert_eq!(solicited_node(OWN), "ff02::1:ffab:cdef".parse::<Ipv6Addr>().expect("an address"));
    assert_eq!(multicast_mac(solicited_node(OWN)), MacAddr([0x33, 0x33, 0xff, 0xab, 0xcd, 0xef]));
}

proptest! {
    #[test]
    fn any_options_are_walked_to_an_end(options in prop::collection::vec(0u8..4, 0..80), bytes: Vec<u8>) {
        if let Some(answer) = advertisement(&solicitation(PEER, OWN, OWN, &options), GATEWAY, OWN, TargetFlags::OVERRIDE) {
            prop_assert_eq!(&answer[62..78], &OWN.octets());
        }
        prop_assert_eq!(advertisement(&bytes, GATEWAY, OWN, TargetFlags::OVERRIDE), None);
    }
}
