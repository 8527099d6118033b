//! A gateway twice over: one has the whole pipeline, its twin goes the unusual way alone, with one packet at a time; and
//! where the one has a single next hop, the twin has a group that has nothing but it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arrayvec::ArrayVec;
use rustc_hash::FxHashMap;

use crate::forwarding::bridging::{Frame, Verdict, decide_unusual};
use crate::forwarding::forwarder::{admit_unusual_from_access, admit_unusual_from_uplink, rewrite_unusual};
use crate::forwarding::remark::Marks;
use crate::forwarding::{BURST, Egress, Forwarder, HeapPacket, Moment, PacketBuffer, Surroundings, access, uplink};
use crate::tables::access_map::AccessMap;
use crate::tables::bindings::{Binding, BindingKey, BindingReport, BindingTable, BindingWriter};
use crate::tables::exception_path::ExceptionPath;
use crate::tables::fdb::{AgeTick, Fdb, FdbKey, FdbValue, FdbWriter, HashSeed};
use crate::tables::learning::{LearnEvent, LearnRing};
use crate::tables::next_hop_group::{Adjacency, BUCKETS, GroupIndex, NextHopGroup};
use crate::tables::outer_pattern::UplinkPatterns;
use crate::tables::quiescence::Quiescence;
use crate::tables::remote_map::RemoteMap;
use crate::tables::snapshot::{
    Bridge, BridgePolicy, BroadcastDomain, Encapsulation, GroupPolicies, LinkLocal, LocalVtep, Member, MemberTags,
    Neighbours, OuterDscp, Port, PortSide, Remarking, Snapshot,
};
use crate::tables::tunnel::{NextHop, OuterAddresses, OuterHeader, Tunnel};
use crate::tables::vni_map::VniMap;
use crate::tables::{BridgeIndex, Location, MemberIndex, PortIndex, StormRates, TunnelIndex, UnderlayGroups};
use crate::telemetry::flow_samples::FlowSample;
use crate::telemetry::worker::Traffic;
use crate::telemetry::{DropReason, Event, WorkerTelemetry};
use crate::wire::ethernet::{ETHERTYPE_QINQ, ETHERTYPE_VLAN};
use crate::wire::flow_hash::SourcePorts;
use crate::wire::{MacAddr, VlanId, VlanTag, Vni};

pub const UPLINK: PortIndex = PortIndex(0);
pub const TRUNK: PortIndex = PortIndex(1);
/// A trunk whose VLANs are named by service tags.
pub const PROVIDER: PortIndex = PortIndex(2);
pub const SECOND_UPLINK: PortIndex = PortIndex(3);
pub const UPLINK_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub const SECOND_UPLINK_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
/// Of each remote VTEP that is known, the next hops behind the first and the second uplink.
pub const NEXT_HOPS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0xbb, 1]), MacAddr([2, 0, 0, 0, 0xbb, 2])];
/// Buckets of the second of two next hops.
pub const SECOND_SHARE: usize = BUCKETS / 4;
pub const UDP_PORT: u16 = 4789;
/// What names VLANs on each trunk.
const TPIDS: [u16; 2] = [ETHERTYPE_VLAN, ETHERTYPE_QINQ];
/// The local VTEP has this address, too.
pub const OTHER_ADDRESS: u8 = 100;
/// It is accepted, too, and what the second bridge sends goes to it.
pub const OTHER_UDP_PORT: u16 = 8472;
/// VNI 100 is VLAN 100 of both trunks, VNI 200 their untagged frames, and those with VLAN 1 behind VLAN 100. Remote VTEP 0 may send to the first, 1 to the
/// second; none of 2 is known.
pub const VNIS: [u32; 2] = [100, 200];
/// Another VNI of the first bridge, with which it takes packets of group policy 7.
pub const POLICED_VNI: u32 = 400;
pub const VLAN: u16 = 100;
pub const NOW: AgeTick = AgeTick(7);

/// What of a config bears on how packets are told apart.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub ipv6: bool,
    pub strict: bool,
    pub zero_checksum: bool,
    /// Over IPv4, a UDP checksum is sent.
    pub full_checksum: bool,
    /// Flows are spread over both uplinks; else all of them leave by the first.
    pub spread: bool,
    pub policy: BridgePolicy,
    /// Priorities are carried from each header to the others.
    pub remarking: bool,
    pub neighbours: Neighbours,
    /// Of the trunks.
    pub link_local: LinkLocal,
}

