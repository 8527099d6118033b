//! The kernel's tables, followed by the control thread: takes in what changes, compares all of it now and then, asks
//! for routes, and keeps next hops resolved.

mod overview;
mod telling;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tracing::{debug, info, warn};

use self::telling::Telling;
use super::adoption::Adoption;
use super::publishing::Publisher;
use super::underlay::{Underlay, Uplink, Ways};
use crate::config::Config;
use crate::netlink::{
    Change, Dumped, Dumper, Event, Executor, Listener, Mirror, Order, Outcome, Piece, Resynced, Routing, SocketError,
    Source, Table, Told,
};
use crate::telemetry::{ControlTelemetry, KernelTable, RemoteState};

/// Messages that one round takes in.
const EVENTS: usize = 2048;
/// How long start and stop wait for a piece of a dump before they look again.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long one round works on a resync.
const RESYNC_SHARE: Duration = Duration::from_micros(500);
/// Routes that one round asks for.
const QUERIES: usize = 128;
/// How often everything is compared although nothing seems to be missing.
const SLOWLY: Duration = Duration::from_secs(30);
/// How long after a resync began the next one may, if something was lost or it was given up.
const SOON: Duration = Duration::from_secs(1);
/// How often a table is asked for again that changed while it was dumped.
const TRIES: u32 = 5;
/// How long the end waits for next hops to be released.
const RELEASE: Duration = Duration::from_secs(5);
/// How often next hops are looked after when nothing changes.
const LOOK_AFTER: Duration = Duration::from_millis(250);

pub use self::overview::{BridgeOverview, Overview};

/// The kernel's tables, and what follows from them.
#[derive(Debug)]
pub struct Kernel {
    listener: Listener,
    dumps: Dumper,
    routing: Routing,
    /// Has next hops resolved, for which the kernel may take its time: longer than it takes another to remove its links.
    next_hops: Executor,
    mirror: Mirror,
    underlay: Underlay,
    adoption: Adoption,
    telling: Telling,
    telemetry: Arc<ControlTelemetry>,
    /// How far the running resync is.
    resync: Option<Progress>,
    /// When the last one began.
    resynced: Instant,
    /// Something was lost since then.
    doubt: bool,
    /// What the last one's dumps did not name is to be looked for once more. The one that does so is not followed by
    /// another: while entries go all the time, each leaves some out.
    second_look: bool,
    /// The one that runs, or ran last, is such a second look and nothing else.
    is_second_look: bool,
    /// Devices and stations were not settled in the last round, for ways had changed.
    adoption_waits: bool,
    looked_after: Instant,
}

/// A resync that runs: the place of its table in [`Table::ALL`], and how often that was asked for.
#[derive(Clone, Copy, Debug)]
struct Progress {
    table: usize,
    tries: u32,
}

/// What a round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// There was something to do, and there may be more.
    pub busy: bool,
    /// Ways have changed.
    pub ways_changed: bool,
    /// A remote VTEP has come within reach, or something else is in its way now.
    pub states_changed: bool,
}

impl Round {
    fn and(self, other: Self) -> Self {
        Self {
            busy: self.busy || other.busy,
            ways_changed: self.ways_changed || other.ways_changed,
            states_changed: self.states_changed || other.states_changed,
        }
    }
}

