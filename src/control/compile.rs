//! From a checked config to the snapshot that workers read.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rustc_hash::{FxHashMap, FxHashSet};

use super::registry::{Exhausted, Registry, TunnelName};
use super::storm::{port_rates, rules};
use crate::config::Config;
use crate::config::model::{self, AccessVlan, Control, Dscp, PortRole, StaticEntry, StaticPlace, Tags, UdpChecksum};
use crate::tables::access_map::AccessMap;
use crate::tables::exception_path::ExceptionPath;
use crate::tables::next_hop_group::Adjacency;
use crate::tables::outer_pattern::UplinkPatterns;
use crate::tables::remote_map::RemoteMap;
use crate::tables::snapshot::{
    Bridge, BridgePolicy, BroadcastDomain, Encapsulation, GroupPolicies, LinkLocal, LocalVtep, Member, MemberTags,
    Neighbours, OuterDscp, Port, PortSide, Remarking, Snapshot,
};
use crate::tables::tunnel::{NextHop, OuterAddresses, OuterHeader, Tunnel};
use crate::tables::vni_map::VniMap;
use crate::tables::{BridgeIndex, MemberIndex, PortIndex, TunnelIndex, UnderlayGroup, UnderlayGroups};
use crate::wire::ethernet::ETHERTYPE_VLAN;
use crate::wire::membership::group_mac;
use crate::wire::{MacAddr, VlanId, VlanTag, Vni};

/// What an opened port turned out to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its MTU, in bytes.
    pub mtu: u16,
    /// How many workers receive from it.
    pub receivers: u16,
}

/// What the kernel says of a bridge, in addition to the config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelBridge {
    /// Where floods go.
    pub flood_list: BTreeSet<IpAddr>,
    /// Remote VTEPs that have stations.
    pub sources: BTreeSet<IpAddr>,
    /// The group of the underlay that floods go to, besides.
    pub group: Option<model::UnderlayGroup>,
}

/// What the kernel says of bridges.
pub type KernelBridges = FxHashMap<Vni, KernelBridge>;

/// Compiles a config for ports that have these facts, in the order of the config's ports. `registry` is brought up to
/// date.
///
/// # Errors
/// [`Exhausted`] where the config has more of something than there are indices; `registry` is then of no use.
pub fn compile(config: &Config, facts: &[PortFacts], registry: &mut Registry) -> Result<Snapshot, Exhausted> {
    compile_with(config, &KernelBridges::default(), &BTreeSet::new(), facts, registry)
}

/// [`compile`] with what the kernel says of the config's bridges, and the remote VTEPs that were discovered.
///
/// # Errors
/// As there.
pub fn compile_with(
    config: &Config,
    kernel: &KernelBridges,
    discovered: &BTreeSet<IpAddr>,
    facts: &[PortFacts],
    registry: &mut Registry,
) -> Result<Snapshot, Exhausted> {
    let mut fixed = static_remotes(config);
    for (vni, said) in kernel {
        fixed.entry(*vni).or_default().extend(said.flood_list.iter().chain(&said.sources));
    }
    let mut remotes = all_remotes(config, &fixed);
    remotes.extend(discovered.iter().filter(|address| remotes.binary_search(address).is_err()).collect::<Vec<_>>());
    registry.assign(
        config.bridges.iter().map(|bridge| bridge.vni),
        config.bridges.iter().flat_map(member_names),
        remotes.iter().copied().map(TunnelName::Remote).chain(group_names(config, kernel)),
    )?;
    let (bridges, members, tunnels) = registry.table_lengths();
    let next_hops = compile_next_hops(config, kernel, facts, registry, tunnels);
    let tunnels = compile_tunnels(config, kernel, &remotes, registry, tunnels);
    let members = compile_members(config, facts, registry, members);
    let (bridges, mut domains) = compile_bridges(config, kernel, &fixed, registry, bridges);
    for bridge in &config.bridges {
        let place = registry.bridge(bridge.vni).and_then(|index| domains.get_mut(usize::from(index.0)));
        if let Some(domain) = place {
            domain.rules = rules(bridge, config, facts).map(Box::new);
        }
    }
    let vtep = LocalVtep {
        address: config.vtep.address,
        other_addresses: config.vtep.other_addresses.clone().into(),
        udp_ports: config.udp_ports().into(),
        source_ports: config.vtep.source_ports,
        zero_checksum_ipv6: config.vtep.udp_checksum == UdpChecksum::Zero,
        full_checksum_ipv4: config.vtep.udp_checksum_ipv4 == UdpChecksum::Full,
        dscp: match config.vtep.dscp {
            // By the priorities of tags, it is set beside (`Remarking`).
            Dscp::Inherit | Dscp::Pcp => OuterDscp::INHERITED,
            Dscp::Map => OuterDscp::mapped(&config.qos.outer_from_dscp),
            Dscp::Fixed(dscp) => OuterDscp::fixed(dscp),
        },
        strict: config.vtep.strict,
    };
    let unpoliced = config.bridges.iter().filter(|bridge| bridge.accept_group_policies.is_none());
    let (aside, usual): (Vec<_>, Vec<_>) = unpoliced.partition(|bridge| bridge.clamp_mss);
    let pair = |bridge: &model::Bridge| Some((bridge.vni, registry.bridge(bridge.vni)?));
    let vnis = VniMap::new(usual.into_iter().filter_map(pair));
    let named = remotes.iter().filter_map(|address| Some((*address, registry.tunnel(*address)?)));
    Ok(Snapshot {
        ports: compile_ports(config, kernel, facts, registry, &vtep),
        vtep,
        vnis: if aside.is_empty() { vnis } else { vnis.setting_aside(aside.into_iter().filter_map(pair)) },
        group_policies: compile_group_policies(config, registry),
        remotes: RemoteMap::new(named),
        exception: ExceptionPath::default(),
        remarking: remarking(config),
        encapsulations: compile_encapsulations(config, registry, bridges.len()),
        bridges,
        domains,
        members,
        tunnels,
        next_hops,
        next_hop_groups: Vec::new(),
    })
}

