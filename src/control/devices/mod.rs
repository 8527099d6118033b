//! The devices that the gateway makes in the kernel: for each bridge with `control` "kernel" that has no vxlan device to
//! adopt, a bridge and a vxlan device in it; and for each, also where they are adopted, a port in the bridge that stands
//! for the gateway's access ports.
//!
//! What is wanted is compared with what the mirror shows, and what is missing is ordered, over and over: so it does not
//! matter who took something away, or in which order messages come. What the gateway has made it knows by the group of
//! links and the alias; nothing else is ever removed. Nothing here does I/O.
//!
//! The vxlan device is up, for only then its VNI is advertised, and so is the bridge, for only then zebra writes the IP
//! addresses of remote stations into it. The kernel shall not bridge by itself, so what it sends out of the vxlan device
//! is dropped there, and where that cannot be had the bridge stays down.
//!
//! The ports are macvlans on one TAP, which is not held by a file that outlives the process: it is gone with the process,
//! the ports with the TAP, and with them all that was told of stations behind them. A TAP in each bridge would do the same,
//! but the kernel closes files one after the other and waits after each TAP: a thousand were measured to take 19 s, a
//! thousand macvlans on one TAP less than one.

mod names;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustc_hash::FxHashMap;
use tracing::{info, warn};

use self::names::{Kind, name, read_name, tap_name};
use super::adoption::Adopted;
use super::publishing::Shadow;
use crate::config::Config;
use crate::config::model::{Bridge, Control};
use crate::netlink::{Link, Mirror, Order, Outcome};
use crate::wire::Vni;

/// The group of links that all devices of gateways are in.
pub const GROUP: u32 = 4789;

/// By this queueing discipline the kernel drops all that is sent out of a link.
const SILENT: &str = "blackhole";

/// How long the same order is not given again, and a device that was removed not made again; twice as long each time,
/// up to [`LONGEST`].
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(32);

/// Orders that are given at once, about.
const ORDERS: usize = 512;

/// What a bridge wants of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    /// The gateway may make one.
    may_be_made: bool,
    /// The UDP port that it sends with.
    port: u16,
}

/// A device's orders, and when they were given.
#[derive(Clone, Debug, Default)]
struct Attempt {
    orders: Vec<Order>,
    given: Given,
    /// The same, of those that make it.
    made: Given,
}

/// When something was done, and how often again.
#[derive(Clone, Copy, Debug, Default)]
struct Given {
    at: Option<Instant>,
    again: u32,
}

impl Given {
    fn pause(self) -> Duration {
        PAUSE.saturating_mul(1 << self.again.min(5)).min(LONGEST)
    }

    fn is_long_ago(self, now: Instant) -> bool {
        self.at.is_none_or(|at| now.saturating_duration_since(at) >= self.pause())
    }

    fn is_now(&mut self, again: bool, now: Instant) {
        // What went well for long is a first time.
        let calm = self.at.is_none_or(|at| now.saturating_duration_since(at) >= LONGEST * 2);
        self.again = if again && !calm { self.again.saturating_add(1) } else { 0 };
        self.at = Some(now);
    }
}

impl Attempt {
    /// True where it is not too soon for these orders.
    fn may_give(&self, orders: &[Order], now: Instant) -> bool {
        if makes(orders) { self.made.is_long_ago(now) } else { self.orders != orders || self.given.is_long_ago(now) }
    }

    fn gave(&mut self, orders: &[Order], now: Instant) {
        self.given.is_now(self.orders == orders, now);
        if makes(orders) {
            self.made.is_now(true, now);
        }
        self.orders = orders.to_vec();
    }
}

fn makes(orders: &[Order]) -> bool {
    let first = orders.first();
    matches!(
        first,
        Some(Order::MakeBridge { .. } | Order::MakeVxlan { .. } | Order::MakePort { .. } | Order::HoldTap { .. })
    )
}

/// A VNI's devices of the gateway's own making, by their kinds.
type Found<'m> = [Option<&'m Link>; Kind::COUNT];

/// What the gateway makes in the kernel.
#[derive(Debug)]
pub struct Devices {
    alias: String,
    own: IpAddr,
    /// Bridges that want a device.
    wanted: BTreeMap<Vni, Wanted>,
    attempts: BTreeMap<(Vni, Kind), Attempt>,
    /// The TAP that the ports are on: its name, that it is held, and its orders.
    tap: String,
    held: bool,
    tap_attempt: Attempt,
    /// Names that are another's, as they were last said.
    taken: BTreeSet<String>,
    changed: bool,
    /// When something is to be tried again.
    again: Option<Instant>,
    /// The kernel cannot drop what is sent.
    cannot_silence: bool,
}

