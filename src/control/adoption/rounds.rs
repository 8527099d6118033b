//! What concerns so many stations that one round does not do it: each does some, and goes on where the last one ended.

use std::ops::Bound;
use std::time::Instant;

use super::Adoption;
use crate::netlink::Mirror;
use crate::wire::{MacAddr, Vni};

/// Stations that one round looks at again because a next-hop object has changed, and of which it has the entry brought up to
/// date again: a few milliseconds' work.
pub(super) const ROUND: usize = 4096;

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
            && let Some((id, behind)) = self.rerouted.pop_first()
        {
            let users: Vec<(u32, MacAddr)> = mirror.users_of(id, behind).take(left).collect();
            for (device, mac) in &users {
                if let Some(vni) = self.vnis.get(device) {
                    self.look(*vni, *device, *mac, mirror, now);
                }
            }
            left -= users.len();
            if left == 0 {
                self.rerouted.insert(id, users.last().copied());
            }
        }
    }
}
