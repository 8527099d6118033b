//! Bridges whose remote side the kernel says: the FDB of the vxlan device with their VNI, whoever made it.
//!
//! A bridge adopts a device by the name that the config has, which must have its VNI, or else by its VNI. If there are
//! several, the one with the gateway's own address and UDP port comes first. What the device has of flood lists and remote
//! VTEPs shapes the snapshot; stations go into the FDB one by one. Nothing here does I/O: changes of the mirror come in, and what follows from them is asked for.

mod rounds;
#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};
use tracing::warn;

use self::rounds::Rerouted;
use super::compile::{KernelBridge, KernelBridges};
use crate::config::Config;
use crate::config::model::{Bridge, Control, PortRole, UnderlayGroup};
use crate::netlink::{Change, Destination, Link, Mirror, Place};
use crate::tables::PortIndex;
use crate::wire::{MacAddr, Vni};

/// So long after the last change of flood lists or of remote VTEPs a snapshot is made with it.
const QUIET: Duration = Duration::from_millis(3);
/// Or so long after the first, if changes go on and on.
const AT_MOST: Duration = Duration::from_millis(20);

/// A station behind a remote VTEP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Station {
    /// The remote VTEP that it is sent to by.
    pub remote: IpAddr,
    /// It may not move.
    pub sticky: bool,
    /// Others that it is behind, too, and may be heard from: the rest of a group of next hops (RFC 7432, 14).
    pub others: Box<[IpAddr]>,
}

impl Station {
    /// Every remote VTEP that it is behind.
    fn remotes(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.remote).chain(self.others.iter().copied())
    }
}

/// A station whose FDB entry is to be brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The bridge.
    pub vni: Vni,
    /// The station.
    pub mac: MacAddr,
    /// The kernel has said something new of it, so that it wins over what was learned.
    pub news: bool,
}

/// What device a bridge wants.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    /// The UDP port that it sends with.
    port: u16,
    /// The device's name, where the config has one.
    name: Option<Box<str>>,
}

/// A device that is adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The device.
    pub device: u32,
    /// The kernel's bridge that it belongs to.
    pub bridge: Option<u32>,
}

/// The devices that are adopted, and what they say.
#[derive(Debug)]
pub struct Adoption {
    /// The gateway's addresses, the source of what it sends first.
    own: Vec<IpAddr>,
    /// The uplinks, with the names of their interfaces.
    uplinks: Vec<(PortIndex, String)>,
    /// The groups of the underlay that the config names.
    groups: FxHashSet<IpAddr>,
    /// The bridges that want a device.
    wanted: BTreeMap<Vni, Wanted>,
    /// The device of each bridge that has one.
    devices: BTreeMap<Vni, Adopted>,
    /// The bridge of each device.
    vnis: FxHashMap<u32, Vni>,
    /// The devices of each of the kernel's bridges.
    ports: FxHashMap<u32, Vec<u32>>,
    stations: BTreeMap<(Vni, MacAddr), Station>,
    /// How many stations each remote VTEP has in a bridge; one of a group counts for each of its members.
    users: FxHashMap<(Vni, IpAddr), usize>,
    said: KernelBridges,
    /// How many of the stations each bridge has.
    counts: FxHashMap<Vni, usize>,
    /// The stations whose entries are to be brought up to date, each once.
    due: VecDeque<(Vni, MacAddr)>,
    /// The same, and whether there are news of them.
    waiting: HashMap<(Vni, MacAddr), bool>,
    /// Devices may have come, gone or changed.
    devices_changed: bool,
    /// What the config says of all of them has changed, so any station may be elsewhere.
    all_changed: bool,
    rerouted: Rerouted,
    /// All entries are to be brought up to date, with the last station of which that has been asked for.
    repeating: Option<Option<(Vni, MacAddr)>>,
    /// When flood lists or remote VTEPs have changed, the first time and the last.
    shape_changed: Option<(Instant, Instant)>,
}

