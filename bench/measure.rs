//! The inside of one measurement: a process of its own, because DPDK starts once in a process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vtepd::config::Config;
use vtepd::control::{Gateway, PortFacts};
use vtepd::daemon::{cores, ports};
use vtepd::dpdk::clock;
use vtepd::tables::FdbKey;
use vtepd::tables::learning::{LearnEvent, LearnRing};
use vtepd::telemetry::{ControlTelemetry, DropReason, Event, FdbEvent, WorkerTelemetry};

use crate::forwarders::Forwarding;
use crate::measurement::{Case, Direction, Means, Outcome, Variant, median};
use crate::testbed::{self, ACCESS, Fallible, Testbed, UPLINK};
use crate::traffic::Population;

/// The time one value is taken over: short, so that a quiet moment of a busy machine is one.
const WINDOW: Duration = Duration::from_millis(10);
/// What caches and predictors get to settle in.
const SETTLING: Duration = Duration::from_millis(50);
/// The pause of the control loop, as in the daemon.
const PAUSE: Duration = Duration::from_millis(1);
/// How long learning may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures one variant in this process.
///
/// # Errors
/// Whatever keeps the result from meaning something: packets dropped or flooded among it.
pub fn measure(variant: Variant, case: &Case, means: &Means) -> Fallible<Outcome> {
    let traffic = case.traffic(means.seed);
    let captures = traffic.captures(&testbed::traffic_folder())?;
    let population = Population::new(case.set, means.seed);
    let config = testbed::config(&traffic, &population, &captures, &[means.core])?;
    cores::check(&config.workers.cores)?;
    let control_cores = cores::for_control(&config.workers.cores);
    cores::keep_to(&control_cores);
    let bed = Testbed::start(&config, means, control_cores)?;
    match variant {
        Variant::Io => measure_io(&bed, &config, case, means),
        Variant::Gateway => measure_gateway(&bed, config, case, means, &population),
        Variant::Ovs => Err("Open vSwitch is a process of its own".into()),
    }
}

fn measure_io(bed: &Testbed, config: &Config, case: &Case, means: &Means) -> Fallible<Outcome> {
    let mut uplink = bed.open_bare(config, UPLINK)?;
    let mut access = bed.open_bare(config, ACCESS)?;
    let mut pairs = Vec::new();
    if case.direction.has_decap() {
        pairs.extend(uplink.receive.pop().zip(access.transmit.pop()));
    }
    if case.direction.has_encap() {
        pairs.extend(access.receive.pop().zip(uplink.transmit.pop()));
    }
    let forwarding = Forwarding::io(&bed.eal, means.core, pairs)?;
    sample(&forwarding, means, || {})
}

fn measure_gateway(
    bed: &Testbed,
    config: Config,
    case: &Case,
    means: &Means,
    population: &Population,
) -> Fallible<Outcome> {
    let (ports, mut queues) = ports::open(&bed.eal, &config, &bed.pool)?;
    let facts: Vec<PortFacts> = ports.iter().map(|port| port.facts).collect();
    testbed::check_uplink(facts.first().map(|facts| facts.mac))?;
    let mut queues = queues.pop().ok_or("no queues")?;
    queues.ports.retain(|port| match port.index {
        UPLINK => case.direction.has_decap(),
        _ => case.direction.has_encap(),
    });
    let (ring, control) = (Arc::new(LearnRing::new()), Arc::new(ControlTelemetry::new()));
    let mut gateway = Gateway::start(config, facts, vec![Arc::clone(&ring)], Arc::clone(&control))?;
    introduce(&mut gateway, &ring, case, population)?;
    let forwarding = Forwarding::gateway(&bed.eal, means.core, queues, &bed.pool, ring, gateway.tables())?;
    await_learning(&mut gateway, population.station_count())?;
    let before = Losses::of(&forwarding.telemetry);
    let mut outcome = sample(&forwarding, means, || {
        gateway.round();
    })?;
    before.refuse_more(&forwarding.telemetry)?;
    outcome.stations = control.fdb.entries.get();
    outcome.learned = control.fdb.events(FdbEvent::Learned);
    Ok(outcome)
}

