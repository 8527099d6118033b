//! The inside of one round: a gateway between rings, in a process of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::unistd::gettid;
use serde::{Deserialize, Serialize};
use vtepd::config::model::Idle;
use vtepd::control::{Gateway, PortFacts};
use vtepd::daemon::cores;
use vtepd::daemon::ports::WorkerQueues;
use vtepd::dpdk::{Device, OpenPort, PortOptions, clock};
use vtepd::tables::learning::LearnRing;
use vtepd::telemetry::{ControlTelemetry, DropReason};
use vtepd::wire::MacAddr;
use vtepd::worker::WorkerPort;
use vtepd::worker::outlet::Outlet;

use super::source::{Lane, Source, Tally, ends};
use crate::forwarders::Forwarding;
use crate::measurement::{Case, Means};
use crate::preemption::Preemption;
use crate::rig::{Losses, start_dpdk};
use crate::testbed::{self, ACCESS, Fallible, Testbed, UPLINK};
use crate::traffic::{Population, UPLINK_MAC};

/// The loads measured, in hundredths of the maximum.
pub const LOADS: [u32; 3] = [10, 50, 90];
/// The silences before a packet, in milliseconds, and how many of each.
const SILENCES: [(u64, usize); 3] = [(1, 300), (10, 100), (100, 20)];
/// What is offered while stations are learned, in packets a second.
const LEARNING: f64 = 1e6;
/// How long learning may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time that is judged whole: it counts unless a core was taken in it.
const WINDOW: Duration = Duration::from_millis(10);
/// How often control has a round, as in the daemon.
const CONTROL: Duration = Duration::from_millis(1);

/// Times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many there are.
    pub count: u64,
    /// Half of them take no longer.
    pub p50: f64,
    /// Nine in ten.
    pub p90: f64,
    /// All but one in a hundred.
    pub p99: f64,
    /// All but one in a thousand.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let nanoseconds = |cycles: u64| cycles as f64 * 1e9 / clock::cycles_per_second() as f64;
        let at = |quantile| nanoseconds(histogram.value_at_quantile(quantile));
        let (p50, p90, p99, p999) = (at(0.5), at(0.9), at(0.99), at(0.999));
        Self { count: histogram.len(), p50, p90, p99, p999, max: nanoseconds(histogram.max()) }
    }
}

/// What one load showed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    /// In hundredths of the maximum.
    pub share: u32,
    /// Millions of packets a second that reached the worker's rings.
    pub mpps: f64,
    /// Packets a burst, as a mean.
    pub packets_per_burst: f64,
    /// From receive to transmit of a burst.
    pub burst: Quantiles,
    /// From a packet's way into the ring to its way out on the far side.
    pub packet: Quantiles,
    /// Windows measured.
    pub windows: u64,
    /// Those in which nothing took the worker's core or the source's: the times are of these, where there are any.
    pub undisturbed: u64,
    /// Packets that found the ring full.
    pub refused: u64,
    /// Packets that were due and not sent, because the source was held up.
    pub skipped: u64,
    /// Packets that the worker could not send, because the far side was held up and its ring full.
    pub undrained: u64,
    /// What kept the worker from its core.
    pub preemption: Preemption,
}

/// What one round showed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Round {
    /// The most that the worker forwards, in millions of packets a second.
    pub maximum: f64,
    /// The share of its time for which it found no packet meanwhile: the source was slower than it.
    pub starved: f64,
    /// Each load.
    pub loads: Vec<Load>,
}

/// What an idle policy showed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Idling {
    /// The share of its core that the worker takes when nothing arrives.
    pub processor: f64,
    /// Sleeps a second meanwhile.
    pub sleeps: f64,
    /// The time of the first packet after each silence, by milliseconds of silence.
    pub silences: Vec<(u64, Quantiles)>,
}

struct Rig {
    worker: Forwarding,
    source: Source,
    /// The source's core.
    core: usize,
    gateway: Gateway,
    _bed: Testbed,
}

