//! Metrics of the mirror of the kernel's tables, and of the ways that follow from it.

use std::fmt;

use super::families::{Families, labels};
use crate::telemetry::{KernelTable, KernelTelemetry, RemoteState};

pub(super) fn encode(families: &mut Families<'_>, kernel: &KernelTelemetry) -> fmt::Result {
    families.gauges(
        "vtepd_underlay_remotes",
        "Remote VTEPs whose way the kernel says, by whether they can be reached and what is missing if not.",
        RemoteState::ALL.iter().map(|state| (labels([("state", state.name())]), kernel.remotes(*state).get())),
    )?;
    families.counter(
        "vtepd_underlay_way_changes",
        "Changes of the ways to a remote VTEP, by the kernel's routes, links and neighbours.",
        kernel.way_changes.get(),
    )?;
    families.gauge(
        "vtepd_underlay_next_hop_groups",
        "Groups of next hops among which the flows to remote VTEPs are spread; those with the same next hops share one.",
        kernel.next_hop_groups.get(),
    )?;
    families.gauge(
        "vtepd_underlay_unspread_remotes",
        "Remote VTEPs whose packets all go by the first of several ways, because there are 4096 groups of next hops.",
        kernel.unspread.get(),
    )?;
    families.counter(
        "vtepd_kernel_route_queries",
        "Routes that the kernel was asked for.",
        kernel.route_queries.get(),
    )?;
    families.gauges(
        "vtepd_kernel_entries",
        "Entries of the kernel's tables that are mirrored.",
        KernelTable::ALL.iter().map(|table| (labels([("table", table.name())]), kernel.entries(*table).get())),
    )?;
    families.gauge(
        "vtepd_kernel_stations",
        "Stations behind remote VTEPs that the kernel says, in bridges whose `control` is `kernel`.",
        kernel.stations.get(),
    )?;
    families.gauges(
        "vtepd_kernel_published_entries",
        "Stations behind access ports that the kernel's bridges have as they were told, and IP addresses of stations.",
        [(KernelTable::BridgeFdb, &kernel.published_stations), (KernelTable::Neighbours, &kernel.published_bindings)]
            .map(|(table, count)| (labels([("table", table.name())]), count.get())),
    )?;
    families.counters(
        "vtepd_kernel_publications",
        "Stations behind access ports and their IP addresses that the kernel was told, or told to forget, and those that \
         it has refused.",
        [("published", &kernel.published), ("withdrawn", &kernel.withdrawn), ("refused", &kernel.refused)]
            .map(|(result, count)| (labels([("result", result)]), count.get())),
    )?;
    families.counter("vtepd_kernel_events", "Changes that the kernel told of.", kernel.events.get())?;
    families.counter(
        "vtepd_kernel_overruns",
        "Times that the kernel dropped messages because they were read too late. A resync follows each.",
        kernel.overruns.get(),
    )?;
    families.counters(
        "vtepd_kernel_resyncs",
        "Comparisons of the whole mirror with the kernel: completed, or given up and tried again.",
        [("completed", &kernel.resyncs), ("given_up", &kernel.resync_failures)]
            .map(|(result, count)| (labels([("result", result)]), count.get())),
    )?;
    families.gauge(
        "vtepd_kernel_mirror_lag_seconds",
        "The longest time from the reading of a message of the kernel's to its taking in, since the last resync began.",
        kernel.lag.get() as f64 / 1e9,
    )
}