impl Kernel {
    /// Subscribes to the kernel's changes in the calling thread's network namespace, and reads all there is.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn follow(
        listener: Listener,
        uplinks: Vec<Uplink>,
        telemetry: Arc<ControlTelemetry>,
    ) -> Result<Self, SocketError> {
        let now = Instant::now();
        let mut kernel = Self {
            listener,
            dumps: Dumper::start()?,
            routing: Routing::open()?,
            next_hops: Executor::start(Executor::NEXT_HOPS_THREAD)?,
            mirror: Mirror::default(),
            underlay: Underlay::new(uplinks),
            adoption: Adoption::new(),
            telling: Telling::new(),
            telemetry,
            resync: None,
            resynced: now,
            doubt: false,
            second_look: false,
            is_second_look: false,
            adoption_waits: false,
            looked_after: now,
        };
        kernel.compare();
        kernel.count();
        let entries = kernel.mirror.entries();
        info!(
            links = entries.links,
            neighbours = entries.neighbours,
            fdb = entries.tunnelled + entries.floods + entries.bridged,
            duration = ?now.elapsed(),
            "the kernel's tables are mirrored"
        );
        Ok(kernel)
    }

    /// Which remote VTEPs' ways are wanted. The routes of new ones are asked for at once.
    pub fn set_remotes(&mut self, remotes: &BTreeSet<IpAddr>) {
        self.underlay.set_remotes(remotes, Instant::now());
        self.ask(usize::MAX);
        self.settle();
        // A next hop that nobody has spoken to yet is to be resolved before the first packet wants to go there.
        self.look_after();
    }

    /// Which bridges' remote side is wanted.
    pub fn set_bridges(&mut self, config: &Config) {
        self.adoption.set_bridges(config, &self.mirror, Instant::now());
        self.telling.set_bridges(config);
        self.count();
    }

    /// The bridges whose remote side the kernel says.
    #[must_use]
    pub fn adoption(&self) -> &Adoption {
        &self.adoption
    }

    /// [`Kernel::adoption`], to take from it what is to be done.
    pub fn adoption_mut(&mut self) -> &mut Adoption {
        &mut self.adoption
    }

    /// What the kernel is told of stations behind access ports, to tell it more.
    pub fn publisher_mut(&mut self) -> &mut Publisher {
        &mut self.telling.publisher
    }

    /// Every remote VTEP with its ways.
    pub fn ways(&self) -> impl Iterator<Item = (IpAddr, &Ways)> {
        self.underlay.ways()
    }

    /// The mirror.
    #[must_use]
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// The remote VTEPs and what is known of them.
    #[must_use]
    pub fn underlay(&self) -> &Underlay {
        &self.underlay
    }

    /// One round: takes in what the kernel told, works on the resync that runs, asks for routes.
    pub fn round(&mut self, now: Instant) -> Round {
        let events = self.take_in(now);
        let soon = now.saturating_duration_since(self.resynced);
        if self.resync.is_none() && (soon >= SLOWLY || (self.doubt || self.second_look) && soon >= SOON) {
            self.begin_resync(now);
        }
        let resyncing = self.resync_until(Instant::now() + RESYNC_SHARE, Duration::ZERO);
        // A link or a neighbour that failed is out of use before anything else is done: to look at all stations again
        // may take long, and is left to the next round, which follows at once.
        let mut round = self.settle();
        if round.ways_changed && !std::mem::replace(&mut self.adoption_waits, true) {
            round.busy = true;
        } else {
            self.adoption_waits = false;
            round.busy |= self.adoption.settle(&self.mirror, now);
            round.busy |= self.tell(now);
        }
        if self.underlay.is_due(now) {
            self.ask(QUERIES);
            round = round.and(self.settle());
        }
        if round.ways_changed || round.states_changed || now.saturating_duration_since(self.looked_after) >= LOOK_AFTER
        {
            self.looked_after = now;
            self.look_after();
        }
        if events > 0 || resyncing {
            self.count();
        }
        Round { busy: round.busy || events > 0 || resyncing, ..round }
    }

    /// Takes in what the kernel told.
    fn take_in(&mut self, now: Instant) -> usize {
        let telemetry = &self.telemetry.kernel;
        let mut taken = 0;
        while taken < EVENTS
            && let Some(received) = self.listener.next()
        {
            taken += 1;
            let lag = received.at.elapsed().as_nanos() as u64;
            if lag > telemetry.lag.get() {
                telemetry.lag.set(lag);
            }
            match received.told {
                Told::Event(event) => {
                    telemetry.events.increment();
                    let noting = (&mut self.underlay, &mut self.adoption, &mut self.telling);
                    apply(&mut self.mirror, noting, event, Source::Event, now);
                }
                Told::Lost => {
                    telemetry.overruns.increment();
                    if !std::mem::replace(&mut self.doubt, true) {
                        warn!("the kernel dropped messages about its tables; they are compared anew");
                    }
                }
            }
        }
        taken
    }

    /// The heartbeat of the thread that has next hops resolved.
    #[must_use]
    pub fn next_hops_heartbeat(&self) -> Arc<AtomicU64> {
        self.next_hops.heartbeat()
    }

    /// The heartbeat of the thread that reads the kernel's tables.
    #[must_use]
    pub fn dumps_heartbeat(&self) -> Arc<AtomicU64> {
        self.dumps.heartbeat()
    }

    /// Reads all there is now, after what a resync that runs has left to read.
    fn compare(&mut self) {
        while self.resync.is_some() {
            self.resync_until(Instant::now() + RESYNC_SHARE, PATIENCE);
        }
        self.begin_resync(Instant::now());
        while self.resync.is_some() {
            self.resync_until(Instant::now() + RESYNC_SHARE, PATIENCE);
        }
    }

    fn begin_resync(&mut self, now: Instant) {
        self.mirror.begin_resync();
        self.resync = Some(Progress { table: 0, tries: 0 });
        let second_look = std::mem::take(&mut self.second_look);
        self.is_second_look = second_look && !self.doubt && now.saturating_duration_since(self.resynced) < SLOWLY;
        (self.resynced, self.doubt) = (now, false);
        self.telemetry.kernel.lag.set(0);
        if let Err(error) = self.ask_for_table() {
            self.give_up_resync(&error);
        }
    }

    /// Asks for the table that is next, or ends the resync if there is none.
    fn ask_for_table(&mut self) -> io::Result<()> {
        let Some(progress) = self.resync else { return Ok(()) };
        match Table::ALL.get(progress.table) {
            Some(table) => self.dumps.ask(*table),
            None => {
                self.end_resync();
                Ok(())
            }
        }
    }

    /// Works on the resync that runs as long as there are pieces, each within `patience`. True where there was one.
    fn resync_until(&mut self, end: Instant, patience: Duration) -> bool {
        let mut taken = false;
        while let Some(progress) = self.resync
            && let Some(piece) = self.dumps.next(patience)
        {
            taken = true;
            if let Err(error) = self.dump_on(progress, piece) {
                self.give_up_resync(&error);
            }
            if Instant::now() >= end {
                break;
            }
        }
        taken
    }

    fn dump_on(&mut self, progress: Progress, piece: Piece) -> io::Result<()> {
        let now = Instant::now();
        let Self { mirror, underlay, adoption, telling, .. } = self;
        for event in piece.events {
            apply(mirror, (&mut *underlay, &mut *adoption, &mut *telling), event, Source::Dump, now);
        }
        let next = match piece.dumped? {
            Dumped::More => return Ok(()),
            Dumped::All => Progress { table: progress.table + 1, tries: 0 },
            Dumped::Interrupted if progress.tries < TRIES => Progress { tries: progress.tries + 1, ..progress },
            Dumped::Interrupted => return Err(io::Error::other("a table changed each time it was read")),
        };
        self.resync = Some(next);
        self.ask_for_table()
    }

    fn end_resync(&mut self) {
        let now = Instant::now();
        self.resync = None;
        let Resynced { changes, in_doubt } = self.mirror.end_resync();
        debug!(gone = changes.len(), in_doubt, duration = ?(now - self.resynced), "resync completed");
        self.second_look = in_doubt > 0 && !self.is_second_look;
        for change in changes {
            note(change, &self.mirror, (&mut self.underlay, &mut self.adoption, &mut self.telling), now);
        }
        if !self.is_second_look {
            self.underlay.doubt_all(now);
            self.adoption.repeat();
        }
        self.telemetry.kernel.resyncs.increment();
    }

    fn give_up_resync(&mut self, error: &io::Error) {
        warn!(%error, "the comparison with the kernel's tables was given up; the next one follows soon");
        self.resync = None;
        self.mirror.abandon_resync();
        self.doubt = true;
        self.telemetry.kernel.resync_failures.increment();
    }

    /// Asks for the routes of remote VTEPs in doubt.
    fn ask(&mut self, most: usize) {
        for _ in 0..most {
            let Some(remote) = self.underlay.next_doubtful() else { return };
            self.telemetry.kernel.route_queries.increment();
            match self.routing.route(remote) {
                Ok(route) => self.underlay.answered(remote, route, &self.mirror),
                // What was known stays in use; the next resync asks again.
                Err(error) => warn!(%remote, %error, "the kernel does not say the route to a remote VTEP"),
            }
        }
    }

    /// Works out ways anew where something has changed for them.
    fn settle(&mut self) -> Round {
        if self.underlay.is_settled() {
            return Round::default();
        }
        let settled = self.underlay.settle(&self.mirror);
        let telemetry = &self.telemetry.kernel;
        telemetry.way_changes.add(settled.ways.len() as u64);
        for (state, count) in RemoteState::ALL.iter().zip(self.underlay.states()) {
            telemetry.remotes(*state).set(count as u64);
        }
        let state = |remote: &IpAddr| self.underlay.state(*remote).unwrap_or(RemoteState::NoRoute);
        let (reached, lost): (Vec<&IpAddr>, Vec<&IpAddr>) =
            settled.ways.iter().partition(|remote| state(remote) == RemoteState::Reachable);
        if let Some(first) = lost.first() {
            let why = state(first).name();
            warn!(remotes = lost.len(), first = %first, why, "remote VTEPs have no way any more");
        }
        if let Some(first) = reached.first() {
            info!(remotes = reached.len(), first = %first, "ways to remote VTEPs have changed");
        }
        Round { busy: false, ways_changed: !settled.ways.is_empty(), states_changed: settled.states }
    }

    /// Has the kernel look after next hops. Where it is still busy with the last ones, that waits.
    fn look_after(&mut self) {
        while let Some(outcomes) = self.next_hops.next() {
            outcomes.iter().for_each(note_care);
        }
        if !self.next_hops.has_room() {
            return;
        }
        let orders = self.underlay.care(&self.mirror, Instant::now());
        if !orders.is_empty() && self.next_hops.give(orders).is_err() {
            debug!("the thread that has next hops resolved has ended");
        }
    }

    fn count(&self) {
        let entries = self.mirror.entries();
        let counts = [
            (KernelTable::Links, entries.links),
            (KernelTable::Addresses, entries.addresses),
            (KernelTable::Neighbours, entries.neighbours),
            (KernelTable::NextHops, entries.next_hops),
            (KernelTable::VxlanFdb, entries.tunnelled),
            (KernelTable::FloodLists, entries.floods),
            (KernelTable::BridgeFdb, entries.bridged),
        ];
        self.telemetry.kernel.stations.set(self.adoption.station_count() as u64);
        for (table, count) in counts {
            self.telemetry.kernel.entries(table).set(count as u64);
        }
    }
}

