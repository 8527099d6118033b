//! UDP headers (RFC 768).

use super::field::field_mut;

/// The length of a UDP header, in bytes.
pub const UDP_HEADER: usize = 8;

/// A UDP header. Nothing about it was checked: `length` is what the sender wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpHeader {
    /// The sender's port; of a VXLAN packet, the entropy of the inner flow.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// Header and data, in bytes; under [`UDP_HEADER`] it is malformed.
    pub length: u16,
    /// The checksum over pseudo-header, header and data; 0 where there is none.
    pub checksum: u16,
}

impl UdpHeader {
    /// Reads the header at the front of `datagram`; `None` where that is under [`UDP_HEADER`] bytes.
    #[inline]
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let [s0, s1, d0, d1, l0, l1, c0, c1] = *datagram.first_chunk::<UDP_HEADER>()?;
        Some(Self {
            source_port: u16::from_be_bytes([s0, s1]),
            destination_port: u16::from_be_bytes([d0, d1]),
            length: u16::from_be_bytes([l0, l1]),
            checksum: u16::from_be_bytes([c0, c1]),
        })
    }

    /// The header's bytes.
    #[inline]
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; UDP_HEADER] {
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.destination_port.to_be_bytes();
        let [l0, l1] = self.length.to_be_bytes();
        let [c0, c1] = self.checksum.to_be_bytes();
        [s0, s1, d0, d1, l0, l1, c0, c1]
    }

    /// Writes the header to the front of `datagram`. False, and nothing written, where there is no room.
    #[inline]
    #[must_use]
    pub fn write(&self, datagram: &mut [u8]) -> bool {
        match field_mut(datagram, 0) {
            Some(header) => {
                *header = self.to_bytes();
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn headers_read_as_etherparse_reads_them_and_write_back(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let oracle = etherparse::UdpHeader::from_slice(&bytes).ok().map(|(header, _)| header);
            let header = UdpHeader::parse(&bytes);
            prop_assert_eq!(header.is_some(), oracle.is_some());
            if let (Some(header), Some(oracle)) = (header, oracle) {
                prop_assert_eq!((header.source_port, header.destination_port), (oracle.source_port, oracle.destination_port));
                prop_assert_eq!((header.length, header.checksum), (oracle.length, oracle.checksum));
                let mut out = vec![0; bytes.len()];
                prop_assert!(header.write(&mut out) && !header.write(&mut [0; 7]));
                prop_assert_eq!(&out[..UDP_HEADER], &bytes[..UDP_HEADER]);
            }
        }
    }
}
