//! Who wants which multicast group: what workers heard of IGMP and MLD, kept as long as it is to be believed, and made
//! into the tables that workers look groups up in (RFC 4541).
//!
//! # The bounds
//!
//! A bridge keeps [`MOST_GROUPS`] groups of each family, and all bridges together [`MOST_MEMBERSHIPS`] memberships. Beyond,
//! a membership is refused and counted, and the bridge floods the groups it does not keep, until nothing was refused for
//! an interval of the querier's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};
use tracing::warn;

use crate::tables::snapshot::BroadcastDomain;
use crate::tables::snooping::{FamilyTable, GroupTable, Heard, Saying, SnoopedGroups};
use crate::tables::{BridgeIndex, Location, LocationKind, MemberIndex, Snapshot, TunnelIndex};
use crate::telemetry::ControlTelemetry;
use crate::wire::Vni;
use crate::wire::membership::Query;

/// The most groups of each family in a bridge.
pub const MOST_GROUPS: usize = 1024;
/// The most memberships in all bridges together: pairs of a group and a place.
pub const MOST_MEMBERSHIPS: usize = 1 << 18;
/// The most routers of each family in a bridge.
const MOST_ROUTERS: usize = 256;
/// What holds where queries do not say (RFC 3376, 8; RFC 3810, 9).
const INTERVAL: Duration = Duration::from_secs(125);
const ROBUSTNESS: u32 = 2;
const RESPONSE: Duration = Duration::from_secs(10);
/// How long a membership is believed after its host has said that it goes: long enough for another host behind the same
/// place to answer the querier, which asks then (RFC 3376, 8.8; RFC 3810, 9.8).
const LAST_MEMBER: Duration = Duration::from_secs(2);
/// The shortest interval, and the lowest robustness, that are believed of a querier: who forges a query that says less
/// would have memberships forgotten before the true querier asks again. A robustness of 1 is none (RFC 3376, 8.1).
const SHORTEST_INTERVAL: Duration = Duration::from_secs(10);
const LOWEST_ROBUSTNESS: u32 = 2;
/// How long a PIM Hello is believed (RFC 7761, 4.11).
const HELLO: Duration = Duration::from_secs(105);
/// How often it is looked what is no longer to be believed.
const LOOK: Duration = Duration::from_millis(200);
/// How often tables are made anew in which nothing has changed but how long it is believed.
const REFRESH: Duration = Duration::from_secs(1);
/// How long after a bridge's tables were made they are made again at the earliest: after a querier has asked, hosts say
/// what they want in crowds. A tenth of what a host is used to wait for its first frame.
const PACE: Duration = Duration::from_millis(20);
/// How many times as long as it took is left for other work.
const REST: u32 = 3;

/// All bridges that snoop.
#[derive(Debug)]
pub struct Snooping {
    bridges: FxHashMap<BridgeIndex, BridgeGroups>,
    memberships: usize,
    telemetry: Arc<ControlTelemetry>,
    /// Tables that workers may still hold.
    retired: Vec<Arc<GroupTable>>,
    looked: Instant,
    refreshed: Instant,
}

#[derive(Debug)]
struct BridgeGroups {
    vni: Vni,
    shared: Arc<SnoopedGroups>,
    /// IPv4, IPv6.
    families: [Family; 2],
    change: Change,
    /// When tables may be made again; at once where absent.
    due: Option<Instant>,
    full_logged: bool,
}

/// What the table in force has not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    None,
    /// Only until when things are believed.
    Times,
    /// Where frames go.
    Places,
}

#[derive(Debug)]
struct Family {
    /// Until when somebody is believed to ask.
    queried_until: Option<Instant>,
    querier: Option<Location>,
    interval: Duration,
    robustness: u32,
    response: Duration,
    routers: BTreeMap<Place, Instant>,
    groups: BTreeMap<IpAddr, BTreeMap<Place, Instant>>,
    /// Until when a membership that was refused may be missing.
    overflown_until: Option<Instant>,
}

/// A [`Location`] by its word, which has an order.
type Place = u32;

