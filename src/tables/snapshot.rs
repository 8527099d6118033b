//! The immutable half of the tables: ports, bridges, members and tunnels.
//!
//! Control builds a snapshot, publishes it by swapping one pointer, and frees it once no worker holds it. A worker
//! reads the pointer once per burst. Nothing in a snapshot is ever written after publication.

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use super::access_map::AccessMap;
use super::exception_path::ExceptionPath;
use super::flood_rules::{FloodRules, StormRates};
use super::next_hop_group::NextHopGroup;
use super::outer_pattern::UplinkPatterns;
use super::remote_map::RemoteMap;
use super::tunnel::{NextHop, Tunnel};
use super::underlay_group::UnderlayGroups;
use super::vni_map::VniMap;
use super::{BridgeIndex, MemberIndex, PortIndex, TunnelIndex};
use crate::wire::ethernet::{ETHERNET_HEADER, ETHERNET_MINIMUM};
use crate::wire::field::to_word;
use crate::wire::flow_hash::SourcePorts;
use crate::wire::vxlan::{VXLAN_HEADER, header_of, header_with_group_policy};
use crate::wire::{MacAddr, VlanId, VlanTag, Vni};

/// Everything a worker looks up besides the FDB.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// This gateway's VXLAN endpoint.
    pub vtep: LocalVtep,
    /// The ports; a [`PortIndex`] is a place in this list.
    pub ports: Vec<Port>,
    /// The bridges. Places of bridges that a reload took away stay, empty and out of reach of every map.
    pub bridges: Vec<Bridge>,
    /// What the outer headers of each bridge's packets have, in the order of the bridges.
    pub encapsulations: Vec<Encapsulation>,
    /// What each bridge reaches, in the order of the bridges.
    pub domains: Vec<BroadcastDomain>,
    /// The access members.
    pub members: Vec<Member>,
    /// The remote VTEPs.
    pub tunnels: Vec<Tunnel>,
    /// The way to each remote VTEP, in the order of the tunnels.
    pub next_hops: Vec<NextHop>,
    /// Next hops among which flows are spread; a [`GroupIndex`](super::next_hop_group::GroupIndex) is a place in this
    /// list.
    pub next_hop_groups: Vec<NextHopGroup>,
    /// VNI to bridge, but for those of `group_policies`.
    pub vnis: VniMap,
    /// The bridges that take packets of some group policies alone. What is for them always goes the unusual way, so that
    /// for all others there is nothing to ask.
    pub group_policies: FxHashMap<Vni, GroupPolicies>,
    /// Address to remote VTEP.
    pub remotes: RemoteMap,
    /// What the kernel gets of what uplinks receive.
    pub exception: ExceptionPath,
    /// The priorities that are carried between tags, outer and inner headers, where any are.
    pub remarking: Option<Box<Remarking>>,
}

impl Snapshot {
    /// A bridge's switches; of no bridge, those that let nothing through.
    #[inline]
    #[must_use]
    pub fn policy(&self, bridge: BridgeIndex) -> BridgePolicy {
        self.bridges.get(usize::from(bridge.0)).map_or(BridgePolicy::CLOSED, |bridge| bridge.policy)
    }
}

/// This gateway's VXLAN endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalVtep {
    /// Its address, the source of what is sent.
    pub address: IpAddr,
    /// Further addresses at which packets are accepted, of the same family.
    pub other_addresses: Box<[IpAddr]>,
    /// The UDP ports of VXLAN that are accepted, the most usual one first.
    pub udp_ports: Box<[u16]>,
    /// The UDP source ports of what is sent.
    pub source_ports: SourcePorts,
    /// Over IPv6, a zero UDP checksum is sent and accepted (RFC 6935).
    pub zero_checksum_ipv6: bool,
    /// Over IPv4, a UDP checksum is sent (RFC 7348, 5: it may be).
    pub full_checksum_ipv4: bool,
    /// The outer DSCP.
    pub dscp: OuterDscp,
    /// Packets with reserved VXLAN bits set are dropped.
    pub strict: bool,
}

impl LocalVtep {
    /// All of its addresses, its own first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        std::iter::once(self.address).chain(self.other_addresses.iter().copied())
    }

    /// True for one of its addresses.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses().any(|own| own == address)
    }

    /// True where what is sent gets a UDP checksum.
    #[must_use]
    pub fn sends_checksums(&self) -> bool {
        if self.address.is_ipv6() { !self.zero_checksum_ipv6 } else { self.full_checksum_ipv4 }
    }
}

