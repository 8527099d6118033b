//! IP addresses of stations, as neighbours of the kernel's bridges.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{Bound, RangeInclusive};
use std::time::Instant;

use super::agenda::Agenda;
use super::{Shadow, TRIES};
use crate::netlink::{Mirror, Neighbour, Order, PROTOCOL};
use crate::wire::{MacAddr, Vni};

/// The IP address of a station behind a remote VTEP has come, changed or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteBinding {
    /// The bridge.
    pub vni: Vni,
    /// The address.
    pub address: IpAddr,
    /// The station; absent where the binding is gone.
    pub mac: Option<MacAddr>,
    /// The station is a router.
    pub router: bool,
    /// False where it was said before, and is repeated for who has forgotten it.
    pub news: bool,
}

#[derive(Clone, Copy, Debug)]
struct Binding {
    mac: MacAddr,
    /// The station is a router.
    router: bool,
    /// It was bound, and the kernel was not told since.
    news: bool,
    published: bool,
    refused: u8,
}

/// What is bound here, as much as there is room for in the table of bindings, and what the control plane says is bound
/// elsewhere.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    bound: BTreeMap<(Vni, IpAddr), Binding>,
    of_station: BTreeSet<(Vni, MacAddr, IpAddr)>,
    agenda: Agenda<(Vni, IpAddr)>,
    /// How many the kernel has as it was told, in each bridge that has some.
    published: BTreeMap<Vni, usize>,
    /// Stations, and whether they are routers.
    remote: BTreeMap<(Vni, IpAddr), (MacAddr, bool)>,
    remote_news: BTreeSet<(Vni, IpAddr)>,
    /// All of them are said again, with the last one of which that is done.
    repeating: Option<Option<(Vni, IpAddr)>>,
}

impl Bindings {
    pub(super) fn bind(&mut self, vni: Vni, address: IpAddr, mac: MacAddr, router: bool) {
        let key = (vni, address);
        match self.bound.get(&key) {
            Some(known) if (known.mac, known.router) == (mac, router) => return,
            Some(_) => self.unbind(vni, address),
            None => {}
        }
        self.bound.insert(key, Binding { mac, router, news: true, published: false, refused: 0 });
        self.of_station.insert((vni, mac, address));
        self.agenda.add(key);
    }

    pub(super) fn unbind(&mut self, vni: Vni, address: IpAddr) {
        if let Some(binding) = self.bound.remove(&(vni, address)) {
            self.count(vni, binding.published, false);
            self.of_station.remove(&(vni, binding.mac, address));
            self.agenda.add((vni, address));
        }
    }

    pub(super) fn forget(&mut self, vni: Vni) {
        let gone: Vec<IpAddr> = self.bound.range(all_of(vni)).map(|((_, address), _)| *address).collect();
        gone.into_iter().for_each(|address| self.unbind(vni, address));
    }

    pub(super) fn published(&self) -> usize {
        self.published.values().sum()
    }

    pub(super) fn published_in(&self, vni: Vni) -> usize {
        self.published.get(&vni).copied().unwrap_or(0)
    }

    /// Whether the kernel has one was so and is so.
    fn count(&mut self, vni: Vni, before: bool, after: bool) {
        if before == after {
            return;
        }
        let count = self.published.entry(vni).or_insert(0);
        *count = if after { *count + 1 } else { *count - 1 };
        if *count == 0 {
            self.published.remove(&vni);
        }
    }

    /// A station has come, gone, or is known to the kernel now.
    pub(super) fn station_changed(&mut self, vni: Vni, mac: MacAddr) {
        for (_, _, address) in self.of_station.range((vni, mac, FIRST)..=(vni, mac, LAST)) {
            self.agenda.add((vni, *address));
        }
    }

    /// The bridge is another of the kernel's now, or is in none.
    pub(super) fn bridge_changed(&mut self, vni: Vni, bridge: Option<u32>, mirror: &Mirror) {
        self.agenda.forget_orders(|(of, _)| *of == vni);
        for (key, binding) in self.bound.range_mut(all_of(vni)) {
            (binding.published, binding.refused) = (false, 0);
            self.agenda.add(*key);
        }
        self.published.remove(&vni);
        let known: Vec<IpAddr> = self.remote.range(all_of(vni)).map(|((_, address), _)| *address).collect();
        let there: Vec<IpAddr> =
            bridge.into_iter().flat_map(|bridge| mirror.neighbours(bridge)).map(|(address, _)| address).collect();
        for address in known.into_iter().chain(there) {
            self.look_at_remote(vni, bridge, address, mirror);
            self.agenda.add((vni, address));
        }
    }

