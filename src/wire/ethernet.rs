//! Ethernet headers and the VLAN tags behind them (IEEE 802.3, 3.1.1; IEEE 802.1Q, 9).

use super::address::MacAddr;
use super::field::{field_mut, read_u16};

/// The length of an Ethernet header without tags, in bytes.
pub const ETHERNET_HEADER: usize = 14;
/// The shortest frame on a wire, in bytes and without the frame check sequence (IEEE 802.3, 3.2.8 and 4A.2.3.2.4).
pub const ETHERNET_MINIMUM: usize = 60;
/// The length of one VLAN tag, in bytes (IEEE 802.1Q, 9.3).
pub const VLAN_TAG: usize = 4;
/// How many tags [`network_header`] looks behind.
pub const MAX_VLAN_TAGS: usize = 4;

/// IPv4 (RFC 894).
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// ARP (RFC 826).
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// A customer VLAN tag (IEEE 802.1Q, table 9-1).
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// IPv6 (RFC 2464, 3).
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// A service VLAN tag, the outer one of two (IEEE 802.1Q, table 9-1).
pub const ETHERTYPE_QINQ: u16 = 0x88a8;

/// Where a frame has its EtherType, in bytes.
pub const ETHERTYPE_AT: usize = 12;

/// True for the EtherTypes that announce a VLAN tag.
#[inline]
#[must_use]
pub const fn is_vlan_ethertype(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_QINQ)
}

/// The first 14 bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetHeader {
    /// The station or group the frame is for.
    pub destination: MacAddr,
    /// The station that sent the frame.
    pub source: MacAddr,
    /// The EtherType as it stands in the header: in a tagged frame the tag's; in an IEEE 802.3 frame, a length.
    pub ethertype: u16,
}

impl EthernetHeader {
    /// Reads the header; `None` where `frame` is under [`ETHERNET_HEADER`] bytes.
    #[inline]
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *frame.first_chunk::<ETHERNET_HEADER>()?;
        Some(Self {
            destination: MacAddr([d0, d1, d2, d3, d4, d5]),
            source: MacAddr([s0, s1, s2, s3, s4, s5]),
            ethertype: u16::from_be_bytes([t0, t1]),
        })
    }

    /// The header's bytes.
    #[inline]
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; ETHERNET_HEADER] {
        let [d0, d1, d2, d3, d4, d5] = self.destination.0;
        let [s0, s1, s2, s3, s4, s5] = self.source.0;
        let [t0, t1] = self.ethertype.to_be_bytes();
        [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1]
    }

    /// Writes the header to the front of `frame`. False, and nothing written, where there is no room.
    #[inline]
    #[must_use]
    pub fn write(&self, frame: &mut [u8]) -> bool {
        match field_mut(frame, 0) {
            Some(header) => {
                *header = self.to_bytes();
                true
            }
            None => false,
        }
    }
}

/// The EtherType of what a frame carries, and the offset where that begins, behind up to [`MAX_VLAN_TAGS`] VLAN tags.
///
/// A fifth tag is not looked behind: its own EtherType is returned, which to any caller is a protocol it does not know.
/// `None` where the frame ends within its header or tags.
#[inline]
#[must_use]
pub fn network_header(frame: &[u8]) -> Option<(u16, usize)> {
    let (ethertype, at) = network_header_behind_addresses(frame.get(ETHERTYPE_AT..)?)?;
    Some((ethertype, ETHERTYPE_AT + at))
}

/// As [`network_header`], of a frame from its EtherType on, which is where the offset counts from.
#[inline]
#[must_use]
pub fn network_header_behind_addresses(behind: &[u8]) -> Option<(u16, usize)> {
    let ethertype = read_u16(behind, 0)?;
    if is_vlan_ethertype(ethertype) { network_header_behind_tags(behind) } else { Some((ethertype, 2)) }
}

fn network_header_behind_tags(behind: &[u8]) -> Option<(u16, usize)> {
    let mut at = 0;
    let mut ethertype = read_u16(behind, at)?;
    for _ in 0..MAX_VLAN_TAGS {
        if !is_vlan_ethertype(ethertype) {
            break;
        }
        at += VLAN_TAG;
        ethertype = read_u16(behind, at)?;
    }
    Some((ethertype, at + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fixture::{GATEWAY, HOST, ethernet, tagged};
    use etherparse::Ethernet2Header;
    use proptest::prelude::*;

    #[test]
    fn the_network_header_is_found_behind_up_to_four_tags_and_no_more() {
        let frame = ethernet(HOST, GATEWAY, ETHERTYPE_IPV6, &[]);
        let tpids = [ETHERTYPE_QINQ, ETHERTYPE_VLAN, ETHERTYPE_QINQ, ETHERTYPE_VLAN, ETHERTYPE_VLAN];
        for tags in 0..=4 {
            let frame = tagged(&frame, &tpids[..tags]);
            assert_eq!(network_header(&frame), Some((ETHERTYPE_IPV6, ETHERNET_HEADER + tags * VLAN_TAG)));
            assert_eq!(network_header(&frame[..frame.len() - 1]), None, "{tags} tags, cut");
        }
        assert_eq!(network_header(&tagged(&frame, &tpids)), Some((ETHERTYPE_VLAN, 30)));
    }

    #[test]
    fn a_header_is_not_written_where_there_is_no_room() {
        let header = EthernetHeader { destination: HOST, source: GATEWAY, ethertype: ETHERTYPE_ARP };
        let mut out = [0; ETHERNET_HEADER];
        assert!(!header.write(&mut out[..13]));
        assert_eq!(out, [0; ETHERNET_HEADER]);
        assert!(header.write(&mut out));
        assert_eq!(EthernetHeader::parse(&out), Some(header));
    }

    proptest! {
        #[test]
        fn headers_read_as_etherparse_reads_them(bytes: Vec<u8>) {
            let oracle = Ethernet2Header::from_slice(&bytes).ok().map(|(header, _)| header);
            let header = EthernetHeader::parse(&bytes);
            prop_assert_eq!(header.is_some(), oracle.is_some());
            if let (Some(header), Some(oracle)) = (header, oracle) {
                prop_assert_eq!(header.destination.0, oracle.destination);
                prop_assert_eq!(header.source.0, oracle.source);
                prop_assert_eq!(header.ethertype, oracle.ether_type.0);
                prop_assert_eq!(&header.to_bytes()[..], &bytes[..ETHERNET_HEADER]);
            }
        }

        #[test]
        fn any_bytes_have_a_network_header_within_them_or_none(bytes: Vec<u8>) {
            prop_assert!(network_header(&bytes).is_none_or(|(_, at)| at <= bytes.len()));
        }
    }
}
