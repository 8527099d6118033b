//! What stands around a bridged frame in its packet, and how it is exchanged for something else.
//!
//! Stage 1 finds the frame in its packet but leaves everything where it is; stage 3 takes off what came around it and
//! puts on what its destination asks for, in one step. So each packet's front is read as it arrived and written once.
//! The frame's addresses go along as [`Addresses`], for a tag may stand between them and the rest.

use super::packet::PacketBuffer;
use crate::wire::MacAddr;
use crate::wire::checksum::Checksum;
use crate::wire::field::{field, put_at, word_at};

/// The length of the two addresses at a frame's front, in bytes.
pub const ADDRESSES: usize = 2 * size_of::<MacAddr>();

/// A frame's MAC addresses, as they stand at its front: the first byte of each word is the least significant one.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The first eight bytes: the destination, and two bytes of the source.
    first: u64,
    /// The last eight bytes, of which the first two hold anything: the source is behind them.
    last: u64,
}

impl Addresses {
    /// Of no frame.
    pub const NONE: Self = Self { first: 0, last: 0 };

    /// Reads them off a frame's front.
    #[inline(always)]
    #[must_use]
    pub fn of(front: &[u8; ADDRESSES]) -> Self {
        Self { first: word_at::<0, _>(front), last: word_at::<{ ADDRESSES - size_of::<u64>() }, _>(front) }
    }

    /// Those of a frame that begins with these eight bytes, and has this source, as [`MacAddr::to_word`] gives it but for
    /// the upper 16 bits, which hold anything.
    #[inline(always)]
    pub(super) fn beginning_with(first: u64, source: u64) -> Self {
        Self { first, last: source << 16 }
    }

    /// The frame's first eight bytes.
    #[inline(always)]
    pub(super) fn first(self) -> u64 {
        self.first
    }

    /// The station or group the frame is for, as [`MacAddr::to_word`] gives it but for the upper 16 bits, which hold
    /// anything.
    #[inline(always)]
    #[must_use]
    pub fn destination(self) -> u64 {
        self.first
    }

    /// The station that sent it, as [`MacAddr::to_word`] gives it.
    #[inline(always)]
    #[must_use]
    pub fn source(self) -> u64 {
        self.last >> 16
    }

    /// Writes them to a frame's front.
    #[inline(always)]
    pub fn write(self, front: &mut [u8; ADDRESSES]) {
        put_at::<0, 8, _>(front, self.first.to_le_bytes());
        put_at::<8, 4, _>(front, self.last_four().to_le_bytes());
    }

    /// Adds them to a sum, in whose data they are at an even place.
    #[inline(always)]
    pub fn add_to(self, sum: &mut Checksum) {
        for word in [self.first as u32, (self.first >> 32) as u32, self.last_four()] {
            sum.add_u32(word.swap_bytes());
        }
    }

    #[inline(always)]
    fn last_four(self) -> u32 {
        (self.last >> 32) as u32
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_and_summed_as_they_were_read() {
        let front: [u8; ADDRESSES] = std::array::from_fn(|at| 0x81 + at as u8);
        let read = Addresses::of(&front);
        assert_eq!(MacAddr::from_word(read.destination()).0, front[..6]);
        assert_eq!(read.source(), MacAddr([0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c]).to_word());
        let put_together = Addresses::beginning_with(read.first(), read.source() | 0xffff << 48);
        for addresses in [read, put_together] {
            let mut written = [0; ADDRESSES];
            addresses.write(&mut written);
            assert_eq!(written, front);
            let (mut sum, mut expected) = (Checksum::new(), Checksum::new());
            addresses.add_to(&mut sum);
            expected.add_bytes(&front);
            assert_eq!(sum.finish(), expected.finish());
        }
    }
}
