//! The loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::Cache;

use super::idle::Backoff;
use super::outlet::{HandoverRing, Outlets};
use crate::config::model::Idle;
use crate::dpdk::{Burst, ReceiveQueue, clock};
use crate::forwarding::{Egress, Forwarder, Moment, Surroundings};
use crate::tables::learning::LearnRing;
use crate::tables::{PortIndex, Reader, Snapshot, Tables};
use crate::telemetry::{DropReason, WorkerTelemetry};

/// How long a worker that stops waits for those that hand packets over to it: longer than their sleep and a round.
const LAST_HANDOVER: Duration = Duration::from_millis(100);

/// A port from which a worker receives.
pub struct WorkerPort {
    /// The port's place in the tables.
    pub index: PortIndex,
    /// The worker's own receive queue.
    pub queue: ReceiveQueue,
}

/// A worker, ready to run on the thread that it is given to. On lines of its own, wherever it lies.
#[repr(align(128))]
pub struct Worker {
    ports: Vec<WorkerPort>,
    /// What other workers hand over for transmit queues of this one.
    inlets: Vec<(PortIndex, HandoverRing)>,
    outlets: Outlets,
    learn: Arc<LearnRing>,
    tables: Arc<Tables>,
    reader: Reader,
    forwarder: Forwarder,
    backoff: Backoff,
    telemetry: Arc<WorkerTelemetry>,
}

impl Worker {
    /// A worker that receives from these ports, sends through these outlets, and reports sources through this ring.
    #[must_use]
    pub fn new(
        ports: Vec<WorkerPort>,
        inlets: Vec<(PortIndex, HandoverRing)>,
        outlets: Outlets,
        learn: Arc<LearnRing>,
        tables: Arc<Tables>,
        idle: Idle,
    ) -> Self {
        Self {
            ports,
            inlets,
            telemetry: Arc::clone(&outlets.telemetry),
            outlets,
            learn,
            reader: tables.quiescence.register(),
            tables,
            forwarder: Forwarder::new(clock::cycles_per_second()),
            backoff: Backoff::new(idle),
        }
    }

    /// Forwards until `stop` is set; then sends what is under way.
    pub fn run(mut self, stop: &AtomicBool) {
        let tables = Arc::clone(&self.tables);
        let mut snapshot = Cache::new(&tables.snapshot);
        let mut burst = Burst::new();
        let mut round_began = clock::cycles();
        while !stop.load(Ordering::Relaxed) {
            self.reader.pass();
            let packets = self.round(snapshot.load(), &mut burst);
            if packets > 0 {
                self.backoff.busy();
            } else if let Some(sleep) = self.backoff.idle() {
                self.telemetry.run.sleeps.increment();
                std::thread::sleep(sleep);
            }
            let now = clock::cycles();
            let run = &self.telemetry.run;
            run.polls.increment();
            let spent = if packets > 0 { &run.busy_cycles } else { &run.idle_cycles };
            spent.add(now.saturating_sub(round_began));
            round_began = now;
        }
        self.finish();
    }

    /// Sends what is under way, also what other workers hand over before they end.
    ///
    /// Packets are handed over to workers of a lower number only, so no two wait for each other.
    fn finish(&mut self) {
        let deadline = Instant::now() + LAST_HANDOVER;
        loop {
            // Asked before the rings are emptied: nothing comes from a worker that has ended.
            let senders_ended = self.inlets.iter_mut().all(|(_, ring)| Arc::get_mut(ring).is_some());
            let taken = self.take_inlets();
            if senders_ended && taken == 0 || Instant::now() >= deadline {
                break;
            }
            std::thread::yield_now();
        }
        self.outlets.flush();
        for (_, ring) in &self.inlets {
            let left = std::iter::from_fn(|| ring.pop()).take(ring.capacity()).count();
            self.telemetry.count_drops(DropReason::HandoverFull, left as u64);
        }
    }

    /// One round over all ports; gives how many packets it found.
    fn round(&mut self, snapshot: &Snapshot, burst: &mut Burst) -> usize {
        let mut packets = self.take_inlets();
        for port in &mut self.ports {
            let received = port.queue.receive(burst);
            if received == 0 {
                continue;
            }
            packets += received;
            let now = Moment { tick: self.tables.age.now(), cycles: clock::cycles() };
            let around = Surroundings {
                snapshot,
                fdb: &self.tables.fdb,
                bindings: &self.tables.bindings,
                telemetry: &self.telemetry,
                learn: &self.learn,
                now,
            };
            self.forwarder.forward(port.index, burst, &around, &mut self.outlets);
            self.outlets.flush();
            let run = &self.telemetry.run;
            run.bursts.increment();
            run.packets.add(received as u64);
            self.telemetry.burst_time.record(clock::cycles().saturating_sub(now.cycles));
        }
        packets
    }

    /// Sends what other workers and the kernel handed over; gives how many packets that was, at most one ring's worth
    /// from each worker.
    fn take_inlets(&mut self) -> usize {
        let mut taken = self.outlets.take_from_kernel();
        for (port, ring) in &self.inlets {
            for _ in 0..ring.capacity() {
                let Some(packet) = ring.pop() else { break };
                self.outlets.transmit(*port, packet);
                taken += 1;
            }
        }
        if taken > 0 {
            self.outlets.flush();
        }
        taken
    }
}
