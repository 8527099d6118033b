//! What known stations' traffic keeps of its rate while others are learned, are refused because a table is full, and age.
//!
//! The two usual ports bring known traffic at full rate. A third port brings frames to known stations, so that nothing
//! is flooded, from sources of our choice.

mod third_port;

use std::time::{Duration, Instant};

use vtepd::dpdk::{PacketPool, clock};
use vtepd::telemetry::{Event, FdbEvent};

use self::third_port::ThirdPort;
use crate::measure::introduce_all;
use crate::measurement::{Direction, Means, median};
use crate::rig::{Losses, Rig};
use crate::scenarios::{Aim, Figure, case, config_for, figure};
use crate::testbed::{ACCESS, Fallible, UPLINK, age_after};
use crate::traffic::{Frames, Set, name_of};

/// New sources.
const NEWCOMERS: u32 = 1_000_000;
/// Sources on the third port that are known before: what their frames cost is not learning's cost.
const REGULARS: u32 = 8192;
/// Buffers of the third port's packets. They are of a pool of their own: a worker's buffers are filled by its own
/// receiving, as on a NIC, and not by the core that feeds the ring.
const BUFFERS: u32 = 4095;
/// New sources a second.
const PACE: f64 = 1.1e6;
/// As the config has it by default, and as short as it allows.
const AGEING: [Duration; 2] = [Duration::from_secs(300), Duration::from_secs(10)];
/// The time one value is taken over.
const WINDOW: Duration = Duration::from_millis(10);
/// What caches and predictors get to settle in.
const SETTLING: Duration = Duration::from_millis(50);
/// The control loop's pause where nothing was reported, as in the daemon.
const PAUSE: Duration = Duration::from_millis(1);
/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The unit of a share.
const OF_BEFORE: &str = "% of before";
/// The share of its rate that traffic is to keep, in percent.
pub const KEPT: f64 = 90.0;

/// Rates in millions of packets a second of the worker's processor time: the median over windows.
#[derive(Clone, Copy)]
struct Rates {
    /// Of the two usual ports.
    known: f64,
    /// Of all three.
    all: f64,
}

struct Meanwhile {
    rig: Rig,
    third: ThirdPort,
    /// Stations of the two usual ports.
    stations: usize,
    name: String,
    figures: Vec<Figure>,
}

/// Measures it for a set.
///
/// # Errors
/// Where a packet was dropped or flooded meanwhile, or known stations aged.
pub fn measure(set: Set, means: &Means) -> Fallible<Vec<Figure>> {
    let mut bench = Meanwhile::start(set, means)?;
    let telemetry = std::sync::Arc::clone(&bench.rig.workers.first().ok_or("no worker")?.telemetry);
    let losses = Losses::of(&telemetry);
    let time = Duration::from_millis(means.milliseconds);
    bench.learn(time)?;
    bench.fill(time)?;
    bench.age(time)?;
    bench.limit(time)?;
    losses.refuse_any(&telemetry)?;
    Ok(bench.figures)
}

impl Meanwhile {
    /// A gateway that knows all stations, and the regulars.
    fn start(set: Set, means: &Means) -> Fallible<Self> {
        let case = case(set, Frames::Short, Direction::Both);
        let (mut config, population) = config_for(&case, means, &[means.core])?;
        let stations = population.station_count();
        // The newcomers fill it.
        config.fdb.max_entries = stations as u32 + REGULARS + NEWCOMERS;
        age_after(&mut config, AGEING[0]);
        let mut ends = None;
        let rig = Rig::start_with(
            config,
            means,
            |_| true,
            |bed, config, workers| {
                let (facts, feed, sink) = ThirdPort::open(bed, config, workers)?;
                ends = Some((feed, sink));
                Ok(vec![facts])
            },
            |gateway, ring| introduce_all(gateway, ring, &case, population.stations()),
        )?;
        let registry = rig.gateway.running().load().registry.clone();
        let ends = ends.ok_or("no third port")?;
        let third = ThirdPort::new(
            ends,
            PacketPool::create(&rig.bed.eal, BUFFERS)?,
            &case.traffic(means.seed),
            &population,
            &registry,
        )?;
        let name = format!("{} set", name_of(&set));
        let mut bench = Self { rig, third, stations, name, figures: Vec::new() };
        bench.third.choose(NEWCOMERS..NEWCOMERS + REGULARS);
        bench.await_entries(stations + REGULARS as usize)?;
        Ok(bench)
    }

