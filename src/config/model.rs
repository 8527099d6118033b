//! A config that has been checked: what the rest of the house works from. Ranges are expanded, names resolved,
//! defaults filled in; nothing in it dangles or overlaps.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::tables::PortIndex;
use crate::wire::flow_hash::SourcePorts;
use crate::wire::{MacAddr, VlanId, Vni};

/// A whole, checked config.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// This gateway as a VXLAN tunnel endpoint.
    pub vtep: Vtep,
    /// How DPDK is started.
    pub dpdk: Dpdk,
    /// The poll-mode workers.
    pub workers: Workers,
    /// The ports, in file order; a [`PortIndex`] is a place in this list.
    pub ports: Vec<Port>,
    /// The bridges, ranges expanded, in file order.
    pub bridges: Vec<Bridge>,
    /// The next hops of remote VTEPs.
    pub neighbours: Vec<Neighbour>,
    /// Priorities.
    pub qos: Qos,
    /// The forwarding database's bounds.
    pub fdb: Fdb,
    /// Static FDB entries.
    pub static_entries: StaticEntries,
    /// Which stations have which IP addresses, for good, in file order.
    pub bindings: Vec<Binding>,
    /// The scrape endpoint.
    pub stats: Stats,
    /// The control socket.
    pub api: Api,
}

impl Config {
    /// The UDP destination port of what a bridge sends.
    #[must_use]
    pub fn udp_port_of(&self, bridge: &Bridge) -> u16 {
        bridge.udp_port.unwrap_or(self.vtep.udp_port)
    }

    /// The UDP destination ports that are accepted, none twice: the gateway's, the further ones, those of bridges.
    #[must_use]
    pub fn udp_ports(&self) -> Vec<u16> {
        let mut ports = vec![self.vtep.udp_port];
        let others = self.vtep.other_udp_ports.iter().copied();
        for port in others.chain(self.bridges.iter().filter_map(|bridge| bridge.udp_port)) {
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        ports
    }

    /// The times after which bridges forget a learned address, that of each bridge which does.
    pub fn ageing_times(&self) -> impl Iterator<Item = Duration> + '_ {
        self.bridges.iter().filter_map(|bridge| bridge.ageing)
    }
}

/// `[vtep]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Vtep {
    /// The outer source address of what the gateway sends, and an outer destination that it accepts.
    pub address: IpAddr,
    /// Further outer destinations that it accepts, of the same family (default none).
    pub other_addresses: Vec<IpAddr>,
    /// The UDP destination port, sent and accepted (default 4789).
    pub udp_port: u16,
    /// Further UDP destination ports that are accepted (default none).
    pub other_udp_ports: Vec<u16>,
    /// The UDP source ports of what is sent (default [`SourcePorts::DYNAMIC`]).
    pub source_ports: SourcePorts,
    /// UDP checksums over an IPv6 underlay (default [`UdpChecksum::Full`]).
    pub udp_checksum: UdpChecksum,
    /// UDP checksums sent over an IPv4 underlay (default [`UdpChecksum::Zero`]). Zero is accepted whatever this says.
    pub udp_checksum_ipv4: UdpChecksum,
    /// The outer DSCP (default [`Dscp::Inherit`]).
    pub dscp: Dscp,
    /// The outer TTL or hop limit, 1 to 255 (default 64).
    pub ttl: u8,
    /// Drop VXLAN packets with reserved bits set (default false; RFC 7348 says to ignore them).
    pub strict: bool,
    /// Whether the uplinks have interfaces in the kernel (default [`Underlay::KernelIfPossible`]).
    pub underlay: Underlay,
}

/// Who the gateway is to the fabric, besides a VXLAN tunnel endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Underlay {
    /// Each uplink has an interface in the kernel; the gateway does not start where one cannot be had.
    Kernel,
    /// As [`Underlay::Kernel`], but an uplink whose interface cannot be had works without: what a config means that
    /// says nothing.
    KernelIfPossible,
    /// The kernel has nothing to do with the uplinks.
    Static,
}

