//! IPv4 headers (RFC 791, 3.1).

use std::net::Ipv4Addr;

use super::checksum::update_u16;
use super::field::field_mut;
use super::ip::IpError;

/// The length of an IPv4 header without options, in bytes.
pub const IPV4_HEADER: usize = 20;

/// The fields of an IPv4 header whose lengths were checked. Its checksum was not: that is
/// [`ipv4_header_is_valid`](super::checksum::ipv4_header_is_valid)'s, unless the NIC did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Header {
    /// The header with its options, 20 to 60 bytes.
    pub header_length: usize,
    /// Header and data, in bytes: at least `header_length`, at most the bytes that arrived.
    pub total_length: usize,
    /// The octet of DSCP (upper six bits) and ECN (RFC 2474, 3; RFC 3168, 5).
    pub dscp_ecn: u8,
    /// The DF flag.
    pub dont_fragment: bool,
    /// The MF flag.
    pub more_fragments: bool,
    /// The fragment's place in its datagram, in bytes.
    pub fragment_offset: u16,
    /// The time to live, in hops.
    pub ttl: u8,
    /// The protocol of the data.
    pub protocol: u8,
    /// The sender's address.
    pub source: Ipv4Addr,
    /// The receiver's address.
    pub destination: Ipv4Addr,
}

impl Ipv4Header {
    /// Reads the header at the front of `head`. `packet_length` is how many bytes of the packet arrived from this
    /// header on, over all its segments; `head` need hold no more than the header.
    ///
    /// # Errors
    /// [`IpError`], for what cannot be an IPv4 packet.
    #[inline]
    pub fn parse(head: &[u8], packet_length: usize) -> Result<Self, IpError> {
        let fixed = head.first_chunk::<IPV4_HEADER>().ok_or(IpError::Truncated)?;
        let [version, dscp_ecn, l0, l1, _, _, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *fixed;
        if version >> 4 != 4 {
            return Err(IpError::Version);
        }
        let header_length = usize::from(version & 0x0f) * 4;
        if header_length < IPV4_HEADER {
            return Err(IpError::HeaderLength);
        }
        if head.len() < header_length {
            return Err(IpError::Truncated);
        }
        let total_length = usize::from(u16::from_be_bytes([l0, l1]));
        if total_length < header_length || total_length > packet_length {
            return Err(IpError::TotalLength);
        }
        let fragment = u16::from_be_bytes([f0, f1]);
        Ok(Self {
            header_length,
            total_length,
            dscp_ecn,
            dont_fragment: fragment & 0x4000 != 0,
            more_fragments: fragment & 0x2000 != 0,
            fragment_offset: (fragment & 0x1fff) << 3,
            ttl,
            protocol,
            source: Ipv4Addr::new(s0, s1, s2, s3),
            destination: Ipv4Addr::new(d0, d1, d2, d3),
        })
    }

    /// True for a piece of a datagram rather than a whole one.
    #[inline]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// True for a header with options.
    #[inline]
    #[must_use]
    pub const fn has_options(&self) -> bool {
        self.header_length != IPV4_HEADER
    }
}

/// Sets the octet of DSCP and ECN of the IPv4 header at the front of `packet` and corrects the header checksum. False,
/// and nothing changed, where there are not [`IPV4_HEADER`] bytes.
#[inline]
#[must_use]
pub fn set_dscp_ecn(packet: &mut [u8], dscp_ecn: u8) -> bool {
    let Some(header) = field_mut::<IPV4_HEADER>(packet, 0) else {
        return false;
    };
    let old = u16::from_be_bytes([header[0], header[1]]);
    header[1] = dscp_ecn;
    let new = u16::from_be_bytes([header[0], header[1]]);
    let checksum = u16::from_be_bytes([header[10], header[11]]);
    [header[10], header[11]] = update_u16(checksum, old, new).to_be_bytes();
    true
}