impl Family {
    fn new() -> Self {
        Self {
            queried_until: None,
            querier: None,
            interval: INTERVAL,
            robustness: ROBUSTNESS,
            response: RESPONSE,
            routers: BTreeMap::new(),
            groups: BTreeMap::new(),
            overflown_until: None,
        }
    }

    /// How long a membership is believed (RFC 3376, 8.4).
    fn membership(&self) -> Duration {
        self.interval * self.robustness + self.response
    }

    /// A querier asks of all groups, or of one.
    fn query(&mut self, query: &Query, place: Location, now: Instant) -> Change {
        let response = Duration::from_millis(query.response_ms.into());
        if let Some(group) = query.group {
            if query.of_sources {
                return Change::None;
            }
            // Whoever does not answer wants it no longer, but has had the time to.
            let until = now + (response * self.robustness).max(LAST_MEMBER);
            let members = self.groups.get_mut(&group).into_iter().flat_map(BTreeMap::values_mut);
            members.for_each(|believed| *believed = (*believed).min(until));
            return Change::Times;
        }
        (self.interval, self.robustness) = match query.timing {
            Some((interval, robustness)) => (
                Duration::from_secs(interval.into()).max(SHORTEST_INTERVAL),
                u32::from(robustness).max(LOWEST_ROBUSTNESS),
            ),
            None => (INTERVAL, ROBUSTNESS),
        };
        self.response = response;
        // RFC 3376, 8.5.
        let until = now + self.interval * self.robustness + response / 2;
        let mut change = if self.queried_until.is_some() { Change::Times } else { Change::Places };
        self.queried_until = Some(until);
        // A switch that asks without an address does so for others, and wants no answers itself (RFC 4541, 2.1.1).
        if !query.source.is_unspecified() {
            self.querier = Some(place);
            change = change.max(self.router(place, until));
        }
        change
    }

    fn router(&mut self, place: Location, until: Instant) -> Change {
        let is_known = self.routers.contains_key(&place.to_bits());
        if !is_known && self.routers.len() >= MOST_ROUTERS {
            return Change::None;
        }
        self.routers.insert(place.to_bits(), until);
        if is_known { Change::Times } else { Change::Places }
    }

    /// Forgets what is no longer believed; gives how many memberships that were.
    fn age(&mut self, now: Instant) -> (Change, usize) {
        let mut change = Change::None;
        if self.queried_until.is_some_and(|until| until <= now) {
            (self.queried_until, self.querier, change) = (None, None, Change::Places);
        }
        if self.overflown_until.take_if(|until| *until <= now).is_some() {
            change = Change::Places;
        }
        let routers = self.routers.len();
        self.routers.retain(|_, until| *until > now);
        let mut gone = 0;
        self.groups.retain(|_, members| {
            let before = members.len();
            members.retain(|_, until| *until > now);
            gone += before - members.len();
            !members.is_empty()
        });
        if gone > 0 || self.routers.len() < routers {
            change = Change::Places;
        }
        (change, gone)
    }

    fn memberships(&self) -> usize {
        self.groups.values().map(BTreeMap::len).sum()
    }
}

impl Snooping {
    /// Nothing was heard yet.
    #[must_use]
    pub fn new(telemetry: Arc<ControlTelemetry>, now: Instant) -> Self {
        Self {
            bridges: FxHashMap::default(),
            memberships: 0,
            telemetry,
            retired: Vec::new(),
            looked: now,
            refreshed: now,
        }
    }

    /// Gives a snapshot that is about to be published the tables there are, and forgets those of bridges that snoop no
    /// longer.
    pub fn adopt(&mut self, snapshot: &mut Snapshot) {
        let mut before = std::mem::take(&mut self.bridges);
        for (index, domain) in snapshot.domains.iter_mut().enumerate() {
            let Some(snooping) = domain.rules.as_mut().and_then(|rules| rules.snooping.as_mut()) else { continue };
            let vni = snapshot.bridges.get(index).map(|bridge| bridge.vni).unwrap_or_default();
            let index = BridgeIndex(index as u16);
            let mut groups = before.remove(&index).unwrap_or_else(|| BridgeGroups {
                vni,
                shared: Arc::clone(snooping),
                families: [Family::new(), Family::new()],
                change: Change::None,
                due: None,
                full_logged: false,
            });
            *snooping = Arc::clone(&groups.shared);
            // The places may be others.
            (groups.vni, groups.change, groups.due) = (vni, Change::Places, None);
            self.bridges.insert(index, groups);
        }
        self.memberships = self.bridges.values().flat_map(|bridge| &bridge.families).map(Family::memberships).sum();
        self.telemetry.memberships.set(self.memberships as u64);
    }