/// What is sent and accepted as UDP checksum over IPv6 (RFC 6935, RFC 6936).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpChecksum {
    /// Computed on what is sent; a zero checksum is refused.
    Full,
    /// Zero is sent and accepted; a non-zero checksum is still verified.
    Zero,
}

/// The outer DSCP (RFC 2983).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dscp {
    /// The inner packet's; 0 for frames that are not IP.
    Inherit,
    /// By the inner packet's, or 0, as [`Qos::outer_from_dscp`] has it.
    Map,
    /// By the priority of the access tag, or 0 without one, as [`Qos::outer_from_pcp`] has it.
    Pcp,
    /// Always this code point, 0 to 63.
    Fixed(u8),
}

/// `[qos]`: priorities of tags (PCP, 0 to 7; IEEE 802.1Q, 6.9.4) and of IP headers (DSCP, 0 to 63; RFC 2474), and how one
/// is made of another. Each map has a value for every priority.
#[derive(Clone, Debug, PartialEq)]
pub struct Qos {
    /// The outer DSCP by the inner one, for [`Dscp::Map`]; the same one where nothing is said.
    pub outer_from_dscp: [u8; 64],
    /// The outer DSCP by the PCP, for [`Dscp::Pcp`]; the class selector of that number where nothing is said.
    pub outer_from_pcp: [u8; 8],
    /// The PCP of what is sent on access ports is made of the outer DSCP, or kept where there was none (default false:
    /// it is 0).
    pub carry_pcp: bool,
    /// The PCP by the outer DSCP; its upper three bits, which are the class, where nothing is said.
    pub pcp_from_outer: [u8; 64],
    /// The inner DSCP is made of the outer one (default false: it stays as it is; RFC 2983, 3.1).
    pub rewrite_dscp: bool,
    /// The inner DSCP by the outer one; the same one where nothing is said.
    pub dscp_from_outer: [u8; 64],
}

impl Default for Qos {
    fn default() -> Self {
        let every = std::array::from_fn(|dscp| dscp as u8);
        Self {
            outer_from_dscp: every,
            outer_from_pcp: std::array::from_fn(|pcp| (pcp << 3) as u8),
            carry_pcp: false,
            pcp_from_outer: every.map(|dscp| dscp >> 3),
            rewrite_dscp: false,
            dscp_from_outer: every,
        }
    }
}

/// `[dpdk]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dpdk {
    /// Use hugepages (default true).
    pub hugepages: bool,
    /// The name under which DPDK keeps its run-time files; one per instance (default "vtepd").
    pub file_prefix: String,
    /// Memory given to DPDK at the start, in MiB (default 512).
    pub memory_mib: u32,
    /// Packet buffers in the pool (default 16384).
    pub packet_buffers: u32,
    /// Further EAL arguments, passed as they are (default none).
    pub eal_arguments: Vec<String>,
}

/// `[workers]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Workers {
    /// The cores the workers are pinned to, one worker each. At least one, no core twice.
    pub cores: Vec<usize>,
    /// What a worker does when nothing arrives (default [`Idle::Poll`]).
    pub idle: Idle,
}

/// What a worker does when nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Polls on: lowest latency, a whole core.
    Poll,
    /// Backs off to short sleeps: for a laptop, CI, a demonstration.
    Adaptive,
}

/// `[[port]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// The name the rest of the file, `vtepctl` and the metrics use.
    pub name: String,
    /// A DPDK vdev string (`net_tap0,iface=up0`) or a PCI address (`0000:01:10.0`).
    pub device: String,
    /// What is on the other side.
    pub role: PortRole,
    /// The port's MAC address; the device's own where absent.
    pub mac: Option<MacAddr>,
    /// The port's MTU in bytes, 1280 to 9702: the largest layer-3 packet (the device's own where absent).
    pub mtu: Option<u16>,
    /// Descriptors of each receive and transmit queue (default 1024).
    pub descriptors: u16,
    /// The EtherType of the tags that name an access port's VLANs, 0x8100 (the default) or 0x88a8: of two, the outer one.
    pub tpid: u16,
    /// The most MAC addresses learned behind an access port, in all its bridges together; no bound where absent.
    pub max_macs: Option<u32>,
    /// The name of the port's interface in the kernel, where it has one; the port's name where absent.
    pub kernel_interface: Option<String>,
    /// How much of what is flooded may come in by it (default no limit).
    pub storm: StormLimits,
    /// What happens to untagged frames to reserved link-local group addresses. Where absent, an uplink's are the
    /// kernel's, and an access port's what their bridge says.
    pub link_local: Option<LinkLocal>,
}

