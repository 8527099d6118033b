//! A bucket, and the memory of all. The order of its loads and stores is the essay's.

use std::io;

use super::{Binding, BindingKey, BindingSource, Words};
use crate::tables::AgeTick;
use crate::tables::sync::{AtomicU32, AtomicU64, Ordering, fence};
use crate::wire::MacAddr;
use crate::wire::nd::TargetFlags;

/// Slots per bucket. The model checker gets by with fewer, so that it finishes.
pub(super) const SLOTS: usize = if cfg!(vtepd_loom) { 2 } else { 4 };

/// How often a reader that meets a change looks again.
const TRIES: usize = 3;

/// In the place of flags that no advertisement has said: none of them has this bit.
const UNADVERTISED: u8 = 1;

/// Slots whose words belong together while the version is even.
#[derive(Debug)]
#[cfg_attr(not(vtepd_loom), derive(zerocopy::FromZeros))]
#[repr(C, align(128))]
pub(super) struct Bucket {
    version: AtomicU64,
    high: [AtomicU64; SLOTS],
    low: [AtomicU64; SLOTS],
    /// Bridge and MAC address; zero where there is no binding.
    station: [AtomicU64; SLOTS],
    /// Bits 0 to 15 are the tick, 16 to 23 the flags or [`UNADVERTISED`], 24 to 31 the source.
    details: [AtomicU32; SLOTS],
}

#[cfg(not(vtepd_loom))]
const _: () = assert!(size_of::<Bucket>() == 128);

impl Bucket {
    /// What is known of an address; for readers.
    pub(super) fn find(&self, words: Words) -> Option<Binding> {
        self.read(|bucket| {
            let slot = bucket.slot_with(words)?;
            Some(bucket.at(slot)?.1)
        })
    }

    /// Every binding; for readers.
    pub(super) fn bindings(&self) -> impl Iterator<Item = (BindingKey, Binding)> + use<> {
        let slots = self.read(|bucket| Some(std::array::from_fn::<_, SLOTS, _>(|slot| bucket.at(slot))));
        slots.into_iter().flatten().flatten()
    }

    /// Reads something that no change came in between of; nothing where changes go on.
    fn read<T>(&self, look: impl Fn(&Self) -> Option<T>) -> Option<T> {
        for _ in 0..TRIES {
            let version = self.version.load(Ordering::Acquire);
            if version & 1 == 0 {
                let found = look(self);
                fence(Ordering::Acquire);
                if self.version.load(Ordering::Relaxed) == version {
                    return found;
                }
            }
            std::hint::spin_loop();
        }
        None
    }

    /// The slot of an address. The writer, whose own stores these are, may ask at any time; readers within [`Self::read`].
    pub(super) fn slot_with(&self, words: Words) -> Option<usize> {
        let bridge = |station: u64| station >> Words::BRIDGE << Words::BRIDGE;
        (0..SLOTS).find(|slot| {
            bridge(self.station[*slot].load(Ordering::Relaxed)) == words.bridge
                && self.low[*slot].load(Ordering::Relaxed) == words.low
                && self.high[*slot].load(Ordering::Relaxed) == words.high
        })
    }

    /// What is in a slot; as [`Self::slot_with`].
    pub(super) fn at(&self, slot: usize) -> Option<(BindingKey, Binding)> {
        let station = self.station[slot].load(Ordering::Relaxed);
        if station == 0 {
            return None;
        }
        let details = self.details[slot].load(Ordering::Relaxed);
        let (high, low) = (self.high[slot].load(Ordering::Relaxed), self.low[slot].load(Ordering::Relaxed));
        let binding = Binding {
            mac: MacAddr::from_u64(station),
            source: match details >> 24 {
                0 => BindingSource::Learned,
                1 => BindingSource::Kernel,
                _ => BindingSource::Static,
            },
            flags: Some((details >> 16) as u8).filter(|bits| *bits != UNADVERTISED).map(TargetFlags::from_bits),
            heard: AgeTick(details as u16),
        };
        Some((Words { high, low, bridge: station }.key(), binding))
    }

    /// A slot without a binding; for the writer.
    pub(super) fn empty_slot(&self) -> Option<usize> {
        (0..SLOTS).find(|slot| self.station[*slot].load(Ordering::Relaxed) == 0)
    }

    /// How many slots have a binding; for the writer.
    pub(super) fn used(&self) -> usize {
        self.station.iter().filter(|station| station.load(Ordering::Relaxed) != 0).count()
    }

    /// Fills a slot; for the writer.
    pub(super) fn store(&self, slot: usize, words: Words, binding: Binding) {
        let flags = binding.flags.map_or(UNADVERTISED, TargetFlags::to_bits);
        let details = (binding.source as u32) << 24 | u32::from(flags) << 16 | u32::from(binding.heard.0);
        self.change(|| {
            self.high[slot].store(words.high, Ordering::Relaxed);
            self.low[slot].store(words.low, Ordering::Relaxed);
            self.station[slot].store(words.bridge | binding.mac.to_u64(), Ordering::Relaxed);
            self.details[slot].store(details, Ordering::Relaxed);
        });
    }

    /// Empties a slot; for the writer.
    pub(super) fn clear(&self, slot: usize) {
        self.change(|| self.station[slot].store(0, Ordering::Relaxed));
    }

    fn change(&self, write: impl FnOnce()) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        write();
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }
}

#[cfg(not(any(vtepd_loom, miri)))]
type Memory = crate::tables::fdb::Mapping<Bucket>;
/// Memory of the allocator, for the checkers: loom's atomics are not plain words, and Miri has no `mmap` to give advice on.
#[cfg(any(vtepd_loom, miri))]
type Memory = Vec<Bucket>;

#[cfg(not(any(vtepd_loom, miri)))]
fn zeroed(count: usize) -> io::Result<Memory> {
    Memory::zeroed(count)
}

#[cfg(any(vtepd_loom, miri))]
fn zeroed(count: usize) -> io::Result<Memory> {
    let words = || std::array::from_fn(|_| AtomicU64::new(0));
    let bucket = |_| Bucket {
        version: AtomicU64::new(0),
        high: words(),
        low: words(),
        station: words(),
        details: std::array::from_fn(|_| AtomicU32::new(0)),
    };
    Ok((0..count).map(bucket).collect())
}

/// The buckets: a power of two of them.
#[derive(Debug)]
pub(super) struct Buckets(Memory);

impl Buckets {
    /// `count` empty buckets, rounded up to a power of two.
    pub(super) fn new(count: usize) -> io::Result<Self> {
        zeroed(count.checked_next_power_of_two().ok_or(io::ErrorKind::OutOfMemory)?).map(Self)
    }

    pub(super) fn count(&self) -> usize {
        self.0.as_slice().len()
    }

    /// The bucket of a number, taken modulo their count.
    pub(super) fn at(&self, number: usize) -> &Bucket {
        let buckets = self.0.as_slice();
        &buckets[number & (buckets.len() - 1)]
    }
}