/// The DSCP that outer headers get by what the inner packet has, as a table: one load finds it, whatever the rule is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OuterDscp([u8; 256]);

impl OuterDscp {
    /// That of the inner packet (RFC 2983, 3.1: uniform).
    pub const INHERITED: Self = Self::mapped(&UNCHANGED);

    /// The same for all packets (RFC 2983, 3.1: pipe); its lower six bits.
    #[must_use]
    pub const fn fixed(dscp: u8) -> Self {
        Self::mapped(&[dscp; 64])
    }

    /// By the inner DSCP; the lower six bits of each. The ECN field is always the inner one's (RFC 6040, 4.1).
    #[must_use]
    pub const fn mapped(map: &[u8; 64]) -> Self {
        let mut table = [0; 256];
        let mut inner = 0;
        while inner < table.len() {
            table[inner] = map[inner >> 2] << 2 | inner as u8 & 3;
            inner += 1;
        }
        Self(table)
    }

    /// The outer octet of DSCP and ECN.
    #[inline(always)]
    #[must_use]
    pub const fn outer(&self, inner: u8) -> u8 {
        self.0[inner as usize]
    }
}

/// Every DSCP as itself.
pub const UNCHANGED: [u8; 64] = {
    let mut map = [0; 64];
    let mut dscp = 0;
    while dscp < map.len() {
        map[dscp] = dscp as u8;
        dscp += 1;
    }
    map
};

/// Which priorities are carried between the tags of access ports, outer and inner headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remarking {
    /// The outer DSCP by the priority (PCP) of the tag that a frame came with, in place of that by its inner DSCP.
    pub outer_from_pcp: Option<[u8; 8]>,
    /// The priority of access tags by the outer DSCP. What is switched locally then keeps its own.
    pub pcp_from_outer: Option<[u8; 64]>,
    /// The inner DSCP by the outer one.
    pub dscp_from_outer: Option<[u8; 64]>,
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
    /// What may be flooded of what it receives.
    pub storm: StormRates,
    /// The multicast groups of the underlay that it receives, where it is an uplink.
    pub groups: UnderlayGroups,
    /// What happens to the frames of its own link.
    pub link_local: LinkLocal,
}

/// What happens to frames without the tag of a VLAN that a port receives for reserved link-local group addresses (IEEE
/// 802.1Q, 8.6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLocal {
    /// Their bridge says.
    AsBridge,
    /// They are dropped.
    Drop,
    /// The kernel gets them, where the port has an interface there.
    Punt,
}

/// What is on a port's other side.
#[derive(Clone, Debug)]
pub enum PortSide {
    /// The fabric: what a packet from there usually looks like.
    Uplink(UplinkPatterns),
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
    /// Frames to reserved link-local group addresses are bridged, but for what the port keeps.
    pub link_local: bool,
}

impl BridgePolicy {
    /// Nothing is learned, and nothing is let through that a switch could let through.
    pub const CLOSED: Self = Self { learning: false, source_check: true, carry_tags: false, link_local: false };
}

/// A bridge, as much of it as every frame needs: eight of them lie in a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The VNI.
    pub vni: Vni,
    /// The switches.
    pub policy: BridgePolicy,
}

const _: () = assert!(size_of::<Bridge>() == 8);

/// What the outer headers of a bridge's packets have besides what its remote VTEPs and each packet bring.
///
/// A power of two in size, so that a shift finds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(16))]
pub struct Encapsulation {
    /// The VXLAN header.
    pub vxlan: [u8; VXLAN_HEADER],
    /// The word that the UDP header is, but for what each packet brings: the destination port in its place.
    udp: u64,
}

impl Encapsulation {
    /// The UDP header with this source port and this length, without a checksum, as a word: its first byte is the least
    /// significant one.
    #[inline(always)]
    #[must_use]
    pub const fn udp_header(&self, source_port: u16, length: u16) -> u64 {
        self.udp | to_word(source_port) | to_word(length) << 32
    }

    /// With a plain header (RFC 7348, 5), or one that has a group policy ID.
    #[must_use]
    pub fn new(vni: Vni, group_policy: Option<u16>, udp_port: u16) -> Self {
        let vxlan = group_policy.map_or_else(|| header_of(vni), |id| header_with_group_policy(vni, id));
        Self { vxlan, udp: to_word(udp_port) << 16 }
    }
}

/// The group policies of which a bridge takes packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPolicies {
    /// The bridge.
    pub bridge: BridgeIndex,
    /// The group policy IDs.
    pub accepted: Box<[u16]>,
}

