//! VXLAN headers (RFC 7348, 5): a flags octet, 24 reserved bits, the VNI in 24 bits, 8 reserved bits. The group policy
//! extension (draft-smith-vxlan-group-policy-05, 2.1) has a further flag, two more in the first reserved octet, and a
//! group policy ID in the other two.

use super::address::Vni;

/// The length of a VXLAN header, in bytes.
pub const VXLAN_HEADER: usize = 8;
/// The I flag within the flags octet: the VNI is valid.
pub const VXLAN_FLAG_VNI: u8 = 0x08;
/// The G flag within the flags octet: there is a group policy ID.
const FLAG_GROUP_POLICY: u8 = 0x80;
/// The D flag within the octet behind: do not learn.
const FLAG_DO_NOT_LEARN: u8 = 0x40;
/// That and the A flag: policy applied.
const GROUP_POLICY_FLAGS: u8 = FLAG_DO_NOT_LEARN | 0x08;

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

/// As [`header_of`], with a group policy ID; its D and A flags are zero.
#[must_use]
pub const fn header_with_group_policy(vni: Vni, group_policy: u16) -> [u8; VXLAN_HEADER] {
    let [flags, reserved, _, _, a, b, c, d] = header_of(vni);
    let [high, low] = group_policy.to_be_bytes();
    [flags | FLAG_GROUP_POLICY, reserved, high, low, a, b, c, d]
}

/// The group policy ID, if there is one.
#[must_use]
pub const fn group_policy_of(header: &[u8; VXLAN_HEADER]) -> Option<u16> {
    if header[0] & FLAG_GROUP_POLICY == 0 { None } else { Some(u16::from_be_bytes([header[2], header[3]])) }
}

/// True where the header has a group policy, and with it the D flag: the source address behind it is not to be learned.
#[must_use]
pub const fn forbids_learning(header: &[u8; VXLAN_HEADER]) -> bool {
    header[0] & FLAG_GROUP_POLICY != 0 && header[1] & FLAG_DO_NOT_LEARN != 0
}

/// True where what is reserved also with a group policy ID is zero.
#[must_use]
pub const fn reserved_with_group_policy_is_zero(header: &[u8; VXLAN_HEADER]) -> bool {
    let [flags, more_flags, _, _, _, _, _, d] = *header;
    flags & !(VXLAN_FLAG_VNI | FLAG_GROUP_POLICY) | more_flags & !GROUP_POLICY_FLAGS | d == 0
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
    fn a_group_policy_id_is_in_the_last_two_of_the_three_reserved_octets() {
        let vni = Vni::new(0x00ab_cdef).expect("24 bits");
        let header = header_with_group_policy(vni, 0x1234);
        assert_eq!(header, [0x88, 0, 0x12, 0x34, 0xab, 0xcd, 0xef, 0]);
        assert_eq!((vni_of(&header), group_policy_of(&header)), (vni, Some(0x1234)));
        assert_eq!(group_policy_of(&header_of(vni)), None);
        assert!(!reserved_is_zero(&header) && reserved_with_group_policy_is_zero(&header));
        for bit in 0..64 {
            let mut header = header;
            header[bit / 8] ^= 1 << (bit % 8);
            let means_something = matches!(bit, 3 | 7 | 11 | 14 | 16..32 | 32..56);
            assert_eq!(reserved_with_group_policy_is_zero(&header), means_something, "bit {bit}");
            assert_eq!(forbids_learning(&header), bit == 14, "bit {bit}");
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
