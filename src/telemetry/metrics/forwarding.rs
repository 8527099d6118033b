//! Metrics of what is forwarded and what is not: bridges, remote VTEPs, drops and events.

use std::borrow::Cow;
use std::fmt;

use super::families::{Families, Labels, labels};
use crate::tables::{BridgeIndex, FloodKind};
use crate::telemetry::counter::Counter;
use crate::telemetry::source::{BridgeLabel, GroupLabel, PortReading, RemoteLabel, WorkerHandle};
use crate::telemetry::totals::{self, BridgeTotal, RemoteTotal, TrafficTotal};
use crate::telemetry::{ControlTelemetry, Direction, DropReason, Entropy, Event, FdbTelemetry, Spread, Verdict};

/// A metric of traffic: its name, its help, and which number it is.
type Measure = (&'static str, &'static str, fn(TrafficTotal) -> u64);

pub(super) fn encode_bridges(
    families: &mut Families<'_>,
    workers: &[WorkerHandle],
    control: &ControlTelemetry,
    bridges: &[BridgeLabel],
) -> fmt::Result {
    const MEASURES: [Measure; 2] = [
        ("vtepd_bridge_packets", "Frames of the bridge, by side and direction.", |traffic| traffic.packets),
        ("vtepd_bridge_bytes", "Bytes of the bridge's frames without outer headers.", |traffic| traffic.bytes),
    ];
    let totals: Vec<(String, BridgeTotal)> =
        bridges.iter().map(|bridge| (bridge.vni.to_string(), totals::bridge(workers, bridge.index))).collect();
    for (name, help, measure) in MEASURES {
        let samples = totals.iter().flat_map(|(vni, total)| {
            [
                ("access", "receive", total.access_received),
                ("access", "transmit", total.access_sent),
                ("tunnel", "receive", total.tunnel_received),
                ("tunnel", "transmit", total.tunnel_sent),
            ]
            .map(|(side, direction, traffic)| {
                (labels([("vni", vni), ("side", side), ("direction", direction)]), measure(traffic))
            })
        });
        families.counters(name, help, samples)?;
    }
    let mut by_bridge = |name, help, count: fn(&FdbTelemetry, BridgeIndex) -> &Counter| {
        let vni = |bridge: &BridgeLabel| Labels([("vni", Cow::Owned(bridge.vni.to_string()))]);
        families.gauges(name, help, bridges.iter().map(|bridge| (vni(bridge), count(&control.fdb, bridge.index).get())))
    };
    by_bridge(
        "vtepd_bridge_fdb_entries",
        "MAC addresses of the bridge in the forwarding database: learned, static, and those that the kernel says.",
        FdbTelemetry::bridge_entries,
    )?;
    by_bridge(
        "vtepd_bridge_learned_macs",
        "MAC addresses that the bridge has learned: those that its `max_macs` is for.",
        FdbTelemetry::bridge_learned,
    )
}

pub(super) fn encode_remotes(
    families: &mut Families<'_>,
    workers: &[WorkerHandle],
    remotes: &[RemoteLabel],
) -> fmt::Result {
    const MEASURES: [Measure; 2] = [
        ("vtepd_remote_packets", "Frames received from and sent to the remote VTEP.", |traffic| traffic.packets),
        ("vtepd_remote_bytes", "Bytes of those frames without outer headers.", |traffic| traffic.bytes),
    ];
    let totals: Vec<(String, RemoteTotal)> =
        remotes.iter().map(|remote| (remote.address.to_string(), totals::remote(workers, remote.index))).collect();
    for (name, help, measure) in MEASURES {
        let samples = totals.iter().flat_map(|(remote, total)| {
            [("receive", total.received), ("transmit", total.sent)].map(|(direction, traffic)| {
                (labels([("remote", &**remote), ("direction", direction)]), measure(traffic))
            })
        });
        families.counters(name, help, samples)?;
    }
    families.counters(
        "vtepd_remote_too_big_packets",
        "Frames not sent to the remote VTEP because they do not fit the way after encapsulation.",
        totals.iter().map(|(remote, total)| (labels([("remote", &**remote)]), total.too_big)),
    )?;
    let with_address = || remotes.iter().zip(&totals).map(|(remote, (address, _))| (remote, &**address));
    let mtu = |(remote, address): (&RemoteLabel, _)| Some((labels([("remote", address)]), u64::from(remote.mtu?)));
    families.gauges(
        "vtepd_remote_mtu_bytes",
        "The largest IP packet that goes to the remote VTEP, outer headers included: the least of the uplink's, the \
         route's and the path's MTU. Absent where there is no way.",
        with_address().filter_map(mtu),
    )?;
    families.gauges(
        "vtepd_remote_path_mtu_bytes",
        "The same, where it is what a router said of the path; absent where it is not, and ten minutes after.",
        with_address().filter(|(remote, _)| remote.is_path_mtu).filter_map(mtu),
    )
}

