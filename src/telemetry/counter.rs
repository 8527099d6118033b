//! Counters with a single writer: an ordinary add for the core that counts, a torn-free read for everybody else.

use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::FromZeros;

use super::CACHE_LINE;

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

/// How many counters a cache line holds.
const COUNTERS_PER_LINE: usize = CACHE_LINE / size_of::<Counter>();

/// The `LENGTH` of a [`CounterTable`] with `width` counters a row.
pub(super) const fn table_length(width: usize) -> usize {
    TABLE_ROWS * width + COUNTERS_PER_LINE - 1
}

/// 65536 rows of `WIDTH` counters, where a row never straddles a cache line and a row that was never counted in
/// costs no memory.
///
/// An over-aligned allocation that has to be zero is written to by the allocator, all 4 MiB of it. One of ordinary
/// alignment comes from the kernel as pages of zeros that take memory on their first write. So the allocation is of
/// ordinary alignment, seven counters longer than needed, and the rows begin at its first cache-line boundary.
#[derive(Debug)]
pub(super) struct CounterTable<const WIDTH: usize, const LENGTH: usize> {
    counters: Box<[Counter; LENGTH]>,
    /// The first row's place in `counters`, 0 to 7.
    first: usize,
    /// What a row outside the table would be; there is none.
    outside: [Counter; WIDTH],
}

impl<const WIDTH: usize, const LENGTH: usize> CounterTable<WIDTH, LENGTH> {
    const CHECKED: () = assert!(
        WIDTH.is_power_of_two() && WIDTH <= COUNTERS_PER_LINE && LENGTH == table_length(WIDTH),
        "a row must divide a cache line, and the table must hold all rows behind any first boundary"
    );

    /// A table of zeros.
    pub(super) fn new() -> Self {
        let () = Self::CHECKED;
        let counters = <[Counter; LENGTH]>::new_box_zeroed()
            .unwrap_or_else(|_| std::alloc::handle_alloc_error(std::alloc::Layout::new::<[Counter; LENGTH]>()));
        let first = counters.as_ptr().align_offset(CACHE_LINE) % COUNTERS_PER_LINE;
        Self { counters, first, outside: [const { Counter::new() }; WIDTH] }
    }

    /// One row. Any index is in the table; the mask lets the compiler see it, so that nothing is compared.
    #[inline(always)]
    pub(super) fn row(&self, index: u16) -> &[Counter; WIDTH] {
        let start = self.first % COUNTERS_PER_LINE + usize::from(index) * WIDTH;
        self.counters.get(start..start + WIDTH).and_then(|row| row.first_chunk()).unwrap_or(&self.outside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Table = CounterTable<8, { table_length(8) }>;

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
        let table = Table::new();
        let first = table.row(0).as_ptr().addr();
        for index in 0..=u16::MAX {
            let row = table.row(index);
            assert_eq!(row.as_ptr().addr() % CACHE_LINE, 0, "row {index}");
            assert_eq!(row.as_ptr().addr() - first, usize::from(index) * CACHE_LINE, "row {index}");
            row[7].add(u64::from(index));
        }
        assert!((0..=u16::MAX).all(|index| table.row(index)[7].get() == u64::from(index)));
        assert!(table.outside.iter().all(|counter| counter.get() == 0));
    }
}
