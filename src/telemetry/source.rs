//! What the exposition and the control socket read: the seam between telemetry and whoever owns ports and tables.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use super::{ControlTelemetry, Entropy, ExceptionTelemetry, WorkerTelemetry};
use crate::config::model::PortRole;
use crate::tables::{BridgeIndex, PortIndex, TunnelIndex};
use crate::wire::MacAddr;

/// Where a scrape's numbers come from. Called on the stats thread and on its helpers, at the same time as well; a
/// call may take milliseconds, and must not wait for a worker.
pub trait MetricsSource: Send + Sync {
    /// What is running.
    fn build(&self) -> BuildInfo;

    /// When the process started.
    fn started(&self) -> SystemTime;

    /// How fast the counter of cycles runs, in Hz: `rte_get_tsc_hz()`. Never 0.
    fn cycles_per_second(&self) -> u64;

    /// The workers, in the order of their numbers; the same ones for the life of the process.
    fn workers(&self) -> &[WorkerHandle];

    /// The threads between the gateway and the kernel that run, the same ones for the life of the process.
    fn threads(&self) -> &[ThreadHandle];

    /// What the control thread counts.
    fn control(&self) -> &ControlTelemetry;

    /// What the thread between the uplinks and the kernel counts.
    fn exception(&self) -> &ExceptionTelemetry;

    /// How flows are spread.
    fn entropy(&self) -> &Entropy;

    /// Every port, read from its driver now, in config order.
    fn port_readings(&self) -> Vec<PortReading>;

    /// Every bridge of the running config, by VNI.
    fn bridge_labels(&self) -> Vec<BridgeLabel>;

    /// Every remote VTEP of the running config, by address.
    fn remote_labels(&self) -> Vec<RemoteLabel>;

    /// Every group of the underlay with each of its uplinks. No two are alike in both.
    fn group_labels(&self) -> Vec<GroupLabel>;
}

/// What is running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// The gateway's version.
    pub version: String,
    /// DPDK's version as it tells it itself ("DPDK 22.11.5").
    pub dpdk: String,
}

/// One worker: where it runs and what it counts.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    /// The core it is pinned to.
    pub core: usize,
    /// What it counts.
    pub telemetry: Arc<WorkerTelemetry>,
}

/// A thread that is neither the control thread nor a worker, and its heartbeat.
#[derive(Clone, Debug)]
pub struct ThreadHandle {
    /// Its name, as the system has it, too (`top -H`).
    pub name: &'static str,
    /// Grows at least once a second as long as the thread lives, but for what it waits for in the kernel.
    pub heartbeat: Arc<AtomicU64>,
    /// How long the kernel may keep it where nothing is wrong.
    pub longest_wait: Duration,
}

/// A bridge and what its metrics are called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeLabel {
    /// Its place in the workers' counters.
    pub index: BridgeIndex,
    /// The label: its VNI.
    pub vni: u32,
    /// Whether it has a limit of storm control.
    pub storm_control: bool,
}

/// A remote VTEP and what its metrics are called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteLabel {
    /// Its place in the workers' counters.
    pub index: TunnelIndex,
    /// The label: its address.
    pub address: IpAddr,
    /// The largest IP packet that goes there, in bytes, where there is a way.
    pub mtu: Option<u16>,
    /// That is what a router said of the path.
    pub is_path_mtu: bool,
}

/// A multicast group of the underlay on one uplink, and what its metrics are called by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLabel {
    /// Its place in the workers' counters.
    pub index: TunnelIndex,
    /// The label `group`: its address.
    pub address: IpAddr,
    /// The label `port`: the uplink's name.
    pub port: String,
}

/// A port as its driver tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct PortReading {
    /// Its place in the port table.
    pub index: PortIndex,
    /// Its name in the config.
    pub name: String,
    /// What is on the other side.
    pub role: PortRole,
    /// The vdev string or PCI address.
    pub device: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its MTU in bytes.
    pub mtu: u16,
    /// How many receive queues it has; as many workers receive from it.
    pub receive_queues: u16,
    /// How many transmit queues it has.
    pub transmit_queues: u16,
    /// Whether it has a limit of storm control.
    pub storm_control: bool,
    /// Whether the link is up.
    pub link_up: bool,
    /// The link's speed in Mbit/s, where the driver knows it.
    pub link_mbps: Option<u32>,
    /// The most MAC addresses learned behind an access port, where there is a limit.
    pub max_macs: Option<u32>,
    /// The driver's counters since the port was started.
    pub statistics: PortStatistics,
    /// The driver's extended counters, by the driver's names. No name twice.
    pub xstats: Vec<(String, u64)>,
}

/// A driver's counters: DPDK's `rte_eth_stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStatistics {
    /// `ipackets`: packets received.
    pub received_packets: u64,
    /// `ibytes`: bytes received.
    pub received_bytes: u64,
    /// `ierrors`: packets received with an error.
    pub receive_errors: u64,
    /// `imissed`: packets the NIC dropped because no descriptor was free: the worker is too slow.
    pub missed: u64,
    /// `rx_nombuf`: receive buffers that could not be allocated: the packet pool is too small.
    pub no_buffer: u64,
    /// `opackets`: packets sent.
    pub sent_packets: u64,
    /// `obytes`: bytes sent.
    pub sent_bytes: u64,
    /// `oerrors`: packets that failed to be sent.
    pub transmit_errors: u64,
}
