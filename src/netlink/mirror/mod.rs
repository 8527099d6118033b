//! What the kernel knows, as its messages tell it. No system call is made here.

mod fdb;
#[cfg(test)]
mod tests;
mod tracked;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Bound;

use rustc_hash::FxHashMap;

pub use self::fdb::{Entries, Place};
use self::tracked::{Resync, Swept, Tracked};
use super::event::{Bridged, Destination, Event, Neighbour, Origin};
use super::link::Link;
use super::nexthop::NextHop;
use super::prefix::Prefix;
use crate::wire::MacAddr;

/// Where a message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The kernel told of a change.
    Event,
    /// The kernel was asked for all there is.
    Dump,
}

/// What has changed, in the mirror or in the kernel's routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A link. With one that is gone, all that was known on it is gone.
    Link(u32),
    /// A local address.
    Address(IpAddr),
    /// A neighbour on a link.
    Neighbour(u32, IpAddr),
    /// What a vxlan device has of a station, or of the flood list (zero).
    Tunnelled(u32, MacAddr),
    /// What a bridge has of a station.
    Bridged(u32, MacAddr),
    /// A next-hop object.
    NextHop(u32),
    /// The routes to a prefix.
    Route(Prefix),
    /// The rules that choose a routing table.
    Rules,
}

/// What the kernel knows. Every key begins with the link it belongs to, the next-hop objects' apart.
#[derive(Debug, Default)]
pub struct Mirror {
    resync: Resync,
    links: Tracked<u32, Link>,
    addresses: Tracked<(u32, IpAddr), ()>,
    neighbours: Tracked<(u32, IpAddr), Neighbour>,
    next_hops: Tracked<u32, NextHop>,
    /// Of vxlan devices, the stations. Each has one destination, which the kernel replaces without a deletion.
    stations: Tracked<(u32, MacAddr), Tunnelled>,
    /// Of vxlan devices, flood lists and groups: the zero and group addresses have many destinations, each of which
    /// comes and goes by itself.
    floods: Tracked<(u32, MacAddr, Destination), Origin>,
    /// Of bridges.
    bridged: Tracked<(u32, MacAddr, u16), Bridged>,
    /// The stations and flood lists (zero) of vxlan devices that go by each next-hop object.
    next_hop_users: FxHashMap<u32, BTreeSet<(u32, MacAddr)>>,
}

/// Where a vxlan device has a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tunnelled {
    destination: Destination,
    origin: Origin,
}

/// What came of a resync.
#[derive(Debug)]
pub struct Resynced {
    /// What changed.
    pub changes: Vec<Change>,
    /// How many entries no dump named, and may be there all the same: the next resync decides.
    pub in_doubt: usize,
}

impl Mirror {
    /// A resync begins: dumps of everything follow.
    pub fn begin_resync(&mut self) {
        self.resync.begin();
    }

    /// All dumps are complete: what neither they nor an event named since the beginning goes, that of the kernel's FDBs and
    /// neighbours when the next resync does not name it either.
    pub fn end_resync(&mut self) -> Resynced {
        let (resync, mut in_doubt) = (self.resync, 0);
        let links: Vec<u32> = self.links.sweep(resync).into_iter().map(|(index, _)| index).collect();
        let mut changes: Vec<Change> = links.iter().map(|index| Change::Link(*index)).collect();
        changes.extend(self.addresses.sweep(resync).into_iter().map(|((_, address), ())| Change::Address(address)));
        let neighbours = take(self.neighbours.sweep_missed_twice(resync), &mut in_doubt);
        changes.extend(neighbours.map(|((link, address), _)| Change::Neighbour(link, address)));
        changes.extend(self.next_hops.sweep(resync).into_iter().map(|(id, _)| Change::NextHop(id)));
        for ((device, mac), station) in take(self.stations.sweep_missed_twice(resync), &mut in_doubt) {
            self.uses((device, mac), Some(station.destination), None);
            changes.push(Change::Tunnelled(device, mac));
        }
        for ((device, mac, destination), _) in take(self.floods.sweep_missed_twice(resync), &mut in_doubt) {
            self.uses((device, mac), Some(destination), None);
            changes.push(Change::Tunnelled(device, mac));
        }
        let bridged = take(self.bridged.sweep_missed_twice(resync), &mut in_doubt);
        changes.extend(bridged.map(|((bridge, mac, _), _)| Change::Bridged(bridge, mac)));
        for link in links {
            self.forget(link);
        }
        self.resync.end();
        Resynced { changes, in_doubt }
    }

    /// A resync could not be completed: nothing is swept.
    pub fn abandon_resync(&mut self) {
        self.resync.end();
    }

