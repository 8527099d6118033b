//! What the gateway keeps of its rate while a tenth of all that it forwards is from stations that it has to learn.
//!
//! The two usual ports bring a million frames each, over and over. One in five of those that arrive at the uplink is from a
//! station of its own, behind a remote VTEP that nobody else is behind; it is for a known station, so nothing is flooded.
//! The first time round, these are learned. From then on they are known, and **the same packets** teach nothing: that is
//! the rate to compare with. Then the remote VTEP is flushed, and it begins again, until a million were learned.
//!
//! Newcomers and known stations share ports and bursts here, as they do in a data centre; a third port with newcomers
//! alone ([`crate::meanwhile`]) brings small bursts, which cost more per packet, whoever is in them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vtepd::config::model;
use vtepd::control::FdbRequest;
use vtepd::control::learning::FlushOrder;
use vtepd::telemetry::Event;
use vtepd::wire::MacAddr;

use crate::meanwhile::KEPT;
use crate::measure::introduce_all;
use crate::measurement::{Direction, Means, median};
use crate::rig::{Losses, Rig};
use crate::scenarios::{Aim, Figure, case, figure};
use crate::testbed::{self, Fallible, UPLINK};
use crate::traffic::{Captures, FORMAT, Frames, Population, Set, Station, name_of, neighbour_mac};

/// Frames that each port brings before it begins anew.
pub const FLOWS: u32 = 1_000_000;
/// One in so many packets of the uplink is a newcomer's.
const SHARE: u32 = 5;
/// Newcomers.
const NEWCOMERS: u32 = FLOWS / SHARE;
/// How many are to be learned while that is measured.
const TO_LEARN: u32 = 1_000_000;
/// The time one rate is taken over.
const WINDOW: Duration = Duration::from_millis(10);
/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// A pass is over when so many of a hundred newcomers are known: the last ones share their windows with those that were
/// learned while the flush was under way.
const PERCENT_OF_A_PASS: usize = 95;

struct Newcomers {
    rig: Rig,
    /// The known stations.
    stations: usize,
    /// All that is behind the newcomers' remote VTEP.
    order: FlushOrder,
}

/// What was seen until something was so.
struct Windows {
    /// Millions of packets a second of the worker's processor time: the median.
    rate: f64,
    /// How many there were.
    count: usize,
    /// Stations learned.
    learned: usize,
    /// What it took.
    time: Duration,
}

/// Measures it for a set.
///
/// # Errors
/// Where a packet was dropped or flooded.
pub fn measure(set: Set, means: &Means) -> Fallible<Vec<Figure>> {
    let mut bench = Newcomers::start(set, means)?;
    let telemetry = Arc::clone(&bench.rig.workers.first().ok_or("no worker")?.telemetry);
    bench.rig.await_stations(bench.stations + NEWCOMERS as usize)?;
    let (losses, refused) = (Losses::of(&telemetry), telemetry.events(Event::LearnLost));
    let (mut rates, mut kept, mut learned, mut time) = (Vec::new(), Vec::new(), 0, Duration::ZERO);
    while learned < TO_LEARN as usize {
        bench.flush()?;
        let enough = bench.stations + NEWCOMERS as usize * PERCENT_OF_A_PASS / 100;
        let learning = bench.rate_until(|bench, _| bench.entries() >= enough)?;
        bench.rig.await_stations(bench.stations + NEWCOMERS as usize)?;
        let known = bench.rate_until(|_, windows| windows >= learning.count)?;
        learned += learning.learned;
        time += learning.time;
        rates.push(known.rate);
        kept.push(learning.rate / known.rate * 100.0);
    }
    losses.refuse_any(&telemetry)?;
    let (name, refused) = (name_of(&set), telemetry.events(Event::LearnLost) - refused);
    let figure = |what: &str, value, unit| figure(&format!("{name} set, a tenth is newcomers': {what}"), value, unit);
    Ok(vec![
        figure("rate, all known", median(&rates), "Mpps of processor time"),
        figure("learned", learned as f64 / 1e6 / time.as_secs_f64(), "million per second").aim(Aim::AtLeast(1.0)),
        figure("rate while they are learned", median(&kept), "%").aim(Aim::AtLeast(KEPT)),
        figure("reports that found the ring full", refused as f64, ""),
    ])
}

