//! The ways to remote VTEPs, as the kernel's routes, links and neighbours have them.
//!
//! Of each remote VTEP the route is remembered that the kernel gave for it, and the ways are worked out from it anew
//! whenever a link or a neighbour that it goes through changes: that needs no question, so a link or a next hop that
//! fails is out of use at once. When routes change, the remote VTEPs they are for are asked for anew, a few
//! milliseconds after, for changes of routes come in crowds.
//!
//! Nothing here does I/O: see [`super::kernel`].

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::slots::{SLOTS, slots};
use crate::netlink::{Change, Gateway, Mirror, Order, Route};
use crate::tables::PortIndex;
use crate::telemetry::RemoteState;
use crate::wire::MacAddr;

/// So long after the last change of a route the routes are asked for.
const QUIET: Duration = Duration::from_millis(1);
/// Or so long after the first, if changes go on and on.
const AT_MOST: Duration = Duration::from_millis(4);
/// How often the kernel is asked to resolve a next hop that it does not keep resolved by itself.
const PROBE: Duration = Duration::from_secs(1);

/// A way to a remote VTEP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The uplink.
    pub port: PortIndex,
    /// The next hop's MAC address.
    pub mac: MacAddr,
    /// Its share of the packets, by the shares of all ways together.
    pub weight: u32,
    /// The largest IP packet it takes, by the kernel's route and link, in bytes.
    pub mtu: u16,
}

/// All ways to a remote VTEP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// The ways, at most [`SLOTS`], none twice.
    pub list: Vec<Way>,
    /// By slot, the place of its way in `list`: see [`slots`].
    pub slots: Vec<usize>,
}

impl Ways {
    /// The share of the flows that go by the way at this place in the list, 0 to 1.
    #[must_use]
    pub fn share(&self, place: usize) -> f64 {
        self.slots.iter().filter(|slot| **slot == place).count() as f64 / self.slots.len().max(1) as f64
    }

    /// The way that all flows go by if they cannot be spread: that of the first slot.
    #[must_use]
    pub fn first(&self) -> Option<&Way> {
        self.list.get(*self.slots.first()?)
    }
}

/// For people: every remote VTEP whose way the kernel says, whether it is reached, and how.
pub type Reach = BTreeMap<IpAddr, (RemoteState, Ways)>;

/// What [`Underlay::settle`] has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Remote VTEPs whose ways are others now.
    pub ways: Vec<IpAddr>,
    /// A remote VTEP's state is another now.
    pub states: bool,
}

/// An uplink and its interface in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// The port.
    pub port: PortIndex,
    /// The interface's name.
    pub interface: String,
}

/// A remote VTEP.
#[derive(Debug)]
struct Remote {
    gateways: Vec<Gateway>,
    mtu: Option<u32>,
    next_hop: Option<u32>,
    ways: Ways,
    state: RemoteState,
}

impl Remote {
    /// One that nobody was asked about yet.
    fn new() -> Self {
        Self { gateways: Vec::new(), mtu: None, next_hop: None, ways: Ways::default(), state: RemoteState::NoRoute }
    }
}

/// The remote VTEPs whose ways are the kernel's to say.
#[derive(Debug)]
pub struct Underlay {
    uplinks: Vec<Uplink>,
    /// Uplinks by the index of their link.
    ports: HashMap<u32, PortIndex>,
    remotes: BTreeMap<IpAddr, Remote>,
    /// Who goes through a neighbour.
    users: BTreeMap<(u32, IpAddr), BTreeSet<IpAddr>>,
    /// Neighbours that the kernel was asked to resolve, and when the last time.
    cared_for: BTreeMap<(u32, IpAddr), Instant>,
    /// Those to ask the kernel for.
    doubtful: BTreeSet<IpAddr>,
    /// When the first and the last of them became so.
    doubted: Option<(Instant, Instant)>,
    /// Those whose ways are to be worked out anew.
    touched: BTreeSet<IpAddr>,
}

