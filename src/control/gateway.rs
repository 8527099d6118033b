//! The gateway's state and its rounds: what the control thread runs.

mod following;
mod next_hop_groups;
mod paths;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustc_hash::FxHashMap;
use thiserror::Error;
use tracing::warn;

use self::paths::PathState;
use super::bindings::{Against, Bindings};
use super::compile::{PortFacts, compile};
use super::discovery::Discovery;
use super::kernel::{Kernel, Overview};
use super::learning::{BridgeRules, Learning, Rules, is_place_of};
use super::registry::{Exhausted, Registry};
use super::requests::FdbRequest;
use super::snooping::Snooping;
use super::static_entries::StaticChanges;
use super::underlay::Reach;
use crate::config::Config;
use crate::config::model::{self, Control};
use crate::tables::bindings::{Binding, BindingKey, BindingSource};
use crate::tables::fdb::AgeTick;
use crate::tables::learning::LearnRing;
use crate::tables::{ExceptionPath, FdbKey, Snapshot, Tables};
use crate::telemetry::ControlTelemetry;
use crate::wire::MacAddr;
use crate::wire::nd::TargetFlags;

/// The config that runs, with the indices its parts have. Published as a whole at each reload.
#[derive(Clone, Debug)]
pub struct Running {
    /// The config.
    pub config: Arc<Config>,
    /// The ports as they were opened, in the config's order.
    pub ports: Vec<PortFacts>,
    /// The indices of bridges, members and remote VTEPs.
    pub registry: Registry,
}

