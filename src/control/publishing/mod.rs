//! What is behind the gateway's access ports, told the kernel's bridges: stations, and the IP addresses that they have.
//! FRR's zebra reads it there and advertises it (RFC 7432, 7.2).
//!
//! Nothing here does I/O: what the gateway has learned and what the mirror shows come in, and orders go out.
//!
//! # Who wins
//!
//! A station that is heard on an access port is told the kernel once, also where the kernel has it behind a remote VTEP:
//! it has moved here. To tell it again would be a move to whoever hears it (RFC 7432, 15: the sequence number grows),
//! so what is known already is told again only where the kernel does not have it at all, as after its bridge or port was
//! made anew. Where the kernel has moved it to a remote VTEP, the entry of the gateway gives way, and a station that is
//! static, whose entry does not, is left to the kernel.

mod agenda;
mod bindings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use nix::errno::Errno;
use rustc_hash::FxHashMap;

use self::agenda::Agenda;
use self::bindings::Bindings;
pub use self::bindings::RemoteBinding;
use crate::netlink::{Change, Mirror, Order, Outcome};
use crate::wire::{MacAddr, Vni};

/// How often an order for a station is given that the kernel refuses.
const TRIES: u8 = 5;

/// Where in the kernel a bridge's stations are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// The kernel's bridge; or the vxlan device, where that is in none.
    pub bridge: u32,
    /// The vxlan device in it.
    pub device: u32,
    /// The port that stands for the gateway's access ports, once it is there.
    pub port: Option<u32>,
}

impl Shadow {
    /// A vxlan device that is in no bridge (flannel's): it is told nothing, and its neighbours are stations behind remote
    /// VTEPs.
    #[must_use]
    pub const fn alone(device: u32) -> Self {
        Self { bridge: device, device, port: None }
    }
}

/// What has become of orders, for who counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Stations and bindings that the kernel was told.
    pub published: u64,
    /// Those that it was told to forget.
    pub withdrawn: u64,
    /// Orders that it has refused.
    pub failed: u64,
}

/// What a bridge has behind access ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Stations.
    pub stations: usize,
    /// Those that the kernel has as it was told.
    pub published: usize,
    /// IP addresses of stations that it has so.
    pub bindings: usize,
}

/// A station behind an access port.
#[derive(Clone, Copy, Debug)]
struct Local {
    /// It was heard here, or made static, and the kernel was not told since.
    news: bool,
    /// The kernel has it here.
    published: bool,
    /// How often the kernel has refused it.
    refused: u8,
    /// It does not move.
    sticky: bool,
}

/// What the kernel is told, and what it has of that.
#[derive(Debug, Default)]
pub struct Publisher {
    shadows: BTreeMap<Vni, Shadow>,
    /// The bridges of each of the kernel's bridges, and of each port that stands for access ports.
    of_bridge: FxHashMap<u32, Vec<Vni>>,
    of_port: FxHashMap<u32, Vni>,
    local: BTreeMap<(Vni, MacAddr), Local>,
    stations: Agenda<(Vni, MacAddr)>,
    bindings: Bindings,
    counts: BTreeMap<Vni, Counts>,
    /// Stations that the kernel has as it was told, in all bridges.
    published: usize,
    told: Told,
}

impl Publisher {
    /// A station was heard behind an access port where it was not, or is static there. A sticky one does not move, which
    /// zebra tells others (RFC 7432, 15.2).
    pub fn station_came(&mut self, vni: Vni, mac: MacAddr, sticky: bool) {
        let local = self.local.entry((vni, mac)).or_insert_with(|| {
            self.counts.entry(vni).or_default().stations += 1;
            Local { news: true, published: false, refused: 0, sticky }
        });
        (local.news, local.refused, local.sticky) = (true, 0, sticky);
        self.stations.add((vni, mac));
    }

    /// A station is not behind an access port any more.
    pub fn station_went(&mut self, vni: Vni, mac: MacAddr) {
        if let Some(local) = self.local.remove(&(vni, mac)) {
            let counts = self.counts.entry(vni).or_default();
            counts.stations -= 1;
            counts.published -= usize::from(local.published);
            self.published -= usize::from(local.published);
            self.stations.add((vni, mac));
            self.bindings.station_changed(vni, mac);
        }
    }

