//! The two ports that everything is measured between, and the config that goes with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use vtepd::config::Config;
use vtepd::config::model::{self, AccessVlan, Dscp, Idle, PortRole, Tags, UdpChecksum};
use vtepd::control::Registry;
use vtepd::dpdk::{Device, Eal, EalOptions, OpenPort, PacketPool, PortOptions};
use vtepd::tables::{BridgeIndex, Location, PortIndex};
use vtepd::wire::ethernet::ETHERTYPE_VLAN;
use vtepd::wire::flow_hash::SourcePorts;
use vtepd::wire::{MacAddr, VlanId, Vni};

use crate::measurement::Means;
use crate::traffic::{Captures, Population, Station, Traffic, UPLINK_MAC, Underlay, VXLAN_PORT, neighbour_mac};

/// The first port: `net_pcap` gives its MAC addresses in order, and the traffic is addressed to the first.
pub const UPLINK: PortIndex = PortIndex(0);
/// The second port.
pub const ACCESS: PortIndex = PortIndex(1);
/// How long what is learned is kept.
const AGEING: Duration = Duration::from_secs(300);
/// What fits a 1500-byte frame and outer headers.
const MTU: u16 = 1600;
/// Buffers besides those that hold the captures: bursts, caches, what control sends.
const SPARE_BUFFERS: u32 = 16383;
/// A buffer with all that DPDK puts around it, in bytes, on the safe side.
const BUFFER_BYTES: u64 = 2560;

/// Everything failing is said in one line.
pub type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// DPDK, started, with a pool that has room for the captures.
pub struct Testbed {
    /// What the packets lie in.
    pub pool: PacketPool,
    /// DPDK.
    pub eal: Eal,
}

/// Where traffic is kept from one run to the next.
pub fn traffic_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/traffic")
}

/// The buffers for captures of so many flows that each of `workers` receives.
fn buffers(flows: u32, workers: usize) -> u32 {
    2 * flows * workers as u32 + SPARE_BUFFERS
}

/// The memory DPDK needs for a measurement with so many flows in each direction, in MiB.
pub fn memory_mib(flows: u32, workers: usize) -> u32 {
    // Rings of pointers to the captured packets, of the next power of two, count with the buffers.
    ((u64::from(buffers(flows, workers)) * BUFFER_BYTES) >> 20) as u32 + 128
}

/// The config of a gateway for this traffic, as a file would give it.
///
/// # Errors
/// Where the traffic's numbers are no VNIs or VLANs.
pub fn config(traffic: &Traffic, population: &Population, captures: &Captures, cores: &[usize]) -> Fallible<Config> {
    let underlay = traffic.underlay;
    let device = |number: usize, path: &Path| {
        let queue = format!(",rx_pcap={}", path.display());
        format!("net_pcap{number}{},infinite_rx=1", queue.repeat(cores.len()))
    };
    let port = |name: &str, device: String, role| model::Port {
        name: name.to_owned(),
        device,
        role,
        mac: None,
        mtu: Some(MTU),
        descriptors: 1024,
        tpid: ETHERTYPE_VLAN,
        kernel_interface: None,
        max_macs: None,
        storm: model::StormLimits::default(),
        link_local: None,
    };
    let mut bridges = Vec::with_capacity(population.bridges.len());
    for bridge in &population.bridges {
        bridges.push(model::Bridge {
            vni: Vni::new(bridge.vni)?,
            ports: vec![model::BridgePort { port: ACCESS, vlan: AccessVlan::Tagged(VlanId::new(bridge.vlan)?) }],
            remotes: bridge.remotes.iter().map(|remote| underlay.remote(*remote)).collect(),
            learning: true,
            source_check: Some(true),
            udp_port: None,
            group_policy: None,
            accept_group_policies: None,
            tags: Tags::Refuse,
            link_local: false,
            clamp_mss: false,
            max_macs: None,
            ageing: Some(AGEING),
            control: model::Control::Static,
            kernel_device: None,
            neighbour_suppression: false,
            flooding: model::Flooding::default(),
        });
    }
    let neighbour =
        |remote| model::Neighbour { address: underlay.remote(remote), mac: neighbour_mac(remote), port: UPLINK };
    let zero = underlay == Underlay::Ipv6Zero;
    Ok(Config {
        vtep: model::Vtep {
            address: underlay.local(),
            udp_port: VXLAN_PORT,
            other_addresses: Vec::new(),
            other_udp_ports: Vec::new(),
            source_ports: SourcePorts::DYNAMIC,
            udp_checksum_ipv4: UdpChecksum::Zero,
            udp_checksum: if zero { UdpChecksum::Zero } else { UdpChecksum::Full },
            dscp: Dscp::Inherit,
            ttl: 64,
            strict: false,
            underlay: model::Underlay::Static,
        },
        dpdk: model::Dpdk {
            hugepages: true,
            file_prefix: format!("vtepd-bench-{}", std::process::id()),
            memory_mib: memory_mib(population.numbers().flows, cores.len()),
            packet_buffers: buffers(population.numbers().flows, cores.len()),
            eal_arguments: Vec::new(),
        },
        workers: model::Workers { cores: cores.to_vec(), idle: Idle::Poll },
        ports: vec![
            port("uplink0", device(0, &captures.uplink), PortRole::Uplink),
            port("trunk0", device(1, &captures.access), PortRole::Access),
        ],
        bridges,
        neighbours: (0..population.numbers().remotes).map(neighbour).collect(),
        qos: model::Qos::default(),
        fdb: model::Fdb {
            max_entries: (population.station_count() as u32).next_power_of_two(),
            ageing: Some(AGEING),
            damping: None,
            max_bindings: 1,
            binding_ageing: None,
        },
        static_entries: model::StaticEntries::default(),
        bindings: Vec::new(),
        stats: model::Stats { listen: ([127, 0, 0, 1], 0).into() },
        api: model::Api { socket: PathBuf::from("/nonexistent") },
    })
}

