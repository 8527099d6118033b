//! What the stats thread sees of the gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use crossbeam::channel::{RecvTimeoutError, Sender, TrySendError, bounded};
use tracing::debug;

use super::fdb_requests::filter_of;
use super::ports::RunningPort;
use crate::api::fdb::{FdbChange, StationQuery};
use crate::api::kernel::KernelBridge;
use crate::api::types::{
    Binding, BindingFilter, BindingKind, BridgeMember, Check, EntryKind, FdbEntry, FdbFilter, Finding, GroupMember,
    LocalVtep, MulticastRouter, NextHop, Page, PageRange, Place,
};
use crate::api::view::{BridgeState, RemoteState};
use crate::api::{GatewayView, Refused};
use crate::config::Config;
use crate::config::model::{AccessVlan, PortRole, StormLimits};
use crate::control::check::{self, Checked, check};
use crate::control::gateway::tick_length;
use crate::control::kernel::{BridgeOverview, Overview};
use crate::control::learning::is_place_of;
use crate::control::path_mtu::Paths;
use crate::control::underlay::Reach;
use crate::control::{FdbRequest, Running};
use crate::dpdk::clock;
use crate::netlink::Follower;
use crate::tables::fdb::{FdbKey, FdbValue};
use crate::tables::snapshot::Bridge;
use crate::tables::{BindingSource, Location, LocationKind, PortIndex, Snapshot, Tables, UnderlayGroups};
use crate::telemetry::{
    BridgeLabel, BuildInfo, ControlTelemetry, Entropy, ExceptionTelemetry, GroupLabel, MetricsSource, PortReading,
    PortStatistics, RemoteLabel, ThreadHandle, WorkerHandle,
};
use crate::wire::Vni;
use crate::wire::membership::group_mac;
use crate::wire::nd::TargetFlags;

/// How long a reload may take before whoever asked is told that it goes on without them.
const RELOAD_PATIENCE: Duration = Duration::from_secs(120);

/// Asks the control thread to read the config file again; it answers with a summary or with what is wrong.
pub type ReloadRequest = Sender<Result<String, String>>;

/// The gateway as the stats thread sees it.
pub struct View {
    /// DPDK's version.
    pub dpdk_version: String,
    /// When the process started.
    pub started: SystemTime,
    /// The workers.
    pub workers: Vec<WorkerHandle>,
    /// The threads between the gateway and the kernel.
    pub threads: Vec<ThreadHandle>,
    /// What the control thread counts.
    pub control: Arc<ControlTelemetry>,
    /// What is known of the paths to remote VTEPs.
    pub paths: Arc<ArcSwap<Paths>>,
    /// What the thread of the exception path counts.
    pub exception: Arc<ExceptionTelemetry>,
    /// The ports.
    pub ports: Vec<RunningPort>,
    /// What workers look up in.
    pub tables: Arc<Tables>,
    /// The config that runs.
    pub running: Arc<ArcSwap<Running>>,
    /// The remote VTEPs whose ways the kernel says.
    pub reach: Arc<ArcSwap<Reach>>,
    /// The bridges that the kernel controls.
    pub overview: Arc<ArcSwap<Overview>>,
    /// How flows are spread.
    pub entropy: Entropy,
    /// The way to the control thread.
    pub reload: Sender<ReloadRequest>,
    /// The way to it for what concerns the FDB.
    pub fdb_requests: Sender<FdbRequest>,
    /// Set once the workers run.
    pub ready: AtomicBool,
}

impl MetricsSource for View {
    fn build(&self) -> BuildInfo {
        BuildInfo { version: env!("CARGO_PKG_VERSION").to_owned(), dpdk: self.dpdk_version.clone() }
    }

    fn started(&self) -> SystemTime {
        self.started
    }

    fn cycles_per_second(&self) -> u64 {
        clock::cycles_per_second().max(1)
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
        let running = self.running.load();
        let limits = running.config.ports.iter().map(|port| (port.max_macs, port.storm != StormLimits::default()));
        let ports = self.ports.iter().zip(limits.chain(std::iter::repeat((None, false)))).enumerate();
        ports.map(|(index, (port, limits))| reading(PortIndex(index as u16), port, limits)).collect()
    }

