//! IPv6 headers and the extension headers behind them (RFC 8200, 3 and 4).

use std::net::Ipv6Addr;

use thiserror::Error;

use super::field::{field, field_mut, read_u16};
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
        return Ok(UpperLayer { protocol: header[6], offset: IPV6_HEADER, fragment: None });
    }
    walk(packet.get(..IPV6_HEADER + payload_length).unwrap_or(packet), header[6])
}

const fn is_extension_header(protocol: u8) -> bool {
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
    let mut at = UpperLayer { protocol: first, offset: IPV6_HEADER, fragment: None };
    for position in 0..MAX_EXTENSION_HEADERS {
        let [next, length] = *field(packet, at.offset).ok_or(ExtensionHeaderError::Truncated)?;
        let length = match at.protocol {
            EXTENSION_HOP_BY_HOP if position > 0 => return Err(ExtensionHeaderError::Misplaced),
            EXTENSION_FRAGMENT if at.fragment.is_some() => return Err(ExtensionHeaderError::Misplaced),
            EXTENSION_FRAGMENT => {
                at.fragment = Some(fragment_at(packet, at.offset).ok_or(ExtensionHeaderError::Truncated)?);
                8
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
