//! Learning and ageing, start and reload, and memory, with 4000 bridges and a million MAC addresses.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vtepd::config::Config;
use vtepd::control::learning::FlushOrder;
use vtepd::control::{FdbRequest, Gateway, PortFacts};
use vtepd::tables::learning::{LearnEvent, LearnRing};
use vtepd::tables::{FdbKey, LocationKind};
use vtepd::telemetry::{ControlTelemetry, Event, FdbEvent};
use vtepd::wire::MacAddr;

use crate::measure::measure_rig;
use crate::measurement::{Case, Direction, Means};
use crate::rig::Rig;
use crate::scenarios::{Aim, Figure, case, config_for, figure};
use crate::testbed::{self, ACCESS, Fallible, age_after};
use crate::traffic::{Captures, Frames, Population, Set, UPLINK_MAC, Underlay};

/// Ageing as short as the config allows, so that it is seen.
const AGEING: Duration = Duration::from_secs(10);

/// A million stations that nobody knows begin to talk at once, and fall silent at once.
pub fn learning(means: &Means) -> Fallible<Vec<Figure>> {
    let case = case(Set::Large, Frames::Short, Direction::Both);
    let (mut config, population) = config_for(&case, means, &[means.core])?;
    age_after(&mut config, AGEING);
    let stations = population.station_count();
    let mut rig = Rig::start(config, means, |_| true, |_, _| Ok(()))?;
    let (began, packets) = (Instant::now(), rig.workers.first().map_or(0, |worker| worker.telemetry.run.packets.get()));
    let time = |rig: &Rig| rig.workers.first().map_or(Ok(0), |worker| worker.processor_time());
    let first = time(&rig)?;
    rig.await_stations(stations)?;
    let (seconds, processor) = (began.elapsed().as_secs_f64(), time(&rig)? - first);
    let worker = rig.workers.first().ok_or("no worker")?;
    let meanwhile = (worker.telemetry.run.packets.get() - packets) as f64 / processor.max(1) as f64 * 1e3;
    let lost = worker.telemetry.events(Event::LearnLost) as f64;
    let known = measure_rig(&mut rig, stations, means)?.mpps();
    rig.workers.clear();
    while rig.control.fdb.events(FdbEvent::Aged) == 0 {
        rig.control_for(Duration::ZERO);
    }
    let silent = Instant::now();
    while !rig.gateway.tables().fdb.is_empty() {
        rig.control_for(Duration::ZERO);
    }
    let rate = |seconds: f64| stations as f64 / 1e6 / seconds;
    let aged = silent.elapsed().as_secs_f64();
    let mut figures = vec![
        figure("learning a million MACs: rate", rate(seconds), PER_SECOND).aim(Aim::AtLeast(1.0)),
        figure("learning a million MACs: forwarding meanwhile, floods included", meanwhile, "Mpps of processor time"),
        figure("learning a million MACs: forwarding afterwards", known, "Mpps of processor time"),
        figure("learning a million MACs: reports that found the ring full", lost, ""),
        figure("ageing out a million MACs, spread over an age tick: rate", rate(aged), PER_SECOND)
            .aim(Aim::AtLeast(1.0)),
    ];
    drop(rig);
    let Alone { learned, flushed, flushed_some, aged } = rounds_alone(&case, &population, means)?;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    figures.extend([
        figure("flushing a million MACs: the control rounds alone", rate(flushed.all.as_secs_f64()), PER_SECOND)
            .aim(Aim::AtLeast(1.0)),
        figure("flushing a million MACs: the longest of these rounds", milliseconds(flushed.longest), "ms"),
        figure("learning a million MACs: the control rounds alone", rate(learned.as_secs_f64()), PER_SECOND)
            .aim(Aim::AtLeast(1.0)),
        figure("ageing out a million MACs: one control round alone", rate(aged.as_secs_f64()), PER_SECOND)
            .aim(Aim::AtLeast(1.0)),
    ]);
    for (which, gone, rounds) in flushed_some {
        let what = format!("flushing {which}, {gone} of a million MACs: until it is done");
        figures.push(figure(&what, milliseconds(rounds.all), "ms"));
    }
    Ok(figures)
}

const PER_SECOND: &str = "million per second";

