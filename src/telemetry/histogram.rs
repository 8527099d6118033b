//! A histogram of durations that costs its writer a shift, a leading-zero count and an add.

use hdrhistogram::Histogram;

use super::counter::Counter;

/// Buckets in each power of two, as a power of two. A value is told by its bucket's middle, so the error is at most
/// half a bucket in 32: 1.6 %.
const SUB_BUCKET_BITS: u32 = 5;

/// Buckets in each power of two.
const SUB_BUCKETS: usize = 1 << SUB_BUCKET_BITS;

/// One more than the highest bit a value is told by: 2^40 cycles are 6 minutes at 3 GHz.
const VALUE_BITS: u32 = 40;

/// The buckets of all values: exact up to 31, then 32 for each power of two.
const BUCKETS: usize = (VALUE_BITS - SUB_BUCKET_BITS + 1) as usize * SUB_BUCKETS;

/// A log-linear histogram of durations in cycles, written by one thread and read by any, of fixed size.
///
/// Values over [`CycleHistogram::MAX`] count as that.
#[derive(Debug)]
pub struct CycleHistogram {
    buckets: [Counter; BUCKETS],
    sum: Counter,
}

impl CycleHistogram {
    /// The longest duration that is told from longer ones, in cycles.
    pub const MAX: u64 = (1 << VALUE_BITS) - 1;

    /// An empty histogram.
    #[must_use]
    pub const fn new() -> Self {
        Self { buckets: [const { Counter::new() }; BUCKETS], sum: Counter::new() }
    }

    /// Counts one duration. For the histogram's one writer.
    #[inline]
    pub fn record(&self, cycles: u64) {
        if let Some(bucket) = self.buckets.get(bucket_of(cycles.min(Self::MAX))) {
            bucket.increment();
        }
        self.sum.add(cycles);
    }

    /// The sum of all durations, in cycles.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.get()
    }

    /// Adds what was counted to `histogram`, each duration as the middle of its bucket.
    pub fn add_to(&self, histogram: &mut Histogram<u64>) {
        for (index, bucket) in self.buckets.iter().enumerate() {
            let count = bucket.get();
            if count > 0 {
                histogram.saturating_record_n(middle_of(index), count);
            }
        }
    }

    /// An [`hdrhistogram::Histogram`] of what was counted, for quantiles.
    #[must_use]
    pub fn to_histogram(&self) -> Histogram<u64> {
        let mut histogram = empty_histogram();
        self.add_to(&mut histogram);
        histogram
    }
}

impl Default for CycleHistogram {
    fn default() -> Self {
        Self::new()
    }
}

/// An empty histogram of the range of [`CycleHistogram`], with three significant digits.
fn empty_histogram() -> Histogram<u64> {
    // The bounds are constants that hdrhistogram accepts; three digits alone are always accepted.
    Histogram::new_with_bounds(1, CycleHistogram::MAX, 3).unwrap_or_else(|_| unreachable!("constant, accepted bounds"))
}

/// The bucket of `cycles`, which is at most [`CycleHistogram::MAX`].
#[inline]
const fn bucket_of(cycles: u64) -> usize {
    let shift = u64::BITS - 1 - SUB_BUCKET_BITS - (cycles | SUB_BUCKETS as u64).leading_zeros();
    ((shift as usize) << SUB_BUCKET_BITS) + (cycles >> shift) as usize
}

/// The middle of the values in bucket `index`.
const fn middle_of(index: usize) -> u64 {
    if index < 2 * SUB_BUCKETS {
        return index as u64;
    }
    let shift = (index >> SUB_BUCKET_BITS) - 1;
    let lowest = ((index % SUB_BUCKETS + SUB_BUCKETS) as u64) << shift;
    lowest + (1 << shift) / 2
}

const _: () = assert!(bucket_of(CycleHistogram::MAX) == BUCKETS - 1);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_are_contiguous_and_hold_their_middle() {
        for index in 0..BUCKETS {
            assert_eq!(bucket_of(middle_of(index)), index);
        }
        for cycles in 1..1 << 16 {
            let (before, here) = (bucket_of(cycles - 1), bucket_of(cycles));
            assert!(here == before || here == before + 1, "{cycles}");
        }
    }

    #[test]
    fn a_duration_over_the_range_counts_as_the_longest() {
        let histogram = CycleHistogram::new();
        histogram.record(u64::MAX);
        histogram.record(0);
        let told = histogram.to_histogram();
        assert_eq!(told.len(), 2);
        assert!(told.max() >= CycleHistogram::MAX / 100 * 97);
        assert_eq!(told.min(), 0);
    }

    proptest! {
        #[test]
        fn quantiles_are_within_three_percent_of_hdrhistograms(
            durations in proptest::collection::vec(
                prop_oneof![0u64..100, 100u64..10_000, 10_000u64..10_000_000, 0..CycleHistogram::MAX], 1..400),
        ) {
            let ours = CycleHistogram::new();
            let mut theirs = empty_histogram();
            for &duration in &durations {
                ours.record(duration);
                theirs.record(duration).expect("in range");
            }
            let told = ours.to_histogram();
            prop_assert_eq!(told.len(), theirs.len());
            prop_assert_eq!(ours.sum(), durations.iter().sum::<u64>());
            for quantile in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
                let (a, b) = (told.value_at_quantile(quantile) as f64, theirs.value_at_quantile(quantile) as f64);
                prop_assert!((a - b).abs() <= b * 0.03 + 0.5, "quantile {}: {} for {}", quantile, a, b);
            }
        }
    }
}
