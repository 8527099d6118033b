//! The Internet checksum (RFC 1071), computed over any split of the data, and its incremental update (RFC 1624).
//!
//! Sums are kept in the machine's byte order: the one's complement sum does not depend on it (RFC 1071, 2 (B)), so the
//! bytes are swapped once at the end rather than at every word.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A one's complement sum that is being added up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checksum {
    /// At most 33 bits between calls.
    sum: u64,
    /// The bytes added so far are odd in number, so the next one is the second half of a 16-bit word.
    odd: bool,
}

/// Brings a sum down to 33 bits without changing what it is modulo 2^16 - 1.
#[inline]
const fn fold_to_33_bits(sum: u64) -> u64 {
    (sum >> 32) + (sum & 0xffff_ffff)
}

/// Brings a sum down to 16 bits.
#[inline]
const fn fold_to_16_bits(sum: u64) -> u16 {
    let sum = fold_to_33_bits(sum);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    (sum & 0xffff) as u16
}

/// The sum of the bytes as 16-bit words in the machine's order, the first byte being the first half of a word. Exact
/// for anything under 16 GiB.
#[inline]
fn sum_of(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    // The two halves of a word are added apart, into 64 bits that cannot overflow: no carries to chain, so the compiler
    // turns the loop into vector additions.
    let mut sum = words.iter().fold(0u64, |sum, word| {
        let word = u64::from_ne_bytes(*word);
        sum + (word & 0xffff_ffff) + (word >> 32)
    });
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let last = u64::from_ne_bytes(last);
    sum += (last & 0xffff_ffff) + (last >> 32);
    sum
}

impl Checksum {
    /// An empty sum.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self { sum: 0, odd: false }
    }

    #[inline]
    const fn add(&mut self, sum: u64) {
        self.sum = fold_to_33_bits(self.sum) + fold_to_33_bits(sum);
        self.sum = fold_to_33_bits(self.sum);
    }

    /// Adds the next bytes of the data. A datagram may be added in pieces of any length, also odd ones: what counts is
    /// the bytes' place in the whole.
    #[inline]
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        let sum = sum_of(bytes);
        if self.odd {
            self.add(fold_to_16_bits(sum).swap_bytes() as u64);
        } else {
            self.add(sum);
        }
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// Adds a 16-bit word at an even place. Words may be added before, between and behind the bytes: the order of
    /// words does not matter to the sum.
    #[inline]
    pub const fn add_u16(&mut self, value: u16) {
        self.add(value.to_be() as u64);
    }

    /// Adds a 32-bit word at an even place, as [`Checksum::add_u16`] does.
    #[inline]
    pub const fn add_u32(&mut self, value: u32) {
        self.add(value.to_be() as u64);
    }

    /// The checksum: the complement of the folded sum. Over data that includes a right checksum it is 0.
    #[inline]
    #[must_use]
    pub const fn finish(self) -> u16 {
        u16::from_be(!fold_to_16_bits(self.sum))
    }

    /// The checksum as UDP sends it: 0 means "none" there, so 0xffff stands for it (RFC 768; RFC 8200, 8.1).
    #[inline]
    #[must_use]
    pub const fn finish_udp(self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            checksum => checksum,
        }
    }
}

/// True where the IPv4 header at the front of `packet` lies within it and its checksum is right (RFC 791, 3.1).
/// `packet` may be longer than the header: its length is the header's own.
#[inline]
#[must_use]
pub fn ipv4_header_is_valid(packet: &[u8]) -> bool {
    let Some(fixed) = packet.first_chunk::<20>() else {
        return false;
    };
    let mut checksum = Checksum::new();
    match fixed[0] & 0x0f {
        5 => checksum.add_bytes(fixed),
        words @ 6.. => match packet.get(..usize::from(words) * 4) {
            Some(header) => checksum.add_bytes(header),
            None => return false,
        },
        _ => return false,
    }
    checksum.finish() == 0
}

/// The checksum after one 16-bit word of the data it covers has changed from `old` to `new` (RFC 1624, 3, equation 3).
/// A checksum that was wrong stays wrong.
#[inline]
#[must_use]
pub const fn update_u16(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = !checksum as u32 + !old as u32 + new as u32;
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    !((sum & 0xffff) as u16)
}

/// The sum of the IPv4 pseudo-header that UDP and TCP checksums begin with (RFC 768). `length` is that of the transport
/// header and its data, in bytes.
#[inline]
#[must_use]
pub const fn pseudo_header_ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: u16) -> Checksum {
    let mut checksum = Checksum::new();
    checksum.add_u32(source.to_bits());
    checksum.add_u32(destination.to_bits());
    checksum.add_u16(protocol as u16);
    checksum.add_u16(length);
    checksum
}

/// The sum of the IPv6 pseudo-header that UDP, TCP and ICMPv6 checksums begin with (RFC 8200, 8.1). `length` is that of
/// the upper-layer header and its data, in bytes.
#[inline]
#[must_use]
pub fn pseudo_header_ipv6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, length: u32) -> Checksum {
    let mut checksum = Checksum::new();
    checksum.add_bytes(&source.octets());
    checksum.add_bytes(&destination.octets());
    checksum.add_u32(length);
    checksum.add_u16(protocol as u16);
    checksum
}