impl Underlay {
    /// No remote VTEP yet.
    #[must_use]
    pub fn new(uplinks: Vec<Uplink>) -> Self {
        Self {
            uplinks,
            ports: HashMap::new(),
            remotes: BTreeMap::new(),
            users: BTreeMap::new(),
            cared_for: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            doubted: None,
            touched: BTreeSet::new(),
        }
    }

    /// Which remote VTEPs there are. New ones are to be asked for.
    pub fn set_remotes(&mut self, remotes: &BTreeSet<IpAddr>, now: Instant) {
        let gone: Vec<IpAddr> = self.remotes.keys().filter(|remote| !remotes.contains(remote)).copied().collect();
        for remote in gone {
            self.set_gateways(remote, Route::default());
            self.remotes.remove(&remote);
            self.doubtful.remove(&remote);
        }
        let new: Vec<IpAddr> = remotes.iter().filter(|remote| !self.remotes.contains_key(remote)).copied().collect();
        self.remotes.extend(new.iter().map(|remote| (*remote, Remote::new())));
        self.doubt(new, now);
    }

    /// Takes note of a change.
    pub fn note(&mut self, change: Change, mirror: &Mirror, now: Instant) {
        match change {
            Change::Neighbour(link, address) => {
                if let Some(users) = self.users.get(&(link, address)) {
                    self.touched.extend(users);
                }
            }
            Change::Link(index) => self.note_link(index, mirror, now),
            Change::Route(prefix) => {
                let within: Vec<IpAddr> = self.remotes.range(prefix.range()).map(|(remote, _)| *remote).collect();
                self.doubt(within, now);
            }
            // Of these the kernel does not tell which routes they change.
            Change::NextHop(_) => {
                let users = self.remotes.iter().filter(|(_, remote)| remote.next_hop.is_some());
                let users: Vec<IpAddr> = users.map(|(address, _)| *address).collect();
                self.doubt(users, now);
            }
            Change::Address(_) | Change::Rules => self.doubt_all(now),
            Change::Tunnelled(..) | Change::Bridged(..) => {}
        }
    }

    /// All routes are to be asked for anew.
    pub fn doubt_all(&mut self, now: Instant) {
        // Many links that change at once ask for this each: none of those that are in doubt is asked for twice.
        if self.doubtful.len() == self.remotes.len() {
            return;
        }
        let all: Vec<IpAddr> = self.remotes.keys().copied().collect();
        self.doubt(all, now);
    }

