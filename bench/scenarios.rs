//! What the comparison does not show: floods, two workers, learning and ageing, memory.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use vtepd::config::Config;
use vtepd::config::model;
use vtepd::control::{Gateway, PortFacts};
use vtepd::telemetry::{Event, FdbEvent};
use vtepd::wire::MacAddr;

use crate::measure::{measure_rig, sample};
use crate::measurement::{Case, Direction, Means};
use crate::rig::{Losses, Rig};
use crate::testbed::{self, ACCESS, Fallible, UPLINK};
use crate::traffic::{Captures, Frames, Population, Set, UPLINK_MAC, Underlay, name_of, neighbour_mac};

/// What can be measured besides the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Short frames to 64 remote VTEPs each
    FloodShort,
    /// Long frames to 64 remote VTEPs each: the payload is not copied, so it costs what short ones cost
    FloodLong,
    /// Two workers that meet the same MACs, small set
    TwoWorkersSmall,
    /// Two workers that meet the same MACs, mid set
    TwoWorkersMid,
    /// A million MACs learned while forwarding, and aged out
    Learning,
    /// Start and reload with 4000 bridges and a million static MACs, and the memory it takes
    Memory,
}

/// One figure.
#[derive(Debug, Serialize, Deserialize)]
pub struct Figure {
    /// What it is.
    pub what: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
}

fn figure(what: &str, value: f64, unit: &str) -> Figure {
    Figure { what: what.to_owned(), value, unit: unit.to_owned() }
}

/// Remote VTEPs that a frame is flooded to.
const FLOOD_REMOTES: u32 = 64;

/// Runs scenarios, each in a process of its own, prints their figures and writes `scenarios.json`.
///
/// # Errors
/// The first that failed, after all were run.
pub fn run_apart(scenarios: &[Scenario], means: &Means) -> Fallible<()> {
    let mut all = Vec::new();
    let mut failed = Vec::new();
    for scenario in scenarios {
        crate::interrupt::check()?;
        let name = name_of(scenario);
        eprintln!("{name}");
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["scenario", &name]).args(means.arguments());
        let output = command.stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            failed.push(format!("{name}: {}", said.lines().last().unwrap_or_default()));
            continue;
        }
        let figures: Vec<Figure> = serde_json::from_slice(&output.stdout)?;
        for figure in &figures {
            println!("{:<58} {:>10.1} {}", figure.what, figure.value, figure.unit);
        }
        all.extend(figures);
    }
    let folder = crate::report::folder();
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("scenarios.json"), serde_json::to_string_pretty(&all)?)?;
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

/// The hugepages that any of the scenarios needs, in MiB.
pub fn memory_mib(scenarios: &[Scenario], means: &Means) -> u32 {
    let need = |scenario: &Scenario| match scenario {
        Scenario::FloodShort | Scenario::FloodLong => {
            testbed::memory_mib(&small(Direction::Encap).traffic(means.seed), 1)
        }
        Scenario::TwoWorkersSmall => testbed::memory_mib(&small(Direction::Both).traffic(means.seed), 2),
        Scenario::TwoWorkersMid => {
            testbed::memory_mib(&case(Set::Mid, Frames::Short, Direction::Both).traffic(means.seed), 2)
        }
        Scenario::Learning => {
            testbed::memory_mib(&case(Set::Large, Frames::Short, Direction::Both).traffic(means.seed), 1)
        }
        Scenario::Memory => 0,
    };
    scenarios.iter().map(need).max().unwrap_or(0)
}

/// Runs one scenario in this process.
///
/// # Errors
/// Whatever keeps its figures from meaning something.
pub fn run(scenario: Scenario, means: &Means) -> Fallible<Vec<Figure>> {
    match scenario {
        Scenario::FloodShort => flood(Frames::Short, means),
        Scenario::FloodLong => flood(Frames::Long, means),
        Scenario::TwoWorkersSmall => two_workers(Set::Small, means),
        Scenario::TwoWorkersMid => two_workers(Set::Mid, means),
        Scenario::Learning => learning(means),
        Scenario::Memory => memory(means),
    }
}