impl Setup {
    /// The schema's defaults.
    pub const fn usual(ipv6: bool) -> Self {
        let policy = BridgePolicy { learning: true, source_check: true, carry_tags: false, link_local: false };
        let neighbours = Neighbours { learning: false, suppression: false };
        let (zero_checksum, full_checksum, link_local) = (false, false, LinkLocal::AsBridge);
        Self {
            ipv6,
            strict: false,
            zero_checksum,
            full_checksum,
            spread: false,
            remarking: false,
            policy,
            neighbours,
            link_local,
        }
    }
}

/// The address of the local VTEP (0) or of remote VTEP `n - 1`.
pub fn vtep(ipv6: bool, n: u8) -> IpAddr {
    if ipv6 { Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n.into()).into() } else { Ipv4Addr::new(10, 0, 0, n).into() }
}

/// Every priority becomes another one.
fn remarking() -> Remarking {
    let to = |from: usize| (from * 5 + 1) as u8;
    Remarking {
        outer_from_pcp: Some(std::array::from_fn(|pcp| to(pcp) & 63)),
        pcp_from_outer: Some(std::array::from_fn(|dscp| to(dscp) & 7)),
        dscp_from_outer: Some(std::array::from_fn(|dscp| to(dscp) & 63)),
    }
}

fn vlan(number: u16) -> VlanId {
    VlanId::new(number).expect("a VLAN")
}

fn next_hop(setup: &Setup) -> NextHop {
    let addresses = match (vtep(setup.ipv6, 0), vtep(setup.ipv6, 1)) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => OuterAddresses::Ipv4 { local, remote },
        (IpAddr::V6(local), IpAddr::V6(remote)) => OuterAddresses::Ipv6 { local, remote },
        _ => unreachable!("one family"),
    };
    let (source_mac, destination_mac) = (UPLINK_MAC, NEXT_HOPS[0]);
    // Some of the frames are too long for that.
    let checksum_ipv4 = setup.full_checksum;
    NextHop::new(UPLINK, &OuterHeader { source_mac, destination_mac, addresses, ttl: 64, checksum_ipv4, mtu: 180 })
}

/// The second uplink's next hop in the last buckets, where flows are spread, and else the first one's in all of them.
fn group(spread: bool) -> NextHopGroup {
    let [first, second] = NEXT_HOPS;
    NextHopGroup::new(|bucket| match bucket {
        _ if !spread || bucket < BUCKETS - SECOND_SHARE => Adjacency::new(UPLINK, UPLINK_MAC, first),
        _ => Adjacency::new(SECOND_UPLINK, SECOND_UPLINK_MAC, second),
    })
}

