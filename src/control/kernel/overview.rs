//! For people: how the kernel and the bridges that it controls stand to each other.

use std::collections::BTreeMap;

use super::Kernel;
use crate::control::publishing::Counts;
use crate::netlink::Link;
use crate::wire::Vni;

/// A bridge that the kernel controls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeOverview {
    /// The kernel's vxlan device that it goes by, if there is one.
    pub device: Option<String>,
    /// The gateway has made that device.
    pub made: bool,
    /// The kernel's bridge that the device is in.
    pub bridge: Option<String>,
    /// The port of that bridge that stands for the gateway's access ports.
    pub port: Option<String>,
    /// What is behind access ports.
    pub local: Counts,
    /// How many stations the kernel has behind remote VTEPs.
    pub remote_stations: usize,
    /// To how many remote VTEPs floods go, as the kernel says.
    pub flood_list: usize,
}

/// All bridges that the kernel controls.
pub type Overview = BTreeMap<Vni, BridgeOverview>;

impl Kernel {
    /// All bridges that the kernel controls.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let name = |index: u32| self.mirror.link(index).map(|link| link.name.clone());
        let overview = |vni: Vni| {
            let adopted = self.adoption.devices().get(&vni);
            let device: Option<&Link> = adopted.and_then(|adopted| self.mirror.link(adopted.device));
            BridgeOverview {
                made: device.is_some_and(|device| self.telling.devices.is_own(device)),
                device: device.map(|device| device.name.clone()),
                bridge: adopted.and_then(|adopted| adopted.bridge).and_then(name),
                port: self.telling.publisher.port(vni).and_then(name),
                local: self.telling.publisher.counts(vni),
                remote_stations: self.adoption.station_count_of(vni),
                flood_list: self.adoption.said().get(&vni).map_or(0, |said| said.flood_list.len()),
            }
        };
        self.adoption.wanted().map(|vni| (vni, overview(vni))).collect()
    }
}
