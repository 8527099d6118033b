//! The FDB's flight recorder: what became of stations lately, and why.
//!
//! Each bridge has a ring of what happened to its stations and another of those that aged, so that neither a busy bridge
//! nor a quiet night pushes out what is looked for. All rings of a kind together are bounded, too: beyond that the oldest
//! record of all goes. Only the control thread touches it; who wants to read it asks that thread.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::SystemTime;

use rustc_hash::FxHashMap;

use crate::tables::fdb::FdbKey;
use crate::tables::{BridgeIndex, Location, LocationKind, PortIndex, Snapshot};
use crate::telemetry::StationChange;
use crate::wire::{MacAddr, Vni};

/// Records of a kind that are kept for each bridge.
pub const PER_BRIDGE: usize = 256;
/// Records of a kind that are kept for all bridges together.
pub const IN_ALL: usize = 65_536;

/// A place as it was called when something happened there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordedPlace {
    /// A VLAN of an access port, and the inner one of two; each 0 where there is no tag for it.
    Port(PortIndex, u16, u16),
    /// An access port with all its VLANs.
    WholePort(PortIndex),
    /// A remote VTEP.
    Remote(IpAddr),
}

impl RecordedPlace {
    /// What a location is by this snapshot; none where that has no such place.
    #[must_use]
    pub fn of(location: Location, snapshot: &Snapshot) -> Option<Self> {
        match location.kind() {
            LocationKind::Access(member) => {
                let member = snapshot.members.get(member.0 as usize)?;
                let vlan = member.tags().outermost().map_or(0, |tag| tag.vlan());
                Some(Self::Port(member.port(), vlan, member.tags().inner().map_or(0, |vlan| vlan.get())))
            }
            LocationKind::Tunnel(tunnel) => {
                snapshot.tunnels.get(usize::from(tunnel.0)).map(|tunnel| Self::Remote(tunnel.address))
            }
        }
    }
}

/// Something that became of a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: SystemTime,
    /// The bridge.
    pub vni: Vni,
    /// The station; none where it is all that were in a place, or in the bridge.
    pub mac: Option<MacAddr>,
    /// How many entries it concerned.
    pub entries: u32,
    /// What.
    pub change: StationChange,
    /// Where it was.
    pub from: Option<RecordedPlace>,
    /// Where it is since.
    pub to: Option<RecordedPlace>,
}

const _: () = assert!(size_of::<Record>() <= 72);

/// Which records are asked for: those that match everything that is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StationFilter {
    /// Of the bridge with this VNI.
    pub vni: Option<Vni>,
    /// Of this station, with those of all stations of a place or a bridge.
    pub mac: Option<MacAddr>,
}

/// The rings.
#[derive(Debug, Default)]
pub struct FlightRecorder {
    changes: Shelf,
    ages: Shelf,
}

impl FlightRecorder {
    /// Records what became of a station, in places of this snapshot.
    pub fn record(
        &mut self,
        key: FdbKey,
        change: StationChange,
        [from, to]: [Option<Location>; 2],
        snapshot: &Snapshot,
    ) {
        let Some(bridge) = snapshot.bridges.get(usize::from(key.bridge().0)) else { return };
        let place = |location: Option<Location>| RecordedPlace::of(location?, snapshot);
        let (at, vni) = (SystemTime::now(), bridge.vni);
        let record = Record { at, vni, mac: Some(key.mac()), entries: 1, change, from: place(from), to: place(to) };
        if change == StationChange::Aged { self.ages.push(record) } else { self.changes.push(record) }
    }

    /// Records what became of so many stations of a bridge at once, or of one of them.
    pub fn record_many(
        &mut self,
        bridge: BridgeIndex,
        change: StationChange,
        (mac, entries): (Option<MacAddr>, u32),
        from: Option<RecordedPlace>,
        snapshot: &Snapshot,
    ) {
        let Some(bridge) = snapshot.bridges.get(usize::from(bridge.0)) else { return };
        let (at, vni) = (SystemTime::now(), bridge.vni);
        self.changes.push(Record { at, vni, mac, entries, change, from, to: None });
    }

    /// The records that match, in no order: the control thread, which has them, does not sort.
    #[must_use]
    pub fn find(&self, filter: &StationFilter) -> Vec<Record> {
        self.changes.find(filter).chain(self.ages.find(filter)).copied().collect()
    }
}

/// Sorts records, the newest first.
pub fn newest_first(records: &mut [Record]) {
    // Those of one bridge and instant are in their order, and the sort is a stable one.
    records.reverse();
    records.sort_by_key(|record| std::cmp::Reverse(record.at));
}

/// The rings of all bridges for one kind of record.
#[derive(Debug, Default)]
struct Shelf {
    rings: FxHashMap<Vni, Ring>,
    /// Whose record is the oldest, the next one, and so on, with those that the bridge's own bound has taken since.
    order: VecDeque<Vni>,
    count: usize,
}

#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Record>,
    /// How many of the bridge's first places in the order are of records that are gone.
    gone: usize,
}