    /// True when it is time to ask for those that [`Underlay::next_doubtful`] gives.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.doubted.is_some_and(|(first, last)| {
            now.saturating_duration_since(last) >= QUIET || now.saturating_duration_since(first) >= AT_MOST
        })
    }

    /// One whose route is to be asked for.
    pub fn next_doubtful(&mut self) -> Option<IpAddr> {
        let next = self.doubtful.pop_first();
        if self.doubtful.is_empty() {
            self.doubted = None;
        }
        next
    }

    /// The kernel's route to a remote VTEP, if there is one.
    pub fn answered(&mut self, remote: IpAddr, route: Option<Route>, mirror: &Mirror) {
        let mut route = route.unwrap_or_default();
        if route.gateways.is_empty()
            && let Some(id) = route.next_hop
        {
            // With net.ipv4.nexthop_compat_mode=0 the kernel gives no more than the object's number.
            route.gateways = gateways_of(id, mirror);
        }
        self.set_gateways(remote, route);
    }

    /// True where [`Underlay::settle`] has nothing to do.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.touched.is_empty()
    }

    /// Works out the ways of those that something has changed for.
    pub fn settle(&mut self, mirror: &Mirror) -> Settled {
        let mut settled = Settled::default();
        for address in std::mem::take(&mut self.touched) {
            let Some(remote) = self.remotes.get_mut(&address) else { continue };
            let (list, state) = ways(address, remote, &self.ports, mirror);
            settled.states |= std::mem::replace(&mut remote.state, state) != state;
            if list != remote.ways.list {
                remote.ways = followed_by(&remote.ways, list);
                settled.ways.push(address);
            }
        }
        settled
    }

    /// What the kernel is to do about neighbours now: resolve those that ways go through and keep them resolved, and leave
    /// those to themselves that no way goes through any more.
    pub fn care(&mut self, mirror: &Mirror, now: Instant) -> Vec<Order> {
        let mut cares = Vec::new();
        for (link, address) in self.users.keys().filter(|(link, _)| self.ports.contains_key(link)) {
            if !mirror.link(*link).is_some_and(|link| link.carries()) {
                // The kernel forgets its neighbours with the carrier. They are asked for when it is back.
                self.cared_for.remove(&(*link, *address));
                continue;
            }
            let kept = mirror
                .neighbour(*link, *address)
                .is_some_and(|known| known.state.fixed() || known.managed && known.usable().is_some());
            let asked = self.cared_for.get(&(*link, *address));
            if !kept && asked.is_none_or(|asked| now.saturating_duration_since(*asked) >= PROBE) {
                self.cared_for.insert((*link, *address), now);
                cares.push(Order::Resolve { link: *link, address: *address });
            }
        }
        let users = &self.users;
        self.cared_for.retain(|key, _| {
            let stays = users.contains_key(key);
            if !stays && is_releasable(*key, mirror) {
                cares.push(Order::Release { link: key.0, address: key.1 });
            }
            stays
        });
        cares
    }

    /// What leaves every neighbour to itself that the kernel was asked to keep resolved.
    #[must_use]
    pub fn releases(&self, mirror: &Mirror) -> Vec<Order> {
        let kept = self.cared_for.keys().filter(|key| is_releasable(**key, mirror));
        kept.map(|(link, address)| Order::Release { link: *link, address: *address }).collect()
    }

    /// Every remote VTEP with its ways.
    pub fn ways(&self) -> impl Iterator<Item = (IpAddr, &Ways)> {
        self.remotes.iter().map(|(address, remote)| (*address, &remote.ways))
    }

    /// For people: every remote VTEP, its state and its ways.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let reach = |remote: &Remote| (remote.state, remote.ways.clone());
        self.remotes.iter().map(|(address, remote)| (*address, reach(remote))).collect()
    }

    /// Whether a remote VTEP can be reached, and if not, why.
    #[must_use]
    pub fn state(&self, remote: IpAddr) -> Option<RemoteState> {
        self.remotes.get(&remote).map(|remote| remote.state)
    }

    /// How many remote VTEPs are in each state, in the order of [`RemoteState::ALL`].
    #[must_use]
    pub fn states(&self) -> [usize; RemoteState::COUNT] {
        let mut counts = [0; RemoteState::COUNT];
        for remote in self.remotes.values() {
            counts[remote.state as usize] += 1;
        }
        counts
    }

    fn note_link(&mut self, index: u32, mirror: &Mirror, now: Instant) {
        let link = mirror.link(index);
        let uplink = link.and_then(|link| self.uplinks.iter().find(|uplink| uplink.interface == link.name));
        match uplink {
            Some(uplink) => self.ports.insert(index, uplink.port),
            None => self.ports.remove(&index),
        };
        let through = self.users.range((index, IpAddr::from([0; 4]))..).take_while(|((link, _), _)| *link == index);
        self.touched.extend(through.flat_map(|(_, users)| users));
        // In IPv4 the kernel takes a link's routes away, and brings none back, without a word.
        self.doubt_all(now);
    }

    fn doubt(&mut self, remotes: impl IntoIterator<Item = IpAddr>, now: Instant) {
        let before = self.doubtful.len();
        self.doubtful.extend(remotes);
        if self.doubtful.len() > before {
            self.doubted = Some((self.doubted.map_or(now, |(first, _)| first), now));
        }
    }

    fn set_gateways(&mut self, address: IpAddr, route: Route) {
        let Some(remote) = self.remotes.get_mut(&address) else { return };
        for gateway in &remote.gateways {
            let key = (gateway.link, gateway.address.unwrap_or(address));
            if let Some(users) = self.users.get_mut(&key) {
                users.remove(&address);
                if users.is_empty() {
                    self.users.remove(&key);
                }
            }
        }
        for gateway in &route.gateways {
            self.users.entry((gateway.link, gateway.address.unwrap_or(address))).or_default().insert(address);
        }
        (remote.gateways, remote.mtu, remote.next_hop) = (route.gateways, route.mtu, route.next_hop);
        self.touched.insert(address);
    }
}

