//! What one worker counts: everything here is written by that worker and by nobody else.

use zerocopy::FromZeros;

use super::counter::{Counter, CounterTable};
use super::exception::PuntCounters;
use super::flow_samples::FlowSamples;
use super::histogram::CycleHistogram;
use super::{CACHE_LINE, DropReason, Event};
use crate::tables::{BridgeIndex, FloodKind, PortIndex, TunnelIndex};

/// The most ports there can be. A power of two, so that masking keeps an index in the table.
pub const MAX_PORTS: usize = 64;

/// Packets and bytes of one direction, in place in a table.
#[derive(Clone, Copy, Debug)]
pub struct Traffic<'a> {
    packets: &'a Counter,
    bytes: &'a Counter,
}

impl Traffic<'_> {
    /// Counts one packet of `bytes`.
    #[inline(always)]
    pub fn count(self, bytes: usize) {
        self.count_many(1, bytes as u64);
    }

    /// Counts `packets` of `bytes` together.
    #[inline(always)]
    pub fn count_many(self, packets: u64, bytes: u64) {
        self.packets.add(packets);
        self.bytes.add(bytes);
    }

    /// The packets counted.
    #[must_use]
    pub fn packets(self) -> u64 {
        self.packets.get()
    }

    /// The bytes counted.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.bytes.get()
    }
}

/// Defines a view of a row of counters, with one [`Traffic`] for each pair.
macro_rules! counters {
    ($(#[$attribute:meta])* $name:ident[$width:literal] { $($(#[$help:meta])+ $field:ident = $place:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<'a>(&'a [Counter; $width]);

        impl<'a> $name<'a> {
            $(
                $(#[$help])+
                #[inline(always)]
                #[must_use]
                pub fn $field(self) -> Traffic<'a> {
                    Traffic { packets: &self.0[$place * 2], bytes: &self.0[$place * 2 + 1] }
                }
            )+
        }
    };
}

counters! {
    /// One bridge's counters; all of them lie in one cache line. Bytes are those of the bridged frame, from its
    /// destination MAC to its last byte, without the access tag, outer headers and frame check sequence.
    BridgeCounters[8] {
        /// Frames received on the bridge's access members.
        access_received = 0,
        /// Frames sent to the bridge's access members.
        access_sent = 1,
        /// Frames received from remote VTEPs.
        tunnel_received = 2,
        /// Frames sent to remote VTEPs.
        tunnel_sent = 3,
    }
}

counters! {
    /// One remote VTEP's counters; all of them lie in one cache line. Bytes are those of the bridged frame.
    RemoteCounters[4] {
        /// Frames received from the remote VTEP.
        received = 0,
        /// Frames sent to the remote VTEP.
        sent = 1,
    }
}

counters! {
    /// What one worker received on and sent to one port. Bytes are those of the packet as the driver hands it over,
    /// from the destination MAC to the last byte, without the frame check sequence.
    PortCounters[4] {
        /// Packets received.
        received = 0,
        /// Packets the driver took to send.
        sent = 1,
    }
}

/// Frames that storm control dropped for one port's or one bridge's limits.
#[derive(Clone, Copy, Debug)]
pub struct StormCounters<'a>(&'a [Counter; 4]);

impl<'a> StormCounters<'a> {
    /// Those of a kind.
    #[must_use]
    pub fn of(self, kind: FloodKind) -> &'a Counter {
        &self.0[kind as usize]
    }
}

/// The counters behind [`StormCounters`] of a bridge. The last is unused.
#[derive(Debug, FromZeros)]
#[repr(C, align(32))]
struct StormRow([Counter; 4]);

/// The counters behind [`BridgeCounters`].
#[derive(Debug, FromZeros)]
#[repr(C, align(64))]
struct BridgeRow([Counter; 8]);

/// The counters behind [`RemoteCounters`].
#[derive(Debug, FromZeros)]
#[repr(C, align(32))]
struct RemoteRow([Counter; 4]);

/// How a worker's loop spends its time.
#[derive(Debug, Default)]
pub struct LoopCounters {
    /// Rounds over all ports. It is also the worker's heartbeat: it grows as long as the worker is alive.
    pub polls: Counter,
    /// Bursts that held at least one packet.
    pub bursts: Counter,
    /// Packets in those bursts.
    pub packets: Counter,
    /// Cycles of rounds that found packets.
    pub busy_cycles: Counter,
    /// Cycles of rounds that found none, with the sleeps after them.
    pub idle_cycles: Counter,
    /// Sleeps of an adaptive worker.
    pub sleeps: Counter,
}

