//! VXLAN headers (RFC 7348, 5): a flags octet, 24 reserved bits, the VNI in 24 bits, 8 reserved bits.

use super::address::Vni;

/// The length of a VXLAN header, in bytes.
pub const VXLAN_HEADER: usize = 8;
/// The I flag within the flags octet: the VNI is valid.
pub const VXLAN_FLAG_VNI: u8 = 0x08;

/// True where the I flag is set; without it the packet is to be dropped.
#[inline]
#[must_use]
pub const fn has_valid_vni(header: &[u8; VXLAN_HEADER]) -> bool {
    header[0] & VXLAN_FLAG_VNI != 0
}

/// True where the 7 reserved flags and 32 reserved bits are all zero. A receiver is to ignore them, so this matters
/// only to one that was told to be strict.
#[inline]
#[must_use]
pub const fn reserved_is_zero(header: &[u8; VXLAN_HEADER]) -> bool {
    let [flags, a, b, c, _, _, _, d] = *header;
    flags & !VXLAN_FLAG_VNI | a | b | c | d == 0
}

/// The VNI, which means something only where [`has_valid_vni`].
#[inline]
#[must_use]
pub const fn vni_of(header: &[u8; VXLAN_HEADER]) -> Vni {
    Vni::from_low_bits(u64::from_be_bytes(*header) >> 8)
}

/// The header of a packet of `vni`, reserved bits zero.
#[inline]
#[must_use]
pub const fn header_of(vni: Vni) -> [u8; VXLAN_HEADER] {
    ((VXLAN_FLAG_VNI as u64) << 56 | (vni.get() as u64) << 8).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_only_the_i_flag_makes_the_vni_valid() {
        for flags in 0..=255 {
            let header = [flags, 0, 0, 0, 0, 0, 1, 0];
            assert_eq!(has_valid_vni(&header), flags & 0x08 != 0, "{flags:#04x}");
        }
    }

    #[test]
    fn v2_a_header_is_sent_with_reserved_bits_zero_and_read_whatever_they_are() {
        let vni = Vni::new(0x00ab_cdef).expect("24 bits");
        let header = header_of(vni);
        assert_eq!(header, [0x08, 0, 0, 0, 0xab, 0xcd, 0xef, 0]);
        assert!(reserved_is_zero(&header) && has_valid_vni(&header));
        let reserved = (0..64).filter(|bit| !matches!(bit, 3 | 32..56));
        assert_eq!(reserved.clone().count(), 7 + 32);
        for bit in reserved {
            let mut header = header;
            header[bit / 8] ^= 1 << (bit % 8);
            assert!(!reserved_is_zero(&header), "bit {bit}");
            assert!(has_valid_vni(&header), "bit {bit}");
            assert_eq!(vni_of(&header), vni, "bit {bit}");
        }
    }

    #[test]
    fn v8_every_bit_of_the_vni_counts() {
        for vni in (0..24).map(|bit| 1 << bit).chain([0, Vni::MAX]) {
            let vni = Vni::new(vni).expect("24 bits");
            assert_eq!(vni_of(&header_of(vni)), vni);
            assert!(reserved_is_zero(&header_of(vni)));
        }
    }
}
