//! A source of packets with a pace, and the sink on their far side: the thread that runs them stands for both links.
//!
//! `net_pcap` has packets whenever it is asked, so a worker behind it is always under full load. Here the ports are
//! rings: this thread puts packets into a ring as a NIC does into its descriptors, at a rate, and takes out what the
//! worker sent. Each packet's last eight bytes say when it was put in.

use vtepd::dpdk::{BURST, Burst, OpenPort, PacketPool, ReceiveQueue, TransmitQueue, clock};
use vtepd::forwarding::PacketBuffer;
use vtepd::telemetry::CycleHistogram;

use crate::testbed::Fallible;

/// The most packets put into a ring at once: a burst.
const MOST: u64 = BURST as u64;
/// A second has so many turns of this thread at least, when nothing holds it up. What became due in a longer time than
/// one of them is not sent: from a link it would have come meanwhile, not in a heap afterwards.
const TURNS: u64 = 500_000;
/// The bytes of a time.
const STAMP: usize = size_of::<u64>();

/// One direction: a ring into the worker, and the ring out of it on the other side.
pub struct Lane {
    feed: TransmitQueue,
    sink: ReceiveQueue,
    /// What is sent, in turn, each without the last bytes.
    frames: Vec<Vec<u8>>,
    next: usize,
    /// Packets due since the pace was set.
    due: u64,
}

impl Lane {
    /// A lane that sends these frames into `feed`, and takes them from `sink`.
    pub fn new(feed: TransmitQueue, sink: ReceiveQueue, frames: impl Iterator<Item = Vec<u8>>) -> Self {
        let cut = |mut frame: Vec<u8>| {
            frame.truncate(frame.len().saturating_sub(STAMP));
            frame
        };
        Self { feed, sink, frames: frames.map(cut).collect(), next: 0, due: 0 }
    }
}

/// What a source did since it was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Packets put into rings.
    pub fed: u64,
    /// Packets that a full ring refused: lost before the worker, as at a NIC without descriptors.
    pub refused: u64,
    /// Packets not sent because this thread was held up.
    pub skipped: u64,
    /// Packets taken out on the far side.
    pub drained: u64,
}

/// The lanes of a gateway.
pub struct Source {
    lanes: Vec<Lane>,
    pool: PacketPool,
    burst: Burst,
    /// What it did so far.
    pub tally: Tally,
    /// From the ring in to the ring out, in cycles.
    pub latency: CycleHistogram,
}

/// The queues at this thread's end of a port whose other end is the worker's.
pub fn ends(port: &mut OpenPort) -> Fallible<(TransmitQueue, ReceiveQueue)> {
    port.transmit.pop().zip(port.receive.pop()).ok_or_else(|| "a ring without queues".into())
}

impl Source {
    /// A source with these lanes.
    pub fn new(lanes: Vec<Lane>, pool: PacketPool) -> Self {
        Self { lanes, pool, burst: Burst::new(), tally: Tally::default(), latency: CycleHistogram::new() }
    }

    /// Sends `rate` packets a cycle for so many cycles, the lanes taking turns, and drains; meanwhile calls `aside` once
    /// in `every` cycles. A rate of infinity keeps the rings full.
    pub fn run(&mut self, rate: f64, cycles: u64, every: u64, mut aside: impl FnMut()) {
        let began = clock::cycles();
        let mut next_aside = began;
        self.lanes.iter_mut().for_each(|lane| lane.due = 0);
        let share = rate / self.lanes.len().max(1) as f64;
        let (places, turn) = (self.lanes.len(), clock::cycles_per_second() / TURNS);
        loop {
            let passed = clock::cycles() - began;
            if passed >= cycles {
                break;
            }
            for place in 0..places {
                self.feed_due(place, passed, share, turn);
                self.drain(place);
            }
            if began + passed >= next_aside {
                aside();
                next_aside += every;
            }
        }
    }

    /// Drains until every packet that was fed has come out or is among those that `lost` counts; false where that takes
    /// longer than so many cycles.
    pub fn finish(&mut self, cycles: u64, lost: impl Fn() -> u64) -> bool {
        let began = clock::cycles();
        while self.tally.drained + lost() < self.tally.fed {
            if clock::cycles() - began > cycles {
                return false;
            }
            (0..self.lanes.len()).for_each(|place| self.drain(place));
        }
        true
    }

    /// Sends one packet, and waits for it at most so many cycles. Gives what it took.
    pub fn send_one(&mut self, patience: u64) -> Option<u64> {
        let drained = self.tally.drained;
        let began = clock::cycles();
        self.feed(0, 1);
        while self.tally.drained == drained {
            if clock::cycles() - began > patience {
                return None;
            }
            self.drain(0);
        }
        Some(clock::cycles() - began)
    }

    fn feed_due(&mut self, place: usize, passed: u64, share: f64, turn: u64) {
        let Some(lane) = self.lanes.get_mut(place) else { return };
        if share.is_infinite() {
            self.feed(place, MOST / 2);
            return;
        }
        let total = (passed as f64 * share) as u64;
        let heap = ((share * turn as f64) as u64).clamp(1, MOST);
        let count = (total - lane.due).min(heap);
        self.tally.skipped += total - lane.due - count;
        lane.due = total;
        if count > 0 {
            self.feed(place, count);
        }
    }

    fn feed(&mut self, place: usize, count: u64) {
        let Some(lane) = self.lanes.get_mut(place) else { return };
        if !self.pool.allocate_bulk(&mut self.burst, count as usize) {
            self.tally.refused += count;
            return;
        }
        let stamp = clock::cycles().to_ne_bytes();
        for packet in &mut self.burst {
            let frame = lane.frames.get(lane.next).map_or(&[][..], Vec::as_slice);
            lane.next = if lane.next + 1 < lane.frames.len() { lane.next + 1 } else { 0 };
            // A fresh buffer has room for both.
            let _ = packet.append(frame) && packet.append(&stamp);
        }
        let unsent = lane.feed.transmit(&mut self.burst).packets as u64;
        self.tally.fed += count - unsent;
        self.tally.refused += unsent;
    }

    fn drain(&mut self, place: usize) {
        let Some(lane) = self.lanes.get_mut(place) else { return };
        let taken = lane.sink.receive(&mut self.burst);
        if taken == 0 {
            return;
        }
        let now = clock::cycles();
        for packet in &self.burst {
            if let Some(stamp) = packet.head().last_chunk::<STAMP>() {
                self.latency.record(now.saturating_sub(u64::from_ne_bytes(*stamp)));
            }
        }
        self.tally.drained += taken as u64;
        self.burst.clear();
    }
}