/// Everything one worker counts. One worker writes it; the stats thread reads it through an `Arc`.
///
/// It begins and ends on a boundary of two cache lines, and so do its tables on the heap on one of a single line, so
/// that no line a worker writes is written by another core. Two lines, because the core fetches lines in pairs.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct WorkerTelemetry {
    /// The loop's own counters, together in the first line.
    pub run: LoopCounters,
    drops: [Counter; DropReason::COUNT],
    events: [Counter; Event::COUNT],
    bridges: CounterTable<BridgeRow>,
    remotes: CounterTable<RemoteRow>,
    storms: CounterTable<StormRow>,
    port_storms: [[Counter; 4]; MAX_PORTS],
    too_big: CounterTable<Counter>,
    ports: [[Counter; 4]; MAX_PORTS],
    /// Packets for the kernel.
    pub punts: PuntCounters,
    /// How long bursts took that held at least one packet, from receive to transmit, in cycles.
    pub burst_time: CycleHistogram,
    /// Samples of flows from and to remote VTEPs.
    pub flow_samples: FlowSamples,
}

const _: () = {
    assert!(align_of::<WorkerTelemetry>() == 2 * CACHE_LINE);
    assert!(size_of::<WorkerTelemetry>().is_multiple_of(2 * CACHE_LINE));
    assert!(size_of::<LoopCounters>() <= CACHE_LINE);
    assert!(size_of::<[Counter; 8]>() == CACHE_LINE);
    assert!(size_of::<[Counter; 4]>() * 2 == CACHE_LINE);
    assert!(MAX_PORTS.is_power_of_two());
};

impl WorkerTelemetry {
    /// All counters at zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            run: LoopCounters::default(),
            drops: [const { Counter::new() }; DropReason::COUNT],
            events: [const { Counter::new() }; Event::COUNT],
            bridges: CounterTable::new(),
            remotes: CounterTable::new(),
            storms: CounterTable::new(),
            port_storms: [const { [const { Counter::new() }; 4] }; MAX_PORTS],
            too_big: CounterTable::new(),
            ports: [const { [const { Counter::new() }; 4] }; MAX_PORTS],
            punts: PuntCounters::default(),
            burst_time: CycleHistogram::new(),
            flow_samples: FlowSamples::new(),
        }
    }

    /// Counts a packet that is not forwarded.
    #[inline]
    pub fn count_drop(&self, reason: DropReason) {
        self.count_drops(reason, 1);
    }

    /// Counts `count` packets that are not forwarded.
    #[inline]
    pub fn count_drops(&self, reason: DropReason, count: u64) {
        self.drops[reason as usize].add(count);
    }

    /// How many packets were not forwarded for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].get()
    }

    /// Counts an event.
    #[inline]
    pub fn event(&self, event: Event) {
        self.event_many(event, 1);
    }

    /// Counts `count` events of one kind.
    #[inline]
    pub fn event_many(&self, event: Event, count: u64) {
        self.events[event as usize].add(count);
    }

    /// How many events of a kind there were.
    #[must_use]
    pub fn events(&self, event: Event) -> u64 {
        self.events[event as usize].get()
    }

    /// A bridge's counters.
    #[inline(always)]
    #[must_use]
    pub fn bridge(&self, bridge: BridgeIndex) -> BridgeCounters<'_> {
        BridgeCounters(&self.bridges.row(bridge.0).0)
    }

    /// A remote VTEP's counters.
    #[inline(always)]
    #[must_use]
    pub fn remote(&self, tunnel: TunnelIndex) -> RemoteCounters<'_> {
        RemoteCounters(&self.remotes.row(tunnel.0).0)
    }

    /// Frames that did not fit the way to a remote VTEP.
    #[inline]
    #[must_use]
    pub fn too_big(&self, tunnel: TunnelIndex) -> &Counter {
        self.too_big.row(tunnel.0)
    }

    /// A port's counters. The config has at most [`MAX_PORTS`] ports; an index beyond that wraps.
    #[inline(always)]
    #[must_use]
    pub fn port(&self, port: PortIndex) -> PortCounters<'_> {
        PortCounters(&self.ports[usize::from(port.0) % MAX_PORTS])
    }

    /// What storm control dropped for a bridge's limits.
    #[must_use]
    pub fn bridge_storms(&self, bridge: BridgeIndex) -> StormCounters<'_> {
        StormCounters(&self.storms.row(bridge.0).0)
    }

    /// What storm control dropped for a port's limits. The index is as that of [`WorkerTelemetry::port`].
    #[must_use]
    pub fn port_storms(&self, port: PortIndex) -> StormCounters<'_> {
        StormCounters(&self.port_storms[usize::from(port.0) % MAX_PORTS])
    }
}

impl Default for WorkerTelemetry {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(counter: &Counter) -> usize {
        std::ptr::from_ref(counter).addr() / CACHE_LINE
    }