/// What the whole pipeline has, or where it differs, its twin.
fn snapshot(setup: &Setup, twin: bool) -> Snapshot {
    let vtep_of = |n| vtep(setup.ipv6, n);
    let local = LocalVtep {
        address: vtep_of(0),
        other_addresses: Box::new([vtep_of(OTHER_ADDRESS)]),
        udp_ports: Box::new([UDP_PORT, OTHER_UDP_PORT]),
        source_ports: SourcePorts::DYNAMIC,
        zero_checksum_ipv6: setup.zero_checksum,
        full_checksum_ipv4: setup.full_checksum,
        dscp: OuterDscp::INHERITED,
        strict: setup.strict,
    };
    let trunk = |port: u32| {
        let mut map = AccessMap::empty(TPIDS[port as usize]);
        map.attach(Some(vlan(VLAN)), MemberIndex(port), BridgeIndex(0));
        map.attach(None, MemberIndex(2 + port), BridgeIndex(1));
        map.attach_pair(vlan(VLAN), vlan(1), MemberIndex(2 + port), BridgeIndex(1));
        if setup.policy.carry_tags {
            map.attach_rest_to_untagged();
        }
        Port {
            mac: MacAddr([2, 0, 0, 0, 0, 2 + port as u8]),
            mtu: 150,
            side: PortSide::Access(map),
            storm: StormRates::default(),
            groups: UnderlayGroups::default(),
            link_local: setup.link_local,
        }
    };
    let uplink = |mac| {
        let side = PortSide::Uplink(UplinkPatterns::new(&local, mac));
        Port {
            mac,
            mtu: 180,
            side,
            storm: StormRates::default(),
            groups: UnderlayGroups::default(),
            link_local: LinkLocal::Punt,
        }
    };
    let ports = vec![uplink(UPLINK_MAC), trunk(0), trunk(1), uplink(SECOND_UPLINK_MAC)];
    let way = next_hop(setup);
    let way = if setup.spread || twin { way.spread_over(GroupIndex(0)) } else { way };
    let tag = |port: u16| VlanTag::new(TPIDS[usize::from(port) - 1], vlan(VLAN));
    let member = |bridge: u16, port, tags| Member::new(PortIndex(port), BridgeIndex(bridge), tags, 150);
    let untagged = MemberTags::Untagged;
    let members = vec![
        member(0, 1, MemberTags::One(tag(1))),
        member(0, 2, MemberTags::Guarded(tag(2))),
        member(1, 1, untagged),
        member(1, 2, untagged),
    ];
    let domain = |members: [u32; 2], flood_list: &[u16], source| BroadcastDomain {
        members: members.map(MemberIndex).into(),
        flood_list: flood_list.iter().copied().map(TunnelIndex).collect(),
        sources: [TunnelIndex(source)].into(),
        clamps_segments: false,
        taught: false,
        discovers: false,
        rules: None,
        neighbours: setup.neighbours,
    };
    let vni = |number| Vni::new(number).expect("24 bits");
    Snapshot {
        vtep: local,
        ports,
        bridges: VNIS.map(|number| Bridge { vni: vni(number), policy: setup.policy }).into(),
        encapsulations: [UDP_PORT, OTHER_UDP_PORT]
            .into_iter()
            .zip(VNIS)
            .map(|(port, number)| Encapsulation::new(vni(number), None, port))
            .collect(),
        domains: vec![domain([0, 1], &[0, 1], 0), domain([2, 3], &[0], 1)],
        members,
        tunnels: [1, 2].map(|n| Tunnel { address: vtep_of(n) }).into(),
        next_hops: vec![way, NextHop::UNKNOWN],
        next_hop_groups: vec![group(setup.spread)],
        group_policies: FxHashMap::from_iter([(
            vni(POLICED_VNI),
            GroupPolicies { bridge: BridgeIndex(0), accepted: Box::new([7]) },
        )]),
        vnis: VniMap::new([0, 1].map(|bridge: u16| (vni(VNIS[usize::from(bridge)]), BridgeIndex(bridge)))),
        exception: ExceptionPath::default(),
        remarking: setup.remarking.then(|| Box::new(remarking())),
        remotes: RemoteMap::new([0, 1].map(|n: u16| (vtep_of(1 + n as u8), TunnelIndex(n)))),
    }
}

/// Where stations can be: behind each member and each remote VTEP.
fn location(number: usize) -> Location {
    match number {
        0..4 => Location::access(MemberIndex(number as u32)),
        _ => Location::tunnel(TunnelIndex(number as u16 - 4)),
    }
}
pub const LOCATIONS: usize = 6;

/// What the FDB says of a station.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// A number of `location`, below [`LOCATIONS`].
    pub location: usize,
    pub kind: Kind,
    /// It is in the second of its buckets.
    pub second: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Heard,
    /// Heard, but not in this tick.
    Stale,
    Static,
    Pinned,
}

#[derive(Default)]
struct Ports(Vec<(PortIndex, Vec<u8>)>);

impl Egress<HeapPacket> for Ports {
    fn transmit(&mut self, port: PortIndex, packet: HeapPacket) {
        self.0.push((port, packet.to_vec()));
    }

    fn allocate(&mut self) -> Option<HeapPacket> {
        let mut packet = HeapPacket::new(&[0; 1514]);
        packet.truncate(0).then_some(packet)
    }
}

/// All that is to be seen of a gateway: what it sent and learned, its counters, its FDB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub sent: Vec<(PortIndex, Vec<u8>)>,
    pub learned: Vec<LearnEvent>,
    pub reports: Vec<BindingReport>,
    pub drops: Vec<(DropReason, u64)>,
    pub events: Vec<(Event, u64)>,
    /// Packets and bytes by bridge and direction, and by remote VTEP and direction.
    pub traffic: Vec<(u64, u64)>,
    pub entries: Vec<(FdbKey, FdbValue)>,
}

struct Twin {
    fdb: Arc<Fdb>,
    writer: FdbWriter,
    telemetry: Box<WorkerTelemetry>,
    learn: LearnRing,
    bindings: BindingWriter,
    forwarder: Forwarder,
}

/// With this seed, no two stations of the tests begin in the same bucket.
fn table() -> (Arc<Fdb>, FdbWriter) {
    Fdb::with_buckets(256, 1024, HashSeed::fixed(1), Quiescence::new()).expect("a page of memory")
}

impl Twin {
    fn new() -> Self {
        let (fdb, writer) = table();
        let (telemetry, learn) = (Box::default(), LearnRing::new());
        let (_, bindings) = BindingTable::with_writer(16).expect("a page of memory");
        Self { fdb, writer, telemetry, learn, bindings, forwarder: Forwarder::new(1_000_000) }
    }

