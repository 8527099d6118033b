//! Entries that an operator has flushed: by bridge, station, port and remote VTEP.
//!
//! # How, and why not by generation numbers
//!
//! A generation number for each bridge, port and remote VTEP would make a flush one increment, and every lookup dearer: the
//! number that an entry was learned under lies in the entry, but the number in force lies in another cache line, which each
//! packet would have to read for its destination, flush or no flush. So the entries themselves go: the table is swept once,
//! a share of it in each round, and what matches is removed. The datapath's part of a flush is none: a lookup finds an entry
//! or does not, as ever, and no worker waits or is slowed down by anything but the lines that the sweep touches. A flush
//! takes the time of a sweep, and what it removes on top; `bench/run scenarios learning` measures both.
//!
//! Between two rounds the control thread learns, and learning may move an entry to its other bucket, from where the sweep
//! has not been to where it has. Whoever was moved might be missed. So a sweep during which anything was displaced is
//! followed by another, and the third one is made in one go, in which nothing is learned.
//!
//! Workers keep what they looked up until the end of their burst. A flush is over, and is answered, when every worker has
//! passed the end of a burst since the last entry went: from then on no packet is forwarded by a flushed entry. A station
//! that is heard during a flush may be learned again at once, which is what a flush is for.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam::channel::Sender;
use rustc_hash::FxHashMap;
use tracing::info;

use super::{Learning, is_given};
use crate::control::flight_recorder::RecordedPlace;
use crate::tables::fdb::{FdbKey, FdbValue};
use crate::tables::quiescence::Epoch;
use crate::tables::{BridgeIndex, LocationKind, PortIndex, Snapshot, TunnelIndex};
use crate::telemetry::{FdbEvent, StationChange};
use crate::wire::MacAddr;

/// Buckets that one round sweeps.
const BUCKETS: usize = 1 << 15;
/// Flushes that are waited for at a time; further ones are refused.
const MAX_WAITING: usize = 64;
/// Sweeps that are made in shares.
const SHARED_SWEEPS: u32 = 2;

/// Which learned entries are to go: those that match everything that is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushOrder {
    /// Of this bridge.
    pub bridge: Option<BridgeIndex>,
    /// Of this station.
    pub mac: Option<MacAddr>,
    /// Behind this port.
    pub port: Option<PortIndex>,
    /// Behind this remote VTEP.
    pub tunnel: Option<TunnelIndex>,
}

/// A flush that is waited for.
#[derive(Debug)]
struct Flush {
    order: FlushOrder,
    answer: Sender<Option<u64>>,
    state: State,
    sweeps: u32,
    /// The entries removed, by bridge.
    removed: FxHashMap<BridgeIndex, u32>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// It has not begun.
    Waiting,
    /// A sweep is at this bucket, and so many entries had ever been displaced when it began.
    Sweeping { at: usize, displaced: u64 },
    /// All entries are gone, and workers have to pass.
    Passing(Epoch),
}

/// The flushes that are waited for, the first one being worked on.
#[derive(Debug, Default)]
pub(super) struct Flushes(VecDeque<Flush>);

impl Learning {
    /// Has entries flushed, and their number sent to `answer` when that is done. With too many others waited for, nothing is
    /// done, and that is sent.
    pub fn order_flush(&mut self, order: FlushOrder, answer: Sender<Option<u64>>) {
        if self.flushes.0.len() >= MAX_WAITING {
            // Whoever asked may have gone.
            let _ = answer.send(None);
            return;
        }
        let (state, removed) = (State::Waiting, FxHashMap::default());
        self.flushes.0.push_back(Flush { order, answer, state, sweeps: 0, removed });
    }

