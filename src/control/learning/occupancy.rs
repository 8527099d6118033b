//! How many addresses are learned in each bridge and behind each port, and how many may be.

use std::sync::Arc;

use tracing::warn;

use super::BridgeRules;
use crate::config::model::Port;
use crate::tables::fdb::FdbKey;
use crate::tables::{BridgeIndex, Location, LocationKind, PortIndex, Snapshot};
use crate::telemetry::{ControlTelemetry, FdbEvent};

/// What is learned in one place, and how much of it may be.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    learned: u32,
    limit: Option<u32>,
    /// That the limit was reached has been logged, and it is not well below it since.
    logged: bool,
}

impl Tally {
    fn is_full(self) -> bool {
        self.limit.is_some_and(|limit| self.learned >= limit)
    }

    fn settle(&mut self) {
        self.logged &= self.limit.is_some_and(|limit| !is_well_below(self.learned, limit));
    }
}

/// True where a limit that was reached is worth another line in the log when it is reached again. With more stations
/// than the limit, each that ages makes room for one that is learned at once: that is no news.
pub(super) fn is_well_below(count: u32, limit: u32) -> bool {
    count < limit - limit / 8
}

/// The numbers of learned addresses, and their limits. Static entries and the control plane's do not count.
#[derive(Debug)]
pub(super) struct Occupancy {
    telemetry: Arc<ControlTelemetry>,
    /// By bridge index.
    bridges: Vec<Tally>,
    /// By port index.
    ports: Vec<Tally>,
    port_names: Vec<String>,
    /// The port of each access member, by member index: as it was when the entries there were learned, also when a new
    /// snapshot has no such member any more.
    port_of: Vec<PortIndex>,
}

impl Occupancy {
    pub(super) fn new(telemetry: Arc<ControlTelemetry>) -> Self {
        Self { telemetry, bridges: Vec::new(), ports: Vec::new(), port_names: Vec::new(), port_of: Vec::new() }
    }

    /// Changes the limits, by bridge and by port index. What is over a new one stays until it ages.
    pub(super) fn set_limits(&mut self, bridges: &[BridgeRules], ports: &[Port]) {
        apply_limits(&mut self.bridges, bridges.iter().map(|rules| rules.max_macs));
        apply_limits(&mut self.ports, ports.iter().map(|port| port.max_macs));
        self.port_names = ports.iter().map(|port| port.name.clone()).collect();
    }

    /// Takes over the members of a snapshot, which has no member in place of another that still has entries.
    pub(super) fn set_members(&mut self, snapshot: &Snapshot) {
        self.port_of.clear();
        self.port_of.extend(snapshot.members.iter().map(|member| member.port()));
    }

    /// True where one more address may be learned here. If not, that is counted, and logged if it is news.
    pub(super) fn has_room(&mut self, key: FdbKey, location: Location, snapshot: &Snapshot) -> bool {
        let bridge = tally(&mut self.bridges, usize::from(key.bridge().0));
        if bridge.is_full() {
            self.telemetry.fdb.event(FdbEvent::RefusedByBridgeLimit);
            if !std::mem::replace(&mut bridge.logged, true) {
                let vni = snapshot.bridges.get(usize::from(key.bridge().0)).map_or(0, |bridge| bridge.vni.get());
                let max_macs = bridge.limit;
                warn!(
                    vni,
                    max_macs,
                    "the bridge has learned all the addresses it may; frames to others flood; raise `max_macs` of its \
                     [[bridge]]"
                );
            }
            return false;
        }
        self.has_room_behind(location)
    }

    /// As [`Occupancy::has_room`], of an address that the bridge has already, at another place.
    pub(super) fn has_room_to_move(&mut self, from: Location, to: Location) -> bool {
        self.port(from) == self.port(to) || self.has_room_behind(to)
    }

    fn has_room_behind(&mut self, location: Location) -> bool {
        let Some(PortIndex(index)) = self.port(location) else { return true };
        let port = tally(&mut self.ports, usize::from(index));
        if !port.is_full() {
            return true;
        }
        self.telemetry.fdb.event(FdbEvent::RefusedByPortLimit);
        if !std::mem::replace(&mut port.logged, true) {
            let (port, max_macs) = (self.port_names.get(usize::from(index)), port.limit);
            warn!(
                port,
                max_macs,
                "the port has all the addresses it may; frames to others behind it flood; raise `max_macs` of its \
                 [[port]]"
            );
        }
        false
    }

    /// An address was learned here.
    pub(super) fn add(&mut self, bridge: BridgeIndex, location: Location) {
        self.change(bridge, location, 1);
    }

    /// An address that was learned here is no more.
    pub(super) fn remove(&mut self, bridge: BridgeIndex, location: Location) {
        self.change(bridge, location, -1);
    }

    fn change(&mut self, bridge: BridgeIndex, location: Location, by: i32) {
        let of_bridge = tally(&mut self.bridges, usize::from(bridge.0));
        of_bridge.learned = of_bridge.learned.saturating_add_signed(by);
        of_bridge.settle();
        self.telemetry.fdb.bridge_learned(bridge).set(u64::from(of_bridge.learned));
        if let Some(index) = self.port(location) {
            let port = tally(&mut self.ports, usize::from(index.0));
            port.learned = port.learned.saturating_add_signed(by);
            port.settle();
            self.telemetry.fdb.port_learned(index).set(u64::from(port.learned));
        }
    }

    /// The access port of a place.
    pub(super) fn port(&self, location: Location) -> Option<PortIndex> {
        match location.kind() {
            // A place whose member has left has no port.
            LocationKind::Access(member) => {
                self.port_of.get(member.0 as usize).copied().filter(|port| port.0 != u16::MAX)
            }
            LocationKind::Tunnel(_) => None,
        }
    }
}

fn apply_limits(tallies: &mut Vec<Tally>, limits: impl ExactSizeIterator<Item = Option<u32>>) {
    if tallies.len() < limits.len() {
        tallies.resize_with(limits.len(), Tally::default);
    }
    let limits = limits.chain(std::iter::repeat(None));
    for (tally, limit) in tallies.iter_mut().zip(limits) {
        tally.limit = limit;
        tally.settle();
    }
}

fn tally(tallies: &mut Vec<Tally>, index: usize) -> &mut Tally {
    if tallies.len() <= index {
        tallies.resize_with(index + 1, Tally::default);
    }
    &mut tallies[index]
}