impl Devices {
    /// Nothing is wanted yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "one that knows no config is no default for anything")]
    pub fn new() -> Self {
        Self {
            alias: String::new(),
            own: Ipv4Addr::UNSPECIFIED.into(),
            wanted: BTreeMap::new(),
            attempts: BTreeMap::new(),
            tap: String::new(),
            held: false,
            tap_attempt: Attempt::default(),
            taken: BTreeSet::new(),
            changed: false,
            again: None,
            cannot_silence: false,
        }
    }

    /// Takes a config's bridges that want a device.
    pub fn set_bridges(&mut self, config: &Config) {
        let wanted = config.bridges.iter().filter(|bridge| bridge.control == Control::Kernel);
        let wanted_by =
            |bridge: &Bridge| Wanted { may_be_made: bridge.kernel_device.is_none(), port: config.udp_port_of(bridge) };
        self.wanted = wanted.map(|bridge| (bridge.vni, wanted_by(bridge))).collect();
        self.alias = format!("vtepd {}", config.dpdk.file_prefix);
        self.tap = tap_name(&config.dpdk.file_prefix);
        (self.own, self.changed) = (config.vtep.address, true);
    }

    /// Links have come, gone or changed.
    pub fn note_link(&mut self) {
        self.changed = true;
    }

    /// The next orders; none where nothing has changed. `adopted` has the device that each bridge goes by.
    pub fn orders(&mut self, mirror: &Mirror, adopted: &BTreeMap<Vni, Adopted>, now: Instant) -> Vec<Order> {
        if !self.changed && self.again.is_none_or(|again| now < again) {
            return Vec::new();
        }
        (self.changed, self.again) = (false, None);
        let found = self.find(mirror);
        let mut orders = Vec::new();
        self.look_after_tap(mirror, adopted, now, &mut orders);
        let tap = self.tap(mirror).map(|tap| tap.index);
        self.attempts.retain(|(vni, _), _| self.wanted.contains_key(vni) || found.contains_key(vni));
        let vnis: BTreeSet<Vni> = self.wanted.keys().chain(found.keys()).copied().collect();
        for vni in vnis {
            if orders.len() >= ORDERS {
                self.changed = true;
                break;
            }
            let found = found.get(&vni).copied().unwrap_or_default();
            self.look_after(vni, found, (adopted.get(&vni).copied(), tap), now, &mut orders);
        }
        orders
    }

    /// Where each bridge's stations are to be told.
    #[must_use]
    pub fn shadows(&self, mirror: &Mirror, adopted: &BTreeMap<Vni, Adopted>) -> BTreeMap<Vni, Shadow> {
        let tap = self.tap(mirror).map(|tap| tap.index);
        let is_port = |kind, link: &Link| kind == Kind::Port && self.is_own(link) && tap.is_some() && link.lower == tap;
        let ports: FxHashMap<Vni, &Link> = self
            .links(mirror)
            .filter(|(kind, _, link)| is_port(*kind, link))
            .map(|(_, vni, link)| (vni, link))
            .collect();
        let shadow = |(vni, adopted): (&Vni, &Adopted)| {
            let bridge = adopted.bridge?;
            let port = ports.get(vni).filter(|port| port.master == Some(bridge)).map(|port| port.index);
            Some((*vni, Shadow { bridge, device: adopted.device, port }))
        };
        adopted.iter().filter_map(shadow).collect()
    }

    /// True for a device that this gateway has made.
    #[must_use]
    pub fn is_own(&self, link: &Link) -> bool {
        // A device that is being made has its name and its group before its alias.
        let is_named = || read_name(&link.name).is_some() || link.name == self.tap;
        link.group == GROUP && (link.alias == self.alias || link.alias.is_empty() && is_named())
    }

    /// What removes all that was made: first what takes the vxlan devices down, so that their VNIs are advertised no
    /// more, then what removes everything.
    #[must_use]
    pub fn removal(&self, mirror: &Mirror) -> [Vec<Order>; 2] {
        let own: Vec<&Link> = mirror.links().filter(|link| self.is_own(link)).collect();
        let vxlan = own.iter().filter(|link| link.vxlan.is_some());
        let down = vxlan.map(|link| Order::SetUp { link: link.index, up: false }).collect();
        let alone = mirror.links().filter(|link| link.group == GROUP).count() == own.len();
        let remove = match (own.is_empty(), alone) {
            (true, _) => Vec::new(),
            (false, true) => vec![Order::RemoveGroup { group: GROUP }],
            (false, false) => own.iter().map(|link| Order::RemoveLink { link: link.index }).collect(),
        };
        [down, remove]
    }

