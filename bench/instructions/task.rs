//! What is counted: each task with what its config has besides, and what becomes of the ordinary packets.

use clap::ValueEnum;
use vtepd::config::Config;
use vtepd::config::model::{AccessVlan, Bridge, BridgePort, Dscp, Rate, StormLimits, Tags, UdpChecksum, UnderlayGroup};
use vtepd::tables::PortIndex;
use vtepd::telemetry::Event;
use vtepd::wire::VlanId;

use super::packets;
use crate::testbed::{ACCESS, Fallible, UPLINK};
use crate::traffic::Underlay;

/// The second access port of those tasks that have one.
pub const SECOND_ACCESS: PortIndex = PortIndex(2);
/// The VLANs of a second access port that has others: so many more.
const TRANSLATED_BY: u16 = 1000;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Task {
    /// Access to uplink, IPv4
    EncapIpv4,
    /// Access to uplink, IPv4, spread over two next hops
    EncapIpv4Spread,
    /// Uplink to access, IPv4
    DecapIpv4,
    /// Access to uplink, IPv6, UDP checksum zero
    EncapIpv6Zero,
    /// Uplink to access, IPv6, UDP checksum zero
    DecapIpv6Zero,
    /// Access to uplink, IPv6, 64 bytes summed
    EncapIpv6,
    /// Uplink to access, IPv6, 64 bytes summed
    DecapIpv6,
    /// Access to uplink, IPv4, 64 bytes summed
    EncapIpv4Summed,
    /// Uplink to access, IPv4, 64 bytes summed
    DecapIpv4Summed,
    /// Access to access
    Local,
    /// Access to access, with another VLAN there
    LocalTranslated,
    /// Access to uplink, IPv4, of a bridge that two tags name
    EncapQinq,
    /// Uplink to access, IPv4, of a bridge that two tags name
    DecapQinq,
    /// Access to uplink, IPv4, with a tag of the frame's own behind that of the access port
    EncapCarried,
    /// Access to uplink, IPv4, untagged frames of a native VLAN
    EncapNative,
    /// Uplink to access, IPv4, to a native VLAN
    DecapNative,
    /// Access to uplink, IPv4, frames with a priority tag
    EncapPriorityTagged,
    /// Uplink to access, IPv4, sent with a priority tag
    DecapPriorityTagged,
    /// Access to uplink, IPv4, the outer DSCP made of the tag's priority
    EncapRemarked,
    /// Uplink to access, IPv4, the tag's priority and the inner DSCP made of the outer one
    DecapRemarked,
    /// Access to uplink, IPv4, with a group policy ID
    EncapGroupPolicy,
    /// Uplink to access, IPv4, of bridges that take some group policy IDs
    DecapGroupPolicy,
    /// Access to uplink, IPv4, with a UDP port that the bridge has for itself
    EncapUdpPort,
    /// Uplink to access, IPv4, to the usual one of two UDP ports
    DecapUsualUdpPort,
    /// Uplink to access, IPv4, to the other one of two UDP ports
    DecapOtherUdpPort,
    /// Uplink to access, IPv4, to the usual one of two addresses
    DecapUsualAddress,
    /// Uplink to access, IPv4, to the other one of two addresses
    DecapOtherAddress,
    /// Access to uplink, IPv4, with a flow sampled in each burst
    EncapSampled,
    /// Access to one remote VTEP by flooding
    Flood,
    /// Access to a multicast group of the underlay by flooding
    FloodToGroup,
    /// Broadcasts to one remote VTEP
    Broadcast,
    /// Broadcasts to one remote VTEP, within the limits of port and bridge
    BroadcastLimited,
    /// Access to uplink, IPv4, where floods are limited
    EncapLimited,
    /// Multicasts to one remote VTEP by flooding
    Multicast,
    /// Multicasts to one remote VTEP from where they are wanted
    MulticastWanted,
    /// Access to uplink, IPv4, where IGMP and MLD are snooped
    EncapSnooping,
    /// ARP requests flooded to one remote VTEP
    ArpRequest,
    /// ARP requests answered in the place of who is asked for
    ArpAnswered,
    /// Neighbour solicitations flooded to one remote VTEP
    Solicitation,
    /// Neighbour solicitations answered in the place of who is asked for
    SolicitationAnswered,
    /// Access to uplink, IPv4, where ARP and neighbour discovery are answered
    EncapSuppressing,
    /// Access to uplink, IPv4, TCP within a connection
    EncapTcp,
    /// Access to uplink, IPv4, TCP within a connection, where segment sizes are lowered
    EncapTcpClamping,
    /// Uplink to access, IPv4, TCP within a connection
    DecapTcp,
    /// Uplink to access, IPv4, TCP within a connection, where segment sizes are lowered
    DecapTcpClamping,
    /// Access to uplink, IPv4, a TCP connection is opened
    EncapSyn,
    /// Access to uplink, IPv4, a TCP connection is opened with a lower segment size
    EncapSynClamped,
    /// Frames to a reserved link-local group dropped
    LinkLocalDropped,
    /// Frames to a reserved link-local group to one remote VTEP
    LinkLocalTunnelled,
}

