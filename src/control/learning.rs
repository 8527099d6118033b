//! The FDB's only writer: learns what workers report, within the limits, and forgets what is not heard of any more.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use tracing::{info, warn};

use crate::tables::fdb::{AgeTick, FdbKey, FdbValue, FdbWriter, InsertError, Inserted};
use crate::tables::learning::{LearnEvent, LearnRing, PathMtu};
use crate::tables::snapshot::Bridge;
use crate::tables::{BridgeIndex, Location, LocationKind, Snapshot, TunnelIndex};
use crate::telemetry::{ControlTelemetry, FdbEvent};

/// The bounds of what is learned.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// The most addresses learned in each bridge, by its index.
    pub per_bridge: Vec<Option<u32>>,
    /// How long an address that is not heard of is kept; `None` is for ever.
    pub ageing: Option<Duration>,
    /// Bridges in which nothing is learned from remote VTEPs: the control plane says what is behind them.
    pub taught: HashSet<BridgeIndex>,
}

/// The FDB's writer and what it goes by.
#[derive(Debug)]
pub struct Learning {
    writer: FdbWriter,
    rings: Vec<Arc<LearnRing>>,
    telemetry: Arc<ControlTelemetry>,
    limits: Limits,
    /// Addresses learned, by bridge index: static ones do not count.
    learned: Vec<u32>,
    /// Bridges whose limit was logged, until they are well below it again.
    full_bridges: HashSet<BridgeIndex>,
    /// The same for the whole table.
    full: bool,
    /// The bucket where ageing goes on.
    sweep_at: usize,
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
            telemetry,
            limits: Limits::default(),
            learned: Vec::new(),
            full_bridges: HashSet::new(),
            full: false,
            sweep_at: 0,
        }
    }

    /// Changes the limits. What is over a new one stays until it ages.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        let Self { full_bridges, limits, learned, .. } = self;
        full_bridges.retain(|bridge| {
            let index = usize::from(bridge.0);
            let limit = limits.per_bridge.get(index).copied().flatten();
            limit.is_some_and(|limit| !is_well_below(learned.get(index).copied().unwrap_or(0), limit))
        });
    }

    /// Applies what the workers reported, and gives how many events that were.
    pub fn drain(&mut self, snapshot: &Snapshot, now: AgeTick) -> usize {
        let mut taken = 0;
        let mut batch = ArrayVec::<LearnEvent, BATCH>::new();
        for index in 0..self.rings.len() {
            for _ in 0..EVENTS_PER_ROUND.div_ceil(BATCH) {
                let Some(ring) = self.rings.get(index) else { break };
                batch.extend(std::iter::from_fn(|| ring.take()).take(BATCH));
                taken += batch.len();
                batch.iter().for_each(|event| self.writer.prefetch(event.key));
                let was_full = batch.is_full();
                batch.drain(..).for_each(|event| self.learn(event, snapshot, now));
                if !was_full {
                    break;
                }
            }
        }
        taken
    }

    /// What a worker was told of a path, if there is something.
    pub fn take_path_mtu(&self) -> Option<PathMtu> {
        self.rings.iter().find_map(|ring| ring.take_path_mtu())
    }

    /// Learns one address, or moves it at once to where it was seen last (conformance row B1).
    fn learn(&mut self, event: LearnEvent, snapshot: &Snapshot, now: AgeTick) {
        let learns = |bridge: &Bridge| bridge.policy.learning;
        let learning = snapshot.bridges.get(usize::from(event.key.bridge().0)).is_some_and(learns);
        if !learning || !is_place_of(event.key, event.location, snapshot) {
            // The worker reported it by a snapshot that a reload has replaced since.
            return;
        }
        if matches!(event.location.kind(), LocationKind::Tunnel(_)) && self.limits.taught.contains(&event.key.bridge())
        {
            return;
        }
        let probe = self.writer.fdb().probe(event.key);
        let value = FdbValue::learned(event.location, now);
        match self.writer.fdb().lookup(&probe) {
            Some(known) if known.is_static() => {}
            Some(known) if known.is_external() => self.move_external(event, known, value),
            Some(known) => {
                self.writer.set(event.key, value);
                if known.location() != event.location {
                    self.telemetry.fdb.event(FdbEvent::Moved);
                }
            }
            None => self.insert(event.key, value, snapshot),
        }
    }

    /// A station of the control plane's is heard elsewhere. Behind another remote VTEP it is where the control plane says;
    /// behind an access port it has moved there, unless it may not (RFC 7432, 15).
    fn move_external(&mut self, event: LearnEvent, known: FdbValue, value: FdbValue) {
        if known.is_sticky() || matches!(event.location.kind(), LocationKind::Tunnel(_)) {
            return;
        }
        self.writer.set(event.key, value);
        self.count(event.key.bridge(), 1, 0);
        self.telemetry.fdb.event(FdbEvent::Moved);
    }

    fn insert(&mut self, key: FdbKey, value: FdbValue, snapshot: &Snapshot) {
        let bridge = key.bridge();
        let limit = self.limit_of(bridge);
        if limit.is_some_and(|limit| self.learned_in(bridge) >= limit) {
            self.telemetry.fdb.event(FdbEvent::RefusedByBridgeLimit);
            if self.full_bridges.insert(bridge) {
                let vni = snapshot.bridges.get(usize::from(bridge.0)).map_or(0, |bridge| bridge.vni.get());
                warn!(vni, max_macs = limit, "the bridge has learned all the addresses it may; frames to others flood");
            }
            return;
        }
        match self.writer.insert(key, value) {
            Ok(_) => {
                self.count(bridge, 1, 1);
                self.telemetry.fdb.event(FdbEvent::Learned);
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
    pub fn install_static(&mut self, entries: &[(FdbKey, Location)]) -> Option<(u64, InsertError)> {
        let mut refused = None;
        // The buckets of a batch come into the cache side by side.
        for batch in entries.chunks(BATCH) {
            batch.iter().for_each(|(key, _)| self.writer.prefetch(*key));
            for (key, location) in batch {
                match self.writer.insert(*key, FdbValue::fixed(*location)) {
                    Ok(Inserted::New) => self.count(key.bridge(), 0, 1),
                    Ok(Inserted::Replaced(old)) if is_given(old) => {}
                    Ok(Inserted::Replaced(_)) => self.count(key.bridge(), -1, 0),
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
    pub fn install_external(&mut self, key: FdbKey, value: FdbValue, news: bool) -> Result<(), InsertError> {
        let fdb = self.writer.fdb();
        match fdb.lookup(&fdb.probe(key)) {
            Some(known) if known.is_static() || known == value => return Ok(()),
            Some(known) if !known.is_external() && !news => return Ok(()),
            _ => {}
        }
        match self.writer.insert(key, value)? {
            Inserted::New => self.count(key.bridge(), 0, 1),
            Inserted::Replaced(old) if is_given(old) => {}
            Inserted::Replaced(_) => self.count(key.bridge(), -1, 0),
        }
        Ok(())
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
        let changed = changed_bridges(before, after);
        if !changed.contains(&true) {
            return;
        }
        let fdb = Arc::clone(self.writer.fdb());
        let counted = self.telemetry.fdb.events(FdbEvent::Flushed);
        for (key, value) in fdb.iter() {
            let changed = changed.get(usize::from(key.bridge().0)).copied().unwrap_or(true);
            if changed && !is_place_of(key, value.location(), after) {
                self.remove(key);
            }
        }
        let flushed = self.telemetry.fdb.events(FdbEvent::Flushed) - counted;
        if flushed > 0 {
            info!(entries = flushed, "flushed what the new config has no place for");
        }
    }

    /// Looks at `share` of the table (1.0 is all of it), and removes learned addresses that were not heard of for
    /// `limit` ticks.
    pub fn age(&mut self, share: f64, now: AgeTick, limit: u16) {
        let fdb = Arc::clone(self.writer.fdb());
        let count = fdb.bucket_count();
        let span = ((count as f64 * share).ceil() as usize).min(count);
        let end = self.sweep_at + span;
        // The table is swept round and round.
        for range in [self.sweep_at..end.min(count), 0..end.saturating_sub(count)] {
            for (key, value) in fdb.sweep(range) {
                let old = !is_given(value) && now.since(value.tick()) > limit;
                if old && self.writer.remove_if_unchanged(key, value) {
                    self.forget(key, value, FdbEvent::Aged);
                }
            }
        }
        self.sweep_at = if end >= count { end - count } else { end };
    }

    /// Lets slots of removed entries serve again, and brings the numbers up to date.
    pub fn reclaim(&mut self) {
        // A full batch means that more may be due, as after a flush; there is an end, because nothing is removed meanwhile.
        while self.writer.reclaim() == FdbWriter::RECLAIM_BATCH {}
        let fdb = self.writer.fdb();
        let telemetry = &self.telemetry.fdb;
        telemetry.entries.set(fdb.len() as u64);
        let displaced = fdb.displaced();
        telemetry.event_many(FdbEvent::Displaced, displaced - telemetry.events(FdbEvent::Displaced));
        self.full &= !is_well_below(fdb.len() as u32, fdb.max_entries() as u32);
    }

    /// How long an address that is not heard of is kept.
    #[must_use]
    pub fn ageing(&self) -> Option<Duration> {
        self.limits.ageing
    }

    /// An entry was removed. `event` is what that is for a learned one.
    fn forget(&mut self, key: FdbKey, old: FdbValue, event: FdbEvent) {
        if is_given(old) {
            self.count(key.bridge(), 0, -1);
        } else {
            self.telemetry.fdb.event(event);
            self.count(key.bridge(), -1, -1);
        }
    }

    /// Brings the numbers of a bridge up to date: of learned entries, and of all.
    fn count(&mut self, bridge: BridgeIndex, learned: i32, all: i64) {
        let index = usize::from(bridge.0);
        if self.learned.len() <= index {
            self.learned.resize(index + 1, 0);
        }
        if let Some(count) = self.learned.get_mut(index) {
            *count = count.saturating_add_signed(learned);
        }
        if learned < 0 && self.limit_of(bridge).is_some_and(|limit| is_well_below(self.learned_in(bridge), limit)) {
            self.full_bridges.remove(&bridge);
        }
        let entries = self.telemetry.fdb.bridge_entries(bridge);
        entries.set(entries.get().saturating_add_signed(all));
    }

    fn limit_of(&self, bridge: BridgeIndex) -> Option<u32> {
        self.limits.per_bridge.get(usize::from(bridge.0)).copied().flatten()
    }

    fn learned_in(&self, bridge: BridgeIndex) -> u32 {
        self.learned.get(usize::from(bridge.0)).copied().unwrap_or(0)
    }
}

/// True for an entry that was not learned: it does not count against limits, and does not age.
fn is_given(value: FdbValue) -> bool {
    value.is_static() || value.is_external()
}

/// True where a limit that was reached is worth another line in the log when it is reached again. With more stations
/// than the limit, each that ages makes room for one that is learned at once: that is no news.
fn is_well_below(count: u32, limit: u32) -> bool {
    count < limit - limit / 8
}

/// True where a station of this bridge can be in this place by this snapshot.
pub fn is_place_of(key: FdbKey, location: Location, snapshot: &Snapshot) -> bool {
    let place = usize::from(key.bridge().0);
    let (Some(bridge), Some(domain)) = (snapshot.bridges.get(place), snapshot.domains.get(place)) else {
        return false;
    };
    match location.kind() {
        LocationKind::Access(member) => {
            snapshot.members.get(member.0 as usize).is_some_and(|member| member.bridge == key.bridge())
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