    fn note(&mut self, what: &str, value: f64, unit: &str) -> &mut Figure {
        let what = format!("{}: {what}", self.name);
        self.figures.push(figure(&what, value, unit));
        let last = self.figures.len() - 1;
        &mut self.figures[last]
    }

    /// Notes the share of the rate that known traffic keeps while the third port is silent.
    fn note_silent(&mut self, when: &str, rates: Rates, before: f64) {
        self.note(&format!("known traffic {when}"), rates.known / before * 100.0, OF_BEFORE);
    }

    /// Notes the share of the rate that known traffic keeps beside the third port's, and that both have together.
    fn note_shares(&mut self, beside: &str, rates: Rates, before: f64) {
        self.note(&format!("known traffic beside {beside}"), rates.known / before * 100.0, OF_BEFORE);
        self.note(&format!("all traffic with {beside}"), rates.all / before * 100.0, OF_BEFORE);
    }

    /// Learns a million MACs.
    fn learn(&mut self, time: Duration) -> Fallible<()> {
        let before = self.rates(0.0, time)?.known;
        self.note("known traffic before", before, "Mpps of processor time");
        let regular = self.rates(PACE, time)?;
        self.note_shares("1.1 M/s of known sources", regular, before);

        let lost = self.event(Event::LearnLost);
        self.third.choose(0..NEWCOMERS);
        let (began, full) = (Instant::now(), self.stations + (REGULARS + NEWCOMERS) as usize);
        let rates = self.rates_until(PACE, |bench, _| bench.third.is_through())?;
        self.await_entries(full)?;
        let seconds = began.elapsed().as_secs_f64();
        self.note("learned", f64::from(NEWCOMERS) / 1e6 / seconds, "million per second").aim = Some(Aim::AtLeast(1.0));
        self.note_shares("1.1 M/s of new sources", rates, before);
        let share = rates.known / regular.known * 100.0;
        self.note("known traffic, new sources against known ones", share, "%").aim = Some(Aim::AtLeast(KEPT));
        let lost = self.event(Event::LearnLost) - lost;
        self.note("reports that found the ring full", lost as f64, "");
        let after = self.rates(0.0, time)?;
        self.note_silent("after a million were learned", after, before);
        Ok(())
    }

    /// The FDB is full, and unknown sources go on.
    fn fill(&mut self, time: Duration) -> Fallible<()> {
        let before = self.rates(0.0, time)?.known;
        let regular = self.regulars_at_full_rate(time)?;
        self.third.choose(NEWCOMERS + REGULARS..2 * NEWCOMERS);
        let rates = self.rates(f64::INFINITY, time)?;
        self.note_shares("known sources at full rate", regular, before);
        self.note_shares("unknown sources, table full", rates, before);
        self.note("all, unknown sources against known ones", rates.all / regular.all * 100.0, "%");
        Ok(())
    }

    fn regulars_at_full_rate(&mut self, time: Duration) -> Fallible<Rates> {
        self.third.choose(NEWCOMERS..NEWCOMERS + REGULARS);
        self.rates(f64::INFINITY, time)
    }

    /// All that was learned from the third port ages out, within a tick or two.
    fn age(&mut self, time: Duration) -> Fallible<()> {
        self.rates(0.0, SETTLING)?;
        let mut config = self.rig.gateway.running().load().config.as_ref().clone();
        age_after(&mut config, AGEING[1]);
        self.rig.gateway.apply(config)?;
        let all = self.rig.gateway.tables().fdb.len();
        let aged = |bench: &Self| bench.rig.control.fdb.events(FdbEvent::Aged);
        let first = aged(self);
        let before = self.rates_until(0.0, |bench, _| aged(bench) > first)?.known;
        let (began, stations) = (Instant::now(), self.stations);
        let rates = self.rates_until(0.0, |bench, _| bench.rig.gateway.tables().fdb.len() <= stations)?;
        let seconds = began.elapsed().as_secs_f64();
        let left = self.rig.gateway.tables().fdb.len();
        if left != stations {
            return Err(format!("{left} of {stations} known stations are left").into());
        }
        let rate = (all - stations) as f64 / 1e6 / seconds;
        self.note("aged out", rate, "million per second").aim = Some(Aim::AtLeast(1.0));
        let share = rates.known / before * 100.0;
        self.note("known traffic while a million age out", share, OF_BEFORE).aim = Some(Aim::AtLeast(KEPT));
        let after = self.rates(0.0, time)?;
        self.note_silent("after a million aged out", after, before);
        Ok(())
    }

