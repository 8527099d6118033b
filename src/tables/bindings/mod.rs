//! MAC+IP bindings: which station of a bridge has an IP address. Workers answer address resolution from them (RFC 9161).
//!
//! # Layout
//!
//! An array of buckets with four slots each. An address of a bridge has two buckets where it may be, by two halves of a
//! keyed hash; it is put into the emptier one, so that with as many buckets as the table takes bindings, one in a million
//! finds both full. Such a one is refused: what is not in the table is flooded, as it would be without one.
//!
//! # Who writes, who reads, in which order, and why that is right
//!
//! - The **writer** ([`BindingWriter`], the control thread) alone changes the table. There is one per table.
//! - **Workers** look up ([`BindingTable::lookup`]), and write nothing. **Anyone** may list ([`BindingTable::iter`]).
//!
//! A binding is of several words, so each bucket has a version. The writer makes it odd, changes words, and makes it even
//! again. The reader takes what it read only where the version was even before and is the same behind.
//!
//! - *Nobody reads half a change.* Let a reader load a word that the writer stored between the odd version *v + 1* and the
//!   even *v + 2*. The writer's store of *v + 1* precedes its `Release` fence, and that fence the store of the word; the
//!   reader's load of the word precedes its `Acquire` fence, and that fence its second load of the version. So that load
//!   gives *v + 1* or something later. And if the first load gave *v + 2* or something later, an `Acquire` of a `Release`
//!   store, then all words of the change are there. Either way words of before and behind a change are never taken
//!   together.
//! - *Versions do not come round* within a read: they have 64 bits.
//! - *Nobody waits.* A reader that meets a change tries a few times, and then says that it found nothing: its frame is
//!   flooded, and reaches who has the address. The writer waits for no reader, and nothing is ever freed.
//!
//! `tests/loom_bindings.rs` checks this under every order of operations that the memory model allows.

mod bucket;
mod reports;

use std::hash::BuildHasher;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use self::bucket::{Bucket, Buckets, SLOTS};
use super::sync::{AtomicU64, Ordering};
use super::{AgeTick, BridgeIndex};
use crate::wire::MacAddr;
use crate::wire::nd::TargetFlags;

pub use self::reports::BindingReport;

/// Addresses are the choice of whoever sends frames, so the hash has a secret key: nobody can aim at one bucket.
#[cfg(not(vtepd_loom))]
type AddressHash = std::hash::RandomState;
/// The model checker wants each run to be like the one before.
#[cfg(vtepd_loom)]
type AddressHash = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

/// What a binding is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingKey {
    /// The bridge.
    pub bridge: BridgeIndex,
    /// The address; no IPv4-mapped IPv6 address, which would be the same as the IPv4 address.
    pub address: IpAddr,
}

/// Who says a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingSource {
    /// The station itself, heard on an access port.
    Learned,
    /// The control plane, of a station behind a remote VTEP.
    Kernel,
    /// The config.
    Static,
}

impl BindingSource {
    /// Every one, in the order of their discriminants.
    pub const ALL: &[Self] = &[Self::Learned, Self::Kernel, Self::Static];

    /// The word for it in metrics and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Kernel => "kernel",
            Self::Static => "static",
        }
    }
}

/// What is known of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The station that has it.
    pub mac: MacAddr,
    /// Who says so.
    pub source: BindingSource,
    /// What an advertisement of it says besides; absent where none was seen, as of any IPv4 address that was heard.
    pub flags: Option<TargetFlags>,
    /// When the station last said so. Means nothing where it was not heard.
    pub heard: AgeTick,
}

/// The bindings of all bridges. Workers read it; the [`BindingWriter`] does all else.
#[derive(Debug)]
pub struct BindingTable {
    buckets: Buckets,
    hash: AddressHash,
    max_bindings: usize,
    /// How many there are. The writer alone changes it.
    count: AtomicU64,
}

impl BindingTable {
    /// The most bindings a table can be made for.
    pub const MAX_BINDINGS: usize = 1 << 24;
    /// The most bindings of one bucket.
    pub const SLOTS: usize = SLOTS;

    /// An empty table for up to `max_bindings` (at least 1, at most [`BindingTable::MAX_BINDINGS`]; others are clamped), and
    /// its one writer. Takes 128 to 256 bytes of address space per binding, which become memory as they are used.
    ///
    /// # Errors
    /// The system's, where it has no such memory.
    pub fn with_writer(max_bindings: usize) -> io::Result<(Arc<Self>, BindingWriter)> {
        let max_bindings = max_bindings.clamp(1, Self::MAX_BINDINGS);
        Self::with_buckets(max_bindings, max_bindings)
    }

