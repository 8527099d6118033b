//! The immutable half of the tables: ports, bridges, members and tunnels.
//!
//! Control builds a snapshot, publishes it by swapping one pointer, and frees it once no worker holds it. A worker
//! reads the pointer once per burst. Nothing in a snapshot is ever written after publication.

use std::net::IpAddr;

use super::access_map::AccessMap;
use super::remote_map::RemoteMap;
use super::tunnel::Tunnel;
use super::vni_map::VniMap;
use super::{BridgeIndex, MemberIndex, PortIndex, TunnelIndex};
use crate::wire::{MacAddr, Vni};

/// Everything a worker looks up besides the FDB.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// This gateway's VXLAN endpoint.
    pub vtep: LocalVtep,
    /// The ports; a [`PortIndex`] is a place in this list.
    pub ports: Vec<Port>,
    /// The bridges. Places of bridges that a reload took away stay, empty and out of reach of every map.
    pub bridges: Vec<Bridge>,
    /// The access members.
    pub members: Vec<Member>,
    /// The remote VTEPs.
    pub tunnels: Vec<Tunnel>,
    /// VNI to bridge.
    pub vnis: VniMap,
    /// Address to remote VTEP.
    pub remotes: RemoteMap,
}

/// This gateway's VXLAN endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalVtep {
    /// Its address.
    pub address: IpAddr,
    /// The UDP port of VXLAN.
    pub udp_port: u16,
    /// Over IPv6, a zero UDP checksum is sent and accepted (RFC 6935).
    pub zero_checksum_ipv6: bool,
    /// The outer DSCP for all packets; the inner one is copied where absent.
    pub fixed_dscp: Option<u8>,
    /// Packets with reserved VXLAN bits set are dropped.
    pub strict: bool,
}

/// A port.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its MAC address.
    pub mac: MacAddr,
    /// The largest layer-3 packet, in bytes.
    pub mtu: u16,
    /// What is on its other side.
    pub side: PortSide,
}

/// What is on a port's other side.
#[derive(Clone, Debug)]
pub enum PortSide {
    /// The fabric.
    Uplink,
    /// VLANs: which bridge each belongs to.
    Access(AccessMap),
}

/// A bridge's switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgePolicy {
    /// Sources are learned.
    pub learning: bool,
    /// Packets are taken only from the bridge's own remote VTEPs.
    pub source_check: bool,
    /// VLAN tags of the bridged frames are carried rather than refused.
    pub carry_tags: bool,
    /// Frames to reserved link-local group addresses are bridged.
    pub link_local: bool,
}

/// A bridge: one VNI, its access members and its remote VTEPs.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// Its place in the bridge table.
    pub index: BridgeIndex,
    /// The VNI.
    pub vni: Vni,
    /// The switches.
    pub policy: BridgePolicy,
    /// The access members, each of which gets a copy of a flood.
    pub members: Box<[MemberIndex]>,
    /// The flood list: remote VTEPs that get a copy of a flood (ingress replication).
    pub flood_list: Box<[TunnelIndex]>,
    /// The remote VTEPs that may send to this bridge, sorted.
    pub sources: Box<[TunnelIndex]>,
}

impl Bridge {
    /// True where this remote VTEP may send to the bridge.
    #[must_use]
    pub fn accepts(&self, tunnel: TunnelIndex) -> bool {
        self.sources.binary_search(&tunnel).is_ok()
    }
}

/// A VLAN of an access port, or its untagged frames, in a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The port.
    pub port: PortIndex,
    /// The bridge.
    pub bridge: BridgeIndex,
    /// The tag that frames get on their way out: a VLAN identifier, or 0 for none.
    pub vlan: u16,
    /// The port's MTU.
    pub mtu: u16,
}

/// The source of packets whose outer source address is no known remote VTEP. It is never learned.
pub const UNKNOWN_TUNNEL: TunnelIndex = TunnelIndex(u16::MAX);