    /// A bridge has nothing to tell any more. What the kernel has of it goes with its port.
    pub fn forget(&mut self, vni: Vni) {
        let all = self.local.range((vni, MacAddr::ZERO)..=(vni, MacAddr::BROADCAST));
        let gone: Vec<MacAddr> = all.map(|((_, mac), _)| *mac).collect();
        gone.into_iter().for_each(|mac| self.station_went(vni, mac));
        self.bindings.forget(vni);
        self.counts.remove(&vni);
    }

    /// Where each bridge's stations are told from now on.
    pub fn set_shadows(&mut self, shadows: BTreeMap<Vni, Shadow>, mirror: &Mirror) {
        let before = std::mem::replace(&mut self.shadows, shadows);
        let changed: Vec<Vni> = before
            .keys()
            .chain(self.shadows.keys())
            .filter(|vni| before.get(vni) != self.shadows.get(vni))
            .copied()
            .collect();
        if changed.is_empty() {
            return;
        }
        self.of_bridge.clear();
        self.of_port.clear();
        for (vni, shadow) in &self.shadows {
            self.of_bridge.entry(shadow.bridge).or_default().push(*vni);
            self.of_port.extend(shadow.port.map(|port| (port, *vni)));
        }
        self.stations.forget_orders(|(vni, _)| changed.contains(vni));
        for vni in changed {
            let all = self.local.range_mut((vni, MacAddr::ZERO)..=(vni, MacAddr::BROADCAST));
            for (key, local) in all {
                (local.published, local.refused) = (false, 0);
                self.stations.add(*key);
            }
            if let Some(counts) = self.counts.get_mut(&vni) {
                self.published -= std::mem::take(&mut counts.published);
            }
            let bridge = self.shadows.get(&vni).map(|shadow| shadow.bridge);
            self.bindings.bridge_changed(vni, bridge, mirror);
        }
    }

    /// Takes note of a change of the mirror.
    pub fn note(&mut self, change: Change, mirror: &Mirror) {
        match change {
            Change::Bridged(bridge, mac) => {
                for vni in self.of_bridge.get(&bridge).into_iter().flatten() {
                    self.stations.told((*vni, mac));
                }
            }
            Change::Neighbour(bridge, address) => {
                for vni in self.of_bridge.get(&bridge).into_iter().flatten() {
                    self.bindings.told(*vni, bridge, address, mirror);
                }
            }
            _ => {}
        }
    }

    /// The next orders for the kernel, about so many at the most.
    pub fn orders(&mut self, most: usize, mirror: &Mirror, now: Instant) -> Vec<Order> {
        let mut orders = Vec::new();
        self.stations.wait_no_longer(now);
        while orders.len() < most
            && let Some((vni, mac)) = self.stations.next()
        {
            if self.tell(vni, mac, mirror, &mut orders) {
                self.stations.sent((vni, mac));
            }
        }
        let Self { bindings, local, shadows, .. } = self;
        let is_published = |vni, mac| local.get(&(vni, mac)).is_some_and(|local| local.published);
        bindings.orders(most, &mut orders, &is_published, shadows, mirror, now);
        orders
    }

    /// Appends what the kernel is to be told of a station now. False where that is nothing.
    fn tell(&mut self, vni: Vni, mac: MacAddr, mirror: &Mirror, orders: &mut Vec<Order>) -> bool {
        let Some(Shadow { bridge, device, port: Some(port) }) = self.shadows.get(&vni).copied() else { return false };
        let known = mirror.bridged(bridge, mac);
        let place = known.map(|known| known.port);
        let Some(local) = self.local.get_mut(&(vni, mac)) else {
            let is_left = place == Some(port);
            orders.extend(is_left.then_some(Order::TakeStation { port, mac }));
            return is_left;
        };
        let published = place == Some(port);
        if published != local.published {
            local.published = published;
            let counts = self.counts.entry(vni).or_default();
            for count in [&mut counts.published, &mut self.published] {
                *count = if published { *count + 1 } else { *count - 1 };
            }
            self.bindings.station_changed(vni, mac);
        }
        let is_sticky = known.is_some_and(|known| known.origin.sticky());
        let is_otherwise = published && local.news && is_sticky != local.sticky;
        if published && !is_otherwise {
            (local.news, local.refused) = (false, 0);
            return false;
        }
        if local.refused >= TRIES || (place.is_some() && !local.news) {
            return false;
        }
        if is_otherwise && is_sticky {
            // The kernel does not make it one that may move; it is told anew when it is gone.
            orders.push(Order::TakeStation { port, mac });
            return true;
        }
        orders.push(Order::PutStation { port, mac, sticky: local.sticky });
        // What the vxlan device has of it would be in force again when the station goes. Only after it was told to be
        // here, for zebra makes good what it misses of a remote station.
        let stale = mirror.remote_of(device, mac);
        orders.extend(stale.map(|destination| Order::TakeRemote { device, mac, destination }));
        true
    }