    /// True where no bridge snoops.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.bridges.is_empty()
    }

    /// Takes in what a worker heard.
    pub fn hear(&mut self, heard: &Heard, now: Instant) {
        let Some(bridge) = self.bridges.get_mut(&heard.bridge) else { return };
        let change = match heard.what {
            Saying::Query(query) => of(&mut bridge.families, query.source.is_ipv6()).query(&query, heard.place, now),
            Saying::Router { ipv6 } => of(&mut bridge.families, ipv6).router(heard.place, now + HELLO),
            Saying::Unwanted(group) => {
                let members = of(&mut bridge.families, group.is_ipv6()).groups.get_mut(&group);
                match members.and_then(|members| members.get_mut(&heard.place.to_bits())) {
                    Some(until) => {
                        *until = (*until).min(now + LAST_MEMBER);
                        Change::Times
                    }
                    None => Change::None,
                }
            }
            Saying::Wanted(group) => {
                let family = of(&mut bridge.families, group.is_ipv6());
                let until = now + family.membership();
                let (groups, place) = (family.groups.len(), heard.place.to_bits());
                match family.groups.get_mut(&group) {
                    Some(members) if members.contains_key(&place) => {
                        members.insert(place, until);
                        Change::Times
                    }
                    members if members.is_some() || groups < MOST_GROUPS => {
                        if self.memberships >= MOST_MEMBERSHIPS {
                            refuse(family, (bridge.vni, &mut bridge.full_logged), &self.telemetry, until)
                        } else {
                            family.groups.entry(group).or_default().insert(place, until);
                            self.memberships += 1;
                            Change::Places
                        }
                    }
                    _ => refuse(family, (bridge.vni, &mut bridge.full_logged), &self.telemetry, until),
                }
            }
        };
        bridge.change = bridge.change.max(change);
    }

    /// One round: forgets what is no longer believed, and publishes tables in which something has changed.
    pub fn round(&mut self, snapshot: &Snapshot, now: Instant) {
        if !self.retired.is_empty() {
            self.retired.retain(|table| Arc::strong_count(table) > 1);
        }
        if self.bridges.is_empty() {
            return;
        }
        if now.saturating_duration_since(self.looked) >= LOOK {
            self.looked = now;
            for bridge in self.bridges.values_mut() {
                for family in &mut bridge.families {
                    let (change, gone) = family.age(now);
                    self.memberships -= gone;
                    bridge.change = bridge.change.max(change);
                }
                bridge.full_logged &= bridge.families.iter().any(|family| family.overflown_until.is_some());
            }
            self.telemetry.memberships.set(self.memberships as u64);
        }
        let refresh = now.saturating_duration_since(self.refreshed) >= REFRESH;
        if refresh {
            self.refreshed = now;
        }
        for (index, bridge) in &mut self.bridges {
            let is_due = bridge.due.is_none_or(|due| due <= now);
            if is_due && bridge.change == Change::Places || refresh && bridge.change == Change::Times {
                let Some(domain) = snapshot.domains.get(usize::from(index.0)) else { continue };
                let began = Instant::now();
                bridge.change = Change::None;
                let [ipv4, ipv6] = &bridge.families;
                let reached = Reached::new(domain, snapshot);
                let table = GroupTable::new(family_table(ipv4, &reached), family_table(ipv6, &reached));
                self.retired.push(bridge.shared.publish(table));
                bridge.due = Some(now + PACE.max(began.elapsed() * REST));
            }
        }
    }
}

fn of(families: &mut [Family; 2], is_ipv6: bool) -> &mut Family {
    let [ipv4, ipv6] = families;
    if is_ipv6 { ipv6 } else { ipv4 }
}

