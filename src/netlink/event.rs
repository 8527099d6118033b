//! What the kernel tells, as much of it as a gateway needs.
//!
//! Only the attributes named here are read. One that is not known, or has grown with a newer kernel, hides nothing.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use super::abi::{
    self, Malformed, NDA_DST, NDA_FLAGS_EXT, NDA_IFINDEX, NDA_LLADDR, NDA_NH_ID, NDA_PORT, NDA_PROTOCOL, NDA_VNI,
    NTF_EXT_LEARNED, NTF_EXT_MANAGED, NTF_ROUTER, NTF_SELF, NTF_STICKY, RTA_DST, address, attributes, mac, number,
    split,
};
use super::link::{self, Link};
use super::nexthop::{self, NextHop};
use super::prefix::Prefix;
use crate::wire::MacAddr;

const NDA_VLAN: u16 = 5;
const NDA_MASTER: u16 = 9;
const NTF_PROXY: u8 = 0x08;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// Something that is now so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link is there, or has changed.
    Link(Box<Link>),
    /// The link with this index is gone.
    LinkGone(u32),
    /// An address is on a link, or no longer.
    Address {
        /// The link.
        link: u32,
        /// The address.
        address: IpAddr,
        /// True where it is there.
        present: bool,
    },
    /// A neighbour is known, or no longer.
    Neighbour {
        /// The link it is on.
        link: u32,
        /// Its address.
        address: IpAddr,
        /// What is known of it.
        neighbour: Option<Neighbour>,
    },
    /// An entry of a vxlan device's own FDB.
    Tunnelled {
        /// The vxlan device.
        device: u32,
        /// The station; zero for the flood list.
        mac: MacAddr,
        /// The remote VTEP.
        destination: Destination,
        /// How the entry came to be; absent where it is gone.
        origin: Option<Origin>,
    },
    /// An entry of a bridge's FDB.
    Bridged {
        /// The bridge.
        bridge: u32,
        /// The station.
        mac: MacAddr,
        /// The VLAN of a bridge that filters VLANs, else 0.
        vlan: u16,
        /// Where it is; absent where the entry is gone.
        place: Option<Bridged>,
    },
    /// A next-hop object is there, or no longer.
    NextHop {
        /// Its identifier.
        id: u32,
        /// What it is.
        next_hop: Option<NextHop>,
    },
    /// A route to this prefix has come, gone or changed.
    Route(Prefix),
    /// The rules that choose a routing table have changed.
    Rules,
}

impl Event {
    /// The link that something is on; that something is a link itself, or on none, is not said.
    #[must_use]
    pub fn link(&self) -> Option<u32> {
        match self {
            Self::Address { link, .. } | Self::Neighbour { link, .. } => Some(*link),
            Self::Tunnelled { device, .. } => Some(*device),
            Self::Bridged { bridge, .. } => Some(*bridge),
            Self::Link(_) | Self::LinkGone(_) | Self::NextHop { .. } | Self::Route(_) | Self::Rules => None,
        }
    }
}

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbour {
    /// Its MAC address, where one is known.
    pub mac: Option<MacAddr>,
    /// What the kernel thinks of it.
    pub state: NeighbourState,
    /// The kernel keeps it resolved by itself (`NTF_EXT_MANAGED`).
    pub managed: bool,
    /// A control plane has put it there (`NTF_EXT_LEARNED`): it is behind a remote VTEP.
    pub external: bool,
    /// It is a router (`NTF_ROUTER`).
    pub router: bool,
    /// Who put it there, as a number of routing protocols; 0 where nobody says.
    pub protocol: u8,
}

impl Neighbour {
    /// The MAC address that packets to it get, if they may be sent.
    #[must_use]
    pub fn usable(&self) -> Option<MacAddr> {
        self.mac.filter(|mac| mac.is_station() && self.state.usable())
    }
}

/// A set of `NUD_` bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NeighbourState(pub u16);