    /// Takes note of what has become of an order. False where it is none of the publisher's.
    pub fn done(&mut self, outcome: &Outcome, now: Instant) -> bool {
        match outcome.order {
            Order::PutStation { port, mac, .. } => {
                let key = self.of_port.get(&port).map(|vni| (*vni, mac));
                self.count(outcome, true);
                if let Some(key) = key {
                    self.station_done(key, outcome.result.is_ok(), now);
                }
            }
            Order::TakeStation { port, mac } => {
                self.count(outcome, false);
                if let Some(vni) = self.of_port.get(&port) {
                    self.stations.done((*vni, mac), now);
                }
            }
            Order::PutNeighbour { link, address, .. } | Order::TakeNeighbour { link, address } => {
                self.count(outcome, matches!(outcome.order, Order::PutNeighbour { .. }));
                for vni in self.of_bridge.get(&link).into_iter().flatten() {
                    self.bindings.done(*vni, address, outcome.result.is_ok(), now);
                }
            }
            Order::TakeRemote { .. } => {}
            _ => return false,
        }
        true
    }

    fn station_done(&mut self, key: (Vni, MacAddr), carried_out: bool, now: Instant) {
        if let Some(local) = self.local.get_mut(&key) {
            if carried_out {
                local.news = false;
            } else {
                local.refused = local.refused.saturating_add(1);
            }
        }
        if carried_out { self.stations.done(key, now) } else { self.stations.failed(key, now, true) }
    }

    fn count(&mut self, outcome: &Outcome, put: bool) {
        match outcome.result {
            Ok(()) if put => self.told.published += 1,
            Ok(()) => self.told.withdrawn += 1,
            // It was gone already, or its link has gone.
            Err(Errno::ENOENT | Errno::ENXIO) if !put => {}
            Err(Errno::ENODEV) => {}
            Err(_) => self.told.failed += 1,
        }
    }

    /// What has become of orders since this was asked the last time.
    pub fn take_told(&mut self) -> Told {
        std::mem::take(&mut self.told)
    }

    /// How many stations the kernel has as it was told.
    #[must_use]
    pub fn station_count(&self) -> usize {
        self.published
    }

    /// How many bindings it has so.
    #[must_use]
    pub fn binding_count(&self) -> usize {
        self.bindings.published()
    }

    /// What a bridge has behind access ports.
    #[must_use]
    pub fn counts(&self, vni: Vni) -> Counts {
        let counts = self.counts.get(&vni).copied().unwrap_or_default();
        Counts { bindings: self.bindings.published_in(vni), ..counts }
    }

    /// The port in the kernel that stands for a bridge's access ports.
    #[must_use]
    pub fn port(&self, vni: Vni) -> Option<u32> {
        self.shadows.get(&vni)?.port
    }

    /// The station with this MAC address, behind an access port of the bridge, has this IP address. The kernel is told
    /// as long as it has the station as it was told; of an IPv6 address also whether the station is a router. Replaces what
    /// was said of the address; the same once more is no news. Nothing is refused: who calls this has a bounded table.
    pub fn bind(&mut self, vni: Vni, address: IpAddr, mac: MacAddr, router: bool) {
        self.bindings.bind(vni, address, mac, router);
    }

    /// The address is not bound any more.
    pub fn unbind(&mut self, vni: Vni, address: IpAddr) {
        self.bindings.unbind(vni, address);
    }

    /// What is said of an address behind a remote VTEP counts as news, if anything is.
    pub fn repeat_remote_binding(&mut self, vni: Vni, address: IpAddr) {
        self.bindings.repeat_remote(vni, address);
    }

    /// All that is said of addresses behind remote VTEPs is said again, and is no news.
    pub fn repeat_remote_bindings(&mut self) {
        self.bindings.repeat_all_remote();
    }

    /// The next binding behind a remote VTEP that has come, changed or gone: the control plane's entries among the
    /// neighbours of the kernel's bridge, and an operator's. One of an address that is bound here has been taken over.
    pub fn next_remote_binding(&mut self) -> Option<RemoteBinding> {
        self.bindings.next_remote()
    }
}