/// The ways of a next-hop object, which may be a group.
fn gateways_of(id: u32, mirror: &Mirror) -> Vec<Gateway> {
    let Some(next_hop) = mirror.next_hop(id) else { return Vec::new() };
    let alone = [(id, 1)];
    let members = if next_hop.group.is_empty() { &alone[..] } else { &next_hop.group };
    let gateway = |(id, weight): &(u32, u16)| {
        let member = mirror.next_hop(*id).filter(|member| !member.blackhole)?;
        Some(Gateway { link: member.link?, address: member.gateway, weight: *weight })
    };
    members.iter().filter_map(gateway).collect()
}

/// The ways to a remote VTEP that can be used now, or what is in the way of the one that comes nearest.
fn ways(address: IpAddr, remote: &Remote, ports: &HashMap<u32, PortIndex>, mirror: &Mirror) -> (Vec<Way>, RemoteState) {
    let mut state = RemoteState::NoRoute;
    let mut list: Vec<Way> = Vec::new();
    for gateway in &remote.gateways {
        let way = way(address, remote, gateway, ports, mirror);
        state = state.max(way.map_or_else(|wrong| wrong, |_| RemoteState::Reachable));
        let Ok(way) = way else { continue };
        match list.iter_mut().find(|other| (other.port, other.mac, other.mtu) == (way.port, way.mac, way.mtu)) {
            Some(same) => same.weight = same.weight.saturating_add(way.weight),
            None => list.push(way),
        }
    }
    if list.len() > SLOTS {
        list.sort_by_key(|way| std::cmp::Reverse(way.weight));
        list.truncate(SLOTS);
    }
    list.sort_unstable();
    (list, state)
}

fn way(
    address: IpAddr,
    remote: &Remote,
    gateway: &Gateway,
    ports: &HashMap<u32, PortIndex>,
    mirror: &Mirror,
) -> Result<Way, RemoteState> {
    let port = *ports.get(&gateway.link).ok_or(RemoteState::NoUplink)?;
    let link = mirror.link(gateway.link).filter(|link| link.carries()).ok_or(RemoteState::LinkDown)?;
    let neighbour = mirror.neighbour(gateway.link, gateway.address.unwrap_or(address));
    let mac = neighbour.and_then(|known| known.usable()).ok_or(RemoteState::Unresolved)?;
    let mtu = remote.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)).min(u16::MAX.into()) as u16;
    Ok(Way { port, mac, weight: gateway.weight.into(), mtu })
}

/// The new ways, with slots that leave flows where they are as far as that can be. Ways are the same if they go to the
/// same neighbour.
fn followed_by(before: &Ways, list: Vec<Way>) -> Ways {
    let place = |slot: &usize| {
        let old = before.list.get(*slot)?;
        list.iter().position(|way| (way.port, way.mac) == (old.port, old.mac))
    };
    let kept: Vec<Option<usize>> = before.slots.iter().map(place).collect();
    let weights: Vec<u32> = list.iter().map(|way| way.weight).collect();
    Ways { slots: slots(&weights, &kept), list }
}

/// False for a neighbour of which somebody has said for good what it is: to leave that to itself would take it away.
fn is_releasable((link, address): (u32, IpAddr), mirror: &Mirror) -> bool {
    !mirror.neighbour(link, address).is_some_and(|known| known.state.fixed())
}
