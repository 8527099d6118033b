//! The gateway's state and its rounds: what the control thread runs.

mod following;
mod paths;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use thiserror::Error;
use tracing::warn;

use self::paths::PathState;
use super::compile::{PortFacts, compile};
use super::kernel::Kernel;
use super::learning::{Learning, Limits};
use super::registry::{Exhausted, Registry};
use super::static_entries::StaticChanges;
use super::underlay::Reach;
use crate::config::Config;
use crate::config::model::{Control, Port};
use crate::tables::learning::LearnRing;
use crate::tables::{ExceptionPath, Snapshot, Tables};
use crate::telemetry::ControlTelemetry;

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
    /// No memory for the FDB.
    #[error("there is no memory for an FDB of {max_entries} entries ({source}); lower `[fdb] max_entries`")]
    Memory {
        /// The entries asked for.
        max_entries: u32,
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
    telemetry: Arc<ControlTelemetry>,
    /// Snapshots that workers may still hold. They are freed here, when nobody does.
    retired: Vec<Arc<Snapshot>>,
    /// The kernel's tables, where remote VTEPs are reached as the kernel says.
    kernel: Option<Kernel>,
    /// What of that people see.
    reach: Arc<ArcSwap<Reach>>,
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
        let snapshot = compile(&config, &ports, &mut registry)?;
        let max_entries = config.fdb.max_entries;
        let (tables, writer) =
            Tables::new(snapshot, max_entries as usize).map_err(|source| StartError::Memory { max_entries, source })?;
        let now = Instant::now();
        let running = Arc::new(Running { config: Arc::new(config), ports, registry });
        let mut gateway = Self {
            tables,
            learning: Learning::new(writer, rings, Arc::clone(&telemetry)),
            telemetry,
            retired: Vec::new(),
            kernel: None,
            reach: Arc::default(),
            paths: PathState::new(now),
            reshaped: (now, Duration::ZERO),
            stations_missing: false,
            static_missing: false,
            running: Arc::new(ArcSwap::new(Arc::clone(&running))),
            clock: Ticking { number: 0, since: now, length: tick_length(running.config.fdb.ageing) },
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
        self.paths.mtus.apply(&mut snapshot, &running.registry);
        let replaced = self.tables.snapshot.swap(Arc::new(snapshot));
        self.running.store(Arc::clone(&running));
        self.learning.flush(&replaced, &self.tables.snapshot.load());
        self.retired.push(replaced);
        let mut changes = StaticChanges::between(&before, &running);
        if self.static_missing {
            // There may be room now for those that had none.
            changes.due = StaticChanges::all(&running).due;
        }
        self.settle(&running, &changes);
        self.repeat_stations();
        Ok(())
    }

    /// Tells the workers what the kernel gets of what uplinks receive, if that has changed. Reloads keep it.
    pub fn set_exception_path(&mut self, path: ExceptionPath) {
        let current = self.tables.snapshot.load_full();
        if current.exception != path {
            self.publish(Snapshot { exception: path, ..Snapshot::clone(&current) });
        }
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
        let mut per_bridge = Vec::new();
        let mut taught = HashSet::new();
        for bridge in &running.config.bridges {
            let Some(index) = running.registry.bridge(bridge.vni) else { continue };
            if bridge.control == Control::Kernel {
                taught.insert(index);
            }
            let index = usize::from(index.0);
            if per_bridge.len() <= index {
                per_bridge.resize(index + 1, None);
            }
            if let Some(limit) = per_bridge.get_mut(index) {
                *limit = bridge.max_macs;
            }
        }
        self.learning.set_limits(Limits { per_bridge, ageing: running.config.fdb.ageing, taught });
        changes.gone.iter().for_each(|key| self.learning.remove_static(*key));
        let refused = self.learning.install_static(&changes.due);
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
        let tick = tick_length(self.learning.ageing());
        let number = self.clock.number;
        self.clock.turn(now, tick);
        // Only when it changes: every worker reads it for every burst, and a store takes the line from all of them.
        if self.clock.number != number {
            self.tables.age.set(self.clock.number);
        }
        let now_tick = self.tables.age.now();
        let followed = self.follow_on(now);
        self.follow_paths(now);
        let events = self.learning.drain(&self.tables.snapshot.load(), now_tick);
        if let Some(ageing) = self.learning.ageing() {
            // The whole table once a tick, evenly spread over the rounds. A tick that has begun counts as passed.
            let share = (now - self.last_round).as_secs_f64() / tick.as_secs_f64();
            let limit = ageing.as_nanos().div_ceil(tick.as_nanos().max(1));
            self.learning.age(share.min(1.0), now_tick, limit as u16);
        }
        self.learning.reclaim();
        self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        self.last_round = now;
        events + followed
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

/// How long an age tick is, by the ageing time: a thirty-second of it, but not so long that an age is coarse, not so
/// short that workers write often, and not so short that 16 bits of ticks wrap within an age.
#[must_use]
pub fn tick_length(ageing: Option<Duration>) -> Duration {
    let Some(ageing) = ageing else { return Duration::from_secs(4) };
    let fine = (ageing / 32).clamp(Duration::from_millis(50), Duration::from_secs(4));
    fine.max(ageing / 16384)
}

/// Whether both lists open the same ports.
fn open_alike(before: &[Port], after: &[Port]) -> bool {
    before.len() == after.len() && before.iter().zip(after).all(|(before, after)| before.opens_as(after))
}

/// The first section that differs and is read only at the start.
fn needs_restart(before: &Config, after: &Config) -> Option<&'static str> {
    let checks = [
        ("[vtep] underlay", before.vtep.underlay != after.vtep.underlay),
        ("[dpdk]", before.dpdk != after.dpdk),
        ("[workers]", before.workers != after.workers),
        ("[[port]]", !open_alike(&before.ports, &after.ports)),
        ("[fdb] max_entries", before.fdb.max_entries != after.fdb.max_entries),
        ("[stats]", before.stats != after.stats),
        ("[api]", before.api != after.api),
    ];
    checks.into_iter().find_map(|(section, differs)| differs.then_some(section))
}