    fn bridge_labels(&self) -> Vec<BridgeLabel> {
        let running = self.running.load();
        let label = |bridge: &crate::config::model::Bridge| {
            Some(BridgeLabel {
                index: running.registry.bridge(bridge.vni)?,
                vni: bridge.vni.get(),
                storm_control: bridge.flooding.storm != StormLimits::default(),
            })
        };
        let mut labels: Vec<_> = running.config.bridges.iter().filter_map(label).collect();
        labels.sort_by_key(|label| label.vni);
        labels
    }

    fn group_labels(&self) -> Vec<GroupLabel> {
        let running = self.running.load();
        let label = |(address, port)| {
            let index = running.registry.group(address, port)?;
            Some(GroupLabel { index, address, port: running.config.port_name(port).to_owned() })
        };
        let snapshot = self.tables.snapshot.load();
        let of_port = |(port, groups): (PortIndex, &UnderlayGroups)| {
            groups.iter().map(|group| (group.address, port)).collect::<Vec<_>>()
        };
        let ports = snapshot.ports.iter().enumerate().map(|(index, port)| (PortIndex(index as u16), &port.groups));
        let groups: std::collections::BTreeSet<_> = ports.flat_map(of_port).collect();
        groups.into_iter().filter_map(label).collect()
    }

    fn remote_labels(&self) -> Vec<RemoteLabel> {
        let label = |remote: RemoteState| RemoteLabel {
            index: remote.index,
            address: remote.address,
            mtu: remote.mtu,
            is_path_mtu: remote.path_mtu_seconds.is_some(),
        };
        self.remotes().into_iter().filter(|remote| !remote.address.is_multicast()).map(label).collect()
    }
}

/// Reads a port's driver. A port whose device has gone shows as down, with nothing counted.
fn reading(index: PortIndex, running: &RunningPort, (max_macs, storm_control): (Option<u32>, bool)) -> PortReading {
    let port = &running.port;
    let link = port.link().ok();
    let statistics = port.statistics().inspect_err(|error| debug!(%error, "a port tells no statistics"));
    let counted = statistics.unwrap_or_default();
    PortReading {
        index,
        name: port.name().to_owned(),
        role: running.role,
        device: port.device().to_owned(),
        mac: running.facts.mac,
        mtu: running.facts.mtu,
        receive_queues: running.plan.receive,
        transmit_queues: running.plan.transmit,
        storm_control,
        link_up: link.is_some_and(|link| link.up),
        link_mbps: link.and_then(|link| link.speed_mbps),
        max_macs,
        statistics: PortStatistics {
            received_packets: counted.rx_packets,
            received_bytes: counted.rx_bytes,
            receive_errors: counted.rx_errors,
            missed: counted.rx_missed,
            no_buffer: counted.rx_no_buffer,
            sent_packets: counted.tx_packets,
            sent_bytes: counted.tx_bytes,
            transmit_errors: counted.tx_errors,
        },
        xstats: port.extended_statistics().unwrap_or_default(),
    }
}

impl GatewayView for View {
    fn bridges(&self) -> Vec<BridgeState> {
        let running = self.running.load();
        let config = &running.config;
        let state = |bridge: &crate::config::model::Bridge| {
            Some(BridgeState {
                index: running.registry.bridge(bridge.vni)?,
                vni: bridge.vni.get(),
                members: bridge.ports.iter().map(|place| member(config.port_name(place.port), place.vlan)).collect(),
                remotes: bridge.remotes.clone(),
                learning: bridge.learning,
                max_macs: bridge.max_macs,
                ageing: bridge.ageing,
            })
        };
        let mut bridges: Vec<_> = config.bridges.iter().filter_map(state).collect();
        bridges.sort_by_key(|bridge| bridge.vni);
        bridges
    }

    fn local_vtep(&self) -> LocalVtep {
        let config = &self.running.load().config;
        let uplinks = config.ports.iter().filter(|port| port.role == PortRole::Uplink);
        LocalVtep {
            address: config.vtep.address,
            other_addresses: config.vtep.other_addresses.clone(),
            udp_port: config.vtep.udp_port,
            other_udp_ports: config.udp_ports().split_off(1),
            uplinks: uplinks.map(|port| port.name.clone()).collect(),
        }
    }

