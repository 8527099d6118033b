//! What stands around a bridged frame in its packet, and how it is exchanged for something else.
//!
//! Stage 1 finds the frame in its packet but leaves everything where it is; stage 3 takes off what came around it and
//! puts on what its destination asks for, in one step. So each packet's front is read as it arrived and written once.
//! The frame's addresses go along as [`Addresses`], for a tag may stand between them and the rest.

use super::packet::PacketBuffer;
use crate::wire::MacAddr;
use crate::wire::checksum::Checksum;
use crate::wire::field::field;

/// The length of the two addresses at a frame's front, in bytes.
pub const ADDRESSES: usize = 2 * size_of::<MacAddr>();

/// A frame's MAC addresses. The lower 48 bits of each are as [`MacAddr::to_word`] gives them, the upper ones anything.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The station or group the frame is for.
    pub destination: u64,
    /// The station that sent it.
    pub source: u64,
}

impl Addresses {
    /// Reads them off a frame's front.
    #[inline(always)]
    #[must_use]
    pub fn of(front: &[u8; ADDRESSES]) -> Self {
        let (destination, source) = MacAddr::pair_to_words(front);
        Self { destination, source }
    }

    /// Writes them to a frame's front, as two words.
    #[inline(always)]
    pub fn write(self, front: &mut [u8; ADDRESSES]) {
        let (first, last) = front.split_at_mut(size_of::<u64>());
        first.copy_from_slice(&self.first_word().to_le_bytes());
        last.copy_from_slice(&self.last_word().to_le_bytes());
    }

    /// Adds them to a sum, in whose data they are at an even place.
    #[inline(always)]
    pub fn add_to(self, sum: &mut Checksum) {
        let first = self.first_word();
        for word in [first as u32, (first >> 32) as u32, self.last_word()] {
            sum.add_u32(word.swap_bytes());
        }
    }

    /// The first eight bytes of the frame, the first one least significant.
    #[inline(always)]
    fn first_word(self) -> u64 {
        self.source << 48 | self.destination & 0xffff_ffff_ffff
    }

    /// The four bytes behind them.
    #[inline(always)]
    fn last_word(self) -> u32 {
        (self.source >> 16) as u32
    }
}

/// Where in a packet the bridged frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePlace {
    /// Where the frame begins once its addresses are in their place, in bytes from the packet's first. The first segment
    /// reaches behind the addresses from there.
    start: u16,
    /// The frame's length, in bytes.
    length: u32,
}

impl FramePlace {
    /// The packet is the frame.
    #[inline(always)]
    #[must_use]
    pub fn whole<P: PacketBuffer>(packet: &P) -> Self {
        Self::without(0, packet)
    }

    /// The frame is the packet but for so many bytes, either in front of the addresses or behind them.
    #[inline(always)]
    #[must_use]
    pub fn without<P: PacketBuffer>(bytes: u16, packet: &P) -> Self {
        // A packet is shorter than 64 KiB by far, and what is in front of the frame is among it.
        Self { start: bytes, length: (packet.len() as u32).wrapping_sub(bytes.into()) }
    }

    /// No frame.
    pub(super) const NOWHERE: Self = Self { start: 0, length: 0 };

    /// Where the frame begins once its addresses are in their place, in bytes from the packet's first.
    #[inline(always)]
    #[must_use]
    pub fn start(self) -> usize {
        self.start.into()
    }

    /// The frame's length, in bytes.
    #[inline(always)]
    #[must_use]
    pub fn length(self) -> usize {
        self.length as usize
    }

    /// The same place after the packet has grown at its end, so that the frame is so long.
    #[inline(always)]
    #[must_use]
    pub fn grown_to(self, length: usize) -> Self {
        Self { length: length as u32, ..self }
    }

    /// The frame's bytes in the first segment, from behind the addresses on; none where the segment ends before.
    #[inline(always)]
    #[must_use]
    pub fn behind_addresses<P: PacketBuffer>(self, packet: &P) -> Option<&[u8]> {
        packet.head().get(self.start() + ADDRESSES..)
    }

    /// The first `N` of these; none where the segment ends before.
    #[inline(always)]
    #[must_use]
    pub fn front_behind_addresses<const N: usize, P: PacketBuffer>(self, packet: &P) -> Option<&[u8; N]> {
        field(packet.head(), self.start() + ADDRESSES)
    }

    /// Exchanges what is around the frame, its addresses included, for `FRONT` bytes in front of the rest: here they
    /// are, to be written. None, and nothing changed, where there is not that much headroom.
    #[inline(always)]
    #[must_use]
    pub fn exchange<const FRONT: usize, P: PacketBuffer>(self, packet: &mut P) -> Option<&mut [u8; FRONT]> {
        packet.replace_front(self.start() + ADDRESSES)
    }

    /// Makes the packet the frame. None, and nothing changed, where the packet cannot be changed.
    #[must_use]
    pub fn extract<P: PacketBuffer>(self, packet: &mut P, addresses: Addresses) -> Option<Self> {
        addresses.write(self.exchange::<ADDRESSES, P>(packet)?);
        Some(Self::whole(packet))
    }
}
