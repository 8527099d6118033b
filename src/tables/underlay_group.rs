//! Multicast groups of the underlay, as one uplink receives them (RFC 7348, 4.2).

use std::net::IpAddr;

use super::BridgeIndex;

/// A group, and the bridges whose floods it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderlayGroup {
    /// Its address.
    pub address: IpAddr,
    /// The bridges, sorted.
    pub bridges: Box<[BridgeIndex]>,
}

impl UnderlayGroup {
    /// True where the group carries floods of this bridge.
    #[must_use]
    pub fn carries(&self, bridge: BridgeIndex) -> bool {
        self.bridges.binary_search(&bridge).is_ok()
    }
}

/// The groups of an uplink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnderlayGroups(Box<[UnderlayGroup]>);

impl UnderlayGroups {
    /// These groups, no two of one address.
    #[must_use]
    pub fn new(groups: impl IntoIterator<Item = UnderlayGroup>) -> Self {
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_unstable_by_key(|group| group.address);
        Self(groups.into())
    }

    /// The group of an address.
    #[must_use]
    pub fn get(&self, address: IpAddr) -> Option<&UnderlayGroup> {
        let place = self.0.binary_search_by_key(&address, |group| group.address).ok()?;
        self.0.get(place)
    }

    /// Every group, by address.
    pub fn iter(&self) -> impl Iterator<Item = &UnderlayGroup> {
        self.0.iter()
    }

    /// True where there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
