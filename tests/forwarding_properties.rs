//! What holds for every packet and every topology, not only for those a person thinks of.

#[path = "fixtures/frames.rs"]
#[allow(dead_code, reason = "the conformance tests use the rest")]
mod frames;
#[path = "fixtures/gateway.rs"]
#[allow(dead_code, reason = "the conformance tests use the rest")]
mod gateway;

use std::collections::HashSet;
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::Index;
use vtepd::config::model::{Tags, UdpChecksum};
use vtepd::control::PortFacts;
use vtepd::forwarding::{BURST, HeapPacket};
use vtepd::tables::PortIndex;
use vtepd::telemetry::{DropReason, Event};
use vtepd::wire::MacAddr;

use frames::{
    FAMILIES, Family, Outer, Sent, UPLINK_MAC, UdpSum, arp_request, ipv4_udp, ipv6_udp, padded, raw, remote_mac,
    station, tagged,
};
use gateway::{Gateway, Outcome, TAG, TRUNK0, TRUNK1, UPLINK, VLAN, VNI, bridge, config, facts, neighbour};

fn families() -> impl Strategy<Value = Family> {
    prop::sample::select(FAMILIES.to_vec())
}

fn tenant_mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(|mut octets| {
        // A station that is no port of the test gateways.
        octets[0] = octets[0] & 0xfc | 2;
        octets[1] |= 1;
        MacAddr(octets)
    })
}

/// Where a driver may end segments without tearing the headers.
fn ends() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(200usize..2000, 0..4).prop_map(|mut ends| {
        ends.sort_unstable();
        ends
    })
}

/// Two gateways on one fabric: `vni` between them, an untagged bridge that carries tags. The second is remote VTEP 1 of
/// the first.
fn pair(family: Family, vni: u32, checksum: UdpChecksum) -> (Gateway, Gateway) {
    let facts_of = |mac| -> Vec<_> {
        facts(2)
            .into_iter()
            .zip([mac, facts(2)[1].mac])
            .map(|(_, mac)| PortFacts { mac, mtu: 9000, receivers: 1 })
            .collect()
    };
    let make = |own: IpAddr, peer: IpAddr, own_mac, peer_mac| {
        let mut config = config(family);
        config.ports.truncate(2);
        config.vtep.address = own;
        config.vtep.udp_checksum = checksum;
        let mut only = bridge(vni, None, &[TRUNK0], &[peer]);
        (only.tags, only.link_local) = (Tags::Carry, true);
        config.bridges = vec![only];
        config.neighbours = vec![neighbour(family, 1)];
        config.neighbours[0].address = peer;
        config.neighbours[0].mac = peer_mac;
        Gateway::with_facts(&config, &facts_of(own_mac))
    };
    let (a, b) = (family.local(), family.remote(1));
    (make(a, b, UPLINK_MAC, remote_mac(1)), make(b, a, remote_mac(1), UPLINK_MAC))
}

/// What became of one packet that arrived on `port`: one destination or one reason, or, where it was flooded, one of
/// the two for each destination. Gives how many that were.
#[track_caller]
fn fates(port: PortIndex, outcome: &Outcome) -> u64 {
    let dropped: u64 = outcome.drops.iter().map(|(_, count)| count).sum();
    let fates = outcome.sent.len() as u64 - outcome.events_of(Event::TooBigSent) + dropped;
    // Both bridges have two members and two remote VTEPs.
    let expected = match (outcome.events_of(Event::FloodedFrame), port) {
        (0, _) => 1,
        (_, UPLINK) => 2,
        _ => 3,
    };
    assert_eq!(fates, expected, "{:?} {:?}", outcome.drops, outcome.events);
    fates
}

