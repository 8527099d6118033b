//! A port as the exception path sees it: a NIC on one side, an interface of the kernel on the other.

use std::collections::BTreeSet;

use tracing::{info, warn};

use super::tap::{Tap, TapError};
use crate::tables::PortIndex;
use crate::wire::MacAddr;

/// How a NIC receives groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// Those it was told, and broadcast.
    Listed,
    /// All.
    All,
}

/// What the exception path asks of a port. Calls may take a millisecond; none is made for a packet.
pub trait Nic: Send {
    /// Whether frames can pass; None where the device does not say.
    fn is_up(&self) -> Option<bool>;
    /// Its MAC address; None where the device does not say.
    fn mac(&self) -> Option<MacAddr>;
    /// Its MTU; None where the device does not say.
    fn mtu(&self) -> Option<u16>;
    /// Has it receive the frames of these groups, and as few others as it can.
    fn receive_groups(&self, groups: &[MacAddr]) -> Groups;
}

/// What crosses between a port and its interface in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// An uplink: all but VXLAN.
    AllButVxlan,
    /// An access port: frames to reserved link-local group addresses.
    LinkLocal,
}

/// A port and its interface.
pub struct PortInterface {
    pub(super) port: PortIndex,
    traffic: Traffic,
    name: String,
    interface: String,
    nic: Box<dyn Nic>,
    pub(super) tap: Option<Tap>,
    /// What the interface was last told.
    mac: MacAddr,
    mtu: u16,
    carrier: Option<bool>,
    groups: Option<BTreeSet<MacAddr>>,
    told: Option<Groups>,
    /// Why a removed interface could not be made again, as it was last said.
    lost_because: Option<String>,
}

impl PortInterface {
    /// Takes over or makes the interface of the port `name`, which has this MAC address and MTU, for this traffic.
    ///
    /// # Errors
    /// [`TapError`], with what to do.
    pub fn open(
        (port, traffic): (PortIndex, Traffic),
        name: &str,
        interface: &str,
        (mac, mtu): (MacAddr, u16),
        nic: Box<dyn Nic>,
    ) -> Result<Self, TapError> {
        let wrong = |fault| TapError { port: name.to_owned(), interface: interface.to_owned(), fault };
        let tap = Tap::open(interface, mac, mtu).map_err(wrong)?;
        info!(port = name, interface, "the kernel has an interface for the port");
        let (name, interface) = (name.to_owned(), interface.to_owned());
        let mut opened = Self {
            port,
            traffic,
            name,
            interface,
            nic,
            tap: Some(tap),
            mac,
            mtu,
            carrier: None,
            groups: None,
            told: None,
            lost_because: None,
        };
        opened.follow_link();
        Ok(opened)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> PortIndex {
        self.port
    }

    /// What crosses.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// The interface's name.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The interface's number, while it is there.
    pub(super) fn index(&self) -> Option<u32> {
        self.tap.as_ref().map(|tap| tap.index)
    }

    /// The longest frame that the port sends, in bytes: with two VLAN tags.
    pub(super) fn longest_frame(&self) -> usize {
        usize::from(self.mtu) + 14 + 8
    }

    /// Gives the interface up, because it has been removed. It is made again by [`PortInterface::restore`].
    pub(super) fn lose(&mut self) {
        if self.tap.take().is_some() {
            warn!(port = self.name, interface = self.interface, "the interface was removed; it will be made again");
        }
    }

    /// Makes an interface again that has been removed.
    pub(super) fn restore(&mut self) {
        if self.tap.is_some() {
            return;
        }
        match Tap::open(&self.interface, self.mac, self.mtu) {
            Ok(tap) => {
                (self.tap, self.carrier, self.lost_because) = (Some(tap), None, None);
                info!(port = self.name, interface = self.interface, "the interface is there again");
                self.follow_link();
            }
            Err(fault) => {
                let reason = fault.to_string();
                // It is tried again each second, and said once.
                if self.lost_because.as_ref() != Some(&reason) {
                    warn!(port = self.name, interface = self.interface, "the interface is not made again: {reason}");
                    self.lost_because = Some(reason);
                }
            }
        }
    }

    /// Mirrors the NIC's link.
    pub(super) fn follow_link(&mut self) {
        let (Some(tap), Some(up)) = (&self.tap, self.nic.is_up()) else { return };
        if self.carrier == Some(up) {
            return;
        }
        match tap.set_carrier(up) {
            Ok(()) => {
                let link = if up { "up" } else { "down" };
                info!(port = self.name, interface = self.interface, link, "the interface follows the link");
                self.carrier = Some(up);
            }
            Err(error) => self.complain("take the link's state", &error),
        }
    }

    /// Mirrors the NIC's MAC address and MTU.
    pub(super) fn follow_nic(&mut self) {
        let Some(tap) = &self.tap else { return };
        if let Some(mac) = self.nic.mac().filter(|mac| *mac != self.mac) {
            match tap.set_mac(mac) {
                Ok(()) => self.mac = mac,
                Err(error) => self.complain("take the port's MAC address", &error),
            }
        }
        if let Some(mtu) = self.nic.mtu().filter(|mtu| *mtu != self.mtu) {
            match tap.set_mtu(mtu) {
                Ok(()) => self.mtu = mtu,
                Err(error) => self.complain("take the port's MTU", &error),
            }
        }
    }

    /// Has the NIC receive these groups, if they are others than before.
    pub(super) fn follow_groups(&mut self, groups: BTreeSet<MacAddr>) {
        if self.groups.as_ref() == Some(&groups) {
            return;
        }
        let list: Vec<MacAddr> = groups.iter().copied().collect();
        let told = self.nic.receive_groups(&list);
        if self.told != Some(told) {
            let port = &self.name;
            match told {
                Groups::Listed => info!(port, "the NIC receives the multicast groups that the kernel has joined"),
                Groups::All => info!(port, "the NIC receives all multicast: its driver takes no list of groups"),
            }
        }
        (self.groups, self.told) = (Some(groups), Some(told));
    }

    fn complain(&self, what: &str, error: &std::io::Error) {
        warn!(port = self.name, interface = self.interface, %error, "the interface does not {what}");
    }
}
