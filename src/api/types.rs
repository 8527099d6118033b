//! What travels over the control socket, as JSON. `vtepctl --json` prints it as it comes.
//!
//! A field is never renamed nor given another meaning within `/v1`; new ones may appear.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::telemetry::Verdict;
use crate::telemetry::source::PortReading;
use crate::telemetry::totals::{BridgeTotal, RemoteTotal};
use crate::wire::MacAddr;

/// The most items of one page.
pub const MAX_PAGE: usize = 10_000;

/// How many items a page has where the request does not say.
pub const DEFAULT_PAGE: usize = 1000;

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// How many items there are that match the request.
    pub total: usize,
    /// How many of them come before this page.
    pub offset: usize,
    /// The items of this page.
    pub items: Vec<T>,
}

impl<T> Page<T> {
    /// The part of `matching` that `range` asks for.
    #[must_use]
    pub fn cut(matching: impl IntoIterator<Item = T>, range: PageRange) -> Self {
        let (mut total, mut items) = (0, Vec::new());
        for item in matching {
            if total >= range.offset && items.len() < range.limit {
                items.push(item);
            }
            total += 1;
        }
        Self { total, offset: range.offset, items }
    }

    /// The page with each item made into something else.
    #[must_use]
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U> {
        Page { total: self.total, offset: self.offset, items: self.items.into_iter().map(make).collect() }
    }
}

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// The most items to give, 0 to [`MAX_PAGE`].
    pub limit: usize,
    /// How many to leave out first.
    pub offset: usize,
}

/// `GET /v1/version`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// The gateway's version.
    pub version: String,
    /// DPDK's, as it tells it.
    pub dpdk: String,
    /// How long the process has run, in seconds.
    pub uptime_seconds: u64,
}

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

/// Where a station is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// Behind an access port.
    Port {
        /// The port.
        port: String,
        /// The VLAN on it, or the outer one of two; absent for what is sent untagged.
        vlan: Option<u16>,
        /// The inner VLAN of two tags.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inner_vlan: Option<u16>,
    },
    /// Behind a remote VTEP.
    Remote {
        /// The remote VTEP's address.
        remote: IpAddr,
    },
}

/// How an FDB entry came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// From a frame's source address.
    Learned,
    /// From the config.
    Static,
    /// From the kernel's FDB, where that controls the bridge.
    Kernel,
}

impl EntryKind {
    /// The word for it in JSON and in a query.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Static => "static",
            Self::Kernel => "kernel",
        }
    }
}

/// One of `GET /v1/fdb`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbEntry {
    /// The bridge's VNI.
    pub vni: u32,
    /// The station.
    #[serde(with = "text")]
    pub mac: MacAddr,
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// How the entry came to be.
    pub kind: EntryKind,
    /// Whether frames of the station from anywhere else are dropped.
    #[serde(default)]
    pub pinned: bool,
    /// Whether the station moved too often and stays here for a while.
    #[serde(default)]
    pub frozen: bool,
    /// How long ago the station was last heard of, in seconds; absent for one that was not learned.
    pub age_seconds: Option<u64>,
}

/// Which FDB entries are asked for: those that match everything that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FdbFilter {
    /// Of the bridge with this VNI.
    pub vni: Option<u32>,
    /// Of this station.
    pub mac: Option<MacAddr>,
    /// Behind the access port of this name.
    pub port: Option<String>,
    /// Behind the remote VTEP of this address.
    pub remote: Option<IpAddr>,
    /// Of this kind.
    pub kind: Option<EntryKind>,
}

impl FdbFilter {
    /// Whether `entry` is asked for.
    #[must_use]
    pub fn matches(&self, entry: &FdbEntry) -> bool {
        let place = match &entry.place {
            Place::Port { port, .. } => self.remote.is_none() && self.port.as_ref().is_none_or(|wanted| wanted == port),
            Place::Remote { remote } => self.port.is_none() && self.remote.is_none_or(|wanted| wanted == *remote),
        };
        place
            && self.vni.is_none_or(|wanted| wanted == entry.vni)
            && self.mac.is_none_or(|wanted| wanted == entry.mac)
            && self.kind.is_none_or(|wanted| wanted == entry.kind)
    }
}

/// One of `GET /v1/bindings`: which station has an IP address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The bridge's VNI.
    pub vni: u32,
    /// The address.
    pub address: IpAddr,
    /// The station.
    #[serde(with = "text")]
    pub mac: MacAddr,
    /// Where the station is; absent where the FDB does not have it, and questions for the address are flooded.
    pub place: Option<Place>,
    /// How the binding came to be.
    pub kind: BindingKind,
    /// The station has said that it is a router (RFC 4861, 4.4).
    pub router: bool,
    /// How long ago the station last said that it has the address, in seconds; absent where the kernel or the config says so.
    pub age_seconds: Option<u64>,
}

/// How a binding came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BindingKind {
    /// From ARP or neighbour discovery of the station, on an access port.
    Learned,
    /// From the kernel's neighbours, where it controls the bridge.
    Kernel,
    /// From the config.
    Static,
}

impl BindingKind {
    /// The word for it in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Kernel => "kernel",
            Self::Static => "static",
        }
    }
}

/// Which bindings are asked for: those that match everything that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingFilter {
    /// Of the bridge with this VNI.
    pub vni: Option<u32>,
    /// Of this station.
    pub mac: Option<MacAddr>,
    /// Of this address.
    pub address: Option<IpAddr>,
}

impl BindingFilter {
    /// Whether a binding of the bridge with this VNI is asked for.
    #[must_use]
    pub fn matches(&self, vni: u32, mac: MacAddr, address: IpAddr) -> bool {
        self.vni.is_none_or(|wanted| wanted == vni)
            && self.mac.is_none_or(|wanted| wanted == mac)
            && self.address.is_none_or(|wanted| wanted == address)
    }
}

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