impl NeighbourState {
    const REACHABLE: u16 = 0x02;
    const STALE: u16 = 0x04;
    const DELAY: u16 = 0x08;
    const PROBE: u16 = 0x10;
    const NO_ARP: u16 = 0x40;
    const PERMANENT: u16 = 0x80;

    /// Its address may be used: it is valid in the kernel's sense (`NUD_VALID`).
    #[must_use]
    pub const fn usable(self) -> bool {
        let valid = Self::REACHABLE | Self::STALE | Self::DELAY | Self::PROBE | Self::NO_ARP | Self::PERMANENT;
        self.0 & valid != 0
    }

    /// Somebody has said what it is, for good.
    #[must_use]
    pub const fn permanent(self) -> bool {
        self.0 & Self::PERMANENT != 0
    }

    /// Somebody has said what it is, and the kernel does not find out by itself.
    #[must_use]
    pub const fn fixed(self) -> bool {
        self.0 & (Self::NO_ARP | Self::PERMANENT) != 0
    }
}

/// Where an entry of a vxlan device sends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// A remote VTEP. What is absent is the device's own.
    Remote {
        /// Its address.
        address: IpAddr,
        /// The UDP port.
        port: Option<u16>,
        /// The VNI.
        vni: Option<u32>,
        /// The link to send out of.
        link: Option<u32>,
    },
    /// A next-hop object, which names one or several.
    NextHop(u32),
}

impl Destination {
    /// A remote VTEP with the device's own port and VNI.
    #[must_use]
    pub const fn remote(address: IpAddr) -> Self {
        Self::Remote { address, port: None, vni: None, link: None }
    }
}

/// How an FDB entry came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `NUD_` bits.
    pub state: u16,
    /// `NTF_` bits.
    pub flags: u8,
}

impl Origin {
    /// Put there by a control plane.
    #[must_use]
    pub const fn external(self) -> bool {
        self.flags & NTF_EXT_LEARNED != 0
    }

    /// May not move.
    #[must_use]
    pub const fn sticky(self) -> bool {
        self.flags & NTF_STICKY != 0
    }

    /// Never ages: of a bridge's entries, those of its ports' own addresses.
    #[must_use]
    pub const fn permanent(self) -> bool {
        self.state & NeighbourState::PERMANENT != 0
    }
}

/// Where a bridge has a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bridged {
    /// The port's link.
    pub port: u32,
    /// How it came to be.
    pub origin: Origin,
}

/// Reads a message; `None` where it is of no concern.
pub(super) fn read(kind: u16, payload: &[u8]) -> Result<Option<Event>, Malformed> {
    match kind {
        abi::NEW_LINK | abi::DELETE_LINK => link::read(kind == abi::NEW_LINK, payload),
        abi::NEW_ADDRESS | abi::DELETE_ADDRESS => read_address(kind == abi::NEW_ADDRESS, payload),
        abi::NEW_NEIGHBOUR | abi::DELETE_NEIGHBOUR => read_neighbour(kind == abi::NEW_NEIGHBOUR, payload),
        abi::NEW_ROUTE | abi::DELETE_ROUTE => read_route(payload),
        abi::NEW_RULE | abi::DELETE_RULE => Ok(Some(Event::Rules)),
        abi::NEW_NEXT_HOP | abi::DELETE_NEXT_HOP => nexthop::read(kind == abi::NEW_NEXT_HOP, payload),
        _ => Ok(None),
    }
}

fn read_address(present: bool, payload: &[u8]) -> Result<Option<Event>, Malformed> {
    let (header, rest): (abi::AddressHeader, _) = split(payload)?;
    let (mut peer, mut local) = (None, None);
    attributes(rest, |kind, value| match kind {
        IFA_ADDRESS => peer = address(value),
        IFA_LOCAL => local = address(value),
        _ => {}
    })?;
    // On a point-to-point link IFA_ADDRESS is the peer's.
    Ok(local.or(peer).map(|address| Event::Address { link: header.index, address, present }))
}

