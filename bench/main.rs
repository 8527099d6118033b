//! Measures the gateway beside plain io forwarding and Open vSwitch, on the same virtual devices with the same traffic.
//! `bench/README.md` says how to run it and how to read what it prints.

mod budget;
mod capacity;
mod features;
mod forwarders;
mod hugepages;
mod instructions;
mod interrupt;
mod latency;
mod meanwhile;
mod measure;
mod measurement;
mod newcomers;
mod open_vswitch;
mod plot;
mod preemption;
mod report;
mod rig;
mod rounds;
mod scenarios;
mod testbed;
mod traffic;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::hugepages::Reservation;
use crate::instructions::Task;
use crate::latency::{Latency, Policy};
use crate::measurement::{Case, Direction, Means, Variant};
use crate::report::{Machine, Report};
use crate::rounds::Progress;
use crate::scenarios::Scenario;
use crate::testbed::Fallible;
use crate::traffic::{Frames, Set, Underlay};

/// Measures the gateway beside plain io forwarding and Open vSwitch.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
    /// What `cargo bench` says to every bench
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// One measurement in this process; prints JSON
    Measure {
        variant: Variant,
        #[command(flatten)]
        case: Case,
        #[command(flatten)]
        means: Means,
    },
    /// Instructions per packet against `bench/budgets.toml`
    Budget {
        #[command(flatten)]
        options: budget::Options,
    },
    /// Floods, two workers, learning and ageing, memory: all of them, or those named
    Scenarios {
        scenarios: Vec<Scenario>,
        /// The core under test; the last one where not given
        #[arg(long)]
        core: Option<usize>,
        /// How long each measures, in milliseconds
        #[arg(long, default_value_t = 1000)]
        milliseconds: u64,
    },
    /// Times of bursts and packets at 10, 50 and 90 % of the maximum rate, and of the first packet after a silence
    Latency(Latency),
    /// One round of `latency` in this process; prints JSON
    LatencyRound {
        /// What the worker does when nothing arrives: measures silences, and where it is not given, loads
        #[arg(long)]
        idle: Option<Policy>,
        #[command(flatten)]
        case: Case,
        #[command(flatten)]
        means: Means,
    },
    /// One scenario in this process; prints JSON
    Scenario {
        scenario: Scenario,
        #[command(flatten)]
        means: Means,
    },
    /// What `budget` counts
    Instructions { task: Task },
}

/// Which cases, how often.
#[derive(Args)]
struct Run {
    /// The small and the mid set, 64-byte frames, IPv4, three rounds: within two minutes
    #[arg(long)]
    quick: bool,
    /// Only these sets
    #[arg(long, value_delimiter = ',', default_value = "small,mid,large")]
    sets: Vec<Set>,
    /// Only these frames
    #[arg(long, value_delimiter = ',', default_value = "64,imix,1500")]
    frames: Vec<Frames>,
    /// Only these underlays
    #[arg(long, value_delimiter = ',', default_value = "ipv4,ipv6,ipv6-zero")]
    underlays: Vec<Underlay>,
    /// Only these directions
    #[arg(long, value_delimiter = ',', default_value = "both,encap,decap")]
    directions: Vec<Direction>,
    /// Only these variants; Open vSwitch is left out where it is not installed
    #[arg(long, value_delimiter = ',', default_value = "io,gateway,ovs")]
    variants: Vec<Variant>,
    /// How many rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each round measures, in milliseconds
    #[arg(long, default_value_t = 300)]
    milliseconds: u64,
    /// The core under test; the last one where not given
    #[arg(long)]
    core: Option<usize>,
    /// What the traffic is made from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Do without hugepages
    #[arg(long)]
    no_huge: bool,
}