    fn know(&mut self, bridge: BridgeIndex, mac: MacAddr, known: &Known) {
        let learned = |tick| FdbValue::learned(location(known.location), tick);
        let value = match known.kind {
            Kind::Heard => learned(NOW),
            Kind::Stale => learned(AgeTick(NOW.0 - 2)),
            Kind::Static => FdbValue::fixed(location(known.location)),
            Kind::Pinned => FdbValue::pinned(location(known.location)),
        };
        let probe = self.fdb.probe(FdbKey::new(bridge, mac));
        let [home, _] = self.fdb.homes(&probe);
        let mut others = (0..=u16::MAX).map(|n| FdbKey::new(bridge, MacAddr([6, 0, 0, 0, (n >> 8) as u8, n as u8])));
        while known.second && self.fdb.sweep(home..home + 1).count() < 4 {
            let other = others.find(|other| self.fdb.homes(&self.fdb.probe(*other))[0] == home).expect("many keys");
            self.writer.insert(other, FdbValue::fixed(location(0))).expect("room");
        }
        self.writer.insert(probe.key(), value).expect("room");
        assert_eq!(self.fdb.glance(&probe), Some(value).filter(|_| !known.second));
        assert_eq!(self.fdb.lookup(&probe), Some(value));
    }

    fn seen(&self, sent: Vec<(PortIndex, Vec<u8>)>) -> Seen {
        let telemetry = &self.telemetry;
        let both = |traffic: Traffic<'_>| (traffic.packets(), traffic.bytes());
        let of_bridges = (0..3).map(|n| telemetry.bridge(BridgeIndex(n))).flat_map(|bridge| {
            [bridge.access_received(), bridge.access_sent(), bridge.tunnel_received(), bridge.tunnel_sent()]
        });
        let remotes = [0, 1, u16::MAX].map(|n| telemetry.remote(TunnelIndex(n)));
        let of_remotes = remotes.into_iter().flat_map(|remote| [remote.received(), remote.sent()]);
        Seen {
            sent,
            learned: std::iter::from_fn(|| self.learn.take()).collect(),
            reports: std::iter::from_fn(|| self.learn.take_report()).collect(),
            drops: DropReason::ALL.iter().map(|reason| (*reason, telemetry.dropped(*reason))).collect(),
            events: Event::ALL.iter().map(|event| (*event, telemetry.events(*event))).collect(),
            traffic: of_bridges.chain(of_remotes).map(both).collect(),
            entries: self.fdb.iter().collect(),
        }
    }

    fn dropped(&self) -> u64 {
        DropReason::ALL.iter().map(|reason| self.telemetry.dropped(*reason)).sum()
    }
}

/// The two of them.
pub struct World {
    snapshot: Snapshot,
    unusual_snapshot: Snapshot,
    whole: Twin,
    unusual: Twin,
    /// How many packets [`uplink::admit_usual`] or [`access::admit_usual`] took.
    pub usual: u64,
}

impl World {
    pub fn new(setup: &Setup) -> Self {
        let [snapshot, unusual_snapshot] = [false, true].map(|twin| snapshot(setup, twin));
        Self { snapshot, unusual_snapshot, whole: Twin::new(), unusual: Twin::new(), usual: 0 }
    }

    /// Both know these stations and no other.
    pub fn knowing(&mut self, stations: &[(BridgeIndex, MacAddr, Known)]) {
        for twin in [&mut self.whole, &mut self.unusual] {
            (twin.fdb, twin.writer) = table();
            // First those whose first bucket is then filled up for others.
            for second in [false, true] {
                for (bridge, mac, known) in stations.iter().filter(|(_, _, known)| known.second == second) {
                    twin.know(*bridge, *mac, known);
                }
            }
        }
    }

    /// Both have this binding.
    pub fn bound(&mut self, key: BindingKey, binding: Binding) {
        for twin in [&mut self.whole, &mut self.unusual] {
            twin.bindings.insert(key, binding).expect("room");
        }
    }

    /// Both get these packets, and the same is seen of them.
    #[track_caller]
    pub fn hold(&mut self, ingress: PortIndex, packets: &[HeapPacket]) -> Seen {
        self.usual += packets.iter().filter(|packet| self.is_usual(ingress, packet)).count() as u64;
        // Written to in place: each has memory of its own.
        let sent = {
            let (twin, mut egress) = (&mut self.whole, Ports::default());
            let mut burst: ArrayVec<_, BURST> = packets.iter().map(deep_copy).collect();
            let around = surroundings(&self.snapshot, &twin.fdb, twin.bindings.table(), &twin.telemetry, &twin.learn);
            twin.forwarder.forward(ingress, &mut burst, &around, &mut egress);
            assert!(burst.is_empty());
            egress.0
        };
        let whole = self.whole.seen(sent);
        let snapshot = &self.unusual_snapshot;
        let sent = packets.iter().flat_map(|packet| go_unusually(&mut self.unusual, snapshot, ingress, packet));
        let sent = sent.collect();
        assert_eq!(whole, self.unusual.seen(sent));
        whole
    }

