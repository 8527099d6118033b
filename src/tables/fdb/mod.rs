//! The forwarding database (IEEE 802.1Q, 8.8): where each station of each bridge is. The one table that is changed in
//! place while workers read it.
//!
//! # Layout
//!
//! An array of buckets of one cache line, each with four keys and four values, one word each. A key has two buckets
//! where it may be, by two halves of a seeded hash. There are as many buckets as the table takes entries, so at most a
//! quarter of the slots is in use, 99 in 100 entries are in the first of their two buckets, and a lookup that finds one
//! there touches one cache line. Where both buckets are full, entries are moved to their other bucket: displacement.
//!
//! # Who writes, who reads
//!
//! - The **writer** ([`FdbWriter`], the control thread) is the only one that changes keys and that gives values a new
//!   meaning. There is one per table, and it is not `Clone`.
//! - **Workers** look up ([`Fdb::lookup`]), or look into the first bucket alone ([`Fdb::glance`]) and look up later in
//!   the same burst what they did not find there. Between two burst boundaries ([`Reader::pass`]) is a *burst*; a worker
//!   keeps nothing that it found beyond it. They write one thing: a compare-exchange of a value word that advances its
//!   age tick ([`Fdb::refresh`]).
//! - **Anyone** may list entries ([`Fdb::sweep`]) and read the counters. That has no bearing on forwarding, and is
//!   exact only where nothing changes meanwhile.
//!
//! # What a slot goes through
//!
//! ```text
//!   EMPTY, dead --fill--> key, value --remove--> RETIRED, dead --every worker passed--> EMPTY, dead
//!                              ^  |
//!                              |  +--displaced--> RETIRED, dead --+
//!                              +-----------fill: another key------+
//! ```
//!
//! Every store of a key is a `Release` and every load of one by a worker is an `Acquire`. The same goes for values,
//! except that the refresh of a worker is `Relaxed`: it publishes nothing but itself, and as a read-modify-write it
//! continues the release sequence of the writer's store, so that who reads the refreshed word synchronises with the
//! writer all the same. The writer reads keys `Relaxed`, for they are its own stores. On x86-64 all these loads and
//! stores are plain ones.
//!
//! The orders of the writer:
//!
//! - *fill*: value, then key. (The slot is dead before, so the model checker finds nothing wrong with the other order
//!   either; this one needs no such argument.)
//! - *set* (a station moved; the entry replaced): one swap of the value. A reader sees the old word or the new one.
//! - *remove*: value to dead, then key to RETIRED; the slot is queued.
//! - *reclaim*: once every worker passed, key to EMPTY.
//! - *relocate* (one step of displacement): fill the new slot with a copy; key of the old slot to RETIRED; value of the
//!   old slot swapped for dead; if that swap shows a refresh that the copy does not have, it is added to the copy,
//!   unless that was refreshed as well. The old slot is then filled with another key at once.
//!
//! The order of the reader, per bucket: all keys; on a match the value; then the key again. A slot counts only if the
//! value is live and the key is still there. First bucket, second bucket, first bucket again; then it is a miss. A glance
//! is one look at the first bucket: what it finds is a hit as any other, but that it finds nothing is no miss. The lookup
//! that follows takes nothing over from it and has its own three looks.
//!
//! # Why a hit is never another station's
//!
//! Let a worker load key *k* from a slot, then value *v*, then *k* again, and suppose *v* is another key's. That key
//! was filled into the slot before or after the first load.
//!
//! - *After it, or the worker's first load would have given it*: between *k* and the other key the writer stored
//!   RETIRED, and it stored *v* behind that. The worker's load of *v* is an `Acquire` of that store (or of a refresh
//!   of it), so the load of the key that follows gives RETIRED or something later. For it to give *k*, *k* must have
//!   come **back** to the slot within this lookup.
//! - *Before it*, that is, *v* is a remnant of who had the slot before *k*: *k* was stored behind *k*'s own value, the
//!   worker's first load was an `Acquire` of that, so the value it loads is *k*'s or a later one.
//!
//! It remains that no key comes back to a slot that it left, within one burst of any worker (this is the ABA problem).
//! A slot that a removed key left is filled only after every worker has passed since. A slot that a displaced key left
//! is filled at once with another key, and from then on is *settled*: it is displaced from only after every worker has
//! passed, and if its entry is removed, it is filled only after every worker has passed. So within any burst a slot
//! has at most two keys, and they differ: the second came in while the first one was in the table, in its other bucket.
//!
//! # Why a station that is in the table is never missed
//!
//! Let *k* be in the table throughout a lookup. While it is not moved, it is in one slot, and that slot's bucket is
//! looked at. A slot that displacement filled is settled, so *k* moves **at most once** within a lookup, which is within
//! a burst.
//!
//! - *From the first bucket to the second*: if the first look does not find it, then it loaded a key or value of the
//!   old slot that was stored behind the copy, with `Release`, or a look at the key again gave such a store. Each of
//!   these loads is an `Acquire`, so the look at the second bucket, which follows, finds the copy.
//! - *From the second to the first*: the first look may come before the copy, and the second look after the old slot
//!   was retired. But then the second look, by the same reasoning, makes the third one find the copy. Hence the third
//!   look. It is paid for by misses only, and the line is in the cache.
//!
//! This needs no version number and no fence, and costs a hit nothing.
//!
//! # Why a move is never lost, nor a refresh that matters
//!
//! A worker refreshes by exchanging exactly the word that it saw. If the writer has stored anything else, another
//! place, dead, or a newer tick, the exchange fails and nothing happens. If the exchange came first, the writer's swap
//! replaces it. Neither order brings back an old place. Ageing removes by exchanging the very word that it judged
//! ([`FdbWriter::remove_if_unchanged`]), so an entry that was refreshed meanwhile stays.
//!
//! One oddity is allowed: a worker that saw *k* may exchange the value of a slot that displacement has given to another
//! key whose value is the same word. It then marks an entry of the same place and tick as heard a tick later. That
//! entry ages one tick late.
//!
//! # What a worker's sleep means
//!
//! Slots of removed entries wait for the slowest worker ([`super::quiescence`] has the bound). Entries can be inserted
//! meanwhile: three quarters of the slots are free at the limit, and displacement waits for nobody.
//!
//! `tests/loom_fdb.rs` checks these claims under every order of operations that the memory model allows.
//!
//! [`Reader::pass`]: super::quiescence::Reader::pass

