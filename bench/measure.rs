//! The inside of one measurement: a process of its own, because DPDK starts once in a process.

use std::time::{Duration, Instant};

use vtepd::control::Gateway;
use vtepd::dpdk::clock;
use vtepd::tables::FdbKey;
use vtepd::tables::learning::{LearnEvent, LearnRing};
use vtepd::telemetry::FdbEvent;

use crate::forwarders::Forwarding;
use crate::measurement::{Case, Direction, Means, Outcome, Variant, median};
use crate::rig::{Losses, Rig, start_dpdk};
use crate::testbed::{self, ACCESS, Fallible, UPLINK};
use crate::traffic::{Population, Station};

/// The time one value is taken over: short, so that a quiet moment of a busy machine is one.
const WINDOW: Duration = Duration::from_millis(10);
/// What caches and predictors get to settle in.
const SETTLING: Duration = Duration::from_millis(50);

/// Measures one variant in this process.
///
/// # Errors
/// Whatever keeps the result from meaning something: packets dropped or flooded among it.
pub fn measure(variant: Variant, case: &Case, means: &Means) -> Fallible<Outcome> {
    match variant {
        Variant::Io => measure_io(case, means),
        Variant::Gateway => measure_gateway(case, means),
        Variant::Ovs => Err("Open vSwitch is a process of its own".into()),
    }
}

fn measure_io(case: &Case, means: &Means) -> Fallible<Outcome> {
    let traffic = case.traffic(means.seed);
    let captures = traffic.captures(&testbed::traffic_folder())?;
    let config = testbed::config(&traffic, &Population::new(case.set, means.seed), &captures, &[means.core])?;
    let bed = start_dpdk(&config, means)?;
    let mut uplink = bed.open_bare(&config, UPLINK)?;
    let mut access = bed.open_bare(&config, ACCESS)?;
    let mut pairs = Vec::new();
    if case.direction.has_decap() {
        pairs.extend(uplink.receive.pop().zip(access.transmit.pop()));
    }
    if case.direction.has_encap() {
        pairs.extend(access.receive.pop().zip(uplink.transmit.pop()));
    }
    let forwarding = Forwarding::io(&bed.eal, means.core, pairs)?;
    sample(std::slice::from_ref(&forwarding), means, std::thread::sleep)
}

fn measure_gateway(case: &Case, means: &Means) -> Fallible<Outcome> {
    let traffic = case.traffic(means.seed);
    let captures = traffic.captures(&testbed::traffic_folder())?;
    let population = Population::new(case.set, means.seed);
    let config = testbed::config(&traffic, &population, &captures, &[means.core])?;
    let direction = case.direction;
    let receives = |port| if port == UPLINK { direction.has_decap() } else { direction.has_encap() };
    let mut rig = Rig::start(config, means, receives, |gateway, ring| introduce(gateway, ring, case, &population))?;
    measure_rig(&mut rig, population.station_count(), means)
}

/// Measures a gateway once it knows its stations.
///
/// # Errors
/// Where a packet was dropped or flooded while measured.
pub fn measure_rig(rig: &mut Rig, stations: usize, means: &Means) -> Fallible<Outcome> {
    rig.await_stations(stations)?;
    // A worker that the control loop interrupted still has to end a burst that it decided on before.
    rig.control_for(SETTLING);
    let before: Vec<Losses> = rig.workers.iter().map(|worker| Losses::of(&worker.telemetry)).collect();
    let workers = std::mem::take(&mut rig.workers);
    let outcome = sample(&workers, means, |time| rig.control_for(time));
    rig.workers = workers;
    for (before, worker) in before.iter().zip(&rig.workers) {
        before.refuse_any(&worker.telemetry)?;
    }
    Ok(Outcome {
        stations: rig.control.fdb.entries.get(),
        learned: rig.control.fdb.events(FdbEvent::Learned),
        ..outcome?
    })
}

/// Where one direction is measured alone, the stations on the other side do not speak: they are learned as if they
/// had.
fn introduce(gateway: &mut Gateway, ring: &LearnRing, case: &Case, population: &Population) -> Fallible<()> {
    if case.direction == Direction::Both {
        return Ok(());
    }
    let behind_remotes = case.direction == Direction::Encap;
    let silent = population.stations().filter(|station| station.remote.is_some() == behind_remotes);
    introduce_all(gateway, ring, case, silent)
}

/// Lets these stations be learned as if they had spoken.
///
/// # Errors
/// Where the gateway has no place for one.
pub fn introduce_all(
    gateway: &mut Gateway,
    ring: &LearnRing,
    case: &Case,
    stations: impl Iterator<Item = Station>,
) -> Fallible<()> {
    let running = gateway.running().load_full();
    for station in stations {
        let (bridge, location) = testbed::place(&station, &running.config, case.underlay, &running.registry)?;
        let event = LearnEvent { key: FdbKey::new(bridge, station.mac), location };
        while !ring.send(event) {
            gateway.round();
        }
    }
    gateway.round();
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

/// Measures window by window; `control` is what the calling thread does meanwhile, for a given time. Several workers'
/// cycles per packet are those of one that forwards as much as they do together.
///
/// # Errors
/// Where nothing was forwarded.
pub fn sample(workers: &[Forwarding], means: &Means, mut control: impl FnMut(Duration)) -> Fallible<Outcome> {
    let hz = clock::cycles_per_second();
    let read = || workers.iter().map(Reading::take).collect::<Fallible<Vec<_>>>();
    control(SETTLING);
    let first = read()?;
    let (mut last, mut windows) = (read()?, Vec::new());
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(means.milliseconds) {
        control(WINDOW);
        let now = read()?;
        let rate = |(now, last): (&Reading, &Reading)| {
            let cycles = (now.time - last.time) as f64 * hz as f64 / 1e9;
            if cycles > 0.0 { (now.packets - last.packets) as f64 / cycles } else { 0.0 }
        };
        let rate: f64 = now.iter().zip(&last).map(rate).sum();
        if rate > 0.0 {
            windows.push(1.0 / rate);
        }
        last = now;
    }
    let packets: u64 = last.iter().zip(&first).map(|(last, first)| last.packets - first.packets).sum();
    let cycles = last.first().zip(first.first()).map_or(0, |(last, first)| last.cycles - first.cycles);
    if packets == 0 {
        let had: u64 = last.iter().zip(&first).map(|(last, first)| last.time - first.time).sum();
        let why = if had == 0 { ": other processes had the worker's core all the time" } else { "" };
        return Err(format!("nothing was forwarded{why}").into());
    }
    Ok(Outcome {
        cycles: median(&windows),
        least: windows.iter().copied().fold(f64::INFINITY, f64::min),
        wall_cycles: cycles as f64 / packets as f64,
        packets,
        cycles_per_second: hz,
        stations: 0,
        learned: 0,
    })
}
