//! What a VXLAN packet for this gateway usually looks like, so that it is told by a few wide comparisons.
//!
//! A validation of outer headers that looks at one field after the other takes a load, a comparison and a branch for
//! each. Of nearly every packet of a fabric all these fields hold the same values, known in advance: the pattern has
//! them in their places, with a mask of the bits that are compared. A packet that does not match is not wrong; it is
//! one to be looked at field by field.

use std::net::IpAddr;

use super::snapshot::LocalVtep;
use crate::wire::MacAddr;
use crate::wire::ethernet::{ETHERNET_HEADER, ETHERTYPE_AT, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::wire::ip::PROTOCOL_UDP;
use crate::wire::ipv4::IPV4_HEADER;
use crate::wire::ipv6::IPV6_HEADER;
use crate::wire::udp::UDP_HEADER;
use crate::wire::vxlan::{VXLAN_FLAG_VNI, VXLAN_HEADER};

/// The bytes of a packet that are compared with an [`OuterPattern`].
pub const PATTERN: usize = 64;

const WORDS: usize = PATTERN / 8;

/// The patterns of an uplink: the usual one, and others, where the gateway takes packets to more than
/// one address or UDP port.
#[derive(Clone, Debug)]
pub struct UplinkPatterns {
    usual: Box<OuterPattern>,
    others: Box<[OuterPattern]>,
}

impl UplinkPatterns {
    /// The patterns of an uplink with this address.
    #[must_use]
    pub fn new(vtep: &LocalVtep, mac: MacAddr) -> Self {
        let places = vtep.addresses().flat_map(|address| vtep.udp_ports.iter().map(move |port| (address, *port)));
        let mut patterns = places.map(|(address, port)| OuterPattern::new(vtep, mac, address, port));
        // There is an address, and a port.
        let usual = patterns.next().unwrap_or_else(|| OuterPattern::new(vtep, mac, vtep.address, 0));
        Self { usual: Box::new(usual), others: patterns.collect() }
    }

    /// That of most packets.
    #[inline(always)]
    #[must_use]
    pub fn usual(&self) -> &OuterPattern {
        &self.usual
    }

    /// The others.
    #[inline]
    #[must_use]
    pub fn others(&self) -> &[OuterPattern] {
        &self.others
    }

    /// True where the underlay is IPv6.
    #[inline(always)]
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.usual.ipv6
    }
}

/// The outer headers of packets to this gateway on one uplink: Ethernet to the port, IPv4 without options or IPv6
/// without extension headers, to the local VTEP, not a fragment, UDP to the VXLAN port, over IPv4 without a checksum,
/// and VXLAN with a valid VNI; where the gateway is strict, with reserved bits that are zero. Lengths, IP checksum, an
/// IPv6 UDP checksum, what lies behind the first [`PATTERN`] bytes, and whatever belongs to the sender are not part of
/// it.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct OuterPattern {
    expected: [u64; WORDS],
    mask: [u64; WORDS],
    /// The port's own address in the place of a source address: the bytes 6 to 13 of a packet.
    own_source: u64,
    ipv6: bool,
}

/// Where a frame has its source address, and how much of eight bytes from there it is.
const SOURCE_AT: usize = 6;
const SOURCE_MASK: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);

/// A pattern as it is put together, byte by byte.
struct Bytes {
    expected: [u8; PATTERN],
    mask: [u8; PATTERN],
}

impl Bytes {
    /// Asks for these bytes at this place, as far as it is within the pattern.
    fn expect(&mut self, at: usize, bytes: &[u8]) {
        self.expect_bits(at, bytes, &[0xff; PATTERN]);
    }

    /// Asks for the bits of `mask` of these bytes at this place.
    fn expect_bits(&mut self, at: usize, bytes: &[u8], mask: &[u8]) {
        let places = self.expected.iter_mut().zip(&mut self.mask).skip(at);
        for ((expected, masked), (byte, mask)) in places.zip(bytes.iter().zip(mask)) {
            (*expected, *masked) = (byte & mask, *mask);
        }
    }
}

impl OuterPattern {
    /// The pattern of an uplink with the address `mac`, for one of the VTEP's addresses and UDP ports.
    #[must_use]
    pub fn new(vtep: &LocalVtep, mac: MacAddr, address: IpAddr, udp_port: u16) -> Self {
        let mut pattern = Bytes { expected: [0; PATTERN], mask: [0; PATTERN] };
        pattern.expect(0, &mac.0);
        let ip = ETHERNET_HEADER;
        let udp = match address {
            IpAddr::V4(address) => {
                pattern.expect(ETHERTYPE_AT, &ETHERTYPE_IPV4.to_be_bytes());
                pattern.expect(ip, &[0x45]);
                // More fragments, and the fragment's offset (RFC 791, 3.1).
                pattern.expect_bits(ip + 6, &[0, 0], &[0x3f, 0xff]);
                pattern.expect(ip + 9, &[PROTOCOL_UDP]);
                pattern.expect(ip + 16, &address.octets());
                pattern.expect(ip + IPV4_HEADER + 6, &[0, 0]);
                ip + IPV4_HEADER
            }
            IpAddr::V6(address) => {
                pattern.expect(ETHERTYPE_AT, &ETHERTYPE_IPV6.to_be_bytes());
                pattern.expect_bits(ip, &[0x60], &[0xf0]);
                pattern.expect(ip + 6, &[PROTOCOL_UDP]);
                pattern.expect(ip + 24, &address.octets());
                ip + IPV6_HEADER
            }
        };
        pattern.expect(udp + 2, &udp_port.to_be_bytes());
        let vxlan = udp + UDP_HEADER;
        pattern.expect_bits(vxlan, &[VXLAN_FLAG_VNI], &[VXLAN_FLAG_VNI]);
        if vtep.strict {
            pattern.expect(vxlan, &[VXLAN_FLAG_VNI, 0, 0, 0]);
            pattern.expect(vxlan + VXLAN_HEADER - 1, &[0]);
        }
        let [a, b, c, d, e, f] = mac.0;
        Self {
            expected: words_of(&pattern.expected),
            mask: words_of(&pattern.mask),
            own_source: u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]),
            ipv6: address.is_ipv6(),
        }
    }

    /// True for the first bytes of a packet that fits, and that the port did not send itself.
    #[inline(always)]
    #[must_use]
    pub fn fits(&self, front: &[u8; PATTERN]) -> bool {
        let words = words_of(front);
        let differences = (0..WORDS).fold(0, |all, at| all | (words[at] ^ self.expected[at]) & self.mask[at]);
        if differences != 0 {
            return false;
        }
        let source = front[SOURCE_AT..].first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
        source & SOURCE_MASK != self.own_source
    }
}

#[inline(always)]
fn words_of(bytes: &[u8; PATTERN]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words
}
