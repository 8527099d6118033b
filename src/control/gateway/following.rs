//! The gateway follows the kernel: the ways to remote VTEPs that no `[[neighbour]]` names are the kernel's to say, and
//! so is the remote side of bridges with `control` "kernel".

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use tracing::{debug, warn};

use super::{Gateway, Running};
use crate::config::Config;
use crate::config::model::Neighbour;
use crate::control::Kernel;
use crate::control::adoption::{Due, all_said};
use crate::control::compile::{compile, compile_with, next_hop, remotes};
use crate::control::registry::{Exhausted, Registry};
use crate::control::underlay::{Reach, Ways};
use crate::tables::fdb::{FdbKey, FdbValue, InsertError};
use crate::tables::tunnel::NextHop;
use crate::tables::{Location, Snapshot};

/// Stations that one round brings up to date.
const STATIONS: usize = 4096;

impl Gateway {
    /// Lets the kernel say what is its to say from now on.
    pub fn follow(&mut self, mut kernel: Kernel) {
        kernel.set_bridges(&self.running.load().config);
        self.reshape(&mut kernel);
        while self.update_stations(&mut kernel) > 0 {}
        self.kernel = Some(kernel);
    }

    /// The remote VTEPs whose ways the kernel says, for the stats thread.
    #[must_use]
    pub fn reach(&self) -> &Arc<ArcSwap<Reach>> {
        &self.reach
    }

    /// A round with the kernel. Gives how much there was to do.
    pub(super) fn follow_on(&mut self, now: Instant) -> usize {
        let Some(mut kernel) = self.kernel.take() else { return 0 };
        let round = kernel.round(now);
        if kernel.adoption_mut().take_shape_change(now, self.reshaped) {
            self.reshape(&mut kernel);
        } else {
            if round.ways_changed {
                self.publish_ways(&self.running.load_full(), &kernel);
            }
            if round.ways_changed || round.states_changed {
                self.reach.store(Arc::new(kernel.underlay().reach()));
            }
        }
        let stations = self.update_stations(&mut kernel);
        self.kernel = Some(kernel);
        usize::from(round.busy) + stations
    }

    /// Compiles a config that is to run after `before` with what the kernel says of its bridges.
    pub(super) fn compile_followed(
        &mut self,
        config: &Config,
        before: &Running,
        registry: &mut Registry,
    ) -> Result<Snapshot, Exhausted> {
        let Some(kernel) = &mut self.kernel else { return compile(config, &before.ports, registry) };
        kernel.set_bridges(config);
        let compiled = compile_with(config, kernel.adoption().said(), &before.ports, registry);
        if compiled.is_err() {
            kernel.set_bridges(&before.config);
        }
        compiled
    }

    /// Puts the kernel's ways into a snapshot that was compiled from a config which is about to run.
    pub(super) fn lead(&mut self, snapshot: &mut Snapshot, running: &Running) {
        if let Some(kernel) = &mut self.kernel {
            kernel.set_remotes(&left_to_the_kernel(&running.config, kernel));
            set_ways(snapshot, running, kernel);
            self.reach.store(Arc::new(kernel.underlay().reach()));
        }
    }

    /// Looks at the entries of all stations again, whose bridges may have other indices now.
    pub(super) fn repeat_stations(&mut self) {
        if let Some(kernel) = &mut self.kernel {
            kernel.adoption_mut().repeat();
        }
    }

