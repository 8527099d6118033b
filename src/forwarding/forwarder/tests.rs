//! The usual ways of stages 1 to 3 say what the unusual ones say: of every packet near the usual one, and in any burst.

mod world;

use std::net::{IpAddr, Ipv4Addr};

use etherparse::{IpEcn, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, UdpHeader};
use proptest::prelude::*;

use self::world::{
    Kind, Known, LOCATIONS, NEXT_HOPS, OTHER_ADDRESS, OTHER_UDP_PORT, POLICED_VNI, PROVIDER, SECOND_SHARE,
    SECOND_UPLINK, SECOND_UPLINK_MAC, Setup, TRUNK, UDP_PORT, UPLINK, UPLINK_MAC, VLAN, VNIS, World, vtep,
};
use crate::forwarding::{BURST, ChecksumVerdict, HeapPacket, ReceiveChecksums};
use crate::tables::bindings::{Binding, BindingKey, BindingSource};
use crate::tables::snapshot::{BridgePolicy, LinkLocal, Neighbours};
use crate::tables::{AgeTick, BridgeIndex, PortIndex, TunnelIndex};
use crate::telemetry::{Direction, DropReason, Event};
use crate::wire::MacAddr;
use crate::wire::nd::TargetFlags;

const NEAR: MacAddr = MacAddr([2, 0xaa, 0, 0, 0, 1]);
const FAR: MacAddr = MacAddr([2, 0xaa, 0, 0, 0, 2]);
const STRANGER: MacAddr = MacAddr([2, 0xaa, 0, 0, 0, 3]);
const LINK_LOCAL: MacAddr = MacAddr([1, 0x80, 0xc2, 0, 0, 3]);
const GROUP: MacAddr = MacAddr([3, 0, 0, 0, 0, 1]);
/// Stations, groups, and what is no station's address.
const ADDRESSES: [MacAddr; 7] = [NEAR, FAR, STRANGER, MacAddr::BROADCAST, GROUP, LINK_LOCAL, MacAddr::ZERO];

const UNVERIFIED: ReceiveChecksums =
    ReceiveChecksums { ip: ChecksumVerdict::Unverified, l4: ChecksumVerdict::Unverified };
const GOOD: ReceiveChecksums = ReceiveChecksums { ip: ChecksumVerdict::Good, l4: ChecksumVerdict::Good };

/// A tenant's frame: the EtherTypes of its tags, of VLAN 1, outermost first, and an IPv4 packet behind them, or bytes.
fn frame(destination: MacAddr, source: MacAddr, tags: &[u16], ecn: u8, length: usize) -> Vec<u8> {
    let mut ip = Ipv4Header::new(length as u16, 63, IpNumber::UDP, [192, 0, 2, 1], [192, 0, 2, 2]).expect("short");
    ip.ecn = IpEcn::try_new(ecn).expect("two bits");
    ip.dont_fragment = true;
    ip.header_checksum = ip.calc_header_checksum();
    let tags = tags.iter().flat_map(|tpid| [(tpid >> 8) as u8, *tpid as u8, 0, 1]);
    let front = destination.0.into_iter().chain(source.0).chain(tags);
    front.chain([8, 0]).chain(ip.to_bytes()).chain((0..length).map(|at| at as u8)).collect()
}