/// The bridge and the place of a station, as a gateway with this config numbers them.
///
/// # Errors
/// Where the registry does not have them.
pub fn place(
    station: &Station,
    config: &Config,
    underlay: Underlay,
    registry: &Registry,
) -> Fallible<(BridgeIndex, Location)> {
    // In the order of the population's.
    let bridge = config.bridges.get(station.bridge as usize).ok_or("no such bridge")?;
    let vni = bridge.vni;
    let location = match station.remote {
        Some(remote) => registry.tunnel(underlay.remote(remote)).map(Location::tunnel),
        None => {
            let port = bridge.ports.first().ok_or("a bridge without a port")?;
            registry.member(&(vni, port.port, port.vlan)).map(Location::access)
        }
    };
    Ok((registry.bridge(vni).ok_or("no index for a bridge")?, location.ok_or("no index for a place")?))
}

impl Testbed {
    /// Starts DPDK as `config` says.
    ///
    /// # Errors
    /// Whatever DPDK does not do.
    pub fn start(config: &Config, means: &Means, control_cores: Vec<usize>) -> Fallible<Self> {
        let eal = Eal::start(&EalOptions {
            file_prefix: config.dpdk.file_prefix.clone(),
            hugepages: means.hugepages,
            memory_mib: config.dpdk.memory_mib,
            control_cores,
            ..EalOptions::default()
        })?;
        Ok(Self { pool: PacketPool::create(&eal, config.dpdk.packet_buffers)?, eal })
    }

    /// Opens one of the config's ports with a queue of each kind, and nothing around them.
    ///
    /// # Errors
    /// Whatever DPDK does not do.
    pub fn open_bare(&self, config: &Config, index: PortIndex) -> Fallible<OpenPort> {
        let port = config.ports.get(usize::from(index.0)).ok_or("no such port")?;
        let options =
            PortOptions { mtu: port.mtu, promiscuous: port.role == PortRole::Access, ..PortOptions::default() };
        Ok(Device::probe(&self.eal, &port.name, &port.device)?.open(&options, &self.pool)?)
    }
}

/// Checks that the traffic is addressed to the uplink.
///
/// # Errors
/// Where `net_pcap` gave it another address than it used to.
pub fn check_uplink(mac: Option<MacAddr>) -> Fallible<()> {
    match mac {
        Some(UPLINK_MAC) => Ok(()),
        other => Err(format!("net_pcap calls the first port {other:?}, and the traffic is for {UPLINK_MAC}").into()),
    }
}

/// Changes the ageing time of all bridges of a config.
pub fn age_after(config: &mut Config, ageing: Duration) {
    config.fdb.ageing = Some(ageing);
    config.bridges.iter_mut().for_each(|bridge| bridge.ageing = Some(ageing));
}