/// `GET /v1/groups`: who wants which multicast group, in bridges that snoop IGMP and MLD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Groups {
    /// Where multicast routers are.
    pub routers: Vec<MulticastRouter>,
    /// Where members of groups are.
    pub members: Page<GroupMember>,
}

/// A place with a multicast router, or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MulticastRouter {
    /// The bridge's VNI.
    pub vni: u32,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// It is the one that asks who wants what.
    pub querier: bool,
    /// In how many seconds it is forgotten, if nothing is heard of it.
    pub expires_seconds: u64,
}

/// A place where somebody wants a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    /// The bridge's VNI.
    pub vni: u32,
    /// The group.
    pub group: IpAddr,
    /// Where it is wanted.
    #[serde(flatten)]
    pub place: Place,
    /// In how many seconds that is forgotten, if it is not said again.
    pub expires_seconds: u64,
}

/// `GET /v1/drops`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// All drops together.
    pub total: u64,
    /// Every reason, also those that never occurred.
    pub reasons: Vec<Count>,
    /// Every event, also those that never occurred.
    pub events: Vec<Count>,
}

/// How often something occurred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What: the metric label.
    pub name: String,
    /// How often.
    pub count: u64,
    /// What it means.
    pub help: String,
}

/// One of `GET /v1/workers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Its number.
    pub number: usize,
    /// The core it is pinned to.
    pub core: usize,
    /// Packets received.
    pub packets: u64,
    /// Bursts that held a packet.
    pub bursts: u64,
    /// Rounds over all ports.
    pub polls: u64,
    /// Sleeps, where idle is adaptive.
    pub sleeps: u64,
    /// Packets not forwarded.
    pub dropped: u64,
    /// Time in rounds that found packets, in seconds.
    pub busy_seconds: f64,
    /// Time in rounds that found none, in seconds.
    pub idle_seconds: f64,
    /// How long bursts took; absent before the first one.
    pub burst: Option<BurstDurations>,
}

/// How long a worker's bursts took since it started, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BurstDurations {
    /// Half of them took less.
    pub p50: f64,
    /// 90 % took less.
    pub p90: f64,
    /// 99 % took less.
    pub p99: f64,
    /// 99.9 % took less.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// `GET /v1/check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is wrong; empty where nothing is.
    pub findings: Vec<Finding>,
    /// How many bridges have their remote side from the kernel.
    pub bridges: usize,
    /// How many stations the kernel has behind remote VTEPs.
    pub stations: usize,
    /// How many remote VTEPs are reached as the kernel has it.
    pub remotes: usize,
    /// Who follows the kernel's FDB and may be its control plane: processes by name.
    pub followers: Vec<String>,
}

/// Something that is wrong between the gateway, the kernel and the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of thing.
    pub name: String,
    /// What is wrong, and what comes of it.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// The commands that do it, where it is to be done entry by entry.
    pub commands: Vec<String>,
}

/// `POST /v1/reload`, where it succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// What changed, in a sentence or more.
    pub summary: String,
}

/// Any request, where it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong and what to do about it. May have several lines.
    pub error: String,
}

/// Serde for what is text outside: by `Display` and `FromStr`.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(vni: u32, place: Place) -> FdbEntry {
        FdbEntry {
            vni,
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            place,
            kind: EntryKind::Learned,
            pinned: false,
            frozen: false,
            age_seconds: Some(3),
        }
    }

    #[test]
    fn a_filter_takes_what_matches_everything_it_says() {
        let port = entry(100, Place::Port { port: "trunk0".into(), vlan: Some(100), inner_vlan: None });
        let remote = entry(100, Place::Remote { remote: [10, 0, 0, 2].into() });
        let filter = |change: fn(&mut FdbFilter)| {
            let mut filter = FdbFilter::default();
            change(&mut filter);
            (filter.matches(&port), filter.matches(&remote))
        };
        assert_eq!(filter(|_| ()), (true, true));
        assert_eq!(filter(|f| f.port = Some("trunk0".into())), (true, false));
        assert_eq!(filter(|f| f.port = Some("trunk1".into())), (false, false));
        assert_eq!(filter(|f| f.remote = Some([10, 0, 0, 2].into())), (false, true));
        assert_eq!(filter(|f| f.remote = Some([10, 0, 0, 3].into())), (false, false));
        assert_eq!(filter(|f| f.vni = Some(101)), (false, false));
        assert_eq!(filter(|f| f.mac = Some(MacAddr::ZERO)), (false, false));
        assert_eq!(filter(|f| f.kind = Some(EntryKind::Static)), (false, false));
    }

    #[test]
    fn a_page_is_bounded_and_knows_the_total() {
        let page = Page::cut(0..10, PageRange { limit: 3, offset: 8 });
        assert_eq!((page.total, page.offset, page.items), (10, 8, vec![8, 9]));
        let page = Page::cut(0..10, PageRange { limit: 2, offset: 1 });
        assert_eq!((page.total, page.items), (10, vec![1, 2]));
    }

    #[test]
    fn an_fdb_entry_is_flat_json_and_comes_back() {
        let port = |vlan, inner_vlan| Place::Port { port: "a".into(), vlan, inner_vlan };
        let remote = Place::Remote { remote: "2001:db8::2".parse().unwrap() };
        for place in [port(None, None), port(Some(5), None), port(Some(5), Some(6)), remote] {
            let before = entry(1, place);
            let json = serde_json::to_value(&before).unwrap();
            assert_eq!(json["mac"], "02:00:00:00:00:01");
            assert_eq!(serde_json::from_value::<FdbEntry>(json).unwrap(), before);
        }
    }
}
