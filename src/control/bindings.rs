//! The MAC+IP bindings' only writer: learns what workers report, takes what the kernel says of remote stations, and forgets
//! what is no longer so. What the config says goes before both, and stays.
//!
//! A binding lives as long as its station: while the FDB has the station's MAC address behind an access port. Where the
//! station does not say it again for a time of its own, it goes before that, for stations give addresses up without a
//! word, and nobody else could take one that the gateway still answers for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tracing::warn;

use crate::tables::bindings::{Binding, BindingKey, BindingReport, BindingSource, BindingTable, BindingWriter};
use crate::tables::fdb::{AgeTick, Fdb, FdbKey};
use crate::tables::learning::LearnRing;
use crate::tables::{BridgeIndex, LocationKind, Snapshot};
use crate::telemetry::{BindingEvent, ControlTelemetry};
use crate::wire::MacAddr;
use crate::wire::nd::TargetFlags;

/// How long it takes to look at all bindings once.
const SWEEP: Duration = Duration::from_secs(1);

/// The most bindings that are learned of one station in a bridge: far more than hosts have addresses, and few enough that
/// a station which claims one after the other leaves the others their room. Questions for further ones are flooded.
pub const MOST_OF_STATION: u32 = 64;

/// The bindings' writer and what it goes by.
#[derive(Debug)]
pub struct Bindings {
    writer: BindingWriter,
    /// How many bindings were learned of each station that has some.
    of_station: HashMap<FdbKey, u32>,
    rings: Vec<Arc<LearnRing>>,
    telemetry: Arc<ControlTelemetry>,
    /// Reports that were taken and not yet applied.
    reports: Vec<BindingReport>,
    /// How long a binding is kept that is not said again; `None` is as long as its station.
    ageing: Option<Duration>,
    /// What the config says, and whether all of it is in the table.
    fixed: FxHashMap<BindingKey, Binding>,
    all_fixed: bool,
    /// The table lacks some of what the kernel says: it had no room for it, or no bridge that it is for.
    lacks_remote: bool,
    /// There may be room for that since, or such a bridge.
    may_take_more: bool,
    /// That there is no room was logged.
    full: bool,
    /// The bucket where the sweep goes on.
    sweep_at: usize,
    /// Bridges whose stations the kernel is told.
    told: HashSet<BridgeIndex>,
    /// What the kernel is to be told: at the most a round's.
    changes: Vec<LearnedChange>,
}

/// A binding that was learned, or that the config says, has come, changed or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnedChange {
    /// Bridge and address.
    pub key: BindingKey,
    /// The station, and what its advertisements say besides, if it sent one; absent where the binding is gone.
    pub station: Option<(MacAddr, Option<TargetFlags>)>,
}

/// What bindings are held against.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// Where stations are.
    pub fdb: &'a Fdb,
    /// The bridges.
    pub snapshot: &'a Snapshot,
    /// The clock of both.
    pub now: AgeTick,
}

