//! Outer source address to remote VTEP: what a packet from the uplink is learned against.
//!
//! Where VTEPs are discovered, who can send to the uplink chooses addresses that are in the table, and always those that
//! are looked for. So they are hashed with secret factors: nobody can have many in one place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::TunnelIndex;
use super::fdb::secret_factors;

/// An immutable open-addressing table, at most a quarter full, so that a probe seldom looks at more than one slot.
#[derive(Clone, Debug)]
struct AddressTable<S> {
    slots: Box<[S]>,
    /// Odd, and secret.
    factors: [u64; 2],
}

/// A place of the table: an address and its tunnel, or nothing.
trait Slot: Copy {
    type Address: Copy + PartialEq;
    const EMPTY: Self;

    fn new(address: Self::Address, tunnel: TunnelIndex) -> Self;
    /// The tunnel of the address, none where this is another's slot, or the end of the search.
    fn tunnel_of(self, address: Self::Address) -> Option<TunnelIndex>;
    fn is_empty(self) -> bool;
    /// A number of 32 bits that says where the address is to be.
    fn hash(address: Self::Address, factors: [u64; 2]) -> u64;
}

/// Bits 0 to 31 are the address, 32 to 47 the tunnel, 48 says that there is one.
#[derive(Clone, Copy, Debug)]
struct Ipv4Slot(u64);

impl Slot for Ipv4Slot {
    type Address = u32;
    const EMPTY: Self = Self(0);

    fn new(address: u32, tunnel: TunnelIndex) -> Self {
        Self(1 << 48 | u64::from(tunnel.0) << 32 | u64::from(address))
    }

    #[inline(always)]
    fn tunnel_of(self, address: u32) -> Option<TunnelIndex> {
        (!self.is_empty() && self.0 as u32 == address).then_some(TunnelIndex((self.0 >> 32) as u16))
    }

    #[inline(always)]
    fn is_empty(self) -> bool {
        self.0 == Self::EMPTY.0
    }

    #[inline(always)]
    fn hash(address: u32, factors: [u64; 2]) -> u64 {
        fold(address.into(), 0, factors)
    }
}

#[derive(Clone, Copy, Debug)]
struct Ipv6Slot(Option<(u128, TunnelIndex)>);

impl Slot for Ipv6Slot {
    type Address = u128;
    const EMPTY: Self = Self(None);

    fn new(address: u128, tunnel: TunnelIndex) -> Self {
        Self(Some((address, tunnel)))
    }

    #[inline(always)]
    fn tunnel_of(self, address: u128) -> Option<TunnelIndex> {
        self.0.filter(|(own, _)| *own == address).map(|(_, tunnel)| tunnel)
    }

    #[inline(always)]
    fn is_empty(self) -> bool {
        self.0.is_none()
    }

    #[inline(always)]
    fn hash(address: u128, factors: [u64; 2]) -> u64 {
        fold(address as u64, (address >> 64) as u64, factors)
    }
}

/// A product's halves, one over the other, in which every bit counts; multiplied once more, for by that alone addresses in a
/// row are in a row with some factors. No rotation: for x86-64-v2 the compiler makes it one that AMD processors take apart in
/// microcode.
#[inline(always)]
fn fold(low: u64, high: u64, factors: [u64; 2]) -> u64 {
    let product = u128::from(low ^ factors[0]) * u128::from(high ^ factors[1]);
    (product as u64 ^ (product >> 64) as u64).wrapping_mul(factors[0]) >> 32
}

impl<S: Slot> AddressTable<S> {
    fn new(entries: &[(S::Address, TunnelIndex)], factors: [u64; 2]) -> Self {
        let mut table = Self { slots: vec![S::EMPTY; (entries.len() * 4).next_power_of_two().max(4)].into(), factors };
        for (address, tunnel) in entries {
            let mut slot = table.home(*address);
            while !table.slots[slot].is_empty() && table.slots[slot].tunnel_of(*address).is_none() {
                slot = (slot + 1) % table.slots.len();
            }
            table.slots[slot] = S::new(*address, *tunnel);
        }
        table
    }

    #[inline(always)]
    fn home(&self, address: S::Address) -> usize {
        S::hash(address, self.factors) as usize & (self.slots.len() - 1)
    }

    #[inline(always)]
    fn get(&self, address: S::Address) -> Option<TunnelIndex> {
        let home = self.home(address);
        let slot = *self.slots.get(home)?;
        slot.tunnel_of(address).or_else(|| if slot.is_empty() { None } else { self.search_behind(home, address) })
    }

    /// Ends at an empty slot: three quarters of them are.
    #[cold]
    #[inline(never)]
    fn search_behind(&self, home: usize, address: S::Address) -> Option<TunnelIndex> {
        let behind = (1..self.slots.len()).filter_map(|step| self.slots.get((home + step) & (self.slots.len() - 1)));
        behind.take_while(|slot| !slot.is_empty()).find_map(|slot| slot.tunnel_of(address))
    }
}

/// An immutable map from address to remote VTEP.
#[derive(Clone, Debug)]
pub struct RemoteMap {
    ipv4: AddressTable<Ipv4Slot>,
    ipv6: AddressTable<Ipv6Slot>,
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
        let factors = secret_factors();
        Self { ipv4: AddressTable::new(&ipv4, factors), ipv6: AddressTable::new(&ipv6, factors) }
    }

    /// The remote VTEP with this address.
    #[must_use]
    pub fn get(&self, address: IpAddr) -> Option<TunnelIndex> {
        match address {
            IpAddr::V4(address) => self.get_ipv4(address),
            IpAddr::V6(address) => self.get_ipv6(address),
        }
    }

    /// The remote VTEP with this IPv4 address.
    #[inline(always)]
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

    /// Of no pattern, and the same each time.
    const FACTORS: [[u64; 2]; 3] = [
        [0xd1b5_4a32_d192_ed03, 0x8cb9_2ba7_2f3d_8dd7],
        [0x2545_f491_4f6c_dd1d, 0x9fb2_1c65_1e98_df25],
        [0x6a09_e667_f3bc_c909, 0xa54f_f53a_5f1d_36f1],
    ];

    /// How many of the slots that are taken follow the one before without a gap, at the most.
    fn longest_run<S: Slot>(table: &AddressTable<S>) -> usize {
        table.slots.split(|slot| slot.is_empty()).map(<[S]>::len).max().unwrap_or(0)
    }

    #[test]
    fn addresses_that_somebody_chose_to_be_in_one_place_are_not() {
        // Those that the golden ratio's fraction maps to one slot of 16384, and those that differ in some bits alone.
        let home = |address: u32| (u64::from(address).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) & 0x3fff;
        let ipv4: Vec<u32> = (0..u32::MAX).filter(|address| home(*address) == 7).take(4096).collect();
        let high: Vec<u32> = (0..4096).map(|number| number << 20).collect();
        for addresses in [ipv4, high] {
            let entries: Vec<_> = addresses.iter().map(|address| (*address, TunnelIndex(1))).collect();
            for factors in FACTORS {
                let run = longest_run(&AddressTable::<Ipv4Slot>::new(&entries, factors));
                assert!(run < 64, "{run} addresses in a row");
            }
        }
        for shift in [0, 20, 46, 52, 64, 100, 112] {
            let entries: Vec<_> = (0..4096_u128).map(|number| (number << shift, TunnelIndex(1))).collect();
            for factors in FACTORS {
                let run = longest_run(&AddressTable::<Ipv6Slot>::new(&entries, factors));
                assert!(run < 64, "{run} addresses in a row, {shift} bits up");
            }
        }
    }
}
