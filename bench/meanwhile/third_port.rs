//! An access port beside the two of every measurement, which brings frames of sources of the caller's choice.
//!
//! It is a ring, and so the thread that runs the control loop puts the frames in, between its rounds.

use std::ops::Range;

use vtepd::config::Config;
use vtepd::config::model::{self, PortRole};
use vtepd::control::{PortFacts, Registry};
use vtepd::daemon::ports::WorkerQueues;
use vtepd::dpdk::{BURST, Burst, Device, OpenPort, PacketPool, PortOptions, ReceiveQueue, TransmitQueue, clock};
use vtepd::tables::{BridgeIndex, FdbKey, PortIndex};
use vtepd::wire::{MacAddr, Vni};
use vtepd::worker::WorkerPort;
use vtepd::worker::outlet::Outlet;

use crate::latency::source::ends;
use crate::testbed::{Fallible, Testbed};
use crate::traffic::{Population, Traffic};

/// The port's place in the config.
const INDEX: PortIndex = PortIndex(2);
/// Frames that the sources send in turn: with many bridges and destinations among them, and still in a cache of the
/// thread that copies them.
const TEMPLATES: usize = 8192;
/// The bytes of a frame that are its source.
const SOURCE: Range<usize> = 6..12;
/// Those that are the VLAN of its tag.
const VLAN: Range<usize> = 14..16;
/// Packets due at once at most: what was due while this thread was held up comes late, as much as a learn ring holds.
const BACKLOG: f64 = 8192.0;

/// The port, from its far side.
pub struct ThirdPort {
    feed: TransmitQueue,
    /// Nothing is for this port; what comes out here all the same stays in the ring.
    _sink: ReceiveQueue,
    pool: PacketPool,
    burst: Burst,
    /// Frames to stations behind remote VTEPs, with the bridge of each.
    templates: Vec<(BridgeIndex, Vec<u8>)>,
    /// The numbers of the sources that send in turn.
    sources: Vec<u32>,
    /// Packets sent since the sources were chosen.
    sent: usize,
    /// Packets due.
    due: f64,
    /// When `due` was brought up to date, in cycles.
    reckoned: u64,
}

impl ThirdPort {
    /// Adds the port to a config whose other ports are open, and its queues to the worker's.
    ///
    /// # Errors
    /// Where there are no such rings.
    pub fn open(
        bed: &Testbed,
        config: &mut Config,
        workers: &mut [WorkerQueues],
    ) -> Fallible<(PortFacts, TransmitQueue, ReceiveQueue)> {
        let ring = |number: usize| -> Fallible<OpenPort> {
            let options = PortOptions { mtu: None, ..PortOptions::default() };
            Ok(Device::probe(&bed.eal, "ring", &format!("net_ring{number}"))?.open(&options, &bed.pool)?)
        };
        // What is sent to a ring comes back from it: of each, one end is the worker's and the other this side's.
        let (mut into, mut out) = (ring(0)?, ring(1)?);
        let [(feed, queue), (outlet, sink)] = [ends(&mut into)?, ends(&mut out)?];
        let worker = workers.first_mut().ok_or("no worker")?;
        worker.ports.push(WorkerPort { index: INDEX, queue });
        worker.outlets.push(Outlet::queue(outlet));
        let like = config.ports.last().cloned().ok_or("no port")?;
        let mtu = like.mtu.ok_or("no MTU")?;
        let device = "net_ring0".to_owned();
        config.ports.push(model::Port { name: "third0".to_owned(), device, role: PortRole::Access, ..like });
        for bridge in &mut config.bridges {
            let like = *bridge.ports.first().ok_or("a bridge without a port")?;
            bridge.ports.push(model::BridgePort { port: INDEX, ..like });
        }
        Ok((PortFacts { mac: MacAddr([2, 0, 0, 0, 0, 2]), mtu, receivers: 1 }, feed, sink))
    }