/// The priorities that are carried, if any are.
fn remarking(config: &Config) -> Option<Box<Remarking>> {
    let qos = &config.qos;
    let by_pcp = config.vtep.dscp == Dscp::Pcp;
    (by_pcp || qos.carry_pcp || qos.rewrite_dscp).then(|| {
        Box::new(Remarking {
            outer_from_pcp: by_pcp.then_some(qos.outer_from_pcp),
            pcp_from_outer: qos.carry_pcp.then_some(qos.pcp_from_outer),
            dscp_from_outer: qos.rewrite_dscp.then_some(qos.dscp_from_outer),
        })
    })
}

/// Every remote VTEP that the config names, in order of address, none twice.
#[must_use]
pub fn remotes(config: &Config) -> Vec<IpAddr> {
    all_remotes(config, &static_remotes(config))
}

/// The remote VTEPs that the static entries of each bridge name, none twice: they may send to their bridge also when no
/// flood goes to them.
type StaticRemotes = FxHashMap<Vni, FxHashSet<IpAddr>>;

fn static_remotes(config: &Config) -> StaticRemotes {
    let remote = |entry: &StaticEntry| match entry.place {
        StaticPlace::Remote(address) => Some(address),
        StaticPlace::Port(_) => None,
    };
    // Bridge by bridge: a set of a few addresses stays in the cache while thousands of entries go by.
    let bridges = config.static_entries.chunk_by(|one, next| one.vni == next.vni);
    bridges.filter_map(|entries| Some((entries.first()?.vni, entries.iter().filter_map(remote).collect()))).collect()
}

fn all_remotes(config: &Config, fixed: &StaticRemotes) -> Vec<IpAddr> {
    let flooded_to = config.bridges.iter().flat_map(|bridge| &bridge.remotes);
    let neighbours = config.neighbours.iter().map(|neighbour| &neighbour.address);
    let named: FxHashSet<IpAddr> = flooded_to.chain(neighbours).chain(fixed.values().flatten()).copied().collect();
    let mut named: Vec<IpAddr> = named.into_iter().collect();
    named.sort_unstable();
    named
}

fn member_names(bridge: &model::Bridge) -> impl Iterator<Item = super::registry::MemberName> + '_ {
    bridge.ports.iter().map(|port| (bridge.vni, port.port, port.vlan))
}

fn compile_tunnels(
    config: &Config,
    kernel: &KernelBridges,
    remotes: &[IpAddr],
    registry: &Registry,
    length: usize,
) -> Vec<Tunnel> {
    let mut tunnels = vec![Tunnel { address: config.vtep.address }; length];
    let remotes = remotes.iter().map(|address| (*address, registry.tunnel(*address)));
    let groups = groups(config, kernel).map(|(address, port)| (address, registry.group(address, port)));
    for (address, index) in remotes.chain(groups) {
        if let Some(tunnel) = index.and_then(|index| tunnels.get_mut(usize::from(index.0))) {
            *tunnel = Tunnel { address };
        }
    }
    tunnels
}

