//! A gateway with known numbers, and the stats thread that serves it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use vtepd::api::fdb::{FdbChange, StationQuery};
use vtepd::api::kernel::KernelBridge;
use vtepd::api::types::{
    Binding, BindingFilter, BindingKind, BridgeMember, Check, EntryKind, FdbEntry, FdbFilter, GroupMember, LocalVtep,
    MulticastRouter, NextHop, Page, PageRange, Place,
};
use vtepd::api::view::{BridgeState, RemoteState};
use vtepd::api::{Endpoints, GatewayView, Refused, StatsThread};
use vtepd::config::model::PortRole;
use vtepd::tables::{BindingSource, BridgeIndex, FloodKind, PortIndex, TunnelIndex};
use vtepd::telemetry::flow_samples::FlowSample;
use vtepd::telemetry::{
    BindingEvent, BridgeLabel, BuildInfo, ControlTelemetry, Direction, DropReason, Entropy, Event, ExceptionTelemetry,
    FdbEvent, GroupLabel, MetricsSource, PortReading, PortStatistics, Punt, PuntClass, RemoteLabel, StationChange,
    ThreadHandle, WorkerHandle, WorkerTelemetry,
};
use vtepd::wire::MacAddr;

pub const REMOTE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
pub const REMOTE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));

const ZEBRA: &str = "zebra (812)";

/// How long the gateway's thread that writes to the kernel may stand still.
pub const KERNEL_WAIT: Duration = Duration::from_millis(900);

/// One cycle is a nanosecond.
const HERTZ: u64 = 1_000_000_000;

pub struct Gateway {
    pub workers: Vec<WorkerHandle>,
    pub threads: Vec<ThreadHandle>,
    pub control: ControlTelemetry,
    pub exception: ExceptionTelemetry,
    pub entropy: Entropy,
    pub bridges: Vec<BridgeState>,
    pub remotes: Vec<RemoteState>,
    pub kernel_bridges: Vec<KernelBridge>,
    pub ports: Vec<PortReading>,
    pub entries: Vec<FdbEntry>,
    pub bindings: Vec<Binding>,
    pub check: Result<Check, String>,
    pub reload: Mutex<Result<String, Refused>>,
    pub config: String,
    /// What was last asked to be flushed.
    pub flushed: Mutex<Option<StationQuery>>,
    pub ready: AtomicBool,
}

impl Gateway {
    /// A gateway that has nothing and has done nothing.
    pub fn empty() -> Self {
        Self {
            workers: Vec::new(),
            threads: Vec::new(),
            control: ControlTelemetry::new(),
            exception: ExceptionTelemetry::new(),
            entropy: Entropy::default(),
            bridges: Vec::new(),
            remotes: Vec::new(),
            kernel_bridges: Vec::new(),
            ports: Vec::new(),
            entries: Vec::new(),
            bindings: Vec::new(),
            check: Ok(Check {
                findings: Vec::new(),
                bridges: 2,
                stations: 1234,
                remotes: 2,
                followers: vec![ZEBRA.to_owned()],
            }),
            reload: Mutex::new(Ok("Nothing changed.".to_owned())),
            config: "[vtep]\naddress = \"10.0.0.1\"\nudp_port = 4789\n".to_owned(),
            flushed: Mutex::default(),
            ready: AtomicBool::new(true),
        }
    }

    /// A gateway with two ports, two bridges, two remote VTEPs and two workers that have forwarded.
    pub fn busy() -> Self {
        let worker = |core| WorkerHandle { core, telemetry: Arc::new(WorkerTelemetry::new()) };
        let thread = |name, longest_wait| {
            let heartbeat = Arc::<AtomicU64>::default();
            heartbeat.store(7, Ordering::Relaxed);
            ThreadHandle { name, heartbeat, longest_wait }
        };
        let gateway = Self {
            workers: vec![worker(1), worker(3)],
            threads: vec![thread("vtepd-netlink", Duration::ZERO), thread("vtepd-kernel", KERNEL_WAIT)],
            ports: ports(),
            bridges: bridges(),
            remotes: remotes(),
            kernel_bridges: kernel_bridges(),
            entries: entries(),
            bindings: bindings(),
            ..Self::empty()
        };
        count(&gateway);
        gateway
    }
}