impl Adoption {
    /// Nothing is wanted and nothing adopted yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "one that knows no config is no default for anything")]
    pub fn new() -> Self {
        Self {
            own: Vec::new(),
            uplinks: Vec::new(),
            groups: FxHashSet::default(),
            wanted: BTreeMap::new(),
            devices: BTreeMap::new(),
            vnis: FxHashMap::default(),
            ports: FxHashMap::default(),
            stations: BTreeMap::new(),
            users: FxHashMap::default(),
            said: KernelBridges::default(),
            counts: FxHashMap::default(),
            due: VecDeque::new(),
            waiting: HashMap::new(),
            devices_changed: false,
            all_changed: false,
            rerouted: Rerouted::default(),
            repeating: None,
            shape_changed: None,
        }
    }

    /// Takes a config's bridges that want a device, and adopts and lets go accordingly.
    pub fn set_bridges(&mut self, config: &Config, mirror: &Mirror, now: Instant) {
        let wanted = config.bridges.iter().filter(|bridge| bridge.control == Control::Kernel);
        let wanted_by =
            |bridge: &Bridge| Wanted { port: config.udp_port_of(bridge), name: bridge.kernel_device.clone() };
        let wanted: BTreeMap<Vni, Wanted> = wanted.map(|bridge| (bridge.vni, wanted_by(bridge))).collect();
        let own: Vec<IpAddr> =
            std::iter::once(config.vtep.address).chain(config.vtep.other_addresses.iter().copied()).collect();
        self.all_changed |= own != self.own || wanted.iter().any(|(vni, port)| self.wanted.get(vni) != Some(port));
        let uplinks = config.ports.iter().enumerate().filter(|(_, port)| port.role == PortRole::Uplink);
        self.uplinks = uplinks.map(|(index, port)| (PortIndex(index as u16), port.interface().to_owned())).collect();
        let groups = config.bridges.iter().filter_map(|bridge| bridge.flooding.group.as_ref());
        self.groups = groups.map(|group| group.address).collect();
        (self.own, self.wanted, self.devices_changed) = (own, wanted, true);
        self.settle(mirror, now);
    }

    /// Takes note of a change of the mirror.
    pub fn note(&mut self, change: Change, mirror: &Mirror, now: Instant) {
        match change {
            Change::Link(_) => self.devices_changed = true,
            Change::NextHop(id) => mirror.used_with(id).for_each(|used| self.rerouted.add(used)),
            Change::Tunnelled(device, mac) => {
                if let Some(vni) = self.vnis.get(&device) {
                    self.look(*vni, device, mac, mirror, now);
                }
            }
            Change::Bridged(bridge, mac) => {
                for device in self.ports.get(&bridge).cloned().unwrap_or_default() {
                    if let Some(vni) = self.vnis.get(&device) {
                        self.look(*vni, device, mac, mirror, now);
                    }
                }
            }
            Change::Address(_) | Change::Neighbour(..) | Change::Route(_) | Change::Rules => {}
        }
    }

    /// Adopts devices that have come, and lets go of those that have gone; then goes on with what takes many rounds where there
    /// are many stations. True where there is more of that.
    pub fn settle(&mut self, mirror: &Mirror, now: Instant) -> bool {
        self.settle_devices(mirror, now);
        self.reroute_on(mirror, now);
        self.repeat_on();
        !self.rerouted.is_empty() || self.repeating.is_some()
    }

    fn settle_devices(&mut self, mirror: &Mirror, now: Instant) {
        if !std::mem::take(&mut self.devices_changed) && !self.all_changed {
            return;
        }
        let all_changed = std::mem::take(&mut self.all_changed);
        let found = self.find_devices(mirror);
        let before = std::mem::replace(&mut self.devices, found);
        self.vnis = self.devices.iter().map(|(vni, adopted)| (adopted.device, *vni)).collect();
        self.ports.clear();
        for adopted in self.devices.values() {
            if let Some(bridge) = adopted.bridge {
                self.ports.entry(bridge).or_default().push(adopted.device);
            }
        }
        for (vni, adopted) in &before {
            if self.devices.get(vni).is_none_or(|now| now.device != adopted.device) {
                self.let_go(*vni, now);
            }
        }
        // A device that has joined or left a bridge means other things by what it has.
        let differs = |(vni, adopted): &(&Vni, &Adopted)| all_changed || before.get(vni) != Some(adopted);
        let changed: Vec<(Vni, u32)> =
            self.devices.iter().filter(differs).map(|(vni, adopted)| (*vni, adopted.device)).collect();
        for (vni, device) in changed {
            self.look_at_all(vni, device, mirror, now);
        }
    }

