//! VXLAN headers (RFC 7348, 5): a flags octet, 24 reserved bits, the VNI in 24 bits, 8 reserved bits.

use super::address::Vni;

/// The length of a VXLAN header, in bytes.
pub const VXLAN_HEADER: usize = 8;
/// The UDP port that IANA assigned to VXLAN.
pub const VXLAN_PORT: u16 = 4789;
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
    let [_, _, _, _, a, b, c, _] = *header;
    Vni::from_be_bytes([a, b, c])
}

/// The header of a packet of `vni`, reserved bits zero.
#[inline]
#[must_use]
pub const fn header_of(vni: Vni) -> [u8; VXLAN_HEADER] {
    let [_, a, b, c] = vni.get().to_be_bytes();
    [VXLAN_FLAG_VNI, 0, 0, 0, a, b, c, 0]
}
