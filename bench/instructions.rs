//! The pipeline alone, on DPDK's packets but without a device: what callgrind counts the instructions of. Nothing in it
//! depends on time, addresses or random numbers.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use vtepd::config::Config;
use vtepd::config::model::{AccessVlan, Dscp};
use vtepd::control::{PortFacts, Registry, compile};
use vtepd::dpdk::{Burst, Mbuf};
use vtepd::forwarding::{BURST, Egress, Forwarder, Moment, Surroundings};
use vtepd::tables::fdb::HashSeed;
use vtepd::tables::learning::LearnRing;
use vtepd::tables::next_hop_group::{Adjacency, GroupIndex, NextHopGroup};
use vtepd::tables::{AgeTick, BindingTable, Fdb, FdbKey, FdbValue, FdbWriter, PortIndex, Quiescence, Snapshot};
use vtepd::telemetry::WorkerTelemetry;
use vtepd::wire::ethernet::{ETHERTYPE_AT, ETHERTYPE_VLAN, VLAN_TAG};
use vtepd::wire::{MacAddr, VlanId};

use crate::measurement::Means;
use crate::testbed::{self, ACCESS, Fallible, Testbed, UPLINK};
use crate::traffic::{Captures, Frames, Population, Set, Traffic, UPLINK_MAC, Underlay};

/// Bursts that are counted.
pub const BURSTS: usize = 32;
/// The function that callgrind counts, as it names it.
pub const COUNTED: &str = "throughput::instructions::counted*";
/// The MTU of the ports.
const MTU: u16 = 1600;
/// The VLAN of second tags.
const INNER_VLAN: u16 = 7;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Task {
    /// Access to uplink, IPv4
    EncapIpv4,
    /// Access to uplink, IPv4, spread over two next hops
    EncapIpv4Spread,
    /// Uplink to access, IPv4
    DecapIpv4,
    /// Access to uplink, IPv6, UDP checksum zero
    EncapIpv6Zero,
    /// Uplink to access, IPv6, UDP checksum zero
    DecapIpv6Zero,
    /// Access to uplink, IPv6, 64 bytes summed
    EncapIpv6,
    /// Uplink to access, IPv6, 64 bytes summed
    DecapIpv6,
    /// Access to one remote VTEP by flooding
    Flood,
    /// Access to uplink, IPv4, of bridges that two tags name
    EncapQinq,
    /// Uplink to access, IPv4, of bridges that two tags name
    DecapQinq,
    /// Access to uplink, IPv4, the outer DSCP made of the tag's priority
    EncapRemarked,
    /// Uplink to access, IPv4, the tag's priority and the inner DSCP made of the outer one
    DecapRemarked,
}

impl Task {
    fn underlay(self) -> Underlay {
        match self {
            Self::EncapIpv4
            | Self::EncapIpv4Spread
            | Self::DecapIpv4
            | Self::Flood
            | Self::EncapQinq
            | Self::DecapQinq
            | Self::EncapRemarked
            | Self::DecapRemarked => Underlay::Ipv4,
            Self::EncapIpv6Zero | Self::DecapIpv6Zero => Underlay::Ipv6Zero,
            Self::EncapIpv6 | Self::DecapIpv6 => Underlay::Ipv6,
        }
    }

    fn ingress(self) -> PortIndex {
        match self {
            Self::DecapIpv4 | Self::DecapIpv6 | Self::DecapIpv6Zero | Self::DecapQinq | Self::DecapRemarked => UPLINK,
            _ => ACCESS,
        }
    }

    /// Sets what the task is about.
    fn set(self, config: &mut Config) -> Fallible<()> {
        match self {
            Self::EncapQinq | Self::DecapQinq => {
                let inner = VlanId::new(INNER_VLAN)?;
                for port in config.bridges.iter_mut().flat_map(|bridge| &mut bridge.ports) {
                    port.vlan = port.vlan.vlan().map_or(port.vlan, |outer| AccessVlan::QinQ { outer, inner });
                }
            }
            Self::EncapRemarked => config.vtep.dscp = Dscp::Pcp,
            Self::DecapRemarked => (config.qos.carry_pcp, config.qos.rewrite_dscp) = (true, true),
            _ => {}
        }
        Ok(())
    }

    /// An access frame as the task has it, of one with a tag.
    fn dress(self, frame: &mut Vec<u8>) {
        if self == Self::EncapQinq {
            let ([t0, t1], [v0, v1]) = (ETHERTYPE_VLAN.to_be_bytes(), INNER_VLAN.to_be_bytes());
            frame.splice(ETHERTYPE_AT + VLAN_TAG..ETHERTYPE_AT + VLAN_TAG, [t0, t1, v0, v1]);
        }
    }
}