    /// Takes in a message. Gives what changed by it.
    pub fn apply(&mut self, event: Event, source: Source) -> Option<Change> {
        let resync = self.resync;
        // A piece of a dump may have been on its way when its link went.
        if source == Source::Dump && event.link().is_some_and(|link| self.links.is_told_gone(&link, resync)) {
            return None;
        }
        match event {
            Event::Link(link) => {
                let index = link.index;
                update(&mut self.links, index, Some(*link), source, resync).then_some(Change::Link(index))
            }
            Event::LinkGone(index) => {
                let changed = update(&mut self.links, index, None, source, resync);
                self.forget(index);
                changed.then_some(Change::Link(index))
            }
            Event::Address { link, address, present } => {
                update(&mut self.addresses, (link, address), present.then_some(()), source, resync)
                    .then_some(Change::Address(address))
            }
            // Groups are nobody's neighbours: the kernel lists their MAC addresses in dumps, and tells of none of them.
            Event::Neighbour { address, .. } if address.is_multicast() => None,
            Event::Neighbour { link, address, neighbour } => {
                update(&mut self.neighbours, (link, address), neighbour, source, resync)
                    .then_some(Change::Neighbour(link, address))
            }
            Event::NextHop { id, next_hop } => {
                update(&mut self.next_hops, id, next_hop, source, resync).then_some(Change::NextHop(id))
            }
            Event::Tunnelled { device, mac, destination, origin } => {
                let changed = if mac.is_station() {
                    let value = origin.map(|origin| Tunnelled { destination, origin });
                    let before = self.remote_of(device, mac);
                    let changed = update(&mut self.stations, (device, mac), value, source, resync);
                    self.uses((device, mac), before, self.remote_of(device, mac));
                    changed
                } else {
                    let key = (device, mac, destination);
                    let before = self.floods.get(&key).map(|_| destination);
                    let changed = update(&mut self.floods, key, origin, source, resync);
                    self.uses((device, mac), before, self.floods.get(&key).map(|_| destination));
                    changed
                };
                changed.then_some(Change::Tunnelled(device, mac))
            }
            Event::Bridged { bridge, mac, vlan, place } => {
                update(&mut self.bridged, (bridge, mac, vlan), place, source, resync)
                    .then_some(Change::Bridged(bridge, mac))
            }
            Event::Route(prefix) => Some(Change::Route(prefix)),
            Event::Rules => Some(Change::Rules),
        }
    }

    /// A link, by its index.
    #[must_use]
    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    /// Every link.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// A neighbour on a link.
    #[must_use]
    pub fn neighbour(&self, link: u32, address: IpAddr) -> Option<&Neighbour> {
        self.neighbours.get(&(link, address))
    }

    /// Every neighbour on a link.
    pub fn neighbours(&self, link: u32) -> impl Iterator<Item = (IpAddr, &Neighbour)> {
        let first = (link, IpAddr::from([0; 4]));
        let last = (link, IpAddr::from([u8::MAX; 16]));
        self.neighbours.range(first..=last).map(|((_, address), neighbour)| (*address, neighbour))
    }

    /// A next-hop object.
    #[must_use]
    pub fn next_hop(&self, id: u32) -> Option<&NextHop> {
        self.next_hops.get(&id)
    }

    /// The next-hop objects that stations or flood lists of vxlan devices go by and that change with this one: itself, and
    /// the groups that it is in.
    pub fn used_with(&self, id: u32) -> impl Iterator<Item = u32> {
        let has = move |used: &u32| {
            let group = self.next_hops.get(used).map_or(&[][..], |used| &used.group);
            *used == id || group.iter().any(|(member, _)| *member == id)
        };
        self.next_hop_users.keys().copied().filter(has)
    }

    /// The stations and flood lists (zero) of vxlan devices that go by a next-hop object, each with its device, in their
    /// order; those behind one of them, where that is given.
    pub fn users_of(&self, id: u32, behind: Option<(u32, MacAddr)>) -> impl Iterator<Item = (u32, MacAddr)> {
        let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
        self.next_hop_users.get(&id).into_iter().flat_map(move |users| users.range((from, Bound::Unbounded)).copied())
    }

    /// True for an address of this machine.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.range(..).any(|((_, local), ())| *local == address)
    }

    /// How much is known.
    #[must_use]
    pub fn entries(&self) -> Entries {
        Entries {
            links: self.links.len(),
            addresses: self.addresses.len(),
            neighbours: self.neighbours.len(),
            next_hops: self.next_hops.len(),
            tunnelled: self.stations.len(),
            floods: self.floods.len(),
            bridged: self.bridged.len(),
        }
    }

    /// Forgets all there was on a link. The kernel does not always tell it one by one.
    fn forget(&mut self, link: u32) {
        let first = IpAddr::from([0; 4]);
        let Some(next) = link.checked_add(1) else { return };
        self.addresses.forget((link, first)..(next, first));
        self.neighbours.forget((link, first)..(next, first));
        for (user, station) in self.stations.forget((link, MacAddr::ZERO)..(next, MacAddr::ZERO)) {
            self.uses(user, Some(station.destination), None);
        }
        let least = Destination::remote(first);
        let floods = self.floods.forget((link, MacAddr::ZERO, least)..(next, MacAddr::ZERO, least));
        for ((device, mac, destination), _) in floods {
            self.uses((device, mac), Some(destination), None);
        }
        self.bridged.forget((link, MacAddr::ZERO, 0)..(next, MacAddr::ZERO, 0));
    }

    /// A station or flood list of a vxlan device's goes elsewhere now.
    fn uses(&mut self, user: (u32, MacAddr), before: Option<Destination>, after: Option<Destination>) {
        if let Some(Destination::NextHop(id)) = before
            && let Some(users) = self.next_hop_users.get_mut(&id)
        {
            users.remove(&user);
            if users.is_empty() {
                self.next_hop_users.remove(&id);
            }
        }
        if let Some(Destination::NextHop(id)) = after {
            self.next_hop_users.entry(id).or_default().insert(user);
        }
    }
}

/// What went by a sweep; how many are in doubt is added.
fn take<K, V>(swept: Swept<K, V>, in_doubt: &mut usize) -> impl Iterator<Item = (K, V)> {
    *in_doubt += swept.in_doubt;
    swept.gone.into_iter()
}

/// Tells a table what a message says. A dump never says that something is gone.
fn update<K: Ord + Clone, V: PartialEq>(
    table: &mut Tracked<K, V>,
    key: K,
    value: Option<V>,
    source: Source,
    resync: Resync,
) -> bool {
    match (source, value) {
        (Source::Event, value) => table.told(key, value, resync),
        (Source::Dump, Some(value)) => table.dumped(key, value, resync),
        (Source::Dump, None) => false,
    }
}
