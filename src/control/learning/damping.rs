//! Move damping: a station that moves too often is frozen where it is (RFC 7432, 15.1; conformance row B3).
//!
//! A station that moves back and forth is two stations with one address, or one behind a loop. Each move costs the control
//! thread work, sends frames now here and now there, and tells nobody. So moves are counted from the first one on for the
//! length of a window, and the one that is too many is the last: the entry stays there and is marked. Workers report such a
//! station no more when they hear it elsewhere, which is where the mark saves work, and forward its frames all the same, as
//! bridges and other VTEPs do that freeze: damping is about where frames *to* the station go. Who wants frames from the
//! wrong place dropped pins the address.
//!
//! A frozen entry ages like any other, and can be flushed; then the station is learned anew. What the control plane says of
//! a station is not held back, for who speaks EVPN counts moves on its own.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::config::model::MoveDamping;
use crate::tables::fdb::FdbKey;

/// Stations whose moves are counted at a time. Further ones move undamped until windows of these end.
const MAX_COUNTED: usize = 65_536;
/// Stations frozen at a time. Further ones move on.
const MAX_FROZEN: usize = 65_536;
/// How often it is looked for windows and freezes that have ended, at most.
const LOOK: Duration = Duration::from_millis(250);

/// The moves of a station.
#[derive(Clone, Copy, Debug)]
struct Moves {
    /// When the first one was.
    since: Instant,
    count: u32,
}

/// Which stations have moved of late, and which are frozen. Addresses are the choice of whoever sends frames, so both are
/// hashed with a secret.
#[derive(Debug, Default)]
pub(super) struct Damping {
    /// `None` where moves are not damped.
    policy: Option<MoveDamping>,
    moves: HashMap<FdbKey, Moves>,
    /// When each was frozen.
    frozen: HashMap<FdbKey, Instant>,
    looked: Option<Instant>,
}

impl Damping {
    pub(super) fn set_policy(&mut self, policy: Option<MoveDamping>) {
        self.policy = policy;
        if policy.is_none() {
            self.moves = HashMap::default();
        }
    }

    /// A station has moved. True where that was once too often, and it is frozen from now on.
    pub(super) fn is_too_many(&mut self, key: FdbKey, now: Instant) -> bool {
        let Some(policy) = self.policy else { return false };
        if self.moves.len() >= MAX_COUNTED && !self.moves.contains_key(&key) {
            return false;
        }
        let moves = self.moves.entry(key).or_insert(Moves { since: now, count: 0 });
        if now.saturating_duration_since(moves.since) >= policy.window {
            *moves = Moves { since: now, count: 0 };
        }
        moves.count += 1;
        if moves.count < policy.max_moves || self.frozen.len() >= MAX_FROZEN {
            return false;
        }
        self.moves.remove(&key);
        self.frozen.insert(key, now);
        true
    }

    /// A station is no longer frozen. True where it was.
    pub(super) fn release(&mut self, key: FdbKey) -> bool {
        self.frozen.remove(&key).is_some()
    }

    /// The frozen stations, in no order.
    pub(super) fn frozen(&self) -> impl ExactSizeIterator<Item = FdbKey> + '_ {
        self.frozen.keys().copied()
    }

    /// Forgets windows that have ended, and gives the stations whose freeze has ended: to be [released](Self::release).
    pub(super) fn look_after(&mut self, now: Instant) -> Vec<FdbKey> {
        let nothing = self.moves.is_empty() && self.frozen.is_empty();
        if nothing || self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK) {
            return Vec::new();
        }
        self.looked = Some(now);
        let window = self.policy.map_or(Duration::ZERO, |policy| policy.window);
        self.moves.retain(|_, moves| now.saturating_duration_since(moves.since) < window);
        // Where moves are no longer damped, nobody is frozen.
        let freeze = self.policy.map_or(Some(Duration::ZERO), |policy| policy.freeze);
        let Some(freeze) = freeze else { return Vec::new() };
        let over = |(_, since): &(&FdbKey, &Instant)| now.saturating_duration_since(**since) >= freeze;
        self.frozen.iter().filter(over).map(|(key, _)| *key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::BridgeIndex;
    use crate::wire::MacAddr;

    fn key(number: u64) -> FdbKey {
        FdbKey::new(BridgeIndex(1), MacAddr::from_u64(0x0200_0000_0000 | number))
    }

    fn damping() -> Damping {
        let mut damping = Damping::default();
        let freeze = Some(Duration::from_secs(60));
        damping.set_policy(Some(MoveDamping { max_moves: 5, window: Duration::from_secs(180), freeze }));
        damping
    }

    #[test]
    fn the_fifth_move_within_the_window_is_one_too_many_and_a_window_begins_with_its_first() {
        let (mut damping, start) = (damping(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!([0, 10, 20, 179].iter().all(|seconds| !damping.is_too_many(key(1), at(*seconds))));
        assert!(!damping.is_too_many(key(1), at(180)), "the window has ended, another begins");
        assert!([200, 201, 202].iter().all(|seconds| !damping.is_too_many(key(1), at(*seconds))));
        assert!(damping.is_too_many(key(1), at(359)));
        assert!(!damping.is_too_many(key(2), at(359)), "each station by itself");
    }

    #[test]
    fn a_freeze_ends_in_its_time_and_windows_are_forgotten() {
        let (mut damping, start) = (damping(), Instant::now());
        assert_eq!((0..5).filter(|_| damping.is_too_many(key(1), start)).count(), 1);
        assert!(!damping.is_too_many(key(2), start));
        assert_eq!(damping.look_after(start + Duration::from_secs(59)), []);
        assert_eq!(damping.look_after(start + Duration::from_secs(60)), [key(1)]);
        assert!(damping.release(key(1)) && !damping.release(key(1)));
        damping.look_after(start + Duration::from_secs(181));
        assert!(damping.moves.is_empty() && damping.frozen.is_empty());
    }

    /// Who knew could send from addresses that all lie in one place, and have each look-up take as long as there are such.
    #[test]
    fn nobody_knows_where_in_the_tables_a_station_is() {
        let orders = || {
            let (mut damping, start) = (damping(), Instant::now());
            (0..64).for_each(|number| assert!(!damping.is_too_many(key(number), start)));
            (64..128).for_each(|number| assert!((0..5).any(|_| damping.is_too_many(key(number), start))));
            let moved = damping.moves.keys().copied().collect::<Vec<_>>();
            (moved, damping.frozen().collect::<Vec<_>>())
        };
        let (one, other) = (orders(), orders());
        assert!(one.0 != other.0 && one.1 != other.1);
    }

    #[test]
    fn both_tables_are_bounded_and_what_is_beyond_moves_on() {
        let (mut damping, start) = (damping(), Instant::now());
        for number in 0..MAX_COUNTED as u64 + 10 {
            damping.is_too_many(key(number), start);
        }
        assert_eq!(damping.moves.len(), MAX_COUNTED);
        for number in 0..MAX_COUNTED as u64 {
            assert_eq!((0..4).filter(|_| damping.is_too_many(key(number), start)).count(), 1);
        }
        assert_eq!((damping.moves.len(), damping.frozen().len()), (0, MAX_FROZEN));
        assert!((0..9).all(|_| !damping.is_too_many(key(u64::from(u32::MAX)), start)));
    }
}
