//! The FDB's only writer: learns what workers report, within the limits, and forgets what is not heard of any more.

mod damping;
mod flushing;
mod moves;
mod occupancy;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use rustc_hash::FxHashMap;
use tracing::{info, warn};

use self::damping::Damping;
pub use self::flushing::FlushOrder;
use self::flushing::Flushes;
use self::moves::FreezeLog;
use self::occupancy::{Occupancy, is_well_below};
use super::flight_recorder::FlightRecorder;
use crate::config::model::{MoveDamping, Port};
use crate::tables::fdb::{AgeTick, FdbKey, FdbValue, FdbWriter, InsertError, Inserted};
use crate::tables::learning::{LearnEvent, LearnRing, PathMtu};
use crate::tables::snapshot::Bridge;
use crate::tables::snooping::Heard;
use crate::tables::{BridgeIndex, Location, LocationKind, Snapshot, TunnelIndex};
use crate::telemetry::{ControlTelemetry, FdbEvent, StationChange};

/// How a bridge learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeRules {
    /// The most addresses learned.
    pub max_macs: Option<u32>,
    /// After how many ticks an address that is not heard of is forgotten; `None` is never.
    pub ageing: Option<u16>,
    /// Nothing is learned from remote VTEPs: the control plane says what is behind them.
    pub taught: bool,
}

/// The rules of what is learned.
#[derive(Debug)]
pub struct Rules<'a> {
    /// How long an age tick is.
    pub tick: Duration,
    /// Of each bridge, by its index.
    pub bridges: Vec<BridgeRules>,
    /// The ports, with the most addresses learned behind each.
    pub ports: &'a [Port],
    /// How moves are damped, if they are.
    pub damping: Option<MoveDamping>,
}

/// A station of a bridge whose remote side the control plane says has come behind an access port, or is there no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalChange {
    /// It is there, and was not; or it is there as what it was not: one that does not move, or one that may.
    Came {
        /// The station.
        key: FdbKey,
        /// It is static.
        sticky: bool,
    },
    /// It was there, and is not.
    Went(FdbKey),
}

/// The FDB's writer and what it goes by.
#[derive(Debug)]
pub struct Learning {
    writer: FdbWriter,
    rings: Vec<Arc<LearnRing>>,
    telemetry: Arc<ControlTelemetry>,
    tick: Duration,
    bridges: Vec<BridgeRules>,
    occupancy: Occupancy,
    damping: Damping,
    freeze_log: FreezeLog,
    recorder: FlightRecorder,
    flushes: Flushes,
    /// That the whole table is full was logged, and it is not well below its limit since.
    full: bool,
    /// The bucket where ageing goes on.
    sweep_at: usize,
    /// What the control plane is to be told: at the most two for each entry, for it is taken each round.
    local: Vec<LocalChange>,
}

/// Events that one round takes from each ring: a whole ring, but not what arrives meanwhile.
const EVENTS_PER_ROUND: usize = LearnRing::CAPACITY;

/// Entries whose buckets are brought into the cache at once.
const BATCH: usize = 32;

impl Learning {
    /// A writer for what these workers report.
    #[must_use]
    pub fn new(writer: FdbWriter, rings: Vec<Arc<LearnRing>>, telemetry: Arc<ControlTelemetry>) -> Self {
        telemetry.fdb.capacity.set(writer.fdb().max_entries() as u64);
        Self {
            writer,
            rings,
            tick: Duration::ZERO,
            bridges: Vec::new(),
            occupancy: Occupancy::new(Arc::clone(&telemetry)),
            damping: Damping::default(),
            freeze_log: FreezeLog::default(),
            recorder: FlightRecorder::default(),
            flushes: Flushes::default(),
            telemetry,
            full: false,
            sweep_at: 0,
            local: Vec::new(),
        }
    }