mod displacement;
mod entry;
mod hash;
mod mapping;
mod storage;
mod writer;

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crossbeam::utils::CachePadded;

use self::storage::{Bucket, Buckets, SLOTS};
use super::BridgeIndex;
use super::quiescence::Quiescence;
use super::sync::{AtomicU64, Ordering};

pub use self::entry::{AgeTick, FdbKey, FdbValue};
pub use self::hash::{HashSeed, secret_factors};
pub use self::mapping::Mapping;
pub use self::writer::{FdbWriter, InsertError, Inserted};

/// A key with the first of the two buckets where it may be, so that it can be prefetched before it is looked up. The
/// second bucket is found by hashing again: of the stations in the table, one in a hundred asks for it.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    key: FdbKey,
    /// The bucket's number.
    first: u32,
}

impl Probe {
    /// Of no station.
    pub const NOWHERE: Self = Self { key: FdbKey::from_bits(BridgeIndex(0), 0), first: 0 };

    /// The key.
    #[inline]
    #[must_use]
    pub const fn key(&self) -> FdbKey {
        self.key
    }
}

/// Numbers of the table for telemetry. Only the writer changes them, so each is a load and a store.
#[derive(Debug)]
struct Counters {
    entries: AtomicU64,
    displaced: AtomicU64,
    refused: AtomicU64,
}

