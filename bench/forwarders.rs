//! The threads under test: plain io, and the gateway's worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::JoinHandle;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::gettid;
use vtepd::config::model::Idle;
use vtepd::daemon::cores;
use vtepd::daemon::ports::WorkerQueues;
use vtepd::dpdk::{Burst, Eal, PacketPool, ReceiveQueue, TransmitQueue, WorkerThread};
use vtepd::tables::Tables;
use vtepd::tables::learning::LearnRing;
use vtepd::telemetry::WorkerTelemetry;
use vtepd::worker::Worker;
use vtepd::worker::outlet::Outlets;

use crate::preemption::Preemption;
use crate::testbed::Fallible;

/// A thread that forwards on a core of its own.
pub struct Forwarding {
    /// What it counts.
    pub telemetry: Arc<WorkerTelemetry>,
    core: usize,
    stop: Arc<AtomicBool>,
    thread_id: Arc<AtomicI32>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarding {
    /// Runs `forward` until it is dropped, which it must notice by the flag.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    fn spawn(
        eal: &Eal,
        core: usize,
        telemetry: Arc<WorkerTelemetry>,
        forward: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> Fallible<Self> {
        let (stop, thread_id) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(0)));
        let (flag, id, eal) = (Arc::clone(&stop), Arc::clone(&thread_id), eal.clone());
        let body = move || {
            if !cores::pin(core) {
                eprintln!("the worker could not be pinned to core {core}");
            }
            let _registered = WorkerThread::register(&eal)
                .inspect_err(|error| eprintln!("the worker runs without a packet cache: {error}"));
            id.store(gettid().as_raw(), Ordering::Release);
            forward(&flag);
        };
        let thread = std::thread::Builder::new().name("bench-worker".to_owned()).spawn(body)?;
        while thread_id.load(Ordering::Acquire) == 0 && !thread.is_finished() {
            std::thread::yield_now();
        }
        Ok(Self { telemetry, core, stop, thread_id, thread: Some(thread) })
    }

    /// Forwards what one queue receives to the other queue of the pair, and looks at nothing.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    pub fn io(eal: &Eal, core: usize, mut pairs: Vec<(ReceiveQueue, TransmitQueue)>) -> Fallible<Self> {
        let telemetry = Arc::new(WorkerTelemetry::new());
        let counted = Arc::clone(&telemetry);
        Self::spawn(eal, core, telemetry, move |stop| {
            let mut burst = Burst::new();
            while !stop.load(Ordering::Relaxed) {
                for (receive, transmit) in &mut pairs {
                    counted.run.packets.add(receive.receive(&mut burst) as u64);
                    counted.run.bursts.increment();
                    transmit.transmit(&mut burst);
                }
            }
        })
    }

    /// The gateway's worker.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    pub fn gateway(
        eal: &Eal,
        core: usize,
        queues: WorkerQueues,
        pool: &PacketPool,
        learn: Arc<LearnRing>,
        tables: &Arc<Tables>,
        idle: Idle,
    ) -> Fallible<Self> {
        let telemetry = Arc::new(WorkerTelemetry::new());
        let ports = queues.outlets;
        let outlets = Outlets { ports, pool: pool.clone(), telemetry: Arc::clone(&telemetry), exception: None };
        let worker = Worker::new(queues.ports, queues.inlets, outlets, learn, Arc::clone(tables), idle);
        Self::spawn(eal, core, telemetry, move |stop| worker.run(stop))
    }

    /// The processor time the thread has had, in nanoseconds.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn processor_time(&self) -> Fallible<u64> {
        // The kernel's number of a thread's clock: the thread's own, complemented, and the kind (2: scheduled time) of a
        // single thread (4) in the last three bits.
        let clock = ClockId::from_raw(!self.thread_id.load(Ordering::Relaxed) << 3 | 0b110);
        let time = clock_gettime(clock)?;
        Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
    }

    /// What kept the thread from its core so far.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn preemption(&self) -> Fallible<Preemption> {
        Preemption::of(self.thread_id.load(Ordering::Relaxed), self.core)
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the worker panicked");
        }
    }
}