    /// Changes the rules, for the members of this snapshot. What is over a new limit stays until it ages.
    pub fn set_rules(&mut self, rules: Rules<'_>, snapshot: &Snapshot) {
        self.occupancy.set_limits(&rules.bridges, rules.ports);
        self.occupancy.set_members(snapshot);
        self.damping.set_policy(rules.damping);
        (self.tick, self.bridges) = (rules.tick, rules.bridges);
    }

    /// What became of stations lately.
    #[must_use]
    pub fn recorder(&self) -> &FlightRecorder {
        &self.recorder
    }

    /// The stations behind access ports that have come and gone since this was asked the last time, in that order, of
    /// bridges that are [`BridgeRules::taught`].
    pub fn take_local_changes(&mut self) -> Vec<LocalChange> {
        std::mem::take(&mut self.local)
    }

    /// Every station behind an access port of these bridges counts as come.
    pub fn repeat_local(&mut self, bridges: &HashSet<BridgeIndex>) {
        if bridges.is_empty() {
            return;
        }
        let fdb = Arc::clone(self.writer.fdb());
        let stations = fdb.iter().filter(|(key, value)| bridges.contains(&key.bridge()) && is_local(*value));
        self.local.extend(stations.map(|(key, value)| LocalChange::Came { key, sticky: value.is_static() }));
    }

    /// What an entry said, and what it says now, if there was or is one.
    fn note_local(&mut self, key: FdbKey, before: Option<FdbValue>, after: Option<FdbValue>) {
        let [before, after] =
            [before, after].map(|value| value.filter(|value| is_local(*value)).map(FdbValue::is_static));
        if before != after && self.rules_of(key.bridge()).taught {
            self.local.push(after.map_or(LocalChange::Went(key), |sticky| LocalChange::Came { key, sticky }));
        }
    }

    /// Applies what the workers reported, and gives how many events that were.
    pub fn drain(&mut self, snapshot: &Snapshot, tick: AgeTick, now: Instant) -> usize {
        let mut taken = 0;
        let mut batch = ArrayVec::<LearnEvent, BATCH>::new();
        for index in 0..self.rings.len() {
            for _ in 0..EVENTS_PER_ROUND.div_ceil(BATCH) {
                let Some(ring) = self.rings.get(index) else { break };
                batch.extend(std::iter::from_fn(|| ring.take()).take(BATCH));
                taken += batch.len();
                batch.iter().for_each(|event| self.writer.prefetch(event.key));
                let was_full = batch.is_full();
                batch.drain(..).for_each(|event| self.learn(event, snapshot, tick, now));
                if !was_full {
                    break;
                }
            }
        }
        taken
    }

    /// Gives `take` the unknown VTEPs that the workers reported.
    pub fn take_remotes(&self, mut take: impl FnMut(IpAddr)) {
        for ring in &self.rings {
            std::iter::from_fn(|| ring.take_remote()).take(LearnRing::REMOTES).for_each(&mut take);
        }
    }

    /// Gives `take` what the workers heard of multicast groups.
    pub fn take_heard(&self, mut take: impl FnMut(Heard)) {
        for ring in &self.rings {
            std::iter::from_fn(|| ring.take_heard()).take(LearnRing::HEARD).for_each(&mut take);
        }
    }

    /// What a worker was told of a path, if there is something.
    pub fn take_path_mtu(&self) -> Option<PathMtu> {
        self.rings.iter().find_map(|ring| ring.take_path_mtu())
    }

