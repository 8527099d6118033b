//! The pipeline alone, on DPDK's packets but without a device: what callgrind counts the instructions of. Nothing in it
//! depends on time, addresses or random numbers.

mod packets;
mod task;

use std::hint::black_box;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use vtepd::config::Config;
use vtepd::control::{PortFacts, Registry, compile};
use vtepd::dpdk::{Burst, Mbuf};
use vtepd::forwarding::{BURST, Egress, Forwarder, Moment, Surroundings};
use vtepd::tables::bindings::{Binding, BindingKey, BindingSource};
use vtepd::tables::fdb::HashSeed;
use vtepd::tables::learning::LearnRing;
use vtepd::tables::next_hop_group::{Adjacency, GroupIndex, NextHopGroup};
use vtepd::tables::snooping::{FamilyTable, GroupTable};
use vtepd::tables::{
    AgeTick, BindingTable, BridgeIndex, Fdb, FdbKey, FdbValue, FdbWriter, Location, PortIndex, Quiescence, Snapshot,
};
use vtepd::telemetry::WorkerTelemetry;
use vtepd::wire::MacAddr;
use vtepd::wire::nd::TargetFlags;

use self::task::{Destinations, SECOND_ACCESS, Setup};
use crate::measurement::Means;
use crate::testbed::{self, Fallible, Testbed, UPLINK};
use crate::traffic::{Captures, Frames, Population, Set, Station, Traffic, UPLINK_MAC, host};

pub use self::task::Task;

/// Bursts that are counted.
pub const BURSTS: usize = 32;
/// The function that callgrind counts, as it names it.
pub const COUNTED: &str = "throughput::instructions::counted*";
/// The MTU of the ports.
const MTU: u16 = 1600;
/// The rate of the clock in cycles a second: one that hardly ever comes to anything that is due.
const CLOCK: u64 = 1_000_000;

/// Counts what is sent, and keeps it, so that giving memory back is not counted.
struct Sink {
    packets: Vec<Mbuf>,
    bursts: Vec<Burst>,
}

impl Egress<Mbuf> for Sink {
    fn transmit(&mut self, _port: PortIndex, packet: Mbuf) {
        self.packets.push(packet);
    }

    fn transmit_burst(&mut self, _port: PortIndex, burst: &mut Burst) {
        self.bursts.push(std::mem::take(burst));
    }

    fn allocate(&mut self) -> Option<Mbuf> {
        // No task needs copies: even the flood has one destination.
        None
    }
}

/// What is between the bursts and the sink.
struct Pipeline {
    snapshot: Snapshot,
    writer: FdbWriter,
    bindings: Arc<BindingTable>,
    telemetry: Box<WorkerTelemetry>,
    learn: LearnRing,
    forwarder: Forwarder,
    cycles: u64,
    /// Cycles that pass with each burst.
    clock_step: u64,
}

/// Forwards the packets of one task.
///
/// # Errors
/// Where not every packet was sent, or dropped if that is what is counted.
pub fn run(task: Task) -> Fallible<()> {
    let setup = task.setup();
    let traffic = Traffic { set: Set::Small, frames: Frames::Short, underlay: setup.underlay, seed: 1 };
    let population = Population::new(traffic.set, traffic.seed);
    let mut pipeline = Pipeline::new(&setup, &traffic, &population)?;
    let means = Means { core: 0, milliseconds: 0, seed: 1, hugepages: false };
    let nowhere = Captures { access: PathBuf::new(), uplink: PathBuf::new() };
    let bed = Testbed::start(&testbed::config(&traffic, &population, &nowhere, &[0])?, &means, vec![0])?;
    let packets = packets_of(&setup, &traffic, &population);
    let mut packets = packets.iter().cycle().map(|packet| {
        let mut buffer = bed.pool.allocate()?;
        buffer.append(packet).then_some(buffer)
    });
    let mut burst = || packets.by_ref().take(BURST).collect::<Option<Burst>>().ok_or("there are no buffers");
    let count = (BURSTS + 1) * BURST;
    let mut sink = Sink { packets: Vec::with_capacity(count), bursts: Vec::with_capacity(count.div_ceil(BURST)) };
    // The first burst resolves what is resolved once.
    pipeline.forward(setup.ingress, &mut burst()?, &mut sink);
    let mut bursts = (0..BURSTS).map(|_| burst()).collect::<Result<Vec<_>, _>>()?;
    counted(&mut pipeline, setup.ingress, &mut bursts, &mut sink);
    let (expected, sent) =
        (if setup.is_sent { count } else { 0 }, sink.packets.len() + sink.bursts.iter().map(Burst::len).sum::<usize>());
    if sent != expected {
        return Err(format!("{sent} of {count} packets were sent, not {expected}").into());
    }
    match setup.event.map(|event| (event, pipeline.telemetry.events(event))) {
        Some((event, times)) if times != count as u64 => {
            Err(format!("{event:?} happened {times} times with {count} packets").into())
        }
        _ => Ok(()),
    }
}

/// The task's packets, as often as they come.
fn packets_of(setup: &Setup, traffic: &Traffic, population: &Population) -> Vec<Vec<u8>> {
    let all = traffic.packets_of_bridges(population).map(|(frame, packet, bridge)| {
        let mut bytes = if setup.ingress == UPLINK { packet } else { frame };
        (setup.dress)(&mut bytes);
        (bytes, bridge)
    });
    all.filter(|(_, bridge)| !setup.one_bridge || *bridge == 0).map(|(bytes, _)| bytes).collect()
}