/// What a bridge does with address resolution by ARP and neighbour discovery that it sees on access ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// Which station has an address is learned.
    pub learning: bool,
    /// Who asks everyone for an address that is known is answered in its owner's place (RFC 9161).
    pub suppression: bool,
}

/// What a bridge reaches: its access members and its remote VTEPs. Floods need it, and sources met for the first time.
#[derive(Clone, Debug, Default)]
pub struct BroadcastDomain {
    /// The access members, each of which gets a copy of a flood.
    pub members: Box<[MemberIndex]>,
    /// The flood list: remote VTEPs that get a copy of a flood (ingress replication), and groups of the underlay.
    pub flood_list: Box<[TunnelIndex]>,
    /// The remote VTEPs that may send to this bridge, sorted.
    pub sources: Box<[TunnelIndex]>,
    /// TCP connections through the tunnel are opened with a segment size that fits. The bridge is set aside in the maps
    /// that lead to it.
    pub clamps_segments: bool,
    /// The control plane says what is behind remote VTEPs: nothing is learned from what they send.
    pub taught: bool,
    /// Who sends to it and is no remote VTEP yet is to become one.
    pub discovers: bool,
    /// What restricts floods; none where nothing does, neither the bridge nor a port by which frames come to it.
    pub rules: Option<Box<FloodRules>>,
    /// What becomes of questions for addresses.
    pub neighbours: Neighbours,
}

impl BroadcastDomain {
    /// True where this remote VTEP may send to the bridge.
    #[must_use]
    pub fn accepts(&self, tunnel: TunnelIndex) -> bool {
        self.sources.binary_search(&tunnel).is_ok()
    }
}

/// A VLAN of an access port, or a pair of VLANs, or its untagged frames, in a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    tags: MemberTags,
    port: PortIndex,
    bridge: BridgeIndex,
    mtu: u16,
    /// How many lengths, from the Ethernet minimum on, a frame without tags of its own may have.
    lengths: u16,
}

const _: () = assert!(size_of::<Member>() == 16);

impl Member {
    /// A member of a bridge, with what its frames get on their way out of the port, whose MTU is given in bytes.
    #[must_use]
    pub const fn new(port: PortIndex, bridge: BridgeIndex, tags: MemberTags, mtu: u16) -> Self {
        const LENGTHS: u16 = (ETHERNET_MINIMUM - ETHERNET_HEADER - 1) as u16;
        Self { tags, port, bridge, mtu, lengths: mtu.saturating_sub(LENGTHS) }
    }

    /// The port.
    #[inline(always)]
    #[must_use]
    pub const fn port(&self) -> PortIndex {
        self.port
    }

    /// The bridge.
    #[inline(always)]
    #[must_use]
    pub const fn bridge(&self) -> BridgeIndex {
        self.bridge
    }

    /// What frames get on their way out.
    #[inline(always)]
    #[must_use]
    pub const fn tags(&self) -> MemberTags {
        self.tags
    }

    /// The port's MTU, in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn mtu(&self) -> u16 {
        self.mtu
    }

    /// True for a frame of this length that needs no padding, and fits the port even if it has no tag of its own.
    #[inline(always)]
    #[must_use]
    pub fn takes_directly(&self, length: usize) -> bool {
        length.wrapping_sub(ETHERNET_MINIMUM) < usize::from(self.lengths)
    }
}

/// The tags that frames get on their way out of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberTags {
    /// None.
    Untagged,
    /// This one.
    One(VlanTag),
    /// This one. A frame may have a tag of its own behind it, and to the port some pairs of the two mean another bridge.
    Guarded(VlanTag),
    /// Two: the outer one, and an inner 0x8100 tag.
    Two(VlanTag, VlanId),
}

impl MemberTags {
    /// The outermost tag.
    #[must_use]
    pub const fn outermost(self) -> Option<VlanTag> {
        match self {
            Self::Untagged => None,
            Self::One(tag) | Self::Guarded(tag) | Self::Two(tag, _) => Some(tag),
        }
    }

    /// The VLAN of the inner of two tags.
    #[must_use]
    pub const fn inner(self) -> Option<VlanId> {
        if let Self::Two(_, inner) = self { Some(inner) } else { None }
    }
}

/// The source of packets whose outer source address is no known remote VTEP. It is never learned.
pub const UNKNOWN_TUNNEL: TunnelIndex = TunnelIndex(u16::MAX);