/// The group of the underlay that a bridge floods to: the config's, or else the kernel's.
fn group_of<'a>(bridge: &'a model::Bridge, kernel: &'a KernelBridges) -> Option<&'a model::UnderlayGroup> {
    bridge.flooding.group.as_deref().or_else(|| kernel.get(&bridge.vni)?.group.as_ref())
}

/// The groups of the underlay with each of their ports, repeats included.
fn groups<'a>(config: &'a Config, kernel: &'a KernelBridges) -> impl Iterator<Item = (IpAddr, PortIndex)> + 'a {
    let groups = config.bridges.iter().filter_map(|bridge| group_of(bridge, kernel));
    groups.flat_map(|group| group.ports.iter().map(|port| (group.address, *port)))
}

fn group_names<'a>(config: &'a Config, kernel: &'a KernelBridges) -> impl Iterator<Item = TunnelName> + 'a {
    groups(config, kernel).map(|(address, port)| TunnelName::Group(address, port))
}

fn compile_next_hops(
    config: &Config,
    kernel: &KernelBridges,
    facts: &[PortFacts],
    registry: &Registry,
    length: usize,
) -> Vec<NextHop> {
    let mut next_hops = vec![NextHop::UNKNOWN; length];
    for neighbour in &config.neighbours {
        let place = registry.tunnel(neighbour.address).and_then(|index| next_hops.get_mut(usize::from(index.0)));
        if let (Some(place), Some(way)) = (place, next_hop(config, neighbour, facts, u16::MAX)) {
            *place = way;
        }
    }
    for (address, port) in groups(config, kernel) {
        let neighbour = model::Neighbour { address, mac: group_mac(address), port };
        let place = registry.group(address, port).and_then(|index| next_hops.get_mut(usize::from(index.0)));
        if let (Some(place), Some(way)) = (place, next_hop(config, &neighbour, facts, u16::MAX)) {
            *place = way;
        }
    }
    next_hops
}

/// The next hop as one of a group: the neighbour behind its uplink.
pub(super) fn adjacency(port: PortIndex, mac: MacAddr, facts: &[PortFacts]) -> Option<Adjacency> {
    Some(Adjacency::new(port, facts.get(usize::from(port.0))?.mac, mac))
}

/// The way to a remote VTEP by a neighbour, for IP packets of at most `mtu` bytes, or what its port takes if less.
pub(super) fn next_hop(
    config: &Config,
    neighbour: &model::Neighbour,
    facts: &[PortFacts],
    mtu: u16,
) -> Option<NextHop> {
    let port = facts.get(usize::from(neighbour.port.0))?;
    let addresses = match (config.vtep.address, neighbour.address) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => OuterAddresses::Ipv4 { local, remote },
        (IpAddr::V6(local), IpAddr::V6(remote)) => OuterAddresses::Ipv6 { local, remote },
        _ => return None,
    };
    let outer = OuterHeader {
        source_mac: port.mac,
        destination_mac: neighbour.mac,
        addresses,
        ttl: config.vtep.ttl,
        checksum_ipv4: config.vtep.udp_checksum_ipv4 == UdpChecksum::Full,
        mtu: mtu.min(port.mtu),
    };
    Some(NextHop::new(neighbour.port, &outer))
}

fn compile_members(config: &Config, facts: &[PortFacts], registry: &Registry, length: usize) -> Vec<Member> {
    // A place whose member left: no bridge has it in its list, so that nothing is ever sent there.
    let nobody = Member::new(PortIndex(u16::MAX), BridgeIndex(u16::MAX), MemberTags::Untagged, 0);
    let mut members = vec![nobody; length];
    let pairs = outer_vlans_of_pairs(config);
    for bridge in &config.bridges {
        let Some(index) = registry.bridge(bridge.vni) else { continue };
        for name in member_names(bridge) {
            let (_, port, vlan) = name;
            let place = registry.member(&name).and_then(|member| members.get_mut(member.0 as usize));
            if let Some(member) = place {
                let mtu = facts.get(usize::from(port.0)).map_or(0, |facts| facts.mtu);
                let tpid = config.ports.get(usize::from(port.0)).map_or(ETHERTYPE_VLAN, |port| port.tpid);
                let shares = vlan.vlan().is_some_and(|outer| pairs.contains(&(port, outer)));
                let is_guarded = shares && bridge.tags == Tags::Carry;
                *member = Member::new(port, index, member_tags(vlan, tpid, is_guarded), mtu);
            }
        }
    }
    members
}