/// Why a gateway does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// More of something than there are indices.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// No memory for the FDB and the bindings.
    #[error(
        "there is no memory for an FDB of {max_entries} entries and {max_bindings} MAC+IP bindings ({source}); lower \
         `max_entries` or `max_bindings` in [fdb]"
    )]
    Memory {
        /// The entries asked for.
        max_entries: u32,
        /// The bindings asked for.
        max_bindings: u32,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a new config was not applied. The running one is as it was.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// More of something than there are indices.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// A section that is read only at the start.
    #[error("`{0}` differs from the running config and takes effect only at a start; restart the daemon to apply it")]
    NeedsRestart(&'static str),
}

/// The gateway's state. Its one thread calls [`Gateway::round`] over and over.
#[derive(Debug)]
pub struct Gateway {
    tables: Arc<Tables>,
    running: Arc<ArcSwap<Running>>,
    learning: Learning,
    bindings: Bindings,
    telemetry: Arc<ControlTelemetry>,
    /// Snapshots that workers may still hold. They are freed here, when nobody does.
    retired: Vec<Arc<Snapshot>>,
    /// The kernel's tables, where remote VTEPs are reached as the kernel says.
    kernel: Option<Kernel>,
    /// What of that people see.
    reach: Arc<ArcSwap<Reach>>,
    /// The bridges that the kernel controls, as people see them, and when that was brought up to date.
    overview: Arc<ArcSwap<Overview>>,
    overlooked: Instant,
    /// Remote VTEPs that nobody named.
    discovery: Discovery,
    /// Who wants which multicast group.
    snooping: Snooping,
    /// What is known of the paths to remote VTEPs.
    paths: PathState,
    /// When the last snapshot with the kernel's flood lists and remote VTEPs was ready, and how long it took.
    reshaped: (Instant, Duration),
    /// Stations that the kernel says are missing in the FDB for want of room, and that was logged.
    stations_missing: bool,
    /// True while static entries are missing that the FDB had no room for.
    static_missing: bool,
    clock: Ticking,
    last_round: Instant,
}

impl Gateway {
    /// A gateway that runs this config on ports with these facts, for workers that report through these rings.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        config: Config,
        ports: Vec<PortFacts>,
        rings: Vec<Arc<LearnRing>>,
        telemetry: Arc<ControlTelemetry>,
    ) -> Result<Self, StartError> {
        let mut registry = Registry::default();
        let mut snapshot = compile(&config, &ports, &mut registry)?;
        let now = Instant::now();
        let mut snooping = Snooping::new(Arc::clone(&telemetry), now);
        snooping.adopt(&mut snapshot);
        let (max_entries, max_bindings) = (config.fdb.max_entries, config.fdb.max_bindings);
        let (tables, writer, binding_writer) = Tables::new(snapshot, max_entries as usize, max_bindings as usize)
            .map_err(|source| StartError::Memory { max_entries, max_bindings, source })?;
        let running = Arc::new(Running { config: Arc::new(config), ports, registry });
        let mut gateway = Self {
            tables,
            bindings: Bindings::new(binding_writer, rings.clone(), Arc::clone(&telemetry)),
            learning: Learning::new(writer, rings, Arc::clone(&telemetry)),
            telemetry,
            retired: Vec::new(),
            kernel: None,
            reach: Arc::default(),
            overview: Arc::default(),
            overlooked: now,
            discovery: Discovery::new(now),
            snooping,
            paths: PathState::new(now),
            reshaped: (now, Duration::ZERO),
            stations_missing: false,
            static_missing: false,
            running: Arc::new(ArcSwap::new(Arc::clone(&running))),
            clock: Ticking { number: 0, since: now, length: tick_length(running.config.ageing_times()) },
            last_round: now,
        };
        gateway.settle(&running, &StaticChanges::all(&running));
        Ok(gateway)
    }

    /// The tables, for workers and the stats thread.
    #[must_use]
    pub fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    /// The config that runs, for the stats thread.
    #[must_use]
    pub fn running(&self) -> &Arc<ArcSwap<Running>> {
        &self.running
    }

    /// Applies a new config: bridges, remote VTEPs, next hops, static entries and the FDB's limits. What did not change
    /// loses no packet.
    ///
    /// # Errors
    /// [`ApplyError`]; the running config is then as it was.
    pub fn apply(&mut self, config: Config) -> Result<(), ApplyError> {
        let before = self.running.load_full();
        if let Some(section) = needs_restart(&before.config, &config) {
            return Err(ApplyError::NeedsRestart(section));
        }
        let mut registry = before.registry.clone();
        let mut snapshot = self.compile_followed(&config, &before, &mut registry)?;
        snapshot.exception = self.tables.snapshot.load().exception;
        let running = Arc::new(Running { config: Arc::new(config), ports: before.ports.clone(), registry });
        self.lead(&mut snapshot, &running);
        self.snooping.adopt(&mut snapshot);
        self.paths.mtus.apply(&mut snapshot, &running.registry);
        let replaced = self.tables.snapshot.swap(Arc::new(snapshot));
        self.running.store(Arc::clone(&running));
        self.learning.flush(&replaced, &self.tables.snapshot.load());
        self.publish_stations(&replaced);
        self.flush_bindings();
        self.bindings.config_changed();
        self.retired.push(replaced);
        let mut changes = StaticChanges::between(&before, &running);
        if self.static_missing {
            // There may be room now for those that had none.
            changes.due = StaticChanges::all(&running).due;
        }
        self.settle(&running, &changes);
        self.publish_again(&before, &running);
        self.repeat_stations();
        Ok(())
    }

    /// Does what somebody asks about the FDB.
    pub fn serve(&mut self, request: FdbRequest) {
        let snapshot = self.tables.snapshot.load();
        // Whoever asked may have gone.
        match request {
            FdbRequest::History(filter, answer) => {
                let _ = answer.send(self.learning.recorder().find(&filter));
            }
            FdbRequest::Unfreeze(filter, answer) => {
                let _ = answer.send(self.learning.release_frozen(&filter, &snapshot) as u64);
            }
            FdbRequest::Flush(order, answer) => self.learning.order_flush(order, answer),
        }
    }

    /// Tells the workers what the kernel gets of what uplinks receive, if that has changed. Reloads keep it.
    pub fn set_exception_path(&mut self, path: ExceptionPath) {
        let current = self.tables.snapshot.load_full();
        if current.exception != path {
            self.publish(Snapshot { exception: path, ..Snapshot::clone(&current) });
        }
    }

    /// Forgets the bindings that the snapshot in force has no place for.
    pub(super) fn flush_bindings(&mut self) {
        let snapshot = self.tables.snapshot.load();
        let against = Against { fdb: &self.tables.fdb, snapshot: &snapshot, now: self.tables.age.now() };
        self.bindings.flush(against);
    }

    /// Puts a snapshot in force.
    fn publish(&mut self, snapshot: Snapshot) {
        self.retired.push(self.tables.snapshot.swap(Arc::new(snapshot)));
    }

    /// Counts a reload, applied or refused.
    pub fn count_reload(&self, applied: bool) {
        if applied { self.telemetry.reloads.increment() } else { self.telemetry.reload_failures.increment() }
    }

    /// Brings limits and static entries to what a config says.
    fn settle(&mut self, running: &Running, changes: &StaticChanges) {
        self.learning.set_rules(rules(running), &self.tables.snapshot.load());
        self.bindings.set_ageing(running.config.fdb.binding_ageing);
        self.bindings.set_told(following::taught(running));
        let freed = self.bindings.set_fixed(fixed_bindings(running));
        self.ask_remote_bindings(running, &freed);
        changes.gone.iter().for_each(|key| self.learning.remove_static(*key));
        let refused = self.learning.install_static(&changes.due, &self.tables.snapshot.load());
        if let Some((count, error)) = refused {
            warn!(entries = count, %error, "static entries were not installed; raise `[fdb] max_entries`");
        }
        self.static_missing = refused.is_some();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.telemetry.config_applied.set(now.as_secs());
    }

    /// One round: takes in what the kernel told, learns what workers reported, ages a share of the FDB, frees what nobody
    /// holds any more. Gives how many events there were.
    pub fn round(&mut self) -> usize {
        self.round_at(Instant::now())
    }

    /// A [`Gateway::round`] at this time, which is not before that of the last one.
    pub fn round_at(&mut self, now: Instant) -> usize {
        self.telemetry.rounds.increment();
        let tick = self.learning.tick();
        let number = self.clock.number;
        self.clock.turn(now, tick);
        // Only when it changes: every worker reads it for every burst, and a store takes the line from all of them.
        if self.clock.number != number {
            self.tables.age.set(self.clock.number);
        }
        let now_tick = self.tables.age.now();
        let followed = self.follow_on(now);
        self.take_remote_bindings(now_tick);
        self.follow_paths(now);
        self.snoop(now);
        self.bindings.take_reports();
        let snapshot = self.tables.snapshot.load_full();
        let events = self.learning.drain(&snapshot, now_tick, now);
        self.learning.end_freezes(&snapshot, now);
        let flushing = self.learning.flush_on(&snapshot);
        let against = Against { fdb: &self.tables.fdb, snapshot: &snapshot, now: now_tick };
        let reports = self.bindings.apply_reports(against);
        // The whole table once a tick, evenly spread over the rounds.
        let share = (now - self.last_round).as_secs_f64() / tick.as_secs_f64();
        self.learning.age(share.min(1.0), now_tick, &snapshot);
        self.bindings.sweep(now - self.last_round, tick, against);
        self.publish_stations(&snapshot);
        drop(snapshot);
        self.publish_bindings();
        self.learning.reclaim();
        self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        self.last_round = now;
        events + reports + followed + usize::from(flushing)
    }
}

