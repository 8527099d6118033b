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
        Self { factors: secret_factors() }
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

    /// Rounds of multiplying by a secret odd number. The first one is wide, with the halves folded together, so that the bridge
    /// counts, which is in the upper bits of the key, as well as the address. By that alone, stations that are numbered one
    /// after the other would be in few buckets with some seeds; the first of the two buckets is the upper half of a second
    /// product, the other one that of a third, which is hardly ever asked for.
    #[inline(always)]
    pub(super) const fn hash(self, key: FdbKey) -> (u32, u32) {
        let [first, second] = self.factors;
        let wide = key.to_word() as u128 * first as u128;
        let product = (wide as u64 ^ (wide >> 64) as u64).wrapping_mul(second);
        let again = (product ^ product >> 32).wrapping_mul(first);
        ((product >> 32) as u32, (again >> 32) as u32)
    }
}

/// Two odd numbers that nobody knows, from the system's random numbers, to hash by what others choose.
#[must_use]
pub fn secret_factors() -> [u64; 2] {
    let state = RandomState::new();
    [0_u64, 1].map(|salt| {
        let mut hasher = state.build_hasher();
        hasher.write_u64(salt);
        hasher.finish() | 1
    })
}

#[cfg(all(test, not(vtepd_loom)))]
mod tests {
    use super::*;
    use crate::tables::BridgeIndex;
    use crate::wire::MacAddr;

    /// The share of keys, in percent, that find no place in the first bucket of theirs, with as many buckets as the table of
    /// so many entries has; or, if that is more, in the second one if all were there.
    fn overflowing(seed: u64, keys: impl Iterator<Item = FdbKey>, buckets: usize) -> usize {
        let mut filled = vec![[0_usize; 2]; buckets];
        let (mut all, mut over) = (0, [0; 2]);
        for key in keys {
            let (first, second) = HashSeed::fixed(seed).hash(key);
            all += 1;
            for (choice, hash) in [first, second].into_iter().enumerate() {
                let bucket = &mut filled[hash as usize & (buckets - 1)][choice];
                *bucket += 1;
                over[choice] += usize::from(*bucket > 4);
            }
        }
        over[0].max(over[1]) * 100 / all
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
            let one_in_all = (0..60_000).map(|bridge| key(bridge, 1));
            let over = overflowing(seed, one_in_all, BUCKETS);
            assert!(over <= 3, "seed {seed:#x}: {over} % of one in each of 60,000 bridges");
            let in_bridges = (0..500).flat_map(|bridge| (0..64).map(move |number| key(bridge, number)));
            let over = overflowing(seed, in_bridges, BUCKETS);
            assert!(over <= 1, "seed {seed:#x}: {over} % of 64 in each of 500 bridges");
        }
    }
}
