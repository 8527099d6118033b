//! The numbers of the kernel's interface that this room uses (`linux/rtnetlink.h`, `linux/if_link.h`,
//! `linux/neighbour.h`, `linux/nexthop.h`), and reading and writing of attributes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLA_HEADER_SIZE, NlasIterator};
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::wire::MacAddr;

/// Message types: new, deleted and asked for, of links, addresses, routes, neighbours, rules and next hops.
pub(super) const NEW_LINK: u16 = 16;
pub(super) const DELETE_LINK: u16 = 17;
pub(super) const GET_LINK: u16 = 18;
pub(super) const NEW_ADDRESS: u16 = 20;
pub(super) const DELETE_ADDRESS: u16 = 21;
pub(super) const GET_ADDRESS: u16 = 22;
pub(super) const NEW_ROUTE: u16 = 24;
pub(super) const DELETE_ROUTE: u16 = 25;
pub(super) const GET_ROUTE: u16 = 26;
pub(super) const NEW_NEIGHBOUR: u16 = 28;
pub(super) const DELETE_NEIGHBOUR: u16 = 29;
pub(super) const GET_NEIGHBOUR: u16 = 30;
pub(super) const NEW_RULE: u16 = 32;
pub(super) const DELETE_RULE: u16 = 33;
pub(super) const NEW_NEXT_HOP: u16 = 104;
pub(super) const DELETE_NEXT_HOP: u16 = 105;
pub(super) const GET_NEXT_HOP: u16 = 106;

pub(super) const NEW_QUEUEING: u16 = 36;

/// Flags of requests: `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_REPLACE`, `NLM_F_EXCL` and `NLM_F_CREATE`.
pub(super) const REQUEST: u16 = 0x1;
pub(super) const ACKNOWLEDGE: u16 = 0x4;
pub(super) const REPLACE: u16 = 0x100;
pub(super) const EXCLUSIVE: u16 = 0x200;
pub(super) const CREATE: u16 = 0x400;

/// Attributes of links that are both read and written.
pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_LINK: u16 = 5;
pub(super) const IFLA_MASTER: u16 = 10;
pub(super) const IFLA_LINKINFO: u16 = 18;
pub(super) const IFLA_IFALIAS: u16 = 20;
pub(super) const IFLA_GROUP: u16 = 27;
pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;
pub(super) const IFLA_VXLAN_ID: u16 = 1;
pub(super) const IFLA_VXLAN_LOCAL: u16 = 4;
pub(super) const IFLA_VXLAN_LEARNING: u16 = 7;
pub(super) const IFLA_VXLAN_PORT: u16 = 15;
pub(super) const IFLA_VXLAN_LOCAL6: u16 = 17;
pub(super) const IFF_UP: u32 = 0x1;

/// Attributes, flags and states of neighbours and FDB entries that are both read and written.
pub(super) const NDA_DST: u16 = 1;
pub(super) const NDA_LLADDR: u16 = 2;
pub(super) const NDA_PORT: u16 = 6;
pub(super) const NDA_VNI: u16 = 7;
pub(super) const NDA_IFINDEX: u16 = 8;
pub(super) const NDA_PROTOCOL: u16 = 12;
pub(super) const NDA_NH_ID: u16 = 13;
pub(super) const NDA_FLAGS_EXT: u16 = 15;
pub(super) const NTF_SELF: u8 = 0x02;
pub(super) const NTF_MASTER: u8 = 0x04;
pub(super) const NTF_EXT_LEARNED: u8 = 0x10;
pub(super) const NTF_STICKY: u8 = 0x40;
pub(super) const NTF_ROUTER: u8 = 0x80;
pub(super) const NTF_EXT_MANAGED: u32 = 0x01;
pub(super) const NUD_REACHABLE: u16 = 0x02;
pub(super) const NUD_NOARP: u16 = 0x40;
pub(super) const NUD_PERMANENT: u16 = 0x80;

/// The destination of a route.
pub(super) const RTA_DST: u16 = 1;

/// Address families.
pub(super) const UNSPECIFIED: u8 = 0;
pub(super) const INET: u8 = 2;
pub(super) const BRIDGE: u8 = 7;
pub(super) const INET6: u8 = 10;

/// `struct ifinfomsg`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Default)]
#[repr(C)]
pub(super) struct LinkHeader {
    pub family: u8,
    pub padding: u8,
    pub hardware: u16,
    pub index: u32,
    pub flags: u32,
    pub changed: u32,
}

