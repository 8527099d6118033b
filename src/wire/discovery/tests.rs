//! Claims and questions of ARP packets, solicitations and advertisements.

use proptest::prelude::*;

use super::*;
use crate::wire::fixture::{GATEWAY, HOST, icmpv6, ipv6};

const ALICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const BOB: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const ALICE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const BOB6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const NOTHING: Discovery = Discovery { claim: None, question: None };

fn arp(operation: u16, sender_mac: MacAddr, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Vec<u8> {
    let packet = ArpPacket { operation, sender_mac, sender_ip, target_mac: MacAddr::ZERO, target_ip };
    [&[8, 6][..], &packet.to_bytes(), &[0; 18]].concat()
}

fn says(address: impl Into<IpAddr>, flags: Option<TargetFlags>) -> Option<Claim> {
    Some(Claim { address: address.into(), flags })
}

fn asks(address: impl Into<IpAddr>, probe: bool) -> Option<Question> {
    Some(Question { address: address.into(), probe })
}

fn read_from_host(destination: MacAddr, frame: &[u8]) -> Discovery {
    assert!(is_discovery(frame));
    read(destination, HOST, frame)
}

#[test]
fn arp_claims_the_senders_address_and_a_broadcast_request_asks() {
    let request = arp(1, HOST, ALICE, BOB);
    let claim = says(ALICE, None);
    assert_eq!(read_from_host(MacAddr::BROADCAST, &request), Discovery { claim, question: asks(BOB, false) });
    assert_eq!(read_from_host(GATEWAY, &request), Discovery { claim, question: None }, "a unicast request");
    let reply = arp(2, HOST, ALICE, BOB);
    assert_eq!(read_from_host(GATEWAY, &reply), Discovery { claim, question: None });
    for gratuitous in [arp(1, HOST, ALICE, ALICE), arp(2, HOST, ALICE, ALICE)] {
        assert_eq!(read_from_host(MacAddr::BROADCAST, &gratuitous), Discovery { claim, question: None });
    }
}

#[test]
fn rfc_5227_a_probe_claims_nothing() {
    let probe = arp(1, HOST, Ipv4Addr::UNSPECIFIED, BOB);
    assert_eq!(read_from_host(MacAddr::BROADCAST, &probe), Discovery { claim: None, question: asks(BOB, true) });
}

#[test]
fn who_speaks_for_another_is_neither_believed_nor_answered() {
    assert_eq!(read_from_host(MacAddr::BROADCAST, &arp(1, GATEWAY, ALICE, BOB)), NOTHING);
    for nobody in [[0, 0, 0, 1], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]].map(Ipv4Addr::from) {
        assert_eq!(read_from_host(MacAddr::BROADCAST, &arp(1, HOST, nobody, nobody)), NOTHING, "{nobody}");
    }
    assert_eq!(read_from_host(GATEWAY, &arp(3, HOST, ALICE, BOB)), NOTHING, "another operation");
}

fn neighbour(kind: u8, flags: u8, source: Ipv6Addr, to: Ipv6Addr, target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    let message = [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &target.octets(), options].concat();
    [&[0x86, 0xdd][..], &ipv6(source, to, 58, 255, &icmpv6(source, to, &message))].concat()
}

fn option(kind: u8, mac: MacAddr) -> Vec<u8> {
    [&[kind, 1][..], &mac.0].concat()
}

#[test]
fn rfc_4861_a_solicitation_claims_its_source_and_asks_for_its_target() {
    let group = nd::solicited_node(BOB6);
    let mac = nd::multicast_mac(group);
    let solicitation = neighbour(135, 0, ALICE6, group, BOB6, &option(1, HOST));
    let claim = says(ALICE6, None);
    assert_eq!(read_from_host(mac, &solicitation), Discovery { claim, question: asks(BOB6, false) });
    let for_another = neighbour(135, 0, ALICE6, group, BOB6, &option(1, GATEWAY));
    assert_eq!(read_from_host(mac, &for_another), NOTHING);
    let anonymous = neighbour(135, 0, ALICE6, group, BOB6, &[]);
    assert_eq!(read_from_host(mac, &anonymous), Discovery { claim: None, question: asks(BOB6, false) });
    let unicast = neighbour(135, 0, ALICE6, BOB6, BOB6, &option(1, HOST));
    assert_eq!(read_from_host(GATEWAY, &unicast), Discovery { claim, question: None });
    let detection = neighbour(135, 0, Ipv6Addr::UNSPECIFIED, group, BOB6, &[]);
    assert_eq!(read_from_host(mac, &detection), Discovery { claim: None, question: asks(BOB6, true) });
}

#[test]
fn rfc_4861_an_advertisement_claims_its_target_with_its_flags() {
    let advertise = |flags, to, options: &[u8]| neighbour(136, flags, ALICE6, to, ALICE6, options);
    let both = TargetFlags::ROUTER.and(TargetFlags::OVERRIDE);
    for (bits, flags) in [(0xe0, both), (0x60, TargetFlags::OVERRIDE), (0x40, TargetFlags::default())] {
        let heard = read_from_host(GATEWAY, &advertise(bits, BOB6, &option(2, HOST)));
        assert_eq!(heard, Discovery { claim: says(ALICE6, Some(flags)), question: None });
        assert_eq!(flags.has(TargetFlags::ROUTER), bits & 0x80 != 0);
    }
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let unsolicited = advertise(0x20, all_nodes, &option(2, HOST));
    let claim = says(ALICE6, Some(TargetFlags::OVERRIDE));
    assert_eq!(read_from_host(nd::multicast_mac(all_nodes), &unsolicited), Discovery { claim, question: None });
    let invalid = [
        ("solicited to a group", advertise(0x60, all_nodes, &option(2, HOST))),
        ("another's", advertise(0x60, BOB6, &option(2, GATEWAY))),
        ("no hardware address", advertise(0x60, BOB6, &[])),
        ("an option of length 0", advertise(0x60, BOB6, &[2, 0, 2, 0, 0, 0, 0, 7])),
        ("a mapped address", neighbour(136, 0x60, BOB6, BOB6, ALICE.to_ipv6_mapped(), &option(2, HOST))),
    ];
    for (case, frame) in invalid {
        assert_eq!(read_from_host(GATEWAY, &frame), NOTHING, "{case}");
    }
}

proptest! {
    #[test]
    fn no_bytes_are_read_past_and_none_claim_what_no_node_has(
        bytes in prop::collection::vec(any::<u8>(), 0..100), arp: bool, cut in 0usize..90
    ) {
        let kind = if arp { [8, 6] } else { [0x86, 0xdd] };
        let _heard = read(MacAddr::BROADCAST, HOST, &[&kind[..], &bytes].concat());
        let solicitation = neighbour(135, 0, ALICE6, nd::solicited_node(BOB6), BOB6, &option(1, HOST));
        let heard = read(MacAddr::BROADCAST, HOST, solicitation.get(..cut).unwrap_or(&solicitation));
        prop_assert_eq!(heard == NOTHING, cut < solicitation.len());
    }
}
