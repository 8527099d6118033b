//! IPv4 headers (RFC 791, 3.1).

use std::net::Ipv4Addr;

use super::checksum::update_u16;
use super::field::{field, field_mut};
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
        let [version, dscp_ecn, l0, l1, _, _, f0, f1, ttl, protocol, ..] = *fixed;
        let address = |at| field(fixed, at).copied().map(Ipv4Addr::from).ok_or(IpError::Truncated);
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
            source: address(12)?,
            destination: address(16)?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum::ipv4_header_is_valid;
    use crate::wire::fixture::{ipv4, ipv4_header, ipv4_packet};
    use etherparse::Ipv4HeaderSlice;
    use proptest::prelude::*;

    #[test]
    fn v12_impossible_lengths_each_have_their_error() {
        let packet = ipv4([10, 0, 0, 1], [10, 0, 0, 2], 17, &[0; 8]);
        assert_eq!(Ipv4Header::parse(&packet, 28).map(|header| header.total_length), Ok(28));
        assert_eq!(Ipv4Header::parse(&packet, 27), Err(IpError::TotalLength));
        for length in 0..IPV4_HEADER {
            assert_eq!(Ipv4Header::parse(&packet[..length], 28), Err(IpError::Truncated));
        }
        let changed = |at: usize, to: u8| {
            let mut packet = packet.clone();
            packet[at] = to;
            Ipv4Header::parse(&packet, 28)
        };
        assert_eq!(changed(0, 0x65), Err(IpError::Version));
        assert_eq!(changed(0, 0x44), Err(IpError::HeaderLength));
        assert_eq!(changed(0, 0x4f), Err(IpError::Truncated));
        assert_eq!(changed(0, 0x47).map(|header| header.header_length), Ok(28));
        assert_eq!(changed(3, 19), Err(IpError::TotalLength));
    }

    #[test]
    fn every_dscp_ecn_octet_is_set_and_the_checksum_stays_right() {
        let mut packet = ipv4([10, 0, 0, 1], [10, 0, 0, 2], 17, &[0; 8]);
        for value in (0..=255).chain([3, 0, 255]) {
            assert!(set_dscp_ecn(&mut packet, value));
            assert_eq!(Ipv4Header::parse(&packet, 28).map(|header| header.dscp_ecn), Ok(value));
            assert!(ipv4_header_is_valid(&packet), "{value}");
        }
        assert!(!set_dscp_ecn(&mut packet[..19], 0));
    }

    proptest! {
        #[test]
        fn fields_read_as_etherparse_reads_them(mut bytes in prop::collection::vec(any::<u8>(), 20..80), words in 5u8..16) {
            bytes[0] = 0x40 | words;
            bytes[2] = 0;
            let header = Ipv4Header::parse(&bytes, usize::MAX);
            prop_assume!(header.is_ok());
            let (header, oracle) = (header.expect("just seen"), Ipv4HeaderSlice::from_slice(&bytes).expect("a header"));
            prop_assert_eq!(header.header_length, oracle.slice().len());
            prop_assert_eq!(header.has_options(), !oracle.options().is_empty());
            prop_assert_eq!(header.total_length, usize::from(oracle.total_len()));
            prop_assert_eq!(header.dscp_ecn, oracle.dcp().value() << 2 | oracle.ecn().value());
            prop_assert_eq!(header.dont_fragment, oracle.dont_fragment());
            prop_assert_eq!(header.more_fragments, oracle.more_fragments());
            prop_assert_eq!(header.fragment_offset, oracle.fragments_offset().byte_offset());
            prop_assert_eq!(header.is_fragment(), oracle.is_fragmenting_payload());
            prop_assert_eq!((header.ttl, header.protocol), (oracle.ttl(), oracle.protocol().0));
            prop_assert_eq!((header.source, header.destination), (oracle.source_addr(), oracle.destination_addr()));
        }

        #[test]
        fn any_bytes_parse_within_their_bounds_or_not_at_all(bytes: Vec<u8>, extra in 0usize..2000) {
            if let Ok(header) = Ipv4Header::parse(&bytes, bytes.len() + extra) {
                prop_assert!(header.header_length <= bytes.len() && header.header_length <= header.total_length);
                prop_assert!(header.total_length <= bytes.len() + extra);
            }
        }
    }

    #[test]
    fn options_are_counted_to_the_header() {
        let mut header = ipv4_header([10, 0, 0, 1], [10, 0, 0, 2], 17);
        header.options = [1; 12].into();
        let packet = ipv4_packet(header, &[0; 8]);
        let header = Ipv4Header::parse(&packet, packet.len()).expect("a packet");
        assert_eq!((header.header_length, header.total_length, header.has_options()), (32, 40, true));
    }
}
