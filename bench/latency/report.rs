//! What `latency` prints and writes.

use std::fmt;
use std::fs;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use super::Policy;
use super::figure;
use super::round::{Idling, Load, Quantiles, Round};
use crate::measurement::{Case, median};
use crate::preemption::Preemption;
use crate::report::Machine;
use crate::testbed::Fallible;
use crate::traffic::name_of;

/// The longest that one burst in a thousand may take, in times of the median, at [`STEADY_LOAD`].
const LONGEST_TAIL: f64 = 3.0;
/// The load at which the tail is judged, in hundredths of the maximum.
const STEADY_LOAD: u32 = 50;
/// A worker that found nothing for this share of its time was not under full load.
const STARVED: f64 = 0.05;

impl Round {
    /// In a line.
    pub fn summary(&self) -> String {
        let load = |load: &Load| format!("{} %: {:.0}/{:.0} ns", load.share, load.burst.p50, load.burst.p999);
        let loads: Vec<String> = self.loads.iter().map(load).collect();
        format!("at most {:.2} Mpps; bursts, median and 99.9 %, at {}", self.maximum, loads.join(", at "))
    }
}

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Where and when.
    pub machine: Machine,
    /// The traffic.
    pub case: Case,
    /// Whether packets lay in hugepages.
    pub hugepages: bool,
    /// The most that the worker forwards, in millions of packets a second: the median of the rounds.
    pub maximum: f64,
    /// Each load: the medians of the rounds.
    pub loads: Vec<Load>,
    /// The 99.9 % quantile of burst times at half the maximum, in times of the median: the median of the rounds.
    pub tail: f64,
    /// What is wrong, in words.
    pub flags: Vec<String>,
    /// Each idle policy.
    pub idling: Vec<(Policy, Idling)>,
    /// Every round.
    pub rounds: Vec<Round>,
}

impl Report {
    /// Sums the rounds up.
    pub fn new(
        machine: Machine,
        case: Case,
        hugepages: bool,
        rounds: Vec<Round>,
        idling: Vec<(Policy, Idling)>,
    ) -> Self {
        let shares = rounds.first().map(|round| round.loads.iter().map(|load| load.share).collect::<Vec<_>>());
        let of = |share: u32| -> Vec<&Load> {
            rounds.iter().flat_map(|round| &round.loads).filter(|load| load.share == share).collect()
        };
        let loads = shares.unwrap_or_default().into_iter().map(|share| middle(&of(share))).collect();
        let tails: Vec<f64> = of(STEADY_LOAD).iter().map(|load| tail(&load.burst)).collect();
        let maximum = median(&rounds.iter().map(|round| round.maximum).collect::<Vec<_>>());
        let flags = flags(median(&tails), &of(STEADY_LOAD), &rounds);
        Self { machine, case, hugepages, maximum, loads, tail: median(&tails), flags, idling, rounds }
    }