impl Run {
    fn apply_quick(mut self) -> Self {
        if self.quick {
            self.sets.retain(|set| *set != Set::Large);
            self.frames = vec![Frames::Short];
            self.underlays = vec![Underlay::Ipv4];
            self.rounds = 3;
        }
        self
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for &set in &self.sets {
            for &underlay in &self.underlays {
                for &frames in &self.frames {
                    cases.extend(self.directions.iter().map(|&direction| Case { set, frames, underlay, direction }));
                }
            }
        }
        cases
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Command::Measure { variant, case, means }) => print_measurement(variant, &case, &means),
        Some(Command::Budget { options }) => interrupt::install().and_then(|()| budget::check(options)),
        Some(Command::Latency(options)) => latency::run(&options),
        Some(Command::LatencyRound { idle, case, means }) => print_latency(idle, &case, &means),
        Some(Command::Scenarios { scenarios, core, milliseconds }) => run_scenarios(scenarios, core, milliseconds),
        Some(Command::Scenario { scenario, means }) => print_scenario(scenario, &means),
        Some(Command::Instructions { task }) => instructions::run(task),
        None => compare(arguments.run.apply_quick()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_measurement(variant: Variant, case: &Case, means: &Means) -> Fallible<()> {
    println!("{}", serde_json::to_string(&measure::measure(variant, case, means)?)?);
    Ok(())
}

fn print_latency(idle: Option<Policy>, case: &Case, means: &Means) -> Fallible<()> {
    let said = match idle {
        None => serde_json::to_string(&latency::round::measure(case, means)?)?,
        Some(policy) => serde_json::to_string(&latency::round::measure_idling(case, means, policy.into())?)?,
    };
    println!("{said}");
    Ok(())
}

fn print_scenario(scenario: Scenario, means: &Means) -> Fallible<()> {
    println!("{}", serde_json::to_string(&scenarios::run(scenario, means)?)?);
    Ok(())
}

fn run_scenarios(mut scenarios: Vec<Scenario>, core: Option<usize>, milliseconds: u64) -> Fallible<()> {
    interrupt::install()?;
    if scenarios.is_empty() {
        scenarios = Scenario::value_variants().to_vec();
    }
    let mut means = Means { core: core_under_test(core)?, seed: 1, milliseconds, hugepages: false };
    let reserved = reserve(scenarios::memory_mib(&scenarios));
    means.hugepages = reserved.is_some();
    scenarios::run_apart(&scenarios, &means)
}

fn core_under_test(wanted: Option<usize>) -> Fallible<usize> {
    Ok(wanted.or_else(|| vtepd::daemon::cores::available().last().copied()).ok_or("no core to measure on")?)
}

/// Measures every case and reports.
fn compare(mut run: Run) -> Fallible<()> {
    interrupt::install()?;
    let cases = run.cases();
    for case in &cases {
        case.traffic(run.seed).captures(&testbed::traffic_folder())?;
    }
    if run.variants.contains(&Variant::Ovs) && !open_vswitch::is_installed() {
        eprintln!("no Open vSwitch with DPDK here (dpdk-config/install rival): measured without it");
        run.variants.retain(|variant| *variant != Variant::Ovs);
    }
    let memory = cases.iter().map(|case| testbed::memory_mib(case.set.numbers().flows, 1)).max().unwrap_or(0);
    let rival = if run.variants.contains(&Variant::Ovs) { open_vswitch::MEMORY_MIB } else { 0 };
    let reserved = if run.no_huge { None } else { reserve(memory + rival) };
    if reserved.is_none() && run.variants.contains(&Variant::Ovs) {
        eprintln!("without hugepages Open vSwitch with DPDK does not start: measured without it");
        run.variants.retain(|variant| *variant != Variant::Ovs);
    }
    let core = core_under_test(run.core)?;
    let means = Means { core, seed: run.seed, milliseconds: run.milliseconds, hugepages: reserved.is_some() };
    let mut report = Report { machine: Machine::here(), cases: Vec::new() };
    let mut progress = Progress::new(cases.len());
    let mut ended = Ok(());
    for case in cases {
        progress.begin(&case);
        match rounds::run(case, &run.variants, &means, run.rounds) {
            Ok(result) => report.cases.push(result),
            // What was measured so far is worth its table.
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
    }
    let folder = report::folder();
    report.write(&folder)?;
    let machine = &report.machine;
    println!(
        "{}, {} processors, load {}, commit {}",
        machine.processor, machine.processors, machine.load, machine.commit
    );
    println!("packets in {}; cycles of the time-stamp counter per packet\n", memory_kind(means.hugepages));
    println!("{}\n\nalso in {}", report.table(), folder.display());
    match report.failures().as_slice() {
        [] => ended,
        failures => Err(failures.join("\n").into()),
    }
}

fn memory_kind(hugepages: bool) -> &'static str {
    if hugepages { "2 MiB hugepages" } else { "ordinary pages" }
}

fn reserve(mib: u32) -> Option<Reservation> {
    let reservation = Reservation::make(mib);
    if let Err(error) = &reservation {
        eprintln!("no hugepages ({error}): packets lie in ordinary pages, which costs cycles");
    }
    reservation.ok()
}