/// The ports' VLANs that are the outer one of two in some bridge.
fn outer_vlans_of_pairs(config: &Config) -> FxHashSet<(PortIndex, VlanId)> {
    let ports = config.bridges.iter().flat_map(|bridge| &bridge.ports);
    ports.filter_map(|port| port.vlan.inner().and(port.vlan.vlan()).map(|outer| (port.port, outer))).collect()
}

fn member_tags(vlan: AccessVlan, tpid: u16, is_guarded: bool) -> MemberTags {
    match vlan {
        AccessVlan::Untagged | AccessVlan::Native(_) => MemberTags::Untagged,
        AccessVlan::PriorityTagged => MemberTags::One(VlanTag::priority(tpid)),
        AccessVlan::Tagged(vlan) if is_guarded => MemberTags::Guarded(VlanTag::new(tpid, vlan)),
        AccessVlan::Tagged(vlan) => MemberTags::One(VlanTag::new(tpid, vlan)),
        AccessVlan::QinQ { outer, inner } => MemberTags::Two(VlanTag::new(tpid, outer), inner),
    }
}

fn compile_bridges(
    config: &Config,
    kernel: &KernelBridges,
    fixed: &StaticRemotes,
    registry: &Registry,
    length: usize,
) -> (Vec<Bridge>, Vec<BroadcastDomain>) {
    let nobody = Bridge { vni: Vni::default(), policy: BridgePolicy::CLOSED };
    let mut bridges = vec![nobody; length];
    let mut domains = vec![BroadcastDomain::default(); length];
    for bridge in &config.bridges {
        let Some(index) = registry.bridge(bridge.vni) else { continue };
        let said = kernel.get(&bridge.vni).into_iter().flat_map(|said| &said.flood_list);
        let said = said.filter(|address| !bridge.remotes.contains(address));
        let remotes: Vec<TunnelIndex> =
            bridge.remotes.iter().chain(said).filter_map(|address| registry.tunnel(*address)).collect();
        let of_underlay = group_of(bridge, kernel);
        let group = of_underlay.iter();
        let group = group.flat_map(|group| group.ports.iter().filter_map(|port| registry.group(group.address, *port)));
        let flood_list = remotes.iter().copied().chain(group).collect();
        let fixed = fixed.get(&bridge.vni).into_iter().flatten().filter_map(|address| registry.tunnel(*address));
        let sources: BTreeSet<TunnelIndex> = remotes.into_iter().chain(fixed).collect();
        let members: Box<[MemberIndex]> = member_names(bridge).filter_map(|name| registry.member(&name)).collect();
        let place = usize::from(index.0);
        if let (Some(place), Some(domain)) = (bridges.get_mut(place), domains.get_mut(place)) {
            let policy = policy(bridge, of_underlay.is_some());
            *place = Bridge { vni: bridge.vni, policy };
            let sources = sources.into_iter().collect();
            let taught = bridge.control == Control::Kernel;
            let discovers = of_underlay.is_some() && !policy.source_check;
            let neighbours =
                Neighbours { learning: bridge.learns_bindings(), suppression: bridge.neighbour_suppression };
            let clamps_segments = bridge.clamp_mss;
            *domain = BroadcastDomain {
                members,
                flood_list,
                sources,
                clamps_segments,
                discovers,
                taught,
                rules: None,
                neighbours,
            };
        }
    }
    (bridges, domains)
}

fn compile_encapsulations(config: &Config, registry: &Registry, length: usize) -> Vec<Encapsulation> {
    let mut encapsulations = vec![Encapsulation::new(Vni::default(), None, config.vtep.udp_port); length];
    for bridge in &config.bridges {
        let place = registry.bridge(bridge.vni).and_then(|index| encapsulations.get_mut(usize::from(index.0)));
        if let Some(place) = place {
            *place = Encapsulation::new(bridge.vni, bridge.group_policy, config.udp_port_of(bridge));
        }
    }
    encapsulations
}

fn compile_group_policies(config: &Config, registry: &Registry) -> FxHashMap<Vni, GroupPolicies> {
    let policies = |bridge: &model::Bridge| {
        let accepted = bridge.accept_group_policies.clone()?.into();
        Some((bridge.vni, GroupPolicies { bridge: registry.bridge(bridge.vni)?, accepted }))
    };
    config.bridges.iter().filter_map(policies).collect()
}

