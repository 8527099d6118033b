//! What the kernel is told to do with links, FDB entries and neighbours, and how that is written.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use super::abi::{
    self, ACKNOWLEDGE, CREATE, EXCLUSIVE, IFF_UP, IFLA_ADDRESS, IFLA_GROUP, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_DATA,
    IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO, IFLA_MASTER, IFLA_VXLAN_ID, IFLA_VXLAN_LEARNING, IFLA_VXLAN_LOCAL,
    IFLA_VXLAN_LOCAL6, IFLA_VXLAN_PORT, LinkHeader, NDA_DST, NDA_FLAGS_EXT, NDA_IFINDEX, NDA_LLADDR, NDA_NH_ID,
    NDA_PORT, NDA_PROTOCOL, NDA_VNI, NTF_EXT_LEARNED, NTF_EXT_MANAGED, NTF_MASTER, NTF_ROUTER, NTF_SELF, NTF_STICKY,
    NUD_NOARP, NUD_PERMANENT, NUD_REACHABLE, NeighbourHeader, QueueingHeader, REPLACE, REQUEST, Request,
};
use super::event::Destination;
use crate::wire::{MacAddr, Vni};

const IFLA_AF_SPEC: u16 = 26;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_MACVLAN_MODE: u16 = 1;
/// `MACVLAN_MODE_PRIVATE`: macvlans of one link do not hear each other.
const MACVLAN_MODE_PRIVATE: u32 = 1;
/// `NTF_USE`: as if the kernel had a packet for the neighbour.
const NTF_USE: u8 = 0x01;
const TCA_KIND: u16 = 1;
const TC_H_ROOT: u32 = 0xffff_ffff;

/// By this the gateway knows neighbours as its own (`ip neigh ... protocol 176`): a number of routing protocols that
/// is nobody's in iproute2's list.
pub const PROTOCOL: u8 = 176;

/// One thing that the kernel is to do. None of them waits for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Make a bridge in this group of links, down. It has a MAC address of its own, not that of one of its ports: when a
    /// port comes or goes and the address changes, the kernel forgets all neighbours on the bridge.
    MakeBridge {
        /// Its name, at most 15 bytes.
        name: String,
        /// Its group.
        group: u32,
    },
    /// Make a vxlan device in this group of links, down, which learns nothing by itself.
    MakeVxlan {
        /// Its name, at most 15 bytes.
        name: String,
        /// Its group.
        group: u32,
        /// The VNI.
        vni: Vni,
        /// The local VTEP's address.
        local: IpAddr,
        /// The UDP port.
        port: u16,
        /// The bridge that it joins.
        bridge: u32,
    },
    /// Make a TAP that is there as long as this process is, or hold it again where it has been removed.
    HoldTap {
        /// Its name, at most 15 bytes.
        name: String,
    },
    /// Make a macvlan in this group of links, down, which goes with the link that it is on: however many are on one, the
    /// kernel removes them at once.
    MakePort {
        /// Its name, at most 15 bytes.
        name: String,
        /// Its group.
        group: u32,
        /// The link that it is on.
        lower: u32,
        /// The bridge that it joins.
        bridge: u32,
    },
    /// Let such a TAP go.
    ReleaseTap {
        /// Its name.
        name: String,
    },
    /// Note something of a link.
    Mark {
        /// Its name.
        name: String,
        /// What is noted.
        alias: String,
    },
    /// Give a link no IPv6 address of itself.
    KeepSilent {
        /// Its name.
        name: String,
    },
    /// Put a link into this group of links, and into a bridge.
    Enslave {
        /// The link.
        link: u32,
        /// Its group.
        group: u32,
        /// The bridge; none takes it out of the one it is in.
        bridge: Option<u32>,
    },
    /// Set a link up or down.
    SetUp {
        /// The link.
        link: u32,
        /// Up.
        up: bool,
    },
    /// Have all that the kernel itself sends out of a link dropped.
    DropWhatIsSent {
        /// The link.
        link: u32,
    },
    /// Remove a link.
    RemoveLink {
        /// The link.
        link: u32,
    },
    /// Remove all links of a group at once, which takes a fraction of the time.
    RemoveGroup {
        /// The group.
        group: u32,
    },
    /// Have a bridge know a station behind a port of its own, until told otherwise.
    PutStation {
        /// The port.
        port: u32,
        /// The station.
        mac: MacAddr,
        /// It does not move. One that is there already and may move becomes such a one; one that may not stays as it is.
        sticky: bool,
    },
    /// Have a bridge forget a station behind a port. One that is behind another port stays.
    TakeStation {
        /// The port.
        port: u32,
        /// The station.
        mac: MacAddr,
    },
    /// Have a vxlan device forget that a station is there. One that is elsewhere stays.
    TakeRemote {
        /// The vxlan device.
        device: u32,
        /// The station.
        mac: MacAddr,
        /// Where it was.
        destination: Destination,
    },
    /// Have a link know a neighbour for good, as the gateway's ([`PROTOCOL`]).
    PutNeighbour {
        /// The link.
        link: u32,
        /// Its IP address.
        address: IpAddr,
        /// Its MAC address.
        mac: MacAddr,
        /// It is a router. The kernel keeps that of an IPv6 neighbour only.
        router: bool,
    },
    /// Have the kernel resolve a neighbour now and, where it can (from Linux 5.16 on), keep it resolved from then on
    /// (`ip neigh replace ADDRESS dev LINK managed`). On an older kernel this has to be repeated.
    Resolve {
        /// The link.
        link: u32,
        /// Its IP address.
        address: IpAddr,
    },
    /// Leave a neighbour to itself again. One that is not there is none to leave: that fails.
    Release {
        /// The link.
        link: u32,
        /// Its IP address.
        address: IpAddr,
    },
    /// Have a link forget a neighbour.
    TakeNeighbour {
        /// The link.
        link: u32,
        /// Its IP address.
        address: IpAddr,
    },
}

