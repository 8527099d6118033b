//! VTEPs, how they are reached, and how flows to and from them are spread.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::page::Page;
use super::text;
use crate::telemetry::Verdict;
use crate::telemetry::totals::RemoteTotal;
use crate::wire::MacAddr;

/// `GET /v1/vteps`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vteps {
    /// This gateway.
    pub local: LocalVtep,
    /// The remote VTEPs, and the multicast groups of the underlay, with each of its uplinks.
    pub remotes: Page<RemoteVtep>,
}

/// This gateway as a VTEP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalVtep {
    /// Its address.
    pub address: IpAddr,
    /// Further addresses at which it takes packets.
    #[serde(default)]
    pub other_addresses: Vec<IpAddr>,
    /// The UDP port of VXLAN.
    pub udp_port: u16,
    /// Further UDP ports at which it takes packets, those of bridges included.
    #[serde(default)]
    pub other_udp_ports: Vec<u16>,
    /// Its uplinks.
    pub uplinks: Vec<String>,
}

/// A remote VTEP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemoteVtep {
    /// Its address.
    pub address: IpAddr,
    /// How it is reached: the ways among which flows are spread. Packets to one that has none are dropped.
    pub next_hops: Vec<NextHop>,
    /// What is missing to one whose way the kernel says and that has none: `no_route`, `no_uplink`, `link_down` or
    /// `unresolved`.
    pub missing: Option<String>,
    /// In how many bridges it is.
    pub bridges: usize,
    /// The largest IP packet that goes there, outer headers included, in bytes; absent where there is no way.
    pub mtu: Option<u16>,
    /// For how many seconds more that is believed, where it is what a router said of the path; absent where it is the
    /// uplink's or the route's.
    pub path_mtu_seconds: Option<u64>,
    /// Its traffic.
    pub traffic: RemoteTotal,
}

/// A way to a remote VTEP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NextHop {
    /// The MAC address of the next hop.
    #[serde(with = "text")]
    pub mac: MacAddr,
    /// The uplink.
    pub port: String,
    /// The share of the flows that go that way, in percent.
    pub share_percent: f64,
}

/// One of `GET /v1/entropy`: how the traffic with a remote VTEP in one direction is spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntropyReading {
    /// The remote VTEP.
    pub remote: IpAddr,
    /// Which way the traffic goes: `receive` is towards the gateway.
    pub direction: Way,
    /// By how many samples, the last ones of it.
    pub samples: usize,
    /// The inner flows, as so many equal ones.
    pub flows: f64,
    /// The outer UDP source ports, as so many equal ones.
    pub source_ports: f64,
    /// What is to be said of it.
    pub verdict: Verdict,
}

/// Which way traffic goes, as the metrics call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Towards the gateway.
    Receive,
    /// Away from it.
    Transmit,
}
