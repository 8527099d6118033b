//! Outer source address to remote VTEP: what a packet from the uplink is learned against.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::TunnelIndex;

/// An immutable open-addressing table, at most a quarter full, so that a probe seldom looks at more than one slot.
#[derive(Clone, Debug)]
struct AddressTable<A> {
    slots: Box<[Option<(A, TunnelIndex)>]>,
}

/// An address that hashes.
trait Address: Copy + PartialEq {
    fn fold(self) -> u64;
}

impl Address for u32 {
    #[inline]
    fn fold(self) -> u64 {
        u64::from(self)
    }
}

impl Address for u128 {
    #[inline]
    fn fold(self) -> u64 {
        (self as u64) ^ ((self >> 64) as u64).rotate_left(29)
    }
}

impl<A: Address> AddressTable<A> {
    fn new(entries: &[(A, TunnelIndex)]) -> Self {
        let mut table = Self { slots: vec![None; (entries.len() * 4).next_power_of_two().max(4)].into() };
        for (address, tunnel) in entries {
            let mut slot = table.home(*address);
            while table.slots[slot].is_some_and(|(other, _)| other != *address) {
                slot = (slot + 1) % table.slots.len();
            }
            table.slots[slot] = Some((*address, *tunnel));
        }
        table
    }

    #[inline]
    fn home(&self, address: A) -> usize {
        let mixed = address.fold().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn get(&self, address: A) -> Option<TunnelIndex> {
        let mut slot = self.home(address);
        // Ends at an empty slot: three quarters of them are.
        while let Some(Some((other, tunnel))) = self.slots.get(slot) {
            if *other == address {
                return Some(*tunnel);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        None
    }
}

/// An immutable map from address to remote VTEP.
#[derive(Clone, Debug)]
pub struct RemoteMap {
    ipv4: AddressTable<u32>,
    ipv6: AddressTable<u128>,
}

impl RemoteMap {
    /// The map of these pairs; an address given twice keeps the last tunnel.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (IpAddr, TunnelIndex)>) -> Self {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for (address, tunnel) in pairs {
            match address {
                IpAddr::V4(address) => ipv4.push((address.to_bits(), tunnel)),
                IpAddr::V6(address) => ipv6.push((address.to_bits(), tunnel)),
            }
        }
        Self { ipv4: AddressTable::new(&ipv4), ipv6: AddressTable::new(&ipv6) }
    }

    /// The remote VTEP with this IPv4 address.
    #[inline]
    #[must_use]
    pub fn get_ipv4(&self, address: Ipv4Addr) -> Option<TunnelIndex> {
        self.ipv4.get(address.to_bits())
    }

    /// The remote VTEP with this IPv6 address.
    #[inline]
    #[must_use]
    pub fn get_ipv6(&self, address: Ipv6Addr) -> Option<TunnelIndex> {
        self.ipv6.get(address.to_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_remotes_of_both_families_are_found_and_no_other() {
        let ipv4 = |n: u16| Ipv4Addr::from_bits(0x0a00_0000 + u32::from(n));
        let ipv6 = |n: u16| Ipv6Addr::from_bits((0xfd00 << 112) + u128::from(n));
        let pairs = (0..1000)
            .flat_map(|n| [(IpAddr::V4(ipv4(n)), TunnelIndex(2 * n)), (IpAddr::V6(ipv6(n)), TunnelIndex(2 * n + 1))]);
        let map = RemoteMap::new(pairs);
        for n in 0..1000 {
            assert_eq!(map.get_ipv4(ipv4(n)), Some(TunnelIndex(2 * n)));
            assert_eq!(map.get_ipv6(ipv6(n)), Some(TunnelIndex(2 * n + 1)));
        }
        assert_eq!(map.get_ipv4(ipv4(1000)), None);
        assert_eq!(map.get_ipv6(ipv6(1000)), None);
        assert_eq!(RemoteMap::new([]).get_ipv4(ipv4(0)), None);
    }
}