impl Gateway {
    /// Takes in what workers heard of multicast groups, and publishes what has changed by it.
    fn snoop(&mut self, now: Instant) {
        let snapshot = self.tables.snapshot.load();
        let snooping = &mut self.snooping;
        if !snooping.is_idle() {
            self.learning.take_heard(|heard| {
                let domain = snapshot.domains.get(usize::from(heard.bridge.0));
                // A VTEP that is not known yet can be reached by the bridge's group, where it has one.
                let is_reached = domain.is_some_and(|domain| domain.discovers)
                    || is_place_of(FdbKey::new(heard.bridge, MacAddr::ZERO), heard.place, &snapshot);
                if is_reached {
                    snooping.hear(&heard, now);
                }
            });
        }
        snooping.round(&snapshot, now);
    }
}

/// The FDB's clock. Its ticks change their length with a reload that changes the ageing time, but go on counting, so
/// that no age becomes wild: what was heard of a few ticks ago was so before and after.
#[derive(Debug)]
struct Ticking {
    number: u64,
    since: Instant,
    length: Duration,
}

impl Ticking {
    /// Turns to `now`; from then on ticks are of this length.
    fn turn(&mut self, now: Instant, length: Duration) {
        let nanoseconds = self.length.as_nanos().max(1);
        let passed = (now - self.since).as_nanos() / nanoseconds;
        if passed > 0 {
            self.number += passed as u64;
            self.since = now - Duration::from_nanos(((now - self.since).as_nanos() % nanoseconds) as u64);
        }
        if length != self.length {
            // What has passed of the tick that has begun would be many of a shorter length.
            self.length = length;
            self.since = now;
        }
    }
}