fn policy(bridge: &model::Bridge, has_group: bool) -> BridgePolicy {
    BridgePolicy {
        learning: bridge.learning,
        // Who is in a group is not known in advance.
        source_check: bridge.source_check.unwrap_or(!has_group),
        carry_tags: bridge.tags == Tags::Carry,
        link_local: bridge.link_local,
    }
}

fn compile_ports(
    config: &Config,
    kernel: &KernelBridges,
    facts: &[PortFacts],
    registry: &Registry,
    vtep: &LocalVtep,
) -> Vec<Port> {
    let mut maps: Vec<Option<AccessMap>> =
        config.ports.iter().map(|port| (port.role == PortRole::Access).then(|| AccessMap::empty(port.tpid))).collect();
    for bridge in &config.bridges {
        let Some(index) = registry.bridge(bridge.vni) else { continue };
        for name in member_names(bridge) {
            if let Some(member) = registry.member(&name)
                && let Some(map) = access_map(&mut maps, name.1)
            {
                attach(map, name.2, member, index);
            }
        }
    }
    // After all others, so that only VLANs without a bridge of their own are taken along.
    for bridge in config.bridges.iter().filter(|bridge| bridge.tags == Tags::Carry) {
        for port in bridge.ports.iter().filter(|port| port.vlan.has_untagged()) {
            if let Some(map) = access_map(&mut maps, port.port) {
                map.attach_rest_to_untagged();
            }
        }
    }
    let clamping = config.bridges.iter().filter(|bridge| bridge.clamp_mss);
    let aside: FxHashSet<BridgeIndex> = clamping.filter_map(|bridge| registry.bridge(bridge.vni)).collect();
    if !aside.is_empty() {
        maps.iter_mut().flatten().for_each(|map| map.set_aside(|bridge| aside.contains(&bridge)));
    }
    let mut groups = underlay_groups(config, kernel, registry);
    let port = |(index, ((map, facts), port)): (usize, ((Option<AccessMap>, &PortFacts), &model::Port))| Port {
        mac: facts.mac,
        mtu: facts.mtu,
        groups: groups.remove(&PortIndex(index as u16)).unwrap_or_default(),
        storm: port_rates(&port.storm, facts.receivers),
        side: map.map_or_else(|| PortSide::Uplink(UplinkPatterns::new(vtep, facts.mac)), PortSide::Access),
        link_local: link_local(port),
    };
    maps.into_iter().zip(facts).zip(&config.ports).enumerate().map(port).collect()
}

/// The groups that each uplink receives.
fn underlay_groups(
    config: &Config,
    kernel: &KernelBridges,
    registry: &Registry,
) -> FxHashMap<PortIndex, UnderlayGroups> {
    let mut ports = FxHashMap::<PortIndex, FxHashMap<IpAddr, BTreeSet<BridgeIndex>>>::default();
    for bridge in &config.bridges {
        let (Some(index), Some(group)) = (registry.bridge(bridge.vni), group_of(bridge, kernel)) else { continue };
        for port in &group.ports {
            ports.entry(*port).or_default().entry(group.address).or_default().insert(index);
        }
    }
    let group = |(address, bridges): (IpAddr, BTreeSet<BridgeIndex>)| UnderlayGroup {
        address,
        bridges: bridges.into_iter().collect(),
    };
    ports.into_iter().map(|(port, groups)| (port, UnderlayGroups::new(groups.into_iter().map(group)))).collect()
}

fn link_local(port: &model::Port) -> LinkLocal {
    match (port.link_local, port.role) {
        (Some(model::LinkLocal::Drop), _) => LinkLocal::Drop,
        (Some(model::LinkLocal::Punt), _) | (None, PortRole::Uplink) => LinkLocal::Punt,
        (None, PortRole::Access) => LinkLocal::AsBridge,
    }
}

fn attach(map: &mut AccessMap, vlan: AccessVlan, member: MemberIndex, bridge: BridgeIndex) {
    match vlan {
        AccessVlan::Untagged | AccessVlan::PriorityTagged => map.attach(None, member, bridge),
        AccessVlan::Tagged(vlan) => map.attach(Some(vlan), member, bridge),
        AccessVlan::Native(vlan) => {
            map.attach(None, member, bridge);
            map.attach(Some(vlan), member, bridge);
        }
        AccessVlan::QinQ { outer, inner } => map.attach_pair(outer, inner, member, bridge),
    }
}

fn access_map(maps: &mut [Option<AccessMap>], port: PortIndex) -> Option<&mut AccessMap> {
    maps.get_mut(usize::from(port.0))?.as_mut()
}
