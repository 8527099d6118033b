//! A gateway as the daemon makes it, on software ports, with workers that a test starts and stops.

#![allow(dead_code, reason = "each test file uses its part")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use vtepd::config::Config;
use vtepd::control::Gateway;
use vtepd::daemon::ports::{self, RunningPort};
use vtepd::dpdk::{Eal, PacketPool, WorkerThread};
use vtepd::exception::{ThreadEnd, connect};
use vtepd::tables::learning::LearnRing;
use vtepd::telemetry::{ControlTelemetry, DropReason, Event, WorkerTelemetry};
use vtepd::worker::Worker;
use vtepd::worker::outlet::Outlets;

use crate::support;

pub const BUFFERS: u32 = 8191;
/// The address of the first `net_pcap` port of a process.
pub const UPLINK_MAC: [u8; 6] = *b"\x02pcap\0";
/// A station behind the trunk, as the captures have it.
pub const HERE: [u8; 6] = [2, 0, 0, 0, 1, 1];
/// A station behind remote VTEP 10.0.0.2.
pub const THERE: [u8; 6] = [2, 0, 0, 0, 2, 2];

/// A config of these workers and ports (`name`, device, role), bridges and static entries; remote VTEPs 10.0.0.2 and
/// 10.0.0.3 are on the uplink.
pub fn config(workers: &str, ports: &[(&str, String)], rest: &str) -> String {
    let mut text = format!("[vtep]\naddress = \"10.0.0.1\"\n[dpdk]\nhugepages = false\n[workers]\n{workers}\n");
    for (name, device) in ports {
        let role = if name.starts_with("uplink") { "uplink" } else { "access" };
        text += &format!("[[port]]\nname = \"{name}\"\ndevice = \"{device}\"\nrole = \"{role}\"\n");
    }
    for number in [2, 3] {
        text += &format!("[[neighbour]]\naddress = \"10.0.0.{number}\"\nmac = \"02:00:00:bb:00:0{number}\"\n");
        text += "port = \"uplink0\"\n";
    }
    text + rest
}

/// A bridge with VLAN and VNI of one number, on these ports (as TOML), with both remote VTEPs.
pub fn bridge(number: u32, ports: &str) -> String {
    format!("[[bridge]]\nvni = {number}\nvlan = {number}\nports = {ports}\nremotes = [\"10.0.0.2\", \"10.0.0.3\"]\n")
}

/// Static entries for [`HERE`] behind trunk0 and [`THERE`] behind 10.0.0.2.
pub fn statics(vni: u32) -> String {
    format!(
        "[[static]]\nvni = {vni}\nmac = \"02:00:00:00:01:01\"\nport = \"trunk0\"\n\
         [[static]]\nvni = {vni}\nmac = \"02:00:00:00:02:02\"\nremote = \"10.0.0.2\"\n"
    )
}

pub fn parse(text: &str) -> Config {
    match Config::parse("crew.toml", text) {
        Ok(loaded) => loaded.config,
        Err(wrong) => panic!("{}\n{text}", wrong.render(false)),
    }
}

/// A plain frame between these stations, of `length` bytes at least.
pub fn frame(destination: [u8; 6], source: [u8; 6], seed: usize, length: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(source, destination)
        .ipv4([192, 168, 0, 1], [192, 168, 0, 2], 64)
        .udp(1000 + (seed % 5000) as u16, 7);
    let payload = support::pattern(seed, length.saturating_sub(42).max(18));
    let mut frame = Vec::new();
    builder.write(&mut frame, &payload).expect("a frame");
    frame
}

/// The frame with an 802.1Q tag.
pub fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    [&frame[..12], &[0x81, 0x00], &vlan.to_be_bytes(), &frame[12..]].concat()
}

/// The frame as remote VTEP 10.0.0.2 sends it.
pub fn encapsulated(frame: &[u8], vni: u32) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0xbb, 0, 2], UPLINK_MAC)
        .ipv4([10, 0, 0, 2], [10, 0, 0, 1], 64)
        .udp(50_000, 4789);
    let header = [&[8, 0, 0, 0][..], &(vni << 8).to_be_bytes()].concat();
    let mut packet = Vec::new();
    builder.write(&mut packet, &[&header[..], frame].concat()).expect("a packet");
    packet
}

