//! The poll loop: receive a burst, forward it, transmit; nothing else.
//!
//! A worker is a thread pinned to a core. It owns one receive queue and one transmit queue of every port that has
//! enough of them ([`queues`] has the rule for ports that have not), its pipeline, its counters and its end of a learn
//! ring. It shares the packet pool, through a cache of its own, and reads the [`Tables`](crate::tables::Tables).

pub mod exception;
pub mod idle;
pub mod outlet;
pub mod poll;
pub mod queues;

pub use poll::{Worker, WorkerPort};