    /// The device of each bridge that has one.
    #[must_use]
    pub fn devices(&self) -> &BTreeMap<Vni, Adopted> {
        &self.devices
    }

    /// Flood lists and remote VTEPs of each bridge.
    #[must_use]
    pub fn said(&self) -> &KernelBridges {
        &self.said
    }

    /// True, once, when it is time for a snapshot with other flood lists or remote VTEPs. The last one took `cost` and was
    /// ready at `made`: while changes go on and on, three times as long is left for other work.
    pub fn take_shape_change(&mut self, now: Instant, (made, cost): (Instant, Duration)) -> bool {
        let is_due = self.shape_changed.is_some_and(|(first, last)| {
            now.saturating_duration_since(last) >= QUIET || now.saturating_duration_since(first) >= AT_MOST
        }) && now.saturating_duration_since(made) >= cost * 3;
        if is_due {
            self.shape_changed = None;
        }
        is_due
    }

    /// The next station whose entry is to be brought up to date.
    pub fn next_due(&mut self) -> Option<Due> {
        let (vni, mac) = self.due.pop_front()?;
        let news = self.waiting.remove(&(vni, mac)).unwrap_or_default();
        Some(Due { vni, mac, news })
    }

    /// One that has to wait for the next snapshot.
    pub fn put_off(&mut self, due: Due) {
        self.is_due(due.vni, due.mac, due.news);
    }

    /// Has an entry brought up to date in its turn, once, however often that is asked for.
    fn is_due(&mut self, vni: Vni, mac: MacAddr, news: bool) {
        match self.waiting.entry((vni, mac)) {
            Entry::Occupied(mut waiting) => *waiting.get_mut() |= news,
            Entry::Vacant(place) => {
                place.insert(news);
                self.due.push_back((vni, mac));
            }
        }
    }

    /// Where the kernel has a station.
    #[must_use]
    pub fn station(&self, vni: Vni, mac: MacAddr) -> Option<&Station> {
        self.stations.get(&(vni, mac))
    }

    /// The bridges that want a device.
    pub fn wanted(&self) -> impl Iterator<Item = Vni> {
        self.wanted.keys().copied()
    }

    /// How many stations the kernel has in a bridge.
    #[must_use]
    pub fn station_count_of(&self, vni: Vni) -> usize {
        self.counts.get(&vni).copied().unwrap_or(0)
    }

    /// Every station that the kernel has.
    pub fn stations(&self) -> impl Iterator<Item = (Vni, MacAddr)> {
        self.stations.keys().copied()
    }

    /// How many stations the kernel has, in all bridges.
    #[must_use]
    pub fn station_count(&self) -> usize {
        self.stations.len()
    }

