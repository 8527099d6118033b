//! The two words of an entry: its key and its value.

use std::num::NonZeroU64;

use crate::tables::{BridgeIndex, Location};
use crate::wire::address::MacAddr;

/// What an FDB entry is found by: a bridge and a station's MAC address, in one word.
///
/// Bits 48 to 63 are the bridge's index plus one, bits 0 to 47 the address ([`MacAddr::to_word`]). So no key is a word that
/// says what a slot without an entry is, whatever the address: there is no bridge 65535.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FdbKey(u64);

impl FdbKey {
    /// The key word of a slot that an entry may be stored into.
    pub(super) const EMPTY: u64 = 0;
    /// The key word of a slot that held an entry, and that some worker may still be reading.
    pub(super) const RETIRED: u64 = 1;
    const MAC: u64 = 0xffff_ffff_ffff;

    /// The key of a station in a bridge. An address that is no station's ([`MacAddr::is_station`]) gives a key that
    /// cannot be inserted, and so is never found.
    #[inline]
    #[must_use]
    pub const fn new(bridge: BridgeIndex, mac: MacAddr) -> Self {
        Self::from_bits(bridge, mac.to_word())
    }

    /// As [`FdbKey::new`], of an address as [`MacAddr::to_word`] gives it; the upper 16 bits are ignored.
    #[inline(always)]
    #[must_use]
    pub const fn from_bits(bridge: BridgeIndex, mac: u64) -> Self {
        Self((bridge.0.wrapping_add(1) as u64) << 48 | mac & Self::MAC)
    }

    /// The key in a slot's word, if an entry is there.
    #[inline]
    pub(super) const fn from_word(word: u64) -> Option<Self> {
        match word {
            Self::EMPTY | Self::RETIRED => None,
            word => Some(Self(word)),
        }
    }

    /// The key's word: its lower 48 bits are the address.
    #[inline(always)]
    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// True for the key of a station in a bridge, which can be inserted.
    #[inline]
    #[must_use]
    pub const fn is_station(self) -> bool {
        self.0 > Self::MAC && self.mac().is_station()
    }

    /// The bridge.
    #[inline(always)]
    #[must_use]
    pub const fn bridge(self) -> BridgeIndex {
        BridgeIndex(((self.0 >> 48) as u16).wrapping_sub(1))
    }

    /// The station's address.
    #[inline]
    #[must_use]
    pub const fn mac(self) -> MacAddr {
        MacAddr::from_word(self.0)
    }
}

impl std::fmt::Debug for FdbKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "FdbKey({}, {})", self.bridge().0, self.mac())
    }
}

/// The time in ticks of a few seconds, by which learned entries age. It wraps after 65536 ticks, so an entry has to be
/// looked at by ageing more often than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct AgeTick(pub u16);

impl AgeTick {
    /// How many ticks have passed since `earlier`, 0 to 65535.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Self) -> u16 {
        self.0.wrapping_sub(earlier.0)
    }
}

/// What an FDB entry says: where the station is, when it was last heard, and of which kind the entry is.
///
/// | bits | field |
/// |---|---|
/// | 0-31 | [`Location`] |
/// | 32-47 | [`AgeTick`] of the last frame heard |
/// | 48 | live: set in every value, so that no value is 0 |
/// | 49 | static |
/// | 50 | the control plane's |
/// | 51 | sticky; with static, pinned |
/// | 52 | frozen |
/// | 53-63 | zero |
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FdbValue(NonZeroU64);

impl FdbValue {
    /// The value word of a slot whose entry is gone.
    pub(super) const DEAD: u64 = 0;
    const TICK_SHIFT: u32 = 32;
    const LOCATION: u64 = 0xffff_ffff;
    const TICK: u64 = 0xffff << Self::TICK_SHIFT;
    const LIVE: NonZeroU64 = NonZeroU64::new(1 << 48).expect("one bit is set");
    const STATIC: u64 = 1 << 49;
    const EXTERNAL: u64 = 1 << 50;
    const STICKY: u64 = 1 << 51;
    const FROZEN: u64 = 1 << 52;

    /// An entry learned from a frame: it ages, and moves when the station is heard elsewhere.
    #[inline]
    #[must_use]
    pub const fn learned(location: Location, tick: AgeTick) -> Self {
        Self(Self::LIVE).with_location(location).with_tick(tick)
    }

    /// A static entry: it neither ages nor moves by learning (IEEE 802.1Q, 8.8.1).
    #[inline]
    #[must_use]
    pub const fn fixed(location: Location) -> Self {
        Self(Self::LIVE.saturating_add(Self::STATIC)).with_location(location)
    }

