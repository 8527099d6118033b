//! The memory of the table: an array of buckets, one cache line each. All of the FDB's unsafe code is here.

#![allow(unsafe_code)]

use std::io;

use crate::tables::sync::AtomicU64;
#[cfg(any(test, vtepd_loom, miri, not(all(target_arch = "x86_64", target_feature = "sse4.1"))))]
use crate::tables::sync::Ordering;

/// Slots per bucket. The model checker gets by with fewer, so that it finishes.
pub(super) const SLOTS: usize = if cfg!(vtepd_loom) { 2 } else { 4 };

/// One cache line: the keys of [`SLOTS`] slots and their values.
#[derive(Debug)]
#[cfg_attr(not(vtepd_loom), derive(zerocopy::FromZeros))]
#[repr(C, align(64))]
pub(super) struct Bucket {
    pub(super) key: [AtomicU64; SLOTS],
    pub(super) value: [AtomicU64; SLOTS],
}

#[cfg(not(vtepd_loom))]
const _: () = {
    assert!(size_of::<Bucket>() == 64);
    assert!(align_of::<Bucket>() == 64);
};

impl Bucket {
    /// The slots whose key is this word: bit 0 for the first one, and so on. Each key is loaded with `Acquire`.
    ///
    /// All slots are compared before there is a branch: which one it is cannot be predicted.
    #[inline(always)]
    pub(super) fn slots_with(&self, word: u64) -> u32 {
        #[cfg(all(target_arch = "x86_64", target_feature = "sse4.1", not(vtepd_loom), not(miri)))]
        return self.slots_with_at_once(word);
        #[cfg(not(all(target_arch = "x86_64", target_feature = "sse4.1", not(vtepd_loom), not(miri))))]
        return self.slots_with_one_by_one(word);
    }

    #[cfg(any(test, vtepd_loom, miri, not(all(target_arch = "x86_64", target_feature = "sse4.1"))))]
    #[inline(always)]
    fn slots_with_one_by_one(&self, word: u64) -> u32 {
        let matches = |(slot, key): (usize, &AtomicU64)| u32::from(key.load(Ordering::Acquire) == word) << slot;
        self.key.iter().enumerate().map(matches).sum()
    }

    /// Two keys to a register: seven instructions rather than twenty, for what a worker does twice for each packet.
    #[cfg(all(target_arch = "x86_64", target_feature = "sse4.1", not(vtepd_loom), not(miri)))]
    #[inline(always)]
    fn slots_with_at_once(&self, word: u64) -> u32 {
        let matches: u32;
        // SAFETY: the four keys are the first 32 bytes of the bucket, which lies at a multiple of 64. Atomics may be
        // read by others than the compiler's own instructions, and as SSE reads them, each aligned word is read in one
        // piece; on x86-64 no later load comes before it, and as the block may touch memory for all the compiler knows,
        // it keeps to that order, too. So each word is loaded with `Acquire`. Nothing is written but the registers
        // named, and the flags stay as they are.
        unsafe {
            std::arch::asm!(
                "movq {first}, {word}",
                "punpcklqdq {first}, {first}",
                "movdqa {last}, {first}",
                "pcmpeqq {first}, xmmword ptr [{keys}]",
                "pcmpeqq {last}, xmmword ptr [{keys} + 16]",
                // Each comparison gave 64 ones or zeros, which saturation makes 32 of: four lanes, each with a sign.
                "packssdw {first}, {last}",
                "movmskps {matches:e}, {first}",
                keys = in(reg) self.key.as_ptr(),
                word = in(reg) word,
                matches = lateout(reg) matches,
                first = out(xmm_reg) _,
                last = out(xmm_reg) _,
                options(nostack, preserves_flags),
            );
        }
        matches
    }
}

#[cfg(any(vtepd_loom, miri))]
use on_heap::Memory;
#[cfg(not(any(vtepd_loom, miri)))]
type Memory = super::mapping::Mapping<Bucket>;

/// The buckets: a power of two of them, all zero at first, that is, every slot empty and dead.
#[derive(Debug)]
pub(super) struct Buckets {
    memory: Memory,
    mask: usize,
}

impl Buckets {
    /// `count` empty buckets, rounded up to a power of two.
    ///
    /// # Errors
    /// The system's, where there is not that much memory.
    pub(super) fn new(count: usize) -> io::Result<Self> {
        let count = count.checked_next_power_of_two().ok_or(io::ErrorKind::OutOfMemory)?;
        let memory = Memory::zeroed(count)?;
        memory.prefer_hugepages();
        Ok(Self { memory, mask: count - 1 })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.mask + 1
    }

    /// The bucket number that a hash falls to.
    #[inline(always)]
    pub(super) fn index(&self, hash: u32) -> usize {
        hash as usize & self.mask
    }

    /// The bucket of a number, taken modulo their count.
    #[inline(always)]
    pub(super) fn at(&self, index: usize) -> &Bucket {
        let buckets = self.memory.as_slice();
        debug_assert_eq!(buckets.len(), self.mask + 1);
        // SAFETY: `mask` is the length minus one and the length a power of two, both since `new`, so the masked number
        // is below the length, whatever `index` is.
        unsafe { buckets.get_unchecked(index & self.mask) }
    }

    /// Starts to bring a bucket into the cache.
    #[inline(always)]
    pub(super) fn prefetch(&self, index: usize) {
        let bucket: *const Bucket = self.at(index);
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: a prefetch is a hint that reads nothing and cannot fault; every x86-64 processor has it.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(bucket.cast());
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        let _ = bucket;
    }
}

/// Memory of the allocator, for the checkers: loom's atomics are not plain words, and Miri has no `madvise`.
#[cfg(any(vtepd_loom, miri))]
mod on_heap {
    use std::io;

    use super::{AtomicU64, Bucket};

    #[derive(Debug)]
    pub(super) struct Memory(Box<[Bucket]>);

    impl Memory {
        pub(super) fn zeroed(count: usize) -> io::Result<Self> {
            let zeroes = || std::array::from_fn(|_| AtomicU64::new(0));
            Ok(Self((0..count).map(|_| Bucket { key: zeroes(), value: zeroes() }).collect()))
        }

        pub(super) fn prefer_hugepages(&self) {}

        #[inline]
        pub(super) fn as_slice(&self) -> &[Bucket] {
            &self.0
        }
    }
}

#[cfg(all(test, not(vtepd_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_slots_of_a_word_are_found_at_once_as_one_by_one() {
        let half = 0x1234_5678_u64;
        let words = [0, 1, half, half << 32, half << 32 | half, u64::MAX];
        let choices = words.len().pow(SLOTS as u32);
        for choice in 0..choices {
            let key =
                std::array::from_fn(|slot| AtomicU64::new(words[choice / words.len().pow(slot as u32) % words.len()]));
            let bucket = Bucket { key, value: std::array::from_fn(|_| AtomicU64::new(u64::MAX)) };
            for word in words {
                assert_eq!(bucket.slots_with(word), bucket.slots_with_one_by_one(word), "{word:#x} in {bucket:?}");
            }
        }
    }
}
