//! Counters, histograms and drop reasons. Workers write, each its own; the stats thread reads and sums.
//!
//! # Who writes and who reads
//!
//! A worker owns one [`WorkerTelemetry`], the control thread owns one [`ControlTelemetry`], the thread of the exception
//! path one [`ExceptionTelemetry`]. Only the owner writes, so
//! a count is an ordinary load, add and store; and no cache line is written by two cores, so a count costs nobody
//! else anything. The stats thread reads while they are written: each value by itself is right, and values that were
//! written together may be read a few packets apart. Samples of flows are single words in a ring ([`flow_samples`]):
//! a reader that is late misses some, and never sees half of one.

pub mod control;
pub mod counter;
pub mod drop_reason;
pub mod entropy;
pub mod event;
pub mod exception;
pub mod flow_samples;
pub mod histogram;
pub mod kernel;
mod label;
pub mod metrics;
pub mod source;
pub mod station_change;
pub mod totals;
pub mod worker;

pub use control::{ControlTelemetry, FdbTelemetry};
pub use counter::Counter;
pub use drop_reason::DropReason;
pub use entropy::{Entropy, Spread, Verdict};
pub use event::{BindingEvent, Event, FdbEvent};
pub use exception::{ExceptionTelemetry, Punt, PuntClass};
pub use flow_samples::Direction;
pub use histogram::CycleHistogram;
pub use kernel::{KernelTable, KernelTelemetry, RemoteState};
pub use metrics::Exposition;
pub use source::{
    BridgeLabel, BuildInfo, GroupLabel, MetricsSource, PortReading, PortStatistics, RemoteLabel, ThreadHandle,
    WorkerHandle,
};
pub use station_change::StationChange;
pub use worker::{
    BridgeCounters, LoopCounters, MAX_PORTS, PortCounters, RemoteCounters, StormCounters, Traffic, WorkerTelemetry,
};

/// The size of a cache line in bytes, on x86-64 and on most 64-bit Arm cores.
pub const CACHE_LINE: usize = 64;
