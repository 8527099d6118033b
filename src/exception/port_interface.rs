//! A port as the exception path sees it: a NIC on one side, an interface of the kernel on the other.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Instant;

use tracing::{info, warn};

use super::memberships::Memberships;
use super::speaker::Speaker;
use super::tap::{Tap, TapError};
use crate::tables::PortIndex;
use crate::wire::MacAddr;
use crate::wire::membership::{Multicast, recognise};

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
    host: Host,
    /// Why a group of the underlay could not be joined, as it was last said.
    not_joined_because: Option<String>,
    /// Why a removed interface could not be made again, as it was last said.
    lost_because: Option<String>,
    /// What the interface does not do, and why, as it was last said.
    complaints: BTreeMap<&'static str, String>,
}

/// What an interface takes.
const LINK: &str = "the link's state";
const MAC: &str = "the port's MAC address";
const MTU: &str = "the port's MTU";

/// True where that, and why, was not the last that was said of it. It is from then on.
fn is_news(said: &mut BTreeMap<&'static str, String>, what: &'static str, why: String) -> bool {
    said.get(what) != Some(&why) && {
        said.insert(what, why);
        true
    }
}

/// Who joins groups of the underlay on the uplink.
enum Host {
    /// The kernel, on the interface.
    Kernel(Memberships),
    /// The gateway itself, for there is to be no interface.
    Gateway(Speaker),
}

impl PortInterface {
    /// An uplink that has no interface in the kernel. `mac` is the port's address.
    #[must_use]
    pub fn without(port: PortIndex, name: &str, mac: MacAddr, nic: Box<dyn Nic>) -> Self {
        Self {
            port,
            traffic: Traffic::AllButVxlan,
            name: name.to_owned(),
            interface: String::new(),
            nic,
            tap: None,
            mac,
            mtu: 0,
            carrier: None,
            groups: None,
            told: None,
            host: Host::Gateway(Speaker::new(mac)),
            not_joined_because: None,
            lost_because: None,
            complaints: BTreeMap::new(),
        }
    }

    /// True for one that is to have an interface in the kernel.
    #[must_use]
    pub fn has_interface(&self) -> bool {
        matches!(self.host, Host::Kernel(_))
    }

    /// Joins these groups of the underlay, and leaves all others. `vtep` is the gateway's address now.
    pub(super) fn join(&mut self, wanted: &BTreeSet<IpAddr>, vtep: IpAddr, now: Instant) {
        let index = self.index();
        let joined = match (&mut self.host, index) {
            (Host::Gateway(speaker), _) => {
                speaker.follow(wanted, vtep, now);
                Ok(())
            }
            (Host::Kernel(memberships), Some(index)) => memberships.follow(index, wanted),
            (Host::Kernel(_), None) => Ok(()),
        };
        let reason = joined.err().map(|error| error.to_string());
        // It is tried again each second, and said once.
        if let Some(reason) = reason.as_ref().filter(|reason| self.not_joined_because.as_ref() != Some(*reason)) {
            let (port, interface) = (&self.name, &self.interface);
            warn!(port, interface, "a multicast group of the underlay is not joined: {reason}");
        }
        self.not_joined_because = reason;
    }

    /// Gives `send` what is due to be said of groups, where the gateway itself says it.
    pub(super) fn speak(&mut self, now: Instant, send: impl FnMut(&[u8])) {
        if let Host::Gateway(speaker) = &mut self.host {
            speaker.speak(now, send);
        }
    }

    /// Takes a packet that the NIC received and that is for the gateway as a host of groups: a query.
    pub(super) fn hear(&mut self, packet: &[u8], now: Instant) {
        if let (Host::Gateway(speaker), Some(Multicast::Query(query))) =
            (&mut self.host, recognise(packet, packet.len()))
        {
            speaker.hear(&query, now);
        }
    }

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
            host: Host::Kernel(Memberships::default()),
            not_joined_because: None,
            lost_because: None,
            complaints: BTreeMap::new(),
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
            // What was joined is gone with the interface.
            self.host = Host::Kernel(Memberships::default());
            warn!(port = self.name, interface = self.interface, "the interface was removed; it will be made again");
        }
    }

    /// Makes an interface again that has been removed.
    pub(super) fn restore(&mut self) {
        if self.tap.is_some() || !self.has_interface() {
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
        let Some(up) = self.nic.is_up() else { return };
        if self.carrier == Some(up) {
            return;
        }
        match self.tap.as_ref().map(|tap| tap.set_carrier(up)) {
            Some(Ok(())) => {
                let link = if up { "up" } else { "down" };
                info!(port = self.name, interface = self.interface, link, "the interface follows the link");
                self.note(LINK, Ok(()));
            }
            Some(Err(error)) => return self.note(LINK, Err(error)),
            None if self.has_interface() => return,
            None => {}
        }
        let returns = up && self.carrier == Some(false);
        self.carrier = Some(up);
        if returns {
            self.say_again();
        }
    }

    /// Has the groups of the underlay reported to whom the link leads to now.
    fn say_again(&mut self) {
        let index = self.index();
        match (&mut self.host, index) {
            (Host::Gateway(speaker), _) => speaker.link_up(Instant::now()),
            (Host::Kernel(memberships), Some(index)) => memberships.renew(index),
            (Host::Kernel(_), None) => {}
        }
    }

    /// Mirrors the NIC's MAC address and MTU.
    pub(super) fn follow_nic(&mut self) {
        if let (Some(tap), Some(mac)) = (&self.tap, self.nic.mac().filter(|mac| *mac != self.mac)) {
            let set = tap.set_mac(mac).map(|()| self.mac = mac);
            self.note(MAC, set);
        }
        if let (Some(tap), Some(mtu)) = (&self.tap, self.nic.mtu().filter(|mtu| *mtu != self.mtu)) {
            let set = tap.set_mtu(mtu).map(|()| self.mtu = mtu);
            self.note(MTU, set);
        }
    }

    /// True where the NIC was told groups.
    pub(super) fn has_told_groups(&self) -> bool {
        self.told.is_some()
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
                Groups::Listed => info!(port, "the NIC receives the multicast groups that are joined"),
                Groups::All => info!(port, "the NIC receives all multicast: its driver takes no list of groups"),
            }
        }
        (self.groups, self.told) = (Some(groups), Some(told));
    }

    /// What became of something that the interface was told. It is tried again each time; what is wrong is said once.
    fn note(&mut self, what: &'static str, outcome: io::Result<()>) {
        let Err(error) = outcome else {
            self.complaints.remove(what);
            return;
        };
        if is_news(&mut self.complaints, what, error.to_string()) {
            let (port, interface) = (&self.name, &self.interface);
            warn!(port, interface, %error, "the interface does not take {what}; it is tried on and on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_failing_is_said_once_and_again_after_it_was_well_or_for_another_reason() {
        let mut said = BTreeMap::new();
        let fails = |said: &mut BTreeMap<_, _>, what, why: &str| is_news(said, what, why.to_owned());
        assert!(fails(&mut said, MAC, "busy"));
        assert!(!fails(&mut said, MAC, "busy") && fails(&mut said, MTU, "busy"));
        assert!(!fails(&mut said, MAC, "busy"));
        assert!(fails(&mut said, MAC, "no such device") && !fails(&mut said, MAC, "no such device"));
        said.remove(MAC);
        assert!(fails(&mut said, MAC, "no such device"));
    }
}