/// The frame in VXLAN from remote VTEP `remote`, with this ECN field outside.
fn outer(ipv6: bool, remote: u8, vni: u32, ecn: u8, frame: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = vni.to_be_bytes();
    let data = [&[8, 0, 0, 0, a, b, c, 0], frame].concat();
    let length = (8 + data.len()) as u16;
    let mut udp = UdpHeader { source_port: 50000, destination_port: UDP_PORT, length, checksum: 0 };
    let (ethertype, ip) = match (vtep(ipv6, 1 + remote), vtep(ipv6, 0)) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut ip =
                Ipv4Header::new(length, 60, IpNumber::UDP, source.octets(), destination.octets()).expect("short");
            ip.ecn = IpEcn::try_new(ecn).expect("two bits");
            ip.header_checksum = ip.calc_header_checksum();
            ([8, 0], ip.to_bytes().to_vec())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (source, destination) = (source.octets(), destination.octets());
            let (flow_label, next_header) = (Ipv6FlowLabel::ZERO, IpNumber::UDP);
            let (traffic_class, payload_length, hop_limit) = (ecn, length, 60);
            let ip =
                Ipv6Header { traffic_class, flow_label, payload_length, next_header, hop_limit, source, destination };
            udp.checksum = udp.calc_checksum_ipv6(&ip, &data).expect("short");
            ([0x86, 0xdd], ip.to_bytes().to_vec())
        }
        _ => unreachable!("one family"),
    };
    [&UPLINK_MAC.0[..], &[2, 0, 0, 0, 0xbb, 1], &ethertype, &ip, &udp.to_bytes(), &data].concat()
}

/// The checksum as RFC 1071 defines it, word by word.
fn checksum(bytes: impl Iterator<Item = u8>) -> [u8; 2] {
    let bytes: Vec<u8> = bytes.collect();
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    let mut sum: u64 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_be_bytes()
}

/// Sets the outer checksum right again after damage: a fault that no checksum gives away.
fn repair(packet: &mut [u8], ipv6: bool) {
    if !ipv6 && packet.len() >= 34 {
        packet[24..26].fill(0);
        let sum = checksum(packet[14..34].iter().copied());
        packet[24..26].copy_from_slice(&sum);
    } else if ipv6 && packet.len() >= 62 {
        packet[60..62].fill(0);
        let (length, end) = ([packet[58], packet[59]], packet.len());
        let datagram = &packet[54..end.min(54 + usize::from(u16::from_be_bytes(length)))];
        let pseudo = packet[22..54].iter().chain(&length).chain(&[0, 17]);
        let sum = checksum(pseudo.chain(datagram).copied());
        packet[60..62].copy_from_slice(if sum == [0, 0] { &[0xff, 0xff] } else { &sum });
    }
}

/// Both ways know a station at the first trunk and one behind the first remote VTEP, in both bridges.
fn knowing_both(setup: &Setup) -> World {
    let mut world = World::new(setup);
    let known = |location, second| Known { location, kind: Kind::Heard, second };
    world.knowing(&[
        (BridgeIndex(0), NEAR, known(0, false)),
        (BridgeIndex(0), FAR, known(4, false)),
        (BridgeIndex(1), NEAR, known(2, true)),
        (BridgeIndex(1), FAR, known(5, true)),
    ]);
    world
}

fn setups() -> impl Iterator<Item = Setup> {
    let families = [false, true].into_iter().map(Setup::usual);
    families.flat_map(|setup| {
        [
            setup,
            Setup { strict: true, zero_checksum: true, full_checksum: true, spread: true, remarking: true, ..setup },
        ]
    })
}

/// A station's frame as the first trunk receives it, of VLAN 100.
fn of_vlan(destination: MacAddr, source: MacAddr, length: usize) -> Vec<u8> {
    let mut frame = frame(destination, source, &[0x8100], 0, length);
    frame[15] = VLAN as u8;
    frame
}

#[test]
fn the_usual_packets_go_the_usual_way() {
    for setup in setups() {
        let plain = frame(NEAR, FAR, &[], 0, 40);
        let from_remotes = [0, 3].map(|ecn| (UPLINK, outer(setup.ipv6, 0, VNIS[0], ecn, &plain)));
        // Of a VLAN, untagged, and with a priority tag of VLAN 0.
        let mut priority = of_vlan(FAR, NEAR, 40);
        priority[15] = 0;
        let from_stations = [of_vlan(FAR, NEAR, 40), plain, priority].map(|frame| (TRUNK, frame));
        for (port, packet) in from_remotes.into_iter().chain(from_stations) {
            let mut world = knowing_both(&setup);
            world.hold(port, &[HeapPacket::new(&packet)]);
            assert_eq!(world.usual, 1, "{packet:02x?}");
        }
    }
}