/// How long control rounds take with no worker around.
struct Alone {
    /// Those that learn every station.
    learned: Duration,
    /// Those that flush every station.
    flushed: Rounds,
    /// Those that flush one station in whichever bridge it is, a bridge, what is behind a port and behind a remote VTEP,
    /// with how many entries each of that was.
    flushed_some: Vec<(&'static str, usize, Rounds)>,
    /// The one that ages all out.
    aged: Duration,
}

/// How long rounds take, and the longest of them.
struct Rounds {
    all: Duration,
    longest: Duration,
}

fn rounds_alone(case: &Case, population: &Population, means: &Means) -> Fallible<Alone> {
    let mut config = config_without_devices(case, population, means)?;
    age_after(&mut config, AGEING);
    let (ring, telemetry) = (Arc::new(LearnRing::new()), Arc::new(ControlTelemetry::new()));
    let mut gateway = Gateway::start(config, facts(), vec![Arc::clone(&ring)], telemetry)?;
    let running = gateway.running().load_full();
    let mut events = Vec::with_capacity(population.station_count());
    for station in population.stations() {
        let (bridge, location) = testbed::place(&station, &running.config, case.underlay, &running.registry)?;
        events.push(LearnEvent { key: FdbKey::new(bridge, station.mac), location });
    }
    let now = Instant::now();
    let learned = learn_all(&mut gateway, &ring, &events, now)?;
    let mut flushed_some = Vec::new();
    for (which, order) in orders(&events)? {
        let rounds = flush(&mut gateway, order, now)?;
        flushed_some.push((which, events.len() - gateway.tables().fdb.len(), rounds));
        learn_all(&mut gateway, &ring, &events, now)?;
    }
    let flushed = flush(&mut gateway, FlushOrder::default(), now)?;
    if !gateway.tables().fdb.is_empty() {
        return Err(format!("{} MACs were not flushed", gateway.tables().fdb.len()).into());
    }
    learn_all(&mut gateway, &ring, &events, now)?;
    let began = Instant::now();
    gateway.round_at(now + 2 * AGEING);
    let ageing = began.elapsed();
    if !gateway.tables().fdb.is_empty() {
        return Err(format!("{} MACs did not age", gateway.tables().fdb.len()).into());
    }
    Ok(Alone { learned, flushed, flushed_some, aged: ageing })
}

/// What is flushed of these besides all.
fn orders(events: &[LearnEvent]) -> Fallible<[(&'static str, FlushOrder); 4]> {
    let nothing = FlushOrder::default();
    let first = events.first().ok_or("no stations")?;
    let tunnel = events.iter().find_map(|event| match event.location.kind() {
        LocationKind::Tunnel(tunnel) => Some(tunnel),
        LocationKind::Access(_) => None,
    });
    Ok([
        ("a station", FlushOrder { mac: Some(first.key.mac()), ..nothing }),
        ("a bridge", FlushOrder { bridge: Some(first.key.bridge()), ..nothing }),
        ("a port", FlushOrder { port: Some(ACCESS), ..nothing }),
        ("a remote VTEP", FlushOrder { tunnel, ..nothing }),
    ])
}

/// How long the rounds take that learn all this.
fn learn_all(gateway: &mut Gateway, ring: &LearnRing, events: &[LearnEvent], now: Instant) -> Fallible<Duration> {
    let mut learning = Duration::ZERO;
    for burst in events.chunks(LearnRing::CAPACITY) {
        if !burst.iter().all(|event| ring.send(*event)) {
            return Err("the ring is full".into());
        }
        let began = Instant::now();
        gateway.round_at(now);
        learning += began.elapsed();
    }
    let entries = gateway.tables().fdb.len();
    if entries != events.len() {
        return Err(format!("{entries} of {} MACs were learned", events.len()).into());
    }
    Ok(learning)
}

/// How long the rounds take until this is flushed.
fn flush(gateway: &mut Gateway, order: FlushOrder, now: Instant) -> Fallible<Rounds> {
    let (answer, answered) = crossbeam::channel::bounded(1);
    gateway.serve(FdbRequest::Flush(order, answer));
    let mut rounds = Rounds { all: Duration::ZERO, longest: Duration::ZERO };
    while answered.is_empty() {
        let began = Instant::now();
        gateway.round_at(now);
        rounds.all += began.elapsed();
        rounds.longest = rounds.longest.max(began.elapsed());
        if rounds.all > Duration::from_secs(10) {
            return Err("a flush has no end".into());
        }
    }
    Ok(rounds)
}

/// The config for a case where nothing is opened.
fn config_without_devices(case: &Case, population: &Population, means: &Means) -> Fallible<Config> {
    let nowhere = Captures { access: "/nonexistent".into(), uplink: "/nonexistent".into() };
    testbed::config(&case.traffic(means.seed), population, &nowhere, &[means.core])
}

/// What its two ports turned out to have.
fn facts() -> Vec<PortFacts> {
    [UPLINK_MAC, MacAddr([2, 0, 0, 0, 0, 1])].map(|mac| PortFacts { mac, mtu: 1600, receivers: 1 }).to_vec()
}

/// How long a start with 4000 bridges and a million static MACs may take, in milliseconds.
const START: f64 = 3000.0;
/// How long a reload that changes one bridge may take, in milliseconds.
const RELOAD: f64 = 50.0;
/// A line of what the kernel says of this process's memory, in bytes: `VmRSS` is what is in use, `VmHWM` the most there
/// was.
fn memory_line(name: &str) -> Fallible<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).ok_or("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}

fn resident() -> Fallible<f64> {
    memory_line("VmRSS")
}

/// Milliseconds that something takes, and what it gives.
fn timed<T>(what: impl FnOnce() -> T) -> (f64, T) {
    let began = Instant::now();
    let given = what();
    (began.elapsed().as_secs_f64() * 1e3, given)
}

/// A reload of a config that differs in one of its bridges.
fn reload_of_one_bridge(gateway: &mut Gateway, mut config: Config) -> Fallible<f64> {
    if let Some(bridge) = config.bridges.first_mut() {
        bridge.learning = false;
    }
    let (milliseconds, applied) = timed(|| gateway.apply(config));
    applied?;
    Ok(milliseconds)
}

/// Start and reload with many bridges and static MACs, and the memory they take together; `tests/memory.rs` has it by
/// each.
pub fn memory(means: &Means) -> Fallible<Vec<Figure>> {
    let case = case(Set::Large, Frames::Short, Direction::Both);
    let population = Population::new(case.set, means.seed);
    let config = config_without_devices(&case, &population, means)?;
    let start = |config| Gateway::start(config, facts(), Vec::new(), Arc::default());
    let mut figures = Vec::new();

    let given = config.clone();
    let (milliseconds, started) = timed(|| start(given));
    let mut bridged = started?;
    figures.push(figure("start with 4000 bridges: tables made in", milliseconds, "ms"));
    let milliseconds = reload_of_one_bridge(&mut bridged, config.clone())?;
    let what = "reload that changes one bridge of 4000: applied in";
    figures.push(figure(what, milliseconds, "ms").aim(Aim::AtMost(RELOAD)));

    let file = write_file(&config, &population)?;
    let before = resident()?;
    fs::write("/proc/self/clear_refs", "5")?;
    let (reading, loaded) = timed(|| Config::load(file.path()));
    let full = loaded.map_err(|error| error.render(false))?.config;
    let peak = (memory_line("VmHWM")? - before) / f64::from(1 << 20);
    figures.push(figure("4000 bridges and a million static MACs: config read in", reading, "ms"));
    figures.push(figure("4000 bridges and a million static MACs: memory while it is read", peak, "MiB"));
    let given = full.clone();
    let before = resident()?;
    let (making, started) = timed(|| start(given));
    let mut gateway = started?;
    figures.push(figure("4000 bridges and a million static MACs: tables made in", making, "ms"));
    let what = "4000 bridges and a million static MACs: read and made in";
    figures.push(figure(what, reading + making, "ms").aim(Aim::AtMost(START)));
    let entries = gateway.tables().fdb.len();
    if entries != population.station_count() {
        return Err(format!("{entries} of {} static MACs were installed", population.station_count()).into());
    }
    let grown = (resident()? - before) / f64::from(1 << 20);
    figures.push(figure("4000 bridges and a million static MACs: memory of the tables", grown, "MiB"));
    let milliseconds = reload_of_one_bridge(&mut gateway, full)?;
    let what = "reload that changes one bridge, a million static MACs: applied in";
    figures.push(figure(what, milliseconds, "ms").aim(Aim::AtMost(RELOAD)));
    Ok(figures)
}

/// A config file as an operator would write it, with every station a static entry.
fn write_file(config: &Config, population: &Population) -> Fallible<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new()?;
    let mut text = std::io::BufWriter::new(file.as_file_mut());
    writeln!(text, "[vtep]\naddress = \"{}\"\n[workers]\ncores = [0]\n", config.vtep.address)?;
    for (name, role) in [("uplink0", "uplink"), ("trunk0", "access")] {
        writeln!(text, "[[port]]\nname = \"{name}\"\ndevice = \"net_null_{name}\"\nrole = \"{role}\"")?;
    }
    for bridge in &config.bridges {
        let remotes: Vec<String> = bridge.remotes.iter().map(|remote| format!("\"{remote}\"")).collect();
        let vlan = bridge.ports.first().and_then(|place| place.vlan.vlan()).map_or(0, |vlan| vlan.get());
        writeln!(text, "[[bridge]]\nvni = {}\nvlan = {vlan}\nports = [\"trunk0\"]", bridge.vni.get())?;
        writeln!(text, "remotes = [{}]", remotes.join(", "))?;
    }
    for neighbour in &config.neighbours {
        writeln!(
            text,
            "[[neighbour]]\naddress = \"{}\"\nmac = \"{}\"\nport = \"uplink0\"",
            neighbour.address, neighbour.mac
        )?;
    }
    writeln!(text, "[fdb]\nmax_entries = {}", config.fdb.max_entries)?;
    for station in population.stations() {
        let vni = population.bridges.get(station.bridge as usize).map_or(0, |bridge| bridge.vni);
        writeln!(text, "[[static]]\nvni = {vni}\nmac = \"{}\"", station.mac)?;
        match station.remote {
            None => writeln!(text, "port = \"trunk0\"")?,
            Some(remote) => writeln!(text, "remote = \"{}\"", Underlay::Ipv4.remote(remote))?,
        }
    }
    text.flush()?;
    drop(text);
    Ok(file)
}