    /// A static entry whose station may send from nowhere else.
    #[inline]
    #[must_use]
    pub const fn pinned(location: Location) -> Self {
        Self::fixed(location).with(Self::STICKY, Self::STICKY)
    }

    /// An entry of the control plane's: it does not age, but moves to an access port when the station is heard there,
    /// unless it is sticky (RFC 7432, 15.2).
    #[inline]
    #[must_use]
    pub const fn external(location: Location, sticky: bool) -> Self {
        let value = Self(Self::LIVE).with_location(location).with(Self::EXTERNAL, Self::EXTERNAL);
        if sticky { value.with(Self::STICKY, Self::STICKY) } else { value }
    }

    /// The value in a slot's word, if it is not dead.
    #[inline]
    pub(super) const fn from_word(word: u64) -> Option<Self> {
        match NonZeroU64::new(word) {
            Some(word) => Some(Self(word)),
            None => None,
        }
    }

    #[inline]
    pub(super) const fn to_word(self) -> u64 {
        self.0.get()
    }

    /// Where the station is.
    #[inline]
    #[must_use]
    pub const fn location(self) -> Location {
        Location::from_bits((self.0.get() & Self::LOCATION) as u32)
    }

    /// When the station was last heard. Means nothing in a static entry.
    #[inline]
    #[must_use]
    pub const fn tick(self) -> AgeTick {
        AgeTick((self.0.get() >> Self::TICK_SHIFT) as u16)
    }

    /// True for a static entry, which neither ages nor moves by learning.
    #[inline]
    #[must_use]
    pub const fn is_static(self) -> bool {
        self.0.get() & Self::STATIC != 0
    }

    /// True for a static entry whose station may send from nowhere else.
    #[inline]
    #[must_use]
    pub const fn is_pinned(self) -> bool {
        self.is_static() && self.is_sticky()
    }

    /// True for an entry of the control plane's, which does not age.
    #[inline]
    #[must_use]
    pub const fn is_external(self) -> bool {
        self.0.get() & Self::EXTERNAL != 0
    }

    /// True for an entry of the control plane's that may not move, and for a pinned static one.
    #[inline]
    #[must_use]
    pub const fn is_sticky(self) -> bool {
        self.0.get() & Self::STICKY != 0
    }

    /// True for an entry that stays where it is for a while, because its station moved too often (RFC 7432, 15.1).
    #[inline]
    #[must_use]
    pub const fn is_frozen(self) -> bool {
        self.0.get() & Self::FROZEN != 0
    }

    /// The same entry, frozen where it is.
    #[inline]
    #[must_use]
    pub const fn frozen(self) -> Self {
        self.with(Self::FROZEN, Self::FROZEN)
    }

    /// The same entry, free to move.
    #[inline]
    #[must_use]
    pub const fn thawed(self) -> Self {
        self.with(Self::FROZEN, 0)
    }

    /// True where a frame heard from `location` at `tick` has nothing to teach this entry: it says both already. One
    /// compare. A static entry may say false at its own location: its tick does not move.
    #[inline]
    #[must_use]
    pub const fn is_current(self, location: Location, tick: AgeTick) -> bool {
        let heard = location.to_bits() as u64 | (tick.0 as u64) << Self::TICK_SHIFT;
        self.0.get() & (Self::LOCATION | Self::TICK) == heard
    }

    /// The same entry at another place.
    #[inline]
    #[must_use]
    pub const fn with_location(self, location: Location) -> Self {
        self.with(Self::LOCATION, location.to_bits() as u64)
    }

    /// The same entry, heard at `tick`.
    #[inline]
    #[must_use]
    pub const fn with_tick(self, tick: AgeTick) -> Self {
        self.with(Self::TICK, (tick.0 as u64) << Self::TICK_SHIFT)
    }

    #[inline]
    const fn with(self, field: u64, bits: u64) -> Self {
        // The live bit is in no field, so it is set already; setting it anew lets the compiler see that.
        match NonZeroU64::new(self.0.get() & !field | bits | Self::LIVE.get()) {
            Some(word) => Self(word),
            None => self,
        }
    }
}

impl std::fmt::Debug for FdbValue {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_pinned() {
            write!(out, "pinned at {:?}", self.location())
        } else if self.is_static() {
            write!(out, "static at {:?}", self.location())
        } else if self.is_external() {
            write!(out, "external at {:?}, sticky {}", self.location(), self.is_sticky())
        } else {
            let frozen = if self.is_frozen() { ", frozen" } else { "" };
            write!(out, "learned at {:?}, tick {}{frozen}", self.location(), self.tick().0)
        }
    }
}