fn ports() -> Vec<PortReading> {
    let uplink = PortReading {
        index: PortIndex(0),
        name: "uplink0".to_owned(),
        role: PortRole::Uplink,
        device: "net_tap0,iface=up0".to_owned(),
        mac: MacAddr([2, 0, 0, 0xaa, 0, 1]),
        mtu: 9000,
        receive_queues: 2,
        transmit_queues: 2,
        storm_control: false,
        link_up: true,
        link_mbps: Some(25_000),
        max_macs: None,
        statistics: PortStatistics {
            received_packets: 1_234_567,
            received_bytes: 987_654_321,
            receive_errors: 1,
            missed: 2,
            no_buffer: 3,
            sent_packets: 7_654_321,
            sent_bytes: 1 << 40,
            transmit_errors: 4,
        },
        xstats: vec![("rx_good_packets".to_owned(), 1_234_567), ("tx_q0_\"odd\"".to_owned(), 5)],
    };
    let trunk = PortReading {
        index: PortIndex(1),
        name: "trunk0".to_owned(),
        role: PortRole::Access,
        device: "0000:01:10.0".to_owned(),
        mtu: 1500,
        storm_control: true,
        link_up: false,
        link_mbps: None,
        max_macs: Some(100),
        statistics: PortStatistics::default(),
        xstats: Vec::new(),
        ..uplink.clone()
    };
    vec![uplink, PortReading { index: PortIndex(1), ..trunk }]
}

fn member(port: &str, vlan: Option<u16>) -> BridgeMember {
    BridgeMember { port: port.to_owned(), vlan, inner_vlan: None, untagged: vlan.is_none(), priority_tag: false }
}

fn bridges() -> Vec<BridgeState> {
    let first = BridgeState {
        index: BridgeIndex(0),
        vni: 100,
        members: vec![member("trunk0", Some(100))],
        remotes: vec![REMOTE_V4, REMOTE_V6],
        learning: true,
        max_macs: Some(5000),
        ageing: Some(Duration::from_secs(60)),
    };
    let last = BridgeState {
        index: BridgeIndex(65535),
        vni: 16_777_215,
        members: ["a", "b", "c", "d", "e"].map(|port| member(port, None)).to_vec(),
        remotes: Vec::new(),
        learning: false,
        max_macs: None,
        ageing: None,
    };
    vec![first, last]
}

fn kernel_bridges() -> Vec<KernelBridge> {
    let [device, bridge, port] = ["vtvx100", "vtbr100", "vtac100"].map(|name| Some(name.to_owned()));
    let made = KernelBridge {
        vni: 100,
        device,
        made: true,
        bridge,
        port,
        local_stations: 12_345,
        published_stations: 12_300,
        published_addresses: 7,
        remote_stations: 2,
        flood_list: 1,
    };
    let missing = KernelBridge { vni: 200, device: None, made: false, bridge: None, port: None, ..made };
    let flannel = KernelBridge { vni: 300, device: Some("flannel.1".to_owned()), ..missing.clone() };
    vec![made, missing, flannel]
}

fn remotes() -> Vec<RemoteState> {
    let next_hop = NextHop { mac: MacAddr([2, 0, 0, 0xbb, 0, 1]), port: "uplink0".to_owned(), share_percent: 75.0 };
    let second = NextHop { mac: MacAddr([2, 0, 0, 0xbb, 0, 2]), port: "uplink0".to_owned(), share_percent: 25.0 };
    vec![
        RemoteState {
            index: TunnelIndex(0),
            address: REMOTE_V4,
            next_hops: vec![next_hop, second],
            missing: None,
            bridges: 1,
            mtu: Some(1400),
            path_mtu_seconds: Some(580),
        },
        RemoteState {
            index: TunnelIndex(65535),
            address: REMOTE_V6,
            next_hops: vec![],
            missing: Some("no_route"),
            bridges: 1,
            mtu: None,
            path_mtu_seconds: None,
        },
    ]
}