    /// Learns one address, or moves it at once to where it was seen last (conformance row B1).
    fn learn(&mut self, event: LearnEvent, snapshot: &Snapshot, tick: AgeTick, now: Instant) {
        let learns = |bridge: &Bridge| bridge.policy.learning;
        let learning = snapshot.bridges.get(usize::from(event.key.bridge().0)).is_some_and(learns);
        if !learning || !is_place_of(event.key, event.location, snapshot) {
            // The worker reported it by a snapshot that a reload has replaced since.
            return;
        }
        if matches!(event.location.kind(), LocationKind::Tunnel(_)) && self.rules_of(event.key.bridge()).taught {
            return;
        }
        let probe = self.writer.fdb().probe(event.key);
        let value = FdbValue::learned(event.location, tick);
        match self.writer.fdb().lookup(&probe) {
            Some(known) if known.is_static() => {}
            Some(known) if known.location() == event.location && !known.is_external() => {
                self.writer.set(event.key, known.with_tick(tick));
            }
            Some(known) if known.is_frozen() => {}
            Some(known) if known.is_external() => self.move_external(event, known, value, snapshot, now),
            Some(known) => self.move_learned(event, known, value, snapshot, now),
            None => self.insert(event.key, value, snapshot),
        }
    }

    fn insert(&mut self, key: FdbKey, value: FdbValue, snapshot: &Snapshot) {
        if !self.occupancy.has_room(key, value.location(), snapshot) {
            return;
        }
        match self.writer.insert(key, value) {
            Ok(_) => {
                self.occupancy.add(key.bridge(), value.location());
                self.count_entries(key.bridge(), 1);
                self.telemetry.fdb.event(FdbEvent::Learned);
                self.note_local(key, None, Some(value));
            }
            Err(error) => {
                self.telemetry.fdb.event(FdbEvent::RefusedByGlobalLimit);
                if !std::mem::replace(&mut self.full, true) {
                    let max_entries = self.writer.fdb().max_entries();
                    warn!(%error, max_entries, "an address was not learned; frames to it flood; raise `[fdb] max_entries`");
                }
            }
        }
    }

    /// Installs static entries over whatever is there (conformance row B1), and gives how many the table had no room
    /// for, with the last reason; `None` where it had room for all.
    pub fn install_static(
        &mut self,
        entries: &[(FdbKey, FdbValue)],
        snapshot: &Snapshot,
    ) -> Option<(u64, InsertError)> {
        let mut refused = None;
        // The buckets of a batch come into the cache side by side.
        for batch in entries.chunks(BATCH) {
            batch.iter().for_each(|(key, _)| self.writer.prefetch(*key));
            for (key, value) in batch {
                match self.writer.insert(*key, *value) {
                    Ok(inserted) => self.note_given(*key, *value, inserted, StationChange::MadeStatic, snapshot),
                    Err(error) => refused = Some((refused.map_or(0, |(count, _)| count) + 1, error)),
                }
            }
        }
        refused
    }

    /// Removes a static entry. A learned one of that key stays.
    pub fn remove_static(&mut self, key: FdbKey) {
        let fdb = self.writer.fdb();
        if fdb.lookup(&fdb.probe(key)).is_some_and(FdbValue::is_static) {
            self.remove(key);
        }
    }

    /// Installs an entry of the control plane's. A static one there wins; a learned one gives way if `news`, which is
    /// where the control plane says something new: the station has moved, for all it knows.
    ///
    /// # Errors
    /// [`InsertError`] where the table has no room.
    pub fn install_external(
        &mut self,
        key: FdbKey,
        value: FdbValue,
        news: bool,
        snapshot: &Snapshot,
    ) -> Result<(), InsertError> {
        let fdb = self.writer.fdb();
        match fdb.lookup(&fdb.probe(key)) {
            Some(known) if known.is_static() || known == value => return Ok(()),
            Some(known) if !known.is_external() && !news => return Ok(()),
            _ => {}
        }
        let inserted = self.writer.insert(key, value)?;
        self.note_given(key, value, inserted, StationChange::MovedByKernel, snapshot);
        Ok(())
    }

