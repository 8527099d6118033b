//! Metrics of ports, as their drivers tell them.

use std::fmt;

use super::families::{Families, Labels, labels};
use crate::config::model::PortRole;
use crate::telemetry::ControlTelemetry;
use crate::telemetry::source::{PortReading, PortStatistics};

/// A number in the driver's statistics.
type Field = fn(&PortStatistics) -> u64;

/// Counters with both directions: name, help, what was received, what was sent.
const DIRECTED: [(&str, &str, Field, Field); 3] = [
    ("vtepd_port_packets", "Packets the port's driver counted.", |s| s.received_packets, |s| s.sent_packets),
    ("vtepd_port_bytes", "Bytes the port's driver counted.", |s| s.received_bytes, |s| s.sent_bytes),
    (
        "vtepd_port_errors",
        "Packets the port's driver received or sent with an error.",
        |s| s.receive_errors,
        |s| s.transmit_errors,
    ),
];

/// Counters of what did not reach a worker: name, help, number.
const LOST: [(&str, &str, Field); 2] = [
    (
        "vtepd_port_missed_packets",
        "Packets the NIC dropped because no receive descriptor was free; workers are too slow.",
        |s| s.missed,
    ),
    ("vtepd_port_no_mbuf", "Receive buffers that could not be allocated; the packet pool is too small.", |s| {
        s.no_buffer
    }),
];

pub(super) fn encode(families: &mut Families<'_>, ports: &[PortReading], control: &ControlTelemetry) -> fmt::Result {
    for (name, help, received, sent) in DIRECTED {
        let samples = ports.iter().flat_map(|port| {
            [("receive", received), ("transmit", sent)].map(|(direction, field)| {
                let [name, role] = identity(port);
                (labels([name, role, ("direction", direction)]), field(&port.statistics))
            })
        });
        families.counters(name, help, samples)?;
    }
    for (name, help, field) in LOST {
        families.counters(name, help, ports.iter().map(|port| (labels(identity(port)), field(&port.statistics))))?;
    }
    families.gauges(
        "vtepd_port_link_up",
        "Whether the port's link is up: 1 or 0.",
        ports.iter().map(|port| (labels(identity(port)), u64::from(port.link_up))),
    )?;
    families.gauges(
        "vtepd_port_speed_bytes",
        "The speed of the port's link in bytes per second, where its driver knows it.",
        ports.iter().filter_map(|port| Some((labels(identity(port)), u64::from(port.link_mbps?) * 125_000))),
    )?;
    families.gauges(
        "vtepd_port_mtu_bytes",
        "The port's MTU.",
        ports.iter().map(|port| (labels(identity(port)), u64::from(port.mtu))),
    )?;
    families.gauges(
        "vtepd_port_learned_macs",
        "MAC addresses learned behind the access port, in all its bridges together.",
        ports
            .iter()
            .filter(|port| port.role == PortRole::Access)
            .map(|port| (labels([("port", &*port.name)]), control.fdb.port_learned(port.index).get())),
    )?;
    families.untyped("vtepd_port_xstat", "The driver's extended statistics, by the driver's names.", xstats(ports))
}

fn xstats(ports: &[PortReading]) -> impl Iterator<Item = (Labels<'_, 2>, u64)> {
    ports.iter().flat_map(|port| {
        port.xstats.iter().map(|(name, value)| (labels([("port", &*port.name), ("name", name)]), *value))
    })
}

fn identity(port: &PortReading) -> [(&'static str, &str); 2] {
    let role = match port.role {
        PortRole::Uplink => "uplink",
        PortRole::Access => "access",
    };
    [("port", &port.name), ("role", role)]
}