fn entries() -> Vec<FdbEntry> {
    let entry = |last, vni, place, kind, age_seconds| FdbEntry {
        vni,
        mac: MacAddr([2, 0, 0, 0, 0, last]),
        place,
        kind,
        pinned: kind == EntryKind::Static,
        frozen: last == 2,
        age_seconds,
    };
    let trunk = |vlan| Place::Port { port: "trunk0".to_owned(), vlan, inner_vlan: None };
    vec![
        entry(1, 100, trunk(Some(100)), EntryKind::Learned, Some(3)),
        entry(2, 100, Place::Remote { remote: REMOTE_V4 }, EntryKind::Learned, Some(200)),
        entry(3, 16_777_215, trunk(None), EntryKind::Static, None),
    ]
}

fn history() -> [FdbChange; 2] {
    let trunk = Place::Port { port: "trunk0".to_owned(), vlan: Some(100), inner_vlan: None };
    let moved = FdbChange {
        at_unix_ms: 1_700_000_000_500,
        vni: 100,
        mac: Some("02:00:00:00:00:01".to_owned()),
        entries: 1,
        change: StationChange::Moved.name().to_owned(),
        why: StationChange::Moved.help().to_owned(),
        from: Some(Place::Remote { remote: REMOTE_V4 }),
        to: Some(trunk.clone()),
    };
    let flushed = StationChange::Flushed;
    let (change, why) = (flushed.name().to_owned(), flushed.help().to_owned());
    [
        FdbChange { at_unix_ms: 1_700_000_001_000, mac: None, entries: 1234, change, why, to: None, ..moved.clone() },
        moved,
    ]
}

fn bindings() -> Vec<Binding> {
    let trunk = Place::Port { port: "trunk0".to_owned(), vlan: Some(100), inner_vlan: None };
    let learned = Binding {
        vni: 100,
        address: Ipv4Addr::new(192, 0, 2, 1).into(),
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        place: Some(trunk),
        kind: BindingKind::Learned,
        router: false,
        age_seconds: Some(70),
    };
    let remote = Binding {
        address: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2).into(),
        mac: MacAddr([2, 0, 0, 0, 0, 2]),
        place: Some(Place::Remote { remote: REMOTE_V4 }),
        kind: BindingKind::Kernel,
        router: true,
        age_seconds: None,
        ..learned.clone()
    };
    let lost = Binding { vni: 16_777_215, mac: MacAddr([2, 0, 0, 0, 0, 9]), place: None, ..remote.clone() };
    vec![learned, remote, lost]
}

