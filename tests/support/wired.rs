//! A gateway whose links are rings: the test holds their far ends, so that it says what arrives, what is taken, when,
//! and how much memory there is.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use vtepd::config::Config;
use vtepd::control::{Gateway, PortFacts};
use vtepd::dpdk::{Burst, Device, Eal, Mbuf, OpenPort, PacketPool, PortOptions, ReceiveQueue, TransmitQueue};
use vtepd::dpdk::{Port, Unsent, WorkerThread};
use vtepd::forwarding::learn_filter;
use vtepd::tables::PortIndex;
use vtepd::tables::learning::LearnRing;
use vtepd::telemetry::{ControlTelemetry, DropReason, Event, FdbEvent, WorkerTelemetry};
use vtepd::wire::MacAddr;
use vtepd::worker::outlet::{HANDOVER_CAPACITY, HandoverRing, Outlet, Outlets};
use vtepd::worker::{Worker, WorkerPort};

use crate::crew::{UPLINK_MAC, parse};
use crate::support::{self, bytes, packet};

/// Packets that `net_ring` holds.
pub const RING: usize = 1023;
pub const UPLINK: usize = 0;
pub const TRUNK0: usize = 1;
pub const TRUNK1: usize = 2;

/// The far end of a port.
struct Link {
    into: TransmitQueue,
    out: ReceiveQueue,
}

struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

pub struct Wired {
    waiting: VecDeque<Worker>,
    running: Vec<Running>,
    links: Vec<Link>,
    /// Packets put into each port's ring.
    fed: [u64; 3],
    /// The clock of control, which a test may put forward.
    pub now: Instant,
    pub telemetry: Vec<Arc<WorkerTelemetry>>,
    pub control: Arc<ControlTelemetry>,
    pub gateway: Gateway,
    /// A port that receives from a device of its own.
    pub device: Option<Port>,
    pub pool: PacketPool,
    eal: Eal,
}

fn open(eal: &Eal, pool: &PacketPool, device: &str) -> OpenPort {
    let options = PortOptions { mtu: None, ..PortOptions::default() };
    Device::probe(eal, device, device).expect("probe").open(&options, pool).expect("open")
}

/// The config's ports `uplink0`, `trunk0` and `trunk1`; further text behind.
pub fn config(workers: &str, rest: &str) -> String {
    let ports = ["uplink0", "trunk0", "trunk1"].map(|name| (name, format!("net_ring_{name}")));
    crate::crew::config(workers, &ports, rest)
}

impl Wired {
    /// One worker that has all ports; its third port receives from `device` instead of a ring, if there is one.
    pub fn new(test: &str, text: &str, buffers: u32, device: Option<&str>) -> Self {
        Self::build(test, parse(text), buffers, device, false)
    }

    /// Two workers. The second receives from `trunk1` and sends to `trunk0`; what it sends to the uplink it hands over
    /// to the first, which receives from the uplink and sends to it.
    pub fn with_handover(test: &str, text: &str, buffers: u32) -> Self {
        Self::build(test, parse(text), buffers, None, true)
    }

    fn build(test: &str, config: Config, buffers: u32, device: Option<&str>, handover: bool) -> Self {
        let eal = support::start(test);
        let pool = PacketPool::create(&eal, buffers).expect("pool");
        let (mut links, mut receive, mut transmit) = (Vec::new(), Vec::new(), Vec::new());
        for port in 0..3 {
            let mut arriving = open(&eal, &pool, &format!("net_ring{}", 2 * port));
            let mut leaving = open(&eal, &pool, &format!("net_ring{}", 2 * port + 1));
            receive.push(arriving.receive.remove(0));
            transmit.push(leaving.transmit.remove(0));
            links.push(Link { into: arriving.transmit.remove(0), out: leaving.receive.remove(0) });
        }
        let device = device.map(|device| {
            let mut opened = open(&eal, &pool, device);
            receive[TRUNK1] = opened.receive.remove(0);
            opened.port
        });
        let idle = config.workers.idle;
        let rings: Vec<Arc<LearnRing>> = config.workers.cores.iter().map(|_| Arc::default()).collect();
        let facts = vec![PortFacts { mac: MacAddr(UPLINK_MAC), mtu: 1600, receivers: 1 }; 3];
        let control = Arc::new(ControlTelemetry::new());
        let gateway = Gateway::start(config, facts, rings.clone(), Arc::clone(&control)).expect("gateway");
        let telemetry: Vec<_> = rings.iter().map(|_| Arc::new(WorkerTelemetry::new())).collect();
        let ports = receive.into_iter().enumerate();
        let mut ports: Vec<WorkerPort> =
            ports.map(|(index, queue)| WorkerPort { index: PortIndex(index as u16), queue }).collect();
        let mut outlets: Vec<Outlet> = transmit.into_iter().map(Outlet::queue).collect();
        let mut shares = Vec::new();
        if handover {
            let ring = || -> HandoverRing { Arc::new(ArrayQueue::new(HANDOVER_CAPACITY)) };
            let (to_uplink, unused) = (ring(), ring());
            let trunk1 = ports.remove(TRUNK1);
            let trunk0_out = std::mem::replace(&mut outlets[TRUNK0], Outlet::Handover(Arc::clone(&unused)));
            let second = vec![Outlet::Handover(Arc::clone(&to_uplink)), trunk0_out, Outlet::Handover(unused)];
            shares.push((ports, vec![(PortIndex(0), to_uplink)], outlets));
            shares.push((vec![trunk1], Vec::new(), second));
        } else {
            shares.push((ports, Vec::new(), outlets));
        }
        let workers = shares.into_iter().zip(&telemetry).zip(rings);
        let waiting = workers
            .map(|(((ports, inlets, outlets), telemetry), learn)| {
                let (pool, telemetry) = (pool.clone(), Arc::clone(telemetry));
                let outlets = Outlets { ports: outlets, pool, telemetry, exception: None };
                Worker::new(ports, inlets, outlets, learn, Arc::clone(gateway.tables()), idle)
            })
            .collect();
        let now = Instant::now();
        Self { waiting, running: Vec::new(), links, fed: [0; 3], now, telemetry, control, gateway, device, pool, eal }
    }