/// The forwarding database of all bridges. Workers read it and refresh ages; the [`FdbWriter`] does all else.
#[derive(Debug)]
pub struct Fdb {
    buckets: Buckets,
    seed: HashSeed,
    max_entries: usize,
    counters: CachePadded<Counters>,
}

impl Fdb {
    /// The most entries a table can be made for.
    pub const MAX_ENTRIES: usize = 1 << 30;

    /// An empty table for up to `max_entries` entries (at least 1, at most [`Fdb::MAX_ENTRIES`]; others are clamped),
    /// and its one writer. Takes 64 to 128 bytes of address space per entry, which become memory as they are used.
    ///
    /// `readers` is the domain in which every worker that looks up in this table is registered.
    ///
    /// # Errors
    /// The system's, where it has no such memory.
    pub fn with_writer(max_entries: usize, readers: Arc<Quiescence>) -> io::Result<(Arc<Self>, FdbWriter)> {
        let max_entries = max_entries.clamp(1, Self::MAX_ENTRIES);
        // As many buckets as entries, so four slots for each entry: load 0.25 when full.
        Self::with_buckets(max_entries, max_entries, HashSeed::random(), readers)
    }

    /// As [`Fdb::with_writer`], with a given number of buckets (rounded up to a power of two, at least 2) and a given
    /// hash: for tests, which want small tables, high load, and to know where things are.
    ///
    /// # Errors
    /// The system's, where it has no such memory.
    pub fn with_buckets(
        max_entries: usize,
        buckets: usize,
        seed: HashSeed,
        readers: Arc<Quiescence>,
    ) -> io::Result<(Arc<Self>, FdbWriter)> {
        let zero = || AtomicU64::new(0);
        let fdb = Arc::new(Self {
            buckets: Buckets::new(buckets.clamp(2, Self::MAX_ENTRIES))?,
            seed,
            max_entries,
            counters: CachePadded::new(Counters { entries: zero(), displaced: zero(), refused: zero() }),
        });
        Ok((Arc::clone(&fdb), FdbWriter::new(fdb, readers)))
    }

    /// Hashes a key: the first of the three steps of a lookup.
    #[inline(always)]
    #[must_use]
    pub fn probe(&self, key: FdbKey) -> Probe {
        // The table has at most 2^30 buckets.
        Probe { key, first: self.buckets.index(self.seed.hash(key).0) as u32 }
    }

    /// The number of the bucket where a key may be if it is not in its first one.
    fn second_home(&self, probe: &Probe) -> usize {
        let (first, second) = self.seed.hash(probe.key);
        let (first, second) = (self.buckets.index(first), self.buckets.index(second));
        // The two buckets are to be different ones: the last bit tells them apart where they are not.
        second ^ usize::from(first == second)
    }

    /// Starts to bring the first bucket of a key into the cache, which is where all but a few entries are.
    #[inline(always)]
    pub fn prefetch_first(&self, probe: &Probe) {
        self.buckets.prefetch(probe.first as usize);
    }

    /// Starts to bring the second bucket of a key into the cache, for a lookup after a glance that found nothing.
    pub fn prefetch_second(&self, probe: &Probe) {
        self.buckets.prefetch(self.second_home(probe));
    }

    /// What the first bucket of a key says of it: if anything, what [`Fdb::lookup`] says. Where it says nothing, the key
    /// may be in the table all the same, and [`Fdb::lookup`] knows. To be called by who may call that.
    #[inline(always)]
    #[must_use]
    pub fn glance(&self, probe: &Probe) -> Option<FdbValue> {
        find_in(self.buckets.at(probe.first as usize), probe.key).map(|found| found.value)
    }

    /// What the table says of a key. A worker that calls it is registered in the table's [`Quiescence`] and keeps
    /// nothing of the answer over a burst boundary.
    ///
    /// A thread that is not registered gets a right answer too, unless during the call the entry is moved twice, or
    /// its slot is given to another station and back: good enough for a person who asks.
    #[must_use]
    pub fn lookup(&self, probe: &Probe) -> Option<FdbValue> {
        self.find(probe).map(|found| found.value)
    }