impl Port {
    /// What the port's interface in the kernel is called.
    #[must_use]
    pub fn interface(&self) -> &str {
        self.kernel_interface.as_ref().unwrap_or(&self.name)
    }

    /// True where both ask for the same port of DPDK's, so that one need not be closed for the other.
    #[must_use]
    pub fn opens_as(&self, other: &Self) -> bool {
        *self == Self { max_macs: self.max_macs, storm: self.storm, tpid: self.tpid, ..other.clone() }
    }
}

/// What happens to the frames of a port's own link: those to reserved link-local group addresses (IEEE 802.1Q, 8.6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLocal {
    /// They are dropped.
    Drop,
    /// The kernel gets them, by an interface of the port's.
    Punt,
}

/// What is on a port's other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortRole {
    /// The IP fabric that carries VXLAN.
    Uplink,
    /// VLANs and machines.
    Access,
}

/// `[[bridge]]`: one VNI and the VLANs and remote VTEPs it joins.
#[derive(Clone, Debug, PartialEq)]
pub struct Bridge {
    /// The VNI; unique in the file.
    pub vni: Vni,
    /// The UDP destination port of what it sends; that of the gateway where absent.
    pub udp_port: Option<u16>,
    /// The group policy ID of what it sends, if that is to have one.
    pub group_policy: Option<u16>,
    /// The group policy IDs of what it takes from remote VTEPs; any, or none, where absent.
    pub accept_group_policies: Option<Vec<u16>>,
    /// Its places on access ports, no port twice. No port has frames of one kind in two bridges.
    pub ports: Vec<BridgePort>,
    /// The remote VTEPs that a flood is sent to, without repeats, of the underlay's address family.
    pub remotes: Vec<IpAddr>,
    /// Learn source addresses (default true).
    pub learning: bool,
    /// Accept packets only from the bridge's own remote VTEPs; where absent, if there is no group of the underlay, be it
    /// given here or by the kernel.
    pub source_check: Option<bool>,
    /// What happens to VLAN tags of the bridged frames themselves (default [`Tags::Refuse`]).
    pub tags: Tags,
    /// Forward frames to reserved link-local group addresses (default false).
    pub link_local: bool,
    /// Lower the maximum segment size of TCP connections to what the tunnel takes (default false).
    pub clamp_mss: bool,
    /// The most MAC addresses learned; no bound where absent.
    pub max_macs: Option<u32>,
    /// How long a learned address that is not heard of is kept ([`Fdb::ageing`] where absent); `None` is for ever.
    pub ageing: Option<Duration>,
    /// Who says where its remote stations are (default [`Control::Static`]).
    pub control: Control,
    /// The name of the kernel's vxlan device that it adopts; where absent, the one with its VNI, or one that is made.
    pub kernel_device: Option<Box<str>>,
    /// Whether and where to its floods go.
    pub flooding: Flooding,
    /// Answer address resolution in the place of stations whose address is known (default false; RFC 9161).
    pub neighbour_suppression: bool,
}

/// What is flooded in a bridge, and where to, besides to its ports and `remotes`.
#[derive(Clone, Debug, PartialEq)]
pub struct Flooding {
    /// Frames to unknown stations are flooded; otherwise they are dropped (default true).
    pub unknown_unicast: bool,
    /// How much of what is flooded may come in, by all ports together (default no limit).
    pub storm: StormLimits,
    /// The underlay's multicast group that floods go to, besides `remotes` (default none).
    pub group: Option<Box<UnderlayGroup>>,
    /// Multicast goes to who has asked for it by IGMP or MLD (default false).
    pub snooping: bool,
}