    /// Takes note of what has become of an order. False where it is none about devices.
    pub fn done(&mut self, outcome: &Outcome) -> bool {
        match (&outcome.order, outcome.result) {
            (Order::HoldTap { .. }, result) => self.held = result.is_ok(),
            (Order::ReleaseTap { .. }, _) => self.held = false,
            (Order::DropWhatIsSent { .. }, Err(Errno::ENOENT)) if !self.cannot_silence => {
                self.cannot_silence = true;
                warn!("the kernel has no `blackhole` queueing: the bridges stay down, and know no remote IP address");
            }
            // A kernel without IPv6 gives no addresses.
            (Order::KeepSilent { .. }, Err(Errno::EAFNOSUPPORT)) => return true,
            (Order::PutStation { .. } | Order::TakeStation { .. } | Order::TakeRemote { .. }, _)
            | (Order::PutNeighbour { .. } | Order::TakeNeighbour { .. }, _) => return false,
            _ => {}
        }
        self.changed = true;
        true
    }

    /// The links with names as the gateway gives them.
    fn links<'m>(&self, mirror: &'m Mirror) -> impl Iterator<Item = (Kind, Vni, &'m Link)> {
        mirror.links().filter_map(|link| read_name(&link.name).map(|(kind, vni)| (kind, vni, link)))
    }

    /// The TAP that the ports are on, once it is there and held.
    fn tap<'m>(&self, mirror: &'m Mirror) -> Option<&'m Link> {
        mirror.links().find(|link| link.name == self.tap).filter(|_| self.held)
    }

    /// The gateway's own devices, and, once, a word about what only has their names.
    fn find<'m>(&mut self, mirror: &'m Mirror) -> BTreeMap<Vni, Found<'m>> {
        let mut found: BTreeMap<Vni, Found<'m>> = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for (kind, vni, link) in self.links(mirror) {
            if self.is_own(link) {
                if let Some(place) = found.entry(vni).or_default().get_mut(kind as usize) {
                    *place = Some(link);
                }
            } else if self.wanted.contains_key(&vni) {
                taken.insert(link.name.clone());
            }
        }
        for name in taken.difference(&self.taken) {
            warn!(
                name,
                "a device of that name is not this gateway's; remove it, or name what it is to use: `kernel_device`"
            );
        }
        self.taken = taken;
        found
    }

    /// Appends what the TAP lacks.
    fn look_after_tap(
        &mut self,
        mirror: &Mirror,
        adopted: &BTreeMap<Vni, Adopted>,
        now: Instant,
        orders: &mut Vec<Order>,
    ) {
        let is_port_of = |vni| adopted.get(vni).is_some_and(|adopted: &Adopted| adopted.bridge.is_some());
        let wanted = self.wanted.keys().any(is_port_of);
        let lacking = self.tap_lacks(self.tap(mirror), wanted);
        let attempt = std::mem::take(&mut self.tap_attempt);
        self.tap_attempt = self.give(attempt, lacking, &self.tap.clone(), now, orders);
    }

    /// Appends what one bridge's devices lack. It goes by the device that it has adopted, and its port is on the TAP.
    fn look_after(
        &mut self,
        vni: Vni,
        found: Found<'_>,
        (adopted, tap): (Option<Adopted>, Option<u32>),
        now: Instant,
        orders: &mut Vec<Order>,
    ) {
        let [bridge, vxlan, port] = found;
        // One that is somebody else's is adopted rather than another made beside it.
        let is_foreign = adopted.is_some_and(|adopted| vxlan.is_none_or(|vxlan| vxlan.index != adopted.device));
        let makes = self.wanted.get(&vni).is_some_and(|wanted| wanted.may_be_made) && !is_foreign;
        let wanted = self.wanted.contains_key(&vni);
        let lacks = [
            (Kind::Vxlan, if makes { self.vxlan_lacks(vni, vxlan, bridge) } else { remove_vxlan(vxlan) }),
            (Kind::Bridge, if makes { self.bridge_lacks(vni, bridge, vxlan) } else { remove(bridge) }),
            (
                Kind::Port,
                self.port_lacks(vni, port, tap, adopted.and_then(|adopted| adopted.bridge).filter(|_| wanted)),
            ),
        ];
        for (kind, lacking) in lacks {
            if !lacking.is_empty() {
                let attempt = self.attempts.remove(&(vni, kind)).unwrap_or_default();
                let attempt = self.give(attempt, lacking, &name(kind, vni), now, orders);
                self.attempts.insert((vni, kind), attempt);
            }
        }
    }

    /// Appends what a device lacks, unless it is too soon for that. Gives what was attempted.
    fn give(
        &mut self,
        mut attempt: Attempt,
        mut lacking: Vec<Order>,
        device: &str,
        now: Instant,
        orders: &mut Vec<Order>,
    ) -> Attempt {
        if lacking.is_empty() {
            return attempt;
        }
        if !makes(&lacking) && !attempt.made.is_long_ago(now) {
            // It is being marked: it was ordered so when it was made.
            lacking.retain(|order| !matches!(order, Order::Mark { .. } | Order::KeepSilent { .. }));
        }
        if !lacking.is_empty() && attempt.may_give(&lacking, now) {
            if attempt.made.at.is_some() && makes(&lacking) {
                info!(device, "the device is gone; it is made again");
            }
            attempt.gave(&lacking, now);
            orders.extend(lacking);
        }
        let again = now + PAUSE;
        self.again = Some(self.again.map_or(again, |earlier| earlier.min(again)));
        attempt
    }

    fn bridge_lacks(&self, vni: Vni, bridge: Option<&Link>, vxlan: Option<&Link>) -> Vec<Order> {
        let name = name(Kind::Bridge, vni);
        match bridge {
            _ if self.taken.contains(&name) => Vec::new(),
            None => [vec![Order::MakeBridge { name: name.clone(), group: GROUP }], self.mark(name)].concat(),
            Some(bridge) if bridge.alias != self.alias => self.mark(name),
            Some(bridge) if !bridge.up && vxlan.is_some_and(|vxlan| vxlan.queueing == SILENT) => {
                vec![Order::SetUp { link: bridge.index, up: true }]
            }
            Some(_) => Vec::new(),
        }
    }

    fn vxlan_lacks(&self, vni: Vni, vxlan: Option<&Link>, bridge: Option<&Link>) -> Vec<Order> {
        let name = name(Kind::Vxlan, vni);
        let Some(bridge) = bridge.filter(|_| !self.taken.contains(&name)) else { return Vec::new() };
        let Some(Wanted { port, .. }) = self.wanted.get(&vni).copied() else { return Vec::new() };
        let Some(vxlan) = vxlan else {
            let (local, bridge) = (self.own, bridge.index);
            let make = Order::MakeVxlan { name: name.clone(), group: GROUP, vni, local, port, bridge };
            return [vec![make], self.mark(name)].concat();
        };
        let link = vxlan.index;
        let is_as_wanted = vxlan
            .vxlan
            .is_some_and(|is| is.vni == vni.get() && is.port == port && is.local == Some(self.own) && !is.external);
        if !is_as_wanted {
            return remove_vxlan(Some(vxlan));
        }
        let mut orders = if vxlan.alias == self.alias { Vec::new() } else { self.mark(name) };
        if vxlan.master != Some(bridge.index) {
            orders.push(Order::Enslave { link, group: GROUP, bridge: Some(bridge.index) });
        }
        if vxlan.queueing != SILENT && !self.cannot_silence {
            orders.push(Order::DropWhatIsSent { link });
        }
        if !vxlan.up {
            orders.push(Order::SetUp { link, up: true });
        }
        orders
    }

    fn port_lacks(&self, vni: Vni, port: Option<&Link>, tap: Option<u32>, bridge: Option<u32>) -> Vec<Order> {
        let name = name(Kind::Port, vni);
        let Some(bridge) = bridge else { return remove(port) };
        let Some(lower) = tap.filter(|_| !self.taken.contains(&name)) else { return Vec::new() };
        let Some(port) = port else {
            let make = Order::MakePort { name: name.clone(), group: GROUP, lower, bridge };
            return [vec![make], self.mark(name)].concat();
        };
        if port.lower != tap {
            return remove(Some(port));
        }
        let mut orders = if port.alias == self.alias { Vec::new() } else { self.mark(name) };
        if port.master != Some(bridge) {
            orders.push(Order::Enslave { link: port.index, group: GROUP, bridge: Some(bridge) });
        }
        orders
    }

    fn tap_lacks(&self, tap: Option<&Link>, wanted: bool) -> Vec<Order> {
        let name = self.tap.clone();
        if !wanted {
            return if self.held { vec![Order::ReleaseTap { name }] } else { Vec::new() };
        }
        let Some(tap) = tap else { return [vec![Order::HoldTap { name: name.clone() }], self.mark(name)].concat() };
        let mut orders = if tap.alias == self.alias { Vec::new() } else { self.mark(name) };
        if tap.group != GROUP {
            orders.push(Order::Enslave { link: tap.index, group: GROUP, bridge: None });
        }
        orders
    }

    fn mark(&self, name: String) -> Vec<Order> {
        vec![Order::KeepSilent { name: name.clone() }, Order::Mark { name, alias: self.alias.clone() }]
    }
}

/// Takes a device of the gateway's down and removes it, so that its VNI is advertised no more before it is gone.
fn remove_vxlan(vxlan: Option<&Link>) -> Vec<Order> {
    let Some(vxlan) = vxlan else { return Vec::new() };
    [vec![Order::SetUp { link: vxlan.index, up: false }], remove(Some(vxlan))].concat()
}

fn remove(link: Option<&Link>) -> Vec<Order> {
    link.map(|link| Order::RemoveLink { link: link.index }).into_iter().collect()
}