    /// Notes that a learned entry was heard at `tick`, where it still says what `seen` says, which a lookup of the same
    /// burst gave. False where it says something else by now, or is just being moved: a race that is lost does no harm,
    /// the station's next frame tries again. To be called only when it changes the tick. This is the one write of a
    /// worker.
    #[inline]
    pub fn refresh(&self, probe: &Probe, seen: FdbValue, tick: AgeTick) -> bool {
        let (seen, heard) = (seen.to_word(), seen.with_tick(tick).to_word());
        self.find(probe).is_some_and(|found| {
            let value = &found.bucket.value[found.slot];
            // Relaxed: nothing is published but the word, and the exchange continues the writer's release sequence.
            value.compare_exchange(seen, heard, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        })
    }

    /// The first bucket, the second, and then the first one again: an entry that was moved from the second to the first
    /// between our two looks is there now.
    fn find(&self, probe: &Probe) -> Option<Found<'_>> {
        let first = self.buckets.at(probe.first as usize);
        let second = || self.buckets.at(self.second_home(probe));
        find_in(first, probe.key).or_else(|| find_in(second(), probe.key)).or_else(|| find_in(first, probe.key))
    }

    /// The entries of a range of buckets (cut at [`Fdb::bucket_count`]), from any thread. An entry that comes, goes or
    /// is displaced meanwhile may be missing, or be there twice.
    pub fn sweep(&self, range: Range<usize>) -> impl Iterator<Item = (FdbKey, FdbValue)> + '_ {
        (range.start..range.end.min(self.bucket_count())).flat_map(|index| {
            let bucket = self.buckets.at(index);
            (0..SLOTS).filter_map(move |slot| {
                let word = bucket.key[slot].load(Ordering::Acquire);
                let key = FdbKey::from_word(word)?;
                let value = FdbValue::from_word(bucket.value[slot].load(Ordering::Acquire))?;
                (bucket.key[slot].load(Ordering::Acquire) == word).then_some((key, value))
            })
        })
    }

    /// The numbers of the two buckets where a key may be, as [`Fdb::sweep`] counts them; the first choice first.
    #[must_use]
    pub fn homes(&self, probe: &Probe) -> [usize; 2] {
        [probe.first as usize, self.second_home(probe)]
    }

    /// All entries: [`Fdb::sweep`] over the whole table.
    pub fn iter(&self) -> impl Iterator<Item = (FdbKey, FdbValue)> + '_ {
        self.sweep(0..self.bucket_count())
    }

    /// The number of buckets, a power of two.
    #[must_use]
    pub fn bucket_count(&self) -> usize {
        self.buckets.count()
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counters.entries.load(Ordering::Relaxed) as usize
    }

    /// True where there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most entries that this table takes.
    #[must_use]
    pub fn max_entries(&self) -> usize {
        self.max_entries
    }

    /// How many entries have been moved to their other bucket to make room, since the start.
    #[must_use]
    pub fn displaced(&self) -> u64 {
        self.counters.displaced.load(Ordering::Relaxed)
    }

    /// How many insertions were refused for want of room, since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counters.refused.load(Ordering::Relaxed)
    }
}

/// Where an entry was found, and what it said.
struct Found<'a> {
    bucket: &'a Bucket,
    slot: usize,
    value: FdbValue,
}

/// Looks for a key in one bucket. The order of the three loads is the essay's.
#[inline(always)]
fn find_in(bucket: &Bucket, key: FdbKey) -> Option<Found<'_>> {
    let word = key.to_word();
    let matches = bucket.slots_with(word);
    if matches == 0 {
        return None;
    }
    let slot = matches.trailing_zeros() as usize % SLOTS;
    let value = FdbValue::from_word(bucket.value[slot].load(Ordering::Acquire))?;
    (bucket.key[slot].load(Ordering::Acquire) == word).then_some(Found { bucket, slot, value })
}
