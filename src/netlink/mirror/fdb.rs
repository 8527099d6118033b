//! What a bridge's half and a vxlan device's half of the FDB mean together.
//!
//! A vxlan device knows the remote VTEP of a station; the bridge over it knows whether the station is behind the device
//! at all. Each half may be there without the other.

use std::net::IpAddr;

use super::Mirror;
use crate::netlink::event::{Bridged, Destination};
use crate::wire::MacAddr;

/// How many entries of each kind a mirror has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// Links.
    pub links: usize,
    /// Local addresses.
    pub addresses: usize,
    /// Neighbours, of all links.
    pub neighbours: usize,
    /// Next-hop objects.
    pub next_hops: usize,
    /// Stations of vxlan devices.
    pub tunnelled: usize,
    /// Destinations of flood lists and groups of vxlan devices.
    pub floods: usize,
    /// Stations of bridges.
    pub bridged: usize,
}

/// Where a station is, as seen from a vxlan device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nobody knows of it.
    Unknown,
    /// It is behind a port of the bridge that is no vxlan device.
    Local {
        /// The port's link.
        port: u32,
    },
    /// It is behind a remote VTEP.
    Remote(Destination),
    /// It is behind the vxlan device, but not known where: frames to it are flooded.
    Flooded,
}

impl Mirror {
    /// Where a station is for the VNI of this vxlan device:
    ///
    /// 1. The device belongs to no bridge: what it says alone (flannel).
    /// 2. The bridge has the station behind a port that is no vxlan device: there.
    /// 3. The bridge has it behind this device, which has a destination: that.
    /// 4. The bridge has it behind this device, which has none: flooded.
    /// 5. The bridge does not have it, or has it behind another vxlan device: what this device says alone.
    #[must_use]
    pub fn place(&self, device: u32, mac: MacAddr) -> Place {
        let alone = self.stations.get(&(device, mac)).map_or(Place::Unknown, |found| Place::Remote(found.destination));
        let Some(bridge) = self.links.get(&device).and_then(|link| link.master) else { return alone };
        let mut local = None;
        for bridged in self.bridge_entries(bridge, mac) {
            if bridged.port == device {
                return if alone == Place::Unknown { Place::Flooded } else { alone };
            }
            if self.links.get(&bridged.port).is_none_or(|link| link.vxlan.is_none()) {
                local = Some(bridged.port);
            }
        }
        local.map_or(alone, |port| Place::Local { port })
    }

    /// Where a bridge has a station.
    #[must_use]
    pub fn bridged(&self, bridge: u32, mac: MacAddr) -> Option<&Bridged> {
        self.bridge_entries(bridge, mac).next()
    }

    /// Where a vxlan device itself has a station, whatever the bridge over it says.
    #[must_use]
    pub fn remote_of(&self, device: u32, mac: MacAddr) -> Option<Destination> {
        self.stations.get(&(device, mac)).map(|found| found.destination)
    }

    /// The stations that a vxlan device itself has.
    pub fn stations(&self, device: u32) -> impl Iterator<Item = MacAddr> {
        self.stations.range((device, MacAddr::ZERO)..=(device, MacAddr::BROADCAST)).map(|((_, mac), _)| *mac)
    }

    /// How many stations a control plane has put into a vxlan device.
    #[must_use]
    pub fn external_stations(&self, device: u32) -> usize {
        let all = self.stations.range((device, MacAddr::ZERO)..=(device, MacAddr::BROADCAST));
        all.filter(|(_, found)| found.origin.external()).count()
    }

    /// The stations that a bridge has, its ports' own addresses left out.
    pub fn bridge_stations(&self, bridge: u32) -> impl Iterator<Item = MacAddr> {
        let all = (bridge, MacAddr::ZERO, 0)..=(bridge, MacAddr::BROADCAST, u16::MAX);
        self.bridged.range(all).filter(|(_, bridged)| !bridged.origin.permanent()).map(|((_, mac, _), _)| *mac)
    }

    /// True for a station that a vxlan device has as one that may not move.
    #[must_use]
    pub fn is_sticky(&self, device: u32, mac: MacAddr) -> bool {
        self.stations.get(&(device, mac)).is_some_and(|found| found.origin.sticky())
    }

    /// The addresses a destination stands for: its own, or those of its next-hop object.
    #[must_use]
    pub fn remotes(&self, destination: Destination) -> Vec<IpAddr> {
        let id = match destination {
            Destination::Remote { address, .. } => return vec![address],
            Destination::NextHop(id) => id,
        };
        let Some(next_hop) = self.next_hops.get(&id) else { return Vec::new() };
        let members = next_hop.group.iter().filter_map(|(member, _)| self.next_hops.get(member));
        members.chain([next_hop]).filter_map(|member| member.gateway).collect()
    }

    /// Where frames to unknown stations go from a vxlan device.
    pub fn flood_list(&self, device: u32) -> impl Iterator<Item = Destination> {
        let first = Destination::remote(IpAddr::from([0; 4]));
        let all = (device, MacAddr::ZERO, first)..=(device, MacAddr::ZERO, Destination::NextHop(u32::MAX));
        self.floods.range(all).map(|((_, _, destination), _)| *destination)
    }

    /// What the bridge has of a station, its ports' own addresses left out: those are marked permanent there.
    fn bridge_entries(&self, bridge: u32, mac: MacAddr) -> impl Iterator<Item = &Bridged> {
        let all = (bridge, mac, 0)..=(bridge, mac, u16::MAX);
        self.bridged.range(all).map(|(_, bridged)| bridged).filter(|bridged| !bridged.origin.permanent())
    }
}