/// What became of a next hop's care. That one which is to be released is there no more, nor its link perhaps, is no fault.
fn note_care(outcome: &Outcome) {
    let is_gone =
        matches!(outcome, Outcome { order: Order::Release { .. }, result: Err(Errno::ENOENT | Errno::ENODEV) });
    if let (Err(error), false) = (outcome.result, is_gone) {
        debug!(order = ?outcome.order, %error, "the kernel does not look after a next hop");
    }
}

impl Drop for Kernel {
    /// Next hops are no longer this process's concern.
    fn drop(&mut self) {
        let orders = self.underlay.releases(&self.mirror);
        let count = orders.len();
        let outcomes = self.next_hops.finish(orders, RELEASE);
        outcomes.iter().for_each(note_care);
        let released = outcomes.iter().filter(|outcome| matches!(outcome.order, Order::Release { .. })).count();
        if released < count {
            warn!(
                next_hops = count - released,
                "the kernel did not answer in time: it goes on resolving next hops that the gateway needs no more"
            );
        }
    }
}

/// Takes a message into the mirror, and has those note what changed by it who work by it.
fn apply(
    mirror: &mut Mirror,
    noting: (&mut Underlay, &mut Adoption, &mut Telling),
    event: Event,
    source: Source,
    now: Instant,
) {
    if let Some(change) = mirror.apply(event, source) {
        note(change, mirror, noting, now);
    }
}

fn note(
    change: Change,
    mirror: &Mirror,
    (underlay, adoption, telling): (&mut Underlay, &mut Adoption, &mut Telling),
    now: Instant,
) {
    underlay.note(change, mirror, now);
    adoption.note(change, mirror, now);
    telling.note(change, mirror);
}