/// The bindings that a running config says.
fn fixed_bindings(running: &Running) -> FxHashMap<BindingKey, Binding> {
    let binding = |said: &model::Binding| {
        let key = BindingKey { bridge: running.registry.bridge(said.vni)?, address: said.address };
        let flags = if said.router { TargetFlags::ROUTER } else { TargetFlags::default() }.and(TargetFlags::OVERRIDE);
        Some((key, Binding { mac: said.mac, source: BindingSource::Static, flags: Some(flags), heard: AgeTick(0) }))
    };
    running.config.bindings.iter().filter_map(binding).collect()
}

/// How a running config has each bridge learn.
fn rules(running: &Running) -> Rules<'_> {
    let config = &running.config;
    let tick = tick_length(config.ageing_times());
    // A tick that has begun counts as passed.
    let ticks = |ageing: Duration| ageing.as_nanos().div_ceil(tick.as_nanos().max(1)) as u16;
    let mut bridges = Vec::new();
    for bridge in &config.bridges {
        let Some(index) = running.registry.bridge(bridge.vni).map(|index| usize::from(index.0)) else { continue };
        if bridges.len() <= index {
            bridges.resize(index + 1, BridgeRules::default());
        }
        if let Some(rules) = bridges.get_mut(index) {
            let taught = bridge.control == Control::Kernel;
            *rules = BridgeRules { max_macs: bridge.max_macs, ageing: bridge.ageing.map(ticks), taught };
        }
    }
    Rules { tick, bridges, ports: &config.ports, damping: config.fdb.damping }
}

/// How long an age tick is, by the ageing times of all bridges: a thirty-second of the shortest, but not so long that an
/// age is coarse, not so short that workers write often, and not so short that 16 bits of ticks wrap within the longest.
#[must_use]
pub fn tick_length(ageing: impl IntoIterator<Item = Duration>) -> Duration {
    let both = |(shortest, longest): (Duration, Duration), next| (shortest.min(next), longest.max(next));
    let Some((shortest, longest)) =
        ageing.into_iter().map(|time| (time, time)).reduce(|so_far, next| both(so_far, next.0))
    else {
        return Duration::from_secs(4);
    };
    let fine = (shortest / 32).clamp(Duration::from_millis(50), Duration::from_secs(4));
    fine.max(longest / 16384)
}

/// The first section that differs and is read only at the start.
fn needs_restart(before: &Config, after: &Config) -> Option<&'static str> {
    let opens_as = before.ports.iter().zip(&after.ports).all(|(port, other)| port.opens_as(other));
    let checks = [
        ("[vtep] underlay", before.vtep.underlay != after.vtep.underlay),
        ("[dpdk]", before.dpdk != after.dpdk),
        ("[workers]", before.workers != after.workers),
        ("[[port]]", before.ports.len() != after.ports.len() || !opens_as),
        ("[fdb] max_entries", before.fdb.max_entries != after.fdb.max_entries),
        ("[fdb] max_bindings", before.fdb.max_bindings != after.fdb.max_bindings),
        ("[stats]", before.stats != after.stats),
        ("[api]", before.api != after.api),
    ];
    checks.into_iter().find_map(|(section, differs)| differs.then_some(section))
}
