//! The gateway follows the kernel: the ways to remote VTEPs that no `[[neighbour]]` names are the kernel's to say, and
//! so is the remote side of bridges with `control` "kernel".

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tracing::{debug, warn};

use super::next_hop_groups::set_ways;
use super::{Gateway, Running};
use crate::config::Config;
use crate::config::model::Control;
use crate::control::adoption::{Due, all_said};
use crate::control::bindings::LearnedChange;
use crate::control::bindings::learns;
use crate::control::compile::{compile, compile_with, remotes};
use crate::control::discovery::Discovery;
use crate::control::kernel::{Kernel, Overview};
use crate::control::learning::LocalChange;
use crate::control::publishing::{Publisher, RemoteBinding};
use crate::control::registry::{Exhausted, Registry};
use crate::control::underlay::Reach;
use crate::tables::fdb::{FdbKey, FdbValue, InsertError};
use crate::tables::{AgeTick, BindingKey, BridgeIndex, Location, Snapshot};
use crate::wire::Vni;
use crate::wire::nd::TargetFlags;

/// Stations that one round brings up to date.
const STATIONS: usize = 4096;

/// How often what people see of bridges is brought up to date.
const OVERVIEW: Duration = Duration::from_millis(500);

impl Gateway {
    /// Lets the kernel say what is its to say from now on.
    pub fn follow(&mut self, mut kernel: Kernel) {
        kernel.set_bridges(&self.running.load().config);
        self.reshape(&mut kernel);
        while self.update_stations(&mut kernel) > 0 {}
        self.kernel = Some(kernel);
        self.learning.take_local_changes();
        self.learning.repeat_local(&taught(&self.running.load()));
    }

    /// The bridges that the kernel controls, for the stats thread.
    #[must_use]
    pub fn overview(&self) -> &Arc<ArcSwap<Overview>> {
        &self.overview
    }