impl Shelf {
    fn push(&mut self, record: Record) {
        let ring = self.rings.entry(record.vni).or_default();
        if ring.records.len() == PER_BRIDGE && ring.records.pop_front().is_some() {
            ring.gone += 1;
            self.count -= 1;
        }
        ring.records.push_back(record);
        self.order.push_back(record.vni);
        self.count += 1;
        while self.count > IN_ALL {
            self.drop_oldest();
        }
        if self.order.len() >= 2 * IN_ALL {
            self.tidy();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(vni) = self.order.pop_front() else { return };
        let Some(ring) = self.rings.get_mut(&vni) else { return };
        if ring.gone > 0 {
            ring.gone -= 1;
        } else if ring.records.pop_front().is_some() {
            self.count -= 1;
        }
        if ring.records.is_empty() && ring.gone == 0 {
            self.rings.remove(&vni);
        }
    }

    /// Takes what is gone out of the order: at most every second time that all are replaced.
    fn tidy(&mut self) {
        let rings = &mut self.rings;
        self.order.retain(|vni| match rings.get_mut(vni) {
            Some(ring) if ring.gone > 0 => {
                ring.gone -= 1;
                false
            }
            ring => ring.is_some(),
        });
    }

    fn find<'a>(&'a self, filter: &'a StationFilter) -> impl Iterator<Item = &'a Record> {
        let only = filter.vni.and_then(|vni| self.rings.get(&vni));
        let all = filter.vni.is_none().then(|| self.rings.values());
        let records = only.into_iter().chain(all.into_iter().flatten()).flat_map(|ring| &ring.records);
        records.filter(|record| filter.mac.is_none() || record.mac.is_none() || record.mac == filter.mac)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn vni(number: u32) -> Vni {
        Vni::new(number).expect("24 bits")
    }

    fn record(bridge: u32, number: u64) -> Record {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(number);
        let mac = MacAddr::from_u64(0x0200_0000_0000 | number);
        Record { at, vni: vni(bridge), mac: Some(mac), entries: 1, change: StationChange::Moved, from: None, to: None }
    }

    fn of(shelf: &Shelf, bridge: u32) -> Vec<MacAddr> {
        let filter = StationFilter { vni: Some(vni(bridge)), mac: None };
        shelf.find(&filter).filter_map(|record| record.mac).collect()
    }

    #[test]
    fn a_busy_bridge_pushes_out_its_own_records_and_no_others() {
        let mut shelf = Shelf::default();
        shelf.push(record(1, 0));
        (1..10 * IN_ALL as u64).for_each(|number| shelf.push(record(2, number)));
        assert_eq!(of(&shelf, 1).first().copied(), record(1, 0).mac);
        let last = 10 * IN_ALL as u64;
        let expected: Vec<_> = (last - PER_BRIDGE as u64..last).filter_map(|number| record(2, number).mac).collect();
        assert_eq!((of(&shelf, 2), shelf.count), (expected, PER_BRIDGE + 1));
        assert!(shelf.order.len() < 2 * IN_ALL && shelf.order.capacity() <= 4 * IN_ALL);
    }

    #[test]
    fn many_bridges_push_out_the_oldest_of_all() {
        let mut shelf = Shelf::default();
        let bridges = 1000;
        for number in 0..3 * IN_ALL as u64 {
            shelf.push(record(number as u32 % bridges, number));
        }
        assert_eq!(shelf.count, IN_ALL);
        let oldest = shelf.find(&StationFilter::default()).map(|record| record.at).min();
        assert_eq!(oldest, Some(record(0, 2 * IN_ALL as u64).at));
        let counted: usize = shelf.rings.values().map(|ring| ring.records.len()).sum();
        assert_eq!((counted, shelf.rings.len()), (IN_ALL, bridges as usize));
    }

    #[test]
    fn under_both_bounds_at_once_what_is_counted_is_there() {
        let mut shelf = Shelf::default();
        let mut seed = 1_u64;
        for number in 0..5 * IN_ALL as u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Half of all records are of a few bridges.
            let bridge = if seed >> 63 == 0 { seed >> 40 & 7 } else { 8 + (seed >> 40) % 5000 };
            shelf.push(record(bridge as u32, number));
        }
        let counted: usize = shelf.rings.values().map(|ring| ring.records.len()).sum();
        assert_eq!(counted, shelf.count);
        assert!(shelf.count <= IN_ALL && shelf.rings.values().all(|ring| ring.records.len() <= PER_BRIDGE));
        assert!((0..8).all(|bridge| of(&shelf, bridge).len() == PER_BRIDGE));
    }

    #[test]
    fn what_is_found_is_the_newest_first_of_both_kinds() {
        let mut recorder = FlightRecorder::default();
        for number in 0..10 {
            let kind = if number % 2 == 0 { &mut recorder.changes } else { &mut recorder.ages };
            kind.push(record(number as u32 % 3, number));
        }
        let numbers = |vni, mac| {
            let mut found = recorder.find(&StationFilter { vni, mac });
            newest_first(&mut found);
            found.iter().map(|record| record.mac.map_or(0, MacAddr::to_u64) & 0xff).collect::<Vec<_>>()
        };
        assert_eq!(numbers(None, None), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
        assert_eq!(numbers(Some(vni(1)), None), [7, 4, 1]);
        assert_eq!(numbers(None, record(0, 6).mac), [6]);
        assert!(numbers(Some(vni(77)), None).is_empty());
    }
}
