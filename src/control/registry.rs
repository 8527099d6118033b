//! Which index each bridge, member and remote VTEP has, over all reloads.
//!
//! An index keeps its meaning as long as its owner is in the config: FDB entries, counters and learn events on their
//! way refer to it. The index of an owner that left is not given to another before all fresh ones are used up, so that
//! what still refers to it finds nothing rather than something else.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;

use thiserror::Error;

use crate::config::model::AccessVlan;
use crate::tables::{BridgeIndex, MemberIndex, PortIndex, TunnelIndex};
use crate::wire::Vni;

/// More bridges, members or remote VTEPs than there are indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the gateway takes no more than {limit} {what}, those that a reload takes away counted with those it brings")]
pub struct Exhausted {
    what: &'static str,
    limit: u32,
}

/// What names an access member: its bridge, its port and its VLAN there.
pub type MemberName = (Vni, PortIndex, AccessVlan);

/// What names a place of the tunnel table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TunnelName {
    /// A remote VTEP.
    Remote(IpAddr),
    /// A multicast group of the underlay, on one uplink.
    Group(IpAddr, PortIndex),
}

/// The indices in use.
#[derive(Clone, Debug)]
pub struct Registry {
    bridges: Indices<Vni>,
    members: Indices<MemberName>,
    tunnels: Indices<TunnelName>,
}

impl Default for Registry {
    fn default() -> Self {
        // The last 16-bit index of each kind has another meaning: no bridge, an unknown remote VTEP.
        Self {
            bridges: Indices::new("bridges", u32::from(u16::MAX)),
            members: Indices::new("access members", 1 << 24),
            tunnels: Indices::new("remote VTEPs", u32::from(u16::MAX)),
        }
    }
}

impl Registry {
    /// Gives every owner of a new config its index; owners not named are forgotten.
    ///
    /// # Errors
    /// [`Exhausted`], and nothing changed that anyone sees if the caller drops this registry, as it should.
    pub fn assign(
        &mut self,
        bridges: impl Iterator<Item = Vni>,
        members: impl Iterator<Item = MemberName>,
        tunnels: impl Iterator<Item = TunnelName>,
    ) -> Result<(), Exhausted> {
        self.bridges.assign(bridges)?;
        self.members.assign(members)?;
        self.tunnels.assign(tunnels)
    }

    /// A bridge's index.
    #[must_use]
    pub fn bridge(&self, vni: Vni) -> Option<BridgeIndex> {
        self.bridges.get(&vni).map(|index| BridgeIndex(index as u16))
    }

    /// A member's index.
    #[must_use]
    pub fn member(&self, name: &MemberName) -> Option<MemberIndex> {
        self.members.get(name).map(MemberIndex)
    }

    /// A remote VTEP's index.
    #[must_use]
    pub fn tunnel(&self, address: IpAddr) -> Option<TunnelIndex> {
        self.tunnels.get(&TunnelName::Remote(address)).map(|index| TunnelIndex(index as u16))
    }

    /// The index of a group on an uplink.
    #[must_use]
    pub fn group(&self, address: IpAddr, port: PortIndex) -> Option<TunnelIndex> {
        self.tunnels.get(&TunnelName::Group(address, port)).map(|index| TunnelIndex(index as u16))
    }

    /// Places in the bridge, member and tunnel tables: one more than the largest index ever given.
    #[must_use]
    pub fn table_lengths(&self) -> (usize, usize, usize) {
        (self.bridges.next as usize, self.members.next as usize, self.tunnels.next as usize)
    }
}

#[derive(Clone, Debug)]
struct Indices<K> {
    what: &'static str,
    limit: u32,
    /// Hashed with a secret: remote VTEPs that are discovered choose their addresses.
    given: HashMap<K, u32>,
    next: u32,
    /// Indices whose owner left, the longest gone first.
    left: VecDeque<u32>,
}

impl<K: Eq + Hash> Indices<K> {
    fn new(what: &'static str, limit: u32) -> Self {
        Self { what, limit, given: HashMap::default(), next: 0, left: VecDeque::new() }
    }

    fn get(&self, key: &K) -> Option<u32> {
        self.given.get(key).copied()
    }

    fn assign(&mut self, keys: impl Iterator<Item = K>) -> Result<(), Exhausted> {
        let mut before = std::mem::take(&mut self.given);
        for key in keys {
            if self.given.contains_key(&key) {
                continue;
            }
            let index = match before.remove(&key) {
                Some(index) => index,
                None => self.fresh()?,
            };
            self.given.insert(key, index);
        }
        self.left.extend(before.into_values());
        Ok(())
    }

    fn fresh(&mut self) -> Result<u32, Exhausted> {
        if self.next < self.limit {
            self.next += 1;
            return Ok(self.next - 1);
        }
        self.left.pop_front().ok_or(Exhausted { what: self.what, limit: self.limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vni(value: u32) -> Vni {
        Vni::new(value).expect("24 bits")
    }

    fn assign(registry: &mut Registry, vnis: &[u32]) -> Result<(), Exhausted> {
        registry.assign(vnis.iter().map(|value| vni(*value)), std::iter::empty(), std::iter::empty())
    }

    #[test]
    fn a_bridge_keeps_its_index_over_reloads_and_a_new_one_gets_no_old_index() {
        let mut registry = Registry::default();
        assign(&mut registry, &[10, 20, 30]).expect("room");
        assert_eq!(registry.bridge(vni(20)), Some(BridgeIndex(1)));
        assign(&mut registry, &[40, 20]).expect("room");
        assert_eq!(registry.bridge(vni(20)), Some(BridgeIndex(1)));
        assert_eq!(registry.bridge(vni(40)), Some(BridgeIndex(3)));
        assert_eq!(registry.bridge(vni(10)), None);
    }

    #[test]
    fn nobody_knows_where_in_the_table_a_remote_vtep_is() {
        let order = || {
            let mut registry = Registry::default();
            let remotes = (0..64).map(|last| TunnelName::Remote(IpAddr::from([10, 0, 0, last])));
            registry.assign(std::iter::empty(), std::iter::empty(), remotes).expect("room");
            registry.tunnels.given.into_keys().collect::<Vec<_>>()
        };
        assert_ne!(order(), order());
    }

    #[test]
    fn indices_of_bridges_that_left_serve_again_when_no_fresh_one_is_left() {
        let mut registry = Registry::default();
        let all: Vec<u32> = (0..65535).collect();
        assign(&mut registry, &all).expect("room for 65535 bridges");
        assert!(assign(&mut registry.clone(), &(0..65536).collect::<Vec<_>>()).is_err());
        assign(&mut registry, &all[1..]).expect("one fewer");
        assign(&mut registry, &(1..65536).collect::<Vec<_>>()).expect("the index of bridge 0 is free");
        assert_eq!(registry.bridge(vni(65535)), Some(BridgeIndex(0)));
    }
}