    /// Works on the flushes that are waited for, for a share of the table at most. True while there is one.
    pub fn flush_on(&mut self, snapshot: &Snapshot) -> bool {
        let Some(mut flush) = self.flushes.0.pop_front() else { return false };
        if self.work_on(&mut flush, snapshot) {
            let entries = flush.removed.values().map(|entries| u64::from(*entries)).sum();
            info!(entries, "flushed");
            // Whoever asked may have gone.
            let _ = flush.answer.send(Some(entries));
        } else {
            self.flushes.0.push_front(flush);
        }
        true
    }

    /// True where a flush is done.
    fn work_on(&mut self, flush: &mut Flush, snapshot: &Snapshot) -> bool {
        match flush.state {
            State::Waiting => {
                if let (Some(bridge), Some(mac)) = (flush.order.bridge, flush.order.mac) {
                    self.flush_one(FdbKey::new(bridge, mac), flush);
                    self.end_sweeps(flush, snapshot);
                } else {
                    flush.state = State::Sweeping { at: 0, displaced: self.writer.fdb().displaced() };
                }
                false
            }
            State::Sweeping { at, displaced } => {
                let count = self.writer.fdb().bucket_count();
                let end = if flush.sweeps < SHARED_SWEEPS { count.min(at + BUCKETS) } else { count };
                self.sweep_for(flush, at..end);
                flush.state = State::Sweeping { at: end, displaced };
                if end == count {
                    flush.sweeps += 1;
                    let now_displaced = self.writer.fdb().displaced();
                    if now_displaced == displaced {
                        self.end_sweeps(flush, snapshot);
                    } else {
                        flush.state = State::Sweeping { at: 0, displaced: now_displaced };
                    }
                }
                false
            }
            State::Passing(epoch) => self.writer.has_passed(epoch),
        }
    }

    fn flush_one(&mut self, key: FdbKey, flush: &mut Flush) {
        let fdb = self.writer.fdb();
        if let Some(value) = fdb.lookup(&fdb.probe(key)).filter(|value| self.is_ordered(key, *value, &flush.order)) {
            self.flush_entry(key, value, flush);
        }
    }

    fn sweep_for(&mut self, flush: &mut Flush, buckets: std::ops::Range<usize>) {
        let fdb = Arc::clone(self.writer.fdb());
        for (key, value) in fdb.sweep(buckets) {
            if self.is_ordered(key, value, &flush.order) {
                self.flush_entry(key, value, flush);
            }
        }
    }

    fn is_ordered(&self, key: FdbKey, value: FdbValue, order: &FlushOrder) -> bool {
        let tunnel = match value.location().kind() {
            LocationKind::Tunnel(tunnel) => Some(tunnel),
            LocationKind::Access(_) => None,
        };
        !is_given(value)
            && order.bridge.is_none_or(|bridge| bridge == key.bridge())
            && order.mac.is_none_or(|mac| mac == key.mac())
            && (order.tunnel.is_none() || order.tunnel == tunnel)
            && (order.port.is_none() || order.port == self.occupancy.port(value.location()))
    }

    fn flush_entry(&mut self, key: FdbKey, value: FdbValue, flush: &mut Flush) {
        if self.writer.remove(key).is_some() {
            self.forget(key, value, FdbEvent::Flushed);
            *flush.removed.entry(key.bridge()).or_default() += 1;
        }
    }

    /// All that was ordered is gone: it is recorded, once for each bridge, and waited for workers.
    fn end_sweeps(&mut self, flush: &mut Flush, snapshot: &Snapshot) {
        let FlushOrder { mac, port, tunnel, .. } = flush.order;
        let remote = tunnel.and_then(|tunnel| snapshot.tunnels.get(usize::from(tunnel.0)));
        let from = remote.map(|remote| RecordedPlace::Remote(remote.address)).or(port.map(RecordedPlace::WholePort));
        for (bridge, entries) in &flush.removed {
            self.recorder.record_many(*bridge, StationChange::Flushed, (mac, *entries), from, snapshot);
        }
        flush.state = State::Passing(self.writer.epoch());
    }
}