impl Order {
    /// The message for it; none where it takes no message.
    pub(super) fn message(&self, sequence: u32) -> Option<Vec<u8>> {
        let make = |flags: u16, header: LinkHeader| {
            Request::new(abi::NEW_LINK, REQUEST | ACKNOWLEDGE | flags, sequence, &header)
        };
        let link = |index| LinkHeader { index, ..LinkHeader::default() };
        Some(match self {
            Self::HoldTap { .. } | Self::ReleaseTap { .. } => return None,
            Self::MakeBridge { name, group } => make(CREATE | EXCLUSIVE, LinkHeader::default())
                .with_name(IFLA_IFNAME, name)
                .with(IFLA_ADDRESS, &random_address(LOCAL).0)
                .with(IFLA_GROUP, &group.to_ne_bytes())
                .with_nested(IFLA_LINKINFO, |request| {
                    request
                        .with_name(IFLA_INFO_KIND, "bridge")
                        .with_nested(IFLA_INFO_DATA, |data| data.with(IFLA_BR_MCAST_SNOOPING, &[0]))
                })
                .finish(),
            Self::MakeVxlan { name, group, vni, local, port, bridge } => {
                make(CREATE | EXCLUSIVE, LinkHeader::default())
                    .with_name(IFLA_IFNAME, name)
                    .with(IFLA_GROUP, &group.to_ne_bytes())
                    .with(IFLA_MASTER, &bridge.to_ne_bytes())
                    .with_nested(IFLA_LINKINFO, |request| {
                        let data = |data: Request| vxlan_data(data, *vni, *local, *port);
                        request.with_name(IFLA_INFO_KIND, "vxlan").with_nested(IFLA_INFO_DATA, data)
                    })
                    .finish()
            }
            Self::MakePort { name, group, lower, bridge } => make(CREATE | EXCLUSIVE, LinkHeader::default())
                .with_name(IFLA_IFNAME, name)
                .with(IFLA_ADDRESS, &unassuming_address().0)
                .with(IFLA_LINK, &lower.to_ne_bytes())
                .with(IFLA_GROUP, &group.to_ne_bytes())
                .with(IFLA_MASTER, &bridge.to_ne_bytes())
                .with_nested(IFLA_LINKINFO, |request| {
                    request.with_name(IFLA_INFO_KIND, "macvlan").with_nested(IFLA_INFO_DATA, |data| {
                        data.with(IFLA_MACVLAN_MODE, &MACVLAN_MODE_PRIVATE.to_ne_bytes())
                    })
                })
                .finish(),
            Self::Mark { name, alias } => make(0, LinkHeader::default())
                .with_name(IFLA_IFNAME, name)
                .with(IFLA_IFALIAS, alias.as_bytes())
                .finish(),
            Self::KeepSilent { name } => make(0, LinkHeader::default())
                .with_name(IFLA_IFNAME, name)
                .with_nested(IFLA_AF_SPEC, |request| {
                    request.with_nested(abi::INET6.into(), |inet6| {
                        inet6.with(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE])
                    })
                })
                .finish(),
            Self::Enslave { link: index, group, bridge } => make(0, link(*index))
                .with(IFLA_GROUP, &group.to_ne_bytes())
                .with(IFLA_MASTER, &bridge.unwrap_or_default().to_ne_bytes())
                .finish(),
            Self::SetUp { link: index, up } => {
                let flags = if *up { IFF_UP } else { 0 };
                make(0, LinkHeader { index: *index, flags, changed: IFF_UP, ..LinkHeader::default() }).finish()
            }
            Self::DropWhatIsSent { link } => {
                let header = QueueingHeader { index: *link, parent: TC_H_ROOT, ..QueueingHeader::default() };
                let flags = REQUEST | ACKNOWLEDGE | CREATE | REPLACE;
                Request::new(abi::NEW_QUEUEING, flags, sequence, &header).with_name(TCA_KIND, "blackhole").finish()
            }
            Self::RemoveLink { link: index } => remove(sequence, &link(*index)).finish(),
            Self::RemoveGroup { group } => {
                remove(sequence, &LinkHeader::default()).with(IFLA_GROUP, &group.to_ne_bytes()).finish()
            }
            Self::PutStation { .. }
            | Self::TakeStation { .. }
            | Self::TakeRemote { .. }
            | Self::PutNeighbour { .. }
            | Self::Resolve { .. }
            | Self::Release { .. }
            | Self::TakeNeighbour { .. } => self.neighbour_message(sequence)?,
        })
    }

    fn neighbour_message(&self, sequence: u32) -> Option<Vec<u8>> {
        let put = |header: NeighbourHeader| {
            Request::new(abi::NEW_NEIGHBOUR, REQUEST | ACKNOWLEDGE | CREATE | REPLACE, sequence, &header)
        };
        let take =
            |header: NeighbourHeader| Request::new(abi::DELETE_NEIGHBOUR, REQUEST | ACKNOWLEDGE, sequence, &header);
        let header =
            |family, index, state, flags| NeighbourHeader { family, index, state, flags, ..NeighbourHeader::default() };
        let request = match self {
            Self::PutStation { port, mac, sticky } => {
                // The kernel does not take both at once: what a control plane has put there may move.
                let (state, flags) = if *sticky { (NUD_NOARP, NTF_STICKY) } else { (NUD_REACHABLE, NTF_EXT_LEARNED) };
                put(header(abi::BRIDGE, *port, state, NTF_MASTER | flags)).with(NDA_LLADDR, &mac.0)
            }
            Self::TakeStation { port, mac } => take(header(abi::BRIDGE, *port, 0, NTF_MASTER)).with(NDA_LLADDR, &mac.0),
            Self::TakeRemote { device, mac, destination } => {
                let request = take(header(abi::BRIDGE, *device, 0, NTF_SELF)).with(NDA_LLADDR, &mac.0);
                with_destination(request, *destination)
            }
            Self::PutNeighbour { link, address, mac, router } => {
                let flags = if *router { NTF_ROUTER } else { 0 };
                put(header(abi::family(*address), *link, NUD_PERMANENT, flags))
                    .with_address(NDA_DST, *address)
                    .with(NDA_LLADDR, &mac.0)
                    .with(NDA_PROTOCOL, &[PROTOCOL])
            }
            Self::Resolve { link, address } => put(header(abi::family(*address), *link, 0, NTF_USE))
                .with_address(NDA_DST, *address)
                .with(NDA_FLAGS_EXT, &NTF_EXT_MANAGED.to_ne_bytes()),
            Self::Release { link, address } => {
                let header = header(abi::family(*address), *link, 0, NTF_USE);
                Request::new(abi::NEW_NEIGHBOUR, REQUEST | ACKNOWLEDGE | REPLACE, sequence, &header)
                    .with_address(NDA_DST, *address)
            }
            Self::TakeNeighbour { link, address } => {
                take(header(abi::family(*address), *link, 0, 0)).with_address(NDA_DST, *address)
            }
            _ => return None,
        };
        Some(request.finish())
    }
}