    /// The samples of flows that were taken.
    pub fn samples(&self) -> Vec<FlowSample> {
        self.whole.telemetry.flow_samples.since(0).1.collect()
    }

    fn is_usual(&self, ingress: PortIndex, packet: &HeapPacket) -> bool {
        match &self.snapshot.ports[usize::from(ingress.0)].side {
            PortSide::Access(vlans) => access::admit_usual(packet, vlans).is_some(),
            PortSide::Uplink(patterns) => {
                let mut all = std::iter::once(patterns.usual()).chain(patterns.others());
                all.any(|pattern| match patterns.is_ipv6() {
                    true => uplink::admit_usual::<true, _>(packet, pattern, &self.snapshot).is_some(),
                    false => uplink::admit_usual::<false, _>(packet, pattern, &self.snapshot).is_some(),
                })
            }
        }
    }
}

fn surroundings<'a>(
    snapshot: &'a Snapshot,
    fdb: &'a Fdb,
    bindings: &'a BindingTable,
    telemetry: &'a WorkerTelemetry,
    learn: &'a LearnRing,
) -> Surroundings<'a> {
    Surroundings { snapshot, fdb, bindings, telemetry, learn, now: Moment { tick: NOW, cycles: 1_000_000_000 } }
}

fn deep_copy(packet: &HeapPacket) -> HeapPacket {
    let (mut at, mut ends) = (0, Vec::new());
    for segment in packet.segments() {
        at += segment.len();
        ends.push(at);
    }
    HeapPacket::segmented(&packet.to_vec(), &ends).with_receive_checksums(packet.receive_checksums())
}

/// What the three unusual functions and stage 4 make of one packet. It has one fate: it is sent, answered or dropped under
/// one reason, unless it is flooded.
#[track_caller]
fn go_unusually(
    twin: &mut Twin,
    snapshot: &Snapshot,
    ingress: PortIndex,
    packet: &HeapPacket,
) -> Vec<(PortIndex, Vec<u8>)> {
    let told = |twin: &Twin| twin.telemetry.events(Event::TooBigSent);
    let before = (twin.dropped(), told(twin), twin.telemetry.events(Event::FloodedFrame));
    let mut egress = Ports::default();
    let mut burst = ArrayVec::from_iter([deep_copy(packet)]);
    let around = surroundings(snapshot, &twin.fdb, twin.bindings.table(), &twin.telemetry, &twin.learn);
    let port = &snapshot.ports[usize::from(ingress.0)];
    let mut frame = Frame::NONE;
    match &port.side {
        PortSide::Uplink(_) => {
            admit_unusual_from_uplink(&mut burst[0], &mut frame, port, &mut twin.forwarder.learn_filter, &around);
        }
        PortSide::Access(vlans) => {
            let of_port = (vlans, port.link_local);
            let reported = (&mut twin.forwarder.discoveries, &mut twin.forwarder.learn_filter);
            admit_unusual_from_access(&mut burst[0], &mut frame, of_port, reported, &around);
        }
    }
    if frame.verdict == Verdict::Undecided {
        decide_unusual(&mut frame, burst[0].head(), Some(&mut twin.forwarder.learn_filter), &around);
    }
    if let Verdict::Forward(location) = frame.verdict {
        let remarking = snapshot.remarking.as_deref();
        let marks = remarking.map_or(Marks::NONE, |remarking| Marks::carry(&mut burst[0], &frame, remarking));
        if let Some(egress) = rewrite_unusual(&mut burst[0], &mut frame, marks, location, &around) {
            frame.egress = egress;
        }
    }
    twin.forwarder.frames[0] = frame;
    twin.forwarder.hand_over(ingress, port, &mut burst, &around, &mut egress);
    let sent = egress.0.len() as u64 - (told(twin) - before.1);
    if twin.telemetry.events(Event::FloodedFrame) == before.2 {
        assert_eq!(sent + twin.dropped() - before.0, 1, "one packet has one fate");
    } else {
        assert!(sent + twin.dropped() - before.0 >= 1, "a flood ends somewhere");
    }
    egress.0
}
