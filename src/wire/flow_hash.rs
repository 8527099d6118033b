//! The hash of an inner flow, which becomes the source port of its VXLAN packets, so that the underlay spreads flows
//! over its paths and receivers over their queues (RFC 7348, 5).
//!
//! What makes a flow: addresses and ports of TCP, UDP and SCTP; else addresses and protocol; else MAC addresses and
//! EtherType. VLAN tags are no part of it. A fragment's ports are only in the first one, so that all fragments hash by
//! their addresses alone, and those of one datagram take one path.
//!
//! The function multiplies two 64-bit words to 128 bits and folds the halves: two dependent multiplications for IPv4,
//! three for IPv6. It is no defence against a tenant who looks for collisions; those only concentrate his own flows.

use super::address::MacAddr;
use super::ecn::traffic_class_behind_addresses;
use super::ethernet::{ETHERTYPE_AT, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader, network_header_behind_addresses};
use super::field::field;
use super::ip::{PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP};
use super::ipv4::Ipv4Header;
use super::ipv6::{IPV6_HEADER, Ipv6Header, upper_layer};

/// Odd words without structure: the first 64-bit words of pi's fraction, made odd.
const KEYS: [u64; 5] =
    [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345, 0xa409_3822_299f_31d1, 0x082e_fa98_ec4e_6c89, 0x4528_21e6_38d0_1377];

/// Where TCP, UDP and SCTP have their two ports.
#[inline]
const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, PROTOCOL_TCP | PROTOCOL_UDP | PROTOCOL_SCTP)
}

#[inline]
const fn fold_multiply(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    (product >> 64) as u64 ^ product as u64
}

#[inline]
const fn finish(hash: u64) -> u32 {
    (fold_multiply(hash ^ KEYS[4], KEYS[3]) >> 32) as u32
}

/// Hashes two words; what is in them is told apart by the caller.
#[inline]
const fn hash_pair(first: u64, second: u64) -> u32 {
    finish(fold_multiply(first ^ KEYS[0], second ^ KEYS[1]))
}

/// `addresses` are the source's and the destination's 8 bytes as they stand in the header.
#[inline]
const fn hash_ipv4(addresses: [u8; 8], protocol: u8, ports: u32) -> u32 {
    hash_pair(u64::from_le_bytes(addresses), (protocol as u64) << 32 | ports as u64)
}

/// `words` are the source's and the destination's two halves each.
#[inline]
const fn hash_ipv6(words: [u64; 4], protocol: u8, ports: u32) -> u32 {
    let source = fold_multiply(words[0] ^ KEYS[0], words[1] ^ KEYS[1]);
    let destination = fold_multiply(words[2] ^ KEYS[2], words[3] ^ KEYS[3]);
    finish(fold_multiply(source ^ ((protocol as u64) << 32 | ports as u64), destination ^ KEYS[4]))
}

/// Four bytes of a packet as they come to be hashed: the first one least significant.
#[inline(always)]
fn half_word(bytes: &[u8], at: usize) -> Option<u32> {
    field(bytes, at).copied().map(u32::from_le_bytes)
}

#[inline]
fn ipv6_words(packet: &[u8]) -> Option<[u64; 4]> {
    let word = |at| field::<8>(packet, at).map(|bytes| u64::from_le_bytes(*bytes));
    Some([word(8)?, word(16)?, word(24)?, word(32)?])
}

/// EtherType, IPv4 header without options, two ports: in bytes.
pub const PLAIN_IPV4: usize = 26;

/// What a frame brings to its outer headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InnerFlow {
    /// The hash of the flow.
    pub hash: u32,
    /// The octet of DSCP and ECN, as [`traffic_class_behind_addresses`] gives it.
    pub dscp_ecn: u8,
}

impl InnerFlow {
    /// The flow that an Ethernet frame belongs to. `frame` need hold only the frame's first bytes; a frame under 14
    /// bytes hashes to 0.
    #[must_use]
    pub fn of(frame: &[u8]) -> Self {
        let Some(header) = EthernetHeader::parse(frame) else { return Self { hash: 0, dscp_ecn: 0 } };
        let behind = frame.get(ETHERTYPE_AT..).unwrap_or_default();
        let plain = behind.first_chunk().and_then(Self::of_plain_ipv4);
        plain.unwrap_or_else(|| Self::of_any(header.destination, header.source, behind))
    }

    /// The flow that a frame with these addresses belongs to; `behind` are its first bytes from its EtherType on.
    #[must_use]
    pub fn of_any(destination: MacAddr, source: MacAddr, behind: &[u8]) -> Self {
        Self::of_plain_ipv6(behind).unwrap_or_else(|| Self {
            hash: hash_any(destination, source, behind),
            dscp_ecn: traffic_class_behind_addresses(behind),
        })
    }