const fn case(set: Set, frames: Frames, direction: Direction) -> Case {
    Case { set, frames, underlay: Underlay::Ipv4, direction }
}

const fn small(direction: Direction) -> Case {
    case(Set::Small, Frames::Short, direction)
}

/// The config for a case, on these cores.
fn config_for(case: &Case, means: &Means, cores: &[usize]) -> Fallible<(Config, Population)> {
    let traffic = case.traffic(means.seed);
    let population = Population::new(case.set, means.seed);
    let captures = traffic.captures(&testbed::traffic_folder())?;
    Ok((testbed::config(&traffic, &population, &captures, cores)?, population))
}

/// Unknown destinations: every frame goes to all remote VTEPs of its bridge.
fn flood(frames: Frames, means: &Means) -> Fallible<Vec<Figure>> {
    let case = case(Set::Small, frames, Direction::Encap);
    let (mut config, population) = config_for(&case, means, &[means.core])?;
    let remote = |number| case.underlay.remote(number);
    config.neighbours = (0..FLOOD_REMOTES)
        .map(|number| model::Neighbour { address: remote(number), mac: neighbour_mac(number), port: UPLINK })
        .collect();
    for bridge in &mut config.bridges {
        bridge.remotes = (0..FLOOD_REMOTES).map(remote).collect();
    }
    let mut rig = Rig::start(config, means, |port| port == ACCESS, |_, _| Ok(()))?;
    rig.await_stations(population.station_count() / 2)?;
    let worker = rig.workers.pop().ok_or("no worker")?;
    let before = Losses::of(&worker.telemetry);
    let counts = || (worker.telemetry.events(Event::FloodedFrame), worker.telemetry.events(Event::FloodCopy));
    let first = counts();
    let outcome = sample(std::slice::from_ref(&worker), means, |time| rig.control_for(time))?;
    let last = counts();
    before.refuse_drops(&worker.telemetry)?;
    let copies = (last.1 - first.1) as f64 / (last.0 - first.0).max(1) as f64;
    let length = name_of(&frames);
    Ok(vec![
        figure(&format!("flood to {FLOOD_REMOTES} remote VTEPs, {length} bytes: copies"), copies, "per frame"),
        figure(
            &format!("flood to {FLOOD_REMOTES} remote VTEPs, {length} bytes: cost"),
            outcome.cycles / copies,
            "cycles per copy",
        ),
    ])
}

/// Two workers with the same flows, against one of them alone.
fn two_workers(set: Set, means: &Means) -> Fallible<Vec<Figure>> {
    let cores = vtepd::daemon::cores::available();
    let second = cores.iter().copied().find(|core| *core != means.core).ok_or("there is one core only")?;
    let case = case(set, Frames::Short, Direction::Both);
    let (config, population) = config_for(&case, means, &[means.core, second])?;
    let mut rig = Rig::start(config, means, |_| true, |_, _| Ok(()))?;
    let both = measure_rig(&mut rig, population.station_count(), means)?;
    let other = rig.workers.pop().ok_or("no second worker")?;
    drop(other);
    // As in the comparison, the control loop has a core of its own now.
    vtepd::daemon::cores::keep_to(&[second]);
    let one = measure_rig(&mut rig, population.station_count(), means)?;
    let name = name_of(&set);
    Ok(vec![
        figure(&format!("one worker, {name} set"), one.mpps(), "Mpps of processor time"),
        figure(&format!("two workers, {name} set, the same MACs"), both.mpps(), "Mpps of processor time"),
        figure(&format!("two workers against one, {name} set"), both.mpps() / one.mpps(), "times"),
    ])
}

/// Ageing as short as the config allows, so that it is seen.
const AGEING: Duration = Duration::from_secs(10);

/// A million stations that nobody knows begin to talk at once, and fall silent at once.
fn learning(means: &Means) -> Fallible<Vec<Figure>> {
    let case = case(Set::Large, Frames::Short, Direction::Both);
    let (mut config, population) = config_for(&case, means, &[means.core])?;
    config.fdb.ageing = Some(AGEING);
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
    let million = stations as f64 / 1e6;
    Ok(vec![
        figure("learning a million MACs: rate", million / seconds, "million per second"),
        figure("learning a million MACs: forwarding meanwhile, floods included", meanwhile, "Mpps of processor time"),
        figure("learning a million MACs: forwarding afterwards", known, "Mpps of processor time"),
        figure("learning a million MACs: reports that found the ring full", lost, ""),
        figure("ageing out a million MACs: rate", million / silent.elapsed().as_secs_f64(), "million per second"),
    ])
}

