//! Making room by moving entries to their other bucket, where both buckets of a new key are full.

use arrayvec::ArrayVec;

use super::storage::SLOTS;
use super::writer::{FdbWriter, Place};
use super::{FdbKey, FdbValue};
use crate::tables::sync::Ordering;

/// The most buckets that one search looks at. Among this many, at a load of 0.25, one without room does not come up.
const SEARCH: usize = 128;

/// A bucket that the search reached.
struct Reached {
    bucket: usize,
    /// The step before: which reached bucket, and the slot in it whose entry would move here.
    from: Option<(usize, usize)>,
}

impl FdbWriter {
    /// Frees a slot in one of two full buckets by moving a chain of entries, each to its other bucket; `None`, and
    /// nothing changed, where no short chain ends at an empty slot.
    ///
    /// The search is breadth first, so the chain is the shortest, and it reaches each bucket once, so that no slot is
    /// in a chain twice.
    pub(super) fn displace(&mut self, homes: [usize; 2]) -> Option<Place> {
        let mut reached: ArrayVec<Reached, SEARCH> =
            homes.map(|bucket| Reached { bucket, from: None }).into_iter().collect();
        let mut next = 0;
        while let Some(bucket) = reached.get(next).map(|step| step.bucket) {
            for slot in 0..SLOTS {
                let Some(other) = self.other_home(Place { bucket, slot }) else { continue };
                if reached.iter().any(|step| step.bucket == other) {
                    continue;
                }
                let step = Reached { bucket: other, from: Some((next, slot)) };
                if let Some(empty) = self.fdb.empty_slot(other) {
                    return Some(self.move_along(&reached, step, empty));
                }
                if reached.try_push(step).is_err() {
                    return None;
                }
            }
            next += 1;
        }
        None
    }

    /// The bucket that the entry of a slot could move to; `None` where the slot has no entry, or one that has to stay
    /// because displacement put it there since workers last passed.
    fn other_home(&self, place: Place) -> Option<usize> {
        let key = FdbKey::from_word(self.fdb.key_at(place).load(Ordering::Relaxed))?;
        if self.settled.contains(&place) {
            return None;
        }
        let [first, second] = self.fdb.homes(&self.fdb.probe(key));
        Some(if place.bucket == first { second } else { first })
    }

    /// Moves the entries of a chain, the last one first, and gives the slot that is free in the end.
    fn move_along(&mut self, reached: &[Reached], last: Reached, empty: Place) -> Place {
        let (mut from, mut free) = (last.from, empty);
        while let Some((step, slot)) = from {
            let Some(parent) = reached.get(step) else { break };
            let vacated = Place { bucket: parent.bucket, slot };
            self.relocate(vacated, free);
            self.settle(free);
            (from, free) = (parent.from, vacated);
        }
        // The new key goes here.
        self.settle(free);
        free
    }

    /// Moves one entry: copied first, so that it can be found all the time, then taken off its old slot. What a worker
    /// refreshed in the old slot since the copy is carried over, unless the copy was refreshed as well.
    fn relocate(&self, from: Place, to: Place) {
        let Some(key) = FdbKey::from_word(self.fdb.key_at(from).load(Ordering::Relaxed)) else { return };
        let copied = self.fdb.value_at(from).load(Ordering::Acquire);
        self.fill(to, key, copied);
        self.fdb.key_at(from).store(FdbKey::RETIRED, Ordering::Release);
        let left = self.fdb.value_at(from).swap(FdbValue::DEAD, Ordering::AcqRel);
        if left != copied {
            let _ = self.fdb.value_at(to).compare_exchange(copied, left, Ordering::AcqRel, Ordering::Relaxed);
        }
        let displaced = self.fdb.counters.displaced.load(Ordering::Relaxed);
        self.fdb.counters.displaced.store(displaced + 1, Ordering::Relaxed);
    }
}
