//! One measurement: what is measured, and what came out.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::traffic::{Frames, Set, Traffic, Underlay, name_of};

/// Who forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// From one port to the other, nothing looked at
    Io,
    /// The gateway's own worker, tables and control loop
    Gateway,
    /// Open vSwitch with DPDK
    Ovs,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the access port to the uplink
    Encap,
    /// From the uplink to the access port
    Decap,
    /// Both at once
    Both,
}

impl Direction {
    /// Whether frames of the access port are forwarded.
    pub fn has_encap(self) -> bool {
        self != Self::Decap
    }

    /// Whether packets of the uplink are forwarded.
    pub fn has_decap(self) -> bool {
        self != Self::Encap
    }
}

/// What is compared between variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Args, Serialize, Deserialize)]
pub struct Case {
    /// How much there is of everything
    #[arg(long)]
    pub set: Set,
    /// The lengths of frames
    #[arg(long)]
    pub frames: Frames,
    /// The fabric
    #[arg(long)]
    pub underlay: Underlay,
    /// Which way
    #[arg(long)]
    pub direction: Direction,
}

impl Case {
    /// The traffic it needs.
    pub fn traffic(&self, seed: u64) -> Traffic {
        Traffic { set: self.set, frames: self.frames, underlay: self.underlay, seed }
    }

    /// As on the command line of a measurement.
    pub fn arguments(&self) -> Vec<String> {
        let [set, frames, underlay] = [name_of(&self.set), name_of(&self.frames), name_of(&self.underlay)];
        let direction = name_of(&self.direction);
        [("--set", set), ("--frames", frames), ("--underlay", underlay), ("--direction", direction)]
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value])
            .collect()
    }

    /// In words.
    pub fn title(&self) -> String {
        let [set, frames, underlay] = [name_of(&self.set), name_of(&self.frames), name_of(&self.underlay)];
        format!("{set} {frames} {underlay} {}", name_of(&self.direction))
    }
}

/// How a measurement is made.
#[derive(Clone, Copy, Debug, Args, Serialize, Deserialize)]
pub struct Means {
    /// The core of the worker under test
    #[arg(long)]
    pub core: usize,
    /// What the traffic is made from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How long each round measures, in milliseconds
    #[arg(long, default_value_t = 300)]
    pub milliseconds: u64,
    /// Packets lie in hugepages
    #[arg(long)]
    pub hugepages: bool,
}

impl Means {
    /// As on the command line of a measurement.
    pub fn arguments(&self) -> Vec<String> {
        let numbers = [("--core", self.core as u64), ("--seed", self.seed), ("--milliseconds", self.milliseconds)];
        let mut arguments: Vec<String> =
            numbers.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_string()]).collect();
        arguments.extend(self.hugepages.then(|| "--hugepages".to_owned()));
        arguments
    }
}

/// What one round of one variant showed. Cycles are those of the time-stamp counter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Cycles of processor time per packet: the median over windows of 10 ms.
    pub cycles: f64,
    /// The least of the windows.
    pub least: f64,
    /// Cycles by the clock on the wall, which other processes on the same core lengthen; over all windows.
    pub wall_cycles: f64,
    /// Packets in all windows.
    pub packets: u64,
    /// How fast the time-stamp counter runs, in Hz.
    pub cycles_per_second: u64,
    /// MAC addresses in the FDB.
    pub stations: u64,
    /// MAC addresses the workers reported and control learned.
    pub learned: u64,
}

impl Outcome {
    /// Millions of packets per second of processor time.
    pub fn mpps(&self) -> f64 {
        self.cycles_per_second as f64 / self.cycles / 1e6
    }
}

/// The middle value; the mean of the two middle ones where their number is even.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => (low + high) / 2.0,
        _ => f64::NAN,
    }
}
