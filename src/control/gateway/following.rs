//! The gateway follows the kernel: the ways to remote VTEPs that no `[[neighbour]]` names are the kernel's to say.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use super::{Gateway, Running};
use crate::config::Config;
use crate::config::model::Neighbour;
use crate::control::Kernel;
use crate::control::compile::{next_hop, remotes};
use crate::control::underlay::{Reach, Ways};
use crate::tables::Snapshot;
use crate::tables::tunnel::NextHop;

impl Gateway {
    /// Lets the kernel say the ways to remote VTEPs from now on.
    pub fn follow(&mut self, mut kernel: Kernel) {
        let running = self.running.load_full();
        kernel.set_remotes(&left_to_the_kernel(&running.config));
        self.publish_ways(&running, &kernel);
        self.reach.store(Arc::new(kernel.underlay().reach()));
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
        if round.ways_changed {
            self.publish_ways(&self.running.load_full(), &kernel);
        }
        if round.ways_changed || round.states_changed {
            self.reach.store(Arc::new(kernel.underlay().reach()));
        }
        self.kernel = Some(kernel);
        usize::from(round.busy)
    }

    /// Puts the kernel's ways into a snapshot that was compiled from a config which is about to run.
    pub(super) fn lead(&mut self, snapshot: &mut Snapshot, running: &Running) {
        if let Some(kernel) = &mut self.kernel {
            kernel.set_remotes(&left_to_the_kernel(&running.config));
            set_ways(snapshot, running, kernel);
            self.reach.store(Arc::new(kernel.underlay().reach()));
        }
    }

    fn publish_ways(&mut self, running: &Running, kernel: &Kernel) {
        let mut snapshot = Snapshot::clone(&self.tables.snapshot.load());
        set_ways(&mut snapshot, running, kernel);
        self.publish(snapshot);
    }
}

/// The remote VTEPs without a `[[neighbour]]`.
fn left_to_the_kernel(config: &Config) -> BTreeSet<IpAddr> {
    let fixed: HashSet<IpAddr> = config.neighbours.iter().map(|neighbour| neighbour.address).collect();
    remotes(config).into_iter().filter(|address| !fixed.contains(address)).collect()
}

fn set_ways(snapshot: &mut Snapshot, running: &Running, kernel: &Kernel) {
    for (address, ways) in kernel.ways() {
        let place = running.registry.tunnel(address).and_then(|index| snapshot.tunnels.get_mut(usize::from(index.0)));
        if let Some(tunnel) = place {
            tunnel.next_hop = first_way(running, address, ways);
        }
    }
}

/// The way of the first slot.
fn first_way(running: &Running, address: IpAddr, ways: &Ways) -> Option<NextHop> {
    let way = ways.list.get(*ways.slots.first()?)?;
    let neighbour = Neighbour { address, mac: way.mac, port: way.port };
    next_hop(&running.config, &neighbour, &running.ports, way.mtu)
}