/// What a VXLAN packet says by a decoder that is not ours: outer source and destination, VNI, and the frame inside.
pub fn decode(packet: &[u8]) -> (Ipv4Addr, Ipv4Addr, u32, Vec<u8>) {
    let sliced = etherparse::SlicedPacket::from_ethernet(packet).expect("a packet");
    let Some(etherparse::NetSlice::Ipv4(ip)) = &sliced.net else { panic!("not IPv4: {packet:02x?}") };
    let Some(etherparse::TransportSlice::Udp(udp)) = &sliced.transport else { panic!("not UDP: {packet:02x?}") };
    assert_eq!(udp.destination_port(), 4789);
    let payload = udp.payload();
    assert_eq!((payload[0], &payload[1..4], payload[7]), (8, &[0; 3][..], 0), "the VXLAN header");
    let vni = u32::from_be_bytes([0, payload[4], payload[5], payload[6]]);
    let addresses = ip.header();
    (addresses.source_addr(), addresses.destination_addr(), vni, payload[8..].to_vec())
}

/// The gateway, its ports, and workers that do not run yet.
pub struct Rig {
    workers: Vec<Option<Worker>>,
    pub telemetry: Vec<Arc<WorkerTelemetry>>,
    pub control: Arc<ControlTelemetry>,
    /// The kernel's end of the exception path.
    pub kernel: ThreadEnd,
    pub gateway: Gateway,
    pub ports: Vec<RunningPort>,
    pub pool: PacketPool,
    pub eal: Eal,
}

impl Rig {
    pub fn new(test: &str, text: &str) -> Self {
        let config = parse(text);
        let eal = support::start(test);
        let pool = PacketPool::create(&eal, BUFFERS).expect("pool");
        let (ports, queues) = ports::open(&eal, &config, &pool).expect("ports");
        let control = Arc::new(ControlTelemetry::new());
        let rings: Vec<Arc<LearnRing>> = queues.iter().map(|_| Arc::default()).collect();
        assert_eq!(ports[0].facts.mac.0, UPLINK_MAC, "the captures have the uplink's address");
        let facts = ports.iter().map(|port| port.facts).collect();
        let idle = config.workers.idle;
        let gateway = Gateway::start(config, facts, rings.clone(), Arc::clone(&control)).expect("gateway");
        let telemetry: Vec<_> = queues.iter().map(|_| Arc::new(WorkerTelemetry::new())).collect();
        let (ends, kernel) = connect(queues.len());
        let parts = queues.into_iter().zip(ends).zip(&telemetry).zip(rings);
        let workers = parts.map(|(((queues, end), telemetry), learn)| {
            let (ports, telemetry) = (queues.outlets, Arc::clone(telemetry));
            let outlets = Outlets { ports, pool: pool.clone(), telemetry, exception: Some(end) };
            Some(Worker::new(queues.ports, queues.inlets, outlets, learn, Arc::clone(gateway.tables()), idle))
        });
        Self { workers: workers.collect(), telemetry, control, kernel, gateway, ports, pool, eal }
    }

    /// Starts a worker on a thread of its own, which first does what `before` says.
    pub fn start(&mut self, number: usize, before: impl FnOnce() + Send + 'static) -> Crewman {
        let worker = self.workers[number].take().expect("a worker that was not started yet");
        let (stop, eal) = (Arc::new(AtomicBool::new(false)), self.eal.clone());
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let _registered = WorkerThread::register(&eal).expect("register");
            before();
            worker.run(&seen);
        });
        Crewman { stop, thread }
    }

    /// Lets control have its rounds until the condition holds.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            assert!(began.elapsed() < Duration::from_secs(30), "not within 30 s: {what}; drops {:?}", self.drops());
            self.gateway.round();
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// What all workers dropped, by reason.
    pub fn drops(&self) -> Vec<(DropReason, u64)> {
        let dropped = |reason| self.telemetry.iter().map(|worker| worker.dropped(reason)).sum();
        DropReason::ALL.iter().map(|reason| (*reason, dropped(*reason))).filter(|(_, count)| *count > 0).collect()
    }

    pub fn events(&self, event: Event) -> u64 {
        self.telemetry.iter().map(|worker| worker.events(event)).sum()
    }

    /// Closes everything; every buffer is back in the pool, and EAL's folder is gone.
    pub fn close(self) {
        let Self { workers, gateway, ports, pool, eal, .. } = self;
        drop((workers, ports, gateway));
        assert_eq!(pool.available(), BUFFERS, "buffers are lost");
        drop((pool, eal));
    }
}

/// A worker that runs.
pub struct Crewman {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Crewman {
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the worker ends well");
    }
}