    /// The flow of an untagged IPv4 packet without options that is no fragment: all that makes it lies in fixed places.
    /// None for every other frame. `head` is the frame's front from its EtherType on.
    #[inline(always)]
    #[must_use]
    pub fn of_plain_ipv4(head: &[u8; PLAIN_IPV4]) -> Option<Self> {
        // EtherType, version and header length, traffic class; flags and the fragment's offset, TTL, protocol.
        let (start, middle) = (half_word(head, 0)?, half_word(head, 8)?);
        const PLAIN: u32 = u32::from_le_bytes([(ETHERTYPE_IPV4 >> 8) as u8, ETHERTYPE_IPV4 as u8, 0x45, 0]);
        const FRAGMENT: u32 = u32::from_le_bytes([0x3f, 0xff, 0, 0]);
        if start & 0x00ff_ffff != PLAIN || middle & FRAGMENT != 0 {
            return None;
        }
        let (dscp_ecn, protocol) = ((start >> 24) as u8, (middle >> 24) as u8);
        let (addresses, ports) = (field(head, 14)?, half_word(head, 22)?);
        let ports = if has_ports(protocol) { ports } else { 0 };
        Some(Self { hash: hash_ipv4(*addresses, protocol, ports), dscp_ecn })
    }

    /// The same of an untagged IPv6 packet whose ports are right behind its header.
    fn of_plain_ipv6(behind_addresses: &[u8]) -> Option<Self> {
        let head = behind_addresses.first_chunk::<46>()?;
        let &[t0, t1, first, second, _, _, _, _, protocol, ..] = head;
        if u16::from_be_bytes([t0, t1]) != ETHERTYPE_IPV6 || first >> 4 != 6 || !has_ports(protocol) {
            return None;
        }
        let (_, packet) = head.split_at(size_of::<u16>());
        let hash = hash_ipv6(ipv6_words(packet)?, protocol, half_word(packet, IPV6_HEADER)?);
        Some(Self { hash, dscp_ecn: first << 4 | second >> 4 })
    }
}

/// The hash of the flow that an Ethernet frame belongs to. `frame` need hold only the frame's first bytes; a frame under
/// 14 bytes hashes to 0.
#[must_use]
pub fn flow_hash(frame: &[u8]) -> u32 {
    let behind = frame.get(ETHERTYPE_AT..).unwrap_or_default();
    EthernetHeader::parse(frame).map_or(0, |header| hash_any(header.destination, header.source, behind))
}

/// The hash of a frame with these addresses, and these bytes from its EtherType on.
fn hash_any(destination: MacAddr, source: MacAddr, behind: &[u8]) -> u32 {
    let by_addresses = |ethertype: u16| hash_pair(destination.to_u64(), source.to_u64() << 16 | u64::from(ethertype));
    let Some((ethertype, at)) = network_header_behind_addresses(behind) else {
        return by_addresses(0);
    };
    let packet = behind.get(at..).unwrap_or_default();
    match ethertype {
        ETHERTYPE_IPV4 => hash_ipv4_packet(packet),
        ETHERTYPE_IPV6 => hash_ipv6_packet(packet),
        _ => None,
    }
    .unwrap_or_else(|| by_addresses(ethertype))
}

fn hash_ipv4_packet(packet: &[u8]) -> Option<u32> {
    // The length is not judged here: a frame is to hash alike whether all of it is in the first segment or not.
    let header = Ipv4Header::parse(packet, usize::from(u16::MAX)).ok()?;
    let addresses = *field(packet, 12)?;
    if header.is_fragment() {
        return Some(hash_ipv4(addresses, 0, 0));
    }
    let ports = if has_ports(header.protocol) { half_word(packet, header.header_length) } else { None };
    Some(hash_ipv4(addresses, header.protocol, ports.unwrap_or(0)))
}

fn hash_ipv6_packet(packet: &[u8]) -> Option<u32> {
    Ipv6Header::parse(packet, usize::MAX).ok()?;
    let words = ipv6_words(packet)?;
    // Not even the protocol: the Fragment header of later fragments may name another than a walk of the first one ends
    // at (RFC 8200, 4.5).
    let Some(upper) = upper_layer(packet).ok().filter(|upper| upper.fragment.is_none()) else {
        return Some(hash_ipv6(words, 0, 0));
    };
    let ports = if has_ports(upper.protocol) { half_word(packet, upper.offset) } else { None };
    Some(hash_ipv6(words, upper.protocol, ports.unwrap_or(0)))
}

/// The UDP source ports that VXLAN packets have, by their flows (RFC 7348, 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePorts {
    first: u16,
    count: u32,
}

impl SourcePorts {
    /// The dynamic range of RFC 6335: 49152 to 65535.
    pub const DYNAMIC: Self = Self::new(49152, 65535);

    /// The ports from `first` to `last`; where `last` is less, `first` alone.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Self {
        Self { first, count: last.saturating_sub(first) as u32 + 1 }
    }

    /// The lowest of them.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest of them.
    #[must_use]
    pub const fn last(self) -> u16 {
        (self.first as u32 + self.count - 1) as u16
    }

    /// True for one of them.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last()
    }

    /// The port of the flows with this hash. It goes by the hash's upper 16 bits.
    #[inline(always)]
    #[must_use]
    pub const fn of(self, hash: u32) -> u16 {
        self.first.wrapping_add((((hash >> 16) * self.count) >> 16) as u16)
    }
}

#[cfg(test)]
mod tests;