/// All that is counted.
#[inline(never)]
fn counted(pipeline: &mut Pipeline, ingress: PortIndex, bursts: &mut [Burst], sink: &mut Sink) {
    for burst in bursts {
        pipeline.forward(ingress, black_box(burst), sink);
    }
}

impl Pipeline {
    fn new(setup: &Setup, traffic: &Traffic, population: &Population) -> Fallible<Self> {
        let nowhere = Captures { access: PathBuf::new(), uplink: PathBuf::new() };
        let mut config = testbed::config(traffic, population, &nowhere, &[0])?;
        (setup.configure)(&mut config)?;
        let fact = |number: usize| PortFacts {
            mac: if number == 0 { UPLINK_MAC } else { MacAddr([2, 0, 0, 0, 0, number as u8]) },
            mtu: MTU,
            receivers: 1,
        };
        let facts: Vec<PortFacts> = (0..config.ports.len()).map(fact).collect();
        let mut registry = Registry::default();
        let snapshot = compile(&config, &facts, &mut registry)?;
        let entries = config.fdb.max_entries as usize;
        let (_, mut writer) = Fdb::with_buckets(entries, entries, HashSeed::fixed(1), Quiescence::new())?;
        for station in population.stations() {
            if let Some((bridge, location)) = place(&station, setup, &config, &registry)? {
                writer.insert(FdbKey::new(bridge, station.mac), FdbValue::learned(location, AgeTick(1)))?;
            }
        }
        let bindings = if setup.knows_addresses { bindings(population, &config, &registry)? } else { no_bindings()? };
        let mut pipeline = Self {
            snapshot,
            writer,
            bindings,
            telemetry: Box::default(),
            learn: LearnRing::new(),
            forwarder: Forwarder::new(CLOCK),
            cycles: 1_000_000_000,
            clock_step: setup.clock_step,
        };
        if setup.spread {
            pipeline.spread();
        }
        if setup.wants_group {
            pipeline.want_group()?;
        }
        Ok(pipeline)
    }

    /// Every remote VTEP is reached by two next hops from now on.
    fn spread(&mut self) {
        let next_hop = |bucket: usize| Adjacency::new(UPLINK, UPLINK_MAC, MacAddr([2, 0, 0, 0, 0, bucket as u8 % 2]));
        self.snapshot.next_hop_groups = vec![NextHopGroup::new(next_hop)];
        for way in &mut self.snapshot.next_hops {
            *way = way.clone().spread_over(GroupIndex(0));
        }
    }

    /// In every bridge somebody behind each remote VTEP wants the group, from now on.
    fn want_group(&self) -> Fallible<()> {
        for domain in &self.snapshot.domains {
            let rules = domain.rules.as_ref().ok_or("a bridge without rules")?;
            let places = domain.flood_list.iter().map(|tunnel| Location::tunnel(*tunnel)).collect();
            let groups = std::iter::once((IpAddr::V4(packets::GROUP), places)).collect();
            let ipv4 = FamilyTable { queried: true, groups, ..FamilyTable::default() };
            let table = GroupTable::new(ipv4, FamilyTable::default());
            drop(rules.snooping.as_ref().ok_or("a bridge that does not snoop")?.publish(table));
        }
        Ok(())
    }

    fn forward(&mut self, ingress: PortIndex, burst: &mut Burst, sink: &mut Sink) {
        self.cycles += self.clock_step;
        let around = Surroundings {
            snapshot: &self.snapshot,
            fdb: self.writer.fdb(),
            bindings: &self.bindings,
            telemetry: &self.telemetry,
            learn: &self.learn,
            now: Moment { tick: AgeTick(1), cycles: self.cycles },
        };
        self.forwarder.forward(ingress, burst, &around, sink);
    }
}

/// Where a station is, if anybody knows.
fn place(
    station: &Station,
    setup: &Setup,
    config: &Config,
    registry: &Registry,
) -> Fallible<Option<(BridgeIndex, Location)>> {
    let (bridge, across) = testbed::place(station, config, setup.underlay, registry)?;
    if station.remote.is_none() {
        return Ok(Some((bridge, across)));
    }
    match setup.destinations {
        Destinations::Across => Ok(Some((bridge, across))),
        Destinations::Unknown => Ok(None),
        Destinations::SecondAccess => {
            let bridge_config = config.bridges.get(station.bridge as usize).ok_or("no such bridge")?;
            let mut ports = bridge_config.ports.iter();
            let port = ports.find(|port| port.port == SECOND_ACCESS).ok_or("no second access port")?;
            let member = registry.member(&(bridge_config.vni, port.port, port.vlan)).ok_or("no such member")?;
            Ok(Some((bridge, Location::access(member))))
        }
    }
}

fn no_bindings() -> Fallible<Arc<BindingTable>> {
    Ok(BindingTable::with_writer(1)?.0)
}

/// The addresses of all stations.
fn bindings(population: &Population, config: &Config, registry: &Registry) -> Fallible<Arc<BindingTable>> {
    let (table, mut writer) = BindingTable::with_writer(2 * population.station_count())?;
    for station in population.stations() {
        let vni = config.bridges.get(station.bridge as usize).ok_or("no such bridge")?.vni;
        let bridge = registry.bridge(vni).ok_or("no index for a bridge")?;
        let (mac, flags, heard) = (station.mac, TargetFlags::OVERRIDE, AgeTick(1));
        for address in [host(mac).into(), packets::ipv6_of(mac).into()] {
            let binding = Binding { mac, source: BindingSource::Learned, flags: Some(flags), heard };
            writer.insert(BindingKey { bridge, address }, binding)?;
        }
    }
    Ok(table)
}
