//! Address prefixes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// An address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix of this length, in bits, that has the address in it. A length beyond the address's is that.
    #[must_use]
    pub const fn new(address: IpAddr, length: u8) -> Self {
        Self { address, length }
    }

    /// Its first and its last address.
    #[must_use]
    pub fn range(&self) -> RangeInclusive<IpAddr> {
        match self.address {
            IpAddr::V4(address) => {
                let hosts = u32::MAX.checked_shr(self.length.into()).unwrap_or_default();
                let bits = address.to_bits();
                Ipv4Addr::from_bits(bits & !hosts).into()..=Ipv4Addr::from_bits(bits | hosts).into()
            }
            IpAddr::V6(address) => {
                let hosts = u128::MAX.checked_shr(self.length.into()).unwrap_or_default();
                let bits = address.to_bits();
                Ipv6Addr::from_bits(bits & !hosts).into()..=Ipv6Addr::from_bits(bits | hosts).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(prefix: &str) -> (String, String) {
        let (address, length) = prefix.split_once('/').expect("a slash");
        let range = Prefix::new(address.parse().expect("address"), length.parse().expect("length")).range();
        (range.start().to_string(), range.end().to_string())
    }

    #[test]
    fn a_prefix_reaches_from_its_first_to_its_last_address() {
        for (prefix, first, last) in [
            ("10.1.2.3/32", "10.1.2.3", "10.1.2.3"),
            ("10.1.2.3/33", "10.1.2.3", "10.1.2.3"),
            ("10.1.2.3/23", "10.1.2.0", "10.1.3.255"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("2001:db8::5/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"),
            ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert_eq!(range(prefix), (first.to_owned(), last.to_owned()), "{prefix}");
        }
    }
}