fn count(gateway: &Gateway) {
    let [first, second] = [0, 1].map(|number: usize| &gateway.workers[number].telemetry);
    first.bridge(BridgeIndex(0)).access_received().count_many(1000, 64_000);
    second.bridge(BridgeIndex(0)).access_received().count_many(200, 12_800);
    first.bridge(BridgeIndex(0)).tunnel_sent().count_many(1100, 70_000);
    second.bridge(BridgeIndex(65535)).tunnel_received().count(1500);
    first.remote(TunnelIndex(7)).sent().count_many(30, 1800);
    first.remote(TunnelIndex(0)).sent().count_many(1100, 70_000);
    second.remote(TunnelIndex(65535)).received().count(1500);
    second.too_big(TunnelIndex(0)).add(3);
    first.port(PortIndex(1)).received().count_many(1000, 64_000);
    first.count_drops(DropReason::UnknownVni, 40);
    second.count_drops(DropReason::UnknownVni, 2);
    second.count_drops(DropReason::NoNextHop, 1);
    first.event_many(Event::FloodedFrame, 12);
    first.bridge_storms(BridgeIndex(0)).of(FloodKind::Broadcast).add(50);
    second.bridge_storms(BridgeIndex(0)).of(FloodKind::Broadcast).add(5);
    second.port_storms(PortIndex(1)).of(FloodKind::UnknownUnicast).add(6);
    first.punts.of(PuntClass::Bgp, Punt::Passed).add(70);
    second.punts.of(PuntClass::Bgp, Punt::Passed).add(7);
    second.punts.of(PuntClass::ArpNd, Punt::Passed).add(3);
    let kernel = gateway.exception.port(PortIndex(0));
    kernel.to_kernel.add(75);
    kernel.not_taken.add(2);
    kernel.from_kernel.add(60);
    kernel.vxlan_refused.add(5);
    first.run.polls.add(10_000);
    first.run.bursts.add(100);
    first.run.packets.add(1000);
    first.run.busy_cycles.add(HERTZ / 4);
    first.run.idle_cycles.add(HERTZ * 3 / 4);
    for cycles in 1..=100 {
        first.burst_time.record(cycles * 1000);
    }
    // From one remote VTEP many flows on one port; to the other, few samples.
    for number in 0..256 {
        let (remote, direction) = (TunnelIndex(0), Direction::Received);
        first.flow_samples.add(FlowSample { remote, direction, source_port: 50_000, flow: number % 32 });
    }
    let (remote, direction) = (TunnelIndex(65535), Direction::Sent);
    second.flow_samples.add(FlowSample { remote, direction, source_port: 50_000, flow: 1 });
    gateway.entropy.look(&gateway.workers, Instant::now());
    let fdb = &gateway.control.fdb;
    fdb.entries.set(3);
    fdb.capacity.set(65536);
    fdb.event_many(FdbEvent::Learned, 2);
    fdb.bridge_entries(BridgeIndex(0)).set(2);
    fdb.port_learned(PortIndex(1)).set(1);
    fdb.bridge_entries(BridgeIndex(65535)).set(1);
    let bindings = &gateway.control.bindings;
    bindings.capacity.set(131_072);
    bindings.count(BindingSource::Learned).set(1);
    bindings.count(BindingSource::Kernel).set(2);
    bindings.event(BindingEvent::Learned);
    gateway.control.reloads.increment();
    gateway.control.config_applied.set(1_700_000_000);
}

impl MetricsSource for Gateway {
    fn build(&self) -> BuildInfo {
        BuildInfo { version: "1.2.3".to_owned(), dpdk: "DPDK 22.11.5".to_owned() }
    }

    fn started(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_700_000_000_500)
    }

    fn cycles_per_second(&self) -> u64 {
        HERTZ
    }

    fn workers(&self) -> &[WorkerHandle] {
        &self.workers
    }

    fn threads(&self) -> &[ThreadHandle] {
        &self.threads
    }

    fn control(&self) -> &ControlTelemetry {
        &self.control
    }

    fn exception(&self) -> &ExceptionTelemetry {
        &self.exception
    }

    fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    fn port_readings(&self) -> Vec<PortReading> {
        self.ports.clone()
    }

    fn bridge_labels(&self) -> Vec<BridgeLabel> {
        let label = |bridge: &BridgeState| BridgeLabel {
            index: bridge.index,
            vni: bridge.vni,
            storm_control: bridge.vni == 100,
        };
        self.bridges.iter().map(label).collect()
    }

    fn group_labels(&self) -> Vec<GroupLabel> {
        let address = Ipv4Addr::new(239, 1, 1, 1).into();
        let group = GroupLabel { index: TunnelIndex(7), address, port: "uplink0".to_owned() };
        if self.remotes.is_empty() { Vec::new() } else { vec![group] }
    }

    fn remote_labels(&self) -> Vec<RemoteLabel> {
        let label = |remote: &RemoteState| RemoteLabel {
            index: remote.index,
            address: remote.address,
            mtu: remote.mtu,
            is_path_mtu: remote.path_mtu_seconds.is_some(),
        };
        self.remotes.iter().map(label).collect()
    }
}

impl GatewayView for Gateway {
    fn bridges(&self) -> Vec<BridgeState> {
        self.bridges.clone()
    }

    fn local_vtep(&self) -> LocalVtep {
        LocalVtep {
            address: Ipv4Addr::new(10, 0, 0, 1).into(),
            other_addresses: vec![Ipv4Addr::new(10, 0, 0, 100).into()],
            udp_port: 4789,
            other_udp_ports: vec![8472],
            uplinks: vec!["uplink0".to_owned()],
        }
    }

    fn remotes(&self) -> Vec<RemoteState> {
        self.remotes.clone()
    }