/// A membership is not kept: what is not kept is flooded as long as it would have been believed.
fn refuse(
    family: &mut Family,
    (vni, logged): (Vni, &mut bool),
    telemetry: &ControlTelemetry,
    until: Instant,
) -> Change {
    telemetry.memberships_refused.increment();
    if !std::mem::replace(logged, true) {
        warn!(
            vni = vni.get(),
            "the bridge keeps no more multicast groups ({MOST_GROUPS} of a family, {MOST_MEMBERSHIPS} memberships of \
             all bridges), and floods the rest; `vtepctl show groups` lists them: have hosts leave what they do not need"
        );
    }
    let was_overflown = family.overflown_until.replace(until).is_some();
    if was_overflown { Change::None } else { Change::Places }
}

fn family_table(family: &Family, reached: &Reached<'_>) -> FamilyTable {
    let delivered = |places: &mut dyn Iterator<Item = Place>| -> BTreeSet<Place> {
        let mut all = BTreeSet::new();
        for place in places.map(Location::from_bits) {
            reached.deliver(place, &mut all);
        }
        all
    };
    let boxed = |places: &BTreeSet<Place>| places.iter().map(|place| Location::from_bits(*place)).collect::<Box<[_]>>();
    let routers = delivered(&mut family.routers.keys().copied());
    let tunnels = reached.flood_list.iter().map(|tunnel| Location::tunnel(*tunnel).to_bits());
    let report_to = routers.iter().copied().chain(tunnels).collect();
    let group = |(group, members): (&IpAddr, &BTreeMap<Place, Instant>)| {
        let places = &delivered(&mut members.keys().copied()) | &routers;
        (*group, boxed(&places))
    };
    let member = |(group, members): (&IpAddr, &BTreeMap<Place, Instant>)| {
        let group = *group;
        members.iter().map(move |(place, until)| (group, Location::from_bits(*place), *until)).collect::<Vec<_>>()
    };
    let router = |(place, until): (&Place, &Instant)| {
        let place = Location::from_bits(*place);
        (place, family.querier == Some(place), *until)
    };
    FamilyTable {
        queried: family.queried_until.is_some(),
        overflown: family.overflown_until.is_some(),
        routers: boxed(&routers),
        report_to: boxed(&report_to),
        groups: family.groups.iter().map(group).collect(),
        members: family.groups.iter().flat_map(member).collect(),
        routers_seen: family.routers.iter().map(router).collect(),
    }
}

/// What belongs to a bridge, looked up for each membership of a table.
struct Reached<'s> {
    domain: &'s BroadcastDomain,
    members: FxHashSet<MemberIndex>,
    flood_list: FxHashSet<TunnelIndex>,
    /// Groups of the underlay in the flood list.
    groups: Vec<Place>,
}

impl<'s> Reached<'s> {
    fn new(domain: &'s BroadcastDomain, snapshot: &Snapshot) -> Self {
        let is_group = |tunnel: &&TunnelIndex| {
            let address = snapshot.tunnels.get(usize::from(tunnel.0)).map(|tunnel| tunnel.address);
            address.is_some_and(|address| address.is_multicast())
        };
        let groups = domain.flood_list.iter().filter(is_group).map(|group| Location::tunnel(*group).to_bits());
        Self {
            domain,
            members: domain.members.iter().copied().collect(),
            flood_list: domain.flood_list.iter().copied().collect(),
            groups: groups.collect(),
        }
    }

    /// Where a frame goes that is wanted in this place: there, if it still belongs to the bridge. A remote VTEP that
    /// floods reach by a group of the underlay is reached by it, as all others of the group.
    fn deliver(&self, place: Location, to: &mut BTreeSet<Place>) {
        match place.kind() {
            LocationKind::Access(member) => {
                if self.members.contains(&member) {
                    to.insert(place.to_bits());
                }
            }
            LocationKind::Tunnel(tunnel) if self.flood_list.contains(&tunnel) => {
                to.insert(place.to_bits());
            }
            LocationKind::Tunnel(tunnel) => {
                if self.groups.is_empty() && self.domain.accepts(tunnel) {
                    to.insert(place.to_bits());
                }
                to.extend(&self.groups);
            }
        }
    }
}

#[cfg(test)]
mod tests;