#[test]
fn packets_to_another_address_or_port_of_the_vtep_go_the_usual_way_and_those_of_group_policies_do_not() {
    for setup in setups() {
        let plain = outer(setup.ipv6, 0, VNIS[0], 0, &frame(NEAR, FAR, &[], 0, 40));
        for otherwise in Otherwise::ALL {
            let mut world = knowing_both(&setup);
            let mut packet = plain.clone();
            otherwise.apply(&mut packet, setup.ipv6);
            let seen = world.hold(UPLINK, &[HeapPacket::new(&packet)]);
            assert_eq!(seen.sent.len(), 1, "{otherwise:?}");
            assert_eq!(world.usual, u64::from(!matches!(otherwise, Otherwise::GroupPolicy)), "{otherwise:?}");
        }
    }
}

#[test]
fn what_comes_from_the_ports_own_address_is_dropped_on_both_ways() {
    for setup in setups() {
        let mut world = knowing_both(&setup);
        let mut packet = outer(setup.ipv6, 0, VNIS[0], 0, &frame(NEAR, FAR, &[], 0, 40));
        packet[6..12].copy_from_slice(&UPLINK_MAC.0);
        let seen = world.hold(UPLINK, &[HeapPacket::new(&packet)]);
        assert!(seen.drops.contains(&(DropReason::OwnSource, 1)), "{:?}", seen.drops);
    }
}

#[test]
fn every_bit_of_the_outer_headers_counts_alike_on_both_ways() {
    for setup in setups() {
        let mut world = knowing_both(&setup);
        let packet = outer(setup.ipv6, 0, VNIS[0], 0, &frame(NEAR, FAR, &[], 0, 40));
        let headers = 8 * (packet.len() - 68 + 2);
        for (bit, repaired) in (0..headers).flat_map(|bit| [(bit, false), (bit, true)]) {
            let mut packet = packet.clone();
            packet[bit / 8] ^= 0x80 >> (bit % 8);
            if repaired {
                repair(&mut packet, setup.ipv6);
            }
            for checksums in [UNVERIFIED, GOOD] {
                world.hold(UPLINK, &[HeapPacket::new(&packet).with_receive_checksums(checksums)]);
            }
        }
        assert!(world.usual > 100, "there are fields that may be anything: {} usual ones", world.usual);
    }
}

#[test]
fn every_bit_of_an_access_frames_header_counts_alike_on_both_ways() {
    for carry_tags in [false, true] {
        let mut setup = Setup::usual(false);
        setup.policy.carry_tags = carry_tags;
        let mut world = knowing_both(&setup);
        let all_tags: [&[u16]; 7] =
            [&[], &[0x8100], &[0x88a8], &[0x8100, 0x8100], &[0x8100, 0x88a8], &[0x88a8, 0x8100], &[0x8100; 3]];
        for tags in all_tags {
            let mut packet = frame(FAR, NEAR, tags, 0, 40);
            for vid in [0, 1, VLAN as u8] {
                if let Some(identifier) = packet.get_mut(15).filter(|_| !tags.is_empty()) {
                    *identifier = vid;
                }
                for bit in 0..8 * 22 {
                    let mut packet = packet.clone();
                    packet[bit / 8] ^= 0x80 >> (bit % 8);
                    world.hold(TRUNK, &[HeapPacket::new(&packet)]);
                    world.hold(PROVIDER, &[HeapPacket::new(&packet)]);
                }
            }
        }
        assert!(world.usual > 100, "{} usual ones", world.usual);
    }
}