/// The first octet of a MAC address that is administered locally (IEEE 802, 8.4).
const LOCAL: u8 = 0x02;
/// The greatest first octet of such a station's address.
const GREATEST: u8 = 0xfe;

/// A MAC address for a port that joins a bridge. A bridge that has none of its own has the least of its ports': this one
/// leaves it as it is.
fn unassuming_address() -> MacAddr {
    random_address(GREATEST)
}

/// A MAC address that begins with this octet.
fn random_address(first: u8) -> MacAddr {
    let [_, _, _, b, c, d, e, f] = RandomState::new().hash_one(first).to_be_bytes();
    MacAddr([first, b, c, d, e, f])
}

fn remove(sequence: u32, header: &LinkHeader) -> Request {
    Request::new(abi::DELETE_LINK, REQUEST | ACKNOWLEDGE, sequence, header)
}

fn vxlan_data(data: Request, vni: Vni, local: IpAddr, port: u16) -> Request {
    let kind = if local.is_ipv4() { IFLA_VXLAN_LOCAL } else { IFLA_VXLAN_LOCAL6 };
    data.with(IFLA_VXLAN_ID, &vni.get().to_ne_bytes())
        .with_address(kind, local)
        .with(IFLA_VXLAN_PORT, &port.to_be_bytes())
        .with(IFLA_VXLAN_LEARNING, &[0])
}

fn with_destination(request: Request, destination: Destination) -> Request {
    match destination {
        Destination::NextHop(id) => request.with(NDA_NH_ID, &id.to_ne_bytes()),
        Destination::Remote { address, port, vni, link } => {
            let mut request = request.with_address(NDA_DST, address);
            if let Some(port) = port {
                request = request.with(NDA_PORT, &port.to_be_bytes());
            }
            if let Some(vni) = vni {
                request = request.with(NDA_VNI, &vni.to_ne_bytes());
            }
            if let Some(link) = link {
                request = request.with(NDA_IFINDEX, &link.to_ne_bytes());
            }
            request
        }
    }
}
