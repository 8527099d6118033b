//! Stations that are heard elsewhere: they move, are held back, or are frozen because they move too often.

use std::time::{Duration, Instant};

use tracing::warn;

use super::Learning;
use crate::control::flight_recorder::StationFilter;
use crate::tables::fdb::{FdbKey, FdbValue};
use crate::tables::learning::LearnEvent;
use crate::tables::{LocationKind, Snapshot};
use crate::telemetry::{FdbEvent, StationChange};

/// How often a freeze is logged, at most. With a loop there are thousands; the flight recorder has them.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// When a freeze was logged last, and how many were not since.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FreezeLog {
    last: Option<Instant>,
    left_out: u64,
}

impl Learning {
    /// A learned station is heard elsewhere. Where the port that it moved to has all the addresses that it may, nothing is
    /// known of it any more: where it was it is not, and frames to it are flooded, as those to any other station that is
    /// one too many there. That counts as a move, too: with one too many the station is frozen where it was, lest somebody
    /// behind the full port unseat it for ever.
    pub(super) fn move_learned(
        &mut self,
        event: LearnEvent,
        known: FdbValue,
        value: FdbValue,
        snapshot: &Snapshot,
        now: Instant,
    ) {
        let (LearnEvent { key, location }, before) = (event, known.location());
        if !self.occupancy.has_room_to_move(before, location) {
            if self.damping.is_too_many(key, now) {
                self.freeze(key, known, snapshot, now);
            } else if self.writer.remove(key).is_some() {
                self.forget(key, known, FdbEvent::Unseated);
                self.recorder.record(key, StationChange::Unseated, [Some(before), Some(location)], snapshot);
            }
            return;
        }
        self.writer.set(key, value);
        // From a remote VTEP, where a bridge was given to the kernel's control with what it had learned.
        self.note_local(key, Some(known), Some(value));
        self.occupancy.remove(key.bridge(), before);
        self.occupancy.add(key.bridge(), location);
        self.note_move(event, known, value, snapshot, now);
    }

    /// A station of the control plane's is heard elsewhere. Behind another remote VTEP it is where the control plane says;
    /// behind an access port it has moved there, unless it may not (RFC 7432, 15), or there is no room: what the control
    /// plane says counts against no limit, and what is learned does.
    pub(super) fn move_external(
        &mut self,
        event: LearnEvent,
        known: FdbValue,
        value: FdbValue,
        snapshot: &Snapshot,
        now: Instant,
    ) {
        let LearnEvent { key, location } = event;
        if known.is_sticky()
            || matches!(location.kind(), LocationKind::Tunnel(_))
            || !self.occupancy.has_room(key, location, snapshot)
        {
            return;
        }
        self.writer.set(key, value);
        self.note_local(key, Some(known), Some(value));
        self.occupancy.add(key.bridge(), location);
        self.note_move(event, known, value, snapshot, now);
    }

    /// A station has moved: to be counted, recorded, and frozen there if it was once too often.
    fn note_move(
        &mut self,
        LearnEvent { key, location }: LearnEvent,
        known: FdbValue,
        value: FdbValue,
        snapshot: &Snapshot,
        now: Instant,
    ) {
        self.telemetry.fdb.event(FdbEvent::Moved);
        self.recorder.record(key, StationChange::Moved, [Some(known.location()), Some(location)], snapshot);
        if self.damping.is_too_many(key, now) {
            self.freeze(key, value, snapshot, now);
        }
    }

    /// Freezes a station where this says that it is.
    fn freeze(&mut self, key: FdbKey, value: FdbValue, snapshot: &Snapshot, now: Instant) {
        self.writer.set(key, value.frozen());
        self.telemetry.fdb.event(FdbEvent::Frozen);
        self.count_frozen();
        self.recorder.record(key, StationChange::Frozen, [Some(value.location()); 2], snapshot);
        let log = &mut self.freeze_log;
        if log.last.is_some_and(|last| now.saturating_duration_since(last) < LOG_EVERY) {
            log.left_out += 1;
            return;
        }
        let vni = snapshot.bridges.get(usize::from(key.bridge().0)).map_or(0, |bridge| bridge.vni.get());
        let others = std::mem::take(&mut log.left_out);
        log.last = Some(now);
        warn!(
            vni,
            mac = %key.mac(),
            others,
            "a station moved too often and is frozen where it is; `vtepctl fdb history` says between which places"
        );
    }

    /// Ends the freezes whose time is over.
    pub fn end_freezes(&mut self, snapshot: &Snapshot, now: Instant) {
        for key in self.damping.look_after(now) {
            self.thaw(key, StationChange::Thawed, snapshot);
        }
    }

    /// Ends the freezes of these stations before their time, and gives how many there were.
    pub fn release_frozen(&mut self, filter: &StationFilter, snapshot: &Snapshot) -> usize {
        let vni = |key: FdbKey| snapshot.bridges.get(usize::from(key.bridge().0)).map(|bridge| bridge.vni);
        let wanted = |key: &FdbKey| {
            filter.mac.is_none_or(|mac| mac == key.mac()) && filter.vni.is_none_or(|wanted| vni(*key) == Some(wanted))
        };
        let frozen: Vec<FdbKey> = self.damping.frozen().filter(wanted).collect();
        frozen.iter().for_each(|key| self.thaw(*key, StationChange::Unfrozen, snapshot));
        frozen.len()
    }

    fn thaw(&mut self, key: FdbKey, change: StationChange, snapshot: &Snapshot) {
        self.damping.release(key);
        self.count_frozen();
        let fdb = self.writer.fdb();
        let Some(known) = fdb.lookup(&fdb.probe(key)).filter(|known| known.is_frozen()) else { return };
        self.writer.set(key, known.thawed());
        self.telemetry.fdb.event(FdbEvent::Thawed);
        self.recorder.record(key, change, [Some(known.location()); 2], snapshot);
    }

    /// A frozen entry is no more.
    pub(super) fn forget_freeze(&mut self, key: FdbKey, old: FdbValue) {
        if old.is_frozen() {
            self.damping.release(key);
            self.count_frozen();
        }
    }

    fn count_frozen(&self) {
        self.telemetry.fdb.frozen.set(self.damping.frozen().len() as u64);
    }
}