#[test]
fn packets_of_all_lengths_and_cuts_fare_alike_on_both_ways() {
    for setup in setups() {
        let mut world = knowing_both(&setup);
        for length in 0..60 {
            let whole = frame(NEAR, FAR, &[], 0, length);
            for cut in 0..=whole.len().min(16) {
                // The inner header says that the frame is so long, or that it was longer.
                let packet = outer(setup.ipv6, 0, VNIS[0], 0, &whole[..whole.len() - cut]);
                world.hold(UPLINK, &[HeapPacket::new(&packet)]);
                world.hold(TRUNK, &[HeapPacket::new(&whole[..whole.len() - cut])]);
            }
        }
        let (packet, access) =
            (outer(setup.ipv6, 0, VNIS[0], 0, &frame(NEAR, FAR, &[], 0, 90)), of_vlan(FAR, NEAR, 90));
        for at in 0..packet.len() {
            world.hold(UPLINK, &[HeapPacket::new(&packet[..at])]);
            world.hold(UPLINK, &[HeapPacket::segmented(&packet, &[at])]);
            let longer = [&packet[..], &vec![0x5a; at]].concat();
            world.hold(UPLINK, &[HeapPacket::new(&longer)]);
            world.hold(TRUNK, &[HeapPacket::new(&access[..at.min(access.len())])]);
            world.hold(TRUNK, &[HeapPacket::segmented(&access, &[at])]);
        }
        // An inner frame shorter than an Ethernet header, in headers that are right.
        for length in 0..14 {
            let packet = outer(setup.ipv6, 0, VNIS[0], 0, &frame(NEAR, FAR, &[], 0, 0)[..length]);
            let seen = world.hold(UPLINK, &[HeapPacket::new(&packet)]);
            assert!(seen.sent.is_empty());
        }
    }
}

#[test]
fn every_pair_of_ecn_fields_and_every_tag_fares_alike_on_both_ways() {
    for (setup, carry_tags) in setups().flat_map(|setup| [(setup, false), (setup, true)]) {
        let policy = BridgePolicy { carry_tags, ..setup.policy };
        let mut world = knowing_both(&Setup { policy, ..setup });
        for (outside, inside) in (0..4).flat_map(|outside| (0..4).map(move |inside| (outside, inside))) {
            for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100]] {
                for (destination, source) in [(NEAR, FAR), (STRANGER, FAR), (LINK_LOCAL, FAR), (NEAR, GROUP)] {
                    let inner = frame(destination, source, tags, inside, 40);
                    for (remote, vni) in [(0, 100), (1, 100), (2, 100), (1, 200), (0, 300)] {
                        world.hold(UPLINK, &[HeapPacket::new(&outer(setup.ipv6, remote, vni, outside, &inner))]);
                    }
                }
            }
        }
    }
}

/// An ARP packet of VLAN 100 from the near station.
fn arp(operation: u8, destination: MacAddr, target: u8) -> HeapPacket {
    let (sender, target) = ([192, 0, 2, 1], [192, 0, 2, target]);
    let head = [0x81, 0, 0, VLAN as u8, 8, 6, 0, 1, 8, 0, 6, 4, 0, operation];
    HeapPacket::new(&[&destination.0[..], &NEAR.0, &head, &NEAR.0, &sender, &FAR.0, &target, &[0; 18]].concat())
}

#[test]
fn address_resolution_among_other_frames_fares_as_it_does_alone() {
    for (learning, suppression) in [(false, false), (true, false), (false, true), (true, true)] {
        let setup = Setup { neighbours: Neighbours { learning, suppression }, ..Setup::usual(false) };
        let mut world = knowing_both(&setup);
        let key = BindingKey { bridge: BridgeIndex(0), address: Ipv4Addr::new(192, 0, 2, 2).into() };
        let source = BindingSource::Kernel;
        world.bound(key, Binding { mac: FAR, source, flags: Some(TargetFlags::OVERRIDE), heard: AgeTick(0) });
        let plain = || HeapPacket::new(&of_vlan(FAR, NEAR, 40));
        let [known, unknown] = [2, 9].map(|target| arp(1, MacAddr::BROADCAST, target));
        let seen = world.hold(TRUNK, &[plain(), known, plain(), arp(2, FAR, 2), unknown, plain()]);
        let count = |event| seen.events.iter().find(|(counted, _)| *counted == event).map_or(0, |(_, count)| *count);
        let [reported, answered] = [Event::BindingReported, Event::ArpSuppressed].map(count);
        assert_eq!((reported, seen.reports.len() as u64), (u64::from(learning), u64::from(learning)));
        assert_eq!((answered, count(Event::FloodedFrame)), (u64::from(suppression), 2 - u64::from(suppression)));
    }
}

