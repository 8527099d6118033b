//! Metrics of the exception path: what crosses between the ports and the kernel.

use std::fmt;

use super::families::{Families, labels};
use crate::telemetry::counter::Counter;
use crate::telemetry::exception::{ExceptionTelemetry, KernelCounters, Punt, PuntClass};
use crate::telemetry::source::{PortReading, WorkerHandle};
use crate::telemetry::totals;

/// Which counter of a port.
type Field = fn(&KernelCounters) -> &Counter;

pub(super) fn encode(
    families: &mut Families<'_>,
    workers: &[WorkerHandle],
    telemetry: &ExceptionTelemetry,
    ports: &[PortReading],
) -> fmt::Result {
    families.counters(
        "vtepd_exception_punted_packets",
        "Packets for the kernel, by class, and what became of them at the worker that received them.",
        PuntClass::ALL.iter().flat_map(|class| {
            Punt::ALL.iter().map(|outcome| {
                let names = [("class", class.name()), ("outcome", outcome.name())];
                (labels(names), totals::punted(workers, *class, *outcome))
            })
        }),
    )?;
    let by_label = |fields: &'static [(&'static str, Field)], key: &'static str| {
        ports.iter().flat_map(move |port| {
            fields.iter().map(move |(value, field)| {
                (labels([("port", &*port.name), (key, value)]), field(telemetry.port(port.index)).get())
            })
        })
    };
    const CROSSED: &[(&str, Field)] = &[("to_kernel", |c| &c.to_kernel), ("from_kernel", |c| &c.from_kernel)];
    families.counters(
        "vtepd_exception_packets",
        "Packets that crossed between the port and its kernel interface.",
        by_label(CROSSED, "direction"),
    )?;
    const REFUSED: &[(&str, Field)] = &[
        ("not_taken", |c| &c.not_taken),
        ("vxlan", |c| &c.vxlan_refused),
        ("too_long", |c| &c.too_long),
        ("not_link_local", |c| &c.not_link_local),
    ];
    families.counters(
        "vtepd_exception_refused_packets",
        "Packets that did not cross: the interface does not take them (it is down); the kernel sends VXLAN, or \
         fragments of UDP, which may be VXLAN; the kernel sends more than the port's MTU; or it sends through an access \
         port what is not to a link-local group.",
        by_label(REFUSED, "cause"),
    )
}
