//! Whether the threads that must never stop still turn.

use std::time::{Duration, Instant};

use crate::telemetry::MetricsSource;

/// Watches the heartbeats of the control thread and of every worker: counters that grow as long as a thread lives.
#[derive(Debug)]
pub struct Heartbeats {
    stuck_after: Duration,
    /// The last value of each and when it was first seen: the control thread's first, then the workers'.
    seen: Vec<(u64, Instant)>,
}

impl Heartbeats {
    /// A watch that calls a thread stuck when its heartbeat stood still for `stuck_after`.
    #[must_use]
    pub const fn new(stuck_after: Duration) -> Self {
        Self { stuck_after, seen: Vec::new() }
    }

    /// Looks at every heartbeat at the time `now`, and names the threads that are stuck and for how long.
    pub fn observe(&mut self, source: &(impl MetricsSource + ?Sized), now: Instant) -> Vec<(String, Duration)> {
        let workers = source.workers().iter();
        let beats = std::iter::once(source.control().rounds.get())
            .chain(workers.map(|worker| worker.telemetry.run.polls.get()));
        let mut stuck = Vec::new();
        for (place, beat) in beats.enumerate() {
            match self.seen.get_mut(place) {
                None => self.seen.push((beat, now)),
                Some(seen) if seen.0 != beat => *seen = (beat, now),
                Some((_, since)) => {
                    let still = now.saturating_duration_since(*since);
                    if still >= self.stuck_after {
                        stuck.push((thread_name(place), still));
                    }
                }
            }
        }
        stuck
    }
}

fn thread_name(place: usize) -> String {
    match place.checked_sub(1) {
        None => "the control thread".to_owned(),
        Some(worker) => format!("worker {worker}"),
    }
}