    /// Writes `latency.json` and `latency.svg` into `folder`.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn write(&self, folder: &Path) -> Fallible<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("latency.json"), serde_json::to_string_pretty(self)?)?;
        fs::write(folder.join("latency.svg"), figure::lines(self))?;
        Ok(())
    }

    fn load_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_header(["load", "Mpps", "per burst", "time of", "p50", "p90", "p99", "p99.9", "max", "p99.9 ÷ p50"]);
        for load in &self.loads {
            for (what, times) in [("burst", &load.burst), ("packet", &load.packet)] {
                let mut row = vec![
                    format!("{} %", load.share),
                    format!("{:.2}", load.mpps),
                    format!("{:.1}", load.packets_per_burst),
                    what.to_owned(),
                ];
                row.extend([times.p50, times.p90, times.p99, times.p999, times.max].map(|time| format!("{time:.0}")));
                row.push(format!("{:.2}", tail(times)));
                table.add_row(row);
            }
        }
        to_the_right(&mut table, 4..10);
        table
    }

    fn idle_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_header(["idle", "core taken", "sleeps/s", "silence", "packets", "p50", "p90", "p99", "max"]);
        for (policy, idling) in &self.idling {
            for (milliseconds, times) in &idling.silences {
                let mut row = vec![
                    name_of(policy),
                    format!("{:.1} %", idling.processor * 100.0),
                    format!("{:.0}", idling.sleeps),
                    format!("{milliseconds} ms"),
                    times.count.to_string(),
                ];
                row.extend([times.p50, times.p90, times.p99, times.max].map(|time| format!("{:.1}", time / 1e3)));
                table.add_row(row);
            }
        }
        to_the_right(&mut table, 1..9);
        table
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(
            out,
            "{}, {} processors, load {}, commit {}; {}, packets in {}",
            machine.processor,
            machine.processors,
            machine.load,
            machine.commit,
            self.case.title(),
            crate::memory_kind(self.hugepages)
        )?;
        writeln!(out, "at most {:.2} Mpps; nanoseconds, medians of {} rounds\n", self.maximum, self.rounds.len())?;
        writeln!(out, "{}\n", self.load_table())?;
        for load in &self.loads {
            let held = load.preemption;
            writeln!(
                out,
                "at {:2} %: of {} of {} windows, in which nothing took either core; in the others the worker was preempted \
                 {} times for {} us, and its core stolen for {} ms; packets not sent in time {}, refused by a full ring \
                 {}, not taken from the worker {}",
                load.share,
                load.undisturbed,
                load.windows,
                held.switches,
                held.waited,
                held.stolen,
                load.skipped,
                load.refused,
                load.undrained
            )?;
        }
        writeln!(out, "\nthe first packet after a silence, in microseconds\n\n{}\n", self.idle_table())?;
        match self.flags.as_slice() {
            [] => write!(out, "p99.9 of burst times at {STEADY_LOAD} % is {:.2} times the median: kept", self.tail),
            flags => write!(out, "{}", flags.iter().map(|flag| format!("FLAG: {flag}")).collect::<Vec<_>>().join("\n")),
        }
    }
}

/// The 99.9 % quantile in times of the median.
fn tail(times: &Quantiles) -> f64 {
    times.p999 / times.p50
}

fn to_the_right(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// What the reader should not overlook.
fn flags(tail: f64, steady: &[&Load], rounds: &[Round]) -> Vec<String> {
    let mut flags = Vec::new();
    if tail > LONGEST_TAIL {
        flags.push(format!(
            "p99.9 of burst times at {STEADY_LOAD} % is {tail:.2} times the median, which is more than {LONGEST_TAIL}"
        ));
    }
    let (kept, all) = steady.iter().fold((0, 0), |(kept, all), load| (kept + load.undisturbed, all + load.windows));
    if kept * 2 < all {
        flags.push(format!(
            "other processes took the worker's core or the source's in {} of {all} windows: where a load had no other \
             window, its figures are theirs as well",
            all - kept
        ));
    }
    let starved = median(&rounds.iter().map(|round| round.starved).collect::<Vec<_>>());
    if starved > STARVED {
        flags.push(format!(
            "the worker found nothing for {:.0} % of its time at the maximum: the source is slower than it, and loads \
             are hundredths of what the source gives",
            starved * 100.0
        ));
    }
    flags
}

/// The medians of the same load in several rounds; counts are sums.
fn middle(loads: &[&Load]) -> Load {
    let of = |value: &dyn Fn(&Load) -> f64| median(&loads.iter().map(|load| value(load)).collect::<Vec<_>>());
    let sum = |value: &dyn Fn(&Load) -> u64| loads.iter().map(|load| value(load)).sum::<u64>();
    let times = |times: fn(&Load) -> &Quantiles| Quantiles {
        count: sum(&|load| times(load).count),
        p50: of(&|load| times(load).p50),
        p90: of(&|load| times(load).p90),
        p99: of(&|load| times(load).p99),
        p999: of(&|load| times(load).p999),
        max: of(&|load| times(load).max),
    };
    Load {
        share: loads.first().map_or(0, |load| load.share),
        mpps: of(&|load| load.mpps),
        packets_per_burst: of(&|load| load.packets_per_burst),
        burst: times(|load| &load.burst),
        packet: times(|load| &load.packet),
        windows: sum(&|load| load.windows),
        undisturbed: sum(&|load| load.undisturbed),
        refused: sum(&|load| load.refused),
        skipped: sum(&|load| load.skipped),
        undrained: sum(&|load| load.undrained),
        preemption: Preemption {
            switches: sum(&|load| load.preemption.switches),
            waited: sum(&|load| load.preemption.waited),
            stolen: sum(&|load| load.preemption.stolen),
        },
    }
}
