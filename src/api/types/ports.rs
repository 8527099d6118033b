//! Ports, bridges, and their members.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::text;
use crate::telemetry::source::PortReading;
use crate::telemetry::totals::BridgeTotal;
use crate::wire::MacAddr;

/// What is on a port's other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The IP fabric.
    Uplink,
    /// VLANs and machines.
    Access,
}

impl Role {
    /// The word for it in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uplink => "uplink",
            Self::Access => "access",
        }
    }
}

/// One of `GET /v1/ports`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Its name in the config.
    pub name: String,
    /// What is on the other side.
    pub role: Role,
    /// The vdev string or PCI address.
    pub device: String,
    /// Its MAC address.
    #[serde(with = "text")]
    pub mac: MacAddr,
    /// Its MTU in bytes.
    pub mtu: u16,
    /// Receive queues.
    pub receive_queues: u16,
    /// Transmit queues.
    pub transmit_queues: u16,
    /// Whether the link is up.
    pub link_up: bool,
    /// The link's speed in Mbit/s, where the driver knows it.
    pub link_mbps: Option<u32>,
    /// Packets received, by the driver's count.
    pub received_packets: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Packets received with an error.
    pub receive_errors: u64,
    /// Packets the NIC dropped because no receive descriptor was free.
    pub missed: u64,
    /// Receive buffers that could not be allocated.
    pub no_buffer: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets that failed to be sent.
    pub transmit_errors: u64,
    /// MAC addresses learned behind an access port.
    pub learned_macs: u64,
    /// The most that may be, where there is a limit.
    pub max_macs: Option<u32>,
}

impl From<PortReading> for Port {
    fn from(reading: PortReading) -> Self {
        let statistics = reading.statistics;
        Self {
            name: reading.name,
            role: match reading.role {
                crate::config::model::PortRole::Uplink => Role::Uplink,
                crate::config::model::PortRole::Access => Role::Access,
            },
            device: reading.device,
            mac: reading.mac,
            mtu: reading.mtu,
            receive_queues: reading.receive_queues,
            transmit_queues: reading.transmit_queues,
            link_up: reading.link_up,
            link_mbps: reading.link_mbps,
            received_packets: statistics.received_packets,
            received_bytes: statistics.received_bytes,
            receive_errors: statistics.receive_errors,
            missed: statistics.missed,
            no_buffer: statistics.no_buffer,
            sent_packets: statistics.sent_packets,
            sent_bytes: statistics.sent_bytes,
            transmit_errors: statistics.transmit_errors,
            learned_macs: 0,
            max_macs: reading.max_macs,
        }
    }
}

/// One of `GET /v1/bridges`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bridge {
    /// The VNI.
    pub vni: u32,
    /// The VLAN of the tag that all its access ports have for it; absent for untagged frames, and where they differ.
    pub vlan: Option<u16>,
    /// Its access ports.
    pub ports: Vec<String>,
    /// Which frames of each of them are its own.
    pub members: Vec<BridgeMember>,
    /// The remote VTEPs floods are sent to.
    pub remotes: Vec<IpAddr>,
    /// Whether it learns source addresses.
    pub learning: bool,
    /// The most addresses it learns, where there is a limit.
    pub max_macs: Option<u32>,
    /// How long it keeps an address that is not heard of, in seconds; absent where it keeps it for ever.
    pub ageing_seconds: Option<u64>,
    /// How many MAC addresses it has, learned, static and the kernel's.
    pub fdb_entries: u64,
    /// How many of them it has learned.
    pub learned_macs: u64,
    /// Its traffic.
    pub traffic: BridgeTotal,
}

/// A bridge's place on an access port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeMember {
    /// The port.
    pub port: String,
    /// The VLAN, or the outer one of two; absent for untagged frames.
    pub vlan: Option<u16>,
    /// The inner VLAN of two tags.
    pub inner_vlan: Option<u16>,
    /// Whether the port's untagged frames are the bridge's: where there is a VLAN, it is the native one.
    pub untagged: bool,
    /// Whether what would be sent untagged is sent with a priority tag.
    pub priority_tag: bool,
}

impl BridgeMember {
    /// The VLAN of the one tag that frames have here on their way in and out.
    #[must_use]
    pub fn only_tag(&self) -> Option<u16> {
        self.vlan.filter(|_| self.inner_vlan.is_none() && !self.untagged)
    }

    /// What of the port is the bridge's, in a word.
    #[must_use]
    pub fn vlan_text(&self) -> String {
        match (self.vlan, self.inner_vlan) {
            (None, _) if self.priority_tag => "priority".to_owned(),
            (None, _) => "untagged".to_owned(),
            (Some(vlan), _) if self.untagged => format!("{vlan}+untagged"),
            (Some(vlan), None) => vlan.to_string(),
            (Some(outer), Some(inner)) => format!("{outer}.{inner}"),
        }
    }
}
