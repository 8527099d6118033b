//! The gateway itself: what it counts, what is wrong with it, and what it was told.

use serde::{Deserialize, Serialize};

/// `GET /v1/version`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// The gateway's version.
    pub version: String,
    /// DPDK's, as it tells it.
    pub dpdk: String,
    /// How long the process has run, in seconds.
    pub uptime_seconds: u64,
}

/// `GET /v1/drops`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// All drops together.
    pub total: u64,
    /// Every reason, also those that never occurred.
    pub reasons: Vec<Count>,
    /// Every event, also those that never occurred.
    pub events: Vec<Count>,
}

/// How often something occurred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What: the metric label.
    pub name: String,
    /// How often.
    pub count: u64,
    /// What it means.
    pub help: String,
}

/// One of `GET /v1/workers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Its number.
    pub number: usize,
    /// The core it is pinned to.
    pub core: usize,
    /// Packets received.
    pub packets: u64,
    /// Bursts that held a packet.
    pub bursts: u64,
    /// Rounds over all ports.
    pub polls: u64,
    /// Sleeps, where idle is adaptive.
    pub sleeps: u64,
    /// Packets not forwarded.
    pub dropped: u64,
    /// Time in rounds that found packets, in seconds.
    pub busy_seconds: f64,
    /// Time in rounds that found none, in seconds.
    pub idle_seconds: f64,
    /// How long bursts took; absent before the first one.
    pub burst: Option<BurstDurations>,
}

/// How long a worker's bursts took since it started, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BurstDurations {
    /// Half of them took less.
    pub p50: f64,
    /// 90 % took less.
    pub p90: f64,
    /// 99 % took less.
    pub p99: f64,
    /// 99.9 % took less.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// `GET /v1/check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is wrong; empty where nothing is.
    pub findings: Vec<Finding>,
    /// How many bridges have their remote side from the kernel.
    pub bridges: usize,
    /// How many stations the kernel has behind remote VTEPs.
    pub stations: usize,
    /// How many remote VTEPs are reached as the kernel has it.
    pub remotes: usize,
    /// Who follows the kernel's FDB and may be its control plane: processes by name.
    pub followers: Vec<String>,
}

/// Something that is wrong between the gateway, the kernel and the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of thing.
    pub name: String,
    /// What is wrong, and what comes of it.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// The commands that do it, where it is to be done entry by entry.
    pub commands: Vec<String>,
}

/// `POST /v1/reload`, where it succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// What changed, in a sentence or more.
    pub summary: String,
}

/// Any request, where it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong and what to do about it. May have several lines.
    pub error: String,
}