/// A metric of how traffic is spread: its name, its help, and which number it is.
type SpreadMeasure = (&'static str, &'static str, fn(Spread) -> f64);

pub(super) fn encode_spread(families: &mut Families<'_>, entropy: &Entropy, remotes: &[RemoteLabel]) -> fmt::Result {
    const MEASURES: [SpreadMeasure; 3] = [
        (
            "vtepd_remote_flows",
            "Flows of the frames from and to the remote VTEP, as so many equal ones, by the last 256 samples.",
            |spread| spread.flows,
        ),
        (
            "vtepd_remote_source_ports",
            "Outer UDP source ports of these, as so many equal ones: what the underlay can spread them by.",
            |spread| spread.source_ports,
        ),
        (
            "vtepd_remote_polarised",
            "Whether many flows have few source ports, so that the underlay sends them all one way: 1 or 0.",
            |spread| f64::from(u8::from(spread.verdict == Verdict::Polarised)),
        ),
    ];
    let names: Vec<String> = remotes.iter().map(|remote| remote.address.to_string()).collect();
    let spreads: Vec<(&str, &str, Spread)> = remotes
        .iter()
        .zip(&names)
        .flat_map(|(remote, name)| {
            [("receive", Direction::Received), ("transmit", Direction::Sent)]
                .into_iter()
                .filter_map(|(label, direction)| Some((&**name, label, entropy.spread(remote.index, direction)?)))
        })
        .filter(|(_, _, spread)| spread.verdict != Verdict::TooFewSamples)
        .collect();
    for (name, help, measure) in MEASURES {
        let samples = spreads.iter().map(|(remote, direction, spread)| {
            (labels([("remote", *remote), ("direction", *direction)]), measure(*spread))
        });
        families.gauges(name, help, samples)?;
    }
    Ok(())
}

pub(super) fn encode_drops_and_events(families: &mut Families<'_>, workers: &[WorkerHandle]) -> fmt::Result {
    families.counters(
        "vtepd_dropped_packets",
        "Packets that were not forwarded, by reason; `vtepctl show drops --all` explains each.",
        DropReason::ALL.iter().map(|reason| (labels([("reason", reason.name())]), totals::dropped(workers, *reason))),
    )?;
    families.counters(
        "vtepd_events",
        "What workers met that is worth a count and is no drop.",
        Event::ALL.iter().map(|event| (labels([("event", event.name())]), totals::events(workers, *event))),
    )
}

/// What storm control dropped: of bridges and ports that have a limit.
pub(super) fn encode_storms(
    families: &mut Families<'_>,
    workers: &[WorkerHandle],
    bridges: &[BridgeLabel],
    ports: &[PortReading],
) -> fmt::Result {
    families.counters(
        "vtepd_bridge_storm_dropped_packets",
        "Frames that storm control dropped for a limit of the bridge's; of bridges that have one.",
        bridges.iter().filter(|bridge| bridge.storm_control).flat_map(|bridge| {
            FloodKind::ALL.map(|kind| {
                let pairs = [("vni", Cow::Owned(bridge.vni.to_string())), ("kind", kind.name().into())];
                (Labels(pairs), totals::bridge_storm(workers, bridge.index, kind))
            })
        }),
    )?;
    families.counters(
        "vtepd_port_storm_dropped_packets",
        "Frames that storm control dropped for a limit of the port's; of ports that have one.",
        ports.iter().filter(|port| port.storm_control).flat_map(|port| {
            FloodKind::ALL.map(|kind| {
                (labels([("port", &*port.name), ("kind", kind.name())]), totals::port_storm(workers, port.index, kind))
            })
        }),
    )
}

/// What is sent to multicast groups of the underlay.
pub(super) fn encode_groups(
    families: &mut Families<'_>,
    workers: &[WorkerHandle],
    groups: &[GroupLabel],
) -> fmt::Result {
    const MEASURES: [Measure; 2] = [
        ("vtepd_group_packets", "Frames sent to the multicast group of the underlay.", |traffic| traffic.packets),
        ("vtepd_group_bytes", "Bytes of those frames without outer headers.", |traffic| traffic.bytes),
    ];
    for (name, help, measure) in MEASURES {
        let sample = |group: &GroupLabel| {
            let pairs = [("group", group.address.to_string().into()), ("port", Cow::Owned(group.port.clone()))];
            (Labels(pairs), measure(totals::remote(workers, group.index).sent))
        };
        families.counters(name, help, groups.iter().map(sample))?;
    }
    Ok(())
}