/// A burst has the fates that its packets have one by one.
#[track_caller]
fn assert_conserved(family: Family, port: PortIndex, packets: impl Fn() -> Vec<HeapPacket>, buffers: usize) -> Outcome {
    let mut one_by_one = busy(family);
    let singles: Vec<_> = packets().into_iter().map(|packet| one_by_one.receive_packets(port, [packet])).collect();
    let expected: u64 = singles.iter().map(|outcome| fates(port, outcome)).sum();
    let mut gateway = busy(family);
    gateway.buffers = buffers;
    let outcome = gateway.receive_packets(port, packets());
    let dropped: u64 = outcome.drops.iter().map(|(_, count)| count).sum();
    assert_eq!(outcome.sent.len() as u64 - outcome.events_of(Event::TooBigSent) + dropped, expected);
    if outcome.drops.iter().all(|(reason, _)| *reason != DropReason::NoBuffer)
        && outcome.events_of(Event::TooBigSuppressed) == 0
    {
        let mut all: Vec<_> = singles.iter().flat_map(Outcome::bytes).collect();
        all.sort();
        assert_eq!(outcome.bytes(), all);
    }
    outcome
}

/// A gateway with every kind of bridge, that knows station 1 at trunk 1 and station 2 behind remote VTEP 1.
fn busy(family: Family) -> Gateway {
    let mut gateway = Gateway::with(family, |config| {
        let mut carrying = bridge(200, None, &[TRUNK0, TRUNK1], &[family.remote(1), family.remote(2)]);
        (carrying.tags, carrying.source_check) = (Tags::Carry, Some(false));
        config.bridges.push(carrying);
    });
    for vni in [VNI, 200] {
        let (near, far) = (gateway.member(vni, TRUNK1), gateway.tunnel(family.remote(1)));
        gateway.know(vni, station(1), near);
        gateway.know(vni, station(2), far);
    }
    gateway
}

/// Valid packets of all kinds, to be sent as they are or broken.
fn seeds(family: Family) -> Vec<(PortIndex, Vec<u8>)> {
    let mut all = Vec::new();
    for destination in [station(1), station(2), station(3), MacAddr::BROADCAST] {
        let inner = [
            ipv4_udp(destination, station(9), 40, 3, true),
            ipv4_udp(destination, station(9), 1560, 3, true),
            ipv6_udp(destination, station(9), 41, 2),
            ipv6_udp(destination, station(9), 1560, 2),
            arp_request(station(9), [192, 0, 2, 1].into(), [192, 0, 2, 2].into()),
        ];
        for frame in inner {
            all.extend([TRUNK0, TRUNK1].map(|port| (port, tagged(&frame, &[TAG]))));
            all.push((TRUNK0, frame.clone()));
            all.push((TRUNK1, tagged(&frame, &[(0x8100, 300)])));
            for (vni, remote) in [(VNI, 1), (VNI, 2), (200, 1), (200, 9)] {
                let outer = Outer { sum: UdpSum::Right, ..Outer::new(family, vni, &frame).sent_by(remote) };
                all.push((UPLINK, outer.build()));
                all.push((UPLINK, Outer { traffic_class: 3, ..outer }.build()));
            }
            if family == Family::V4 {
                let outer = Outer { options: vec![1; 12], ..Outer::new(family, VNI, &frame) };
                all.push((UPLINK, outer.build()));
            } else {
                let extensions = Some((0, vec![60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0]));
                all.push((UPLINK, Outer { extensions, ..Outer::new(family, VNI, &frame) }.build()));
            }
        }
    }
    all
}

/// What is done to a valid packet.
#[derive(Clone, Debug)]
enum Damage {
    None,
    Set(Index, u8),
    /// In the first 80 bytes, where headers are.
    SetInHeaders(usize, u8),
    Cut(Index),
    Extend(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        Just(Damage::None),
        (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Damage::Set(at, value)),
        (0usize..80, any::<u8>()).prop_map(|(at, value)| Damage::SetInHeaders(at, value)),
        any::<Index>().prop_map(Damage::Cut),
        (1usize..80).prop_map(Damage::Extend),
    ]
}

