//! What the comparison does not show: floods, two workers, learning and ageing, memory.

use std::fs;
use std::process::{Command, Stdio};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use vtepd::config::Config;
use vtepd::config::model;
use vtepd::telemetry::Event;

use crate::capacity;
use crate::meanwhile;
use crate::measure::{measure_rig, sample};
use crate::measurement::{Case, Direction, Means};
use crate::newcomers;
use crate::rig::{Losses, Rig};
use crate::testbed::{self, ACCESS, Fallible, UPLINK};
use crate::traffic::{Frames, Population, Set, Underlay, name_of, neighbour_mac};

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
    /// The rate at which all is forwarded while a tenth of it teaches, mid set
    LearningAmongMid,
    /// The same, large set
    LearningAmongLarge,
    /// Known stations' traffic while a million MACs are learned, while the FDB is full, and while they age, mid set
    LearningMeanwhileMid,
    /// The same, large set
    LearningMeanwhileLarge,
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
    /// What it is to be at most, or at least.
    pub aim: Option<Aim>,
}

/// What a figure is to be.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Aim {
    /// At most so much.
    AtMost(f64),
    /// At least so much.
    AtLeast(f64),
}

impl Figure {
    /// With what it is to be.
    pub fn aim(self, aim: Aim) -> Self {
        Self { aim: Some(aim), ..self }
    }

    /// The figure in a line, with its aim, and a mark where that is missed.
    fn line(&self) -> String {
        let Self { what, value, unit, aim } = self;
        let aim = match *aim {
            None => String::new(),
            Some(Aim::AtMost(most)) => format!("  aim: at most {most}{}", if *value > most { "  MISSED" } else { "" }),
            Some(Aim::AtLeast(least)) => {
                format!("  aim: at least {least}{}", if *value < least { "  MISSED" } else { "" })
            }
        };
        format!("{what:<66} {value:>10.1} {unit}{aim}")
    }
}

/// A figure without an aim.
pub fn figure(what: &str, value: f64, unit: &str) -> Figure {
    Figure { what: what.to_owned(), value, unit: unit.to_owned(), aim: None }
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
            println!("{}", figure.line());
        }
        all.extend(figures);
    }
    let folder = crate::report::folder();
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("scenarios.json"), serde_json::to_string_pretty(&all)?)?;
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

/// The hugepages that any of the scenarios needs, in MiB.
pub fn memory_mib(scenarios: &[Scenario]) -> u32 {
    let of = |set: Set, workers| testbed::memory_mib(set.numbers().flows, workers);
    let need = |scenario: &Scenario| match scenario {
        Scenario::FloodShort | Scenario::FloodLong => of(Set::Small, 1),
        Scenario::TwoWorkersSmall => of(Set::Small, 2),
        Scenario::TwoWorkersMid => of(Set::Mid, 2),
        Scenario::LearningMeanwhileMid => of(Set::Mid, 1),
        Scenario::Learning | Scenario::LearningMeanwhileLarge => of(Set::Large, 1),
        Scenario::LearningAmongMid | Scenario::LearningAmongLarge => testbed::memory_mib(newcomers::FLOWS, 1),
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
        Scenario::Learning => capacity::learning(means),
        Scenario::LearningAmongMid => newcomers::measure(Set::Mid, means),
        Scenario::LearningAmongLarge => newcomers::measure(Set::Large, means),
        Scenario::LearningMeanwhileMid => meanwhile::measure(Set::Mid, means),
        Scenario::LearningMeanwhileLarge => meanwhile::measure(Set::Large, means),
        Scenario::Memory => capacity::memory(means),
    }
}

pub const fn case(set: Set, frames: Frames, direction: Direction) -> Case {
    Case { set, frames, underlay: Underlay::Ipv4, direction }
}

/// The config for a case, on these cores.
pub fn config_for(case: &Case, means: &Means, cores: &[usize]) -> Fallible<(Config, Population)> {
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
        figure(&format!("two workers against one, {name} set"), both.mpps() / one.mpps() * 100.0, "%")
            .aim(Aim::AtLeast(190.0)),
    ])
}
