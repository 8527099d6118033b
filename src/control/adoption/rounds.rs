//! What concerns so many stations that one round does not do it: each does some, and goes on where the last one ended.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::ops::Bound;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::Adoption;
use crate::netlink::Mirror;
use crate::wire::{MacAddr, Vni};

/// Stations that one round looks at again because a next-hop object has changed, and of which it has the entry brought up to
/// date again: a few milliseconds' work.
pub(super) const ROUND: usize = 4096;

/// Next-hop objects that stations or flood lists go by and that have changed, in turn.
#[derive(Debug, Default)]
pub(super) struct Rerouted {
    /// Each with the last of these that was looked at again.
    waiting: VecDeque<(u32, Option<(u32, MacAddr)>)>,
    /// The same objects, and whether they have changed once more since they wait: then all is looked at once more, in its
    /// turn. However often one changes, all that go by it are reached, and so are those of the others.
    once_more: FxHashMap<u32, bool>,
}

impl Rerouted {
    pub(super) fn add(&mut self, id: u32) {
        match self.once_more.entry(id) {
            Entry::Occupied(mut waits) => *waits.get_mut() = true,
            Entry::Vacant(place) => {
                place.insert(false);
                self.waiting.push_back((id, None));
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Adoption {
    /// Every station's entry is to be looked at again, without news: of some in each round ([`Adoption::settle`]).
    pub fn repeat(&mut self) {
        self.repeating = Some(None);
    }

    pub(super) fn repeat_on(&mut self) {
        let Some(behind) = self.repeating else { return };
        let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
        let some = self.stations.range((from, Bound::Unbounded)).take(ROUND);
        let some: Vec<(Vni, MacAddr)> = some.map(|(station, _)| *station).collect();
        some.iter().for_each(|(vni, mac)| self.is_due(*vni, *mac, false));
        self.repeating = (some.len() == ROUND).then(|| some.last().copied());
    }

    /// Looks at some of the stations whose next hop has changed.
    pub(super) fn reroute_on(&mut self, mirror: &Mirror, now: Instant) {
        let mut left = ROUND;
        while left > 0
            && let Some((id, behind)) = self.rerouted.waiting.pop_front()
        {
            let users: Vec<(u32, MacAddr)> = mirror.users_of(id, behind).take(left).collect();
            for (device, mac) in &users {
                if let Some(vni) = self.vnis.get(device) {
                    self.look(*vni, *device, *mac, mirror, now);
                }
            }
            left -= users.len();
            if left == 0 {
                self.rerouted.waiting.push_front((id, users.last().copied()));
            } else if self.rerouted.once_more.remove(&id).unwrap_or_default() {
                self.rerouted.add(id);
            }
        }
    }
}