    /// Makes a snapshot with the flood lists and the remote VTEPs that the kernel says now.
    fn reshape(&mut self, kernel: &mut Kernel) {
        let began = Instant::now();
        let before = self.running.load_full();
        let mut registry = before.registry.clone();
        let said = kernel.adoption().said();
        let mut snapshot = match compile_with(&before.config, said, &before.ports, &mut registry) {
            Ok(snapshot) => snapshot,
            Err(error) => return warn!(%error, "the kernel says more than the gateway takes; nothing of it is changed"),
        };
        snapshot.exception = self.tables.snapshot.load().exception;
        let running = Running { config: Arc::clone(&before.config), ports: before.ports.clone(), registry };
        kernel.set_remotes(&left_to_the_kernel(&running.config, kernel));
        set_ways(&mut snapshot, &running, kernel);
        self.paths.mtus.apply(&mut snapshot, &running.registry);
        self.reach.store(Arc::new(kernel.underlay().reach()));
        let replaced = self.tables.snapshot.swap(Arc::new(snapshot));
        self.running.store(Arc::new(running));
        self.learning.flush(&replaced, &self.tables.snapshot.load());
        self.flush_bindings();
        self.retired.push(replaced);
        self.reshaped = (Instant::now(), began.elapsed());
    }

    /// Brings the entries of stations up to date of which the kernel has said something. Gives how many.
    fn update_stations(&mut self, kernel: &mut Kernel) -> usize {
        let running = self.running.load_full();
        let (mut updated, mut refused) = (0, None);
        for _ in 0..kernel.adoption().waiting().min(STATIONS) {
            let Some(due) = kernel.adoption_mut().next_due() else { break };
            match self.update_station(due, kernel, &running) {
                Ok(true) => updated += 1,
                Ok(false) => kernel.adoption_mut().put_off(due),
                Err(error) => refused = Some(error),
            }
        }
        if let Some(error) = refused
            && !std::mem::replace(&mut self.stations_missing, true)
        {
            warn!(%error, "stations that the kernel says have no place in the FDB; raise `[fdb] max_entries`");
        }
        if updated > 0 {
            debug!(updated, "stations of the kernel's");
        }
        updated
    }

    /// True where that was done, false where it has to wait for a snapshot that has the remote VTEP.
    fn update_station(&mut self, due: Due, kernel: &Kernel, running: &Running) -> Result<bool, InsertError> {
        let Some(bridge) = running.registry.bridge(due.vni) else { return Ok(true) };
        let key = FdbKey::new(bridge, due.mac);
        let Some(station) = kernel.adoption().station(due.vni, due.mac) else {
            self.learning.remove_external(key);
            return Ok(true);
        };
        let Some(tunnel) = running.registry.tunnel(station.remote) else { return Ok(false) };
        let value = FdbValue::external(Location::tunnel(tunnel), station.sticky);
        self.learning.install_external(key, value, due.news, &self.tables.snapshot.load())?;
        Ok(true)
    }

    fn publish_ways(&mut self, running: &Running, kernel: &Kernel) {
        let mut snapshot = Snapshot::clone(&self.tables.snapshot.load());
        set_ways(&mut snapshot, running, kernel);
        self.paths.mtus.apply(&mut snapshot, &running.registry);
        self.publish(snapshot);
    }
}

/// The remote VTEPs without a `[[neighbour]]`.
fn left_to_the_kernel(config: &Config, kernel: &Kernel) -> BTreeSet<IpAddr> {
    let fixed: HashSet<IpAddr> = config.neighbours.iter().map(|neighbour| neighbour.address).collect();
    let all = remotes(config).into_iter().chain(all_said(kernel.adoption().said()));
    all.filter(|address| !fixed.contains(address)).collect()
}

fn set_ways(snapshot: &mut Snapshot, running: &Running, kernel: &Kernel) {
    for (address, ways) in kernel.ways() {
        let place = running.registry.tunnel(address).and_then(|index| snapshot.next_hops.get_mut(usize::from(index.0)));
        if let Some(next_hop) = place {
            *next_hop = first_way(running, address, ways).unwrap_or(NextHop::UNKNOWN);
        }
    }
}

/// The way of the first slot.
fn first_way(running: &Running, address: IpAddr, ways: &Ways) -> Option<NextHop> {
    let way = ways.list.get(*ways.slots.first()?)?;
    let neighbour = Neighbour { address, mac: way.mac, port: way.port };
    next_hop(&running.config, &neighbour, &running.ports, way.mtu)
}
