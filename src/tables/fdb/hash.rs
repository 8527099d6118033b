//! Where an entry may be: two buckets, by a seeded hash of its key.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::entry::FdbKey;

/// The seed of the table's hash. Addresses are the choice of whoever sends frames, so the seed is secret and new in
/// every process: nobody can aim at one bucket.
#[derive(Clone, Copy, Debug)]
pub struct HashSeed {
    mask: u64,
    factor: u64,
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
        Self { mask: word(0), factor: word(1) | 1 }
    }

    /// The same seed each time: for tests that need to know where entries are.
    #[must_use]
    pub const fn fixed(number: u64) -> Self {
        // Two odd constants without a pattern: the fractions of the golden ratio and of the square root of 3.
        Self {
            mask: number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            factor: number.wrapping_mul(2).wrapping_add(0xbb67_ae85_84ca_a73b),
        }
    }

    /// A wide multiplication whose halves are folded together: each half of the result depends on the whole key, and
    /// the two buckets are taken from different halves.
    #[inline(always)]
    pub(super) const fn hash(self, key: FdbKey) -> (u32, u32) {
        let product = (key.to_word() ^ self.mask) as u128 * self.factor as u128;
        let folded = product as u64 ^ (product >> 64) as u64;
        (folded as u32, (folded >> 32) as u32)
    }
}
