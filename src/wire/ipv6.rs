//! IPv6 headers and the extension headers behind them (RFC 8200, 3 and 4).

use std::net::Ipv6Addr;

use thiserror::Error;

use super::field::{field, field_mut, read_u8, read_u16};
use super::ip::IpError;

/// The length of an IPv6 header without extension headers, in bytes.
pub const IPV6_HEADER: usize = 40;
/// The MTU every IPv6 link has at least, in bytes (RFC 8200, 5).
pub const IPV6_MINIMUM_MTU: u16 = 1280;
/// How many extension headers [`upper_layer`] walks: one of each that RFC 8200, 4.1 lists, and one to spare.
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// Hop-by-Hop Options (RFC 8200, 4.3).
pub const EXTENSION_HOP_BY_HOP: u8 = 0;
/// Routing (RFC 8200, 4.4).
pub const EXTENSION_ROUTING: u8 = 43;
/// Fragment (RFC 8200, 4.5).
pub const EXTENSION_FRAGMENT: u8 = 44;
/// Authentication (RFC 4302), whose length counts units of 4 bytes and not of 8.
pub const EXTENSION_AUTHENTICATION: u8 = 51;
/// Destination Options (RFC 8200, 4.6).
pub const EXTENSION_DESTINATION: u8 = 60;
/// Mobility (RFC 6275, 6.1).
pub const EXTENSION_MOBILITY: u8 = 135;
/// Host Identity Protocol (RFC 7401, 5.1).
pub const EXTENSION_HIP: u8 = 139;
/// Shim6 (RFC 5533, 5.1).
pub const EXTENSION_SHIM6: u8 = 140;

/// The fields of an IPv6 header whose length was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Header {
    /// The octet of DSCP (upper six bits) and ECN.
    pub traffic_class: u8,
    /// The flow label, 20 bits (RFC 6437).
    pub flow_label: u32,
    /// What follows this header, extension headers included, in bytes; it is all among the bytes that arrived.
    pub payload_length: usize,
    /// The protocol of what follows, which may be an extension header.
    pub next_header: u8,
    /// The time to live, in hops.
    pub hop_limit: u8,
    /// The sender's address.
    pub source: Ipv6Addr,
    /// The receiver's address.
    pub destination: Ipv6Addr,
}

impl Ipv6Header {
    /// Reads the header at the front of `head`. `packet_length` is how many bytes of the packet arrived from this
    /// header on, over all its segments; `head` need hold no more than the header.
    ///
    /// # Errors
    /// [`IpError`], for what cannot be an IPv6 packet. Jumbograms (RFC 2675) read as packets without payload.
    #[inline]
    pub fn parse(head: &[u8], packet_length: usize) -> Result<Self, IpError> {
        let fixed = head.first_chunk::<IPV6_HEADER>().ok_or(IpError::Truncated)?;
        let word = u32::from_be_bytes([fixed[0], fixed[1], fixed[2], fixed[3]]);
        if word >> 28 != 6 {
            return Err(IpError::Version);
        }
        let payload_length = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
        if IPV6_HEADER + payload_length > packet_length {
            return Err(IpError::TotalLength);
        }
        let address = |at| field::<16>(fixed, at).copied().map(Ipv6Addr::from).ok_or(IpError::Truncated);
        Ok(Self {
            traffic_class: ((word >> 20) & 0xff) as u8,
            flow_label: word & 0x000f_ffff,
            payload_length,
            next_header: fixed[6],
            hop_limit: fixed[7],
            source: address(8)?,
            destination: address(24)?,
        })
    }
}

/// Sets the traffic class of the IPv6 header at the front of `packet`. False, and nothing changed, where there are not
/// [`IPV6_HEADER`] bytes.
#[inline]
#[must_use]
pub fn set_traffic_class(packet: &mut [u8], traffic_class: u8) -> bool {
    let Some(header) = field_mut::<IPV6_HEADER>(packet, 0) else {
        return false;
    };
    header[0] = header[0] & 0xf0 | traffic_class >> 4;
    header[1] = header[1] & 0x0f | traffic_class << 4;
    true
}

