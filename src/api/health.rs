//! Whether the threads that must never stop still turn.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::telemetry::MetricsSource;

/// Watches the heartbeats of the control thread, of every worker and of the threads between gateway and kernel: counters
/// that grow as long as a thread lives.
#[derive(Debug)]
pub struct Heartbeats {
    stuck_after: Duration,
    /// The last value of each and when it was first seen: the control thread's first, then the workers', then the others'.
    seen: Vec<(u64, Instant)>,
}

impl Heartbeats {
    /// A watch that calls a thread stuck when its heartbeat stood still for `stuck_after`, or for as long as the kernel may
    /// keep the thread, where that is longer.
    #[must_use]
    pub const fn new(stuck_after: Duration) -> Self {
        Self { stuck_after, seen: Vec::new() }
    }

    /// Looks at every heartbeat at the time `now`, and names the threads that are stuck and for how long.
    pub fn observe(&mut self, source: &(impl MetricsSource + ?Sized), now: Instant) -> Vec<(String, Duration)> {
        let workers = source.workers().iter().map(|worker| (worker.telemetry.run.polls.get(), Duration::ZERO));
        let others =
            source.threads().iter().map(|thread| (thread.heartbeat.load(Ordering::Relaxed), thread.longest_wait));
        let beats = std::iter::once((source.control().rounds.get(), Duration::ZERO)).chain(workers).chain(others);
        let mut stuck = Vec::new();
        for (place, (beat, longest_wait)) in beats.enumerate() {
            match self.seen.get_mut(place) {
                None => self.seen.push((beat, now)),
                Some(seen) if seen.0 != beat => *seen = (beat, now),
                Some((_, since)) => {
                    let still = now.saturating_duration_since(*since);
                    if still >= self.stuck_after.max(longest_wait) {
                        stuck.push((thread_name(source, place), still));
                    }
                }
            }
        }
        stuck
    }
}

fn thread_name(source: &(impl MetricsSource + ?Sized), place: usize) -> String {
    let Some(worker) = place.checked_sub(1) else { return "the control thread".to_owned() };
    let other = worker.checked_sub(source.workers().len()).and_then(|other| source.threads().get(other));
    other.map_or_else(|| format!("worker {worker}"), |thread| thread.name.to_owned())
}