/// All that the FDB may say of a station, and that it says nothing.
fn all_known() -> Vec<Option<Known>> {
    let kinds = [Kind::Heard, Kind::Stale, Kind::Static, Kind::Pinned];
    let entries = (0..LOCATIONS).flat_map(|location| kinds.map(|kind| (location, kind)));
    let entries = entries.flat_map(|(location, kind)| [false, true].map(|second| Known { location, kind, second }));
    std::iter::once(None).chain(entries.map(Some)).collect()
}

#[test]
fn whatever_the_fdb_says_of_source_and_destination_frames_fare_alike_on_both_ways() {
    let (mut forwarded, mut refreshed) = (0, 0);
    for (source_check, learning) in [(true, true), (false, true), (true, false)] {
        let mut setup = Setup::usual(false);
        (setup.policy.source_check, setup.policy.learning) = (source_check, learning);
        let mut world = World::new(&setup);
        let ways = [
            (UPLINK, outer(false, 0, VNIS[0], 0, &frame(NEAR, FAR, &[], 0, 40))),
            (UPLINK, outer(false, 1, VNIS[0], 0, &frame(NEAR, FAR, &[], 0, 40))),
            (UPLINK, outer(false, 2, VNIS[0], 0, &frame(NEAR, FAR, &[], 0, 40))),
            (TRUNK, of_vlan(NEAR, FAR, 40)),
        ];
        for source in all_known() {
            for destination in all_known() {
                let stations = [(FAR, source), (NEAR, destination)];
                let stations: Vec<_> =
                    stations.into_iter().filter_map(|(mac, known)| Some((BridgeIndex(0), mac, known?))).collect();
                for (port, packet) in &ways {
                    world.knowing(&stations);
                    let seen = world.hold(*port, &[HeapPacket::new(packet)]);
                    forwarded += usize::from(seen.sent.len() == 1);
                    let heard = |known: Option<Known>| known.is_some_and(|known| matches!(known.kind, Kind::Stale));
                    let stale =
                        seen.entries.iter().filter(|(_, value)| value.tick() != world::NOW && !value.is_static());
                    refreshed +=
                        usize::from(stale.count() < usize::from(heard(source)) + usize::from(heard(destination)));
                }
            }
        }
    }
    assert!(forwarded > 1000 && refreshed > 100, "{forwarded} forwarded, {refreshed} refreshed");
}

/// What else a packet from a remote VTEP may have and be right.
#[derive(Clone, Copy, Debug)]
enum Otherwise {
    /// The local VTEP's other address.
    Address,
    /// The other UDP port.
    Port,
    /// A group policy ID and the VNI that asks for it.
    GroupPolicy,
}

impl Otherwise {
    const ALL: [Self; 3] = [Self::Address, Self::Port, Self::GroupPolicy];

    fn apply(self, packet: &mut [u8], ipv6: bool) {
        let udp = if ipv6 { 54 } else { 34 };
        if packet.len() < udp + 16 {
            return;
        }
        match (self, vtep(ipv6, OTHER_ADDRESS)) {
            (Self::Address, IpAddr::V4(address)) => packet[30..34].copy_from_slice(&address.octets()),
            (Self::Address, IpAddr::V6(address)) => packet[38..54].copy_from_slice(&address.octets()),
            (Self::Port, _) => packet[udp + 2..udp + 4].copy_from_slice(&OTHER_UDP_PORT.to_be_bytes()),
            (Self::GroupPolicy, _) => {
                packet[udp + 8..udp + 12].copy_from_slice(&[0x88, 0, 0, 7]);
                packet[udp + 12..udp + 15].copy_from_slice(&POLICED_VNI.to_be_bytes()[1..]);
            }
        }
        repair(packet, ipv6);
    }
}

/// What is done to a packet that was right.
#[derive(Clone, Debug)]
enum Damage {
    Otherwise(Otherwise),
    Flip(usize),
    Cut(usize),
    Extend(usize),
    Repair,
}

