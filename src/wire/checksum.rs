//! The Internet checksum (RFC 1071), computed over any split of the data, and its incremental update (RFC 1624).
//!
//! Sums are kept in the machine's byte order: the one's complement sum does not depend on it (RFC 1071, 2 (B)), so the
//! bytes are swapped once at the end rather than at every word.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A one's complement sum that is being added up, of less than 16 GiB of data.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checksum {
    /// Folded at the end only: a byte adds less than 2^30 to it, so that 2^34 of them do not overflow it.
    sum: u64,
    /// The bytes added so far are odd in number, so the next one is the second half of a 16-bit word.
    odd: bool,
}

/// Brings a sum down to 16 bits without changing what it is modulo 2^16 - 1.
#[inline]
const fn fold_to_16_bits(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    (sum & 0xffff) as u16
}

/// The sum of the bytes as 16-bit words in the machine's order, the first byte being the first half of a word.
#[inline]
fn sum_of(bytes: &[u8]) -> u64 {
    // Words of 32 bits, added into 64 that cannot overflow: no carries to chain, so the compiler turns the loop into
    // vector additions.
    let (words, rest) = bytes.as_chunks::<4>();
    let sum = words.iter().fold(0u64, |sum, word| sum + u64::from(u32::from_ne_bytes(*word)));
    let last = match *rest {
        [] => return sum,
        [a] => [a, 0, 0, 0],
        [a, b] => [a, b, 0, 0],
        [a, b, c, ..] => [a, b, c, 0],
    };
    sum + u64::from(u32::from_ne_bytes(last))
}

