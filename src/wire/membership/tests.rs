//! Membership messages, built by hand by the RFCs' pictures; what is sent is also decoded by tshark in the end-to-end
//! tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::wire::MacAddr;
use crate::wire::checksum::ipv4_header_is_valid;
use crate::wire::fixture::{HOST, ethernet, icmpv6, ipv4, ipv6, naive_checksum};

const GROUP: [u8; 4] = [239, 1, 2, 3];
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0x123);

fn igmp(destination: [u8; 4], message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    message[2..4].fill(0);
    let checksum = naive_checksum(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let destination_mac = group_mac(destination.into());
    ethernet(destination_mac, HOST, ETHERTYPE_IPV4, &ipv4([192, 0, 2, 1], destination, PROTOCOL_IGMP, &message))
}

fn mld(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, message: &[u8]) -> Vec<u8> {
    let alert = [PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0];
    let payload = [&alert[..], &icmpv6(source, destination, message)].concat();
    let packet = ipv6(source, destination, 0, hop_limit, &payload);
    ethernet(group_mac(destination.into()), HOST, ETHERTYPE_IPV6, &packet)
}

fn recognised(frame: &[u8]) -> Option<Multicast<'_>> {
    recognise(frame, frame.len())
}

#[track_caller]
fn query(frame: &[u8]) -> Query {
    let Some(Multicast::Query(query)) = recognised(frame) else { panic!("no query: {:?}", recognised(frame)) };
    query
}

#[track_caller]
fn records(frame: &[u8]) -> Vec<(IpAddr, bool)> {
    let Some(Multicast::Report { records, .. }) = recognised(frame) else {
        panic!("no report: {:?}", recognised(frame))
    };
    records.map(|record| (record.group, record.wanted)).collect()
}