    fn remotes(&self) -> Vec<RemoteState> {
        let running = self.running.load();
        let config = &running.config;
        let snapshot = self.tables.snapshot.load();
        let next_hop =
            |mac, port, share| NextHop { mac, port: config.port_name(port).to_owned(), share_percent: 100.0 * share };
        let mut ways: std::collections::HashMap<_, _> = config
            .neighbours
            .iter()
            .map(|neighbour| (neighbour.address, (vec![next_hop(neighbour.mac, neighbour.port, 1.0)], None)))
            .collect();
        for (address, (state, kernels)) in self.reach.load().iter() {
            let index = running.registry.tunnel(*address);
            let way = index.and_then(|index| snapshot.next_hops.get(usize::from(index.0)));
            let is_spread = way.is_some_and(|way| way.group().is_some());
            let share = |place, way| match is_spread {
                true => kernels.share(place),
                false => f64::from(u8::from(kernels.first() == Some(way))),
            };
            let list = kernels.list.iter().enumerate();
            let list: Vec<_> = list.map(|(place, way)| next_hop(way.mac, way.port, share(place, way))).collect();
            let missing = list.is_empty().then_some(state.name());
            ways.entry(*address).or_insert((list, missing));
        }
        let mut bridges = std::collections::HashMap::new();
        for tunnel in snapshot.domains.iter().flat_map(|domain| &domain.flood_list) {
            *bridges.entry(*tunnel).or_insert(0) += 1;
        }
        let all: std::collections::BTreeSet<_> =
            crate::control::compile::remotes(config).into_iter().chain(ways.keys().copied()).collect();
        let (paths, now) = (self.paths.load(), Instant::now());
        let state = |address| {
            let index = running.registry.tunnel(address)?;
            let (next_hops, missing) = ways.remove(&address).unwrap_or_default();
            let bridges = bridges.get(&index).copied().unwrap_or(0);
            let mtu = snapshot.next_hops.get(usize::from(index.0)).and_then(|way| way.mtu());
            // A route may take less than the path does.
            let known = paths.get(&address).filter(|known| mtu == Some(known.mtu));
            let path_mtu_seconds = known.map(|known| known.until.saturating_duration_since(now).as_secs());
            Some(RemoteState { index, address, next_hops, missing, bridges, mtu, path_mtu_seconds })
        };
        let mut remotes: Vec<RemoteState> = all.into_iter().filter_map(state).collect();
        for GroupLabel { index, address, port } in self.group_labels() {
            let next_hops = vec![NextHop { mac: group_mac(address), port, share_percent: 100.0 }];
            let bridges = bridges.get(&index).copied().unwrap_or(0);
            let mtu = snapshot.next_hops.get(usize::from(index.0)).and_then(|way| way.mtu());
            let state = RemoteState { index, address, next_hops, missing: None, bridges, mtu, path_mtu_seconds: None };
            remotes.push(state);
        }
        remotes
    }

    fn kernel_bridges(&self) -> Vec<KernelBridge> {
        let bridge = |(vni, bridge): (&Vni, &BridgeOverview)| KernelBridge {
            vni: vni.get(),
            device: bridge.device.clone(),
            made: bridge.made,
            bridge: bridge.bridge.clone(),
            port: bridge.port.clone(),
            local_stations: bridge.local.stations,
            published_stations: bridge.local.published,
            published_addresses: bridge.local.bindings,
            remote_stations: bridge.remote_stations,
            flood_list: bridge.flood_list,
        };
        self.overview.load().iter().map(bridge).collect()
    }

    fn fdb(&self, filter: &FdbFilter, range: PageRange) -> Page<FdbEntry> {
        let (snapshot, running) = (self.tables.snapshot.load(), self.running.load());
        let tick = tick_length(running.config.ageing_times());
        let entry = |(key, value)| self.entry(key, value, &snapshot, &running, tick);
        let wanted = |found: &(FdbKey, FdbValue)| entry(*found).is_some_and(|entry| filter.matches(&entry));
        let mut matching: Vec<_> = self.tables.fdb.iter().filter(wanted).collect();
        matching.sort_unstable_by_key(|(key, _)| (vni_of(*key, &snapshot), key.mac()));
        // An entry that was moved to its other bucket meanwhile may be there twice.
        matching.dedup_by_key(|(key, _)| *key);
        let total = matching.len();
        let page = matching.into_iter().skip(range.offset).take(range.limit);
        let items = page.filter_map(entry).collect();
        Page { total, offset: range.offset, items }
    }

    fn fdb_history(&self, query: &StationQuery, range: PageRange) -> Result<Page<FdbChange>, Refused> {
        self.history(query, range)
    }

    fn unfreeze(&self, query: &StationQuery) -> Result<u64, Refused> {
        self.ask_control(|answer| FdbRequest::Unfreeze(filter_of(query), answer))
    }