impl Rig {
    fn start(case: &Case, means: &Means, idle: Idle) -> Fallible<Self> {
        let traffic = case.traffic(means.seed);
        let population = Population::new(case.set, means.seed);
        // Of the capture files only the frames are used; the ports are rings.
        let captures = traffic.captures(&testbed::traffic_folder())?;
        let config = testbed::config(&traffic, &population, &captures, &[means.core])?;
        let bed = start_dpdk(&config, means)?;
        let aside = cores::for_control(&config.workers.cores);
        let core = aside.first().copied().filter(|core| *core != means.core && cores::pin(*core));
        let core = core.ok_or("the source needs a core of its own beside the worker's")?;
        let ring = |number: usize| -> Fallible<OpenPort> {
            let options = PortOptions { mtu: None, ..PortOptions::default() };
            Ok(Device::probe(&bed.eal, "ring", &format!("net_ring{number}"))?.open(&options, &bed.pool)?)
        };
        // What is sent to a ring comes back from it: of each, one end is the worker's and the other the source's.
        let (mut up_in, mut up_out, mut access_in, mut access_out) = (ring(0)?, ring(1)?, ring(2)?, ring(3)?);
        let [(feed_up, up), (to_up, up_sink), (feed_access, access), (to_access, access_sink)] =
            [ends(&mut up_in)?, ends(&mut up_out)?, ends(&mut access_in)?, ends(&mut access_out)?];
        let queues = WorkerQueues {
            ports: vec![WorkerPort { index: UPLINK, queue: up }, WorkerPort { index: ACCESS, queue: access }],
            outlets: vec![Outlet::queue(to_up), Outlet::queue(to_access)],
            inlets: Vec::new(),
        };
        let mtu = config.ports.first().and_then(|port| port.mtu).ok_or("no MTU")?;
        let facts = [UPLINK_MAC, MacAddr([2, 0, 0, 0, 0, 1])].map(|mac| PortFacts { mac, mtu, receivers: 1 }).to_vec();
        let learn = Arc::<LearnRing>::default();
        let control = Arc::new(ControlTelemetry::new());
        let gateway = Gateway::start(config, facts, vec![Arc::clone(&learn)], control)?;
        let worker = Forwarding::gateway(&bed.eal, means.core, queues, &bed.pool, learn, gateway.tables(), idle)?;
        let (frames, packets): (Vec<_>, Vec<_>) = traffic.packets(&population).unzip();
        let lanes = vec![
            Lane::new(feed_access, up_sink, frames.into_iter()),
            Lane::new(feed_up, access_sink, packets.into_iter()),
        ];
        let mut rig = Self { worker, source: Source::new(lanes, bed.pool.clone()), core, gateway, _bed: bed };
        rig.learn(population.station_count())?;
        Ok(rig)
    }

    fn learn(&mut self, stations: usize) -> Fallible<()> {
        let began = Instant::now();
        while self.gateway.tables().fdb.len() < stations {
            self.run(LEARNING, Duration::from_millis(10));
            if began.elapsed() > PATIENCE {
                return Err(format!("{} of {stations} were learned", self.gateway.tables().fdb.len()).into());
            }
        }
        self.settle()
    }

    /// Offers so many packets a second for a while, with control beside.
    fn run(&mut self, rate: f64, time: Duration) {
        let hz = clock::cycles_per_second() as f64;
        let cycles = |time: Duration| (time.as_secs_f64() * hz) as u64;
        let gateway = &mut self.gateway;
        self.source.run(rate / hz, cycles(time), cycles(CONTROL), || {
            gateway.round();
        });
    }

    /// Lets everything come out.
    fn settle(&mut self) -> Fallible<()> {
        let telemetry = Arc::clone(&self.worker.telemetry);
        let lost = || DropReason::ALL.iter().map(|reason| telemetry.dropped(*reason)).sum();
        if self.source.finish(10 * clock::cycles_per_second(), lost) {
            return Ok(());
        }
        let Tally { fed, drained, .. } = self.source.tally;
        Err(format!("of {fed} packets, {drained} came out and {} were dropped", lost()).into())
    }

    fn maximum(&mut self, time: Duration) -> Fallible<(f64, f64)> {
        self.run(f64::INFINITY, Duration::from_millis(50));
        let run = |worker: &Forwarding| {
            let run = &worker.telemetry.run;
            (run.packets.get(), run.busy_cycles.get(), run.idle_cycles.get())
        };
        let (before, processor) = (run(&self.worker), self.worker.processor_time()?);
        self.run(f64::INFINITY, time);
        let (after, processor) = (run(&self.worker), self.worker.processor_time()? - processor);
        self.settle()?;
        let idle = (after.2 - before.2) as f64;
        let starved = idle / (idle + (after.1 - before.1) as f64).max(1.0);
        Ok(((after.0 - before.0) as f64 / processor.max(1) as f64 * 1e3, starved))
    }

    fn load(&mut self, share: u32, rate: f64, time: Duration) -> Fallible<Load> {
        self.run(rate, Duration::from_millis(50));
        self.settle()?;
        let telemetry = Arc::clone(&self.worker.telemetry);
        let (losses, tally) = (Losses::of(&telemetry), self.source.tally);
        let first = self.counts()?;
        let (mut times, mut last, began) = (Times::new(&first), first.clone(), Instant::now());
        let mut fed_for = Duration::ZERO;
        while began.elapsed() < time {
            self.run(rate, WINDOW);
            fed_for += WINDOW;
            // Nothing is under way while counts are read, which takes long.
            self.settle()?;
            let now = self.counts()?;
            times.add(&last, &now)?;
            last = self.counts()?;
        }
        let undrained = losses.but_unsent(&telemetry)?;
        let done = self.source.tally;
        let (burst, packet) = times.judged();
        Ok(Load {
            share,
            mpps: (done.fed - tally.fed) as f64 / fed_for.as_secs_f64() / 1e6,
            packets_per_burst: (last.packets - first.packets) as f64 / (last.bursts - first.bursts).max(1) as f64,
            burst: Quantiles::of(burst),
            packet: Quantiles::of(packet),
            windows: times.windows,
            undisturbed: times.undisturbed,
            refused: done.refused - tally.refused,
            skipped: done.skipped - tally.skipped,
            undrained,
            preemption: last.worker.since(first.worker),
        })
    }