#[test]
fn igmp_queries_of_all_versions_are_read() {
    let source = IpAddr::from([192, 0, 2, 1]);
    let general = |message: &[u8]| query(&igmp([224, 0, 0, 1], message));
    let v1 = general(&[0x11, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(v1, Query { source, group: None, response_ms: 10_000, timing: None, of_sources: false, is_older: true });
    let v2 = general(&[0x11, 50, 0, 0, 0, 0, 0, 0]);
    assert_eq!(v2, Query { response_ms: 5000, ..v1 });
    let v3 = general(&[0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]);
    assert_eq!(v3, Query { response_ms: 10_000, timing: Some((125, 2)), is_older: false, ..v1 });
    // An exponent of 1 and a mantissa of 0 are 256; robustness 0 is one that is too large.
    let long = general(&[0x11, 0x90, 0, 0, 0, 0, 0, 0, 0, 0x90, 0, 0]);
    assert_eq!((long.response_ms, long.timing), (25_600, Some((256, 7))));
    let of_group = query(&igmp(GROUP, &[0x11, 10, 0, 0, 239, 1, 2, 3, 2, 0, 0, 0]));
    assert_eq!((of_group.group, of_group.timing, of_group.of_sources), (Some(GROUP.into()), Some((125, 2)), false));
    let of_source = query(&igmp(GROUP, &[0x11, 10, 0, 0, 239, 1, 2, 3, 2, 0, 0, 1, 192, 0, 2, 7]));
    assert_eq!(of_source, Query { of_sources: true, ..of_group });
}

/// RFC 3376, 4.1.12; RFC 3810, 5.1.15: one that hosts do not hear has no answers that could be missed.
#[test]
fn a_query_that_does_not_go_to_those_it_asks_is_none() {
    let is_query = |frame: &[u8]| matches!(recognised(frame), Some(Multicast::Query(_)));
    let (general, of_group) = ([0x11, 1, 0, 0, 0, 0, 0, 0], [0x11, 1, 0, 0, 239, 1, 2, 3]);
    let about = |group: Ipv6Addr| [&[130, 0, 0, 0, 0, 1, 0, 0][..], &group.octets()].concat();
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let other = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 9);
    let heard = [
        igmp([224, 0, 0, 1], &general),
        igmp(GROUP, &of_group),
        mld(ROUTER, all_nodes, 1, &about(Ipv6Addr::UNSPECIFIED)),
        mld(ROUTER, GROUP6, 1, &about(GROUP6)),
    ];
    for mut frame in heard {
        assert!(is_query(&frame), "{frame:02x?}");
        // An address that no host of the group listens to, below a right one of IP.
        frame[5] ^= 0x10;
        assert!(!is_query(&frame), "{frame:02x?}");
    }
    let unheard = [
        igmp([239, 9, 9, 9], &general),
        igmp(GROUP, &general),
        igmp([239, 9, 9, 9], &of_group),
        igmp([224, 0, 0, 1], &of_group),
        igmp([10, 0, 0, 9], &general),
        igmp([10, 0, 0, 9], &[0x11, 1, 0, 0, 10, 0, 0, 9]),
        mld(ROUTER, other, 1, &about(Ipv6Addr::UNSPECIFIED)),
        mld(ROUTER, other, 1, &about(GROUP6)),
        mld(ROUTER, all_nodes, 1, &about(GROUP6)),
        mld(ROUTER, ROUTER, 1, &about(Ipv6Addr::UNSPECIFIED)),
    ];
    for frame in unheard {
        assert!(recognised(&frame).is_none(), "{frame:02x?}");
    }
}

#[test]
fn igmp_reports_of_all_versions_are_read() {
    let group = IpAddr::from(GROUP);
    for (kind, wanted) in [(0x12, true), (0x16, true), (0x17, false)] {
        assert_eq!(records(&igmp(GROUP, &[kind, 0, 0, 0, 239, 1, 2, 3])), [(group, wanted)]);
    }
    let v3 = |records: &[(u8, u16, u8)]| {
        let mut message = vec![0x22, 0, 0, 0, 0, 0, 0, records.len() as u8];
        for (number, (kind, sources, auxiliary)) in records.iter().enumerate() {
            message.extend([*kind, *auxiliary, 0, *sources as u8, 239, 0, 0, number as u8]);
            message.extend(vec![7; 4 * usize::from(*sources) + 4 * usize::from(*auxiliary)]);
        }
        igmp([224, 0, 0, 22], &message)
    };
    let numbered = |last, wanted| (IpAddr::from([239, 0, 0, last]), wanted);
    let all = v3(&[
        (1, 0, 0),
        (1, 2, 1),
        (2, 0, 0),
        (3, 0, 0),
        (3, 1, 0),
        (4, 3, 2),
        (5, 1, 0),
        (5, 0, 0),
        (6, 1, 0),
        (9, 0, 0),
    ]);
    let expected = [
        numbered(0, false),
        numbered(1, true),
        numbered(2, true),
        numbered(3, false),
        numbered(4, true),
        numbered(5, true),
        numbered(6, true),
    ];
    assert_eq!(records(&all), expected);
    // A count of more records than there are.
    let mut short = v3(&[(4, 0, 0), (4, 0, 0)]);
    short.truncate(short.len() - 8);
    short[16..18].copy_from_slice(&[0, 20 + 16]);
    let message = short.split_off(34);
    assert_eq!(records(&igmp([224, 0, 0, 22], &message)), [numbered(0, true)]);
}

#[test]
fn mld_queries_and_reports_of_both_versions_are_read() {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let head = |kind: u8, code: u16| [&[kind, 0, 0, 0][..], &code.to_be_bytes(), &[0, 0]].concat();
    let general = [head(130, 10_000), vec![0; 16]].concat();
    let v1 = query(&mld(ROUTER, all_nodes, 1, &general));
    assert_eq!(
        v1,
        Query {
            source: ROUTER.into(),
            group: None,
            response_ms: 10_000,
            timing: None,
            of_sources: false,
            is_older: true
        }
    );
    let v2 = query(&mld(ROUTER, all_nodes, 1, &[&general[..], &[2, 60, 0, 0]].concat()));
    assert_eq!(v2, Query { timing: Some((60, 2)), is_older: false, ..v1 });
    let of_source = [head(130, 1000), GROUP6.octets().to_vec(), vec![2, 60, 0, 1], ROUTER.octets().to_vec()].concat();
    let of_source = query(&mld(ROUTER, GROUP6, 1, &of_source));
    assert_eq!((of_source.group, of_source.of_sources), (Some(GROUP6.into()), true));
    let long = [head(130, 0x8000), vec![0; 16], vec![2, 60, 0, 0]].concat();
    assert_eq!(query(&mld(ROUTER, all_nodes, 1, &long)).response_ms, 0x1000 << 3);
    for (kind, wanted) in [(131, true), (132, false)] {
        let message = [&head(kind, 0)[..], &GROUP6.octets()].concat();
        assert_eq!(records(&mld(ROUTER, GROUP6, 1, &message)), [(GROUP6.into(), wanted)]);
        assert_eq!(records(&mld(Ipv6Addr::UNSPECIFIED, GROUP6, 1, &message)), [(GROUP6.into(), wanted)]);
    }
    let report = [&[143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0][..], &GROUP6.octets()].concat();
    assert_eq!(records(&mld(ROUTER, GROUP6, 1, &report)), [(GROUP6.into(), true)]);
    // RFC 3810, 5.1.14 and 6.2: more than one hop, no link-local source.
    assert!(recognised(&mld(ROUTER, all_nodes, 64, &general)).is_none());
    assert!(recognised(&mld(Ipv6Addr::UNSPECIFIED, all_nodes, 1, &general)).is_none());
    assert!(recognised(&mld(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), all_nodes, 1, &general)).is_none());
}