    /// The far side of the port that [`ThirdPort::open`] opened, with frames like those of `traffic`.
    ///
    /// # Errors
    /// Where the registry does not know one of the bridges.
    pub fn new(
        (feed, sink): (TransmitQueue, ReceiveQueue),
        pool: PacketPool,
        traffic: &Traffic,
        population: &Population,
        registry: &Registry,
    ) -> Fallible<Self> {
        let bridge = |vlan| -> Fallible<BridgeIndex> {
            let bridge =
                population.bridges.iter().find(|bridge| bridge.vlan == vlan).ok_or("no bridge of this VLAN")?;
            registry.bridge(Vni::new(bridge.vni)?).ok_or_else(|| "no index for a bridge".into())
        };
        let template = |(frame, _): (Vec<u8>, Vec<u8>)| -> Fallible<_> {
            let vlan = frame.get(VLAN).and_then(|tag| tag.try_into().ok()).map(u16::from_be_bytes);
            Ok((bridge(vlan.ok_or("a frame without a tag")?)?, frame))
        };
        let templates = traffic.packets(population).take(TEMPLATES).map(template).collect::<Fallible<_>>()?;
        Ok(Self {
            feed,
            _sink: sink,
            pool,
            burst: Burst::new(),
            templates,
            sources: Vec::new(),
            sent: 0,
            due: 0.0,
            reckoned: 0,
        })
    }

    /// Chooses the sources that send in turn from now on. Each has an address that no station of a population has.
    pub fn choose(&mut self, sources: impl IntoIterator<Item = u32>) {
        self.sources = sources.into_iter().collect();
        (self.sent, self.due, self.reckoned) = (0, 0.0, clock::cycles());
    }

    /// Those that were chosen.
    pub fn sources(&self) -> impl Iterator<Item = u32> + '_ {
        self.sources.iter().copied()
    }

    /// True where each of the sources has sent a frame.
    pub fn is_through(&self) -> bool {
        self.sent >= self.sources.len()
    }

    /// The FDB's key of a source.
    pub fn key(&self, source: u32) -> FdbKey {
        let bridge = self.template(source).map_or(BridgeIndex(0), |(bridge, _)| *bridge);
        FdbKey::new(bridge, mac(source))
    }

    fn template(&self, source: u32) -> Option<&(BridgeIndex, Vec<u8>)> {
        self.templates.get(source as usize % self.templates.len().max(1))
    }

    /// Sends what is due at a rate in packets a second, a burst at most. Infinity keeps the ring full.
    pub fn feed(&mut self, rate: f64) {
        let now = clock::cycles();
        let passed = (now - self.reckoned) as f64 / clock::cycles_per_second() as f64;
        self.reckoned = now;
        self.due = if rate > 0.0 { (self.due + rate * passed).min(BACKLOG) } else { 0.0 };
        let count = (self.due as usize).min(BURST);
        if count == 0 || !self.pool.allocate_bulk(&mut self.burst, count) {
            return;
        }
        let (places, templates) = (self.sources.len().max(1), self.templates.len().max(1));
        for (place, packet) in (self.sent..).zip(&mut self.burst) {
            let Some(source) = self.sources.get(place % places) else { continue };
            let Some((_, frame)) = self.templates.get(*source as usize % templates) else { continue };
            let mut front = [0; SOURCE.end];
            front.copy_from_slice(frame.get(..SOURCE.end).unwrap_or(&[0; SOURCE.end]));
            front[SOURCE].copy_from_slice(&mac(*source).0);
            // A fresh buffer has room for both.
            let _ = packet.append(&front) && packet.append(frame.get(SOURCE.end..).unwrap_or_default());
        }
        // What the ring has no room for are the last ones of the burst: their turn comes again.
        let sent = count - self.feed.transmit(&mut self.burst).packets;
        self.sent += sent;
        self.due -= sent as f64;
    }
}

/// The address of a source. The stations of a population begin with another byte.
fn mac(source: u32) -> MacAddr {
    // An odd factor maps the 40 bits one to one.
    MacAddr::from_u64(0x06 << 40 | u64::from(source).wrapping_mul(0x9e_3779_b97f) & 0xff_ffff_ffff)
}
