//! Many measurements, interleaved: each round measures every variant of a case in turn, so that what changes on the
//! machine meanwhile changes it for all.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::interrupt;
use crate::measurement::{Case, Means, Outcome, Variant, median};
use crate::open_vswitch::{self, OpenVswitch};
use crate::testbed::Fallible;
use crate::traffic::name_of;

/// What the rounds of one variant showed, in cycles per packet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Who forwarded.
    pub variant: Variant,
    /// The least round.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// The most.
    pub max: f64,
    /// Millions of packets per second at the median.
    pub mpps: f64,
    /// Cycles more than plain io took: the median over the rounds of the difference within the round.
    pub over_io: Option<f64>,
    /// Every round.
    pub rounds: Vec<Outcome>,
}

/// A case, measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseResult {
    /// The case.
    #[serde(flatten)]
    pub case: Case,
    /// Whether packets lay in hugepages.
    pub hugepages: bool,
    /// Each variant.
    pub variants: Vec<Summary>,
    /// What could not be measured, and why.
    pub failures: Vec<String>,
}

impl CaseResult {
    /// What one variant showed.
    pub fn of(&self, variant: Variant) -> Option<&Summary> {
        self.variants.iter().find(|summary| summary.variant == variant)
    }
}

/// Measures a case in `rounds` rounds.
///
/// # Errors
/// Where the run was interrupted. What a variant fails at is in the result.
pub fn run(case: Case, variants: &[Variant], means: &Means, rounds: usize) -> Fallible<CaseResult> {
    let mut failures = Vec::new();
    // Open vSwitch takes long to start, so it stays for all rounds, stopped where others are measured.
    let mut open_vswitch = None;
    let covered = |variant: &&Variant| **variant != Variant::Ovs || open_vswitch::covers(&case);
    let variants: Vec<Variant> = variants.iter().filter(covered).copied().collect();
    let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); variants.len()];
    for round in 1..=rounds {
        for (variant, outcomes) in variants.iter().zip(&mut outcomes) {
            interrupt::check()?;
            let measured = match variant {
                Variant::Ovs => measure_open_vswitch(&mut open_vswitch, &case, means),
                _ => measure_apart(*variant, &case, means),
            };
            match measured {
                Ok(outcome) => {
                    eprintln!(
                        "  round {round}/{rounds}  {:<8} {:7.1} cycles per packet  {:6.2} Mpps",
                        name_of(variant),
                        outcome.cycles,
                        outcome.mpps()
                    );
                    outcomes.push(outcome);
                }
                Err(error) => {
                    eprintln!("  round {round}/{rounds}  {:<8} failed: {error}", name_of(variant));
                    failures.push(format!("{}: {error}", name_of(variant)));
                }
            }
        }
    }
    let io = variants.iter().zip(&outcomes).find(|(variant, _)| **variant == Variant::Io).map(|(_, io)| io.clone());
    let summaries = variants.iter().zip(outcomes).filter(|(_, outcomes)| !outcomes.is_empty());
    let variants =
        summaries.map(|(variant, outcomes)| summarise(*variant, outcomes, io.as_deref().unwrap_or_default())).collect();
    Ok(CaseResult { case, hugepages: means.hugepages, variants, failures })
}

fn summarise(variant: Variant, rounds: Vec<Outcome>, io: &[Outcome]) -> Summary {
    let cycles: Vec<f64> = rounds.iter().map(|outcome| outcome.cycles).collect();
    let differences: Vec<f64> = rounds.iter().zip(io).map(|(own, io)| own.cycles - io.cycles).collect();
    let middle = median(&cycles);
    Summary {
        variant,
        min: cycles.iter().copied().fold(f64::INFINITY, f64::min),
        median: middle,
        max: cycles.iter().copied().fold(0.0, f64::max),
        mpps: rounds.first().map_or(0.0, |first| first.cycles_per_second as f64 / middle / 1e6),
        over_io: (variant != Variant::Io && !differences.is_empty()).then(|| median(&differences)),
        rounds,
    }
}

fn measure_open_vswitch(running: &mut Option<OpenVswitch>, case: &Case, means: &Means) -> Fallible<Outcome> {
    match running {
        Some(running) => running.measure(means),
        None => running.insert(OpenVswitch::start(case, means)?).measure(means),
    }
}

/// One measurement in a process of its own.
fn measure_apart(variant: Variant, case: &Case, means: &Means) -> Fallible<Outcome> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["measure", &name_of(&variant)]).args(case.arguments()).args(means.arguments());
    let output =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.lines().last().unwrap_or("it ended without a word").to_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Says how far a run is.
pub struct Progress {
    began: Instant,
    total: usize,
    done: usize,
}

impl Progress {
    /// Nothing of `total` cases done.
    pub fn new(total: usize) -> Self {
        Self { began: Instant::now(), total, done: 0 }
    }

    /// A case begins.
    pub fn begin(&mut self, case: &Case) {
        let left = if self.done == 0 {
            String::new()
        } else {
            let each = self.began.elapsed() / self.done as u32;
            let left: Duration = each * (self.total - self.done) as u32;
            format!(", about {} s left", left.as_secs())
        };
        self.done += 1;
        eprintln!("[{}/{}] {}{left}", self.done, self.total, case.title());
    }
}