impl Default for Flooding {
    fn default() -> Self {
        Self { unknown_unicast: true, storm: StormLimits::default(), group: None, snooping: false }
    }
}

/// A multicast group of the underlay (RFC 7348, 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderlayGroup {
    /// Its address, of the underlay's family.
    pub address: IpAddr,
    /// The uplinks that it is sent to, received from and joined on; at least one.
    pub ports: Vec<PortIndex>,
}

impl UnderlayGroup {
    /// The most different groups: each has to be joined, and the kernel joins few by one socket.
    pub const MOST: usize = 4096;
}

/// Limits of storm control; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StormLimits {
    /// Broadcasts.
    pub broadcast: Option<Rate>,
    /// Multicasts.
    pub multicast: Option<Rate>,
    /// Frames to unknown stations.
    pub unknown_unicast: Option<Rate>,
}

/// How much passes in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// So many packets, 1 to [`Rate::MOST_PACKETS`].
    Packets(u64),
    /// So many bits, [`Rate::LEAST_BITS`] to [`Rate::MOST_BITS`].
    Bits(u64),
}

impl Rate {
    /// The most packets a second.
    pub const MOST_PACKETS: u64 = 1_000_000_000;
    /// The fewest bits a second: a few short frames.
    pub const LEAST_BITS: u64 = 1000;
    /// The most bits a second.
    pub const MOST_BITS: u64 = 1_000_000_000_000;
}

impl std::fmt::Display for Rate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bits = match *self {
            Self::Packets(packets) => return write!(out, "{packets} pps"),
            Self::Bits(bits) => bits,
        };
        let units = [(1_000_000_000, "Gbit/s"), (1_000_000, "Mbit/s"), (1000, "kbit/s"), (1, "bit/s")];
        match units.into_iter().find(|(unit, _)| bits.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(out, "{} {name}", bits / unit),
            None => write!(out, "{bits} bit/s"),
        }
    }
}

impl Bridge {
    /// Which station has an address is learned: to answer in its place, or to tell the kernel.
    #[must_use]
    pub fn learns_bindings(&self) -> bool {
        self.learning && (self.neighbour_suppression || self.control == Control::Kernel)
    }
}

/// A bridge's place on an access port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgePort {
    /// The port.
    pub port: PortIndex,
    /// Which of its frames are the bridge's.
    pub vlan: AccessVlan,
}

/// Which frames of an access port are a bridge's, and what those have that it sends there (IEEE 802.1Q, 6.9). Tags come
/// off on the way in and are put on on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessVlan {
    /// Untagged and priority-tagged ones; sent untagged.
    Untagged,
    /// Untagged and priority-tagged ones; sent with a priority tag.
    PriorityTagged,
    /// Those of a VLAN, and the untagged and priority-tagged ones; sent untagged.
    Native(VlanId),
    /// Those of a VLAN; sent with its tag, of the port's EtherType.
    Tagged(VlanId),
    /// Those with two tags: sent with both (IEEE 802.1ad).
    QinQ {
        /// The outer VLAN, in a tag of the port's EtherType.
        outer: VlanId,
        /// The VLAN in the 0x8100 tag behind it.
        inner: VlanId,
    },
}

impl AccessVlan {
    /// The VLAN, or the outer one of two.
    #[must_use]
    pub const fn vlan(self) -> Option<VlanId> {
        match self {
            Self::Untagged | Self::PriorityTagged => None,
            Self::Native(vlan) | Self::Tagged(vlan) | Self::QinQ { outer: vlan, .. } => Some(vlan),
        }
    }

    /// The inner VLAN of two.
    #[must_use]
    pub const fn inner(self) -> Option<VlanId> {
        if let Self::QinQ { inner, .. } = self { Some(inner) } else { None }
    }

    /// True where a port's untagged frames are the bridge's.
    #[must_use]
    pub const fn has_untagged(self) -> bool {
        matches!(self, Self::Untagged | Self::PriorityTagged | Self::Native(_))
    }
}

