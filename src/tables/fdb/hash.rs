//! Where an entry may be: two buckets, by a seeded hash of its key.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::entry::FdbKey;

/// The seed of the table's hash. Addresses are the choice of whoever sends frames, so the seed is secret and new in
/// every process: nobody can aim at one bucket.
#[derive(Clone, Copy, Debug)]
pub struct HashSeed {
    factors: [u64; 2],
}

impl HashSeed {
    /// A seed from the system's random numbers.
    #[must_use]
    pub fn random() -> Self {
        let state = RandomState::new();
        let word = |salt: u64| {
            let mut hasher = state.build_hasher();
            hasher.write_u64(salt);
            hasher.finish()
        };
        Self { factors: [word(0) | 1, word(1) | 1] }
    }

    /// The same seed each time: for tests that need to know where entries are.
    #[must_use]
    pub const fn fixed(number: u64) -> Self {
        // Odd, and without a pattern: the fractions of the golden ratio and of the square root of 3 begin like this.
        let odd = number.wrapping_mul(2);
        Self {
            factors: [
                odd.wrapping_add(0x9e37_79b9_7f4a_7c15),
                odd.wrapping_mul(odd).wrapping_add(0xbb67_ae85_84ca_a73b),
            ],
        }
    }

    /// Two rounds of multiplying by a secret odd number, with the upper half folded onto the lower one between them. The
    /// upper half of the last product is the first of the two buckets: it depends on every bit of the key. One round alone
    /// would put stations that are numbered one after the other into few buckets with some seeds.
    #[inline(always)]
    pub(super) const fn hash(self, key: FdbKey) -> (u32, u32) {
        let product = key.to_word().wrapping_mul(self.factors[0]);
        let product = (product ^ product >> 32).wrapping_mul(self.factors[1]);
        ((product >> 32) as u32, product as u32)
    }
}

#[cfg(all(test, not(vtepd_loom)))]
mod tests {
    use super::*;
    use crate::tables::BridgeIndex;
    use crate::wire::MacAddr;

    /// The share of keys, in percent, that find no place in the first bucket of theirs, with as many buckets as the table of
    /// so many entries has.
    fn overflowing(seed: u64, keys: impl Iterator<Item = FdbKey>, buckets: usize) -> usize {
        let mut filled = vec![0_usize; buckets];
        let (mut all, mut over) = (0, 0);
        for key in keys {
            let bucket = &mut filled[HashSeed::fixed(seed).hash(key).0 as usize & (buckets - 1)];
            *bucket += 1;
            all += 1;
            over += usize::from(*bucket > 4);
        }
        over * 100 / all
    }

    #[test]
    fn stations_that_are_numbered_one_after_the_other_are_spread_with_any_seed() {
        const BUCKETS: usize = 1 << 16;
        let key =
            |bridge: u16, number: u64| FdbKey::new(BridgeIndex(bridge), MacAddr::from_u64(0x5254_0000_0000 | number));
        // 60,000 at random would leave 0.3 % without a place.
        for seed in (0..200).map(|number: u64| number.wrapping_mul(0xd129_0d3d_3e5f_7a9b)) {
            for step in [1, 256] {
                let over = overflowing(seed, (0..60_000).map(|number| key(1, number * step)), BUCKETS);
                assert!(over <= 3, "seed {seed:#x}: {over} % of 60,000, {step} apart, in one bridge");
            }
            let in_bridges = (0..500).flat_map(|bridge| (0..64).map(move |number| key(bridge, number)));
            let over = overflowing(seed, in_bridges, BUCKETS);
            assert!(over <= 1, "seed {seed:#x}: {over} % of 64 in each of 500 bridges");
        }
    }
}
