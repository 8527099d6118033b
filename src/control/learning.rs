//! The FDB's only writer: learns what workers report, within the limits, and forgets what is not heard of any more.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::tables::fdb::{AgeTick, FdbKey, FdbValue, FdbWriter, InsertError, Inserted};
use crate::tables::learning::{LearnEvent, LearnRing};
use crate::tables::{BridgeIndex, Location, LocationKind, Snapshot};
use crate::telemetry::{ControlTelemetry, FdbEvent};

/// The bounds of what is learned.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// The most addresses learned in each bridge, by its index.
    pub per_bridge: Vec<Option<u32>>,
    /// How long an address that is not heard of is kept; `None` is for ever.
    pub ageing: Option<Duration>,
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
    /// Bridges whose limit was logged, until they are below it again.
    full_bridges: HashSet<BridgeIndex>,
    full: bool,
    /// The bucket where ageing goes on.
    sweep_at: usize,
}

/// Events that one round takes from each ring: a whole ring, but not what arrives meanwhile.
const EVENTS_PER_ROUND: usize = LearnRing::CAPACITY;

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
    }

    /// Applies what the workers reported, and gives how many events that were.
    pub fn drain(&mut self, snapshot: &Snapshot, now: AgeTick) -> usize {
        let mut taken = 0;
        for index in 0..self.rings.len() {
            for _ in 0..EVENTS_PER_ROUND {
                let Some(event) = self.rings.get(index).and_then(|ring| ring.take()) else { break };
                taken += 1;
                self.learn(event, snapshot, now);
            }
        }
        taken
    }

    /// Learns one address, or moves it at once to where it was seen last (conformance row B1).
    fn learn(&mut self, event: LearnEvent, snapshot: &Snapshot, now: AgeTick) {
        if !is_place_of(event.key, event.location, snapshot) {
            // The worker reported it by a snapshot that a reload has replaced since.
            return;
        }
        let probe = self.writer.fdb().probe(event.key);
        let value = FdbValue::learned(event.location, now);
        match self.writer.fdb().lookup(&probe) {
            Some(known) if known.is_static() => {}
            Some(known) => {
                self.writer.set(event.key, value);
                if known.location() != event.location {
                    self.telemetry.fdb.event(FdbEvent::Moved);
                }
            }
            None => self.insert(event.key, value, snapshot),
        }
    }

    fn insert(&mut self, key: FdbKey, value: FdbValue, snapshot: &Snapshot) {
        let bridge = key.bridge();
        let limit = self.limits.per_bridge.get(usize::from(bridge.0)).copied().flatten();
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

    /// Installs a static entry over whatever is there (conformance row B1).
    ///
    /// # Errors
    /// [`InsertError`] where the table has no room.
    pub fn install_static(&mut self, key: FdbKey, location: Location) -> Result<(), InsertError> {
        match self.writer.insert(key, FdbValue::fixed(location))? {
            Inserted::New => self.count(key.bridge(), 0, 1),
            Inserted::Replaced(old) if old.is_static() => {}
            Inserted::Replaced(_) => self.count(key.bridge(), -1, 0),
        }
        Ok(())
    }

    /// Removes an entry.
    pub fn remove(&mut self, key: FdbKey, event: FdbEvent) {
        if let Some(old) = self.writer.remove(key) {
            self.forget(key, old, event);
        }
    }

    /// Removes what a new snapshot has no place for: entries of bridges, members and remote VTEPs that left.
    pub fn flush(&mut self, snapshot: &Snapshot) {
        let fdb = Arc::clone(self.writer.fdb());
        let before = self.telemetry.fdb.events(FdbEvent::Flushed);
        for (key, value) in fdb.iter() {
            if !is_place_of(key, value.location(), snapshot) {
                self.remove(key, FdbEvent::Flushed);
            }
        }
        let flushed = self.telemetry.fdb.events(FdbEvent::Flushed) - before;
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
                let old = !value.is_static() && now.since(value.tick()) > limit;
                if old && self.writer.remove_if_unchanged(key, value) {
                    self.forget(key, value, FdbEvent::Aged);
                }
            }
        }
        self.sweep_at = if end >= count { end - count } else { end };
    }

    /// Lets slots of removed entries serve again, and brings the numbers up to date.
    pub fn reclaim(&mut self) {
        self.writer.reclaim();
        let fdb = self.writer.fdb();
        let telemetry = &self.telemetry.fdb;
        telemetry.entries.set(fdb.len() as u64);
        let displaced = fdb.displaced();
        telemetry.event_many(FdbEvent::Displaced, displaced - telemetry.events(FdbEvent::Displaced));
        self.full &= fdb.len() >= fdb.max_entries();
    }

    /// How long an address that is not heard of is kept.
    #[must_use]
    pub fn ageing(&self) -> Option<Duration> {
        self.limits.ageing
    }

    fn forget(&mut self, key: FdbKey, old: FdbValue, event: FdbEvent) {
        self.telemetry.fdb.event(event);
        self.count(key.bridge(), if old.is_static() { 0 } else { -1 }, -1);
        self.full_bridges.remove(&key.bridge());
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
        let entries = self.telemetry.fdb.bridge_entries(bridge);
        entries.set(entries.get().saturating_add_signed(all));
    }

    fn learned_in(&self, bridge: BridgeIndex) -> u32 {
        self.learned.get(usize::from(bridge.0)).copied().unwrap_or(0)
    }
}

/// True where a station of this bridge can be in this place by this snapshot.
fn is_place_of(key: FdbKey, location: Location, snapshot: &Snapshot) -> bool {
    let Some(bridge) = snapshot.bridges.get(usize::from(key.bridge().0)) else { return false };
    match location.kind() {
        LocationKind::Access(member) => {
            snapshot.members.get(member.0 as usize).is_some_and(|member| member.bridge == bridge.index)
        }
        LocationKind::Tunnel(tunnel) => {
            bridge.accepts(tunnel) || (!bridge.policy.source_check && usize::from(tunnel.0) < snapshot.tunnels.len())
        }
    }
}
