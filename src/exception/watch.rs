//! What the thread looks after besides packets: links, groups, addresses, interfaces that were removed.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::addresses::Addresses;
use super::port_interface::{PortInterface, Traffic};
use crate::tables::snapshot::LocalVtep;
use crate::tables::{ExceptionPath, PortIndex, Snapshot};
use crate::wire::membership::group_mac;
use crate::wire::{MacAddr, nd};

/// How often links are asked.
const LINKS: Duration = Duration::from_millis(100);
/// How often everything else is looked at.
const REST: Duration = Duration::from_secs(1);

/// Looks after the interfaces, and tells the control thread what the kernel gets.
pub struct Watch {
    published: Arc<ArcSwap<ExceptionPath>>,
    addresses: Addresses,
    links_due: Instant,
    rest_due: Instant,
}

impl Watch {
    /// The name of the thread that asks for addresses.
    pub const THREAD: &str = Addresses::THREAD;

    /// A watch for a gateway with these tables. It has looked once.
    ///
    /// # Errors
    /// The system's, where it gives no thread to ask for addresses.
    pub fn new(snapshot: &Snapshot, interfaces: &mut [PortInterface]) -> io::Result<Self> {
        let now = Instant::now();
        let addresses = Addresses::follow()?;
        let mut watch = Self { published: Arc::default(), addresses, links_due: now, rest_due: now };
        watch.look(now, snapshot, interfaces);
        Ok(watch)
    }

    /// The heartbeat of the thread that asks for addresses: it grows twice a second where the kernel does not keep it.
    #[must_use]
    pub fn heartbeat(&self) -> Arc<AtomicU64> {
        self.addresses.heartbeat()
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
        if now >= self.rest_due {
            self.rest_due = now + REST;
            for interface in interfaces.iter_mut() {
                interface.restore();
                interface.follow_nic();
                interface.join(&underlay_groups(interface.port(), snapshot), now);
            }
            let memberships = memberships();
            for interface in interfaces.iter_mut() {
                // An access port hears everything anyway.
                let listed = interface.index().filter(|_| interface.traffic() == Traffic::AllButVxlan);
                if let Some(index) = listed {
                    interface.follow_groups(groups(index, &snapshot.vtep, &memberships));
                } else if !interface.has_interface() {
                    follow_groups_alone(interface, snapshot);
                }
            }
            let path = path(snapshot, interfaces, &self.addresses);
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

fn path(snapshot: &Snapshot, interfaces: &[PortInterface], addresses: &Addresses) -> ExceptionPath {
    let owners: Vec<HashSet<String>> = snapshot.vtep.addresses().map(|address| addresses.owners(address)).collect();
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

/// The groups that the kernel's interfaces receive, by the interface's number.
fn memberships() -> Vec<(u32, MacAddr)> {
    let table = fs::read_to_string("/proc/thread-self/net/dev_mcast").unwrap_or_default();
    table.lines().filter_map(membership).collect()
}

/// A line of the kernel's table: number, name, users, other users, address.
fn membership(line: &str) -> Option<(u32, MacAddr)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (index, address) = (fields.first()?.parse().ok()?, fields.get(4)?);
    let octet = |at: usize| u8::from_str_radix(address.get(2 * at..2 * at + 2)?, 16).ok();
    let mac = MacAddr([octet(0)?, octet(1)?, octet(2)?, octet(3)?, octet(4)?, octet(5)?]);
    (address.len() == 12 && mac.is_group()).then_some((index, mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_table_is_a_group_of_an_interface() {
        let group = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(membership("4    up0             1     0     333300000001"), Some((4, group)));
        assert_eq!(membership("12   fabric0         2     0     01005e000001").map(|found| found.0), Some(12));
        for other in
            ["", "4 up0 1 0", "4 up0 1 0 3333", "x up0 1 0 333300000001", "4 up0 1 0 023300000001", "4 ü 1 0 ü"]
        {
            assert_eq!(membership(other), None, "{other}");
        }
    }
}
