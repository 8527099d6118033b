//! The one writer: insertion, replacement, removal, and the reuse of slots. The order of its stores is the essay's.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use thiserror::Error;

use super::storage::SLOTS;
use super::{Fdb, FdbKey, FdbValue, Probe};
use crate::tables::quiescence::{Epoch, Quiescence};
use crate::tables::sync::{AtomicU64, Ordering};

/// What [`FdbWriter::insert`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// There was no entry of that key.
    New,
    /// There was one, and this is what it said.
    Replaced(FdbValue),
}

/// Why [`FdbWriter::insert`] did not insert. The table is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InsertError {
    /// The table holds as many entries as it was made for.
    #[error("the FDB is full")]
    Full,
    /// There is no slot where this key could be, not even after moving others. It does not come up at the load that
    /// [`Fdb::with_writer`] leaves, unless a great many slots wait for workers to pass: a later try may succeed.
    #[error("the FDB has no free slot for this station")]
    Crowded,
    /// A group address or the zero address is no station's.
    #[error("the address is not a station's")]
    NotAStation,
}

/// One slot of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) bucket: usize,
    pub(super) slot: usize,
}

/// A [`Place`] in a quarter of the memory, for a million of them in a queue: the slot's number in the whole table, which
/// has at most 2^30 buckets.
#[derive(Clone, Copy, Debug)]
struct SlotNumber(u32);

impl From<Place> for SlotNumber {
    fn from(place: Place) -> Self {
        Self((place.bucket * SLOTS + place.slot) as u32)
    }
}

impl From<SlotNumber> for Place {
    fn from(number: SlotNumber) -> Self {
        let number = number.0 as usize;
        Self { bucket: number / SLOTS, slot: number % SLOTS }
    }
}

/// What waits for every worker to pass a burst boundary.
#[derive(Clone, Copy, Debug)]
enum Waiting {
    /// A retired slot, to become empty.
    Reuse(SlotNumber),
    /// A slot that displacement filled, to be displaced from again.
    Displacement(SlotNumber),
}

const _: () = assert!(size_of::<Waiting>() == 8);

/// The right to change an [`Fdb`]. There is one for each table; its owner is the control thread.
#[derive(Debug)]
pub struct FdbWriter {
    pub(super) fdb: Arc<Fdb>,
    readers: Arc<Quiescence>,
    /// What was left behind since the last epoch was opened.
    open: VecDeque<Waiting>,
    /// What waits for `epoch`, or has waited: first in, first out, because a slot may be here for both reasons, in that
    /// order, and its second life is not to begin before its first one is forgotten.
    closed: VecDeque<Waiting>,
    epoch: Option<Epoch>,
    /// The slots that displacement filled, and may not take from yet.
    pub(super) settled: HashSet<Place>,
}

impl FdbWriter {
    /// The most slots that one [`FdbWriter::reclaim`] frees.
    pub const RECLAIM_BATCH: usize = 1024;

    pub(super) fn new(fdb: Arc<Fdb>, readers: Arc<Quiescence>) -> Self {
        Self { fdb, readers, open: VecDeque::new(), closed: VecDeque::new(), epoch: None, settled: HashSet::new() }
    }

    /// The table.
    #[must_use]
    pub fn fdb(&self) -> &Arc<Fdb> {
        &self.fdb
    }

    /// Starts to bring both buckets of a key into the cache: only who looks into both knows that a key is new. To be
    /// called for a batch of keys before they are inserted one by one, so that their buckets come side by side.
    pub fn prefetch(&self, key: FdbKey) {
        for bucket in self.fdb.homes(&self.fdb.probe(key)) {
            self.fdb.buckets.prefetch(bucket);
        }
    }

    /// Inserts an entry, or replaces what the entry of that key says.
    ///
    /// # Errors
    /// [`InsertError`]; the table is then as it was. Replacing never fails.
    pub fn insert(&mut self, key: FdbKey, value: FdbValue) -> Result<Inserted, InsertError> {
        if !key.is_station() {
            return Err(InsertError::NotAStation);
        }
        if let Some(old) = self.set(key, value) {
            return Ok(Inserted::Replaced(old));
        }
        let entries = self.fdb.len();
        if entries >= self.fdb.max_entries {
            self.count_refusal();
            return Err(InsertError::Full);
        }
        let Some(place) = self.make_room(&self.fdb.probe(key)) else {
            self.count_refusal();
            return Err(InsertError::Crowded);
        };
        self.fill(place, key, value.to_word());
        self.fdb.counters.entries.store(entries as u64 + 1, Ordering::Relaxed);
        Ok(Inserted::New)
    }

    /// Replaces what an entry says, in one store, and gives what it said; `None`, and nothing done, where there is no
    /// such entry.
    pub fn set(&mut self, key: FdbKey, value: FdbValue) -> Option<FdbValue> {
        let place = self.place_of(key)?;
        // A refresh that comes later fails its compare, one that came before is part of what is given back. Release,
        // as every store of a value.
        FdbValue::from_word(self.value(place).swap(value.to_word(), Ordering::AcqRel))
    }