#[derive(Clone, Debug)]
struct Arrival {
    addresses: (usize, usize),
    tags: Vec<u16>,
    vid: u8,
    ecn: (u8, u8),
    length: usize,
    remote: u8,
    vni: u32,
    damage: Vec<Damage>,
    ends: Vec<usize>,
    verdicts: ReceiveChecksums,
}

impl Arrival {
    fn packet(&self, port: PortIndex, ipv6: bool) -> HeapPacket {
        let (destination, source) = (ADDRESSES[self.addresses.0], ADDRESSES[self.addresses.1]);
        let mut packet = frame(destination, source, &self.tags, self.ecn.1, self.length);
        if !self.tags.is_empty() {
            packet[15] = self.vid;
        }
        if port == UPLINK {
            packet = outer(ipv6, self.remote, self.vni, self.ecn.0, &packet);
        }
        for damage in &self.damage {
            match damage {
                Damage::Otherwise(otherwise) if port == UPLINK => otherwise.apply(&mut packet, ipv6),
                Damage::Otherwise(_) => {}
                Damage::Flip(bit) if bit / 8 < packet.len() => packet[bit / 8] ^= 0x80 >> (bit % 8),
                Damage::Flip(_) => {}
                Damage::Cut(by) => packet.truncate(packet.len().saturating_sub(*by)),
                Damage::Extend(by) => packet.resize(packet.len() + by, 0x5a),
                Damage::Repair => repair(&mut packet, ipv6),
            }
        }
        HeapPacket::segmented(&packet, &self.ends).with_receive_checksums(self.verdicts)
    }
}

/// Packets most of which are usual: each choice has the usual one often.
fn arrival() -> impl Strategy<Value = Arrival> {
    let address = || prop_oneof![3 => Just(0usize), 3 => Just(1), 1 => 2usize..7];
    let tag = prop_oneof![3 => Just(0x8100u16), 1 => Just(0x88a8)];
    let damage = prop_oneof![
        3 => prop::sample::select(Otherwise::ALL.to_vec()).prop_map(Damage::Otherwise),
        4 => (0usize..8 * 100).prop_map(Damage::Flip),
        1 => (1usize..90).prop_map(Damage::Cut),
        1 => (1usize..50).prop_map(Damage::Extend),
        3 => Just(Damage::Repair),
    ];
    let verdict =
        || prop::sample::select(vec![ChecksumVerdict::Unverified, ChecksumVerdict::Good, ChecksumVerdict::Bad]);
    let ends =
        prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(0usize..250, 1..3)].prop_map(|mut ends| {
            ends.sort_unstable();
            ends
        });
    let what = (
        (address(), address()),
        prop_oneof![2 => Just(Vec::new()), 2 => prop::collection::vec(tag, 1..3)],
        prop::sample::select(vec![VLAN as u8, VLAN as u8, 0, 7]),
        (prop_oneof![2 => Just(0u8), 1 => 0u8..4], 0u8..4),
        prop_oneof![3 => Just(40usize), 1 => 0usize..160],
        prop_oneof![3 => Just(0u8), 1 => 0u8..3],
        prop::sample::select(vec![VNIS[0], VNIS[0], VNIS[0], VNIS[1], POLICED_VNI, 300]),
    );
    let how =
        (prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(damage, 1..4)], ends, verdict(), verdict());
    (what, how).prop_map(|((addresses, tags, vid, ecn, length, remote, vni), (damage, ends, ip, l4))| {
        let verdicts = ReceiveChecksums { ip, l4 };
        Arrival { addresses, tags, vid, ecn, length, remote, vni, damage, ends, verdicts }
    })
}