#[test]
fn other_multicast_is_data_of_its_group_and_a_pim_hello_shows_a_router() {
    let frame = ethernet(group_mac(GROUP.into()), HOST, ETHERTYPE_IPV4, &ipv4([192, 0, 2, 1], GROUP, 17, &[0; 8]));
    assert!(matches!(recognised(&frame), Some(Multicast::Data(group)) if group == IpAddr::from(GROUP)));
    let frame = ethernet(group_mac(GROUP6.into()), HOST, ETHERTYPE_IPV6, &ipv6(ROUTER, GROUP6, 17, 64, &[0; 8]));
    assert!(matches!(recognised(&frame), Some(Multicast::Data(group)) if group == IpAddr::from(GROUP6)));
    let hello = ipv4([192, 0, 2, 1], [224, 0, 0, 13], PROTOCOL_PIM, &[0x20, 0, 0, 0]);
    let frame = ethernet(group_mac([224, 0, 0, 13].into()), HOST, ETHERTYPE_IPV4, &hello);
    assert!(matches!(recognised(&frame), Some(Multicast::RouterHello { ipv6: false })));
    let arp = ethernet(MacAddr::BROADCAST, HOST, 0x0806, &[0; 28]);
    assert!(recognised(&arp).is_none());
}

#[test]
fn a_wrong_checksum_is_no_message() {
    let frame = igmp(GROUP, &[0x16, 0, 0, 0, 239, 1, 2, 3]);
    for at in 34..frame.len() {
        let mut wrong = frame.clone();
        wrong[at] ^= 0x40;
        assert!(!matches!(recognised(&wrong), Some(Multicast::Report { .. } | Multicast::Query(_))), "byte {at}");
    }
}

#[test]
fn own_reports_are_read_as_what_they_say() {
    let mac = MacAddr([2, 0, 0, 0xaa, 0, 1]);
    let v4: Vec<IpAddr> = (1..=MOST_RECORDS as u8).map(|last| [239, 0, 0, last].into()).collect();
    let v6: Vec<IpAddr> =
        (1..=MOST_RECORDS as u16).map(|n| Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, n).into()).collect();
    let sources: [IpAddr; 2] = [[10, 0, 0, 1].into(), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into()];
    for (source, groups) in sources.into_iter().zip([&v4, &v6]) {
        for (change, wanted) in [(Change::Join, true), (Change::Stay, true), (Change::Leave, false)] {
            for (version, count) in [(Version::Current, 1), (Version::Current, MOST_RECORDS), (Version::Older, 1)] {
                let mut out = [0xee; LONGEST_REPORT];
                let length = report(mac, source, &groups[..count], change, version, &mut out).expect("room");
                let expected: Vec<_> = groups[..count].iter().map(|group| (*group, wanted)).collect();
                assert_eq!(records(&out[..length]), expected);
                assert_eq!(out[6..12], mac.0);
                assert!(out[0] & 1 == 1, "to a group");
                if source.is_ipv4() {
                    assert!(ipv4_header_is_valid(&out[14..]) && out[22] == 1, "a header of one hop");
                    assert_eq!(out[34..38], [0x94, 4, 0, 0], "Router Alert (RFC 2113)");
                }
            }
        }
    }
    let mut out = [0; LONGEST_REPORT];
    assert_eq!(report(mac, sources[0], &[], Change::Join, Version::Current, &mut out), None);
    assert_eq!(report(mac, sources[0], &v6, Change::Join, Version::Current, &mut out), None);
}

#[test]
fn groups_have_the_mac_addresses_of_their_rfcs() {
    assert_eq!(group_mac(Ipv4Addr::new(239, 129, 2, 3).into()), MacAddr([1, 0, 0x5e, 1, 2, 3]));
    assert_eq!(group_mac(GROUP6.into()), MacAddr([0x33, 0x33, 0, 0, 1, 0x23]));
    assert_eq!(link_local(MacAddr([2, 0, 0, 0xaa, 0, 1])), "fe80::ff:feaa:1".parse::<Ipv6Addr>().expect("an address"));
}

proptest! {
    #[test]
    fn no_bytes_are_read_past(
        mut frame in prop::collection::vec(any::<u8>(), 0..200), ipv6 in any::<bool>(), kind in any::<u8>(),
    ) {
        if frame.len() > 40 {
            let ethertype = if ipv6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
            frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
            frame[14] = if ipv6 { 0x60 } else { 0x45 };
            frame[if ipv6 { 20 } else { 23 }] = if kind < 128 { PROTOCOL_IGMP } else { PROTOCOL_ICMPV6 };
        }
        for length in [frame.len(), frame.len() + 100] {
            if let Some(Multicast::Report { records, .. }) = recognise(&frame, length) {
                prop_assert!(records.count() <= usize::from(u16::MAX));
            }
        }
    }

    #[test]
    fn whatever_a_report_claims_its_records_end(message in prop::collection::vec(any::<u8>(), 8..300)) {
        let mut message = message;
        message[0] = 0x22;
        let frame = igmp([224, 0, 0, 22], &message);
        if let Some(Multicast::Report { records, .. }) = recognised(&frame) {
            prop_assert!(records.count() <= message.len() / 8);
        }
    }
}
