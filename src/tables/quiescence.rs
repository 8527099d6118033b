//! Quiescence: how the control thread learns that every worker has finished what it was doing.
//!
//! # Who writes, who reads, in which order, and why that is right
//!
//! A table that is changed in place may give memory a new meaning only when no worker can still be acting on the old
//! one. A worker keeps nothing that it read from a table beyond its burst. So it suffices to know that every worker
//! has passed a burst boundary since the change.
//!
//! - The **epoch** is one counter. Only the control side advances it, after a change: [`Quiescence::advance`].
//! - Each worker has a **mark** of its own, on a cache line of its own. At every burst boundary it reads the epoch, and
//!   copies it to its mark if it differs: [`Reader::pass`]. In the steady state that is one load of a line that nobody
//!   writes, and no store.
//! - An epoch **has passed** when every mark has reached it: [`Quiescence::has_passed`].
//!
//! Two things have to hold once `advance` gave epoch *e* and `has_passed(e)` said true:
//!
//! 1. *What workers read before has been read.* A worker's reads of the old burst precede its store of the mark, a
//!    `Release`; the control side loads the mark with `Acquire` and writes afterwards. So those reads happen before
//!    those writes, and a read does not see a write that it happens before.
//! 2. *What workers read from now on is the change.* The control side's change precedes its increment of the epoch,
//!    an `AcqRel`; the worker's load that gave *e* or more is an `Acquire`. So the change happens before every read
//!    behind that boundary, and a read does not see what was overwritten before it.
//!
//! Marks come and go under the lock of their list, and `has_passed` holds that lock. A worker that registers before
//! a `has_passed` is counted by it. A worker that registers after it is ordered behind it by the lock, so (2) holds for
//! it as well, and it has no reads for (1). A worker that leaves drops its mark under the lock, behind all its reads.
//! With no worker registered, everything has passed at once.
//!
//! # How long it takes
//!
//! As long as the slowest worker's burst, or its sleep: a worker that has backed off because nothing arrives passes
//! a boundary each time it wakes. What waits here is only the reuse of slots, so a sleep of milliseconds delays nothing
//! that anyone sees. A worker that sleeps without bound has to drop its [`Reader`] first.

use std::sync::{Arc, PoisonError};

use crossbeam::utils::CachePadded;

use super::sync::{AtomicU64, Mutex, Ordering};

/// A point in time that workers pass: see [`Quiescence::advance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

type Mark = Arc<CachePadded<AtomicU64>>;

/// The workers that read a set of tables, and how far each has come.
#[derive(Debug)]
pub struct Quiescence {
    epoch: CachePadded<AtomicU64>,
    marks: Mutex<Vec<Mark>>,
}

impl Quiescence {
    /// A domain without workers.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { epoch: CachePadded::new(AtomicU64::new(0)), marks: Mutex::new(Vec::new()) })
    }

    /// Takes a worker in. It counts from now on, and until the [`Reader`] is dropped. Takes a lock: for a worker's
    /// start, not its loop.
    #[must_use]
    pub fn register(self: &Arc<Self>) -> Reader {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = self.epoch.load(Ordering::Acquire);
        let mark: Mark = Arc::new(CachePadded::new(AtomicU64::new(seen)));
        marks.push(Arc::clone(&mark));
        Reader { domain: Arc::clone(self), mark, seen }
    }

    /// Opens an epoch that workers pass at their next burst boundary. Call it after the change whose end to wait for.
    pub fn advance(&self) -> Epoch {
        Epoch(self.epoch.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// True once every registered worker has passed a burst boundary since `epoch` was opened.
    #[must_use]
    pub fn has_passed(&self, epoch: Epoch) -> bool {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.iter().all(|mark| mark.load(Ordering::Acquire) >= epoch.0)
    }

    /// The number of registered workers.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A worker's place in a [`Quiescence`] domain. Dropping it takes the worker out.
#[derive(Debug)]
pub struct Reader {
    domain: Arc<Quiescence>,
    mark: Mark,
    /// What the mark holds: only this worker writes it.
    seen: u64,
}

impl Reader {
    /// Says that this worker keeps nothing that it read from the tables. To be called between bursts, on every turn of
    /// the loop, idle or not.
    #[inline]
    pub fn pass(&mut self) {
        let epoch = self.domain.epoch.load(Ordering::Acquire);
        if epoch != self.seen {
            self.mark.store(epoch, Ordering::Release);
            self.seen = epoch;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut marks = self.domain.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.retain(|mark| !Arc::ptr_eq(mark, &self.mark));
    }
}

#[cfg(all(test, not(vtepd_loom)))]
mod tests {
    use super::*;

    #[test]
    fn without_workers_an_epoch_passes_at_once() {
        let domain = Quiescence::new();
        let epoch = domain.advance();
        assert!(domain.has_passed(epoch));
    }

    #[test]
    fn an_epoch_passes_when_the_last_worker_has_passed_a_boundary_after_it_was_opened() {
        let domain = Quiescence::new();
        let (mut one, mut two) = (domain.register(), domain.register());
        one.pass();
        let epoch = domain.advance();
        assert!(!domain.has_passed(epoch));
        one.pass();
        assert!(!domain.has_passed(epoch));
        two.pass();
        assert!(domain.has_passed(epoch));
        assert!(!domain.has_passed(domain.advance()), "the next epoch has a boundary of its own");
    }

    #[test]
    fn a_worker_that_leaves_is_waited_for_no_longer() {
        let domain = Quiescence::new();
        let (stays, leaves) = (domain.register(), domain.register());
        let epoch = domain.advance();
        drop(leaves);
        assert_eq!(domain.readers(), 1);
        assert!(!domain.has_passed(epoch), "the one that stays has not passed");
        drop(stays);
        assert!(domain.has_passed(epoch));
    }

    #[test]
    fn a_worker_that_registers_late_does_not_hold_back_an_earlier_epoch() {
        let domain = Quiescence::new();
        let epoch = domain.advance();
        let _late = domain.register();
        assert!(domain.has_passed(epoch));
    }

    #[test]
    fn what_is_written_lies_on_pairs_of_lines_of_its_own() {
        const PAIR: usize = 128;
        let domain = Quiescence::new();
        let readers: Vec<_> = (0..64).map(|_| domain.register()).collect();
        let mut pairs: Vec<_> = readers.iter().map(|reader| std::ptr::from_ref(&**reader.mark).addr() / PAIR).collect();
        // The counts of references in front of a mark, and the lock beside the epoch.
        pairs.extend(readers.iter().map(|reader| Arc::as_ptr(&reader.mark).addr() / PAIR - 1));
        pairs
            .extend([std::ptr::from_ref(&domain.epoch).addr() / PAIR, std::ptr::from_ref(&domain.marks).addr() / PAIR]);
        let all = pairs.len();
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!((pairs.len(), align_of::<CachePadded<AtomicU64>>() % PAIR), (all, 0));
    }
}
