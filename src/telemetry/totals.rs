//! Sums over all workers.

use serde::{Deserialize, Serialize};

use super::source::WorkerHandle;
use super::{DropReason, Event, Punt, PuntClass, Traffic};
use crate::tables::{BridgeIndex, FloodKind, PortIndex, TunnelIndex};

/// Packets and bytes, summed over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficTotal {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl TrafficTotal {
    fn add(&mut self, traffic: Traffic<'_>) {
        self.packets = self.packets.wrapping_add(traffic.packets());
        self.bytes = self.bytes.wrapping_add(traffic.bytes());
    }
}

/// A bridge's traffic, summed over workers. See [`super::BridgeCounters`] for what is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeTotal {
    /// Frames received on access members.
    pub access_received: TrafficTotal,
    /// Frames sent to access members.
    pub access_sent: TrafficTotal,
    /// Frames received from remote VTEPs.
    pub tunnel_received: TrafficTotal,
    /// Frames sent to remote VTEPs.
    pub tunnel_sent: TrafficTotal,
}

/// A remote VTEP's traffic, summed over workers. See [`super::RemoteCounters`] for what is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteTotal {
    /// Frames received from it.
    pub received: TrafficTotal,
    /// Frames sent to it.
    pub sent: TrafficTotal,
    /// Frames not sent to it because they do not fit the way.
    #[serde(default)]
    pub too_big: u64,
}

/// The packets dropped for `reason`.
#[must_use]
pub fn dropped(workers: &[WorkerHandle], reason: DropReason) -> u64 {
    workers.iter().map(|worker| worker.telemetry.dropped(reason)).fold(0, u64::wrapping_add)
}

/// The events of one kind.
#[must_use]
pub fn events(workers: &[WorkerHandle], event: Event) -> u64 {
    workers.iter().map(|worker| worker.telemetry.events(event)).fold(0, u64::wrapping_add)
}

/// The packets of one class for the kernel that met this outcome.
#[must_use]
pub fn punted(workers: &[WorkerHandle], class: PuntClass, outcome: Punt) -> u64 {
    workers.iter().map(|worker| worker.telemetry.punts.of(class, outcome).get()).fold(0, u64::wrapping_add)
}

/// One bridge's traffic.
#[must_use]
pub fn bridge(workers: &[WorkerHandle], index: BridgeIndex) -> BridgeTotal {
    let mut total = BridgeTotal::default();
    for worker in workers {
        let counters = worker.telemetry.bridge(index);
        total.access_received.add(counters.access_received());
        total.access_sent.add(counters.access_sent());
        total.tunnel_received.add(counters.tunnel_received());
        total.tunnel_sent.add(counters.tunnel_sent());
    }
    total
}

/// One remote VTEP's traffic.
#[must_use]
pub fn remote(workers: &[WorkerHandle], index: TunnelIndex) -> RemoteTotal {
    let mut total = RemoteTotal::default();
    for worker in workers {
        let counters = worker.telemetry.remote(index);
        total.received.add(counters.received());
        total.sent.add(counters.sent());
        total.too_big = total.too_big.wrapping_add(worker.telemetry.too_big(index).get());
    }
    total
}

/// The frames of a kind that storm control dropped for a bridge's limits.
#[must_use]
pub fn bridge_storm(workers: &[WorkerHandle], index: BridgeIndex, kind: FloodKind) -> u64 {
    workers.iter().map(|worker| worker.telemetry.bridge_storms(index).of(kind).get()).fold(0, u64::wrapping_add)
}

/// The frames of a kind that storm control dropped for a port's limits.
#[must_use]
pub fn port_storm(workers: &[WorkerHandle], index: PortIndex, kind: FloodKind) -> u64 {
    workers.iter().map(|worker| worker.telemetry.port_storms(index).of(kind).get()).fold(0, u64::wrapping_add)
}