impl Checksum {
    /// An empty sum.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self { sum: 0, odd: false }
    }

    /// Adds the next bytes of the data. A datagram may be added in pieces of any length, also odd ones: what counts is
    /// the bytes' place in the whole.
    #[inline]
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        let sum = sum_of(bytes);
        self.sum += if self.odd { u64::from(fold_to_16_bits(sum).swap_bytes()) } else { sum };
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// Adds a 16-bit word at an even place. Words may be added before, between and behind the bytes: the order of
    /// words does not matter to the sum.
    #[inline]
    pub const fn add_u16(&mut self, value: u16) {
        self.sum += value.to_be() as u64;
    }

    /// Adds a 32-bit word at an even place, as [`Checksum::add_u16`] does.
    #[inline]
    pub const fn add_u32(&mut self, value: u32) {
        self.sum += value.to_be() as u64;
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

/// True where an IPv4 header without options, whose first octet is 0x45, has the right checksum (RFC 791, 3.1).
#[inline(always)]
#[must_use]
pub fn plain_ipv4_header_is_valid(header: &[u8; 20]) -> bool {
    let sum = header.as_chunks::<4>().0.iter().fold(0, |sum, word| sum + u64::from(u32::from_ne_bytes(*word)));
    // The sum is to be minus zero; it is not zero, as the first octet is not.
    sum.is_multiple_of(0xffff)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fixture::{ipv4, ipv4_header, ipv4_packet, naive_checksum};
    use etherparse::UdpHeader;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071_sums_up() {
        let mut checksum = Checksum::new();
        checksum.add_bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(checksum.finish(), !0xddf2);
    }

    #[test]
    fn a_sum_of_nothing_but_ones_is_exact() {
        for length in [8, 9, 4096, 65_535] {
            let bytes = vec![0xff; length];
            let mut checksum = Checksum::new();
            checksum.add_bytes(&bytes);
            assert_eq!(checksum.finish(), naive_checksum(&bytes), "{length} bytes");
        }
    }

    #[test]
    fn udp_sends_no_zero() {
        let mut checksum = Checksum::new();
        checksum.add_u16(0xffff);
        assert_eq!((checksum.finish(), checksum.finish_udp()), (0, 0xffff));
        checksum.add_u16(1);
        assert_eq!((checksum.finish(), checksum.finish_udp()), (0xfffe, 0xfffe));
    }

    #[test]
    fn v13_any_single_bit_of_an_ipv4_header_is_covered() {
        let mut with_options = ipv4_header([10, 0, 0, 1], [10, 0, 0, 2], 17);
        with_options.options = [7; 40].into();
        for packet in [ipv4([10, 0, 0, 1], [10, 0, 0, 2], 17, &[]), ipv4_packet(with_options, &[])] {
            assert!(ipv4_header_is_valid(&packet));
            assert!(ipv4_header_is_valid(&[&packet[..], &[1, 2, 3]].concat()), "bytes behind the header");
            for bit in 0..packet.len() * 8 {
                let mut packet = packet.clone();
                packet[bit / 8] ^= 1 << (bit % 8);
                assert!(!ipv4_header_is_valid(&packet), "bit {bit}");
            }
            for length in 0..packet.len() {
                assert!(!ipv4_header_is_valid(&packet[..length]), "{length} bytes");
            }
        }
    }

    proptest! {
        #[test]
        fn every_segmentation_gives_the_naive_sum(
            bytes in prop::collection::vec(any::<u8>(), 1..600),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            prop_assume!(bytes.iter().any(|byte| *byte != 0));
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut checksum = Checksum::new();
            for pair in cuts.windows(2) {
                checksum.add_bytes(&bytes[pair[0]..pair[1]]);
            }
            prop_assert_eq!(checksum.finish(), naive_checksum(&bytes));
        }

        #[test]
        fn words_sum_up_like_their_bytes_wherever_they_are_added(bytes in prop::collection::vec(any::<u8>(), 0..40),
                                                                short in 1u16.., long: u32) {
            let whole = [&short.to_be_bytes()[..], &long.to_be_bytes(), &bytes].concat();
            let mut checksum = Checksum::new();
            checksum.add_u16(short);
            checksum.add_bytes(&bytes);
            checksum.add_u32(long);
            prop_assert_eq!(checksum.finish(), naive_checksum(&whole));
        }

        #[test]
        fn an_update_is_what_computing_anew_gives(mut bytes in prop::collection::vec(any::<u8>(), 4..64), new: u16) {
            // The first word stays, and is not zero: RFC 1624 does not hold for data of nothing but zeros.
            bytes[0] |= 1;
            let old_checksum = naive_checksum(&bytes);
            let old = u16::from_be_bytes([bytes[2], bytes[3]]);
            bytes[2..4].copy_from_slice(&new.to_be_bytes());
            prop_assert_eq!(update_u16(old_checksum, old, new), naive_checksum(&bytes));
        }

        #[test]
        fn udp_checksums_are_those_of_etherparse(source: [u8; 4], destination: [u8; 4], source6: [u8; 16],
                                                 destination6: [u8; 16], ports: [u16; 2],
                                                 payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let length = (8 + payload.len()) as u16;
            let header = UdpHeader { source_port: ports[0], destination_port: ports[1], length, checksum: 0 };
            let mut v4 = pseudo_header_ipv4(source.into(), destination.into(), 17, length);
            let mut v6 = pseudo_header_ipv6(source6.into(), destination6.into(), 17, u32::from(length));
            for checksum in [&mut v4, &mut v6] {
                checksum.add_bytes(&header.to_bytes());
                checksum.add_bytes(&payload);
            }
            prop_assert_eq!(v4.finish_udp(), header.calc_checksum_ipv4_raw(source, destination, &payload).expect("short"));
            prop_assert_eq!(v6.finish_udp(), header.calc_checksum_ipv6_raw(source6, destination6, &payload).expect("short"));
        }

        #[test]
        fn any_bytes_are_a_valid_header_or_not(bytes: Vec<u8>) {
            let length = bytes.first().map_or(0, |byte| usize::from(byte & 15) * 4);
            let whole = length >= 20 && bytes.len() >= length;
            prop_assert_eq!(ipv4_header_is_valid(&bytes), whole && naive_checksum(&bytes[..length]) == 0);
        }
    }
}
