//! What the thread looks after besides packets: links, groups, addresses, interfaces that were removed.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::port_interface::{PortInterface, Traffic};
use super::survey::{Survey, Surveyor};
use crate::tables::snapshot::LocalVtep;
use crate::tables::{ExceptionPath, PortIndex, Snapshot};
use crate::wire::membership::group_mac;
use crate::wire::{MacAddr, nd};

/// How often links are asked.
const LINKS: Duration = Duration::from_millis(100);
/// How long after the last time everything else is looked at, where the kernel says nothing new: it does once a second,
/// unless it takes its time.
const REST: Duration = Duration::from_secs(2);

/// Looks after the interfaces, and tells the control thread what the kernel gets.
pub struct Watch {
    published: Arc<ArcSwap<ExceptionPath>>,
    surveyor: Surveyor,
    /// What the kernel said when everything was looked at.
    survey: Arc<Survey>,
    links_due: Instant,
    rest_due: Instant,
}

impl Watch {
    /// The name of the thread that asks the kernel.
    pub const THREAD: &str = Surveyor::THREAD;

    /// A watch for a gateway with these tables, in the network namespace of the calling thread. It has looked once.
    ///
    /// # Errors
    /// The system's, where it gives no thread.
    pub fn new(snapshot: &Snapshot, interfaces: &mut [PortInterface]) -> io::Result<Self> {
        let (now, surveyor) = (Instant::now(), Surveyor::start()?);
        let survey = Arc::clone(&surveyor.latest());
        let mut watch = Self { published: Arc::default(), surveyor, survey, links_due: now, rest_due: now };
        watch.look(now, snapshot, interfaces);
        Ok(watch)
    }

    /// The heartbeat of the thread that asks the kernel: it grows each second where the kernel does not keep it.
    #[must_use]
    pub fn heartbeat(&self) -> Arc<AtomicU64> {
        self.surveyor.heartbeat()
    }

    /// What the kernel gets, for the control thread to publish.
    #[must_use]
    pub fn published(&self) -> Arc<ArcSwap<ExceptionPath>> {
        Arc::clone(&self.published)
    }

    /// Does what is due.
    pub(super) fn look(&mut self, now: Instant, snapshot: &Snapshot, interfaces: &mut [PortInterface]) {
        if now >= self.links_due {
            self.links_due = now + LINKS;
            interfaces.iter_mut().for_each(PortInterface::follow_link);
        }
        let is_new = !Arc::ptr_eq(&self.survey, &self.surveyor.latest());
        if is_new || now >= self.rest_due {
            self.rest_due = now + REST;
            self.survey = Arc::clone(&self.surveyor.latest());
            for interface in interfaces.iter_mut() {
                interface.restore();
                interface.follow_nic();
                interface.join(&underlay_groups(interface.port(), snapshot), snapshot.vtep.address, now);
            }
            for interface in interfaces.iter_mut() {
                // An access port hears everything anyway.
                let listed = interface.index().filter(|_| interface.traffic() == Traffic::AllButVxlan);
                if let Some(index) = listed {
                    let mut groups = groups(index, &snapshot.vtep, &self.survey.memberships);
                    // They were joined a moment ago perhaps.
                    groups.extend(underlay_groups(interface.port(), snapshot).into_iter().map(group_mac));
                    interface.follow_groups(groups);
                } else if !interface.has_interface() {
                    follow_groups_alone(interface, snapshot);
                }
            }
            let path = path(snapshot, &self.survey, interfaces);
            if **self.published.load() != path {
                self.published.store(Arc::new(path));
            }
        }
    }
}

/// The groups of an interface, and those of the solicitations that the gateway itself answers.
fn groups(index: u32, vtep: &LocalVtep, memberships: &[(u32, MacAddr)]) -> BTreeSet<MacAddr> {
    let joined = memberships.iter().filter(|(of, _)| *of == index).map(|(_, group)| *group);
    let own = vtep.addresses().filter_map(|address| match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(nd::multicast_mac(nd::solicited_node(address))),
    });
    joined.chain(own).collect()
}

/// The groups of the underlay that a port is to receive.
fn underlay_groups(port: PortIndex, snapshot: &Snapshot) -> BTreeSet<IpAddr> {
    let port = snapshot.ports.get(usize::from(port.0));
    port.into_iter().flat_map(|port| port.groups.iter()).map(|group| group.address).collect()
}

/// Has the NIC receive what an uplink without an interface needs: as long as there is no group, all that it did before.
fn follow_groups_alone(uplink: &mut PortInterface, snapshot: &Snapshot) {
    let wanted = underlay_groups(uplink.port(), snapshot);
    if wanted.is_empty() && !uplink.has_told_groups() {
        return;
    }
    // Queries are sent to all hosts.
    let hosts: IpAddr = match snapshot.vtep.address {
        IpAddr::V4(_) => Ipv4Addr::new(224, 0, 0, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into(),
    };
    let own = groups(0, &snapshot.vtep, &[]);
    uplink.follow_groups(wanted.into_iter().chain([hosts]).map(group_mac).chain(own).collect());
}

fn path(snapshot: &Snapshot, survey: &Survey, interfaces: &[PortInterface]) -> ExceptionPath {
    let owners: Vec<HashSet<&str>> =
        snapshot.vtep.addresses().map(|address| survey.owners(address).collect()).collect();
    let owned: Vec<bool> = owners.iter().map(|owners| !owners.is_empty()).collect();
    let mut path = ExceptionPath::new(&owned);
    for interface in interfaces.iter().filter(|interface| interface.tap.is_some()) {
        path.add(interface.port, owners.iter().all(|owners| owners.contains(interface.interface())));
    }
    for uplink in interfaces.iter().filter(|interface| !interface.has_interface()) {
        if !underlay_groups(uplink.port, snapshot).is_empty() {
            path.hear_queries(uplink.port);
        }
    }
    path
}