    fn kernel_bridges(&self) -> Vec<KernelBridge> {
        self.kernel_bridges.clone()
    }

    fn fdb(&self, filter: &FdbFilter, range: PageRange) -> Page<FdbEntry> {
        Page::cut(self.entries.iter().filter(|entry| filter.matches(entry)).cloned(), range)
    }

    fn fdb_history(&self, query: &StationQuery, range: PageRange) -> Result<Page<FdbChange>, Refused> {
        let matching = |change: &&FdbChange| {
            query.vni.is_none_or(|vni| vni.get() == change.vni)
                && query.mac.is_none_or(|mac| change.mac == Some(mac.to_string()))
        };
        Ok(Page::cut(history().iter().filter(matching).cloned(), range))
    }

    fn unfreeze(&self, query: &StationQuery) -> Result<u64, Refused> {
        Ok(u64::from(query.mac.is_none_or(|mac| mac == MacAddr([2, 0, 0, 0, 0, 2]))))
    }

    fn flush(&self, query: &StationQuery) -> Result<u64, Refused> {
        *self.flushed.lock().expect("no test panics with it") = Some(query.clone());
        match &query.port {
            Some(port) if port != "trunk0" => Err(Refused::Unknown(format!("no port is called `{port}`"))),
            _ => Ok(1234),
        }
    }

    fn bindings(&self, filter: &BindingFilter, range: PageRange) -> Page<Binding> {
        let matches = |binding: &&Binding| filter.matches(binding.vni, binding.mac, binding.address);
        Page::cut(self.bindings.iter().filter(matches).cloned(), range)
    }

    fn multicast(&self, vni: Option<u32>) -> (Vec<MulticastRouter>, Vec<GroupMember>) {
        if self.entries.is_empty() || vni.is_some_and(|vni| vni != 100) {
            return (Vec::new(), Vec::new());
        }
        let port = || Place::Port { port: "trunk0".to_owned(), vlan: Some(100), inner_vlan: None };
        let remote = || Place::Remote { remote: REMOTE_V4 };
        let router = |place, querier, expires_seconds| MulticastRouter {
            vni: 100,
            family: "ipv4".to_owned(),
            place,
            querier,
            expires_seconds,
        };
        let member = |place, expires_seconds| GroupMember {
            vni: 100,
            group: Ipv4Addr::new(239, 2, 3, 4).into(),
            place,
            expires_seconds,
        };
        (vec![router(port(), true, 200), router(remote(), false, 60)], vec![member(port(), 250), member(remote(), 2)])
    }

    fn config_toml(&self) -> String {
        self.config.clone()
    }

    fn check(&self) -> Result<Check, String> {
        self.check.clone()
    }

    fn reload(&self) -> Result<String, Refused> {
        self.reload.lock().expect("no test panics with it").clone()
    }

    fn readiness(&self) -> Result<(), String> {
        if self.ready.load(Ordering::Relaxed) { Ok(()) } else { Err("worker 1 has not started".to_owned()) }
    }
}

/// A served gateway; everything it made goes with it.
pub struct Served {
    pub gateway: Arc<Gateway>,
    pub stats: StatsThread,
    pub socket: PathBuf,
    _directory: TempDir,
}

/// Serves `gateway` on a socket of its own and a free TCP port.
pub fn serve(gateway: Gateway) -> Served {
    serve_impatiently(gateway, Duration::from_secs(60))
}

/// [`serve`], where threads are stuck that do not move for so long.
pub fn serve_impatiently(gateway: Gateway, stuck_after: Duration) -> Served {
    serve_with(gateway, |endpoints| endpoints.stuck_after = stuck_after)
}

/// [`serve`], with what is changed of the endpoints.
pub fn serve_with(gateway: Gateway, change: impl FnOnce(&mut Endpoints)) -> Served {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("vtepd.sock");
    let mut endpoints = Endpoints::new(([127, 0, 0, 1], 0).into(), &socket);
    change(&mut endpoints);
    let gateway = Arc::new(gateway);
    let stats = StatsThread::spawn(&endpoints, Arc::clone(&gateway) as Arc<dyn GatewayView>).expect("it starts");
    Served { gateway, stats, socket, _directory: directory }
}