    /// Removes an entry, and gives what it said.
    pub fn remove(&mut self, key: FdbKey) -> Option<FdbValue> {
        let place = self.place_of(key)?;
        let old = FdbValue::from_word(self.value(place).swap(FdbValue::DEAD, Ordering::AcqRel));
        self.retire(place);
        old
    }

    /// Removes an entry if it still says what `seen` says; true if it did. So an entry that a worker refreshes while
    /// ageing looks at it stays.
    pub fn remove_if_unchanged(&mut self, key: FdbKey, seen: FdbValue) -> bool {
        let Some(place) = self.place_of(key) else { return false };
        let (seen, dead) = (seen.to_word(), FdbValue::DEAD);
        if self.value(place).compare_exchange(seen, dead, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        self.retire(place);
        true
    }

    /// Makes slots of removed entries empty again once every worker has passed a burst boundary since, and opens the
    /// next epoch for those that were removed meanwhile. Never waits, does a bounded amount of work, and gives how many
    /// slots it made empty: to be called now and then, and again soon where that is [`FdbWriter::RECLAIM_BATCH`].
    pub fn reclaim(&mut self) -> usize {
        if self.closed.is_empty() && !self.open.is_empty() {
            std::mem::swap(&mut self.open, &mut self.closed);
            self.epoch = Some(self.readers.advance());
        }
        match self.epoch {
            Some(epoch) if !self.readers.has_passed(epoch) => return 0,
            _ => self.epoch = None,
        }
        let mut emptied = 0;
        for waiting in self.closed.drain(..self.closed.len().min(Self::RECLAIM_BATCH)) {
            match waiting {
                Waiting::Reuse(place) => {
                    self.fdb.key_at(place.into()).store(FdbKey::EMPTY, Ordering::Release);
                    emptied += 1;
                }
                Waiting::Displacement(place) => {
                    self.settled.remove(&place.into());
                }
            }
        }
        emptied
    }

    /// Opens an epoch: once it [has passed](FdbWriter::has_passed), no worker acts on an entry that is gone by now.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.readers.advance()
    }

    /// True once every worker has passed a burst boundary since `epoch` was opened.
    #[must_use]
    pub fn has_passed(&self, epoch: Epoch) -> bool {
        self.readers.has_passed(epoch)
    }

    /// How many slots wait for workers to pass.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.open.len() + self.closed.len()
    }

    /// An empty slot for a key that is not in the table: in its first bucket, else in its second one, else after
    /// reclaiming, else after displacing others.
    fn make_room(&mut self, probe: &Probe) -> Option<Place> {
        let homes = self.fdb.homes(probe);
        let empty = |fdb: &Fdb| homes.into_iter().find_map(|bucket| fdb.empty_slot(bucket));
        if let Some(place) = empty(&self.fdb) {
            return Some(place);
        }
        self.reclaim();
        empty(&self.fdb).or_else(|| self.displace(homes))
    }

    /// Stores an entry into a slot that is empty, or that displacement has just left.
    pub(super) fn fill(&self, place: Place, key: FdbKey, value: u64) {
        self.value(place).store(value, Ordering::Release);
        self.fdb.key_at(place).store(key.to_word(), Ordering::Release);
    }

    /// Lets displacement alone with a slot that it filled until workers have passed.
    pub(super) fn settle(&mut self, place: Place) {
        self.settled.insert(place);
        self.open.push_back(Waiting::Displacement(place.into()));
    }

    /// Takes the key off a slot whose value is dead.
    fn retire(&mut self, place: Place) {
        self.fdb.key_at(place).store(FdbKey::RETIRED, Ordering::Release);
        self.open.push_back(Waiting::Reuse(place.into()));
        let entries = self.fdb.counters.entries.load(Ordering::Relaxed);
        self.fdb.counters.entries.store(entries - 1, Ordering::Relaxed);
    }

    fn place_of(&self, key: FdbKey) -> Option<Place> {
        self.fdb.homes(&self.fdb.probe(key)).into_iter().find_map(|bucket| self.fdb.slot_with(bucket, key.to_word()))
    }

    fn value(&self, place: Place) -> &AtomicU64 {
        self.fdb.value_at(place)
    }

    fn count_refusal(&self) {
        let refused = self.fdb.counters.refused.load(Ordering::Relaxed);
        self.fdb.counters.refused.store(refused + 1, Ordering::Relaxed);
    }
}

/// What the writer asks of the table. Keys are the writer's own stores, so `Relaxed` reads them back.
impl Fdb {
    pub(super) fn key_at(&self, place: Place) -> &AtomicU64 {
        &self.buckets.at(place.bucket).key[place.slot]
    }

    pub(super) fn value_at(&self, place: Place) -> &AtomicU64 {
        &self.buckets.at(place.bucket).value[place.slot]
    }

    pub(super) fn empty_slot(&self, bucket: usize) -> Option<Place> {
        self.slot_with(bucket, FdbKey::EMPTY)
    }

    fn slot_with(&self, bucket: usize, word: u64) -> Option<Place> {
        let keys = &self.buckets.at(bucket).key;
        (0..SLOTS).find(|&slot| keys[slot].load(Ordering::Relaxed) == word).map(|slot| Place { bucket, slot })
    }
}
