//! What a new config changes of the static entries: of a million that stay as they are, none is touched.

use rustc_hash::{FxHashMap, FxHashSet};

use super::gateway::Running;
use crate::config::model::{AccessVlan, BridgePort, StaticEntry, StaticPlace};
use crate::tables::{BridgeIndex, FdbKey, FdbValue, Location, PortIndex};
use crate::wire::Vni;

/// The difference between the static entries of two configs.
#[derive(Debug, Default)]
pub struct StaticChanges {
    /// Entries that are not in the new config.
    pub gone: Vec<FdbKey>,
    /// Entries that are new, or elsewhere.
    pub due: Vec<(FdbKey, FdbValue)>,
}

impl StaticChanges {
    /// All entries of a config, as if there were none before.
    #[must_use]
    pub fn all(running: &Running) -> Self {
        let bridges = Bridges::of(running);
        let entries = running.config.static_entries.iter();
        Self { gone: Vec::new(), due: entries.filter_map(|entry| bridges.locate(entry)).collect() }
    }

    /// What `after` changes of `before`, whose registry it has taken over: so every bridge, remote VTEP and access
    /// member that is in both has one index in both. One pass over both lists, which are in the same order.
    #[must_use]
    pub fn between(before: &Running, after: &Running) -> Self {
        let mut changes = Self::default();
        let (old_bridges, new_bridges) = (Bridges::of(before), Bridges::of(after));
        let changed = new_bridges.unlike(&old_bridges);
        let mut old = before.config.static_entries.iter().peekable();
        for new in after.config.static_entries.iter() {
            while let Some(left) = old.next_if(|old| old.station() < new.station()) {
                changes.gone.extend(old_bridges.key(left));
            }
            let same = old.next_if(|old| old.station() == new.station()).is_some_and(|old| old == new);
            if !same || changed.contains(&new.vni) {
                changes.due.extend(new_bridges.locate(new));
            }
        }
        changes.gone.extend(old.filter_map(|left| old_bridges.key(left)));
        changes
    }
}

/// What the place of an entry depends on besides itself: the index of its bridge, and the VLANs of the bridge's members.
struct Bridges<'a> {
    running: &'a Running,
    by_vni: FxHashMap<Vni, (BridgeIndex, &'a [BridgePort])>,
}

impl<'a> Bridges<'a> {
    fn of(running: &'a Running) -> Self {
        let bridges = running.config.bridges.iter();
        let named =
            bridges.filter_map(|bridge| Some((bridge.vni, (running.registry.bridge(bridge.vni)?, &bridge.ports[..]))));
        Self { running, by_vni: named.collect() }
    }

    /// The bridges that are new, or of whose members one is another than it was.
    fn unlike(&self, before: &Self) -> FxHashSet<Vni> {
        let differs = |(vni, (index, ports)): &(&Vni, &(BridgeIndex, &[BridgePort]))| {
            let Some((old_index, old_ports)) = before.by_vni.get(vni) else { return true };
            let moved = |port: &BridgePort| vlan_on(port.port, old_ports).is_some_and(|vlan| vlan != port.vlan);
            index != old_index || ports.iter().any(moved)
        };
        self.by_vni.iter().filter(differs).map(|(vni, _)| *vni).collect()
    }

    fn key(&self, entry: &StaticEntry) -> Option<FdbKey> {
        Some(FdbKey::new(self.by_vni.get(&entry.vni)?.0, entry.mac))
    }

    fn locate(&self, entry: &StaticEntry) -> Option<(FdbKey, FdbValue)> {
        let (bridge, ports) = *self.by_vni.get(&entry.vni)?;
        let registry = &self.running.registry;
        let location = match entry.place {
            StaticPlace::Port(port) => Location::access(registry.member(&(entry.vni, port, vlan_on(port, ports)?))?),
            StaticPlace::Remote(address) => Location::tunnel(registry.tunnel(address)?),
        };
        let value = if entry.pinned { FdbValue::pinned(location) } else { FdbValue::fixed(location) };
        Some((FdbKey::new(bridge, entry.mac), value))
    }
}

/// A bridge's VLAN on a port.
fn vlan_on(port: PortIndex, ports: &[BridgePort]) -> Option<AccessVlan> {
    ports.iter().find(|place| place.port == port).map(|place| place.vlan)
}
