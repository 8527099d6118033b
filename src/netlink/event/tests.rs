//! Messages as the kernel writes them, byte by byte.

use std::net::IpAddr;

use super::*;
use crate::netlink::abi::{NeighbourHeader, NextHopHeader, Request, RouteHeader};

const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// The payload of a message.
fn payload(request: Request) -> Vec<u8> {
    request.finish().split_off(16)
}

/// An FDB message with this state, these flags and attributes.
fn fdb(state: u16, flags: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let header = NeighbourHeader { family: abi::BRIDGE, index: 11, state, flags, ..NeighbourHeader::default() };
    let request = Request::new(abi::NEW_NEIGHBOUR, 0, 0, &header);
    payload(attributes.iter().fold(request, |request, (kind, value)| request.with(*kind, value)))
}

fn tunnelled(mac: MacAddr, destination: Destination, state: u16, flags: u8) -> Option<Event> {
    Some(Event::Tunnelled { device: 11, mac, destination, origin: Some(Origin { state, flags }) })
}

#[test]
fn fdb_messages_of_every_kind_are_told_apart() {
    let (own, zero): (&[u8], &[u8]) = (&STATION.0, &[0; 6]);
    let dst: (u16, &[u8]) = (NDA_DST, &[192, 0, 2, 11]);
    let remote = Destination::remote([192, 0, 2, 11].into());
    let six: IpAddr = "2001:db8::11".parse().expect("an address");
    let IpAddr::V6(octets) = six else { unreachable!("it has colons") };
    let octets = octets.octets();
    let number = 7_u32.to_ne_bytes();
    let rows: [(&str, Vec<u8>, Option<Event>); 8] = [
        (
            "remote MAC, the bridge's half",
            fdb(0x02, 0x10, &[(NDA_LLADDR, own), (NDA_MASTER, &10_u32.to_ne_bytes()), (NDA_FLAGS_EXT, &[0; 4])]),
            Some(Event::Bridged {
                bridge: 10,
                mac: STATION,
                vlan: 0,
                place: Some(Bridged { port: 11, origin: Origin { state: 0x02, flags: 0x10 } }),
            }),
        ),
        (
            "remote MAC, the device's half",
            fdb(0x02, 0x12, &[(NDA_LLADDR, own), dst]),
            tunnelled(STATION, remote, 0x02, 0x12),
        ),
        ("sticky", fdb(0x42, 0x42, &[(NDA_LLADDR, own), dst]), tunnelled(STATION, remote, 0x42, 0x42)),
        ("flood entry", fdb(0xc0, 0x02, &[(NDA_LLADDR, zero), dst]), tunnelled(MacAddr::ZERO, remote, 0xc0, 0x02)),
        (
            "another port, VNI and link",
            fdb(
                0xc0,
                0x02,
                &[
                    (NDA_LLADDR, own),
                    (NDA_DST, &octets),
                    (NDA_PORT, &[0x21, 0x18]),
                    (NDA_VNI, &number),
                    (NDA_IFINDEX, &number),
                ],
            ),
            tunnelled(
                STATION,
                Destination::Remote { address: six, port: Some(8472), vni: Some(7), link: Some(7) },
                0xc0,
                0x02,
            ),
        ),
        (
            "a next-hop object",
            fdb(0x02, 0x12, &[(NDA_LLADDR, own), (NDA_NH_ID, &number)]),
            tunnelled(STATION, Destination::NextHop(7), 0x02, 0x12),
        ),
        ("what a NIC listens to", fdb(0x80, 0x02, &[(NDA_LLADDR, own)]), None),
        ("no address", fdb(0x02, 0x12, &[dst]), None),
    ];
    for (what, payload, event) in rows {
        assert_eq!(read(abi::NEW_NEIGHBOUR, &payload), Ok(event), "{what}");
    }
    assert!(Origin { state: 0x42, flags: 0x42 }.sticky() && !Origin { state: 0x42, flags: 0x42 }.external());
}