/// Who says where a bridge's remote stations are, and where floods go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The file says where floods go; stations are learned.
    Static,
    /// The kernel's vxlan device of the bridge's VNI says both, in addition to the file.
    Kernel,
}

/// What happens to a VLAN tag inside a bridged frame, behind the access tag that names the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags {
    /// The frame is dropped (RFC 7348, 6.1).
    Refuse,
    /// The tag is carried to the other side. An untagged member then also takes the port's tagged frames whose VLAN
    /// is in no other bridge.
    Carry,
}

/// `[[neighbour]]`: the next hop of a remote VTEP.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// The remote VTEP's address; unique in the file.
    pub address: IpAddr,
    /// The MAC address of the next hop: the remote VTEP itself, or the router towards it.
    pub mac: MacAddr,
    /// The uplink it is reached through.
    pub port: PortIndex,
}

/// `[fdb]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fdb {
    /// The most MAC addresses in all bridges together, 1 to 4194304 (default 65536).
    pub max_entries: u32,
    /// How long a learned address that is not heard of is kept (default 300 s); `None` is for ever.
    pub ageing: Option<Duration>,
    /// What becomes of an address that moves too often; nothing where `None`.
    pub damping: Option<MoveDamping>,
    /// The most MAC+IP bindings in all bridges together, 1 to 4194304 (default 131072).
    pub max_bindings: u32,
    /// How long a binding is kept whose station does not say it again (default 1800 s); `None` is for as long as the station
    /// is heard of at all.
    pub binding_ageing: Option<Duration>,
}

/// When an address that moves is frozen where it is (RFC 7432, 15.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveDamping {
    /// With this many moves, 1 to 1000 (default 5),
    pub max_moves: u32,
    /// within this time from the first (default 180 s),
    pub window: Duration,
    /// for this long (default 180 s); for ever where `None`.
    pub freeze: Option<Duration>,
}

/// `[[static]]`: a MAC address that is never learned elsewhere and never ages.
#[derive(Clone, Debug, PartialEq)]
pub struct StaticEntry {
    /// The bridge.
    pub vni: Vni,
    /// The station; neither group nor zero.
    pub mac: MacAddr,
    /// Where it is.
    pub place: StaticPlace,
    /// Frames from this address are dropped that come from anywhere else (default false).
    pub pinned: bool,
}

impl StaticEntry {
    /// What no two entries of a config have in common, and what they are sorted by: the bridge, and the address as
    /// [`MacAddr::to_u64`] gives it.
    #[must_use]
    pub const fn station(&self) -> (Vni, u64) {
        (self.vni, self.mac.to_u64())
    }
}

/// Static entries in the order of VNI and MAC address, so that those of two configs are compared in one pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StaticEntries(Vec<StaticEntry>);

impl StaticEntries {
    /// Sorts entries, no two of one station.
    #[must_use]
    pub fn new(mut entries: Vec<StaticEntry>) -> Self {
        entries.sort_by_key(StaticEntry::station);
        Self(entries)
    }
}

impl std::ops::Deref for StaticEntries {
    type Target = [StaticEntry];

    fn deref(&self) -> &[StaticEntry] {
        &self.0
    }
}

/// Where a static entry's station is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaticPlace {
    /// Behind an access port of the bridge.
    Port(PortIndex),
    /// Behind a remote VTEP.
    Remote(IpAddr),
}

/// `[[binding]]`: which station has an IP address, whatever else is heard of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The bridge, which suppresses neighbour discovery.
    pub vni: Vni,
    /// The address; unique in the bridge.
    pub address: IpAddr,
    /// The station; neither group nor zero.
    pub mac: MacAddr,
    /// It is a router (RFC 4861, 4.4; default false).
    pub router: bool,
}

/// `[stats]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// Where metrics are served (default 127.0.0.1:9478).
    pub listen: SocketAddr,
}

/// `[api]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Api {
    /// The Unix socket `vtepctl` connects to (default `/run/vtepd/FILE_PREFIX.sock`).
    pub socket: PathBuf,
}