impl Newcomers {
    /// A gateway that knows all stations but the newcomers.
    fn start(set: Set, means: &Means) -> Fallible<Self> {
        let case = case(set, Frames::Short, Direction::Both);
        let (traffic, population) = (case.traffic(means.seed), Population::with_flows(set, means.seed, FLOWS));
        let vtep = population.numbers().remotes;
        let speaker = |flow: u32, station: Station| match flow % SHARE {
            0 => Station { mac: mac(flow), remote: Some(vtep), ..station },
            _ => station,
        };
        let packets = traffic.packets_spoken_by(&population, speaker).map(|(frame, packet, _)| (frame, packet));
        let stem = format!("newcomers-{}-{FLOWS}-{SHARE}-{}-v{FORMAT}", name_of(&set), means.seed);
        let captures = Captures::in_folder(&testbed::traffic_folder(), &stem, packets)?;
        let mut config = testbed::config(&traffic, &population, &captures, &[means.core])?;
        let address = case.underlay.remote(vtep);
        config.bridges.iter_mut().for_each(|bridge| bridge.remotes.push(address));
        config.neighbours.push(model::Neighbour { address, mac: neighbour_mac(vtep), port: UPLINK });
        let stations = population.station_count();
        config.fdb.max_entries = (stations as u32 + NEWCOMERS).next_power_of_two();
        let rig = Rig::start(
            config,
            means,
            |_| true,
            |gateway, ring| introduce_all(gateway, ring, &case, population.stations()),
        )?;
        let tunnel = rig.gateway.running().load().registry.tunnel(address).ok_or("no tunnel of the newcomers")?;
        Ok(Self { rig, stations, order: FlushOrder { tunnel: Some(tunnel), ..FlushOrder::default() } })
    }

    fn entries(&self) -> usize {
        self.rig.gateway.tables().fdb.len()
    }

    /// Lets the newcomers be forgotten.
    fn flush(&mut self) -> Fallible<()> {
        let (answer, answered) = crossbeam::channel::bounded(1);
        self.rig.gateway.serve(FdbRequest::Flush(self.order, answer));
        let began = Instant::now();
        while answered.is_empty() {
            self.rig.control_for(Duration::ZERO);
            if began.elapsed() > PATIENCE {
                return Err("the flush has no end".into());
            }
        }
        Ok(())
    }

    /// The rate until something is so, of how many windows there were.
    fn rate_until(&mut self, is_over: impl Fn(&Self, usize) -> bool) -> Fallible<Windows> {
        let (began, before) = (Instant::now(), self.entries());
        let (mut rates, mut last) = (Vec::new(), self.reading()?);
        while !is_over(self, rates.len()) {
            crate::interrupt::check()?;
            if began.elapsed() > PATIENCE {
                return Err("the newcomers are not learned".into());
            }
            self.rig.control_for(WINDOW);
            let now = self.reading()?;
            if now.0 > last.0 {
                // Millions a second are thousands a microsecond, and the time is in nanoseconds.
                rates.push((now.1 - last.1) as f64 / (now.0 - last.0) as f64 * 1e3);
            }
            last = now;
        }
        let learned = self.entries().saturating_sub(before);
        Ok(Windows { rate: median(&rates), count: rates.len(), learned, time: began.elapsed() })
    }

    /// The worker's processor time, and its packets.
    fn reading(&self) -> Fallible<(u64, u64)> {
        let worker = self.rig.workers.first().ok_or("no worker")?;
        Ok((worker.processor_time()?, worker.telemetry.run.packets.get()))
    }
}

/// The address of a newcomer. The stations of a population begin with another byte.
fn mac(flow: u32) -> MacAddr {
    // An odd factor maps the 40 bits one to one.
    MacAddr::from_u64(0x06 << 40 | u64::from(flow).wrapping_mul(0x9e_3779_b97f) & 0xff_ffff_ffff)
}