/// Counts what is sent, and keeps it, so that giving memory back is not counted.
struct Sink {
    sent: Vec<Mbuf>,
}

impl Egress<Mbuf> for Sink {
    fn transmit(&mut self, _port: PortIndex, packet: Mbuf) {
        self.sent.push(packet);
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
}

/// Forwards the packets of one task.
///
/// # Errors
/// Where not every packet was sent.
pub fn run(task: Task) -> Fallible<()> {
    let traffic = Traffic { set: Set::Small, frames: Frames::Short, underlay: task.underlay(), seed: 1 };
    let population = Population::new(traffic.set, traffic.seed);
    let mut pipeline = Pipeline::new(task, &traffic, &population)?;
    let means = Means { core: 0, milliseconds: 0, seed: 1, hugepages: false };
    if task == Task::EncapIpv4Spread {
        pipeline.spread();
    }
    let nowhere = Captures { access: PathBuf::new(), uplink: PathBuf::new() };
    let bed = Testbed::start(&testbed::config(&traffic, &population, &nowhere, &[0])?, &means, vec![0])?;
    let mut packets = traffic.packets(&population).map(|(mut frame, packet)| {
        let mut buffer = bed.pool.allocate()?;
        task.dress(&mut frame);
        buffer.append(if task.ingress() == UPLINK { &packet } else { &frame }).then_some(buffer)
    });
    let mut burst = || packets.by_ref().take(BURST).collect::<Option<Burst>>().ok_or("there are no buffers");
    let count = (BURSTS + 1) * BURST;
    let mut sink = Sink { sent: Vec::with_capacity(count) };
    // The first burst resolves what is resolved once.
    pipeline.forward(task.ingress(), &mut burst()?, &mut sink);
    let mut bursts = (0..BURSTS).map(|_| burst()).collect::<Result<Vec<_>, _>>()?;
    counted(&mut pipeline, task.ingress(), &mut bursts, &mut sink);
    match sink.sent.len() {
        sent if sent == count => Ok(()),
        sent => Err(format!("{sent} of {count} packets were sent").into()),
    }
}

/// All that is counted.
#[inline(never)]
fn counted(pipeline: &mut Pipeline, ingress: PortIndex, bursts: &mut [Burst], sink: &mut Sink) {
    for burst in bursts {
        pipeline.forward(ingress, black_box(burst), sink);
    }
}

impl Pipeline {
    fn new(task: Task, traffic: &Traffic, population: &Population) -> Fallible<Self> {
        let nowhere = Captures { access: PathBuf::new(), uplink: PathBuf::new() };
        let mut config = testbed::config(traffic, population, &nowhere, &[0])?;
        task.set(&mut config)?;
        let facts = [UPLINK_MAC, MacAddr([2, 0, 0, 0, 0, 1])].map(|mac| PortFacts { mac, mtu: MTU, receivers: 1 });
        let mut registry = Registry::default();
        let snapshot = compile(&config, &facts, &mut registry)?;
        let entries = config.fdb.max_entries as usize;
        let (_, mut writer) = Fdb::with_buckets(entries, entries, HashSeed::fixed(1), Quiescence::new())?;
        for station in population.stations().filter(|station| task != Task::Flood || station.remote.is_none()) {
            let (bridge, location) = testbed::place(&station, &config, traffic.underlay, &registry)?;
            writer.insert(FdbKey::new(bridge, station.mac), FdbValue::learned(location, AgeTick(1)))?;
        }
        Ok(Self {
            snapshot,
            writer,
            bindings: BindingTable::with_writer(1)?.0,
            telemetry: Box::default(),
            learn: LearnRing::new(),
            forwarder: Forwarder::new(1_000_000),
        })
    }

    /// Every remote VTEP is reached by two next hops from now on.
    fn spread(&mut self) {
        let next_hop = |bucket: usize| Adjacency::new(UPLINK, UPLINK_MAC, MacAddr([2, 0, 0, 0, 0, bucket as u8 % 2]));
        self.snapshot.next_hop_groups = vec![NextHopGroup::new(next_hop)];
        for way in &mut self.snapshot.next_hops {
            *way = way.clone().spread_over(GroupIndex(0));
        }
    }

    fn forward(&mut self, ingress: PortIndex, burst: &mut Burst, sink: &mut Sink) {
        let around = Surroundings {
            snapshot: &self.snapshot,
            fdb: self.writer.fdb(),
            bindings: &self.bindings,
            telemetry: &self.telemetry,
            learn: &self.learn,
            now: Moment { tick: AgeTick(1), cycles: 1_000_000_000 },
        };
        self.forwarder.forward(ingress, burst, &around, sink);
    }
}