/// How a task is done.
#[derive(Clone, Copy)]
pub struct Setup {
    /// The fabric.
    pub underlay: Underlay,
    /// Where packets come in.
    pub ingress: PortIndex,
    /// What the config has besides.
    pub configure: fn(&mut Config) -> Fallible<()>,
    /// What becomes of an ordinary packet of the port where packets come in.
    pub dress: fn(&mut Vec<u8>),
    /// What becomes of it; where there is no way to send it, it must be dropped.
    pub is_sent: bool,
    /// Where the stations are that packets go to.
    pub destinations: Destinations,
    /// All packets are of the first bridge: the config has something that only one bridge of a port can have.
    pub one_bridge: bool,
    /// Cycles that pass from one burst to the next.
    pub clock_step: u64,
    /// Multicast is wanted by who is behind the bridge's remote VTEP.
    pub wants_group: bool,
    /// It is known which station has which address.
    pub knows_addresses: bool,
    /// Every remote VTEP is reached by two next hops.
    pub spread: bool,
    /// What happens once with each packet, and shows that it went the way that is meant.
    pub event: Option<Event>,
}

/// Where the stations are that packets go to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Destinations {
    /// On the other side: behind remote VTEPs or the access port.
    Across,
    /// Behind a second access port.
    SecondAccess,
    /// Nobody knows.
    Unknown,
}

/// From the access port to a remote VTEP, with nothing else.
const ENCAP: Setup = Setup {
    underlay: Underlay::Ipv4,
    ingress: ACCESS,
    configure: |_| Ok(()),
    dress: |_| (),
    is_sent: true,
    destinations: Destinations::Across,
    one_bridge: false,
    clock_step: 0,
    wants_group: false,
    knows_addresses: false,
    spread: false,
    event: None,
};
/// Flooded, wherever to.
const FLOODED: Option<Event> = Some(Event::FloodedFrame);
/// The way back.
const DECAP: Setup = Setup { ingress: UPLINK, ..ENCAP };

impl Task {
    /// How it is done.
    pub fn setup(self) -> Setup {
        match self {
            Self::EncapIpv4 => ENCAP,
            Self::EncapIpv4Spread => Setup { spread: true, ..ENCAP },
            Self::DecapIpv4 => DECAP,
            Self::EncapIpv6Zero => Setup { underlay: Underlay::Ipv6Zero, ..ENCAP },
            Self::DecapIpv6Zero => Setup { underlay: Underlay::Ipv6Zero, ..DECAP },
            Self::EncapIpv6 => Setup { underlay: Underlay::Ipv6, ..ENCAP },
            Self::DecapIpv6 => Setup { underlay: Underlay::Ipv6, ..DECAP },
            Self::EncapIpv4Summed => Setup { configure: sum_over_ipv4, ..ENCAP },
            Self::DecapIpv4Summed => Setup { configure: sum_over_ipv4, dress: packets::sum_over_ipv4, ..DECAP },
            Self::EncapSampled => Setup { clock_step: 1000, ..ENCAP },
            Self::EncapGroupPolicy
            | Self::DecapGroupPolicy
            | Self::EncapUdpPort
            | Self::DecapUsualUdpPort
            | Self::DecapOtherUdpPort
            | Self::DecapUsualAddress
            | Self::DecapOtherAddress => self.outer_headers(),
            Self::Local
            | Self::LocalTranslated
            | Self::EncapQinq
            | Self::DecapQinq
            | Self::EncapCarried
            | Self::EncapNative
            | Self::DecapNative
            | Self::EncapPriorityTagged
            | Self::DecapPriorityTagged
            | Self::EncapRemarked
            | Self::DecapRemarked => self.tags(),
            Self::ArpRequest
            | Self::ArpAnswered
            | Self::Solicitation
            | Self::SolicitationAnswered
            | Self::EncapSuppressing => self.discovery(),
            Self::EncapTcp
            | Self::EncapTcpClamping
            | Self::DecapTcp
            | Self::DecapTcpClamping
            | Self::EncapSyn
            | Self::EncapSynClamped => self.tcp(),
            _ => self.floods(),
        }
    }