    /// How many stations wait for their entry.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.due.len()
    }

    fn find_devices(&self, mirror: &Mirror) -> BTreeMap<Vni, Adopted> {
        let mut found: BTreeMap<Vni, &Link> = BTreeMap::new();
        let rank = |link: &Link| {
            let vxlan = link.vxlan.unwrap_or_default();
            let port = Vni::new(vxlan.vni).ok().and_then(|vni| self.wanted.get(&vni)).map(|wanted| wanted.port);
            let own = self.own.iter().position(|own| Some(*own) == vxlan.local).unwrap_or(usize::MAX);
            (own, Some(vxlan.port) != port, link.index)
        };
        for link in mirror.links() {
            let Some(vni) = self.vni_of(link) else { continue };
            let best = found.entry(vni).or_insert(link);
            if rank(link) < rank(best) {
                *best = link;
            }
        }
        found.into_iter().map(|(vni, link)| (vni, Adopted { device: link.index, bridge: link.master })).collect()
    }

    /// The bridge that a link could be the device of.
    fn vni_of(&self, link: &Link) -> Option<Vni> {
        let vxlan = link.vxlan.filter(|vxlan| !vxlan.external)?;
        let vni = Vni::new(vxlan.vni).ok()?;
        self.wanted.get(&vni)?.name.as_ref().is_none_or(|name| **name == *link.name).then_some(vni)
    }

    fn let_go(&mut self, vni: Vni, now: Instant) {
        let macs: Vec<MacAddr> =
            self.stations.range((vni, MacAddr::ZERO)..=(vni, MacAddr::BROADCAST)).map(|((_, mac), _)| *mac).collect();
        for mac in macs {
            self.set_station(vni, mac, None, now);
        }
        if self.said.remove(&vni).is_some() {
            self.shape_changes(now);
        }
    }

    fn look_at_all(&mut self, vni: Vni, device: u32, mirror: &Mirror, now: Instant) {
        let known = self.stations.range((vni, MacAddr::ZERO)..=(vni, MacAddr::BROADCAST)).map(|((_, mac), _)| *mac);
        // Hashed with a secret: addresses are the choice of stations.
        let macs: HashSet<MacAddr> = known.chain(mirror.stations(device)).chain([MacAddr::ZERO]).collect();
        for mac in macs {
            self.look(vni, device, mac, mirror, now);
        }
    }

    /// Looks at what the kernel has of a station now, or of the flood list.
    fn look(&mut self, vni: Vni, device: u32, mac: MacAddr, mirror: &Mirror, now: Instant) {
        if mac == MacAddr::ZERO {
            let all = mirror.flood_list(device).filter(|destination| self.is_plain(*destination, vni));
            let list: BTreeSet<IpAddr> = all
                .flat_map(|destination| mirror.remotes(destination))
                .filter(|remote| self.is_remote(*remote))
                .collect();
            let group = self.group(device, vni, mirror);
            let said = self.said.entry(vni).or_default();
            if (&said.flood_list, &said.group) != (&list, &group) {
                (said.flood_list, said.group) = (list, group);
                self.shape_changes(now);
            }
        } else if mac.is_station() {
            let station = self.read(device, mac, mirror);
            self.set_station(vni, mac, station, now);
        }
    }

    /// The multicast group of a device's flood list, with the uplinks that it names: all of them if it names no link. Of
    /// several groups it is the lowest address, for a bridge has one. None where that would be one more than can be joined.
    fn group(&mut self, device: u32, vni: Vni, mirror: &Mirror) -> Option<UnderlayGroup> {
        let is_ours = |address: IpAddr| {
            address.is_multicast() && self.own.first().is_some_and(|own| own.is_ipv4() == address.is_ipv4())
        };
        let all = mirror.flood_list(device).filter(|destination| self.is_plain(*destination, vni));
        let ports = all.filter_map(|destination| match destination {
            Destination::Remote { address, link, .. } if is_ours(address) => {
                Some((address, self.uplinks_by(link, mirror)))
            }
            _ => None,
        });
        let mut groups = BTreeMap::<IpAddr, BTreeSet<PortIndex>>::new();
        for (address, ports) in ports.filter(|(_, ports)| !ports.is_empty()) {
            groups.entry(address).or_default().extend(ports);
        }
        let (address, ports) = groups.pop_first()?;
        let others = self.said.iter().filter(|(other, _)| **other != vni).filter_map(|(_, said)| said.group.as_ref());
        let others: FxHashSet<IpAddr> = others.map(|group| group.address).chain(self.groups.iter().copied()).collect();
        if others.len() >= UnderlayGroup::MOST && !others.contains(&address) {
            warn!(%vni, group = %address, "a group of the kernel's is left out: no more than {} are joined", UnderlayGroup::MOST);
            return None;
        }
        Some(UnderlayGroup { address, ports: ports.into_iter().collect() })
    }

    /// The uplink whose interface this link is; without a link, all.
    fn uplinks_by(&self, link: Option<u32>, mirror: &Mirror) -> Vec<PortIndex> {
        let name = link.map(|index| mirror.link(index).map(|link| link.name.as_str()));
        let named = self.uplinks.iter().filter(|(_, interface)| name.is_none_or(|name| name == Some(interface)));
        named.map(|(port, _)| *port).collect()
    }

    /// Where the kernel has a station, if that is behind a remote VTEP that the gateway can send to. Of a group of next
    /// hops its MAC address chooses one, so that the stations of the group spread over its members.
    fn read(&self, device: u32, mac: MacAddr, mirror: &Mirror) -> Option<Station> {
        let vni = *self.vnis.get(&device)?;
        let Place::Remote(destination) = mirror.place(device, mac) else { return None };
        if !self.is_plain(destination, vni) {
            return None;
        }
        let mut remotes = mirror.remotes(destination);
        remotes.retain(|remote| self.is_remote(*remote));
        remotes.sort_unstable();
        remotes.dedup();
        let chosen = mac.0.iter().map(|octet| usize::from(*octet)).sum::<usize>().checked_rem(remotes.len())?;
        let remote = remotes.swap_remove(chosen);
        Some(Station { remote, sticky: mirror.is_sticky(device, mac), others: remotes.into() })
    }

    /// The destination has the UDP port and the VNI that the bridge's packets are sent with.
    pub(super) fn is_plain(&self, destination: Destination, vni: Vni) -> bool {
        match destination {
            Destination::Remote { port, vni: other, .. } => {
                port.is_none_or(|port| self.wanted.get(&vni).is_some_and(|wanted| wanted.port == port))
                    && other.is_none_or(|other| other == vni.get())
            }
            Destination::NextHop(_) => true,
        }
    }

    /// The address can be a remote VTEP's: one host's, of the underlay's family, none of the gateway's own.
    fn is_remote(&self, address: IpAddr) -> bool {
        !self.own.contains(&address)
            && self.own.first().is_some_and(|own| address.is_ipv4() == own.is_ipv4())
            && !address.is_multicast()
            && !address.is_unspecified()
    }

    fn set_station(&mut self, vni: Vni, mac: MacAddr, station: Option<Station>, now: Instant) {
        if self.stations.get(&(vni, mac)) == station.as_ref() {
            return;
        }
        self.is_due(vni, mac, true);
        for remote in station.iter().flat_map(Station::remotes) {
            let users = self.users.entry((vni, remote)).or_insert(0);
            *users += 1;
            if *users == 1 {
                self.said.entry(vni).or_default().sources.insert(remote);
                self.shape_changes(now);
            }
        }
        let is_there = station.is_some();
        let before = match station {
            Some(station) => self.stations.insert((vni, mac), station),
            None => self.stations.remove(&(vni, mac)),
        };
        let count = self.counts.entry(vni).or_insert(0);
        *count = *count + usize::from(is_there) - usize::from(before.is_some());
        if *count == 0 {
            self.counts.remove(&vni);
        }
        for remote in before.iter().flat_map(Station::remotes) {
            let Some(users) = self.users.get_mut(&(vni, remote)) else { continue };
            *users -= 1;
            if *users == 0 {
                self.users.remove(&(vni, remote));
                self.said.entry(vni).or_default().sources.remove(&remote);
                self.shape_changes(now);
            }
        }
    }

    fn shape_changes(&mut self, now: Instant) {
        self.shape_changed = Some((self.shape_changed.map_or(now, |(first, _)| first), now));
    }
}

/// Every remote VTEP that is said of any bridge.
pub fn all_said(said: &KernelBridges) -> impl Iterator<Item = IpAddr> {
    said.values().flat_map(|KernelBridge { flood_list, sources, .. }| flood_list.iter().chain(sources)).copied()
}
