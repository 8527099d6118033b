//! Counters, histograms and drop reasons. Workers write, each its own; the stats thread reads and sums.

pub mod drop_reason;

pub use drop_reason::DropReason;
