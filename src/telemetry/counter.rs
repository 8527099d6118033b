//! Counters with a single writer: an ordinary add for the core that counts, a torn-free read for everybody else.

use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::FromZeros;

use super::CACHE_LINE;
use crate::tables::fdb::Mapping;

/// A 64-bit counter that one thread writes and any thread reads.
///
/// Adding is a relaxed load and a relaxed store, so it costs what an ordinary variable costs: no locked instruction.
/// Two writers would lose each other's additions; they cause no undefined behaviour. A reader sees some value the
/// writer stored, never half of one, and never a smaller one than it saw before. Nothing is ordered by it: two
/// counters that are written together may be read one apart.
#[derive(Debug, Default, FromZeros)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `amount`, wrapping at 2^64. For the counter's one writer.
    #[inline(always)]
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Adds one. For the counter's one writer.
    #[inline(always)]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Replaces the value, for a number that also falls. For the counter's one writer.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value. For anybody.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many rows a `CounterTable` has: one for each value of a `u16` index.
pub const TABLE_ROWS: usize = 1 << 16;

/// The counters of many objects: rows none of which straddles a cache line, for `Row` is as aligned as it is large. A
/// row that was never counted in costs no memory, but for what shares its page.
#[derive(Debug)]
pub(super) struct CounterTable<Row>(Mapping<[Row; TABLE_ROWS]>);

impl<Row: FromZeros> CounterTable<Row> {
    const CHECKED: () = assert!(
        align_of::<Row>() == size_of::<Row>() && CACHE_LINE.is_multiple_of(size_of::<Row>()),
        "a row must divide a cache line"
    );

    /// A table of zeros.
    pub(super) fn new() -> Self {
        let () = Self::CHECKED;
        let rows = Mapping::zeroed(1);
        Self(rows.unwrap_or_else(|_| std::alloc::handle_alloc_error(std::alloc::Layout::new::<[Row; TABLE_ROWS]>())))
    }

    /// One row; every index has one.
    #[inline(always)]
    pub(super) fn row(&self, index: u16) -> &Row {
        &self.0.first()[usize::from(index)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(FromZeros)]
    #[repr(C, align(64))]
    struct Row([Counter; 8]);

    #[test]
    fn a_counter_adds_wraps_and_is_set() {
        let counter = Counter::new();
        counter.increment();
        counter.add(41);
        assert_eq!(counter.get(), 42);
        counter.add(u64::MAX);
        assert_eq!(counter.get(), 41);
        counter.set(7);
        assert_eq!(counter.get(), 7);
    }

    #[test]
    fn a_reader_never_sees_a_counter_fall() {
        let counter = Counter::new();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..100_000).for_each(|_| counter.increment()));
            let mut last = 0;
            while last < 100_000 {
                let now = counter.get();
                assert!(now >= last);
                last = now;
            }
        });
    }

    #[test]
    fn every_row_is_its_own_whole_cache_line() {
        let table = CounterTable::<Row>::new();
        let address = |index| std::ptr::from_ref(table.row(index)).addr();
        for index in 0..=u16::MAX {
            assert_eq!(address(index) % CACHE_LINE, 0, "row {index}");
            assert_eq!(address(index) - address(0), usize::from(index) * CACHE_LINE, "row {index}");
            table.row(index).0[7].add(u64::from(index));
        }
        assert!((0..=u16::MAX).all(|index| table.row(index).0[7].get() == u64::from(index)));
    }
}