    /// The tasks that differ in what is around the frame on the fabric.
    fn outer_headers(self) -> Setup {
        match self {
            Self::EncapGroupPolicy => Setup { configure: |config| every(config, send_group_policy), ..ENCAP },
            Self::DecapGroupPolicy => Setup {
                configure: |config| every(config, accept_group_policy),
                dress: packets::with_group_policy,
                ..DECAP
            },
            Self::EncapUdpPort => {
                Setup { configure: |config| every(config, |bridge| bridge.udp_port = Some(packets::UDP_PORT)), ..ENCAP }
            }
            Self::DecapUsualUdpPort => Setup { configure: add_udp_port, ..DECAP },
            Self::DecapOtherUdpPort => Setup { configure: add_udp_port, dress: packets::to_other_udp_port, ..DECAP },
            Self::DecapUsualAddress => Setup { configure: add_address, ..DECAP },
            _ => Setup { configure: add_address, dress: packets::to_other_address, ..DECAP },
        }
    }

    /// The tasks that differ in what is around the frame on the access port.
    fn tags(self) -> Setup {
        let local = Setup { destinations: Destinations::SecondAccess, ..ENCAP };
        match self {
            Self::Local => Setup { configure: |config| add_access(config, 0), ..local },
            Self::LocalTranslated => Setup { configure: |config| add_access(config, TRANSLATED_BY), ..local },
            Self::EncapQinq => Setup { configure: use_two_tags, dress: packets::with_second_tag, ..ENCAP },
            Self::DecapQinq => Setup { configure: use_two_tags, ..DECAP },
            Self::EncapCarried => Setup {
                configure: |config| every(config, |bridge| bridge.tags = Tags::Carry),
                dress: packets::with_second_tag,
                ..ENCAP
            },
            Self::EncapNative => {
                Setup { configure: make_first_native, dress: packets::untagged, one_bridge: true, ..ENCAP }
            }
            Self::DecapNative => Setup { configure: make_first_native, one_bridge: true, ..DECAP },
            Self::EncapPriorityTagged => {
                Setup { configure: priority_tag_first, dress: packets::priority_tagged, one_bridge: true, ..ENCAP }
            }
            Self::DecapPriorityTagged => Setup { configure: priority_tag_first, one_bridge: true, ..DECAP },
            Self::EncapRemarked => Setup { configure: |config| set(&mut config.vtep.dscp, Dscp::Pcp), ..ENCAP },
            _ => Setup { configure: remark_inwards, ..DECAP },
        }
    }

    fn discovery(self) -> Setup {
        let suppressing =
            Setup { configure: |config| every(config, suppress_neighbours), knows_addresses: true, ..ENCAP };
        match self {
            Self::ArpRequest => Setup { dress: packets::arp_request, event: FLOODED, ..ENCAP },
            Self::ArpAnswered => {
                Setup { dress: packets::arp_request, event: Some(Event::ArpSuppressed), ..suppressing }
            }
            Self::Solicitation => Setup { dress: packets::solicitation, event: FLOODED, ..ENCAP },
            Self::SolicitationAnswered => {
                Setup { dress: packets::solicitation, event: Some(Event::SolicitationSuppressed), ..suppressing }
            }
            _ => suppressing,
        }
    }

    fn tcp(self) -> Setup {
        let clamp: fn(&mut Config) -> Fallible<()> = |config| every(config, |bridge| bridge.clamp_mss = true);
        match self {
            Self::EncapTcp => Setup { dress: packets::tcp_at_access, ..ENCAP },
            Self::EncapTcpClamping => Setup { configure: clamp, dress: packets::tcp_at_access, ..ENCAP },
            Self::DecapTcp => Setup { dress: packets::tcp_at_uplink, ..DECAP },
            Self::DecapTcpClamping => Setup { configure: clamp, dress: packets::tcp_at_uplink, ..DECAP },
            Self::EncapSyn => Setup { dress: packets::syn, ..ENCAP },
            _ => Setup { configure: clamp, dress: packets::syn, event: Some(Event::SegmentSizeClamped), ..ENCAP },
        }
    }