/// Where one direction is measured alone, the stations on the other side do not speak: they are learned as if they
/// had.
fn introduce(gateway: &mut Gateway, ring: &LearnRing, case: &Case, population: &Population) -> Fallible<()> {
    if case.direction == Direction::Both {
        return Ok(());
    }
    let running = gateway.running().load_full();
    let behind_remotes = case.direction == Direction::Encap;
    for station in population.stations().filter(|station| station.remote.is_some() == behind_remotes) {
        let (bridge, location) = testbed::place(&station, population, case.underlay, &running.registry)?;
        let event = LearnEvent { key: FdbKey::new(bridge, station.mac), location };
        while !ring.send(event) {
            gateway.round();
        }
    }
    gateway.round();
    Ok(())
}

fn await_learning(gateway: &mut Gateway, stations: usize) -> Fallible<()> {
    let began = Instant::now();
    while gateway.tables().fdb.len() < stations {
        if gateway.round() == 0 {
            std::thread::sleep(PAUSE);
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("{} of {stations} MAC addresses were learned", gateway.tables().fdb.len()).into());
        }
    }
    Ok(())
}

/// What a forwarding thread has done up to a moment.
struct Reading {
    time: u64,
    cycles: u64,
    packets: u64,
}

impl Reading {
    fn take(forwarding: &Forwarding) -> Fallible<Self> {
        // The count between the two clocks, which are read within a microsecond.
        let time = forwarding.processor_time()?;
        Ok(Self { time, packets: forwarding.telemetry.run.packets.get(), cycles: clock::cycles() })
    }
}

/// Measures window by window; `control` runs between.
fn sample(forwarding: &Forwarding, means: &Means, mut control: impl FnMut()) -> Fallible<Outcome> {
    let hz = clock::cycles_per_second();
    let mut run_for = |time: Duration| {
        let began = Instant::now();
        while began.elapsed() < time {
            control();
            std::thread::sleep(PAUSE);
        }
    };
    run_for(SETTLING);
    let first = Reading::take(forwarding)?;
    let mut last = Reading { ..first };
    let mut windows = Vec::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(means.milliseconds) {
        run_for(WINDOW);
        let now = Reading::take(forwarding)?;
        let (packets, time) = (now.packets - last.packets, now.time - last.time);
        if packets > 0 {
            windows.push(time as f64 * hz as f64 / 1e9 / packets as f64);
        }
        last = now;
    }
    let packets = last.packets - first.packets;
    if packets == 0 {
        return Err("nothing was forwarded".into());
    }
    Ok(Outcome {
        cycles: median(&windows),
        least: windows.iter().copied().fold(f64::INFINITY, f64::min),
        wall_cycles: (last.cycles - first.cycles) as f64 / packets as f64,
        packets,
        cycles_per_second: hz,
        stations: 0,
        learned: 0,
    })
}

/// What a worker has not forwarded as it should.
struct Losses {
    drops: Vec<(DropReason, u64)>,
    floods: u64,
}

impl Losses {
    fn of(telemetry: &WorkerTelemetry) -> Self {
        Self {
            drops: DropReason::ALL.iter().map(|reason| (*reason, telemetry.dropped(*reason))).collect(),
            floods: telemetry.events(Event::FloodedFrame),
        }
    }

    fn refuse_more(&self, telemetry: &WorkerTelemetry) -> Fallible<()> {
        let now = Self::of(telemetry);
        for ((reason, before), (_, after)) in self.drops.iter().zip(&now.drops) {
            if after > before {
                return Err(format!("{} packets were dropped while measured: {reason:?}", after - before).into());
            }
        }
        if now.floods > self.floods {
            return Err(format!("{} frames were flooded while measured", now.floods - self.floods).into());
        }
        Ok(())
    }
}