#[test]
fn neighbours_have_a_state_and_may_be_managed() {
    let message = |state, flags, extended: u32| {
        let header = NeighbourHeader { family: abi::INET, index: 3, state, flags, ..NeighbourHeader::default() };
        let request = Request::new(abi::NEW_NEIGHBOUR, 0, 0, &header).with(NDA_DST, &[10, 0, 0, 2]);
        payload(request.with(NDA_LLADDR, &STATION.0).with(NDA_FLAGS_EXT, &extended.to_ne_bytes()))
    };
    let neighbour = |state, extended| match read(abi::NEW_NEIGHBOUR, &message(state, 0, extended)) {
        Ok(Some(Event::Neighbour { link: 3, neighbour: Some(neighbour), .. })) => neighbour,
        other => panic!("{other:?}"),
    };
    for (state, usable) in [(0x01, false), (0x02, true), (0x04, true), (0x10, true), (0x20, false), (0x80, true)] {
        assert_eq!(neighbour(state, 0).usable().is_some(), usable, "{state:#x}");
    }
    assert!(neighbour(0x02, 1).managed && !neighbour(0x02, 0).managed);
    assert_eq!(read(abi::NEW_NEIGHBOUR, &message(0x80, NTF_PROXY, 0)), Ok(None), "whom the kernel answers for");
    let gone = read(abi::DELETE_NEIGHBOUR, &message(0x20, 0, 0));
    assert_eq!(gone, Ok(Some(Event::Neighbour { link: 3, address: [10, 0, 0, 2].into(), neighbour: None })));
}

#[test]
fn routes_and_next_hop_groups_are_read() {
    let header = RouteHeader { family: abi::INET, destination_length: 24, ..RouteHeader::default() };
    let route = |request: Request| read(abi::DELETE_ROUTE, &payload(request));
    let request = || Request::new(abi::NEW_ROUTE, 0, 0, &header);
    let prefix = Prefix::new([192, 0, 2, 0].into(), 24);
    assert_eq!(route(request().with(RTA_DST, &[192, 0, 2, 0])), Ok(Some(Event::Route(prefix))));
    let default = Request::new(abi::NEW_ROUTE, 0, 0, &RouteHeader { family: abi::INET6, ..RouteHeader::default() });
    let all = Prefix::new(IpAddr::from([0_u8; 16]), 0);
    assert_eq!(route(default), Ok(Some(Event::Route(all))));
    let group = [1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0];
    let next_hop = Request::new(abi::NEW_NEXT_HOP, 0, 0, &NextHopHeader::default());
    let event = read(abi::NEW_NEXT_HOP, &payload(next_hop.with(1, &10_u32.to_ne_bytes()).with(2, &group)));
    let Ok(Some(Event::NextHop { id: 10, next_hop: Some(next_hop) })) = event else { panic!("{event:?}") };
    assert_eq!(next_hop.group, [(1, 3), (2, 257)]);
}

#[test]
fn nothing_malformed_is_read_and_nothing_panics() {
    let whole = fdb(0x02, 0x12, &[(NDA_LLADDR, &STATION.0), (NDA_DST, &[192, 0, 2, 11])]);
    for kind in 0..120 {
        for length in 0..whole.len() {
            let _ = read(kind, &whole[..length]);
        }
        for place in 0..whole.len() {
            let mut broken = whole.clone();
            broken[place] ^= 0xff;
            let _ = read(kind, &broken);
        }
    }
    assert_eq!(read(abi::NEW_NEIGHBOUR, &whole[..11]), Err(Malformed));
    assert_eq!(read(abi::NEW_NEIGHBOUR, &whole[..whole.len() - 1]), Err(Malformed));
}

#[test]
fn a_port_that_leaves_its_bridge_is_no_link_that_is_gone() {
    let header = |family| abi::LinkHeader { family, index: 5, ..abi::LinkHeader::default() };
    let message = |family| payload(Request::new(abi::DELETE_LINK, 0, 0, &header(family)));
    assert_eq!(read(abi::DELETE_LINK, &message(abi::BRIDGE)), Ok(None));
    assert_eq!(read(abi::DELETE_LINK, &message(abi::UNSPECIFIED)), Ok(Some(Event::LinkGone(5))));
}
