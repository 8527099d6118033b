//! Latency under load and after silence: `bench/README.md` says how it is measured and how to read it.

mod figure;
mod report;
pub mod round;
pub mod source;

use std::process::{Command, Stdio};

use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vtepd::config::model::Idle;

use self::report::Report;
use self::round::{Idling, Round};
use crate::interrupt;
use crate::measurement::{Case, Direction, Means};
use crate::report::{Machine, folder};
use crate::testbed::{self, Fallible};
use crate::traffic::{Frames, Set, Underlay, name_of};

/// What a worker does when nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// It polls on
    Poll,
    /// It sleeps, longer and longer
    Adaptive,
}

impl From<Policy> for Idle {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Poll => Self::Poll,
            Policy::Adaptive => Self::Adaptive,
        }
    }
}

/// How latency is measured.
#[derive(Args)]
pub struct Latency {
    /// How much there is of everything
    #[arg(long, default_value = "small")]
    set: Set,
    /// How many rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each load of a round is measured, in milliseconds
    #[arg(long, default_value_t = 500)]
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

/// Measures, prints, and writes `latency.json` and `latency.svg`.
///
/// # Errors
/// The first thing that keeps the figures from meaning something.
pub fn run(options: &Latency) -> Fallible<()> {
    interrupt::install()?;
    let case = Case { set: options.set, frames: Frames::Short, underlay: Underlay::Ipv4, direction: Direction::Both };
    let traffic = case.traffic(options.seed);
    traffic.captures(&testbed::traffic_folder())?;
    let memory = testbed::memory_mib(options.set.numbers().flows, 1);
    let reserved = if options.no_huge { None } else { crate::reserve(memory) };
    let means = Means {
        core: crate::core_under_test(options.core)?,
        seed: options.seed,
        milliseconds: options.milliseconds,
        hugepages: reserved.is_some(),
    };
    let machine = Machine::here();
    let (mut rounds, mut idling) = (Vec::new(), Vec::new());
    for number in 1..=options.rounds {
        interrupt::check()?;
        let round: Round = apart(&case, &means, None)?;
        eprintln!("  round {number}/{}  {}", options.rounds, round.summary());
        rounds.push(round);
    }
    for policy in [Policy::Poll, Policy::Adaptive] {
        interrupt::check()?;
        eprintln!("  silences, idle = \"{}\"", name_of(&policy));
        let idle: Idling = apart(&case, &means, Some(policy))?;
        idling.push((policy, idle));
    }
    let report = Report::new(machine, case, means.hugepages, rounds, idling);
    report.write(&folder())?;
    println!("{report}\n\nalso in {}", folder().display());
    Ok(())
}

/// One round, of loads or of silences, in a process of its own: DPDK starts once in a process.
fn apart<T: DeserializeOwned>(case: &Case, means: &Means, idle: Option<Policy>) -> Fallible<T> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("latency-round").args(case.arguments()).args(means.arguments());
    if let Some(policy) = idle {
        command.args(["--idle", &name_of(&policy)]);
    }
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.lines().last().unwrap_or("it ended without a word").to_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