/// What a Fragment header says (RFC 8200, 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Fragment {
    /// The fragment's place in the fragmentable part, in bytes.
    pub offset: u16,
    /// The M flag: another fragment follows.
    pub more: bool,
    /// Which datagram the fragment is of.
    pub identification: u32,
}

/// What an IPv6 packet carries behind its extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpperLayer {
    /// The protocol. In a fragment that is not the first, what the Fragment header names: that may be an extension
    /// header, of which this packet has no copy.
    pub protocol: u8,
    /// Where it begins, in bytes from the IPv6 header.
    pub offset: usize,
    /// The Fragment header, where there is one.
    pub fragment: Option<Ipv6Fragment>,
    /// A Routing header has segments left: the packet is on its way to another node (RFC 8200, 4.4).
    pub underway: bool,
}

impl UpperLayer {
    /// True for a piece of a datagram. A packet with a Fragment header that is the whole datagram is none (RFC 6946).
    #[inline]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        match self.fragment {
            Some(fragment) => fragment.more || fragment.offset != 0,
            None => false,
        }
    }
}

/// Why the extension headers cannot be walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExtensionHeaderError {
    /// The payload, or the bytes at hand, end within a header.
    #[error("the bytes end within an extension header")]
    Truncated,
    /// Hop-by-Hop Options that are not the first header, or a second Fragment header (RFC 8200, 4.1).
    #[error("an extension header is not in its place")]
    Misplaced,
    /// More than [`MAX_EXTENSION_HEADERS`].
    #[error("there are too many extension headers")]
    TooMany,
}

/// Finds the upper-layer protocol of the IPv6 packet at the front of `packet`, behind at most
/// [`MAX_EXTENSION_HEADERS`] extension headers. ESP (RFC 4303) and "no next header" count as upper layers: nothing can
/// be read behind them.
///
/// # Errors
/// [`ExtensionHeaderError`]; the version is not looked at.
#[inline]
pub fn upper_layer(packet: &[u8]) -> Result<UpperLayer, ExtensionHeaderError> {
    let header = packet.first_chunk::<IPV6_HEADER>().ok_or(ExtensionHeaderError::Truncated)?;
    let payload_length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if !is_extension_header(header[6]) {
        return Ok(UpperLayer { protocol: header[6], offset: IPV6_HEADER, fragment: None, underway: false });
    }
    walk(packet.get(..IPV6_HEADER + payload_length).unwrap_or(packet), header[6])
}

/// True for a next-header number that is one of the extension headers [`upper_layer`] walks.
#[must_use]
pub const fn is_extension_header(protocol: u8) -> bool {
    matches!(
        protocol,
        EXTENSION_HOP_BY_HOP
            | EXTENSION_ROUTING
            | EXTENSION_FRAGMENT
            | EXTENSION_AUTHENTICATION
            | EXTENSION_DESTINATION
            | EXTENSION_MOBILITY
            | EXTENSION_HIP
            | EXTENSION_SHIM6
    )
}