    fn flush(&self, query: &StationQuery) -> Result<u64, Refused> {
        let order = self.flush_order(query)?;
        let flushed = self.ask_control(|answer| FdbRequest::Flush(order, answer))?;
        flushed.ok_or_else(|| Refused::Busy("too many flushes are waited for; try again".to_owned()))
    }

    fn bindings(&self, filter: &BindingFilter, range: PageRange) -> Page<Binding> {
        let (snapshot, running) = (self.tables.snapshot.load(), self.running.load());
        let tick = tick_length(running.config.ageing_times());
        let found = self.tables.bindings.iter().filter_map(|(key, binding)| {
            let vni = snapshot.bridges.get(usize::from(key.bridge.0))?.vni.get();
            filter.matches(vni, binding.mac, key.address).then_some((vni, key, binding))
        });
        let mut matching: Vec<_> = found.collect();
        matching.sort_unstable_by_key(|(vni, key, _)| (*vni, key.address));
        let page = Page::cut(matching, range);
        page.map(|(vni, key, binding)| {
            let heard = binding.source == BindingSource::Learned;
            let age = tick * u32::from(self.tables.age.now().since(binding.heard));
            let station = FdbKey::new(key.bridge, binding.mac);
            let entry = self.tables.fdb.lookup(&self.tables.fdb.probe(station));
            let place =
                entry.and_then(|value| self.entry(station, value, &snapshot, &running, tick)).map(|entry| entry.place);
            Binding {
                vni,
                address: key.address,
                mac: binding.mac,
                place,
                kind: match binding.source {
                    BindingSource::Learned => BindingKind::Learned,
                    BindingSource::Kernel => BindingKind::Kernel,
                    BindingSource::Static => BindingKind::Static,
                },
                router: binding.flags.is_some_and(|flags| flags.has(TargetFlags::ROUTER)),
                age_seconds: heard.then_some(age.as_secs()),
            }
        })
    }

    fn multicast(&self, vni: Option<u32>) -> (Vec<MulticastRouter>, Vec<GroupMember>) {
        let (snapshot, running) = (self.tables.snapshot.load(), self.running.load());
        let expires = |until: Instant| until.saturating_duration_since(Instant::now()).as_secs();
        let (mut routers, mut members) = (Vec::new(), Vec::new());
        let wanted = |bridge: &Bridge| vni.is_none_or(|vni| vni == bridge.vni.get());
        for (bridge, domain) in snapshot.bridges.iter().zip(&snapshot.domains).filter(|(bridge, _)| wanted(bridge)) {
            let Some(snooping) = domain.rules.as_ref().and_then(|rules| rules.snooping.as_ref()) else { continue };
            let (table, vni) = (snooping.load(), bridge.vni.get());
            for (family, name) in table.families().iter().zip(["ipv4", "ipv6"]) {
                routers.extend(family.routers_seen.iter().filter_map(|(location, querier, until)| {
                    let place = place_of(*location, &snapshot, &running)?;
                    let (family, expires_seconds) = (name.to_owned(), expires(*until));
                    Some(MulticastRouter { vni, family, place, querier: *querier, expires_seconds })
                }));
                members.extend(family.members.iter().filter_map(|(group, location, until)| {
                    let place = place_of(*location, &snapshot, &running)?;
                    Some(GroupMember { vni, group: *group, place, expires_seconds: expires(*until) })
                }));
            }
        }
        routers.sort_by(|a, b| (a.vni, &a.family, &a.place).cmp(&(b.vni, &b.family, &b.place)));
        members.sort_by(|a, b| (a.vni, a.group, &a.place).cmp(&(b.vni, b.group, &b.place)));
        (routers, members)
    }

    fn config_toml(&self) -> String {
        self.running.load().config.to_toml()
    }

    fn check(&self) -> Result<Check, String> {
        let (running, snapshot) = (self.running.load(), self.tables.snapshot.load());
        let forwards = |vni, mac| {
            let key = running.registry.bridge(vni).map(|bridge| FdbKey::new(bridge, mac));
            key.is_some_and(|key| {
                self.tables
                    .fdb
                    .lookup(&self.tables.fdb.probe(key))
                    .is_some_and(|value| is_place_of(key, value.location(), &snapshot))
            })
        };
        let checked = check(&running.config, &self.reach.load(), forwards)
            .map_err(|error| format!("the kernel's tables cannot be read: {error}"))?;
        Ok(shown(checked))
    }