    /// The kernel has told of a neighbour on the bridge.
    pub(super) fn told(&mut self, vni: Vni, bridge: u32, address: IpAddr, mirror: &Mirror) {
        self.agenda.told((vni, address));
        self.look_at_remote(vni, Some(bridge), address, mirror);
    }

    fn look_at_remote(&mut self, vni: Vni, bridge: Option<u32>, address: IpAddr, mirror: &Mirror) {
        let known = bridge.and_then(|bridge| mirror.neighbour(bridge, address));
        let station = known.filter(|known| is_remote(known)).and_then(|known| Some((known.usable()?, known.router)));
        let before = match station {
            Some(station) => self.remote.insert((vni, address), station),
            None => self.remote.remove(&(vni, address)),
        };
        if before != station {
            self.remote_news.insert((vni, address));
        }
    }

    pub(super) fn repeat_remote(&mut self, vni: Vni, address: IpAddr) {
        if self.remote.contains_key(&(vni, address)) {
            self.remote_news.insert((vni, address));
        }
    }

    pub(super) fn repeat_all_remote(&mut self) {
        self.repeating = Some(None);
    }

    /// News first; then what is said again.
    pub(super) fn next_remote(&mut self) -> Option<RemoteBinding> {
        if let Some((vni, address)) = self.remote_news.pop_first() {
            let station = self.remote.get(&(vni, address));
            let (mac, router) = (station.map(|(mac, _)| *mac), station.is_some_and(|(_, router)| *router));
            return Some(RemoteBinding { vni, address, mac, router, news: true });
        }
        let from = self.repeating?.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.remote.range((from, Bound::Unbounded)).next();
        self.repeating = next.map(|(key, _)| Some(*key));
        let ((vni, address), (mac, router)) = next?;
        Some(RemoteBinding { vni: *vni, address: *address, mac: Some(*mac), router: *router, news: false })
    }

    /// Appends the next orders, up to so many. `is_published` says whether the kernel has a station.
    pub(super) fn orders(
        &mut self,
        most: usize,
        orders: &mut Vec<Order>,
        is_published: &impl Fn(Vni, MacAddr) -> bool,
        shadows: &BTreeMap<Vni, Shadow>,
        mirror: &Mirror,
        now: Instant,
    ) {
        self.agenda.wait_no_longer(now);
        while orders.len() < most
            && let Some((vni, address)) = self.agenda.next()
        {
            let Some(shadow) = shadows.get(&vni) else { continue };
            if let Some(order) = self.order_for(vni, address, shadow.bridge, is_published, mirror) {
                self.agenda.sent((vni, address));
                orders.push(order);
            }
        }
    }

    fn order_for(
        &mut self,
        vni: Vni,
        address: IpAddr,
        link: u32,
        is_published: &impl Fn(Vni, MacAddr) -> bool,
        mirror: &Mirror,
    ) -> Option<Order> {
        let known = mirror.neighbour(link, address);
        let is_ours = known.is_some_and(|known| !known.external && known.protocol == PROTOCOL);
        let binding = self.bound.get_mut(&(vni, address)).filter(|binding| is_published(vni, binding.mac));
        let Some(binding) = binding else {
            return is_ours.then_some(Order::TakeNeighbour { link, address });
        };
        let router = binding.router && address.is_ipv6();
        let published = is_ours && known.is_some_and(|known| (known.mac, known.router) == (Some(binding.mac), router));
        let before = std::mem::replace(&mut binding.published, published);
        if published {
            (binding.news, binding.refused) = (false, 0);
        }
        let Binding { mac, news, refused, .. } = *binding;
        self.count(vni, before, published);
        // What an operator has said for good stays; what the kernel has found out by itself does not.
        let is_anothers = known.is_some_and(|known| !known.external && !is_ours && known.state.permanent());
        let is_taken_over = known.is_some_and(|known| known.external) && !news;
        let is_left = published || is_anothers || is_taken_over || refused >= TRIES;
        (!is_left).then_some(Order::PutNeighbour { link, address, mac, router })
    }

    pub(super) fn done(&mut self, vni: Vni, address: IpAddr, carried_out: bool, now: Instant) {
        let key = (vni, address);
        if let Some(binding) = self.bound.get_mut(&key) {
            if carried_out {
                binding.news = false;
            } else {
                binding.refused = binding.refused.saturating_add(1);
            }
        }
        if carried_out {
            self.agenda.done(key, now)
        } else {
            self.agenda.failed(key, now, self.bound.contains_key(&key))
        }
    }
}

/// True for a neighbour that a control plane has put there, or an operator for good.
fn is_remote(known: &Neighbour) -> bool {
    known.external || known.state.fixed() && known.protocol != PROTOCOL
}

const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const LAST: IpAddr = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));

fn all_of(vni: Vni) -> RangeInclusive<(Vni, IpAddr)> {
    (vni, FIRST)..=(vni, LAST)
}