    /// Removes what was made in the kernel. Workers and exception path have to be at work yet.
    pub fn leave_kernel(&mut self) {
        if let Some(kernel) = &mut self.kernel {
            kernel.remove_devices();
        }
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
        self.discover(now);
        if kernel.adoption_mut().take_shape_change(now, self.reshaped) || self.discovery.take_change(now) {
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
        if now.saturating_duration_since(self.overlooked) >= OVERVIEW {
            self.overlooked = now;
            let overview = kernel.overview();
            if **self.overview.load() != overview {
                self.overview.store(Arc::new(overview));
            }
        }
        self.kernel = Some(kernel);
        usize::from(round.busy) + stations
    }

    /// Takes in which unknown VTEPs workers met, and forgets those that have no stations any more. Only the kernel can say
    /// the way to one that nobody named, so without it none is discovered: frames to stations behind it are flooded.
    fn discover(&mut self, now: Instant) {
        let (own, running) = (self.tables.snapshot.load().vtep.address, self.running.load());
        let discovery = &mut self.discovery;
        self.learning.take_remotes(|address| {
            if running.registry.tunnel(address).is_none() {
                discovery.add(address, own, now);
            }
        });
        let index = |address| running.registry.tunnel(address);
        discovery.forget(now, running.config.fdb.ageing, &self.tables.fdb, index);
        self.telemetry.discovered.set(discovery.count() as u64);
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
        let discovered = self.discovery.addresses();
        let compiled = compile_with(config, kernel.adoption().said(), &discovered, &before.ports, registry);
        if compiled.is_err() {
            kernel.set_bridges(&before.config);
        }
        compiled
    }

    /// Puts the kernel's ways into a snapshot that was compiled from a config which is about to run.
    pub(super) fn lead(&mut self, snapshot: &mut Snapshot, running: &Running) {
        if let Some(kernel) = &mut self.kernel {
            kernel.set_remotes(&left_to_the_kernel(&running.config, kernel, &self.discovery));
            set_ways(snapshot, running, kernel, &self.telemetry.kernel);
            self.reach.store(Arc::new(kernel.underlay().reach()));
        }
    }

    /// Looks at the entries of all stations again, whose bridges may have other indices now.
    pub(super) fn repeat_stations(&mut self) {
        if let Some(kernel) = &mut self.kernel {
            kernel.adoption_mut().repeat();
        }
    }

    /// Tells the publisher which stations have come and gone behind access ports; `snapshot` has their bridges.
    pub(super) fn publish_stations(&mut self, snapshot: &Snapshot) {
        let changes = self.learning.take_local_changes();
        if let Some(kernel) = &mut self.kernel {
            publish(&changes, snapshot, kernel.publisher_mut());
        }
    }

    /// Tells the publisher which bindings have come and gone.
    pub(super) fn publish_bindings(&mut self) {
        let changes = self.bindings.take_changes();
        let Some(kernel) = &mut self.kernel else { return };
        let snapshot = self.tables.snapshot.load();
        for LearnedChange { key, station } in changes {
            let Some(bridge) = snapshot.bridges.get(usize::from(key.bridge.0)) else { continue };
            let publisher = kernel.publisher_mut();
            match station {
                Some((mac, flags)) => {
                    let router = flags.is_some_and(|flags| flags.has(TargetFlags::ROUTER));
                    publisher.bind(bridge.vni, key.address, mac, router);
                }
                None => {
                    publisher.unbind(bridge.vni, key.address);
                    // The kernel may have had another binding of it all the time.
                    publisher.repeat_remote_binding(bridge.vni, key.address);
                }
            }
        }
    }

    /// Takes the bindings of stations behind remote VTEPs from the kernel.
    pub(super) fn take_remote_bindings(&mut self, now: AgeTick) {
        let Some(kernel) = &mut self.kernel else { return };
        let (running, snapshot) = (self.running.load(), self.tables.snapshot.load());
        if self.bindings.take_lack() {
            kernel.publisher_mut().repeat_remote_bindings();
        }
        for _ in 0..STATIONS {
            let Some(remote) = kernel.publisher_mut().next_remote_binding() else { return };
            let RemoteBinding { vni, address, mac, router, news } = remote;
            let place = running.registry.bridge(vni).filter(|bridge| mac.is_none() || learns(*bridge, &snapshot));
            let Some(bridge) = place else {
                self.bindings.left_out();
                continue;
            };
            // The kernel does not tell the Override flag, which all but anycast addresses have.
            let flags = if router { TargetFlags::ROUTER } else { TargetFlags::default() }.and(TargetFlags::OVERRIDE);
            let key = BindingKey { bridge, address };
            match mac {
                Some(mac) if news => self.bindings.kernel_says(key, Some((mac, flags)), now),
                Some(mac) => self.bindings.kernel_repeats(key, (mac, flags), now),
                None => self.bindings.kernel_says(key, None, now),
            }
        }
    }

    /// Has the kernel say again which remote stations have these addresses, of which the config says nothing any more.
    pub(super) fn ask_remote_bindings(&mut self, running: &Running, freed: &[BindingKey]) {
        let Some(kernel) = &mut self.kernel else { return };
        let indices =
            running.config.bridges.iter().filter_map(|bridge| Some((running.registry.bridge(bridge.vni)?, bridge.vni)));
        let vnis: HashMap<BridgeIndex, Vni> = if freed.is_empty() { HashMap::new() } else { indices.collect() };
        for key in freed {
            if let Some(vni) = vnis.get(&key.bridge) {
                kernel.publisher_mut().repeat_remote_binding(*vni, key.address);
            }
        }
    }

    /// After a reload, publishes what is known already of bridges that are the kernel's now, and nothing more of those
    /// that are not.
    pub(super) fn publish_again(&mut self, before: &Running, after: &Running) {
        let (old, new) = (taught(before), taught(after));
        self.learning.repeat_local(&new.difference(&old).copied().collect());
        let Some(kernel) = &mut self.kernel else { return };
        let kept: HashSet<Vni> = by_kernel(&after.config).collect();
        by_kernel(&before.config).filter(|vni| !kept.contains(vni)).for_each(|vni| kernel.publisher_mut().forget(vni));
    }

    /// Makes a snapshot with the flood lists and the remote VTEPs that the kernel says now.
    fn reshape(&mut self, kernel: &mut Kernel) {
        let began = Instant::now();
        let before = self.running.load_full();
        let mut registry = before.registry.clone();
        let (said, discovered) = (kernel.adoption().said(), self.discovery.addresses());
        let mut snapshot = match compile_with(&before.config, said, &discovered, &before.ports, &mut registry) {
            Ok(snapshot) => snapshot,
            Err(error) => return warn!(%error, "the kernel says more than the gateway takes; nothing of it is changed"),
        };
        snapshot.exception = self.tables.snapshot.load().exception;
        let running = Running { config: Arc::clone(&before.config), ports: before.ports.clone(), registry };
        kernel.set_remotes(&left_to_the_kernel(&running.config, kernel, &self.discovery));
        set_ways(&mut snapshot, &running, kernel, &self.telemetry.kernel);
        self.paths.mtus.apply(&mut snapshot, &running.registry);
        self.reach.store(Arc::new(kernel.underlay().reach()));
        self.snooping.adopt(&mut snapshot);
        let replaced = self.tables.snapshot.swap(Arc::new(snapshot));
        self.running.store(Arc::new(running));
        self.learning.flush(&replaced, &self.tables.snapshot.load());
        publish(&self.learning.take_local_changes(), &replaced, kernel.publisher_mut());
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
        self.stations_missing &= !self.learning.has_ample_room();
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
        set_ways(&mut snapshot, running, kernel, &self.telemetry.kernel);
        self.paths.mtus.apply(&mut snapshot, &running.registry);
        self.publish(snapshot);
    }
}

/// The bridges whose remote side the kernel says.
pub(super) fn taught(running: &Running) -> HashSet<BridgeIndex> {
    by_kernel(&running.config).filter_map(|vni| running.registry.bridge(vni)).collect()
}

fn by_kernel(config: &Config) -> impl Iterator<Item = Vni> {
    config.bridges.iter().filter(|bridge| bridge.control == Control::Kernel).map(|bridge| bridge.vni)
}

fn publish(changes: &[LocalChange], snapshot: &Snapshot, publisher: &mut Publisher) {
    for change in changes {
        let (LocalChange::Came { key, .. } | LocalChange::Went(key)) = *change;
        let Some(bridge) = snapshot.bridges.get(usize::from(key.bridge().0)) else { continue };
        match change {
            LocalChange::Came { sticky, .. } => publisher.station_came(bridge.vni, key.mac(), *sticky),
            LocalChange::Went(_) => publisher.station_went(bridge.vni, key.mac()),
        }
    }
}

/// The remote VTEPs without a `[[neighbour]]`.
fn left_to_the_kernel(config: &Config, kernel: &Kernel, discovery: &Discovery) -> BTreeSet<IpAddr> {
    let fixed: HashSet<IpAddr> = config.neighbours.iter().map(|neighbour| neighbour.address).collect();
    let all = remotes(config).into_iter().chain(all_said(kernel.adoption().said())).chain(discovery.addresses());
    all.filter(|address| !fixed.contains(address)).collect()
}