fn damaged(mut packet: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for each in damage {
        match each {
            Damage::None => {}
            Damage::Set(at, value) if !packet.is_empty() => {
                let at = at.index(packet.len());
                packet[at] = *value;
            }
            Damage::SetInHeaders(at, value) if *at < packet.len() => packet[*at] = *value,
            Damage::Cut(at) if !packet.is_empty() => packet.truncate(at.index(packet.len())),
            Damage::Extend(by) => packet.resize(packet.len() + by, 0x5a),
            _ => {}
        }
    }
    packet
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// V2, V4, V11, U1: what one gateway encapsulates, the other decapsulates to the same frame.
    #[test]
    fn a_frame_comes_out_of_the_tunnel_as_it_went_in(
        family in families(),
        vni in 0u32..1 << 24,
        zero in any::<bool>(),
        addresses in (tenant_mac(), tenant_mac(), any::<bool>()),
        ethertype in any::<u16>(),
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        ends in ends(),
    ) {
        let (destination, source, broadcast) = addresses;
        prop_assume!(destination != source);
        let destination = if broadcast { MacAddr::BROADCAST } else { destination };
        let checksum = if zero { UdpChecksum::Zero } else { UdpChecksum::Full };
        // A priority tag is the port's own, all other tags are the frame's.
        let frame = raw(destination, source, ethertype, &bytes);
        prop_assume!(ethertype != 0x8100 || bytes.len() >= 2);
        let (mut a, mut b) = pair(family, vni, checksum);
        let sent = a.receive_packets(TRUNK0, [HeapPacket::segmented(&frame, &ends)]);
        let (port, packet) = sent.only();
        prop_assert_eq!(port, UPLINK);
        prop_assert_eq!(&Sent::decode(&packet).frame, &frame);
        let outer_ends: Vec<_> = ends.iter().map(|end| end + 70).collect();
        let delivered = b.receive_packets(UPLINK, [HeapPacket::segmented(&packet, &outer_ends)]);
        prop_assert_eq!(delivered.only(), (TRUNK0, padded(&frame)));
        prop_assert_eq!((sent.learned.len(), delivered.learned.len()), (1, 1));
    }

    /// V12: any bytes at all, in bursts of any length, on either kind of port.
    #[test]
    fn any_bytes_are_forwarded_or_dropped_under_one_reason(
        family in families(),
        port in 0u16..3,
        burst in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), ends()), 0..=BURST),
    ) {
        let packets = || burst.iter().map(|(bytes, ends)| HeapPacket::segmented(bytes, ends)).collect();
        let _outcome = assert_conserved(family, PortIndex(port), packets, 4096);
    }

    /// V12: valid packets, some of them damaged, segmented anyhow, with a pool that may run dry.
    #[test]
    fn damaged_packets_are_forwarded_or_dropped_under_one_reason(
        family in families(),
        port in 0u16..3,
        burst in prop::collection::vec(
            (any::<Index>(), prop::collection::vec(damage(), 1..3), prop::collection::vec(0usize..300, 0..3)),
            1..=BURST,
        ),
        buffers in prop_oneof![Just(4096usize), 0usize..40],
    ) {
        let seeds: Vec<_> = seeds(family).into_iter().filter(|(to, _)| to.0 == port).map(|(_, bytes)| bytes).collect();
        let packet = |(seed, damage, ends): &(Index, Vec<Damage>, Vec<usize>)| {
            let mut ends = ends.clone();
            ends.sort_unstable();
            HeapPacket::segmented(&damaged(seed.get(&seeds).clone(), damage), &ends)
        };
        let packets = || burst.iter().map(packet).collect();
        let outcome = assert_conserved(family, PortIndex(port), packets, buffers);
        if port != UPLINK.0 {
            for bytes in outcome.on(UPLINK) {
                let _checked = Sent::decode(&bytes);
            }
        }
    }

    /// V10, B8: in any topology, a frame reaches every member and remote VTEP it belongs to once, and no other.
    #[test]
    fn split_horizon_holds_in_any_topology(
        family in families(),
        // For each bridge: its VLAN's number or none, which of six ports it is on, and which of five remote VTEPs it has.
        bridges in prop::collection::vec((0u16..4, any::<[bool; 6]>(), any::<[bool; 5]>()), 1..6),
        from in (any::<Index>(), any::<Index>(), any::<bool>()),
        known in prop::option::of((any::<Index>(), any::<bool>())),
    ) {
        let mut config = config(family);
        let template = config.ports[1].clone();
        config.ports.truncate(1);
        config.ports.extend((0..6).map(|n| {
            let mut port = template.clone();
            port.name = format!("trunk{n}");
            port
        }));
        config.neighbours = (1..=5).map(|n| neighbour(family, n)).collect();
        let mut taken = HashSet::new();
        config.bridges.clear();
        for (number, (vlan, on, remotes)) in bridges.iter().enumerate() {
            let ports: Vec<_> = (1..=6).filter(|n| on[*n - 1] && taken.insert((*n, *vlan))).map(|n| PortIndex(n as u16)).collect();
            let remotes: Vec<_> = (1..=5).filter(|n| remotes[usize::from(*n) - 1]).map(|n| family.remote(n)).collect();
            config.bridges.push(bridge(1000 + number as u32, (*vlan > 0).then_some(*vlan), &ports, &remotes));
        }
        let mut gateway = Gateway::new(&config);
        let chosen = from.0.get(&config.bridges);
        let vni = chosen.vni.get();
        let destination = if known.is_some() { station(1) } else { MacAddr::BROADCAST };
        let frame = ipv4_udp(destination, station(9), 80, 0, false);
        let on_access = |frame: &[u8]| match chosen.ports.first().and_then(|place| place.vlan.vlan()) {
            Some(vlan) => tagged(frame, &[(0x8100, vlan.get())]),
            None => frame.to_vec(),
        };
        let tunnel_source = from.2;
        prop_assume!(if tunnel_source { !chosen.remotes.is_empty() } else { !chosen.ports.is_empty() });

        let mut members: Vec<_> = chosen.ports.iter().map(|place| place.port).collect();
        let mut remotes: Vec<_> = chosen.remotes.clone();
        if let Some((index, remote)) = known {
            prop_assume!(if remote { !remotes.is_empty() } else { !members.is_empty() });
            let place = if remote {
                remotes = vec![*index.get(&remotes)];
                members.clear();
                gateway.tunnel(remotes[0])
            } else {
                members = vec![*index.get(&members)];
                remotes.clear();
                gateway.member(vni, members[0])
            };
            gateway.know(vni, station(1), place);
        }
        let outcome = if tunnel_source {
            let source = *from.1.get(&chosen.remotes);
            remotes.clear();
            gateway.receive(UPLINK, &Outer { source, ..Outer::new(family, vni, &frame) }.build())
        } else {
            let source = from.1.get(&chosen.ports).port;
            members.retain(|port| *port != source);
            gateway.receive(source, &on_access(&frame))
        };
        let mut expected: Vec<_> = members.iter().map(|port| (*port, on_access(&frame))).collect();
        expected.sort();
        let (tunnelled, local): (Vec<_>, Vec<_>) = outcome.bytes().into_iter().partition(|(port, _)| *port == UPLINK);
        prop_assert_eq!(local, expected);
        let mut reached: Vec<_> = tunnelled.iter().map(|(_, bytes)| Sent::decode(bytes)).collect();
        reached.sort_by_key(|sent| sent.destination);
        prop_assert!(reached.iter().all(|sent| sent.frame == frame && sent.vxlan[4..7] == vni.to_be_bytes()[1..]));
        prop_assert_eq!(reached.iter().map(|sent| sent.destination).collect::<Vec<_>>(), remotes);
        let nobody = outcome.sent.is_empty();
        let reasons = [DropReason::NoMember, DropReason::SamePort, DropReason::SplitHorizon];
        prop_assert_eq!(outcome.drops.len(), usize::from(nobody));
        prop_assert!(outcome.drops.iter().all(|(reason, count)| reasons.contains(reason) && *count == 1));
    }
}

#[test]
fn the_seeds_of_the_damage_are_themselves_forwarded() {
    for family in FAMILIES {
        let mut forwarded = 0;
        let all = seeds(family);
        for (port, bytes) in &all {
            forwarded += usize::from(!busy(family).receive(*port, bytes).sent.is_empty());
        }
        // Some have no way that fits, go back where they came from, or are of a stranger.
        assert!(forwarded * 2 > all.len(), "{forwarded} of {}", all.len());
        assert_eq!(VLAN, TAG.1);
    }
}
