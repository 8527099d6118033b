//! Metrics of the process and of its control thread.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::families::{Families, labels};
use crate::tables::BindingSource;
use crate::telemetry::source::BuildInfo;
use crate::telemetry::{BindingEvent, ControlTelemetry, FdbEvent, ThreadHandle};

pub(super) fn encode(families: &mut Families<'_>, build: &BuildInfo, started: SystemTime) -> fmt::Result {
    families.info(
        "vtepd_build",
        "The gateway's version and DPDK's.",
        &labels([("version", &build.version), ("dpdk", &build.dpdk)]),
    )?;
    families.gauge(
        "process_start_time_seconds",
        "When the process started, in seconds since the Unix epoch.",
        started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
    )
}

pub(super) fn encode_threads(families: &mut Families<'_>, threads: &[ThreadHandle]) -> fmt::Result {
    families.counters(
        "vtepd_thread_rounds",
        "Rounds of the threads between the gateway and the kernel, their heartbeat.",
        threads.iter().map(|thread| (labels([("thread", thread.name)]), thread.heartbeat.load(Ordering::Relaxed))),
    )
}

pub(super) fn encode_control(families: &mut Families<'_>, control: &ControlTelemetry) -> fmt::Result {
    families.gauge(
        "vtepd_fdb_entries",
        "MAC addresses in the forwarding database: learned, static, and those that the kernel says.",
        control.fdb.entries.get(),
    )?;
    families.gauge(
        "vtepd_fdb_capacity_entries",
        "MAC addresses the forwarding database may hold.",
        control.fdb.capacity.get(),
    )?;
    families.gauge(
        "vtepd_fdb_frozen_entries",
        "MAC addresses that are frozen where they are because they moved too often.",
        control.fdb.frozen.get(),
    )?;
    families.counters(
        "vtepd_fdb_events",
        "Changes of the forwarding database, and refused ones.",
        FdbEvent::ALL.iter().map(|event| (labels([("event", event.name())]), control.fdb.events(*event))),
    )?;
    let bindings = &control.bindings;
    families.gauges(
        "vtepd_bindings",
        "MAC+IP bindings, by who says them: the station itself, the kernel, or the config.",
        BindingSource::ALL.iter().map(|source| (labels([("source", source.name())]), bindings.count(*source).get())),
    )?;
    families.gauge("vtepd_bindings_capacity", "MAC+IP bindings there may be.", bindings.capacity.get())?;
    families.counters(
        "vtepd_binding_events",
        "Changes of the MAC+IP bindings, and refused ones.",
        BindingEvent::ALL.iter().map(|event| (labels([("event", event.name())]), bindings.events(*event))),
    )?;
    families.gauge(
        "vtepd_discovered_remotes",
        "Remote VTEPs that the config does not name and that sent to a bridge with a `group`.",
        control.discovered.get(),
    )?;
    families.gauge(
        "vtepd_multicast_memberships",
        "Memberships of multicast groups, by group and place, in bridges that snoop.",
        control.memberships.get(),
    )?;
    families.counter(
        "vtepd_multicast_memberships_refused",
        "Memberships refused because there were as many as there may be; their groups are flooded.",
        control.memberships_refused.get(),
    )?;
    families.counter("vtepd_control_rounds", "Rounds of the control loop, its heartbeat.", control.rounds.get())?;
    families.counters(
        "vtepd_config_reloads",
        "Reloads of the config: applied, or refused because of an error.",
        [("applied", &control.reloads), ("refused", &control.reload_failures)]
            .map(|(result, count)| (labels([("result", result)]), count.get())),
    )?;
    families.gauge(
        "vtepd_config_applied_timestamp_seconds",
        "When the running config was applied, in seconds since the Unix epoch.",
        control.config_applied.get(),
    )
}
