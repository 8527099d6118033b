//! Links: the kernel's network interfaces.

use std::net::IpAddr;

use super::abi::{
    self, IFF_UP, IFLA_ADDRESS, IFLA_GROUP, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK,
    IFLA_LINKINFO, IFLA_MASTER, IFLA_VXLAN_ID, IFLA_VXLAN_LEARNING, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LOCAL6,
    IFLA_VXLAN_PORT, LinkHeader, Malformed, address, attributes, mac, name, number, split,
};
use super::event::Event;
use crate::wire::MacAddr;

const IFLA_MTU: u16 = 4;
const IFLA_QDISC: u16 = 6;
const IFLA_VXLAN_GROUP: u16 = 2;
const IFLA_VXLAN_GROUP6: u16 = 16;
const IFLA_VXLAN_COLLECT_METADATA: u16 = 25;
const IFF_LOWER_UP: u32 = 0x1_0000;

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index, which names it in all other messages.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its kind ("vxlan", "bridge"...); empty for a NIC, "tun" for a TAP.
    pub kind: String,
    /// Its MAC address.
    pub mac: Option<MacAddr>,
    /// The largest layer-3 packet, in bytes.
    pub mtu: u32,
    /// Set up by the administrator.
    pub up: bool,
    /// There is a carrier.
    pub lower_up: bool,
    /// The bridge, bond or VRF it belongs to.
    pub master: Option<u32>,
    /// The link that it was made on and goes with, where it has one: a macvlan's TAP, a VLAN's NIC.
    pub lower: Option<u32>,
    /// The group it was put into (`ip link set group`); 0 where nobody did.
    pub group: u32,
    /// What somebody has noted of it (`ip link set alias`); empty where nobody did.
    pub alias: String,
    /// The queueing discipline of what is sent out of it.
    pub queueing: String,
    /// What a vxlan device says of itself.
    pub vxlan: Option<Vxlan>,
}

impl Link {
    /// Packets may be sent out of it.
    #[must_use]
    pub const fn carries(&self) -> bool {
        self.up && self.lower_up
    }
}

/// A vxlan device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vxlan {
    /// The VNI.
    pub vni: u32,
    /// The UDP port.
    pub port: u16,
    /// The local VTEP's address.
    pub local: Option<IpAddr>,
    /// The default destination, or the multicast group.
    pub group: Option<IpAddr>,
    /// The kernel learns addresses on it.
    pub learning: bool,
    /// It takes VNI and destination from each packet ("external").
    pub external: bool,
}

/// Reads `RTM_NEWLINK` (`present`) or `RTM_DELLINK`.
pub(super) fn read(present: bool, payload: &[u8]) -> Result<Option<Event>, Malformed> {
    let (header, rest): (LinkHeader, _) = split(payload)?;
    if header.family != abi::UNSPECIFIED {
        // Bridges tell of their ports by messages of the same type: a deletion of that kind ends no link.
        return Ok(None);
    }
    if !present {
        return Ok(Some(Event::LinkGone(header.index)));
    }
    let mut link = Link {
        index: header.index,
        up: header.flags & IFF_UP != 0,
        lower_up: header.flags & IFF_LOWER_UP != 0,
        ..Link::default()
    };
    let mut information = None;
    attributes(rest, |kind, value| match kind {
        IFLA_ADDRESS => link.mac = mac(value),
        IFLA_IFNAME => link.name = name(value),
        IFLA_MTU => link.mtu = number(value).unwrap_or_default(),
        IFLA_QDISC => link.queueing = name(value),
        IFLA_MASTER => link.master = number(value),
        IFLA_LINK => link.lower = number(value),
        IFLA_IFALIAS => link.alias = name(value),
        IFLA_GROUP => link.group = number(value).unwrap_or_default(),
        IFLA_LINKINFO => information = Some(value),
        _ => {}
    })?;
    let mut data = None;
    attributes(information.unwrap_or_default(), |kind, value| match kind {
        IFLA_INFO_KIND => link.kind = name(value),
        IFLA_INFO_DATA => data = Some(value),
        _ => {}
    })?;
    if link.kind == "vxlan" {
        link.vxlan = Some(read_vxlan(data.unwrap_or_default())?);
    }
    Ok(Some(Event::Link(Box::new(link))))
}

fn read_vxlan(data: &[u8]) -> Result<Vxlan, Malformed> {
    let mut vxlan = Vxlan::default();
    let is_set = |value: &[u8]| value.first().is_some_and(|value| *value != 0);
    attributes(data, |kind, value| match kind {
        IFLA_VXLAN_ID => vxlan.vni = number(value).unwrap_or_default(),
        IFLA_VXLAN_PORT => vxlan.port = abi::port(value).unwrap_or_default(),
        IFLA_VXLAN_LOCAL | IFLA_VXLAN_LOCAL6 => vxlan.local = address(value),
        IFLA_VXLAN_GROUP | IFLA_VXLAN_GROUP6 => vxlan.group = address(value),
        IFLA_VXLAN_LEARNING => vxlan.learning = is_set(value),
        IFLA_VXLAN_COLLECT_METADATA => vxlan.external = is_set(value),
        _ => {}
    })?;
    Ok(vxlan)
}
