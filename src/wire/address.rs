//! Link-layer names: MAC addresses, VLAN identifiers and VXLAN network identifiers.
//!
//! Each is a newtype whose constructor checks the range, so that code that holds one need not.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// An IEEE 802 MAC address, in transmission order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff` (IEEE 802.1Q, 8.6.3).
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// The I/G bit (IEEE 802, 8.2) of an address as [`MacAddr::to_word`] gives it.
    pub const GROUP_BIT: u64 = 1;
    /// `00:00:00:00:00:00`, which is no station's address.
    pub const ZERO: Self = Self([0; 6]);

    /// True for a group (multicast or broadcast) address: the I/G bit is set (IEEE 802, 8.2).
    #[inline]
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// True for `ff:ff:ff:ff:ff:ff`.
    #[inline]
    #[must_use]
    pub const fn is_broadcast(self) -> bool {
        self.to_u64() == 0xffff_ffff_ffff
    }

    /// True for the reserved link-local group addresses 01:80:c2:00:00:00 to 01:80:c2:00:00:0f
    /// (IEEE 802.1Q, table 8-1), which a bridge does not forward.
    #[inline]
    #[must_use]
    pub const fn is_link_local_group(self) -> bool {
        self.to_u64() & 0xffff_ffff_fff0 == 0x0180_c200_0000
    }

    /// True for the reserved address that MAC control frames are sent to, PAUSE among them (IEEE 802.3, annex 31B): they
    /// are between two MACs, and stop one of them from sending.
    #[inline]
    #[must_use]
    pub const fn is_mac_control_group(self) -> bool {
        self.to_u64() == 0x0180_c200_0001
    }

    /// True for an address a station may use as its source: neither group nor zero.
    #[inline]
    #[must_use]
    pub const fn is_station(self) -> bool {
        !self.is_group() && self.to_u64() != 0
    }

    /// The address as the low 48 bits of an integer, first octet least significant: as a processor that counts from there
    /// loads it, so that forwarding need not turn it round.
    #[inline(always)]
    #[must_use]
    pub const fn to_word(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// The inverse of [`MacAddr::to_word`]; the upper 16 bits are ignored.
    #[inline]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        let [a, b, c, d, e, f, _, _] = word.to_le_bytes();
        Self([a, b, c, d, e, f])
    }

    /// The address as the low 48 bits of an integer, first octet most significant: so addresses are in order, and
    /// counted up.
    #[inline]
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The inverse of [`MacAddr::to_u64`]; the upper 16 bits are ignored.
    #[inline]
    #[must_use]
    pub const fn from_u64(value: u64) -> Self {
        let [_, _, a, b, c, d, e, f] = value.to_be_bytes();
        Self([a, b, c, d, e, f])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Why a text is not an address or an identifier.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Not six colon-separated pairs of hexadecimal digits.
    #[error("`{0}` is not a MAC address; write six pairs of hexadecimal digits, as in 02:00:00:bb:00:01")]
    Mac(String),
    /// A VLAN identifier outside 1 to 4094.
    #[error("VLAN {0} does not exist; a VLAN identifier is a number from 1 to 4094")]
    Vlan(u64),
    /// A VNI over 24 bits.
    #[error("VNI {0} does not exist; a VXLAN network identifier is a number from 0 to 16777215")]
    Vni(u64),
}

impl FromStr for MacAddr {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AddressError::Mac(text.to_owned());
        let mut octets = [0u8; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or_else(error)?;
            if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(error());
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(error()),
        }
    }
}

/// A VLAN identifier, 1 to 4094 (IEEE 802.1Q, 9.6: 0 is the priority tag, 4095 is reserved).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

impl VlanId {
    /// A checked identifier.
    ///
    /// # Errors
    /// [`AddressError::Vlan`] outside 1 to 4094.
    pub const fn new(value: u16) -> Result<Self, AddressError> {
        match value {
            1..=4094 => Ok(Self(value)),
            _ => Err(AddressError::Vlan(value as u64)),
        }
    }

    /// The identifier, 1 to 4094.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// A VXLAN network identifier, 24 bits (RFC 7348, 5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Vni(u32);

impl Vni {
    /// The largest VNI.
    pub const MAX: u32 = 0x00ff_ffff;

    /// A checked identifier.
    ///
    /// # Errors
    /// [`AddressError::Vni`] over 24 bits.
    pub const fn new(value: u32) -> Result<Self, AddressError> {
        if value <= Self::MAX { Ok(Self(value)) } else { Err(AddressError::Vni(value as u64)) }
    }

    /// The identifier in the lowest 24 bits of a word, whatever else is in it.
    #[inline(always)]
    #[must_use]
    pub const fn from_low_bits(word: u64) -> Self {
        Self(word as u32 & Self::MAX)
    }

    /// The identifier, 0 to [`Vni::MAX`].
    #[inline]
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

macro_rules! displays_as_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self.0)
            }
        }
    )*};
}

displays_as_number!(VlanId, Vni);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_text_round_trips() {
        let mac: MacAddr = "02:00:00:bb:00:01".parse().expect("a valid address");
        assert_eq!(mac.to_string(), "02:00:00:bb:00:01");
        assert_eq!(MacAddr::from_u64(mac.to_u64()), mac);
        assert_eq!(MacAddr::from_word(mac.to_word()), mac);
    }

    #[test]
    fn mac_text_that_is_not_an_address_is_refused() {
        for text in
            ["", "02:00:00:bb:00", "02:00:00:bb:00:01:02", "2:0:0:bb:0:1", "02-00-00-bb-00-01", "+2:00:00:bb:00:01"]
        {
            assert!(text.parse::<MacAddr>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn group_link_local_and_station_addresses_are_told_apart() {
        let link_local = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0x0f]);
        assert!(link_local.is_link_local_group() && link_local.is_group() && !link_local.is_station());
        assert!(!MacAddr([0x01, 0x80, 0xc2, 0, 0, 0x10]).is_link_local_group());
        assert!(!MacAddr::ZERO.is_station() && !MacAddr::BROADCAST.is_station());
        assert!(MacAddr([2, 0, 0, 0, 0, 1]).is_station());
    }

    #[test]
    fn the_group_bit_of_a_word_is_that_of_the_address() {
        for mac in [MacAddr([1, 2, 3, 4, 5, 6]), MacAddr([2, 1, 1, 1, 1, 1]), MacAddr::BROADCAST] {
            assert_eq!(mac.to_word() & MacAddr::GROUP_BIT != 0, mac.is_group());
        }
    }

    #[test]
    fn identifiers_outside_their_range_are_refused() {
        assert!(VlanId::new(0).is_err() && VlanId::new(4095).is_err() && VlanId::new(4094).is_ok());
        assert!(Vni::new(Vni::MAX + 1).is_err() && Vni::new(Vni::MAX).is_ok() && Vni::new(0).is_ok());
    }
}