    fn reload(&self) -> Result<String, Refused> {
        let (answer, result) = bounded(1);
        self.reload.try_send(answer).map_err(|refused| match refused {
            TrySendError::Full(_) => Refused::Busy("another reload is under way; try again".to_owned()),
            TrySendError::Disconnected(_) => Refused::Stopping,
        })?;
        match result.recv_timeout(RELOAD_PATIENCE) {
            Ok(applied) => applied.map_err(Refused::Wrong),
            Err(RecvTimeoutError::Timeout) => {
                Err(Refused::GoesOn("the reload takes long and goes on; its result will be in the log".to_owned()))
            }
            Err(RecvTimeoutError::Disconnected) => Err(Refused::Stopping),
        }
    }

    fn readiness(&self) -> Result<(), String> {
        if self.ready.load(Ordering::Relaxed) { Ok(()) } else { Err("the workers are being started".to_owned()) }
    }
}

impl View {
    /// An entry as people read it; none for one whose place has left the config.
    fn entry(
        &self,
        key: FdbKey,
        value: FdbValue,
        snapshot: &Snapshot,
        running: &Running,
        tick: Duration,
    ) -> Option<FdbEntry> {
        if !is_place_of(key, value.location(), snapshot) {
            return None;
        }
        let place = place_of(value.location(), snapshot, running)?;
        let age = tick * u32::from(self.tables.age.now().since(value.tick()));
        let kind = match value {
            value if value.is_static() => EntryKind::Static,
            value if value.is_external() => EntryKind::Kernel,
            _ => EntryKind::Learned,
        };
        Some(FdbEntry {
            vni: vni_of(key, snapshot)?,
            mac: key.mac(),
            place,
            kind,
            pinned: value.is_pinned(),
            frozen: value.is_frozen(),
            age_seconds: (kind == EntryKind::Learned).then_some(age.as_secs()),
        })
    }
}

/// A bridge's place on a port, as people read it.
fn member(port: &str, vlan: AccessVlan) -> BridgeMember {
    BridgeMember {
        port: port.to_owned(),
        vlan: vlan.vlan().map(|vlan| vlan.get()),
        inner_vlan: vlan.inner().map(|vlan| vlan.get()),
        untagged: vlan.has_untagged(),
        priority_tag: vlan == AccessVlan::PriorityTagged,
    }
}

/// A place as people read it.
fn place_of(location: Location, snapshot: &Snapshot, running: &Running) -> Option<Place> {
    Some(match location.kind() {
        LocationKind::Access(member) => {
            let member = snapshot.members.get(member.0 as usize)?;
            let port = running.config.port_name(member.port()).to_owned();
            let vlan = member.tags().outermost().map(|tag| tag.vlan()).filter(|vlan| *vlan != 0);
            Place::Port { port, vlan, inner_vlan: member.tags().inner().map(|vlan| vlan.get()) }
        }
        LocationKind::Tunnel(tunnel) => Place::Remote { remote: snapshot.tunnels.get(usize::from(tunnel.0))?.address },
    })
}

/// A check as the control socket gives it.
fn shown(checked: Checked) -> Check {
    let finding = |finding: check::Finding| Finding {
        name: finding.name.to_owned(),
        what: finding.what,
        remedy: finding.remedy,
        commands: finding.commands,
    };
    let follower = |follower: Follower| match follower.process {
        Some((process, name)) => format!("{name} ({process})"),
        None => "a process of another container".to_owned(),
    };
    Check {
        findings: checked.findings.into_iter().map(finding).collect(),
        bridges: checked.bridges,
        stations: checked.stations,
        remotes: checked.remotes,
        followers: checked.followers.into_iter().map(follower).collect(),
    }
}

/// The VNI of an entry's bridge.
fn vni_of(key: FdbKey, snapshot: &Snapshot) -> Option<u32> {
    snapshot.bridges.get(usize::from(key.bridge().0)).map(|bridge| bridge.vni.get())
}

/// A config in a sentence.
#[must_use]
pub fn describe(config: &Config) -> String {
    let count = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    format!(
        "{}, {}, {} and {}",
        count(config.ports.len(), "port", "ports"),
        count(config.bridges.len(), "bridge", "bridges"),
        count(crate::control::compile::remotes(config).len(), "remote VTEP", "remote VTEPs"),
        count(config.static_entries.len(), "static entry", "static entries"),
    )
}