fn walk(packet: &[u8], first: u8) -> Result<UpperLayer, ExtensionHeaderError> {
    let mut at = UpperLayer { protocol: first, offset: IPV6_HEADER, fragment: None, underway: false };
    for position in 0..MAX_EXTENSION_HEADERS {
        let [next, length] = *field(packet, at.offset).ok_or(ExtensionHeaderError::Truncated)?;
        let length = match at.protocol {
            EXTENSION_HOP_BY_HOP if position > 0 => return Err(ExtensionHeaderError::Misplaced),
            EXTENSION_FRAGMENT if at.fragment.is_some() => return Err(ExtensionHeaderError::Misplaced),
            EXTENSION_FRAGMENT => {
                at.fragment = Some(fragment_at(packet, at.offset).ok_or(ExtensionHeaderError::Truncated)?);
                8
            }
            EXTENSION_ROUTING => {
                let segments_left = read_u8(packet, at.offset + 3).ok_or(ExtensionHeaderError::Truncated)?;
                at.underway |= segments_left > 0;
                (usize::from(length) + 1) * 8
            }
            EXTENSION_AUTHENTICATION => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        at.protocol = next;
        at.offset += length;
        if at.offset > packet.len() {
            return Err(ExtensionHeaderError::Truncated);
        }
        // Behind the first fragment's there are the datagram's headers; behind any other's, bytes from its middle.
        if !is_extension_header(next) || at.fragment.is_some_and(|fragment| fragment.offset != 0) {
            return Ok(at);
        }
    }
    Err(ExtensionHeaderError::TooMany)
}

fn fragment_at(packet: &[u8], at: usize) -> Option<Ipv6Fragment> {
    let [_, _, _, _, id @ ..] = *field::<8>(packet, at)?;
    let word = read_u16(packet, at + 2)?;
    Some(Ipv6Fragment { offset: word & 0xfff8, more: word & 1 != 0, identification: u32::from_be_bytes(id) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fixture::ipv6;
    use etherparse::{Ipv6HeaderSlice, Ipv6Slice};
    use proptest::prelude::*;

    const A: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
    const B: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

    fn packet(chain: &[(u8, Vec<u8>)], protocol: u8, payload: &[u8]) -> Vec<u8> {
        let first = chain.first().map_or(protocol, |(kind, _)| *kind);
        let mut bytes = Vec::new();
        for (index, (_, header)) in chain.iter().enumerate() {
            bytes.push(chain.get(index + 1).map_or(protocol, |(kind, _)| *kind));
            bytes.extend(header);
        }
        bytes.extend(payload);
        ipv6(A, B, first, 64, &bytes)
    }

    /// An extension header without its next-header octet, of `units` times 8 bytes beyond the first 8.
    fn option(kind: u8, units: u8) -> (u8, Vec<u8>) {
        (kind, std::iter::once(units).chain(vec![0; 6 + 8 * usize::from(units)]).collect())
    }

    fn fragment(offset: u16, more: bool) -> (u8, Vec<u8>) {
        let [a, b] = (offset | u16::from(more)).to_be_bytes();
        (EXTENSION_FRAGMENT, vec![0, a, b, 0xde, 0xad, 0xbe, 0xef])
    }

    #[test]
    fn u2_a_routing_header_with_segments_left_says_that_the_packet_is_underway() {
        for (segments_left, underway) in [(0, false), (1, true), (255, true)] {
            let routing = (EXTENSION_ROUTING, vec![0, 4, segments_left, 0, 0, 0, 0]);
            let upper = upper_layer(&packet(&[routing], 17, &[0; 8])).expect("a walkable chain");
            assert_eq!(upper.underway, underway, "{segments_left} segments left");
        }
    }

    #[test]
    fn u2_extension_headers_are_walked_to_the_upper_layer() {
        let authentication = (EXTENSION_AUTHENTICATION, [4].into_iter().chain([0; 22]).collect());
        let chain = [option(EXTENSION_HOP_BY_HOP, 0), option(EXTENSION_ROUTING, 2), option(60, 1), authentication];
        let packet = packet(&chain, 17, &[0; 8]);
        let upper = upper_layer(&packet).expect("a walkable chain");
        assert_eq!(upper, UpperLayer { protocol: 17, offset: 40 + 8 + 24 + 16 + 24, fragment: None, underway: false });
        for length in 0..upper.offset {
            assert_eq!(upper_layer(&packet[..length]), Err(ExtensionHeaderError::Truncated), "{length} bytes");
        }
        let oracle = Ipv6Slice::from_slice(&packet).expect("a packet");
        assert_eq!((oracle.payload().ip_number.0, oracle.payload().payload.len()), (17, 8));
    }

    #[test]
    fn u2_fragments_are_recognised_and_an_atomic_one_is_a_whole_datagram() {
        let chain = |offset, more| packet(&[fragment(offset, more), option(60, 0)], 17, &[0; 8]);
        let first = upper_layer(&chain(0, true)).expect("walkable");
        assert_eq!((first.protocol, first.offset, first.is_fragment()), (17, 56, true));
        let identification = 0xdead_beef;
        assert_eq!(first.fragment, Some(Ipv6Fragment { offset: 0, more: true, identification }));
        let later = upper_layer(&chain(1232, false)).expect("walkable");
        assert_eq!((later.protocol, later.offset, later.is_fragment()), (60, 48, true));
        assert_eq!(later.fragment, Some(Ipv6Fragment { offset: 1232, more: false, identification }));
        let atomic = upper_layer(&chain(0, false)).expect("walkable");
        assert_eq!((atomic.protocol, atomic.offset, atomic.is_fragment()), (17, 56, false));
    }

    #[test]
    fn u2_chains_that_cannot_be_walked_are_errors() {
        let walk = |chain: &[_]| upper_layer(&packet(chain, 17, &[0; 8]));
        let misplaced = Err(ExtensionHeaderError::Misplaced);
        assert_eq!(walk(&[option(60, 0), option(EXTENSION_HOP_BY_HOP, 0)]), misplaced);
        assert_eq!(walk(&[fragment(0, true), fragment(0, true)]), misplaced);
        assert!(walk(&vec![option(60, 0); MAX_EXTENSION_HEADERS]).is_ok());
        assert_eq!(walk(&vec![option(60, 0); MAX_EXTENSION_HEADERS + 1]), Err(ExtensionHeaderError::TooMany));
        let mut beyond_payload = packet(&[option(60, 0)], 17, &[]);
        beyond_payload[5] = 7;
        assert_eq!(upper_layer(&beyond_payload), Err(ExtensionHeaderError::Truncated));
    }

    #[test]
    fn every_traffic_class_is_set_and_nothing_else() {
        let mut packet = packet(&[], 17, &[]);
        packet[1..4].copy_from_slice(&[0x0a, 0xbc, 0xde]);
        let before = Ipv6Header::parse(&packet, 40).expect("a header");
        for traffic_class in 0..=255 {
            assert!(set_traffic_class(&mut packet, traffic_class));
            assert_eq!(Ipv6Header::parse(&packet, 40), Ok(Ipv6Header { traffic_class, ..before }));
        }
        assert!(!set_traffic_class(&mut packet[..39], 0));
    }

    proptest! {
        #[test]
        fn fields_read_as_etherparse_reads_them(mut bytes in prop::collection::vec(any::<u8>(), 40..48)) {
            bytes[0] = 0x60 | bytes[0] & 0x0f;
            let header = Ipv6Header::parse(&bytes, usize::MAX).expect("a header");
            let oracle = Ipv6HeaderSlice::from_slice(&bytes).expect("a header");
            prop_assert_eq!(header.traffic_class, oracle.traffic_class());
            prop_assert_eq!(header.flow_label, oracle.flow_label().value());
            prop_assert_eq!(header.payload_length, usize::from(oracle.payload_length()));
            prop_assert_eq!((header.next_header, header.hop_limit), (oracle.next_header().0, oracle.hop_limit()));
            prop_assert_eq!((header.source, header.destination), (oracle.source_addr(), oracle.destination_addr()));
        }

        #[test]
        fn v12_lengths_and_versions_that_cannot_be_are_errors(bytes: Vec<u8>, available in 0usize..100) {
            match Ipv6Header::parse(&bytes, available) {
                Ok(header) => prop_assert!(bytes[0] >> 4 == 6 && 40 + header.payload_length <= available),
                Err(IpError::Truncated) => prop_assert!(bytes.len() < 40),
                Err(IpError::Version) => prop_assert!(bytes[0] >> 4 != 6),
                Err(error) => prop_assert!(error == IpError::TotalLength && bytes[0] >> 4 == 6),
            }
        }

        #[test]
        fn any_chain_ends_within_the_packet_or_not_at_all(kinds in prop::collection::vec(0usize..9, 0..12),
                                                         bytes in prop::collection::vec(0u8..4, 40..400)) {
            // Headers of one unit, so that random kinds chain up.
            let known = [0, 43, 44, 51, 60, 135, 139, 140, 17];
            let mut bytes = bytes;
            bytes[4] = 1;
            for (index, kind) in kinds.iter().enumerate() {
                let at = if index == 0 { 6 } else { 32 + 8 * index };
                if let Some(next) = bytes.get_mut(at) { *next = known[*kind]; }
                if let Some(length) = bytes.get_mut(at + 1) { *length = 0; }
            }
            if let Ok(upper) = upper_layer(&bytes) {
                prop_assert!((40..=bytes.len()).contains(&upper.offset));
            }
        }
    }
}