/// The attributes of a neighbour message.
#[derive(Default)]
struct NeighbourAttributes {
    destination: Option<IpAddr>,
    mac: Option<MacAddr>,
    vlan: Option<u16>,
    port: Option<u16>,
    vni: Option<u32>,
    link: Option<u32>,
    bridge: Option<u32>,
    next_hop: Option<u32>,
    flags: u32,
    protocol: u8,
}

fn read_neighbour(present: bool, payload: &[u8]) -> Result<Option<Event>, Malformed> {
    let (header, rest): (abi::NeighbourHeader, _) = split(payload)?;
    let mut found = NeighbourAttributes::default();
    attributes(rest, |kind, value| match kind {
        NDA_DST => found.destination = address(value),
        NDA_LLADDR => found.mac = mac(value),
        NDA_VLAN => found.vlan = value.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes)),
        NDA_PORT => found.port = abi::port(value),
        NDA_VNI => found.vni = number(value),
        NDA_IFINDEX => found.link = number(value),
        NDA_MASTER => found.bridge = number(value),
        NDA_NH_ID => found.next_hop = number(value),
        NDA_PROTOCOL => found.protocol = value.first().copied().unwrap_or_default(),
        NDA_FLAGS_EXT => found.flags = number(value).unwrap_or_default(),
        _ => {}
    })?;
    Ok(match header.family {
        abi::BRIDGE => fdb_entry(present, &header, &found),
        // Proxy entries say whom the kernel answers for, not where anybody is.
        abi::INET | abi::INET6 if header.flags & NTF_PROXY == 0 => found.destination.map(|address| {
            let neighbour = Neighbour {
                mac: found.mac,
                state: NeighbourState(header.state),
                managed: found.flags & NTF_EXT_MANAGED != 0,
                external: header.flags & NTF_EXT_LEARNED != 0,
                router: header.flags & NTF_ROUTER != 0,
                protocol: found.protocol,
            };
            Event::Neighbour { link: header.index, address, neighbour: present.then_some(neighbour) }
        }),
        _ => None,
    })
}

/// An FDB entry: of the vxlan device itself (`NTF_SELF`, with a destination), or of the bridge over it. `NTF_MASTER` is
/// never set in what the kernel tells; the bridge's index says whose the entry is.
fn fdb_entry(present: bool, header: &abi::NeighbourHeader, found: &NeighbourAttributes) -> Option<Event> {
    let mac = found.mac?;
    let origin = Origin { state: header.state, flags: header.flags };
    if header.flags & NTF_SELF == 0 {
        let place = Bridged { port: header.index, origin };
        let (bridge, vlan) = (found.bridge?, found.vlan.unwrap_or_default());
        return Some(Event::Bridged { bridge, mac, vlan, place: present.then_some(place) });
    }
    // What has neither is an address that another kind of device listens to.
    let destination = match (found.next_hop, found.destination) {
        (Some(id), _) => Destination::NextHop(id),
        (None, Some(address)) => Destination::Remote { address, port: found.port, vni: found.vni, link: found.link },
        (None, None) => return None,
    };
    Some(Event::Tunnelled { device: header.index, mac, destination, origin: present.then_some(origin) })
}

fn read_route(payload: &[u8]) -> Result<Option<Event>, Malformed> {
    let (header, rest): (abi::RouteHeader, _) = split(payload)?;
    let mut destination = None;
    attributes(rest, |kind, value| {
        if kind == RTA_DST {
            destination = address(value);
        }
    })?;
    let default = match header.family {
        abi::INET => Some(IpAddr::from([0; 4])),
        abi::INET6 => Some(IpAddr::from([0; 16])),
        _ => None,
    };
    Ok(destination.or(default).map(|address| Event::Route(Prefix::new(address, header.destination_length))))
}
