//! Metrics of workers.

use std::borrow::Cow;
use std::fmt::{self, Write};

use super::families::{Families, Labels};
use crate::telemetry::counter::Counter;
use crate::telemetry::source::{PortReading, WorkerHandle};
use crate::telemetry::{LoopCounters, Traffic};

/// Burst durations up to which bursts are counted, in nanoseconds: of 64 packets a burst takes some microseconds, and a
/// worker that shares its core is away for milliseconds.
const BOUNDS: [u32; 16] = [
    250, 500, 1000, 2000, 3000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
    5_000_000, 10_000_000,
];

/// A metric of the loop: its name, its help, and which counter it is.
type LoopMeasure = (&'static str, &'static str, fn(&LoopCounters) -> &Counter);

/// A metric of a worker's traffic with a port: its name, its help, and which number it is.
type PortMeasure = (&'static str, &'static str, fn(Traffic<'_>) -> u64);

/// Counters of the loop.
const COUNTS: [LoopMeasure; 4] = [
    ("vtepd_worker_packets", "Packets the worker received.", |run| &run.packets),
    ("vtepd_worker_bursts", "Bursts the worker received that held a packet.", |run| &run.bursts),
    ("vtepd_worker_polls", "Rounds of the worker over all its ports.", |run| &run.polls),
    ("vtepd_worker_sleeps", "Sleeps of an adaptive worker that found nothing to do.", |run| &run.sleeps),
];

/// Times of the loop, counted in cycles.
const TIMES: [LoopMeasure; 2] = [
    ("vtepd_worker_busy_seconds", "Time in rounds that found packets.", |run| &run.busy_cycles),
    ("vtepd_worker_idle_seconds", "Time in rounds that found none, sleeps included.", |run| &run.idle_cycles),
];

pub(super) fn encode(families: &mut Families<'_>, workers: &[WorkerHandle], hertz: u64) -> fmt::Result {
    for (name, help, field) in COUNTS {
        let samples = workers.iter().enumerate();
        families.counters(
            name,
            help,
            samples.map(|(number, worker)| (identity(number, worker), field(&worker.telemetry.run).get())),
        )?;
    }
    for (name, help, field) in TIMES {
        let samples = workers.iter().enumerate();
        families.counters(
            name,
            help,
            samples
                .map(|(number, worker)| (identity(number, worker), seconds(field(&worker.telemetry.run).get(), hertz))),
        )?;
    }
    Ok(())
}

pub(super) fn encode_ports(
    families: &mut Families<'_>,
    workers: &[WorkerHandle],
    ports: &[PortReading],
) -> fmt::Result {
    const MEASURES: [PortMeasure; 2] = [
        ("vtepd_worker_port_packets", "Packets the worker received on and sent to the port.", |port| port.packets()),
        ("vtepd_worker_port_bytes", "Bytes the worker received on and sent to the port.", |port| port.bytes()),
    ];
    for (name, help, measure) in MEASURES {
        let samples = workers.iter().enumerate().flat_map(|(number, worker)| {
            ports.iter().flat_map(move |port| {
                let counters = worker.telemetry.port(port.index);
                [("receive", counters.received()), ("transmit", counters.sent())].map(|(direction, traffic)| {
                    let worker = Cow::Owned(number.to_string());
                    let labels = [("worker", worker), ("port", (&*port.name).into()), ("direction", direction.into())];
                    (Labels(labels), measure(traffic))
                })
            })
        });
        families.counters(name, help, samples)?;
    }
    Ok(())
}

/// Writes how long bursts took: a histogram whose buckets the worker has in cycles, so that the bounds are theirs within 3 %.
pub(super) fn write_burst_durations(out: &mut String, workers: &[WorkerHandle], hertz: u64) -> fmt::Result {
    const NAME: &str = "vtepd_worker_burst_duration_seconds";
    writeln!(out, "# HELP {NAME} Time from receiving a burst to having sent it, since the worker started.")?;
    writeln!(out, "# TYPE {NAME} histogram\n# UNIT {NAME} seconds")?;
    for (number, worker) in workers.iter().enumerate() {
        let durations = worker.telemetry.burst_time.to_histogram();
        let core = worker.core;
        let labels = format!("worker=\"{number}\",core=\"{core}\"");
        for bound in BOUNDS {
            let cycles = u64::from(bound) * hertz / 1_000_000_000;
            let (count, bound) = (durations.count_between(0, cycles), f64::from(bound) / 1e9);
            writeln!(out, "{NAME}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
        }
        writeln!(out, "{NAME}_bucket{{{labels},le=\"+Inf\"}} {}", durations.len())?;
        let sum = seconds(worker.telemetry.burst_time.sum(), hertz);
        writeln!(out, "{NAME}_count{{{labels}}} {}", durations.len())?;
        writeln!(out, "{NAME}_sum{{{labels}}} {sum:.9}")?;
    }
    Ok(())
}

fn identity(number: usize, worker: &WorkerHandle) -> Labels<'static, 2> {
    Labels([("worker", number.to_string().into()), ("core", worker.core.to_string().into())])
}

/// Cycles in seconds, at `hertz` cycles a second.
fn seconds(cycles: u64, hertz: u64) -> f64 {
    cycles as f64 / hertz.max(1) as f64
}