    fn counts(&self) -> Fallible<Counts> {
        let telemetry = &self.worker.telemetry;
        Ok(Counts {
            burst_time: telemetry.burst_time.to_histogram(),
            latency: self.source.latency.to_histogram(),
            bursts: telemetry.run.bursts.get(),
            packets: telemetry.run.packets.get(),
            worker: self.worker.preemption()?,
            source: Preemption::of(gettid().as_raw(), self.core)?,
        })
    }
}

/// All counts at one moment.
#[derive(Clone)]
struct Counts {
    burst_time: Histogram<u64>,
    latency: Histogram<u64>,
    bursts: u64,
    packets: u64,
    worker: Preemption,
    source: Preemption,
}

/// The times of bursts and of packets: those of windows in which both threads had their cores, and all.
struct Times {
    calm: [Histogram<u64>; 2],
    all: [Histogram<u64>; 2],
    windows: u64,
    undisturbed: u64,
}

impl Times {
    fn new(like: &Counts) -> Self {
        let empty = || [Histogram::new_from(&like.burst_time), Histogram::new_from(&like.latency)];
        Self { calm: empty(), all: empty(), windows: 0, undisturbed: 0 }
    }

    fn add(&mut self, before: &Counts, after: &Counts) -> Fallible<()> {
        let (mut burst, mut packet) = (after.burst_time.clone(), after.latency.clone());
        burst.subtract(&before.burst_time)?;
        packet.subtract(&before.latency)?;
        self.windows += 1;
        let calm = after.worker.since(before.worker).is_none() && after.source.since(before.source).is_none();
        self.undisturbed += u64::from(calm);
        for (kind, counts) in [burst, packet].iter().enumerate() {
            for histograms in [Some(&mut self.all), calm.then_some(&mut self.calm)].into_iter().flatten() {
                if let Some(histogram) = histograms.get_mut(kind) {
                    histogram.add(counts)?;
                }
            }
        }
        Ok(())
    }

    /// Bursts and packets of calm windows; of all where there was none.
    fn judged(&self) -> (&Histogram<u64>, &Histogram<u64>) {
        let [burst, packet] = if self.undisturbed > 0 { &self.calm } else { &self.all };
        (burst, packet)
    }
}

/// Measures the maximum, then each load.
///
/// # Errors
/// Where a packet was dropped, flooded or lost among it.
pub fn measure(case: &Case, means: &Means) -> Fallible<Round> {
    let mut rig = Rig::start(case, means, Idle::Poll)?;
    let time = Duration::from_millis(means.milliseconds);
    let (maximum, starved) = rig.maximum(time)?;
    let mut loads = Vec::new();
    for share in LOADS {
        crate::interrupt::check()?;
        loads.push(rig.load(share, maximum * 1e6 * f64::from(share) / 100.0, time)?);
    }
    Ok(Round { maximum, starved, loads })
}

/// Measures what the first packet after a silence takes, and what the silence costs.
///
/// # Errors
/// Where a packet did not come out.
pub fn measure_idling(case: &Case, means: &Means, idle: Idle) -> Fallible<Idling> {
    let mut rig = Rig::start(case, means, idle)?;
    let hz = clock::cycles_per_second();
    let mut silences = Vec::new();
    for (milliseconds, times) in SILENCES {
        let mut waits = Histogram::new(3)?;
        for _ in 0..times {
            crate::interrupt::check()?;
            std::thread::sleep(Duration::from_millis(milliseconds));
            waits.record(rig.source.send_one(hz).ok_or("a packet did not come out within a second")?)?;
        }
        silences.push((milliseconds, Quantiles::of(&waits)));
    }
    let sleeps = || rig.worker.telemetry.run.sleeps.get();
    let (began, time, slept) = (Instant::now(), rig.worker.processor_time()?, sleeps());
    std::thread::sleep(Duration::from_secs(1));
    let seconds = began.elapsed().as_secs_f64();
    let processor = (rig.worker.processor_time()? - time) as f64 / 1e9 / seconds;
    Ok(Idling { processor, sleeps: (sleeps() - slept) as f64 / seconds, silences })
}

const _: () = assert!(UPLINK.0 == 0 && ACCESS.0 == 1, "outlets are by port index");