fn setup() -> impl Strategy<Value = Setup> {
    let policy = any::<[bool; 4]>().prop_map(|[learning, source_check, carry_tags, link_local]| BridgePolicy {
        learning,
        source_check,
        carry_tags,
        link_local,
    });
    let link_local = prop::sample::select(vec![LinkLocal::AsBridge, LinkLocal::Drop, LinkLocal::Punt]);
    let choices = (any::<[bool; 6]>(), policy, link_local);
    choices.prop_map(|([ipv6, strict, zero_checksum, full_checksum, spread, remarking], policy, link_local)| Setup {
        ipv6,
        strict,
        zero_checksum,
        full_checksum,
        spread,
        remarking,
        policy,
        neighbours: Neighbours::default(),
        link_local,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Bursts of both kinds of port in turn, so that each finds what those before left behind.
    #[test]
    fn bursts_fare_as_their_packets_fare_one_by_one_on_the_unusual_way(
        setup in setup(),
        known in prop::collection::vec(prop::sample::select(all_known()), 6),
        bursts in prop::collection::vec(
            (0u16..3, prop_oneof![
                prop::collection::vec(arrival(), 0..3),
                prop::collection::vec(arrival(), 0..=BURST),
                prop::collection::vec(arrival(), BURST),
            ]),
            1..4,
        ),
    ) {
        let mut world = World::new(&setup);
        let stations = [NEAR, FAR, STRANGER].into_iter().flat_map(|mac| [0, 1].map(|n| (BridgeIndex(n), mac)));
        let stations = stations.zip(known).filter_map(|((bridge, mac), known)| Some((bridge, mac, known?)));
        world.knowing(&stations.collect::<Vec<_>>());
        for (port, arrivals) in &bursts {
            let port = PortIndex(*port);
            let packets: Vec<_> = arrivals.iter().map(|arrival| arrival.packet(port, setup.ipv6)).collect();
            world.hold(port, &packets);
        }
    }
}

/// The flows of a station: IPv4 to FAR, from UDP ports of its own.
fn flows(destination: MacAddr) -> impl Iterator<Item = Vec<u8>> {
    (0..2000_u16).map(move |port| {
        let mut frame = of_vlan(destination, NEAR, 40);
        frame[38..40].copy_from_slice(&(10_000 + port).to_be_bytes());
        frame
    })
}

#[test]
fn flows_are_spread_over_next_hops_by_weight_and_a_flow_keeps_its_own() {
    for (ipv6, zero_checksum) in [(false, false), (true, false), (true, true)] {
        let single = Setup { zero_checksum, ..Setup::usual(ipv6) };
        let (mut one, mut several) = (knowing_both(&single), knowing_both(&Setup { spread: true, ..single }));
        let mut by_second = 0;
        // To a known station, and flooded: the copies go by the same next hop as other frames of the flow.
        for frame in flows(FAR).zip(flows(STRANGER)).flat_map(|(known, unknown)| [known, unknown]) {
            let to_uplinks = |sent: Vec<(PortIndex, Vec<u8>)>| {
                let mut sent = sent.into_iter().filter(|(port, _)| [UPLINK, SECOND_UPLINK].contains(port));
                (sent.next().expect("it is sent to the remote VTEP"), sent.next())
            };
            let ((port, packet), None) = to_uplinks(several.hold(TRUNK, &[HeapPacket::new(&frame)]).sent) else {
                panic!("it is sent twice")
            };
            let ((_, plain), _) = to_uplinks(one.hold(TRUNK, &[HeapPacket::new(&frame)]).sent);
            let [first, second] = NEXT_HOPS;
            let (destination, source) = if port == UPLINK { (first, UPLINK_MAC) } else { (second, SECOND_UPLINK_MAC) };
            assert_eq!(packet[..12], [destination.0, source.0].concat());
            assert_eq!(packet[12..], plain[12..], "nothing else depends on the way");
            by_second += usize::from(port == SECOND_UPLINK);
            let again = to_uplinks(several.hold(TRUNK, &[HeapPacket::new(&frame)]).sent);
            assert_eq!(again, ((port, packet), None));
        }
        let expected = 4000 * SECOND_SHARE / 64;
        assert!(by_second.abs_diff(expected) < expected / 5, "{by_second} of 4000 by the second, not {expected}");
    }
}

#[test]
fn samples_tell_the_flow_and_the_source_port_of_what_comes_from_and_goes_to_a_remote_vtep() {
    for setup in setups() {
        let sample = |port, packet: &[u8]| {
            let mut world = knowing_both(&setup);
            let sent = world.hold(port, &[HeapPacket::new(packet)]).sent;
            (sent, world.samples())
        };
        let (_, received) = sample(UPLINK, &outer(setup.ipv6, 0, VNIS[0], 0, &frame(NEAR, FAR, &[], 0, 40)));
        let (sent, transmitted) = sample(TRUNK, &of_vlan(FAR, NEAR, 40));
        let ([received], [transmitted]) = (&received[..], &transmitted[..]) else {
            panic!("not one each: {received:?}, {transmitted:?}")
        };
        let udp = if setup.ipv6 { 54 } else { 34 };
        let port = u16::from_be_bytes([sent[0].1[udp], sent[0].1[udp + 1]]);
        assert_eq!((received.direction, received.source_port), (Direction::Received, 50000));
        assert_eq!((transmitted.direction, transmitted.source_port), (Direction::Sent, port));
        assert_eq!((received.remote, transmitted.remote), (TunnelIndex(0), TunnelIndex(0)));
        assert_eq!(received.flow, transmitted.flow, "it is one flow, whatever is around it");
        // What stays here, and what is dropped, says nothing of the underlay.
        assert_eq!(sample(TRUNK, &of_vlan(STRANGER, GROUP, 40)).1, []);
        assert_eq!(sample(UPLINK, &outer(setup.ipv6, 0, 300, 0, &frame(NEAR, FAR, &[], 0, 40))).1, []);
    }
}

#[test]
fn what_does_not_fit_all_next_hops_is_too_big_where_flows_are_spread() {
    let mut world = knowing_both(&Setup { spread: true, ..Setup::usual(false) });
    let seen = world.hold(TRUNK, &[HeapPacket::new(&of_vlan(FAR, NEAR, 150))]);
    assert!(seen.drops.contains(&(DropReason::TooBigForTunnel, 1)), "{:?}", seen.drops);
}

/// Where a packet is wrong in more than one way, this is the reason that is counted, on either way.
#[test]
fn of_two_reasons_the_one_that_is_met_first_is_counted() {
    let reason = |world: &mut World, port, packet: &[u8]| {
        let before = world.hold(port, &[]).drops;
        let after = world.hold(port, &[HeapPacket::new(packet)]).drops;
        let counted: Vec<DropReason> = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after)
            .map(|(_, (reason, _))| *reason)
            .collect();
        assert_eq!(counted.len(), 1, "{counted:?}");
        counted[0]
    };
    for setup in setups() {
        let mut world = knowing_both(&setup);
        let mut of =
            |remote, ecn, frame: &[u8]| reason(&mut world, UPLINK, &outer(setup.ipv6, remote, VNIS[0], ecn, frame));
        // Congestion is stage 1's, addresses are stage 2's; a source is looked at before a destination.
        assert_eq!(of(0, 3, &frame(NEAR, GROUP, &[], 0, 40)), DropReason::EcnCongestion);
        assert_eq!(of(0, 3, &frame(LINK_LOCAL, FAR, &[], 0, 40)), DropReason::EcnCongestion);
        assert_eq!(of(0, 0, &frame(LINK_LOCAL, GROUP, &[], 0, 40)), DropReason::InvalidSourceMac);
        // A stranger is turned away at once, another bridge's remote VTEP where its frame's source is met.
        assert_eq!(of(2, 3, &frame(NEAR, GROUP, &[0x8100], 0, 40)), DropReason::UnknownRemote);
        assert_eq!(of(1, 0, &frame(NEAR, GROUP, &[], 0, 40)), DropReason::InvalidSourceMac);
        assert_eq!(of(1, 0, &frame(LINK_LOCAL, FAR, &[], 0, 40)), DropReason::LinkLocal);
        assert_eq!(of(1, 0, &frame(NEAR, FAR, &[], 0, 40)), DropReason::UnknownRemote);
        assert_eq!(of(0, 3, &frame(NEAR, FAR, &[0x8100], 0, 40)), DropReason::InnerTagged);
    }
}