    #[test]
    fn a_bridge_lies_in_one_line_and_shares_it_with_no_other() {
        let telemetry = WorkerTelemetry::new();
        let lines = |index| {
            let bridge = telemetry.bridge(BridgeIndex(index));
            [bridge.access_received(), bridge.access_sent(), bridge.tunnel_received(), bridge.tunnel_sent()]
                .map(|traffic| [line(traffic.packets), line(traffic.bytes)])
        };
        for index in [0, 1, 255, 65534, 65535] {
            let first = lines(index)[0][0];
            assert!(lines(index).iter().flatten().all(|&each| each == first), "bridge {index}");
        }
        assert_ne!(lines(0)[0][0], lines(1)[0][0]);
    }

    /// Where a worker's counters lie, in pairs of lines: the structure, and the rows of its tables that are counted in.
    /// There is no bridge and no remote VTEP of the last number; what comes from no known remote VTEP is counted there.
    fn spans(worker: &WorkerTelemetry) -> [(usize, usize); 4] {
        const PAIR: usize = 2 * CACHE_LINE;
        let span = |first: usize, end: usize| (first / PAIR, (end - 1) / PAIR);
        let start = std::ptr::from_ref(worker).addr();
        let [bridges, remotes, storms] =
            [worker.bridges.row(0).0.as_ptr(), worker.remotes.row(0).0.as_ptr(), worker.storms.row(0).0.as_ptr()]
                .map(<*const _>::addr);
        let last = usize::from(u16::MAX);
        [
            span(start, start + size_of::<WorkerTelemetry>()),
            span(bridges, bridges + last * size_of::<[Counter; 8]>()),
            span(remotes, remotes + last * size_of::<[Counter; 4]>()),
            span(storms, storms + last * size_of::<[Counter; 4]>()),
        ]
    }

    #[test]
    fn two_workers_never_write_the_same_line_nor_neighbouring_ones() {
        // An allocator that was given a large block back takes such blocks from the heap, where they lie side by side,
        // and no longer as pages of their own.
        drop(std::hint::black_box(vec![1_u8; 24 << 20]));
        let workers: Vec<_> =
            (0..8).map(|number| (std::sync::Arc::new(WorkerTelemetry::new()), vec![0_u8; 24 + 8 * number])).collect();
        let mut spans: Vec<_> = workers.iter().flat_map(|(worker, _)| spans(worker)).collect();
        spans.sort_unstable();
        for pair in spans.windows(2) {
            assert!(pair[0].1 < pair[1].0, "{pair:x?}");
        }
        let near = |pair: &[(usize, usize)]| pair[1].0 - pair[0].1 < 64;
        assert!(spans.windows(2).any(near), "they lie far apart, so that this shows nothing: {spans:x?}");
    }

    #[test]
    fn every_counter_counts_by_itself() {
        let telemetry = WorkerTelemetry::new();
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            telemetry.count_drops(*reason, index as u64);
        }
        for (index, event) in Event::ALL.iter().enumerate() {
            telemetry.event_many(*event, 100 + index as u64);
        }
        telemetry.count_drop(DropReason::Truncated);
        telemetry.event(Event::FloodedFrame);
        for (index, reason) in DropReason::ALL.iter().enumerate().skip(1) {
            assert_eq!(telemetry.dropped(*reason), index as u64);
        }
        for (index, event) in Event::ALL.iter().enumerate().skip(1) {
            assert_eq!(telemetry.events(*event), 100 + index as u64);
        }
        assert_eq!((telemetry.dropped(DropReason::Truncated), telemetry.events(Event::FloodedFrame)), (1, 101));
    }

    #[test]
    fn every_direction_of_bridge_remote_and_port_counts_by_itself() {
        let telemetry = WorkerTelemetry::new();
        let last = u16::MAX;
        for index in [0, last] {
            let bridge = telemetry.bridge(BridgeIndex(index));
            let all = [bridge.access_received(), bridge.access_sent(), bridge.tunnel_received(), bridge.tunnel_sent()];
            let remote = telemetry.remote(TunnelIndex(index));
            let port = telemetry.port(PortIndex(index % 64));
            let all = all.into_iter().chain([remote.received(), remote.sent(), port.received(), port.sent()]);
            for (place, traffic) in all.clone().enumerate() {
                traffic.count_many(place as u64, 1000 + u64::from(index));
                traffic.count(60);
            }
            for (place, traffic) in all.enumerate() {
                assert_eq!((traffic.packets(), traffic.bytes()), (place as u64 + 1, 1060 + u64::from(index)));
            }
        }
        assert_eq!(telemetry.bridge(BridgeIndex(1)).access_received().packets(), 0);
    }
}