    /// As [`BindingTable::with_writer`], with a given number of buckets (rounded up to a power of two, at least 2): for
    /// tests, which want full tables.
    ///
    /// # Errors
    /// The system's, where it has no such memory.
    pub fn with_buckets(max_bindings: usize, buckets: usize) -> io::Result<(Arc<Self>, BindingWriter)> {
        let table = Arc::new(Self {
            buckets: Buckets::new(buckets.clamp(2, Self::MAX_BINDINGS))?,
            hash: AddressHash::default(),
            max_bindings,
            count: AtomicU64::new(0),
        });
        Ok((Arc::clone(&table), BindingWriter { table }))
    }

    /// What is known of an address. From any thread.
    #[must_use]
    pub fn lookup(&self, key: BindingKey) -> Option<Binding> {
        let words = Words::of(key);
        self.homes(key).into_iter().find_map(|home| home.find(words))
    }

    /// The bindings of one bucket, by its number, 0 to [`BindingTable::bucket_count`]. From any thread; what changes
    /// meanwhile may be missing.
    pub fn bucket(&self, number: usize) -> impl Iterator<Item = (BindingKey, Binding)> + '_ {
        self.buckets.at(number).bindings()
    }

    /// All bindings. From any thread; what changes meanwhile may be missing.
    pub fn iter(&self) -> impl Iterator<Item = (BindingKey, Binding)> + '_ {
        let buckets = if self.is_empty() { 0 } else { self.bucket_count() };
        (0..buckets).flat_map(|number| self.bucket(number))
    }

    /// The number of buckets.
    #[must_use]
    pub fn bucket_count(&self) -> usize {
        self.buckets.count()
    }

    /// The number of bindings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed) as usize
    }

    /// True where there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most bindings that this table takes.
    #[must_use]
    pub fn max_bindings(&self) -> usize {
        self.max_bindings
    }

    /// The two buckets of an address.
    fn homes(&self, key: BindingKey) -> [&Bucket; 2] {
        let hash = self.hash.hash_one(key);
        let mask = self.bucket_count() - 1;
        let first = hash as usize & mask;
        let second = (hash >> 32) as usize & mask;
        // The last bit tells them apart where they are not: they are to be two.
        [first, second ^ usize::from(first == second)].map(|number| self.buckets.at(number))
    }
}

/// The table has no room for a binding: it has as many as it takes, or both buckets of the address are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no room for another MAC+IP binding; raise `[fdb] max_bindings`")]
pub struct NoRoom;

/// The one who changes the table.
#[derive(Debug)]
pub struct BindingWriter {
    table: Arc<BindingTable>,
}

impl BindingWriter {
    /// The table.
    #[must_use]
    pub fn table(&self) -> &Arc<BindingTable> {
        &self.table
    }

    /// Puts a binding in place of what is known of its address. Gives what that was.
    ///
    /// # Errors
    /// [`NoRoom`]; nothing is changed.
    pub fn insert(&mut self, key: BindingKey, binding: Binding) -> Result<Option<Binding>, NoRoom> {
        let words = Words::of(key);
        let homes = self.table.homes(key);
        for home in homes {
            if let Some(slot) = home.slot_with(words) {
                let before = home.at(slot).map(|(_, binding)| binding);
                home.store(slot, words, binding);
                return Ok(before);
            }
        }
        if self.table.len() >= self.table.max_bindings {
            return Err(NoRoom);
        }
        let emptier = homes.into_iter().min_by_key(|home| home.used()).ok_or(NoRoom)?;
        emptier.store(emptier.empty_slot().ok_or(NoRoom)?, words, binding);
        self.table.count.store(self.table.len() as u64 + 1, Ordering::Relaxed);
        Ok(None)
    }

    /// Takes a binding out, and gives what it was.
    pub fn remove(&mut self, key: BindingKey) -> Option<Binding> {
        let words = Words::of(key);
        let (home, slot) = self.table.homes(key).into_iter().find_map(|home| Some((home, home.slot_with(words)?)))?;
        let before = home.at(slot).map(|(_, binding)| binding);
        home.clear(slot);
        self.table.count.store(self.table.len() as u64 - 1, Ordering::Relaxed);
        before
    }
}

/// A key as it stands in a slot. The bridge's index plus one is in the upper 16 bits of the station's word, so that no
/// slot with a binding has zero there.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Words {
    high: u64,
    low: u64,
    bridge: u64,
}

impl Words {
    /// Where the bridge begins in the station's word.
    const BRIDGE: u32 = 48;

    fn of(key: BindingKey) -> Self {
        let address = match key.address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let bits = address.to_bits();
        let bridge = u64::from(key.bridge.0.wrapping_add(1));
        Self { high: (bits >> 64) as u64, low: bits as u64, bridge: bridge << Self::BRIDGE }
    }

    fn key(self) -> BindingKey {
        let address = Ipv6Addr::from_bits(u128::from(self.high) << 64 | u128::from(self.low));
        let bridge = BridgeIndex(((self.bridge >> Self::BRIDGE) as u16).wrapping_sub(1));
        BindingKey { bridge, address: address.to_canonical() }
    }
}

const _: () = assert!(cfg!(vtepd_loom) || SLOTS == 4);

#[cfg(all(test, not(vtepd_loom)))]
mod tests;