    fn floods(self) -> Setup {
        let flood = Setup { event: FLOODED, ..ENCAP };
        let unknown = Setup { destinations: Destinations::Unknown, ..flood };
        let snoop: fn(&mut Config) -> Fallible<()> = |config| every(config, |bridge| bridge.flooding.snooping = true);
        match self {
            Self::FloodToGroup => Setup { configure: |config| every(config, flood_to_group), ..unknown },
            Self::Broadcast => Setup { dress: packets::broadcast, ..flood },
            Self::BroadcastLimited => Setup { configure: limit_floods, dress: packets::broadcast, ..flood },
            Self::EncapLimited => Setup { configure: limit_floods, ..ENCAP },
            Self::Multicast => Setup { dress: packets::multicast, ..flood },
            Self::MulticastWanted => Setup { configure: snoop, dress: packets::multicast, wants_group: true, ..flood },
            Self::EncapSnooping => Setup { configure: snoop, wants_group: true, ..ENCAP },
            Self::LinkLocalDropped => Setup { dress: packets::link_local, is_sent: false, ..ENCAP },
            Self::LinkLocalTunnelled => Setup {
                configure: |config| every(config, |bridge| bridge.link_local = true),
                dress: packets::link_local,
                ..flood
            },
            _ => unknown,
        }
    }
}

/// Changes every bridge.
fn every(config: &mut Config, change: fn(&mut Bridge)) -> Fallible<()> {
    config.bridges.iter_mut().for_each(change);
    Ok(())
}

/// Sets a field of the config.
fn set<T>(place: &mut T, value: T) -> Fallible<()> {
    *place = value;
    Ok(())
}

fn sum_over_ipv4(config: &mut Config) -> Fallible<()> {
    set(&mut config.vtep.udp_checksum_ipv4, UdpChecksum::Full)
}

fn send_group_policy(bridge: &mut Bridge) {
    bridge.group_policy = Some(packets::GROUP_POLICY);
}

fn accept_group_policy(bridge: &mut Bridge) {
    bridge.accept_group_policies = Some(vec![packets::GROUP_POLICY]);
}

fn add_udp_port(config: &mut Config) -> Fallible<()> {
    set(&mut config.vtep.other_udp_ports, vec![packets::UDP_PORT])
}

fn add_address(config: &mut Config) -> Fallible<()> {
    set(&mut config.vtep.other_addresses, vec![packets::OTHER_ADDRESS.into()])
}

/// A second access port, on which VLANs have numbers that are so much higher.
fn add_access(config: &mut Config, higher: u16) -> Fallible<()> {
    let access = config.ports.get(usize::from(ACCESS.0)).ok_or("no access port")?.clone();
    config.ports.push(access);
    for bridge in &mut config.bridges {
        let first = bridge.ports.first().and_then(|port| port.vlan.vlan()).ok_or("a bridge without a VLAN")?;
        let vlan = AccessVlan::Tagged(VlanId::new(first.get() + higher)?);
        bridge.ports.push(BridgePort { port: SECOND_ACCESS, vlan });
    }
    Ok(())
}

fn use_two_tags(config: &mut Config) -> Fallible<()> {
    let inner = VlanId::new(packets::INNER_VLAN)?;
    for port in config.bridges.iter_mut().flat_map(|bridge| &mut bridge.ports) {
        port.vlan = port.vlan.vlan().map_or(port.vlan, |outer| AccessVlan::QinQ { outer, inner });
    }
    Ok(())
}

fn first_place(config: &mut Config) -> Fallible<&mut BridgePort> {
    Ok(config.bridges.first_mut().and_then(|bridge| bridge.ports.first_mut()).ok_or("no bridge")?)
}

fn make_first_native(config: &mut Config) -> Fallible<()> {
    let place = first_place(config)?;
    place.vlan = AccessVlan::Native(place.vlan.vlan().ok_or("no VLAN")?);
    Ok(())
}

fn priority_tag_first(config: &mut Config) -> Fallible<()> {
    first_place(config)?.vlan = AccessVlan::PriorityTagged;
    Ok(())
}

fn remark_inwards(config: &mut Config) -> Fallible<()> {
    (config.qos.carry_pcp, config.qos.rewrite_dscp) = (true, true);
    Ok(())
}

fn suppress_neighbours(bridge: &mut Bridge) {
    bridge.neighbour_suppression = true;
}

fn flood_to_group(bridge: &mut Bridge) {
    bridge.remotes.clear();
    bridge.flooding.group =
        Some(Box::new(UnderlayGroup { address: packets::UNDERLAY_GROUP.into(), ports: vec![UPLINK] }));
}

/// Limits of everything that is flooded, of bridges and ports, that nothing here comes near.
fn limit_floods(config: &mut Config) -> Fallible<()> {
    let most = Some(Rate::Packets(Rate::MOST_PACKETS));
    let limits = StormLimits { broadcast: most, multicast: most, unknown_unicast: most };
    config.bridges.iter_mut().for_each(|bridge| bridge.flooding.storm = limits);
    config.ports.iter_mut().for_each(|port| port.storm = limits);
    Ok(())
}