    /// Starts the worker that waits first, or last.
    pub fn start(&mut self, last: bool) {
        let worker = if last { self.waiting.pop_back() } else { self.waiting.pop_front() }.expect("a worker");
        let (stop, eal) = (Arc::new(AtomicBool::new(false)), self.eal.clone());
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let _registered = WorkerThread::register(&eal).expect("register");
            worker.run(&seen);
        });
        self.running.push(Running { stop, thread });
    }

    /// Puts frames into a port's ring; the worker has had them when it returns.
    #[track_caller]
    pub fn feed(&mut self, port: usize, frames: &[Vec<u8>]) {
        for frames in frames.chunks(64) {
            let packets = frames.iter().map(|frame| packet(&self.pool, frame)).collect();
            self.feed_packets(port, packets);
        }
    }

    /// The same with packets, at most a burst of them.
    #[track_caller]
    pub fn feed_packets(&mut self, port: usize, packets: Vec<Mbuf>) {
        self.fed[port] += packets.len() as u64;
        let mut burst: Burst = packets.into_iter().collect();
        assert_eq!(self.links[port].into.transmit(&mut burst), Unsent::default());
        let (fed, index) = (self.fed[port], PortIndex(port as u16));
        self.until("a worker has received what was fed", |wired| {
            wired.telemetry.iter().any(|worker| worker.port(index).received().packets() == fed)
        });
        // Received is counted first; the round is over when the next one is.
        let receives = |worker: &&Arc<WorkerTelemetry>| worker.port(index).received().packets() > 0;
        let rounds = |wired: &Self| wired.telemetry.iter().find(receives).map_or(0, |worker| worker.run.polls.get());
        let round = rounds(self);
        self.until("the worker has had its round", |wired| rounds(wired) > round);
    }

    /// Waits, without a round of control.
    #[track_caller]
    pub fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            assert!(began.elapsed() < Duration::from_secs(30), "not within 30 s: {what}; drops {:?}", self.drops());
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Takes all that was sent to a port.
    pub fn take(&mut self, port: usize) -> Vec<Vec<u8>> {
        let mut burst = Burst::new();
        let mut taken = Vec::new();
        while self.links[port].out.receive(&mut burst) > 0 {
            taken.extend(burst.drain(..).map(|packet| bytes(&packet)));
        }
        taken
    }

    /// How many packets were sent to each port, taken now.
    pub fn take_counts(&mut self) -> [usize; 3] {
        [UPLINK, TRUNK0, TRUNK1].map(|port| self.take(port).len())
    }

    /// Rounds of control until it has nothing to do.
    pub fn control(&mut self) {
        while self.gateway.round_at(self.now) > 0 {}
    }

    /// Time passes for control.
    pub fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_secs() * 10 {
            self.now += Duration::from_millis(100);
            self.gateway.round_at(self.now);
        }
        // Workers have a clock of their own: what they reported before these rounds is long ago for them as well.
        std::thread::sleep(learn_filter::INTERVAL);
    }

    /// Packets that the workers received and are done with.
    pub fn received(&self) -> u64 {
        self.telemetry.iter().map(|worker| worker.run.packets.get()).sum()
    }

    /// Packets that drivers took.
    pub fn sent(&self) -> u64 {
        let of = |worker: &Arc<WorkerTelemetry>| -> u64 {
            (0..3).map(|port| worker.port(PortIndex(port)).sent().packets()).sum()
        };
        self.telemetry.iter().map(of).sum()
    }

    /// What was dropped, by reason.
    pub fn drops(&self) -> Vec<(DropReason, u64)> {
        let dropped = |reason| self.telemetry.iter().map(|worker| worker.dropped(reason)).sum();
        DropReason::ALL.iter().map(|reason| (*reason, dropped(*reason))).filter(|(_, count)| *count > 0).collect()
    }

    pub fn events(&self, event: Event) -> u64 {
        self.telemetry.iter().map(|worker| worker.events(event)).sum()
    }

    pub fn fdb_events(&self, event: FdbEvent) -> u64 {
        self.control.fdb.events(event)
    }

    /// Takes every buffer that is left to this thread.
    pub fn hoard(&self) -> Vec<Mbuf> {
        std::iter::from_fn(|| self.pool.allocate()).collect()
    }

    /// Stops the workers; every buffer is back in the pool.
    pub fn close(mut self) {
        self.running.iter().for_each(|worker| worker.stop.store(true, Ordering::Relaxed));
        self.running.drain(..).for_each(|worker| worker.thread.join().expect("the worker ends well"));
        let left = self.take_counts();
        assert_eq!(left, [0; 3], "packets that the test did not expect");
        let Self { waiting, links, gateway, pool, eal, device, .. } = self;
        drop((waiting, links, gateway, device));
        assert_eq!(pool.available(), pool.capacity(), "buffers are lost");
        drop((pool, eal));
    }
}
