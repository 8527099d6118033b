//! What stands around a bridged frame in its packet, and how it is exchanged for something else.
//!
//! Stage 1 finds the frame in its packet but leaves everything where it is; stage 3 takes off what came around it and
//! puts on what its destination asks for, in one step. So each packet's front is read as it arrived and written once.

use super::packet::PacketBuffer;
use crate::wire::MacAddr;

/// The two addresses at a frame's front, as they are on the wire.
pub type AddressBytes = [u8; ADDRESSES];

/// The length of the two addresses, in bytes.
pub const ADDRESSES: usize = 2 * size_of::<MacAddr>();

/// Where in a packet the bridged frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePlace {
    /// Where the frame begins once its addresses are in their place, in bytes from the packet's first. The first segment
    /// reaches behind the addresses from there.
    start: u16,
    /// Where the addresses are: at the start, or further ahead, with a tag between them and the rest that comes off.
    addresses: u16,
    /// The frame's length, in bytes.
    length: u32,
}

impl FramePlace {
    /// The packet is the frame.
    #[inline(always)]
    #[must_use]
    pub fn whole<P: PacketBuffer>(packet: &P) -> Self {
        Self::behind(0, packet)
    }

    /// The frame is what is behind so many bytes.
    #[inline(always)]
    #[must_use]
    pub fn behind<P: PacketBuffer>(bytes: u16, packet: &P) -> Self {
        Self { addresses: bytes, ..Self::around_tag(bytes, packet) }
    }

    /// The frame is the packet, but for so many bytes behind its addresses.
    #[inline(always)]
    #[must_use]
    pub fn around_tag<P: PacketBuffer>(bytes: u16, packet: &P) -> Self {
        // A packet is shorter than 64 KiB by far, and what is in front of the frame is among it.
        Self { start: bytes, addresses: 0, length: (packet.len() as u32).wrapping_sub(bytes.into()) }
    }

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

    /// The frame's addresses; none where the first segment has not all of them.
    #[inline(always)]
    #[must_use]
    pub fn addresses<P: PacketBuffer>(self, packet: &P) -> Option<AddressBytes> {
        packet.head().get(self.addresses.into()..)?.first_chunk().copied()
    }

    /// The frame's bytes in the first segment, from behind the addresses on; none where the segment ends before.
    #[inline(always)]
    #[must_use]
    pub fn behind_addresses<P: PacketBuffer>(self, packet: &P) -> Option<&[u8]> {
        packet.head().get(self.start() + ADDRESSES..)
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
    pub fn extract<P: PacketBuffer>(self, packet: &mut P) -> Option<Self> {
        let addresses = self.addresses(packet)?;
        *self.exchange::<ADDRESSES, P>(packet)? = addresses;
        Some(Self::whole(packet))
    }
}