/// `struct tcmsg`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Default)]
#[repr(C)]
pub(super) struct QueueingHeader {
    pub family: u8,
    pub padding: [u8; 3],
    pub index: u32,
    pub handle: u32,
    pub parent: u32,
    pub information: u32,
}

/// `struct ifaddrmsg`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Default)]
#[repr(C)]
pub(super) struct AddressHeader {
    pub family: u8,
    pub prefix: u8,
    pub flags: u8,
    pub scope: u8,
    pub index: u32,
}

/// `struct ndmsg`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Default)]
#[repr(C)]
pub(super) struct NeighbourHeader {
    pub family: u8,
    pub padding: [u8; 3],
    pub index: u32,
    pub state: u16,
    pub flags: u8,
    pub kind: u8,
}

/// `struct rtmsg`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Default)]
#[repr(C)]
pub(super) struct RouteHeader {
    pub family: u8,
    pub destination_length: u8,
    pub source_length: u8,
    pub tos: u8,
    pub table: u8,
    pub protocol: u8,
    pub scope: u8,
    pub kind: u8,
    pub flags: u32,
}

/// `struct rtnexthop`; its attributes follow, and `length` counts both.
#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct RouteNextHop {
    pub length: u16,
    pub flags: u8,
    pub hops: u8,
    pub index: u32,
}

/// `struct nhmsg`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Default)]
#[repr(C)]
pub(super) struct NextHopHeader {
    pub family: u8,
    pub scope: u8,
    pub protocol: u8,
    pub reserved: u8,
    pub flags: u32,
}

/// A message that is too short for what its type says, or whose attributes are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a message of the kernel is malformed")]
pub struct Malformed;

/// The header of a message, and the bytes behind it.
pub(super) fn split<H: FromBytes>(payload: &[u8]) -> Result<(H, &[u8]), Malformed> {
    H::read_from_prefix(payload).map_err(|_| Malformed)
}

/// Calls `each` with the type and the value of every attribute. Those that are not known are the caller's to ignore.
pub(super) fn attributes<'a>(bytes: &'a [u8], mut each: impl FnMut(u16, &'a [u8])) -> Result<(), Malformed> {
    for attribute in NlasIterator::new(bytes) {
        let attribute = attribute.map_err(|_| Malformed)?;
        let (kind, length) = (attribute.kind(), attribute.length().into());
        each(kind, attribute.into_inner().get(NLA_HEADER_SIZE..length).unwrap_or_default());
    }
    Ok(())
}

/// A 32-bit number in the host's byte order.
pub(super) fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*value.first_chunk()?))
}

/// A UDP port, in network byte order.
pub(super) fn port(value: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*value.first_chunk()?))
}

/// An address, whose family its length tells.
pub(super) fn address(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(octets).into());
    }
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into())
}

/// A MAC address.
pub(super) fn mac(value: &[u8]) -> Option<MacAddr> {
    Some(MacAddr(value.try_into().ok()?))
}

/// A name, which the kernel ends with a zero.
pub(super) fn name(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// A request that is being written.
#[derive(Debug)]
pub(super) struct Request(Vec<u8>);

impl Request {
    /// A request of this type with these flags and this header.
    pub(super) fn new(kind: u16, flags: u16, sequence: u32, header: &(impl IntoBytes + Immutable)) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        // The kernel fills in whose it is.
        bytes.extend([0; 4]);
        bytes.extend(header.as_bytes());
        Self(bytes)
    }

    /// Appends an attribute. Values here are a few bytes long.
    #[must_use]
    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend((4 + value.len() as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Appends an attribute that holds others.
    #[must_use]
    pub(super) fn with_nested(mut self, kind: u16, inner: impl FnOnce(Self) -> Self) -> Self {
        let start = self.0.len();
        self = inner(self.with(kind, &[]));
        let length = (self.0.len() - start) as u16;
        if let Some(place) = self.0.get_mut(start..start + 2) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
        self
    }

    /// Appends a name, which the kernel wants to end with a zero.
    #[must_use]
    pub(super) fn with_name(self, kind: u16, name: &str) -> Self {
        let mut value = name.as_bytes().to_vec();
        value.push(0);
        self.with(kind, &value)
    }

    /// Appends an address.
    #[must_use]
    pub(super) fn with_address(self, kind: u16, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.with(kind, &address.octets()),
            IpAddr::V6(address) => self.with(kind, &address.octets()),
        }
    }

    /// The message, its length filled in.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = (self.0.len() as u32).to_ne_bytes();
        if let Some(place) = self.0.first_chunk_mut() {
            *place = length;
        }
        self.0
    }
}

/// The family of an address.
pub(super) const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => INET,
        IpAddr::V6(_) => INET6,
    }
}