    /// Every bridge has as many addresses as it may, and unknown sources go on.
    fn limit(&mut self, time: Duration) -> Fallible<()> {
        let mut config = self.rig.gateway.running().load().config.as_ref().clone();
        age_after(&mut config, AGEING[0]);
        self.rig.gateway.apply(config.clone())?;
        self.third.choose(NEWCOMERS..NEWCOMERS + REGULARS);
        self.await_entries(self.stations + REGULARS as usize)?;
        config.bridges.iter_mut().for_each(|bridge| bridge.max_macs = Some(1));
        self.rig.gateway.apply(config)?;
        let regular = self.regulars_at_full_rate(time)?;
        self.third.choose(0..NEWCOMERS);
        let rates = self.rates(f64::INFINITY, time)?;
        self.note("all, sources over max_macs against known ones", rates.all / regular.all * 100.0, "%");
        Ok(())
    }

    fn event(&self, event: Event) -> u64 {
        self.rig.workers.first().map_or(0, |worker| worker.telemetry.events(event))
    }

    /// Lets the third port's sources send until all are learned. One whose report was lost sends again.
    fn await_entries(&mut self, entries: usize) -> Fallible<()> {
        let began = Instant::now();
        loop {
            while !self.third.is_through() {
                self.run(PACE, WINDOW);
                if began.elapsed() > PATIENCE {
                    return Err("the third port's frames do not get through".into());
                }
            }
            self.run(0.0, WINDOW);
            let fdb = &self.rig.gateway.tables().fdb;
            if fdb.len() >= entries {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("{} of {entries} MAC addresses were learned", fdb.len()).into());
            }
            let missing: Vec<u32> = self
                .third
                .sources()
                .filter(|&source| fdb.lookup(&fdb.probe(self.third.key(source))).is_none())
                .collect();
            self.third.choose(missing);
        }
    }

    /// The rates over a time.
    fn rates(&mut self, rate: f64, time: Duration) -> Fallible<Rates> {
        self.run(rate, SETTLING);
        self.rates_until(rate, |_, passed| passed >= time)
    }

    /// The rates until something is so, while the third port brings `rate` packets a second.
    fn rates_until(&mut self, rate: f64, is_over: impl Fn(&Self, Duration) -> bool) -> Fallible<Rates> {
        let began = Instant::now();
        let (mut known, mut all, mut last) = (Vec::new(), Vec::new(), self.reading()?);
        while !is_over(self, began.elapsed()) {
            crate::interrupt::check()?;
            if began.elapsed() > PATIENCE {
                return Err("what was waited for did not come".into());
            }
            self.run(rate, WINDOW);
            let now = self.reading()?;
            // Millions a second are thousands a microsecond, and the time is in nanoseconds.
            let each = |now: u64, before: u64, time: u64| (now - before) as f64 / time as f64 * 1e3;
            let time = now.0 - last.0;
            if time > 0 {
                known.push(each(now.1, last.1, time));
                all.push(each(now.2, last.2, time));
            }
            last = now;
        }
        Ok(Rates { known: median(&known), all: median(&all) })
    }

    /// The worker's processor time, its packets from the two usual ports, and all its packets.
    fn reading(&self) -> Fallible<(u64, u64, u64)> {
        let worker = self.rig.workers.first().ok_or("no worker")?;
        let received = |port| worker.telemetry.port(port).received().packets();
        let time = worker.processor_time()?;
        Ok((time, received(UPLINK) + received(ACCESS), worker.telemetry.run.packets.get()))
    }

    /// For a time, the third port brings `rate` packets a second, and the control loop runs as in the daemon. It never
    /// sleeps, so that the worker's neighbour is the same in all that is compared.
    fn run(&mut self, rate: f64, time: Duration) {
        let cycles = |time: Duration| (time.as_secs_f64() * clock::cycles_per_second() as f64) as u64;
        let (began, time, pause) = (clock::cycles(), cycles(time), cycles(PAUSE));
        let mut next_round = 0;
        loop {
            let passed = clock::cycles() - began;
            if passed >= time {
                break;
            }
            self.third.feed(rate);
            if passed >= next_round {
                next_round = if self.rig.gateway.round() == 0 { passed + pause } else { passed };
            }
        }
    }
}
