//! What a worker does when nothing arrives.

use std::time::Duration;

use crate::config::model::Idle;

/// Empty rounds before the first sleep: some tens of microseconds, longer than a gap within a flow.
const PATIENCE: u32 = 2000;
/// The first sleep. Linux adds its timer slack, 50 microseconds unless it was changed.
const SHORTEST: Duration = Duration::from_micros(20);
/// The longest sleep: what the first packet after a silence waits at the most, besides the timer slack.
const LONGEST: Duration = Duration::from_millis(1);

/// Counts empty rounds and says when to sleep.
#[derive(Debug)]
pub struct Backoff {
    policy: Idle,
    empty_rounds: u32,
    next: Duration,
}

impl Backoff {
    /// For a worker with this policy.
    #[must_use]
    pub fn new(policy: Idle) -> Self {
        Self { policy, empty_rounds: 0, next: SHORTEST }
    }

    /// A round found packets.
    #[inline]
    pub fn busy(&mut self) {
        self.empty_rounds = 0;
        self.next = SHORTEST;
    }

    /// A round found none: how long to sleep, if at all. Each sleep is half as long again as the one before.
    #[inline]
    #[must_use]
    pub fn idle(&mut self) -> Option<Duration> {
        if self.policy == Idle::Poll {
            return None;
        }
        self.empty_rounds = self.empty_rounds.saturating_add(1);
        if self.empty_rounds < PATIENCE {
            return None;
        }
        let sleep = self.next;
        self.next = (sleep * 3 / 2).min(LONGEST);
        Some(sleep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poll_never_sleeps() {
        let mut backoff = Backoff::new(Idle::Poll);
        assert!((0..10 * PATIENCE).all(|_| backoff.idle().is_none()));
    }

    #[test]
    fn adaptive_sleeps_longer_and_longer_up_to_the_bound_and_starts_over_with_a_packet() {
        let mut backoff = Backoff::new(Idle::Adaptive);
        assert!((1..PATIENCE).all(|_| backoff.idle().is_none()));
        let sleeps: Vec<_> = (0..50).filter_map(|_| backoff.idle()).collect();
        assert_eq!((sleeps.len(), sleeps[0]), (50, SHORTEST));
        assert!(sleeps.is_sorted() && sleeps.last() == Some(&LONGEST));
        backoff.busy();
        assert_eq!(backoff.idle(), None);
    }
}