/// Remote VTEPs enough to see what one takes.
const MANY_REMOTES: u32 = 60_000;

/// Memory of this process that is in use, in bytes.
fn resident() -> Fallible<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}

/// Milliseconds that something takes, and what it gives.
fn timed<T>(what: impl FnOnce() -> T) -> (f64, T) {
    let began = Instant::now();
    let given = what();
    (began.elapsed().as_secs_f64() * 1e3, given)
}

fn memory(means: &Means) -> Fallible<Vec<Figure>> {
    let case = case(Set::Large, Frames::Short, Direction::Both);
    let population = Population::new(case.set, means.seed);
    let nowhere = Captures { access: "/nonexistent".into(), uplink: "/nonexistent".into() };
    let config = testbed::config(&case.traffic(means.seed), &population, &nowhere, &[means.core])?;
    let facts = || [UPLINK_MAC, MacAddr([2, 0, 0, 0, 0, 1])].map(|mac| PortFacts { mac, mtu: 1600 }).to_vec();
    let start = |config| Gateway::start(config, facts(), Vec::new(), std::sync::Arc::default());
    let mut figures = Vec::new();

    // Whatever was started is kept, so that the next finds no memory to use again.
    let mut bare = config.clone();
    (bare.bridges, bare.neighbours) = (Vec::new(), Vec::new());
    let before = resident()?;
    let _nothing = start(bare.clone())?;
    let base = resident()? - before;
    let neighbour =
        |remote| model::Neighbour { address: case.underlay.remote(remote), mac: neighbour_mac(remote), port: UPLINK };
    bare.neighbours = (0..MANY_REMOTES).map(neighbour).collect();
    let before = resident()?;
    let _tunnels = start(bare)?;
    let each = (resident()? - before - base) / f64::from(MANY_REMOTES);
    figures.push(figure("memory of a remote VTEP", each, "bytes"));
    let given = config.clone();
    let before = resident()?;
    let (milliseconds, started) = timed(|| start(given));
    let mut bridged = started?;
    let each = (resident()? - before - base) / config.bridges.len() as f64;
    figures.push(figure("memory of a bridge, with a member and four remote VTEPs", each, "bytes"));
    figures.push(figure("start with 4000 bridges: tables made in", milliseconds, "ms"));
    let mut changed = config.clone();
    if let Some(bridge) = changed.bridges.first_mut() {
        bridge.learning = false;
    }
    let (milliseconds, applied) = timed(|| bridged.apply(changed));
    applied?;
    figures.push(figure("reload that changes one bridge of 4000: published after", milliseconds, "ms"));

    let file = write_file(&config, &population)?;
    let (milliseconds, loaded) = timed(|| Config::load(file.path()));
    figures.push(figure("4000 bridges and a million static MACs: config read in", milliseconds, "ms"));
    let mut full = loaded.map_err(|error| error.render(false))?.config;
    let given = full.clone();
    let before = resident()?;
    let (milliseconds, started) = timed(|| start(given));
    let mut gateway = started?;
    figures.push(figure("4000 bridges and a million static MACs: tables made in", milliseconds, "ms"));
    let entries = gateway.tables().fdb.len();
    if entries != population.station_count() {
        return Err(format!("{entries} of {} static MACs were installed", population.station_count()).into());
    }
    let each = (resident()? - before - base) / entries as f64;
    figures.push(figure("memory of a static MAC, its part of the running config included", each, "bytes"));
    if let Some(bridge) = full.bridges.first_mut() {
        bridge.learning = false;
    }
    let (milliseconds, applied) = timed(|| gateway.apply(full));
    applied?;
    figures.push(figure("reload with a million static MACs: published after", milliseconds, "ms"));
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
        let vlan = bridge.vlan.map_or(0, |vlan| vlan.get());
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