    /// An entry was installed that was not learned.
    fn note_given(
        &mut self,
        key: FdbKey,
        value: FdbValue,
        inserted: Inserted,
        change: StationChange,
        snapshot: &Snapshot,
    ) {
        let Inserted::Replaced(old) = inserted else {
            self.note_local(key, None, Some(value));
            return self.count_entries(key.bridge(), 1);
        };
        self.note_local(key, Some(old), Some(value));
        if !is_given(old) {
            self.occupancy.remove(key.bridge(), old.location());
        }
        self.forget_freeze(key, old);
        if !old.is_static() && (old.location() != value.location() || value.is_static()) {
            self.recorder.record(key, change, [Some(old.location()), Some(value.location())], snapshot);
        }
    }

    /// Removes an entry of the control plane's. Another of that key stays.
    pub fn remove_external(&mut self, key: FdbKey) {
        let fdb = self.writer.fdb();
        if fdb.lookup(&fdb.probe(key)).is_some_and(FdbValue::is_external) {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: FdbKey) {
        if let Some(old) = self.writer.remove(key) {
            self.forget(key, old, FdbEvent::Flushed);
        }
    }

    /// Removes what a new snapshot has no place for: entries of bridges, members and remote VTEPs that left. Each entry
    /// has a place by the snapshot `before`, so only those of bridges that differ are looked at more closely, and none
    /// where no bridge does.
    pub fn flush(&mut self, before: &Snapshot, after: &Snapshot) {
        self.flush_changed(before, after);
        self.occupancy.set_members(after);
    }

    fn flush_changed(&mut self, before: &Snapshot, after: &Snapshot) {
        let changed = changed_bridges(before, after);
        if !changed.contains(&true) {
            return;
        }
        let fdb = Arc::clone(self.writer.fdb());
        let counted = self.telemetry.fdb.events(FdbEvent::Flushed);
        let mut flushed_of = FxHashMap::<BridgeIndex, u32>::default();
        for (key, value) in fdb.iter() {
            let changed = changed.get(usize::from(key.bridge().0)).copied().unwrap_or(true);
            if changed && !is_place_of(key, value.location(), after) {
                *flushed_of.entry(key.bridge()).or_default() += u32::from(!is_given(value));
                self.remove(key);
            }
        }
        for (bridge, entries) in flushed_of.into_iter().filter(|(_, entries)| *entries > 0) {
            self.recorder.record_many(bridge, StationChange::LeftConfig, (None, entries), None, before);
        }
        let flushed = self.telemetry.fdb.events(FdbEvent::Flushed) - counted;
        if flushed > 0 {
            info!(entries = flushed, "flushed what the new config has no place for");
        }
    }

    /// Looks at `share` of the table (1.0 is all of it), and removes learned addresses that were not heard of for as long
    /// as their bridge keeps them.
    pub fn age(&mut self, share: f64, now: AgeTick, snapshot: &Snapshot) {
        if self.bridges.iter().all(|rules| rules.ageing.is_none()) {
            return;
        }
        let fdb = Arc::clone(self.writer.fdb());
        let count = fdb.bucket_count();
        let span = ((count as f64 * share).ceil() as usize).min(count);
        let end = self.sweep_at + span;
        // The table is swept round and round.
        for range in [self.sweep_at..end.min(count), 0..end.saturating_sub(count)] {
            for (key, value) in fdb.sweep(range) {
                let age = now.since(value.tick());
                let old = !is_given(value) && self.rules_of(key.bridge()).ageing.is_some_and(|limit| age > limit);
                if old && self.writer.remove_if_unchanged(key, value) {
                    self.forget(key, value, FdbEvent::Aged);
                    self.recorder.record(key, StationChange::Aged, [Some(value.location()), None], snapshot);
                }
            }
        }
        self.sweep_at = if end >= count { end - count } else { end };
    }

    /// Lets slots of removed entries serve again, and brings the numbers up to date.
    pub fn reclaim(&mut self) {
        // A full batch means that more may be due, as after a flush; there is an end, because nothing is removed meanwhile.
        while self.writer.reclaim() == FdbWriter::RECLAIM_BATCH {}
        self.full &= !self.has_ample_room();
        let fdb = self.writer.fdb();
        let telemetry = &self.telemetry.fdb;
        telemetry.entries.set(fdb.len() as u64);
        let displaced = fdb.displaced();
        telemetry.event_many(FdbEvent::Displaced, displaced - telemetry.events(FdbEvent::Displaced));
    }

    /// True while the FDB is so far from its bound that it is news when it is reached again.
    #[must_use]
    pub fn has_ample_room(&self) -> bool {
        let fdb = self.writer.fdb();
        is_well_below(fdb.len() as u32, fdb.max_entries() as u32)
    }

    /// How long an age tick is.
    #[must_use]
    pub fn tick(&self) -> Duration {
        self.tick
    }

    /// An entry was removed. `event` is what that is for a learned one.
    fn forget(&mut self, key: FdbKey, old: FdbValue, event: FdbEvent) {
        self.note_local(key, Some(old), None);
        if !is_given(old) {
            self.telemetry.fdb.event(event);
            self.occupancy.remove(key.bridge(), old.location());
        }
        self.forget_freeze(key, old);
        self.count_entries(key.bridge(), -1);
    }

    /// Brings the number of a bridge's entries up to date.
    fn count_entries(&self, bridge: BridgeIndex, by: i64) {
        let entries = self.telemetry.fdb.bridge_entries(bridge);
        entries.set(entries.get().saturating_add_signed(by));
    }

    fn rules_of(&self, bridge: BridgeIndex) -> BridgeRules {
        self.bridges.get(usize::from(bridge.0)).copied().unwrap_or_default()
    }
}

/// True for an entry that was not learned: it does not count against limits, and does not age.
fn is_given(value: FdbValue) -> bool {
    value.is_static() || value.is_external()
}

/// True for a station behind an access port.
fn is_local(value: FdbValue) -> bool {
    matches!(value.location().kind(), LocationKind::Access(_))
}

/// True where a station of this bridge can be in this place by this snapshot.
pub fn is_place_of(key: FdbKey, location: Location, snapshot: &Snapshot) -> bool {
    let place = usize::from(key.bridge().0);
    let (Some(bridge), Some(domain)) = (snapshot.bridges.get(place), snapshot.domains.get(place)) else {
        return false;
    };
    match location.kind() {
        LocationKind::Access(member) => {
            snapshot.members.get(member.0 as usize).is_some_and(|member| member.bridge() == key.bridge())
        }
        LocationKind::Tunnel(tunnel) => {
            domain.accepts(tunnel) || (!bridge.policy.source_check && is_in_use(tunnel, snapshot))
        }
    }
}

/// By index, the bridges where a station may not be any more in a place where it could be.
fn changed_bridges(before: &Snapshot, after: &Snapshot) -> Vec<bool> {
    let left = |index| is_in_use(TunnelIndex(index), before) && !is_in_use(TunnelIndex(index), after);
    let remote_left = (0..before.tunnels.len()).any(|index| left(index as u16));
    let changed = |index: usize| {
        let bridges = (before.bridges.get(index), after.bridges.get(index));
        let domains = (before.domains.get(index), after.domains.get(index));
        let ((Some(old), Some(new)), (Some(old_domain), Some(new_domain))) = (bridges, domains) else { return true };
        old.vni != new.vni
            || old.policy.source_check != new.policy.source_check
            || (remote_left && !new.policy.source_check)
            || old_domain.members != new_domain.members
            || old_domain.sources != new_domain.sources
    };
    (0..before.bridges.len()).map(changed).collect()
}

/// True for a remote VTEP of the config; its place in the table outlives it.
fn is_in_use(tunnel: TunnelIndex, snapshot: &Snapshot) -> bool {
    let place = snapshot.tunnels.get(usize::from(tunnel.0));
    place.is_some_and(|place| match place.address {
        IpAddr::V4(address) => snapshot.remotes.get_ipv4(address) == Some(tunnel),
        IpAddr::V6(address) => snapshot.remotes.get_ipv6(address) == Some(tunnel),
    })
}