impl Bindings {
    /// A writer for what these workers report.
    #[must_use]
    pub fn new(writer: BindingWriter, rings: Vec<Arc<LearnRing>>, telemetry: Arc<ControlTelemetry>) -> Self {
        telemetry.bindings.capacity.set(writer.table().max_bindings() as u64);
        Self {
            writer,
            of_station: HashMap::new(),
            rings,
            telemetry,
            reports: Vec::new(),
            ageing: None,
            fixed: FxHashMap::default(),
            all_fixed: true,
            lacks_remote: false,
            may_take_more: false,
            full: false,
            sweep_at: 0,
            told: HashSet::new(),
            changes: Vec::new(),
        }
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Arc<BindingTable> {
        self.writer.table()
    }

    /// Changes how long a binding is kept that is not said again; `None` is as long as its station.
    pub fn set_ageing(&mut self, ageing: Option<Duration>) {
        self.ageing = ageing;
    }

    /// Takes what the config says, which goes before all that is heard. Gives what it said before and says no more.
    pub fn set_fixed(&mut self, fixed: FxHashMap<BindingKey, Binding>) -> Vec<BindingKey> {
        let gone: Vec<BindingKey> = self.fixed.keys().filter(|key| !fixed.contains_key(key)).copied().collect();
        for key in &gone {
            if self.table().lookup(*key).is_some_and(|known| is_static(&known)) {
                self.remove(*key);
            }
        }
        self.fixed = fixed;
        self.put_fixed();
        gone
    }

    /// Puts what the config says where it is not in the table yet.
    fn put_fixed(&mut self) {
        let says = |key: BindingKey, binding: &Binding| {
            let known = self.table().lookup(key);
            !known.is_some_and(|known| is_static(&known) && said(&known) == said(binding))
        };
        let due: Vec<_> =
            self.fixed.iter().filter(|(key, binding)| says(**key, binding)).map(|(k, b)| (*k, *b)).collect();
        self.all_fixed = due.into_iter().fold(true, |all, (key, binding)| self.put(key, binding) && all);
    }

    /// The config gives the address to a station. That `mac` is said to have it is counted if that is another.
    fn is_fixed(&self, key: BindingKey, mac: MacAddr) -> bool {
        let fixed = self.fixed.get(&key);
        if fixed.is_some_and(|fixed| fixed.mac != mac) {
            self.telemetry.bindings.event(BindingEvent::RefusedStatic);
        }
        fixed.is_some()
    }

    /// Changes the bridges whose bindings the kernel is told. All of those that were not told count as come.
    pub fn set_told(&mut self, told: HashSet<BridgeIndex>) {
        let new: HashSet<BridgeIndex> = told.difference(&self.told).copied().collect();
        self.told = told;
        if new.is_empty() {
            return;
        }
        let table = Arc::clone(self.table());
        for (key, binding) in table.iter().filter(|(key, binding)| is_told(binding) && new.contains(&key.bridge)) {
            self.note(key, Some(&binding));
        }
    }

    /// The bindings of bridges whose stations the kernel is told that have come, changed and gone since this was asked the
    /// last time, in that order.
    pub fn take_changes(&mut self) -> Vec<LearnedChange> {
        std::mem::take(&mut self.changes)
    }

    fn note(&mut self, key: BindingKey, binding: Option<&Binding>) {
        if self.told.contains(&key.bridge) {
            self.changes.push(LearnedChange { key, station: binding.map(said) });
        }
    }

    /// The kernel says which station behind a remote VTEP has an address; none has where it says so no more. What it says
    /// anew is newer than what was learned.
    pub fn kernel_says(&mut self, key: BindingKey, station: Option<(MacAddr, TargetFlags)>, now: AgeTick) {
        let known = self.table().lookup(key);
        match station {
            Some((mac, _)) if self.is_fixed(key, mac) => {}
            Some((mac, flags)) => {
                let put = self.put(key, Binding { mac, source: BindingSource::Kernel, flags: Some(flags), heard: now });
                if put && known.is_some_and(|known| known.mac != mac) {
                    self.telemetry.bindings.event(BindingEvent::Moved);
                }
            }
            None if known.is_some_and(|known| known.source == BindingSource::Kernel) => self.remove(key),
            None => {}
        }
    }

    /// What the kernel has said for a while, and the table may not have.
    pub fn kernel_repeats(&mut self, key: BindingKey, station: (MacAddr, TargetFlags), now: AgeTick) {
        if self.table().lookup(key).is_none() {
            self.kernel_says(key, Some(station), now);
        }
    }

    /// Notes that the kernel said a binding of a bridge that takes none.
    pub fn left_out(&mut self) {
        self.lacks_remote = true;
    }

    /// Notes that another config is in force: bridges may take bindings now that took none.
    pub fn config_changed(&mut self) {
        self.may_take_more = true;
    }

    /// True, once, where the kernel's bindings are to be repeated: some are lacking, and there may be a place for them.
    pub fn take_lack(&mut self) -> bool {
        std::mem::take(&mut self.may_take_more) && std::mem::take(&mut self.lacks_remote)
    }

    /// Takes what the workers reported: at most a ring's worth from each, but not what arrives meanwhile.
    ///
    /// A worker reports a new station before it reports its bindings. So what is taken here is to be applied when the
    /// FDB has learned what is in the rings by then.
    pub fn take_reports(&mut self) {
        for ring in &self.rings {
            self.reports.extend(std::iter::from_fn(|| ring.take_report()).take(LearnRing::REPORTS));
        }
    }

    /// Applies what was taken. Gives how many reports that were.
    pub fn apply_reports(&mut self, against: Against<'_>) -> usize {
        let mut reports = std::mem::take(&mut self.reports);
        let count = reports.len();
        reports.drain(..).for_each(|report| self.learn(&report, against));
        self.reports = reports;
        count
    }

    fn learn(&mut self, report: &BindingReport, against: Against<'_>) {
        let BindingReport { key, mac, flags } = *report;
        if !learns(key.bridge, against.snapshot) {
            // By a snapshot that a reload has replaced since.
            return;
        }
        if self.is_fixed(key, mac) {
            return;
        }
        if !is_behind_access(key.bridge, mac, against.fdb) {
            return self.telemetry.bindings.event(BindingEvent::RefusedUnknownMac);
        }
        let known = self.table().lookup(key);
        let same = known.filter(|known| known.mac == mac);
        let is_another = !same.is_some_and(|known| is_learned(&known));
        let of_station = self.of_station.get(&FdbKey::new(key.bridge, mac)).copied().unwrap_or(0);
        if is_another && of_station >= MOST_OF_STATION {
            return self.telemetry.bindings.event(BindingEvent::RefusedByStationLimit);
        }
        // Only an advertisement says what its flags are; what it said before holds on.
        let flags = flags.or(same.and_then(|known| known.flags));
        let binding = Binding { mac, source: BindingSource::Learned, flags, heard: against.now };
        match (self.put(key, binding), known) {
            (false, _) => {}
            (true, None) => self.telemetry.bindings.event(BindingEvent::Learned),
            (true, Some(known)) if known.mac != mac => self.telemetry.bindings.event(BindingEvent::Moved),
            (true, Some(_)) => {}
        }
    }

    /// Puts a binding in place of what is known of its address; false where there is no room.
    fn put(&mut self, key: BindingKey, binding: Binding) -> bool {
        match self.writer.insert(key, binding) {
            Ok(before) => {
                if let Some(before) = before {
                    self.count(key.bridge, &before, -1);
                }
                self.count(key.bridge, &binding, 1);
                let learned = [before.as_ref(), Some(&binding)].map(|binding| binding.filter(|it| is_told(it)));
                if let [was, is] = learned
                    && was.map(said) != is.map(said)
                {
                    self.note(key, is);
                }
                true
            }
            Err(error) => {
                self.lacks_remote |= binding.source == BindingSource::Kernel;
                // Seldom the table has room, and the two places of just this address have none.
                let is_full = self.table().len() >= self.table().max_bindings();
                self.telemetry.bindings.event(BindingEvent::RefusedByLimit);
                if is_full && !std::mem::replace(&mut self.full, true) {
                    let max_bindings = self.table().max_bindings();
                    warn!(%error, max_bindings, "a MAC+IP binding was not learned; questions for its address flood");
                }
                false
            }
        }
    }

    fn remove(&mut self, key: BindingKey) {
        if let Some(before) = self.writer.remove(key) {
            self.count(key.bridge, &before, -1);
            if is_told(&before) {
                self.note(key, None);
            }
            let (count, most) = (self.table().len(), self.table().max_bindings());
            if count < most - most / 8 {
                self.may_take_more |= std::mem::take(&mut self.full);
            }
        }
    }

    fn count(&mut self, bridge: BridgeIndex, binding: &Binding, change: i32) {
        let count = self.telemetry.bindings.count(binding.source);
        count.set(count.get().saturating_add_signed(change.into()));
        if !is_learned(binding) {
            return;
        }
        let station = FdbKey::new(bridge, binding.mac);
        let of_station = self.of_station.entry(station).or_insert(0);
        *of_station = of_station.saturating_add_signed(change);
        if *of_station == 0 {
            self.of_station.remove(&station);
        }
    }

    /// Forgets the bindings that a new snapshot has no place for.
    pub fn flush(&mut self, against: Against<'_>) {
        self.look_at(0..self.table().bucket_count(), u16::MAX, against);
    }

    /// Looks at a share of the bindings after `passed`, so that all of them are looked at once a second, and forgets those
    /// whose station is gone or has not said them for the ageing time. An age tick is so long.
    pub fn sweep(&mut self, passed: Duration, tick: Duration, against: Against<'_>) {
        if !self.all_fixed && self.table().len() < self.table().max_bindings() {
            self.put_fixed();
        }
        if self.table().is_empty() {
            return;
        }
        let count = self.table().bucket_count();
        let share = (passed.as_secs_f64() / SWEEP.as_secs_f64()).min(1.0);
        let end = self.sweep_at + ((count as f64 * share).ceil() as usize).min(count);
        // Ages wrap, and are told apart for half of that: longer than that none is kept.
        let limit = self.ageing.map_or(u128::MAX, |ageing| ageing.as_nanos().div_ceil(tick.as_nanos().max(1)));
        let limit = if limit == u128::MAX { u16::MAX } else { limit.min(0x8000) as u16 };
        for range in [self.sweep_at..end.min(count), 0..end.saturating_sub(count)] {
            self.look_at(range, limit, against);
        }
        self.sweep_at = if end >= count { end - count } else { end };
    }

    /// Looks at the bindings of a range of buckets. The limit is in age ticks; [`u16::MAX`] is none.
    fn look_at(&mut self, buckets: std::ops::Range<usize>, limit: u16, against: Against<'_>) {
        if self.table().is_empty() {
            return;
        }
        for number in buckets {
            let bindings = self.table().bucket(number).collect::<arrayvec::ArrayVec<_, { BindingTable::SLOTS }>>();
            for (key, binding) in bindings.into_iter().filter(|(_, binding)| !is_static(binding)) {
                // What the kernel says goes when it says so, or with its bridge.
                let is_kernels = !is_learned(&binding);
                let here = learns(key.bridge, against.snapshot)
                    && (is_kernels || is_behind_access(key.bridge, binding.mac, against.fdb));
                let aged = !is_kernels && limit != u16::MAX && against.now.since(binding.heard) > limit;
                if !here || aged {
                    self.lacks_remote |= is_kernels;
                    self.remove(key);
                    let event = if here { BindingEvent::Aged } else { BindingEvent::Withdrawn };
                    self.telemetry.bindings.event(event);
                }
            }
        }
    }
}

fn is_learned(binding: &Binding) -> bool {
    binding.source == BindingSource::Learned
}

/// The kernel is told of it, and did not say it.
fn is_told(binding: &Binding) -> bool {
    binding.source != BindingSource::Kernel
}

fn is_static(binding: &Binding) -> bool {
    binding.source == BindingSource::Static
}

/// What others are told of a binding.
fn said(binding: &Binding) -> (MacAddr, Option<TargetFlags>) {
    (binding.mac, binding.flags)
}

/// True for a bridge that learns bindings.
pub fn learns(bridge: BridgeIndex, snapshot: &Snapshot) -> bool {
    snapshot.domains.get(usize::from(bridge.0)).is_some_and(|domain| domain.neighbours.learning)
}

/// True for a station that the FDB has behind an access port.
fn is_behind_access(bridge: BridgeIndex, mac: MacAddr, fdb: &Fdb) -> bool {
    let place = fdb.lookup(&fdb.probe(FdbKey::new(bridge, mac))).map(|value| value.location().kind());
    matches!(place, Some(LocationKind::Access(_)))
}
